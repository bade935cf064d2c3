/* PRUNE: which sets of a tree go, and which become bookmarks first, is decided by the production
 * rules; what is here is the order of it, as src/keeper/op_prune.c has it. */
#include "prune.h"
#include "sim.h"

#include <string.h>

/* What the rules are asked with of one dataset, and what they said. */
struct plan {
    struct zb_ksnap snaps[SIM_SNAPS];
    struct zb_ksnap marks[SIM_MARKS];
    uint32_t stays[SIM_SNAPS];
    bool marks_stay[SIM_MARKS];
};

static void
plan_make(const struct sim *w, const struct sim_item *item, const struct sim_request *r,
          const struct sim_dataset *d, struct plan *p)
{
    const struct zb_conf_keep keep = {.last = item->u.op.keep_count,
                                      .buckets[ZB_CONF_HOURLY] = item->u.op.keep_count / 2};

    for (uint32_t i = 0; i < d->snaps_count; i++) {
        if (zb_set_id_is_none(d->snaps[i].id)) {
            zb_strcopy(p->snaps[i].name, sizeof(p->snaps[i].name), "autosnap");
        } else {
            zb_set_name_format(d->snaps[i].id, d->snaps[i].time, p->snaps[i].name);
        }
        p->snaps[i].guid = d->snaps[i].guid;
        p->snaps[i].createtxg = i + 1;
    }
    for (uint32_t i = 0; i < d->marks_count; i++) {
        const size_t prefix = sizeof(ZB_MARK_PREFIX) - 1;
        memcpy(p->marks[i].name, ZB_MARK_PREFIX, prefix);
        zb_set_name_format(d->marks[i].id, d->marks[i].time, p->marks[i].name + prefix);
    }
    const struct zb_rules_prune in = {.snaps = p->snaps,
                                      .snaps_count = d->snaps_count,
                                      .marks = p->marks,
                                      .marks_count = d->marks_count,
                                      .keep = &keep,
                                      .catch_up = w->opt.catch_up,
                                      .now = sim_calendar(w, item->node),
                                      .req = &r->req};
    (void)zb_rules_prune(&in, p->stays, p->marks_stay);
}

/* Of which none can be made stays. */
static void
marks_make(struct sim *w, const struct sim_item *item, struct sim_dataset *d, struct plan *p)
{
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        if (p->stays[i] != ZB_KEEP_MARK) {
            continue;
        }
        if (d->marks_count == SIM_MARKS || w->nodes[item->node].disk_full) {
            p->stays[i] = ZB_KEEP_BASE;
            continue;
        }
        p->stays[i] = 0;
        p->marks_stay[d->marks_count] = true;
        d->marks[d->marks_count++] =
            (struct sim_mark){d->snaps[i].guid, d->snaps[i].id, d->snaps[i].time};
        w->marks_made++;
        sim_tell(w, item->node, "bookmarks snapshot %lu (%lu/%lu) of service %u",
                 (unsigned long)d->snaps[i].guid, (unsigned long)d->snaps[i].id.term,
                 (unsigned long)d->snaps[i].id.seq, item->service);
    }
}

static void
snaps_prune(struct sim *w, const struct sim_item *item, struct sim_dataset *d, const struct plan *p)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < d->snaps_count; i++) {
        const struct sim_snap *snap = &d->snaps[i];
        if (p->stays[i] != 0 || snap->held) {
            continue;
        }
        if (zb_set_id_is_none(snap->id)) {
            sim_fail(w, "S9: a snapshot of another tool was destroyed on n%u", item->node + 1);
        }
        sim_tell(w, item->node, "destroys snapshot %lu (%lu/%lu) of service %u",
                 (unsigned long)snap->guid, (unsigned long)snap->id.term,
                 (unsigned long)snap->id.seq, item->service);
        sim_check_pruned(w, item, d, snap);
    }
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        if (p->stays[i] != 0 || d->snaps[i].held) {
            d->snaps[kept++] = d->snaps[i];
        }
    }
    d->snaps_count = kept;
}

static void
marks_destroy(struct sim *w, const struct sim_item *item, struct sim_dataset *d,
              const struct plan *p)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < d->marks_count; i++) {
        if (!p->marks_stay[i]) {
            sim_check_unmarked(w, item, d, &d->marks[i]);
        }
    }
    for (uint32_t i = 0; i < d->marks_count; i++) {
        if (p->marks_stay[i]) {
            d->marks[kept++] = d->marks[i];
        }
    }
    d->marks_count = kept;
}

/* The sets that members stand on and of which nothing is left here are told, as A-base-gone. */
static void
bases_gone_tell(struct sim *w, const struct sim_item *item, const struct sim_dataset *root)
{
    struct zb_set_id gone[ZB_MEMBERS_MAX + 1];
    size_t gone_count = 0;

    for (uint8_t i = 0; i < item->u.op.bases_count; i++) {
        struct zb_set_id base = item->u.op.protect[i];
        bool there = base.term == 0;
        for (uint32_t j = 0; j < root->snaps_count; j++) {
            there = there || zb_set_id_cmp(root->snaps[j].id, base) == 0;
        }
        for (uint32_t j = 0; j < root->marks_count; j++) {
            there = there || zb_set_id_cmp(root->marks[j].id, base) == 0;
        }
        if (!there) {
            gone[gone_count++] = base;
            w->bases_gone++;
        }
    }
    sim_check_bases(w, item, gone, gone_count);
}

/* It may be cut off after any of its steps. */
enum zb_rc
sim_op_prune(struct sim *w, struct sim_item *item, const struct sim_request *r)
{
    static struct plan p;
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    uint32_t steps_left = item->u.op.fail ? sim_random(w, 3u * w->opt.datasets) : UINT32_MAX;

    sim_check_held_back(w, item);
    for (uint8_t i = 0; i < item->u.op.bases_count; i++) {
        sim_tell(w, item->node, "knows a member of service %u to stand on %lu/%lu", item->service,
                 (unsigned long)item->u.op.protect[i].term,
                 (unsigned long)item->u.op.protect[i].seq);
    }
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        if (!d->exists || d->orphan || !d->marked || d->snaps_count == 0) {
            continue;
        }
        plan_make(w, item, r, d, &p);
        for (unsigned step = 0; step < 3; step++) {
            if (steps_left-- == 0) {
                return ZB_E_FAILED;
            }
            if (step == 0) {
                marks_make(w, item, d, &p);
            } else if (step == 1) {
                snaps_prune(w, item, d, &p);
            } else {
                marks_destroy(w, item, d, &p);
            }
        }
        if (i == 0) {
            bases_gone_tell(w, item, d);
        }
    }
    return item->u.op.fail ? ZB_E_FAILED : ZB_OK;
}
