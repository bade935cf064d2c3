/* Which streams bring a follower to a set: stories of a leader's and a follower's snapshots. */
#include "unit.h"

#include "agent/ship_plan.h"

#define DATASETS 4

/* Lists are written as text: "uuid-digit rel: guid guid ..."; names are "s<guid>". */
struct world {
    struct zb_inventory own;
    struct zb_inventory peer;
    struct zb_manifest m;
    struct zb_ship_plan plan;
    struct zb_manifest fork;
    struct zb_err err;
};

static void
uuid_of(int digit, char *buf)
{
    (void)snprintf(buf, ZB_UUID_SIZE, "00000000-0000-4000-8000-00000000000%d", digit);
}

static void
dataset_add(struct zb_inventory *inv, int uuid, const char *rel, const uint64_t *guids)
{
    if (inv->datasets == NULL) {
        inv->datasets = calloc(DATASETS, sizeof(*inv->datasets));
    }
    struct zb_inventory_dataset *d = &inv->datasets[inv->datasets_count++];
    if (uuid >= 0) {
        uuid_of(uuid, d->uuid);
    }
    zb_strcopy(d->rel, sizeof(d->rel), rel);
    while (guids[d->snaps_count] != 0) {
        d->snaps_count++;
    }
    d->guids = calloc(d->snaps_count + 1, sizeof(*d->guids));
    d->names = calloc(d->snaps_count + 1, sizeof(*d->names));
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        d->guids[i] = guids[i];
        (void)snprintf(d->names[i], sizeof(d->names[i]), "s%u", (unsigned)guids[i]);
        zb_strcopy(d->newest, sizeof(d->newest), d->names[i]);
    }
}
#define G(...) ((const uint64_t[]){__VA_ARGS__, 0})

static void
manifest_add(struct zb_manifest *m, int uuid, const char *rel, uint64_t guid)
{
    if (m->entries == NULL) {
        m->entries = calloc(DATASETS, sizeof(*m->entries));
        m->id = (struct zb_set_id){.term = 1, .seq = 1};
    }
    struct zb_manifest_entry *e = &m->entries[m->entries_count++];
    uuid_of(uuid, e->uuid);
    zb_strcopy(e->rel, sizeof(e->rel), rel);
    e->guid = guid;
}

static enum zb_rc
plan(struct world *w)
{
    zb_ship_plan_close(&w->plan);
    return zb_ship_plan_make(&w->m, &w->own, &w->peer, &w->plan, &w->err);
}

static void
world_close(struct world *w)
{
    zb_inventory_close(&w->own);
    zb_inventory_close(&w->peer);
    zb_manifest_close(&w->m);
    zb_ship_plan_close(&w->plan);
    zb_manifest_close(&w->fork);
}

static void
assert_step(const struct world *w, uint32_t chain, uint32_t step, uint64_t from, uint64_t to)
{
    assert_true(chain < w->plan.chains_count);
    assert_true(step < w->plan.chains[chain].steps_count);
    assert_int_equal(w->plan.chains[chain].steps[step].from_guid, from);
    assert_int_equal(w->plan.chains[chain].steps[step].guid, to);
}

static void
nothing_there_starts_with_the_oldest(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13, 14));
    manifest_add(&w.m, 1, "", 13);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.chains_count, 1);
    assert_int_equal(w.plan.steps_total, 3);
    assert_step(&w, 0, 0, 0, 11);
    assert_step(&w, 0, 1, 11, 12);
    assert_step(&w, 0, 2, 12, 13);
    assert_string_equal(w.plan.chains[0].steps[2].snap, "s13");
    assert_string_equal(zb_ship_chain_base(&w.plan.chains[0], 0), "");
    assert_string_equal(zb_ship_chain_base(&w.plan.chains[0], 2), "s12");
    assert_int_equal(w.plan.chains[0].after, ZB_CHAIN_NONE);
    world_close(&w);
}

