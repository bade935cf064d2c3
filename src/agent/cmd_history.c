/*
 * history, events: what this node remembers.
 */
#include <inttypes.h>

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"
#include "base/log.h"

#define COUNT_DEFAULT 25
#define COUNT_MAX 1000

static json_t *
time_json(struct zb_wall time)
{
    char buf[24];

    zb_wall_format(time, buf);
    return zb_json_text(buf);
}

static uint32_t
count_of(const struct zb_request *r)
{
    int64_t count = zb_request_int(r, "count", COUNT_DEFAULT);

    return count < 1 ? 1 : count > COUNT_MAX ? COUNT_MAX : (uint32_t)count;
}

/* --- history --- */

static enum zb_rc
terms_json(struct zb_agent *a, const char *service, uint32_t limit, json_t *terms,
           struct zb_err *err)
{
    struct zb_history_term *items = NULL;
    uint32_t count = 0;
    enum zb_rc rc;

    zb_agent_flush(a);
    rc = zb_history_terms_list(a->history, service, limit, &items, &count, err);

    for (uint32_t i = count; rc == ZB_OK && i-- > 0;) { /* oldest first, as a log */
        const struct zb_history_term *t = &items[i];
        bool moved =
            (t->reason == ZB_HISTORY_MOVE || t->reason == ZB_HISTORY_FAILOVER) && t->down_ms != 0;
        json_t *term = zb_must(json_object());
        zb_json_put(term, "term", zb_json_int((int64_t)t->term));
        zb_json_put(term, "leader", zb_json_text(t->leader));
        zb_json_put(term, "fork_set", zb_json_set_id(t->fork.id));
        zb_json_put(term, "reason", zb_json_text(zb_history_reason_word(t->reason)));
        zb_json_put(term, "who", zb_json_text(t->who));
        zb_json_put(term, "started", time_json(t->started));
        zb_json_put(term, "down_ms", moved ? zb_json_int(t->down_ms) : zb_must(json_null()));
        zb_json_put(term, "own_ms", moved ? zb_json_int(t->own_ms) : zb_must(json_null()));
        zb_json_put(term, "lost",
                    t->lost[0] != '\0' ? zb_json_text(t->lost) : zb_must(json_null()));
        zb_json_append(terms, term);
    }
    free(items);
    return rc;
}

static enum zb_rc
set_json(struct zb_agent *a, const char *service, struct zb_set_id id, json_t *sets,
         struct zb_err *err)
{
    struct zb_manifest m = {0};
    char guid[24] = "";
    enum zb_rc rc = zb_history_set_get(a->history, service, id, &m, err);

    if (rc != ZB_OK) {
        return rc;
    }
    const struct zb_manifest_entry *root = zb_manifest_find(&m, "");
    if (root != NULL) {
        (void)snprintf(guid, sizeof guid, "%" PRIu64, root->guid);
    }
    json_t *set = zb_must(json_object());
    zb_json_put(set, "set", zb_json_set_id(id));
    zb_json_put(set, "time", time_json(m.time));
    zb_json_put(set, "guid", zb_json_text(guid));
    zb_json_put(set, "datasets", zb_json_int(m.entries_count));
    const struct zb_label *label = zb_labels_find(&a->labels, service, id);
    zb_json_put(set, "label", label != NULL ? zb_json_text(label->text) : zb_must(json_null()));
    zb_json_append(sets, set);
    zb_manifest_close(&m);
    return ZB_OK;
}

/* Labelled sets from before `oldest`: they are few, and what somebody looks for. */
static enum zb_rc
labelled_json(struct zb_agent *a, const char *service, struct zb_set_id oldest, json_t *sets,
              struct zb_err *err)
{
    struct zb_set_id labelled[ZB_LABELS_MAX];
    uint32_t count = zb_labels_sets(&a->labels, service, labelled);
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < count && rc == ZB_OK && zb_set_id_cmp(labelled[i], oldest) < 0; i++) {
        rc = set_json(a, service, labelled[i], sets, err);
        rc = rc == ZB_E_NOTFOUND ? ZB_OK : rc; /* it is from before this node was told of sets */
    }
    return rc;
}

static enum zb_rc
sets_json(struct zb_agent *a, const char *service, uint32_t limit, json_t *sets, struct zb_err *err)
{
    struct zb_history_set *items = NULL;
    uint32_t count = 0;
    enum zb_rc rc = zb_history_sets_list(a->history, service, limit, &items, &count, err);

    if (rc == ZB_OK && count > 0) {
        rc = labelled_json(a, service, items[count - 1].ref.id, sets, err);
    }
    for (uint32_t i = count; rc == ZB_OK && i-- > 0;) {
        rc = set_json(a, service, items[i].ref.id, sets, err);
    }
    free(items);
    return rc;
}

