/* Copies of other tools' snapshots: what is heard of them, and how their time is counted. */
#include "unit.h"

#include "keeper/received.h"

#define UUID "0a2b1c3d-0000-4000-8000-00000000000a"
#define BOOT "0a2b1c3d-1111-4000-8000-000000000001"
#define BOOT_NEXT "0a2b1c3d-1111-4000-8000-000000000002"
#define HOUR INT64_C(3600000)

static void
test_mark(void **state)
{
    static const char *const bad[] = {"",
                                      "x",
                                      "-1",
                                      "+1",
                                      "1/",
                                      "1/2",
                                      "1/2/3/",
                                      "1/2/3/boot",
                                      "1/2/3/" BOOT "x",
                                      "1/-2/3/" BOOT,
                                      " 1",
                                      "11111111111111111",
                                      "1/2/9999999999999999999/" BOOT,
                                      "1 "};
    struct zb_received r, same;
    char mark[ZB_RECEIVED_MARK_SIZE];
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_received_parse(bad[i], &r));
    }
    assert_true(zb_received_parse("0", &r));
    assert_true(r.holders[0] == 0 && !r.gone);
    r = (struct zb_received){.holders = {UINT64_MAX}, .gone = true, .gone_ms = 12, .at_ms = 34};
    zb_strcopy(r.boot_id, sizeof r.boot_id, BOOT);
    zb_received_format(&r, mark);
    assert_string_equal(mark, "ffffffffffffffff/12/34/" BOOT);
    assert_true(zb_received_parse(mark, &same));
    assert_memory_equal(&same, &r, sizeof r);
    r = (struct zb_received){.holders = {UINT64_MAX, UINT64_MAX - 1, UINT64_MAX - 2},
                             .gone = true,
                             .gone_ms = INT64_MAX,
                             .at_ms = INT64_MAX,
                             .boot_id = BOOT};
    zb_received_format(&r, mark);
    assert_true(zb_received_parse(mark, &same));
    assert_memory_equal(&same, &r, sizeof r);
    assert_true(zb_received_parse("a,b", &same));
    assert_true(same.holders[0] == 10 && same.holders[1] == 11 && same.holders[2] == 0);
}

static enum zb_received_said
said(const char *lines, uint64_t guid, uint64_t holder_before)
{
    const struct zb_received r = {.holders = {1, holder_before}};
    uint64_t holder = 0;

    return zb_received_said(lines, UUID, guid, &r, &holder);
}

static void
test_gone_only_where_it_must_have_been(void **state)
{
    (void)state;
    /* an older and a newer one are there */
    assert_int_equal(said("@\n@" UUID "\tabc\t+1 -2 +3\n", 2, 0), ZB_RECEIVED_GONE);
    assert_int_equal(said("@\n@" UUID "\tabc\t+1 -2 +3\n", 1, 0), ZB_RECEIVED_THERE);
    /* no older one: unless this very dataset had it */
    assert_int_equal(said("@\n@" UUID "\tabc\t-1 -2 +3\n", 2, 0), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@\n@" UUID "\tabc\t-1 -2 +3\n", 2, 0xabd), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@\n@" UUID "\tabc\t-1 -2 +3\n", 2, 0xabc), ZB_RECEIVED_GONE);
    assert_int_equal(said("@\n@" UUID "\tabc\t-2 +1 +3\n", 2, 0), ZB_RECEIVED_UNKNOWN);
    /* no newer one: another history, or it is behind */
    assert_int_equal(said("@\n@" UUID "\tabc\t+1 -2 -3\n", 2, 0xabc), ZB_RECEIVED_UNKNOWN);
    /* not asked about, or not answered */
    assert_int_equal(said("@\n@" UUID "\tabc\t+1 -2 +3\n", 4, 0xabc), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@\n@" BOOT "\tabc\t+1 -2 +3\n", 2, 0xabc), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said(NULL, 2, 0xabc), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("1/2\tlabel\n@\n@" UUID "\tabc\t+1 -2 +3", 2, 0), ZB_RECEIVED_GONE);
    /* nonsense */
    assert_int_equal(said("@" UUID "\t0\t+1 -2 +3\n", 2, 0), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@" UUID "\tabc\n", 2, 0xabc), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@" UUID "\tabc\t+1 -2 +x\n", 2, 0xabc), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@" UUID "\tabc\t+1 -2 ", 2, 0xabc), ZB_RECEIVED_UNKNOWN);
    assert_int_equal(said("@" UUID "\tabc\t+1 -", 2, 0xabc), ZB_RECEIVED_UNKNOWN);
}

