#include "agent/takeover.h"

#include <inttypes.h>

#include "agent/choose.h"
#include "agent/heart.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/loss.h"
#include "agent/must.h"
#include "agent/place.h"
#include "agent/request.h"

#define RANK_MS 2000      /* that each place in the order waits for the one before it */
#define TAKES_MS 60000    /* that who was granted a term has to begin it, if it says nothing */
#define AGAIN_MIN_MS 5000 /* after an order that failed; doubled each time up to ... */
#define AGAIN_MAX_MS 60000

struct takeover {
    struct zb_takeovers *all;
    uint16_t service;
    uint64_t term;             /* that ended: what follows is about this end ... */
    uint8_t gone;              /* ... of this node */
    struct zb_mono since;      /* it was seen; 0: nothing is due */
    uint64_t granted_term;     /* to another one, since it ended, or above the one led here ... */
    struct zb_mono granted_at; /* ... as was seen then */
    bool running;
    bool renews; /* ... for a term of its own above one that was granted in vain */
    struct zb_mono again_at;
    int64_t again_ms;
    const char *said; /* static: why it does not happen, as was told once */
};

struct zb_takeovers {
    struct zb_agent *a;
    struct zb_heart_reader reader;
    bool closed;
    uint32_t running;
    struct takeover services[ZB_SERVICES_MAX];
};

/* --- whom --- */

static uint32_t
members_fill(const struct takeover *t, const struct zb_loss *loss,
             struct zb_choose_member members[ZB_MEMBERS_MAX])
{
    const struct zb_agent *a = t->all->a;
    uint32_t count = 0;

    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        uint8_t node = zb_agent_node_find(a, m->node);
        struct zb_choose_member *c = &members[count];
        if (m->backup || node == ZB_NODE_NONE) {
            continue;
        }
        zb_place_member_fill(a, t->service, node, c);
        c->set = m->set.id;
        c->eligible = m->reachable && !m->modified && !m->keyless && !m->diverged &&
                      !zb_set_id_is_none(m->set.id) && zb_heart_life(a, node) == ZB_LIFE_ALIVE;
        count++;
    }
    return count;
}

/* --- the order --- */

static void
say(struct takeover *t, const char *rule, const char *text)
{
    const struct zb_agent_service *s = &t->all->a->services[t->service];

    if (t->said != rule) {
        t->said = rule;
        zb_agent_event(t->all->a, ZB_LOG_WARNING, s->conf.name, rule, "%s", text);
    }
}

static void
on_result(void *ctx, const json_t *result)
{
    struct takeover *t = ctx;
    struct zb_takeovers *all = t->all;
    json_int_t rc = json_integer_value(json_object_get(result, "rc"));
    const char *error = json_string_value(json_object_get(result, "error"));

    t->running = false;
    all->running--;
    if (all->closed) {
        if (all->running == 0) {
            free(all);
        }
        return;
    }
    const char *name = all->a->services[t->service].conf.name;
    char text[400];
    if (rc == ZB_OK) {
        t->again_ms = 0;
        if (t->renews) {
            zb_agent_event(all->a, ZB_LOG_WARNING, name, "A-takeover-back",
                           "members followed no more, for term %" PRIu64
                           " was granted in vain: %s leads a term above it",
                           t->granted_term, all->a->nodes[all->a->self].name);
        }
        return;
    }
    t->again_ms = t->again_ms == 0                 ? AGAIN_MIN_MS
                  : t->again_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS
                                                   : t->again_ms * 2;
    t->again_at.ms = zb_mono_now().ms + t->again_ms;
    if (t->renews) {
        (void)snprintf(text, sizeof text,
                       "members follow no more, for term %" PRIu64
                       " was granted in vain, and no term above it is taken yet: %.250s",
                       t->granted_term, error != NULL ? error : "");
        say(t, "A-takeover-back", text);
        return;
    }
    zb_agent_event(all->a, ZB_LOG_WARNING, name, "A-takeover-failed",
                   "not taken over, tried again in %d s: %s", (int)(t->again_ms / 1000),
                   error != NULL ? error : "");
}

static void
order(struct takeover *t, const char *why)
{
    struct zb_agent *a = t->all->a;
    json_t *args = zb_must(json_object());
    char who[ZB_CHOOSE_WHO_SIZE], self[ZB_NODE_NAME_SIZE + 16];

    zb_json_put(args, "service", zb_json_text(a->services[t->service].conf.name));
    zb_json_put(args, "to", zb_json_text(a->nodes[a->self].name));
    zb_json_put(args, "chosen", zb_json_bool(true));
    zb_json_put(args, "allow_loss",
                zb_json_bool(true)); /* up to max-loss, which was looked at ... */
    zb_json_put(args, "automatic", zb_json_bool(true)); /* ... and no further */
    (void)snprintf(self, sizeof self, "zbatond@%s", a->nodes[a->self].name);
    zb_choose_who(self, "takeover", why, who);
    struct zb_request *r = zb_request_new(a, zb_command_find("failover"), args, who);
    json_decref(args);
    if (r == NULL) {
        return; /* at the next reading */
    }
    t->running = true;
    t->all->running++;
    r->on_result = on_result;
    r->result_ctx = t;
    r->command->run(r);
}

