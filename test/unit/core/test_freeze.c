/* Stories of a frozen service: who leads is not changed by anybody's command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

/* The next version of the declaration, frozen or not, comes into force on these nodes (bits). */
static void
declare(uint64_t version, bool frozen, unsigned nodes)
{
    struct zb_core_conf conf = W.conf;

    conf.version = version;
    conf.frozen = frozen;
    for (unsigned i = 0; i < 3; i++) {
        if ((nodes & 1u << i) != 0) {
            world_declare(&W, i, &conf);
        }
    }
}

static bool
granted_to_vm3(struct world *w, unsigned node)
{
    return w->nodes[node].disk.record.granted_term > 1 &&
           w->nodes[node].disk.record.granted_to == 2;
}

static bool
vm1_granted_vm2(struct world *w, unsigned term)
{
    return w->nodes[0].disk.record.granted_term == term && w->nodes[0].disk.record.granted_to == 1;
}

static void
a_frozen_service_is_not_moved(void **state)
{
    (void)state;
    declare(2, true, 7);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_E_REFUSED, "C-move-frozen");
    assert_int_equal(W.nodes[0].disk.record.released_term, 0);
    declare(3, false, 7);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 2);
    stories_reply(2, ZB_OK, "C-done");
}

/* What else is in the way of a move is told before the freeze. */
static void
the_freeze_is_the_last_thing_in_the_way(void **state)
{
    (void)state;
    declare(2, true, 7);
    world_power_off(&W, 1);
    world_run(&W, 1000);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_E_REFUSED, "C-move-target-down");
}

static void
a_frozen_service_is_replicated_and_its_leader_restarted(void **state)
{
    (void)state;
    W.conf.version = 2;
    W.conf.frozen = true;
    declare(2, true, 7);
    W.nodes[0].disk.content++;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    stories_reply(1, ZB_OK, "C-done");
    world_power_off(&W, 0);
    world_run(&W, 5000);
    world_power_on(&W, 0);
    stories_current(0, 30000);
    assert_int_equal(W.nodes[0].disk.record.established_term, 2);
}

static void
a_frozen_copy_that_came_away_is_still_set_aside(void **state)
{
    (void)state;
    declare(2, true, 7);
    W.nodes[1].disk.content++;
    world_diverged(&W, 1, 0, 1);
    world_run(&W, 2000);
    assert_true(W.rescues > 0);
    stories_current(0, 30000);
}

static void
a_frozen_service_is_not_failed_over(void **state)
{
    (void)state;
    declare(2, true, 7);
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, true, 1);
    stories_reply(1, ZB_E_REFUSED, "C-failover-frozen");
    assert_int_equal(W.nodes[2].disk.record.granted_term, 1);
}

/* M11: vm3 missed the freeze. Its question carries the older version, and nobody who knows the
 * newer one grants it: without the loss too, and although the leader is off. */
static void
a_candidate_that_missed_the_freeze_gets_no_grant(void **state)
{
    (void)state;
    declare(2, true, 3);
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 2, true, 1);
    stories_reply(1, ZB_E_NOQUORUM, "C-failover-no-majority");
    assert_true(granted_to_vm3(&W, 2));
    assert_int_equal(W.nodes[1].disk.record.granted_term, 1);
    assert_int_equal(W.nodes[2].disk.record.established_term, 0);
}

/* The leader refuses it as well, and goes on: it is not made to yield. */
static void
a_leader_that_knows_of_the_freeze_does_not_yield(void **state)
{
    (void)state;
    declare(2, true, 3);
    world_failover(&W, 2, true, 1);
    stories_reply(1, ZB_E_NOQUORUM, "C-failover-no-majority");
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
    assert_int_equal(W.nodes[0].disk.record.granted_term, 1);
}

/* Granted by a majority, it waits for a suspect when the freeze comes: nothing was taken. */
static void
a_failover_under_way_ends_when_the_freeze_comes(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 1);
    world_run(&W, 2000);
    assert_int_equal(world_role(&W, 1), ZB_ROLE_ASKING);
    declare(2, true, 2);
    stories_reply(1, ZB_E_REFUSED, "C-failover-frozen");
    assert_int_equal(world_role(&W, 1), ZB_ROLE_FOLLOWER);
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
}

/* ... but for one that the leader gave way to: nobody would lead until the thaw. */
static void
a_failover_that_a_leader_stopped_for_goes_on(void **state)
{
    (void)state;
    world_power_off(&W, 2);
    world_failover(&W, 1, true, 1);
    assert_true(world_run_until(&W, vm1_granted_vm2, 2, 10000));
    assert_int_equal(world_role(&W, 1), ZB_ROLE_ASKING);
    declare(2, true, 3);
    stories_reply(1, ZB_OK, "C-done");
    assert_int_equal(W.nodes[1].disk.record.established_term, 2);
}

static void
thawed_it_is_failed_over_as_ever(void **state)
{
    (void)state;
    declare(2, true, 7);
    world_power_off(&W, 0);
    world_run(&W, 1000);
    declare(3, false, 6);
    world_failover(&W, 1, false, 1);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, 2, 2);
    stories_reply(2, ZB_OK, "C-done");
    stories_reply(1, ZB_OK, "C-done");
    assert_int_equal(W.nodes[1].disk.record.established_term, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, stories_setup, stories_teardown)
        T(a_frozen_service_is_not_moved),
        T(the_freeze_is_the_last_thing_in_the_way),
        T(a_frozen_service_is_replicated_and_its_leader_restarted),
        T(a_frozen_copy_that_came_away_is_still_set_aside),
        T(a_frozen_service_is_not_failed_over),
        T(a_candidate_that_missed_the_freeze_gets_no_grant),
        T(a_leader_that_knows_of_the_freeze_does_not_yield),
        T(a_failover_under_way_ends_when_the_freeze_comes),
        T(a_failover_that_a_leader_stopped_for_goes_on),
        T(thawed_it_is_failed_over_as_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
