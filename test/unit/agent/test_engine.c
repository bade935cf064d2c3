/* Stories of two engines: leading, following and handing over. */
#include "pair.h"

#include "agent/ship.h"

#define UUID_TOP "00000000-0000-4000-8000-000000000001"
#define UUID_LOG "00000000-0000-4000-8000-000000000002"
#define UUID_OTHER "00000000-0000-4000-8000-000000000003"

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static bool
vm1_follows_vm2(const struct pair *w)
{
    return pair_follows(&w->hosts[1], &w->hosts[0]);
}

static void
sync_one(struct pair *w)
{
    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(pair_until(w, pair_replied));
    assert_int_equal(w->hosts[0].reply_rc, ZB_OK);
    assert_true(pair_until(w, vm2_follows_vm1));
}

static void
a_new_service_gets_its_first_copy(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    assert_true(w->hosts[0].model.running);
    assert_string_equal(model_dataset_find(&w->hosts[1].model, "log")->uuid, UUID_LOG);
    assert_true(w->hosts[0].events > 0);
}

static void
the_steady_state_asks_for_no_lists(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    uint64_t lists = w->hosts[1].model.ops[ZB_KOP_SNAPS];
    uint64_t receives = w->hosts[1].model.ops[ZB_KOP_RECEIVE];
    for (int i = 0; i < 3; i++) {
        sync_one(w);
    }
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_SNAPS], lists);
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_RECEIVE], receives + 6); /* 3 sets, 2 datasets */
}

static void
snapshots_of_other_tools_travel_too(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    model_snap_add(&w->hosts[0].model.datasets[1], "autosnap-hourly", 424242);
    sync_one(w);
    const struct model_dataset *log = model_dataset_find(&w->hosts[1].model, "log");
    bool found = false;
    for (uint32_t i = 0; i < log->snaps_count; i++) {
        found = found || (log->snaps[i].guid == 424242 &&
                          strcmp(log->snaps[i].name, "autosnap-hourly") == 0);
    }
    assert_true(found);
}

static void
a_refused_stream_is_looked_at_again_at_once(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    w->hosts[1].model.receive_fails_once = ZB_E_DIVERGED;
    uint64_t lists = w->hosts[1].model.ops[ZB_KOP_SNAPS];
    sync_one(w); /* the same ship succeeds the slow way */
    assert_true(w->hosts[1].model.ops[ZB_KOP_SNAPS] > lists);
}

static void
a_child_made_anew_under_its_name_is_sent_in_full(void **state)
{
    struct pair *w = *state;
    struct model_dataset *log = &w->hosts[0].model.datasets[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    zb_strcopy(log->uuid, sizeof(log->uuid), UUID_OTHER);
    log->snaps_count = 0;
    sync_one(w);
    const struct model_dataset *copy = model_dataset_find(&w->hosts[1].model, "log");
    assert_string_equal(copy->uuid, UUID_OTHER);
    assert_int_equal(copy->snaps[0].guid, log->snaps[0].guid);
}

static void
a_copy_that_shares_a_snapshot_is_adopted(void **state)
{
    struct pair *w = *state;
    model_snap_add(model_dataset_add(&w->hosts[0].model, UUID_TOP, ""), "before", 11);
    model_snap_add(model_dataset_add(&w->hosts[0].model, UUID_LOG, "log"), "before", 12);
    model_snap_add(model_dataset_add(&w->hosts[1].model, "", ""), "other-name", 11);
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    const struct model_dataset *top = model_dataset_find(&w->hosts[1].model, "");
    assert_string_equal(top->uuid, UUID_TOP);
    assert_string_equal(top->snaps[0].name, "other-name"); /* not sent again */
    /* What was not there came with its history. */
    assert_int_equal(model_dataset_find(&w->hosts[1].model, "log")->snaps[0].guid, 12);
}

static bool
ship_failed_told(const struct pair *w)
{
    return strstr(w->hosts[0].last_event, "R-ship-failed") != NULL;
}

static void
a_foreign_copy_is_never_overwritten(void **state)
{
    struct pair *w = *state;
    model_snap_add(model_dataset_add(&w->hosts[1].model, "", ""), "mine", 666);
    pair_declare(w);
    assert_true(pair_until(w, ship_failed_told));
    assert_non_null(strstr(w->hosts[0].last_event, "no snapshot in common"));
    assert_int_equal(model_newest(&w->hosts[1].model, ""), 666);
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_RECEIVE], 0);
}

