/* agent/drill.h: when another drill is due, and what counts as the result of one. */
#include "unit.h"

#include "agent/drill.h"
#include "agent/json.h"

static void
one_is_due_after_its_time(void **state)
{
    json_t *last = json_pack("{s:i}", "time_s", 1000);
    (void)state;

    assert_true(zb_drill_is_due(NULL, (struct zb_wall){1000}, 60000));
    assert_false(zb_drill_is_due(last, (struct zb_wall){1000}, 60000));
    assert_false(zb_drill_is_due(last, (struct zb_wall){1059}, 60000));
    assert_true(zb_drill_is_due(last, (struct zb_wall){1060}, 60000));
    assert_true(zb_drill_is_due(last, (struct zb_wall){999}, 60000)); /* the clock went back */
    json_decref(last);
}

static void
only_what_says_something_of_the_copy_counts(void **state)
{
    (void)state;
    assert_true(zb_drill_is_verdict(ZB_OK));
    assert_true(zb_drill_is_verdict(ZB_E_FAILED));
    assert_true(zb_drill_is_verdict(ZB_E_TIMEOUT));
    assert_true(zb_drill_is_verdict(ZB_E_UNSUPPORTED)); /* an encryption key is missing */
    assert_true(zb_drill_is_verdict(ZB_E_REFUSED));     /* the check is not root's alone */
    assert_false(zb_drill_is_verdict(ZB_E_NOTFOUND));   /* the set went meanwhile */
    assert_false(zb_drill_is_verdict(ZB_E_NOSPACE));
    assert_false(zb_drill_is_verdict(ZB_E_SYS));
    assert_false(zb_drill_is_verdict(ZB_E_BUSY));
    assert_false(zb_drill_is_verdict(ZB_E_CANCELED));
    assert_false(zb_drill_is_verdict(ZB_E_CLOSED));
    assert_false(zb_drill_is_verdict(ZB_E_LIMIT));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_is_due_after_its_time),
        cmocka_unit_test(only_what_says_something_of_the_copy_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
