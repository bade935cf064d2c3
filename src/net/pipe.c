/* The other end of a stream: the pipe that its bytes come from or go to. */
#include "net/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/*
 * A source of which one stream has nothing to send because another one has too much gains HELD_GAIN
 * per millisecond, and loses HELD_LOSS in each in which that is not so: at HELD_MAX who has most is
 * let go. So one that stands still holds the others up for five seconds, which a pool that syncs or
 * a busy machine may take, and one that is faster than 2/5 of them may stay.
 */
#define HELD_GAIN 2
#define HELD_LOSS 3
#define HELD_MAX 10000
#define GAP_MAX_MS 1000 /* a longer one says that the loop was held up */

static void
pipe_closed(uv_handle_t *handle)
{
    struct zb_pipe *pipe = handle->data;
    struct zb_net *net = pipe->net;

    free(pipe);
    zb_net_handle_closed(net);
}

static bool
is_shared(const struct zb_pipe *pipe)
{
    return TAILQ_NEXT(TAILQ_FIRST(&pipe->streams), pipe_link) != NULL;
}

void
zb_pipe_wake(const struct zb_pipe *pipe)
{
    const struct zb_stream *stream = TAILQ_FIRST(&pipe->streams);

    for (; stream != NULL; stream = TAILQ_NEXT(stream, pipe_link)) {
        if (stream->conn != NULL) {
            zb_conn_wake(stream->conn);
        }
    }
}

enum zb_rc
zb_pipe_open(struct zb_stream *stream, int fd, struct zb_err *err)
{
    struct zb_pipe *pipe = zb_net_alloc(sizeof *pipe);
    int rc = uv_poll_init(stream->net->loop, &pipe->poll, fd); /* makes it non-blocking */
    if (rc != 0) {
        free(pipe);
        close(fd);
        return zb_err_sys(err, -rc, "stream: watch the pipe");
    }
    pipe->poll.data = pipe;
    pipe->net = stream->net;
    pipe->fd = fd;
    pipe->due = true;
    TAILQ_INIT(&pipe->streams);
    stream->net->handles++;
    zb_pipe_share(pipe, stream);
    return ZB_OK;
}

void
zb_pipe_share(struct zb_pipe *pipe, struct zb_stream *stream)
{
    TAILQ_INSERT_TAIL(&pipe->streams, stream, pipe_link);
    stream->pipe = pipe;
}

void
zb_pipe_leave(struct zb_stream *stream)
{
    struct zb_pipe *pipe = stream->pipe;

    if (pipe == NULL) {
        return;
    }
    zb_limit_leave(stream);
    stream->pipe = NULL;
    TAILQ_REMOVE(&pipe->streams, stream, pipe_link);
    if (TAILQ_EMPTY(&pipe->streams)) {
        uv_close((uv_handle_t *)&pipe->poll, pipe_closed);
        close(pipe->fd);
    } else {
        zb_pipe_wake(pipe); /* they may have waited for it */
    }
}

/* --- reading --- */

static struct zb_buf *
buffer(struct zb_stream *stream)
{
    return stream->conn != NULL ? &stream->conn->out : &stream->early;
}

static size_t
unsent(struct zb_stream *stream)
{
    return zb_buf_length(buffer(stream));
}

/* Its end is under way. */
static bool
is_dead(const struct zb_stream *stream)
{
    return stream->conn != NULL && stream->conn->state != ZB_CONN_OPEN;
}

/* How far behind a stream may be. */
static size_t
lag_max(const struct zb_pipe *pipe)
{
    return is_shared(pipe) ? ZB_STREAM_LAG_MAX : ZB_STREAM_BUFFER_MAX / 2;
}

/* Somebody wants more, and nobody has too much. */
static bool
is_wanted(const struct zb_pipe *pipe)
{
    struct zb_stream *stream = TAILQ_FIRST(&pipe->streams);
    bool wanted = false;

    for (; stream != NULL; stream = TAILQ_NEXT(stream, pipe_link)) {
        if (!is_dead(stream) && unsent(stream) >= lag_max(pipe)) {
            return false;
        }
        wanted = wanted || (!is_dead(stream) && unsent(stream) < ZB_STREAM_BUFFER_MAX / 2);
    }
    return wanted;
}

