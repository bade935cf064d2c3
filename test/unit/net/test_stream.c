/* Streams between two nets: bytes, back-pressure, reuse, early replies, aborts, the watchdog. */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#define MIB (1u << 20)

/* A thread that writes a known pattern into a pipe, or reads it and checks. */
struct mover {
    pthread_t thread;
    int fd;
    size_t size;          /* to write; when read: how many came */
    useconds_t pause_us;  /* after each 64 KiB */
    bool wrong;
    _Atomic bool done;
};

static uint8_t
pattern(size_t at)
{
    return (uint8_t)(at * 7 + at / 251 + at / 65537);
}

static void *
writer(void *ctx)
{
    struct mover *m = ctx;
    uint8_t block[65536];
    for (size_t at = 0; at < m->size;) {
        size_t n = m->size - at < sizeof block ? m->size - at : sizeof block;
        for (size_t i = 0; i < n; i++) {
            block[i] = pattern(at + i);
        }
        ssize_t put = write(m->fd, block, n);
        if (put < 0) {
            m->wrong = true;
            break;
        }
        at += (size_t)put;
    }
    close(m->fd);
    m->done = true;
    return NULL;
}

static void *
reader(void *ctx)
{
    struct mover *m = ctx;
    uint8_t block[65536];
    ssize_t n;
    while ((n = read(m->fd, block, sizeof block)) > 0) {
        for (size_t i = 0; i < (size_t)n; i++) {
            m->wrong = m->wrong || block[i] != pattern(m->size + i);
        }
        m->size += (size_t)n;
        usleep(m->pause_us);
    }
    close(m->fd);
    m->done = true;
    return NULL;
}

/* A pipe whose writing end is a thread's; returns the reading end. */
static int
source_start(struct mover *m, size_t size)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    memset(m, 0, sizeof *m);
    m->fd = fds[1];
    m->size = size;
    assert_int_equal(pthread_create(&m->thread, NULL, writer, m), 0);
    return fds[0];
}

static int
sink_start(struct mover *m, useconds_t pause_us)
{
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    memset(m, 0, sizeof *m);
    m->fd = fds[0];
    m->pause_us = pause_us;
    assert_int_equal(pthread_create(&m->thread, NULL, reader, m), 0);
    return fds[1];
}

/* Sinks of accepted streams, by the header's n. */
static struct mover sinks[16];
static useconds_t sink_pause_us;

static void
flow_to_sink(struct host *h, struct flow *f)
{
    struct zb_err err;
    json_int_t n = json_integer_value(json_object_get(f->header, "n"));
    (void)h;
    assert_true(n >= 0 && n < 16);
    assert_int_equal(zb_stream_pump_to_fd(f->stream, sink_start(&sinks[n], sink_pause_us), &err),
                     ZB_OK);
}

static void
flow_left_alone(struct host *h, struct flow *f)
{
    (void)h;
    (void)f;
}

static void
streamed(size_t size, useconds_t pause_us)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    pair_open(&w, &a, &b);
    sink_pause_us = pause_us;
    b.on_flow = flow_to_sink;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, size), &err), ZB_OK);
    flow_finish(&f);
    WAIT(&w, f.replies == 1);
    pthread_join(source.thread, NULL);
    pthread_join(sinks[0].thread, NULL);
    assert_int_equal(sinks[0].size, size);
    assert_false(sinks[0].wrong);
    assert_int_equal(b.flows[0].ends, 1);
    assert_true(json_is_true(json_object_get(b.flows[0].end, "whole")));
    assert_true(json_is_true(json_object_get(f.reply, "ok")));
    flow_close(&f);
    pair_close(&w, &a, &b);
}

static void
test_sizes(void **state)
{
    (void)state;
    streamed(0, 0);
    streamed(1, 0);
    streamed(ZB_STREAM_CHUNK_MAX, 0);
    streamed(ZB_STREAM_CHUNK_MAX + 1, 0);
}

static void
test_slow_reader(void **state)
{
    (void)state;
    streamed(50 * MIB, 1000);
}

/* Nobody reads: what is taken from the source stops at what the buffers hold. */
static void
test_back_pressure(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    uint64_t seen = 0, since_ms = world_now_ms();
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_left_alone;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 50 * MIB), &err), ZB_OK);
    flow_finish(&f);
    while (world_now_ms() - since_ms < 500) {
        world_step(&w);
        if (zb_stream_bytes(f.stream) != seen) {
            seen = zb_stream_bytes(f.stream);
            since_ms = world_now_ms();
        }
    }
    assert_true(seen > 0 && seen < 20 * MIB); /* most of it in the kernel's socket buffers */
    assert_false(source.done);
    sink_pause_us = 0;
    flow_to_sink(&b, &b.flows[0]);
    WAIT(&w, f.replies == 1);
    pthread_join(source.thread, NULL);
    pthread_join(sinks[0].thread, NULL);
    assert_int_equal(sinks[0].size, 50 * MIB);
    assert_false(sinks[0].wrong);
    flow_close(&f);
    pair_close(&w, &a, &b);
}

