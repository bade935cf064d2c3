/* Stories of a small cluster: each asserts what an operator would see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

static void
first_leader_takes_term_1(void **state)
{
    (void)state;
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
    assert_int_equal(W.nodes[1].disk.record.learned_term, 1);
}

static void
a_move_loses_nothing_and_everybody_follows(void **state)
{
    uint64_t content;
    (void)state;
    W.nodes[0].disk.content += 5;
    content = W.nodes[0].disk.content;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 7);
    stories_reply(7, ZB_OK, "C-done");
    stories_current(1, 20000);
    assert_true(W.nodes[1].disk.content >= content);
    assert_int_equal(W.nodes[1].disk.record.established_term, 2);
    for (int i = 1; i <= 9; i++) {
        assert_int_equal(W.steps_seen[i], (1u << ZB_STEP_BEGIN) | (1u << ZB_STEP_END));
    }
    assert_true(W.replies[0].action.down_ms > W.replies[0].action.own_ms);
}

static bool
vm1_runs(struct world *w, unsigned running)
{
    return w->nodes[0].running == (running != 0);
}

/* Sets are due once an hour, and the service is started again long before. */
static void
a_service_that_ended_is_started_again(void **state)
{
    struct zb_core_conf conf = W.conf;

    (void)state;
    conf.version = 2;
    conf.interval_ms = 3600000;
    for (unsigned i = 0; i < 3; i++) {
        world_declare(&W, i, &conf);
    }
    world_run(&W, 120000);
    W.nodes[0].running = false;
    assert_true(world_run_until(&W, vm1_runs, 1, 60000));
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
}

static bool
vm1_has_a_set_of_all(struct world *w, unsigned unused)
{
    (void)unused;
    return w->nodes[0].disk.newest_content == w->nodes[0].disk.content;
}

/* Whenever its lead began: services of one interval have their sets together. */
static void
sets_are_due_at_multiples_of_the_interval(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        W.nodes[0].disk.content++;
        assert_true(world_run_until(&W, vm1_has_a_set_of_all, 0, 15000));
        assert_in_range(W.now_ms % W.conf.interval_ms, 0, 1500);
        world_run(&W, 1234);
    }
}

/* A shorter interval holds from its declaration on, not from the end of the long one. */
static void
a_shorter_interval_holds_at_once(void **state)
{
    struct zb_core_conf conf = W.conf;
    uint32_t shorter_ms = conf.interval_ms;

    (void)state;
    for (conf.version = 2; conf.version <= 3; conf.version++) {
        conf.interval_ms = conf.version == 2 ? 3600000 : shorter_ms;
        for (unsigned i = 0; i < 3; i++) {
            world_declare(&W, i, &conf);
        }
        world_run(&W, 60000); /* the next one is due by that interval */
    }
    W.nodes[0].disk.content++;
    assert_true(world_run_until(&W, vm1_has_a_set_of_all, 0, 2 * shorter_ms));
}

static void
little_that_was_written_waits(void **state)
{
    struct zb_core_conf conf = W.conf;

    (void)state;
    conf.version = 2;
    conf.interval_ms = 10000;
    conf.idle_interval_ms = 60000;
    conf.idle_bytes = 5;
    for (unsigned i = 0; i < 3; i++) {
        world_declare(&W, i, &conf);
    }
    W.nodes[0].disk.content++;
    world_command(&W, 0, ZB_CMD_SYNC, ZB_NODE_NONE, 7);
    stories_reply(7, ZB_OK, "C-done");
    W.nodes[0].disk.content += 4;
    world_run(&W, 40000);
    assert_false(vm1_has_a_set_of_all(&W, 0));
    assert_true(world_run_until(&W, vm1_has_a_set_of_all, 0, 20000)); /* no longer than said */
    W.nodes[0].disk.content += 5;
    assert_true(world_run_until(&W, vm1_has_a_set_of_all, 0, 15000));
}

/* How old it is, an engine that has just started does not know. */
static void
after_a_restart_little_does_not_wait(void **state)
{
    struct zb_core_conf conf = W.conf;

    (void)state;
    conf.version = 2;
    conf.idle_interval_ms = 3600000;
    conf.idle_bytes = 5;
    for (unsigned i = 0; i < 3; i++) {
        world_declare(&W, i, &conf);
    }
    W.nodes[0].disk.content += 4;
    world_engine_restart(&W, 0);
    assert_true(world_run_until(&W, vm1_has_a_set_of_all, 0, 30000));
}

