/* Streams as the caller sees them. */
#include "net/internal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- handles --- */

struct zb_stream *
zb_stream_new(struct zb_net *net, struct zb_peer *peer, bool sender)
{
    struct zb_stream *stream = zb_net_alloc(sizeof *stream);
    stream->net = net;
    stream->peer = peer;
    stream->sender = sender;
    stream->start_ms = zb_net_now(net);
    return stream;
}

void
zb_stream_free(struct zb_stream *stream)
{
    zb_pipe_leave(stream);
    if (stream->waiting) {
        TAILQ_REMOVE(&stream->peer->waiting, stream, link);
        stream->peer->waiting_count--;
    }
    zb_buf_close(&stream->early);
    zb_buf_close(&stream->end);
    free(stream);
}

void
zb_stream_lost(struct zb_stream *stream, const char *reason)
{
    zb_pipe_leave(stream);
    stream->lost = true;
    if (stream->callbacks.on_closed != NULL) { /* else: a receiver's that was never accepted */
        stream->callbacks.on_closed(stream->callbacks.ctx, stream, reason);
    }
    zb_stream_free(stream);
}

enum zb_rc
zb_stream_open(struct zb_net *net, const char *name, json_t *header,
               const struct zb_stream_callbacks *callbacks, struct zb_stream **out,
               struct zb_err *err)
{
    struct zb_peer *peer = zb_net_peer_find(net, name);
    if (peer == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "%s is not a peer", name);
    }
    if (peer->control == NULL || peer->control->state != ZB_CONN_OPEN) {
        return zb_err_set(err, ZB_E_CLOSED, "%s is not connected", name);
    }
    if (peer->waiting_count >= ZB_NET_STREAMS_WAITING_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "%zu streams to %s are waiting", peer->waiting_count,
                          name);
    }
    struct zb_stream *stream = zb_stream_new(net, peer, true);
    stream->callbacks = *callbacks;
    enum zb_rc rc = zb_buf_json(&stream->early, ZB_FRAME_JSON, header, ZB_WIRE_FRAME_MAX, err);
    if (rc != ZB_OK) {
        zb_stream_free(stream);
        return zb_err_wrap(err, "stream to %s", name);
    }
    stream->waiting = true;
    TAILQ_INSERT_TAIL(&peer->waiting, stream, link);
    peer->waiting_count++;
    net->streams_due = true;
    zb_net_work_start(net);
    *out = stream;
    return ZB_OK;
}

/* The connection is there or will be. */
static bool
alive(const struct zb_stream *stream)
{
    return stream->waiting || (stream->conn != NULL && stream->conn->state != ZB_CONN_DEAD);
}

static enum zb_rc
gone(const struct zb_stream *stream, struct zb_err *err)
{
    return zb_err_set(err, ZB_E_CLOSED, "stream with %s: %s", stream->peer->conf.name,
                      stream->conn != NULL ? stream->conn->reason : "closed");
}

static void
wake(struct zb_stream *stream)
{
    if (stream->conn != NULL) {
        zb_conn_wake(stream->conn);
    }
}

enum zb_rc
zb_stream_write(struct zb_stream *stream, const void *data, size_t size, struct zb_err *err)
{
    uint8_t header[ZB_FRAME_HEADER_SIZE];

    assert(stream->sender);
    if (!alive(stream)) {
        return gone(stream, err);
    }
    if (stream->pipe != NULL || zb_buf_length(&stream->end) > 0 || stream->ended) {
        return zb_err_set(err, ZB_E_USAGE, "stream: write beside a pump or after the end");
    }
    if (size > ZB_STREAM_CHUNK_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "stream: more than %u bytes at once",
                          ZB_STREAM_CHUNK_MAX);
    }
    struct zb_buf *out = stream->waiting ? &stream->early : &stream->conn->out;
    if (zb_buf_length(out) + size > ZB_STREAM_BUFFER_MAX) {
        stream->drain = true;
        return zb_err_set(err, ZB_E_BUSY, "stream: buffer full");
    }
    zb_frame_header_encode(ZB_FRAME_DATA, (uint32_t)size, header);
    zb_buf_append(out, header, sizeof header);
    zb_buf_append(out, data, size);
    stream->bytes += size;
    wake(stream);
    return ZB_OK;
}

