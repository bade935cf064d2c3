/* The operations that lead: PROMOTE, SEAL, SNAPSHOT; as src/keeper/op_lead.c and op_set.c. */
#include "sim.h"

#include <string.h>

/* ---- PROMOTE: check, record, mount and probe ---- */

/* Datasets that the released set does not have are left aside. */
static void
orphans_mark(struct sim *w, struct sim_item *item, const struct sim_request *r,
             const struct sim_facts *f)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];

    for (uint32_t i = 0; i < f->facts.datasets_count; i++) {
        if (zb_rules_is_orphan(&r->req.manifest, &f->facts, i)) {
            s->datasets[f->slots[i]].orphan = true;
        }
    }
}

static enum zb_rc
promote_check(struct sim *w, struct sim_item *item, const struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct sim_facts f;
    struct zb_err err;
    enum zb_rc rc;

    for (uint8_t i = 0; i < w->opt.datasets; i++) { /* partial receives go first */
        s->datasets[i].token_guid = 0;
        if (s->datasets[i].partial) {
            sim_dataset_destroy(&s->datasets[i]);
        }
    }
    sim_facts_fill(w, item->node, item->service, &f);
    if ((r->req.flags & ZB_KF_EXACT) != 0 && item->u.op.manifest == 0) {
        return ZB_E_NOTFOUND;
    }
    rc = zb_rules_promote(&s->record, &r->req, &f.facts, &err);
    if (rc == ZB_OK && (r->req.flags & (ZB_KF_EXACT | ZB_KF_REMOUNT)) == ZB_KF_EXACT) {
        orphans_mark(w, item, r, &f);
    }
    return rc;
}

static void
tree_mount(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (d->exists && !d->orphan && d->marked) {
            sim_dataset_replay(d);
            d->mount = ZB_MOUNT_RW;
        }
    }
    sim_check_writable(w, item);
    for (uint8_t i = 0; i < w->opt.datasets; i++) { /* the probe leaves its traces */
        if (s->datasets[i].exists && s->datasets[i].mount == ZB_MOUNT_RW) {
            (void)sim_write(w, item->node, item->service, i, false);
        }
    }
}

int64_t
sim_op_promote(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    bool remount = (item->u.op.flags & ZB_PROMOTE_REMOUNT) != 0;
    struct sim_request r;
    enum zb_rc rc = ZB_OK;

    sim_request_fill(w, item, &r);
    if (item->stage == 1) {
        rc = promote_check(w, item, &r);
        if (rc == ZB_OK && !remount) {
            struct zb_keeper_record next = s->record;
            char self[ZB_NODE_NAME_SIZE];
            char boot[ZB_UUID_SIZE];
            sim_check_promote(w, item);
            sim_node_name(item->node, self);
            sim_uuid_text(w->nodes[item->node].host_life, boot);
            zb_rules_promoted(&next, &r.req, self, boot, item->node + 1u);
            rc = w->nodes[item->node].disk_full ? ZB_E_NOSPACE : ZB_OK;
            if (rc == ZB_OK) { /* recorded before anything can be written (M7) */
                s->record = next;
                sim_check_taken(w, item);
            }
        }
        if (rc != ZB_OK) {
            sim_op_finish(w, item, rc, true);
            return -1;
        }
        item->stage = 2;
        return 5 + (int64_t)sim_random(w, 50);
    }
    if (item->u.op.fail) {
        /* What was mounted is unmounted again; the probe may have written. */
        s->stage = remount ? ZB_STAGE_UNMOUNTED : ZB_STAGE_REST;
        sim_op_finish(w, item, ZB_E_FAILED, true);
        return -1;
    }
    tree_mount(w, item);
    s->stage = ZB_STAGE_MOUNTED;
    sim_op_finish(w, item, ZB_OK, true);
    return -1;
}

/* ---- SEAL: unmount, prove ---- */

static enum zb_rc
seal_prove(struct sim *w, struct sim_item *item, const struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct sim_facts f;
    struct zb_err err;

    if (sim_lazily_held(w, s)) {
        return ZB_E_HELD;
    }
    sim_facts_fill(w, item->node, item->service, &f);
    return zb_rules_tree_equal(&r->req.manifest, &f.facts, &err);
}

static void
seal_undo(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (s->datasets[i].exists && !s->datasets[i].orphan && s->datasets[i].marked) {
            s->datasets[i].mount = ZB_MOUNT_RW;
        }
    }
    s->stage = ZB_STAGE_MOUNTED;
    item->u.op.remounted = true;
}

