/*
 * freeze, thaw: the next version of the configuration says which services are frozen. Answered when
 * the members that can be reached decide by it, so that the next command meets it everywhere.
 */
#include <inttypes.h>

#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

#define WAIT_MS 5000 /* for the members, once a majority of the nodes has agreed */
#define TICK_MS 50

struct freeze {
    struct zb_request *r;
    bool thaw;
    struct zb_config_doc doc; /* the next version */
    json_t *services;         /* names of those that it changes */
    json_t *unchanged;        /* ... and of those that are as asked for already */
    uint32_t accepted;        /* node bits */
    uv_timer_t timer;
    int64_t until_ms;
};

static void
on_timer_closed(uv_handle_t *handle)
{
    struct freeze *f = handle->data;

    zb_config_doc_close(&f->doc);
    json_decref(f->services);
    json_decref(f->unchanged);
    free(f);
}

static void
freeze_free(struct freeze *f)
{
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

static void
freeze_fail(struct freeze *f, const struct zb_err *err)
{
    f->r->on_gone = NULL;
    zb_request_fail(f->r, err, NULL);
    freeze_free(f);
}

/* --- who decides by it --- */

/* Whether this member of the service decides by the new version, as far as it is known here. */
static bool
has_it(const struct freeze *f, const struct zb_core_view *view, uint8_t node)
{
    if (node == f->r->a->self) {
        return view->version >= f->doc.version;
    }
    return node != ZB_NODE_NONE && view->peers[node].up && view->peers[node].known &&
           view->peers[node].report.version >= f->doc.version;
}

struct tally {
    uint32_t lacking;   /* node bits: members without it ... */
    uint32_t reachable; /* ... that are connected */
    bool degraded;      /* of some service not even a majority of the voters has it */
};

static void
service_tally(const struct freeze *f, const char *name, struct tally *t)
{
    const struct zb_agent *a = f->r->a;
    uint16_t service = zb_agent_service_find(a, name);
    struct zb_core_view view;
    uint32_t have = 0;

    if (service == ZB_SERVICE_NONE) {
        return; /* withdrawn meanwhile */
    }
    const struct zb_conf_names *members = &a->services[service].conf.members;
    zb_core_view(a->core, service, &view);
    for (uint32_t i = 0; i < members->count; i++) {
        uint8_t node = zb_agent_node_find(a, members->items[i]);
        if (has_it(f, &view, node)) {
            have++;
        } else if (node != ZB_NODE_NONE) {
            t->lacking |= UINT32_C(1) << node;
            t->reachable |= node == a->self || a->nodes[node].up ? UINT32_C(1) << node : 0;
        }
    }
    t->degraded = t->degraded || 2 * have <= members->count;
}

static struct tally
tally_of(const struct freeze *f)
{
    struct tally t = {0};
    size_t i;
    json_t *name;

    json_array_foreach(f->services, i, name)
    {
        service_tally(f, json_string_value(name), &t);
    }
    return t;
}

/* --- the end --- */

static json_t *
names_json(const struct zb_agent *a, uint32_t bits)
{
    json_t *names = zb_json_array_new();

    for (uint8_t i = 0; i < a->nodes_count; i++) {
        if ((bits & UINT32_C(1) << i) != 0) {
            zb_json_append(names, zb_json_text(a->nodes[i].name));
        }
    }
    return names;
}

static void
freeze_done(struct freeze *f, const struct tally *t)
{
    json_t *data = zb_must(json_object());

    zb_json_put(data, "version", zb_json_int((int64_t)f->doc.version));
    zb_json_put(data, "services", json_incref(f->services));
    zb_json_put(data, "unchanged", json_incref(f->unchanged));
    zb_json_put(data, "accepted_by", names_json(f->r->a, f->accepted));
    zb_json_put(data, "waiting", names_json(f->r->a, t->lacking));
    zb_json_put(data, "degraded", zb_json_bool(t->degraded));
    f->r->on_gone = NULL;
    zb_request_done(f->r, data);
    freeze_free(f);
}

static void
on_timer(uv_timer_t *timer)
{
    struct freeze *f = timer->data;
    struct tally t = tally_of(f);

    if (t.reachable == 0 || zb_mono_now().ms >= f->until_ms) {
        freeze_done(f, &t);
    }
}

/* Agreed on already; nobody wants to know who has it. */
static void
on_gone(struct zb_request *r)
{
    struct freeze *f = r->ctx;

    freeze_done(f, &(struct tally){0});
}

/* Who froze it stands in the configuration; who thaws is known only here. */
static void
thaw_tell(const struct freeze *f)
{
    size_t i;
    json_t *name;

    json_array_foreach(f->services, i, name)
    {
        zb_agent_event(f->r->a, ZB_LOG_INFO, json_string_value(name), "CFG-thaw", "thawed by %s",
                       f->r->who);
    }
}

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct freeze *f = ctx;

    if (outcome->rc != ZB_OK) {
        freeze_fail(f, outcome->err);
        return;
    }
    f->accepted = outcome->accepted;
    if (f->thaw) {
        thaw_tell(f);
    }
    if (f->r->gone) {
        freeze_done(f, &(struct tally){0});
        return;
    }
    f->until_ms = zb_mono_now().ms + WAIT_MS;
    f->r->ctx = f;
    f->r->on_gone = on_gone;
    (void)uv_timer_start(&f->timer, on_timer, 0, TICK_MS);
}

