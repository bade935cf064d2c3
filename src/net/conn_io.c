/* The bytes of a connection. */
#include "net/internal.h"

#include <sys/socket.h>

#include <openssl/err.h>

/* After a failed SSL call. Protocol errors of strangers are events, lost connections are not. */
static void
failed(struct zb_conn *conn, int ssl_rc)
{
    char reason[ZB_NET_REASON_SIZE];

    switch (zb_tls_status(conn->ssl, ssl_rc, reason, sizeof reason)) {
    case ZB_TLS_WANT_READ:
        conn->read_due = false;
        break;
    case ZB_TLS_WANT_WRITE:
        conn->write_blocked = true;
        break;
    case ZB_TLS_PROTOCOL:
        conn->tls_good = false;
        if (conn->state < ZB_CONN_OPEN) {
            zb_net_refused(conn->net, conn->address, reason);
        }
        zb_conn_doom(conn, "%s", reason);
        break;
    case ZB_TLS_CLOSED:
        conn->tls_good = false;
        zb_conn_doom(conn, "%s", reason);
        break;
    }
}

static bool
handshake(struct zb_conn *conn)
{
    ERR_clear_error();
    int rc = SSL_do_handshake(conn->ssl);
    if (rc != 1) {
        conn->read_due = false;
        failed(conn, rc);
        return false;
    }
    conn->tls_good = true;
    conn->state = ZB_CONN_HELLO;
    conn->read_due = true;
    zb_tls_peer_get(conn->ssl, &conn->tls_peer);
    zb_hello_begin(conn);
    return true;
}

static size_t
in_limit(const struct zb_conn *conn)
{
    if (conn->state != ZB_CONN_OPEN) {
        return ZB_FRAME_HEADER_SIZE + ZB_WIRE_HELLO_MAX;
    }
    return conn->in_need > ZB_NET_READ_SIZE ? conn->in_need : ZB_NET_READ_SIZE;
}

/* Until the buffer is full or the socket empty. */
static bool
read_some(struct zb_conn *conn)
{
    size_t limit = in_limit(conn), before = zb_buf_length(&conn->in);

    while (conn->read_due && zb_buf_length(&conn->in) < limit) {
        size_t room = limit - zb_buf_length(&conn->in), got = 0;
        ERR_clear_error();
        int rc = SSL_read_ex(conn->ssl, zb_buf_reserve(&conn->in, room), room, &got);
        if (rc != 1) {
            if (zb_buf_length(&conn->in) == before || SSL_want(conn->ssl) != SSL_NOTHING) {
                failed(conn, rc);
            } /* else it is over, and says so again when what came before was read */
            break;
        }
        zb_buf_added(&conn->in, got);
        conn->rx_ms = conn->io_ms = zb_net_now(conn->net);
    }
    return zb_buf_length(&conn->in) > before;
}

/* A new key for what follows, long before the old one is worn out. */
static void
rekey(struct zb_conn *conn, size_t sent)
{
    conn->rekey_bytes += sent;
    if (conn->rekey_bytes >= ZB_TLS_REKEY_BYTES &&
        SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1) {
        conn->rekey_bytes = 0;
    }
}

static bool
write_some(struct zb_conn *conn)
{
    bool moved = false;

    while (zb_buf_length(&conn->out) > 0 && !conn->write_blocked && conn->state != ZB_CONN_DEAD) {
        size_t sent = 0;
        ERR_clear_error();
        int rc = SSL_write_ex(conn->ssl, zb_buf_data(&conn->out), zb_buf_length(&conn->out), &sent);
        if (rc != 1) {
            failed(conn, rc);
            break;
        }
        zb_buf_consume(&conn->out, sent);
        rekey(conn, sent);
        conn->io_ms = zb_net_now(conn->net);
        moved = true;
    }
    return moved;
}

static void
json_dispatch(struct zb_conn *conn, enum zb_frame_type type, json_t *json)
{
    if (conn->state == ZB_CONN_HELLO) {
        zb_hello_frame(conn, json);
    } else if (conn->kind == ZB_CONN_DATA) {
        zb_stream_frame(conn, type, json);
    } else {
        zb_control_frame(conn, json);
    }
}

static void
malformed(struct zb_conn *conn, const char *reason)
{
    if (conn->state == ZB_CONN_HELLO) {
        zb_hello_refuse(conn, "%s", reason);
    } else {
        zb_conn_doom(conn, "malformed input: %s", reason);
    }
}

