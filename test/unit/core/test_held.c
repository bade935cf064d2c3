/* Stories of a service that failed where it is led: in that term it is not started any more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

/* It ends on vm1, and is not started again in that term; 0: it may be. */
static void
hold(uint64_t term)
{
    W.conf.version++;
    W.conf.held_term = term;
    for (unsigned i = 0; i < 3; i++) {
        struct zb_core_conf conf = W.conf;
        conf.held_term = i == 0 ? term : 0;
        world_declare(&W, i, &conf);
    }
}

static void
end_service(void)
{
    W.nodes[0].running = false;
}

static void
it_is_led_and_replicated_and_not_started(void **state)
{
    (void)state;
    hold(1);
    end_service();
    world_run(&W, 120000);
    assert_false(W.nodes[0].running);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_LEADING);
    W.nodes[0].disk.content++;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    stories_reply(1, ZB_OK, "C-done");
    world_engine_restart(&W, 0);
    world_run(&W, 120000);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_LEADING);
    assert_false(W.nodes[0].running);
}

/* However long the next try would have been waited for. */
static void
it_is_started_at_once_when_it_may_be(void **state)
{
    (void)state;
    W.fail_always = ZB_ACT_START;
    W.fail_rc = ZB_E_FAILED;
    end_service();
    world_run(&W, 120000);
    hold(1);
    world_run(&W, 1000);
    W.fail_always = 0;
    hold(0);
    world_run(&W, 2000);
    assert_true(W.nodes[0].running);
}

static void
it_is_moved_and_started_there(void **state)
{
    (void)state;
    hold(1);
    end_service();
    world_run(&W, 30000);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_OK, "C-done");
    assert_true(world_leads(&W, 1));
    world_command(&W, 1, ZB_CMD_MOVE, 0, 2); /* and back, in another term */
    stories_reply(2, ZB_OK, "C-done");
    assert_true(world_leads(&W, 0));
    end_service();
    world_run(&W, 20000);
    assert_true(W.nodes[0].running);
}

static void
a_restart_of_the_host_is_another_term(void **state)
{
    (void)state;
    hold(1);
    end_service();
    world_run(&W, 30000);
    world_power_off(&W, 0);
    world_run(&W, 5000);
    world_power_on(&W, 0);
    stories_current(0, 30000);
    assert_true(W.nodes[0].running);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(it_is_led_and_replicated_and_not_started, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(it_is_started_at_once_when_it_may_be, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(it_is_moved_and_started_there, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(a_restart_of_the_host_is_another_term, stories_setup,
                                        stories_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
