#include "agent/heart.h"

#include <string.h>

#include "agent/drive.h"
#include "agent/etcds.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "base/log.h"

#define LEAVE_MS 3000
#define COMPACT_MS 3600000 /* history of etcd that is left, by its revision then */
#define KEY_SIZE 256

struct zb_heart {
    struct zb_agent *a;
    struct zb_etcd *etcd;
    uv_timer_t timer;
    uv_timer_t leave_timer;
    struct zb_sessions s;
    struct zb_sessions_step step;        /* under way */
    bool barred;                         /* as the core was told */
    char fingerprints[ZB_NODES_MAX][65]; /* as the values say */
    char prefix[KEY_SIZE], prefix_end[KEY_SIZE];
    char endpoint[ZB_ETCD_ENDPOINT_SIZE];
    char error[256]; /* why the last attempt did not succeed; "" it did */
    struct zb_mono read_at;
    int64_t hour_revision; /* etcd's at hour_at */
    struct zb_mono hour_at;
    struct zb_heart_reader *readers;
    void (*on_left)(void *ctx);
    void *left_ctx;
};

static void pump(struct zb_heart *h);

/* --- what the core is told --- */

static void
bar(struct zb_heart *h, bool barred, const char *why)
{
    struct zb_agent *a = h->a;

    if (h->barred == barred) {
        return;
    }
    h->barred = barred;
    if (barred) {
        zb_agent_event(a, ZB_LOG_ERROR, "", "A-session-over",
                       "this node's session in etcd is over (%s): nothing is writable here until "
                       "there is a new one",
                       why);
    } else {
        zb_agent_event(a, ZB_LOG_INFO, "", "A-session-open", "this node has a session in etcd");
    }
    zb_drive_event(a, &(struct zb_event){.kind = barred ? ZB_EV_BARRED : ZB_EV_UNBARRED});
}

static void
readers_tell(struct zb_heart *h)
{
    struct zb_heart_reader *next;

    for (struct zb_heart_reader *r = h->readers; r != NULL; r = next) {
        next = r->next;
        r->on_read(r->ctx);
    }
}

void
zb_heart_subscribe(struct zb_agent *a, struct zb_heart_reader *reader)
{
    if (a->heart != NULL && !reader->linked) {
        reader->next = a->heart->readers;
        a->heart->readers = reader;
        reader->linked = true;
    }
}

void
zb_heart_unsubscribe(struct zb_agent *a, struct zb_heart_reader *reader)
{
    if (a->heart == NULL || !reader->linked) {
        return;
    }
    struct zb_heart_reader **at = &a->heart->readers;
    while (*at != reader) {
        at = &(*at)->next;
    }
    *at = reader->next;
    reader->linked = false;
}

/* --- leaving --- */

static void
left(struct zb_heart *h)
{
    void (*on_left)(void *ctx) = h->on_left;

    (void)uv_timer_stop(&h->leave_timer);
    h->on_left = NULL;
    if (on_left != NULL) {
        on_left(h->left_ctx);
    }
}

static void
on_leave_timer(uv_timer_t *timer)
{
    zb_log_warning("the session in etcd could not be ended");
    left(timer->data);
}

static void
on_left_kept(void *ctx, const struct zb_krep *rep)
{
    struct zb_heart *h = ctx;

    if (rep->rc != ZB_OK) {
        zb_log_warning("the session was ended in etcd, and not here: %s", rep->msg);
    }
    left(h);
}

bool
zb_heart_leave(struct zb_agent *a, void (*on_left)(void *ctx), void *ctx)
{
    struct zb_heart *h = a->heart;

    if (h == NULL || h->on_left != NULL || !zb_sessions_is_open(&h->s)) {
        return false;
    }
    h->on_left = on_left;
    h->left_ctx = ctx;
    zb_sessions_leave(&h->s, zb_mono_now());
    (void)uv_timer_start(&h->leave_timer, on_leave_timer, LEAVE_MS, 0);
    pump(h);
    return true;
}

/* --- what a transaction told --- */

