#include <unistd.h>

#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/ship_limit.h"

#define WATCHDOG_MS 120000 /* no byte moved, or no answer after the last one */

/* One stream: the keeper's SEND into a pipe, the pipe into a stream of net. It is over when both
 * have ended. */
struct zb_ship_job {
    struct zb_ship *s;
    struct zb_ship_job *next;
    uint32_t chain;
    const struct zb_ship_step *step; /* of the ship's plan */
    uint64_t keeper_id;              /* 0: answered */
    struct zb_stream *stream;        /* NULL: not yet, or ended */
    bool bulk;
    bool resumed;  /* goes on where a broken receive stopped */
    bool again;    /* ends only to begin again without the token */
    bool answered; /* the follower has the snapshot, re-read */
    bool ending;   /* its callback is running: whoever cancels leaves it alone */
};

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
    if (j->keeper_id == 0 && j->stream == NULL) {
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
    zb_keeper_client_cancel(j->s->a->keeper, rc != ZB_OK ? j->keeper_id : 0);
    job_settle(j, rc, msg);
}

static void
on_stream_closed(void *ctx, struct zb_stream *stream, const char *reason)
{
    struct zb_ship_job *j = ctx;
    j->s->bytes += zb_stream_bytes(stream);
    j->stream = NULL;
    zb_keeper_client_cancel(j->s->a->keeper, j->keeper_id);
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

/* --- the keeper --- */

static void
on_pipe(void *ctx, int fd)
{
    struct zb_ship_job *j = ctx;
    struct zb_ship *s = j->s;
    struct zb_stream_callbacks callbacks = {.ctx = j,
                                            .watchdog_ms = WATCHDOG_MS,
                                            .on_reply = on_stream_reply,
                                            .on_closed = on_stream_closed};
    struct zb_err err;
    if (s->state == ZB_SHIP_ENDING) {
        (void)close(fd); /* the keeper's send ends by that */
        return;
    }
    json_t *header = header_json(j);
    enum zb_rc rc =
        zb_stream_open(s->a->net, zb_ship_node(s), header, &callbacks, &j->stream, &err);
    json_decref(header);
    if (rc != ZB_OK) {
        j->stream = NULL;
        (void)close(fd);
    } else {
        zb_ship_limit_set(s, j->stream);
        rc = zb_stream_pump_from_fd(j->stream, fd, &err);
    }
    if (rc != ZB_OK) {
        job_settle(j, rc, err.msg); /* goes when the keeper answers */
    }
}

static void
on_sent(void *ctx, const struct zb_krep *rep)
{
    struct zb_ship_job *j = ctx;
    enum zb_rc rc = (enum zb_rc)rep->rc;
    struct zb_err err;
    j->keeper_id = 0;
    if (j->stream != NULL) {
        json_t *end = zb_json_new("ship.end");
        zb_json_put(end, "rc", zb_json_int(rc));
        if (zb_stream_finish(j->stream, end, &err) != ZB_OK) {
            zb_log_warning("end of a stream: %s", err.msg);
            zb_stream_abort(j->stream);
            j->stream = NULL;
            rc = rc != ZB_OK ? rc : err.rc;
        }
        json_decref(end);
    }
    job_settle(j, rc, rep->rc != ZB_OK ? rep->msg : "the stream could not be ended");
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
                              .bulk = zb_ship_rank(s) >= ZB_SHIP_BULK};
    s->jobs = j;
    s->jobs_count++;
    s->chain_busy[chain] = true;
    ships->jobs_count[s->node]++;
    ships->bulk_count[s->node] += j->bulk;
    struct zb_kreq req = {
        .op = ZB_KOP_SEND, .guid = j->step->guid, .from_guid = j->step->from_guid};
    zb_strcopy(req.service, sizeof(req.service), zb_ship_service(s));
    zb_strcopy(req.rel, sizeof(req.rel), c->rel);
    zb_strcopy(req.snap, sizeof(req.snap), j->step->snap);
    zb_strcopy(req.from_snap, sizeof(req.from_snap), zb_ship_chain_base(c, s->chain_next[chain]));
    j->resumed = s->chain_next[chain] == 0 && c->token[0] != '\0';
    if (j->resumed) {
        zb_strcopy(req.token, sizeof(req.token), c->token);
    }
    j->keeper_id = zb_keeper_client_call(
        s->a->keeper, &req,
        &(struct zb_keeper_call){.on_reply = on_sent, .on_pipe = on_pipe, .ctx = j});
}

/* A chain of s that can go on now, or ZB_CHAIN_NONE. */
static uint32_t
chain_startable(const struct zb_ship *s)
{
    for (uint32_t i = 0; s->state == ZB_SHIP_STREAMING && i < s->plan.chains_count; i++) {
        const struct zb_ship_chain *c = &s->plan.chains[i];
        if (!s->chain_busy[i] && s->chain_next[i] < c->steps_count &&
            (c->after == ZB_CHAIN_NONE || s->chain_next[c->after] > 0)) {
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
    unsigned best = ships->bulk_count[node] < ZB_SHIP_BULK_MAX ? ZB_SHIP_RANKS : ZB_SHIP_BULK;
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

void
zb_ship_jobs_start(struct zb_ships *ships, uint8_t node)
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
        zb_keeper_client_cancel(s->a->keeper, j->keeper_id);
        if (j->keeper_id == 0 && !j->ending) {
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
