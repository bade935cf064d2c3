#include "agent/peek.h"

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/listing.h"
#include "agent/must.h"

#define LOOK_MS 60000

struct zb_peeks {
    bool looking; /* the keeper lists them, or ends one */
    bool changed; /* and not looked at since */
    uv_timer_t timer;
    json_t *due;  /* names of those to end, while looking; owned */
    size_t ended; /* of due */
    json_t *told; /* {name: why it could not be ended}; owned */
};

static void
on_timer(uv_timer_t *timer)
{
    zb_peeks_look(timer->data);
}

struct zb_peeks *
zb_peeks_new(struct zb_agent *a)
{
    struct zb_peeks *p = zb_must_alloc(1, sizeof(*p));

    p->told = zb_must(json_object());
    (void)uv_timer_init(&a->loop, &p->timer);
    p->timer.data = a;
    (void)uv_timer_start(&p->timer, on_timer, 0, LOOK_MS);
    return p;
}

void
zb_peeks_close(struct zb_agent *a)
{
    if (a->peeks != NULL) {
        uv_close((uv_handle_t *)&a->peeks->timer, NULL);
    }
}

void
zb_peeks_free(struct zb_peeks *p)
{
    if (p != NULL) {
        json_decref(p->due);
        json_decref(p->told);
        free(p);
    }
}

json_t *
zb_peeks_due(const json_t *list, struct zb_wall now, uint64_t most_ms, uint64_t *next_ms)
{
    json_t *due = zb_json_array_new();
    size_t i;
    json_t *one;

    *next_ms = most_ms;
    json_array_foreach(list, i, one)
    {
        json_int_t ends_s = json_integer_value(json_object_get(one, "expires_s"));
        if (!json_is_string(json_object_get(one, "expires"))) {
            continue;
        }
        if (ends_s <= now.s) {
            zb_json_append(due, json_incref(json_object_get(one, "name")));
        } else if ((uint64_t)(ends_s - now.s) < *next_ms / 1000) {
            *next_ms = (uint64_t)(ends_s - now.s) * 1000;
        }
    }
    return due;
}

/* --- one after the other --- */

static void end_next(struct zb_agent *a);

/* Said once for each reason. That others are at work there is none. */
static void
failure_tell(struct zb_agent *a, const char *name, const struct zb_krep *rep)
{
    const char *before = json_string_value(json_object_get(a->peeks->told, name));

    if (rep->rc == ZB_E_BUSY || rep->rc == ZB_E_CLOSED ||
        (before != NULL && strcmp(before, rep->msg) == 0)) {
        return;
    }
    zb_json_put(a->peeks->told, name, zb_json_text(rep->msg));
    zb_agent_event(a, ZB_LOG_WARNING, "", "A-peek-stays",
                   "the time of peek %s is over, but it cannot go yet: %s", name, rep->msg);
}

static void
on_ended(void *ctx, const struct zb_krep *rep)
{
    struct zb_agent *a = ctx;

    if (a->peeks == NULL) {
        return;
    }
    const char *name = json_string_value(json_array_get(a->peeks->due, a->peeks->ended));
    a->peeks->ended++;
    if (rep->rc == ZB_OK) {
        zb_agent_event(a, ZB_LOG_INFO, "", "A-peek-ended", "the time of peek %s is over", name);
    } else if (rep->rc != ZB_E_NOTFOUND) {
        failure_tell(a, name, rep);
    }
    if (rep->rc == ZB_OK || rep->rc == ZB_E_NOTFOUND) {
        (void)json_object_del(a->peeks->told, name);
    }
    end_next(a);
}

static void
end_next(struct zb_agent *a)
{
    struct zb_peeks *p = a->peeks;
    const char *name = json_string_value(json_array_get(p->due, p->ended));
    char text[ZB_DATASET_NAME_SIZE];

    if (name != NULL && !a->stopping) {
        struct zb_kreq req = {.op = ZB_KOP_PEEK_END, .text = text};
        (void)snprintf(text, sizeof text, "%s", name);
        zb_agent_keeper_call(a, &req, on_ended, a);
        return;
    }
    p->looking = false;
    if (p->changed) {
        zb_peeks_look(a);
    }
}

static void
on_list(void *ctx, json_t *list, const struct zb_err *err)
{
    struct zb_agent *a = ctx;
    struct zb_peeks *p = a->peeks;
    uint64_t next_ms = LOOK_MS;

    if (p == NULL) {
        return;
    }
    json_decref(p->due);
    p->due =
        list != NULL ? zb_peeks_due(list, zb_wall_now(), LOOK_MS, &next_ms) : zb_json_array_new();
    p->ended = 0;
    if (list == NULL) {
        zb_log_warning("list of peeks: %s", err->msg);
    }
    if (!a->stopping) {
        (void)uv_timer_start(&p->timer, on_timer, next_ms, LOOK_MS);
    }
    end_next(a);
}

void
zb_peeks_look(struct zb_agent *a)
{
    struct zb_peeks *p = a->peeks;

    if (a->stopping) {
        return;
    }
    p->changed = p->looking;
    if (!p->looking) {
        p->looking = true;
        zb_listing_start(a, ZB_KOP_PEEKS, on_list, a);
    }
}
