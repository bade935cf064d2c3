#include "agent/placing.h"

#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/place.h"
#include "agent/relocate.h"
#include "agent/request.h"
#include "agent/trouble.h"

#define LOOK_MS 1000
#define CHECK_MS 5000          /* from the end of one check of what runs to the next one */
#define CHECK_TIMEOUT_MS 10000 /* of one: nothing else is done with the service meanwhile */
#define CHECK_FAILURES 3       /* in a row: it is stopped, and so started again */

struct placing {
    struct zb_placings *all;
    uint16_t service;
    bool checking; /* its keeper checks or stops it */
    struct zb_mono check_at;
    uint32_t check_failures;
    bool running;                 /* a move or a change of the configuration */
    const char *order;            /* of the move under way: "relocation", "failback" */
    struct zb_again again;        /* of moves and changes that failed */
    uint64_t stuck_term;          /* in which it was told that it goes nowhere */
    char well[ZB_NODE_NAME_SIZE]; /* where it would go back to ... */
    struct zb_mono well_since;    /* ... which has been possible since then */
};

struct zb_placings {
    struct zb_agent *a;
    uv_timer_t timer;
    bool closed;
    bool timer_closed;
    uint32_t running;
    struct placing services[ZB_SERVICES_MAX];
};

static const struct zb_agent_service *
service_of(const struct placing *p)
{
    return &p->all->a->services[p->service];
}

static struct zb_health *
health_of(const struct placing *p)
{
    return &p->all->a->healths[p->service];
}

static void
all_free(struct zb_placings *all)
{
    if (all->closed && all->timer_closed && all->running == 0) {
        free(all);
    }
}

/* What was begun has ended; false: so has everything else. */
static bool
ended(struct placing *p)
{
    struct zb_placings *all = p->all;

    p->running = false;
    all->running--;
    if (all->closed) {
        all_free(all);
        return false;
    }
    return true;
}

static void
begun(struct placing *p)
{
    p->running = true;
    p->all->running++;
}

/* --- the mark --- */

/* The alarm, once it is in force. */
static void
failed_tell(const struct placing *p)
{
    struct zb_agent *a = p->all->a;
    const struct zb_conf_service *conf = &service_of(p)->conf;
    const char *self = a->nodes[a->self].name;
    const struct zb_failed *failed = zb_faileds_find(&a->failed, conf->name, self);

    if (failed == NULL) {
        zb_agent_event(a, ZB_LOG_INFO, conf->name, "A-service-well",
                       "runs on %s for long enough: that it failed here is forgotten", self);
    } else if (conf->relocate == ZB_CONF_RELOCATE_YES) {
        zb_agent_event(a, ZB_LOG_ERROR, conf->name, "A-service-failed",
                       "failed on %s, started %u times: %s; another member is looked for", self,
                       health_of(p)->starts, failed->why);
    } else {
        zb_agent_event(a, ZB_LOG_ERROR, conf->name, "A-service-failed",
                       "failed on %s, started %u times: %s; it stays stopped: zbaton start %s",
                       self, health_of(p)->starts, failed->why, conf->name);
    }
}

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct placing *p = ctx;

    if (!ended(p)) {
        return;
    }
    if (outcome->rc == ZB_OK) {
        failed_tell(p);
    } else if (outcome->rc != ZB_E_BUSY && outcome->rc != ZB_E_STALE) { /* else at the next look */
        zb_again_failed(&p->again, zb_mono_now());
        zb_agent_event(p->all->a, ZB_LOG_WARNING, service_of(p)->conf.name, "A-failed-untold",
                       "that it failed here, or does not any more, could not be agreed on: %s",
                       outcome->err->msg);
    }
}

static void
change(struct placing *p, struct zb_config_doc *doc)
{
    const struct zb_config_change order = {.doc = doc, .on_done = on_configured, .ctx = p};

    doc->version++;
    begun(p);
    zb_config_change(p->all->a, &order);
}

static void
mark(struct placing *p, uint64_t term)
{
    struct zb_agent *a = p->all->a;
    const struct zb_conf_service *conf = &service_of(p)->conf;
    const char *self = a->nodes[a->self].name;
    const struct zb_failed *before = zb_faileds_find(&a->failed, conf->name, self);
    const struct zb_trouble *trouble =
        zb_trouble_find(a, &(struct zb_trouble_at){p->service, ZB_TROUBLE_START, a->self});
    uint32_t times = before != NULL ? before->times + 1 : 1;
    struct zb_failed failed = {.term = term,
                               .times = times < ZB_FAILED_TIMES_MAX ? times : ZB_FAILED_TIMES_MAX,
                               .time = zb_wall_now()};
    struct zb_config_doc doc = {0};
    struct zb_err err;

    zb_strcopy(failed.service, sizeof failed.service, conf->name);
    zb_strcopy(failed.node, sizeof failed.node, self);
    (void)snprintf(failed.why, sizeof failed.why, "%.*s", ZB_FAILED_WHY_SIZE - 1,
                   trouble != NULL ? trouble->text : "it did not keep running");
    if (zb_config_doc_copy(&doc, zb_config_current(a), &err) == ZB_OK) {
        zb_faileds_put(&doc.failed, &failed);
        change(p, &doc);
    }
    zb_config_doc_close(&doc);
}