static void
twenty_moves_in_a_ring(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 20; i++) {
        W.replies_count = 0;
        W.nodes[i % 3].disk.content++;
        world_command(&W, i % 3, ZB_CMD_MOVE, (i + 1) % 3, 100 + i);
        stories_reply(100 + i, ZB_OK, "C-done");
        stories_current((i + 1) % 3, 20000);
    }
    assert_int_equal(W.nodes[20 % 3].disk.record.established_term, 21);
}

static void
power_cut_of_every_host_leads_where_it_led(void **state)
{
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 2, 1);
    stories_reply(1, ZB_OK, "C-done");
    for (unsigned i = 0; i < 3; i++) {
        world_power_off(&W, i);
    }
    for (unsigned i = 0; i < 3; i++) {
        world_power_on(&W, i);
        world_run(&W, 700);
    }
    stories_current(2, 30000);
    assert_int_equal(W.nodes[2].disk.record.established_term, 3);
}

static void
a_leader_alone_does_not_take(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        world_power_off(&W, i);
    }
    world_power_on(&W, 0);
    world_run(&W, 60000);
    assert_false(W.nodes[0].mounted_rw);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_ASKING);
    world_power_on(&W, 1);
    stories_current(0, 30000);
}

static void
engine_restart_stops_nothing(void **state)
{
    (void)state;
    world_engine_restart(&W, 0);
    assert_true(W.nodes[0].running);
    stories_current(0, 30000);
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
}

/* Its check is under way, or its declaration is being stored. */
static void
a_move_waits_for_what_is_being_done_with_the_service(void **state)
{
    (void)state;
    W.fail_next = ZB_ACT_STOP;
    W.fail_rc = ZB_E_BUSY;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_OK, "C-done");
    W.fail_always = ZB_ACT_STOP; /* but not for ever */
    world_command(&W, 1, ZB_CMD_MOVE, 0, 2);
    stories_reply(2, ZB_E_FAILED, "C-move-aborted");
    assert_true(world_leads(&W, 1));
}

static void
seal_failure_puts_the_service_back(void **state)
{
    (void)state;
    W.fail_next = ZB_ACT_STOP;
    W.fail_rc = ZB_E_TIMEOUT;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_E_FAILED, "C-move-aborted");
    assert_true(world_leads(&W, 0));
    W.fail_next = ZB_ACT_SEAL;
    W.fail_rc = ZB_E_HELD;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 2);
    stories_reply(2, ZB_E_FAILED, "C-move-aborted");
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
    W.nodes[0].disk.content++;
    stories_current(0, 30000);
}

static void
target_lost_while_sealing_restores(void **state)
{
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    while (world_role(&W, 0) != ZB_ROLE_SEALING) {
        world_run(&W, 1);
    }
    world_power_off(&W, 1);
    stories_reply(1, ZB_E_FAILED, "C-move-aborted");
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
}

static void
a_move_that_cannot_be_put_back_is_answered(void **state)
{
    (void)state;
    W.fail_always = ZB_ACT_PROMOTE;
    W.fail_next = ZB_ACT_RELEASE;
    W.fail_rc = ZB_E_FAILED;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_E_FAILED, "C-move-aborted");
    W.fail_always = 0;
    stories_current(0, 60000);
}

/* As `umount -l` under a running service. */
static void
a_mount_taken_away_is_put_back(void **state)
{
    (void)state;
    W.nodes[0].mounted_rw = W.nodes[0].running = false;
    W.nodes[0].sealed = true;
    world_run(&W, 15000);
    stories_current(0, 30000);
    assert_int_equal(W.nodes[0].disk.record.established_term, 1);
}

static bool
released(struct world *w, unsigned node)
{
    return w->nodes[node].disk.record.released_term == 2;
}

static void
target_crash_after_release_goes_forward(void **state)
{
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    assert_true(world_run_until(&W, released, 0, 10000));
    world_power_off(&W, 1);
    world_run(&W, 5000);
    assert_false(W.nodes[0].mounted_rw);
    world_power_on(&W, 1);
    stories_current(1, 60000);
    assert_int_equal(W.nodes[0].disk.record.learned_term, 2);
}

