#include "agent/apply.h"

#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/leave.h"
#include "agent/position.h"
#include "agent/ship.h"
#include "agent/memo.h"
#include "agent/must.h"
#include "agent/peer_json.h"
#include "agent/said.h"
#include "agent/trouble.h"
#include "agent/witness.h"

#define RETRY_MS 5000 /* a declaration that the keeper did not take is given again */

#define WITNESS "@etcd" /* among the records in the history; no node has such a name */

struct zb_applied {
    struct zb_agent *a;
    uv_timer_t timer;
    bool failed[ZB_SERVICES_MAX]; /* to be given again */
    bool loaded[ZB_SERVICES_MAX]; /* what the history remembers of the members is in the core */
    struct zb_set_ref positions[ZB_SERVICES_MAX][ZB_NODES_MAX];
    struct zb_core_seen seen[ZB_SERVICES_MAX][ZB_PEERS_MAX];
};

static void on_timer(uv_timer_t *timer);

struct zb_applied *
zb_applied_new(struct zb_agent *a)
{
    struct zb_applied *p = zb_must_alloc(1, sizeof(*p));
    p->a = a;
    p->timer.data = p;
    (void)uv_timer_init(&a->loop, &p->timer);
    a->leaves = zb_leaves_new(a);
    return p;
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void
zb_applied_free(struct zb_agent *a)
{
    zb_leaves_free(a);
    if (a->applied != NULL) {
        uv_close((uv_handle_t *)&a->applied->timer, on_closed);
        a->applied = NULL;
    }
}

uint8_t
zb_agent_node_find(const struct zb_agent *a, const char *name)
{
    struct zb_peer_names names = {.nodes = a->nodes, .count = a->nodes_count};
    uint8_t node = zb_peer_names_find(&names, name);
    return node != ZB_NODE_NONE && a->nodes[node].present ? node : ZB_NODE_NONE;
}

enum zb_rc
zb_agent_no_node(const char *name, struct zb_err *err)
{
    (void)zb_err_set(err, ZB_E_NOTFOUND, "no node '%.64s' in this cluster", name);
    return zb_err_hint(err, "zbaton node list");
}

uint16_t
zb_agent_service_find(const struct zb_agent *a, const char *name)
{
    for (uint32_t i = 0; i < a->services_count; i++) {
        if (a->services[i].present && strcmp(a->services[i].conf.name, name) == 0) {
            return (uint16_t)i;
        }
    }
    return ZB_SERVICE_NONE;
}

/* --- nodes --- */

/* The number of a name, a new one if it has none; ZB_NODE_NONE when there are too many. */
static uint8_t
node_slot(struct zb_agent *a, const char *name)
{
    struct zb_peer_names names = {.nodes = a->nodes, .count = a->nodes_count};
    uint8_t node = zb_peer_names_find(&names, name);
    if (node != ZB_NODE_NONE) {
        return node;
    }
    if (a->nodes_count == ZB_NODES_MAX) {
        zb_agent_event(a, ZB_LOG_ERROR, "", "A-nodes-limit",
                       "no number is left for node %s until zbatond is restarted", name);
        return ZB_NODE_NONE;
    }
    node = (uint8_t)a->nodes_count++;
    zb_strcopy(a->nodes[node].name, sizeof(a->nodes[node].name), name);
    zb_said_forget_all(a); /* reports may have named it before */
    return node;
}

static void
peers_set(struct zb_agent *a)
{
    struct zb_net_peer peers[ZB_NODES_MAX];
    struct zb_err err;
    size_t count = 0;
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        if (!a->nodes[i].present || i == a->self) {
            continue;
        }
        struct zb_net_peer *p = &peers[count++];
        zb_strcopy(p->name, sizeof(p->name), a->nodes[i].name);
        zb_strcopy(p->address, sizeof(p->address), a->nodes[i].address);
        zb_strcopy(p->fingerprint, sizeof(p->fingerprint), a->nodes[i].fingerprint);
        zb_strcopy(p->next, sizeof(p->next), a->nodes[i].next);
    }
    if (zb_net_peers_set(a->net, peers, count, &err) != ZB_OK) {
        zb_agent_event(a, ZB_LOG_ERROR, "", "A-peers", "peers: %s", err.msg);
    }
}

