/* Stories of members that do not agree: copies that came away or changed, and records that went
 * back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

static const struct world_note *
note_find(unsigned by, unsigned about, const char *rule)
{
    for (unsigned i = 0; i < W.notes_count; i++) {
        const struct world_note *n = &W.notes[i];
        if (n->by == by && n->about == about && strcmp(n->rule, rule) == 0) {
            return n;
        }
    }
    world_print(&W);
    fail_msg("vm%u did not tell %s of vm%u", by + 1, rule, about + 1);
    return NULL;
}

static struct zb_core_view
view_of(unsigned node)
{
    struct zb_core_view v;

    zb_core_view(W.nodes[node].core, 0, &v);
    return v;
}

/* ---- copies ---- */

static void
a_fork_is_told_on_both_sides_once(void **state)
{
    struct zb_set_id at = {1, 40};
    (void)state;
    world_power_off(&W, 2);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_OK, "C-done");
    world_run(&W, 2000);
    W.nodes[2].disk.newest.id = at; /* of term 1, later than where term 2 went on from */
    W.fail_ship_to = 2;
    world_power_on(&W, 2);
    world_run(&W, 120000);
    assert_non_null(strstr(note_find(1, 2, "C-fork")->text, "holds set 1/40,"));
    assert_non_null(strstr(note_find(1, 2, "C-fork")->text, "it came away at 1/"));
    assert_non_null(strstr(note_find(2, 2, "C-fork")->text, "holds set 1/40,"));
    assert_int_equal(world_noted(&W, 1, 2, "C-fork"), 1);
    assert_int_equal(world_noted(&W, 2, 2, "C-fork"), 1);
    assert_int_equal(world_noted(&W, 1, 0, "C-fork"), 0);
    at.seq = 41; /* it changes: told anew */
    world_power_off(&W, 2);
    W.nodes[2].disk.newest.id = at;
    world_power_on(&W, 2);
    world_run(&W, 10000);
    assert_int_equal(world_noted(&W, 1, 2, "C-fork"), 2);
}

static void
members_that_agree_are_not_told_of(void **state)
{
    static const char *const rules[] = {"C-fork",    "C-modified", "C-term-back",
                                        "C-foreign", "C-added",    "C-key"};
    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        W.replies_count = 0;
        world_command(&W, i % 3, ZB_CMD_MOVE, (i + 1) % 3, 1);
        stories_reply(1, ZB_OK, "C-done");
        world_power_off(&W, (i + 2) % 3);
        world_run(&W, 20000);
        world_power_on(&W, (i + 2) % 3);
        stories_current((i + 1) % 3, 60000);
    }
    for (unsigned by = 0; by < 3; by++) {
        for (unsigned about = 0; about < 3; about++) {
            for (size_t r = 0; r < sizeof(rules) / sizeof(rules[0]); r++) {
                assert_int_equal(world_noted(&W, by, about, rules[r]), 0);
            }
        }
    }
}

/* Who has not the key could not mount what it holds: nothing is stopped for it. */
static void
a_member_without_the_key_is_told_of_and_not_moved_to(void **state)
{
    (void)state;
    W.nodes[2].disk.record.key = ZB_KEY_MISSING;
    world_run(&W, W.conf.interval_ms + 1000);
    assert_non_null(strstr(note_find(2, 2, "C-key")->text, "could not be mounted"));
    assert_non_null(strstr(note_find(0, 2, "C-key")->text, "no key-file or key-command"));
    W.replies_count = 0;
    world_command(&W, 0, ZB_CMD_MOVE, 2, 1);
    stories_reply(1, ZB_E_REFUSED, "C-move-target-key");
    assert_true(W.nodes[0].running);
    W.nodes[2].disk.record.key = ZB_KEY_OTHER;
    world_run(&W, W.conf.interval_ms + 1000);
    assert_int_equal(world_noted(&W, 0, 2, "C-key"), 2);
    W.nodes[2].disk.record.key = ZB_KEY_GOOD;
    world_run(&W, W.conf.interval_ms + 1000);
    world_command(&W, 0, ZB_CMD_MOVE, 2, 2);
    stories_reply(2, ZB_OK, "C-done");
    assert_int_equal(world_noted(&W, 0, 2, "C-key"), 2);
}

