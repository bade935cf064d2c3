/* Stories of members that come and go, and of where they stand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

static bool
released(struct world *w, unsigned node)
{
    return w->nodes[node].disk.record.released_term == 2;
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

/* vm2 is a backup from then on. */
static struct zb_core_conf
without_vm2(void)
{
    struct zb_core_conf conf = W.conf;

    conf.version++;
    conf.backup[1] = true;
    return conf;
}

/* Released to it, the service would be led by nobody. */
static void
a_move_ends_when_its_target_is_no_voter_any_more(void **state)
{
    const struct zb_core_conf conf = without_vm2();
    (void)state;
    W.ship_ms = 2000;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    world_run(&W, 1000);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_SEALING);
    world_declare(&W, 0, &conf);
    stories_reply(1, ZB_E_FAILED, "C-move-aborted");
    assert_int_equal(W.nodes[0].disk.record.released_term, 0);
    assert_true(world_run_until(&W, world_leads, 0, 30000));
}

/* ... by a declaration that the leader has not heard of. */
static void
a_target_with_a_newer_declaration_is_not_released_to(void **state)
{
    const struct zb_core_conf conf = without_vm2();
    (void)state;
    world_declare(&W, 1, &conf);
    world_run(&W, 1000);
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_E_FAILED, "C-move-aborted");
    assert_int_equal(W.nodes[0].disk.record.released_term, 0);
    assert_true(world_run_until(&W, world_leads, 0, 30000));
}

/* vm1 is taken out while it waits for who takes. */
static void
who_is_no_member_any_more_answers_all_the_same(void **state)
{
    struct zb_core_conf conf = W.conf;
    (void)state;
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    assert_true(world_run_until(&W, released, 0, 10000));
    world_power_off(&W, 1);
    conf.version++;
    conf.members_count = 2;
    conf.members[0] = 1;
    conf.members[1] = 2;
    world_declare(&W, 0, &conf);
    stories_reply(1, ZB_E_TIMEOUT, "C-move-in-background");
}

static bool
is_a_base(struct zb_set_id id)
{
    bool found = false;

    for (uint32_t i = 0; i < W.pruned.bases_count; i++) {
        found = found || zb_set_id_cmp(W.pruned.protect[i], id) == 0;
    }
    return found;
}

/* In the middle of a transfer, of which the rest never comes. */
static void
where_a_transfer_ended_is_where_a_member_stands(void **state)
{
    struct zb_set_ref half;
    (void)state;
    world_cut(&W, 0, 2, true);
    sets(3);
    half = W.sets[W.sets_count - 2];
    W.ship_ms = 60000;
    world_cut(&W, 0, 2, false);
    world_run(&W, 1000);
    W.nodes[2].disk.newest = half;
    world_run(&W, 40000); /* it looks at its disk, and tells */
    world_power_off(&W, 2);
    world_run(&W, 60000);
    sets(3);
    assert_true(is_a_base(half.id));
}

/* No set whole is not nothing: its datasets go on from sets that nobody else knows. */
static void
no_bookmark_goes_while_a_member_holds_no_set_whole(void **state)
{
    const struct zb_set_id nobody_knows = {.seq = 1};
    (void)state;
    assert_false(is_a_base(nobody_knows));
    W.fail_ship_to = 2;
    W.nodes[2].disk.newest = (struct zb_set_ref){0};
    world_run(&W, 40000);
    sets(3);
    assert_true(is_a_base(nobody_knows));
    W.nodes[2].disk.exists = false;
    world_run(&W, 40000);
    sets(3);
    assert_false(is_a_base(nobody_knows));
}

/* Nobody is behind a leader without other members: it does not prune again and again. */
static void
a_leader_without_members_prunes_once(void **state)
{
    struct zb_core_conf conf = W.conf;
    (void)state;
    conf.version++;
    conf.members_count = 1;
    world_declare(&W, 0, &conf);
    world_run(&W, 60000);
    unsigned before = W.prunes;
    world_command(&W, 0, ZB_CMD_PRUNE, 0, 1);
    world_run(&W, 600000);
    assert_int_equal(W.prunes, before + 1);
}

/* M11: vm4 was one when vm5 came to lead term 2, and both ceased to be: no list since then shares a
 * majority with theirs. */
static void
who_led_by_an_older_list_is_suspected(void **state)
{
    const struct zb_core_seen seen = {
        .granted_term = 2, .granted_to = 4, .learned_term = 2, .learned_leader = 4};
    (void)state;
    world_seen(&W, 1, 3, &seen);
    world_power_off(&W, 0);
    world_run(&W, 1000);
    world_failover(&W, 1, true, 20);
    world_run(&W, 1000);
    world_fenced(&W, 1, 0, W.nodes[1].disk.record.granted_term, 21);
    stories_reply(21, ZB_OK, "C-done");
    stories_reply(20, ZB_E_REFUSED, "C-failover-suspect");
    assert_int_equal(W.replies[W.replies_count - 1].action.node, 4);
    assert_false(world_leads(&W, 1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, stories_setup, stories_teardown)
        T(a_move_ends_when_its_target_is_no_voter_any_more),
        T(who_is_no_member_any_more_answers_all_the_same),
        T(a_target_with_a_newer_declaration_is_not_released_to),
        T(where_a_transfer_ended_is_where_a_member_stands),
        T(no_bookmark_goes_while_a_member_holds_no_set_whole),
        T(a_leader_without_members_prunes_once),
        T(who_led_by_an_older_list_is_suspected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