/* own has a bookmark, made of a snapshot that is gone, behind so many of its snapshots. */
static void
mark_add(struct zb_inventory *inv, uint64_t guid, uint32_t before)
{
    struct zb_inventory_dataset *d = &inv->datasets[0];
    d->marks = realloc(d->marks, (d->marks_count + 1) * sizeof(*d->marks));
    struct zb_inventory_mark *mark = &d->marks[d->marks_count++];
    *mark = (struct zb_inventory_mark){.guid = guid, .before = before};
    (void)snprintf(mark->name, sizeof(mark->name), "m%u", (unsigned)guid);
}

static void
continues_from_a_bookmark(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 15, 16));
    dataset_add(&w.peer, 1, "", G(11, 12));
    mark_add(&w.own, 12, 1);
    mark_add(&w.own, 13, 1);
    manifest_add(&w.m, 1, "", 16);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.steps_total, 2);
    assert_step(&w, 0, 0, 12, 15);
    assert_step(&w, 0, 1, 15, 16);
    assert_string_equal(zb_ship_chain_base(&w.plan.chains[0], 0), "m12");
    /* Where it came away is told by the bookmark, too; and nothing is sent to before it. */
    assert_true(zb_ship_fork_make(&w.own, &w.peer, &w.fork));
    assert_int_equal(w.fork.entries[0].guid, 12);
    w.m.entries[0].guid = 11;
    w.peer.datasets[0].guids[0] = 10;
    assert_int_equal(plan(&w), ZB_E_DIVERGED);
    assert_non_null(strstr(w.err.msg, "1 snapshots there that are newer than m12"));
    world_close(&w);
}

static void
continues_from_the_newest_common_through_foreign_ones(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13, 14, 15));
    dataset_add(&w.peer, 1, "", G(10, 12));
    manifest_add(&w.m, 1, "", 15);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.steps_total, 3);
    assert_step(&w, 0, 0, 12, 13);
    assert_step(&w, 0, 2, 14, 15);
    assert_string_equal(zb_ship_chain_base(&w.plan.chains[0], 0), "s12");
    assert_string_equal(zb_ship_chain_base(&w.plan.chains[0], 1), "s13");
    world_close(&w);
}

static void
holds_it_already(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13));
    dataset_add(&w.peer, 1, "", G(11, 12));
    manifest_add(&w.m, 1, "", 12);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.chains_count, 0);
    /* ... and more than that */
    manifest_add(&w.m, 1, "", 0);
    w.m.entries_count = 1;
    w.m.entries[0].guid = 11;
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.chains_count, 0);
    world_close(&w);
}

static void
no_common_snapshot_is_never_overwritten(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12));
    dataset_add(&w.own, 2, "log", G(21));
    dataset_add(&w.peer, 1, "", G(11));
    dataset_add(&w.peer, 2, "log", G(99));
    manifest_add(&w.m, 1, "", 12);
    manifest_add(&w.m, 2, "log", 21);
    assert_int_equal(plan(&w), ZB_E_DIVERGED);
    assert_non_null(strstr(w.err.msg, "dataset log"));
    assert_non_null(strstr(w.err.msg, "s99"));
    assert_null(w.plan.chains);
    world_close(&w);
}

static void
an_existing_dataset_without_snapshots_is_in_the_way(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11));
    dataset_add(&w.peer, -1, "", G(0));
    manifest_add(&w.m, 1, "", 11);
    assert_int_equal(plan(&w), ZB_E_DIVERGED);
    world_close(&w);
}

static void
an_interrupted_first_stream_goes_on(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12));
    dataset_add(&w.peer, -1, "", G(0));
    zb_strcopy(w.peer.datasets[0].token, sizeof(w.peer.datasets[0].token), "1-ab-10-ff");
    manifest_add(&w.m, 1, "", 12);
    assert_int_equal(plan(&w), ZB_OK);
    assert_step(&w, 0, 0, 0, 11);
    assert_step(&w, 0, 1, 11, 12);
    assert_string_equal(w.plan.chains[0].token, "1-ab-10-ff");
    world_close(&w);
}

