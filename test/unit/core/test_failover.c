/* Stories of orders to take over, of who was taken over, and of copies that came away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

static void
vm2_is_ordered_to_lead(bool allow_loss)
{
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, allow_loss, 20);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, 2, 21);
    stories_reply(21, ZB_OK, "C-done");
}

/* M3: vm3 suspects somebody whom it cannot name, and who may still be writable. */
static void
who_suspects_a_node_without_a_name_does_not_grant(void **state)
{
    (void)state;
    world_power_off(&W, 2);
    W.nodes[2].disk.record.suspects_unknown = true;
    world_power_on(&W, 2);
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    stories_reply(20, ZB_E_NOQUORUM, "C-failover-no-majority");
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
}

static void
a_failover_takes_what_the_followers_hold(void **state)
{
    (void)state;
    vm2_is_ordered_to_lead(false);
    stories_reply(20, ZB_OK, "C-done");
    assert_int_equal(W.nodes[1].disk.record.established_term, 2);
}

/* It heard of the later leader before the service was declared to it: it would grant itself a term
 * above, and not follow any more. */
static void
who_remembers_a_later_leader_does_not_ask(void **state)
{
    const struct zb_core_seen seen = {.granted_term = 2,
                                      .granted_to = 1,
                                      .learned_term = 2,
                                      .learned_leader = 1,
                                      .suspects = 1u << 1};
    (void)state;
    vm2_is_ordered_to_lead(false);
    stories_reply(20, ZB_OK, "C-done");
    world_cut(&W, 0, 1, true);
    world_cut(&W, 0, 2, true);
    world_power_on(&W, 0);
    world_seen(&W, 0, 1, &seen);
    world_run(&W, 20000);
    assert_int_equal(W.nodes[0].disk.record.granted_term, 1);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_FOLLOWER);
    world_cut(&W, 0, 1, false);
    world_cut(&W, 0, 2, false);
    stories_current(1, 60000);
}

static bool
vm3_is_ahead(struct world *w, unsigned node)
{
    return zb_set_id_cmp(w->nodes[2].disk.newest.id, w->nodes[node].disk.newest.id) > 0;
}

/* What vm3 holds more of comes first; what somebody wrote over the copy of vm2 is set aside for it.
 */
static void
a_copy_that_was_written_to_makes_way_for_what_is_ahead(void **state)
{
    struct zb_set_ref ahead;

    (void)state;
    world_cut(&W, 0, 1, true);
    world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 10);
    assert_true(world_run_until(&W, vm3_is_ahead, 1, 60000));
    world_power_off(&W, 0);
    ahead = W.nodes[2].disk.newest;
    W.nodes[1].disk.written_to = true;
    W.nodes[1].disk.content++;
    world_run(&W, 15000);
    vm2_is_ordered_to_lead(false);
    stories_reply(20, ZB_OK, "C-done");
    assert_true(W.rescues > 0);
    assert_true(zb_set_ref_equal(&W.term.set, &ahead));
}

/* vm2 leads from what vm3 has and sends for long, when the list of members becomes another one. */
static void
the_list_changes_while_vm2_is_forwarded(uint8_t members_count, uint8_t voters_count)
{
    static const uint8_t order[] = {1, 0, 2};
    struct zb_core_conf conf = W.conf;

    world_cut(&W, 0, 1, true);
    world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 10);
    assert_true(world_run_until(&W, vm3_is_ahead, 1, 60000));
    world_power_off(&W, 0);
    W.ship_ms = 5000;
    vm2_is_ordered_to_lead(false);
    world_run(&W, 1000);
    assert_int_equal(world_role(&W, 1), ZB_ROLE_FORWARDING);
    conf.version++;
    conf.members_count = members_count;
    for (uint8_t i = 0; i < members_count; i++) {
        conf.members[i] = order[i];
        conf.backup[i] = i >= voters_count;
    }
    world_declare(&W, 1, &conf);
}

/* M11: vm3's grant is none of a voter any more. */
static void
a_majority_of_the_voters_there_are_then_takes(void **state)
{
    (void)state;
    the_list_changes_while_vm2_is_forwarded(3, 2);
    stories_reply(20, ZB_E_NOQUORUM, "C-failover-no-majority");
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
}

