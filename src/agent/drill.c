#include "agent/drill.h"

#include <inttypes.h>

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/note.h"
#include "agent/peer.h"
#include "agent/position.h"

#define TICK_MS 5000
#define RETRY_S 60 /* after one that proved nothing */
#define NOTE "drills"
#define TEXT_SIZE 320

struct zb_drills {
    uv_timer_t timer;
    bool running; /* one that the schedule wants */
    /* {service: {"time_s","term","seq","ok","text"}}; NULL: not told yet */
    json_t *told[ZB_NODES_MAX];
    int64_t retry_s[ZB_SERVICES_MAX]; /* of each service: not before this time */
};

/* --- results --- */

static const json_t *
result_of(const struct zb_agent *a, uint8_t node, const char *service)
{
    return node < a->nodes_count ? json_object_get(a->drills->told[node], service) : NULL;
}

static bool
results_valid(const json_t *services)
{
    const char *name;
    json_t *of;

    if (!json_is_object(services)) {
        return false;
    }
    json_object_foreach((json_t *)(uintptr_t)services, name, of)
    {
        struct zb_json_reader r = zb_json_read(of);
        char text[TEXT_SIZE];
        (void)zb_json_read_int(&r, "time_s", 0, INT64_MAX);
        (void)zb_json_read_u64(&r, "term");
        (void)zb_json_read_u64(&r, "seq");
        (void)zb_json_read_bool(&r, "ok");
        zb_json_read_text(&r, "text", text, sizeof text);
        if (r.bad != NULL || !zb_service_name_valid(name)) {
            return false;
        }
    }
    return true;
}

json_t *
zb_drill_told(const struct zb_agent *a, uint8_t node, const char *service)
{
    const json_t *last = result_of(a, node, service);
    json_t *told;
    char text[48];
    struct zb_json_reader r = zb_json_read(last);

    if (last == NULL) {
        return zb_must(json_null());
    }
    const struct zb_wall time = {zb_json_read_int(&r, "time_s", 0, INT64_MAX)};
    int64_t age_s = zb_wall_now().s - time.s;
    told = zb_must(json_object());
    zb_wall_format(time, text);
    zb_json_put(told, "time", zb_json_text(text));
    zb_json_put(told, "age_s", zb_json_int(age_s > 0 ? age_s : 0));
    const struct zb_set_id set = {.term = zb_json_read_u64(&r, "term"),
                                  .seq = zb_json_read_u64(&r, "seq")};
    zb_set_id_format(set, text);
    zb_json_put(told, "set", zb_json_text(text));
    zb_json_put(told, "ok", zb_json_bool(zb_json_read_bool(&r, "ok")));
    zb_json_put(told, "text", zb_must(json_copy(json_object_get(last, "text"))));
    return told;
}

const char *
zb_drill_failure(const struct zb_agent *a, uint8_t node, const char *service)
{
    const json_t *last = result_of(a, node, service);

    return last == NULL || json_is_true(json_object_get(last, "ok"))
               ? NULL
               : json_string_value(json_object_get(last, "text"));
}

/* --- remembering and telling --- */

static void
told_send(struct zb_agent *a, uint8_t node)
{
    json_t *msg = zb_json_new("drills");

    zb_json_put(msg, "services", json_incref(a->drills->told[a->self]));
    (void)zb_peer_send(a, node, msg);
}

void
zb_drills_peer_up(struct zb_agent *a, uint8_t node)
{
    told_send(a, node);
}

void
zb_drills_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    json_t *services = json_object_get(msg, "services");

    if (!results_valid(services)) {
        zb_log_warning("drills told by %s dropped", a->nodes[node].name);
        return;
    }
    json_decref(a->drills->told[node]);
    a->drills->told[node] = zb_must(json_deep_copy(services));
}

static void
results_load(struct zb_agent *a)
{
    json_t **own = &a->drills->told[a->self];

    *own = zb_note_load(a, NOTE);
    if (!results_valid(*own)) {
        json_decref(*own);
        *own = zb_must(json_object());
    }
}

/* What is not declared any more is forgotten with the next result. */
static void
results_store(struct zb_agent *a)
{
    json_t *own = a->drills->told[a->self];
    const char *name;
    json_t *of;
    void *next;

    json_object_foreach_safe(own, next, name, of)
    {
        if (zb_agent_service_find(a, name) == ZB_SERVICE_NONE) {
            (void)json_object_del(own, name);
        }
    }
    (void)zb_note_store(a, NOTE, own);
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        if (i != a->self && a->nodes[i].up) {
            told_send(a, (uint8_t)i);
        }
    }
}

/* --- a run --- */

struct run {
    struct zb_drill_order order;
    struct zb_agent *a;
    struct zb_set_id set;
};

bool
zb_drill_is_verdict(enum zb_rc rc)
{
    return rc == ZB_OK || rc == ZB_E_FAILED || rc == ZB_E_TIMEOUT || rc == ZB_E_UNSUPPORTED ||
           rc == ZB_E_REFUSED;
}

