#include "agent/notify.h"

#include <inttypes.h>

#include "agent/internal.h"
#include "agent/must.h"

#define RETRY_MS 1000

struct notice {
    struct zb_wall time;
    uint32_t level;
    char service[ZB_SERVICE_NAME_SIZE];
    char rule[64];
    char text[512];
};

struct zb_notices {
    struct zb_agent *a;
    struct zb_agent_subscriber subscriber;
    uv_timer_t timer;
    bool runs;         /* for the first of the waiting ones */
    bool fails;        /* the last run did, and that was told */
    uint32_t left_out; /* since the line was full */
    uint32_t first;    /* place in the ring */
    uint32_t count;
    struct notice waiting[ZB_NOTIFY_WAITING_MAX];
};

/* A program that fails does not hear of that. */
static bool
is_wanted(const struct zb_agent_event_view *e)
{
    return (e->level <= ZB_LOG_WARNING || strcmp(e->rule, "A-promise-kept") == 0) &&
           strcmp(e->rule, "A-notify-failed") != 0;
}

static void next(struct zb_notices *n);

static void
on_timer(uv_timer_t *timer)
{
    next(timer->data);
}

static void
failed_tell(struct zb_notices *n, const struct zb_krep *rep)
{
    if (rep->rc != ZB_OK && !n->fails) {
        zb_agent_event(n->a, ZB_LOG_WARNING, "", "A-notify-failed",
                       "%s: %s; told again when it has been well in between", n->a->conf->notify,
                       rep->msg);
    }
    n->fails = rep->rc != ZB_OK;
}

static void
left_out_tell(struct zb_notices *n)
{
    uint32_t left_out = n->left_out;

    n->left_out = 0;
    if (left_out > 0) {
        zb_agent_event(n->a, ZB_LOG_WARNING, "", "A-notify-left-out",
                       "%" PRIu32 " event%s came faster than %s could hear of %s", left_out,
                       left_out == 1 ? "" : "s", n->a->conf->notify, left_out == 1 ? "it" : "them");
    }
}

static void
on_reply(void *ctx, const struct zb_krep *rep)
{
    struct zb_notices *n = ctx;

    n->runs = false;
    if (n->a->stopping || rep->rc == ZB_E_CLOSED) {
        return;
    }
    if (rep->rc == ZB_E_BUSY) { /* one of an earlier engine is being ended */
        (void)uv_timer_start(&n->timer, on_timer, RETRY_MS, 0);
        return;
    }
    n->first = (n->first + 1) % ZB_NOTIFY_WAITING_MAX;
    n->count--;
    failed_tell(n, rep);
    left_out_tell(n);
    next(n);
}

static void
next(struct zb_notices *n)
{
    const struct notice *e = &n->waiting[n->first];
    struct zb_kreq req = {.op = ZB_KOP_NOTIFY};
    char text[sizeof(e->text)];

    if (n->runs || n->count == 0 || n->a->stopping) {
        return;
    }
    req.time_s = e->time.s;
    req.count = e->level;
    zb_strcopy(text, sizeof(text), e->text);
    req.text = text;
    zb_strcopy(req.service, sizeof(req.service), e->service);
    zb_strcopy(req.snap, sizeof(req.snap), e->rule);
    n->runs = true;
    zb_agent_keeper_call(n->a, &req, on_reply, n);
}

static void
on_event(void *ctx, const struct zb_agent_event_view *e)
{
    struct zb_notices *n = ctx;

    if (!is_wanted(e)) {
        return;
    }
    if (n->count == ZB_NOTIFY_WAITING_MAX) {
        n->left_out++;
        return;
    }
    struct notice *to = &n->waiting[(n->first + n->count++) % ZB_NOTIFY_WAITING_MAX];
    *to = (struct notice){.time = e->time, .level = e->level};
    (void)snprintf(to->service, sizeof(to->service), "%s", e->service);
    (void)snprintf(to->rule, sizeof(to->rule), "%s", e->rule);
    (void)snprintf(to->text, sizeof(to->text), "%s", e->text[0] != '\0' ? e->text : e->rule);
    next(n);
}

struct zb_notices *
zb_notices_new(struct zb_agent *a)
{
    if (a->conf->notify[0] == '\0') {
        return NULL;
    }
    struct zb_notices *n = zb_must_alloc(1, sizeof(*n));
    n->a = a;
    n->subscriber = (struct zb_agent_subscriber){.on_event = on_event, .ctx = n};
    zb_agent_subscribe(a, &n->subscriber);
    n->timer.data = n;
    (void)uv_timer_init(&a->loop, &n->timer);
    return n;
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void
zb_notices_close(struct zb_agent *a)
{
    if (a->notices != NULL) {
        zb_agent_unsubscribe(a, &a->notices->subscriber);
        uv_close((uv_handle_t *)&a->notices->timer, on_closed);
        a->notices = NULL;
    }
}
