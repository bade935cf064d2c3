/*
 * drain, undrain: the next version of the configuration says that a node shall lead nothing; then
 * what it leads is moved away, one service after the other, each to the member that comes first
 * (choose.h). The mark stands from the first moment on, and stays whatever becomes of the moves: a
 * drain that is given again goes on where the last one ended.
 */
#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/place.h"
#include "agent/request.h"
#include "agent/voters.h"

#define WAIT_MS 10000 /* for a leader and its keeper to have the configuration */
#define TICK_MS 50

struct drain {
    struct zb_request *r;
    uv_timer_t timer;
    struct zb_mono until;
    uint8_t node;
    bool dry_run;
    struct zb_config_doc doc; /* with the mark */
    uint16_t next;            /* service that is looked at next */
    uint16_t moving;
    char to[ZB_NODE_NAME_SIZE]; /* of the move under way ... */
    char why[ZB_CHOOSE_SAY_SIZE];
    uint32_t planned[ZB_NODES_MAX]; /* of a dry run: what each would get */
    json_t *moved;                  /* [{"service","to","why","down_ms","background"}] */
    json_t *left;                   /* [{"service","why"}] */
};

static void next_move(struct drain *d);

static void
on_timer_closed(uv_handle_t *handle)
{
    struct drain *d = handle->data;

    zb_config_doc_close(&d->doc);
    json_decref(d->moved);
    json_decref(d->left);
    free(d);
}

static void
drain_free(struct drain *d)
{
    uv_close((uv_handle_t *)&d->timer, on_timer_closed);
}

static const char *
node_name(const struct drain *d)
{
    return d->r->a->nodes[d->node].name;
}

static void
drain_done(struct drain *d)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "node", zb_json_text(node_name(d)));
    zb_json_put(data, "moved", json_incref(d->moved));
    zb_json_put(data, "left", json_incref(d->left));
    zb_request_done(d->r, data);
    drain_free(d);
}

static json_t *
line_new(const struct drain *d, uint16_t service, const char *phase)
{
    json_t *line = zb_must(json_object());

    zb_json_put(line, "phase", zb_json_text(phase));
    zb_json_put(line, "service", zb_json_text(d->r->a->services[service].conf.name));
    return line;
}

/* --- one service --- */

static void
leave(struct drain *d, uint16_t service, const char *why)
{
    const char *name = d->r->a->services[service].conf.name;
    json_t *one = zb_must(json_object());
    json_t *line = line_new(d, service, "left");

    zb_json_put(one, "service", zb_json_text(name));
    zb_json_put(one, "why", zb_json_text(why));
    zb_json_append(d->left, one);
    zb_json_put(line, "text", zb_json_text(why));
    zb_request_progress(d->r, line);
    if (!d->dry_run) {
        zb_agent_event(d->r->a, ZB_LOG_WARNING, name, "A-drain-left",
                       "%s is drained, and it stays: %s", node_name(d), why);
    }
}

static json_t *
moved_add(struct drain *d, uint16_t service)
{
    json_t *one = zb_must(json_object());

    zb_json_put(one, "service", zb_json_text(d->r->a->services[service].conf.name));
    zb_json_put(one, "to", zb_json_text(d->to));
    zb_json_put(one, "why", zb_json_text(d->why));
    zb_json_append(d->moved, one);
    return one;
}

/* Who comes first, into d->to and d->why; false with why none can. */
static bool
target_choose(struct drain *d, uint16_t service, char *text, size_t size)
{
    const struct zb_agent *a = d->r->a;
    const struct zb_freeze *freeze = &a->services[service].freeze;
    struct zb_choose_member members[ZB_MEMBERS_MAX];
    char frozen[ZB_FREEZE_SAY_SIZE];

    if (freeze->reason[0] != '\0') {
        zb_freeze_say(freeze, frozen);
        (void)snprintf(text, size, "%s (zbaton thaw %s)", frozen, freeze->service);
        return false;
    }
    uint32_t count = zb_place_targets(a, service, members);
    for (uint32_t i = 0; i < count; i++) {
        members[i].leads += d->planned[zb_agent_node_find(a, members[i].node)];
    }
    const struct zb_choose_member *first = zb_choose_first(members, count);
    if (first == NULL) {
        zb_place_nobody_say(a, members, count, text, size);
        return false;
    }
    zb_strcopy(d->to, sizeof d->to, first->node);
    zb_choose_say(members, count, first, d->why);
    return true;
}

