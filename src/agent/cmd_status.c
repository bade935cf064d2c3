/*
 * status: what this node knows of every service, in the words of zbaton(8).
 */
#include <inttypes.h>

#include "agent/backup_time.h"
#include "agent/cert.h"
#include "agent/config.h"
#include "agent/drill.h"
#include "agent/heart.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/member.h"
#include "agent/must.h"
#include "agent/place.h"
#include "agent/pool.h"
#include "agent/position.h"
#include "agent/progress.h"
#include "agent/promise.h"
#include "agent/request.h"
#include "agent/rescue.h"
#include "agent/trouble.h"
#include "agent/witness.h"

#define SILENT_MS 30000 /* reports come every 10 s */
#define LATE_INTERVALS 3

/* One member of one service, as seen from here. */
struct look {
    struct zb_agent *a;
    uint16_t service;
    const struct zb_core_view *view;
    uint8_t node; /* ZB_NODE_NONE: no such node (yet) */
    bool self;
    bool leads;
    bool heard; /* role and the rest are known */
    enum zb_role role;
    bool running;
    bool changed;  /* its copy was written to, or came away otherwise, after its newest set */
    bool parted;   /* the leader found that it cannot go on from this copy */
    bool diverged; /* parted or changed, or its newest set is not of the leader's history */
    bool back;     /* its record said more before */
    uint64_t written_bytes; /* changed: how much, where it is told */
    struct zb_set_ref set;
    bool receives; /* from this node */
    struct zb_agent_ship_view ship;
    char note[256];
};

/* The terms that the leader goes on from; NULL: nobody leads. */
static const struct zb_lineage *
leader_history(const struct zb_agent *a, const struct zb_core_view *view)
{
    if (view->leader == a->self) {
        return &view->obs.lineage;
    }
    if (view->leader < ZB_NODES_MAX && view->peers[view->leader].known) {
        return &view->peers[view->leader].report.lineage;
    }
    return NULL;
}

static void
look_at(struct look *l, struct zb_agent *a, uint16_t service, const struct zb_core_view *view,
        const char *name)
{
    *l = (struct look){.a = a, .service = service, .view = view};
    l->node = zb_agent_node_find(a, name);
    l->self = l->node == a->self;
    l->leads = l->node != ZB_NODE_NONE && l->node == view->leader;
    if (l->self) {
        l->heard = true;
        l->role = view->role;
        l->running = view->obs.running;
        /* What is beyond the newest set may be the next one, half received: the core knows. */
        l->changed = view->obs.modified;
        l->parted = view->parted;
        l->set = view->obs.newest;
        l->written_bytes = view->obs.modified ? view->obs.written_bytes : 0;
        l->back = view->lost.granted_term != 0 || view->lost.learned_term != 0;
    } else if (l->node != ZB_NODE_NONE && view->peers[l->node].known) {
        const struct zb_core_msg *report = &view->peers[l->node].report;
        l->heard = true;
        l->role = report->role;
        l->running = report->running;
        l->changed = report->modified;
        l->parted = report->parted;
        l->set = report->set;
        l->written_bytes = report->written_bytes;
        l->back = view->peers[l->node].back;
    }
    const struct zb_lineage *history = leader_history(a, view);
    l->diverged =
        l->heard && !l->leads &&
        (l->changed || l->parted || (history != NULL && !zb_lineage_has(history, l->set.id)));
}

static bool
role_moves(enum zb_role role)
{
    return role == ZB_ROLE_PRESYNC || role == ZB_ROLE_STOPPING || role == ZB_ROLE_SEALING ||
           role == ZB_ROLE_RELEASING || role == ZB_ROLE_RELEASED;
}

static const char *
leader_state(struct look *l)
{
    const struct zb_core_view *view = l->view;

    if (role_moves(l->role)) {
        if (l->self && view->step > 0) {
            (void)snprintf(l->note, sizeof l->note, "step %u of 9", view->step);
        } else {
            (void)snprintf(l->note, sizeof l->note, "%s", zb_role_word(l->role));
        }
        return "moving";
    }
    if (l->role == ZB_ROLE_LEADING) {
        if (!l->running && l->self) {
            (void)snprintf(l->note, sizeof l->note, "%s", view->why);
        }
        return l->running ? "running" : "stopped";
    }
    if (l->self) {
        (void)snprintf(l->note, sizeof l->note, "%s", view->why);
    }
    return l->role == ZB_ROLE_DEMOTING ? "stopping" : "starting";
}

