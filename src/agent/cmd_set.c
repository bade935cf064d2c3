/*
 * snapshot, sync: one set now; that of a snapshot with a label, if one is given.
 */
#include <inttypes.h>

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

struct set_command {
    struct zb_request *r;
    uint16_t service;
    struct zb_mono begun;
    bool sync;
    const char *label;    /* of the request; "": none */
    struct zb_set_id set; /* that was taken */
};

/* Reachable members that hold the set. */
static json_t *
followers_json(const struct zb_agent *a, uint16_t service, struct zb_set_id id)
{
    struct zb_core_view view;
    json_t *names = zb_json_array_new();

    zb_core_view(a->core, service, &view);
    for (uint8_t n = 0; n < a->nodes_count; n++) {
        const struct zb_core_peer_view *p = &view.peers[n];
        if (n != a->self && a->nodes[n].present && p->up && p->known &&
            zb_set_id_cmp(p->report.set.id, id) >= 0) {
            zb_json_append(names, zb_json_text(a->nodes[n].name));
        }
    }
    return names;
}

static void
set_done(struct set_command *c)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "set", zb_json_set_id(c->set));
    zb_json_put(data, "label", c->label[0] != '\0' ? zb_json_text(c->label) : zb_must(json_null()));
    zb_json_put(data, "elapsed_ms", zb_json_int(zb_mono_now().ms - c->begun.ms));
    if (c->sync) {
        zb_json_put(data, "followers", followers_json(c->r->a, c->service, c->set));
    }
    zb_request_done(c->r, data);
    free(c);
}

static void
on_labelled(void *ctx, const struct zb_err *err)
{
    struct set_command *c = ctx;
    struct zb_err told;

    if (err == NULL) {
        set_done(c);
        return;
    }
    told = *err;
    (void)zb_err_wrap(&told, "set %" PRIu64 "/%" PRIu64 " was taken, but has no label", c->set.term,
                      c->set.seq);
    (void)zb_err_hint(&told, "zbaton label %s %" PRIu64 "/%" PRIu64 " '%s'",
                      c->r->a->services[c->service].conf.name, c->set.term, c->set.seq, c->label);
    zb_request_fail(c->r, &told, NULL);
    free(c);
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct set_command *c = ctx;
    struct zb_request *r = c->r;
    struct zb_err err;

    if (reply->rc != ZB_OK) {
        zb_err_set(&err, reply->rc, "%s", reply->text);
        zb_err_hint(&err, "zbaton status %s", r->a->services[c->service].conf.name);
        zb_request_fail(r, &err, reply->rule);
        free(c);
        return;
    }
    c->set = reply->set.id;
    if (c->label[0] == '\0') {
        set_done(c);
        return;
    }
    struct zb_label_order order = {.label = {.set = c->set}, .on_done = on_labelled, .ctx = c};
    zb_label_order_fill(&order, r, c->service, c->label);
    zb_label_start(r->a, &order);
}

static void
set_run(struct zb_request *r, enum zb_cmd_kind kind)
{
    uint16_t service = zb_request_service(r);
    bool labels = kind == ZB_CMD_SNAPSHOT && json_object_get(r->args, "label") != NULL;
    const char *label = labels ? zb_request_text(r, "label") : "";
    struct zb_err err;

    if (service == ZB_SERVICE_NONE || !zb_forward_to_leader(r, service)) {
        return;
    }
    if (labels && zb_label_check(label, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    struct set_command *c = zb_must_alloc(1, sizeof *c);
    *c = (struct set_command){.r = r,
                              .service = service,
                              .begun = zb_mono_now(),
                              .sync = kind == ZB_CMD_SYNC,
                              .label = label};
    struct zb_agent_command command = {.kind = kind,
                                       .service = service,
                                       .node = ZB_NODE_NONE,
                                       .who = r->who,
                                       .on_reply = on_reply,
                                       .ctx = c};
    zb_agent_command_start(r->a, &command);
}

void
zb_cmd_snapshot(struct zb_request *r)
{
    set_run(r, ZB_CMD_SNAPSHOT);
}

void
zb_cmd_sync(struct zb_request *r)
{
    set_run(r, ZB_CMD_SYNC);
}
