/*
 * Not only tests: what a replication cycle costs. Lines "measured: ..." on stderr go into the
 * report.
 */
#include "zfs_test.h"

#include <unistd.h>

#define ROUNDS 10

struct cost {
    int64_t us;
    uint64_t a_txgs;
    uint64_t b_txgs;
};

static struct cost
start(void)
{
    return (struct cost){now_us(), open_txg("zta"), open_txg("ztb")};
}

static struct cost
since(struct cost before, int rounds, const char *what)
{
    struct cost c = {now_us() - before.us, open_txg("zta") - before.a_txgs,
                     open_txg("ztb") - before.b_txgs};
    print_message("measured: %s: %.1f ms, txgs %.1f on the leader, %.1f on the follower\n", what,
                  (double)c.us / 1000 / rounds, (double)c.a_txgs / rounds,
                  (double)c.b_txgs / rounds);
    return c;
}

static void
cycle_of_a_small_change(void **state)
{
    (void)state;
    struct zb_err err;
    char from[64] = "zta/t/web@s";
    char snap[64];
    char target[64];
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/f", 8192);
    snapshot("zta/t/web@s");
    ok(transfer("zta/t/web@s", NULL, &(struct zb_zfs_receive){.snap = "ztb/t/web@s"}, &err));
    struct cost before = start();
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(snap, sizeof snap, "zta/t/web@s%d", i);
        snprintf(target, sizeof target, "ztb/t/web@s%d", i);
        write_random("/zt/web/f", 8192);
        snapshot(snap);
        ok(transfer(snap, from, &(struct zb_zfs_receive){.snap = target}, &err));
        zb_strcopy(from, sizeof from, snap);
    }
    struct cost c = since(before, ROUNDS, "snapshot, send and receive of 8 KiB");
    assert_int_equal(guid_of(target), guid_of(snap));
    /* 1 and 2 each, and what the timer of a pool adds in the time it took. */
    assert_in_range(c.a_txgs, ROUNDS, ROUNDS + 2 + (uint64_t)c.us / 1000000);
    assert_in_range(c.b_txgs, 2 * ROUNDS, 2 * ROUNDS + 2 + (uint64_t)c.us / 1000000);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
cost_of_looking(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_tree tree = {0};
    struct zb_zfs_held held;
    const char *name = "zta/t/web";
    make_copy("zta/t/web");
    snapshot("zta/t/web@s");
    struct cost before = start();
    for (int i = 0; i < ROUNDS; i++) {
        ok(zb_zfs_tree_observe(name, &tree, &err));
        zb_zfs_tree_close(&tree);
    }
    struct cost c = since(before, ROUNDS, "observe one dataset");
    assert_in_range(c.a_txgs, 0, 1 + (uint64_t)c.us / 1000000);
    before = start();
    for (int i = 0; i < ROUNDS; i++) {
        ok(zb_zfs_held(&name, 1, &held, &err));
    }
    c = since(before, ROUNDS, "prove that one dataset is free");
    assert_in_range(c.a_txgs, ROUNDS, ROUNDS + 2 + (uint64_t)c.us / 1000000);
    before = start();
    for (int i = 0; i < ROUNDS; i++) {
        ok(zb_os_replay(name, &err));
    }
    since(before, ROUNDS, "replay of an empty intent log");
    before = start();
    for (int i = 0; i < ROUNDS; i++) {
        ok(zb_os_mount(name, "/zt/web", ZB_OS_MOUNT_RW, &err));
        ok(zb_os_umount(name, "/zt/web", &err));
    }
    since(before, ROUNDS, "mount and unmount");
}

static void
observe_a_hundred_datasets(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_tree tree = {0};
    struct zb_zfs_snaps snaps = {0};
    make_copy("zta/t/web");
    for (int i = 0; i < 99; i++) {
        char name[64];
        snprintf(name, sizeof name, "zta/t/web/d%d", i);
        ok(zb_zfs_create(name, NULL, 0, &err));
    }
    sh("for i in 1 2 3; do zfs snapshot -r zta/t/web@s$i; done");
    struct cost before = start();
    ok(zb_zfs_tree_observe("zta/t/web", &tree, &err));
    since(before, 1, "observe 100 datasets");
    assert_int_equal(tree.count, 100);
    zb_zfs_tree_close(&tree);
    before = start();
    ok(zb_zfs_snaps_list("zta/t/web", &snaps, &err));
    since(before, 1, "list 3 snapshots of an unmounted dataset");
    assert_int_equal(snaps.count, 3);
    zb_zfs_snaps_close(&snaps);
}

TESTS(measure, TEST(cycle_of_a_small_change), TEST(cost_of_looking),
      TEST(observe_a_hundred_datasets));