/* vm3 has not the key that the next set brings; whether vm1 knows a second after it. */
static bool
is_known_after_a_set(uint64_t command)
{
    unsigned before = world_noted(&W, 0, 2, "C-key");

    W.nodes[2].disk.record.key = ZB_KEY_GOOD;
    /* The next look is half an interval away. */
    world_run(&W, 3 * W.conf.interval_ms - W.now_ms % W.conf.interval_ms + 5000);
    W.nodes[2].disk.record.key = ZB_KEY_OTHER;
    world_command(&W, 0, ZB_CMD_SYNC, 0, command);
    stories_reply(command, ZB_OK, "C-done");
    world_run(&W, 1000);
    return world_noted(&W, 0, 2, "C-key") > before;
}

static void
what_may_bring_another_key_is_looked_at(void **state)
{
    (void)state;
    assert_false(is_known_after_a_set(1));
    W.conf.keyed = true;
    for (unsigned n = 0; n < 3; n++) {
        world_declare(&W, n, &W.conf);
    }
    assert_true(is_known_after_a_set(2));
}

/* Within one interval of the sets (10 s here), on both sides; and nothing is sent over it. */
static void
a_copy_that_was_written_to_is_told_of_within_an_interval(void **state)
{
    (void)state;
    W.nodes[2].disk.content += 4096;
    W.nodes[2].disk.written_to = true;
    W.fail_always = ZB_ACT_RESCUE;
    world_run(&W, W.conf.interval_ms + 1000);
    assert_non_null(strstr(note_find(2, 2, "C-modified")->text, "4096 bytes since set 1/"));
    assert_non_null(strstr(note_find(0, 2, "C-modified")->text, "4096 bytes since set 1/"));
    world_run(&W, 60000);
    assert_int_equal(world_noted(&W, 2, 2, "C-modified"), 1);
    assert_int_equal(world_noted(&W, 0, 2, "C-modified"), 1);
    assert_true(W.rescues > 0); /* tried as a rejoin, again and again */
}

static void
a_dataset_that_was_made_in_a_copy_is_told_of(void **state)
{
    (void)state;
    W.nodes[2].disk.record.added = true;
    world_run(&W, 3 * W.conf.interval_ms);
    assert_int_equal(world_noted(&W, 2, 2, "C-added"), 1);
    assert_int_equal(world_noted(&W, 2, 2, "C-foreign"), 0);
}

/* vm1 was fenced with 28 sets that nobody else has. The others went on from 1/12, in more terms
 * than are remembered: by its terms alone, 1/40 could be of the history. */
static void
the_others_go_on_for_long(void)
{
    const uint64_t last = ZB_LINEAGE_MAX + 3;

    for (unsigned i = 0; i < 3; i++) {
        world_power_off(&W, i);
    }
    W.nodes[0].disk.newest.id = (struct zb_set_id){1, 40};
    for (unsigned i = 1; i < 3; i++) {
        struct zb_core_obs *r = &W.nodes[i].disk.record;
        zb_lineage_add(&r->lineage, 2, (struct zb_set_id){1, 12});
        for (uint64_t t = 3; t <= last; t++) {
            zb_lineage_add(&r->lineage, t, (struct zb_set_id){t - 1, 3});
        }
        r->granted_term = r->learned_term = last;
        r->granted_to = r->learned_leader = 1;
        r->suspects = 1u << 1;
        r->established_term = i == 1 ? last : 0;
        W.nodes[i].disk.newest.id = (struct zb_set_id){last, 5};
        world_power_on(&W, i);
    }
    world_run(&W, 20000);
    assert_true(world_leads(&W, 1));
}

/* S4: what came away is destroyed by no retention before it was set aside; nor is the set where it
 * did. */
static void
a_copy_from_before_what_is_remembered_is_not_pruned(void **state)
{
    (void)state;
    the_others_go_on_for_long();
    W.ship_ms = 60000; /* the leader's look at both copies */
    W.pruned = (struct zb_action){0};
    world_power_on(&W, 0);
    world_run(&W, 50000);
    assert_int_equal(W.nodes[0].disk.record.learned_leader, 1);
    assert_int_equal(W.pruned.kind, 0);
}

