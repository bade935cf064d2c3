/* agent/failed.h, agent/drained.h. */
#include "unit.h"

#include "agent/drained.h"
#include "agent/failed.h"

static struct zb_failed
failed(const char *service, const char *node)
{
    struct zb_failed f = {.term = 7, .times = 1, .time = {1000000}, .why = "no"};

    zb_strcopy(f.service, sizeof f.service, service);
    zb_strcopy(f.node, sizeof f.node, node);
    return f;
}

static void
each_time_counts_twice_as_long(void **state)
{
    struct zb_failed f = failed("web", "vm1");
    (void)state;

    for (uint32_t times = 1; times <= ZB_FAILED_TIMES_MAX; times++) {
        int64_t until_s = f.time.s + (INT64_C(3600) << (times - 1));
        f.times = times;
        assert_true(zb_failed_lately(&f, (struct zb_wall){until_s - 1}));
        assert_false(zb_failed_lately(&f, (struct zb_wall){until_s}));
    }
    assert_true(zb_failed_lately(&f, (struct zb_wall){0})); /* by a clock that is behind */
}

static void
one_for_each_service_and_node_in_their_order(void **state)
{
    struct zb_faileds all = {0}, copy = {0};
    static const char *const nodes[] = {"vm2", "vm1", "vm3"};
    struct zb_failed again = failed("db", "vm1");
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        zb_faileds_put(&all, &(struct zb_failed){0});
        (void)zb_faileds_remove(&all, "", NULL);
        struct zb_failed web = failed("web", nodes[i]), db = failed("db", nodes[i]);
        zb_faileds_put(&all, &web);
        zb_faileds_put(&all, &db);
    }
    again.times = 5;
    zb_faileds_put(&all, &again);
    assert_int_equal(all.count, 6);
    assert_string_equal(all.items[0].node, "vm1");
    assert_int_equal(all.items[0].times, 5);
    assert_string_equal(all.items[3].service, "web");
    assert_string_equal(all.items[5].node, "vm3");
    assert_null(zb_faileds_find(&all, "web", "vm4"));
    zb_faileds_copy(&copy, &all);
    assert_true(zb_faileds_remove(&copy, "web", "vm2"));
    assert_false(zb_faileds_remove(&copy, "web", "vm2"));
    assert_true(zb_faileds_remove(&copy, "web", NULL));
    assert_int_equal(copy.count, 3);
    assert_non_null(zb_faileds_find(&all, "web", "vm2"));
    zb_faileds_close(&all);
    zb_faileds_close(&copy);
}

static void
what_a_program_said_is_one_line(void **state)
{
    struct zb_faileds all = {0};
    struct zb_failed f = failed("web", "vm1");
    (void)state;

    zb_strcopy(f.why, sizeof f.why, "two\nlines");
    zb_faileds_put(&all, &f);
    assert_null(strchr(all.items[0].why, '\n'));
    zb_faileds_close(&all);
}

#define ONE                                                                                        \
    "\"node\":\"vm1\",\"service\":\"web\",\"term\":\"7\",\"time\":1000000,\"times\":1,\"why\":"    \
    "\"no\""

static void
json_is_strict(void **state)
{
    static const char *const bad[] = {
        "{}",
        "[{}]",
        "[{\"node\":\"vm1\",\"service\":\"web\",\"term\":\"7\",\"time\":1,\"times\":0,\"why\":"
        "\"no\"}]",
        "[{\"node\":\"vm1\",\"service\":\"web\",\"term\":\"7\",\"time\":1,\"times\":9,\"why\":"
        "\"no\"}]",
        "[{\"node\":\"vm1\",\"service\":\"web\",\"term\":\"7\",\"time\":1,\"times\":1,\"why\":\"\"}"
        "]",
        "[{" ONE "},{" ONE "}]",
    };
    struct zb_faileds all = {0};
    struct zb_drained drained;
    struct zb_err err;
    json_t *array = json_loads("[{" ONE "}]", 0, NULL);
    (void)state;

    assert_int_equal(zb_faileds_parse(array, &all, &err), ZB_OK);
    json_t *again = zb_faileds_json(&all);
    assert_true(json_equal(array, again));
    json_decref(again);
    json_decref(array);
    zb_faileds_close(&all);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        array = json_loads(bad[i], 0, NULL);
        assert_non_null(array);
        assert_int_equal(zb_faileds_parse(array, &all, &err), ZB_E_FORMAT);
        zb_faileds_close(&all);
        json_decref(array);
    }
    array = json_loads("{\"who\":\"\",\"time\":1}", 0, NULL);
    assert_int_equal(zb_drained_parse(array, &drained, &err), ZB_E_FORMAT);
    json_decref(array);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_time_counts_twice_as_long),
        cmocka_unit_test(one_for_each_service_and_node_in_their_order),
        cmocka_unit_test(what_a_program_said_is_one_line),
        cmocka_unit_test(json_is_strict),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