static void
mark_remove(struct placing *p)
{
    struct zb_agent *a = p->all->a;
    struct zb_config_doc doc = {0};
    struct zb_err err;

    if (zb_config_doc_copy(&doc, zb_config_current(a), &err) == ZB_OK &&
        zb_faileds_remove(&doc.failed, service_of(p)->conf.name, a->nodes[a->self].name)) {
        change(p, &doc);
    }
    zb_config_doc_close(&doc);
}

/* --- moves --- */

static void
on_moved(void *ctx, const json_t *result)
{
    struct placing *p = ctx;
    const char *error = json_string_value(json_object_get(result, "error"));

    if (!ended(p)) {
        return;
    }
    p->well[0] = '\0';
    if (json_integer_value(json_object_get(result, "rc")) == ZB_OK) {
        p->again = (struct zb_again){0};
        return;
    }
    zb_again_failed(&p->again, zb_mono_now());
    zb_agent_event(p->all->a, ZB_LOG_WARNING, service_of(p)->conf.name, "A-placing-failed",
                   "%s: not moved, tried again in %d s: %s", p->order,
                   (int)(p->again.wait_ms / 1000), error != NULL ? error : "");
}

static void
move(struct placing *p, const char *order, const struct zb_choose_member *to, const char *why)
{
    struct zb_agent *a = p->all->a;
    const char *name = service_of(p)->conf.name;
    json_t *args = zb_must(json_object());
    char who[ZB_CHOOSE_WHO_SIZE], self[ZB_NODE_NAME_SIZE + 16];

    (void)snprintf(self, sizeof self, "zbatond@%s", a->nodes[a->self].name);
    zb_choose_who(self, order, why, who);
    zb_json_put(args, "service", zb_json_text(name));
    zb_json_put(args, "node", zb_json_text(to->node));
    struct zb_request *r = zb_request_new(a, zb_command_find("move"), args, who);
    json_decref(args);
    if (r == NULL) {
        return; /* at the next look */
    }
    zb_agent_event(a, ZB_LOG_WARNING, name, "A-placing", "%s: moved to %s", order, why);
    p->order = order;
    begun(p);
    r->on_result = on_moved;
    r->result_ctx = p;
    r->command->run(r);
}

static void
relocate(struct placing *p, uint64_t term)
{
    struct zb_agent *a = p->all->a;
    const char *name = service_of(p)->conf.name;
    struct zb_choose_member members[ZB_MEMBERS_MAX];
    char why[ZB_CHOOSE_SAY_SIZE], text[512];
    uint32_t count = zb_place_targets(a, p->service, members);
    const struct zb_choose_member *to = zb_relocate_target(members, count);

    if (to != NULL) {
        zb_choose_say(members, count, to, why);
        move(p, "relocation", to, why);
    } else if (p->stuck_term != term) {
        p->stuck_term = term;
        zb_place_nobody_say(a, members, count, text, sizeof text);
        zb_agent_event(a, ZB_LOG_ERROR, name, "A-placing-nowhere",
                       "failed on %s, and goes nowhere else: %s; it stays stopped: zbaton start %s",
                       a->nodes[a->self].name, text, name);
    }
}

static void
failback(struct placing *p, struct zb_set_id newest, struct zb_mono now)
{
    struct zb_agent *a = p->all->a;
    struct zb_choose_member members[ZB_MEMBERS_MAX], self;
    char why[ZB_CHOOSE_SAY_SIZE];
    uint32_t count = zb_place_targets(a, p->service, members);

    zb_place_member_fill(a, p->service, a->self, &self);
    const struct zb_choose_member *to = zb_failback_target(members, count, self.preference, newest);
    if (to == NULL) {
        p->well[0] = '\0';
        return;
    }
    if (strcmp(p->well, to->node) != 0) {
        zb_strcopy(p->well, sizeof p->well, to->node);
        p->well_since = now;
    }
    if (now.ms - p->well_since.ms >= (int64_t)service_of(p)->conf.failback_ms) {
        (void)snprintf(why, sizeof why, "%s, by %s: before %s in prefer", to->node,
                       zb_choose_word(ZB_CHOOSE_PREFERENCE), self.node);
        move(p, "failback", to, why);
    }
}

/* --- health --- */

/* What began with checking has ended; false: so has everything else. */
static bool
checked(struct placing *p)
{
    p->checking = false;
    p->check_at.ms = zb_mono_now().ms + CHECK_MS;
    return ended(p);
}