static void
on_moved(void *ctx, const json_t *result)
{
    struct drain *d = ctx;
    const json_t *data = json_object_get(result, "data");
    const char *error = json_string_value(json_object_get(result, "error"));
    char text[512];

    if (json_integer_value(json_object_get(result, "rc")) != ZB_OK) {
        (void)snprintf(text, sizeof text, "%s", error != NULL ? error : "the move failed");
        leave(d, d->moving, text);
        next_move(d);
        return;
    }
    json_t *one = moved_add(d, d->moving);
    json_t *line = line_new(d, d->moving, "end");
    json_t *down_ms = json_object_get(data, "down_ms");
    json_t *down = zb_must(down_ms != NULL ? json_incref(down_ms) : json_null());
    bool background = json_is_true(json_object_get(data, "background"));
    zb_json_put(one, "down_ms", json_incref(down));
    zb_json_put(one, "background", zb_json_bool(background));
    zb_json_put(line, "to", zb_json_text(d->to));
    zb_json_put(line, "down_ms", down);
    zb_json_put(line, "background", zb_json_bool(background));
    zb_request_progress(d->r, line);
    next_move(d);
}

static void
move_begin(struct drain *d, uint16_t service)
{
    struct zb_agent *a = d->r->a;
    const char *name = a->services[service].conf.name;
    json_t *args = zb_must(json_object());
    json_t *line = line_new(d, service, "begin");
    char who[ZB_CHOOSE_WHO_SIZE];

    zb_json_put(args, "service", zb_json_text(name));
    zb_json_put(args, "node", zb_json_text(d->to));
    zb_json_put(line, "to", zb_json_text(d->to));
    zb_json_put(line, "why", zb_json_text(d->why));
    zb_request_progress(d->r, line);
    zb_choose_who(d->r->who, "drain", d->why, who);
    struct zb_request *r = zb_request_new(a, zb_command_find("move"), args, who);
    json_decref(args);
    if (r == NULL) {
        leave(d, service, "too many commands are under way on this node");
        next_move(d);
        return;
    }
    zb_agent_event(a, ZB_LOG_INFO, name, "A-drain", "drain of %s by %s: moved to %s", node_name(d),
                   d->r->who, d->why);
    d->moving = service;
    r->on_result = on_moved;
    r->result_ctx = d;
    r->command->run(r);
}

/* Its leader decides by the configuration that has the mark. Before that its keeper may be storing
 * the declaration, and would refuse to stop the service meanwhile. */
static bool
is_defined(const struct drain *d, const struct zb_core_view *view, uint16_t service)
{
    const struct zb_agent *a = d->r->a;
    uint64_t version = d->node == a->self ? view->version : view->peers[d->node].report.version;

    return version >= a->services[service].version;
}

/* Nobody is seen to lead, and it may: it did last and is not heard, or is to take it now. */
static bool
may_lead(const struct drain *d, const struct zb_core_view *view)
{
    return view->leader == ZB_NODE_NONE && (zb_voter_suspects(view) & UINT32_C(1) << d->node) != 0;
}

static void
wait_end(struct drain *d)
{
    (void)uv_timer_stop(&d->timer);
    d->r->on_gone = NULL;
    next_move(d);
}

static void
on_timer(uv_timer_t *timer)
{
    wait_end(timer->data);
}

static void
on_gone(struct zb_request *r)
{
    wait_end(r->ctx);
}

/* The next service that it leads, if anybody still wants to know. */
static void
next_move(struct drain *d)
{
    struct zb_agent *a = d->r->a;
    struct zb_core_view view;
    char text[512];

    while (d->next < a->services_count && !d->r->gone && !a->stopping) {
        uint16_t service = d->next;
        zb_core_view(a->core, service, &view);
        bool leads = a->services[service].present && view.leader == d->node;
        if (leads && !d->dry_run && !is_defined(d, &view, service) &&
            zb_mono_now().ms < d->until.ms) {
            d->r->ctx = d;
            d->r->on_gone = on_gone;
            (void)uv_timer_start(&d->timer, on_timer, TICK_MS, 0);
            return;
        }
        d->next++;
        if (!leads) {
            if (a->services[service].present && may_lead(d, &view)) {
                leave(d, service, "it may lead it, and nobody is seen to: zbaton status");
            }
            continue;
        }
        if (!target_choose(d, service, text, sizeof text)) {
            leave(d, service, text);
        } else if (d->dry_run) {
            (void)moved_add(d, service);
            d->planned[zb_agent_node_find(a, d->to)]++;
        } else {
            move_begin(d, service);
            return;
        }
    }
    if (d->r->gone) {
        zb_agent_event(a, ZB_LOG_WARNING, "", "A-drain-ended",
                       "%s is drained, but nobody waits for its services to be moved any more: "
                       "zbaton drain %s goes on",
                       node_name(d), node_name(d));
    }
    drain_done(d);
}