void
zb_agent_nodes_apply(struct zb_agent *a, const struct zb_agent_node *nodes, size_t count)
{
    bool named[ZB_NODES_MAX] = {false};
    named[a->self] = true;
    for (size_t i = 0; i < count; i++) {
        uint8_t n = node_slot(a, nodes[i].name);
        if (n == ZB_NODE_NONE) {
            continue;
        }
        struct zb_agent_node *to = &a->nodes[n];
        named[n] = true;
        to->present = true;
        zb_strcopy(to->address, sizeof(to->address), nodes[i].address);
        zb_strcopy(to->fingerprint, sizeof(to->fingerprint), nodes[i].fingerprint);
        zb_strcopy(to->next, sizeof(to->next), nodes[i].next);
        zb_strcopy(to->version, sizeof(to->version), nodes[i].version);
        to->drained = nodes[i].drained;
    }
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        a->nodes[i].present = a->nodes[i].present && named[i];
    }
    peers_set(a);
}

/* --- services --- */

/* A member that is no node (any more) keeps its voice: it counts as unreachable. False: no number
 * is left for one. */
static bool
members_add(struct zb_agent *a, const struct zb_conf_names *names, bool backup,
            struct zb_core_conf *conf)
{
    for (uint32_t i = 0; i < names->count; i++) {
        uint8_t node = node_slot(a, names->items[i]);
        if (node == ZB_NODE_NONE) {
            return false;
        }
        conf->members[conf->members_count] = node;
        conf->backup[conf->members_count] = backup;
        conf->members_count++;
    }
    return true;
}

static void
core_configure(struct zb_agent *a, uint16_t service)
{
    const struct zb_agent_service *s = &a->services[service];
    const struct zb_conf_service *from = &s->conf;
    struct zb_event event = {.kind = ZB_EV_CONFIG, .service = service};
    struct zb_core_conf *conf = &event.u.conf;
    const struct zb_failed *failed =
        zb_faileds_find(&a->failed, from->name, a->nodes[a->self].name);
    if (!members_add(a, &from->members, false, conf) ||
        !members_add(a, &from->backups, true, conf)) {
        return; /* it goes on by the declaration of before, as was told */
    }
    conf->witness = from->witness == ZB_CONF_WITNESS_ETCD;
    conf->first_leader =
        node_slot(a, from->leader[0] != '\0' ? from->leader : from->members.items[0]);
    conf->term_floor = a->recovered.term;
    conf->led_before = zb_recovered_has(&a->recovered, from->name);
    conf->version = s->version;
    conf->frozen = s->freeze.reason[0] != '\0';
    conf->keyed = from->flavour == ZB_CONF_FLAVOUR_RAW;
    conf->held_term = failed != NULL ? failed->term : 0;
    conf->interval_ms = from->interval_ms;
    conf->idle_interval_ms = from->idle_interval_ms;
    conf->idle_bytes = from->idle_bytes;
    conf->backup_every_ms = (int64_t)from->backup_every_ms;
    conf->keep_count = from->keep.last;
    conf->start_timeout_ms = from->start_timeout_ms;
    conf->stop_timeout_ms = from->stop_timeout_ms;
    zb_drive_event(a, &event);
}

/* Where the members stood when this node last heard of them. */
static void
positions_load(struct zb_agent *a, uint16_t service)
{
    struct zb_history_position *items = NULL;
    uint32_t count = 0;
    struct zb_err err;
    if (zb_history_positions_list(a->history, a->services[service].conf.name, ZB_NODES_MAX, &items,
                                  &count, &err) != ZB_OK) {
        zb_log_error("positions in the history: %s", err.msg);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t node = zb_agent_node_find(a, items[i].node);
        struct zb_event event = {
            .kind = ZB_EV_PEER_POSITION, .service = service, .node = node, .u.set = items[i].set};
        if (node != ZB_NODE_NONE && node != a->self) {
            a->applied->positions[service][node] = items[i].set;
            zb_drive_event(a, &event);
        }
    }
    free(items);
}

static uint32_t
suspects_parse(const struct zb_agent *a, const char *names)
{
    uint32_t suspects = 0;
    for (size_t length; *names != '\0'; names += length + (names[length] == ',')) {
        char name[ZB_NODE_NAME_SIZE];
        length = strcspn(names, ",");
        (void)snprintf(name, sizeof(name), "%.*s", (int)length, names);
        uint8_t node = zb_agent_node_find(a, name);
        suspects |= node != ZB_NODE_NONE ? UINT32_C(1) << node : 0;
    }
    return suspects;
}

