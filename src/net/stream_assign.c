/* Which stream gets which data connection, and when another one is dialled. */
#include "net/internal.h"

static bool
usable(const struct zb_conn *conn, const struct zb_peer *peer)
{
    return conn->peer == peer && conn->kind == ZB_CONN_DATA && conn->dialled &&
           conn->state != ZB_CONN_DEAD;
}

static struct zb_conn *
idle_find(struct zb_net *net, const struct zb_peer *peer)
{
    struct zb_conn *conn;

    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (usable(conn, peer) && conn->state == ZB_CONN_OPEN && conn->stream == NULL) {
            return conn;
        }
    }
    return NULL;
}

static void
attach(struct zb_conn *conn, struct zb_peer *peer)
{
    struct zb_stream *stream = TAILQ_FIRST(&peer->waiting);

    TAILQ_REMOVE(&peer->waiting, stream, link);
    peer->waiting_count--;
    stream->waiting = false;
    stream->conn = conn;
    stream->start_ms = zb_net_now(conn->net);
    conn->stream = stream;
    zb_buf_append(&conn->out, zb_buf_data(&stream->early), zb_buf_length(&stream->early));
    zb_buf_close(&stream->early);
    zb_conn_wake(conn);
}

/* Connections of this direction, and how many of them are not open yet. */
static size_t
count(struct zb_net *net, const struct zb_peer *peer, size_t *dialling)
{
    struct zb_conn *conn;
    size_t all = 0;

    *dialling = 0;
    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (usable(conn, peer)) {
            all++;
            *dialling += conn->state != ZB_CONN_OPEN;
        }
    }
    return all;
}

/* Those that held the others of their source up before they had a connection. */
static void
behind_lost(struct zb_peer *peer, struct zb_net *net)
{
    struct zb_stream *stream = TAILQ_FIRST(&peer->waiting);

    while (stream != NULL && !net->closing) {
        if (!stream->behind) {
            stream = TAILQ_NEXT(stream, link);
            continue;
        }
        TAILQ_REMOVE(&peer->waiting, stream, link);
        peer->waiting_count--;
        stream->waiting = false;
        zb_stream_lost(stream, ZB_PIPE_BEHIND);
        stream = TAILQ_FIRST(&peer->waiting); /* the callback may have changed the list */
    }
}

void
zb_stream_assign(struct zb_peer *peer, struct zb_net *net)
{
    struct zb_conn *conn;
    struct zb_err err;
    size_t dialling;

    behind_lost(peer, net);
    while (!net->closing && peer->waiting_count > 0 && (conn = idle_find(net, peer)) != NULL) {
        attach(conn, peer);
    }
    size_t all = count(net, peer, &dialling);
    while (!peer->removed && peer->waiting_count > dialling && all < ZB_NET_DATA_CONNS_MAX) {
        if (zb_conn_dial(net, peer, ZB_CONN_DATA, &conn, &err) != ZB_OK) {
            zb_stream_dial_failed(peer, net, err.msg);
            return;
        }
        dialling++;
        all++;
    }
}

void
zb_stream_dial_failed(struct zb_peer *peer, struct zb_net *net, const char *reason)
{
    size_t dialling;

    if (count(net, peer, &dialling) == 0) {
        zb_stream_waiting_lost(peer, net, reason);
    }
}

void
zb_stream_waiting_lost(struct zb_peer *peer, struct zb_net *net, const char *reason)
{
    /* Only those waiting now: a callback may open new ones. */
    for (size_t left = peer->waiting_count; left > 0 && !net->closing; left--) {
        struct zb_stream *stream = TAILQ_FIRST(&peer->waiting);
        if (stream == NULL) {
            return;
        }
        TAILQ_REMOVE(&peer->waiting, stream, link);
        peer->waiting_count--;
        stream->waiting = false;
        zb_stream_lost(stream, reason);
    }
}
