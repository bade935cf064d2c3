/*
 * explain: what each member says of itself, put together.
 */
#include "agent/explain.h"
#include "agent/help.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

#define WAIT_MS 10000 /* for the other members; a pool that hangs answers nothing */

struct explain {
    struct zb_request *r;
    uint16_t service;
    bool done;        /* answered; only what is under way keeps it */
    uint32_t pending; /* members that have not answered, and the one who asks them */
    uint32_t count;
    struct part {
        struct explain *e;
        char node[ZB_NODE_NAME_SIZE];
        json_t *member; /* NULL: not yet */
    } parts[ZB_MEMBERS_MAX];
    uv_timer_t timer;
};

static void
on_timer_closed(uv_handle_t *handle)
{
    struct explain *e = handle->data;

    for (uint32_t i = 0; i < e->count; i++) {
        json_decref(e->parts[i].member);
    }
    free(e);
}

static void
explain_answer(struct explain *e)
{
    struct zb_agent *a = e->r->a;
    json_t *members = zb_json_array_new();
    json_t *data = zb_must(json_object());
    struct zb_core_view view;

    zb_core_view(a->core, e->service, &view);
    for (uint32_t i = 0; i < e->count; i++) {
        json_t *member = e->parts[i].member;
        zb_json_append(members, member != NULL
                                    ? json_incref(member)
                                    : zb_explain_silent(e->parts[i].node, "no answer within 10 s",
                                                        "A-no-answer", "zbaton node list"));
    }
    zb_json_put(data, "service", zb_json_text(a->services[e->service].conf.name));
    zb_json_put(data, "leader",
                view.leader < a->nodes_count ? zb_json_text(a->nodes[view.leader].name)
                                             : json_null());
    zb_json_put(data, "term", zb_json_int((int64_t)view.term));
    zb_json_put(data, "members", members);
    e->done = true;
    e->r->on_gone = NULL;
    zb_request_done(e->r, data);
}

/* One answer less to wait for. */
static void
explain_settle(struct explain *e)
{
    if (--e->pending > 0) {
        return;
    }
    if (!e->done) {
        explain_answer(e);
    }
    uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

static void
on_timer(uv_timer_t *timer)
{
    struct explain *e = timer->data;

    if (!e->done) {
        explain_answer(e);
    }
}

static void
on_gone(struct zb_request *r)
{
    explain_answer(r->ctx);
}

static void
on_here(void *ctx, json_t *member)
{
    struct part *part = ctx;

    part->member = member;
    explain_settle(part->e);
}

static void
on_there(void *ctx, json_t *result)
{
    struct part *part = ctx;
    json_t *members = json_object_get(json_object_get(result, "data"), "members");
    json_t *member = json_array_get(members, 0);
    const char *error = json_string_value(json_object_get(result, "error"));

    part->member =
        json_is_object(member)
            ? json_incref(member)
            : zb_explain_silent(part->node, error != NULL ? error : "its answer is not understood",
                                "A-no-answer", "zbaton node list");
    explain_settle(part->e);
}

static void
there_ask(struct part *part, uint8_t node)
{
    struct zb_agent *a = part->e->r->a;
    json_t *args = zb_must(json_object());

    zb_json_put(args, "service", zb_json_text(a->services[part->e->service].conf.name));
    zb_json_put(args, "node", zb_json_text(part->node));
    struct zb_forward_ask ask = {.node = node,
                                 .cmd = "explain",
                                 .args = args,
                                 .who = part->e->r->who,
                                 .on_result = on_there,
                                 .ctx = part};
    zb_forward_start(a, &ask);
    json_decref(args);
}

static void
down_say(struct part *part)
{
    const struct zb_agent *a = part->e->r->a;
    struct zb_net_peer_status status = {0};
    char text[sizeof status.reason + ZB_NODE_NAME_SIZE + 32];
    char help[ZB_HELP_SIZE];

    (void)zb_net_peer_status(a->net, part->node, &status);
    (void)snprintf(text, sizeof text, "%s is not reachable%s%s", part->node,
                   status.reason[0] == '\0' ? "" : ": ", status.reason);
    (void)zb_help_find("A-peer-down", a->services[part->e->service].conf.name, help);
    part->member = zb_explain_silent(part->node, text, "A-peer-down", help);
    explain_settle(part->e);
}

static void
part_ask(struct part *part)
{
    struct explain *e = part->e;
    struct zb_agent *a = e->r->a;
    uint8_t node = zb_agent_node_find(a, part->node);

    e->pending++;
    if (node == a->self) {
        zb_explain_here(a, e->service, on_here, part);
    } else if (node == ZB_NODE_NONE || !a->nodes[node].up) {
        down_say(part);
    } else {
        there_ask(part, node);
    }
}

static void
parts_add(struct explain *e, const struct zb_conf_names *names, const char *wanted)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (wanted[0] == '\0' || strcmp(names->items[i], wanted) == 0) {
            struct part *part = &e->parts[e->count++];
            part->e = e;
            zb_strcopy(part->node, sizeof part->node, names->items[i]);
        }
    }
}

void
zb_cmd_explain(struct zb_request *r)
{
    const char *wanted = zb_request_text(r, "node");
    uint16_t service = zb_request_service(r); /* NONE: the request is gone */
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    const struct zb_conf_service *conf = &r->a->services[service].conf;
    struct explain *e = zb_must_alloc(1, sizeof *e);
    *e = (struct explain){.r = r, .service = service, .pending = 1};
    parts_add(e, &conf->members, wanted);
    parts_add(e, &conf->backups, wanted);
    if (e->count == 0) {
        zb_err_set(&err, ZB_E_NOTFOUND, "%.64s is no member of %s", wanted, conf->name);
        zb_err_hint(&err, "zbaton config show names its members");
    } else if (r->from_peer && zb_agent_node_find(r->a, wanted) != r->a->self) {
        zb_err_set(&err, ZB_E_STALE, "this is not %.64s", wanted);
        e->count = 0;
    }
    if (e->count == 0) {
        zb_request_fail(r, &err, NULL);
        free(e);
        return;
    }
    e->timer.data = e;
    (void)uv_timer_init(&r->a->loop, &e->timer);
    (void)uv_timer_start(&e->timer, on_timer, WAIT_MS, 0);
    r->ctx = e;
    r->on_gone = on_gone;
    for (uint32_t i = 0; i < e->count; i++) {
        part_ask(&e->parts[i]);
    }
    explain_settle(e);
}
