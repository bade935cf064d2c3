/* Limits as streams have them: whose turn it is, and the timer that tells. */
#include "net/internal.h"

#include <assert.h>
#include <stdlib.h>

/* A held-back stream is heard of so many times within the time after which it counts as stuck. */
#define SIGNS_OF_LIFE 4

struct zb_limit_group {
    TAILQ_ENTRY(zb_limit_group) link;
    uint32_t id;
    struct zb_bucket bucket;
};

static void on_timer(uv_timer_t *timer);

/* Runs only while somebody waits. */
static void
timer_set(struct zb_net *net)
{
    uint64_t wait_ms = zb_shaper_wait_ms(&net->shaper, zb_net_now(net));

    if (wait_ms == UINT64_MAX) {
        (void)uv_timer_stop(&net->limit_timer);
    } else {
        (void)uv_timer_start(&net->limit_timer, on_timer, wait_ms, 0);
    }
}

static void
limits_run(struct zb_net *net)
{
    zb_shaper_run(&net->shaper, zb_net_now(net));
    timer_set(net);
}

static void
on_timer(uv_timer_t *timer)
{
    limits_run(timer->data);
}

static void
on_turn(struct zb_turn *turn)
{
    struct zb_stream *stream =
        (struct zb_stream *)(void *)((char *)turn - offsetof(struct zb_stream, turn));
    zb_pipe_wake(stream->pipe);
}

void
zb_limits_open(struct zb_net *net)
{
    zb_shaper_init(&net->shaper, on_turn);
    TAILQ_INIT(&net->limit_groups);
    (void)uv_timer_init(net->loop, &net->limit_timer);
    net->limit_timer.data = net;
    net->handles++;
}

void
zb_limits_free(struct zb_net *net)
{
    struct zb_limit_group *group;

    while ((group = TAILQ_FIRST(&net->limit_groups)) != NULL) {
        TAILQ_REMOVE(&net->limit_groups, group, link);
        free(group);
    }
}

/* Made with its first limit, it stays: what was sent lately counts for the group's next stream.
 * NULL: it never had one. */
static struct zb_bucket *
bucket_of(struct zb_net *net, uint32_t id, uint64_t bytes_per_s)
{
    struct zb_limit_group *group;

    for (group = TAILQ_FIRST(&net->limit_groups); group != NULL; group = TAILQ_NEXT(group, link)) {
        if (group->id == id) {
            zb_bucket_rate_set(&group->bucket, bytes_per_s, zb_net_now(net));
            return &group->bucket;
        }
    }
    if (bytes_per_s == 0) {
        return NULL;
    }
    group = zb_net_alloc(sizeof *group);
    group->id = id;
    TAILQ_INSERT_TAIL(&net->limit_groups, group, link);
    zb_bucket_rate_set(&group->bucket, bytes_per_s, zb_net_now(net));
    return &group->bucket;
}

void
zb_net_limit_set(struct zb_net *net, uint64_t bytes_per_s)
{
    if (net->shaper.all.rate != bytes_per_s) {
        zb_bucket_rate_set(&net->shaper.all, bytes_per_s, zb_net_now(net));
        limits_run(net);
    }
}

void
zb_stream_limit_set(struct zb_stream *stream, const struct zb_stream_limit *limit)
{
    struct zb_net *net = stream->net;
    struct zb_bucket *group = bucket_of(net, limit->group, limit->bytes_per_s);

    assert(stream->sender);
    zb_turn_set(&net->shaper, &stream->turn, group, limit->first, zb_net_now(net));
    limits_run(net);
}

size_t
zb_limit_ask(struct zb_stream *stream)
{
    struct zb_net *net = stream->net;
    uint32_t bytes = zb_shaper_ask(&net->shaper, &stream->turn, zb_net_now(net));

    if (bytes == 0) {
        timer_set(net);
    }
    return bytes;
}

void
zb_limit_leave(struct zb_stream *stream)
{
    if (stream->sender) {
        zb_shaper_leave(&stream->net->shaper, &stream->turn, zb_net_now(stream->net));
        timer_set(stream->net);
    }
}

bool
zb_limit_tick(struct zb_conn *conn, uint64_t now_ms, uint32_t watchdog_ms)
{
    uint8_t header[ZB_FRAME_HEADER_SIZE];

    if (conn->stream->pipe == NULL || !zb_pipe_is_limited(conn->stream->pipe) ||
        zb_buf_length(&conn->out) > 0) {
        return false;
    }
    if (now_ms >= conn->io_ms + watchdog_ms / SIGNS_OF_LIFE) {
        zb_frame_header_encode(ZB_FRAME_DATA, 0, header);
        zb_buf_append(&conn->out, header, sizeof header);
        zb_conn_wake(conn);
    }
    return true;
}
