#include "agent/drive.h"

#include "agent/drill.h"
#include "agent/etcds.h"
#include "agent/fence.h"
#include "agent/foreign.h"
#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/member.h"
#include "agent/memo.h"
#include "agent/must.h"
#include "agent/pause.h"
#include "agent/peer_json.h"
#include "agent/pool.h"
#include "agent/rescue.h"
#include "agent/said.h"
#include "agent/ship.h"
#include "agent/witness.h"

struct queued {
    struct zb_event event;
    struct queued *next;
};

struct command {
    uint64_t id;
    uint16_t service;
    char who[128];
    void (*on_step)(void *ctx, const struct zb_action *step);
    void (*on_term)(void *ctx, const struct zb_action *term, char *lost, size_t size);
    void (*on_reply)(void *ctx, const struct zb_action *reply);
    void *ctx;
    struct command *next;
};

struct zb_drive {
    struct zb_agent *a;
    uv_timer_t wake;
    bool stepping;
    struct queued *head; /* events that wait for the plan under way */
    struct queued **tail;
    uint64_t next_command;
    struct command *commands;
    void *core_mem;
    struct zb_plan plan;
};

static void
on_wake(uv_timer_t *timer)
{
    struct zb_drive *d = timer->data;
    zb_drive_event(d->a, &(struct zb_event){.kind = ZB_EV_TICK});
}

struct zb_drive *
zb_drive_new(struct zb_agent *a)
{
    struct zb_drive *d = zb_must_alloc(1, sizeof(*d));
    struct zb_core_options options = {.self = a->self,
                                      .services_max = ZB_SERVICES_MAX,
                                      .seed = zb_random_u64(),
                                      .nonce = a->nonce};
    d->a = a;
    d->tail = &d->head;
    d->core_mem = zb_must_alloc(1, zb_core_size(ZB_SERVICES_MAX));
    a->core = zb_core_init(d->core_mem, &options);
    d->wake.data = d;
    (void)uv_timer_init(&a->loop, &d->wake);
    return d;
}

static void
on_closed(uv_handle_t *handle)
{
    struct zb_drive *d = handle->data;
    while (d->head != NULL) {
        struct queued *q = d->head;
        d->head = q->next;
        free(q);
    }
    free(d->core_mem);
    free(d);
}

void
zb_drive_free(struct zb_agent *a)
{
    struct zb_drive *d = a->drive;
    if (d == NULL) {
        return;
    }
    while (d->commands != NULL) {
        zb_drive_commands_drop(a, d->commands->service, ZB_E_CLOSED, "zbatond is ending");
    }
    uv_close((uv_handle_t *)&d->wake, on_closed);
    a->drive = NULL;
}

/* --- the process --- */

void
zb_agent_stop(struct zb_agent *a)
{
    a->stopping = true;
    uv_stop(&a->loop);
}

void
zb_agent_keeper_call(struct zb_agent *a, struct zb_kreq *req,
                     void (*cb)(void *ctx, const struct zb_krep *rep), void *ctx)
{
    (void)zb_keeper_client_call(a->keeper, req,
                                &(struct zb_keeper_call){.on_reply = cb, .ctx = ctx});
}

/* --- commands --- */

static struct command **
command_find(struct zb_drive *d, uint64_t id)
{
    struct command **at = &d->commands;
    while (*at != NULL && (*at)->id != id) {
        at = &(*at)->next;
    }
    return at;
}

static void
command_end(struct command **at, const struct zb_action *reply)
{
    struct command *c = *at;
    *at = c->next;
    c->on_reply(c->ctx, reply);
    free(c);
}

