/* Limits of what is sent, in virtual time. */
#include "unit.h"

#include "net/shaper.h"

#define TURNS 8
#define KIB 1024u
#define MIB (1u << 20)

struct sender {
    struct zb_turn turn;
    uint64_t bytes;
    uint32_t most; /* that its source gives at once */
    bool idle;     /* its source gives nothing */
};

static struct zb_shaper shaper;
static struct sender senders[TURNS];
static uint64_t now_ms;
static uint64_t wakes;

static void
on_turn(struct zb_turn *turn)
{
    wakes++;
    assert_false(turn->waits);
    assert_true(turn->grant > 0);
}

static void
begin(uint64_t rate)
{
    memset(senders, 0, sizeof senders);
    now_ms = 5000000;
    wakes = 0;
    zb_shaper_init(&shaper, on_turn);
    zb_bucket_rate_set(&shaper.all, rate, now_ms);
    for (size_t i = 0; i < TURNS; i++) {
        senders[i].most = 64 * KIB;
        senders[i].idle = true;
    }
}

static void
send_some(struct sender *s)
{
    uint32_t bytes;

    while (!s->idle && !s->turn.waits && (bytes = zb_shaper_ask(&shaper, &s->turn, now_ms)) > 0) {
        bytes = bytes < s->most ? bytes : s->most;
        zb_turn_sent(&s->turn, bytes);
        s->bytes += bytes;
    }
}

/* Virtual time goes from one wake-up to the next; late by up to late_ms. */
static void
run_for(uint64_t ms, uint64_t late_ms)
{
    uint64_t end_ms = now_ms + ms;

    while (now_ms < end_ms) {
        for (size_t i = 0; i < TURNS; i++) {
            send_some(&senders[i]);
        }
        uint64_t wait_ms = zb_shaper_wait_ms(&shaper, now_ms);
        if (wait_ms == UINT64_MAX || wait_ms + late_ms > end_ms - now_ms) {
            now_ms = end_ms;
        } else {
            now_ms += wait_ms + late_ms;
        }
        zb_shaper_run(&shaper, now_ms);
    }
}

static uint64_t
sent(void)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < TURNS; i++) {
        sum += senders[i].bytes;
    }
    return sum;
}

static void
assert_about(uint64_t got, uint64_t expected, double part)
{
    if ((double)got < (double)expected * (1 - part) ||
        (double)got > (double)expected * (1 + part)) {
        fail_msg("%llu, not about %llu", (unsigned long long)got, (unsigned long long)expected);
    }
}

static void
test_rates(void **state)
{
    static const uint64_t rates[] = {64 * KIB,  1000003,    5 * MIB,
                                     117 * MIB, 1234567890, UINT64_C(1) << 40};
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        begin(rates[i]);
        senders[0].idle = false;
        if (rates[i] > UINT64_C(1) << 32) {
            senders[0].most = UINT32_MAX;
            run_for(20, 0);
            assert_about(sent(), rates[i] / 50, 0.1);
            continue;
        }
        run_for(10000, 0);
        assert_about(sent(), 10 * rates[i], 0.02);
    }
}

/* What the timer is late is made up for, up to a tenth of a second. */
static void
test_late_timers(void **state)
{
    (void)state;
    begin(5 * MIB);
    senders[0].idle = false;
    run_for(10000, 60);
    assert_about(sent(), UINT64_C(50) * MIB, 0.02);
    begin(5 * MIB);
    senders[0].idle = false;
    run_for(10000, 400);
    assert_true(sent() < UINT64_C(25) * MIB);
}

/* Time in which nothing was sent is not saved up. */
static void
test_burst(void **state)
{
    (void)state;
    begin(1 * MIB);
    now_ms += 3600000;
    senders[0].idle = false;
    run_for(1, 0);
    assert_true(sent() <= MIB / 10 + MIB / 20);
    run_for(999, 0);
    assert_true(sent() <= MIB + MIB * 3 / 20);
}

static void
test_fair(void **state)
{
    (void)state;
    begin(3 * MIB);
    for (size_t i = 0; i < 3; i++) {
        senders[i].idle = false;
    }
    senders[1].most = 1 * KIB; /* in small pieces: the same in the end */
    senders[2].most = 256 * KIB;
    run_for(10000, 3);
    assert_about(sent(), UINT64_C(30) * MIB, 0.02);
    for (size_t i = 0; i < 3; i++) {
        assert_about(senders[i].bytes, UINT64_C(10) * MIB, 0.05);
    }
}

/* One that comes late gets its part from then on, not more. */
static void
test_late_comer(void **state)
{
    (void)state;
    begin(2 * MIB);
    senders[0].idle = false;
    run_for(5000, 0);
    senders[1].idle = false;
    run_for(5000, 0);
    assert_about(senders[0].bytes, UINT64_C(15) * MIB, 0.05);
    assert_about(senders[1].bytes, UINT64_C(5) * MIB, 0.05);
}