static void
on_kept(void *ctx, const struct zb_krep *rep)
{
    (void)ctx;
    (void)rep; /* a stamp that is too old: the next heartbeat has a newer one */
}

static void
keeper_tell(struct zb_heart *h, enum zb_kop op, uint64_t nonce, uint64_t id)
{
    struct zb_kreq req = {.op = op, .nonce = nonce, .guid = id};

    zb_agent_keeper_call(h->a, &req, op == ZB_KOP_LEAVE ? on_left_kept : on_kept, h);
}

/* Of a node of the cluster, which the key names behind the prefix. */
static void
row_read(struct zb_heart *h, const struct zb_etcd_kv *kv, struct zb_sessions_answer *answer)
{
    const struct zb_agent *a = h->a;
    struct zb_session_row *row = &answer->rows[answer->rows_count];
    uint8_t node = zb_agent_node_find(a, kv->key + strlen(h->prefix));
    json_t *json;

    if (node == ZB_NODE_NONE || answer->rows_count == ZB_NODES_MAX) {
        return;
    }
    const struct zb_agent_node *n = &a->nodes[node];
    if (!zb_heart_value_parse(kv->value, kv->value_size, n->fingerprint, n->next, &row->value)) {
        row->value = (struct zb_session_value){0}; /* of nobody's making: nothing is believed */
    }
    json = json_loadb(kv->value, kv->value_size, 0, NULL);
    const char *fingerprint = json_string_value(json_object_get(json, "fingerprint"));
    (void)snprintf(h->fingerprints[node], sizeof h->fingerprints[node], "%s",
                   fingerprint != NULL ? fingerprint : "");
    json_decref(json);
    row->node = node;
    row->mod = kv->mod_revision;
    answer->rows_count++;
}

static void
news_take(struct zb_heart *h, const struct zb_sessions_news *news)
{
    if (news->moved) {
        zb_etcds_own(h->a, h->s.etcd);
    }
    if (news->lost) {
        keeper_tell(h, ZB_KOP_LAPSE, 0, news->id);
        bar(h, true, "etcd does not know it any more");
    }
    if (news->renewed) {
        keeper_tell(h, ZB_KOP_RENEW, news->nonce, 0);
        bar(h, false, "");
    }
    if (news->left) {
        keeper_tell(h, ZB_KOP_LEAVE, 0, news->id);
    }
}

static void
on_compacted(void *ctx, const struct zb_etcd_answer *answer)
{
    (void)ctx;
    if (answer->rc != ZB_OK && answer->rc != ZB_E_STALE) {
        zb_log_warning("the history of etcd could not be compacted: %s", answer->text);
    }
}

/* By the first of those that are alive, so that it is one. */
static void
compact_look(struct zb_heart *h, struct zb_mono now)
{
    const struct zb_agent *a = h->a;
    bool first = true;

    if (h->hour_at.ms != 0 && now.ms - h->hour_at.ms < COMPACT_MS) {
        return;
    }
    for (uint8_t n = 0; n < a->nodes_count; n++) {
        first = first && (n == a->self || zb_heart_life(a, n) != ZB_LIFE_ALIVE ||
                          strcmp(a->nodes[n].name, a->nodes[a->self].name) > 0);
    }
    if (first && h->hour_revision != 0 && h->hour_revision < h->s.revision) {
        zb_etcd_compact(h->etcd, h->hour_revision, on_compacted, h);
    }
    h->hour_revision = h->s.revision;
    h->hour_at = now;
}

static void
on_answer(void *ctx, const struct zb_etcd_answer *answer)
{
    struct zb_heart *h = ctx;
    struct zb_sessions_answer told = {.known = answer->rc == ZB_OK,
                                      .succeeded = answer->succeeded,
                                      .cluster_id = answer->cluster_id,
                                      .revision = answer->revision};
    struct zb_sessions_news news;
    struct zb_mono now = zb_mono_now();

    (void)snprintf(h->endpoint, sizeof h->endpoint, "%s", answer->endpoint);
    (void)snprintf(h->error, sizeof h->error, "%s", answer->text);
    for (uint32_t i = 0; told.known && i < answer->kvs_count; i++) {
        row_read(h, &answer->kvs[i], &told);
    }
    zb_sessions_answer(&h->s, now, &told, &news);
    if (told.known) {
        h->read_at = now;
        news_take(h, &news);
        compact_look(h, now);
        readers_tell(h);
    }
    pump(h);
}