static void
newer_snapshots_beside_the_line_are_divergence(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13));
    dataset_add(&w.peer, 1, "", G(11, 12, 98, 99));
    manifest_add(&w.m, 1, "", 13);
    assert_int_equal(plan(&w), ZB_E_DIVERGED);
    assert_non_null(strstr(w.err.msg, "2 snapshots"));
    assert_non_null(strstr(w.err.msg, "newer than s12"));
    world_close(&w);
}

static void
ahead_of_a_set_that_it_has_not_is_divergence(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13));
    dataset_add(&w.peer, 1, "", G(11, 13)); /* 12 was destroyed there */
    manifest_add(&w.m, 1, "", 12);
    assert_int_equal(plan(&w), ZB_E_DIVERGED);
    world_close(&w);
}

static void
beyond_a_set_that_it_holds_is_divergence(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12));
    dataset_add(&w.peer, 1, "", G(11, 12, 99)); /* somebody's */
    manifest_add(&w.m, 1, "", 12);
    assert_int_equal(plan(&w), ZB_E_DIVERGED);
    world_close(&w);
}

static void
old_ones_that_only_the_follower_keeps_do_not_matter(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(13, 14));
    dataset_add(&w.peer, 1, "", G(10, 11, 12, 13));
    manifest_add(&w.m, 1, "", 14);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.steps_total, 1);
    assert_step(&w, 0, 0, 13, 14);
    world_close(&w);
}

static void
snapshot_of_the_set_is_gone_here(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11));
    manifest_add(&w.m, 1, "", 12);
    assert_int_equal(plan(&w), ZB_E_NOTFOUND);
    w.m.entries[0].guid = 11;
    manifest_add(&w.m, 2, "new", 21);
    assert_int_equal(plan(&w), ZB_E_NOTFOUND);
    assert_non_null(strstr(w.err.msg, "new"));
    world_close(&w);
}

static void
children_are_made_after_their_parents(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11));
    dataset_add(&w.own, 2, "a", G(21));
    dataset_add(&w.own, 3, "a/b", G(31, 32));
    dataset_add(&w.own, 4, "ab", G(41));
    dataset_add(&w.peer, 1, "", G(11));
    manifest_add(&w.m, 1, "", 11);
    manifest_add(&w.m, 2, "a", 21);
    manifest_add(&w.m, 3, "a/b", 32);
    manifest_add(&w.m, 4, "ab", 41);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.chains_count, 3);
    assert_int_equal(w.plan.chains[0].after, ZB_CHAIN_NONE); /* "" is there */
    assert_int_equal(w.plan.chains[1].after, 0);
    assert_int_equal(w.plan.chains[2].after, ZB_CHAIN_NONE);
    zb_inventory_close(&w.peer);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.chains_count, 4);
    assert_int_equal(w.plan.chains[1].after, 0);
    assert_int_equal(w.plan.chains[2].after, 1); /* the nearest one */
    assert_int_equal(w.plan.chains[3].after, 0);
    world_close(&w);
}

static void
matches_by_uuid_before_the_name(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12));
    dataset_add(&w.own, 2, "new", G(21, 22)); /* was "old" when 21 was sent */
    dataset_add(&w.peer, 1, "", G(11));
    dataset_add(&w.peer, 2, "old", G(21));
    manifest_add(&w.m, 1, "", 12);
    manifest_add(&w.m, 2, "new", 22);
    assert_int_equal(plan(&w), ZB_OK);
    assert_string_equal(w.plan.chains[1].rel, "new");
    assert_string_equal(w.plan.chains[1].peer_rel, "old");
    assert_false(w.plan.chains[1].adopt);
    assert_step(&w, 1, 0, 21, 22);
    world_close(&w);
}

static void
an_unmarked_copy_is_adopted_when_it_shares_a_snapshot(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12));
    dataset_add(&w.peer, -1, "", G(11));
    manifest_add(&w.m, 1, "", 12);
    assert_int_equal(plan(&w), ZB_OK);
    assert_true(w.plan.chains[0].adopt);
    assert_step(&w, 0, 0, 11, 12);
    world_close(&w);
}