static void
who_is_no_member_any_more_forwards_nothing(void **state)
{
    (void)state;
    the_list_changes_while_vm2_is_forwarded(1, 1);
    stories_reply(20, ZB_E_REFUSED, "C-failover-cannot-forward");
}

/* While a fence command runs, the order waits for it; once that has failed, no longer than without.
 */
static void
a_fence_command_is_waited_for(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    world_run(&W, 1000);
    world_fence_wait(&W, 1, 3, 150000, 21);
    stories_reply(21, ZB_E_STALE, "C-fenced-stale"); /* M4: of another term */
    world_fence_wait(&W, 1, 2, 150000, 22);
    stories_reply(22, ZB_OK, "C-done");
    world_run(&W, 100000);
    assert_false(stories_replied(&W, 20));
    world_fence_wait(&W, 1, 2, 5000, 23);
    world_run(&W, 4000);
    assert_false(stories_replied(&W, 20));
    world_run(&W, 2000);
    stories_reply(20, ZB_E_REFUSED, "C-failover-suspect");
    world_fence_wait(&W, 1, 2, 5000, 24);
    stories_reply(24, ZB_E_STALE, "C-fenced-stale");
}

/* Else nobody could lead: this node is a suspect by its own grant. */
static void
a_failover_ends_when_the_disk_is_not_seen_any_more(void **state)
{
    (void)state;
    W.nodes[1].disk.content++;
    W.fail_always = ZB_ACT_OBSERVE;
    vm2_is_ordered_to_lead(false);
    stories_reply(20, ZB_E_FAILED, "C-failover-rescue-failed");
    assert_int_equal(world_role(&W, 1), ZB_ROLE_FOLLOWER);
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
}

static void
a_failover_ends_when_there_is_nothing_to_set_aside_and_yet_more(void **state)
{
    (void)state;
    W.nodes[1].disk.content++;
    vm2_is_ordered_to_lead(false);
    stories_reply(20, ZB_E_FAILED, "C-failover-rescue-failed");
    assert_true(W.rescues < 10);
}

/* What could not be set aside was put right by hand: the sets since then stay where they are. */
static void
a_copy_that_follows_again_is_not_set_aside(void **state)
{
    (void)state;
    W.fail_always = ZB_ACT_RESCUE;
    world_diverged(&W, 1, 0, 1);
    world_run(&W, 1000);
    assert_true(W.rescues > 0);
    W.nodes[0].disk.content++;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    stories_reply(1, ZB_OK, "C-done");
    W.fail_always = 0;
    W.rescues = 0;
    world_run(&W, 120000);
    assert_int_equal(W.rescues, 0);
}

/* vm3 tells of a history that vm2's copy is older than: too long to say whether it came away. */
static void
history_grows_long(unsigned node)
{
    struct zb_core_obs *r = &W.nodes[node].disk.record;

    for (uint64_t t = 2; t <= ZB_LINEAGE_MAX + 3; t++) {
        zb_lineage_add(&r->lineage, t, (struct zb_set_id){t - 1, 3});
    }
    r->granted_term = r->learned_term = ZB_LINEAGE_MAX + 3;
    r->granted_to = r->learned_leader = 0;
    r->suspects = 1;
    W.nodes[node].disk.newest.id = (struct zb_set_id){0, 0};
}

static void
a_copy_older_than_the_history_is_taken_by_order_only(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    world_power_off(&W, 2);
    history_grows_long(2);
    world_power_on(&W, 2);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, ZB_LINEAGE_MAX + 4, 21);
    stories_reply(21, ZB_OK, "C-done");
    stories_reply(20, ZB_E_REFUSED, "C-failover-unknown-line");
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
    W.replies_count = 0;
    world_failover(&W, 1, true, 20);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, ZB_LINEAGE_MAX + 5, 21);
    stories_reply(21, ZB_OK, "C-done");
    assert_true(world_run_until(&W, world_leads, 1, 30000));
}