/* Else a long way to the newest set would fill the pool. */
static void
it_is_pruned_once_it_goes_on_from_there(void **state)
{
    (void)state;
    a_copy_from_before_what_is_remembered_is_not_pruned(NULL);
    W.nodes[0].disk.newest.id = (struct zb_set_id){2, 0}; /* half-way */
    world_run(&W, W.conf.interval_ms);
    assert_int_equal(W.pruned.kind, ZB_ACT_PRUNE);
    /* S4: what is later than the newest whole set may have come away, in some datasets. */
    assert_int_equal(zb_set_id_cmp(W.pruned.floor_way, W.nodes[0].disk.newest.id), 0);
}

/* S4: the history is lost, and with it which of the sets on the disk are whole, and of which
 * history. */
static void
a_copy_of_which_no_set_is_known_is_not_pruned(void **state)
{
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_OK, "C-done");
    stories_current(1, 60000);
    world_power_off(&W, 0);
    W.nodes[0].disk.newest = (struct zb_set_ref){0};
    W.ship_ms = 60000; /* the leader's look at both copies */
    W.pruned = (struct zb_action){0};
    world_power_on(&W, 0);
    world_run(&W, 50000);
    assert_int_equal(W.nodes[0].disk.record.learned_leader, 1);
    assert_int_equal(W.pruned.kind, 0);
}

/* ---- records ---- */

/* vm3 granted term 2 to vm2, which gave up; its state directory is put back to a copy of before,
 * while it is off. */
static void
vm3_forgets_a_grant(void)
{
    struct zb_core_obs before = W.nodes[2].disk.record;

    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    world_run(&W, 1000);
    assert_int_equal(W.nodes[2].disk.record.granted_term, 2);
    assert_int_equal(W.nodes[2].disk.record.granted_to, 1);
    world_power_off(&W, 2);
    W.nodes[2].disk.record = before;
    W.notes_count = 0;
}

static bool
vm3_granted_again(struct world *w, unsigned term)
{
    return w->nodes[2].disk.record.granted_term == term;
}

static void
who_forgot_a_grant_is_told_and_takes_it_back(void **state)
{
    (void)state;
    vm3_forgets_a_grant();
    world_power_on(&W, 2);
    assert_true(world_run_until(&W, vm3_granted_again, 2, 2000));
    assert_int_equal(W.nodes[2].disk.record.granted_to, 1);
    assert_true((W.nodes[2].disk.record.suspects & 1u << 1) != 0);
    world_run(&W, 1000);
    assert_int_equal(world_noted(&W, 1, 2, "C-term-back"), 1);
    assert_int_equal(world_noted(&W, 2, 2, "C-term-back"), 1);
    assert_non_null(strstr(note_find(1, 2, "C-term-back")->text, "granted term 2"));
    assert_false(view_of(1).peers[2].back); /* healed */
}

/* vm1 was off when vm3 granted, and asks it first: it is not granted the same term. */
static void
a_term_is_not_granted_twice_by_who_forgot_it(void **state)
{
    (void)state;
    vm3_forgets_a_grant();
    W.fail_always = ZB_ACT_GRANT; /* nor can it be recorded again */
    world_power_on(&W, 2);
    world_run(&W, 1000);
    W.fail_always = 0;
    world_cut(&W, 0, 1, true);
    world_power_on(&W, 0);
    world_run(&W, 10000);
    assert_int_equal(W.nodes[2].disk.record.granted_term, 3); /* that one, to vm1 */
    assert_int_equal(W.nodes[2].disk.record.granted_to, 0);
    assert_int_equal(W.nodes[0].disk.record.established_term, 1); /* it waits for vm2 */
}

/* It has forgotten whom to suspect too (M3). */
static void
a_forgotten_suspect_is_asked_all_the_same(void **state)
{
    (void)state;
    vm3_forgets_a_grant();
    world_power_on(&W, 2);
    world_run(&W, 3000);
    world_power_off(&W, 1);
    world_power_on(&W, 0);
    world_run(&W, 5000);
    world_failover(&W, 0, false, 30);
    world_run(&W, 5000);
    assert_false(world_leads(&W, 0)); /* vm2 may have led term 2 */
    assert_int_equal(world_role(&W, 0), ZB_ROLE_ASKING);
}

