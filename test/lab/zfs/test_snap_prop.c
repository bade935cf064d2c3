#include "zfs_test.h"

#define PROP "zbaton:received"

static void
value_is(const char *snap, uint64_t guid, const char *value)
{
    struct zb_err err;
    struct zb_zfs_snap_value one = {.guid = guid, .value = "before"};

    (void)snprintf(one.snap, sizeof one.snap, "%s", snap);
    ok(zb_zfs_snaps_prop_get(PROP, &one, 1, &err));
    assert_string_equal(one.value, value);
}

/* Only what was set on the very snapshot counts, and only while it is that one. */
static void
a_mark_is_of_one_snapshot(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_snap_value list[3] = {
        {.snap = "zta/t/web@a", .value = "one"},
        {.snap = "zta/t/web@b", .value = "two"},
        {.snap = "zta/t/web@none", .guid = 5, .value = "three"},
    };
    make_copy("zta/t/web");
    snapshot("zta/t/web@a");
    snapshot("zta/t/web@b");
    uint64_t guid_a = list[0].guid = guid_of("zta/t/web@a");
    list[1].guid = guid_of("zta/t/web@b");
    sh("zfs set " PROP "=inherited zta/t/web");
    value_is("zta/t/web@a", guid_a, "");
    ok(zb_zfs_snaps_prop_set(PROP, list, 3, &err));
    value_is("zta/t/web@a", guid_a, "one");
    value_is("zta/t/web@a", guid_a + 1, "");
    value_is("zta/t/web@none", 5, "");
    assert_string_equal(sh_out("zfs get -Ho value,source " PROP " zta/t/web@b | tr '\\t' ' '"),
                        "two local");
    sh("zfs destroy zta/t/web@a && zfs snapshot zta/t/web@a");
    value_is("zta/t/web@a", guid_a, "");
    ok(zb_zfs_snaps_prop_set(PROP, list, 1, &err)); /* another one of that name */
    value_is("zta/t/web@a", guid_of("zta/t/web@a"), "");
    assert_string_equal(sh_out("zfs get -Ho value " PROP " zta/t/web@a"), "inherited");
}

static void
only_marked_ones_are_destroyed(void **state)
{
    (void)state;
    struct zb_err err;
    uint32_t destroyed = 9;
    struct zb_zfs_snap_value list[6] = {
        {.snap = "zta/t/web@a", .value = "x"},      {.snap = "zta/t/web@held", .value = "x"},
        {.snap = "zta/t/web@cloned", .value = "x"}, {.snap = "zta/t/web@other", .value = "x"},
        {.snap = "zta/t/web@bare", .value = "x"},   {.snap = "zta/t/web@none", .value = "x"},
    };
    make_copy("zta/t/web");
    for (size_t i = 0; i < 5; i++) {
        snapshot(list[i].snap);
        list[i].guid = guid_of(list[i].snap);
    }
    ok(zb_zfs_snaps_prop_set(PROP, list, 4, &err));
    list[3].guid++;
    sh("zfs hold keep zta/t/web@held && zfs clone zta/t/web@cloned zta/t/clone");
    sh("zfs set " PROP "=inherited zta/t/web");
    ok(zb_zfs_snaps_prop_destroy(PROP, list, 6, &destroyed, &err));
    assert_int_equal(destroyed, 1);
    assert_false(exists("zta/t/web@a"));
    for (size_t i = 1; i < 5; i++) {
        assert_true(exists(list[i].snap));
    }
    sh("zfs release keep zta/t/web@held");
    ok(zb_zfs_snaps_prop_destroy(PROP, list, 2, &destroyed, &err));
    assert_int_equal(destroyed, 1);
    assert_false(exists("zta/t/web@held"));
}

TESTS(snap_prop, TEST(a_mark_is_of_one_snapshot), TEST(only_marked_ones_are_destroyed));
