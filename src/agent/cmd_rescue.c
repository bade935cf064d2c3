/*
 * rescue.list, rescue.show, rescue.mount, rescue.drop: what was set aside on this node.
 */
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/request.h"
#include "agent/rescue.h"

static bool
name_is(const json_t *rescue, const char *name)
{
    const char *text = json_string_value(json_object_get(rescue, "name"));
    return text != NULL && strcmp(text, name) == 0;
}

/* --- rescue.list --- */

static void
on_list(void *ctx, json_t *list, const struct zb_err *err)
{
    struct zb_request *r = ctx;

    if (list == NULL) {
        zb_request_fail(r, err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
    zb_json_put(data, "rescues", json_incref(list));
    zb_request_done(r, data);
}

void
zb_cmd_rescue_list(struct zb_request *r)
{
    if (zb_forward_to_named(r)) {
        zb_rescues_list(r->a, on_list, r);
    }
}

/* --- rescue.show --- */

/* The newest set that the live side holds here, for comparing: its snapshot and its datasets. */
static json_t *
live_json(struct zb_agent *a, const char *name)
{
    uint16_t service = zb_agent_service_find(a, name);
    const struct zb_manifest *m = NULL;
    struct zb_core_view view;
    char text[ZB_DATASET_NAME_SIZE + ZB_SERVICE_NAME_SIZE];

    if (service != ZB_SERVICE_NONE) {
        zb_core_view(a->core, service, &view);
        if (!zb_set_id_is_none(view.obs.newest.id)) {
            m = zb_position_manifest(a, service, view.obs.newest.id);
        }
    }
    if (m == NULL) {
        return json_null();
    }
    json_t *live = zb_must(json_object());
    json_t *rels = zb_json_array_new();
    for (uint32_t i = 0; i < m->entries_count; i++) {
        zb_json_append(rels, zb_json_text(m->entries[i].rel));
    }
    (void)snprintf(text, sizeof text, "%s/%s", a->root, name);
    zb_json_put(live, "dataset", zb_json_text(text));
    zb_set_name_format(m->id, m->time, text);
    zb_json_put(live, "snapshot", zb_json_text(text));
    zb_json_put(live, "rels", rels);
    return live;
}

static void
on_show(void *ctx, json_t *list, const struct zb_err *err)
{
    struct zb_request *r = ctx;
    const char *name = zb_request_text(r, "name");
    struct zb_err none;
    size_t i;
    json_t *one;

    if (list == NULL) {
        zb_request_fail(r, err, NULL);
        return;
    }
    json_array_foreach(list, i, one)
    {
        if (name_is(one, name)) {
            const char *service = json_string_value(json_object_get(one, "service"));
            json_t *data = zb_must(json_object());
            zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
            zb_json_put(data, "rescue", json_incref(one));
            zb_json_put(data, "live", live_json(r->a, service != NULL ? service : ""));
            zb_request_done(r, data);
            return;
        }
    }
    zb_err_set(&none, ZB_E_NOTFOUND, "no rescue '%.160s' on %s", name,
               r->a->nodes[r->a->self].name);
    zb_err_hint(&none, "zbaton rescue list");
    zb_request_fail(r, &none, NULL);
}

void
zb_cmd_rescue_show(struct zb_request *r)
{
    if (zb_forward_to_named(r)) {
        zb_rescues_list(r->a, on_show, r);
    }
}

/* --- rescue.mount, rescue.drop --- */

/* What the keeper did, or did not: then that is the request's end. */
static bool
is_done(struct zb_request *r, const struct zb_krep *rep)
{
    struct zb_err err;

    zb_rescues_changed(r->a);
    if (rep->rc != ZB_OK) {
        zb_keeper_reply_error(rep, "zbaton rescue list", &err);
        zb_request_fail(r, &err, NULL);
    }
    return rep->rc == ZB_OK;
}

static void
on_mounted(void *ctx, const struct zb_krep *rep)
{
    struct zb_request *r = ctx;

    if (!is_done(r, rep)) {
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "path", zb_json_text(rep->text != NULL ? rep->text : ""));
    zb_request_done(r, data);
}

static void
on_dropped(void *ctx, const struct zb_krep *rep)
{
    struct zb_request *r = ctx;

    if (!is_done(r, rep)) {
        return;
    }
    zb_agent_event(r->a, ZB_LOG_WARNING, "", "A-rescue-dropped",
                   "rescue %s is destroyed, as %s said", zb_request_text(r, "name"), r->who);
    zb_request_done(r, zb_must(json_object()));
}

static void
keeper_ask(struct zb_request *r, struct zb_kreq *req,
           void (*cb)(void *ctx, const struct zb_krep *rep))
{
    char name[ZB_DATASET_NAME_SIZE];

    (void)snprintf(name, sizeof name, "%s", zb_request_text(r, "name"));
    req->text = name; /* borrowed for the call */
    zb_agent_keeper_call(r->a, req, cb, r);
}

void
zb_cmd_rescue_mount(struct zb_request *r)
{
    struct zb_kreq req = {.op = ZB_KOP_RESCUE_MOUNT};

    zb_strcopy(req.rel, sizeof req.rel, zb_request_bool(r, "on") ? "on" : "off");
    keeper_ask(r, &req, on_mounted);
}

void
zb_cmd_rescue_drop(struct zb_request *r)
{
    struct zb_kreq req = {.op = ZB_KOP_RESCUE_DROP};

    keeper_ask(r, &req, on_dropped);
}