/* What node 0 says when node 1 asks for its release. */
static bool
tells_release(void)
{
    struct zb_event ev = {.kind = ZB_EV_MESSAGE, .node = 1};

    ev.now.ms = W.now_ms;
    ev.u.msg.kind = ZB_MSG_RELEASE_ASK;
    ev.u.msg.nonce = 77;
    zb_core_step(W.nodes[0].core, &ev, &W.plan);
    for (uint32_t i = 0; i < W.plan.actions_count; i++) {
        const struct zb_action *a = &W.plan.actions[i];
        if (a->kind == ZB_ACT_MESSAGE && a->msg.kind == ZB_MSG_RELEASED) {
            assert_int_equal(a->node, 1);
            assert_int_equal(a->msg.nonce, 77);
            return true;
        }
    }
    return false;
}

/* The keeper may have recorded the grant before the core hears of it (M5). */
static void
a_release_is_not_told_while_a_grant_is_under_way(void **state)
{
    struct zb_event ev = {.kind = ZB_EV_MESSAGE, .node = 2};
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    assert_true(world_run_until(&W, released, 0, 10000));
    world_power_off(&W, 1);
    world_run(&W, 1000);
    assert_true(tells_release());
    ev.now.ms = W.now_ms;
    ev.u.msg.kind = ZB_MSG_GRANT_ASK;
    ev.u.msg.term = 9;
    ev.u.msg.version = W.conf.version;
    ev.u.msg.established_term = 8;
    zb_core_step(W.nodes[0].core, &ev, &W.plan);
    assert_int_equal(W.plan.actions_count, 1);
    assert_int_equal(W.plan.actions[0].kind, ZB_ACT_GRANT);
    assert_false(tells_release());
}

static void
both_crash_after_release(void **state)
{
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    assert_true(world_run_until(&W, released, 0, 10000));
    world_power_off(&W, 1);
    world_power_off(&W, 0);
    world_power_on(&W, 0);
    world_run(&W, 3000);
    assert_false(W.nodes[0].mounted_rw);
    world_power_on(&W, 1);
    stories_current(1, 60000);
}

static void
leader_cut_at_every_moment_of_a_move(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 400; at_ms += 3) {
        struct world *w = &W;
        world_close(w);
        world_init(w, 3);
        stories_current(0, 30000);
        world_command(w, 0, ZB_CMD_MOVE, 1, 1);
        world_run(w, at_ms);
        world_power_off(w, at_ms % 2 ? 0 : 1);
        world_run(w, 2000);
        world_power_on(w, at_ms % 2 ? 0 : 1);
        world_run(w, 60000);
        if (!world_all_current(w, 0) && !world_all_current(w, 1)) {
            world_print(w);
            fail_msg("nobody leads after a power cut %ld ms into the move", (long)at_ms);
        }
    }
}

static void
engine_restart_at_every_moment_of_a_move(void **state)
{
    (void)state;
    for (int64_t at_ms = 0; at_ms < 400; at_ms += 3) {
        world_close(&W);
        world_init(&W, 3);
        stories_current(0, 30000);
        world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
        world_run(&W, at_ms);
        world_engine_restart(&W, (unsigned)at_ms % 3);
        world_run(&W, 120000);
        if (!world_all_current(&W, 0) && !world_all_current(&W, 1)) {
            world_print(&W);
            fail_msg("nobody leads after an engine restart %ld ms into the move", (long)at_ms);
        }
    }
}

static void
a_follower_that_was_away_catches_up(void **state)
{
    (void)state;
    world_cut(&W, 0, 2, true);
    W.nodes[0].disk.content += 3;
    world_run(&W, 30000);
    assert_false(zb_set_ref_equal(&W.nodes[2].disk.newest, &W.nodes[0].disk.newest));
    world_cut(&W, 0, 2, false);
    stories_current(0, 30000);
}

static void
a_leader_that_lost_a_child_leads_again(void **state)
{
    uint64_t term = W.nodes[0].disk.record.established_term;
    (void)state;
    W.nodes[0].disk.child_gone = true;
    world_power_off(&W, 0);
    world_power_on(&W, 0);
    stories_current(0, 30000);
    assert_true(W.nodes[0].disk.record.established_term > term);
    assert_false(W.nodes[0].disk.child_gone);
}