/* A whole JSON or END frame stands at the start of the buffer. */
static void
json_frame(struct zb_conn *conn, const struct zb_frame *frame)
{
    json_error_t error;
    json_t *json = json_loadb((const char *)zb_buf_data(&conn->in) + ZB_FRAME_HEADER_SIZE,
                              frame->payload_size, JSON_REJECT_DUPLICATES, &error);
    zb_buf_consume(&conn->in, ZB_FRAME_HEADER_SIZE + frame->payload_size);
    conn->in_need = 0;
    if (!json_is_object(json)) {
        malformed(conn, json == NULL ? "not JSON" : "not a JSON object");
    } else {
        json_dispatch(conn, frame->type, json);
    }
    json_decref(json);
}

/* Bytes of the current DATA frame to where they go. */
static bool
data_bytes(struct zb_conn *conn)
{
    size_t length = zb_buf_length(&conn->in);
    size_t size = length < conn->data_left ? length : conn->data_left;
    size_t taken = size > 0 ? zb_stream_sink(conn, zb_buf_data(&conn->in), size) : 0;

    zb_buf_consume(&conn->in, taken);
    conn->data_left -= taken;
    return taken > 0;
}

/* DATA and END belong on data connections, from their dialler. */
static bool
stream_frame_allowed(const struct zb_conn *conn)
{
    return conn->state == ZB_CONN_OPEN && conn->kind == ZB_CONN_DATA && !conn->dialled;
}

/* The next frame, or a part of a DATA frame. False: nothing can be done with what is there. */
static bool
frame_next(struct zb_conn *conn)
{
    struct zb_frame frame;
    struct zb_err err;
    uint32_t bound = conn->state == ZB_CONN_OPEN ? ZB_WIRE_FRAME_MAX : ZB_WIRE_HELLO_MAX;

    if (conn->data_left > 0) {
        return data_bytes(conn);
    }
    if (zb_buf_length(&conn->in) < ZB_FRAME_HEADER_SIZE) {
        return false;
    }
    if (zb_frame_header_decode(zb_buf_data(&conn->in), bound, &frame, &err) != ZB_OK) {
        malformed(conn, err.msg);
        return false;
    }
    if (frame.type != ZB_FRAME_JSON) {
        if (!stream_frame_allowed(conn)) {
            malformed(conn, "a stream's frame where none belongs");
            return false;
        }
        if (!zb_stream_ready(conn)) {
            return false;
        }
    }
    if (frame.type == ZB_FRAME_DATA) {
        if (frame.payload_size > ZB_STREAM_CHUNK_MAX) {
            malformed(conn, "DATA frame too long");
            return false;
        }
        zb_buf_consume(&conn->in, ZB_FRAME_HEADER_SIZE);
        conn->data_left = frame.payload_size;
        return true;
    }
    conn->in_need = ZB_FRAME_HEADER_SIZE + frame.payload_size;
    if (zb_buf_length(&conn->in) < conn->in_need) {
        return false;
    }
    json_frame(conn, &frame);
    return true;
}

static bool
frames(struct zb_conn *conn)
{
    bool moved = false;
    while ((conn->state == ZB_CONN_HELLO || conn->state == ZB_CONN_OPEN) && frame_next(conn)) {
        moved = true;
    }
    return moved;
}

/* Nothing that comes now is of interest; when the last words left, say so and wait for the close.
 */
static void
linger(struct zb_conn *conn)
{
    zb_buf_consume(&conn->in, zb_buf_length(&conn->in));
    if (conn->state == ZB_CONN_LINGER && zb_buf_length(&conn->out) == 0 && conn->tls_good) {
        conn->tls_good = false;
        ERR_clear_error();
        (void)SSL_shutdown(conn->ssl);
        ERR_clear_error();
        (void)shutdown(conn->fd, SHUT_WR);
    }
}

bool
zb_conn_io(struct zb_conn *conn)
{
    switch (conn->state) {
    case ZB_CONN_CONNECTING:
    case ZB_CONN_DEAD:
        return false;
    case ZB_CONN_HANDSHAKE:
        return handshake(conn);
    default:
        break;
    }
    bool moved = read_some(conn);
    moved = frames(conn) || moved;
    if (conn->state == ZB_CONN_JOINING || conn->state == ZB_CONN_LINGER) {
        moved = write_some(conn) || moved;
        linger(conn);
        return moved;
    }
    if (conn->state == ZB_CONN_OPEN) {
        moved = zb_stream_source(conn) || moved;
    }
    moved = write_some(conn) || moved;
    zb_stream_drained(conn);
    return moved && conn->state != ZB_CONN_DEAD;
}
