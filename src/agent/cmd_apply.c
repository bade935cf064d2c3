/*
 * apply: a services file becomes the next version of the configuration. First everything is found
 * out (differences, what happens to datasets that exist), then, with consent where that is needed,
 * the nodes agree on it.
 */
#include <inttypes.h>

#include "agent/adopt.h"
#include "agent/config.h"
#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"
#include "agent/voters.h"
#include "base/log.h"

struct apply {
    struct zb_request *r;
    struct zb_config_doc doc; /* the next version */
    uint64_t base;
    json_t *diff;
    json_t *plan;
    bool consent_needed;
    bool text_differs;
    uint32_t next; /* index of the next service to ask about */
};

static void
apply_free(struct apply *p)
{
    zb_config_doc_close(&p->doc);
    json_decref(p->diff);
    json_decref(p->plan);
    free(p);
}

static void
apply_fail(struct apply *p, const struct zb_err *err)
{
    zb_request_fail(p->r, err, NULL);
    apply_free(p);
}

static void plan_line(struct apply *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
plan_line(struct apply *p, const char *fmt, ...)
{
    char text[ZB_PATH_SIZE + 512];
    va_list args;

    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    zb_json_append(p->plan, zb_json_text(text));
}

static json_t *
result_json(const struct apply *p)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "version", zb_json_int((int64_t)p->doc.version));
    zb_json_put(data, "base", zb_json_int((int64_t)p->base));
    zb_json_put(data, "diff", zb_must(json_copy(p->diff)));
    zb_json_put(data, "plan", zb_must(json_copy(p->plan)));
    zb_json_put(data, "consent_needed", zb_json_bool(p->consent_needed));
    zb_json_put(data, "text_differs", zb_json_bool(p->text_differs));
    return data;
}

/* --- the agreement --- */

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct apply *p = ctx;
    const struct zb_agent *a = p->r->a;

    if (outcome->rc != ZB_OK) {
        apply_fail(p, outcome->err);
        return;
    }
    json_t *data = result_json(p);
    json_t *accepted = zb_json_array_new();
    for (uint8_t i = 0; i < a->nodes_count; i++) {
        if ((outcome->accepted & 1u << i) != 0) {
            zb_json_append(accepted, zb_json_text(a->nodes[i].name));
        }
    }
    zb_json_put(data, "accepted_by", accepted);
    zb_json_put(data, "nodes", zb_json_int(p->doc.nodes_count));
    zb_request_done(p->r, data);
    apply_free(p);
}

static void
agree(struct apply *p)
{
    struct zb_request *r = p->r;
    bool same = json_array_size(p->diff) == 0 && !p->text_differs;
    struct zb_err err;

    if (zb_request_bool(r, "dry_run") || same) {
        zb_request_done(r, result_json(p));
        apply_free(p);
        return;
    }
    if (p->consent_needed && !zb_request_bool(r, "consent")) {
        zb_err_set(&err, ZB_E_REFUSED, "this changes datasets that exist, and nobody has agreed");
        zb_err_hint(&err, "zbaton apply -n shows what changes, zbaton apply -y agrees");
        apply_fail(p, &err);
        return;
    }
    zb_agent_event(r->a, ZB_LOG_INFO, "", "CFG-apply", "configuration %" PRIu64 " applied by %s",
                   p->doc.version, r->who);
    struct zb_config_change change = {.doc = &p->doc, .on_done = on_configured, .ctx = p};
    zb_config_change(r->a, &change);
}

/* --- datasets that are there already --- */

static void ask_next(struct apply *p);