int64_t
sim_op_seal(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct sim_facts f;
    struct sim_request r;
    struct zb_err err;
    enum zb_rc rc;

    sim_request_fill(w, item, &r);
    if (item->stage == 1) {
        sim_facts_fill(w, item->node, item->service, &f);
        rc = item->u.op.manifest == 0 ? ZB_E_NOTFOUND
                                      : zb_rules_seal(&s->record, &r.req, &f.facts, &err);
        if (rc != ZB_OK) {
            sim_op_finish(w, item, rc, true);
            return -1;
        }
        item->u.op.was_mounted = s->stage == ZB_STAGE_MOUNTED;
        s->stage = ZB_STAGE_UNMOUNTED;
        item->stage = 2;
        return (int64_t)sim_random(w, 30);
    }
    if (item->stage == 2) {
        /* Tried again until its time is over, then its holders are named. */
        if (!sim_umount(w, item->node, item->service)) {
            if (w->now_ms - item->u.op.begun_ms < 10000) {
                return 500;
            }
            rc = ZB_E_HELD;
            goto failed;
        }
        item->stage = 3;
        return (int64_t)sim_random(w, 30);
    }
    rc = item->u.op.fail ? ZB_E_FAILED : seal_prove(w, item, &r);
    if (rc == ZB_OK) {
        s->stage = ZB_STAGE_SEALED;
        s->sealed = item->u.op.manifest - 1;
        sim_op_finish(w, item, ZB_OK, true);
        return -1;
    }
failed:
    if (item->u.op.was_mounted && rc != ZB_E_MISMATCH) {
        seal_undo(w, item);
    }
    sim_op_finish(w, item, rc, true);
    return -1;
}

/* ---- SNAPSHOT ---- */

/* Children that came in, or that somebody unmounted, under a tree that is mounted. */
void
sim_children_mount(struct sim *w, uint8_t node, uint8_t service)
{
    struct sim_service *s = &w->nodes[node].services[service];

    for (uint8_t i = 1; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (d->exists && !d->orphan && d->marked && !d->lazy &&
            s->datasets[0].mount == ZB_MOUNT_RW) {
            d->mount = ZB_MOUNT_RW;
        }
    }
}

static void
newcomers_adopt(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (d->exists && !d->orphan && d->uuid == 0 && w->next_uuid[item->service] < SIM_UUIDS) {
            d->uuid = ++w->next_uuid[item->service];
            d->marked = d->safe = true;
        }
    }
    if (s->stage == ZB_STAGE_MOUNTED) {
        sim_children_mount(w, item->node, item->service);
    }
}

/* One atomic recursive snapshot. */
static enum zb_rc
set_make(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct sim_manifest *m = &w->manifests[w->manifests_count];
    struct zb_manifest_entry entries[SIM_DATASETS];
    struct zb_manifest full;

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (s->datasets[i].exists && sim_full(w, &s->datasets[i])) {
            return ZB_E_NOSPACE;
        }
    }
    if (w->manifests_count == SIM_MANIFESTS) {
        sim_fail(w, "model: more than %d sets", SIM_MANIFESTS);
        return ZB_E_LIMIT;
    }
    memset(m, 0, sizeof(*m));
    m->service = item->service;
    m->ref.id = (struct zb_set_id){item->u.op.term, item->u.op.set.id.seq};
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (!d->exists || d->orphan || d->uuid == 0) {
            continue;
        }
        d->synced = d->live; /* a snapshot takes its group along */
        d->logged = 0;
        d->snaps[d->snaps_count++] =
            (struct sim_snap){.guid = ++w->next_guid,
                              .id = m->ref.id,
                              .time = sim_calendar(w, item->node),
                              .version = d->live,
                              .manifest = (uint16_t)(w->manifests_count + 1)};
        m->uuids[m->count] = d->uuid;
        m->slots[m->count] = i;
        m->versions[m->count] = d->live;
        m->guids[m->count++] = w->next_guid;
    }
    sim_manifest_expand(m, &full, entries);
    zb_manifest_ref(&full, &m->ref);
    sim_check_set(w, m);
    w->manifests_count++;
    item->u.op.set = m->ref;
    return ZB_OK;
}

int64_t
sim_op_snapshot(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct sim_request r;
    struct sim_facts f;
    struct zb_err err;
    uint64_t last = 0;
    bool any = false;
    enum zb_rc rc;

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        for (uint32_t j = 0; d->exists && !d->orphan && j < d->snaps_count; j++) {
            if (d->snaps[j].id.term == item->u.op.term) {
                last = !any || d->snaps[j].id.seq > last ? d->snaps[j].id.seq : last;
                any = true;
            }
        }
    }
    sim_request_fill(w, item, &r);
    sim_facts_fill(w, item->node, item->service, &f);
    rc = zb_rules_snapshot(&s->record, &r.req, &f.facts, any, last, &err);
    if (rc == ZB_OK && (item->u.op.fail || w->nodes[item->node].disk_full)) {
        rc = item->u.op.fail ? ZB_E_FAILED : ZB_E_NOSPACE;
    }
    for (uint8_t i = 0; rc == ZB_OK && item->u.op.final && i < w->opt.datasets; i++) {
        if (s->datasets[i].mount == ZB_MOUNT_RW) {
            sim_dataset_flush(w, item->node, item->service, i);
        }
    }
    if (rc == ZB_OK) {
        newcomers_adopt(w, item);
        rc = set_make(w, item);
    }
    sim_op_finish(w, item, rc, false);
    return -1;
}
