#include <inttypes.h>

#include "agent/backup_time.h"
#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/note.h"
#include "agent/pool.h"
#include "agent/position.h"
#include "agent/promise.h"
#include "agent/trouble.h"
#include "conf/value.h"

#define LOOK_MS 1000
#define LATE_MS 30000 /* beyond the interval; reports come every 10 s */
#define NOTE "promises"

/* Of one service. */
struct watch {
    bool begun;
    struct zb_promise promise;
    struct zb_set_id held; /* the newest held set ... */
    int64_t held_ms;       /* ... and when it was made, by this host's clocks */
    struct {
        int64_t at_ms;
        struct zb_set_id newest;
        bool clean;
    } disk; /* this node's, as it was last looked at */
};

struct zb_promises {
    struct zb_agent *a;
    uv_timer_t timer;
    json_t *told; /* {service: true} of broken ones that this node told of, as in the history */
    struct watch watches[ZB_SERVICES_MAX];
};

/* --- one service, as seen from here --- */

struct sight {
    struct zb_agent *a;
    uint16_t service;
    struct zb_core_view view;
    uint8_t lead; /* who leads, or did so last as far as is known; or ZB_NODE_NONE */
    bool led;     /* it leads, and is this node or connected */
    const struct zb_lineage *lineage;
    struct zb_set_id newest; /* of the leader; not led: of anybody */
};

static void
sight_open(struct sight *s, struct zb_agent *a, uint16_t service)
{
    const struct zb_core_view *v = &s->view;

    *s = (struct sight){.a = a, .service = service};
    zb_core_view(a->core, service, &s->view);
    s->lead = v->leader != ZB_NODE_NONE ? v->leader : v->obs.learned_leader;
    s->lineage = &v->obs.lineage;
    if (v->leader == a->self) {
        s->led = true;
        s->newest = v->obs.newest.id;
    } else if (v->leader < ZB_NODES_MAX && v->peers[v->leader].known) {
        s->led = v->peers[v->leader].up;
        s->lineage = &v->peers[v->leader].report.lineage;
        s->newest = v->peers[v->leader].report.set.id;
    }
}

/* The newest set of the leader's history that a follower is known to hold, or none. */
static struct zb_set_id
position_of(const struct sight *s, uint8_t node)
{
    const struct zb_core_peer_view *peer = &s->view.peers[node];
    struct zb_set_id id = node == s->a->self ? s->view.obs.newest.id
                          : peer->known      ? peer->report.set.id
                                             : zb_apply_position_last(s->a, s->service, node);

    id = zb_lineage_clamp(s->lineage, id);
    if (id.seq == UINT64_MAX || zb_pool_is_new(s->a, s->service, node)) {
        return (struct zb_set_id){0};
    }
    return id;
}

/* Calls fn for each follower, backups too; ZB_NODE_NONE is a member that is no node. */
static void
followers_each(const struct sight *s, void (*fn)(void *ctx, const char *name, uint8_t node),
               void *ctx)
{
    const struct zb_conf_service *conf = &s->a->services[s->service].conf;
    const struct zb_conf_names *lists[] = {&conf->members, &conf->backups};

    for (size_t l = 0; l < 2; l++) {
        for (uint32_t i = 0; i < lists[l]->count; i++) {
            uint8_t node = zb_agent_node_find(s->a, lists[l]->items[i]);
            if (node == ZB_NODE_NONE || node != s->lead) {
                fn(ctx, lists[l]->items[i], node);
            }
        }
    }
}

struct positions {
    const struct sight *s;
    uint32_t count;
    struct zb_set_id ids[ZB_MEMBERS_MAX];
};

static void
position_add(void *ctx, const char *name, uint8_t node)
{
    struct positions *p = ctx;

    (void)name;
    if (node != ZB_NODE_NONE) {
        p->ids[p->count++] = position_of(p->s, node);
    }
}

