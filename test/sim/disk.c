#include "sim.h"

#include <string.h>

static uint32_t
newest_version(const struct sim_dataset *d)
{
    return d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].version : 0;
}

/* As the property shows it for synced groups: a log that was not replayed counts (measured). */
uint64_t
sim_written(const struct sim_dataset *d)
{
    return (d->live != newest_version(d) ? 8192u : 0u) + (d->logged != 0 ? 1024u : 0u);
}

/* One write in the live file system; with fsync it is acknowledged and survives a crash. */
uint32_t
sim_write(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset, bool fsync)
{
    struct sim_dataset *d = &w->nodes[node].services[service].datasets[dataset];
    uint32_t v = w->versions_count;

    if (v == SIM_VERSIONS) {
        sim_fail(w, "model: more than %d writes", SIM_VERSIONS);
        return 0;
    }
    w->versions[w->versions_count++] = (struct sim_version){.parent = d->live, .node = node};
    d->live = v;
    if (fsync) {
        d->logged = v;
        if (d->uuid != 0) {
            w->acked[service][d->uuid] = v;
        }
    }
    return v;
}

/* syncfs, or an unmount: pages that were written through a mapping become part of the file system.
 * Their program was told so by msync only now. */
void
sim_dataset_flush(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset)
{
    struct sim_dataset *d = &w->nodes[node].services[service].datasets[dataset];

    if (d->dirty) {
        d->dirty = false;
        (void)sim_write(w, node, service, dataset, true);
    }
    d->synced = d->live;
    d->logged = 0;
}

/* The last process lets go of what was unmounted lazily. */
void
sim_dataset_lazy_end(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset)
{
    struct sim_dataset *d = &w->nodes[node].services[service].datasets[dataset];

    if (d->lazy) {
        sim_dataset_flush(w, node, service, dataset);
        d->lazy = false;
    }
}

bool
sim_lazily_held(const struct sim *w, const struct sim_service *s)
{
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        if (s->datasets[i].exists && s->datasets[i].lazy) {
            return true;
        }
    }
    return false;
}

void
sim_dataset_crash(struct sim_dataset *d)
{
    d->live = d->synced;
    d->mount = ZB_MOUNT_NONE;
    d->outsider = d->lazy = d->dirty = false;
}

/* Any mount does it, a read-only one too. */
void
sim_dataset_replay(struct sim_dataset *d)
{
    if (d->logged != 0) {
        d->live = d->synced = d->logged;
        d->logged = 0;
    }
}

void
sim_dataset_destroy(struct sim_dataset *d)
{
    memset(d, 0, offsetof(struct sim_dataset, snaps));
}

/* When everything is healed there is room for more. */
bool
sim_full(const struct sim *w, const struct sim_dataset *d)
{
    return d->snaps_count >= (w->healing ? SIM_SNAPS : SIM_SNAPS_ROOM);
}

bool
sim_descends(const struct sim *w, uint32_t ancestor, uint32_t version)
{
    while (version > ancestor) {
        version = w->versions[version].parent;
    }
    return version == ancestor;
}

struct sim_dataset *
sim_dataset_by_uuid(struct sim *w, uint8_t node, uint8_t service, uint8_t uuid)
{
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &w->nodes[node].services[service].datasets[i];
        if (d->exists && d->uuid == uuid) {
            return d;
        }
    }
    return NULL;
}

/* Every dataset of the set has the set's snapshot here, by guid. */
struct zb_wall
sim_calendar(const struct sim *w, uint8_t node)
{
    return (struct zb_wall){1800000000 + sim_local_ms(w, node) / 10};
}

bool
sim_holds(const struct sim *w, uint8_t node, const struct sim_manifest *m)
{
    for (uint8_t i = 0; i < m->count; i++) {
        const struct sim_dataset *d =
            sim_dataset_by_uuid((struct sim *)(uintptr_t)w, node, m->service, m->uuids[i]);
        bool found = false;
        for (uint32_t j = d != NULL && !d->orphan ? d->snaps_count : 0; j-- > 0 && !found;) {
            found = d->snaps[j].guid == m->guids[i];
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

bool
sim_beyond(struct sim *w, uint8_t node, uint8_t service, const struct zb_set_ref *ref)
{
    const struct sim_manifest *m = sim_manifest_find(w, service, ref);

    for (uint8_t i = 0; m != NULL && i < m->count; i++) {
        const struct sim_dataset *d = sim_dataset_by_uuid(w, node, service, m->uuids[i]);
        if (d != NULL && !d->orphan && d->snaps_count > 0 &&
            (d->snaps[d->snaps_count - 1].guid != m->guids[i] || sim_written(d) != 0)) {
            return true;
        }
    }
    return false;
}

struct sim_manifest *
sim_manifest_find(struct sim *w, uint8_t service, const struct zb_set_ref *ref)
{
    for (uint32_t i = w->manifests_count; i-- > 0;) {
        if (w->manifests[i].service == service && zb_set_ref_equal(&w->manifests[i].ref, ref)) {
            return &w->manifests[i];
        }
    }
    return NULL;
}

/* Every dataset of the set that is here has the set's snapshot (agent/inventory.h). */
static bool
reached(const struct sim *w, uint8_t node, const struct sim_manifest *m)
{
    for (uint8_t i = 0; i < m->count; i++) {
        const struct sim_dataset *d =
            sim_dataset_by_uuid((struct sim *)(uintptr_t)w, node, m->service, m->uuids[i]);
        bool found = d == NULL || d->orphan;
        for (uint32_t j = found ? 0 : d->snaps_count; j-- > 0 && !found;) {
            found = d->snaps[j].guid == m->guids[i];
        }
        if (!found) {
            return false;
        }
    }
    return true;
}

static void
newest_set(struct sim *w, uint8_t node, uint8_t service,
           bool (*has)(const struct sim *w, uint8_t node, const struct sim_manifest *m),
           struct zb_set_ref *ref)
{
    const struct sim_dataset *root = &w->nodes[node].services[service].datasets[0];

    memset(ref, 0, sizeof(*ref));
    for (uint32_t i = root->snaps_count; i-- > 0;) {
        const struct sim_snap *snap = &root->snaps[i];
        if (snap->manifest != 0 && has(w, node, &w->manifests[snap->manifest - 1])) {
            *ref = w->manifests[snap->manifest - 1].ref;
            return;
        }
    }
}

/* The newest set that is held whole. */
void
sim_position(struct sim *w, uint8_t node, uint8_t service, struct zb_set_ref *ref)
{
    newest_set(w, node, service, sim_holds, ref);
}

/* The newest one, not counting datasets that are gone. */
void
sim_reached(struct sim *w, uint8_t node, uint8_t service, struct zb_set_ref *ref)
{
    newest_set(w, node, service, reached, ref);
}