static void
token_goes_with_its_dataset_only(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12));
    dataset_add(&w.own, 2, "a", G(21));
    dataset_add(&w.peer, 1, "", G(12));
    zb_strcopy(w.peer.datasets[0].token, sizeof(w.peer.datasets[0].token), "1-ab-10-ff");
    manifest_add(&w.m, 1, "", 12);
    manifest_add(&w.m, 2, "a", 21);
    assert_int_equal(plan(&w), ZB_OK);
    assert_int_equal(w.plan.chains_count, 1);
    assert_string_equal(w.plan.chains[0].token, "");
    assert_string_equal(w.plan.chains[0].peer_rel, "a");
    world_close(&w);
}

static void
fast_path_chains_the_sets(void **state)
{
    (void)state;
    struct zb_manifest m[3] = {0};
    for (uint64_t k = 0; k < 3; k++) {
        manifest_add(&m[k], 1, "", 11 + k);
        manifest_add(&m[k], 2, "a", 21 + k);
        m[k].id.seq = k;
        m[k].time.s = 1795300000;
    }
    struct world w = {0};
    const struct zb_manifest *sets[3] = {&m[0], &m[1], &m[2]};
    assert_true(zb_ship_plan_fast(sets, 3, &w.plan));
    assert_int_equal(w.plan.chains_count, 2);
    assert_int_equal(w.plan.steps_total, 4);
    assert_step(&w, 1, 0, 21, 22);
    assert_step(&w, 1, 1, 22, 23);
    char name[ZB_SNAP_NAME_SIZE];
    zb_set_name_format(m[2].id, m[2].time, name);
    assert_string_equal(w.plan.chains[0].steps[1].snap, name);
    zb_set_name_format(m[0].id, m[0].time, name);
    assert_string_equal(zb_ship_chain_base(&w.plan.chains[1], 0), name);
    zb_ship_plan_close(&w.plan);
    uuid_of(3, m[2].entries[1].uuid); /* another dataset under the old name */
    assert_false(zb_ship_plan_fast(sets, 3, &w.plan));
    assert_true(zb_ship_plan_fast(sets, 2, &w.plan));
    m[1].entries_count = 1;
    zb_ship_plan_close(&w.plan);
    assert_false(zb_ship_plan_fast(sets, 2, &w.plan));
    for (int k = 0; k < 3; k++) {
        zb_manifest_close(&m[k]);
    }
}

static void
assert_fork(const struct world *w, const char *rel, int uuid, uint64_t guid)
{
    const struct zb_manifest_entry *e = zb_manifest_find(&w->fork, rel);
    char text[ZB_UUID_SIZE];
    uuid_of(uuid, text);
    assert_non_null(e);
    assert_string_equal(e->uuid, text);
    assert_int_equal(e->guid, guid);
}

static void
a_fork_is_the_newest_common_snapshot_of_each_dataset(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13));
    dataset_add(&w.own, 2, "a", G(21, 22));
    dataset_add(&w.own, 3, "z", G(31));
    dataset_add(&w.peer, 1, "", G(11, 12, 98, 99)); /* two sets of its own */
    dataset_add(&w.peer, 3, "z", G(31));            /* nothing came after */
    dataset_add(&w.peer, 2, "a", G(21));            /* only behind */
    assert_true(zb_ship_fork_make(&w.own, &w.peer, &w.fork));
    assert_int_equal(w.fork.entries_count, 3);
    assert_true(zb_set_id_is_none(w.fork.id));
    assert_true(zb_manifest_valid(&w.fork)); /* sorted */
    assert_fork(&w, "", 1, 12);
    assert_fork(&w, "a", 2, 21);
    assert_fork(&w, "z", 3, 31);
    world_close(&w);
}

