/* agent/peek.h: whose time is over, and when to look again. */
#include "unit.h"

#include "agent/json.h"
#include "agent/peek.h"

static const struct zb_wall now = {1000};

static json_t *
peek(const char *name, int64_t ends_s)
{
    return json_pack("{s:s, s:s, s:I}", "name", name, "expires", "2026-11-22T06:41:00Z",
                     "expires_s", (json_int_t)ends_s);
}

static void
test_whose_time_is_over(void **state)
{
    json_t *list = zb_json_array_new();
    uint64_t next_ms = 0;
    (void)state;

    zb_json_append(list, peek("later", 1020));
    zb_json_append(list, peek("now", 1000));
    zb_json_append(list, peek("sooner", 1007));
    zb_json_append(list, peek("long-ago", 1));
    json_t *due = zb_peeks_due(list, now, 60000, &next_ms);
    assert_int_equal(json_array_size(due), 2);
    assert_string_equal(json_string_value(json_array_get(due, 0)), "now");
    assert_string_equal(json_string_value(json_array_get(due, 1)), "long-ago");
    assert_int_equal(next_ms, 7000);
    json_decref(due);
    json_decref(list);
}

/* Without any, and for those that last for days, it is looked again after the longest time. */
static void
test_nothing_soon(void **state)
{
    json_t *list = zb_json_array_new();
    uint64_t next_ms = 0;
    (void)state;

    json_t *due = zb_peeks_due(list, now, 60000, &next_ms);
    assert_int_equal(json_array_size(due), 0);
    assert_int_equal(next_ms, 60000);
    json_decref(due);
    zb_json_append(list, peek("days", 400000));
    due = zb_peeks_due(list, now, 60000, &next_ms);
    assert_int_equal(json_array_size(due), 0);
    assert_int_equal(next_ms, 60000);
    json_decref(due);
    json_decref(list);
}

/* Somebody changed its mark: when it ends is not known, so it does not by itself. */
static void
test_without_an_end(void **state)
{
    json_t *list = zb_json_array_new();
    json_t *one = peek("changed", 0);
    uint64_t next_ms = 0;
    (void)state;

    zb_json_put(one, "expires", json_null());
    zb_json_append(list, one);
    json_t *due = zb_peeks_due(list, now, 60000, &next_ms);
    assert_int_equal(json_array_size(due), 0);
    json_decref(due);
    json_decref(list);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whose_time_is_over),
        cmocka_unit_test(test_nothing_soon),
        cmocka_unit_test(test_without_an_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
