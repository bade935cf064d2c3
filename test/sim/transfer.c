/* Bringing a follower to a set, as the engines' ship and land do it: dataset by dataset, snapshot
 * by snapshot, each receive admitted by the production rules, and the set re-read at the end. */
#include "prune.h"
#include "sim.h"

#include <stdio.h>
#include <string.h>

void
sim_ship_begin(struct sim *w, uint8_t node, const struct zb_action *a)
{
    struct sim_item *item = sim_item_add(w, SIM_SHIP, node, 2 + (int64_t)sim_random(w, 10));
    const struct sim_manifest *m = sim_manifest_find(w, (uint8_t)a->service, &a->set);

    item->service = (uint8_t)a->service;
    item->peer = a->node;
    item->life = w->nodes[node].engine_life;
    item->session = w->nodes[node].session[a->node];
    item->u.ship.id = a->id;
    item->u.ship.term = a->term;
    item->u.ship.set = a->set;
    item->u.ship.manifest = m != NULL ? (uint32_t)(m - w->manifests) + 1 : 0;
    item->u.ship.flags = a->flags;
    item->u.ship.fail = sim_chance(w, w->opt.op_failures);
    item->u.ship.lie = sim_chance(w, w->opt.op_failures / 2);
    sim_tell(w, node, "ships %lu/%lu of service %u to n%u", (unsigned long)a->set.id.term,
             (unsigned long)a->set.id.seq, a->service, a->node + 1);
}

static void
ship_end(struct sim *w, const struct sim_item *item, enum zb_rc rc)
{
    struct sim_item *done;

    if (!w->nodes[item->node].engine || w->nodes[item->node].engine_life != item->life) {
        return;
    }
    done = sim_item_add(w, SIM_DONE, item->node, 1 + (int64_t)sim_random(w, 10));
    done->service = item->service;
    done->life = item->life;
    done->u.done.id = item->u.ship.id;
    done->u.done.kind = ZB_ACT_SHIP;
    done->u.done.rc = rc;
    done->u.done.set = item->u.ship.set;
}

static bool
ship_connected(const struct sim *w, const struct sim_item *item)
{
    return sim_connected(w, item->node, item->peer) &&
           w->nodes[item->node].session[item->peer] == item->session &&
           w->nodes[item->node].engine_life == item->life && !w->nodes[item->peer].paused;
}

/* The next snapshot that the follower's dataset of one entry needs. */
struct leg {
    struct sim_dataset *from;
    struct sim_dataset *to; /* NULL: a full stream */
    uint8_t slot;           /* where it goes */
    uint32_t snap;          /* of from */
    uint64_t from_guid;     /* what it goes on from; 0: a full stream */
    bool complete;
};

static uint32_t
snap_find(const struct sim_dataset *d, uint64_t guid)
{
    uint32_t i = 0;

    while (i < d->snaps_count && d->snaps[i].guid != guid) {
        i++;
    }
    return i;
}

/* What is in common is no snapshot of both: production decides from where it goes on. */
static enum zb_rc
leg_from_mark(struct sim *w, const struct sim_item *item, struct leg *leg, uint64_t target)
{
    enum zb_rc rc = sim_plan_leg(leg->from, leg->to, target, &leg->snap);

    if (rc == ZB_E_DIVERGED) {
        sim_check_parted(w, item, leg->from, leg->to, target);
    }
    w->marks_used += rc == ZB_OK;
    return rc;
}

