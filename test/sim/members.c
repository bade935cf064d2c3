/* Who is a member changes while the cluster runs. A version of the declaration is decided by a
 * majority of the nodes, all of which have the one before it (src/agent/config_rules.h), and passes
 * from node to node. Voters change one at a time (M11), and who is seen to lead stays one, as
 * src/agent/cmd_apply.c has it. */
#include "agent/voters.h"
#include "members.h"
#include "sim.h"

#include <string.h>

bool
sim_is_member(const struct zb_core_conf *c, uint8_t node)
{
    return (sim_members(c) & 1u << node) != 0;
}

bool
sim_is_voter(const struct zb_core_conf *c, uint8_t node)
{
    return (sim_voters(c) & 1u << node) != 0;
}

uint32_t
sim_members(const struct zb_core_conf *c)
{
    uint32_t members = 0;

    for (uint8_t i = 0; i < c->members_count; i++) {
        members |= 1u << c->members[i];
    }
    return members;
}

uint32_t
sim_voters(const struct zb_core_conf *c)
{
    uint32_t voters = c->witness ? 1u << ZB_NODE_WITNESS : 0;

    for (uint8_t i = 0; i < c->members_count; i++) {
        voters |= c->backup[i] ? 0 : 1u << c->members[i];
    }
    return voters;
}

void
sim_members_note(struct sim *w, uint8_t service)
{
    const struct zb_core_conf *c = &w->conf[service];

    w->members_of[service][c->version % SIM_DECLARATIONS] = (uint8_t)sim_members(c);
}

static void
conf_fill(struct zb_core_conf *c, uint32_t members, uint32_t voters)
{
    c->members_count = 0;
    for (uint8_t n = 0; n < SIM_NODES; n++) {
        if ((members & 1u << n) != 0) {
            c->backup[c->members_count] = (voters & 1u << n) == 0;
            c->members[c->members_count++] = n;
        }
    }
    if ((voters & 1u << c->first_leader) == 0) {
        c->first_leader = (uint8_t)__builtin_ctz(voters);
    }
}

/* ---- a version is decided ---- */

static void
conf_put(struct sim *w, uint8_t node, uint8_t service, const struct zb_core_conf *conf)
{
    struct zb_event ev = {.kind = ZB_EV_CONFIG, .service = service};

    w->nodes[node].services[service].conf = *conf;
    ev.u.conf = *conf;
    sim_step(w, node, &ev);
}

/* False: the proposer has an older version, or no majority has that of the proposer. */
bool
sim_conf_decide(struct sim *w, uint8_t node, uint8_t service, const struct zb_core_conf *next)
{
    struct zb_core_conf *conf = &w->conf[service];
    unsigned agree = 0;

    if (!w->nodes[node].engine || w->nodes[node].paused || next->version != conf->version + 1) {
        return false;
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        agree += (n == node || (sim_connected(w, node, n) && !w->nodes[n].paused)) &&
                 w->nodes[n].services[service].conf.version == conf->version;
    }
    if (2 * agree <= w->opt.nodes) {
        return false;
    }
    *conf = *next;
    sim_members_note(w, service);
    sim_tell(w, node, "version %lu of service %u: members %x, voters %x",
             (unsigned long)conf->version, service, sim_members(conf), sim_voters(conf));
    conf_put(w, node, service, conf);
    for (uint8_t n = 0; n < w->opt.nodes; n++) { /* who can be reached hears of it at once */
        if (n != node && sim_connected(w, node, n) && !w->nodes[n].paused) {
            conf_put(w, n, service, conf);
        }
    }
    return true;
}

