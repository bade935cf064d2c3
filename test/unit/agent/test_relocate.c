/* agent/relocate.h. */
#include "unit.h"

#include "agent/relocate.h"

#define AT(s)                                                                                      \
    (struct zb_mono)                                                                               \
    {                                                                                              \
        INT64_C(1000) * (s)                                                                        \
    }

static struct zb_choose_member
member(const char *node, uint32_t preference)
{
    struct zb_choose_member m = {
        .eligible = true, .drilled = true, .set = {3, 7}, .preference = preference};

    zb_strcopy(m.node, sizeof m.node, node);
    return m;
}

static void
it_has_failed_after_as_many_restarts_as_it_may_have(void **state)
{
    struct zb_health h = {0};
    (void)state;

    zb_health_started(&h, 4); /* the first one, which fails */
    zb_health_seen(&h, 4, false, AT(1));
    assert_false(zb_health_failed(&h, 2));
    zb_health_started(&h, 4);
    zb_health_seen(&h, 4, true, AT(2)); /* runs, for a while */
    zb_health_started(&h, 4);
    assert_false(zb_health_failed(&h, 2)); /* it runs */
    zb_health_seen(&h, 4, false, AT(300));
    assert_true(zb_health_failed(&h, 2));
    assert_false(zb_health_failed(&h, 3));
    assert_false(zb_health_failed(&h, 0)); /* without end */
    zb_health_seen(&h, 5, false, AT(301)); /* in a new term it is tried anew */
    assert_false(zb_health_failed(&h, 2));
}

static void
a_success_that_lasts_counts_as_the_first_start(void **state)
{
    struct zb_health h = {0};
    (void)state;

    for (int i = 0; i < 3; i++) {
        zb_health_started(&h, 4);
    }
    zb_health_seen(&h, 4, true, AT(10));
    zb_health_seen(&h, 4, true, AT(609));
    assert_false(zb_health_well(&h, AT(609)));
    assert_true(zb_health_well(&h, AT(610)));
    zb_health_seen(&h, 4, true, AT(610));
    zb_health_seen(&h, 4, false, AT(611));
    assert_false(zb_health_failed(&h, 1));
    zb_health_started(&h, 4);
    zb_health_seen(&h, 4, false, AT(612));
    assert_true(zb_health_failed(&h, 1));
}

/* Its ends are too short to be seen: the starts tell of them. */
static void
what_is_never_seen_down_fails_all_the_same(void **state)
{
    struct zb_health h = {0};
    (void)state;

    for (int i = 0; i < 3; i++) {
        zb_health_started(&h, 4);
        zb_health_seen(&h, 4, true, AT(1 + i * 300));
        assert_false(zb_health_failed(&h, 2));
    }
    assert_false(zb_health_well(&h, AT(700))); /* it runs since the last start only */
    zb_health_started(&h, 4);
    assert_true(zb_health_failed(&h, 2));
}

/* By an engine that was started after it. */
static void
what_runs_already_was_started(void **state)
{
    struct zb_health h = {0};
    (void)state;

    zb_health_seen(&h, 4, true, AT(1));
    zb_health_seen(&h, 4, false, AT(2));
    zb_health_started(&h, 4);
    assert_true(zb_health_failed(&h, 1));
}

static void
it_goes_to_the_first_where_it_has_not_failed(void **state)
{
    struct zb_choose_member all[] = {member("vm2", 0), member("vm3", 1), member("vm4", 2)};
    (void)state;

    assert_string_equal(zb_relocate_target(all, 3)->node, "vm2");
    all[0].failed = true;
    all[1].drained = true;
    assert_string_equal(zb_relocate_target(all, 3)->node, "vm4");
    all[2].failed = true;
    assert_null(zb_relocate_target(all, 3));
    assert_null(zb_relocate_target(all, 0));
}

static void
it_goes_back_to_the_earliest_that_is_as_it_should_be(void **state)
{
    struct zb_choose_member all[] = {member("vm1", 0), member("vm2", 1), member("vm4", UINT32_MAX)};
    const struct zb_set_id newest = {3, 7};
    (void)state;

    assert_string_equal(zb_failback_target(all, 3, 2, newest)->node, "vm1");
    assert_string_equal(zb_failback_target(all, 3, UINT32_MAX, newest)->node, "vm1");
    assert_null(zb_failback_target(all, 3, 0, newest));
    all[0].drained = true;
    assert_string_equal(zb_failback_target(all, 3, 2, newest)->node, "vm2");
    assert_null(zb_failback_target(all, 3, 1, newest));
    all[0].drained = false;
    all[0].failed = true;
    assert_string_equal(zb_failback_target(all, 3, 2, newest)->node, "vm2");
    all[1].set.seq = 3;
    assert_null(zb_failback_target(all, 3, 2, newest));
    all[0].failed = false;
    all[0].drilled = false;
    assert_null(zb_failback_target(all, 3, 2, newest));
    all[0].drilled = true;
    all[0].eligible = false;
    assert_null(zb_failback_target(all, 3, 2, newest));
}

static void
what_fails_waits_twice_as_long_each_time(void **state)
{
    struct zb_again again = {0};
    int64_t waits_s[] = {60, 120, 240, 480, 960, 1920, 3600, 3600};
    (void)state;

    assert_false(zb_again_waits(&again, AT(0)));
    for (size_t i = 0; i < sizeof waits_s / sizeof waits_s[0]; i++) {
        zb_again_failed(&again, AT(1000));
        assert_true(zb_again_waits(&again, AT(1000 + waits_s[i] - 1)));
        assert_false(zb_again_waits(&again, AT(1000 + waits_s[i])));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_failed_after_as_many_restarts_as_it_may_have),
        cmocka_unit_test(a_success_that_lasts_counts_as_the_first_start),
        cmocka_unit_test(what_is_never_seen_down_fails_all_the_same),
        cmocka_unit_test(what_runs_already_was_started),
        cmocka_unit_test(it_goes_to_the_first_where_it_has_not_failed),
        cmocka_unit_test(it_goes_back_to_the_earliest_that_is_as_it_should_be),
        cmocka_unit_test(what_fails_waits_twice_as_long_each_time),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
