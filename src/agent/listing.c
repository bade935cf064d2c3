#include "agent/listing.h"

#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"

/* In pages: what does not fit one answer of the keeper is asked for again, from there on. */
struct listing {
    struct zb_agent *a;
    uint32_t op;
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
        zb_keeper_reply_error(rep, "", &err);
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
    struct zb_kreq req = {.op = l->op, .count = (uint32_t)json_array_size(l->list)};
    zb_agent_keeper_call(l->a, &req, on_lines, l);
}

void
zb_listing_start(struct zb_agent *a, uint32_t op,
                 void (*cb)(void *ctx, json_t *list, const struct zb_err *err), void *ctx)
{
    struct listing *l = zb_must_alloc(1, sizeof(*l));
    *l = (struct listing){.a = a, .op = op, .list = zb_json_array_new(), .cb = cb, .ctx = ctx};
    listing_ask(l);
}
