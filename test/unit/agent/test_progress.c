#include "unit.h"

#include "agent/progress.h"

/* A second of each: so many bytes of it every half a second. */
static uint64_t
run(struct zb_progress *p, int64_t *now_ms, uint64_t bytes, int64_t seconds, uint64_t half)
{
    for (int64_t i = 0; i < 2 * seconds; i++) {
        *now_ms += 500;
        bytes += half;
        zb_progress_note(p, *now_ms, bytes);
    }
    return bytes;
}

static void
a_rate_is_not_known_before_a_second_has_gone(void **state)
{
    struct zb_progress p = {0};

    (void)state;
    assert_int_equal(zb_progress_rate(&p, 5000, 100), 0);
    zb_progress_note(&p, 5000, 100);
    assert_int_equal(zb_progress_rate(&p, 5000, 100), 0);
    assert_int_equal(zb_progress_rate(&p, 5999, 1000), 0);
    assert_int_equal(zb_progress_rate(&p, 6000, 1100), 1000);
    assert_int_equal(zb_progress_rate(&p, 7000, 1100), 500);
}

static void
a_rate_is_of_the_last_ten_seconds(void **state)
{
    struct zb_progress p = {0};
    int64_t now_ms = 1000;

    (void)state;
    zb_progress_note(&p, now_ms, 0);
    uint64_t bytes = run(&p, &now_ms, 0, 60, 5000);
    assert_int_equal(zb_progress_rate(&p, now_ms, bytes), 10000);
    bytes = run(&p, &now_ms, bytes, 5, 0); /* it stands still: half of it is left after 5 s */
    assert_int_equal(zb_progress_rate(&p, now_ms, bytes), 5000);
    bytes = run(&p, &now_ms, bytes, 6, 0);
    assert_int_equal(zb_progress_rate(&p, now_ms, bytes), 0);
    bytes = run(&p, &now_ms, bytes, 10, 500);
    assert_int_equal(zb_progress_rate(&p, now_ms, bytes), 1000);
}

static void
what_was_long_ago_says_nothing(void **state)
{
    struct zb_progress p = {0};

    (void)state;
    zb_progress_note(&p, 0, 0);
    zb_progress_note(&p, 60000, 1000000);
    assert_int_equal(zb_progress_rate(&p, 61000, 1000500), 500);
    assert_int_equal(zb_progress_rate(&p, 90000, 2000000), 0);
}

static void
samples_are_a_second_apart(void **state)
{
    struct zb_progress p = {0};

    (void)state;
    for (int64_t ms = 0; ms <= 3000; ms += 10) {
        zb_progress_note(&p, ms, (uint64_t)ms);
    }
    assert_int_equal(p.count, 4);
    for (int64_t ms = 4000; ms < 100000; ms += 1000) {
        zb_progress_note(&p, ms, (uint64_t)ms);
    }
    assert_int_equal(p.count, ZB_PROGRESS_SAMPLES);
    assert_int_equal(zb_progress_rate(&p, 99000, 99000), 1000);
}

static void
time_left(void **state)
{
    (void)state;
    assert_int_equal(zb_progress_left_s(0, 0, 10), -1);     /* no estimate */
    assert_int_equal(zb_progress_left_s(5, 100, 0), -1);    /* nothing moves */
    assert_int_equal(zb_progress_left_s(101, 100, 10), -1); /* the estimate was too low */
    assert_int_equal(zb_progress_left_s(100, 100, 10), 0);
    assert_int_equal(zb_progress_left_s(0, 100, 10), 10);
    assert_int_equal(zb_progress_left_s(0, 101, 10), 11);
    assert_int_equal(zb_progress_left_s(99, 100, 1000), 1);
    assert_int_equal(zb_progress_left_s(0, UINT64_MAX, 1), -1);
    assert_int_equal(zb_progress_left_s(1, UINT64_MAX, 2), INT64_MAX);
}

static void
what_is_not_known_is_null(void **state)
{
    struct zb_agent_ship_view view = {.bytes_done = 5, .left_s = -1};
    json_t *object = zb_progress_json(&view);

    (void)state;
    assert_int_equal(json_integer_value(json_object_get(object, "bytes")), 5);
    assert_true(json_is_null(json_object_get(object, "bytes_total")));
    assert_true(json_is_null(json_object_get(object, "rate")));
    assert_true(json_is_null(json_object_get(object, "left_s")));
    assert_int_equal(json_object_size(object), 4);
    json_decref(object);
    view = (struct zb_agent_ship_view){.bytes_done = 5, .bytes_total = 8, .rate = 3, .left_s = 1};
    object = zb_progress_json(&view);
    assert_int_equal(json_integer_value(json_object_get(object, "bytes_total")), 8);
    assert_int_equal(json_integer_value(json_object_get(object, "rate")), 3);
    assert_int_equal(json_integer_value(json_object_get(object, "left_s")), 1);
    json_decref(object);
    object = zb_progress_json(NULL);
    assert_true(json_is_null(object));
    json_decref(object);
}

static void
assert_format(uint64_t done, uint64_t total, int64_t left_s, const char *expected)
{
    struct zb_agent_ship_view view = {.bytes_done = done, .bytes_total = total, .left_s = left_s};
    char buf[64] = "as it was";

    zb_progress_format(&view, buf, sizeof buf);
    assert_string_equal(buf, expected);
}

static void
format(void **state)
{
    (void)state;
    assert_format(62, 100, 9, "62% 00:00:09");
    assert_format(0, 100, 100 * 3600 + 61, "0% 100:01:01");
    assert_format(100, 100, 0, "100% 00:00:00");
    assert_format(999, 1000, -1, "99%");
    assert_format(5, 0, -1, "as it was");
    assert_format(5, 4, -1, "as it was");
    assert_format(UINT64_MAX, UINT64_MAX, -1, "100%");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_not_known_before_a_second_has_gone),
        cmocka_unit_test(a_rate_is_of_the_last_ten_seconds),
        cmocka_unit_test(what_was_long_ago_says_nothing),
        cmocka_unit_test(samples_are_a_second_apart),
        cmocka_unit_test(time_left),
        cmocka_unit_test(what_is_not_known_is_null),
        cmocka_unit_test(format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
