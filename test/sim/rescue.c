/* A copy that came away from the lineage is set aside and goes on from its fork: the leader's word,
 * and the keeper's operation as src/keeper/op_rescue.c. It is done at once: begun, the real one is
 * ended before anything else happens to the service. */
#include "prune.h"
#include "sim.h"

#include <string.h>

static int64_t
snap_index(const struct sim_dataset *d, uint64_t guid)
{
    for (uint32_t i = d->snaps_count; i-- > 0;) {
        if (d->snaps[i].guid == guid) {
            return i;
        }
    }
    return -1;
}

/* ---- the leader's side ---- */

void
sim_fork_tell(struct sim *w, const struct sim_item *ship)
{
    struct sim_service *s = &w->nodes[ship->peer].services[ship->service];
    struct sim_item *told = sim_item_add(w, SIM_DIVERGED, ship->peer, 1);
    uint64_t guids[SIM_DATASETS];

    memset(&s->fork, 0, sizeof(s->fork));
    s->fork.leader = ship->node;
    s->fork.term = ship->u.ship.term;
    told->service = ship->service;
    told->peer = ship->node;
    told->life = w->nodes[ship->peer].engine_life;
    told->u.told.term = ship->u.ship.term;
    told->u.told.common = sim_plan_fork(w, ship->node, ship->peer, ship->service, guids);
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (guids[i] != 0) {
            s->fork.uuids[s->fork.count] = s->datasets[i].uuid;
            s->fork.guids[s->fork.count++] = guids[i];
        }
    }
}

void
sim_diverged_arrive(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_DIVERGED, .service = item->service, .node = item->peer};

    ev.u.diverged.term = item->u.told.term;
    ev.u.diverged.common = item->u.told.common;
    sim_step(w, item->node, &ev);
}

/* ---- RESCUE ---- */

/* What the datasets go on from: of a set, or as the leader told. */
static bool
forks_find(struct sim *w, const struct sim_item *item, uint64_t *guids)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    const struct sim_manifest *m = NULL;

    memset(guids, 0, SIM_DATASETS * sizeof(*guids));
    if (!zb_set_id_is_none(item->u.op.set.id)) {
        m = sim_manifest_find(w, item->service, &item->u.op.set);
    } else if (s->fork.term != item->u.op.term || s->fork.leader != item->u.op.node) {
        return false;
    }
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        for (uint8_t j = 0; m != NULL && j < m->count; j++) {
            guids[i] = m->uuids[j] == s->datasets[i].uuid ? m->guids[j] : guids[i];
        }
        for (uint8_t j = 0; m == NULL && j < s->fork.count; j++) {
            guids[i] = s->fork.uuids[j] == s->datasets[i].uuid ? s->fork.guids[j] : guids[i];
        }
    }
    return true;
}

void
sim_keep_aside(struct sim *w, uint8_t service, const struct sim_dataset *d)
{
    if (w->rescued_count < SIM_RESCUED) {
        w->rescued[w->rescued_count++] = (struct sim_write){
            .service = service, .uuid = d->uuid, .version = d->logged != 0 ? d->logged : d->live};
    }
}

/* The dataset as it is stands in the rescue; what goes on ends with the fork. */
static void
set_aside(struct sim *w, const struct sim_item *item, struct sim_dataset *d, uint64_t guid)
{
    int64_t at = guid != 0 ? snap_index(d, guid) : -1;

    sim_keep_aside(w, item->service, d);
    if (at < 0) {
        sim_dataset_destroy(d);
        return;
    }
    d->snaps_count = (uint32_t)at + 1;
    d->marks_count = 0; /* they stay with what is set aside */
    d->live = d->synced = d->snaps[at].version;
    d->logged = 0;
    d->token_guid = 0;
    if (item->u.op.meddled && !sim_full(w, d)) { /* by another tool, before it is read again */
        d->snaps[d->snaps_count++] = (struct sim_snap){.guid = ++w->next_guid, .version = d->live};
    }
}

/* What goes on is read again, guid by guid (S7). */
static enum zb_rc
forks_prove(struct sim *w, const struct sim_item *item, const uint64_t *guids)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_manifest_entry entries[SIM_DATASETS];
    struct zb_manifest forks = {.entries = entries};
    struct sim_facts f;

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (guids[i] != 0 && s->datasets[i].exists) {
            struct zb_manifest_entry *e = &entries[forks.entries_count++];
            sim_uuid_text(s->datasets[i].uuid, e->uuid);
            sim_rel_name(i, e->rel);
            e->guid = guids[i];
        }
    }
    sim_facts_fill(w, item->node, item->service, &f);
    return zb_rules_on_forks(&forks, &f.facts) ? ZB_OK : ZB_E_MISMATCH;
}

static enum zb_rc
go_on(struct sim *w, struct sim_item *item, const uint64_t *guids)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct sim_content before[SIM_DATASETS];
    enum zb_rc rc;

    sim_contents_note(w, item->node, item->service, before);
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (s->datasets[i].exists) {
            set_aside(w, item, &s->datasets[i], guids[i]);
        }
    }
    rc = forks_prove(w, item, guids);
    sim_tell(w, item->node, "service %u is set aside: %s", item->service, zb_rc_word(rc));
    sim_check_aside(w, item->node, item->service, before);
    if (rc == ZB_OK) {
        sim_check_forks(w, item->node, item->service, guids);
    }
    if (sim_statement_reverting(item->node, item->service)) { /* left behind by that order */
        sim_lose(w, item);
    }
    return rc;
}

enum zb_rc
sim_op_rescue(struct sim *w, struct sim_item *item, struct sim_facts *f,
              const struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    uint64_t guids[SIM_DATASETS];
    struct zb_err err;
    bool beyond = false;
    struct zb_rules_place places[SIM_DATASETS];
    enum zb_rc rc;

    for (uint32_t i = 0; i < f->facts.datasets_count; i++) {
        places[i] = (struct zb_rules_place){
            .rel = f->datasets[i].rel, .uuid = f->datasets[i].uuid, .own = f->datasets[i].marked};
    }
    rc = zb_rules_rescue(&s->record, &r->req, &f->facts, places, f->facts.datasets_count, &err);
    if (rc == ZB_OK && !forks_find(w, item, guids)) {
        rc = ZB_E_STALE;
    }
    for (uint8_t i = 0; i < w->opt.datasets && rc == ZB_OK; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (d->partial) {
            sim_dataset_destroy(d);
        }
        if (d->exists && d->lazy) {
            rc = ZB_E_HELD;
        }
        beyond =
            beyond || (d->exists && (guids[i] == 0 || sim_written(d) != 0 || d->snaps_count == 0 ||
                                     d->snaps[d->snaps_count - 1].guid != guids[i]));
    }
    if (rc == ZB_OK && s->datasets[0].exists && snap_index(&s->datasets[0], guids[0]) < 0 &&
        (item->u.op.flags & ZB_RESCUE_WHOLE) == 0) {
        rc = ZB_E_NOTFOUND;
    }
    if (rc == ZB_OK && beyond) {
        rc = go_on(w, item, guids);
        item->u.op.rescued = rc == ZB_OK;
    }
    return rc;
}
