/* What the engines' plan of a transfer (src/agent/ship_plan.c) makes of two simulated disks. It is
 * asked where what they have in common is no snapshot of both. */
#include "prune.h"
#include "sim.h"

#include "agent/ship_plan.h"

#include <stdlib.h>
#include <string.h>

static void *
memory(size_t count, size_t size)
{
    void *p = calloc(count > 0 ? count : 1, size);

    if (p == NULL) {
        abort();
    }
    return p;
}

static void
inventory_fill(const struct sim_dataset *d, uint8_t slot, struct zb_inventory_dataset *out)
{
    sim_uuid_text(d->uuid, out->uuid);
    sim_rel_name(slot, out->rel);
    out->guids = memory(d->snaps_count, sizeof(*out->guids));
    out->names = memory(d->snaps_count, sizeof(*out->names));
    out->marks = memory(d->marks_count, sizeof(*out->marks));
    out->snaps_count = d->snaps_count;
    out->marks_count = d->marks_count;
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        out->guids[i] = d->snaps[i].guid;
        zb_strcopy(out->names[i], sizeof(out->names[i]), "snap");
    }
    for (uint32_t i = 0; i < d->marks_count; i++) {
        struct zb_inventory_mark *mark = &out->marks[i];
        mark->guid = d->marks[i].guid;
        zb_strcopy(mark->name, sizeof(mark->name), "mark");
        while (mark->before < d->snaps_count && d->snaps[mark->before].guid <= mark->guid) {
            mark->before++;
        }
    }
}

enum zb_rc
sim_plan_leg(const struct sim_dataset *from, const struct sim_dataset *to, uint64_t target,
             uint32_t *snap)
{
    struct zb_inventory_dataset there = {0};
    struct zb_inventory_dataset own = {0};
    const struct zb_inventory peer_inventory = {1, &there};
    const struct zb_inventory own_inventory = {1, &own};
    struct zb_manifest_entry entry = {.guid = target};
    const struct zb_manifest m = {.entries_count = 1, .entries = &entry};
    struct zb_ship_plan plan = {0};
    struct zb_err err;
    enum zb_rc rc;

    inventory_fill(from, 0, &own);
    inventory_fill(to, 0, &there);
    sim_uuid_text(from->uuid, entry.uuid);
    rc = zb_ship_plan_make(&m, &own_inventory, &peer_inventory, &plan, &err);
    for (uint32_t i = 0; rc == ZB_OK && i < from->snaps_count; i++) {
        if (from->snaps[i].guid == plan.chains[0].steps[0].guid) {
            *snap = i;
        }
    }
    zb_ship_plan_close(&plan);
    for (unsigned i = 0; i < 2; i++) {
        struct zb_inventory_dataset *d = i == 0 ? &own : &there;
        free(d->guids);
        free(d->names);
        free(d->marks);
    }
    return rc;
}

static void
inventory_make(const struct sim *w, uint8_t node, uint8_t service, struct zb_inventory *out)
{
    const struct sim_service *s = &w->nodes[node].services[service];

    *out = (struct zb_inventory){.datasets = memory(SIM_DATASETS, sizeof(*out->datasets))};
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (s->datasets[i].exists && s->datasets[i].uuid != 0) {
            inventory_fill(&s->datasets[i], i, &out->datasets[out->datasets_count++]);
        }
    }
}

bool
sim_plan_fork(const struct sim *w, uint8_t from, uint8_t to, uint8_t service,
              uint64_t guids[SIM_DATASETS])
{
    struct zb_inventory own;
    struct zb_inventory peer;
    struct zb_manifest m = {0};
    bool common;

    inventory_make(w, from, service, &own);
    inventory_make(w, to, service, &peer);
    common = zb_ship_fork_make(&own, &peer, &m);
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        char rel[ZB_REL_SIZE];
        sim_rel_name(i, rel);
        const struct zb_manifest_entry *e = zb_manifest_find(&m, rel);
        guids[i] = e != NULL ? e->guid : 0;
    }
    zb_manifest_close(&m);
    zb_inventory_close(&own);
    zb_inventory_close(&peer);
    return common;
}