static void
result_keep(struct run *run, const struct zb_krep *rep)
{
    struct zb_agent *a = run->a;
    const char *name = a->services[run->order.service].conf.name;
    bool ok = rep->rc == ZB_OK;
    char text[TEXT_SIZE];
    json_t *of = zb_must(json_object());

    (void)snprintf(text, sizeof text, "%.300s", ok ? "" : rep->msg);
    zb_json_put(of, "time_s", zb_json_int(zb_wall_now().s));
    zb_json_put(of, "term", zb_json_u64(run->set.term));
    zb_json_put(of, "seq", zb_json_u64(run->set.seq));
    zb_json_put(of, "ok", zb_json_bool(ok));
    zb_json_put(of, "text", zb_json_text(text));
    zb_json_put(a->drills->told[a->self], name, of);
    results_store(a);
    if (ok) {
        zb_agent_event(a, ZB_LOG_INFO, name, "A-drill", "set %" PRIu64 "/%" PRIu64 " would do",
                       run->set.term, run->set.seq);
    } else {
        zb_agent_event(a, ZB_LOG_WARNING, name, "A-drill-failed",
                       "the drill of set %" PRIu64 "/%" PRIu64 " failed: %s", run->set.term,
                       run->set.seq, text);
    }
}

static void
on_drilled(void *ctx, const struct zb_krep *rep)
{
    struct run *run = ctx;
    struct zb_err err;

    if (run->a->drills == NULL || !zb_drill_is_verdict((enum zb_rc)rep->rc)) {
        zb_keeper_reply_error(rep, "", &err);
        run->order.on_done(run->order.ctx, NULL, &err);
        free(run);
        return;
    }
    result_keep(run, rep);
    json_t *result = zb_must(json_object());
    char set[ZB_SET_ID_SIZE];
    zb_set_id_format(run->set, set);
    zb_json_put(result, "set", zb_json_text(set));
    zb_json_put(result, "ok", zb_json_bool(rep->rc == ZB_OK));
    zb_json_put(result, "text", zb_json_text(rep->rc == ZB_OK ? "" : rep->msg));
    zb_json_put(result, "elapsed_ms", zb_json_int(rep->elapsed_ms));
    run->order.on_done(run->order.ctx, result, NULL);
    json_decref(result);
    free(run);
}

void
zb_drill_start(struct zb_agent *a, const struct zb_drill_order *order)
{
    const char *name = a->services[order->service].conf.name;
    struct zb_kreq req = {.op = ZB_KOP_DRILL};
    const struct zb_manifest *m = NULL;
    struct zb_core_view view;
    struct zb_err err;

    zb_core_view(a->core, order->service, &view);
    if (!zb_set_id_is_none(view.obs.newest.id)) {
        m = zb_position_manifest(a, order->service, view.obs.newest.id);
    }
    if (m == NULL) {
        (void)zb_err_set(&err, ZB_E_NOTFOUND, "%s holds no whole set of %s", a->nodes[a->self].name,
                         name);
        (void)zb_err_hint(&err, "zbaton status %s", name);
        order->on_done(order->ctx, NULL, &err);
        return;
    }
    struct run *run = zb_must_alloc(1, sizeof *run);
    *run = (struct run){.order = *order, .a = a, .set = m->id};
    zb_strcopy(req.service, sizeof req.service, name);
    req.manifest = *m; /* borrowed for the call */
    zb_agent_keeper_call(a, &req, on_drilled, run);
}

/* --- the schedule --- */

bool
zb_drill_is_due(const json_t *last, struct zb_wall now, uint64_t every_ms)
{
    int64_t then_s = json_integer_value(json_object_get(last, "time_s"));

    return last == NULL || now.s < then_s || (uint64_t)(now.s - then_s) >= every_ms / 1000;
}

static void
on_scheduled(void *ctx, const json_t *result, const struct zb_err *err)
{
    struct zb_agent *a = ctx;

    (void)result;
    if (a->drills == NULL) {
        return;
    }
    a->drills->running = false;
    if (err != NULL) {
        zb_log_info("drill: %s", err->msg);
    }
}

/* A copy that is not led, and is to be tried now. */
static bool
is_wanted(const struct zb_agent *a, uint16_t service, struct zb_wall now)
{
    const struct zb_agent_service *s = &a->services[service];
    struct zb_core_view view;

    if (!s->present || s->conf.drill_ms == 0 || now.s < a->drills->retry_s[service] ||
        !zb_drill_is_due(result_of(a, a->self, s->conf.name), now, s->conf.drill_ms)) {
        return false;
    }
    zb_core_view(a->core, service, &view);
    return view.role == ZB_ROLE_FOLLOWER && !zb_set_id_is_none(view.obs.newest.id);
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_agent *a = timer->data;
    struct zb_drills *d = a->drills;
    struct zb_wall now = zb_wall_now();

    for (uint16_t i = 0; i < a->services_count && !d->running && !a->stopping; i++) {
        if (is_wanted(a, i, now)) {
            const struct zb_drill_order order = {.service = i, .on_done = on_scheduled, .ctx = a};
            d->retry_s[i] = now.s + RETRY_S;
            d->running = true;
            zb_drill_start(a, &order);
        }
    }
}

struct zb_drills *
zb_drills_new(struct zb_agent *a)
{
    struct zb_drills *d = zb_must_alloc(1, sizeof *d);

    a->drills = d;
    (void)uv_timer_init(&a->loop, &d->timer);
    d->timer.data = a;
    (void)uv_timer_start(&d->timer, on_timer, TICK_MS, TICK_MS);
    results_load(a);
    return d;
}

void
zb_drills_close(struct zb_agent *a)
{
    if (a->drills != NULL) {
        uv_close((uv_handle_t *)&a->drills->timer, NULL);
    }
}

void
zb_drills_free(struct zb_drills *d)
{
    for (size_t i = 0; d != NULL && i < ZB_NODES_MAX; i++) {
        json_decref(d->told[i]);
    }
    free(d);
}
