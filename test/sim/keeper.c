/* Operations of the keeper on one simulated host. What may be done and what the record becomes is
 * decided by the production rules (keeper/rules.h); what is here is their order and their effects,
 * as src/keeper/op_*.c has them. When they are done is in dispatch.c. */
#include "prune.h"
#include "sim.h"

#include <string.h>

/* ---- names ---- */

static const char *const node_names[SIM_NODES] = {"n1", "n2", "n3", "n4", "n5"};
static const char *const rels[SIM_DATASETS] = {"", "a", "b"};
static const char boot_ids[] = "00000000-0000-4000-8000-00000000";

static uint8_t
node_number(const char *name)
{
    return name[0] == 'n' ? (uint8_t)(name[1] - '1') : ZB_NODE_NONE;
}

void
sim_node_name(uint8_t node, char *out)
{
    zb_strcopy(out, ZB_NODE_NAME_SIZE, node_names[node]);
}

void
sim_rel_name(uint8_t slot, char *out)
{
    zb_strcopy(out, ZB_REL_SIZE, rels[slot]);
}

void
sim_uuid_text(uint32_t number, char *out)
{
    static const char hex[] = "0123456789abcdef";

    memcpy(out, boot_ids, sizeof(boot_ids) - 1);
    for (unsigned i = 0; i < 4; i++) {
        out[sizeof(boot_ids) - 1 + i] = hex[(number >> (12 - 4 * i)) & 15];
    }
    out[ZB_UUID_SIZE - 1] = '\0';
}

/* ---- what the rules are asked with ---- */

void
sim_manifest_expand(const struct sim_manifest *m, struct zb_manifest *out,
                    struct zb_manifest_entry *entries)
{
    *out = (struct zb_manifest){.id = m->ref.id, .entries_count = m->count, .entries = entries};
    for (uint8_t i = 0; i < m->count; i++) {
        sim_uuid_text(m->uuids[i], entries[i].uuid);
        zb_strcopy(entries[i].rel, ZB_REL_SIZE, rels[m->slots[i]]);
        entries[i].guid = m->guids[i];
    }
}

void
sim_facts_fill(struct sim *w, uint8_t node, uint8_t service, struct sim_facts *f)
{
    struct sim_service *s = &w->nodes[node].services[service];

    f->facts = (struct zb_keeper_facts){.self = node_names[node],
                                        .stage = s->stage,
                                        .running = s->running,
                                        .datasets = f->datasets};
    if (s->stage == ZB_STAGE_SEALED) {
        sim_manifest_expand(&w->manifests[s->sealed], &f->sealed, f->sealed_entries);
        f->facts.sealed = &f->sealed;
    }
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        struct zb_kdataset *k = &f->datasets[f->facts.datasets_count];
        if (!d->exists || d->orphan) {
            continue;
        }
        f->slots[f->facts.datasets_count++] = i;
        memset(k, 0, sizeof(*k));
        if (d->uuid != 0) {
            sim_uuid_text(d->uuid, k->uuid);
        }
        zb_strcopy(k->rel, sizeof(k->rel), rels[i]);
        k->guid = 1;
        k->mount = d->mount;
        k->readonly_on = 1;
        k->marked = d->marked;
        k->written_bytes = sim_written(d);
        if (d->snaps_count > 0) {
            zb_strcopy(k->newest, sizeof(k->newest), "newest");
            k->newest_guid = d->snaps[d->snaps_count - 1].guid;
        }
    }
}

