/* Stories of a backup that is sent sets at its own times: vm3, every ten minutes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

#define EVERY_MS 600000

static int
setup(void **state)
{
    struct zb_core_conf conf;

    if (stories_setup(state) != 0) {
        return -1;
    }
    conf = W.conf;
    conf.version = 2;
    conf.backup[2] = true;
    conf.backup_every_ms = EVERY_MS;
    W.conf = conf;
    for (unsigned i = 0; i < 3; i++) {
        world_declare(&W, i, &conf);
    }
    world_run(&W, 1000);
    return 0;
}

static bool
holds_newest(unsigned node)
{
    return zb_set_ref_equal(&W.nodes[node].disk.newest, &W.nodes[0].disk.newest);
}

static bool
vm3_holds_newest(struct world *w, unsigned ignored)
{
    (void)w;
    (void)ignored;
    return holds_newest(2);
}

/* Sets are made at the interval all the time. */
static void
write_for(int64_t ms)
{
    for (int64_t i = 0; i < ms; i += 10000) {
        W.nodes[0].disk.content++;
        world_run(&W, 10000);
    }
}

static void
it_gets_all_sets_at_its_own_times(void **state)
{
    struct zb_set_id had = W.nodes[2].disk.newest.id;
    int64_t begun_ms = W.now_ms;

    (void)state;
    write_for(EVERY_MS - 60000);
    assert_int_equal(zb_set_id_cmp(W.nodes[2].disk.newest.id, had), 0);
    assert_true(W.nodes[0].disk.newest.id.seq > had.seq + 40);
    assert_true(W.nodes[1].disk.newest.id.seq + 1 >= W.nodes[0].disk.newest.id.seq);
    assert_true(world_run_until(&W, vm3_holds_newest, 0, 120000));
    assert_in_range(W.now_ms - begun_ms, EVERY_MS - 60000, EVERY_MS + 60000);
    had = W.nodes[2].disk.newest.id;
    write_for(EVERY_MS - 60000);
    assert_int_equal(zb_set_id_cmp(W.nodes[2].disk.newest.id, had), 0);
}

/* Everybody keeps what it will be sent. */
static void
what_it_will_be_sent_stays_until_then(void **state)
{
    struct zb_set_id had = W.nodes[2].disk.newest.id;
    struct zb_core_view v;

    (void)state;
    write_for(EVERY_MS - 60000);
    assert_int_equal(W.pruned.kind, ZB_ACT_PRUNE);
    assert_int_equal(zb_set_id_cmp(W.pruned.floor_way, had), 0);
    zb_core_view(W.nodes[1].core, 0, &v);
    assert_int_equal(zb_set_id_cmp(v.peers[0].report.floor_way, had), 0);
}

static void
what_is_ordered_goes_at_once(void **state)
{
    (void)state;
    write_for(60000);
    assert_false(holds_newest(2));
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    stories_reply(1, ZB_OK, "C-done");
    assert_true(holds_newest(2));
    write_for(60000);
    assert_false(holds_newest(2));
    world_command(&W, 0, ZB_CMD_SNAPSHOT, 0, 2);
    stories_reply(2, ZB_OK, "C-done");
    assert_true(world_run_until(&W, vm3_holds_newest, 0, 5000));
}

/* The final set, and the first one of the new leader. */
static void
a_move_is_waited_for_by_nobody(void **state)
{
    (void)state;
    write_for(60000);
    assert_false(holds_newest(2));
    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    stories_reply(1, ZB_OK, "C-done");
    assert_int_equal(W.nodes[2].disk.newest.id.term, 2);
    stories_current(1, 20000);
}

static void
a_failover_is_followed_at_once(void **state)
{
    (void)state;
    write_for(60000);
    world_command(&W, 0, ZB_CMD_SYNC, 0, 1);
    stories_reply(1, ZB_OK, "C-done");
    write_for(60000);
    uint64_t newest = W.nodes[1].disk.newest.id.seq;
    assert_true(newest > W.nodes[2].disk.newest.id.seq);
    world_failover(&W, 1, true, 2);
    stories_reply(2, ZB_OK, "C-done");
    stories_current(1, 60000);
}

/* It is not missed for another ten minutes. */
static void
what_failed_is_sent_again_soon(void **state)
{
    (void)state;
    write_for(60000);
    W.fail_ship_to = 2;
    world_run(&W, EVERY_MS);
    assert_false(holds_newest(2));
    W.fail_ship_to = 0;
    assert_true(world_run_until(&W, vm3_holds_newest, 0, 60000));
}

static void
a_shorter_time_holds_at_once(void **state)
{
    struct zb_core_conf conf = W.conf;

    (void)state;
    write_for(60000);
    assert_false(holds_newest(2));
    conf.version = 3;
    conf.backup_every_ms = 0;
    for (unsigned i = 0; i < 3; i++) {
        world_declare(&W, i, &conf);
    }
    stories_current(0, 20000);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, stories_teardown)
        T(it_gets_all_sets_at_its_own_times), T(what_it_will_be_sent_stays_until_then),
        T(what_is_ordered_goes_at_once),      T(a_move_is_waited_for_by_nobody),
        T(a_failover_is_followed_at_once),    T(what_failed_is_sent_again_soon),
        T(a_shorter_time_holds_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