static void
decide(struct takeover *t, struct zb_loss *loss)
{
    struct zb_agent *a = t->all->a;
    const struct zb_conf_service *conf = &a->services[t->service].conf;
    struct zb_choose_member members[ZB_MEMBERS_MAX];
    struct zb_mono now = zb_mono_now();
    char text[400];
    char why[ZB_CHOOSE_SAY_SIZE];

    loss->to = zb_loss_member_find(loss, a->nodes[a->self].name);
    if (loss->to == ZB_LOSS_NONE) {
        return;
    }
    zb_loss_find(loss);
    uint32_t count = members_fill(t, loss, members);
    uint32_t rank = zb_choose_rank(members, count, a->nodes[a->self].name);
    if (zb_choose_first(members, count) == NULL) {
        (void)snprintf(text, sizeof text,
                       "%s is gone, and nobody can take over: no member that is reachable has a "
                       "session, a copy of the history and its key, is not drained and did not "
                       "fail its last drill; zbaton failover %s",
                       a->nodes[t->gone].name, conf->name);
        say(t, "A-takeover-nobody", text);
    }
    if (rank == count || now.ms - t->since.ms < (int64_t)rank * RANK_MS) {
        return;
    }
    int64_t dead_ms = zb_heart_dead_ms(a, t->gone);
    uint32_t timeout_ms = zb_heart_timeout_ms(a, t->gone);
    int64_t lost_s = zb_choose_loss_s(loss->now_s, loss->base_time_s, dead_ms, timeout_ms);
    if (lost_s < 0 || lost_s * 1000 > conf->max_loss_ms) {
        (void)snprintf(
            text, sizeof text,
            "%s is gone, and nobody takes over: more than max-loss may be lost (%.200s); "
            "zbaton failover %s decides",
            a->nodes[t->gone].name, loss->lost, conf->name);
        say(t, "A-takeover-asks", text);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(members[i].node, a->nodes[a->self].name) == 0) {
            zb_choose_say(members, count, &members[i], why);
        }
    }
    zb_agent_event(a, ZB_LOG_WARNING, conf->name, "A-takeover",
                   "%s is gone since %" PRId64 " s: %s takes over (place %u of %u; %s), from set "
                   "%" PRIu64 "/%" PRIu64,
                   a->nodes[t->gone].name, (dead_ms + timeout_ms) / 1000, a->nodes[a->self].name,
                   rank + 1, count, why, loss->base.id.term, loss->base.id.seq);
    order(t, why);
}

/* --- when --- */

/* To whom the last leader released the baton, as far as it is known here, and who has not told yet
 * that it leads: that leader, well or not, does nothing more. ZB_NODE_NONE: to nobody. */
static uint8_t
released_to(const struct zb_agent *a, const struct zb_core_view *view, const struct zb_loss *loss)
{
    const struct zb_core_msg *m = &view->peers[loss->leader].report;
    bool self = loss->leader == a->self;
    uint64_t term = self ? view->obs.released_term : m->released_term;
    uint64_t granted = self ? view->obs.granted_term : m->granted_term;
    uint8_t to = self ? view->obs.released_to : m->released_to;

    return term > loss->term && term == granted && to < a->nodes_count ? to : ZB_NODE_NONE;
}

/* Nobody leads it, and the end of its last leader is certified, or of who was to lead next. */
static bool
is_orphaned(const struct zb_agent *a, const struct zb_core_view *view, const struct zb_loss *loss,
            uint8_t *gone)
{
    uint8_t to;

    if (view->leader != ZB_NODE_NONE || loss->term == 0 || loss->leader >= a->nodes_count) {
        return false;
    }
    to = released_to(a, view, loss);
    *gone = to != ZB_NODE_NONE && zb_heart_life(a, to) == ZB_LIFE_DEAD ? to : loss->leader;
    return *gone != a->self && zb_heart_life(a, *gone) == ZB_LIFE_DEAD;
}

/* Who was granted that term may be on its way to lead, by the time that has passed. */
static bool
was_granted_lately(struct takeover *t, uint64_t term)
{
    if (t->granted_term != term) {
        t->granted_term = term;
        t->granted_at = zb_mono_now();
    }
    return zb_mono_now().ms - t->granted_at.ms < TAKES_MS;
}

static bool
is_candidate(const struct zb_core_peer_view *p)
{
    return p->up && p->known &&
           (p->report.role == ZB_ROLE_ASKING || p->report.role == ZB_ROLE_FORWARDING ||
            p->report.role == ZB_ROLE_PROMOTING);
}

/* This node granted a later term to another one, which may be on its way to lead: who asks for a
 * term above that follows nobody who leads the one below. */