static uint32_t
wanted_of(const struct zb_conf_service *conf)
{
    return conf->max_loss_members > 0 ? conf->max_loss_members : 1;
}

static struct zb_set_id
held_find(const struct sight *s)
{
    struct positions p = {.s = s};

    followers_each(s, position_add, &p);
    return zb_promise_held(p.ids, p.count, wanted_of(&s->a->services[s->service].conf));
}

/* Made at that time by the clock of whoever led then; from now on by this host's own. */
static int64_t
made_ms(const struct sight *s, struct zb_set_id id, int64_t now_ms)
{
    const struct zb_manifest *m =
        zb_set_id_is_none(id) ? NULL : zb_position_manifest(s->a, s->service, id);
    int64_t age_s = m != NULL ? zb_wall_now().s - m->time.s : 0;

    return m != NULL ? now_ms - (age_s > 0 ? age_s : 0) * 1000 : ZB_PROMISE_NEVER;
}

static void
look(struct zb_agent *a, uint16_t service, struct watch *w)
{
    struct sight s;
    const struct zb_conf_service *conf = &a->services[service].conf;
    struct zb_promise_seen seen = {.now_ms = zb_mono_now().ms,
                                   .clean_ms = ZB_PROMISE_NEVER,
                                   .late_ms = conf->interval_ms + LATE_MS};

    sight_open(&s, a, service);
    struct zb_set_id held = held_find(&s);
    if (zb_set_id_cmp(held, w->held) != 0 || w->held_ms == ZB_PROMISE_NEVER) {
        w->held = held;
        w->held_ms = made_ms(&s, held, seen.now_ms);
    }
    seen.held_ms = w->held_ms;
    if (s.led && !zb_set_id_is_none(held) && zb_set_id_cmp(held, s.newest) >= 0) {
        if (s.lead != a->self) {
            seen.clean_ms = s.view.peers[s.lead].report_at.ms;
        } else if (w->disk.clean && zb_set_id_cmp(w->disk.newest, s.newest) == 0) {
            seen.clean_ms = w->disk.at_ms;
        }
    }
    zb_promise_look(&w->promise, &seen);
}

void
zb_promise_observed(struct zb_agent *a, uint16_t service, const struct zb_core_obs *obs,
                    int64_t at_ms)
{
    struct watch *w = &a->promises->watches[service];

    w->disk.at_ms = at_ms;
    w->disk.newest = obs->newest.id;
    w->disk.clean = obs->written_bytes == 0 && !obs->foreign;
}

/* --- sentences --- */

struct text {
    const struct sight *s;
    char *buf;
    size_t size;
    size_t used;
    uint32_t lacking;
};

