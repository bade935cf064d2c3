#include "agent/inventory.h"

#include "agent/must.h"

#define REBUILD_TRIES_MAX 64 /* newest names tried; a whole set is among the first few */

void
zb_inventory_close(struct zb_inventory *inv)
{
    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        free(inv->datasets[i].guids);
        free(inv->datasets[i].names);
        free(inv->datasets[i].marks);
    }
    free(inv->datasets);
    *inv = (struct zb_inventory){0};
}

const struct zb_inventory_dataset *
zb_inventory_find(const struct zb_inventory *inv, const char *uuid, const char *rel)
{
    const struct zb_inventory_dataset *there = NULL;
    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        const struct zb_inventory_dataset *d = &inv->datasets[i];
        if (strcmp(d->uuid, uuid) == 0) {
            return d;
        }
        if (strcmp(d->rel, rel) == 0) {
            there = d;
        }
    }
    return there;
}

int64_t
zb_inventory_snap_find(const struct zb_inventory_dataset *d, uint64_t guid)
{
    for (int64_t i = (int64_t)d->snaps_count - 1; i >= 0; i--) {
        if (d->guids[i] == guid) {
            return i;
        }
    }
    return -1;
}

bool
zb_inventory_holds(const struct zb_inventory *inv, const struct zb_manifest *m)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct zb_manifest_entry *e = &m->entries[i];
        const struct zb_inventory_dataset *d = zb_inventory_find(inv, e->uuid, e->rel);
        if (d == NULL || zb_inventory_snap_find(d, e->guid) < 0) {
            return false;
        }
    }
    return m->entries_count > 0;
}

bool
zb_inventory_reached(const struct zb_inventory *inv, const struct zb_manifest *m)
{
    bool top = false;
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct zb_manifest_entry *e = &m->entries[i];
        /* By uuid alone: what was made anew at the place of one that is gone never had m. */
        const struct zb_inventory_dataset *d = zb_inventory_find(inv, e->uuid, e->rel);
        if (d == NULL || strcmp(d->uuid, e->uuid) != 0) {
            continue;
        }
        if (zb_inventory_snap_find(d, e->guid) < 0) {
            return false;
        }
        top = top || d->rel[0] == '\0';
    }
    return top;
}

bool
zb_inventory_has_datasets(const struct zb_inventory *inv, const struct zb_manifest *m)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct zb_manifest_entry *e = &m->entries[i];
        const struct zb_inventory_dataset *d = zb_inventory_find(inv, e->uuid, e->rel);
        if (d == NULL || strcmp(d->uuid, e->uuid) != 0) {
            return false;
        }
    }
    return true;
}

/* The guid of the snapshot of this name; 0 when d has none. */
static uint64_t
guid_of_name(const struct zb_inventory_dataset *d, const char *name)
{
    for (uint32_t i = d->snaps_count; i > 0; i--) {
        if (strcmp(d->names[i - 1], name) == 0) {
            return d->guids[i - 1];
        }
    }
    return 0;
}

static bool
rebuild_one(const struct zb_inventory *inv, const char *name, struct zb_manifest *m)
{
    struct zb_manifest got = {0};
    struct zb_err err;
    if (zb_manifest_init(&got, inv->datasets_count, &err) != ZB_OK) {
        return false;
    }
    (void)zb_set_name_parse(name, &got.id, &got.time);
    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        struct zb_manifest_entry *e = &got.entries[i];
        zb_strcopy(e->uuid, sizeof(e->uuid), inv->datasets[i].uuid);
        zb_strcopy(e->rel, sizeof(e->rel), inv->datasets[i].rel);
        e->guid = guid_of_name(&inv->datasets[i], name);
    }
    zb_manifest_sort(&got);
    if (!zb_manifest_valid(&got)) { /* a guid or a uuid is missing */
        zb_manifest_close(&got);
        return false;
    }
    *m = got;
    return true;
}

bool
zb_inventory_rebuild(const struct zb_inventory *inv,
                     bool (*skip)(const void *ctx, struct zb_set_id id), const void *ctx,
                     struct zb_manifest *m)
{
    if (inv->datasets_count == 0) {
        return false;
    }
    const struct zb_inventory_dataset *d = &inv->datasets[0];
    unsigned tries = 0;
    for (uint32_t i = d->snaps_count; i > 0 && tries < REBUILD_TRIES_MAX; i--) {
        struct zb_set_id id;
        if (!zb_set_name_parse(d->names[i - 1], &id, NULL) || (skip != NULL && skip(ctx, id))) {
            continue;
        }
        tries++;
        if (rebuild_one(inv, d->names[i - 1], m)) {
            return true;
        }
    }
    return false;
}

/* The name of that set's snapshot; NULL when d has none, or two of different times. */
static const char *
name_of_set(const struct zb_inventory_dataset *d, struct zb_set_id id)
{
    const char *name = NULL;

    for (uint32_t i = 0; i < d->snaps_count; i++) {
        struct zb_set_id one;
        if (!zb_set_name_parse(d->names[i], &one, NULL) || zb_set_id_cmp(one, id) != 0) {
            continue;
        }
        if (name != NULL) {
            return NULL;
        }
        name = d->names[i];
    }
    return name;
}

/* d has sets from before that one, or the same one by another name, or may have. */
static bool
has_as_old(const struct zb_inventory_dataset *d, struct zb_set_id id)
{
    if (d->snaps_count >= ZB_SNAPS_MAX) { /* not all of them are seen */
        return true;
    }
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        struct zb_set_id one;
        if (zb_set_name_parse(d->names[i], &one, NULL) && zb_set_id_cmp(one, id) <= 0) {
            return true;
        }
    }
    return false;
}

static const struct zb_inventory_dataset *
top_of(const struct zb_inventory *inv)
{
    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        if (inv->datasets[i].rel[0] == '\0') {
            return &inv->datasets[i];
        }
    }
    return NULL;
}

enum zb_recall
zb_inventory_recall(const struct zb_inventory *inv, struct zb_set_id id, struct zb_manifest *m)
{
    const struct zb_inventory_dataset *top = top_of(inv);
    const char *name = top == NULL ? NULL : name_of_set(top, id);
    struct zb_manifest got = {0};
    struct zb_err err;
    bool here = true;

    if (name == NULL || zb_manifest_init(&got, inv->datasets_count, &err) != ZB_OK) {
        return ZB_RECALL_NONE;
    }
    (void)zb_set_name_parse(name, &got.id, &got.time);
    got.entries_count = 0;
    for (uint32_t i = 0; i < inv->datasets_count && here; i++) {
        const struct zb_inventory_dataset *d = &inv->datasets[i];
        uint64_t guid = guid_of_name(d, name);
        if (guid == 0) {
            here = !has_as_old(d, id);
            continue;
        }
        struct zb_manifest_entry *e = &got.entries[got.entries_count++];
        zb_strcopy(e->uuid, sizeof(e->uuid), d->uuid);
        zb_strcopy(e->rel, sizeof(e->rel), d->rel);
        e->guid = guid;
    }
    zb_manifest_sort(&got);
    if (!here || !zb_manifest_valid(&got)) {
        zb_manifest_close(&got);
        return ZB_RECALL_NONE;
    }
    *m = got;
    return got.entries_count == inv->datasets_count ? ZB_RECALL_WHOLE : ZB_RECALL_PART;
}
