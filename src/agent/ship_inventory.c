#include "agent/json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/ship_internal.h"

static void
inventory_settle(struct zb_ship *s)
{
    if (s->own_ready && s->peer_next == s->peer.datasets_count) {
        zb_ship_inventories_ready(s);
    }
}

static struct zb_ship *
ship_find(struct zb_ships *ships, uint64_t action_id)
{
    struct zb_ship *s = ships->head;
    while (s != NULL && s->action_id != action_id) {
        s = s->next;
    }
    return s;
}

struct own {
    struct zb_agent *a;
    uint64_t action_id;
};

/* A ship that waits for this cannot be gone: fetching holds it. */
static void
on_own(void *ctx, const struct zb_inventory_result *result)
{
    struct own *own = ctx;
    struct zb_ship *s = own->a->ships != NULL ? ship_find(own->a->ships, own->action_id) : NULL;
    free(own);
    if (s == NULL) {
        return;
    }
    s->fetching = false;
    if (s->state != ZB_SHIP_ASKING) {
        zb_ship_continue(s);
    } else if (result->rc != ZB_OK) {
        zb_ship_fail(s, result->rc, result->msg);
    } else {
        s->own = *result->inventory;
        *result->inventory = (struct zb_inventory){0};
        s->own_ready = true;
        inventory_settle(s);
    }
}

void
zb_ship_inventory_ask(struct zb_ship *s)
{
    struct zb_err err;
    json_t *msg = zb_json_new("ship.ask");
    s->state = ZB_SHIP_ASKING;
    s->deadline.ms = zb_mono_now().ms + ZB_SHIP_ANSWER_MS;
    zb_json_put(msg, "service", zb_json_text(zb_ship_service(s)));
    zb_json_put(msg, "ship", zb_json_u64(s->id));
    zb_json_put(msg, "term", zb_json_u64(s->term));
    zb_json_put(msg, "as", zb_ship_as_json(s->as));
    zb_json_put(msg, "manifest", zb_json_manifest(&s->manifest));
    enum zb_rc rc = zb_net_send(s->a->net, zb_ship_node(s), msg, &err);
    json_decref(msg);
    if (rc != ZB_OK) {
        zb_ship_fail(s, rc, err.msg);
        return;
    }
    struct own *own = zb_must_alloc(1, sizeof(*own));
    *own = (struct own){.a = s->a, .action_id = s->action_id};
    s->fetching = true;
    zb_inventory_fetch(s->a, s->service, true, on_own, own);
}

static void
guids_read(struct zb_json_reader *r, struct zb_inventory_dataset *d)
{
    const json_t *list = json_object_get(r->object, "guids");
    size_t count = json_array_size(list);
    if (!json_is_array(list) || count > ZB_SNAPS_MAX) {
        zb_json_read_fail(r, "guids");
        return;
    }
    d->guids = zb_must_alloc(count, sizeof(*d->guids));
    d->snaps_count = (uint32_t)count;
    for (size_t i = 0; i < count; i++) {
        if (!zb_json_is_u64(json_array_get(list, i), &d->guids[i])) {
            zb_json_read_fail(r, "guids");
            return;
        }
    }
}

static bool
uuid_or_none(const char *s)
{
    return s[0] == '\0' || zb_uuid_valid(s);
}

static bool
snap_or_none(const char *s)
{
    return s[0] == '\0' || zb_snap_name_valid(s);
}

static void
dataset_read(struct zb_json_reader *r, struct zb_inventory_dataset *d)
{
    zb_json_read_name(r, "uuid", d->uuid, sizeof(d->uuid), uuid_or_none);
    zb_json_read_name(r, "rel", d->rel, sizeof(d->rel), zb_rel_valid);
    zb_json_read_name(r, "newest", d->newest, sizeof(d->newest), snap_or_none);
    zb_json_read_name(r, "token", d->token, sizeof(d->token), zb_resume_token_valid);
    guids_read(r, d);
}

void
zb_ship_inventory_message(struct zb_ship *s, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    char text[256];
    enum zb_rc rc = (enum zb_rc)zb_json_read_int(&r, "rc", ZB_OK, ZB_E_UNSUPPORTED);
    zb_json_read_text(&r, "msg", text, sizeof(text));
    uint32_t count = (uint32_t)zb_json_read_int(&r, "count", 0, ZB_DATASETS_MAX);
    uint32_t index = (uint32_t)zb_json_read_int(&r, "index", 0, ZB_DATASETS_MAX);
    if (r.bad == NULL && rc != ZB_OK) {
        zb_ship_fail(s, rc, text);
        return;
    }
    if (s->peer_next == UINT32_MAX) { /* the first of them */
        s->peer.datasets = zb_must_alloc(count, sizeof(*s->peer.datasets));
        s->peer.datasets_count = count;
        s->peer_next = 0;
    }
    if (count != s->peer.datasets_count || index != s->peer_next || (count > 0 && index >= count)) {
        zb_json_read_fail(&r, "index");
    } else if (count > 0) {
        dataset_read(&r, &s->peer.datasets[s->peer_next++]);
    }
    if (r.bad != NULL) {
        zb_ship_fail(s, ZB_E_FORMAT, "a list of snapshots that does not decode");
        return;
    }
    s->deadline.ms = zb_mono_now().ms + ZB_SHIP_ANSWER_MS;
    inventory_settle(s);
}
