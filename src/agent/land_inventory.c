#include "agent/json.h"
#include "agent/land_internal.h"
#include "agent/must.h"
#include "agent/position.h"

#define PACE_BYTES (2u << 20) /* queued to the peer before the next dataset waits */
#define PACE_MS 20

/* An answer to {"t":"ship.ask"}: one message per dataset, no faster than the connection takes them.
 */
struct zb_land_inventory {
    struct zb_land_inventory *next;
    struct zb_agent *a;
    uint8_t node;
    bool closed; /* nobody waits for it any more */
    bool fetched;
    uint64_t ship;
    char service[ZB_SERVICE_NAME_SIZE];
    struct zb_inventory inv;
    uint32_t index;
    uv_timer_t timer;
};

static void
on_timer_closed(uv_handle_t *handle)
{
    struct zb_land_inventory *q = handle->data;
    zb_inventory_close(&q->inv);
    free(q);
}

static void
inventory_end(struct zb_land_inventory *q)
{
    struct zb_land_inventory **at = &q->a->lands->inventories;
    while (*at != q) {
        at = &(*at)->next;
    }
    *at = q->next;
    uv_close((uv_handle_t *)&q->timer, on_timer_closed);
}

static json_t *
message_new(const struct zb_land_inventory *q, enum zb_rc rc, const char *text)
{
    char cut[256];
    json_t *msg = zb_json_new("ship.inventory");
    (void)snprintf(cut, sizeof(cut), "%.255s", text);
    zb_json_put(msg, "service", zb_json_text(q->service));
    zb_json_put(msg, "ship", zb_json_u64(q->ship));
    zb_json_put(msg, "rc", zb_json_int(rc));
    zb_json_put(msg, "msg", zb_json_text(cut));
    zb_json_put(msg, "count", zb_json_int(q->inv.datasets_count));
    zb_json_put(msg, "index", zb_json_int(q->index));
    return msg;
}

static bool
message_send(struct zb_land_inventory *q, json_t *msg)
{
    struct zb_err err;
    enum zb_rc rc = zb_net_send(q->a->net, q->a->nodes[q->node].name, msg, &err);
    json_decref(msg);
    if (rc != ZB_OK) {
        zb_log_warning("%s: list of snapshots to %s: %s", q->service, q->a->nodes[q->node].name,
                       err.msg);
    }
    return rc == ZB_OK;
}

/* Each guid as a string of at most 20 digits, with a comma; names and a token besides. */
_Static_assert(ZB_SNAPS_MAX *(20 + 3) + (64u << 10) < ZB_WIRE_FRAME_MAX,
               "the snapshots of a dataset fit in a message");

static bool
dataset_send(struct zb_land_inventory *q)
{
    const struct zb_inventory_dataset *d = &q->inv.datasets[q->index];
    json_t *msg = message_new(q, ZB_OK, "");
    json_t *guids = zb_json_array_new();
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        zb_json_append(guids, zb_json_u64(d->guids[i]));
    }
    zb_json_put(msg, "uuid", zb_json_text(d->uuid));
    zb_json_put(msg, "rel", zb_json_text(d->rel));
    zb_json_put(msg, "newest", zb_json_text(d->newest));
    zb_json_put(msg, "token", zb_json_text(d->token));
    zb_json_put(msg, "guids", guids);
    return message_send(q, msg);
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_land_inventory *q = timer->data;
    struct zb_net_peer_status status;
    bool good = true;
    while (good && q->index < q->inv.datasets_count) {
        good = zb_net_peer_status(q->a->net, q->a->nodes[q->node].name, &status);
        if (good && status.queued_bytes > PACE_BYTES) {
            (void)uv_timer_start(timer, on_timer, PACE_MS, 0);
            return;
        }
        good = good && dataset_send(q);
        q->index++;
    }
    inventory_end(q);
}

static void
on_fetched(void *ctx, const struct zb_inventory_result *result)
{
    struct zb_land_inventory *q = ctx;
    q->fetched = true;
    if (q->closed) {
        inventory_end(q);
        return;
    }
    if (result->rc != ZB_OK || result->inventory->datasets_count == 0) {
        (void)message_send(q, message_new(q, result->rc, result->msg));
        inventory_end(q);
        return;
    }
    q->inv = *result->inventory;
    *result->inventory = (struct zb_inventory){0};
    on_timer(&q->timer);
}