/* zb_stream_write with back-pressure, and one stream after the other. */
static void
test_write_and_drain(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct zb_err err;
    static uint8_t block[65536];
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_to_sink;
    sink_pause_us = 0;
    flow_open(&a, &b, &f, 0);
    for (size_t at = 0; at < 4 * MIB; at += sizeof block) {
        for (size_t i = 0; i < sizeof block; i++) {
            block[i] = pattern(at + i);
        }
        int drains = f.drains;
        enum zb_rc rc = zb_stream_write(f.stream, block, sizeof block, &err);
        if (rc == ZB_E_BUSY) {
            WAIT(&w, f.drains > drains);
            rc = zb_stream_write(f.stream, block, sizeof block, &err);
        }
        assert_int_equal(rc, ZB_OK);
    }
    assert_true(f.drains > 0);
    assert_int_equal(zb_stream_write(f.stream, block, ZB_STREAM_CHUNK_MAX + 1, &err), ZB_E_LIMIT);
    flow_finish(&f);
    assert_int_equal(zb_stream_write(f.stream, block, 1, &err), ZB_E_USAGE);
    json_t *end = json_object();
    assert_int_equal(zb_stream_finish(f.stream, end, &err), ZB_E_USAGE);
    json_decref(end);
    WAIT(&w, f.replies == 1);
    pthread_join(sinks[0].thread, NULL);
    assert_int_equal(sinks[0].size, 4 * MIB);
    assert_false(sinks[0].wrong);
    flow_close(&f);
    pair_close(&w, &a, &b);
}

/* Opens the next stream in the reply of the one before: all on one connection. */
struct chain {
    struct host *from;
    int left;
    bool closed;
};

static void
chain_reply(void *ctx, struct zb_stream *stream, json_t *reply);

static void
chain_closed(void *ctx, struct zb_stream *stream, const char *reason)
{
    struct chain *chain = ctx;
    (void)stream;
    (void)reason;
    chain->closed = true;
}

static void
chain_next(struct chain *chain)
{
    struct zb_err err;
    struct zb_stream *stream;
    struct zb_stream_callbacks callbacks = {
        .ctx = chain, .on_reply = chain_reply, .on_closed = chain_closed};
    json_t *json = json_object();
    assert_int_equal(zb_stream_open(chain->from->net, "bravo", json, &callbacks, &stream, &err),
                     ZB_OK);
    assert_int_equal(zb_stream_write(stream, "abcd", 4, &err), ZB_OK);
    assert_int_equal(zb_stream_finish(stream, json, &err), ZB_OK);
    json_decref(json);
}

static void
chain_reply(void *ctx, struct zb_stream *stream, json_t *reply)
{
    struct chain *chain = ctx;
    (void)stream;
    (void)reply;
    if (--chain->left > 0) {
        chain_next(chain);
    }
}

/* Data connections that b accepted: open descriptors tell. */
static int
descriptors(void)
{
    int open = 0;
    for (int fd = 0; fd < 1024; fd++) {
        open += fcntl(fd, F_GETFD) != -1;
    }
    return open;
}

static void
test_reuse(void **state)
{
    struct world w;
    struct host a, b;
    struct chain chain = {&a, HOST_FLOWS_MAX, false};
    (void)state;
    pair_open(&w, &a, &b);
    int before = descriptors();
    chain_next(&chain);
    WAIT(&w, chain.left == 0);
    assert_false(chain.closed);
    assert_int_equal(b.flows_count, HOST_FLOWS_MAX);
    assert_int_equal(descriptors() - before, 2); /* both ends of one connection */
    pair_close(&w, &a, &b);
}