/* Who led before the last leader is over: nobody waits for it. */
static void
the_old_leader_is_not_missed_by_the_next_ones(void **state)
{
    (void)state;
    vm2_is_ordered_to_lead(false);
    assert_true(world_run_until(&W, world_leads, 1, 30000));
    world_run(&W, 20000);
    world_command(&W, 1, ZB_CMD_MOVE, 2, 22);
    assert_true(world_run_until(&W, world_leads, 2, 30000));
    world_power_off(&W, 2);
    world_run(&W, 1000);
    world_power_on(&W, 2);
    world_seen(&W, 2, 0,
               &(struct zb_core_seen){
                   .granted_term = 1, .granted_to = 0, .learned_term = 1, .learned_leader = 0});
    assert_true(world_run_until(&W, world_leads, 2, 30000));
}

/* Its own grant of a still higher term would keep it from following for ever. */
static void
who_was_taken_over_hears_of_it_before_it_asks(void **state)
{
    struct zb_core_obs *lost = &W.nodes[0].disk.record;
    (void)state;
    world_power_off(&W, 0);
    for (unsigned i = 1; i < 3; i++) { /* they went on without it: vm2 led term 2 */
        struct zb_core_obs *r = &W.nodes[i].disk.record;
        world_power_off(&W, i);
        r->granted_term = r->learned_term = 2;
        r->granted_to = r->learned_leader = 1;
        r->established_term = i == 1 ? 2 : 0;
        r->suspects = 1u << 1;
    }
    world_power_on(&W, 1);
    world_power_on(&W, 2);
    if (!world_run_until(&W, world_leads, 1, 30000)) {
        world_print(&W);
        fail_msg("vm2 does not lead");
    }
    world_cut(&W, 0, 1, true);
    W.fail_next = ZB_ACT_OBSERVE; /* vm3 is heard first */
    W.fail_rc = ZB_E_BUSY;
    world_power_on(&W, 0);
    world_run(&W, 10000);
    assert_true(lost->granted_term <= W.nodes[1].disk.record.established_term);
    world_cut(&W, 0, 1, false);
    stories_current(1, 30000);
}

static void
vm1_is_back_and_vm2_granted_and_is_off(void)
{
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    world_run(&W, 2000);
    world_power_off(&W, 1);
    world_power_on(&W, 0);
}

/* vm2 was ordered to lead, granted, and gave up; nobody knows whether it led. vm1 asks for its own
 * restart meanwhile: with the order it becomes a failover, whose loss is stated. */
static void
an_order_that_finds_it_asking_is_a_failover(void **state)
{
    (void)state;
    vm1_is_back_and_vm2_granted_and_is_off();
    world_run(&W, 10000);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_ASKING);
    world_fenced(&W, 0, 1, W.nodes[0].disk.record.granted_term, 21);
    stories_reply(21, ZB_E_REFUSED, "C-fenced-without-order");
    assert_int_equal(world_role(&W, 0), ZB_ROLE_ASKING);
    world_failover(&W, 0, false, 22);
    world_run(&W, 2000);
    world_fenced(&W, 0, 1, W.nodes[0].disk.record.granted_term, 23);
    stories_reply(23, ZB_OK, "C-done");
    assert_true(world_run_until(&W, world_leads, 0, 30000));
    assert_int_equal(W.term.reason, ZB_TERM_FAILOVER);
    assert_int_equal(W.term.command_id, 22);
}

/* S3: the order was given with vm1 up, which led and has one set more than the others; so its set
 * was counted on when the loss was stated. It is gone before it has granted. */
static void
what_was_counted_on_is_not_lost_without_a_word(void **state)
{
    (void)state;
    world_power_off(&W, 0);
    W.nodes[0].disk.newest.id.seq++;
    W.nodes[0].disk.newest.digest[0]++;
    W.fail_always = ZB_ACT_PROMOTE;
    world_power_on(&W, 0);
    world_run(&W, 2000);
    world_failover(&W, 1, false, 20);
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, W.nodes[1].disk.record.granted_term, 21);
    stories_reply(21, ZB_OK, "C-done");
    stories_reply(20, ZB_E_REFUSED, "C-failover-ahead");
    assert_int_equal(W.nodes[1].disk.record.established_term, 0);
    W.fail_always = 0;
    world_failover(&W, 1, false, 22); /* with vm1 off: stated now */
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, W.nodes[1].disk.record.granted_term, 23);
    stories_reply(23, ZB_OK, "C-done");
    assert_true(world_run_until(&W, world_leads, 1, 30000));
}

