#include <unistd.h>

#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/land_internal.h"
#include "agent/must.h"
#include "agent/trouble.h"

#define WATCHDOG_MS 120000 /* no byte moved */

/* One stream into one dataset. It is over when the keeper answered, and the stream was answered or
 * lost. */
struct zb_land_recv {
    struct zb_land_recv *next; /* in the order they came */
    struct zb_agent *a;
    uint8_t node;
    uint16_t service;
    uint64_t ship;
    uint64_t term;
    uint64_t guid;
    uint64_t from_guid;
    bool adopt;
    enum zb_ship_as as;
    char rel[ZB_REL_SIZE];
    char uuid[ZB_UUID_SIZE];
    char snap[ZB_SNAP_NAME_SIZE];
    char token[1024];
    struct zb_stream *stream; /* NULL: answered or lost */
    bool started;             /* the keeper was asked */
    bool ended;               /* every byte is in the pipe */
    bool answered;            /* by the keeper, with rc and so on */
    uint64_t keeper_id;
    enum zb_rc rc;
    uint64_t reread_guid;
    char msg[512];
};

static json_t *
reply_json(enum zb_rc rc, const char *msg, uint64_t guid)
{
    char text[256];
    json_t *reply = zb_json_new("ship.reply");
    (void)snprintf(text, sizeof(text), "%.255s", msg);
    zb_json_put(reply, "rc", zb_json_int(rc));
    zb_json_put(reply, "msg", zb_json_text(text));
    zb_json_put(reply, "guid", zb_json_u64(guid));
    return reply;
}

static void
stream_answer(struct zb_stream *stream, enum zb_rc rc, const char *msg, uint64_t guid)
{
    struct zb_err err;
    json_t *reply = reply_json(rc, msg, guid);
    if (zb_stream_reply(stream, reply, &err) != ZB_OK) {
        zb_log_warning("answer to a stream: %s", err.msg);
        zb_stream_abort(stream);
    }
    json_decref(reply);
}

static void
recv_unlink(struct zb_land_recv *v)
{
    struct zb_land_recv **at = &v->a->lands->recvs;
    while (*at != v) {
        at = &(*at)->next;
    }
    *at = v->next;
    v->a->lands->recvs_count--;
}

static void recv_start(struct zb_land_recv *v);

/* The next stream into the same dataset, if one waits. */
static void
next_start(struct zb_agent *a, uint16_t service, const char *rel)
{
    for (struct zb_land_recv *v = a->lands->recvs; v != NULL; v = v->next) {
        if (v->service == service && strcmp(v->rel, rel) == 0) {
            if (!v->started) {
                recv_start(v);
            }
            return;
        }
    }
}

/* Answers the stream when both sides are through, and goes when nothing is left of it. */
static void
recv_settle(struct zb_land_recv *v)
{
    struct zb_agent *a = v->a;
    if (v->started && !v->answered) {
        return;
    }
    /* A failure is told at once: the sender then stops. */
    if (v->stream != NULL && v->rc == ZB_OK && !v->ended) {
        return;
    }
    bool told = v->stream != NULL;
    if (told) {
        struct zb_stream *stream = v->stream;
        v->stream = NULL;
        stream_answer(stream, v->rc, v->msg, v->reread_guid);
    }
    struct zb_land_recv copy = *v;
    recv_unlink(v);
    free(v);
    if (told && copy.rc == ZB_OK && a->nodes[copy.node].up) {
        zb_land_received(a, copy.service, copy.node, copy.ship, copy.term, copy.uuid,
                         copy.reread_guid);
    }
    next_start(a, copy.service, copy.rel);
}

/* --- the keeper --- */

static void
on_pipe(void *ctx, int fd)
{
    struct zb_land_recv *v = ctx;
    struct zb_err err;
    if (v->stream == NULL) {
        (void)close(fd); /* the keeper's receive ends by that */
    } else if (zb_stream_pump_to_fd(v->stream, fd, &err) != ZB_OK) {
        zb_log_warning("stream into %s: %s", v->rel, err.msg);
        zb_keeper_client_cancel(v->a->keeper, v->keeper_id);
    }
}

static void
on_received(void *ctx, const struct zb_krep *rep)
{
    struct zb_land_recv *v = ctx;
    v->answered = true;
    v->keeper_id = 0;
    v->rc = (enum zb_rc)rep->rc;
    v->reread_guid = rep->guid;
    (void)snprintf(v->msg, sizeof(v->msg), "%s", rep->msg);
    if (v->rc == ZB_OK && rep->guid != v->guid) {
        v->rc = ZB_E_MISMATCH;
        (void)snprintf(v->msg, sizeof(v->msg), "the guid that was re-read is another one");
    }
    if (v->rc != ZB_OK) { /* over only when a whole set has come */
        struct zb_trouble_at at = {v->service, ZB_TROUBLE_RECEIVE, v->node};
        zb_trouble_put(v->a, &at, v->rc, v->msg);
    }
    recv_settle(v);
}