/* --- transactions --- */

static void
transact(struct zb_heart *h)
{
    const struct zb_agent *a = h->a;
    const struct zb_sessions_step *step = &h->step;
    struct zb_etcd_op all = {.kind = ZB_ETCD_RANGE, .key = h->prefix, .range_end = h->prefix_end};
    struct zb_etcd_txn txn = {.success_count = 2, .failure_count = 1};
    char key[KEY_SIZE];
    char *value = NULL;

    if (step->what == ZB_SESSIONS_PROBE) {
        (void)snprintf(key, sizeof key, "/zbaton/%s/probe/%s", a->cluster_id,
                       a->nodes[a->self].name);
    } else {
        bool own = step->node == a->self;
        json_t *json = zb_heart_value_json(&step->value, own ? a->nodes[a->self].fingerprint
                                                             : h->fingerprints[step->node]);
        value = zb_must(json_dumps(json, JSON_COMPACT));
        json_decref(json);
        (void)snprintf(key, sizeof key, "%s%s", h->prefix, a->nodes[step->node].name);
        txn.compares[0] = (struct zb_etcd_compare){.key = key, .revision = step->mod};
        txn.compares_count = 1;
    }
    txn.success[0] =
        (struct zb_etcd_op){.kind = ZB_ETCD_PUT, .key = key, .value = value != NULL ? value : ""};
    txn.success[1] = all;
    txn.failure[0] = all;
    zb_etcd_txn(h->etcd, &txn, on_answer, h);
    free(value);
}

static void
on_stamp(void *ctx, const struct zb_krep *rep)
{
    struct zb_heart *h = ctx;
    enum zb_rc rc = (enum zb_rc)rep->rc;

    if (rc == ZB_E_CLOSED) {
        return; /* the keeper is gone, and so is this engine */
    }
    zb_sessions_stamped(&h->s, zb_mono_now(), rc, rep->guid, rep->nonce,
                        rep->count != ZB_CONF_FENCED_BY_NOTHING);
    if (rc == ZB_E_BUSY || rc == ZB_E_STALE) {
        bar(h, true, "it was not renewed in time");
    }
    if (rc != ZB_OK && rc != ZB_E_NOTFOUND) {
        (void)snprintf(h->error, sizeof h->error, "%.255s", rep->msg);
    }
    pump(h);
}

static void
stamp(struct zb_heart *h)
{
    struct zb_kreq req = {.op = ZB_KOP_BEAT,
                          .flags = h->step.new ? ZB_KF_NEW : 0,
                          .guid = h->step.unknown,
                          .from_guid = h->s.cluster_id};

    zb_agent_keeper_call(h->a, &req, on_stamp, h);
}

static void
on_timer(uv_timer_t *timer)
{
    pump(timer->data);
}

static void
pump(struct zb_heart *h)
{
    struct zb_mono now = zb_mono_now();

    if (h->s.doing != 0 || h->a->keeper == NULL) {
        return;
    }
    zb_sessions_next(&h->s, now, &h->step);
    if (h->step.what == ZB_SESSIONS_WAIT) {
        int64_t wait_ms = h->step.at.ms - now.ms;
        (void)uv_timer_start(&h->timer, on_timer, wait_ms > 0 ? (uint64_t)wait_ms : 0, 0);
    } else if (h->step.what == ZB_SESSIONS_STAMP) {
        stamp(h);
    } else {
        transact(h);
    }
}

/* --- questions --- */

bool
zb_heart_is_fenced(const struct zb_agent *a, uint8_t node, struct zb_mono after)
{
    return a->heart != NULL &&
           zb_sessions_is_fenced(&a->heart->s, zb_etcds_told(a), node, zb_mono_now(), after);
}

enum zb_life
zb_heart_life(const struct zb_agent *a, uint8_t node)
{
    return a->heart != NULL && node < ZB_NODES_MAX ? a->heart->s.nodes[node].value.life
                                                   : ZB_LIFE_NONE;
}