static enum zb_rc
leg_find(struct sim *w, const struct sim_item *item, const struct sim_manifest *m, struct leg *leg)
{
    uint8_t entry = item->u.ship.entry;
    uint32_t target;
    uint32_t base;

    *leg = (struct leg){.slot = m->slots[entry]};
    leg->from = sim_dataset_by_uuid(w, item->node, item->service, m->uuids[entry]);
    leg->to = sim_dataset_by_uuid(w, item->peer, item->service, m->uuids[entry]);
    if (leg->from == NULL) {
        return ZB_E_NOTFOUND;
    }
    if (leg->to != NULL && leg->to->partial) {
        sim_dataset_destroy(leg->to); /* begun again */
        leg->to = NULL;
    }
    target = snap_find(leg->from, m->guids[entry]);
    if (leg->to == NULL) {
        return target < leg->from->snaps_count ? ZB_OK : ZB_E_NOTFOUND;
    }
    leg->slot = (uint8_t)(leg->to - w->nodes[item->peer].services[item->service].datasets);
    if (snap_find(leg->to, m->guids[entry]) < leg->to->snaps_count) {
        leg->complete = true;
        leg->to->orphan = false;
        return ZB_OK;
    }
    if (leg->to->snaps_count == 0) {
        return ZB_E_DIVERGED;
    }
    leg->from_guid = leg->to->snaps[leg->to->snaps_count - 1].guid;
    base = snap_find(leg->from, leg->from_guid);
    if (base == leg->from->snaps_count) { /* but perhaps a bookmark of it */
        return leg_from_mark(w, item, leg, m->guids[entry]);
    }
    if (base >= target || target == leg->from->snaps_count) {
        return ZB_E_DIVERGED;
    }
    leg->snap = base + 1;
    return ZB_OK;
}

/* Whether the follower's keeper takes it. */
static enum zb_rc
receive_admit(struct sim *w, struct sim_item *item, const struct leg *leg)
{
    struct sim_node *n = &w->nodes[item->peer];
    struct sim_service *s = &n->services[item->service];
    struct sim_facts f;
    struct zb_kreq req = {.term = item->u.ship.term,
                          .flags = (item->u.ship.flags & ZB_SHIP_FORWARD) != 0 ? ZB_KF_FORWARD
                                   : (item->u.ship.flags & ZB_SHIP_COPY) != 0  ? ZB_KF_COPY
                                                                               : 0};
    const struct zb_kdataset *d = NULL;
    struct zb_err err;
    enum zb_rc rc;

    if (!n->keeper || s->claimed || n->disk_stuck || !s->settled) {
        return ZB_E_BUSY;
    }
    if (n->disk_full) {
        return ZB_E_NOSPACE;
    }
    sim_node_name(item->node, req.node);
    sim_rel_name(leg->slot, req.rel);
    sim_uuid_text(leg->from->uuid, req.uuid);
    zb_strcopy(req.snap, sizeof(req.snap), "snap");
    req.guid = leg->from->snaps[leg->snap].guid;
    req.from_guid = leg->from_guid;
    sim_facts_fill(w, item->peer, item->service, &f);
    f.facts.copier = s->copier == item->node && s->copier_term == req.term;
    rc = zb_rules_receive(&s->record, &req, &f.facts, &err);
    if (rc == ZB_OK && leg->to != NULL && leg->to->orphan) { /* a set has it again (ARRANGE) */
        leg->to->orphan = false;
        sim_facts_fill(w, item->peer, item->service, &f);
    }
    for (uint32_t i = 0; i < f.facts.datasets_count; i++) {
        if (leg->to != NULL && f.slots[i] == leg->slot) {
            d = &f.datasets[i];
        }
    }
    if (rc == ZB_OK && leg->to == NULL && s->datasets[leg->slot].exists) {
        /* Another dataset has the name here: it is set aside, under a name that no tree has. */
        sim_keep_aside(w, item->service, &s->datasets[leg->slot]);
        sim_dataset_destroy(&s->datasets[leg->slot]);
    }
    return rc == ZB_OK ? zb_rules_receive_dataset(&req, d, &err) : rc;
}

static uint64_t
newest_guid(const struct sim_dataset *d)
{
    return d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].guid : 0;
}

static void
receive_begin(struct sim *w, struct sim_item *item, const struct leg *leg)
{
    struct sim_service *s = &w->nodes[item->peer].services[item->service];
    struct sim_dataset *d = &s->datasets[leg->slot];

    item->u.ship.snap = leg->from->snaps[leg->snap];
    item->u.ship.snap.held = false;
    item->u.ship.slot = leg->slot;
    item->u.ship.receiving = true;
    if (leg->to == NULL) {
        sim_dataset_destroy(d);
        d->exists = d->marked = d->partial = d->safe = true;
        d->uuid = leg->from->uuid;
    } else {
        d->orphan = false;
        d->token_guid = item->u.ship.snap.guid;
    }
    if ((item->u.ship.flags & ZB_SHIP_COPY) != 0) {
        s->copier = item->node;
        s->copier_term = item->u.ship.term;
    }
    s->receives++;
    item->u.ship.snaps_before = d->snaps_count;
    item->u.ship.newest_before = newest_guid(d);
    sim_check_receive(w, item);
    item->u.ship.epoch = s->receive_epoch;
    item->keeper_life = w->nodes[item->peer].keeper_life;
}

