/* Streams between two nets: bytes, back-pressure, reuse, many at once. */
#include "mover.h"

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
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 50 * MIB), &err),
                     ZB_OK);
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

static void chain_reply(void *ctx, struct zb_stream *stream, json_t *reply);

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

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),           cmocka_unit_test(test_slow_reader),
        cmocka_unit_test(test_back_pressure),   cmocka_unit_test(test_write_and_drain),
        cmocka_unit_test(test_reuse),           cmocka_unit_test(test_parallel),
        cmocka_unit_test(test_both_directions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
