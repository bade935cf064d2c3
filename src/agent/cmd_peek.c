/*
 * peek, peek.list, peek.end: sets of this node to look into.
 */
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/listing.h"
#include "agent/must.h"
#include "agent/peek.h"
#include "agent/position.h"
#include "agent/request.h"

static json_t *
data_new(const struct zb_request *r)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
    return data;
}

/* --- peek --- */

static void
on_made(void *ctx, const struct zb_krep *rep)
{
    struct zb_request *r = ctx;
    json_t *peek = NULL;
    struct zb_err err;

    zb_peeks_look(r->a);
    if (rep->rc != ZB_OK) {
        zb_keeper_reply_error(rep, "zbaton peek list", &err);
        zb_request_fail(r, &err, NULL);
        return;
    }
    peek = json_loads(rep->text != NULL ? rep->text : "", JSON_REJECT_DUPLICATES, NULL);
    if (peek == NULL) {
        peek = zb_must(json_object());
    }
    const char *name = json_string_value(json_object_get(peek, "name"));
    const char *expires = json_string_value(json_object_get(peek, "expires"));
    zb_agent_event(r->a, ZB_LOG_INFO, zb_request_text(r, "service"), "A-peek",
                   "peek %s made for %s, until %s", name != NULL ? name : "-", r->who,
                   expires != NULL ? expires : "-");
    json_t *data = data_new(r);
    zb_json_put(data, "peek", peek);
    zb_request_done(r, data);
}

static void
on_recalled(void *ctx, enum zb_recall what, const struct zb_manifest *m)
{
    struct zb_request *r = ctx;
    const char *name = zb_request_text(r, "service");
    const char *node = r->a->nodes[r->a->self].name;
    const char *text = zb_request_text(r, "set");
    struct zb_kreq req = {.op = ZB_KOP_PEEK};
    int64_t life_s = zb_request_int(r, "for_s", ZB_PEEK_LIFE_S);
    struct zb_err err;

    (void)what; /* a part can be looked at */
    if (m == NULL && text[0] == '\0') {
        (void)zb_err_set(&err, ZB_E_NOTFOUND, "%s holds no whole set of %s", node, name);
        (void)zb_err_hint(&err, "zbaton status %s", name);
    } else if (m == NULL) {
        (void)zb_err_set(&err, ZB_E_NOTFOUND, "%s knows no set %s of %s", node, text, name);
        (void)zb_err_hint(&err, "zbaton history %s lists them", name);
    }
    if (m == NULL) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_strcopy(req.service, sizeof req.service, name);
    req.time_s = zb_wall_now().s + (life_s >= 0 && life_s <= INT32_MAX ? life_s : 0);
    req.manifest = *m; /* borrowed for the call */
    zb_agent_keeper_call(r->a, &req, on_made, r);
}

/* args.set ("12/345"), or the newest set that is held whole. */
void
zb_cmd_peek(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    struct zb_core_view view;
    struct zb_set_id id;
    struct zb_err err;

    if (service == ZB_SERVICE_NONE || !zb_forward_to_named(r)) {
        return;
    }
    zb_core_view(r->a->core, service, &view);
    id = view.obs.newest.id;
    if (zb_request_text(r, "set")[0] != '\0' && zb_request_set(r, service, &id, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_position_recall(r->a, service, id, on_recalled, r);
}

/* --- peek.list --- */

static void
on_list(void *ctx, json_t *list, const struct zb_err *err)
{
    struct zb_request *r = ctx;

    if (list == NULL) {
        zb_request_fail(r, err, NULL);
        return;
    }
    json_t *data = data_new(r);
    zb_json_put(data, "peeks", json_incref(list));
    zb_request_done(r, data);
}

void
zb_cmd_peek_list(struct zb_request *r)
{
    if (zb_forward_to_named(r)) {
        zb_listing_start(r->a, ZB_KOP_PEEKS, on_list, r);
    }
}

/* --- peek.end --- */

static void
on_ended(void *ctx, const struct zb_krep *rep)
{
    struct zb_request *r = ctx;
    struct zb_err err;

    if (rep->rc != ZB_OK) {
        zb_keeper_reply_error(rep, "zbaton peek list", &err);
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_agent_event(r->a, ZB_LOG_INFO, "", "A-peek-ended", "%s ended peek %s", r->who,
                   zb_request_text(r, "name"));
    zb_request_done(r, data_new(r));
}

void
zb_cmd_peek_end(struct zb_request *r)
{
    struct zb_kreq req = {.op = ZB_KOP_PEEK_END};
    char name[ZB_DATASET_NAME_SIZE];

    if (!zb_forward_to_named(r)) {
        return;
    }
    (void)snprintf(name, sizeof name, "%s", zb_request_text(r, "name"));
    req.text = name; /* borrowed for the call */
    zb_agent_keeper_call(r->a, &req, on_ended, r);
}
