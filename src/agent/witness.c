#include "agent/witness.h"

#include "agent/drive.h"
#include "agent/heart.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer_json.h"
#include "etcd/etcd.h"

#define LOOK_MS 500
#define FRESH_MS 300000 /* a record that nobody asked for is read again by the next report */
#define TRIES_MAX 8     /* of one message, when others change the record meanwhile */
#define KEY_SIZE 256

struct slot {
    uint64_t withdrawn; /* by this version; 0: nothing is due */
    bool ask_due, report_due;
    struct zb_core_msg ask, report;
    bool known; /* record is what etcd had when it was read last, and the core was told */
    struct zb_witness_record record;
    struct zb_mono read_at;
    bool unreadable; /* it was said */
};

struct zb_witness {
    struct zb_agent *a;
    uv_timer_t timer;
    bool up; /* as the core was told */
    bool busy;
    bool dropped; /* what is under way is of no use any more */
    /* Under way. */
    uint16_t service;
    uint32_t tries;
    struct zb_core_msg msg; /* kind 0: the service was withdrawn */
    uint64_t withdrawn;
    struct zb_witness_record next;
    struct zb_core_msg answer;
    uint16_t turn; /* whose turn it is next */
    struct slot *slots[ZB_SERVICES_MAX];
};

static void pump(struct zb_witness *w);

/* --- what the core is told --- */

static void
core_tell(struct zb_witness *w, const struct zb_core_msg *msg)
{
    struct zb_event event = {
        .kind = ZB_EV_MESSAGE, .node = ZB_NODE_WITNESS, .service = w->service, .u.msg = *msg};

    zb_apply_record(w->a, w->service, ZB_NODE_WITNESS, msg);
    zb_drive_event(w->a, &event);
}

/* The record as etcd is known to have it; then the answer to what was asked. */
static void
told(struct zb_witness *w, const struct zb_witness_record *record)
{
    struct slot *s = w->slots[w->service];
    struct zb_core_msg report;

    if (w->msg.kind == 0) { /* done, unless a later one has come */
        s->withdrawn = s->withdrawn == w->withdrawn ? 0 : s->withdrawn;
        return;
    }
    bool news = !s->known || !zb_witness_is_same(&s->record, record);

    s->known = true;
    s->record = *record;
    s->read_at = zb_mono_now();
    if (news) {
        zb_witness_report(record, &report);
        core_tell(w, &report);
    }
    if (w->answer.kind == ZB_MSG_GRANT_ANSWER) {
        core_tell(w, &w->answer);
    }
}

/* --- transactions --- */

static void on_read(void *ctx, const struct zb_etcd_answer *answer);
static void on_put(void *ctx, const struct zb_etcd_answer *answer);

static void
end(struct zb_witness *w)
{
    const struct slot *s = w->slots[w->service];

    w->busy = false;
    if (w->msg.kind != 0 || s->withdrawn == 0) { /* else not at once again */
        pump(w);
    }
}

struct keys {
    char vote[KEY_SIZE], session[KEY_SIZE], probe[KEY_SIZE];
};

static void
keys_make(const struct zb_witness *w, struct keys *k)
{
    const struct zb_agent *a = w->a;
    const char *self = a->nodes[a->self].name;

    (void)snprintf(k->vote, sizeof k->vote, "/zbaton/%s/vote/%s", a->cluster_id,
                   a->services[w->service].conf.name);
    (void)snprintf(k->session, sizeof k->session, "/zbaton/%s/session/%s", a->cluster_id, self);
    (void)snprintf(k->probe, sizeof k->probe, "/zbaton/%s/probe/%s", a->cluster_id, self);
}

/* The own session is read in the same breath: it tells an etcd that went back. */
static uint32_t
reads_add(struct zb_etcd_op *ops, const struct keys *k)
{
    ops[0] = (struct zb_etcd_op){.kind = ZB_ETCD_RANGE, .key = k->vote};
    ops[1] = (struct zb_etcd_op){.kind = ZB_ETCD_RANGE, .key = k->session};
    return 2;
}

static void
read_begin(struct zb_witness *w)
{
    struct zb_etcd_txn txn = {0};
    struct keys k;

    keys_make(w, &k);
    txn.success[0] = (struct zb_etcd_op){.kind = ZB_ETCD_PUT, .key = k.probe, .value = ""};
    txn.success_count = 1 + reads_add(&txn.success[1], &k);
    zb_etcd_txn(zb_heart_etcd(w->a), &txn, on_read, w);
}

static void
put_begin(struct zb_witness *w, int64_t mod)
{
    struct zb_peer_names names = {.nodes = w->a->nodes, .count = w->a->nodes_count};
    struct zb_etcd_txn txn = {.compares_count = 1, .success_count = 1};
    json_t *json = zb_peer_vote_encode(&names, &w->next);
    char *value = zb_must(json_dumps(json, JSON_COMPACT));
    struct keys k;

    json_decref(json);
    keys_make(w, &k);
    txn.compares[0] = (struct zb_etcd_compare){.key = k.vote, .revision = mod};
    txn.success[0] = (struct zb_etcd_op){.kind = ZB_ETCD_PUT, .key = k.vote, .value = value};
    txn.failure_count = reads_add(&txn.failure[0], &k);
    zb_etcd_txn(zb_heart_etcd(w->a), &txn, on_put, w);
    free(value);
}