static void
a_fork_names_datasets_by_uuid_and_by_their_place_there(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11));
    dataset_add(&w.own, 2, "new", G(21, 22));
    dataset_add(&w.own, 3, "log", G(31));
    dataset_add(&w.peer, 1, "", G(11, 99));
    dataset_add(&w.peer, 2, "old", G(21)); /* renamed since on the leader */
    dataset_add(&w.peer, 4, "log", G(31)); /* another one under that name */
    dataset_add(&w.peer, -1, "mine", G(21));
    assert_true(zb_ship_fork_make(&w.own, &w.peer, &w.fork));
    assert_int_equal(w.fork.entries_count, 2);
    assert_fork(&w, "", 1, 11);
    assert_fork(&w, "old", 2, 21);
    world_close(&w);
}

static void
nothing_in_common_is_no_fork(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11));
    dataset_add(&w.own, 2, "log", G(21));
    dataset_add(&w.peer, 1, "", G(98));
    assert_false(zb_ship_fork_make(&w.own, &w.peer, &w.fork));
    assert_int_equal(w.fork.entries_count, 0);
    zb_manifest_close(&w.fork);
    dataset_add(&w.peer, 2, "log", G(21, 99)); /* a child alone does not carry the tree on */
    assert_false(zb_ship_fork_make(&w.own, &w.peer, &w.fork));
    assert_int_equal(w.fork.entries_count, 1);
    world_close(&w);
}

static void
a_fork_goes_along_with_what_was_received(void **state)
{
    (void)state;
    struct world w = {0};
    dataset_add(&w.own, 1, "", G(11, 12, 13));
    dataset_add(&w.own, 2, "a", G(21, 22, 23));
    dataset_add(&w.own, 3, "b", G(31));
    dataset_add(&w.peer, 1, "", G(11));
    dataset_add(&w.peer, 2, "a", G(21));
    manifest_add(&w.m, 1, "", 13);
    manifest_add(&w.m, 2, "a", 23);
    manifest_add(&w.m, 3, "b", 31);
    assert_int_equal(plan(&w), ZB_OK);
    assert_true(zb_ship_fork_make(&w.own, &w.peer, &w.fork));
    uint32_t done[] = {2, 0, 1};
    zb_ship_fork_advance(&w.fork, &w.plan, done);
    assert_int_equal(w.fork.entries_count, 2); /* what is new there is not part of the fork */
    assert_fork(&w, "", 1, 13);
    assert_fork(&w, "a", 2, 21);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_there_starts_with_the_oldest),
        cmocka_unit_test(continues_from_a_bookmark),
        cmocka_unit_test(continues_from_the_newest_common_through_foreign_ones),
        cmocka_unit_test(holds_it_already),
        cmocka_unit_test(no_common_snapshot_is_never_overwritten),
        cmocka_unit_test(an_existing_dataset_without_snapshots_is_in_the_way),
        cmocka_unit_test(an_interrupted_first_stream_goes_on),
        cmocka_unit_test(newer_snapshots_beside_the_line_are_divergence),
        cmocka_unit_test(ahead_of_a_set_that_it_has_not_is_divergence),
        cmocka_unit_test(beyond_a_set_that_it_holds_is_divergence),
        cmocka_unit_test(old_ones_that_only_the_follower_keeps_do_not_matter),
        cmocka_unit_test(snapshot_of_the_set_is_gone_here),
        cmocka_unit_test(children_are_made_after_their_parents),
        cmocka_unit_test(matches_by_uuid_before_the_name),
        cmocka_unit_test(an_unmarked_copy_is_adopted_when_it_shares_a_snapshot),
        cmocka_unit_test(token_goes_with_its_dataset_only),
        cmocka_unit_test(fast_path_chains_the_sets),
        cmocka_unit_test(a_fork_is_the_newest_common_snapshot_of_each_dataset),
        cmocka_unit_test(a_fork_names_datasets_by_uuid_and_by_their_place_there),
        cmocka_unit_test(nothing_in_common_is_no_fork),
        cmocka_unit_test(a_fork_goes_along_with_what_was_received),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