void
sim_request_fill(struct sim *w, const struct sim_item *item, struct sim_request *r)
{
    struct zb_kreq *q = &r->req;

    memset(q, 0, sizeof(*q));
    q->term = item->u.op.term;
    q->seq = item->u.op.set.id.seq;
    q->nonce = item->u.op.nonce;
    q->version = w->nodes[item->node].services[item->service].conf.version;
    q->flags = ((item->u.op.flags & ZB_PROMOTE_EXACT) != 0 ? ZB_KF_EXACT : 0) |
               ((item->u.op.flags & ZB_PROMOTE_REMOUNT) != 0 ? ZB_KF_REMOUNT : 0);
    q->base_term =
        item->u.op.kind == ZB_ACT_PROMOTE ? item->u.op.set.id.term : item->u.op.floor.term;
    q->base_seq = item->u.op.kind == ZB_ACT_PROMOTE ? item->u.op.set.id.seq : item->u.op.floor.seq;
    q->lineage = item->u.op.lineage;
    if (item->u.op.kind == ZB_ACT_PRUNE) {
        q->term = item->u.op.floor_way.term;
        q->seq = item->u.op.floor_way.seq;
    }
    q->protect_count = item->u.op.protect_count;
    q->count = item->u.op.bases_count;
    memcpy(q->protect, item->u.op.protect, sizeof(q->protect));
    if (item->u.op.node < SIM_NODES) {
        zb_strcopy(q->node, sizeof(q->node), node_names[item->u.op.node]);
    }
    if (item->u.op.manifest != 0) {
        sim_manifest_expand(&w->manifests[item->u.op.manifest - 1], &q->manifest, r->entries);
    }
}

void
sim_obs_fill(struct sim *w, uint8_t node, uint8_t service, struct zb_core_obs *obs)
{
    const struct sim_service *s = &w->nodes[node].services[service];
    const struct zb_record *r = &s->record.rec;
    bool written = false;

    memset(obs, 0, sizeof(*obs));
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        if (!d->exists || d->orphan) {
            continue;
        }
        obs->exists = true;
        obs->mounted = obs->mounted || d->mount != ZB_MOUNT_NONE;
        obs->mounted_rw = obs->mounted_rw || d->mount == ZB_MOUNT_RW;
        obs->written_bytes += sim_written(d);
        written = written || (sim_written(d) != 0 && d->snaps_count > 0);
        obs->foreign = obs->foreign ||
                       (d->snaps_count > 0 && zb_set_id_is_none(d->snaps[d->snaps_count - 1].id));
    }
    obs->modified = written && !obs->mounted;
    obs->mounted_here = s->stage == ZB_STAGE_MOUNTED && s->datasets[0].mount == ZB_MOUNT_RW;
    obs->sealed = s->stage != ZB_STAGE_REST && !obs->mounted_here;
    obs->running = s->running;
    sim_position(w, node, service, &obs->newest);
    obs->beyond = !obs->mounted && sim_beyond(w, node, service, &obs->newest);
    sim_reached(w, node, service, &obs->reached);
    obs->granted_term = r->granted_term;
    obs->granted_to = node_number(r->granted_to);
    obs->lineage = r->lineage;
    obs->learned_term = r->learned_term;
    obs->learned_leader = node_number(r->learned_leader);
    obs->established_term = r->established_term;
    obs->released_term = r->released_term;
    obs->released_to = node_number(r->released_to);
    obs->released_set = r->released_set;
    for (size_t i = 0; i < ZB_MEMBERS_MAX + 1 && r->suspects[i][0] != '\0'; i++) {
        obs->suspects |= 1u << node_number(r->suspects[i]);
    }
}

/* ---- mounts ---- */

/* Innermost first; without force, so that who uses one keeps it. */
bool
sim_umount(struct sim *w, uint8_t node, uint8_t service)
{
    struct sim_service *s = &w->nodes[node].services[service];

    for (uint8_t i = w->opt.datasets; i-- > 0;) {
        struct sim_dataset *d = &s->datasets[i];
        if (!d->exists || d->mount == ZB_MOUNT_NONE) {
            continue;
        }
        if (d->outsider) {
            return false;
        }
        if (d->mount == ZB_MOUNT_RW) {
            sim_dataset_flush(w, node, service, i);
        }
        d->mount = ZB_MOUNT_NONE;
    }
    return true;
}

static bool
demote(struct sim *w, uint8_t node, uint8_t service)
{
    struct sim_service *s = &w->nodes[node].services[service];

    if (s->stubborn && s->running) {
        return false;
    }
    s->running = false;
    s->stage = ZB_STAGE_REST;
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (s->datasets[i].mount == ZB_MOUNT_RW) {
            sim_dataset_flush(w, node, service, i);
        }
    }
    return sim_umount(w, node, service) && !sim_lazily_held(w, s);
}