/* --- the change --- */

static void
service_freeze(struct freeze *f, const struct zb_freeze *freeze)
{
    const struct zb_freeze *now = zb_freezes_find(&f->doc.freezes, freeze->service);
    bool same = now != NULL && strcmp(now->reason, freeze->reason) == 0;

    zb_json_append(same ? f->unchanged : f->services, zb_json_text(freeze->service));
    if (!same) {
        zb_freezes_put(&f->doc.freezes, freeze);
    }
}

static void
service_change(struct freeze *f, const char *name)
{
    if (f->thaw) {
        bool was = zb_freezes_remove(&f->doc.freezes, name);
        zb_json_append(was ? f->services : f->unchanged, zb_json_text(name));
        return;
    }
    struct zb_freeze freeze = {.since = zb_wall_now()};
    zb_strcopy(freeze.service, sizeof freeze.service, name);
    (void)snprintf(freeze.reason, sizeof freeze.reason, "%s", zb_request_text(f->r, "reason"));
    (void)snprintf(freeze.who, sizeof freeze.who, "%s", f->r->who);
    service_freeze(f, &freeze);
}

/* The service that is named, or every one. */
static enum zb_rc
change_make(struct freeze *f, struct zb_err *err)
{
    const struct zb_conf_services *all = &f->doc.services;
    const char *name = zb_request_text(f->r, "service");

    if (name[0] != '\0' && zb_conf_services_find(all, name) == NULL) {
        zb_err_set(err, ZB_E_NOTFOUND, "no service '%.64s' is declared", name);
        return zb_err_hint(err, "zbaton config show");
    }
    if (name[0] == '\0' && all->count == 0 && !f->thaw) {
        return zb_err_set(err, ZB_E_NOTFOUND, "no service is declared");
    }
    for (uint32_t i = 0; i < all->count; i++) {
        if (name[0] == '\0' || strcmp(all->items[i].name, name) == 0) {
            service_change(f, all->items[i].name);
        }
    }
    return ZB_OK;
}

static void
freeze_run(struct zb_request *r, bool thaw)
{
    const struct zb_config_doc *now = zb_config_current(r->a);
    struct freeze *f = zb_must_alloc(1, sizeof *f);
    struct zb_err err;
    enum zb_rc rc = thaw ? ZB_OK : zb_freeze_reason_check(zb_request_text(r, "reason"), &err);

    *f = (struct freeze){
        .r = r, .thaw = thaw, .services = zb_json_array_new(), .unchanged = zb_json_array_new()};
    f->timer.data = f;
    (void)uv_timer_init(&r->a->loop, &f->timer);
    if (rc == ZB_OK) {
        rc = zb_config_doc_copy(&f->doc, now, &err);
    }
    if (rc == ZB_OK) {
        rc = change_make(f, &err);
    }
    if (rc != ZB_OK) {
        freeze_fail(f, &err);
        return;
    }
    if (json_array_size(f->services) == 0) {
        freeze_done(f, &(struct tally){0});
        return;
    }
    f->doc.version++;
    struct zb_config_change change = {.doc = &f->doc, .on_done = on_configured, .ctx = f};
    zb_config_change(r->a, &change);
}

void
zb_cmd_freeze(struct zb_request *r)
{
    freeze_run(r, false);
}

void
zb_cmd_thaw(struct zb_request *r)
{
    freeze_run(r, true);
}