/* "62% 00:00:09" of a SHIP from here; false when none is under way. */
static bool
ship_note(struct look *l)
{
    uint64_t id = l->node == ZB_NODE_NONE ? 0 : l->view->peers[l->node].ship_id;

    l->receives = id != 0 && zb_agent_ship_view(l->a, id, &l->ship);
    if (l->receives) {
        zb_progress_format(&l->ship, l->note, sizeof l->note);
    }
    return l->receives;
}

/* The leader's newest set, where it is known here. */
static bool
leader_set(const struct look *l, struct zb_set_ref *set)
{
    const struct zb_core_view *view = l->view;
    bool self = view->leader == l->a->self;

    if (!self && (view->leader >= ZB_NODES_MAX || !view->peers[view->leader].known)) {
        return false;
    }
    *set = self ? view->obs.newest : view->peers[view->leader].report.set;
    return true;
}

/* What came away, and what becomes of it. */
static void
diverged_note(struct look *l)
{
    const struct zb_lineage *history = leader_history(l->a, l->view);
    const char *why = l->self && strncmp(l->view->why_rule, "R-rejoin", sizeof "R-rejoin" - 1) == 0
                          ? l->view->why
                          : "rejoin sets that aside";

    if (l->written_bytes > 0) {
        (void)snprintf(l->note, sizeof l->note, "%" PRIu64 " bytes written to it by others: %s",
                       l->written_bytes, why);
    } else if (history != NULL && !zb_lineage_has(history, l->set.id)) {
        struct zb_set_id fork = zb_lineage_clamp(history, l->set.id);
        (void)snprintf(l->note, sizeof l->note,
                       "holds %" PRIu64 "/%" PRIu64 ", came away %s%" PRIu64 "/%" PRIu64 ": %s",
                       l->set.id.term, l->set.id.seq, fork.seq == UINT64_MAX ? "past " : "at ",
                       fork.term, fork.seq == UINT64_MAX ? 0 : fork.seq, why);
    } else {
        (void)snprintf(l->note, sizeof l->note, "%s", why);
    }
}

/* What it granted before is not in its record any more (core/back.c). */
static void
back_note(struct look *l)
{
    const struct zb_core_view *view = l->view;
    const struct zb_core_seen *before = l->self ? &view->lost : &view->peers[l->node].seen;

    (void)snprintf(l->note, sizeof l->note,
                   "its record went back: it granted term %" PRIu64 " and knew of term %" PRIu64
                   "; it grants nothing until it has that again",
                   before->granted_term, before->learned_term);
}

static bool
pool_is_new(const struct look *l)
{
    return l->node != ZB_NODE_NONE && zb_set_id_is_none(l->set.id) &&
           zb_pool_is_new(l->a, l->service, l->node);
}

/* Of this term, as the first set of one is not waited for. */
static bool
is_between_times(const struct look *l)
{
    struct zb_set_ref newest;

    return leader_set(l, &newest) && newest.id.term == l->set.id.term &&
           zb_backup_is_between_times(l->a, l->service, l->node, l->set.id);
}

/* Why sets do not come in, where it is known: at both ends. Who led before knows it no more. */
static void
trouble_note(struct look *l)
{
    const struct zb_trouble_at of = {l->service, ZB_TROUBLE_SHIP, l->node};
    const struct zb_trouble_at own = {l->service, ZB_TROUBLE_RECEIVE, l->view->leader};
    const struct zb_trouble *t = zb_trouble_find(l->a, l->self ? &own : &of);

    if (t != NULL && (l->self || l->view->leader == l->a->self)) {
        zb_strcopy(l->note, sizeof l->note, t->text);
    }
}

static const char *
follower_state(struct look *l)
{
    struct zb_set_ref newest;

    if (pool_is_new(l)) {
        (void)snprintf(l->note, sizeof l->note,
                       "its pool is another one than before: a full copy is needed");
    }
    if (ship_note(l)) {
        return "receiving";
    }
    if (l->diverged && l->role == ZB_ROLE_FOLLOWER) {
        diverged_note(l);
        return "diverged";
    }
    if (l->back && l->role == ZB_ROLE_FOLLOWER) {
        back_note(l);
        return "quarantined";
    }
    if (l->role != ZB_ROLE_FOLLOWER) {
        if (l->self) {
            (void)snprintf(l->note, sizeof l->note, "%s", l->view->why);
        }
        return zb_role_word(l->role);
    }
    if (!leader_set(l, &newest)) {
        return "waiting";
    }
    if (zb_set_id_cmp(l->set.id, newest.id) >= 0) {
        return "current";
    }
    if (is_between_times(l)) {
        (void)snprintf(l->note, sizeof l->note, "gets sets at the times of backup-every");
        return "planned";
    }
    trouble_note(l);
    return "behind";
}