/* What is mounted read-write at a keeper's start goes on by M12, or is given up. */
static bool
mounts_settle(struct sim *w, uint8_t node, uint8_t service)
{
    struct sim_service *s = &w->nodes[node].services[service];
    bool any = false;
    bool whole = s->datasets[0].mount == ZB_MOUNT_RW;
    char boot[ZB_UUID_SIZE];

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        any = any || (d->exists && d->mount == ZB_MOUNT_RW);
        whole = whole && (!d->exists || d->orphan || !d->marked || d->mount != ZB_MOUNT_NONE);
    }
    if (s->stage != ZB_STAGE_REST || !any) {
        return true;
    }
    sim_uuid_text(w->nodes[node].host_life, boot);
    if (whole && zb_rules_continues(&s->record, node_names[node], boot, node + 1u)) {
        s->stage = ZB_STAGE_MOUNTED;
        sim_tell(w, node, "service %u goes on in term %lu", service,
                 (unsigned long)s->record.rec.established_term);
        return true;
    }
    sim_tell(w, node, "service %u is mounted and may not be", service);
    return demote(w, node, service);
}

void
sim_keeper_settle(struct sim *w, uint8_t node, uint8_t service)
{
    (void)mounts_settle(w, node, service);
}

bool
sim_service_settle(struct sim *w, uint8_t node, uint8_t service)
{
    struct sim_service *s = &w->nodes[node].services[service];
    bool led = s->datasets[0].exists &&
               (s->record.rec.established_term != 0 || s->before.established_term != 0);

    if (s->settled) {
        return true;
    }
    if (!mounts_settle(w, node, service)) {
        return false;
    }
    if (s->stage == ZB_STAGE_REST && zb_rules_may_have_led(&s->record, led)) {
        for (uint8_t i = 0; i < w->opt.datasets; i++) {
            sim_dataset_replay(&s->datasets[i]);
        }
    }
    s->settled = true;
    return true;
}

/* ---- the record ---- */

/* Durable or not at all; now and then the operation fails after it, and the core learns of the
 * change only from what it observes. */
static enum zb_rc
record_store(struct sim *w, const struct sim_item *item, const struct zb_keeper_record *next)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];

    if (w->nodes[item->node].disk_full) {
        return ZB_E_NOSPACE;
    }
    if (item->u.op.fail && sim_chance(w, 500)) {
        return ZB_E_FAILED;
    }
    s->record = *next;
    return item->u.op.fail ? ZB_E_FAILED : ZB_OK;
}

static enum zb_rc
op_grant(struct sim *w, struct sim_item *item, struct sim_facts *f, struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_keeper_record next = s->record;
    struct zb_err err;
    bool again = false;
    enum zb_rc rc = zb_rules_grant(&next, &r->req, &f->facts, &again, &err);

    if (rc == ZB_OK && !again && sim_lazily_held(w, s)) {
        return ZB_E_HELD;
    }
    if (rc == ZB_OK && !again) {
        rc = zb_rules_granted(&next, &r->req, &err);
        if (rc == ZB_OK) {
            rc = record_store(w, item, &next);
        }
        if (rc == ZB_OK) {
            s->stage = ZB_STAGE_REST;
        }
    }
    return rc;
}

static enum zb_rc
op_learn(struct sim *w, struct sim_item *item, struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_keeper_record next = s->record;
    struct zb_err err;
    bool known = false;
    enum zb_rc rc = zb_rules_learn(&next, &r->req, &known, &err);

    if (rc == ZB_E_MISMATCH) {
        sim_fail(w, "S1: %s", err.msg);
    }
    if (rc != ZB_OK || known) {
        return rc;
    }
    zb_rules_learned(&next, &r->req);
    rc = record_store(w, item, &next);
    if (s->stage != ZB_STAGE_REST && !demote(w, item->node, item->service)) {
        return ZB_E_HELD;
    }
    return rc;
}

