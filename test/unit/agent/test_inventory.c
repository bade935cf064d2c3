/* What a node holds whole, from its snapshots. */
#include "unit.h"

#include "agent/inventory.h"

static void
dataset_init(struct zb_inventory_dataset *d, int uuid, const char *rel, uint32_t count)
{
    (void)snprintf(d->uuid, sizeof(d->uuid), "00000000-0000-4000-8000-00000000000%d", uuid);
    zb_strcopy(d->rel, sizeof(d->rel), rel);
    d->guids = calloc(count, sizeof(*d->guids));
    d->names = calloc(count, sizeof(*d->names));
}

/* Appends a zbaton set (seq) or, with seq 0, a snapshot of another tool. */
static void
snap_add(struct zb_inventory_dataset *d, uint64_t seq, uint64_t guid)
{
    if (seq == 0) {
        (void)snprintf(d->names[d->snaps_count], ZB_SNAP_NAME_SIZE, "autosnap-%u", (unsigned)guid);
    } else {
        zb_set_name_format((struct zb_set_id){.term = 1, .seq = seq},
                           (struct zb_wall){.s = 1795300000 + (int64_t)seq},
                           d->names[d->snaps_count]);
    }
    d->guids[d->snaps_count++] = guid;
}

static int
setup(void **state)
{
    struct zb_inventory *inv = calloc(1, sizeof(*inv));
    inv->datasets_count = 2;
    inv->datasets = calloc(2, sizeof(*inv->datasets));
    dataset_init(&inv->datasets[0], 1, "", 8);
    dataset_init(&inv->datasets[1], 2, "log", 8);
    for (uint64_t seq = 1; seq <= 3; seq++) {
        snap_add(&inv->datasets[0], seq, 10 + seq);
        snap_add(&inv->datasets[0], 0, 90 + seq);
        if (seq < 3) { /* the third set is here by half */
            snap_add(&inv->datasets[1], seq, 20 + seq);
        }
    }
    *state = inv;
    return 0;
}

static int
teardown(void **state)
{
    zb_inventory_close(*state);
    free(*state);
    return 0;
}

static void
manifest_of(uint64_t seq, struct zb_manifest *m)
{
    struct zb_err err;
    assert_int_equal(zb_manifest_init(m, 2, &err), ZB_OK);
    m->id = (struct zb_set_id){.term = 1, .seq = seq};
    m->entries[0] = (struct zb_manifest_entry){.uuid = "00000000-0000-4000-8000-000000000001",
                                               .guid = 10 + seq};
    m->entries[1] = (struct zb_manifest_entry){
        .uuid = "00000000-0000-4000-8000-000000000002", .rel = "log", .guid = 20 + seq};
}

static void
holds_a_set_only_whole(void **state)
{
    const struct zb_inventory *inv = *state;
    for (uint64_t seq = 1; seq <= 4; seq++) {
        struct zb_manifest m = {0};
        manifest_of(seq, &m);
        assert_int_equal(zb_inventory_holds(inv, &m), seq <= 2);
        m.entries[1].guid += 100;
        assert_false(zb_inventory_holds(inv, &m));
        zb_manifest_close(&m);
    }
    assert_false(zb_inventory_holds(inv, &(struct zb_manifest){0}));
}

static void
recall_is(const struct zb_inventory *inv, uint64_t seq, enum zb_recall what, uint32_t entries)
{
    struct zb_manifest m = {0};

    assert_int_equal(zb_inventory_recall(inv, (struct zb_set_id){1, seq}, &m), what);
    assert_int_equal(m.id.seq, seq);
    assert_int_equal(m.time.s, 1795300000 + (int64_t)seq);
    assert_int_equal(m.entries_count, entries);
    assert_int_equal(m.entries[0].guid, 10 + seq);
    zb_manifest_close(&m);
}

static void
recall_is_none(const struct zb_inventory *inv, struct zb_set_id id)
{
    struct zb_manifest m = {0};

    assert_int_equal(zb_inventory_recall(inv, id, &m), ZB_RECALL_NONE);
    assert_null(m.entries);
}

static void
recalls_a_set_of_what_was_there_then(void **state)
{
    struct zb_inventory *inv = *state;
    struct zb_inventory_dataset *child = &inv->datasets[1];

    recall_is(inv, 1, ZB_RECALL_WHOLE, 2);
    recall_is(inv, 2, ZB_RECALL_WHOLE, 2);
    recall_is_none(inv, (struct zb_set_id){1, 3}); /* half of it is here */
    recall_is_none(inv, (struct zb_set_id){1, 4});
    recall_is_none(inv, (struct zb_set_id){2, 1});
    memmove(&child->names[0], &child->names[1], sizeof(child->names[0]));
    child->guids[0] = child->guids[1];
    child->snaps_count = 1; /* made after the first set, or it has lost its own of then */
    recall_is(inv, 1, ZB_RECALL_PART, 1);
    recall_is(inv, 2, ZB_RECALL_WHOLE, 2);
}