static const char *
state_of(struct look *l)
{
    if (l->node == ZB_NODE_NONE) {
        return "unknown";
    }
    const struct zb_core_peer_view *p = &l->view->peers[l->node];
    int64_t silent_ms = zb_mono_now().ms - p->report_at.ms;
    if (!l->self && (!p->up || (p->known && silent_ms > SILENT_MS))) {
        if (p->known) {
            (void)snprintf(l->note, sizeof l->note, "last heard of %" PRId64 " s ago",
                           silent_ms / 1000);
        }
        return "unreachable";
    }
    if (!l->heard) {
        (void)snprintf(l->note, sizeof l->note, "has not reported yet");
        return "waiting";
    }
    return l->leads ? leader_state(l) : follower_state(l);
}

/* --- JSON --- */

static void
set_put(const struct look *l, json_t *member, struct zb_wall now)
{
    json_t *null = json_null();
    json_t *rpo = null;
    json_t *set = null;
    char time[24];

    if (!zb_set_id_is_none(l->set.id)) {
        const struct zb_manifest *m = zb_position_manifest(l->a, l->service, l->set.id);
        set = zb_json_set_id(l->set.id);
        if (m != NULL) {
            zb_wall_format(m->time, time);
            zb_json_put(set, "time", zb_json_text(time));
        } else {
            zb_json_put(set, "time", null);
        }
        if (m != NULL && !l->leads) {
            rpo = zb_json_int(now.s > m->time.s ? now.s - m->time.s : 0);
        }
    }
    zb_json_put(member, "newest_set", set);
    zb_json_put(member, "rpo_s", rpo);
}

static json_t *
behind_json(const struct look *l, const char *state)
{
    if (strcmp(state, "current") == 0) {
        return zb_json_int(0);
    }
    if (l->receives && l->ship.bytes_total > 0 && l->ship.bytes_total >= l->ship.bytes_done) {
        return zb_json_int((int64_t)(l->ship.bytes_total - l->ship.bytes_done));
    }
    return zb_must(json_null());
}

/* A set that was just made is on its way: a follower that lacks it is as it should be, one that
 * lacks two is not, nor one that lacks it when others are long due. A leader makes no set while
 * nothing is written, so that the age of a follower's own set says nothing. */
static bool
on_its_way(const struct look *l, struct zb_wall now)
{
    const struct zb_conf_service *conf = &l->a->services[l->service].conf;
    struct zb_set_ref newest;

    if (!leader_set(l, &newest) || newest.id.term != l->set.id.term ||
        newest.id.seq > l->set.id.seq + 1) {
        return false;
    }
    const struct zb_manifest *m = zb_position_manifest(l->a, l->service, newest.id);
    return m == NULL || (now.s - m->time.s) * 1000 <= LATE_INTERVALS * (int64_t)conf->interval_ms;
}

static bool
healthy(const struct look *l, const char *state, struct zb_wall now)
{
    if (l->leads) {
        return strcmp(state, "running") == 0;
    }
    if (zb_set_id_is_none(l->set.id)) {
        return false; /* no copy yet */
    }
    return strcmp(state, "current") == 0 || strcmp(state, "planned") == 0 ||
           ((strcmp(state, "receiving") == 0 || strcmp(state, "behind") == 0) &&
            (on_its_way(l, now) || is_between_times(l)));
}

