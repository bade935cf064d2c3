/* Several streams from one source, which is read once. */
#include "mover.h"

#define FLOWS_MAX 6

struct shared {
    struct world w;
    struct host a, b;
    struct flow f[FLOWS_MAX];
    int count;
    struct mover source;
};

static uint32_t watchdog_ms; /* of both sides; 0: as it is by default */

/* count streams from a source of size bytes; how they are taken, `on_flow` says. */
static void
shared_open(struct shared *s, int count, size_t size, void (*on_flow)(struct host *, struct flow *))
{
    struct zb_err err;
    pair_init(&s->w, &s->a, &s->b);
    s->a.timing.watchdog_ms = s->b.timing.watchdog_ms = watchdog_ms;
    pair_start(&s->w, &s->a, &s->b);
    s->b.on_flow = on_flow;
    s->count = count;
    sink_pause_us = 0;
    memset(sinks, 0, sizeof sinks);
    for (int i = 0; i < count; i++) {
        flow_open(&s->a, &s->b, &s->f[i], i);
    }
    assert_int_equal(zb_stream_pump_from_fd(s->f[0].stream, source_start(&s->source, size), &err),
                     ZB_OK);
    for (int i = 1; i < count; i++) {
        assert_int_equal(zb_stream_pump_share(s->f[i].stream, s->f[i - 1].stream, &err), ZB_OK);
    }
    for (int i = 0; i < count; i++) {
        flow_finish(&s->f[i]);
    }
}

static void
shared_close(struct shared *s)
{
    for (int i = 0; i < s->count; i++) {
        flow_close(&s->f[i]);
    }
    pair_close(&s->w, &s->a, &s->b);
}

static void
assert_whole(struct shared *s, int i, size_t size)
{
    assert_int_equal(s->f[i].closes, 0);
    pthread_join(sinks[i].thread, NULL);
    assert_int_equal(sinks[i].size, size);
    assert_false(sinks[i].wrong);
    assert_true(json_is_true(json_object_get(s->f[i].reply, "ok")));
}

static void
everybody_gets_all(int count, size_t size)
{
    struct shared s;
    shared_open(&s, count, size, flow_to_sink);
    for (int i = 0; i < count; i++) {
        WAIT(&s.w, s.f[i].replies == 1);
    }
    pthread_join(s.source.thread, NULL);
    assert_false(s.source.wrong);
    for (int i = 0; i < count; i++) {
        assert_whole(&s, i, size);
    }
    shared_close(&s);
}

static void
test_everybody_gets_all(void **state)
{
    (void)state;
    everybody_gets_all(2, 0);
    everybody_gets_all(2, 1);
    everybody_gets_all(3, ZB_STREAM_CHUNK_MAX + 1);
    everybody_gets_all(4, 40 * MIB);
}

/* Those without a connection yet are not more than they may be behind. */
static void
test_more_streams_than_connections(void **state)
{
    (void)state;
    everybody_gets_all(ZB_NET_DATA_CONNS_MAX + 2, ZB_STREAM_LAG_MAX / 2);
}

static void
second_is_left_alone(struct host *h, struct flow *f)
{
    if (json_integer_value(json_object_get(f->header, "n")) != 1) {
        flow_to_sink(h, f);
    }
}

static void
test_who_stands_still_is_let_go(void **state)
{
    struct shared s;
    (void)state;
    shared_open(&s, 3, 50 * MIB, second_is_left_alone);
    WAIT(&s.w, s.f[0].replies == 1 && s.f[2].replies == 1 && s.f[1].closes == 1);
    assert_true(s.f[1].behind);
    assert_about(s.f[1].reason, "too slow");
    pthread_join(s.source.thread, NULL);
    assert_whole(&s, 0, 50 * MIB);
    assert_whole(&s, 2, 50 * MIB);
    shared_close(&s);
}

static void
first_alone_is_taken(struct host *h, struct flow *f)
{
    if (json_integer_value(json_object_get(f->header, "n")) == 0) {
        flow_to_sink(h, f);
    }
}

/* Each of them alone would not be behind all the time. */
static void
test_all_who_stand_still_are_let_go(void **state)
{
    struct shared s;
    (void)state;
    shared_open(&s, 3, 50 * MIB, first_alone_is_taken);
    WAIT(&s.w, s.f[0].replies == 1 && s.f[1].closes == 1 && s.f[2].closes == 1);
    assert_true(s.f[1].behind && s.f[2].behind);
    pthread_join(s.source.thread, NULL);
    assert_whole(&s, 0, 50 * MIB);
    shared_close(&s);
}

/* Held back for many times the watchdog's time by the turn of another stream of its source. */
static void
test_a_limit_of_one_is_no_standstill_of_another(void **state)
{
    const struct zb_stream_limit limit = {.group = 1, .bytes_per_s = 2048};
    struct shared s;
    (void)state;
    watchdog_ms = 400;
    shared_open(&s, 2, 3 * 4096, flow_to_sink);
    watchdog_ms = 0;
    zb_stream_limit_set(s.f[1].stream, &limit);
    WAIT(&s.w, zb_stream_bytes(s.f[0].stream) == 2 * 4096);
    assert_int_equal(s.f[0].closes + s.f[1].closes + s.b.flows[0].closes + s.b.flows[1].closes, 0);
    zb_stream_limit_set(s.f[1].stream, &(struct zb_stream_limit){.group = 1});
    WAIT(&s.w, s.f[0].replies == 1 && s.f[1].replies == 1);
    pthread_join(s.source.thread, NULL);
    assert_whole(&s, 0, 3 * 4096);
    assert_whole(&s, 1, 3 * 4096);
    shared_close(&s);
}

