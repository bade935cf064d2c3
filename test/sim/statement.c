/* What an order says that it loses (S3), by the production's src/agent/loss.c, as
 * src/agent/cmd_failover.c asks it: before the order is carried out, and for the history when the
 * term was taken. Kept outside the world, for runs and scenarios: the exhaustive search states
 * nothing. */
#include "agent/loss.h"
#include "members.h"
#include "sim.h"

#include <string.h>

static struct {
    bool given;
    bool allow_loss;
    struct zb_loss loss; /* its lineage is not there any more */
} stated[SIM_NODES][SIM_SERVICES], asked;

/* What the last promotion left behind. */
static struct {
    uint64_t term;
    uint8_t node;
    uint32_t writers; /* node bits */
} left[SIM_SERVICES];

/* A revert that was begun, and of which no term is told yet: its order names what it leaves behind,
 * whoever takes the service after it failed half-way. */
static struct {
    bool begun;
    uint8_t node;
    uint64_t after; /* the term that it was ordered in */
} revert[SIM_SERVICES];

/* The last term of its own that a node told for the history. */
static uint64_t told[SIM_NODES][SIM_SERVICES];

void
sim_statements_clear(void)
{
    memset(told, 0, sizeof(told));
    memset(revert, 0, sizeof(revert));
    memset(stated, 0, sizeof(stated));
    memset(left, 0, sizeof(left));
}

/* ---- before ---- */

void
sim_statement_ask(struct sim *w, uint8_t node, uint8_t service, bool allow_loss)
{
    static struct zb_core_view view;
    struct zb_loss *loss = &asked.loss;

    memset(&asked, 0, sizeof(asked));
    if (w->searching || !w->nodes[node].engine) {
        return;
    }
    asked.given = true;
    asked.allow_loss = allow_loss;
    zb_core_view(w->cores[node], service, &view);
    loss->now_s = 1800000000 + w->now_ms / 1000;
    zb_loss_terms_look(loss, &view);
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_core_conf *conf = &w->nodes[node].services[service].conf;
        if (!sim_is_member(conf, n)) {
            continue;
        }
        struct zb_loss_member *m = &loss->members[loss->members_count++];
        sim_node_name(n, m->node);
        m->backup = !sim_is_voter(conf, n);
        (void)zb_loss_member_look(loss, &view, node, n, m);
        loss->to = n == node ? loss->members_count - 1 : loss->to;
    }
    zb_loss_find(loss);
    sim_tell(w, node, "states the loss: %s", loss->lost);
}

void
sim_statement_give(uint8_t node, uint8_t service)
{
    stated[node][service].given = asked.given;
    stated[node][service].allow_loss = asked.allow_loss;
    stated[node][service].loss = asked.loss;
    stated[node][service].loss.lineage = NULL;
}

void
sim_statement_revert(const struct sim *w, uint8_t node, uint8_t service)
{
    revert[service].after = w->nodes[node].services[service].record.rec.established_term;
    memset(&stated[node][service], 0, sizeof(stated[node][service])); /* of an earlier order */
    revert[service].begun = true;
    revert[service].node = node;
}

bool
sim_statement_reverting(uint8_t node, uint8_t service)
{
    return revert[service].begun && revert[service].node == node;
}

void
sim_statement_suspect(uint8_t node, uint8_t service, uint8_t peer)
{
    char name[ZB_NODE_NAME_SIZE];

    if (stated[node][service].given && peer < SIM_NODES) {
        sim_node_name(peer, name);
        zb_loss_suspect(&stated[node][service].loss, name);
    }
}

/* ---- after ---- */

void
sim_statement_left(const struct sim *w, const struct sim_item *promote, uint32_t version)
{
    uint8_t service = promote->service;
    uint8_t writer = w->versions[version].node;

    if (w->image.taken && w->image.service == service && w->image.node == writer) {
        return; /* not the failover's: its disk is an older one */
    }
    if (left[service].term != promote->u.op.term || left[service].node != promote->node) {
        left[service].term = promote->u.op.term;
        left[service].node = promote->node;
        left[service].writers = 0;
    }
    left[service].writers |= 1u << writer;
}

/* Not so when a child of it was destroyed since, by who administers its leader. */
static bool
is_held(struct sim *w, uint8_t service, const struct zb_set_ref *set)
{
    const struct sim_manifest *m = sim_manifest_find(w, service, set);
    bool held = false;

    for (uint8_t n = 0; m != NULL && n < w->opt.nodes; n++) {
        held = held || sim_holds(w, n, m);
    }
    return held;
}

/* S3: who wrote what is left behind is named; without --allow-data-loss the service goes on from no
 * older set than was stated. */
void
sim_statement_check(struct sim *w, uint8_t node, const struct zb_action *term, bool ordered)
{
    uint8_t service = (uint8_t)term->service;
    const struct zb_loss *loss = &stated[node][service].loss;
    bool any = left[service].term == term->term && left[service].node == node;
    char text[sizeof(loss->lost)] = "nothing";
    char name[ZB_NODE_NAME_SIZE];

    if (term->node == node) {
        told[node][service] = term->term;
    }
    /* What a node that forgot that it led wrote is in no statement when nobody else remembers
     * (M13). */
    if (w->searching || w->forgot[service] || term->reason == ZB_TERM_UNTOLD ||
        (revert[service].begun && term->term > revert[service].after)) {
        revert[service].begun = revert[service].begun && (term->reason == ZB_TERM_UNTOLD ||
                                                          term->term <= revert[service].after);
        return;
    }
    if (ordered && stated[node][service].given && term->reason == ZB_TERM_FAILOVER) {
        zb_loss_text(loss, term->set.id, -1, text, sizeof(text));
    }
    sim_tell(w, node, "took term %lu of service %u, lost: %s", (unsigned long)term->term, service,
             text);
    for (uint8_t n = 0; any && n < w->opt.nodes; n++) {
        sim_node_name(n, name);
        bool named =
            strstr(text, name) != NULL || (n != loss->leader && strstr(text, "led before"));
        if ((left[service].writers & 1u << n) != 0 && !named) {
            sim_fail(w,
                     "S3: n%u took term %lu of service %u and left writes of %s behind; stated: %s",
                     node + 1, (unsigned long)term->term, service, name, text);
        }
    }
    if (ordered && stated[node][service].given && !stated[node][service].allow_loss &&
        zb_set_id_cmp(loss->base.id, term->set.id) > 0 && is_held(w, service, &loss->base)) {
        sim_fail(w, "S3: n%u took term %lu of service %u from %lu/%lu, stated was %lu/%lu",
                 node + 1, (unsigned long)term->term, service, (unsigned long)term->set.id.term,
                 (unsigned long)term->set.id.seq, (unsigned long)loss->base.id.term,
                 (unsigned long)loss->base.id.seq);
    }
}

void
sim_statement_told(struct sim *w, uint8_t node, uint8_t service, uint64_t term)
{
    if (!w->searching && told[node][service] != term) {
        sim_fail(w, "S3: n%u leads service %u in term %lu, and did not tell of it", node + 1,
                 service, (unsigned long)term);
    }
}
