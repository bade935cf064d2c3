#include <inttypes.h>

#include "agent/control.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "base/log.h"

#define FORWARDS_MAX 64 /* passed on and not answered; more are refused */

struct forward {
    uint64_t id;
    uint8_t node;
    void (*on_progress)(void *ctx, json_t *line);
    void (*on_result)(void *ctx, json_t *result);
    void *ctx;
    struct forward *next;
};

struct zb_forwards {
    uint64_t next_id;
    uint32_t count;
    struct forward *list;
};

struct zb_forwards *
zb_forwards_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_forwards));
}

void
zb_forwards_free(struct zb_forwards *f)
{
    free(f);
}

/* --- asking another node --- */

static void
result_give(void (*on_result)(void *ctx, json_t *result), void *ctx, enum zb_rc rc,
            const char *text)
{
    struct zb_err err;

    zb_err_set(&err, rc, "%s", text);
    json_t *result = zb_result_error(&err, NULL);
    on_result(ctx, result);
    json_decref(result);
}

void
zb_forward_start(struct zb_agent *a, const struct zb_forward_ask *ask)
{
    struct zb_forwards *f = a->control->forwards;
    char text[128];

    if (f->count >= FORWARDS_MAX) {
        result_give(ask->on_result, ask->ctx, ZB_E_BUSY,
                    "too many commands are passed on: try again");
        return;
    }
    json_t *msg = zb_json_new("cmd.request");
    zb_json_put(msg, "id", zb_json_u64(++f->next_id));
    zb_json_put(msg, "cmd", zb_json_text(ask->cmd));
    zb_json_put(msg, "args", zb_must(json_deep_copy(ask->args)));
    zb_json_put(msg, "who", zb_json_text(ask->who));
    if (!zb_peer_send(a, ask->node, msg)) {
        (void)snprintf(text, sizeof text, "%s is not reachable", a->nodes[ask->node].name);
        result_give(ask->on_result, ask->ctx, ZB_E_CLOSED, text);
        return;
    }
    struct forward *one = zb_must_alloc(1, sizeof *one);
    *one = (struct forward){.id = f->next_id,
                            .node = ask->node,
                            .on_progress = ask->on_progress,
                            .on_result = ask->on_result,
                            .ctx = ask->ctx,
                            .next = f->list};
    f->list = one;
    f->count++;
}

/* Unlinks it; the caller frees. */
static void
forward_unlink(struct zb_forwards *f, struct forward *one)
{
    struct forward **at = &f->list;

    while (*at != one) {
        at = &(*at)->next;
    }
    *at = one->next;
    f->count--;
}

static struct forward *
forward_find(struct zb_forwards *f, uint8_t node, uint64_t id)
{
    struct forward *one = f->list;

    while (one != NULL && (one->id != id || one->node != node)) {
        one = one->next;
    }
    return one;
}

static void
on_answer(struct zb_agent *a, uint8_t node, const json_t *msg, bool last)
{
    struct zb_forwards *f = a->control->forwards;
    struct zb_json_reader r = zb_json_read(msg);
    struct forward *one = forward_find(f, node, zb_json_read_u64(&r, "id"));
    json_t *line = json_object_get(msg, "line");

    if (one == NULL || !json_is_object(line)) {
        zb_log_debug("answer of %s to nothing", a->nodes[node].name);
    } else if (last) {
        forward_unlink(f, one);
        one->on_result(one->ctx, line);
        free(one);
    } else if (one->on_progress != NULL) {
        one->on_progress(one->ctx, line);
    }
}

void
zb_forward_end(struct zb_agent *a, const void *ctx)
{
    struct zb_forwards *f = a->control->forwards;
    struct forward *one = f->list;
    char text[128];

    while (one != NULL) {
        if (one->ctx != ctx) {
            one = one->next;
            continue;
        }
        forward_unlink(f, one);
        (void)snprintf(text, sizeof text, "%s did not answer in time", a->nodes[one->node].name);
        result_give(one->on_result, one->ctx, ZB_E_TIMEOUT, text);
        free(one);
        one = f->list; /* the callback may have started another */
    }
}

/* --- passing a request on --- */

static void
relay_progress(void *ctx, json_t *line)
{
    zb_request_progress(ctx, zb_must(json_copy(line)));
}

static void
relay_result(void *ctx, json_t *result)
{
    struct zb_request *r = ctx;
    struct zb_err err;
    json_t *data = zb_result_data(result, &err);

    if (data != NULL) {
        zb_request_done(r, json_incref(data));
    } else {
        zb_request_fail(r, &err, json_string_value(json_object_get(result, "rule")));
    }
}

void
zb_forward_request(struct zb_request *r, uint8_t node)
{
    struct zb_forward_ask ask = {.node = node,
                                 .cmd = r->command->name,
                                 .args = r->args,
                                 .who = r->who,
                                 .on_progress = relay_progress,
                                 .on_result = relay_result,
                                 .ctx = r};

    zb_forward_start(r->a, &ask);
}

