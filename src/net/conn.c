/* Life of a connection. */
#include "net/internal.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

static void
poll_closed(uv_handle_t *handle)
{
    struct zb_conn *conn = handle->data;
    struct zb_net *net = conn->net;

    SSL_free(conn->ssl);
    zb_buf_close(&conn->in);
    zb_buf_close(&conn->out);
    free(conn);
    zb_net_handle_closed(net);
}

static void serve(struct zb_conn *conn);

static void
poll_ready(uv_poll_t *poll, int status, int events)
{
    struct zb_conn *conn = poll->data;

    if (status < 0) {
        conn->events = 0; /* libuv stopped it: an error waits to be read off the socket */
        events = UV_READABLE | UV_WRITABLE;
    }
    if (conn->state == ZB_CONN_CONNECTING) {
        int number = zb_socket_error(conn->fd);
        if (number != 0) {
            zb_conn_doom(conn, "connect: %s", strerror(number));
            return;
        }
        conn->state = ZB_CONN_HANDSHAKE;
    }
    if ((events & UV_WRITABLE) != 0) {
        conn->write_blocked = false;
    }
    if ((events & UV_READABLE) != 0) {
        conn->read_due = true;
    }
    serve(conn);
}

static void
poll_update(struct zb_conn *conn)
{
    int events = 0;

    if (conn->state == ZB_CONN_DEAD) {
        return;
    }
    if (conn->state == ZB_CONN_CONNECTING || conn->write_blocked) {
        events |= UV_WRITABLE;
    }
    if (conn->state != ZB_CONN_CONNECTING && !conn->read_due) {
        events |= UV_READABLE;
    }
    if (events != conn->events) {
        conn->events = events;
        if (events == 0) {
            (void)uv_poll_stop(&conn->poll);
        } else {
            (void)uv_poll_start(&conn->poll, events, poll_ready);
        }
    }
    zb_stream_poll_update(conn);
}

/* Does all that can be done now, but no more than its share of the loop's turn. */
static void
serve(struct zb_conn *conn)
{
    bool more = true;
    for (int round = 0; more && round < ZB_NET_TURN_MAX; round++) {
        more = zb_conn_io(conn);
    }
    if (conn->state == ZB_CONN_DEAD) {
        return;
    }
    if (more) {
        zb_conn_wake(conn);
    }
    poll_update(conn);
}

static struct zb_conn *
conn_new(struct zb_net *net, int fd, bool dialled)
{
    struct zb_conn *conn = zb_net_alloc(sizeof *conn);
    conn->net = net;
    conn->fd = fd;
    conn->dialled = dialled;
    conn->rx_ms = conn->io_ms = zb_net_now(net);
    conn->ssl = zb_tls_open(dialled ? net->tls.client : net->tls.server, fd, dialled);
    if (uv_poll_init_socket(net->loop, &conn->poll, fd) != 0) {
        abort(); /* fails only for what is no socket, and without memory */
    }
    conn->poll.data = conn;
    net->handles++;
    TAILQ_INSERT_TAIL(&net->conns, conn, link);
    return conn;
}

enum zb_rc
zb_conn_dial(struct zb_net *net, struct zb_peer *peer, enum zb_conn_kind kind, struct zb_conn **out,
             struct zb_err *err)
{
    struct zb_socket_address address;
    int fd = -1;
    enum zb_rc rc = zb_socket_address_parse(peer->conf.address, &address, err);