void
zb_cmd_history(struct zb_request *r)
{
    const char *service = zb_request_text(r, "service"); /* a withdrawn one has a history too */
    json_t *terms = zb_json_array_new();
    json_t *sets = zb_json_array_new();
    struct zb_err err;
    enum zb_rc rc = ZB_OK;

    if (!zb_service_name_valid(service)) {
        rc = zb_err_set(&err, ZB_E_USAGE, "'%.64s' is not the name of a service", service);
    }
    if (rc == ZB_OK) {
        rc = terms_json(r->a, service, count_of(r), terms, &err);
    }
    if (rc == ZB_OK) {
        rc = sets_json(r->a, service, count_of(r), sets, &err);
    }
    if (rc == ZB_OK && json_array_size(terms) == 0 && json_array_size(sets) == 0 &&
        zb_agent_service_find(r->a, service) == ZB_SERVICE_NONE) {
        zb_err_set(&err, ZB_E_NOTFOUND, "no service '%s' is or was here", service);
        rc = zb_err_hint(&err, "zbaton config show");
    }
    if (rc != ZB_OK) {
        json_decref(terms);
        json_decref(sets);
        zb_request_fail(r, &err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "service", zb_json_text(service));
    zb_json_put(data, "terms", terms);
    zb_json_put(data, "sets", sets);
    zb_request_done(r, data);
}

/* --- events --- */

struct follow {
    struct zb_agent_subscriber subscriber;
    struct zb_request *r;
};

static bool
event_wanted(const struct zb_request *r, const char *service)
{
    const char *wanted = zb_request_text(r, "service");

    return wanted[0] == '\0' || strcmp(wanted, service) == 0;
}

static json_t *
event_json(const char *node, const struct zb_agent_event_view *e)
{
    json_t *event = zb_must(json_object());

    zb_json_put(event, "id", zb_json_int(e->id));
    zb_json_put(event, "time", time_json(e->time));
    zb_json_put(event, "level",
                zb_json_text(e->level <= ZB_LOG_ERROR     ? "error"
                             : e->level == ZB_LOG_WARNING ? "warning"
                                                          : "info"));
    zb_json_put(event, "service", zb_json_text(e->service));
    zb_json_put(event, "node", zb_json_text(node));
    zb_json_put(event, "rule", zb_json_text(e->rule));
    zb_json_put(event, "text", zb_json_text(e->text));
    return event;
}

static void
on_event(void *ctx, const struct zb_agent_event_view *e)
{
    struct follow *f = ctx;
    struct zb_request *r = f->r;

    if (event_wanted(r, e->service)) {
        zb_request_progress(r, event_json(r->a->nodes[r->a->self].name, e));
    }
}

static void
on_gone(struct zb_request *r)
{
    struct follow *f = r->ctx;

    zb_agent_unsubscribe(r->a, &f->subscriber);
    free(f);
    zb_request_done(r, zb_must(json_object()));
}

static enum zb_rc
events_json(struct zb_request *r, json_t *events, struct zb_err *err)
{
    struct zb_history_event *items = NULL;
    uint32_t count = 0;
    int64_t last = 0;
    uint32_t limit = count_of(r);
    int64_t since = zb_request_int(r, "since_id", -1);
    enum zb_rc rc;

    zb_agent_flush(r->a);
    rc = zb_history_events_last(r->a->history, &last, err);

    if (since < 0) {
        since = last > (int64_t)limit ? last - (int64_t)limit : 0;
    }
    if (rc == ZB_OK) {
        rc = zb_history_events_list(r->a->history, since, limit, &items, &count, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < count; i++) {
        const struct zb_history_event *e = &items[i];
        struct zb_agent_event_view view = {.id = e->id,
                                           .time = e->time,
                                           .level = e->level,
                                           .service = e->service,
                                           .rule = e->rule,
                                           .text = e->text};
        if (event_wanted(r, e->service)) {
            zb_json_append(events, event_json(e->node, &view));
        }
    }
    free(items);
    return rc;
}

static void
events_follow(struct zb_request *r, json_t *events)
{
    struct follow *f = zb_must_alloc(1, sizeof *f);
    size_t i;
    json_t *event;

    *f = (struct follow){.r = r, .subscriber = {.on_event = on_event, .ctx = f}};
    r->ctx = f;
    r->on_gone = on_gone;
    zb_agent_subscribe(r->a, &f->subscriber);
    json_array_foreach(events, i, event)
    {
        zb_request_progress(r, zb_must(json_copy(event)));
    }
}

void
zb_cmd_events(struct zb_request *r)
{
    json_t *events = zb_json_array_new();
    struct zb_err err;

    if (events_json(r, events, &err) != ZB_OK) {
        json_decref(events);
        zb_request_fail(r, &err, NULL);
        return;
    }
    if (zb_request_bool(r, "follow")) {
        events_follow(r, events);
        json_decref(events);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "events", events);
    zb_request_done(r, data);
}
