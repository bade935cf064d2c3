/* The net as a whole: new, free, peers, messages out, the tick. */
#include "net/internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

#define ACCEPTS_PER_TURN 16
#define QUIET_TICK_MS 500
#define TICK_LATE_MS                                                                               \
    1000 /* a tick so late says that the loop was held up, not that peers were silent */

void *
zb_net_alloc(size_t size)
{
    void *memory = calloc(1, size);
    if (memory == NULL) {
        zb_out_of_memory();
    }
    return memory;
}

uint64_t
zb_net_now(const struct zb_net *net)
{
    return uv_now(net->loop);
}

struct zb_peer *
zb_net_peer_find(const struct zb_net *net, const char *name)
{
    struct zb_peer *peer;

    for (peer = TAILQ_FIRST(&net->peers); peer != NULL; peer = TAILQ_NEXT(peer, link)) {
        if (!peer->removed && strcmp(peer->conf.name, name) == 0) {
            return peer;
        }
    }
    return NULL;
}

static void
host_of(const char *address, char *host)
{
    zb_strcopy(host, ZB_ADDRESS_SIZE, address);
    char *colon = strrchr(host, ':');
    if (colon != NULL) {
        *colon = '\0';
    }
}

void
zb_net_refused(struct zb_net *net, const char *address, const char *reason)
{
    char host[ZB_ADDRESS_SIZE];
    uint64_t now = zb_net_now(net);
    struct zb_refusal *slot = &net->refusals[0];

    if (net->closing) {
        return;
    }
    host_of(address, host);
    for (size_t i = 0; i < ZB_NET_REFUSALS; i++) {
        struct zb_refusal *r = &net->refusals[i];
        if (r->told_ms != 0 && now - r->told_ms < ZB_NET_REFUSAL_QUIET_MS &&
            strcmp(r->host, host) == 0 && strcmp(r->reason, reason) == 0) {
            return;
        }
        slot = r->told_ms < slot->told_ms ? r : slot; /* the oldest */
    }
    zb_strcopy(slot->host, sizeof slot->host, host);
    (void)snprintf(slot->reason, sizeof slot->reason, "%s", reason);
    slot->told_ms = now != 0 ? now : 1;
    net->callbacks.on_refused(net->ctx, address, reason);
}

/* --- work: what was woken in this turn of the loop --- */

static void
peer_sweep(struct zb_net *net, struct zb_peer *peer)
{
    struct zb_conn *conn;

    zb_stream_waiting_lost(peer, net, "the node was removed");
    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (conn->peer == peer) {
            return;
        }
    }
    if (!net->closing) {
        TAILQ_REMOVE(&net->peers, peer, link);
        free(peer);
    }
}

static void
work(uv_idle_t *idle)
{
    struct zb_net *net = idle->data;
    struct zb_peer *peer, *next;

    uv_idle_stop(idle);
    /* Those there now; who is woken meanwhile comes in the next turn. */
    for (size_t left = net->work_count; left > 0 && !TAILQ_EMPTY(&net->work); left--) {
        zb_conn_work(TAILQ_FIRST(&net->work));
    }
    if (net->streams_due) {
        net->streams_due = false;
        for (peer = TAILQ_FIRST(&net->peers); peer != NULL; peer = TAILQ_NEXT(peer, link)) {
            if (!net->closing) {
                zb_stream_assign(peer, net);
            }
        }
    }
    for (peer = TAILQ_FIRST(&net->peers); peer != NULL && !net->closing; peer = next) {
        next = TAILQ_NEXT(peer, link);
        if (peer->removed) {
            peer_sweep(net, peer);
        }
    }
}

void
zb_net_work_start(struct zb_net *net)
{
    if (!net->closing) {
        (void)uv_idle_start(&net->idle, work);
    }
}

static void
accept_ready(uv_poll_t *poll, int status, int events)
{
    struct zb_net *net = poll->data;
    struct zb_socket_address from;
    struct zb_err err;
    int fd;

    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        if (zb_socket_accept(net->listen_fd, &fd, &from, &err) != ZB_OK) {
            net->listen_paused = true; /* too many files: a rest instead of a spin */
            (void)uv_poll_stop(&net->listener);
            zb_net_refused(net, net->listen_address, err.msg);
            return;
        }
        if (fd < 0) {
            return;
        }
        zb_conn_accepted(net, fd, &from);
    }
}

