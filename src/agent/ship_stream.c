#include "agent/json.h"
#include "agent/must.h"
#include "agent/ship_limit.h"

#define WATCHDOG_MS 120000 /* no byte moved, or no answer after the last one */
#define GATHER_MS 1000     /* a read waits so long for the other followers */

static void
job_fail(struct zb_ship_job *j, enum zb_rc rc, const char *msg)
{
    char text[400];
    const struct zb_ship_chain *c = &j->s->plan.chains[j->chain];
    (void)snprintf(text, sizeof(text), "%s@%s: %s", c->rel[0] != '\0' ? c->rel : "(top)",
                   j->step->snap, msg);
    zb_ship_fail(j->s, rc, text);
}

static void
job_remove(struct zb_ship_job *j)
{
    struct zb_ship *s = j->s;
    struct zb_ships *ships = s->a->ships;
    struct zb_ship_job **at = &s->jobs;
    while (*at != j) {
        at = &(*at)->next;
    }
    *at = j->next;
    s->jobs_count--;
    ships->jobs_count[s->node]--;
    ships->bulk_count[s->node] -= j->bulk;
    s->chain_busy[j->chain] = false;
    if (j->answered) {
        s->chain_ms[j->chain] =
            s->chain_next[j->chain] == 0 ? zb_mono_now().ms : s->chain_ms[j->chain];
        s->chain_next[j->chain]++;
        s->steps_done++;
    }
    free(j);
}

/* A token that leads nowhere any more costs one try: the step begins again without it. */
static bool
is_begun_again(const struct zb_ship_job *j, enum zb_rc rc)
{
    return j->resumed && rc != ZB_E_CLOSED && rc != ZB_E_CANCELED && rc != ZB_E_TIMEOUT;
}

/* One side has ended, well or not: the job ends with the other one. May free the ship. */
static void
job_settle(struct zb_ship_job *j, enum zb_rc rc, const char *msg)
{
    struct zb_ship *s = j->s;
    if (rc != ZB_OK && !j->again && is_begun_again(j, rc)) {
        j->again = true;
        zb_log_info("%s to %s: goes on without what came before: %s", zb_ship_service(s),
                    zb_ship_node(s), msg);
        s->plan.chains[j->chain].token[0] = '\0';
    } else if (rc != ZB_OK && !j->again) {
        j->ending = true;
        job_fail(j, rc, msg); /* the ship stays as long as this job does */
        j->ending = false;
    }
    if (j->read == NULL && j->stream == NULL) {
        job_remove(j);
        zb_ship_continue(s);
    }
}

/* --- the stream --- */

static void
on_stream_reply(void *ctx, struct zb_stream *stream, json_t *reply)
{
    struct zb_ship_job *j = ctx;
    struct zb_json_reader r = zb_json_read(reply);
    char msg[256];
    enum zb_rc rc = (enum zb_rc)zb_json_read_int(&r, "rc", ZB_OK, ZB_E_UNSUPPORTED);
    zb_json_read_text(&r, "msg", msg, sizeof(msg));
    uint64_t guid = zb_json_read_u64(&r, "guid");
    j->s->bytes += zb_stream_bytes(stream);
    if (r.bad != NULL) {
        rc = ZB_E_FORMAT;
        (void)snprintf(msg, sizeof(msg), "an answer that does not decode");
    } else if (rc == ZB_OK && guid != j->step->guid) {
        rc = ZB_E_MISMATCH;
        (void)snprintf(msg, sizeof(msg), "the guid that was re-read is another one");
    }
    j->answered = rc == ZB_OK;
    j->stream = NULL;
    if (rc != ZB_OK) {
        zb_ship_read_leave(j);
    }
    job_settle(j, rc, msg);
}

static void
on_stream_closed(void *ctx, struct zb_stream *stream, const char *reason)
{
    struct zb_ship_job *j = ctx;
    j->s->bytes += zb_stream_bytes(stream);
    j->stream = NULL;
    zb_ship_read_leave(j);
    if (zb_stream_is_behind(stream)) {
        j->ending = true;
        zb_ship_behind(j->s); /* stays as long as this job does */
        j->ending = false;
    }
    job_settle(j, ZB_E_CLOSED, reason);
}