/* More streams than connections: they wait their turn, and all arrive. */
static void
test_parallel(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f[16];
    struct mover source[16];
    struct zb_err err;
    int replies = 0;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_to_sink;
    sink_pause_us = 0;
    int before = descriptors();
    for (int i = 0; i < 16; i++) {
        flow_open(&a, &b, &f[i], i);
        int fd = source_start(&source[i], (size_t)i * 300000);
        assert_int_equal(zb_stream_pump_from_fd(f[i].stream, fd, &err), ZB_OK);
        flow_finish(&f[i]);
    }
    while (replies < 16) {
        world_step(&w);
        replies = 0;
        for (int i = 0; i < 16; i++) {
            replies += f[i].replies;
            assert_int_equal(f[i].closes, 0);
        }
    }
    for (int i = 0; i < 16; i++) {
        pthread_join(source[i].thread, NULL);
        pthread_join(sinks[i].thread, NULL);
        assert_int_equal(sinks[i].size, (size_t)i * 300000);
        assert_false(sinks[i].wrong);
        flow_close(&f[i]);
    }
    assert_int_equal(descriptors() - before, 2 * ZB_NET_DATA_CONNS_MAX);
    pair_close(&w, &a, &b);
}

/* Both directions at once, each on its own connections. */
static void
test_both_directions(void **state)
{
    struct world w;
    struct host a, b;
    struct flow there, back;
    struct mover source[2];
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    a.on_flow = b.on_flow = flow_to_sink;
    sink_pause_us = 0;
    flow_open(&a, &b, &there, 0);
    flow_open(&b, &a, &back, 1);
    assert_int_equal(zb_stream_pump_from_fd(there.stream, source_start(&source[0], 5 * MIB), &err),
                     ZB_OK);
    assert_int_equal(zb_stream_pump_from_fd(back.stream, source_start(&source[1], 5 * MIB), &err),
                     ZB_OK);
    flow_finish(&there);
    flow_finish(&back);
    WAIT(&w, there.replies == 1 && back.replies == 1);
    for (int i = 0; i < 2; i++) {
        pthread_join(source[i].thread, NULL);
        pthread_join(sinks[i].thread, NULL);
        assert_int_equal(sinks[i].size, 5 * MIB);
        assert_false(sinks[i].wrong);
    }
    flow_close(&there);
    flow_close(&back);
    pair_close(&w, &a, &b);
}

static void
flow_refuse(struct host *h, struct flow *f)
{
    struct zb_err err;
    (void)h;
    json_t *no = json_pack("{s:s}", "error", "stale term");
    assert_int_equal(zb_stream_reply(f->stream, no, &err), ZB_OK);
    json_decref(no);
    f->stream = NULL;
}

/* A reply before the end stops the sender; the connection stays good. */
static void
test_early_refusal(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_refuse;
    int before = descriptors();
    for (int i = 0; i < 3; i++) {
        flow_open(&a, &b, &f, 0);
        int fd = source_start(&source, 50 * MIB);
        assert_int_equal(zb_stream_pump_from_fd(f.stream, fd, &err), ZB_OK);
        WAIT(&w, f.replies == 1);
        assert_string_equal(json_string_value(json_object_get(f.reply, "error")), "stale term");
        pthread_join(source.thread, NULL);
        assert_true(source.wrong); /* its pipe was closed before it had written everything */
        flow_close(&f);
    }
    b.on_flow = NULL;
    flow_open(&a, &b, &f, 0);
    flow_finish(&f);
    WAIT(&w, f.replies == 1);
    assert_int_equal(descriptors() - before, 2);
    flow_close(&f);
    pair_close(&w, &a, &b);
}

/* The sink's reader leaves: the rest is swallowed, the end comes. */
static void
flow_to_closed_pipe(struct host *h, struct flow *f)
{
    int fds[2];
    struct zb_err err;
    (void)h;
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    close(fds[0]);
    assert_int_equal(zb_stream_pump_to_fd(f->stream, fds[1], &err), ZB_OK);
}

static void
test_sink_reader_leaves(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_to_closed_pipe;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 3 * MIB), &err), ZB_OK);
    flow_finish(&f);
    WAIT(&w, f.replies == 1);
    assert_int_equal(b.flows[0].ends, 1);
    pthread_join(source.thread, NULL);
    flow_close(&f);
    pair_close(&w, &a, &b);
}

static void
test_sender_aborts(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_to_sink;
    sink_pause_us = 1000;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 20 * MIB), &err), ZB_OK);
    WAIT(&w, b.flows_count == 1 && zb_stream_bytes(b.flows[0].stream) > 0);
    zb_stream_abort(f.stream);
    WAIT(&w, b.flows[0].closes == 1);
    assert_int_equal(f.closes + f.replies, 0);
    pthread_join(source.thread, NULL);
    pthread_join(sinks[0].thread, NULL); /* its pipe was closed */
    assert_int_equal(b.flows[0].ends, 0);
    flow_open(&a, &b, &f, 1); /* and the next one works */
    flow_finish(&f);
    WAIT(&w, f.replies == 1);
    pthread_join(sinks[1].thread, NULL);
    flow_close(&f);
    pair_close(&w, &a, &b);
}