static struct zb_stream *
living_next(struct zb_stream *stream)
{
    while (stream != NULL && is_dead(stream)) {
        stream = TAILQ_NEXT(stream, pipe_link);
    }
    return stream;
}

/* How much the limits of all its streams let through now; 0: it is woken when it is the turn of who
 * waits for one. */
static size_t
allowed(const struct zb_pipe *pipe)
{
    struct zb_stream *stream = living_next(TAILQ_FIRST(&pipe->streams));
    size_t most = ZB_STREAM_CHUNK_MAX;

    for (; stream != NULL; stream = living_next(TAILQ_NEXT(stream, pipe_link))) {
        size_t bytes = zb_limit_ask(stream);
        most = bytes < most ? bytes : most;
    }
    return most;
}

static void
account(struct zb_stream *stream, size_t size)
{
    stream->bytes += size;
    zb_turn_sent(&stream->turn, (uint32_t)size);
}

/* size bytes of a frame are in first's buffer: to the others as well. */
static void
hand_out(struct zb_stream *first, const uint8_t *frame, size_t size)
{
    struct zb_stream *stream = living_next(TAILQ_NEXT(first, pipe_link));

    for (; stream != NULL; stream = living_next(TAILQ_NEXT(stream, pipe_link))) {
        zb_buf_append(buffer(stream), frame, size);
        account(stream, size - ZB_FRAME_HEADER_SIZE);
    }
}

static void
source_ended(struct zb_pipe *pipe, int sys_errno)
{
    struct zb_stream *stream;

    zb_pipe_wake(pipe);
    do {
        stream = TAILQ_FIRST(&pipe->streams);
        bool last = TAILQ_NEXT(stream, pipe_link) == NULL;
        if (sys_errno != 0 && stream->conn != NULL) {
            zb_conn_doom(stream->conn, "read the source: %s", strerror(sys_errno));
        } else if (sys_errno != 0) { /* not yet on its way: begins again */
            stream->behind = true;
            stream->net->streams_due = true;
            zb_net_work_start(stream->net);
        }
        zb_pipe_leave(stream);
        pipe = last ? NULL : pipe;
    } while (pipe != NULL);
}

/* The source's next bytes as one DATA frame, read straight behind its header: how many, 0 at its
 * end, or -errno. */
static ssize_t
read_frame(struct zb_pipe *pipe, size_t most)
{
    struct zb_stream *first = living_next(TAILQ_FIRST(&pipe->streams));
    struct zb_buf *out = buffer(first);
    uint8_t *frame = zb_buf_reserve(out, ZB_FRAME_HEADER_SIZE + most);
    ssize_t got;

    do {
        got = read(pipe->fd, frame + ZB_FRAME_HEADER_SIZE, most);
    } while (got < 0 && errno == EINTR);
    if (got > 0) {
        pipe->begun = true;
        zb_frame_header_encode(ZB_FRAME_DATA, (uint32_t)got, frame);
        zb_buf_added(out, ZB_FRAME_HEADER_SIZE + (size_t)got);
        account(first, (size_t)got);
        hand_out(first, frame, ZB_FRAME_HEADER_SIZE + (size_t)got);
    }
    return got < 0 ? -errno : got;
}

/* New bytes are with its streams. */
static void
told(const struct zb_pipe *pipe)
{
    const struct zb_stream *stream = TAILQ_FIRST(&pipe->streams);

    for (; stream != NULL; stream = TAILQ_NEXT(stream, pipe_link)) {
        if (stream->conn != NULL) {
            stream->conn->io_ms = zb_net_now(pipe->net);
        }
    }
    if (is_shared(pipe)) {
        zb_pipe_wake(pipe);
    }
}

