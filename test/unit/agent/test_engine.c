/* Stories of two engines: leading, following and handing over. */
#include "pair.h"

#include "agent/json.h"
#include "agent/rescue.h"
#include "agent/land_internal.h"
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

static uint64_t looks_wanted, sames_wanted;

static bool
vm1_was_looked_at(const struct pair *w)
{
    const struct model *m = &w->hosts[0].model;

    return m->ops[ZB_KOP_OBSERVE] >= looks_wanted && m->sames >= sames_wanted;
}

/* A look as before leaves what is known as it is; what is learned of sets meanwhile, which could
 * make another position of the same disk, has it looked at anew. */
static void
a_look_as_before_keeps_what_is_known(void **state)
{
    struct pair *w = *state;
    struct host *h = &w->hosts[0];

    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    sames_wanted = h->model.sames + 2;
    assert_true(pair_until(w, vm1_was_looked_at));
    struct zb_core_view view = host_view(h);
    assert_true(vm2_follows_vm1(w));
    assert_int_equal(view.obs.established_term, 1);
    assert_true(view.obs.exists && view.obs.mounted_here && view.obs.running);

    const struct zb_manifest *m = zb_position_manifest(&h->a, 0, view.obs.newest.id);
    assert_non_null(m);
    assert_int_not_equal(zb_position_nonce(&h->a, 0), 0);
    zb_position_know(&h->a, 0, m);
    assert_int_equal(zb_position_nonce(&h->a, 0), 0);
    uint64_t look = h->model.look;
    looks_wanted = h->model.ops[ZB_KOP_OBSERVE] + 1;
    sames_wanted = 0;
    assert_true(pair_until(w, vm1_was_looked_at));
    assert_true(h->model.look > look);

    h->model.written = true; /* seen, although the nonce is known */
    uint32_t before = model_dataset_find(&h->model, "")->snaps_count;
    sames_wanted = h->model.sames + 1;
    assert_true(pair_until(w, vm1_was_looked_at));
    assert_true(model_dataset_find(&h->model, "")->snaps_count > before);
}

static void
looks_pass(struct pair *w, uint64_t count)
{
    looks_wanted = w->hosts[0].model.ops[ZB_KOP_OBSERVE] + count;
    sames_wanted = 0;
    assert_true(pair_until(w, vm1_was_looked_at));
}