static void
a_move_hands_over_and_comes_back_in_the_history(void **state)
{
    struct pair *w = *state;
    struct host *vm1 = &w->hosts[0];
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    vm1->model.written = true;
    host_command(vm1, ZB_CMD_MOVE, host_other(vm1));
    assert_true(pair_until(w, pair_replied));
    assert_string_equal(vm1->reply_text, "");
    assert_int_equal(vm1->reply_rc, ZB_OK);
    assert_true(vm1->steps >= 18);
    assert_true(pair_until(w, vm1_follows_vm2));
    assert_true(vm2->model.running && vm2->model.mounted);
    assert_false(vm1->model.running || vm1->model.mounted);
    for (int i = 0; i < PAIR_HOSTS; i++) {
        struct zb_history_term *terms = NULL;
        uint32_t count = 0;
        struct zb_err err;
        zb_agent_flush(&w->hosts[i].a);
        assert_int_equal(
            zb_history_terms_list(w->hosts[i].a.history, "web", 10, &terms, &count, &err), ZB_OK);
        assert_true(count >= 1);
        assert_string_equal(terms[0].leader, "vm2");
        assert_int_equal(terms[0].reason, ZB_HISTORY_MOVE);
        assert_string_equal(terms[0].who, "root@vm1");
        assert_false(zb_set_id_is_none(terms[0].fork.id));
        free(terms);
    }
}

static void
a_token_that_leads_nowhere_costs_one_try(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    zb_strcopy(w->hosts[1].model.datasets[0].token, 32, "1-ab-10-ff");
    w->hosts[1].model.receive_fails_once = ZB_E_DIVERGED; /* so that the lists are asked for */
    uint64_t sends = w->hosts[0].model.ops[ZB_KOP_SEND];
    sync_one(w);
    assert_true(w->hosts[0].model.ops[ZB_KOP_SEND] >= sends + 4);
}

static bool
vm2_receives(const struct pair *w)
{
    return w->hosts[1].model.receives != NULL;
}

static bool
vm1_ships_nothing(const struct pair *w)
{
    struct zb_core_view v = host_view(&w->hosts[0]);
    return v.peers[host_other(&w->hosts[0])].ship_id == 0;
}

static void
a_follower_lost_in_the_middle_catches_up(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    w->hosts[1].model.receive_stalls = true;
    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SNAPSHOT, ZB_NODE_NONE);
    assert_true(pair_until(w, vm2_receives));
    struct zb_core_view v = host_view(&w->hosts[0]);
    struct zb_agent_ship_view ship;
    assert_true(
        zb_agent_ship_view(&w->hosts[0].a, v.peers[host_other(&w->hosts[0])].ship_id, &ship));
    host_restart(w, &w->hosts[1]);
    pair_declare(w);
    assert_true(pair_until(w, vm1_ships_nothing));
    assert_true(pair_until(w, vm2_follows_vm1));
}

static void
a_lost_history_is_rebuilt_from_the_disk(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    host_restart(w, vm2);
    uint64_t receives = vm2->model.ops[ZB_KOP_RECEIVE];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    assert_int_equal(vm2->model.ops[ZB_KOP_RECEIVE], receives);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_new_service_gets_its_first_copy),
        pair_test(the_steady_state_asks_for_no_lists),
        pair_test(snapshots_of_other_tools_travel_too),
        pair_test(a_refused_stream_is_looked_at_again_at_once),
        pair_test(a_child_made_anew_under_its_name_is_sent_in_full),
        pair_test(a_copy_that_shares_a_snapshot_is_adopted),
        pair_test(a_foreign_copy_is_never_overwritten),
        pair_test(a_move_hands_over_and_comes_back_in_the_history),
        pair_test(a_token_that_leads_nowhere_costs_one_try),
        pair_test(a_follower_lost_in_the_middle_catches_up),
        pair_test(a_lost_history_is_rebuilt_from_the_disk),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
