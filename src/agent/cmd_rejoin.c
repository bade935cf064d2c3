/*
 * rejoin: a copy that came away from its leader's history follows it again; what came after the
 * fork becomes a rescue, or is given up with discard.
 */
#include "agent/internal.h"
#include "agent/inventory.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/request.h"
#include "agent/rescue.h"
#include "agent/ship.h"

#define WAIT_MS 120000 /* for the rescue; then it goes on in the background */

struct rejoin {
    struct zb_agent *a;
    struct zb_request *r; /* gone when it is answered */
    uint16_t service;
    bool dry_run;
    bool discard;
    uint64_t term; /* whose leader's history it is about */
    bool waiting;
    struct zb_rescue_waiter waiter;
    uv_timer_t timer;
    char rescue[ZB_DATASET_NAME_SIZE];
    uint64_t bytes;
    struct zb_krep observed; /* dry run: datasets alone; owned */
};

static void
on_timer_closed(uv_handle_t *handle)
{
    struct rejoin *j = handle->data;
    free(j->observed.datasets);
    free(j);
}

static void
rejoin_free(struct rejoin *j)
{
    if (j->waiting) {
        zb_rescues_unwait(j->a, &j->waiter);
    }
    uv_close((uv_handle_t *)&j->timer, on_timer_closed);
}

static const char *
self_name(const struct rejoin *j)
{
    return j->a->nodes[j->a->self].name;
}

static void
rejoin_fail(struct rejoin *j, enum zb_rc rc, const char *text, const char *rule)
{
    const char *name = j->a->services[j->service].conf.name;
    struct zb_err err;

    zb_err_set(&err, rc, "%s on %s: %s", name, self_name(j), text);
    zb_err_hint(&err, "zbaton status %s; zbaton events %s", name, name);
    zb_request_fail(j->r, &err, rule);
    rejoin_free(j);
}

static void
rejoin_done(struct rejoin *j, bool dropped, bool background, const char *text)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "node", zb_json_text(self_name(j)));
    zb_json_put(data, "rescue", j->rescue[0] != '\0' ? zb_json_text(j->rescue) : json_null());
    zb_json_put(data, "bytes", zb_json_int((int64_t)j->bytes));
    zb_json_put(data, "dropped", zb_json_bool(dropped));
    zb_json_put(data, "background", zb_json_bool(background));
    zb_json_put(data, "text", zb_json_text(text));
    zb_request_done(j->r, data);
    rejoin_free(j);
}

/* --- what would be set aside --- */

/* Where each dataset goes on from: what the leader told; where it told nothing, the newest set. */
static const struct zb_manifest *
forks_find(const struct rejoin *j)
{
    struct zb_agent *a = j->a;
    const struct zb_land_fork *fork;
    struct zb_core_view view;

    zb_core_view(a->core, j->service, &view);
    fork = zb_land_fork_find(a, j->service, view.obs.learned_leader, view.obs.learned_term);
    if (fork != NULL) {
        return &fork->m;
    }
    if ((view.obs.beyond || view.obs.modified) && !zb_set_id_is_none(view.obs.newest.id)) {
        return zb_position_manifest(a, j->service, view.obs.newest.id);
    }
    return NULL;
}

static uint64_t
written_of(const struct rejoin *j, const char *rel)
{
    for (uint32_t i = 0; i < j->observed.datasets_count; i++) {
        if (strcmp(j->observed.datasets[i].rel, rel) == 0) {
            return j->observed.datasets[i].written_bytes;
        }
    }
    return 0;
}

static json_t *
dataset_json(const struct rejoin *j, const struct zb_manifest *forks,
             const struct zb_inventory_dataset *d)
{
    json_t *o = zb_must(json_object());
    int64_t at = -1;

    for (uint32_t i = 0; i < forks->entries_count; i++) {
        if (strcmp(forks->entries[i].uuid, d->uuid) == 0) {
            at = zb_inventory_snap_find(d, forks->entries[i].guid);
        }
    }
    zb_json_put(o, "rel", zb_json_text(d->rel));
    zb_json_put(o, "fork", at >= 0 ? zb_json_text(d->names[at]) : json_null());
    zb_json_put(o, "snaps", zb_json_int((int64_t)d->snaps_count - 1 - at));
    zb_json_put(o, "written", zb_json_int((int64_t)written_of(j, d->rel)));
    return o;
}