/* From whoever has a newer one and can be reached, again and again. */
void
sim_conf_pass(struct sim *w, const struct sim_item *item)
{
    const struct sim_service *s = &w->nodes[item->node].services[item->service];
    const struct zb_core_conf *newer = NULL;

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_core_conf *its = &w->nodes[n].services[item->service].conf;
        if (sim_connected(w, item->node, n) && !w->nodes[n].paused &&
            its->version > (newer != NULL ? newer->version : s->conf.version)) {
            newer = its;
        }
    }
    if (newer != NULL) {
        const struct zb_core_conf conf = *newer;
        conf_put(w, item->node, item->service, &conf);
    }
    sim_item_again(w, item, 200 + (int64_t)sim_random(w, 2000));
}

/* ---- changes ---- */

void
sim_members_change(struct sim *w, uint8_t node, uint8_t service, uint8_t who)
{
    const struct zb_core_conf *conf = &w->nodes[node].services[service].conf;
    struct zb_core_conf next = *conf;
    uint32_t bit = 1u << who;
    uint32_t members = sim_members(conf) | bit;
    uint32_t voters = sim_voters(conf) ^ bit;
    struct zb_core_view view;

    if ((members & bit) == (sim_members(conf) & bit) && sim_chance(w, 600)) {
        members &= ~bit; /* else it becomes a backup, or is one no more */
        voters &= ~bit;
    } else if ((sim_members(conf) & bit) == 0 && sim_chance(w, 300)) {
        voters &= ~bit;
    }
    if ((voters & ~(1u << ZB_NODE_WITNESS)) == 0 || !w->nodes[node].engine) {
        return;
    }
    zb_core_view(w->cores[node], service, &view);
    if ((voters != sim_voters(conf) &&
         !zb_voters_know(&view, node, sim_voters(conf), conf->version)) ||
        (sim_is_voter(conf, who) && (voters & bit) == 0 &&
         zb_voter_out(&view, node, sim_members(conf), who) != ZB_VOTER_OUT_MAY)) {
        return;
    }
    conf_fill(&next, members, voters);
    next.version++;
    w->changes += sim_conf_decide(w, node, service, &next);
}

static uint8_t
last_leader(const struct sim *w, uint8_t service)
{
    uint64_t last = 0;
    uint8_t leader = SIM_NODES;

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        uint64_t term = w->nodes[n].services[service].record.rec.established_term;
        if (term > last) {
            last = term;
            leader = n;
        }
    }
    return leader;
}

/* Who leads, or did last, or is to lead next, and was taken out unseen is declared again by hand.
 */
void
sim_members_heal(struct sim *w, uint8_t service)
{
    uint8_t leader = last_leader(w, service);
    struct zb_core_conf next = w->conf[service];
    const struct zb_record *r;

    if (w->opt.changes == 0 || leader == SIM_NODES) {
        return;
    }
    r = &w->nodes[leader].services[service].record.rec;
    if (r->released_term > r->established_term && sim_is_voter(&next, leader)) {
        leader = (uint8_t)(r->released_to[1] - '1');
    }
    if (sim_is_voter(&next, leader)) {
        return;
    }
    conf_fill(&next, sim_members(&next) | 1u << leader, sim_voters(&next) | 1u << leader);
    next.version++;
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        if (sim_conf_decide(w, n, service, &next)) {
            return;
        }
    }
}

/* ---- what is checked ---- */

/* M11: who is no member, as far as node knows, is asked for nothing and sent nothing. */
void
sim_check_target(struct sim *w, uint8_t node, const struct zb_action *a)
{
    const struct zb_core_conf *conf = &w->nodes[node].services[a->service].conf;
    bool asks = a->kind == ZB_ACT_SHIP ||
                (a->kind == ZB_ACT_MESSAGE &&
                 (a->msg.kind == ZB_MSG_GRANT_ASK || a->msg.kind == ZB_MSG_FORWARD_ASK ||
                  a->msg.kind == ZB_MSG_COPY_ASK));

    if (asks && !sim_is_member(conf, a->node) && !sim_is_voter(conf, a->node)) {
        sim_fail(w, "M11: n%u asks n%u, which is no member of service %u, or sends to it", node + 1,
                 a->node + 1, a->service);
    }
}