    if (rc == ZB_OK) {
        rc = zb_socket_connect(&address, &fd, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    struct zb_conn *conn = conn_new(net, fd, true);
    conn->peer = peer;
    conn->kind = kind;
    conn->state = ZB_CONN_CONNECTING;
    conn->deadline_ms = conn->io_ms + net->timing.connect_ms;
    zb_strcopy(conn->address, sizeof conn->address, peer->conf.address);
    if (kind == ZB_CONN_CONTROL) {
        zb_socket_user_timeout(fd, net->timing.dead_ms);
    }
    poll_update(conn);
    *out = conn;
    return ZB_OK;
}

/* Makes room among those who have not said who they are: the oldest goes. */
static void
pending_bound(struct zb_net *net)
{
    struct zb_conn *conn, *oldest = NULL;
    size_t pending = 0;

    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (!conn->dialled && conn->state < ZB_CONN_OPEN) {
            oldest = oldest != NULL ? oldest : conn;
            pending++;
        }
    }
    if (pending > ZB_NET_PENDING_MAX) {
        zb_conn_doom(oldest, "too many connections without a hello");
    }
}

void
zb_conn_accepted(struct zb_net *net, int fd, const struct zb_socket_address *from)
{
    struct zb_conn *conn = conn_new(net, fd, false);
    conn->state = ZB_CONN_HANDSHAKE;
    conn->deadline_ms = conn->io_ms + net->timing.hello_ms;
    zb_socket_address_format(from, conn->address);
    pending_bound(net);
    poll_update(conn);
}

void
zb_conn_wake(struct zb_conn *conn)
{
    if (!conn->queued) {
        conn->queued = true;
        conn->net->work_count++;
        TAILQ_INSERT_TAIL(&conn->net->work, conn, work_link);
        zb_net_work_start(conn->net);
    }
}

static void
unqueue(struct zb_conn *conn)
{
    if (conn->queued) {
        conn->queued = false;
        conn->net->work_count--;
        TAILQ_REMOVE(&conn->net->work, conn, work_link);
    }
}

void
zb_conn_doom(struct zb_conn *conn, const char *fmt, ...)
{
    if (conn->state == ZB_CONN_DEAD) {
        return;
    }
    if (conn->reason[0] == '\0') {
        va_list args;
        va_start(args, fmt);
        (void)vsnprintf(conn->reason, sizeof conn->reason, fmt, args);
        va_end(args);
    }
    conn->state = ZB_CONN_DEAD;
    conn->events = 0;
    (void)uv_poll_stop(&conn->poll);
    zb_conn_wake(conn);
}

void
zb_conn_work(struct zb_conn *conn)
{
    unqueue(conn);
    if (conn->state == ZB_CONN_DEAD) {
        zb_conn_finish(conn);
    } else {
        serve(conn);
    }
}

static void
unlink_conn(struct zb_conn *conn)
{
    unqueue(conn);
    TAILQ_REMOVE(&conn->net->conns, conn, link);
    zb_net_tick_soon(conn->net); /* to dial again */
}

static void
close_conn(struct zb_conn *conn)
{
    conn->state = ZB_CONN_DEAD;
    if (conn->tls_good) {
        ERR_clear_error();
        (void)SSL_shutdown(conn->ssl); /* a goodbye if the socket takes it */
        ERR_clear_error();
    }
    uv_close((uv_handle_t *)&conn->poll, poll_closed);
    close(conn->fd);
}

void
zb_conn_finish(struct zb_conn *conn)
{
    struct zb_net *net = conn->net;
    struct zb_stream *stream = conn->stream;

    conn->stream = NULL;
    unlink_conn(conn); /* first: a callback may free the net with all its connections */
    if (stream != NULL) {
        stream->conn = NULL;
        zb_stream_lost(stream, conn->reason);
    }
    if (conn->kind == ZB_CONN_CONTROL && conn->peer != NULL) {
        zb_control_closed(conn);
    }
    if (conn->kind == ZB_CONN_DATA && conn->dialled && !net->closing) {
        if (!conn->opened) {
            zb_stream_dial_failed(conn->peer, net, conn->reason);
        }
        net->streams_due = true;
        zb_net_work_start(net);
    }
    close_conn(conn);
}

void
zb_conn_destroy(struct zb_conn *conn)
{
    unlink_conn(conn);
    if (conn->stream != NULL) {
        zb_stream_free(conn->stream);
        conn->stream = NULL;
    }
    close_conn(conn);
}

void
zb_conn_linger(struct zb_conn *conn)
{
    if (conn->state != ZB_CONN_DEAD) {
        conn->state = ZB_CONN_LINGER;
        conn->deadline_ms = zb_net_now(conn->net) + ZB_NET_LINGER_MS;
        conn->read_due = true;
        zb_conn_wake(conn);
    }
}

void
zb_conn_tick(struct zb_conn *conn, uint64_t now_ms)
{
    switch (conn->state) {
    case ZB_CONN_CONNECTING:
    case ZB_CONN_HANDSHAKE:
    case ZB_CONN_HELLO:
        if (now_ms >= conn->deadline_ms) {
            if (!conn->dialled) {
                zb_net_refused(conn->net, conn->address, "no hello in time");
            }
            zb_conn_doom(conn, "%s: no answer in time", conn->address);
        }
        break;
    case ZB_CONN_OPEN:
        if (conn->kind == ZB_CONN_CONTROL) {
            zb_control_tick(conn, now_ms);
        } else {
            zb_stream_tick(conn, now_ms);
        }
        break;
    case ZB_CONN_JOINING:
    case ZB_CONN_LINGER:
        if (now_ms >= conn->deadline_ms) {
            zb_conn_doom(conn, "closed");
        }
        break;
    case ZB_CONN_DEAD:
        break;
    }
}