static enum zb_rc
op_release(struct sim *w, struct sim_item *item, struct sim_facts *f, struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_keeper_record next = s->record;
    struct zb_err err;
    bool again = false;
    enum zb_rc rc = item->u.op.manifest == 0
                        ? ZB_E_NOTFOUND
                        : zb_rules_release(&next, &r->req, &f->facts, &again, &err);

    if (rc != ZB_OK || again) {
        sim_tell(w, item->node, "release: %s", rc == ZB_OK ? "made before" : err.msg);
        return rc;
    }
    rc = zb_rules_idle(&f->facts, &err);
    if (rc == ZB_OK) {
        rc = sim_lazily_held(w, s) ? ZB_E_HELD
                                   : zb_rules_tree_equal(&r->req.manifest, &f->facts, &err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_released(&next, &r->req, &err);
    }
    if (rc == ZB_OK) {
        rc = record_store(w, item, &next);
    }
    if (rc == ZB_OK) {
        s->stage = ZB_STAGE_REST;
    }
    return rc;
}

/* ---- the tree ---- */

static enum zb_rc
op_create(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];

    if (s->record.rec.learned_term != 0 && (!s->datasets[0].exists || !s->datasets[0].marked)) {
        return ZB_E_REFUSED;
    }
    if (s->stage != ZB_STAGE_REST || s->running) {
        return ZB_E_REFUSED;
    }
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (!d->exists && (i == 0 || sim_chance(w, 500))) {
            sim_dataset_destroy(d);
            d->exists = true;
        }
        if (d->exists && d->uuid == 0) {
            d->uuid = ++w->next_uuid[item->service];
            d->marked = d->safe = true;
        }
    }
    return ZB_OK;
}

/* ---- the runner ---- */

static enum zb_rc
op_start(struct sim *w, struct sim_item *item, struct sim_facts *f)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_err err;
    enum zb_rc rc = zb_rules_leads(&s->record, node_names[item->node], &err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (s->stage == ZB_STAGE_MOUNTED) {
        sim_children_mount(w, item->node, item->service);
        sim_facts_fill(w, item->node, item->service, f);
    }
    rc = zb_rules_start(&f->facts, &err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (item->u.op.fail) {
        return ZB_E_FAILED;
    }
    s->running = true;
    if (!s->writing) {
        struct sim_item *write = sim_item_add(w, SIM_WRITE, item->node, 200);
        write->service = item->service;
        write->life = w->nodes[item->node].host_life;
        s->writing = true;
    }
    return ZB_OK;
}

static enum zb_rc
op_stop(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];

    if (s->stubborn && s->running) {
        return ZB_E_TIMEOUT;
    }
    s->running = false;
    return item->u.op.fail ? ZB_E_FAILED : ZB_OK;
}

enum zb_rc
sim_op_simple(struct sim *w, struct sim_item *item, struct sim_facts *f, struct sim_request *r)
{
    switch (item->u.op.kind) {
    case ZB_ACT_OBSERVE:
        return item->u.op.fail ? ZB_E_FAILED : ZB_OK;
    case ZB_ACT_CREATE:
        return item->u.op.fail ? ZB_E_FAILED : op_create(w, item);
    case ZB_ACT_GRANT:
        return op_grant(w, item, f, r);
    case ZB_ACT_LEARN:
        return op_learn(w, item, r);
    case ZB_ACT_RELEASE:
        return op_release(w, item, f, r);
    case ZB_ACT_START:
        return op_start(w, item, f);
    case ZB_ACT_STOP:
        return op_stop(w, item);
    case ZB_ACT_DEMOTE:
        return demote(w, item->node, item->service) && !item->u.op.fail ? ZB_OK : ZB_E_HELD;
    case ZB_ACT_PRUNE:
        return sim_op_prune(w, item, r);
    case ZB_ACT_RESCUE:
        return item->u.op.fail ? ZB_E_FAILED : sim_op_rescue(w, item, f, r);
    default:
        return ZB_OK;
    }
}