/* Remembered over a restart of whoever remembers. */
static void
what_is_remembered_from_before_counts_at_once(void **state)
{
    const struct zb_core_seen seen = {.granted_term = 5,
                                      .granted_to = 1,
                                      .learned_term = 1,
                                      .learned_leader = 0,
                                      .suspects = 1u << 0 | 1u << 1};
    (void)state;
    world_power_off(&W, 1);
    world_run(&W, 1000);
    world_seen(&W, 0, 2, &seen);
    world_run(&W, 12000); /* vm3's next report */
    assert_int_equal(world_noted(&W, 0, 2, "C-term-back"), 1);
    assert_true(world_run_until(&W, vm3_granted_again, 5, 2000));
}

/* A follower that forgot who led, while that one cannot be reached, hears it of another. */
static void
who_forgot_the_leader_learns_it_of_another_member(void **state)
{
    struct zb_core_obs before = W.nodes[2].disk.record;
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_OK, "C-done");
    world_run(&W, 2000);
    world_power_off(&W, 2);
    world_power_off(&W, 1);
    W.nodes[2].disk.record = before;
    world_power_on(&W, 2);
    world_run(&W, 3000);
    assert_int_equal(W.nodes[2].disk.record.learned_term, 2);
    assert_int_equal(W.nodes[2].disk.record.learned_leader, 1);
    world_failover(&W, 2, false, 30); /* and its voice counts again */
    world_run(&W, 1000);
    world_fenced(&W, 2, 1, 3, 31);
    stories_reply(31, ZB_OK, "C-done");
    assert_true(world_run_until(&W, world_leads, 2, 30000));
}

/* Whose grant is not known by name cannot be taken back: then it grants nothing, but by an order
 * that accepts a loss. */
static void
who_forgot_to_whom_is_quarantined(void **state)
{
    const struct zb_core_seen seen = {
        .granted_term = 5, .granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE};
    (void)state;
    world_seen(&W, 1, 2, &seen);
    world_power_off(&W, 2);
    world_power_on(&W, 2);
    world_run(&W, 1000);
    assert_int_equal(view_of(2).lost.granted_term, 5);
    assert_string_equal(view_of(2).why_rule, "R-term-back");
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, false, 20);
    stories_reply(20, ZB_E_NOQUORUM, "C-failover-no-majority");
    assert_int_equal(W.nodes[2].disk.record.granted_term, 1);
    world_failover(&W, 2, false, 21);
    stories_reply(21, ZB_E_REFUSED, "C-failover-term-back");
    world_failover(&W, 1, true, 22);
    world_run(&W, 1000);
    assert_true(W.nodes[2].disk.record.granted_term > 5);
    assert_int_equal(W.nodes[2].disk.record.granted_to, 1);
}

/* A leader hears that it granted a later term before, and forgot it: it gives up. */
static void
a_leader_that_forgot_a_later_grant_gives_up(void **state)
{
    const struct zb_core_seen seen = {.granted_term = 5,
                                      .granted_to = 1,
                                      .learned_term = 1,
                                      .learned_leader = 0,
                                      .suspects = 1u << 0 | 1u << 1};
    (void)state;
    world_seen(&W, 1, 0, &seen);
    world_run(&W, 30000);
    assert_false(W.nodes[0].mounted_rw);
    assert_int_equal(W.nodes[0].disk.record.granted_term, 5);
    assert_int_equal(world_noted(&W, 0, 0, "C-term-back"), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, stories_setup, stories_teardown)
        T(a_fork_is_told_on_both_sides_once),
        T(members_that_agree_are_not_told_of),
        T(a_member_without_the_key_is_told_of_and_not_moved_to),
        T(what_may_bring_another_key_is_looked_at),
        T(a_copy_that_was_written_to_is_told_of_within_an_interval),
        T(a_dataset_that_was_made_in_a_copy_is_told_of),
        T(a_copy_from_before_what_is_remembered_is_not_pruned),
        T(it_is_pruned_once_it_goes_on_from_there),
        T(a_copy_of_which_no_set_is_known_is_not_pruned),
        T(who_forgot_a_grant_is_told_and_takes_it_back),
        T(a_term_is_not_granted_twice_by_who_forgot_it),
        T(a_forgotten_suspect_is_asked_all_the_same),
        T(what_is_remembered_from_before_counts_at_once),
        T(who_forgot_the_leader_learns_it_of_another_member),
        T(who_forgot_to_whom_is_quarantined),
        T(a_leader_that_forgot_a_later_grant_gives_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