/* Nothing has a deadline but connections that are open and say no more than pings. */
static bool
is_quiet(const struct zb_net *net)
{
    const struct zb_conn *conn = TAILQ_FIRST(&net->conns);
    const struct zb_peer *peer = TAILQ_FIRST(&net->peers);

    while (conn != NULL && conn->state == ZB_CONN_OPEN && conn->stream == NULL) {
        conn = TAILQ_NEXT(conn, link);
    }
    while (peer != NULL && (peer->removed || peer->control != NULL)) {
        peer = TAILQ_NEXT(peer, link);
    }
    return conn == NULL && peer == NULL;
}

static void tick(uv_timer_t *timer);

/* A new time only: who comes and goes all the time does not put the tick off. */
static void
tick_every(struct zb_net *net, uint64_t ms)
{
    if (!net->closing && uv_timer_get_repeat(&net->tick) != ms) {
        (void)uv_timer_start(&net->tick, tick, ms, ms);
    }
}

void
zb_net_tick_soon(struct zb_net *net)
{
    tick_every(net, ZB_NET_TICK_MS);
}

/* An idle node wakes up less often; with ping_ms of tests it does not. */
static void
tick_again(struct zb_net *net)
{
    bool quiet = net->timing.ping_ms >= 4 * QUIET_TICK_MS && is_quiet(net);

    tick_every(net, quiet ? QUIET_TICK_MS : ZB_NET_TICK_MS);
}

static void
tick(uv_timer_t *timer)
{
    struct zb_net *net = timer->data;
    struct zb_conn *conn;
    uint64_t now = zb_net_now(net), gap = now - net->tick_ms;

    net->tick_ms = now;
    if (net->listen_paused) {
        net->listen_paused = false;
        (void)uv_poll_start(&net->listener, UV_READABLE, accept_ready);
    }
    if (gap < TICK_LATE_MS) { /* else: read first what waited in the sockets */
        for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
            zb_conn_tick(conn, now);
            if (net->closing) {
                return;
            }
        }
    }
    zb_control_redial(net, now);
    tick_again(net);
}

/* --- new and free --- */

static void
timing_default(struct zb_net_timing *timing)
{
    static const struct zb_net_timing defaults = {
        .connect_ms = 5000,
        .hello_ms = 10000,
        .ping_ms = 2000,
        .dead_ms = 8000,
        .redial_min_ms = 200,
        .redial_max_ms = 3000,
        .watchdog_ms = 60000,
    };
    timing->connect_ms = timing->connect_ms != 0 ? timing->connect_ms : defaults.connect_ms;
    timing->hello_ms = timing->hello_ms != 0 ? timing->hello_ms : defaults.hello_ms;
    timing->ping_ms = timing->ping_ms != 0 ? timing->ping_ms : defaults.ping_ms;
    timing->dead_ms = timing->dead_ms != 0 ? timing->dead_ms : defaults.dead_ms;
    timing->redial_min_ms =
        timing->redial_min_ms != 0 ? timing->redial_min_ms : defaults.redial_min_ms;
    timing->redial_max_ms =
        timing->redial_max_ms != 0 ? timing->redial_max_ms : defaults.redial_max_ms;
    timing->watchdog_ms = timing->watchdog_ms != 0 ? timing->watchdog_ms : defaults.watchdog_ms;
}

static enum zb_rc
listen_open(struct zb_net *net, const char *text, struct zb_err *err)
{
    struct zb_socket_address address;
    enum zb_rc rc = zb_socket_address_parse(text, &address, err);

    if (rc == ZB_OK) {
        rc = zb_socket_listen(&address, &net->listen_fd, err);
    }
    if (rc == ZB_OK) {
        rc = zb_socket_local(net->listen_fd, &address, err);
    }
    if (rc == ZB_OK) {
        zb_socket_address_format(&address, net->listen_address);
    }
    return rc;
}

static void
handles_start(struct zb_net *net)
{
    if (uv_poll_init_socket(net->loop, &net->listener, net->listen_fd) != 0) {
        abort(); /* fails only for what is no socket, and without memory */
    }
    (void)uv_timer_init(net->loop, &net->tick);
    (void)uv_idle_init(net->loop, &net->idle);
    net->listener.data = net->tick.data = net->idle.data = net;
    net->handles = 3;
    zb_limits_open(net);
    net->tick_ms = zb_net_now(net);
    (void)uv_poll_start(&net->listener, UV_READABLE, accept_ready);
    (void)uv_timer_start(&net->tick, tick, ZB_NET_TICK_MS, ZB_NET_TICK_MS);
}