/* Two clusters that went on from the same copies may both have made it: not a whole of halves. */
static void
recalls_only_what_bears_one_name(void **state)
{
    struct zb_inventory *inv = *state;
    struct zb_inventory_dataset *top = &inv->datasets[0];
    struct zb_inventory_dataset *child = &inv->datasets[1];

    zb_set_name_format((struct zb_set_id){1, 1}, (struct zb_wall){.s = 1795309999},
                       child->names[0]);
    recall_is_none(inv, (struct zb_set_id){1, 1});
    memmove(&child->names[1], &child->names[0], sizeof(child->names[0]));
    child->guids[1] = child->guids[0];
    zb_set_name_format((struct zb_set_id){1, 1}, (struct zb_wall){.s = 1795300001},
                       child->names[0]);
    recall_is(inv, 1, ZB_RECALL_WHOLE, 2);
    zb_strcopy(top->names[2], sizeof(top->names[2]), child->names[1]);
    recall_is_none(inv, (struct zb_set_id){1, 1});
}

/* How far a disk came, whatever was destroyed on it since. */
static void
reached_what_only_lost_children_keep_from_being_whole(void **state)
{
    struct zb_inventory *inv = *state;
    char *child = inv->datasets[1].uuid;
    char gone[ZB_UUID_SIZE];
    for (uint64_t seq = 1; seq <= 4; seq++) {
        struct zb_manifest m = {0};
        manifest_of(seq, &m);
        assert_int_equal(zb_inventory_reached(inv, &m), seq <= 2);

        inv->datasets_count = 1; /* destroyed */
        assert_int_equal(zb_inventory_reached(inv, &m), seq <= 3);
        m.entries[0].guid += 100; /* and the disk went back */
        assert_false(zb_inventory_reached(inv, &m));
        m.entries[0].guid -= 100;
        inv->datasets_count = 2;

        zb_strcopy(gone, sizeof(gone), child); /* and made anew at the same place */
        child[35] = '7';
        assert_int_equal(zb_inventory_reached(inv, &m), seq <= 3);
        zb_strcopy(child, ZB_UUID_SIZE, gone);

        m.entries[0].uuid[35] = '8'; /* another tree */
        assert_false(zb_inventory_reached(inv, &m));
        zb_manifest_close(&m);
    }
}

static void
has_the_datasets_of_a_set_by_uuid(void **state)
{
    struct zb_inventory *inv = *state;
    struct zb_manifest m = {0};
    manifest_of(9, &m); /* its snapshots do not matter */
    assert_true(zb_inventory_has_datasets(inv, &m));
    m.entries[1].uuid[35] = '7'; /* another one at its place */
    assert_false(zb_inventory_has_datasets(inv, &m));
    inv->datasets_count = 1;
    assert_false(zb_inventory_has_datasets(inv, &m));
    zb_manifest_close(&m);
    inv->datasets_count = 2;
}

static void
finds_by_uuid_before_place(void **state)
{
    struct zb_inventory *inv = *state;
    assert_ptr_equal(zb_inventory_find(inv, inv->datasets[1].uuid, ""), &inv->datasets[1]);
    assert_ptr_equal(zb_inventory_find(inv, "00000000-0000-4000-8000-000000000009", "log"),
                     &inv->datasets[1]);
    assert_null(zb_inventory_find(inv, "00000000-0000-4000-8000-000000000009", "no"));
}

static bool
skip_two(const void *ctx, struct zb_set_id id)
{
    (void)ctx;
    return id.seq == 2;
}

static void
rebuilds_the_newest_whole_set_from_names(void **state)
{
    const struct zb_inventory *inv = *state;
    struct zb_manifest m = {0};
    struct zb_manifest want = {0};
    struct zb_set_ref a;
    struct zb_set_ref b;
    manifest_of(2, &want);
    assert_true(zb_inventory_rebuild(inv, NULL, NULL, &m));
    zb_manifest_ref(&m, &a);
    zb_manifest_ref(&want, &b);
    assert_true(zb_set_ref_equal(&a, &b));
    assert_int_equal(m.time.s, 1795300002);
    zb_manifest_close(&m);
    zb_manifest_close(&want);
    assert_true(zb_inventory_rebuild(inv, skip_two, NULL, &m));
    assert_int_equal(m.id.seq, 1);
    zb_manifest_close(&m);
}

static void
rebuilds_nothing_without_uuids_or_datasets(void **state)
{
    struct zb_inventory *inv = *state;
    struct zb_manifest m = {0};
    inv->datasets[1].uuid[0] = '\0';
    assert_false(zb_inventory_rebuild(inv, NULL, NULL, &m));
    assert_false(zb_inventory_rebuild(&(struct zb_inventory){0}, NULL, NULL, &m));
    assert_null(m.entries);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(holds_a_set_only_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(recalls_a_set_of_what_was_there_then, setup, teardown),
        cmocka_unit_test_setup_teardown(recalls_only_what_bears_one_name, setup, teardown),
        cmocka_unit_test_setup_teardown(reached_what_only_lost_children_keep_from_being_whole,
                                        setup, teardown),
        cmocka_unit_test_setup_teardown(has_the_datasets_of_a_set_by_uuid, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_by_uuid_before_place, setup, teardown),
        cmocka_unit_test_setup_teardown(rebuilds_the_newest_whole_set_from_names, setup, teardown),
        cmocka_unit_test_setup_teardown(rebuilds_nothing_without_uuids_or_datasets, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