/* vm1 comes back with an empty disk, vm3 is away: what is left is vm2's copy, and vm1's vote. What
 * vm1 asks again and again does not keep a slow vm2 from its order. */
static void
a_leader_without_its_disk_gives_way(void **state)
{
    (void)state;
    W.grant_ms = 600;
    world_power_off(&W, 0);
    world_power_off(&W, 2);
    W.nodes[0].disk.exists = false;
    W.nodes[0].disk.newest = (struct zb_set_ref){0};
    W.nodes[0].disk.record.reached = (struct zb_set_ref){0};
    world_power_on(&W, 0);
    world_run(&W, 10000);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_ASKING);
    world_failover(&W, 1, false, 20);
    stories_reply(20, ZB_OK, "C-done");
    assert_true(world_leads(&W, 1));
}

static bool
recorded(struct world *w, unsigned node)
{
    return w->nodes[node].disk.record.established_term != 0;
}

/* S3: vm1 yields with writes that nobody else has; vm2 records its term, and cannot mount. The term
 * is in the history with that loss, and the order goes on in the next one, which loses nothing
 * more. */
static void
a_term_that_was_recorded_is_told_though_its_mount_failed(void **state)
{
    (void)state;
    W.nodes[0].disk.content += 5;
    W.fail_mount = true;
    world_failover(&W, 1, true, 20);
    assert_true(world_run_until(&W, recorded, 1, 30000));
    world_run(&W, 10);
    assert_int_equal(W.term.term, 2);
    assert_int_equal(W.term.reason, ZB_TERM_FAILOVER);
    assert_int_equal(W.term.command_id, 20);
    stories_reply(20, ZB_OK, "C-done");
    assert_true(world_leads(&W, 1));
    assert_int_equal(W.term.term, 3);
    assert_int_equal(W.term.reason, ZB_TERM_RESTART);
}

/* vm2 is off when vm1, the last leader, is ordered to lead, and it may still be writable: the order
 * ends. When vm2 is back vm1 restarts by itself, as it would have without. */
static void
the_last_leader_restarts_after_an_order_that_gave_up(void **state)
{
    (void)state;
    vm1_is_back_and_vm2_granted_and_is_off();
    world_run(&W, 5000);
    world_failover(&W, 0, false, 22);
    stories_reply(22, ZB_E_REFUSED, "C-failover-suspect");
    world_power_on(&W, 1);
    assert_true(world_run_until(&W, world_leads, 0, 60000));
    assert_int_equal(W.term.reason, ZB_TERM_RESTART);
}

/* S6: vm3 is away and holds 1/2, as vm1 remembers, whose disk has gone back to 1/1 as vm2's is. It
 * leads neither by itself nor by an order, but for one that accepts the loss. */
static void
a_leader_does_not_go_on_from_less_than_who_is_away_holds(void **state)
{
    struct zb_set_ref ahead;
    struct zb_core_view v;
    (void)state;
    for (unsigned n = 0; n < 3; n++) {
        world_power_off(&W, n);
    }
    ahead = W.nodes[0].disk.newest;
    ahead.id.seq++;
    ahead.digest[0]++;
    world_power_on(&W, 0);
    world_position(&W, 0, 2, &ahead);
    world_power_on(&W, 1);
    world_run(&W, 20000);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_ASKING);
    zb_core_view(W.nodes[0].core, 0, &v);
    assert_string_equal(v.why_rule, "R-own-disk-older");
    world_failover(&W, 0, false, 20);
    stories_reply(20, ZB_E_REFUSED, "C-failover-ahead");
    world_failover(&W, 0, true, 21);
    stories_reply(21, ZB_OK, "C-done");
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.term.reason, ZB_TERM_FAILOVER);
}