/* False: what stands there is not understood, and so nothing is granted. */
static bool
record_parse(struct zb_witness *w, const struct zb_etcd_kv *kv, struct zb_witness_record *record)
{
    struct zb_peer_names names = {.nodes = w->a->nodes, .count = w->a->nodes_count};
    const char *service = w->a->services[w->service].conf.name;
    struct slot *s = w->slots[w->service];
    struct zb_err err = {0};
    json_t *json = json_loadb(kv->value, kv->value_size, JSON_REJECT_DUPLICATES, NULL);
    bool good = zb_peer_vote_decode(&names, json, record, &err) == ZB_OK;

    json_decref(json);
    if (!good && !s->unreadable) {
        zb_agent_event(
            w->a, ZB_LOG_ERROR, service, "A-witness-record",
            "etcd's vote is not counted: its key vote/%s cannot be read (%s); with all members "
            "up, delete it, and they tell it anew",
            service, err.msg);
    }
    s->unreadable = !good;
    s->known = s->known && good; /* the next report looks again */
    return good;
}

/* Of this service's key and of the own session's; false: nothing may be decided by it. */
static bool
rows_read(struct zb_witness *w, const struct zb_etcd_answer *answer,
          struct zb_witness_record *record, int64_t *mod)
{
    bool own = false;
    struct keys k;

    keys_make(w, &k);
    zb_witness_record_init(record);
    *mod = 0;
    for (uint32_t i = 0; i < answer->kvs_count; i++) {
        const struct zb_etcd_kv *kv = &answer->kvs[i];
        if (strcmp(kv->key, k.session) == 0) {
            own = zb_heart_is_own(w->a, kv);
        } else if (strcmp(kv->key, k.vote) == 0) {
            *mod = kv->mod_revision;
            if (!record_parse(w, kv, record)) {
                return false;
            }
        }
    }
    if (!own) {
        zb_heart_hurry(w->a);
    }
    return own;
}

static bool
may_be_asked(const struct zb_witness *w)
{
    return zb_heart_may_judge(w->a) && zb_heart_elsewhere(w->a) == ZB_NODE_NONE;
}

/* Whether the message under way still matters, and etcd may be judged by. */
static bool
goes_on(const struct zb_witness *w)
{
    return !w->dropped && may_be_asked(w);
}

static void
decide(struct zb_witness *w, const struct zb_etcd_answer *answer)
{
    struct zb_witness_record record;
    int64_t mod;

    if (!rows_read(w, answer, &record, &mod)) {
        end(w);
        return;
    }
    if (w->msg.kind == 0 ? !zb_witness_withdraw(&record, w->withdrawn, &w->next)
                         : !zb_witness_decide(&record, w->a->self, &w->msg, &w->next, &w->answer)) {
        told(w, &record);
        end(w);
    } else if (zb_peer_vote_fits(&w->next) && ++w->tries <= TRIES_MAX) {
        put_begin(w, mod);
    } else {
        end(w);
    }
}

static void
on_read(void *ctx, const struct zb_etcd_answer *answer)
{
    struct zb_witness *w = ctx;

    if (answer->rc != ZB_OK || !goes_on(w)) {
        end(w);
    } else {
        decide(w, answer);
    }
}

static void
on_put(void *ctx, const struct zb_etcd_answer *answer)
{
    struct zb_witness *w = ctx;

    if (answer->rc != ZB_OK || !goes_on(w)) {
        end(w); /* it may have been done: the next question reads it */
    } else if (answer->succeeded) {
        told(w, &w->next);
        end(w);
    } else {
        decide(w, answer);
    }
}

/* --- turns --- */

static bool
due_take(struct zb_witness *w)
{
    for (uint32_t i = 0; i < w->a->services_count; i++) {
        uint16_t service = (uint16_t)((w->turn + i) % w->a->services_count);
        struct slot *s = w->slots[service];
        if (s == NULL || (s->withdrawn == 0 && !s->ask_due && !s->report_due)) {
            continue;
        }
        w->withdrawn = s->withdrawn;
        if (s->withdrawn != 0) { /* before what is asked for a later one of the name */
            w->msg = (struct zb_core_msg){0};
        } else {
            w->msg = s->ask_due ? s->ask : s->report;
            *(s->ask_due ? &s->ask_due : &s->report_due) = false;
        }
        w->service = service;
        w->turn = service + 1;
        w->tries = 0;
        w->dropped = false;
        return true;
    }
    return false;
}

static void
pump(struct zb_witness *w)
{
    if (!w->busy && w->up && due_take(w)) {
        w->busy = true;
        read_begin(w);
    }
}

static struct slot *
slot_of(struct zb_witness *w, uint16_t service)
{
    if (w->slots[service] == NULL) {
        w->slots[service] = zb_must_alloc(1, sizeof *w->slots[service]);
    }
    return w->slots[service];
}

