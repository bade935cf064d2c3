/* How streams end otherwise: early replies, aborts, lost peers, the watchdog. */
#include "mover.h"

#include <fcntl.h>
#include <unistd.h>

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
test_sink_reader_leaves(void **state)
{
    struct world w;
    struct host a, b;
    struct flow f;
    struct mover source;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    b.on_flow = flow_swallow;
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
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 20 * MIB), &err),
                     ZB_OK);
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
    assert_int_equal(zb_stream_pump_from_fd(f.stream, source_start(&source, 20 * MIB), &err),
                     ZB_OK);
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
    pair_init(&w, &a, &b);
    a.timing.watchdog_ms = 400;
    pair_start(&w, &a, &b);
    b.on_flow = receiver_idle ? flow_left_alone : NULL;
    flow_open(&a, &b, &f, 0);
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    if (receiver_idle) {
        flow_finish(&f);
    } else {
        assert_int_equal(zb_stream_pump_from_fd(f.stream, fds[0], &err), ZB_OK);
    }
    WAIT(&w, f.closes == 1);
    assert_about(f.reason, words);
    close(fds[1]);
    if (receiver_idle) {
        close(fds[0]);
        flow_swallow(&b, &b.flows[0]); /* it reads, and sees */
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
    WAIT(&w, b.flows_count == ZB_NET_DATA_CONNS_MAX && zb_stream_bytes(b.flows[0].stream) > 0);
    host_stop(&a);
    WAIT(&w, b.downs == 1 && b.flows[0].closes == 1 && b.flows[3].closes == 1);
    pthread_join(source.thread, NULL);
    for (int i = 0; i < ZB_NET_DATA_CONNS_MAX; i++) {
        pthread_join(sinks[i].thread, NULL);
        assert_int_equal(f[i].closes, 0); /* freed without a word */
    }
    pair_close(&w, &a, &b);
}

/* zb_net_free inside a callback: nothing of the net is touched after it. */
static void
freed_in(enum host_callback callback)
{
    struct world w;
    struct host a, b;
    struct flow f = {0};
    struct zb_err err;
    pair_open(&w, &a, &b);
    bool at_b = callback == HOST_MESSAGE || callback == HOST_STREAM || callback == HOST_END;
    struct host *freer = at_b ? &b : &a;
    freer->free_in = callback;
    flow_open(&a, &b, &f, 0);
    f.host = &a;
    json_t *msg = json_object();
    assert_int_equal(zb_net_send(a.net, "bravo", msg, &err), ZB_OK);
    json_decref(msg);
    if (callback == HOST_CLOSED || callback == HOST_DOWN) {
        b.on_flow = flow_left_alone;
        WAIT(&w, b.flows_count == 1);
        host_stop(&b);
    } else {
        flow_finish(&f);
    }
    WAIT(&w, freer->net == NULL);
    for (int i = 0; i < 20; i++) {
        world_step(&w);
        if (a.net == NULL && b.net == NULL) {
            break; /* nothing is left that would wake the loop */
        }
    }
    flow_close(&f);
    pair_close(&w, &a, &b);
}

static void
test_free_inside_callbacks(void **state)
{
    (void)state;
    freed_in(HOST_MESSAGE);
    freed_in(HOST_STREAM);
    freed_in(HOST_END);
    freed_in(HOST_REPLY);
    freed_in(HOST_CLOSED);
    freed_in(HOST_DOWN);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_early_refusal),
        cmocka_unit_test(test_sink_reader_leaves),
        cmocka_unit_test(test_sender_aborts),
        cmocka_unit_test(test_receiver_aborts),
        cmocka_unit_test(test_abort_while_waiting),
        cmocka_unit_test(test_peer_goes_away),
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_free_in_the_middle),
        cmocka_unit_test(test_free_inside_callbacks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