void
zb_drive_commands_drop(struct zb_agent *a, uint16_t service, enum zb_rc rc, const char *text)
{
    struct command **at = &a->drive->commands;
    struct zb_action reply = {
        .kind = ZB_ACT_REPLY, .service = service, .rc = rc, .rule = "A-command-dropped"};
    (void)snprintf(reply.text, sizeof(reply.text), "%s", text);
    while (*at != NULL) {
        if ((*at)->service == service) {
            command_end(at, &reply);
            at = &a->drive->commands; /* the callback may have started another */
        } else {
            at = &(*at)->next;
        }
    }
}

void
zb_agent_command_start(struct zb_agent *a, const struct zb_agent_command *command)
{
    struct zb_drive *d = a->drive;
    struct command *c = zb_must_alloc(1, sizeof(*c));
    *c = (struct command){.id = ++d->next_command,
                          .service = command->service,
                          .on_step = command->on_step,
                          .on_term = command->on_term,
                          .on_reply = command->on_reply,
                          .ctx = command->ctx,
                          .next = d->commands};
    (void)snprintf(c->who, sizeof(c->who), "%s", command->who);
    d->commands = c;
    struct zb_event event = {.kind = ZB_EV_COMMAND, .service = command->service};
    event.u.command.kind = command->kind;
    event.u.command.id = c->id;
    event.u.command.node = command->node;
    event.u.command.dry_run = command->dry_run;
    event.u.command.allow_loss = command->allow_loss;
    event.u.command.automatic = command->automatic;
    event.u.command.term = command->term;
    event.u.command.wait_ms = command->wait_ms;
    event.u.command.set = command->set;
    zb_drive_event(a, &event);
}

/* --- actions --- */

static const char *
service_name(const struct zb_agent *a, uint16_t service)
{
    return a->services[service].conf.name;
}

void
zb_drive_tell(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_core_msg *msg)
{
    struct zb_peer_names names = {.nodes = a->nodes, .count = a->nodes_count};
    struct zb_err err;
    if (msg->kind == ZB_MSG_REPORT && zb_said_before(a, service, node, msg)) {
        return;
    }
    zb_said_send(a, node);
    json_t *json = zb_peer_core_encode(&names, service_name(a, service), msg);
    if (zb_net_send(a->net, a->nodes[node].name, json, &err) != ZB_OK) {
        zb_log_debug("message to %s: %s", a->nodes[node].name, err.msg);
        zb_said_forget_node(a, node);
    }
    json_decref(json);
}

static void
act_message(struct zb_agent *a, const struct zb_action *action)
{
    if (action->node == ZB_NODE_WITNESS) {
        zb_witness_send(a, action->service, &action->msg);
    } else {
        zb_drive_tell(a, action->service, action->node, &action->msg);
    }
}

static void
act_step(struct zb_agent *a, const struct zb_action *action)
{
    struct command *c = *command_find(a->drive, action->command_id);
    if (c != NULL && c->on_step != NULL) {
        c->on_step(c->ctx, action);
    }
}

static void
act_reply(struct zb_agent *a, const struct zb_action *action)
{
    struct command **at = command_find(a->drive, action->command_id);
    if (*at != NULL) {
        command_end(at, action);
    }
}

static void
act_note(struct zb_agent *a, const struct zb_action *action)
{
    const char *about = action->node == ZB_NODE_WITNESS ? "etcd"
                        : action->node < a->nodes_count ? a->nodes[action->node].name
                                                        : "";
    zb_agent_event(a, action->level, service_name(a, action->service), action->rule, "%s%s%s",
                   about, about[0] != '\0' ? ": " : "", action->text);
}

static void
act_term(struct zb_agent *a, const struct zb_action *action)
{
    const struct command *c = *command_find(a->drive, action->command_id);
    struct zb_history_term t = {0};
    (void)snprintf(t.who, sizeof(t.who), "%s", c != NULL ? c->who : "");
    (void)snprintf(t.lost, sizeof(t.lost), "%s", action->text);
    if (action->reason == ZB_TERM_UNTOLD) {
        zb_strcopy(t.lost, sizeof(t.lost), "not known: the engine ended while it took the term");
    }
    if (c != NULL && c->on_term != NULL) {
        c->on_term(c->ctx, action, t.lost, sizeof(t.lost));
    }
    zb_lineage_term(a, action, &t);
}