static void
test_receiver_aborts(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_left_alone;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 20 * MIB), &err), ZB_OK);
    WAIT(&w, b.flows_count == 1);
    zb_stream_abort(b.flows[0].stream);
    WAIT(&w, f.closes == 1);
    assert_int_equal(b.flows[0].closes, 0);
    pthread_join(source.thread, NULL);
    pair_close(&w, &a, &b);
}

/* Abort before a connection is there. */
static void
test_abort_while_waiting(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    (void)state;
    pair_open(&w, &a, &b);
    flow_open(&a, &b, &f, 0);
    zb_stream_abort(f.stream);
    flow_open(&a, &b, &f, 0);
    flow_finish(&f);
    WAIT(&w, f.replies == 1);
    assert_int_equal(b.flows_count, 1);
    flow_close(&f);
    pair_close(&w, &a, &b);
}

static void
test_peer_goes_away(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct zb_err err;
    struct zb_stream *stream;
    (void)state;
    pair_open(&w, &a, &b);
    flow_open(&a, &b, &f, 0);
    WAIT(&w, b.flows_count == 1);
    host_stop(&b);
    WAIT(&w, f.closes == 1 && a.downs == 1);
    json_t *header = json_object();
    assert_int_equal(zb_stream_open(a.net, "bravo", header, &flow_callbacks, &stream, &err),
                     ZB_E_CLOSED);
    assert_int_equal(zb_stream_open(a.net, "charlie", header, &flow_callbacks, &stream, &err),
                     ZB_E_NOTFOUND);
    json_decref(header);
    pair_close(&w, &a, &b);
}

/* Who holds a stream up is named, on both sides. */
static void
watched(bool receiver_idle, const char *words)
{
    struct world w;
    struct host a, b;
    struct flow f;
    int fds[2];
    struct zb_err err;
    world_open(&w);
    host_init(&a, &w, "alfa");
    host_init(&b, &w, "bravo");
    a.timing.watchdog_ms = 400;
    host_start(&a);
    host_start(&b);
    host_knows(&a, &b);
    host_knows(&b, &a);
    WAIT(&w, a.ups == 1 && b.ups == 1);
    b.on_flow = receiver_idle ? flow_left_alone : NULL;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    if (receiver_idle) {
        flow_finish(&f);
    } else {
        assert_int_equal(zb_stream_pump_from_fd(f.stream, fds[0], &err), ZB_OK);
    }
    WAIT(&w, f.closes == 1);
    if (strstr(f.reason, words) == NULL) {
        fail_msg("\"%s\" is not about \"%s\"", f.reason, words);
    }
    close(fds[1]);
    if (receiver_idle) {
        close(fds[0]);
        zb_stream_discard(b.flows[0].stream); /* it reads, and sees */
    }
    WAIT(&w, b.flows[0].closes == 1 || b.flows[0].ends == 1);
    assert_int_equal(a.downs + b.downs, 0);
    pair_close(&w, &a, &b);
}

static void
test_watchdog(void **state)
{
    (void)state;
    watched(false, "no progress for 1 s: the source gives no bytes");
    watched(true, "no progress for 1 s: the receiver does not reply");
}

static void
test_free_in_the_middle(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f[8];
    struct mover source;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_to_sink;
    sink_pause_us = 500;
    for (int i = 0; i < 8; i++) { /* half of them wait for a connection */
        flow_open(&a, &b, &f[i], i);
    }
    assert_int_equal(zb_stream_pump_from_fd(f[0].stream, source_start(&source, 20 * MIB), &err),
                     ZB_OK);
    WAIT(&w, b.flows_count == ZB_NET_DATA_CONNS_MAX &&
                 zb_stream_bytes(b.flows[0].stream) > 0);
    host_stop(&a);
    WAIT(&w, b.downs == 1 && b.flows[0].closes == 1 && b.flows[3].closes == 1);
    pthread_join(source.thread, NULL);
    for (int i = 0; i < ZB_NET_DATA_CONNS_MAX; i++) {
        pthread_join(sinks[i].thread, NULL);
        assert_int_equal(f[i].closes, 0); /* freed without a word */
    }
    pair_close(&w, &a, &b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_back_pressure),
        cmocka_unit_test(test_write_and_drain),
        cmocka_unit_test(test_reuse),
        cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_both_directions),
        cmocka_unit_test(test_early_refusal),
        cmocka_unit_test(test_sink_reader_leaves),
        cmocka_unit_test(test_sender_aborts),
        cmocka_unit_test(test_receiver_aborts),
        cmocka_unit_test(test_abort_while_waiting),
        cmocka_unit_test(test_peer_goes_away),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_free_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