static void
test_answered(void **state)
{
    (void)state;
    assert_true(zb_received_is_answered("@\n"));
    assert_true(zb_received_is_answered("1/2\tlabel\n@\n@" UUID "\tabc\t+1\n"));
    assert_false(zb_received_is_answered("1/2\t@\n"));
    assert_false(zb_received_is_answered(NULL));
}

static struct zb_received_clock
clock_at(const char *boot_id, int64_t ms)
{
    return (struct zb_received_clock){.boot_id = boot_id, .now = {ms}};
}

static void
test_time_is_counted_from_the_first_hearing(void **state)
{
    struct zb_received r = {.holders = {0xabc}};
    struct zb_received_clock clock = clock_at(BOOT, 1000);
    (void)state;

    assert_int_equal(zb_received_gone_ms(&r, &clock), 0);
    assert_true(zb_received_hear(&r, ZB_RECEIVED_GONE, 0xabc, &clock, HOUR));
    assert_int_equal(zb_received_gone_ms(&r, &clock), 0);
    clock = clock_at(BOOT, 1000 + HOUR / 2);
    assert_false(zb_received_hear(&r, ZB_RECEIVED_GONE, 0xabc, &clock, HOUR)); /* not yet stored */
    assert_int_equal(zb_received_gone_ms(&r, &clock), HOUR / 2);
    assert_false(zb_received_hear(&r, ZB_RECEIVED_UNKNOWN, 0, &clock, HOUR));
    assert_true(r.gone);
    clock = clock_at(BOOT, 1000 + 2 * HOUR);
    assert_true(zb_received_hear(&r, ZB_RECEIVED_GONE, 0xabc, &clock, HOUR));
    assert_int_equal(r.gone_ms, 2 * HOUR);
    assert_int_equal(zb_received_gone_ms(&r, &clock), 2 * HOUR);
}

static void
test_what_no_clock_saw_does_not_count(void **state)
{
    struct zb_received r = {
        .holders = {0xabc}, .gone = true, .gone_ms = 2 * HOUR, .at_ms = 5 * HOUR, .boot_id = BOOT};
    struct zb_received_clock clock = clock_at(BOOT_NEXT, 9 * HOUR);
    (void)state;

    assert_int_equal(zb_received_gone_ms(&r, &clock), 2 * HOUR); /* another boot */
    assert_true(zb_received_hear(&r, ZB_RECEIVED_GONE, 0xabc, &clock, HOUR));
    assert_string_equal(r.boot_id, BOOT_NEXT);
    assert_int_equal(r.gone_ms, 2 * HOUR);
    clock.now.ms = 8 * HOUR; /* back, as in a machine that was put back */
    assert_int_equal(zb_received_gone_ms(&r, &clock), 2 * HOUR);
    assert_true(zb_received_hear(&r, ZB_RECEIVED_GONE, 0xabc, &clock, HOUR));
    clock.now.ms = 9 * HOUR;
    assert_int_equal(zb_received_gone_ms(&r, &clock), 3 * HOUR);
    r.gone_ms = UINT64_MAX;
    assert_true(zb_received_gone_ms(&r, &clock) == UINT64_MAX);
}

