/* Stories of a cluster that was made over the copies of an earlier one: vm1 is new and may lead,
 * vm2 is the backup that has the copies, vm3 was a member of the earlier cluster. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

#define FLOOR 1000

static void
holds(unsigned node, uint64_t term, uint64_t seq, uint64_t content)
{
    struct world_disk *disk = &W.nodes[node].disk;

    disk->exists = true;
    disk->newest.id = (struct zb_set_id){term, seq};
    disk->newest.digest[0] = (uint8_t)(term * 16 + seq);
    disk->content = disk->newest_content = content;
}

static int
setup(void **state)
{
    (void)state;
    world_init(&W, 3);
    for (unsigned i = 0; i < 3; i++) {
        world_power_off(&W, i);
    }
    W.conf.members_count = 2;
    W.conf.backup[1] = true;
    W.conf.term_floor = FLOOR;
    W.conf.led_before = true;
    holds(1, 12, 5, 77);
    return 0;
}

static const char *
why_rule(unsigned node)
{
    static struct zb_core_view v;

    zb_core_view(W.nodes[node].core, 0, &v);
    return v.why_rule;
}

static void
vm1_is_ordered_to_lead(void)
{
    world_failover(&W, 0, false, 20);
    stories_reply(20, ZB_OK, "C-done");
    stories_current(0, 30000);
}

static void
it_does_not_begin_empty_whether_the_backup_is_up_or_not(void **state)
{
    (void)state;
    world_power_on(&W, 0);
    world_run(&W, 120000);
    assert_false(W.nodes[0].disk.exists);
    assert_int_equal(world_role(&W, 0), ZB_ROLE_FOLLOWER);
    assert_string_equal(why_rule(0), "R-led-before");
    world_power_on(&W, 1);
    world_run(&W, 120000);
    assert_false(W.nodes[0].disk.exists);
    assert_int_equal(W.nodes[0].disk.record.granted_term, 0);
}

static void
an_order_brings_the_whole_copy_and_leads_above_every_earlier_term(void **state)
{
    (void)state;
    world_power_on(&W, 0);
    world_power_on(&W, 1);
    world_run(&W, 5000);
    vm1_is_ordered_to_lead();
    assert_int_equal(W.nodes[0].disk.record.established_term, FLOOR + 1);
    assert_true(W.nodes[0].disk.content >= 77);
    assert_int_equal(W.nodes[0].disk.record.lineage.lines[0].fork.term, 12);
    assert_int_equal(W.nodes[0].disk.record.lineage.lines[0].fork.seq, 5);
}

static void
of_two_backups_the_newer_set_counts(void **state)
{
    (void)state;
    W.conf.members_count = 3;
    W.conf.backup[2] = true;
    holds(2, 12, 9, 99);
    for (unsigned i = 0; i < 3; i++) {
        world_power_on(&W, i);
    }
    world_run(&W, 5000);
    vm1_is_ordered_to_lead();
    assert_true(W.nodes[0].disk.content >= 99);
    assert_int_equal(W.nodes[0].disk.record.lineage.lines[0].fork.seq, 9);
}

static void
without_the_backup_an_order_has_nothing_to_go_on_from(void **state)
{
    (void)state;
    world_power_on(&W, 0);
    world_run(&W, 5000);
    world_failover(&W, 0, true, 20);
    stories_reply(20, ZB_E_REFUSED, "C-failover-without-copy");
    assert_false(W.nodes[0].disk.exists);
}

static void
vm3_is_declared(void)
{
    struct zb_core_conf conf = W.conf;

    conf.members_count = 3;
    conf.members[2] = 2;
    conf.version++;
    W.conf = conf;
    for (unsigned i = 0; i < 2; i++) {
        world_declare(&W, i, &conf);
    }
}

/* It led on in the earlier cluster, in later terms than anybody here saw. */
static void
a_member_of_the_earlier_cluster_is_not_taken_for_newer(void **state)
{
    (void)state;
    holds(2, 14, 7, 999);
    world_power_on(&W, 0);
    world_power_on(&W, 1);
    world_run(&W, 5000);
    vm1_is_ordered_to_lead();
    vm3_is_declared();
    world_power_on(&W, 2);
    world_run(&W, 20000);
    assert_int_equal(W.nodes[0].disk.record.established_term, FLOOR + 1);
    assert_true(world_leads(&W, 0));
    assert_int_equal(W.nodes[2].disk.record.learned_term, FLOOR + 1);
    assert_true(world_noted(&W, 0, 2, "C-fork") > 0);
}

static void
who_follows_says_so_once_it_is_led(void **state)
{
    (void)state;
    world_power_on(&W, 0);
    world_power_on(&W, 1);
    world_run(&W, 5000);
    assert_string_equal(why_rule(1), "R-led-before");
    vm1_is_ordered_to_lead();
    assert_string_not_equal(why_rule(1), "R-led-before");
}

/* vm3 is new, and vm1, which leads, is off: vm2 knows of it, and no order is waited for. */
static void
a_new_member_of_a_led_service_waits_for_no_order(void **state)
{
    (void)state;
    world_power_on(&W, 0);
    world_power_on(&W, 1);
    world_run(&W, 5000);
    vm1_is_ordered_to_lead();
    vm3_is_declared();
    world_run(&W, 1000);
    world_power_off(&W, 0);
    world_power_on(&W, 2);
    world_run(&W, 30000);
    assert_int_equal(W.nodes[2].disk.record.learned_term, 0);
    assert_string_not_equal(why_rule(2), "R-led-before");
    assert_false(W.nodes[2].disk.exists);
}

/* A service that was withdrawn and is declared again: its mark is gone, its copies are not. */
static void
sets_that_another_member_holds_are_enough(void **state)
{
    (void)state;
    W.conf.led_before = false;
    world_power_on(&W, 1);
    world_power_on(&W, 0);
    world_position(&W, 0, 1, &W.nodes[1].disk.newest);
    world_run(&W, 120000);
    assert_false(W.nodes[0].disk.exists);
    assert_string_equal(why_rule(0), "R-led-before");
    vm1_is_ordered_to_lead();
    assert_true(W.nodes[0].disk.content >= 77);
}

/* One whose copies nobody has: a new one, in terms that are this cluster's own. */
static void
another_service_begins_above_the_earlier_terms_too(void **state)
{
    (void)state;
    W.conf.led_before = false;
    memset(&W.nodes[1].disk.newest, 0, sizeof(W.nodes[1].disk.newest));
    W.nodes[1].disk.exists = false;
    W.nodes[1].disk.content = W.nodes[1].disk.newest_content = 0;
    world_power_on(&W, 0);
    world_power_on(&W, 1);
    stories_current(0, 60000);
    assert_int_equal(W.nodes[0].disk.record.established_term, FLOOR + 1);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, stories_teardown)
    const struct CMUnitTest tests[] = {
        T(it_does_not_begin_empty_whether_the_backup_is_up_or_not),
        T(an_order_brings_the_whole_copy_and_leads_above_every_earlier_term),
        T(of_two_backups_the_newer_set_counts),
        T(without_the_backup_an_order_has_nothing_to_go_on_from),
        T(a_member_of_the_earlier_cluster_is_not_taken_for_newer),
        T(who_follows_says_so_once_it_is_led),
        T(a_new_member_of_a_led_service_waits_for_no_order),
        T(sets_that_another_member_holds_are_enough),
        T(another_service_begins_above_the_earlier_terms_too),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
