/* Stories of a node whose session in etcd is over, and of orders that nobody gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

static bool
has_a_majority(struct world *w, unsigned node)
{
    (void)node;
    return w->nodes[2].disk.record.granted_term == 2;
}

/* E4: vm2 has the grants of a majority and waits for vm1, when its session ends. The new one does
 * not go on with them, though vm1 is stated to be off then. */
static void
what_was_granted_before_is_void(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    assert_true(world_run_until(&W, has_a_majority, 1, 10000));
    world_run(&W, 1000);
    world_bar(&W, 1, true);
    stories_reply(20, ZB_E_STALE, "C-failover-barred");
    world_bar(&W, 1, false);
    world_fenced(&W, 1, 0, 2, 21);
    stories_reply(21, ZB_E_STALE, "C-fenced-stale");
    world_run(&W, 60000);
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
    assert_false(W.nodes[1].mounted_rw);
}

/* The same, where the end is not heard of before there is a new session. */
static void
a_new_session_alone_voids_it_too(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    assert_true(world_run_until(&W, has_a_majority, 1, 10000));
    world_bar(&W, 1, false);
    stories_reply(20, ZB_E_STALE, "C-failover-barred");
    world_fenced(&W, 1, 0, 2, 21);
    stories_reply(21, ZB_E_STALE, "C-fenced-stale");
}

static void
an_order_is_refused_while_barred(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_bar(&W, 1, true);
    world_failover(&W, 1, true, 20);
    stories_reply(20, ZB_E_REFUSED, "C-failover-barred");
    world_bar(&W, 1, false);
    world_run(&W, 1000);
    world_failover(&W, 1, true, 22);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, 2, 23);
    stories_reply(22, ZB_OK, "C-done");
}

/* M6: the last leader asks for nothing while it could not lead, and leads by itself afterwards. */
static void
the_last_leader_waits_for_its_session(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_power_on(&W, 0);
    world_bar(&W, 0, true);
    world_run(&W, 60000);
    assert_int_equal(W.nodes[0].disk.record.granted_term, 1);
    assert_false(W.nodes[0].mounted_rw);
    world_bar(&W, 0, false);
    stories_current(0, 60000);
}

/* What is released to it waits, too: taken, it could not be led. */
static void
a_release_waits_for_the_session_of_its_target(void **state)
{
    (void)state;
    world_bar(&W, 1, true);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 7);
    world_run(&W, 30000);
    assert_int_equal(W.nodes[0].disk.record.released_term, 2);
    assert_true(W.nodes[1].disk.record.granted_term < 2);
    world_bar(&W, 1, false);
    stories_current(1, 120000);
}

static bool
vm3_is_ahead(struct world *w, unsigned node)
{
    return zb_set_id_cmp(w->nodes[2].disk.newest.id, w->nodes[node].disk.newest.id) > 0;
}

/* Judged by what vm3 holds; then vm3 is gone, and what vm2 has is less than that. */
static void
a_takeover_loses_no_more_than_was_judged(void **state)
{
    struct zb_set_ref least;

    (void)state;
    world_cut(&W, 0, 1, true);
    world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 10);
    assert_true(world_run_until(&W, vm3_is_ahead, 1, 60000));
    least = W.nodes[2].disk.newest;
    world_power_off(&W, 0);
    world_run(&W, 15000);
    W.fail_ship_to = 1; /* vm3 cannot send it */
    world_takeover(&W, 1, &least, 20);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, 2, 21);
    stories_reply(20, ZB_E_REFUSED, "C-failover-less");
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
}

static void
a_takeover_passes_no_leader(void **state)
{
    (void)state;
    world_takeover(&W, 1, &W.nodes[1].disk.newest, 20);
    stories_reply(20, ZB_E_REFUSED, "C-failover-leader-up");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_was_granted_before_is_void, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(a_new_session_alone_voids_it_too, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(an_order_is_refused_while_barred, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(the_last_leader_waits_for_its_session, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(a_release_waits_for_the_session_of_its_target,
                                        stories_setup, stories_teardown),
        cmocka_unit_test_setup_teardown(a_takeover_loses_no_more_than_was_judged, stories_setup,
                                        stories_teardown),
        cmocka_unit_test_setup_teardown(a_takeover_passes_no_leader, stories_setup,
                                        stories_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