static json_t *
header_json(const struct zb_ship_job *j)
{
    const struct zb_ship *s = j->s;
    const struct zb_ship_chain *c = &s->plan.chains[j->chain];
    json_t *h = zb_json_new("ship.stream");
    zb_json_put(h, "service", zb_json_text(zb_ship_service(s)));
    zb_json_put(h, "ship", zb_json_u64(s->id));
    zb_json_put(h, "term", zb_json_u64(s->term));
    zb_json_put(h, "as", zb_ship_as_json(s->as));
    zb_json_put(h, "uuid", zb_json_text(c->uuid));
    zb_json_put(h, "rel", zb_json_text(c->peer_rel));
    zb_json_put(h, "snap", zb_json_text(j->step->snap));
    zb_json_put(h, "guid", zb_json_u64(j->step->guid));
    zb_json_put(h, "from_guid", zb_json_u64(j->step->from_guid));
    zb_json_put(h, "token", zb_json_text(j->resumed ? c->token : ""));
    zb_json_put(h, "adopt", zb_json_bool(c->adopt && s->chain_next[j->chain] == 0));
    return h;
}

/* --- the read --- */

void
zb_ship_job_open(struct zb_ship_job *j, int *fd, struct zb_stream *with)
{
    struct zb_ship *s = j->s;
    struct zb_stream_callbacks callbacks = {.ctx = j,
                                            .watchdog_ms = WATCHDOG_MS,
                                            .on_reply = on_stream_reply,
                                            .on_closed = on_stream_closed};
    struct zb_err err;
    j->opened = true;
    if (s->state == ZB_SHIP_ENDING) {
        return;
    }
    json_t *header = header_json(j);
    enum zb_rc rc =
        zb_stream_open(s->a->net, zb_ship_node(s), header, &callbacks, &j->stream, &err);
    json_decref(header);
    if (rc != ZB_OK) {
        j->stream = NULL;
    } else if (*fd >= 0) {
        zb_ship_limit_set(s, j->stream);
        rc = zb_stream_pump_from_fd(j->stream, *fd, &err);
        *fd = -1;
    } else if (with != NULL) {
        zb_ship_limit_set(s, j->stream);
        rc = zb_stream_pump_share(j->stream, with, &err);
    } else {
        rc = zb_err_set(&err, ZB_E_CLOSED, "the others of the read gave it up");
    }
    if (rc == ZB_OK) {
        return;
    }
    if (j->stream != NULL) {
        zb_stream_abort(j->stream);
        j->stream = NULL;
    }
    zb_ship_read_leave(j);
    job_settle(j, rc, err.msg);
}

void
zb_ship_job_read_ended(struct zb_ship_job *j, enum zb_rc rc, const char *msg)
{
    struct zb_err err;
    if (j->stream != NULL) {
        json_t *end = zb_json_new("ship.end");
        zb_json_put(end, "rc", zb_json_int(rc));
        if (zb_stream_finish(j->stream, end, &err) != ZB_OK) {
            zb_log_warning("end of a stream: %s", err.msg);
            zb_stream_abort(j->stream);
            j->stream = NULL;
            msg = rc != ZB_OK ? msg : "the stream could not be ended";
            rc = rc != ZB_OK ? rc : err.rc;
        }
        json_decref(end);
    }
    job_settle(j, rc, msg);
}

static void
job_start(struct zb_ship *s, uint32_t chain)
{
    struct zb_ships *ships = s->a->ships;
    const struct zb_ship_chain *c = &s->plan.chains[chain];
    struct zb_ship_job *j = zb_must_alloc(1, sizeof(*j));
    *j = (struct zb_ship_job){.s = s,
                              .next = s->jobs,
                              .chain = chain,
                              .step = &c->steps[s->chain_next[chain]],
                              .bulk = zb_ship_rank(s) >= ZB_SHIP_RANK_BULK};
    s->jobs = j;
    s->jobs_count++;
    s->chain_busy[chain] = true;
    ships->jobs_count[s->node]++;
    ships->bulk_count[s->node] += j->bulk;
    j->resumed = s->chain_next[chain] == 0 && c->token[0] != '\0';
    zb_ship_read_join(j);
}

/* The step of the chain can be read now as far as the plan goes. */
static bool
is_startable(const struct zb_ship *s, uint32_t chain)
{
    const struct zb_ship_chain *c = &s->plan.chains[chain];
    return s->state == ZB_SHIP_STREAMING && !s->chain_busy[chain] &&
           s->chain_next[chain] < c->steps_count &&
           (c->after == ZB_CHAIN_NONE || s->chain_next[c->after] > 0);
}