static void
test_a_leader_that_has_it_ends_the_count(void **state)
{
    struct zb_received r = {
        .holders = {0xabc}, .gone = true, .gone_ms = 2 * HOUR, .at_ms = 5 * HOUR, .boot_id = BOOT};
    struct zb_received_clock clock = clock_at(BOOT, 6 * HOUR);
    (void)state;

    assert_true(zb_received_hear(&r, ZB_RECEIVED_THERE, 0xdef, &clock, HOUR));
    assert_true(!r.gone && r.holders[0] == 0xdef && r.holders[1] == 0xabc);
    assert_int_equal(zb_received_gone_ms(&r, &clock), 0);
    assert_false(zb_received_hear(&r, ZB_RECEIVED_THERE, 0xdef, &clock, HOUR));
    assert_true(zb_received_hear(&r, ZB_RECEIVED_GONE, 0xdef, &clock, HOUR));
    assert_int_equal(r.gone_ms, 0);
}

/* A leads, then B with a copy of it, then A again, which had destroyed it meanwhile. */
static void
test_leaders_that_had_it_are_remembered(void **state)
{
    static const char *const answers[] = {"@" UUID "\ta\t+1 +9\n", "@" UUID "\tb\t+1 +9\n",
                                          "@" UUID "\tc\t+1 +9\n", "@" UUID "\tb\t+1 +9\n"};
    struct zb_received r = {0};
    struct zb_received_clock clock = clock_at(BOOT, 0);
    uint64_t holder = 0;
    (void)state;

    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(zb_received_said(answers[i], UUID, 1, &r, &holder), ZB_RECEIVED_THERE);
        assert_true(zb_received_hear(&r, ZB_RECEIVED_THERE, holder, &clock, HOUR));
    }
    assert_true(r.holders[0] == 0xb && r.holders[1] == 0xc && r.holders[2] == 0xa);
    assert_int_equal(zb_received_said("@" UUID "\ta\t-1 +9\n", UUID, 1, &r, &holder),
                     ZB_RECEIVED_GONE);
    assert_int_equal(zb_received_said("@" UUID "\td\t-1 +9\n", UUID, 1, &r, &holder),
                     ZB_RECEIVED_UNKNOWN);
    assert_true(zb_received_hear(&r, ZB_RECEIVED_THERE, 0xd, &clock, HOUR));
    assert_true(r.holders[0] == 0xd && r.holders[1] == 0xb && r.holders[2] == 0xc);
}

static void
test_what_somebody_may_stand_on(void **state)
{
    static const struct zb_ksnap snaps[] = {
        {.name = "oldest"}, {.name = "zbaton-000001-00000001-20261122T064101Z"},
        {.name = "daily"},  {.name = "zbaton-000001-00000002-20261122T064102Z"},
        {.name = "hourly"}, {.name = "zbaton-000001-00000003-20261122T064103Z"},
        {.name = "newest"},
    };
    uint32_t stays[7] = {[1] = 1, [3] = ZB_KEEP_BASE, [5] = ZB_KEEP_BASE};
    (void)state;

    assert_false(zb_received_is_base(snaps, stays, 7, 0));
    assert_false(zb_received_is_base(snaps, stays, 7, 2));
    assert_true(zb_received_is_base(snaps, stays, 7, 4));
    assert_true(zb_received_is_base(snaps, stays, 7, 6));
    stays[5] = 0;
    assert_true(zb_received_is_base(snaps, stays, 7, 6)); /* where this node itself stands */
    assert_true(zb_received_is_base(snaps, stays, 1, 0)); /* no set at all */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mark),
        cmocka_unit_test(test_gone_only_where_it_must_have_been),
        cmocka_unit_test(test_answered),
        cmocka_unit_test(test_time_is_counted_from_the_first_hearing),
        cmocka_unit_test(test_what_no_clock_saw_does_not_count),
        cmocka_unit_test(test_a_leader_that_has_it_ends_the_count),
        cmocka_unit_test(test_leaders_that_had_it_are_remembered),
        cmocka_unit_test(test_what_somebody_may_stand_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
