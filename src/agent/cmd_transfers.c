/*
 * transfers: what each node sends, put together. Whoever sends knows how far it is; every transfer
 * has one sender.
 */
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/progress.h"
#include "agent/request.h"
#include "agent/ship.h"

#define WAIT_MS 3000 /* for the other nodes, which answer at once */

struct transfers {
    struct zb_request *r;
    uint32_t pending; /* nodes that have not answered, and the one who asks them */
    json_t *list;
    json_t *silent;
    struct part {
        struct transfers *t;
        uint8_t node;
    } parts[ZB_NODES_MAX];
    uv_timer_t timer;
};

/* --- of this node --- */

struct here {
    const struct zb_agent *a;
    const char *service; /* "": all */
    json_t *list;
};

static void
ship_add(void *ctx, const struct zb_ship_look *look)
{
    const struct here *h = ctx;
    const char *service = h->a->services[look->service].conf.name;

    if (h->service[0] != '\0' && strcmp(h->service, service) != 0) {
        return;
    }
    json_t *one = zb_must(json_object());
    zb_json_put(one, "service", zb_json_text(service));
    zb_json_put(one, "from", zb_json_text(h->a->nodes[h->a->self].name));
    zb_json_put(one, "to", zb_json_text(h->a->nodes[look->node].name));
    zb_json_put(one, "set", zb_json_set_id(look->set));
    zb_progress_put(one, &look->view);
    zb_json_put(one, "elapsed_ms", zb_json_int(look->view.elapsed_ms));
    zb_json_append(h->list, one);
}

static void
here_add(const struct zb_request *r, json_t *list)
{
    struct here h = {.a = r->a, .service = zb_request_text(r, "service"), .list = list};

    zb_ships_each(r->a, ship_add, &h);
}

/* --- of the others --- */

static void
on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static int
text_cmp(const json_t *a, const json_t *b, const char *key)
{
    const char *left = json_string_value(json_object_get(a, key));
    const char *right = json_string_value(json_object_get(b, key));

    return strcmp(left != NULL ? left : "", right != NULL ? right : "");
}

struct item {
    json_t *transfer;
};

static int
item_cmp(const void *a, const void *b)
{
    const json_t *left = ((const struct item *)a)->transfer;
    const json_t *right = ((const struct item *)b)->transfer;
    int order = text_cmp(left, right, "service");

    order = order != 0 ? order : text_cmp(left, right, "from");
    return order != 0 ? order : text_cmp(left, right, "to");
}

/* By service, from and to, so that a line stays where it is while it is watched. */
static json_t *
list_sorted(json_t *list)
{
    size_t count = json_array_size(list);
    struct item *items = zb_must_alloc(count, sizeof *items);
    json_t *sorted = zb_json_array_new();

    for (size_t i = 0; i < count; i++) {
        items[i].transfer = json_array_get(list, i);
    }
    qsort(items, count, sizeof *items, item_cmp);
    for (size_t i = 0; i < count; i++) {
        zb_json_append(sorted, json_incref(items[i].transfer));
    }
    free(items);
    json_decref(list);
    return sorted;
}

/* One answer less to wait for. */
static void
transfers_settle(struct transfers *t)
{
    char time[24];

    if (--t->pending > 0) {
        return;
    }
    json_t *data = zb_must(json_object());
    zb_wall_format(zb_wall_now(), time);
    zb_json_put(data, "time", zb_json_text(time));
    zb_json_put(data, "transfers", list_sorted(t->list));
    zb_json_put(data, "silent", t->silent);
    zb_request_done(t->r, data);
    uv_close((uv_handle_t *)&t->timer, on_timer_closed);
}

static void
silent_add(struct part *part, const char *why)
{
    struct transfers *t = part->t;
    json_t *one = zb_must(json_object());

    zb_json_put(one, "node", zb_json_text(t->r->a->nodes[part->node].name));
    zb_json_put(one, "why", zb_json_text(why));
    zb_json_append(t->silent, one);
}

static void
on_there(void *ctx, json_t *result)
{
    struct part *part = ctx;
    struct zb_err err;
    json_t *data = zb_result_data(result, &err);
    size_t i;
    json_t *one;

    if (data == NULL) {
        silent_add(part, err.msg);
    }
    json_array_foreach(json_object_get(data, "transfers"), i, one)
    {
        if (json_is_object(one)) {
            zb_json_append(part->t->list, json_incref(one));
        }
    }
    transfers_settle(part->t);
}

/* Who has not answered by now is named as silent. */
static void
on_timer(uv_timer_t *timer)
{
    struct transfers *t = timer->data;
    struct zb_agent *a = t->r->a;

    t->pending++;
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        zb_forward_end(a, &t->parts[i]);
    }
    transfers_settle(t);
}

static void
part_ask(struct part *part)
{
    struct transfers *t = part->t;
    struct zb_agent *a = t->r->a;
    struct zb_net_peer_status status = {0};

    if (!a->nodes[part->node].up) {
        (void)zb_net_peer_status(a->net, a->nodes[part->node].name, &status);
        silent_add(part, status.reason[0] == '\0' ? "it is not reachable" : status.reason);
        return;
    }
    struct zb_forward_ask ask = {.node = part->node,
                                 .cmd = "transfers",
                                 .args = t->r->args,
                                 .who = t->r->who,
                                 .on_result = on_there,
                                 .ctx = part};
    t->pending++;
    zb_forward_start(a, &ask);
}

static void
others_ask(struct transfers *t)
{
    struct zb_agent *a = t->r->a;

    for (uint32_t i = 0; i < a->nodes_count; i++) {
        t->parts[i] = (struct part){.t = t, .node = (uint8_t)i};
        if (i != a->self && a->nodes[i].present && !t->r->from_peer) {
            part_ask(&t->parts[i]);
        }
    }
}

void
zb_cmd_transfers(struct zb_request *r)
{
    bool one = zb_request_text(r, "service")[0] != '\0';

    if (one && !r->from_peer && zb_request_service(r) == ZB_SERVICE_NONE) {
        return;
    }
    struct transfers *t = zb_must_alloc(1, sizeof *t);
    *t = (struct transfers){
        .r = r, .pending = 1, .list = zb_json_array_new(), .silent = zb_json_array_new()};
    t->timer.data = t;
    (void)uv_timer_init(&r->a->loop, &t->timer);
    (void)uv_timer_start(&t->timer, on_timer, WAIT_MS, 0);
    here_add(r, t->list);
    others_ask(t);
    transfers_settle(t);
}
