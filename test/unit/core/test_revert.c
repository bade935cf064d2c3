/* Stories of a leader that goes back to an earlier set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

/* A set, and then others with what was written since; everybody holds them. */
static struct zb_set_ref
sets_are_made(void)
{
    struct zb_set_ref first = W.nodes[0].disk.newest;

    for (uint64_t i = 0; i < 3; i++) {
        W.nodes[0].disk.content++;
        world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 100 + i);
        stories_reply((unsigned)(100 + i), ZB_OK, "C-done");
    }
    stories_current(0, 30000);
    return first;
}

static void
the_leader_goes_back_and_leads_a_new_term(void **state)
{
    struct zb_set_ref first = sets_are_made();

    (void)state;
    W.nodes[0].disk.content++;
    world_revert(&W, 0, &first, 1);
    stories_reply(1, ZB_OK, "C-done");
    assert_int_equal(W.nodes[0].disk.record.established_term, 2);
    assert_int_equal(W.term.reason, ZB_TERM_REVERT);
    assert_true(zb_set_ref_equal(&W.term.set, &first));
    assert_true(W.rescues > 0);
    stories_current(0, 60000);
    assert_int_equal(W.nodes[2].disk.newest.id.term, 2);
}

/* Nothing was changed yet when it cannot be: the leader goes on with all that it has. */
static void
a_set_that_is_gone_leaves_everything_as_it_is(void **state)
{
    struct zb_set_ref first = sets_are_made();
    uint64_t content = ++W.nodes[0].disk.content;

    (void)state;
    W.fail_always = ZB_ACT_RESCUE;
    world_revert(&W, 0, &first, 1);
    stories_reply(1, ZB_E_FAILED, "C-failover-rescue-failed");
    W.fail_always = 0;
    stories_current(0, 60000);
    assert_true(W.nodes[0].disk.content >= content);
    assert_int_equal(W.term.reason, ZB_TERM_RESTART);
}

/* The term is recorded, and its mount fails: the order goes on with the tree as it is then. */
static void
it_goes_back_only_once(void **state)
{
    struct zb_set_ref first = sets_are_made();

    (void)state;
    W.fail_mount = true;
    world_revert(&W, 0, &first, 1);
    stories_reply(1, ZB_OK, "C-done");
    assert_int_equal(W.nodes[0].disk.record.established_term, 3);
    assert_int_equal(W.term.reason, ZB_TERM_RESTART);
    assert_true(zb_set_ref_equal(&W.term.set, &first));
}

/* Somebody holds the mount: told as not begun; and the leader goes on as it was once that one left.
 */
static void
a_mount_that_is_held_is_no_revert(void **state)
{
    struct zb_set_ref first = sets_are_made();

    (void)state;
    W.fail_always = ZB_ACT_DEMOTE;
    world_revert(&W, 0, &first, 1);
    stories_reply(1, ZB_E_HELD, "C-failover-not-begun");
    W.fail_always = 0;
    stories_current(0, 120000);
    assert_int_equal(W.rescues, 0);
    assert_true(zb_set_id_cmp(W.nodes[0].disk.newest.id, first.id) > 0);
}

static void
what_cannot_be_gone_back_to_is_refused(void **state)
{
    struct zb_set_ref set = sets_are_made();
    uint64_t term = W.nodes[0].disk.record.granted_term;

    (void)state;
    world_revert(&W, 1, &set, 1);
    stories_reply(1, ZB_E_REFUSED, "C-revert-not-leading");
    set.id.seq += 100;
    world_revert(&W, 0, &set, 2);
    stories_reply(2, ZB_E_REFUSED, "C-revert-not-of-history");
    set.id.seq = 0;
    world_seen(&W, 0, 2, &(struct zb_core_seen){.granted_term = 2, .granted_to = 1});
    world_power_off(&W, 1);
    world_run(&W, 1000);
    world_revert(&W, 0, &set, 4);
    stories_reply(4, ZB_E_NOQUORUM, "C-revert-suspect");
    world_power_off(&W, 2);
    world_run(&W, 1000);
    world_revert(&W, 0, &set, 3);
    stories_reply(3, ZB_E_NOQUORUM, "C-revert-no-majority");
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.nodes[0].disk.record.granted_term, term);
}

/* What was left behind stays behind: a second one goes back further, over the first. */
static void
twice(void **state)
{
    struct zb_set_ref first = sets_are_made();
    struct zb_set_ref left = W.nodes[0].disk.newest;
    struct zb_set_ref third = W.sets[W.sets_count - 2];

    (void)state;
    world_revert(&W, 0, &third, 1);
    stories_reply(1, ZB_OK, "C-done");
    world_revert(&W, 0, &left, 2);
    stories_reply(2, ZB_E_REFUSED, "C-revert-not-of-history");
    world_revert(&W, 0, &first, 3);
    stories_reply(3, ZB_OK, "C-done");
    assert_true(zb_set_ref_equal(&W.term.set, &first));
    stories_current(0, 60000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, stories_setup, stories_teardown)
        T(the_leader_goes_back_and_leads_a_new_term),
        T(a_set_that_is_gone_leaves_everything_as_it_is),
        T(it_goes_back_only_once),
        T(a_mount_that_is_held_is_no_revert),
        T(what_cannot_be_gone_back_to_is_refused),
        T(twice),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