static void
on_stopped(void *ctx, const struct zb_krep *rep)
{
    struct placing *p = ctx;

    if (checked(p) && rep->rc != ZB_OK) {
        zb_agent_event(p->all->a, ZB_LOG_WARNING, service_of(p)->conf.name, "A-check-failed",
                       "its check failed, and it could not be stopped: %s", rep->msg);
    }
}

static void on_checked(void *ctx, const struct zb_krep *rep);

static void
ask(struct placing *p, enum zb_kop op, uint32_t timeout_ms)
{
    struct zb_kreq req = {.op = op, .timeout_ms = timeout_ms};

    zb_strcopy(req.service, sizeof req.service, service_of(p)->conf.name);
    p->checking = true;
    begun(p);
    zb_agent_keeper_call(p->all->a, &req, op == ZB_KOP_CHECK ? on_checked : on_stopped, p);
}

static bool
is_leading(const struct placing *p)
{
    const struct zb_agent *a = p->all->a;
    struct zb_core_lead lead;

    return zb_core_lead(a->core, p->service, &lead) && lead.running;
}

/* What runs and fails its check is stopped; that it does not run is seen, and it is started, as
 * anything that ended. */
static void
on_checked(void *ctx, const struct zb_krep *rep)
{
    struct placing *p = ctx;

    if (!checked(p) || rep->rc != ZB_OK) {
        return; /* not known */
    }
    p->check_failures = rep->running ? 0 : p->check_failures + 1;
    if (p->check_failures >= CHECK_FAILURES && is_leading(p)) {
        p->check_failures = 0;
        zb_agent_event(p->all->a, ZB_LOG_WARNING, service_of(p)->conf.name, "A-check-failed",
                       "its check failed %d times in a row: stopped, to be started again",
                       CHECK_FAILURES);
        ask(p, ZB_KOP_STOP, service_of(p)->conf.stop_timeout_ms);
    }
}

static bool
check_is_due(const struct placing *p, struct zb_mono now)
{
    const struct zb_conf_service *conf = &service_of(p)->conf;

    return conf->restarts != 0 && conf->check[0] != '\0' && !p->checking &&
           now.ms >= p->check_at.ms;
}

/* --- when --- */

static void
look(struct placing *p, struct zb_mono now)
{
    struct zb_agent *a = p->all->a;
    const struct zb_agent_service *s = service_of(p);
    struct zb_core_lead lead;

    /* While its keeper stores a declaration, nothing else is done with the service. */
    if (!zb_core_lead(a->core, p->service, &lead) || lead.version < s->version) {
        p->well[0] = '\0';
        p->check_failures = 0;
        return;
    }
    zb_health_seen(health_of(p), lead.term, lead.running, now);
    if (p->running || zb_again_waits(&p->again, now)) {
        return;
    }
    if (lead.running && check_is_due(p, now)) {
        ask(p, ZB_KOP_CHECK, CHECK_TIMEOUT_MS);
        return;
    }
    const struct zb_failed *failed =
        zb_faileds_find(&a->failed, s->conf.name, a->nodes[a->self].name);
    bool held = failed != NULL && failed->term == lead.term;
    bool frozen = s->freeze.reason[0] != '\0';
    if (failed != NULL && zb_health_well(health_of(p), now)) {
        mark_remove(p);
    } else if (!held && zb_health_failed(health_of(p), s->conf.restarts)) {
        mark(p, lead.term);
    } else if (held && !lead.running && !frozen && s->conf.relocate == ZB_CONF_RELOCATE_YES) {
        relocate(p, lead.term);
    } else if (lead.running && !frozen && s->conf.failback_ms != 0) {
        failback(p, lead.newest, now);
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_placings *all = timer->data;
    struct zb_mono now = zb_mono_now();

    for (uint32_t i = 0; i < all->a->services_count; i++) {
        if (all->a->services[i].present) {
            look(&all->services[i], now);
        }
    }
}

void
zb_placing_forget(struct zb_agent *a, uint16_t service)
{
    struct placing *p = &a->placings->services[service];

    *health_of(p) = (struct zb_health){0};
    p->again = (struct zb_again){0};
    p->stuck_term = 0;
}

/* --- begin and end --- */

struct zb_placings *
zb_placings_new(struct zb_agent *a)
{
    struct zb_placings *all = zb_must_alloc(1, sizeof *all);

    all->a = a;
    for (uint16_t i = 0; i < ZB_SERVICES_MAX; i++) {
        all->services[i].all = all;
        all->services[i].service = i;
    }
    all->timer.data = all;
    (void)uv_timer_init(&a->loop, &all->timer);
    (void)uv_timer_start(&all->timer, on_timer, LOOK_MS, LOOK_MS);
    return all;
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct zb_placings *all = handle->data;

    all->timer_closed = true;
    all_free(all);
}

void
zb_placings_close(struct zb_agent *a)
{
    struct zb_placings *all = a->placings;

    if (all != NULL) {
        a->placings = NULL;
        all->closed = true;
        uv_close((uv_handle_t *)&all->timer, on_timer_closed);
    }
}