/* --- the mark --- */

static void
on_marked(void *ctx, const struct zb_config_outcome *outcome)
{
    struct drain *d = ctx;

    if (outcome->rc != ZB_OK) {
        zb_request_fail(d->r, outcome->err, NULL);
        drain_free(d);
        return;
    }
    d->until.ms = zb_mono_now().ms + WAIT_MS;
    next_move(d);
}

static void
node_unknown(struct zb_request *r)
{
    struct zb_err err;

    (void)zb_agent_no_node(zb_request_text(r, "node"), &err);
    zb_request_fail(r, &err, NULL);
}

/* The next version in *doc, with the mark as it shall be; *same: it is already. */
static enum zb_rc
doc_make(const struct zb_request *r, bool drained, struct zb_config_doc *doc, bool *same,
         struct zb_err *err)
{
    enum zb_rc rc = zb_config_doc_copy(doc, zb_config_current(r->a), err);
    int at = rc == ZB_OK ? zb_config_doc_node_find(doc, zb_request_text(r, "node")) : -1;

    if (rc != ZB_OK) {
        return rc;
    }
    if (at < 0) {
        return zb_err_set(err, ZB_E_NOTFOUND, "it is in no configuration yet");
    }
    struct zb_drained *mark = &doc->nodes[at].drained;
    *same = zb_drained_is(mark) == drained;
    if (!*same) {
        *mark = (struct zb_drained){.since = drained ? zb_wall_now() : (struct zb_wall){0}};
        (void)snprintf(mark->who, sizeof mark->who, "%s", drained ? r->who : "");
        doc->version++;
    }
    return ZB_OK;
}

void
zb_cmd_drain(struct zb_request *r)
{
    uint8_t node = zb_agent_node_find(r->a, zb_request_text(r, "node"));
    struct zb_err err;
    bool same = false;

    if (node == ZB_NODE_NONE) {
        node_unknown(r);
        return;
    }
    struct drain *d = zb_must_alloc(1, sizeof *d);
    *d = (struct drain){.r = r,
                        .node = node,
                        .dry_run = zb_request_bool(r, "dry_run"),
                        .until.ms = zb_mono_now().ms + WAIT_MS,
                        .moved = zb_json_array_new(),
                        .left = zb_json_array_new()};
    d->timer.data = d;
    (void)uv_timer_init(&r->a->loop, &d->timer);
    if (doc_make(r, true, &d->doc, &same, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        drain_free(d);
    } else if (same || d->dry_run) {
        next_move(d);
    } else {
        const struct zb_config_change change = {.doc = &d->doc, .on_done = on_marked, .ctx = d};
        zb_config_change(r->a, &change);
    }
}

/* --- undrain --- */

static void
undrain_done(struct zb_request *r, bool was)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "node", zb_json_text(zb_request_text(r, "node")));
    zb_json_put(data, "was", zb_json_bool(was));
    zb_request_done(r, data);
}

static void
on_unmarked(void *ctx, const struct zb_config_outcome *outcome)
{
    struct zb_request *r = ctx;

    if (outcome->rc != ZB_OK) {
        zb_request_fail(r, outcome->err, NULL);
        return;
    }
    zb_agent_event(r->a, ZB_LOG_INFO, "", "A-undrain", "drain of %s ended by %s",
                   zb_request_text(r, "node"), r->who);
    undrain_done(r, true);
}

void
zb_cmd_undrain(struct zb_request *r)
{
    struct zb_config_doc doc = {0};
    struct zb_err err;
    bool same = false;

    if (zb_agent_node_find(r->a, zb_request_text(r, "node")) == ZB_NODE_NONE) {
        node_unknown(r);
        return;
    }
    if (doc_make(r, false, &doc, &same, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
    } else if (same) {
        undrain_done(r, false);
    } else {
        const struct zb_config_change change = {.doc = &doc, .on_done = on_unmarked, .ctx = r};
        zb_config_change(r->a, &change);
    }
    zb_config_doc_close(&doc);
}