bool
zb_forward_to_named(struct zb_request *r)
{
    const char *name = zb_request_text(r, "node");
    uint8_t node = name[0] == '\0' ? r->a->self : zb_agent_node_find(r->a, name);
    struct zb_err err;

    if (node == r->a->self) {
        return true;
    }
    if (node == ZB_NODE_NONE || r->from_peer) {
        (void)zb_agent_no_node(name, &err);
        zb_request_fail(r, &err, NULL);
    } else {
        zb_forward_request(r, node);
    }
    return false;
}

bool
zb_forward_to_leader(struct zb_request *r, uint16_t service)
{
    struct zb_agent *a = r->a;
    struct zb_core_view view;
    struct zb_err err;

    zb_core_view(a->core, service, &view);
    if (view.leader == a->self) {
        return true;
    }
    const char *name = a->services[service].conf.name;
    const char *leader = view.leader < a->nodes_count ? a->nodes[view.leader].name : "";
    if (view.leader >= a->nodes_count) {
        zb_err_set(&err, ZB_E_REFUSED, "nobody leads %s: %s", name, view.why);
        zb_err_hint(&err, "zbaton status %s", name);
    } else if (r->from_peer) {
        zb_err_set(&err, ZB_E_STALE, "%s leads %s now", leader, name);
        zb_err_hint(&err, "repeat the command");
    } else if (!a->nodes[view.leader].up) {
        zb_err_set(&err, ZB_E_CLOSED, "%s leads %s and is not reachable", leader, name);
        zb_err_hint(&err, "run the command on %s, or repair the connection", leader);
    } else {
        zb_forward_request(r, view.leader);
        return false;
    }
    zb_request_fail(r, &err, NULL);
    return false;
}

/* --- carrying out another node's request --- */

static void
answer_send(struct zb_agent *a, uint8_t node, uint64_t id, json_t *line, bool last)
{
    json_t *msg = zb_json_new(last ? "cmd.result" : "cmd.progress");

    zb_json_put(msg, "id", zb_json_u64(id));
    zb_json_put(msg, "line", line);
    (void)zb_peer_send(a, node, msg);
}

void
zb_forward_answer(struct zb_request *r, json_t *line, bool last)
{
    answer_send(r->a, r->peer, r->peer_id, line, last);
}

static void
on_request(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader reader = zb_json_read(msg);
    uint64_t id = zb_json_read_u64(&reader, "id");
    char name[64], who[128];
    const json_t *args = json_object_get(msg, "args");
    const struct zb_command *command;
    struct zb_request *r = NULL;
    struct zb_err err;

    zb_json_read_text(&reader, "cmd", name, sizeof name);
    zb_json_read_text(&reader, "who", who, sizeof who);
    if (reader.bad != NULL || !json_is_object(args)) {
        return; /* not even an id to answer to, or not written by us */
    }
    command = zb_command_find(name);
    if (command == NULL || !command->from_peer) {
        zb_err_set(&err, ZB_E_UNSUPPORTED, "%s does not take '%s' from another node",
                   a->nodes[a->self].name, name);
    } else {
        r = zb_request_new(a, command, args, who);
        zb_err_set(&err, ZB_E_BUSY, "too many commands are under way on %s",
                   a->nodes[a->self].name);
    }
    if (r == NULL) {
        answer_send(a, node, id, zb_result_error(&err, NULL), true);
        return;
    }
    r->from_peer = true;
    r->peer = node;
    r->peer_id = id;
    command->run(r);
}

void
zb_forward_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    const char *type = json_string_value(json_object_get(msg, "t"));

    if (strcmp(type, "cmd.request") == 0) {
        on_request(a, node, msg);
    } else if (strcmp(type, "cmd.progress") == 0) {
        on_answer(a, node, msg, false);
    } else if (strcmp(type, "cmd.result") == 0) {
        on_answer(a, node, msg, true);
    }
}

void
zb_forwards_close(struct zb_forwards *f)
{
    while (f->list != NULL) {
        struct forward *one = f->list;
        forward_unlink(f, one);
        result_give(one->on_result, one->ctx, ZB_E_CLOSED, "zbatond is ending");
        free(one);
    }
}

static void
orphan_if_of(struct zb_request *r, uint8_t node)
{
    if (r->from_peer && r->peer == node && !r->gone) {
        zb_request_orphan(r);
    }
}

void
zb_forward_peer_down(struct zb_agent *a, uint8_t node)
{
    struct zb_forwards *f = a->control->forwards;
    char text[160];

    (void)snprintf(text, sizeof text, "%s is not reachable any more; what it has begun may go on",
                   a->nodes[node].name);
    for (struct forward *one = f->list; one != NULL;) {
        if (one->node != node) {
            one = one->next;
            continue;
        }
        forward_unlink(f, one);
        result_give(one->on_result, one->ctx, ZB_E_CLOSED, text);
        free(one);
        one = f->list; /* the callback may have started another */
    }
    zb_request_each(a, orphan_if_of, node);
}