bool
zb_pipe_read(struct zb_pipe *pipe)
{
    bool moved = false;
    ssize_t got = 1;
    size_t most;

    while (got > 0 && pipe->due && is_wanted(pipe) && (most = allowed(pipe)) > 0) {
        got = read_frame(pipe, most);
        moved = moved || got > 0;
    }
    if (moved) {
        told(pipe);
    }
    if (got == -EAGAIN) {
        pipe->due = false;
    } else if (got <= 0) {
        source_ended(pipe, (int)-got);
    }
    return moved;
}

/* --- waiting --- */

static void
pipe_ready(uv_poll_t *poll, int status, int events)
{
    struct zb_pipe *pipe = poll->data;
    struct zb_stream *stream = TAILQ_FIRST(&pipe->streams);

    (void)events;
    if (status < 0) {
        pipe->events = 0; /* libuv stopped it; read or write will say what is wrong */
    }
    pipe->due = true;
    if (!is_shared(pipe) && stream->conn != NULL) {
        zb_conn_work(stream->conn);
        return;
    }
    pipe->events = 0; /* who is woken polls again */
    (void)uv_poll_stop(&pipe->poll);
    zb_pipe_wake(pipe);
}

void
zb_pipe_poll_update(struct zb_pipe *pipe, bool source)
{
    int events = 0;
    if (!pipe->due) {
        events = source ? UV_READABLE : UV_WRITABLE;
    }
    if (events == pipe->events) {
        return;
    }
    pipe->events = events;
    if (events == 0) {
        (void)uv_poll_stop(&pipe->poll);
    } else {
        (void)uv_poll_start(&pipe->poll, events, pipe_ready);
    }
}

/* --- who is behind --- */

bool
zb_pipe_is_limited(const struct zb_pipe *pipe)
{
    const struct zb_stream *stream = TAILQ_FIRST(&pipe->streams);

    for (; stream != NULL; stream = TAILQ_NEXT(stream, pipe_link)) {
        if (stream->turn.waits) {
            return true;
        }
    }
    return false;
}

static bool
is_starved(const struct zb_pipe *pipe)
{
    struct zb_stream *stream = TAILQ_FIRST(&pipe->streams);

    for (; stream != NULL; stream = TAILQ_NEXT(stream, pipe_link)) {
        if (!is_dead(stream) && unsent(stream) == 0) {
            return true;
        }
    }
    return false;
}

/* Who has most unsent, if that is too much to read on; NULL. */
static struct zb_stream *
slowest(const struct zb_pipe *pipe)
{
    struct zb_stream *stream = TAILQ_FIRST(&pipe->streams), *most = NULL;

    for (; stream != NULL; stream = TAILQ_NEXT(stream, pipe_link)) {
        if (!is_dead(stream) && (most == NULL || unsent(stream) > unsent(most))) {
            most = stream;
        }
    }
    return most != NULL && unsent(most) >= ZB_STREAM_LAG_MAX ? most : NULL;
}

/* Goes on its own way: with its connection, or when the waiting ones are served next. */
static void
let_go(struct zb_stream *stream)
{
    stream->behind = true;
    zb_pipe_leave(stream);
    if (stream->conn != NULL) {
        zb_conn_doom(stream->conn, "%s", ZB_PIPE_BEHIND);
    } else {
        stream->net->streams_due = true;
        zb_net_work_start(stream->net);
    }
}

void
zb_pipe_judge(struct zb_pipe *pipe, uint64_t now_ms)
{
    uint64_t gap_ms = now_ms - pipe->judged_ms;
    uint64_t loss;

    if (!is_shared(pipe) || gap_ms == 0) {
        return;
    }
    pipe->judged_ms = now_ms;
    gap_ms = gap_ms < GAP_MAX_MS ? gap_ms : 0;
    loss = HELD_LOSS * gap_ms;
    struct zb_stream *holds =
        pipe->due && is_starved(pipe) && !zb_pipe_is_limited(pipe) ? slowest(pipe) : NULL;
    if (holds == NULL) {
        pipe->held -= loss < pipe->held ? loss : pipe->held;
        return;
    }
    pipe->held += HELD_GAIN * gap_ms;
    if (pipe->held >= HELD_MAX) {
        pipe->held = 0;
        let_go(holds);
    }
}
