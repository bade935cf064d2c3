/* Limits of streams over real sockets: never more than the limit, and not much less. */
#include "mover.h"

#include <fcntl.h>
#include <unistd.h>

#define SLACK_MS 10000 /* of a busy machine */

struct sent {
    struct flow f;
    struct mover source;
};

static void
pumped(struct host *from, const struct host *to, struct sent *s, int n, size_t size,
       const struct zb_stream_limit *limit)
{
    struct zb_err err;
    flow_open(from, to, &s->f, n);
    if (limit != NULL) {
        zb_stream_limit_set(s->f.stream, limit);
    }
    assert_int_equal(zb_stream_pump_from_fd(s->f.stream, source_start(&s->source, size), &err),
                     ZB_OK);
    flow_finish(&s->f);
}

static void
ended(struct sent *s, int n, size_t size)
{
    assert_int_equal(s->f.replies, 1);
    pthread_join(s->source.thread, NULL);
    pthread_join(sinks[n].thread, NULL);
    assert_int_equal(sinks[n].size, size);
    assert_false(sinks[n].wrong);
    flow_close(&s->f);
}

static void
assert_time(uint64_t since_ms, size_t bytes, uint64_t rate)
{
    uint64_t took_ms = world_now_ms() - since_ms, planned_ms = bytes * 1000 / rate;
    print_message("%zu bytes at %llu bytes/s: %llu ms, planned %llu ms\n", bytes,
                  (unsigned long long)rate, (unsigned long long)took_ms,
                  (unsigned long long)planned_ms);
    assert_true(took_ms >= planned_ms * 10 / 11);
    assert_true(took_ms <= planned_ms * 11 / 10 + SLACK_MS);
}

static void
pair_of_sinks(struct world *w, struct host *a, struct host *b)
{
    pair_open(w, a, b);
    b->on_flow = flow_to_sink;
    sink_pause_us = 0;
}

static void
test_one_stream(void **state)
{
    struct world w;
    struct host a, b;
    struct sent s;
    const uint64_t rate = 4 * MIB;
    (void)state;
    pair_of_sinks(&w, &a, &b);
    zb_net_limit_set(a.net, rate);
    uint64_t since_ms = world_now_ms();
    pumped(&a, &b, &s, 0, 8 * MIB, NULL);
    WAIT(&w, s.f.replies == 1);
    assert_time(since_ms, 8 * MIB, rate);
    ended(&s, 0, 8 * MIB);
    pair_close(&w, &a, &b);
}

/* Three under the limit of their group: the same each, and together as much as the limit. */
static void
test_group_is_fair(void **state)
{
    struct world w;
    struct host a, b;
    struct sent s[3];
    struct zb_stream_limit limit = {.group = 7, .bytes_per_s = 3 * MIB};
    uint64_t part[3], least = UINT64_MAX, most = 0;
    (void)state;
    pair_of_sinks(&w, &a, &b);
    uint64_t since_ms = world_now_ms();
    for (int i = 0; i < 3; i++) {
        pumped(&a, &b, &s[i], i, 2 * MIB, &limit);
    }
    WAIT(&w, zb_stream_bytes(s[0].f.stream) >= 3 * MIB / 2);
    for (int i = 0; i < 3; i++) {
        part[i] = zb_stream_bytes(s[i].f.stream);
        least = part[i] < least ? part[i] : least;
        most = part[i] > most ? part[i] : most;
    }
    print_message("after 1.5 MiB of one: %llu to %llu bytes\n", (unsigned long long)least,
                  (unsigned long long)most);
    assert_true(most * 2 <= least * 3); /* a busy machine may hold up a source */
    WAIT(&w, s[0].f.replies == 1 && s[1].f.replies == 1 && s[2].f.replies == 1);
    assert_time(since_ms, 6 * MIB, limit.bytes_per_s);
    for (int i = 0; i < 3; i++) {
        ended(&s[i], i, 2 * MIB);
    }
    pair_close(&w, &a, &b);
}

