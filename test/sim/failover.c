/* Operators who order a failover, who state what is off and only that, and the account of what a
 * failover leaves behind. */
#include "members.h"
#include "sim.h"

#include <string.h>

#define HEAL_ORDER_MS 20000 /* between two orders for a service that waits for one */

bool
sim_failover(struct sim *w, uint8_t node, uint8_t service, bool allow_loss)
{
    bool before = w->allow_loss[node][service];
    bool given;

    w->allow_loss[node][service] = allow_loss;
    sim_statement_ask(w, node, service, allow_loss);
    given = sim_command(w, node, service, ZB_CMD_FAILOVER, node);
    if (!given || w->commands[w->commands_count - 1].answered) {
        w->allow_loss[node][service] = before; /* refused: of one under way perhaps */
        return given;
    }
    sim_statement_give(node, service);
    for (uint8_t n = 0; n < w->opt.nodes && sim_chance(w, 300); n++) { /* said too early */
        if (!w->nodes[n].on) {
            struct sim_item *item = sim_item_add(w, SIM_FENCE, node, (int64_t)sim_random(w, 40));
            item->service = service;
            item->peer = n;
            item->life = w->nodes[node].engine_life;
            item->u.told.term = w->nodes[node].services[service].record.rec.granted_term + 1;
        }
    }
    return given;
}

void
sim_revert(struct sim *w, uint8_t node, uint8_t service)
{
    uint32_t at = w->manifests_count != 0 ? (uint32_t)sim_random(w, w->manifests_count) : 0;
    bool before = w->allow_loss[node][service];

    for (uint32_t i = at; i < w->manifests_count; i++) { /* some of them are gone */
        const struct sim_manifest *m = &w->manifests[i];
        if (m->service == service && sim_holds(w, node, m)) {
            w->allow_loss[node][service] = true; /* what is left behind was named */
            if (!sim_command_set(w, node, service, ZB_CMD_REVERT, node, &m->ref) ||
                w->commands[w->commands_count - 1].answered) {
                w->allow_loss[node][service] = before;
            } else {
                w->reverts++;
                w->reverted[service] = true;
                sim_statement_revert(w, node, service);
            }
            return;
        }
    }
}

void
sim_fence_wanted(struct sim *w, uint8_t node, uint8_t service, uint8_t peer, uint64_t term)
{
    struct sim_item *item;

    if (peer >= w->opt.nodes || w->manual) {
        return;
    }
    item = sim_item_add(w, SIM_FENCE, node, 100 + (int64_t)sim_random(w, 3000));
    item->service = service;
    item->peer = peer;
    item->life = w->nodes[node].engine_life;
    item->u.told.term = term;
}

/* True statements only: what is on is sometimes switched off first. */
void
sim_fence_look(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND, .service = item->service};

    if (w->nodes[item->peer].on) {
        /* When all is well, only who is no member any more, and so grants nothing. */
        if (w->healing ? sim_is_member(&w->conf[item->service], item->peer) : !sim_chance(w, 500)) {
            return;
        }
        sim_host_crash(w, item->peer);
        struct sim_item *start =
            sim_item_add(w, SIM_START_NODE, item->peer, 1000 + (int64_t)sim_random(w, 60000));
        start->life = w->nodes[item->peer].host_life;
    }
    ev.u.command.kind = ZB_CMD_FENCED;
    ev.u.command.id = w->next_command++;
    ev.u.command.node = item->peer;
    ev.u.command.term = item->u.told.term;
    sim_tell(w, item->node, "n%u is off: fenced for term %lu of service %u", item->peer + 1,
             (unsigned long)item->u.told.term, item->service);
    sim_step(w, item->node, &ev);
}

/* ---- what waits for an order, when everything is well ---- */

static bool
voter_granted_more(const struct sim *w, uint8_t service, uint64_t term)
{
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        if (sim_is_voter(&w->conf[service], n) &&
            w->nodes[n].services[service].record.rec.granted_term > term) {
            return true;
        }
    }
    return false;
}