static json_t *
member_json(struct look *l, const char *name, bool backup, struct zb_wall now)
{
    const char *state = state_of(l);
    json_t *member = zb_must(json_object());
    uint64_t term = l->leads ? l->view->term : l->set.id.term;

    zb_json_put(member, "node", zb_json_text(name));
    zb_json_put(member, "role", zb_json_text(l->leads ? "leader" : backup ? "backup" : "follower"));
    zb_json_put(member, "state", zb_json_text(state));
    zb_json_put(member, "term", zb_json_int((int64_t)term));
    set_put(l, member, now);
    zb_json_put(member, "behind_bytes", behind_json(l, state));
    zb_json_put(member, "transfer", zb_progress_json(l->receives ? &l->ship : NULL));
    zb_json_put(member, "healthy", zb_must(json_boolean(healthy(l, state, now))));
    zb_json_put(member, "diverged", zb_json_bool(l->diverged));
    zb_json_put(member, "rescues",
                zb_rescues_told(l->a, l->node, l->a->services[l->service].conf.name));
    zb_json_put(member, "drill",
                zb_drill_told(l->a, l->node, l->a->services[l->service].conf.name));
    zb_json_put(member, "note", zb_json_text(l->note));
    return member;
}

struct report {
    struct zb_agent *a;
    struct zb_wall now;
    json_t *warnings;
};