static void add(struct text *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void
add(struct text *t, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    int n = vsnprintf(t->buf + t->used, t->size - t->used, fmt, args);
    va_end(args);
    t->used += n > 0 ? (size_t)n : 0;
    t->used = t->used < t->size ? t->used : t->size - 1;
}

/* The last failure of what this node does for the promise; false: none. */
static bool
trouble_say(struct text *t, enum zb_trouble_kind kind, uint8_t node, const char *what)
{
    const struct zb_trouble_at at = {t->s->service, kind, node};
    const struct zb_trouble *trouble = zb_trouble_find(t->s->a, &at);

    if (trouble != NULL) {
        add(t, "%s failed %" PRIu32 " time%s, last: %.120s", what, trouble->count,
            trouble->count == 1 ? "" : "s", trouble->text);
    }
    return trouble != NULL;
}

static void
why_say(struct text *t, uint8_t node)
{
    const struct zb_core_peer_view *peer = &t->s->view.peers[node];
    bool self = node == t->s->a->self;

    if (!self && !peer->up) {
        add(t, "is not reachable");
    } else if (zb_pool_is_new(t->s->a, t->s->service, node)) {
        add(t, "has another pool than before");
    } else if (self ? t->s->view.obs.modified : peer->known && peer->report.modified) {
        add(t, "was written to by others");
    } else if (zb_backup_has_times(t->s->a, t->s->service, node)) {
        add(t, "is a backup with its own times (backup-every)");
    } else if (t->s->lead != t->s->a->self ||
               !trouble_say(t, ZB_TROUBLE_SHIP, node, "is behind: sending")) {
        add(t, "is behind");
    }
}

static void
follower_say(void *ctx, const char *name, uint8_t node)
{
    struct text *t = ctx;
    struct zb_set_id id = {0};

    if (node != ZB_NODE_NONE) {
        id = position_of(t->s, node);
        if (t->s->led && zb_set_id_cmp(id, t->s->newest) >= 0) {
            return;
        }
    }
    add(t, "%s%s ", t->lacking++ == 0 ? "; " : ", ", name);
    if (node == ZB_NODE_NONE) {
        add(t, "is no node of the cluster");
        return;
    }
    why_say(t, node);
    if (zb_set_id_is_none(id)) {
        add(t, " (no set)");
    } else {
        add(t, " (set %" PRIu64 "/%" PRIu64 ")", id.term, id.seq);
    }
}

/* Who lacks what; where everybody has the newest set, why there is no newer one. */
static void
reasons_say(struct text *t)
{
    const struct sight *s = t->s;

    if (!s->led) {
        add(t, "; there is no leader to be seen from here");
    }
    followers_each(s, follower_say, t);
    if (s->lead == s->a->self && t->lacking == 0) {
        add(t, "; ");
        if (!trouble_say(t, ZB_TROUBLE_SNAPSHOT, s->lead, "taking a set") &&
            !trouble_say(t, ZB_TROUBLE_LOOK, s->lead, "looking at the datasets")) {
            add(t, "no newer set was taken");
        }
    }
}

static void
sentence(const struct sight *s, const struct zb_promise *p, char *buf, size_t size)
{
    const struct zb_conf_service *conf = &s->a->services[s->service].conf;
    const char *lead = s->lead < s->a->nodes_count ? s->a->nodes[s->lead].name : "the leader";
    struct text t = {.s = s, .buf = buf, .size = size};
    char max[ZB_CONF_NUMBER_SIZE];

    zb_conf_duration_format(conf->max_loss_ms, max);
    if (p->loss_ms < 0) {
        add(&t, "everything would be lost with %s", lead);
    } else if (p->loss_ms == 0) {
        add(&t, "nothing would be lost with %s", lead);
    } else {
        add(&t, "what %s wrote in the last %" PRId64 " s would be lost with it", lead,
            (p->loss_ms + 999) / 1000);
    }
    add(&t, " (max-loss %s, held by %" PRIu32 ")", max, wanted_of(conf));
    if (p->broken) {
        reasons_say(&t);
    }
}

/* --- what is told --- */

static void
told_store(struct zb_promises *ps, const char *service, bool broken)
{
    if (broken) {
        zb_json_put(ps->told, service, zb_json_bool(true));
    } else {
        (void)json_object_del(ps->told, service);
    }
    (void)zb_note_store(ps->a, NOTE, ps->told);
}

static bool
is_told(const struct zb_promises *ps, const char *service)
{
    return json_object_get(ps->told, service) != NULL;
}

/* The leader tells; who has a copy does so while no leader can be seen. Who told of the break tells
 * of its end. */
static bool
may_tell(const struct sight *s)
{
    const struct zb_conf_service *conf = &s->a->services[s->service].conf;
    const char *self = s->a->nodes[s->a->self].name;

    if (s->led) {
        return s->lead == s->a->self;
    }
    return zb_conf_names_contain(&conf->members, self) ||
           zb_conf_names_contain(&conf->backups, self);
}

static void
tell(struct zb_promises *ps, uint16_t service, const struct zb_promise *p)
{
    const char *name = ps->a->services[service].conf.name;
    struct sight s;
    char text[512];

    if (p->broken == is_told(ps, name)) {
        return;
    }
    sight_open(&s, ps->a, service);
    if (p->broken && !may_tell(&s)) {
        return;
    }
    sentence(&s, p, text, sizeof(text));
    told_store(ps, name, p->broken);
    if (p->broken) {
        zb_agent_event(ps->a, ZB_LOG_WARNING, name, "A-promise-broken", "%s", text);
    } else {
        zb_agent_event(ps->a, ZB_LOG_INFO, name, "A-promise-kept", "kept again: %s", text);
    }
}

/* --- all of them --- */

/* NULL: nothing is promised. */
static struct watch *
watch_of(struct zb_agent *a, uint16_t service)
{
    struct watch *w = &a->promises->watches[service];

    if (!a->services[service].present || a->services[service].conf.max_loss_ms == 0) {
        w->begun = false;
        return NULL;
    }
    if (!w->begun) {
        w->begun = true;
        w->held = (struct zb_set_id){0};
        w->held_ms = ZB_PROMISE_NEVER;
        zb_promise_begin(&w->promise, zb_mono_now().ms);
        w->promise.broken = is_told(a->promises, a->services[service].conf.name);
    }
    look(a, service, w);
    return w;
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_promises *ps = timer->data;

    for (uint32_t i = 0; i < ps->a->services_count; i++) {
        uint16_t service = (uint16_t)i;
        const char *name = ps->a->services[i].conf.name;
        struct watch *w = watch_of(ps->a, service);
        if (w == NULL) {
            if (is_told(ps, name)) {
                told_store(ps, name, false); /* withdrawn: there is nothing to keep again */
            }
            continue;
        }
        if (zb_promise_judge(&w->promise, &ps->a->services[i].conf, zb_mono_now().ms) ||
            w->promise.broken) {
            tell(ps, service, &w->promise);
        }
    }
}

struct zb_promises *
zb_promises_new(struct zb_agent *a)
{
    struct zb_promises *ps = zb_must_alloc(1, sizeof(*ps));

    ps->a = a;
    ps->told = zb_note_load(a, NOTE);
    ps->timer.data = ps;
    (void)uv_timer_init(&a->loop, &ps->timer);
    (void)uv_timer_start(&ps->timer, on_timer, LOOK_MS, LOOK_MS);
    return ps;
}

static void
on_closed(uv_handle_t *handle)
{
    struct zb_promises *ps = handle->data;

    json_decref(ps->told);
    free(ps);
}

void
zb_promises_close(struct zb_agent *a)
{
    if (a->promises != NULL) {
        uv_close((uv_handle_t *)&a->promises->timer, on_closed);
        a->promises = NULL;
    }
}

json_t *
zb_promise_json(struct zb_agent *a, uint16_t service)
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    const struct watch *w = watch_of(a, service);
    char held[48];

    if (w == NULL) {
        return zb_must(json_null());
    }
    json_t *object = zb_must(json_object());
    (void)snprintf(held, sizeof(held), "%" PRIu64 "/%" PRIu64, w->held.term, w->held.seq);
    zb_json_put(object, "max_loss_s", zb_json_int(conf->max_loss_ms / 1000));
    zb_json_put(object, "members", zb_json_int(wanted_of(conf)));
    zb_json_put(object, "loss_s",
                w->promise.loss_ms < 0 ? zb_must(json_null())
                                       : zb_json_int((w->promise.loss_ms + 999) / 1000));
    zb_json_put(object, "kept", zb_json_bool(!w->promise.broken));
    zb_json_put(object, "held_set",
                zb_set_id_is_none(w->held) ? zb_must(json_null()) : zb_json_text(held));
    return object;
}

bool
zb_promise_say(struct zb_agent *a, uint16_t service, bool *broken, char *buf, size_t size)
{
    const struct watch *w = watch_of(a, service);
    struct sight s;

    if (w == NULL) {
        return false;
    }
    sight_open(&s, a, service);
    *broken = w->promise.broken;
    sentence(&s, &w->promise, buf, size);
    return true;
}