enum zb_rc
zb_net_new(const struct zb_net_options *options, struct zb_net **out, struct zb_err *err)
{
    if (!zb_node_name_valid(options->node) || !zb_uuid_valid(options->cluster_id)) {
        return zb_err_set(err, ZB_E_USAGE, "net: bad node name or cluster id");
    }
    struct zb_net *net = zb_net_alloc(sizeof *net);
    net->listen_fd = -1;
    net->loop = options->loop;
    net->callbacks = options->callbacks;
    net->ctx = options->ctx;
    net->timing = options->timing;
    net->nonce = options->nonce != 0 ? options->nonce : zb_random_u64();
    timing_default(&net->timing);
    zb_strcopy(net->node, sizeof net->node, options->node);
    zb_strcopy(net->cluster_id, sizeof net->cluster_id, options->cluster_id);
    TAILQ_INIT(&net->conns);
    TAILQ_INIT(&net->work);
    TAILQ_INIT(&net->peers);

    enum zb_rc rc = zb_net_identity_set(net, options->ca, options->cert, options->key, err);
    if (rc == ZB_OK) {
        rc = listen_open(net, options->listen, err);
    }
    if (rc != ZB_OK) {
        if (net->listen_fd >= 0) {
            close(net->listen_fd);
        }
        zb_tls_close(&net->tls);
        free(net);
        return rc;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    handles_start(net);
    *out = net;
    return ZB_OK;
}

enum zb_rc
zb_net_identity_set(struct zb_net *net, struct zb_pem ca, struct zb_pem cert, struct zb_pem key,
                    struct zb_err *err)
{
    struct zb_tls tls = {0};
    enum zb_rc rc = zb_pki_identity_check(ca, cert, key, net->node, err);

    if (rc == ZB_OK) {
        rc = zb_tls_init(&tls, ca, cert, key, err);
    }
    if (rc == ZB_OK) {
        zb_tls_close(&net->tls); /* connections under way keep their own reference */
        net->tls = tls;
    }
    return rc;
}

void
zb_net_handle_closed(struct zb_net *net)
{
    struct zb_peer *peer;

    if (--net->handles > 0 || !net->closing) {
        return;
    }
    while ((peer = TAILQ_FIRST(&net->peers)) != NULL) {
        TAILQ_REMOVE(&net->peers, peer, link);
        free(peer);
    }
    zb_limits_free(net);
    zb_tls_close(&net->tls);
    free(net);
}

static void
own_handle_closed(uv_handle_t *handle)
{
    zb_net_handle_closed(handle->data);
}

void
zb_net_free(struct zb_net *net)
{
    struct zb_conn *conn;
    struct zb_peer *peer;
    struct zb_stream *stream;

    if (net == NULL) {
        return;
    }
    net->closing = true;
    while ((conn = TAILQ_FIRST(&net->conns)) != NULL) {
        zb_conn_destroy(conn);
    }
    for (peer = TAILQ_FIRST(&net->peers); peer != NULL; peer = TAILQ_NEXT(peer, link)) {
        peer->control = peer->dialling = NULL;
        while ((stream = TAILQ_FIRST(&peer->waiting)) != NULL) {
            zb_stream_free(stream);
        }
    }
    uv_close((uv_handle_t *)&net->listener, own_handle_closed);
    close(net->listen_fd);
    uv_close((uv_handle_t *)&net->tick, own_handle_closed);
    uv_close((uv_handle_t *)&net->idle, own_handle_closed);
    uv_close((uv_handle_t *)&net->limit_timer, own_handle_closed);
}

void
zb_net_listen_address(const struct zb_net *net, char *buf)
{
    zb_strcopy(buf, ZB_ADDRESS_SIZE, net->listen_address);
}

/* --- messages --- */

enum zb_rc
zb_net_send(struct zb_net *net, const char *name, json_t *msg, struct zb_err *err)
{
    struct zb_peer *peer = zb_net_peer_find(net, name);

    if (peer == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "%s is not a peer", name);
    }
    struct zb_conn *conn = peer->control;
    if (conn == NULL || conn->state != ZB_CONN_OPEN) {
        return zb_err_set(err, ZB_E_CLOSED, "%s is not connected", name);
    }
    enum zb_rc rc = zb_buf_json(&conn->out, ZB_FRAME_JSON, msg, ZB_WIRE_FRAME_MAX, err);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "send to %s", name);
    }
    if (zb_buf_length(&conn->out) > ZB_NET_QUEUE_MAX) {
        zb_conn_doom(conn, "it does not take its messages: more than %u bytes are queued",
                     ZB_NET_QUEUE_MAX);
        return zb_err_set(err, ZB_E_LIMIT, "send to %s: its queue is full", name);
    }
    zb_conn_wake(conn);
    return ZB_OK;
}