static void
order(struct sim *w, uint8_t service)
{
    uint8_t best = SIM_NODES;
    struct zb_set_ref newest = {0};

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_service *s = &w->nodes[n].services[service];
        struct zb_set_ref at;
        if (s->running) { /* led: a new term, if somebody granted a later one */
            if (voter_granted_more(w, service, s->record.rec.established_term)) {
                (void)sim_failover(w, n, service, false);
            }
            return;
        }
        sim_position(w, n, service, &at);
        if (sim_is_voter(&w->conf[service], n) &&
            (best == SIM_NODES || zb_set_id_cmp(at.id, newest.id) > 0)) {
            best = n;
            newest = at;
        }
    }
    if (sim_chance(w, 500)) { /* the newest one may have come away from the history */
        best = (uint8_t)sim_random(w, w->opt.nodes);
    }
    (void)sim_failover(w, best, service, sim_chance(w, 300));
}

/* A copy without any snapshot of the leader's is replaced by a full one only if somebody says so.
 */
static void
rejoin_order(struct sim *w, uint8_t node, uint8_t service)
{
    struct zb_core_view v;

    if (!w->nodes[node].engine) {
        return;
    }
    zb_core_view(w->cores[node], service, &v);
    if (strcmp(v.why_rule, "R-rejoin-no-base") == 0) {
        (void)sim_command(w, node, service, ZB_CMD_REJOIN, node);
    }
}

void
sim_failover_heal(struct sim *w)
{
    if (w->now_ms < w->heal_order_ms) {
        return;
    }
    w->heal_order_ms = w->now_ms + HEAL_ORDER_MS;
    for (uint8_t i = 0; i < w->opt.services; i++) {
        sim_members_heal(w, i);
        if (w->opt.failovers > 0 || w->opt.changes > 0) {
            order(w, i);
        }
        for (uint8_t n = 0; n < w->opt.nodes; n++) {
            rejoin_order(w, n, i);
        }
    }
}

/* ---- what a failover leaves behind ---- */

static void
lose(struct sim *w, uint8_t service, uint8_t uuid, uint32_t version)
{
    if (w->lost_count < SIM_LOST) {
        w->lost[w->lost_count++] =
            (struct sim_write){.service = service, .uuid = uuid, .version = version};
    }
}

void
sim_lose(struct sim *w, const struct sim_item *item)
{
    for (unsigned u = 1; u <= w->next_uuid[item->service]; u++) {
        const struct sim_dataset *d = sim_dataset_by_uuid(w, item->node, item->service, (uint8_t)u);
        uint32_t *acked = &w->acked[item->service][u];
        bool here = d != NULL && !d->orphan;
        if (*acked != 0 && !w->destroyed[item->service][u] &&
            !(here && sim_descends(w, *acked, d->live))) {
            sim_tell(w, item->node, "leaves write %u of dataset %u of service %u behind", *acked, u,
                     item->service);
            lose(w, item->service, (uint8_t)u, *acked);
            sim_statement_left(w, item, *acked);
        }
        if (here) {
            *acked = d->live < *acked || !sim_descends(w, *acked, d->live) ? d->live : *acked;
        }
        w->destroyed[item->service][u] = !here;
    }
}

static bool
found(struct sim *w, const struct sim_write *lost)
{
    for (uint32_t i = 0; i < w->rescued_count; i++) {
        const struct sim_write *r = &w->rescued[i];
        if (r->service == lost->service && r->uuid == lost->uuid &&
            sim_descends(w, lost->version, r->version)) {
            return true;
        }
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_dataset *d = sim_dataset_by_uuid(w, n, lost->service, lost->uuid);
        if (d != NULL && (sim_descends(w, lost->version, d->live) ||
                          (d->logged != 0 && sim_descends(w, lost->version, d->logged)))) {
            return true;
        }
    }
    return false;
}

void
sim_lost_forget(struct sim *w, uint8_t service, const struct sim_dataset *d)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < w->lost_count; i++) {
        const struct sim_write *lost = &w->lost[i];
        if (lost->service != service || lost->uuid != d->uuid ||
            !sim_descends(w, lost->version, d->live)) {
            w->lost[kept++] = *lost;
        }
    }
    w->lost_count = kept;
}

bool
sim_lost_found(struct sim *w)
{
    for (uint32_t i = 0; i < w->lost_count; i++) {
        if (!w->forgiven[w->lost[i].service] && !found(w, &w->lost[i])) {
            sim_tell(w, 0, "write %u of dataset %u of service %u is nowhere", w->lost[i].version,
                     w->lost[i].uuid, w->lost[i].service);
            return false;
        }
    }
    return true;
}