static void
on_inventory(void *ctx, const struct zb_inventory_result *result)
{
    struct rejoin *j = ctx;
    const struct zb_manifest *forks = forks_find(j);
    json_t *datasets = NULL;

    if (result->rc != ZB_OK) {
        rejoin_fail(j, result->rc, result->msg, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    datasets = zb_json_array_new();
    for (uint32_t i = 0; forks != NULL && i < result->inventory->datasets_count; i++) {
        zb_json_append(datasets, dataset_json(j, forks, &result->inventory->datasets[i]));
    }
    zb_json_put(data, "node", zb_json_text(self_name(j)));
    zb_json_put(data, "diverged", zb_json_bool(forks != NULL));
    zb_json_put(data, "whole", zb_json_bool(forks != NULL && zb_manifest_find(forks, "") == NULL));
    zb_json_put(data, "datasets", datasets);
    zb_request_done(j->r, data);
    rejoin_free(j);
}

static void
on_observed(void *ctx, const struct zb_krep *rep)
{
    struct rejoin *j = ctx;

    if (rep->rc != ZB_OK) {
        rejoin_fail(j, (enum zb_rc)rep->rc, rep->msg, NULL);
        return;
    }
    j->observed.datasets_count = rep->datasets_count;
    j->observed.datasets = zb_must_alloc(rep->datasets_count, sizeof *rep->datasets);
    if (rep->datasets_count > 0) {
        memcpy(j->observed.datasets, rep->datasets, rep->datasets_count * sizeof *rep->datasets);
    }
    zb_inventory_fetch(j->a, j->service, false, on_inventory, j);
}

/* --- setting aside --- */

static void
on_dropped(void *ctx, const struct zb_krep *rep)
{
    struct rejoin *j = ctx;
    char text[512];

    zb_rescues_changed(j->a);
    if (rep->rc != ZB_OK) {
        (void)snprintf(text, sizeof text, "rescue %.200s stays: %.280s", j->rescue, rep->msg);
        rejoin_fail(j, (enum zb_rc)rep->rc, text, NULL);
        return;
    }
    zb_agent_event(j->a, ZB_LOG_WARNING, j->a->services[j->service].conf.name, "A-rescue-dropped",
                   "rescue %s is destroyed, as %s said", j->rescue, j->r->who);
    rejoin_done(j, true, false, "");
}

/* What was agreed to is what differs from one leader's history: beside another one, or when this
 * node is to lead itself, it is something else. */
static bool
is_agreed_to(const struct rejoin *j)
{
    struct zb_core_view view;

    zb_core_view(j->a->core, j->service, &view);
    return view.role == ZB_ROLE_FOLLOWER && view.obs.learned_term == j->term;
}

static void
on_made(void *ctx, const struct zb_krep *rep)
{
    struct rejoin *j = ctx;
    struct zb_kreq req = {.op = ZB_KOP_RESCUE_DROP, .flags = ZB_KF_EXACT};

    j->waiting = false;
    if (rep->rc != ZB_OK) {
        rejoin_fail(j, (enum zb_rc)rep->rc, rep->msg, NULL);
        return;
    }
    (void)snprintf(j->rescue, sizeof j->rescue, "%s", rep->text != NULL ? rep->text : "");
    j->bytes = rep->bytes;
    if (j->rescue[0] == '\0' || !j->discard) {
        rejoin_done(j, false, false, "");
        return;
    }
    if (!is_agreed_to(j)) {
        rejoin_done(j, false, false, "another node leads now: the rescue is kept");
        return;
    }
    if (j->a->services[j->service].freeze.reason[0] != '\0') {
        rejoin_done(j, false, false, "the service was frozen meanwhile: the rescue is kept");
        return;
    }
    (void)uv_timer_stop(&j->timer);
    req.text = j->rescue; /* borrowed for the call */
    zb_agent_keeper_call(j->a, &req, on_dropped, j);
}

static void
on_timer(uv_timer_t *timer)
{
    struct rejoin *j = timer->data;
    struct zb_core_view view;

    zb_core_view(j->a->core, j->service, &view);
    rejoin_done(j, false, true, view.why);
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct rejoin *j = ctx;

    if (reply->rc != ZB_OK) {
        rejoin_fail(j, reply->rc, reply->text, reply->rule);
    } else if (reply->rule != NULL && strcmp(reply->rule, "C-rejoin-not-diverged") == 0) {
        rejoin_done(j, false, false, reply->text);
    } /* else it begins now: on_made */
}

static void
rejoin_run(struct rejoin *j)
{
    struct zb_agent *a = j->a;
    struct zb_kreq req = {.op = ZB_KOP_OBSERVE};
    struct zb_core_view view;
    struct zb_agent_command command = {.kind = ZB_CMD_REJOIN,
                                       .service = j->service,
                                       .node = a->self,
                                       .who = j->r->who,
                                       .on_reply = on_reply,
                                       .ctx = j};

    zb_core_view(a->core, j->service, &view);
    j->term = view.obs.learned_term;
    if (j->dry_run) {
        zb_strcopy(req.service, sizeof req.service, a->services[j->service].conf.name);
        zb_agent_keeper_call(a, &req, on_observed, j);
        return;
    }
    j->waiting = true;
    j->waiter = (struct zb_rescue_waiter){.service = j->service, .on_made = on_made, .ctx = j};
    zb_rescues_wait(a, &j->waiter);
    (void)uv_timer_start(&j->timer, on_timer, WAIT_MS, 0);
    zb_agent_command_start(a, &command);
}

void
zb_cmd_rejoin(struct zb_request *r)
{
    const char *name = zb_request_text(r, "node");
    uint8_t node = name[0] == '\0' ? r->a->self : zb_agent_node_find(r->a, name);
    uint16_t service = zb_request_service(r); /* NONE: the request is gone */
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    if (node == ZB_NODE_NONE || (node != r->a->self && r->from_peer)) {
        (void)zb_agent_no_node(name, &err);
        zb_request_fail(r, &err, NULL);
        return;
    }
    if (zb_request_bool(r, "discard") && zb_request_frozen(r, service, "A-rejoin-frozen")) {
        return;
    }
    if (node != r->a->self) {
        zb_forward_request(r, node);
        return;
    }
    struct rejoin *j = zb_must_alloc(1, sizeof *j);
    *j = (struct rejoin){.a = r->a,
                         .r = r,
                         .service = service,
                         .dry_run = zb_request_bool(r, "dry_run"),
                         .discard = zb_request_bool(r, "discard")};
    j->timer.data = j;
    (void)uv_timer_init(&r->a->loop, &j->timer);
    rejoin_run(j);
}