/* ETXTBSY: the kernel compares once more at the end, but not what only the intent log has; nor does
 * it take a stream when another one was received meanwhile. */
static bool
kernel_refuses(const struct sim_dataset *d)
{
    return d->live != (d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].version : 0);
}

/* The end of one receive. */
static enum zb_rc
receive_end(struct sim *w, struct sim_item *item)
{
    struct sim_node *n = &w->nodes[item->peer];
    struct sim_service *s = &n->services[item->service];
    struct sim_dataset *d = &s->datasets[item->u.ship.slot];

    item->u.ship.receiving = false;
    if (!n->keeper || n->keeper_life != item->keeper_life ||
        s->receive_epoch != item->u.ship.epoch) {
        return ZB_E_CLOSED; /* it was ended before */
    }
    s->receives--;
    if (!ship_connected(w, item)) {
        return ZB_E_CLOSED;
    }
    if (item->u.ship.fail && sim_chance(w, 500)) {
        return ZB_E_FAILED;
    }
    if (sim_full(w, d)) {
        return ZB_E_NOSPACE;
    }
    if (newest_guid(d) != item->u.ship.newest_before) {
        return ZB_E_DIVERGED;
    }
    if (kernel_refuses(d)) {
        return ZB_E_DIVERGED;
    }
    if (item->u.ship.lie) {
        item->u.ship.entry++;
        return ZB_OK;
    }
    sim_check_overwrite(w, item);
    sim_tell(w, item->peer, "holds snapshot %lu (%lu/%lu) of dataset %u of service %u",
             (unsigned long)item->u.ship.snap.guid, (unsigned long)item->u.ship.snap.id.term,
             (unsigned long)item->u.ship.snap.id.seq, item->u.ship.slot, item->service);
    d->snaps[d->snaps_count++] = item->u.ship.snap;
    d->live = d->synced = item->u.ship.snap.version;
    d->logged = 0;
    d->token_guid = 0;
    d->partial = false;
    return ZB_OK;
}

/* What the follower re-reads decides (S7): what it holds is told, and compared by who sent. */
static void
ship_complete(struct sim *w, struct sim_item *item, const struct sim_manifest *m)
{
    struct sim_item *received;

    if (!sim_holds(w, item->peer, m)) {
        sim_position(w, item->peer, item->service, &item->u.ship.set);
        ship_end(w, item, sim_chance(w, 500) ? ZB_OK : ZB_E_MISMATCH);
        return;
    }
    received = sim_item_add(w, SIM_RECEIVED, item->peer, 0);
    received->service = item->service;
    received->life = w->nodes[item->peer].engine_life;
    received->u.set = m->ref;
    ship_end(w, item, ZB_OK);
}

void
sim_ship_run(struct sim *w, struct sim_item *item)
{
    const struct sim_manifest *m;
    struct leg leg;
    enum zb_rc rc = ZB_OK;

    if (item->u.ship.manifest == 0) {
        ship_end(w, item, ZB_E_NOTFOUND);
        return;
    }
    m = &w->manifests[item->u.ship.manifest - 1];
    if (item->u.ship.receiving) {
        rc = receive_end(w, item);
    } else if (!ship_connected(w, item)) {
        rc = ZB_E_CLOSED;
    }
    while (rc == ZB_OK && item->u.ship.entry < m->count) {
        rc = leg_find(w, item, m, &leg);
        if (rc == ZB_OK && leg.complete) {
            item->u.ship.entry++;
            continue;
        }
        rc = rc == ZB_OK ? receive_admit(w, item, &leg) : rc;
        if (rc == ZB_OK) {
            receive_begin(w, item, &leg);
            sim_item_again(w, item, 2 + (int64_t)sim_random(w, sim_chance(w, 50) ? 5000 : 60));
            return;
        }
    }
    if (rc == ZB_OK) {
        ship_complete(w, item, m);
        return;
    }
    if (rc == ZB_E_DIVERGED && item->u.ship.flags == 0 && ship_connected(w, item)) {
        sim_fork_tell(w, item);
    }
    ship_end(w, item, rc);
}