enum zb_rc
zb_stream_pump_from_fd(struct zb_stream *stream, int fd, struct zb_err *err)
{
    assert(stream->sender);
    if (!alive(stream) || stream->pipe != NULL || stream->ended) {
        close(fd);
        return alive(stream) ? zb_err_set(err, ZB_E_USAGE, "stream: it has a source")
                             : gone(stream, err);
    }
    enum zb_rc rc = zb_pipe_open(stream, fd, err);
    if (rc == ZB_OK) {
        wake(stream);
    }
    return rc;
}

enum zb_rc
zb_stream_pump_share(struct zb_stream *stream, struct zb_stream *with, struct zb_err *err)
{
    assert(stream->sender && with->sender);
    if (!alive(stream)) {
        return gone(stream, err);
    }
    if (stream->pipe != NULL || stream->ended || with->pipe == NULL || with->pipe->begun) {
        return zb_err_set(err, ZB_E_USAGE, "stream: no source that can still be shared");
    }
    zb_pipe_share(with->pipe, stream);
    wake(stream);
    return ZB_OK;
}

enum zb_rc
zb_stream_finish(struct zb_stream *stream, json_t *end, struct zb_err *err)
{
    assert(stream->sender);
    if (!alive(stream)) {
        return gone(stream, err);
    }
    if (zb_buf_length(&stream->end) > 0 || stream->ended) {
        return zb_err_set(err, ZB_E_USAGE, "stream: finished before");
    }
    enum zb_rc rc = zb_buf_json(&stream->end, ZB_FRAME_END, end, ZB_WIRE_FRAME_MAX, err);
    if (rc == ZB_OK) {
        wake(stream);
    }
    return rc;
}

void
zb_stream_accept(struct zb_stream *stream, const struct zb_stream_callbacks *callbacks)
{
    assert(!stream->sender && !stream->accepted);
    stream->callbacks = *callbacks;
    stream->accepted = true;
}

enum zb_rc
zb_stream_pump_to_fd(struct zb_stream *stream, int fd, struct zb_err *err)
{
    assert(!stream->sender);
    if (!alive(stream) || stream->chosen) {
        close(fd);
        return alive(stream) ? zb_err_set(err, ZB_E_USAGE, "stream: it has a sink")
                             : gone(stream, err);
    }
    enum zb_rc rc = zb_pipe_open(stream, fd, err);
    if (rc == ZB_OK) {
        stream->chosen = true;
        wake(stream);
    }
    return rc;
}

enum zb_rc
zb_stream_reply(struct zb_stream *stream, json_t *reply, struct zb_err *err)
{
    struct zb_conn *conn = stream->conn;

    assert(!stream->sender);
    if (!alive(stream)) {
        return gone(stream, err);
    }
    enum zb_rc rc = zb_buf_json(&conn->out, ZB_FRAME_JSON, reply, ZB_WIRE_FRAME_MAX, err);
    if (rc != ZB_OK) {
        return rc;
    }
    conn->swallow = !stream->ended;
    conn->stream = NULL;
    zb_conn_wake(conn);
    zb_stream_free(stream);
    return ZB_OK;
}

void
zb_stream_abort(struct zb_stream *stream)
{
    if (stream->lost) {
        return; /* inside its own on_closed: the end is under way */
    }
    if (stream->conn != NULL) {
        stream->conn->stream = NULL;
        zb_conn_doom(stream->conn, "stream given up");
    }
    zb_stream_free(stream);
}

bool
zb_stream_is_behind(const struct zb_stream *stream)
{
    return stream->behind;
}

uint64_t
zb_stream_bytes(const struct zb_stream *stream)
{
    return stream->bytes;
}
