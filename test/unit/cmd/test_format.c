#include "unit.h"

#include "cmd/cli.h"
#include "cmd/format.h"

static void
test_bytes(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } cases[] = {
        {0, "0"},
        {1, "1B"},
        {512, "512B"},
        {1023, "1023B"},
        {1024, "1K"},
        {1025, "1.0K"},
        {1536, "1.5K"},
        {10 * 1024 + 100, "10K"},
        {143360, "140K"},
        {3250586, "3.1M"},
        {222298112, "212M"},
        {1024 * 1024 - 1, "1M"},
        {1288490189, "1.2G"},
        {UINT64_MAX, "16E"},
    };
    char buf[ZB_TEXT_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_string_equal(zb_format_bytes(cases[i].bytes, buf), cases[i].text);
    }
}

static void
test_ages(void **state)
{
    char buf[ZB_TEXT_SIZE];

    (void)state;
    assert_string_equal(zb_format_age(-5, buf), "0s");
    assert_string_equal(zb_format_age(0, buf), "0s");
    assert_string_equal(zb_format_age(37, buf), "37s");
    assert_string_equal(zb_format_age(60, buf), "1m");
    assert_string_equal(zb_format_age(90, buf), "1m30s");
    assert_string_equal(zb_format_age(5349, buf), "1h29m");
    assert_string_equal(zb_format_age(3 * 3600 + 5, buf), "3h");
    assert_string_equal(zb_format_age(3 * 86400 + 4 * 3600, buf), "3d4h");
    assert_string_equal(zb_format_age(INT64_MAX, buf), "106751991167300d15h");
}

static void
test_elapsed(void **state)
{
    char buf[ZB_TEXT_SIZE];

    (void)state;
    assert_string_equal(zb_format_elapsed(-1, buf), "0.0s");
    assert_string_equal(zb_format_elapsed(151, buf), "0.2s");
    assert_string_equal(zb_format_elapsed(1900, buf), "1.9s");
    assert_string_equal(zb_format_elapsed(59940, buf), "59.9s");
    assert_string_equal(zb_format_elapsed(59960, buf), "1m");
    assert_string_equal(zb_format_elapsed(72000, buf), "1m12s");
}

static void
test_times(void **state)
{
    char buf[ZB_TEXT_SIZE];
    const char *now = "2026-11-22T06:41:07Z";

    (void)state;
    assert_string_equal(zb_format_time("2026-11-22T06:41:00Z", now, buf), "06:41:00");
    assert_string_equal(zb_format_time("2026-11-21T23:59:59Z", now, buf), "2026-11-21 23:59");
    assert_string_equal(zb_format_time("yesterday", now, buf), "yesterday");
    assert_int_equal(zb_format_time_parse("1970-01-01T00:00:01Z"), 1);
    assert_int_equal(zb_format_time_parse("1970-01-01T00:00:01"), -1);
    assert_int_equal(zb_format_time_parse("1970-01-01T00:00:0xZ"), -1);
}

static void
test_cells(void **state)
{
    char buf[ZB_TEXT_SIZE];
    const char *time = "2026-11-22T06:41:07Z";

    (void)state;
    assert_string_equal(zb_format_cell_number(0, buf), "0");
    assert_string_equal(zb_format_cell_number(-1, buf), "");
    assert_string_equal(zb_format_cell_bytes(3 << 20, false, buf), "3M");
    assert_string_equal(zb_format_cell_bytes(3 << 20, true, buf), "3145728");
    assert_string_equal(zb_format_cell_bytes(-1, false, buf), "");
    assert_string_equal(zb_format_cell_age(90, false, buf), "1m30s");
    assert_string_equal(zb_format_cell_age(90, true, buf), "90");
    assert_string_equal(zb_format_cell_age(-1, false, buf), "");
    assert_string_equal(zb_format_cell_elapsed(1900, false, buf), "1.9s");
    assert_string_equal(zb_format_cell_elapsed(1900, true, buf), "1900");
    assert_string_equal(zb_format_cell_elapsed(-1, false, buf), "");
    assert_string_equal(zb_format_cell_time(time, false, buf), "2026-11-22 06:41:07");
    assert_string_equal(zb_format_cell_time(time, true, buf), time);
    assert_string_equal(zb_format_cell_time("yesterday", false, buf), "yesterday");
}

static void
test_bar(void **state)
{
    char buf[ZB_TEXT_SIZE];

    (void)state;
    assert_string_equal(zb_format_bar(0, 0, 4, buf), "[>---]");
    assert_string_equal(zb_format_bar(1, 2, 4, buf), "[==>-]");
    assert_string_equal(zb_format_bar(2, 2, 4, buf), "[====]");
    assert_string_equal(zb_format_bar(9, 2, 4, buf), "[====]");
    assert_int_equal(strlen(zb_format_bar(1, 2, 1000, buf)), 42);
}

static void
test_option_values(void **state)
{
    int64_t value = 0;

    (void)state;
    assert_true(zb_cli_number("25", &value));
    assert_int_equal(value, 25);
    assert_false(zb_cli_number("", &value));
    assert_false(zb_cli_number("0", &value));
    assert_false(zb_cli_number("-1", &value));
    assert_false(zb_cli_number("12x", &value));
    assert_false(zb_cli_number("1000001", &value));
    assert_false(zb_cli_number("99999999999999999999", &value));
    assert_true(zb_cli_duration("90s", &value));
    assert_int_equal(value, 90);
    assert_true(zb_cli_duration("7d", &value));
    assert_int_equal(value, 7 * 86400);
    assert_false(zb_cli_duration("7", &value));
    assert_false(zb_cli_duration("h", &value));
    assert_false(zb_cli_duration("1w", &value));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),         cmocka_unit_test(test_ages),
        cmocka_unit_test(test_elapsed),       cmocka_unit_test(test_times),
        cmocka_unit_test(test_cells),         cmocka_unit_test(test_bar),
        cmocka_unit_test(test_option_values),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