/* The lines of another node's or this node's keeper about the service asked for last. */
static void
plan_take(struct apply *p, const char *text)
{
    const struct zb_conf_service *s = &p->doc.services.items[p->next - 1];
    const char *leader = s->leader;

    bool exists = strncmp(text, "zfs create ", 11) != 0 && text[0] != '\0';
    if (exists) { /* adopting changes it */
        p->consent_needed = true;
        plan_line(
            p,
            "%s: the dataset of %s exists: unmount it if it is mounted, set what every copy has:",
            leader, s->name);
    }
    for (const char *line = text; *line != '\0';) {
        size_t length = strcspn(line, "\n");
        plan_line(p, "%s: %.*s", leader, (int)length, line);
        line += length + (line[length] == '\n');
    }
    if (exists && s->mountpoint[0] != '\0') {
        plan_line(p, "%s: mount -t zfs -o rw ... %s, then start", leader, s->mountpoint);
    }
}

static void
plan_refused(struct apply *p, enum zb_rc rc, const char *msg, const char *hint)
{
    const struct zb_conf_service *s = &p->doc.services.items[p->next - 1];
    struct zb_err err;

    zb_err_set(&err, rc, "%s cannot begin on %s: %s", s->name, s->leader, msg);
    zb_err_hint(&err, "%s", hint);
    apply_fail(p, &err);
}

static void
on_own_plan(void *ctx, const struct zb_adopt_plan *plan)
{
    struct apply *p = ctx;

    if (plan->rc != ZB_OK) {
        plan_refused(p, plan->rc, plan->msg, plan->hint);
        return;
    }
    plan_take(p, plan->text);
    ask_next(p);
}

static void
on_remote_plan(void *ctx, json_t *result)
{
    struct apply *p = ctx;
    const json_t *rc = json_object_get(result, "rc");
    const char *text = json_string_value(json_object_get(json_object_get(result, "data"), "text"));
    const char *error = json_string_value(json_object_get(result, "error"));
    const char *hint = json_string_value(json_object_get(result, "hint"));

    if (json_is_integer(rc) && json_integer_value(rc) == ZB_OK && text != NULL) {
        plan_take(p, text);
        ask_next(p);
        return;
    }
    plan_refused(p, ZB_E_REFUSED, error == NULL ? "its answer is not understood" : error,
                 hint == NULL ? "" : hint);
}