int64_t
zb_heart_dead_ms(const struct zb_agent *a, uint8_t node)
{
    return zb_mono_now().ms - a->heart->s.nodes[node].changed_at.ms;
}

uint32_t
zb_heart_timeout_ms(const struct zb_agent *a, uint8_t node)
{
    return a->heart->s.nodes[node].value.timeout_ms;
}

bool
zb_heart_fences(const struct zb_agent *a, uint8_t node)
{
    return a->heart != NULL && node < ZB_NODES_MAX && a->heart->s.nodes[node].value.fenced &&
           !zb_sessions_is_elsewhere(&a->heart->s, zb_etcds_told(a), node);
}

bool
zb_heart_may_judge(const struct zb_agent *a)
{
    return a->heart != NULL && zb_sessions_may_judge(&a->heart->s, zb_mono_now());
}

uint32_t
zb_heart_wait_ms(const struct zb_agent *a)
{
    return a->heart != NULL ? a->conf->session_timeout_ms + 2 * a->conf->heartbeat_ms : 0;
}

struct zb_etcd *
zb_heart_etcd(const struct zb_agent *a)
{
    return a->heart != NULL ? a->heart->etcd : NULL;
}

int64_t
zb_heart_read_ms(const struct zb_agent *a)
{
    const struct zb_heart *h = a->heart;

    return h != NULL && h->read_at.ms != 0 ? zb_mono_now().ms - h->read_at.ms : -1;
}

uint8_t
zb_heart_elsewhere(const struct zb_agent *a)
{
    for (uint8_t n = 0; a->heart != NULL && n < a->nodes_count; n++) {
        if (n != a->self && a->nodes[n].present &&
            zb_sessions_is_elsewhere(&a->heart->s, zb_etcds_told(a), n)) {
            return n;
        }
    }
    return ZB_NODE_NONE;
}

bool
zb_heart_is_own(const struct zb_agent *a, const struct zb_etcd_kv *kv)
{
    struct zb_session_value value;

    return zb_heart_value_parse(kv->value, kv->value_size, "", "", &value) &&
           zb_sessions_is_own(&a->heart->s, &value, kv->mod_revision);
}

void
zb_heart_hurry(struct zb_agent *a)
{
    if (a->heart != NULL) {
        zb_sessions_hurry(&a->heart->s, zb_mono_now());
        pump(a->heart);
    }
}

static json_t *
nodes_json(const struct zb_heart *h, struct zb_mono now)
{
    static const char *const lives[] = {"none", "alive", "dead", "left"};
    json_t *nodes = zb_json_array_new();

    for (uint32_t n = 0; n < h->a->nodes_count; n++) {
        json_t *node = zb_must(json_object());
        zb_json_put(node, "node", zb_json_text(h->a->nodes[n].name));
        zb_json_put(node, "life", zb_json_text(lives[h->s.nodes[n].value.life]));
        zb_json_put(node, "fenced", zb_json_bool(h->s.nodes[n].value.fenced));
        zb_json_put(
            node, "age_ms",
            zb_json_int(h->s.nodes[n].mod != 0 ? now.ms - h->s.nodes[n].changed_at.ms : -1));
        zb_json_append(nodes, node);
    }
    return nodes;
}

json_t *
zb_heart_json(const struct zb_agent *a)
{
    static const char *const words[] = {"nothing", "deadline", "watchdog"};
    const struct zb_heart *h = a->heart;
    struct zb_mono now = zb_mono_now();

    if (h == NULL) {
        return json_null();
    }
    json_t *json = zb_must(json_object());
    zb_json_put(json, "open", zb_json_bool(zb_sessions_is_open(&h->s)));
    zb_json_put(json, "barred", zb_json_bool(h->barred));
    zb_json_put(json, "may_judge", zb_json_bool(zb_sessions_may_judge(&h->s, now)));
    zb_json_put(json, "fenced_by", zb_json_text(words[a->conf->fenced_by]));
    zb_json_put(json, "endpoint", zb_json_text(h->endpoint));
    zb_json_put(json, "error", zb_json_text(h->error));
    zb_json_put(json, "age_ms", zb_json_int(h->read_at.ms != 0 ? now.ms - h->read_at.ms : -1));
    zb_json_put(json, "nodes", nodes_json(h, now));
    return json;
}