/* Nothing tells whether it runs: it is started once, and again where it is mounted again. */
static void
a_service_without_a_runner_is_started_once(void **state)
{
    struct pair *w = *state;
    struct model *m = &w->hosts[0].model;

    m->no_runner = true;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    looks_pass(w, 4);
    assert_true(host_view(&w->hosts[0]).obs.running);
    assert_int_equal(m->ops[ZB_KOP_START], 1);

    m->unmounted_child = true; /* by somebody: START mounts it */
    m->look = 0;
    looks_pass(w, 2);
    assert_int_equal(m->ops[ZB_KOP_START], 2);
    assert_false(m->unmounted_child);
    assert_true(host_view(&w->hosts[0]).obs.running);
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

/* vm2 knows the first sets of a tree with this uuid, with other snapshots than vm1 will make. */
static void
vm2_knows_other_sets(struct pair *w, const char *uuid)
{
    struct zb_manifest_entry top = {.guid = 666};
    struct zb_manifest m = {.entries_count = 1, .entries = &top};

    zb_strcopy(top.uuid, sizeof(top.uuid), uuid);
    for (uint64_t seq = 0; seq < 3; seq++) {
        m.id = (struct zb_set_id){1, seq};
        zb_position_know(&w->hosts[1].a, 0, &m);
    }
}

static void
sets_of_a_tree_that_was_destroyed_are_not_in_the_way(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    vm2_knows_other_sets(w, UUID_OTHER);
    assert_true(pair_until(w, vm2_follows_vm1));
}

static void
a_set_known_with_other_content_is_refused(void **state)
{
    struct pair *w = *state;
    model_snap_add(model_dataset_add(&w->hosts[0].model, UUID_TOP, ""), "before", 11);
    pair_declare(w);
    vm2_knows_other_sets(w, UUID_TOP);
    assert_true(pair_until(w, ship_failed_told));
    assert_non_null(strstr(w->hosts[0].last_event, "with other content"));
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

static const struct zb_land_fork *
fork_told(const struct pair *w)
{
    struct zb_core_view v = host_view(&w->hosts[1]);
    return zb_land_fork_find(&w->hosts[1].a, 0, v.obs.learned_leader, v.obs.learned_term);
}

static bool
vm2_knows_its_fork(const struct pair *w)
{
    return fork_told(w) != NULL;
}

static bool
vm2_is_beyond(const struct pair *w)
{
    return host_view(&w->hosts[1]).obs.beyond;
}

static bool
vm2_rescued(const struct pair *w)
{
    return w->hosts[1].model.rescued > 0;
}

/* What vm1 knows of vm2's rescues. */
static bool
vm1_was_told_of_it(const struct pair *w)
{
    const struct zb_agent *a = &w->hosts[0].a;
    json_t *told = zb_rescues_told(a, zb_agent_node_find(a, "vm2"), "web");
    bool one = json_integer_value(json_object_get(told, "count")) == 1;

    if (one) {
        assert_int_equal(json_integer_value(json_object_get(told, "bytes")), 4096);
        assert_string_equal(json_string_value(json_object_get(told, "fork")), "1/7");
        assert_string_equal(json_string_value(json_object_get(told, "created")),
                            "2026-11-22T06:41:00Z");
    }
    json_decref(told);
    return one;
}

static void
set_aside(struct host *h)
{
    struct zb_core_view v = host_view(h);
    assert_true(zb_act_start(&h->a, &(struct zb_action){.kind = ZB_ACT_RESCUE,
                                                        .node = v.obs.learned_leader,
                                                        .term = v.obs.learned_term}));
}

static void
what_came_after_the_fork_is_set_aside(void **state)
{
    struct pair *w = *state;
    struct host *vm1 = &w->hosts[0];
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    uint64_t fork = model_newest(&vm2->model, "");
    model_snap_add(&vm2->model.datasets[0], "mine", 666);
    vm1->model.written = true;
    host_command(vm1, ZB_CMD_SNAPSHOT, ZB_NODE_NONE);
    assert_true(pair_until(w, pair_replied));
    assert_true(pair_until(w, vm2_knows_its_fork));
    assert_true(fork_told(w)->common);
    assert_int_equal(zb_manifest_find(&fork_told(w)->m, "")->guid, fork);
    assert_null(zb_land_fork_find(&vm2->a, 0, vm2->a.self, fork_told(w)->term));
    set_aside(vm2);
    assert_true(pair_until(w, vm2_rescued));
    assert_true(pair_until(w, vm2_follows_vm1));
    assert_int_equal(vm2->model.rescued, 1);
    assert_true(pair_until(w, vm1_was_told_of_it));
}

/* {"t":"ship.fork"} as vm1 tells it. */
static void
vm1_tells_a_fork(struct pair *w, uint64_t ship, const struct zb_manifest *fork)
{
    struct host *vm2 = &w->hosts[1];
    json_t *msg = zb_json_new("ship.fork");

    zb_json_put(msg, "service", zb_json_text("web"));
    zb_json_put(msg, "ship", zb_json_u64(ship));
    zb_json_put(msg, "term", zb_json_u64(host_view(vm2).obs.learned_term));
    zb_json_put(msg, "common", zb_json_bool(true));
    zb_json_put(msg, "manifest", zb_json_manifest(fork));
    zb_land_message(&vm2->a, host_other(vm2), msg);
    json_decref(msg);
}

/* It was on its way when the copy had been set aside already, and has received since. */
static void
a_fork_of_before_the_rescue_is_not_taken(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    struct zb_manifest fork = {0};
    struct zb_err err;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    model_snap_add(&vm2->model.datasets[0], "mine", 666);
    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SNAPSHOT, ZB_NODE_NONE);
    assert_true(pair_until(w, vm2_knows_its_fork));
    assert_int_equal(zb_manifest_copy(&fork, &fork_told(w)->m, &err), ZB_OK);
    uint64_t ship = vm2->a.lands->asked[0].ship;
    set_aside(vm2);
    assert_true(pair_until(w, vm2_rescued));
    assert_true(pair_until(w, vm2_follows_vm1));
    vm1_tells_a_fork(w, ship, &fork);
    assert_null(fork_told(w));
    vm1_tells_a_fork(w, ship + 1000, &fork);
    assert_non_null(fork_told(w));
    zb_manifest_close(&fork);
}

static void
a_copy_with_something_newer_than_its_set_is_beyond_it(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    assert_false(vm2_is_beyond(w));
    model_snap_add(&w->hosts[1].model.datasets[1], "mine", 666);
    host_restart(w, &w->hosts[1]); /* looks at its disk */
    pair_declare(w);
    assert_true(pair_until(w, vm2_is_beyond));
    assert_false(host_view(&w->hosts[0]).obs.beyond); /* a leader's tree is mounted */
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

static bool
vm2_has_the_term(const struct pair *w)
{
    const struct zb_agent *a = &w->hosts[1].a;
    struct zb_history_term *terms = NULL;
    uint32_t count = 0;
    struct zb_err err;

    zb_agent_flush((struct zb_agent *)(uintptr_t)a);
    assert_int_equal(zb_history_terms_list(a->history, "web", 10, &terms, &count, &err), ZB_OK);
    bool has = count == 1 && strcmp(terms[0].leader, "vm1") == 0;
    free(terms);
    return has;
}

static void
who_was_away_is_told_of_the_terms(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    assert_true(vm2_has_the_term(w));
    host_restart(w, &w->hosts[1]);
    pair_declare(w);
    assert_false(vm2_has_the_term(w));
    assert_true(pair_until(w, vm2_has_the_term));
}

static bool
vm1_prunes(const struct pair *w)
{
    return w->hosts[0].model.ops[ZB_KOP_PRUNE] > 0;
}

/* The first time before vm2, which has nothing yet, has its copy. */
static void
what_a_member_on_its_way_needs_is_asked_to_stay(void **state)
{
    struct pair *w = *state;
    const struct model *m = &w->hosts[0].model;
    pair_declare(w);
    assert_true(pair_until(w, vm1_prunes));
    assert_false(zb_set_id_is_none(m->floor));
    assert_int_equal(zb_set_id_cmp(m->floor_way, m->floor), 0);
}

/* Told by the keeper that made it, or by names alone. */
static void
set_add(struct model *m, const char *rel, uint64_t seq, uint64_t guid)
{
    char name[ZB_SNAP_NAME_SIZE];
    zb_set_name_format((struct zb_set_id){.term = 1, .seq = seq},
                       (struct zb_wall){.s = 1795300000 + (int64_t)seq}, name);
    for (uint32_t i = 0; i < m->datasets_count; i++) {
        if (strcmp(m->datasets[i].rel, rel) == 0) {
            model_snap_add(&m->datasets[i], name, guid);
        }
    }
}

static bool
vm2_has_the_top_and_waits_for_the_child(const struct pair *w)
{
    uint64_t newest = model_newest(&w->hosts[1].model, "");
    return newest != 0 && newest == model_newest(&w->hosts[0].model, "") && vm2_receives(w);
}

static void
half_of_a_first_copy_is_no_position(void **state)
{
    struct pair *w = *state;
    struct host *vm1 = &w->hosts[0];
    struct host *vm2 = &w->hosts[1];
    (void)model_dataset_add(&vm1->model, UUID_TOP, "");
    (void)model_dataset_add(&vm1->model, UUID_LOG, "log");
    set_add(&vm1->model, "", 1, 11); /* one that vm2 is not told of: it comes on the way */
    set_add(&vm1->model, "log", 1, 12);
    vm2->model.receive_stalls_at = "log";
    pair_declare(w);
    assert_true(pair_until(w, vm2_has_the_top_and_waits_for_the_child));
    assert_true(zb_set_id_is_none(host_position(w, vm2).newest.id));
}

/* vm1 asks what vm2 has for a set of this number that has one more dataset. */
static void
set_asked_for(struct pair *w, struct zb_set_id id, uint64_t top, uint64_t log)
{
    struct zb_manifest m = {0};
    struct zb_err err;
    json_t *msg = zb_json_new("ship.ask");
    assert_int_equal(zb_manifest_init(&m, 3, &err), ZB_OK);
    m.id = id;
    m.entries[0] = (struct zb_manifest_entry){.uuid = UUID_TOP, .rel = "", .guid = top};
    m.entries[1] = (struct zb_manifest_entry){.uuid = UUID_LOG, .rel = "log", .guid = log};
    m.entries[2] = (struct zb_manifest_entry){.uuid = UUID_OTHER, .rel = "new", .guid = 23};
    zb_json_put(msg, "service", zb_json_text("web"));
    zb_json_put(msg, "ship", zb_json_u64(1000));
    zb_json_put(msg, "term", zb_json_u64(id.term));
    zb_json_put(msg, "as", zb_json_text("leader"));
    zb_json_put(msg, "manifest", zb_json_manifest(&m));
    zb_drive_message(&w->hosts[1].a, "vm1", msg);
    json_decref(msg);
    zb_manifest_close(&m);
}

static void
streams_ahead_of_their_announcement_are_no_position(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    struct zb_set_id held = host_position(w, vm2).newest.id;
    struct zb_set_id next = {.term = held.term, .seq = held.seq + 1};
    set_asked_for(w, next, 21, 22);
    set_add(&vm2->model, "", next.seq, 21);
    set_add(&vm2->model, "log", next.seq, 22);
    assert_int_equal(zb_set_id_cmp(host_position(w, vm2).newest.id, held), 0);
    assert_int_equal(host_position(w, vm2).newest.id.seq, held.seq); /* as remembered too */
}

/* A leader's own disk is whole, whatever an older set has more: nothing else makes sets there. */
static void
a_leader_knows_its_last_set_though_a_child_went(void **state)
{
    struct pair *w = *state;
    struct host *vm1 = &w->hosts[0];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    struct zb_set_id held = host_position(w, vm1).newest.id;
    assert_string_equal(vm1->model.datasets[1].rel, "log");
    vm1->model.datasets_count = 1;
    set_add(&vm1->model, "", held.seq + 1, 21); /* and was not written down */
    assert_int_equal(host_position(w, vm1).newest.id.seq, held.seq + 1);
}

static bool
limit_told(const struct pair *w)
{
    return strstr(w->hosts[0].last_event, "A-nodes-limit") != NULL;
}

/* Numbers are given for the life of an engine: the service goes on as it was declared before. */
static void
a_member_without_a_number_is_no_member(void **state)
{
    struct pair *w = *state;
    struct host *vm1 = &w->hosts[0];
    struct zb_agent_node nodes[ZB_NODES_MAX] = {0};
    struct zb_freezes none = {0};

    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    nodes[0] = vm1->a.nodes[0];
    nodes[1] = vm1->a.nodes[1];
    for (int i = 2; i < ZB_NODES_MAX; i++) {
        (void)snprintf(nodes[i].name, sizeof(nodes[i].name), "gone%d", i);
        zb_strcopy(nodes[i].address, sizeof(nodes[i].address), "127.0.0.1:1");
    }
    zb_agent_nodes_apply(&vm1->a, nodes, ZB_NODES_MAX);
    zb_agent_nodes_apply(&vm1->a, nodes, 2);

    struct zb_conf_service web = vm1->a.services[0].conf;
    struct zb_conf_services services = {.count = 1, .items = &web};
    zb_strcopy(web.members.items[web.members.count++], ZB_NODE_NAME_SIZE, "vm3");
    zb_agent_services_apply(&vm1->a, &services, &none, 2);
    assert_true(pair_until(w, limit_told));
    assert_int_equal(host_view(vm1).version, 1);
    sync_one(w);
    assert_true(host_view(vm1).member);
    assert_int_equal(host_view(vm1).version, 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_new_service_gets_its_first_copy),
        pair_test(a_look_as_before_keeps_what_is_known),
        pair_test(a_service_without_a_runner_is_started_once),
        pair_test(the_steady_state_asks_for_no_lists),
        pair_test(snapshots_of_other_tools_travel_too),
        pair_test(a_refused_stream_is_looked_at_again_at_once),
        pair_test(sets_of_a_tree_that_was_destroyed_are_not_in_the_way),
        pair_test(a_set_known_with_other_content_is_refused),
        pair_test(a_child_made_anew_under_its_name_is_sent_in_full),
        pair_test(a_copy_that_shares_a_snapshot_is_adopted),
        pair_test(a_foreign_copy_is_never_overwritten),
        pair_test(a_move_hands_over_and_comes_back_in_the_history),
        pair_test(a_token_that_leads_nowhere_costs_one_try),
        pair_test(a_follower_lost_in_the_middle_catches_up),
        pair_test(a_lost_history_is_rebuilt_from_the_disk),
        pair_test(who_was_away_is_told_of_the_terms),
        pair_test(what_a_member_on_its_way_needs_is_asked_to_stay),
        pair_test(half_of_a_first_copy_is_no_position),
        pair_test(streams_ahead_of_their_announcement_are_no_position),
        pair_test(a_leader_knows_its_last_set_though_a_child_went),
        pair_test(a_member_without_a_number_is_no_member),
        pair_test(what_came_after_the_fork_is_set_aside),
        pair_test(a_fork_of_before_the_rescue_is_not_taken),
        pair_test(a_copy_with_something_newer_than_its_set_is_beyond_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