static void
remote_plan_ask(struct apply *p, uint8_t node, const struct zb_conf_service *s)
{
    json_t *args = zb_must(json_object());
    char *text = NULL;
    struct zb_err err;

    if (zb_conf_service_to_json(s, &text, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    zb_json_put(args, "service", zb_json_text(text));
    zb_json_put(args, "version", zb_json_u64(p->doc.version));
    struct zb_forward_ask ask = {.node = node,
                                 .cmd = "adopt.plan",
                                 .args = args,
                                 .who = p->r->who,
                                 .on_result = on_remote_plan,
                                 .ctx = p};
    zb_forward_start(p->r->a, &ask);
    free(text);
    json_decref(args);
}

/* The next new service: its first leader says what happens to the dataset. */
static void
ask_next(struct apply *p)
{
    struct zb_agent *a = p->r->a;

    while (p->next < p->doc.services.count) {
        const struct zb_conf_service *s = &p->doc.services.items[p->next++];
        if (zb_conf_services_find(&zb_config_current(a)->services, s->name) != NULL) {
            continue;
        }
        if (zb_recovered_has(&p->doc.recovered, s->name)) {
            plan_line(p,
                      "nobody: %s has sets of an earlier cluster, and goes on from them by order: "
                      "zbaton failover --to NODE %s",
                      s->name, s->name);
            continue;
        }
        uint8_t node = zb_agent_node_find(a, s->leader);
        if (node == a->self) {
            zb_adopt_plan(a, s, p->doc.version, on_own_plan, p);
        } else if (node == ZB_NODE_NONE || !a->nodes[node].up) {
            plan_refused(p, ZB_E_REFUSED, "it is not reachable, so nobody knows what is there",
                         "zbaton node list");
        } else {
            remote_plan_ask(p, node, s);
        }
        return;
    }
    agree(p);
}

/* --- asked by another node --- */

static void
on_asked_plan(void *ctx, const struct zb_adopt_plan *plan)
{
    struct zb_request *r = ctx;
    struct zb_err err;

    if (plan->rc != ZB_OK) {
        zb_err_set(&err, plan->rc, "%s", plan->msg);
        zb_err_hint(&err, "%s", plan->hint);
        zb_request_fail(r, &err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "text", zb_json_text(plan->text));
    zb_request_done(r, data);
}

void
zb_cmd_adopt_plan(struct zb_request *r)
{
    struct zb_conf_service service;
    uint64_t version = 0;
    struct zb_err err;
    enum zb_rc rc = zb_conf_service_from_json(zb_request_text(r, "service"), &service, &err);

    if (rc == ZB_OK && !zb_json_is_u64(json_object_get(r->args, "version"), &version)) {
        rc = zb_err_set(&err, ZB_E_FORMAT, "version");
    }
    if (rc == ZB_OK && zb_agent_service_find(r->a, service.name) != ZB_SERVICE_NONE) {
        rc = zb_err_set(&err, ZB_E_STALE, "%s is declared here already", service.name);
    }
    if (rc != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_adopt_plan(r->a, &service, version, on_asked_plan, r);
}

/* --- what differs --- */

static uint32_t
nodes_of(const struct zb_agent *a, const struct zb_conf_names *names)
{
    uint32_t nodes = 0;

    for (uint32_t i = 0; i < names->count; i++) {
        uint8_t n = zb_agent_node_find(a, names->items[i]);
        nodes |= n != ZB_NODE_NONE ? UINT32_C(1) << n : 0;
    }
    return nodes;
}

static uint32_t
voters_of(const struct zb_agent *a, const struct zb_conf_service *s)
{
    uint32_t witness = s->witness == ZB_CONF_WITNESS_ETCD ? UINT32_C(1) << ZB_NODE_WITNESS : 0;

    return nodes_of(a, &s->members) | witness;
}

/* etcd as a voter is asked by each member through its own session. That an even number of votes
 * bears no more than one less is told and not refused: voters change one at a time, and the way
 * from two members with a witness to three leads over it. */
static enum zb_rc
witness_check(struct apply *p, struct zb_err *err)
{
    for (uint32_t i = 0; i < p->doc.services.count; i++) {
        const struct zb_conf_service *s = &p->doc.services.items[i];
        if (s->witness != ZB_CONF_WITNESS_ETCD) {
            continue;
        }
        if (p->r->a->conf->etcd[0] == '\0') {
            (void)zb_err_set(err, ZB_E_REFUSED,
                             "service %s: witness \"etcd\", but this node has no etcd", s->name);
            return zb_err_hint(err,
                               "set etcd in zbatond.conf on every member, or leave witness out");
        }
        if (s->members.count % 2 == 1) {
            plan_line(p,
                      "%s: %" PRIu32 " votes with etcd's, an even number: no more of them may be "
                      "away than of %" PRIu32,
                      s->name, s->members.count + 1, s->members.count);
        }
    }
    return ZB_OK;
}

/* A leader that is no member any more would go on unsupervised, and what it wrote would be lost
 * without a word. */
static enum zb_rc
out_check(const struct zb_agent *a, const char *service, uint32_t members, uint8_t node,
          struct zb_err *err)
{
    const char *name = a->nodes[node].name;
    struct zb_core_view view;

    zb_core_view(a->core, zb_agent_service_find(a, service), &view);
    switch (zb_voter_out(&view, a->self, members, node)) {
    case ZB_VOTER_OUT_MAY:
        break;
    case ZB_VOTER_OUT_LEADS:
        (void)zb_err_set(err, ZB_E_REFUSED, "service %s: %s leads it and has to stay a member",
                         service, name);
        return zb_err_hint(err, "zbaton move %s NODE, then apply again", service);
    case ZB_VOTER_OUT_SUSPECT:
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "service %s: %s may have led it last, and nobody is seen to lead it",
                         service, name);
        return zb_err_hint(err, "if %s is lost: zbaton failover %s, then apply again", name,
                           service);
    case ZB_VOTER_OUT_UNHEARD:
        (void)zb_err_set(err, ZB_E_BUSY, "service %s: not all members have told who led it last",
                         service);
        return zb_err_hint(err, "try again in a moment");
    }
    return ZB_OK;
}

/* M11: one change after the other. */
static enum zb_rc
list_check(const struct zb_agent *a, const char *service, uint32_t voters, uint64_t version,
           struct zb_err *err)
{
    struct zb_core_view view;

    zb_core_view(a->core, zb_agent_service_find(a, service), &view);
    if (zb_voters_know(&view, a->self, voters, version)) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_NOQUORUM,
                     "service %s: no majority of its members is known to decide by version "
                     "%" PRIu64 " yet, which comes before another change of them",
                     service, version);
    return zb_err_hint(err, "zbaton status %s tells who is not up; try again when enough are",
                       service);
}

/* Withdrawn, it is forgotten by all that can be reached who may lead it: declared once more,
 * another one would, beside a leader that writes on where nobody sees it. Who leads it alone may be
 * lost for good, and nobody else can take it over first. */
static enum zb_rc
withdraw_check(const struct zb_agent *a, const char *service, uint32_t members, uint32_t voters,
               struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    if (__builtin_popcount(voters & ~(UINT32_C(1) << ZB_NODE_WITNESS)) == 1) {
        return ZB_OK;
    }
    for (uint8_t n = 0; n < a->nodes_count && rc == ZB_OK; n++) {
        if ((voters & UINT32_C(1) << n) != 0 && n != a->self && !a->nodes[n].up) {
            rc = out_check(a, service, members, n, err);
        }
    }
    return rc;
}

static enum zb_rc
voters_check(const struct apply *p, const struct zb_config_doc *now, struct zb_err *err)
{
    const struct zb_agent *a = p->r->a;
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < now->services.count && rc == ZB_OK; i++) {
        const struct zb_conf_service *old = &now->services.items[i];
        const struct zb_conf_service *next = zb_conf_services_find(&p->doc.services, old->name);
        if (zb_agent_service_find(a, old->name) == ZB_SERVICE_NONE) {
            continue;
        }
        uint32_t members = nodes_of(a, &old->members) | nodes_of(a, &old->backups);
        uint32_t voters = voters_of(a, old);
        if (next == NULL) {
            rc = withdraw_check(a, old->name, members, voters, err);
            continue;
        }
        uint32_t out = voters & ~voters_of(a, next);
        for (uint8_t n = 0; n < ZB_NODES_MAX && rc == ZB_OK; n++) {
            if ((out & UINT32_C(1) << n) != 0) {
                rc = out_check(a, old->name, members, n, err);
            }
        }
        if (rc == ZB_OK && voters_of(a, next) != voters) {
            rc = list_check(a, old->name, voters, now->version, err);
        }
    }
    return rc;
}

static bool
was_led(const struct zb_core_view *view)
{
    bool led = view->obs.learned_term != 0 || view->leader != ZB_NODE_NONE;

    for (uint32_t n = 0; n < ZB_PEERS_MAX; n++) {
        led = led || (view->peers[n].known && view->peers[n].report.learned_term != 0);
    }
    return led;
}

/* Withdrawn, a service gives up the marks of its copies; declared once more, it would begin empty.
 * Of one that goes on from an earlier cluster that is not allowed before it has. */
static enum zb_rc
recovered_check(const struct apply *p, const struct zb_config_doc *now, struct zb_err *err)
{
    const struct zb_agent *a = p->r->a;

    for (uint32_t i = 0; i < now->services.count; i++) {
        const char *name = now->services.items[i].name;
        uint16_t number = zb_agent_service_find(a, name);
        struct zb_core_view view;
        if (zb_conf_services_find(&p->doc.services, name) != NULL || number == ZB_SERVICE_NONE ||
            !zb_recovered_has(&now->recovered, name)) {
            continue;
        }
        zb_core_view(a->core, number, &view);
        zb_agent_flush(p->r->a);
        if (!was_led(&view) && !zb_lineage_led_above(a->history, name, now->recovered.term)) {
            (void)zb_err_set(
                err, ZB_E_REFUSED,
                "service %s has sets of an earlier cluster, and nothing is known here of a "
                "leader in this one: withdrawn, its copies would be given up",
                name);
            return zb_err_hint(err,
                               "if it was led since, apply on one of its members; else first: "
                               "zbaton failover --to NODE %s",
                               name);
        }
    }
    return ZB_OK;
}

static enum zb_rc
diff_fill(struct apply *p, const struct zb_config_doc *now, struct zb_err *err)
{
    struct zb_conf_lines lines = {0};
    enum zb_rc rc = zb_conf_services_change_check(&now->services, &p->doc.services, err);

    if (rc == ZB_OK) {
        rc = voters_check(p, now, err);
    }
    if (rc == ZB_OK) {
        rc = recovered_check(p, now, err);
    }
    if (rc == ZB_OK) {
        rc = zb_conf_services_diff(&now->services, &p->doc.services, &lines, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < lines.count; i++) {
        zb_json_append(p->diff, zb_json_text(lines.items[i]));
    }
    zb_conf_lines_close(&lines);
    return rc;
}

/* Services that are no longer declared: what becomes of them where they are led. */
static void
removals_fill(struct apply *p, const struct zb_config_doc *now)
{
    const struct zb_agent *a = p->r->a;

    for (uint32_t i = 0; i < now->services.count; i++) {
        const struct zb_conf_service *s = &now->services.items[i];
        uint16_t number = zb_agent_service_find(a, s->name);
        struct zb_core_view view;
        if (zb_conf_services_find(&p->doc.services, s->name) != NULL || number == ZB_SERVICE_NONE) {
            continue;
        }
        zb_core_view(a->core, number, &view);
        p->consent_needed = true;
        plan_line(p,
                  "%s: stop %s, unmount it, put its properties back as before adoption, mount it "
                  "if they say so",
                  view.leader < a->nodes_count ? a->nodes[view.leader].name : "its leader",
                  s->name);
        plan_line(p, "everywhere: %s is no longer replicated; its data and snapshots stay",
                  s->name);
    }
}

static enum zb_rc
apply_read(struct apply *p, struct zb_err *err)
{
    struct zb_request *r = p->r;
    const struct zb_config_doc *now = zb_config_current(r->a);
    const char *file = zb_request_text(r, "file");
    int64_t base = zb_request_int(r, "base", 0);
    enum zb_rc rc;

    if (!json_is_string(json_object_get(r->args, "text"))) {
        return zb_err_set(err, ZB_E_USAGE, "text is missing");
    }
    if (now->version == 0) {
        return zb_err_set(err, ZB_E_BUSY, "this node has no configuration of the cluster yet");
    }
    if (base != 0 && (uint64_t)base != now->version) {
        zb_err_set(err, ZB_E_STALE, "version %" PRIu64 " came into force meanwhile", now->version);
        return zb_err_hint(err, "look at the differences again");
    }
    rc = zb_config_doc_copy(&p->doc, now, err);
    if (rc == ZB_OK) {
        rc = zb_config_doc_services_set(&p->doc, zb_request_text(r, "text"),
                                        file[0] == '\0' ? "services" : file, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    p->base = now->version;
    p->doc.version = now->version + 1;
    p->text_differs = strcmp(p->doc.text, now->text) != 0;
    rc = witness_check(p, err);
    rc = rc == ZB_OK ? diff_fill(p, now, err) : rc;
    if (rc == ZB_OK) {
        removals_fill(p, now);
    }
    return rc;
}

void
zb_cmd_apply(struct zb_request *r)
{
    struct apply *p = zb_must_alloc(1, sizeof *p);
    struct zb_err err;

    p->r = r;
    p->diff = zb_json_array_new();
    p->plan = zb_json_array_new();
    if (apply_read(p, &err) != ZB_OK) {
        apply_fail(p, &err);
        return;
    }
    ask_next(p);
}
