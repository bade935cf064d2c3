#include "zfs_test.h"

#include <errno.h>

static void
snapshot_is_all_or_nothing(void **state)
{
    (void)state;
    struct zb_err err;
    const char *const all[] = {"zta/t/web@s1", "zta/t/web/a@s1"};
    const char *const one_taken[] = {"zta/t/web@s2", "zta/t/web/a@s1"};
    const char *const two_pools[] = {"zta/t/web@s2", "ztb/t@s2"};
    make_copy("zta/t/web");
    make_copy("zta/t/web/a");
    ok(zb_zfs_snapshot(all, 2, NULL, &err));
    assert_int_equal(sh_number("zfs get -Hp -o value createtxg zta/t/web@s1"),
                     sh_number("zfs get -Hp -o value createtxg zta/t/web/a@s1"));
    fails(ZB_E_EXISTS, zb_zfs_snapshot(one_taken, 2, NULL, &err));
    assert_contains(err.msg, "zta/t/web/a@s1");
    assert_false(exists("zta/t/web@s2"));
    fails(ZB_E_USAGE, zb_zfs_snapshot(two_pools, 2, NULL, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_snapshot((const char *const[]){"zta/t/no@s"}, 1, NULL, &err));
}

static void
snapshots_one_after_the_other(void **state)
{
    (void)state;
    make_copy("zta/t/web");
    for (int i = 0; i < 5; i++) {
        char name[64];
        snprintf(name, sizeof name, "zta/t/web@s%d", i);
        snapshot(name);
    }
}

static void
snapshot_tells_what_was_the_newest(void **state)
{
    (void)state;
    struct zb_err err;
    char newest[3][ZB_DATASET_NAME_SIZE] = {"x", "x", "x"};
    const char *const first[] = {"zta/t/web/a@s1", "zta/t/web@s1", "zta/t/clone@s1"};
    const char *const second[] = {"zta/t/web/a@s2", "zta/t/web@s2", "zta/t/clone@s2"};
    make_copy("zta/t/web");
    make_copy("zta/t/web/a");
    sh("zfs snapshot zta/t/web@by-hand && zfs clone zta/t/web@by-hand zta/t/clone");
    ok(zb_zfs_snapshot(first, 3, newest, &err));
    assert_string_equal(newest[0], "");
    assert_string_equal(newest[1], "by-hand");
    assert_string_equal(newest[2], ""); /* the origin is another dataset's */
    fails(ZB_E_EXISTS, zb_zfs_snapshot(first, 3, newest, &err));
    assert_string_equal(newest[1], "by-hand");
    sh("zfs snapshot zta/t/web/a@by-hand");
    ok(zb_zfs_snapshot(second, 3, newest, &err));
    assert_string_equal(newest[0], "by-hand");
    assert_string_equal(newest[1], "s1");
    assert_string_equal(newest[2], "s1");
    sh("zfs destroy zta/t/clone@s1 && zfs destroy zta/t/clone@s2 && zfs destroy zta/t/clone");
}

/* Each of the two fits where both do not: passed by the checks, refused in the making. */
static void
snapshot_refused_in_the_middle_leaves_nothing(void **state)
{
    (void)state;
    struct zb_err err;
    char newest[3][ZB_DATASET_NAME_SIZE];
    const char *const all[] = {"zta/t/web@s", "zta/t/web/a@s", "zta/t/web/b@s"};
    make_copy("zta/t/web");
    make_mounted("zta/t/web/a", "/zt/a");
    make_mounted("zta/t/web/b", "/zt/b");
    write_random("/zt/a/f", 16u << 20);
    write_random("/zt/b/f", 16u << 20);
    ok(zb_zfs_pool_sync("zta", &err));
    sh("zfs set refreservation=20M zta/t/web/a && zfs set refreservation=20M zta/t/web/b &&"
       " zfs set quota=64M zta/t/web");
    fails(ZB_E_NOSPACE, zb_zfs_snapshot(all, 3, newest, &err));
    assert_contains(err.msg, "zta/t/web/b@s");
    sh("test -z \"$(zfs list -Hrt snapshot -o name zta/t)\"");
    sh("zfs set quota=100M zta/t/web");
    ok(zb_zfs_snapshot(all, 3, newest, &err));
    assert_string_equal(newest[1], "");
    ok(zb_os_umount("zta/t/web/a", "/zt/a", &err));
    ok(zb_os_umount("zta/t/web/b", "/zt/b", &err));
}

/* One txg has room for one snapshot of a dataset: tried again, in the end refused as a whole. */
static void
snapshot_tries_again_in_another_txg(void **state)
{
    (void)state;
    struct zb_err err;
    const char *const twice[] = {"zta/t/web/a@s", "zta/t/web@s", "zta/t/web@again"};
    make_copy("zta/t/web");
    make_copy("zta/t/web/a");
    uint64_t before = open_txg("zta");
    fails(ZB_E_BUSY, zb_zfs_snapshot(twice, 3, NULL, &err));
    assert_int_equal(err.sys_errno, EAGAIN);
    assert_contains(err.msg, "zta/t/web@again");
    assert_true(open_txg("zta") >= before + 10);
    sh("test -z \"$(zfs list -Hrt snapshot -o name zta/t)\"");
    ok(zb_zfs_snapshot(twice, 2, NULL, &err));
}

/* The snapshots below the new one, by name as the program said and as the list has them. */
static bool
is_above_foreign(const char *set, const char *newest)
{
    struct zb_err err;
    struct zb_zfs_snaps list = {0};
    const char *below = "";
    ok(zb_zfs_snaps_list("zta/t/web", &list, &err));
    for (size_t i = 0; i + 1 < list.count; i++) {
        if (strcmp(list.snaps[i + 1].name, set) == 0) {
            below = list.snaps[i].name;
        }
    }
    assert_string_equal(newest, below);
    bool foreign = strncmp(below, "by-hand", strlen("by-hand")) == 0;
    zb_zfs_snaps_close(&list);
    return foreign;
}

static void
snapshot_beside_another_tool(void **state)
{
    (void)state;
    struct zb_err err;
    struct child tool;
    int foreign = 0;
    make_copy("zta/t/web");
    child_start(&tool,
                "echo; i=0; while :; do i=$((i + 1)); zfs snapshot zta/t/web@by-hand$i; done");
    for (int i = 0; i < 300 && foreign < 10; i++) {
        char name[64];
        char newest[1][ZB_DATASET_NAME_SIZE];
        const char *snap = name;
        snprintf(name, sizeof name, "zta/t/web@s%d", i);
        ok(zb_zfs_snapshot(&snap, 1, newest, &err));
        foreign += is_above_foreign(strchr(name, '@') + 1, newest[0]) ? 1 : 0;
    }
    child_end(&tool);
    assert_int_equal(foreign, 10);
}

static void
destroy_is_all_or_nothing(void **state)
{
    (void)state;
    struct zb_err err;
    int errnos[3] = {-1, -1, -1};
    const char *const names[] = {"zta/t/web@a", "zta/t/web@b", "zta/t/web@c"};
    make_copy("zta/t/web");
    sh("zfs snapshot zta/t/web@a && zfs snapshot zta/t/web@b && zfs snapshot zta/t/web@c"
       " && zfs hold keep zta/t/web@b && zfs clone zta/t/web@c zta/t/clone");
    fails(ZB_E_HELD, zb_zfs_snaps_destroy(names, 3, errnos, &err));
    assert_int_equal(errnos[0], 0);
    assert_int_equal(errnos[1], EBUSY);
    assert_int_equal(errnos[2], EEXIST);
    assert_true(exists("zta/t/web@a"));
    sh("zfs release keep zta/t/web@b && zfs destroy zta/t/clone && zfs destroy zta/t/web@a");
    ok(zb_zfs_snaps_destroy(names, 3, errnos, &err));
    assert_int_equal(errnos[1], 0);
    assert_false(exists("zta/t/web@b"));
    assert_false(exists("zta/t/web@c"));
}

static void
holds(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_names tags = {0};
    const char *const both[] = {"zta/t/web@a", "zta/t/web@b"};
    const char *const gone[] = {"zta/t/web@a", "zta/t/web@gone"};
    make_copy("zta/t/web");
    snapshot("zta/t/web@a");
    snapshot("zta/t/web@b");
    ok(zb_zfs_hold(both, 1, "zbaton:base", &err));
    ok(zb_zfs_hold(both, 2, "zbaton:base", &err));
    ok(zb_zfs_hold(both, 2, "zbaton:base", &err));
    fails(ZB_E_HELD, zb_zfs_snaps_destroy(both, 2, NULL, &err));
    ok(zb_zfs_holds_list("zta/t/web@b", &tags, &err));
    assert_int_equal(tags.count, 1);
    assert_string_equal(tags.names[0], "zbaton:base");
    zb_zfs_names_close(&tags);
    fails(ZB_E_NOTFOUND, zb_zfs_hold(gone, 2, "other", &err));
    assert_contains(err.msg, "zta/t/web@gone");
    ok(zb_zfs_release(gone, 2, "other", &err));
    ok(zb_zfs_release(both, 2, "zbaton:base", &err));
    ok(zb_zfs_release(both, 2, "zbaton:base", &err));
    ok(zb_zfs_release(gone, 2, "zbaton:base", &err));
    ok(zb_zfs_snaps_destroy(both, 2, NULL, &err));
}

static void
bookmarks(void **state)
{
    (void)state;
    struct zb_err err;
    const char *const marks[] = {"zta/t/web#m", "zta/t/web#gone"};
    make_copy("zta/t/web");
    snapshot("zta/t/web@a");
    snapshot("zta/t/web@b");
    ok(zb_zfs_bookmark("zta/t/web@a", "zta/t/web#m", &err));
    ok(zb_zfs_bookmark("zta/t/web@a", "zta/t/web#m", &err));
    fails(ZB_E_EXISTS, zb_zfs_bookmark("zta/t/web@b", "zta/t/web#m", &err));
    fails(ZB_E_NOTFOUND, zb_zfs_bookmark("zta/t/web@no", "zta/t/web#n", &err));
    ok(zb_zfs_bookmarks_destroy(marks, 2, &err));
    ok(zb_zfs_bookmarks_destroy(marks, 2, &err));
    sh("! zfs list -t bookmark zta/t/web#m 2>/dev/null");
}

static bool
modified(const char *dataset)
{
    struct zb_err err;
    bool answer = false;
    ok(zb_zfs_modified(dataset, &answer, &err));
    return answer;
}

/* One change each, on a dataset of many objects: found, and gone with the next snapshot. */
static void
every_change_is_seen(void **state)
{
    (void)state;
    struct zb_err err;
    static const char *const changes[] = {
        "echo x >>/zt/web/d5/f7",
        "rm /zt/web/d9/f20",
        "rmdir /zt/web/empty",
        "chmod 600 /zt/web/d3/f3",
        "ln /zt/web/d1/f1 /zt/web/d2/link",
        "mv /zt/web/d1/f2 /zt/web/x",
        "setfattr -n user.a -v b /zt/web/d4/f4",
        "truncate -s 9M /zt/web/d6/f1",
        "touch -d 2001-01-01 /zt/web/d7",
    };
    make_mounted("zta/t/web", "/zt/web");
    sh("mkdir /zt/web/empty; for d in $(seq 10); do mkdir /zt/web/d$d;"
       " for f in $(seq 30); do echo $f >/zt/web/d$d/f$f; done; done");
    for (size_t i = 0; i < sizeof changes / sizeof changes[0]; i++) {
        char snap[64];
        snprintf(snap, sizeof snap, "zta/t/web@s%zu", i);
        snapshot(snap);
        ok(zb_os_umount("zta/t/web", "/zt/web", &err));
        assert_false(modified("zta/t/web"));
        ok(zb_os_mount("zta/t/web", "/zt/web", ZB_OS_MOUNT_RW, &err));
        sh("%s", changes[i]);
        fails(ZB_E_HELD, zb_zfs_modified("zta/t/web", &(bool){false}, &err));
        ok(zb_os_umount("zta/t/web", "/zt/web", &err));
        if (!modified("zta/t/web")) {
            fail_msg("not seen: %s", changes[i]);
        }
        ok(zb_os_mount("zta/t/web", "/zt/web", ZB_OS_MOUNT_RW, &err));
    }
    write_random("/zt/web/more than a pipe holds", 4u << 20);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    assert_true(modified("zta/t/web"));
    fails(ZB_E_NOTFOUND, zb_zfs_modified("zta/t/missing", &(bool){false}, &err));
}

/* What `written` cannot tell: rolled back to a snapshot that was taken while the log was in use. */
static void
rolled_back_is_not_modified(void **state)
{
    (void)state;
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    write_file("/zt/web/a", "a");
    snapshot("zta/t/web@s");
    write_file("/zt/web/b", "b");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    sh("zfs rollback zta/t/web@s");
    assert_in_range(written_of("zta/t/web"), 0, 8192);
    assert_false(modified("zta/t/web"));
    ok(zb_os_replay("zta/t/web", &err));
    assert_false(modified("zta/t/web"));
}

static void
rename_takes_children_along(void **state)
{
    (void)state;
    struct zb_err err;
    make_copy("zta/t/web");
    make_copy("zta/t/web/a");
    make_copy("zta/t/.rescue");
    make_copy("zta/t/taken");
    snapshot("zta/t/web/a@s");
    uint64_t guid = guid_of("zta/t/web/a@s");
    ok(zb_zfs_rename("zta/t/web", "zta/t/.rescue/web-3", &err));
    assert_int_equal(guid_of("zta/t/.rescue/web-3/a@s"), guid);
    assert_false(exists("zta/t/web"));
    fails(ZB_E_EXISTS, zb_zfs_rename("zta/t/.rescue/web-3", "zta/t/taken", &err));
    fails(ZB_E_NOTFOUND, zb_zfs_rename("zta/t/web", "zta/t/x", &err));
}

TESTS(snap, TEST(snapshot_is_all_or_nothing), TEST(snapshots_one_after_the_other),
      TEST(snapshot_tells_what_was_the_newest), TEST(snapshot_refused_in_the_middle_leaves_nothing),
      TEST(snapshot_tries_again_in_another_txg), TEST(snapshot_beside_another_tool),
      TEST(destroy_is_all_or_nothing), TEST(holds), TEST(bookmarks),
      TEST(rename_takes_children_along), TEST(every_change_is_seen),
      TEST(rolled_back_is_not_modified));