/* The names are those of the set now, or why not. */
static void
on_arranged(void *ctx, const struct zb_krep *rep)
{
    struct zb_land_inventory *q = ctx;
    uint16_t service = zb_agent_service_find(q->a, q->service);
    if (!q->closed && rep->rc == ZB_OK && service != ZB_SERVICE_NONE) {
        zb_inventory_fetch(q->a, service, false, on_fetched, q);
        return;
    }
    if (!q->closed) {
        (void)message_send(
            q, message_new(q, rep->rc != ZB_OK ? (enum zb_rc)rep->rc : ZB_E_NOTFOUND, rep->msg));
    }
    inventory_end(q);
}

static void
arrange(struct zb_land_inventory *q, const struct zb_land_sender *from, const struct zb_manifest *m)
{
    struct zb_kreq req = {.op = ZB_KOP_ARRANGE,
                          .term = from->term,
                          .flags = zb_ship_as_flags(from->as),
                          .manifest = *m}; /* m is borrowed */
    zb_strcopy(req.service, sizeof(req.service), q->service);
    zb_strcopy(req.node, sizeof(req.node), q->a->nodes[q->node].name);
    zb_agent_keeper_call(q->a, &req, on_arranged, q);
}

static struct zb_land_inventory *
inventory_new(struct zb_agent *a, uint8_t node, const char *service, uint64_t ship)
{
    struct zb_lands *lands = a->lands;
    struct zb_land_inventory *q = zb_must_alloc(1, sizeof(*q));
    *q = (struct zb_land_inventory){.next = lands->inventories, .a = a, .node = node, .ship = ship};
    zb_strcopy(q->service, sizeof(q->service), service);
    lands->inventories = q;
    q->timer.data = q;
    (void)uv_timer_init(&a->loop, &q->timer);
    return q;
}

static bool
is_asked_already(const struct zb_agent *a, uint8_t node, const char *service)
{
    for (const struct zb_land_inventory *q = a->lands->inventories; q != NULL; q = q->next) {
        if (!q->closed && q->node == node && strcmp(q->service, service) == 0) {
            return true;
        }
    }
    return false;
}

void
zb_land_inventory_ask(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    struct zb_manifest m = {0};
    char name[ZB_SERVICE_NAME_SIZE];
    struct zb_land_sender from = {.node = node};
    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    uint64_t ship = zb_json_read_u64(&r, "ship");
    from.term = zb_json_read_u64(&r, "term");
    from.as = zb_ship_as_read(&r);
    zb_json_read_manifest(&r, "manifest", &m);
    uint16_t service = zb_agent_service_find(a, name);
    if (r.bad != NULL || service == ZB_SERVICE_NONE) {
        zb_log_warning("%s asked for a list that cannot be made", a->nodes[node].name);
    } else if (!is_asked_already(a, node, name)) { /* one at a time; asked again after its time */
        struct zb_land_inventory *q = inventory_new(a, node, name, ship);
        a->lands->asked[service] = (struct zb_land_look){node, ship};
        const char *why = zb_land_refuses(a, service, &from);
        if (why != NULL) {
            (void)message_send(q, message_new(q, ZB_E_STALE, why));
            inventory_end(q);
        } else if (!zb_land_know(a, service, &m)) {
            (void)message_send(q, message_new(q, ZB_E_MISMATCH, ZB_LAND_OTHER_SET));
            inventory_end(q);
        } else {
            arrange(q, &from, &m);
        }
    }
    zb_manifest_close(&m);
}

void
zb_land_inventories_free(struct zb_lands *lands, uint8_t node)
{
    struct zb_land_inventory *next;
    for (struct zb_land_inventory *q = lands->inventories; q != NULL; q = next) {
        next = q->next;
        if (node != ZB_NODE_NONE && q->node != node) {
            continue;
        }
        q->closed = true;
        if (q->fetched || node == ZB_NODE_NONE) {
            inventory_end(q); /* else the keeper's answer still comes */
        }
    }
}