static void warn(struct report *report, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
warn(struct report *report, const char *fmt, ...)
{
    char text[768];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    zb_json_append(report->warnings, zb_json_text(text));
}

static void
member_add(struct report *report, json_t *members, const struct zb_core_view *view,
           uint16_t service, const char *name)
{
    struct look l;
    const struct zb_conf_service *conf = &report->a->services[service].conf;
    bool backup = zb_conf_names_contain(&conf->backups, name);

    look_at(&l, report->a, service, view, name);
    json_t *member = member_json(&l, name, backup, report->now);
    if (l.leads) { /* the leader stands first */
        if (json_array_insert_new(members, 0, member) != 0) {
            zb_out_of_memory();
        }
    } else {
        zb_json_append(members, member);
    }
    if (l.back) {
        warn(report, "%s: %s's record of what it granted is an older one (C-term-back)", conf->name,
             name);
    }
    if (pool_is_new(&l)) {
        warn(report, "%s: the pool of %s is another one than before (A-pool-changed)", conf->name,
             name);
    }
    const char *failure = l.leads ? NULL : zb_drill_failure(report->a, l.node, conf->name);
    if (failure != NULL) {
        warn(report, "%s: the last drill of %s failed: %s (zbaton drill %s --node %s)", conf->name,
             name, failure, conf->name, name);
    }
    if (l.diverged) {
        warn(report, "%s: %s holds what %s's history does not contain (zbaton rejoin %s %s)",
             conf->name, name, conf->name, conf->name, name);
    }
}

/* With the leader, or who stands first. */
static void
frozen_put(const struct zb_freeze *freeze, json_t *members, json_t *object)
{
    json_t *first = json_array_get(members, 0);
    const char *note = json_string_value(json_object_get(first, "note"));
    char text[512];

    if (freeze->reason[0] == '\0') {
        zb_json_put(object, "frozen", json_null());
        return;
    }
    zb_json_put(object, "frozen", zb_freeze_json(freeze));
    if (note != NULL) {
        (void)snprintf(text, sizeof text, "%s%sfrozen: %s", note, note[0] == '\0' ? "" : "; ",
                       freeze->reason);
        zb_json_put(first, "note", zb_json_text(text));
    }
}

static void
promise_warn(struct report *report, uint16_t service)
{
    const char *name = report->a->services[service].conf.name;
    char text[512];
    bool broken = false;

    if (zb_promise_say(report->a, service, &broken, text, sizeof text) && broken) {
        warn(report, "%s: %s (A-promise-broken: zbaton explain %s)", name, text, name);
    }
}

static json_t *
service_json(struct report *report, uint16_t service)
{
    struct zb_agent *a = report->a;
    const struct zb_conf_service *conf = &a->services[service].conf;
    json_t *members = zb_json_array_new();
    json_t *object = zb_must(json_object());
    struct zb_core_view view;

    zb_core_view(a->core, service, &view);
    for (uint32_t i = 0; i < conf->members.count; i++) {
        member_add(report, members, &view, service, conf->members.items[i]);
    }
    for (uint32_t i = 0; i < conf->backups.count; i++) {
        member_add(report, members, &view, service, conf->backups.items[i]);
    }
    bool led = view.leader < a->nodes_count;
    zb_json_put(object, "name", zb_json_text(conf->name));
    zb_json_put(object, "leader",
                led ? zb_json_text(a->nodes[view.leader].name) : zb_must(json_null()));
    zb_json_put(object, "term", zb_json_int((int64_t)view.term));
    zb_json_put(object, "state",
                led ? zb_must(json_copy(json_object_get(json_array_get(members, 0), "state")))
                    : zb_json_text("not led"));
    frozen_put(&a->services[service].freeze, members, object);
    zb_json_put(object, "promise", zb_promise_json(a, service));
    zb_json_put(object, "witness", zb_witness_json(a, service));
    zb_json_put(object, "members", members);
    promise_warn(report, service);
    zb_json_put(object, "failed", zb_place_failed(a, service, report->warnings));
    zb_witness_warn(a, service, report->warnings);
    if (!led) {
        warn(report, "%s: nobody leads: %s", conf->name, view.why);
    }
    if (view.obs.foreign) {
        warn(report, "%s: a snapshot of another tool is newer than the newest set here",
             conf->name);
    }
    if (view.obs.suspects_unknown) {
        warn(report, "%s: a node that may have led is no longer known", conf->name);
    }
    return object;
}

/* The services asked for, or all. */
static enum zb_rc
services_json(struct zb_request *r, struct report *report, json_t *services, struct zb_err *err)
{
    const json_t *wanted = json_object_get(r->args, "services");
    size_t i;
    json_t *item;

    json_array_foreach(wanted, i, item)
    {
        const char *name = json_string_value(item);
        uint16_t service = name == NULL ? ZB_SERVICE_NONE : zb_agent_service_find(r->a, name);
        if (service == ZB_SERVICE_NONE) {
            zb_err_set(err, ZB_E_NOTFOUND, "no service '%.64s' is declared",
                       name == NULL ? "" : name);
            return zb_err_hint(err, "zbaton config show");
        }
        zb_json_append(services, service_json(report, service));
    }
    const struct zb_conf_services *all = &zb_config_current(r->a)->services; /* sorted by name */
    for (uint32_t s = 0; json_array_size(wanted) == 0 && s < all->count; s++) {
        uint16_t service = zb_agent_service_find(r->a, all->items[s].name);
        if (service != ZB_SERVICE_NONE) {
            zb_json_append(services, service_json(report, service));
        }
    }
    return ZB_OK;
}

static json_t *
cluster_json(struct report *report)
{
    const struct zb_agent *a = report->a;
    json_t *cluster = zb_must(json_object());
    unsigned up = 0, nodes = 0;
    char cert[ZB_CERT_SAY_SIZE];

    for (uint8_t i = 0; i < a->nodes_count; i++) {
        struct zb_net_peer_status status = {0};
        if (!a->nodes[i].present) {
            continue;
        }
        nodes++;
        if (zb_cert_say(zb_member_cert_ends(a, i), report->now, cert)) {
            warn(report, "%s: %s (zbaton cert renew %s)", a->nodes[i].name, cert, a->nodes[i].name);
        }
        if (i == a->self || a->nodes[i].up) {
            up++;
            continue;
        }
        (void)zb_net_peer_status(a->net, a->nodes[i].name, &status);
        warn(report, "%s is not reachable%s%s", a->nodes[i].name,
             status.reason[0] == '\0' ? "" : ": ", status.reason);
    }
    zb_json_put(cluster, "name", zb_json_text(a->cluster_name));
    zb_json_put(cluster, "id", zb_json_text(a->cluster_id));
    zb_json_put(cluster, "nodes_up", zb_json_int(up));
    zb_json_put(cluster, "nodes", zb_json_int(nodes));
    zb_json_put(cluster, "drained", zb_place_drained(a, report->warnings));
    return cluster;
}

void
zb_cmd_status(struct zb_request *r)
{
    struct report report = {.a = r->a, .now = zb_wall_now(), .warnings = zb_json_array_new()};
    json_t *services = zb_json_array_new();
    json_t *data = zb_must(json_object());
    struct zb_err err;
    char time[24];

    if (services_json(r, &report, services, &err) != ZB_OK) {
        json_decref(services);
        json_decref(report.warnings);
        json_decref(data);
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_wall_format(report.now, time);
    zb_json_put(data, "cluster", cluster_json(&report));
    zb_json_put(data, "etcd", zb_heart_json(r->a));
    zb_heart_warn(r->a, report.warnings);
    zb_json_put(data, "authority", zb_json_text(r->a->heart != NULL ? "etcd" : "manual"));
    zb_json_put(data, "time", zb_json_text(time));
    zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
    zb_json_put(data, "services", services);
    zb_json_put(data, "warnings", report.warnings);
    zb_request_done(r, data);
}