/* Restored from an image: a voter holds what this disk has lost. */
static void
a_disk_that_went_back_does_not_lead(void **state)
{
    const struct world_disk image = W.nodes[0].disk;
    (void)state;
    W.nodes[0].disk.content += 3;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    stories_reply(1, ZB_OK, "C-done");
    world_power_off(&W, 0);
    W.nodes[0].disk.newest = image.newest;
    W.nodes[0].disk.newest_content = image.newest_content;
    W.nodes[0].disk.content = image.content;
    world_power_on(&W, 0);
    world_run(&W, 60000);
    for (unsigned i = 0; i < 3; i++) {
        assert_false(world_leads(&W, i));
    }
    W.nodes[0].disk.child_gone = true; /* that a child is gone too is no excuse */
    world_engine_restart(&W, 0);
    world_run(&W, 60000);
    assert_false(world_leads(&W, 0));
}

static void
refusals_name_their_rule(void **state)
{
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 0, 1);
    stories_reply(1, ZB_E_REFUSED, "C-move-target-leads");
    world_command(&W, 0, ZB_CMD_MOVE, 4, 2);
    stories_reply(2, ZB_E_REFUSED, "C-move-not-a-member");
    world_command(&W, 1, ZB_CMD_MOVE, 2, 3);
    stories_reply(3, ZB_E_REFUSED, "C-move-not-leading");
    world_cut(&W, 0, 2, true);
    world_command(&W, 0, ZB_CMD_MOVE, 2, 4);
    stories_reply(4, ZB_E_REFUSED, "C-move-target-down");
    world_command(&W, 1, ZB_CMD_SYNC, 0, 5);
    stories_reply(5, ZB_E_REFUSED, "C-not-leading");
    world_command(&W, 0, ZB_CMD_MOVE, 1, 6);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 8);
    stories_reply(8, ZB_E_REFUSED, "C-move-not-leading");
    stories_reply(6, ZB_OK, "C-done");
}

static void
sync_answers_when_the_followers_have_it(void **state)
{
    (void)state;
    W.nodes[0].disk.content += 2;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 9);
    stories_reply(9, ZB_OK, "C-done");
    assert_true(world_all_current(&W, 0));
    world_cut(&W, 0, 1, true);
    W.nodes[0].disk.content += 2;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 10);
    stories_reply(10, ZB_OK, "C-sync-degraded");
}

static bool
made_a_set(struct world *w, unsigned seq)
{
    return w->nodes[0].disk.newest.id.seq >= seq;
}

/* The number alone says nothing: a set put together from names may be half of it. */
static void
sync_waits_for_the_set_and_not_for_its_number(void **state)
{
    struct zb_set_ref half;
    (void)state;
    world_power_off(&W, 2);
    W.ship_ms = 2000;
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    assert_true(world_run_until(&W, made_a_set, (unsigned)W.nodes[0].disk.newest.id.seq + 1, 1000));
    half = W.nodes[0].disk.newest;
    half.digest[0] ^= 1;
    world_position(&W, 0, 1, &half);
    world_run(&W, 1000);
    assert_false(stories_replied(&W, 1));
    stories_reply(1, ZB_OK, "C-sync-degraded");
    assert_true(world_all_current(&W, 0));
}

static void
sets(unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 100);
        world_run(&W, 10000);
        W.replies_count = 0;
    }
}

/* A PRUNE ends after a while, whatever is left; no new set is waited for then. */
static void
what_is_left_to_prune_goes_soon(void **state)
{
    (void)state;
    world_run(&W, 60000);
    unsigned before = W.prunes;
    W.prunes_more = 9;
    world_command(&W, 0, ZB_CMD_PRUNE, 0, 1);
    world_run(&W, 8000);
    assert_int_equal(W.prunes, before + 10);
    world_run(&W, 60000);
    assert_int_equal(W.prunes, before + 10);
}

/* Whether the leader last let sets go though vm3, which stands on at, is on its way from there. */
static bool
way_is_kept(struct zb_set_id at)
{
    assert_int_equal(zb_set_id_cmp(W.pruned.floor, at), 0);
    return zb_set_id_cmp(W.pruned.floor_way, at) == 0;
}

