#include <stdlib.h>
#include <string.h>

#include "unit.h"

#include "conf/retention.h"

#define HOUR 3600
#define DAY (24 * HOUR)
#define MONDAY 1795996800 /* 2026-11-30T00:00:00Z */
#define SETS_MAX 6000

static int64_t times[SETS_MAX]; /* oldest first */
static uint32_t bits[SETS_MAX];

/* As one pass would say of them all. */
static void
plan(const struct zb_conf_keep *keep, size_t count, int64_t now_s)
{
    static struct zb_retention r;

    zb_retention_begin(&r, keep, (struct zb_wall){now_s});
    for (size_t i = count; i-- > 0;) {
        bits[i] = zb_retention_next(&r, (struct zb_wall){times[i]});
    }
}

static size_t
kept_count(size_t count, uint32_t why)
{
    size_t n = 0;

    for (size_t i = 0; i < count; i++) {
        n += (bits[i] & why) != 0;
    }
    return n;
}

/* Sets from a time on, one each step. */
static void
sets_fill(int64_t first_s, int64_t step_s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        times[i] = first_s + (int64_t)i * step_s;
    }
}

static uint32_t
bucket(enum zb_conf_bucket b)
{
    return (uint32_t)ZB_KEEP_BUCKET << b;
}

static void
the_newest_always_stays(void **state)
{
    const struct zb_conf_keep none = {0};
    const struct zb_conf_keep two = {.last = 2};
    (void)state;
    sets_fill(MONDAY, 60, 5);
    plan(&none, 5, MONDAY + DAY);
    assert_int_equal(kept_count(5, UINT32_MAX), 1);
    assert_int_equal(bits[4], ZB_KEEP_LAST);
    plan(&two, 5, MONDAY + DAY);
    assert_int_equal(kept_count(5, UINT32_MAX), 2);
    assert_int_equal(bits[3], ZB_KEEP_LAST);
}

static void
of_each_period_the_newest_stays(void **state)
{
    const struct zb_conf_keep keep = {.buckets = {3, 2, 2, 2, 2}};
    (void)state;
    sets_fill(MONDAY - 40 * DAY + 1800, HOUR, 41 * 24); /* to Monday 23:30 */
    plan(&keep, 41 * 24, MONDAY + DAY);
    size_t last = 41 * 24 - 1;
    assert_int_equal(bits[last], ZB_KEEP_LAST | bucket(ZB_CONF_HOURLY) | bucket(ZB_CONF_DAILY) |
                                     bucket(ZB_CONF_WEEKLY) | bucket(ZB_CONF_MONTHLY) |
                                     bucket(ZB_CONF_YEARLY));
    assert_int_equal(bits[last - 1], bucket(ZB_CONF_HOURLY));
    assert_int_equal(bits[last - 2], bucket(ZB_CONF_HOURLY));
    assert_int_equal(bits[last - 3], 0);
    /* Sunday's last one is the week's too; the month of the other is October. */
    assert_int_equal(bits[last - 24], bucket(ZB_CONF_DAILY) | bucket(ZB_CONF_WEEKLY));
    assert_int_equal(times[last - 24], MONDAY - 1800);
    assert_int_equal(bits[last - 48], 0);
    assert_int_equal(kept_count(last + 1, bucket(ZB_CONF_MONTHLY)), 2);
    assert_int_equal(kept_count(last + 1, bucket(ZB_CONF_YEARLY)), 1);
    for (size_t i = 0; i < last; i++) {
        if ((bits[i] & bucket(ZB_CONF_MONTHLY)) != 0) {
            assert_int_equal(times[i], 1793491200 - 1800); /* 2026-11-01T00:00:00Z */
        }
    }
}

static void
what_is_younger_stays(void **state)
{
    const struct zb_conf_keep keep = {.for_ms = UINT64_C(2) * DAY * 1000};
    (void)state;
    sets_fill(MONDAY, HOUR, 100);
    plan(&keep, 100, MONDAY + 1000 * DAY); /* counted from the newest set ... */
    assert_int_equal(kept_count(100, UINT32_MAX), 49);
    times[99] += 1000 * DAY; /* ... by a clock that ran ahead: from now */
    plan(&keep, 100, MONDAY + 99 * HOUR);
    assert_int_equal(kept_count(100, UINT32_MAX), 49);
}