/* What the members' records said when this node last heard of them. */
static void
records_load(struct zb_agent *a, uint16_t service)
{
    struct zb_history_record *items = NULL;
    uint32_t count = 0;
    struct zb_err err;
    if (zb_history_records_list(a->history, a->services[service].conf.name, ZB_PEERS_MAX, &items,
                                &count, &err) != ZB_OK) {
        zb_log_error("records in the history: %s", err.msg);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t node = strcmp(items[i].node, WITNESS) == 0 ? ZB_NODE_WITNESS
                                                           : zb_agent_node_find(a, items[i].node);
        struct zb_event event = {.kind = ZB_EV_PEER_SEEN, .service = service, .node = node};
        event.u.seen =
            (struct zb_core_seen){.granted_term = items[i].granted_term,
                                  .granted_to = zb_agent_node_find(a, items[i].granted_to),
                                  .learned_term = items[i].learned_term,
                                  .learned_leader = zb_agent_node_find(a, items[i].learned_leader),
                                  .suspects = suspects_parse(a, items[i].suspects)};
        if (node != ZB_NODE_NONE && node != a->self) {
            a->applied->seen[service][node] = event.u.seen;
            zb_drive_event(a, &event);
        }
    }
    free(items);
}

struct define {
    struct zb_agent *a;
    uint16_t service;
    uint64_t version;
};

static void
on_defined(void *ctx, const struct zb_krep *rep)
{
    struct define d = *(struct define *)ctx;
    struct zb_agent *a = d.a;
    const struct zb_agent_service *s = &a->services[d.service];
    free(ctx);
    if (!s->present || s->version != d.version || a->stopping) {
        return; /* another one is on its way */
    }
    if (rep->rc != ZB_OK) {
        zb_agent_event(a, ZB_LOG_WARNING, s->conf.name, "A-define",
                       "the declaration could not be put in force: %s", rep->msg);
        a->applied->failed[d.service] = true;
        (void)uv_timer_start(&a->applied->timer, on_timer, RETRY_MS, 0);
        return;
    }
    core_configure(a, d.service);
    if (!a->applied->loaded[d.service]) {
        a->applied->loaded[d.service] = true;
        positions_load(a, d.service);
        records_load(a, d.service);
        zb_said_ask(a, d.service);
    }
}

