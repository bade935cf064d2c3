#include "agent/rescue.h"

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"

struct zb_rescues {
    json_t *known; /* NULL: not heard yet */
    bool asking;
    struct zb_mono asked_at; /* 0: at the next opportunity */
    struct zb_rescue_waiter *waiters;
};

struct zb_rescues *
zb_rescues_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_rescues));
}

void
zb_rescues_free(struct zb_rescues *r)
{
    if (r != NULL) {
        json_decref(r->known);
        free(r);
    }
}

/* --- listing --- */

/* In pages: what does not fit one answer of the keeper is asked for again, from there on. */
struct listing {
    struct zb_agent *a;
    json_t *list;
    void (*cb)(void *ctx, json_t *list, const struct zb_err *err);
    void *ctx;
};

static void
listing_end(struct listing *l, const struct zb_err *err)
{
    l->cb(l->ctx, err == NULL ? l->list : NULL, err);
    json_decref(l->list);
    free(l);
}

/* One object a line; how many they were. */
static size_t
lines_take(json_t *list, const char *text)
{
    size_t count = 0;
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, "\n");
        json_t *one = json_loadb(text, length, JSON_REJECT_DUPLICATES, NULL);
        if (json_is_object(one)) {
            zb_json_append(list, json_incref(one));
        }
        json_decref(one);
        count++;
        text += length + (text[length] == '\n');
    }
    return count;
}

static void listing_ask(struct listing *l);

static void
on_lines(void *ctx, const struct zb_krep *rep)
{
    struct listing *l = ctx;
    struct zb_err err;
    if (rep->rc != ZB_OK) {
        zb_err_set(&err, (enum zb_rc)rep->rc, "%s", rep->msg);
        zb_err_hint(&err, "%s", rep->hint);
        listing_end(l, &err);
    } else if (lines_take(l->list, rep->text) > 0 && json_array_size(l->list) < rep->count) {
        listing_ask(l);
    } else {
        listing_end(l, NULL);
    }
}

static void
listing_ask(struct listing *l)
{
    struct zb_kreq req = {.op = ZB_KOP_RESCUES, .count = (uint32_t)json_array_size(l->list)};
    zb_agent_keeper_call(l->a, &req, on_lines, l);
}

void
zb_rescues_list(struct zb_agent *a, void (*cb)(void *ctx, json_t *list, const struct zb_err *err),
                void *ctx)
{
    struct listing *l = zb_must_alloc(1, sizeof(*l));
    *l = (struct listing){.a = a, .list = zb_json_array_new(), .cb = cb, .ctx = ctx};
    listing_ask(l);
}

/* --- what is known --- */

static void
on_list(void *ctx, json_t *list, const struct zb_err *err)
{
    struct zb_agent *a = ctx;
    if (a->rescues == NULL) {
        return;
    }
    a->rescues->asking = false;
    if (list == NULL) {
        zb_log_warning("list of rescues: %s", err->msg);
        return;
    }
    json_decref(a->rescues->known);
    a->rescues->known = json_incref(list);
}

bool
zb_rescues_of(struct zb_agent *a, const char *service, uint32_t *count, uint64_t *bytes)
{
    struct zb_rescues *r = a->rescues;
    int64_t now_ms = zb_mono_now().ms;
    size_t i;
    json_t *one;

    if (!r->asking && (r->asked_at.ms == 0 || now_ms - r->asked_at.ms >= ZB_RESCUES_MS)) {
        r->asking = true;
        r->asked_at.ms = now_ms;
        zb_rescues_list(a, on_list, a);
    }
    *count = 0;
    *bytes = 0;
    json_array_foreach(r->known, i, one)
    {
        const char *of = json_string_value(json_object_get(one, "service"));
        json_int_t held = json_integer_value(json_object_get(one, "bytes"));
        if (of != NULL && strcmp(of, service) == 0) {
            (*count)++;
            *bytes += held > 0 ? (uint64_t)held : 0;
        }
    }
    return r->known != NULL;
}

void
zb_rescues_changed(struct zb_agent *a)
{
    a->rescues->asked_at.ms = 0;
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
    while (a->rescues != NULL && a->rescues->waiters != NULL) {
        struct zb_rescue_waiter *w = a->rescues->waiters;
        a->rescues->waiters = w->next;
        w->on_made(w->ctx, &rep);
    }
}