static void
action_start(struct zb_agent *a, const struct zb_action *action)
{
    switch (action->kind) {
    case ZB_ACT_SHIP:
        zb_ship_start(a, action);
        break;
    case ZB_ACT_MESSAGE:
        act_message(a, action);
        break;
    case ZB_ACT_STEP:
        act_step(a, action);
        break;
    case ZB_ACT_REPLY:
        act_reply(a, action);
        break;
    case ZB_ACT_NOTE:
        act_note(a, action);
        break;
    case ZB_ACT_TERM:
        act_term(a, action);
        break;
    default:
        if (!zb_act_start(a, action)) {
            abort(); /* the core orders what nobody carries out */
        }
        break;
    }
}

/* --- events --- */

static void
step_run(struct zb_drive *d, struct zb_event *event)
{
    event->now = zb_mono_now();
    event->wall = zb_wall_now();
    zb_core_step(d->a->core, event, &d->plan);
    for (uint32_t i = 0; i < d->plan.actions_count && !d->a->stopping; i++) {
        action_start(d->a, &d->plan.actions[i]);
        zb_pause_point(&d->plan.actions[i]);
    }
}

void
zb_drive_event(struct zb_agent *a, struct zb_event *event)
{
    struct zb_drive *d = a->drive;
    if (d == NULL || a->stopping) {
        return;
    }
    if (d->stepping) {
        struct queued *q = zb_must_alloc(1, sizeof(*q));
        q->event = *event;
        *d->tail = q;
        d->tail = &q->next;
        return;
    }
    d->stepping = true;
    step_run(d, event);
    while (d->head != NULL && !a->stopping) {
        struct queued *q = d->head;
        d->head = q->next;
        if (d->head == NULL) {
            d->tail = &d->head;
        }
        step_run(d, &q->event);
        free(q);
    }
    d->stepping = false;
    /* At least a moment, so that a core that wants to be woken at once does not starve the loop. */
    int64_t wait_ms = d->plan.wake.ms - zb_mono_now().ms;
    (void)uv_timer_start(&d->wake, on_wake, wait_ms > 1 ? (uint64_t)wait_ms : 1, 0);
}

void
zb_drive_done(struct zb_agent *a, uint16_t service, uint64_t action_id,
              const struct zb_core_result *result)
{
    struct zb_event event = {.kind = ZB_EV_DONE, .service = service};
    event.u.done.action_id = action_id;
    event.u.done.result = *result;
    zb_drive_event(a, &event);
}

/* --- peers --- */

void
zb_drive_peer_up(struct zb_agent *a, const char *peer)
{
    uint8_t node = zb_agent_node_find(a, peer);
    if (node == ZB_NODE_NONE || a->nodes[node].up) {
        return;
    }
    a->nodes[node].up = true;
    zb_agent_event(a, ZB_LOG_INFO, "", "A-peer-up", "%s is reachable", peer);
    zb_fence_peer_up(a, node);
    zb_config_peer_up(a, node);
    zb_member_peer_up(a, node);
    zb_rescues_peer_up(a, node);
    zb_drills_peer_up(a, node);
    zb_pool_peer_up(a, node);
    zb_etcds_peer_up(a, node); /* before anything is asked for */
    zb_drive_event(a, &(struct zb_event){.kind = ZB_EV_PEER_UP, .node = node});
    zb_lineage_tell(a, node);
}