/* vm2 and vm3, which did not see vm1, granted term 2, and vm2 gave up: they do not follow in
 * term 1. vm1 takes term 3 by itself, unless that waits for vm2: the service runs meanwhile. */
static void
a_leader_takes_a_term_above_what_was_granted_in_vain(void **state)
{
    const struct zb_set_ref newest = W.nodes[0].disk.newest;
    (void)state;
    world_cut(&W, 0, 1, true);
    world_cut(&W, 0, 2, true);
    world_run(&W, 1000);
    world_failover(&W, 1, true, 20);
    stories_reply(20, ZB_E_REFUSED, "C-failover-suspect");
    world_cut(&W, 0, 1, false);
    world_cut(&W, 0, 2, false);
    world_run(&W, 20000);
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.nodes[2].disk.record.granted_term, 2);
    W.nodes[0].disk.content++;
    world_run(&W, 60000);
    assert_true(zb_set_id_cmp(W.nodes[0].disk.newest.id, W.nodes[2].disk.newest.id) > 0);
    world_power_off(&W, 1);
    world_run(&W, 1000);
    world_takeover(&W, 0, &newest, 21);
    stories_reply(21, ZB_E_REFUSED, "C-failover-suspect");
    assert_true(world_leads(&W, 0));
    world_power_on(&W, 1);
    world_run(&W, 1000);
    uint64_t written = ++W.nodes[0].disk.content;
    world_takeover(&W, 0, &newest, 22);
    stories_reply(22, ZB_OK, "C-done");
    assert_int_equal(W.nodes[0].disk.record.established_term, 3);
    assert_int_equal(W.term.reason, ZB_TERM_RESTART);
    stories_current(0, 60000);
    assert_true(W.nodes[0].disk.content >= written);
    assert_int_equal(W.rescues, 0);
}

/* Who was granted the term is there, and does not grant: it has not heard of the declaration yet.
 */
static void
a_leader_does_not_take_a_term_that_waits(void **state)
{
    const struct zb_set_ref newest = W.nodes[0].disk.newest;
    struct zb_core_conf conf = W.conf;
    (void)state;
    world_seen(&W, 0, 2, &(struct zb_core_seen){.granted_term = 2, .granted_to = 1});
    conf.version++;
    world_declare(&W, 0, &conf);
    world_takeover(&W, 0, &newest, 20);
    stories_reply(20, ZB_E_REFUSED, "C-failover-suspect");
    assert_true(world_leads(&W, 0));
    world_declare(&W, 1, &conf);
    world_run(&W, 10000);
    world_takeover(&W, 0, &newest, 21);
    stories_reply(21, ZB_OK, "C-done");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, stories_setup, stories_teardown)
        T(who_suspects_a_node_without_a_name_does_not_grant),
        T(a_failover_takes_what_the_followers_hold),
        T(who_remembers_a_later_leader_does_not_ask),
        T(a_copy_that_was_written_to_makes_way_for_what_is_ahead),
        T(a_majority_of_the_voters_there_are_then_takes),
        T(who_is_no_member_any_more_forwards_nothing),
        T(a_fence_command_is_waited_for),
        T(a_failover_ends_when_the_disk_is_not_seen_any_more),
        T(a_failover_ends_when_there_is_nothing_to_set_aside_and_yet_more),
        T(a_copy_that_follows_again_is_not_set_aside),
        T(a_copy_older_than_the_history_is_taken_by_order_only),
        T(the_old_leader_is_not_missed_by_the_next_ones),
        T(who_was_taken_over_hears_of_it_before_it_asks),
        T(an_order_that_finds_it_asking_is_a_failover),
        T(what_was_counted_on_is_not_lost_without_a_word),
        T(a_leader_without_its_disk_gives_way),
        T(a_term_that_was_recorded_is_told_though_its_mount_failed),
        T(the_last_leader_restarts_after_an_order_that_gave_up),
        T(a_leader_does_not_go_on_from_less_than_who_is_away_holds),
        T(a_leader_takes_a_term_above_what_was_granted_in_vain),
        T(a_leader_does_not_take_a_term_that_waits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