static void
test_who_waits_for_a_connection_is_let_go(void **state)
{
    enum { LAST = ZB_NET_DATA_CONNS_MAX };
    struct shared s;
    (void)state;
    shared_open(&s, LAST + 1, 50 * MIB, flow_to_sink);
    WAIT(&s.w, s.f[0].replies == 1 && s.f[LAST].closes == 1);
    assert_true(s.f[LAST].behind);
    for (int i = 0; i < LAST; i++) {
        WAIT(&s.w, s.f[i].replies == 1);
        assert_whole(&s, i, 50 * MIB);
    }
    pthread_join(s.source.thread, NULL);
    shared_close(&s);
}

/* The accepted stream that is the i-th of the source. */
static struct flow *
accepted(struct shared *s, int i)
{
    struct flow *f = s->b.flows;
    while (json_integer_value(json_object_get(f->header, "n")) != i) {
        f++;
    }
    return f;
}

/* Who alone holds a source up holds up nobody. */
static void
test_without_others_nobody_is_behind(void **state)
{
    struct shared s;
    (void)state;
    shared_open(&s, 2, 50 * MIB, second_is_left_alone);
    WAIT(&s.w, s.b.flows_count == 2);
    uint64_t since_ms = world_now_ms();
    zb_stream_abort(s.f[0].stream);
    while (world_now_ms() - since_ms < 6000) {
        world_step(&s.w);
    }
    assert_int_equal(s.f[1].closes, 0);
    flow_to_sink(&s.b, accepted(&s, 1));
    WAIT(&s.w, s.f[1].replies == 1);
    pthread_join(s.source.thread, NULL);
    assert_whole(&s, 1, 50 * MIB);
    WAIT(&s.w, accepted(&s, 0)->closes == 1);
    shared_close(&s);
}

/* One that is given up in the middle, also the one that brought the source. */
static void
given_up(int which)
{
    struct shared s;
    shared_open(&s, 3, 50 * MIB, flow_to_sink);
    WAIT(&s.w, zb_stream_bytes(s.f[which].stream) > MIB);
    zb_stream_abort(s.f[which].stream);
    for (int i = 0; i < 3; i++) {
        if (i != which) {
            WAIT(&s.w, s.f[i].replies == 1);
            assert_whole(&s, i, 50 * MIB);
        }
    }
    WAIT(&s.w, accepted(&s, which)->closes == 1);
    pthread_join(s.source.thread, NULL);
    pthread_join(sinks[which].thread, NULL);
    assert_false(sinks[which].wrong);
    shared_close(&s);
}

static void
test_one_is_given_up(void **state)
{
    (void)state;
    given_up(0);
    given_up(1);
}

static void
test_too_late_to_share(void **state)
{
    struct shared s;
    struct flow late;
    struct zb_err err;
    (void)state;
    shared_open(&s, 2, 4 * MIB, flow_to_sink);
    WAIT(&s.w, zb_stream_bytes(s.f[0].stream) > 0);
    flow_open(&s.a, &s.b, &late, 2);
    assert_int_equal(zb_stream_pump_share(late.stream, s.f[0].stream, &err), ZB_E_USAGE);
    zb_stream_abort(late.stream);
    WAIT(&s.w, s.f[0].replies == 1 && s.f[1].replies == 1);
    pthread_join(s.source.thread, NULL);
    assert_whole(&s, 0, 4 * MIB);
    assert_whole(&s, 1, 4 * MIB);
    flow_close(&late);
    shared_close(&s);
}

/* What is read once is sent to each, and counts as often. */
static void
test_under_a_limit_each_counts(void **state)
{
    const size_t size = 2 * MIB;
    struct shared s;
    (void)state;
    shared_open(&s, 2, size, flow_to_sink);
    zb_net_limit_set(s.a.net, 2 * size);
    uint64_t since_ms = world_now_ms();
    WAIT(&s.w, s.f[0].replies == 1 && s.f[1].replies == 1);
    assert_true(world_now_ms() - since_ms >= 1000 * 9 / 10);
    pthread_join(s.source.thread, NULL);
    assert_whole(&s, 0, size);
    assert_whole(&s, 1, size);
    shared_close(&s);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_everybody_gets_all),
        cmocka_unit_test(test_more_streams_than_connections),
        cmocka_unit_test(test_who_stands_still_is_let_go),
        cmocka_unit_test(test_all_who_stand_still_are_let_go),
        cmocka_unit_test(test_a_limit_of_one_is_no_standstill_of_another),
        cmocka_unit_test(test_who_waits_for_a_connection_is_let_go),
        cmocka_unit_test(test_without_others_nobody_is_behind),
        cmocka_unit_test(test_one_is_given_up),
        cmocka_unit_test(test_too_late_to_share),
        cmocka_unit_test(test_under_a_limit_each_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