static void
define(struct zb_agent *a, uint16_t service)
{
    const struct zb_agent_service *s = &a->services[service];
    struct define *d = zb_must_alloc(1, sizeof(*d));
    struct zb_kreq req = {.op = ZB_KOP_DEFINE, .version = s->version};
    struct zb_err err;
    *d = (struct define){.a = a, .service = service, .version = s->version};
    zb_strcopy(req.service, sizeof(req.service), s->conf.name);
    if (zb_conf_service_to_json(&s->conf, &req.text, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    zb_agent_keeper_call(a, &req, on_defined, d);
    free(req.text);
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_applied *p = timer->data;
    for (uint32_t i = 0; i < p->a->services_count; i++) {
        if (p->failed[i] && p->a->services[i].present) {
            p->failed[i] = false;
            define(p->a, (uint16_t)i);
        }
    }
}

static void
service_remove(struct zb_agent *a, uint16_t service, uint64_t version)
{
    struct zb_core_view view;
    zb_core_view(a->core, service, &view);
    a->services[service].present = false;
    a->applied->failed[service] = a->applied->loaded[service] = false;
    zb_drive_event(a, &(struct zb_event){.kind = ZB_EV_REMOVE, .service = service});
    zb_drive_commands_drop(a, service, ZB_E_NOTFOUND, "the service was withdrawn");
    for (unsigned n = 0; n < ZB_NODES_MAX; n++) {
        if (view.peers[n].ship_id != 0) {
            zb_ship_cancel(a, view.peers[n].ship_id);
        }
    }
    zb_position_forget(a, service);
    zb_said_forget_service(a, service);
    zb_witness_withdrawn(a, service, version);
    zb_trouble_forget(a, service);
    memset(a->applied->positions[service], 0, sizeof(a->applied->positions[service]));
    memset(a->applied->seen[service], 0, sizeof(a->applied->seen[service]));
    zb_leave_start(a, a->services[service].conf.name, version, view.leader == a->self);
}

/* The number of a name, declared now or before; a new one; ZB_SERVICE_NONE when there are too many.
 */
static uint16_t
service_slot(struct zb_agent *a, const char *name)
{
    for (uint32_t i = 0; i < a->services_count; i++) {
        if (strcmp(a->services[i].conf.name, name) == 0) {
            return (uint16_t)i;
        }
    }
    if (a->services_count == ZB_SERVICES_MAX) {
        zb_agent_event(a, ZB_LOG_ERROR, name, "A-services-limit",
                       "no number is left for this service until zbatond is restarted");
        return ZB_SERVICE_NONE;
    }
    return (uint16_t)a->services_count++;
}

static void
service_put(struct zb_agent *a, const struct zb_conf_service *conf, const struct zb_freeze *freeze,
            uint64_t version)
{
    uint16_t n = service_slot(a, conf->name);
    if (n == ZB_SERVICE_NONE) {
        return;
    }
    struct zb_agent_service *s = &a->services[n];
    if (s->present && s->version == version) {
        return;
    }
    zb_leave_stop(a, conf->name);
    s->present = true;
    s->version = version;
    s->conf = *conf;
    s->freeze = freeze != NULL ? *freeze : (struct zb_freeze){0};
    define(a, n);
}

void
zb_agent_services_apply(struct zb_agent *a, const struct zb_conf_services *services,
                        const struct zb_freezes *freezes, uint64_t version)
{
    for (uint32_t i = 0; i < a->services_count; i++) {
        if (a->services[i].present &&
            zb_conf_services_find(services, a->services[i].conf.name) == NULL) {
            service_remove(a, (uint16_t)i, version);
        }
    }
    for (uint32_t i = 0; i < services->count; i++) {
        const struct zb_conf_service *conf = &services->items[i];
        service_put(a, conf, zb_freezes_find(freezes, conf->name), version);
    }
}

static void
position_put(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_set_ref *set)
{
    struct zb_history_position position = {.set = *set, .updated = zb_wall_now()};
    a->applied->positions[service][node] = *set;
    zb_strcopy(position.node, sizeof(position.node), a->nodes[node].name);
    zb_memo_position(a, a->services[service].conf.name, &position);
}

void
zb_apply_position(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_set_ref *set)
{
    const struct zb_set_ref *known = &a->applied->positions[service][node];
    if (!zb_set_ref_equal(known, set) && !zb_set_id_is_none(set->id)) {
        position_put(a, service, node, set);
    }
}

struct zb_set_id
zb_apply_position_last(const struct zb_agent *a, uint16_t service, uint8_t node)
{
    return a->applied->positions[service][node].id;
}

void
zb_apply_position_forget(struct zb_agent *a, uint16_t service, uint8_t node)
{
    const struct zb_set_ref none = {0};
    struct zb_event event = {
        .kind = ZB_EV_PEER_POSITION, .service = service, .node = node, .u.set = none};
    position_put(a, service, node, &none);
    zb_drive_event(a, &event);
}

static const char *
name_or_nobody(const struct zb_agent *a, uint8_t node)
{
    return node < a->nodes_count ? a->nodes[node].name : "";
}

void
zb_apply_record(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_core_msg *msg)
{
    struct zb_core_seen *seen = &a->applied->seen[service][node];
    const struct zb_core_seen told = {.granted_term = msg->granted_term,
                                      .granted_to = msg->granted_to,
                                      .learned_term = msg->learned_term,
                                      .learned_leader = msg->learned_leader,
                                      .suspects = msg->suspects};
    /* Before the history was read, the little that is told would take the place of what stands
     * there (M13); the core does not hear it yet either, and it is told again. */
    if (!a->applied->loaded[service] || !zb_core_seen_add(seen, &told)) {
        return;
    }
    struct zb_history_record record = {.granted_term = seen->granted_term,
                                       .learned_term = seen->learned_term};
    zb_strcopy(record.node, sizeof(record.node),
               node == ZB_NODE_WITNESS ? WITNESS : a->nodes[node].name);
    zb_strcopy(record.granted_to, sizeof(record.granted_to), name_or_nobody(a, seen->granted_to));
    zb_strcopy(record.learned_leader, sizeof(record.learned_leader),
               name_or_nobody(a, seen->learned_leader));
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        size_t used = strlen(record.suspects);
        if ((seen->suspects & UINT32_C(1) << i) != 0) {
            (void)snprintf(record.suspects + used, sizeof(record.suspects) - used, "%s%s",
                           used > 0 ? "," : "", a->nodes[i].name);
        }
    }
    zb_memo_record(a, a->services[service].conf.name, &record);
}