static void
recv_start(struct zb_land_recv *v)
{
    struct zb_kreq req = {.op = ZB_KOP_RECEIVE,
                          .term = v->term,
                          .guid = v->guid,
                          .from_guid = v->from_guid,
                          .flags = (v->adopt ? ZB_KF_ADOPT : 0) | zb_ship_as_flags(v->as)};
    zb_strcopy(req.service, sizeof(req.service), v->a->services[v->service].conf.name);
    zb_strcopy(req.rel, sizeof(req.rel), v->rel);
    zb_strcopy(req.uuid, sizeof(req.uuid), v->uuid);
    zb_strcopy(req.snap, sizeof(req.snap), v->snap);
    zb_strcopy(req.token, sizeof(req.token), v->token);
    zb_strcopy(req.node, sizeof(req.node), v->a->nodes[v->node].name);
    v->started = true;
    v->keeper_id = zb_keeper_client_call(
        v->a->keeper, &req,
        &(struct zb_keeper_call){.on_reply = on_received, .on_pipe = on_pipe, .ctx = v});
}

/* --- the stream --- */

static void
on_end(void *ctx, struct zb_stream *stream, json_t *end)
{
    struct zb_land_recv *v = ctx;
    (void)stream;
    (void)end; /* a sender that failed sent no whole stream: the keeper notices */
    v->ended = true;
    recv_settle(v);
}

static void
on_closed(void *ctx, struct zb_stream *stream, const char *reason)
{
    struct zb_land_recv *v = ctx;
    (void)stream;
    zb_log_info("%s: stream of %s: %s", v->a->services[v->service].conf.name,
                v->a->nodes[v->node].name, reason);
    v->stream = NULL;
    zb_keeper_client_cancel(v->a->keeper, v->keeper_id);
    recv_settle(v);
}

/* Strict; *why says what is wrong. */
static bool
header_read(struct zb_agent *a, const json_t *header, struct zb_land_recv *v, const char **why)
{
    struct zb_json_reader r = zb_json_read(header);
    char service[ZB_SERVICE_NAME_SIZE];
    char type[16];
    zb_json_read_text(&r, "t", type, sizeof(type));
    zb_json_read_name(&r, "service", service, sizeof(service), zb_service_name_valid);
    v->ship = zb_json_read_u64(&r, "ship");
    v->term = zb_json_read_u64(&r, "term");
    v->as = zb_ship_as_read(&r);
    zb_json_read_name(&r, "uuid", v->uuid, sizeof(v->uuid), zb_uuid_valid);
    zb_json_read_name(&r, "rel", v->rel, sizeof(v->rel), zb_rel_valid);
    zb_json_read_name(&r, "snap", v->snap, sizeof(v->snap), zb_snap_name_valid);
    v->guid = zb_json_read_u64(&r, "guid");
    v->from_guid = zb_json_read_u64(&r, "from_guid");
    zb_json_read_name(&r, "token", v->token, sizeof(v->token), zb_resume_token_valid);
    v->adopt = zb_json_read_bool(&r, "adopt");
    if (r.bad != NULL || strcmp(type, "ship.stream") != 0 || v->guid == 0) {
        *why = "a header that does not decode";
        return false;
    }
    v->service = zb_agent_service_find(a, service);
    if (v->service == ZB_SERVICE_NONE) {
        *why = "the service is not declared on this node";
        return false;
    }
    *why = zb_land_refuses(a, v->service,
                           &(struct zb_land_sender){.node = v->node, .as = v->as, .term = v->term});
    return *why == NULL;
}

void
zb_land_stream(struct zb_agent *a, const char *peer, struct zb_stream *stream, json_t *header)
{
    struct zb_lands *lands = a->lands;
    struct zb_land_recv *v = zb_must_alloc(1, sizeof(*v));
    struct zb_stream_callbacks callbacks = {
        .ctx = v, .watchdog_ms = WATCHDOG_MS, .on_end = on_end, .on_closed = on_closed};
    const char *why = NULL;
    v->a = a;
    v->node = zb_agent_node_find(a, peer);
    v->stream = stream;
    zb_stream_accept(stream, &callbacks);
    if (v->node == ZB_NODE_NONE) {
        why = "the sender is no node of this cluster";
    } else if (lands->recvs_count >= ZB_LAND_RECVS_MAX) {
        why = "too many streams (ZB_LAND_RECVS_MAX)";
    }
    if (why != NULL || !header_read(a, header, v, &why)) {
        free(v);
        stream_answer(stream, ZB_E_REFUSED, why, 0);
        return;
    }
    struct zb_land_recv **at = &lands->recvs;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = v;
    lands->recvs_count++;
    next_start(a, v->service, v->rel);
}

void
zb_land_recvs_free(struct zb_lands *lands)
{
    while (lands->recvs != NULL) {
        struct zb_land_recv *v = lands->recvs;
        lands->recvs = v->next;
        free(v);
    }
}
