/* Stories of the first copy of a member, which a follower sends where it can. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

/* Its pool is a new one; the host was off meanwhile. */
static void
vm3_has_nothing(void)
{
    world_power_off(&W, 2);
    W.nodes[2].disk = (struct world_disk){.record = {.learned_leader = ZB_NODE_NONE,
                                                     .granted_to = ZB_NODE_NONE,
                                                     .released_to = ZB_NODE_NONE}};
    W.copies = 0;
}

static void
a_follower_sends_it(void **state)
{
    (void)state;
    vm3_has_nothing();
    world_power_on(&W, 2);
    stories_current(0, 60000);
    assert_int_equal(W.copies, 1);
}

static void
the_leader_does_where_the_follower_cannot_reach_it(void **state)
{
    (void)state;
    vm3_has_nothing();
    world_cut(&W, 1, 2, true);
    world_power_on(&W, 2);
    stories_current(0, 60000);
    assert_int_equal(W.copies, 0);
}

/* It meets it, or hears that it is a member, a little later than the leader does. */
static void
a_follower_that_does_not_see_it_yet_is_asked_again(void **state)
{
    (void)state;
    vm3_has_nothing();
    world_cut(&W, 1, 2, true);
    world_power_on(&W, 2);
    world_run(&W, 4000);
    world_cut(&W, 1, 2, false);
    stories_current(0, 60000);
    assert_int_equal(W.copies, 1);
}

/* It says nothing more: it is off, or cut from the leader alone. */
static void
the_leader_does_where_the_follower_goes_away(void **state)
{
    (void)state;
    vm3_has_nothing();
    W.ship_ms = 5000;
    world_power_on(&W, 2);
    world_run(&W, 3000);
    world_power_off(&W, 1);
    W.ship_ms = 0;
    world_run(&W, 60000);
    assert_int_equal(W.copies, 0);
    assert_true(zb_set_ref_equal(&W.nodes[2].disk.newest, &W.nodes[0].disk.newest));
}

/* A copy takes its time, and sets are made meanwhile. */
static void
what_the_copy_lacks_comes_from_the_leader(void **state)
{
    (void)state;
    vm3_has_nothing();
    W.ship_ms = 60000;
    world_power_on(&W, 2);
    world_run(&W, 5000);
    world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 100);
    world_run(&W, 30000);
    assert_true(zb_set_id_is_none(W.nodes[2].disk.newest.id));
    W.ship_ms = 0;
    world_run(&W, 60000);
    assert_int_equal(W.copies, 1);
    stories_current(0, 60000);
}

static void
a_new_leader_has_it_begun_anew(void **state)
{
    (void)state;
    vm3_has_nothing();
    W.ship_ms = 5000;
    world_power_on(&W, 2);
    world_run(&W, 3000);
    world_engine_restart(&W, 0);
    W.ship_ms = 0;
    stories_current(0, 60000);
    assert_true(W.copies >= 1);
}

#define T(test) cmocka_unit_test_setup_teardown(test, stories_setup, stories_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_follower_sends_it),
        T(the_leader_does_where_the_follower_cannot_reach_it),
        T(a_follower_that_does_not_see_it_yet_is_asked_again),
        T(the_leader_does_where_the_follower_goes_away),
        T(what_the_copy_lacks_comes_from_the_leader),
        T(a_new_leader_has_it_begun_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
