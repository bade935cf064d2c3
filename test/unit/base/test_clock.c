#include "unit.h"

#include <time.h>

#include "base/types.h"

static void
formats_utc(void **state)
{
    (void)state;
    char text[24];

    zb_wall_format((struct zb_wall){1795329667}, text);
    assert_string_equal(text, "2026-11-22T06:41:07Z");
    zb_wall_format((struct zb_wall){0}, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    zb_wall_format((struct zb_wall){INT64_MIN}, text);
    assert_string_equal(text, "1970-01-01T00:00:00Z");
    zb_wall_format((struct zb_wall){INT64_MAX}, text);
    assert_string_equal(text, "9999-12-31T23:59:59Z");
}

static void
reads_utc_fields(void **state)
{
    (void)state;
    assert_int_equal(zb_wall_from_utc(20261122, 64107).s, 1795329667);
    assert_int_equal(zb_wall_from_utc(19700101, 0).s, 0);
    assert_int_equal(zb_wall_from_utc(20240229, 235959).s, 1709251199);
}

static void
clocks_tell_the_systems_time(void **state)
{
    (void)state;
    struct zb_mono first = zb_mono_now();
    struct zb_mono second = zb_mono_now();
    int64_t wall = zb_wall_now().s;

    assert_true(first.ms > 0);
    assert_true(second.ms >= first.ms);
    assert_in_range(wall, (uintmax_t)time(NULL) - 2, (uintmax_t)time(NULL) + 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(formats_utc),
        cmocka_unit_test(reads_utc_fields),
        cmocka_unit_test(clocks_tell_the_systems_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