void
zb_drive_peer_down(struct zb_agent *a, const char *peer, const char *reason)
{
    struct zb_peer_names names = {.nodes = a->nodes, .count = a->nodes_count};
    uint8_t node = zb_peer_names_find(&names, peer); /* also one that was just removed */
    if (node == ZB_NODE_NONE || !a->nodes[node].up) {
        return;
    }
    a->nodes[node].up = false;
    zb_agent_event(a, ZB_LOG_WARNING, "", "A-peer-down", "%s is not reachable: %s", peer, reason);
    zb_control_peer_down(a, node);
    zb_said_forget_node(a, node);
    zb_drive_event(a, &(struct zb_event){.kind = ZB_EV_PEER_DOWN, .node = node});
    zb_ship_peer_down(a, node);
    zb_land_peer_down(a, node);
    zb_fence_peer_down(a, node);
}

void
zb_drive_report(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_core_msg *msg)
{
    struct zb_event event = {.kind = ZB_EV_MESSAGE, .service = service, .node = node};

    if (!zb_core_is_news(a->core, service, node, msg)) {
        return; /* nor is it remembered for the next start */
    }
    event.u.msg = *msg;
    zb_apply_position(a, service, node, &msg->set);
    if (!zb_set_id_is_none(msg->set.id)) {
        zb_pool_holds(a, service, node);
    }
    zb_apply_record(a, service, node, msg);
    zb_drive_event(a, &event);
}

static void
core_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_peer_names names = {.nodes = a->nodes, .count = a->nodes_count};
    struct zb_event event = {.kind = ZB_EV_MESSAGE, .node = node};
    char service[ZB_SERVICE_NAME_SIZE];
    struct zb_err err;
    if (zb_peer_core_decode(&names, msg, service, &event.u.msg, &err) != ZB_OK) {
        zb_log_warning("message of %s dropped: %s", a->nodes[node].name, err.msg);
        zb_said_forget_node(a, node); /* it may have been a report */
        return;
    }
    event.service = zb_agent_service_find(a, service);
    if (event.service == ZB_SERVICE_NONE) {
        return; /* not declared here yet: the configuration comes, then reports again */
    }
    if (event.u.msg.kind == ZB_MSG_REPORT) {
        zb_said_heard(a, event.service, node, &event.u.msg);
        zb_drive_report(a, event.service, node, &event.u.msg);
        return;
    }
    if (event.u.msg.kind == ZB_MSG_GRANT_ANSWER) {
        zb_apply_record(a, event.service, node, &event.u.msg);
    }
    zb_drive_event(a, &event);
}

void
zb_drive_message(struct zb_agent *a, const char *peer, json_t *msg)
{
    static const struct {
        const char *type; /* with a '.' at its end: everything that starts so */
        void (*handler)(struct zb_agent *a, uint8_t node, const json_t *msg);
    } handlers[] = {
        {"core", core_message},          {"core.term", zb_lineage_message},
        {"core.same", zb_said_message},  {"core.anew", zb_said_message},
        {"ship.ack", zb_ship_message},   {"ship.inventory", zb_ship_message},
        {"ship.ask", zb_land_message},   {"ship.set", zb_land_message},
        {"ship.fork", zb_land_message},  {"config.", zb_config_message},
        {"cmd.", zb_control_message},    {"node.", zb_member_message},
        {"rescues", zb_rescues_message}, {"pool", zb_pool_message},
        {"drills", zb_drills_message},   {"foreign.", zb_foreign_message},
        {"etcds", zb_etcds_message},
    };
    uint8_t node = zb_agent_node_find(a, peer);
    const char *type = json_string_value(json_object_get(msg, "t"));
    size_t count =
        node != ZB_NODE_NONE && type != NULL ? sizeof(handlers) / sizeof(handlers[0]) : 0;
    for (size_t i = 0; i < count; i++) {
        size_t length = strlen(handlers[i].type);
        bool prefix = handlers[i].type[length - 1] == '.';
        if (strncmp(type, handlers[i].type, length) == 0 && (prefix || type[length] == '\0')) {
            handlers[i].handler(a, node, msg);
            return;
        }
    }
    zb_log_debug("message of %s of an unknown kind", peer);
}