void
zb_heart_warn(const struct zb_agent *a, json_t *warnings)
{
    const struct zb_heart *h = a->heart;
    char text[512];

    if (h != NULL && !zb_sessions_is_open(&h->s)) {
        (void)snprintf(text, sizeof text, "%s has no session in etcd%s%s%s", a->nodes[a->self].name,
                       h->barred ? ", and nothing is writable here" : "",
                       h->error[0] == '\0' ? "" : ": ", h->error);
        zb_json_append(warnings, zb_json_text(text));
    }
    for (uint8_t n = 0; n < a->nodes_count; n++) {
        if (a->nodes[n].present && n != a->self && zb_heart_life(a, n) == ZB_LIFE_DEAD) {
            (void)snprintf(text, sizeof text, "%s: its session in etcd is over", a->nodes[n].name);
            zb_json_append(warnings, zb_json_text(text));
        }
    }
    zb_etcds_warn(a, warnings);
}

/* --- life --- */

static enum zb_rc
etcd_open(struct zb_agent *a, const struct zb_heart_secrets *secrets, struct zb_etcd **out,
          struct zb_err *err)
{
    const struct zb_conf_node *conf = a->conf;
    struct zb_etcd_options options = {.loop = &a->loop,
                                      .ca = secrets->ca,
                                      .cert = secrets->cert,
                                      .key = secrets->key,
                                      .user = secrets->password != NULL ? conf->etcd_user : NULL,
                                      .password = secrets->password,
                                      .request_ms = conf->etcd_timeout_ms};
    char words[ZB_COMMAND_SIZE];
    char *rest = words;

    zb_strcopy(words, sizeof words, conf->etcd);
    for (char *word = strtok_r(words, " ", &rest);
         word != NULL && options.endpoints_count < ZB_ETCD_ENDPOINTS_MAX;
         word = strtok_r(NULL, " ", &rest)) {
        options.endpoints[options.endpoints_count++] = word;
    }
    return zb_etcd_new(&options, out, err);
}

enum zb_rc
zb_heart_new(struct zb_agent *a, const struct zb_heart_secrets *secrets, struct zb_heart **out,
             struct zb_err *err)
{
    struct zb_etcd *etcd = NULL;
    struct zb_heart *h;
    enum zb_rc rc;

    *out = NULL;
    if (a->conf->etcd[0] == '\0') {
        return ZB_OK;
    }
    rc = etcd_open(a, secrets, &etcd, err);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "etcd");
    }
    h = zb_must_alloc(1, sizeof *h);
    *h = (struct zb_heart){.a = a, .etcd = etcd};
    (void)snprintf(h->prefix, sizeof h->prefix, "/zbaton/%s/session/", a->cluster_id);
    (void)zb_etcd_prefix_end(h->prefix, h->prefix_end, sizeof h->prefix_end);
    zb_sessions_init(&h->s, a->self, a->conf->heartbeat_ms, a->conf->session_timeout_ms);
    h->timer.data = h->leave_timer.data = h;
    (void)uv_timer_init(&a->loop, &h->timer);
    (void)uv_timer_init(&a->loop, &h->leave_timer);
    (void)uv_timer_start(&h->timer, on_timer, 0, 0);
    *out = h;
    return ZB_OK;
}

static void
on_leave_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static void
on_timer_closed(uv_handle_t *handle)
{
    struct zb_heart *h = handle->data;

    uv_close((uv_handle_t *)&h->leave_timer, on_leave_timer_closed);
}

void
zb_heart_free(struct zb_agent *a)
{
    struct zb_heart *h = a->heart;

    if (h == NULL) {
        return;
    }
    a->heart = NULL;
    zb_etcd_free(h->etcd);
    uv_close((uv_handle_t *)&h->timer, on_timer_closed);
}
