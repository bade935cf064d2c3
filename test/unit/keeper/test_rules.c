/* What a keeper takes from its record and its disk: the first leader, a term that continues,
 * DEFINE. */
#include "story.h"

#define OTHER_BOOT "5c5192c4-d747-4963-8186-4affb2b383a8"

static void
test_is_first(void **state)
{
    struct zb_keeper_record r = {0};
    (void)state;

    assert_true(zb_rules_is_first(&r, "vm1", "vm1"));
    assert_false(zb_rules_is_first(&r, "vm1", "vm2"));
    assert_false(zb_rules_is_first(&r, "", "vm2"));
    r.rec.learned_term = 1;
    assert_false(zb_rules_is_first(&r, "vm1", "vm1"));
}

static void
test_continues(void **state)
{
    struct story s;
    (void)state;

    story_leader(&s);
    assert_true(zb_rules_continues(&s.r, "vm1", STORY_BOOT, 42));
    assert_false(zb_rules_continues(&s.r, "vm1", OTHER_BOOT, 42));
    assert_false(zb_rules_continues(&s.r, "vm1", STORY_BOOT, 41));
    assert_false(zb_rules_continues(&s.r, "vm2", STORY_BOOT, 42));
    s.r.rec.granted_term = 4;
    assert_false(zb_rules_continues(&s.r, "vm1", STORY_BOOT, 42));
    s.r = (struct zb_keeper_record){0};
    assert_false(zb_rules_continues(&s.r, "vm1", "", 0));
    assert_false(zb_rules_may_have_led(&s.r, false));
    assert_true(zb_rules_may_have_led(&s.r, true));
}

static void
test_define_and_idle(void **state)
{
    struct story s;
    char text[] = "{}";
    (void)state;

    story_leader(&s);
    s.req.text = text;
    s.req.version = 7;
    story_refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_OK, "");
    s.req.version = 6;
    story_refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED,
                  "older than version 7");
    s.req.version = 8;
    s.req.text = NULL;
    story_refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "is mounted");
    s.datasets[0].mount = ZB_MOUNT_NONE;
    s.f.running = true;
    story_refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "is running");
    s.f.running = false;
    story_refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_OK, "");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_first),
        cmocka_unit_test(test_continues),
        cmocka_unit_test(test_define_and_idle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
