#include "agent/rescue.h"

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/listing.h"
#include "agent/must.h"
#include "agent/peer.h"

#define LOOK_MS 60000

struct zb_rescues {
    bool asking;
    bool changed; /* and not asked for since */
    uv_timer_t timer;
    json_t *told[ZB_NODES_MAX]; /* {service: {count, bytes, name, created, fork}}; NULL: not yet */
    struct zb_rescue_waiter *waiters;
};

static const char *const newest_keys[] = {"name", "created"};
#define NEWEST_COUNT 2

static void look(struct zb_agent *a);

static void
on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

struct zb_rescues *
zb_rescues_new(struct zb_agent *a)
{
    struct zb_rescues *r = zb_must_alloc(1, sizeof(*r));
    (void)uv_timer_init(&a->loop, &r->timer);
    r->timer.data = a;
    (void)uv_timer_start(&r->timer, on_timer, 0, LOOK_MS);
    return r;
}

void
zb_rescues_free(struct zb_rescues *r)
{
    for (size_t i = 0; r != NULL && i < ZB_NODES_MAX; i++) {
        json_decref(r->told[i]);
    }
    free(r);
}

/* --- listing --- */

void
zb_rescues_list(struct zb_agent *a, void (*cb)(void *ctx, json_t *list, const struct zb_err *err),
                void *ctx)
{
    zb_listing_start(a, ZB_KOP_RESCUES, cb, ctx);
}

/* --- what each node has --- */

static json_t *
fork_json(const json_t *rescue)
{
    size_t i;
    json_t *dataset;
    struct zb_set_id id;
    char text[ZB_SET_ID_SIZE] = "";

    json_array_foreach(json_object_get(rescue, "datasets"), i, dataset)
    {
        const char *rel = json_string_value(json_object_get(dataset, "rel"));
        const char *fork = json_string_value(json_object_get(dataset, "fork"));
        if (rel != NULL && rel[0] == '\0' && fork != NULL && zb_set_name_parse(fork, &id, NULL)) {
            zb_set_id_format(id, text);
        }
    }
    return zb_json_text(text);
}

/* Of the objects of RESCUES, by service. Their names, which end in a time, are in order. */
static json_t *
summary(const json_t *list)
{
    json_t *services = zb_must(json_object());
    size_t i;
    json_t *rescue;

    json_array_foreach(list, i, rescue)
    {
        const char *service = json_string_value(json_object_get(rescue, "service"));
        json_t *of = json_object_get(services, service != NULL ? service : "");
        json_int_t bytes = json_integer_value(json_object_get(rescue, "bytes"));
        if (of == NULL) {
            of = zb_must(json_object());
            zb_json_put(services, service != NULL ? service : "", of);
        }
        json_int_t count = json_integer_value(json_object_get(of, "count"));
        bytes = json_integer_value(json_object_get(of, "bytes")) + (bytes > 0 ? bytes : 0);
        zb_json_put(of, "count", zb_json_int(count + 1));
        zb_json_put(of, "bytes", zb_json_int(bytes));
        for (int k = 0; k < NEWEST_COUNT; k++) {
            json_t *value = json_object_get(rescue, newest_keys[k]);
            zb_json_put(of, newest_keys[k],
                        json_is_string(value) ? json_incref(value) : zb_json_text(""));
        }
        zb_json_put(of, "fork", fork_json(rescue));
    }
    return services;
}

static void
told_send(struct zb_agent *a, uint8_t node)
{
    json_t *msg = zb_json_new("rescues");
    zb_json_put(msg, "services", json_incref(a->rescues->told[a->self]));
    (void)zb_peer_send(a, node, msg);
}

/* Takes services. */
static void
told_take(struct zb_agent *a, uint8_t node, json_t *services)
{
    bool same = a->rescues->told[node] != NULL && json_equal(a->rescues->told[node], services);

    json_decref(a->rescues->told[node]);
    a->rescues->told[node] = services;
    for (uint8_t i = 0; node == a->self && !same && i < a->nodes_count; i++) {
        if (i != a->self && a->nodes[i].up) {
            told_send(a, i);
        }
    }
}

