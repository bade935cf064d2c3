#include "agent/foreign.h"

#include "agent/must.h"

int64_t
zb_foreign_grace_ms(const struct zb_conf_service *conf)
{
    return (int64_t)(conf->foreign_grace_ms != 0 ? conf->foreign_grace_ms
                                                 : ZB_CONF_FOREIGN_GRACE_MS);
}

int64_t
zb_foreign_every_ms(const struct zb_conf_service *conf)
{
    int64_t part_ms = zb_foreign_grace_ms(conf) / 4;

    return part_ms < ZB_FOREIGN_LOOK_MS ? part_ms : ZB_FOREIGN_LOOK_MS;
}

static const struct zb_foreign_item *
item_find(const struct zb_foreign_items *items, const char *uuid, uint64_t guid)
{
    for (uint32_t i = 0; i < items->count; i++) {
        if (items->items[i].guid == guid && strcmp(items->items[i].uuid, uuid) == 0) {
            return &items->items[i];
        }
    }
    return NULL;
}

static uint32_t
foreign_count(const struct zb_inventory *inv)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        count += inv->datasets[i].snaps_count;
    }
    return count;
}

void
zb_foreign_list(struct zb_foreign_items *items, const struct zb_inventory *inv)
{
    struct zb_foreign_items now = {.items =
                                       zb_must_alloc(foreign_count(inv) + 1, sizeof(*now.items))};
    struct zb_set_id id;

    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        const struct zb_inventory_dataset *d = &inv->datasets[i];
        for (uint32_t k = 0; k < d->snaps_count && d->uuid[0] != '\0'; k++) {
            if (zb_set_name_parse(d->names[k], &id, NULL)) {
                continue;
            }
            const struct zb_foreign_item *known = item_find(items, d->uuid, d->guids[k]);
            struct zb_foreign_item *to = &now.items[now.count++];
            *to = known != NULL ? *known : (struct zb_foreign_item){.guid = d->guids[k]};
            zb_strcopy(to->uuid, sizeof(to->uuid), d->uuid);
            zb_strcopy(to->name, sizeof(to->name), d->names[k]);
            to->asked = false;
        }
    }
    free(items->items);
    *items = now;
}

void
zb_foreign_look(struct zb_foreign_item *item, bool gone, int64_t since_ms, int64_t every_ms)
{
    if (!gone) {
        item->missing = false;
        item->missing_ms = 0;
        item->why[0] = '\0';
        return;
    }
    if (item->missing && since_ms > 0) {
        item->missing_ms += since_ms < 2 * every_ms ? since_ms : 2 * every_ms;
    }
    item->missing = true;
}

bool
zb_foreign_is_gone(const struct zb_inventory *inv, const char *uuid, uint64_t guid)
{
    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        const struct zb_inventory_dataset *d = &inv->datasets[i];
        if (strcmp(d->uuid, uuid) == 0) {
            return !d->cut && zb_inventory_snap_find(d, guid) < 0;
        }
    }
    return false;
}