/* Who is waited for takes all that the net's limit gives, and is not under its group's. */
static void
test_first(void **state)
{
    struct world w;
    struct host a, b;
    struct sent slow, first;
    const uint64_t rate = 4 * MIB;
    struct zb_stream_limit limit = {.group = 1, .bytes_per_s = MIB};
    (void)state;
    pair_of_sinks(&w, &a, &b);
    zb_net_limit_set(a.net, rate);
    pumped(&a, &b, &slow, 0, 2 * MIB, &limit);
    WAIT(&w, zb_stream_bytes(slow.f.stream) > 0);
    uint64_t since_ms = world_now_ms(), before = zb_stream_bytes(slow.f.stream);
    limit.first = true;
    pumped(&a, &b, &first, 1, 4 * MIB, &limit);
    WAIT(&w, first.f.replies == 1);
    assert_time(since_ms, 4 * MIB, rate);
    assert_true(zb_stream_bytes(slow.f.stream) - before < MIB);
    ended(&first, 1, 4 * MIB);
    zb_stream_limit_set(slow.f.stream, &limit); /* now somebody waits for it, too */
    WAIT(&w, slow.f.replies == 1);
    ended(&slow, 0, 2 * MIB);
    pair_close(&w, &a, &b);
}

/* Held back for many times the watchdog's time, on both sides, it is not taken for stuck. */
static void
test_no_watchdog(void **state)
{
    struct world w;
    struct host a, b;
    struct sent s;
    (void)state;
    pair_init(&w, &a, &b);
    a.timing.watchdog_ms = b.timing.watchdog_ms = 400;
    pair_start(&w, &a, &b);
    b.on_flow = flow_to_sink;
    sink_pause_us = 0;
    zb_net_limit_set(a.net, 2048); /* a turn in two seconds */
    pumped(&a, &b, &s, 0, 3 * 4096, NULL);
    WAIT(&w, zb_stream_bytes(s.f.stream) == 2 * 4096);
    assert_int_equal(s.f.closes + b.flows[0].closes, 0);
    zb_net_limit_set(a.net, 0); /* lifted: at once */
    uint64_t since_ms = world_now_ms();
    WAIT(&w, s.f.replies == 1);
    assert_true(world_now_ms() - since_ms < 1500);
    ended(&s, 0, 3 * 4096);
    pair_close(&w, &a, &b);
}

/* A receiver that takes nothing is stuck, limit or not. */
static void
test_watchdog(void **state)
{
    struct world w;
    struct host a, b;
    struct sent s;
    (void)state;
    pair_init(&w, &a, &b);
    a.timing.watchdog_ms = 400;
    pair_start(&w, &a, &b);
    b.on_flow = flow_left_alone;
    zb_net_limit_set(a.net, 512 * MIB);
    pumped(&a, &b, &s, 0, 50 * MIB, NULL);
    WAIT(&w, s.f.closes == 1);
    assert_about(s.f.reason, "the receiver takes no bytes");
    pthread_join(s.source.thread, NULL);
    pair_close(&w, &a, &b);
}

/* Ends of all kinds while it waits for its turn. */
static void
test_ends_held_back(void **state)
{
    struct world w;
    struct host a, b;
    struct sent s, other;
    struct zb_stream_limit limit = {.group = 1, .bytes_per_s = 4096};
    (void)state;
    pair_of_sinks(&w, &a, &b);
    pumped(&a, &b, &s, 0, MIB, &limit);
    WAIT(&w, zb_stream_bytes(s.f.stream) > 0);
    zb_stream_abort(s.f.stream);
    pthread_join(s.source.thread, NULL);
    WAIT(&w, b.flows[0].closes == 1);
    pthread_join(sinks[0].thread, NULL);
    pumped(&a, &b, &s, 1, MIB, &limit);
    pumped(&a, &b, &other, 2, MIB, &limit);
    WAIT(&w, zb_stream_bytes(s.f.stream) > 0);
    host_stop(&b);
    WAIT(&w, s.f.closes == 1 && other.f.closes == 1);
    pthread_join(s.source.thread, NULL);
    pthread_join(other.source.thread, NULL);
    for (int n = 1; n < b.flows_count; n++) {
        pthread_join(sinks[json_integer_value(json_object_get(b.flows[n].header, "n"))].thread,
                     NULL);
    }
    pair_close(&w, &a, &b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_stream), cmocka_unit_test(test_group_is_fair),
        cmocka_unit_test(test_first),      cmocka_unit_test(test_no_watchdog),
        cmocka_unit_test(test_watchdog),   cmocka_unit_test(test_ends_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