static bool
another_takes(struct takeover *t, const struct zb_core_view *view)
{
    const struct zb_agent *a = t->all->a;

    if (view->obs.granted_term <= t->term || view->obs.granted_to == a->self ||
        view->obs.granted_to >= a->nodes_count ||
        zb_heart_life(a, view->obs.granted_to) != ZB_LIFE_ALIVE) {
        return false;
    }
    return was_granted_lately(t, view->obs.granted_term) ||
           is_candidate(&view->peers[view->obs.granted_to]);
}

/* Members granted a term above the one led here, and nobody comes to lead it: they follow this node
 * no more (M2), and what is written here is nowhere else until it leads a term above that. */
static bool
is_outbid(struct takeover *t, const struct zb_core_view *view)
{
    const struct zb_agent *a = t->all->a;
    const struct zb_conf_service *conf = &a->services[t->service].conf;
    const struct zb_failed *failed =
        zb_faileds_find(&a->failed, conf->name, a->nodes[a->self].name);
    uint64_t highest = view->obs.established_term;

    if (view->leader != a->self || view->role != ZB_ROLE_LEADING ||
        (failed != NULL && failed->term == view->term)) { /* a new term would start it again */
        return false;
    }
    for (uint8_t n = 0; n < a->nodes_count; n++) {
        const struct zb_core_peer_view *p = &view->peers[n];
        if (!zb_conf_names_contain(&conf->members, a->nodes[n].name)) {
            continue;
        }
        if (is_candidate(p)) {
            return false;
        }
        if (p->up && p->known && p->report.granted_term > highest) {
            highest = p->report.granted_term;
        }
    }
    return highest > view->obs.established_term && !was_granted_lately(t, highest);
}

static void
look(struct takeover *t)
{
    struct zb_agent *a = t->all->a;
    const struct zb_agent_service *s = &a->services[t->service];
    struct zb_core_view view;
    struct zb_loss loss = {0};
    uint8_t gone;

    zb_core_view(a->core, t->service, &view);
    t->since.ms = view.leader != ZB_NODE_NONE ? 0 : t->since.ms;
    if (t->running || s->freeze.reason[0] != '\0') {
        return;
    }
    if (view.leader != ZB_NODE_NONE) {
        t->renews = is_outbid(t, &view);
        if (!t->renews) {
            t->said = NULL;
        } else if (zb_mono_now().ms >= t->again_at.ms) {
            order(t, "its own service again");
        }
        return;
    }
    zb_loss_gather(a, t->service, &view, &loss);
    if (is_orphaned(a, &view, &loss, &gone)) {
        if (t->since.ms == 0 || t->term != loss.term || t->gone != gone) {
            t->term = loss.term;
            t->gone = gone;
            t->since = zb_mono_now();
            t->again_ms = 0;
            t->again_at.ms = 0;
            t->said = NULL;
        }
        t->renews = false;
        bool waits = zb_mono_now().ms < t->again_at.ms;
        if (!waits && !zb_heart_fences(a, gone)) {
            char text[300];
            (void)snprintf(
                text, sizeof text,
                "%s is gone, and may still write (fenced-by is \"nothing\" there, or its "
                "session is in another etcd): power it off, then zbaton failover %s",
                a->nodes[gone].name, s->conf.name);
            say(t, "A-takeover-unfenced", text);
        } else if (!waits && !another_takes(t, &view)) {
            decide(t, &loss);
        }
    } else {
        t->since.ms = 0;
    }
    zb_loss_close(&loss);
}

static void
on_read(void *ctx)
{
    struct zb_takeovers *all = ctx;
    struct zb_agent *a = all->a;

    if (!zb_heart_may_judge(a)) {
        return;
    }
    for (uint32_t i = 0; i < a->services_count; i++) {
        const struct zb_agent_service *s = &a->services[i];
        if (s->present && s->conf.failover == ZB_CONF_FAILOVER_AUTOMATIC &&
            zb_conf_names_contain(&s->conf.members, a->nodes[a->self].name)) {
            look(&all->services[i]);
        }
    }
}

struct zb_takeovers *
zb_takeovers_new(struct zb_agent *a)
{
    struct zb_takeovers *all = zb_must_alloc(1, sizeof *all);

    all->a = a;
    all->reader.on_read = on_read;
    all->reader.ctx = all;
    for (uint16_t i = 0; i < ZB_SERVICES_MAX; i++) {
        all->services[i].all = all;
        all->services[i].service = i;
    }
    zb_heart_subscribe(a, &all->reader);
    return all;
}

void
zb_takeovers_close(struct zb_agent *a)
{
    struct zb_takeovers *all = a->takeovers;

    if (all == NULL) {
        return;
    }
    zb_heart_unsubscribe(a, &all->reader);
    a->takeovers = NULL;
    all->closed = true;
    if (all->running == 0) {
        free(all);
    }
}