/* Pruned as they come, or at once: the same stay. */
static void
months_one_by_one_leave_what_a_plan_leaves(void **state)
{
    const struct zb_conf_keep keep = {
        .last = 24, .for_ms = UINT64_C(6) * HOUR * 1000, .buckets = {36, 30, 8, 4, 1}};
    static int64_t all[SETS_MAX];
    size_t count = 0, at = 0;
    (void)state;
    srandom(7);
    for (int64_t t = MONDAY, i = 0; i < SETS_MAX; i++) {
        t += 600 + random() % 3600;
        all[i] = t;
        times[count++] = t;
        plan(&keep, count, t);
        size_t left = 0;
        for (size_t j = 0; j < count; j++) {
            if (bits[j] != 0) {
                times[left++] = times[j];
            }
        }
        count = left;
    }
    int64_t kept[SETS_MAX];
    memcpy(kept, times, sizeof kept);
    memcpy(times, all, sizeof all);
    plan(&keep, SETS_MAX, times[SETS_MAX - 1]);
    for (size_t j = 0; j < SETS_MAX; j++) {
        if (bits[j] != 0) {
            assert_true(at < count);
            assert_int_equal(kept[at++], times[j]);
        }
    }
    assert_int_equal(at, count);
    assert_true(count > 24 + 30 && count < 24 + 36 + 30 + 8 + 4 + 1);
}

/* Whoever leads has a clock an hour off, in turns: no set counts as another one's successor, and
 * nothing of the last days goes. */
static void
clocks_that_differ_by_an_hour(void **state)
{
    const struct zb_conf_keep keep = {.last = 2, .buckets = {48, 0, 0, 0, 0}};
    (void)state;
    for (size_t i = 0; i < 480; i++) {
        times[i] = MONDAY + (int64_t)i * 360 - (i / 120 % 2 == 0 ? 0 : HOUR);
    }
    plan(&keep, 480, MONDAY + 2 * DAY);
    for (size_t from = 0; from + 20 < 480; from += 20) { /* two hours each */
        size_t n = 0;
        for (size_t i = from; i < from + 20; i++) {
            n += bits[i] != 0;
        }
        assert_true(n >= 1);
    }
    times[479] = 0; /* a clock that forgot the year takes one place */
    plan(&keep, 480, MONDAY + 2 * DAY);
    assert_true(kept_count(480, bucket(ZB_CONF_HOURLY)) >= 44);
}

static void
backups_keep_at_least_as_much(void **state)
{
    struct zb_conf_service s = {.backups = {1, {"nas"}},
                                .keep = {24, 1000, {1, 2, 3, 4, 5}},
                                .backup_keep = {10, 2000, {9, 0, 3, 400, 0}}};
    (void)state;
    struct zb_conf_keep keep = zb_conf_keep_of(&s, "vm1");
    assert_memory_equal(&keep, &s.keep, sizeof keep);
    const struct zb_conf_keep more = {24, 2000, {9, 2, 3, 400, 5}};
    keep = zb_conf_keep_of(&s, "nas");
    assert_int_equal(keep.last, more.last);
    assert_int_equal(keep.for_ms, more.for_ms);
    assert_memory_equal(keep.buckets, more.buckets, sizeof more.buckets);
}

static void
reasons_in_words(void **state)
{
    char buf[ZB_KEEP_WORDS_SIZE];
    (void)state;
    zb_keep_words(0, buf);
    assert_string_equal(buf, "");
    zb_keep_words(UINT32_MAX, buf);
    assert_string_equal(buf, "last, for, hourly, daily, weekly, monthly, yearly");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_always_stays),
        cmocka_unit_test(of_each_period_the_newest_stays),
        cmocka_unit_test(what_is_younger_stays),
        cmocka_unit_test(months_one_by_one_leave_what_a_plan_leaves),
        cmocka_unit_test(clocks_that_differ_by_an_hour),
        cmocka_unit_test(backups_keep_at_least_as_much),
        cmocka_unit_test(reasons_in_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