static void
what_a_member_on_its_way_needs_stays_however_much_it_is(void **state)
{
    struct zb_set_id at = W.nodes[2].disk.newest.id;
    (void)state;
    world_power_off(&W, 2);
    sets(20);
    assert_false(way_is_kept(at)); /* away: up to a number only */
    W.ship_ms = 600000;
    world_power_on(&W, 2);
    sets(20);
    assert_true(way_is_kept(at));
    W.ship_ms = 0;
    W.fail_ship_to = 2; /* the one under way fails, and all that come */
    world_run(&W, 500000);
    assert_false(way_is_kept(at)); /* as good as away */
    W.fail_ship_to = 0;
    stories_current(0, 60000);
}

/* They keep the same: one of them may lead next. */
static void
the_others_are_told_what_to_keep(void **state)
{
    struct zb_core_view v;
    struct zb_set_id at = W.nodes[2].disk.newest.id;
    (void)state;
    world_cut(&W, 0, 2, true);
    sets(2);
    W.ship_ms = 600000;
    world_cut(&W, 0, 2, false);
    world_run(&W, 20000);
    zb_core_view(W.nodes[1].core, 0, &v);
    assert_int_equal(zb_set_id_cmp(v.peers[0].report.floor_way, at), 0);
}

/* What is told of a lead without a view of everybody is what the view tells. */
static void
who_leads_is_told_alone(void **state)
{
    struct zb_core_lead lead;
    struct zb_core_view v;
    unsigned moving = 0;
    (void)state;
    zb_core_view(W.nodes[0].core, 0, &v);
    assert_true(zb_core_lead(W.nodes[0].core, 0, &lead));
    assert_true(lead.running && v.obs.running);
    assert_int_equal(lead.term, v.term);
    assert_int_equal(lead.version, v.version);
    assert_int_equal(zb_set_id_cmp(lead.newest, v.obs.newest.id), 0);
    assert_false(zb_core_lead(W.nodes[1].core, 0, &lead));
    world_command(&W, 0, ZB_CMD_MOVE, 1, 7);
    for (int i = 0; i < 60000 && !stories_replied(&W, 7); i++) {
        world_run(&W, 1);
        for (unsigned n = 0; n < 2; n++) {
            zb_core_view(W.nodes[n].core, 0, &v);
            bool leads = v.role == ZB_ROLE_LEADING && v.leader == n;
            assert_int_equal(zb_core_lead(W.nodes[n].core, 0, &lead), leads);
            moving += n == 0 && !leads ? 1 : 0;
        }
    }
    assert_true(moving > 0);
    stories_current(1, 20000);
    assert_true(zb_core_lead(W.nodes[1].core, 0, &lead));
    assert_int_equal(lead.term, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, stories_setup, stories_teardown)
        T(first_leader_takes_term_1),
        T(a_move_loses_nothing_and_everybody_follows),
        T(a_service_that_ended_is_started_again),
        T(sets_are_due_at_multiples_of_the_interval),
        T(a_shorter_interval_holds_at_once),
        T(little_that_was_written_waits),
        T(after_a_restart_little_does_not_wait),
        T(twenty_moves_in_a_ring),
        T(power_cut_of_every_host_leads_where_it_led),
        T(a_leader_alone_does_not_take),
        T(engine_restart_stops_nothing),
        T(seal_failure_puts_the_service_back),
        T(target_lost_while_sealing_restores),
        T(a_mount_taken_away_is_put_back),
        T(a_move_waits_for_what_is_being_done_with_the_service),
        T(a_move_that_cannot_be_put_back_is_answered),
        T(target_crash_after_release_goes_forward),
        T(a_release_is_not_told_while_a_grant_is_under_way),
        T(both_crash_after_release),
        T(leader_cut_at_every_moment_of_a_move),
        T(engine_restart_at_every_moment_of_a_move),
        T(a_follower_that_was_away_catches_up),
        T(a_leader_that_lost_a_child_leads_again),
        T(a_disk_that_went_back_does_not_lead),
        T(refusals_name_their_rule),
        T(sync_answers_when_the_followers_have_it),
        T(sync_waits_for_the_set_and_not_for_its_number),
        T(what_is_left_to_prune_goes_soon),
        T(what_a_member_on_its_way_needs_stays_however_much_it_is),
        T(the_others_are_told_what_to_keep),
        T(who_leads_is_told_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