void
zb_rescues_peer_up(struct zb_agent *a, uint8_t node)
{
    if (a->rescues->told[a->self] != NULL) {
        told_send(a, node);
    }
}

void
zb_rescues_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    json_t *services = json_object_get(msg, "services");
    const char *name;
    json_t *of;

    json_object_foreach(services, name, of)
    {
        struct zb_json_reader r = zb_json_read(of);
        char text[ZB_SNAP_NAME_SIZE];
        (void)zb_json_read_int(&r, "count", 1, INT32_MAX);
        (void)zb_json_read_int(&r, "bytes", 0, INT64_MAX);
        for (int k = 0; k < NEWEST_COUNT; k++) {
            zb_json_read_text(&r, newest_keys[k], text, sizeof text);
        }
        zb_json_read_text(&r, "fork", text, sizeof text);
        if (r.bad != NULL) {
            zb_log_warning("rescues of %s told by %s dropped: %s", name, a->nodes[node].name,
                           r.bad);
            return;
        }
    }
    if (json_is_object(services)) {
        told_take(a, node, zb_must(json_deep_copy(services)));
    }
}

json_t *
zb_rescues_told(const struct zb_agent *a, uint8_t node, const char *service)
{
    const json_t *services = node < a->nodes_count ? a->rescues->told[node] : NULL;
    json_t *of = json_object_get(services, service);

    if (services == NULL) {
        return zb_must(json_null());
    }
    return of != NULL ? json_incref(of)
                      : zb_must(json_pack("{s:i, s:i, s:s, s:s, s:s}", "count", 0, "bytes", 0,
                                          "name", "", "created", "", "fork", ""));
}

/* --- asking --- */

static void
on_list(void *ctx, json_t *list, const struct zb_err *err)
{
    struct zb_agent *a = ctx;
    if (a->rescues == NULL) {
        return;
    }
    a->rescues->asking = false;
    if (a->rescues->changed) { /* after the keeper was asked, perhaps */
        look(a);
    } else if (list == NULL) {
        zb_log_warning("list of rescues: %s", err->msg);
    } else {
        told_take(a, a->self, summary(list));
    }
}

static void
look(struct zb_agent *a)
{
    if (!a->rescues->asking && !a->stopping) {
        a->rescues->changed = false;
        a->rescues->asking = true;
        zb_rescues_list(a, on_list, a);
    }
}

void
zb_rescues_changed(struct zb_agent *a)
{
    a->rescues->changed = true;
    look(a);
}

/* --- the next one --- */

void
zb_rescues_wait(struct zb_agent *a, struct zb_rescue_waiter *w)
{
    w->next = a->rescues->waiters;
    a->rescues->waiters = w;
}

void
zb_rescues_unwait(struct zb_agent *a, struct zb_rescue_waiter *w)
{
    for (struct zb_rescue_waiter **at = &a->rescues->waiters; *at != NULL; at = &(*at)->next) {
        if (*at == w) {
            *at = w->next;
            return;
        }
    }
}

void
zb_rescues_made(struct zb_agent *a, uint16_t service, const struct zb_krep *rep)
{
    struct zb_rescue_waiter *w = a->rescues->waiters;
    zb_rescues_changed(a);
    while (w != NULL) {
        if (w->service == service) {
            zb_rescues_unwait(a, w);
            w->on_made(w->ctx, rep);
            w = a->rescues->waiters; /* it may be gone, and others with it */
        } else {
            w = w->next;
        }
    }
}

void
zb_rescues_close(struct zb_agent *a)
{
    struct zb_krep rep = {.rc = ZB_E_CLOSED, .msg = "zbatond is ending"};
    uv_close((uv_handle_t *)&a->rescues->timer, NULL);
    while (a->rescues->waiters != NULL) {
        struct zb_rescue_waiter *w = a->rescues->waiters;
        a->rescues->waiters = w->next;
        w->on_made(w->ctx, &rep);
    }
}