/* The ship of another follower that may want this step when what it waits for is done. */
static bool
will_want(const struct zb_ship *s, const struct zb_ship_step *step, const char *uuid)
{
    if (s->state == ZB_SHIP_ASKING) {
        return true;
    }
    for (uint32_t i = 0; s->state == ZB_SHIP_STREAMING && i < s->plan.chains_count; i++) {
        const struct zb_ship_chain *c = &s->plan.chains[i];
        if (strcmp(c->uuid, uuid) == 0) {
            return !s->chain_busy[i] && s->chain_next[i] == 0 && c->steps[0].guid == step->guid &&
                   c->steps[0].from_guid == step->from_guid && !is_startable(s, i);
        }
    }
    return false;
}

/* The first step of a chain, which may be large, waits for others of the same set that are about to
 * want it: they get it from one read. Later ones do not, or the slowest would be waited for at each
 * of them; nor does the steady state, whose ships begin together, nor what is waited for. */
static bool
is_gathering(const struct zb_ship *s, uint32_t chain)
{
    const struct zb_ship_chain *c = &s->plan.chains[chain];
    int64_t since_ms = c->after != ZB_CHAIN_NONE ? s->chain_ms[c->after] : s->chain_ms[chain];
    if (s->fast || s->first || s->alone || s->chain_next[chain] > 0 || c->token[0] != '\0' ||
        zb_mono_now().ms >= since_ms + GATHER_MS) {
        return false;
    }
    for (const struct zb_ship *t = s->a->ships->of[s->service]; t != NULL; t = t->of_next) {
        if (t != s && !t->alone && zb_set_ref_equal(&t->set, &s->set) &&
            will_want(t, &c->steps[0], c->uuid)) {
            return true;
        }
    }
    return false;
}

/* A chain of s that goes on now, or ZB_CHAIN_NONE. */
static uint32_t
chain_startable(const struct zb_ship *s)
{
    for (uint32_t i = 0; s->state == ZB_SHIP_STREAMING && i < s->plan.chains_count; i++) {
        if (is_startable(s, i) && !is_gathering(s, i)) {
            return i;
        }
    }
    return ZB_CHAIN_NONE;
}

/* The next ship of the node that has something to send, by rank; each one that gets a stream
 * goes behind the others. */
static struct zb_ship *
ship_next(struct zb_ships *ships, uint8_t node)
{
    unsigned best = ships->bulk_count[node] < ZB_SHIP_BULK_MAX ? ZB_SHIP_RANKS : ZB_SHIP_RANK_BULK;
    struct zb_ship *next = NULL;
    for (struct zb_ship *s = ships->head; s != NULL; s = s->next) {
        if (s->node == node && zb_ship_rank(s) < best && chain_startable(s) != ZB_CHAIN_NONE) {
            best = zb_ship_rank(s);
            next = s;
        }
    }
    return next;
}

static void
to_the_end(struct zb_ships *ships, struct zb_ship *s)
{
    struct zb_ship **at = &ships->head;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    s->next = NULL;
    *at = s;
}

static void
node_jobs_start(struct zb_ships *ships, uint8_t node)
{
    while (ships->jobs_count[node] < ZB_NET_DATA_CONNS_MAX) {
        struct zb_ship *s = ship_next(ships, node);
        if (s == NULL) {
            return;
        }
        to_the_end(ships, s);
        job_start(s, chain_startable(s));
    }
}

void
zb_ship_jobs_start(struct zb_ships *ships)
{
    for (uint32_t node = 0; node < ships->a->nodes_count; node++) {
        node_jobs_start(ships, (uint8_t)node);
    }
}

void
zb_ship_jobs_cancel(struct zb_ship *s)
{
    struct zb_ship_job *next;
    for (struct zb_ship_job *j = s->jobs; j != NULL; j = next) {
        next = j->next;
        if (j->stream != NULL) {
            s->bytes += zb_stream_bytes(j->stream);
            zb_stream_abort(j->stream);
            j->stream = NULL;
        }
        zb_ship_read_leave(j);
        if (j->read == NULL && !j->ending) {
            job_remove(j); /* nobody else would */
        }
    }
}

void
zb_ship_jobs_limit(struct zb_ship *s)
{
    for (struct zb_ship_job *j = s->jobs; j != NULL; j = j->next) {
        if (j->stream != NULL) {
            zb_ship_limit_set(s, j->stream);
        }
    }
}

uint64_t
zb_ship_jobs_bytes(const struct zb_ship *s)
{
    uint64_t bytes = 0;
    for (const struct zb_ship_job *j = s->jobs; j != NULL; j = j->next) {
        bytes += j->stream != NULL ? zb_stream_bytes(j->stream) : 0;
    }
    return bytes;
}

void
zb_ship_jobs_free(struct zb_ship *s)
{
    while (s->jobs != NULL) {
        struct zb_ship_job *j = s->jobs;
        s->jobs = j->next;
        free(j);
    }
}