/* Two groups: one with a low limit leaves the rest to the other. */
static void
test_groups(void **state)
{
    struct zb_bucket slow = {0}, fast = {0};
    (void)state;
    begin(10 * MIB);
    zb_bucket_rate_set(&slow, 1 * MIB, now_ms);
    zb_bucket_rate_set(&fast, 100 * MIB, now_ms);
    for (size_t i = 0; i < 5; i++) {
        zb_turn_set(&shaper, &senders[i].turn, i < 3 ? &slow : &fast, false, now_ms);
        senders[i].idle = false;
    }
    run_for(10000, 0);
    assert_about(sent(), UINT64_C(100) * MIB, 0.02);
    for (size_t i = 0; i < 3; i++) {
        assert_about(senders[i].bytes, UINT64_C(10) * MIB / 3, 0.1);
    }
    assert_about(senders[3].bytes, UINT64_C(45) * MIB, 0.05);
    assert_about(senders[4].bytes, UINT64_C(45) * MIB, 0.05);
}

/* A group's limit alone, and none at all. */
static void
test_no_limit_of_all(void **state)
{
    struct zb_bucket slow = {0};
    (void)state;
    begin(0);
    zb_bucket_rate_set(&slow, 1 * MIB, now_ms);
    zb_turn_set(&shaper, &senders[0].turn, &slow, false, now_ms);
    senders[0].idle = false;
    run_for(10000, 0);
    assert_about(senders[0].bytes, UINT64_C(10) * MIB, 0.02);
    assert_int_equal(zb_shaper_ask(&shaper, &senders[1].turn, now_ms), ZB_SHAPER_QUANTUM_MAX);
    zb_turn_sent(&senders[1].turn, 64 * KIB);
    assert_int_equal(zb_shaper_ask(&shaper, &senders[1].turn, now_ms), ZB_SHAPER_QUANTUM_MAX);
}

/* Who is waited for is not held back by its group, and takes what the limit of all gives. */
static void
test_first(void **state)
{
    struct zb_bucket slow = {0};
    (void)state;
    begin(10 * MIB);
    zb_bucket_rate_set(&slow, 1 * MIB, now_ms);
    for (size_t i = 0; i < 3; i++) {
        zb_turn_set(&shaper, &senders[i].turn, i < 2 ? &slow : NULL, i == 0, now_ms);
        senders[i].idle = false;
    }
    run_for(10000, 0);
    assert_about(sent(), UINT64_C(100) * MIB, 0.02);
    assert_true(senders[0].bytes > UINT64_C(98) * MIB);
    zb_turn_set(&shaper, &senders[0].turn, &slow, false, now_ms); /* nobody waits any more */
    uint64_t before = senders[0].bytes;
    run_for(10000, 0);
    assert_about(senders[0].bytes - before, UINT64_C(5) * MIB, 0.1);
    assert_about(senders[1].bytes, UINT64_C(5) * MIB, 0.1);
    assert_about(senders[2].bytes, UINT64_C(90) * MIB, 0.1);
}

/* What was granted and not sent is there for others. */
static void
test_leave(void **state)
{
    (void)state;
    begin(1 * MIB);
    now_ms += 10;
    assert_int_equal(zb_shaper_ask(&shaper, &senders[1].turn, now_ms), MIB / 20);
    zb_turn_sent(&senders[1].turn, 1000);
    assert_int_equal(zb_shaper_ask(&shaper, &senders[2].turn, now_ms), 0);
    assert_int_equal(zb_shaper_wait_ms(&shaper, now_ms), 40);
    zb_shaper_leave(&shaper, &senders[1].turn, now_ms);
    zb_shaper_leave(&shaper, &senders[1].turn, now_ms);
    assert_int_equal(zb_shaper_wait_ms(&shaper, now_ms), 1);
    zb_shaper_run(&shaper, now_ms);
    assert_int_equal(wakes, 1);
    assert_int_equal(senders[2].turn.grant, MIB / 20);
    assert_int_equal(zb_shaper_wait_ms(&shaper, now_ms), UINT64_MAX); /* nobody waits */
    assert_int_equal(zb_shaper_ask(&shaper, &senders[3].turn, now_ms), 0);
    zb_shaper_leave(&shaper, &senders[3].turn, now_ms);
    assert_int_equal(zb_shaper_wait_ms(&shaper, now_ms), UINT64_MAX);
}

/* Another limit holds at once; a limit that is lifted holds nobody back. */
static void
test_changes(void **state)
{
    (void)state;
    begin(1 * MIB);
    senders[0].idle = false;
    run_for(5000, 0);
    zb_bucket_rate_set(&shaper.all, 4 * MIB, now_ms);
    run_for(5000, 0);
    assert_about(sent(), UINT64_C(25) * MIB, 0.03);
    zb_bucket_rate_set(&shaper.all, 64 * KIB, now_ms);
    uint64_t before = sent();
    run_for(20000, 0);
    assert_true(sent() - before <= 20 * 64 * KIB + 256 * KIB);
    assert_true(senders[0].turn.waits);
    zb_bucket_rate_set(&shaper.all, 0, now_ms);
    zb_shaper_run(&shaper, now_ms);
    assert_false(senders[0].turn.waits);
    assert_int_equal(senders[0].turn.grant, ZB_SHAPER_QUANTUM_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rates),           cmocka_unit_test(test_late_timers),
        cmocka_unit_test(test_burst),           cmocka_unit_test(test_fair),
        cmocka_unit_test(test_late_comer),      cmocka_unit_test(test_groups),
        cmocka_unit_test(test_no_limit_of_all), cmocka_unit_test(test_first),
        cmocka_unit_test(test_leave),           cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