void
zb_witness_send(struct zb_agent *a, uint16_t service, const struct zb_core_msg *msg)
{
    struct zb_witness *w = a->witness;
    struct zb_witness_record next;
    struct zb_core_msg answer;

    if (w == NULL || !w->up || (msg->kind != ZB_MSG_GRANT_ASK && msg->kind != ZB_MSG_REPORT)) {
        return;
    }
    struct slot *s = slot_of(w, service);
    if (msg->kind == ZB_MSG_GRANT_ASK) {
        s->ask = *msg;
        s->ask_due = true;
    } else if (!s->known || zb_mono_now().ms - s->read_at.ms >= FRESH_MS ||
               zb_witness_decide(&s->record, a->self, msg, &next, &answer)) {
        s->report = *msg;
        s->report_due = true;
    }
    pump(w);
}

void
zb_witness_withdrawn(struct zb_agent *a, uint16_t service, uint64_t version)
{
    struct zb_witness *w = a->witness;

    if (w == NULL ||
        (w->slots[service] == NULL && a->services[service].conf.witness != ZB_CONF_WITNESS_ETCD)) {
        return;
    }
    *slot_of(w, service) = (struct slot){.withdrawn = version};
    w->dropped = w->dropped || w->service == service;
    pump(w);
}

bool
zb_witness_is_up(const struct zb_agent *a)
{
    return a->witness != NULL && a->witness->up;
}

json_t *
zb_witness_json(const struct zb_agent *a, uint16_t service)
{
    struct zb_core_view view;

    if (a->services[service].conf.witness != ZB_CONF_WITNESS_ETCD) {
        return json_null();
    }
    zb_core_view(a->core, service, &view);
    const struct zb_core_peer_view *p = &view.peers[ZB_NODE_WITNESS];
    json_t *json = zb_must(json_object());
    zb_json_put(json, "by", zb_json_text("etcd"));
    zb_json_put(json, "up", zb_json_bool(p->up && p->known));
    zb_json_put(json, "granted_term", zb_json_int((int64_t)p->report.granted_term));
    zb_json_put(json, "learned_term", zb_json_int((int64_t)p->report.learned_term));
    return json;
}

void
zb_witness_warn(const struct zb_agent *a, uint16_t service, json_t *warnings)
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    char text[400];

    if (conf->witness != ZB_CONF_WITNESS_ETCD || zb_witness_is_up(a) ||
        !zb_conf_names_contain(&conf->members, a->nodes[a->self].name)) {
        return;
    }
    bool judges = zb_heart_may_judge(a);
    uint8_t elsewhere = judges ? zb_heart_elsewhere(a) : ZB_NODE_NONE;
    (void)snprintf(text, sizeof text,
                   "%s: %s cannot ask for etcd's vote (%s%s): the members alone are a majority, "
                   "or nobody is",
                   conf->name, a->nodes[a->self].name,
                   elsewhere != ZB_NODE_NONE ? a->nodes[elsewhere].name : "etcd does not answer",
                   elsewhere != ZB_NODE_NONE ? " has its session in another etcd, or in none"
                   : judges                  ? ""
                                             : ", or not for long enough to be judged by");
    zb_json_append(warnings, zb_json_text(text));
}

/* --- up and down --- */

/* What was read before it was away says nothing of now. */
static void
slots_reset(struct zb_witness *w)
{
    for (uint32_t i = 0; i < w->a->services_count; i++) {
        if (w->slots[i] != NULL) {
            w->slots[i]->known = w->slots[i]->ask_due = w->slots[i]->report_due = false;
        }
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_witness *w = timer->data;
    const struct zb_conf_node *conf = w->a->conf;
    int64_t age_ms = zb_heart_read_ms(w->a);
    bool up = may_be_asked(w) && age_ms >= 0 &&
              age_ms <= (int64_t)conf->heartbeat_ms + 2 * (int64_t)conf->etcd_timeout_ms;
    struct zb_event event = {.kind = up ? ZB_EV_PEER_UP : ZB_EV_PEER_DOWN, .node = ZB_NODE_WITNESS};

    if (up != w->up) {
        slots_reset(w);
        w->up = up;
        zb_drive_event(w->a, &event);
    }
    pump(w);
}

/* --- life --- */

struct zb_witness *
zb_witness_new(struct zb_agent *a)
{
    struct zb_witness *w = zb_must_alloc(1, sizeof *w);

    w->a = a;
    w->timer.data = w;
    (void)uv_timer_init(&a->loop, &w->timer);
    if (zb_heart_etcd(a) != NULL) {
        (void)uv_timer_start(&w->timer, on_timer, LOOK_MS, LOOK_MS);
    }
    return w;
}

static void
on_closed(uv_handle_t *handle)
{
    struct zb_witness *w = handle->data;

    for (uint32_t i = 0; i < ZB_SERVICES_MAX; i++) {
        free(w->slots[i]);
    }
    free(w);
}

void
zb_witness_free(struct zb_agent *a)
{
    if (a->witness != NULL) {
        uv_close((uv_handle_t *)&a->witness->timer, on_closed);
        a->witness = NULL;
    }
}
