/* Streams as a data connection sees them. */
#include "net/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"

/* --- sender --- */

bool
zb_stream_source(struct zb_conn *conn)
{
    struct zb_stream *stream = conn->stream;

    if (stream == NULL || !stream->sender) {
        return false;
    }
    bool moved = stream->pipe != NULL && zb_pipe_read(stream->pipe);
    if (stream->pipe == NULL && zb_buf_length(&stream->end) > 0) {
        zb_buf_append(&conn->out, zb_buf_data(&stream->end), zb_buf_length(&stream->end));
        zb_buf_close(&stream->end);
        stream->ended = true;
        moved = true;
    }
    return moved;
}

void
zb_stream_drained(struct zb_conn *conn)
{
    struct zb_stream *stream = conn->stream;

    if (stream != NULL && stream->drain && conn->state == ZB_CONN_OPEN &&
        zb_buf_length(&conn->out) <= ZB_STREAM_BUFFER_MAX / 2) {
        stream->drain = false;
        stream->callbacks.on_drain(stream->callbacks.ctx, stream);
    }
}

/* The receiver wants no more: an END of ours keeps the connection in step. */
static void
stop(struct zb_conn *conn)
{
    struct zb_err err;
    json_t *json = json_pack("{s:b}", "stopped", 1);
    if (json == NULL || zb_buf_json(&conn->out, ZB_FRAME_END, json, ZB_WIRE_FRAME_MAX, &err)) {
        zb_out_of_memory();
    }
    json_decref(json);
}

static void
reply_frame(struct zb_conn *conn, json_t *json)
{
    struct zb_net *net = conn->net;
    struct zb_stream *stream = conn->stream;

    if (stream == NULL) {
        zb_conn_doom(conn, "malformed input: a reply to nothing");
        return;
    }
    if (!stream->ended) {
        stop(conn);
    }
    /* Idle before the callback: the next stream may be opened in it. */
    zb_pipe_leave(stream);
    conn->stream = NULL;
    stream->conn = NULL;
    stream->lost = true;
    net->streams_due = true;
    zb_net_work_start(net);
    stream->callbacks.on_reply(stream->callbacks.ctx, stream, json);
    zb_stream_free(stream);
}

/* --- receiver --- */

bool
zb_stream_ready(struct zb_conn *conn)
{
    if (conn->stream != NULL && !conn->stream->ended) {
        return conn->stream->chosen;
    }
    if (!conn->swallow) {
        zb_conn_doom(conn, "malformed input: bytes of no stream");
    }
    return conn->swallow;
}

static void
header_frame(struct zb_conn *conn, json_t *json)
{
    struct zb_net *net = conn->net;

    if (conn->stream != NULL || conn->swallow) {
        zb_conn_doom(conn, "malformed input: a stream inside a stream");
        return;
    }
    struct zb_stream *stream = zb_stream_new(net, conn->peer, false);
    stream->conn = conn;
    conn->stream = stream;
    net->callbacks.on_stream(net->ctx, conn->peer->conf.name, stream, json);
    if (conn->stream == stream && !stream->accepted) {
        zb_stream_abort(stream);
    }
}

static void
end_frame(struct zb_conn *conn, json_t *json)
{
    struct zb_stream *stream = conn->stream;

    if (stream == NULL) {
        conn->swallow = false; /* zb_stream_ready saw to it that it was true */
        return;
    }
    stream->ended = true;
    zb_pipe_leave(stream);
    stream->callbacks.on_end(stream->callbacks.ctx, stream, json);
}

void
zb_stream_frame(struct zb_conn *conn, enum zb_frame_type type, json_t *json)
{
    if (conn->dialled) {
        reply_frame(conn, json);
    } else if (type == ZB_FRAME_JSON) {
        header_frame(conn, json);
    } else {
        end_frame(conn, json);
    }
}

size_t
zb_stream_sink(struct zb_conn *conn, const uint8_t *bytes, size_t size)
{
    struct zb_stream *stream = conn->stream;

    if (stream == NULL || stream->pipe == NULL) {
        return size; /* swallowed */
    }
    if (!stream->pipe->due) {
        return 0;
    }
    ssize_t taken;
    do {
        taken = write(stream->pipe->fd, bytes, size);
    } while (taken < 0 && errno == EINTR);
    if (taken >= 0) {
        stream->bytes += (uint64_t)taken;
        conn->io_ms = zb_net_now(conn->net);
        return (size_t)taken;
    }
    if (errno == EAGAIN) {
        stream->pipe->due = false;
        return 0;
    }
    zb_pipe_leave(stream); /* who read it has left (EPIPE) and knows why */
    return size;
}

/* --- both --- */

void
zb_stream_poll_update(struct zb_conn *conn)
{
    const struct zb_stream *stream = conn->stream;

    if (stream != NULL && stream->pipe != NULL) {
        zb_pipe_poll_update(stream->pipe, stream->sender);
    }
}

/* Who holds it up. */
static const char *
stuck_words(const struct zb_conn *conn, const struct zb_stream *stream)
{
    if (stream->sender) {
        if (zb_buf_length(&conn->out) > 0) {
            return "the receiver takes no bytes";
        }
        return stream->ended ? "the receiver does not reply" : "the source gives no bytes";
    }
    if (!stream->chosen) {
        return "nobody here takes it";
    }
    if (stream->ended) {
        return "nobody here replies";
    }
    return stream->pipe != NULL && !stream->pipe->due ? "the sink takes no bytes"
                                                      : "the sender sends no bytes";
}

void
zb_stream_tick(struct zb_conn *conn, uint64_t now_ms)
{
    const struct zb_stream *stream = conn->stream;

    if (stream == NULL) {
        return;
    }
    if (stream->sender && stream->pipe != NULL) {
        zb_pipe_judge(stream->pipe, now_ms);
    }
    uint32_t limit_ms = stream->callbacks.watchdog_ms != 0 ? stream->callbacks.watchdog_ms
                                                           : conn->net->timing.watchdog_ms;
    uint64_t since_ms = stream->start_ms > conn->io_ms ? stream->start_ms : conn->io_ms;
    if (!zb_limit_tick(conn, now_ms, limit_ms) && now_ms >= since_ms + limit_ms) {
        zb_conn_doom(conn, "no progress for %u s: %s", (limit_ms + 999) / 1000,
                     stuck_words(conn, stream));
    }
}
