/* Stories of a leader with two followers: what both want is read once. */
#include "pair.h"

static bool
follows(const struct pair *w, int i)
{
    struct zb_core_view l = host_view(&w->hosts[0]);
    struct zb_core_view f = host_view(&w->hosts[i]);
    return l.role == ZB_ROLE_LEADING && !zb_set_id_is_none(l.obs.newest.id) &&
           zb_set_ref_equal(&l.obs.newest, &f.obs.newest) &&
           model_newest(&w->hosts[0].model, "") == model_newest(&w->hosts[i].model, "") &&
           model_newest(&w->hosts[0].model, "log") == model_newest(&w->hosts[i].model, "log");
}

static bool
vm1_heard(const struct pair *w, const char *name)
{
    struct zb_core_view l = host_view(&w->hosts[0]);
    uint8_t node = zb_agent_node_find(&w->hosts[0].a, name);
    return zb_set_ref_equal(&l.obs.newest, &l.peers[node].report.set) && l.peers[node].ship_id == 0;
}

static bool
vm2_follows(const struct pair *w)
{
    return follows(w, 1) && vm1_heard(w, "vm2");
}

static bool
both_follow(const struct pair *w)
{
    return vm2_follows(w) && follows(w, 2) && vm1_heard(w, "vm3");
}

static uint64_t
reads(const struct pair *w)
{
    return w->hosts[0].model.ops[ZB_KOP_SEND];
}

static void
sync_begin(struct pair *w)
{
    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
}

static void
a_set_is_read_once_for_all_followers(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, both_follow));
    for (int i = 0; i < 3; i++) {
        uint64_t before = reads(w);
        uint64_t vm3_received = w->hosts[2].model.ops[ZB_KOP_RECEIVE];
        sync_begin(w);
        assert_true(pair_until(w, pair_replied));
        assert_true(pair_until(w, both_follow));
        assert_int_equal(reads(w) - before, 2); /* of two datasets */
        assert_int_equal(w->hosts[2].model.ops[ZB_KOP_RECEIVE] - vm3_received, 2);
    }
}

static void
what_is_looked_at_again_is_read_once_too(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, both_follow));
    uint64_t before = reads(w);
    w->hosts[1].model.receive_fails_once = ZB_E_DIVERGED;
    w->hosts[2].model.receive_fails_once = ZB_E_DIVERGED;
    sync_begin(w);
    assert_true(pair_until(w, pair_replied));
    assert_true(pair_until(w, both_follow));
    assert_in_range(reads(w) - before, 3, 4); /* both datasets, and once more what was refused */
}

static bool
vm3_has_been_asked(const struct pair *w)
{
    return vm2_follows(w) && w->hosts[2].model.ops[ZB_KOP_RECEIVE] > 2;
}

static void
who_goes_away_takes_nothing_from_the_others(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, both_follow));
    w->hosts[2].model.receive_stalls = true;
    sync_begin(w);
    assert_true(pair_until(w, vm3_has_been_asked));
    host_power_off(&w->hosts[2]);
    assert_true(pair_until(w, pair_replied));
    for (int i = 0; i < 2; i++) {
        sync_begin(w);
        assert_true(pair_until(w, pair_replied));
        assert_true(pair_until(w, vm2_follows));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_set_is_read_once_for_all_followers),
        pair_test(what_is_looked_at_again_is_read_once_too),
        pair_test(who_goes_away_takes_nothing_from_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
