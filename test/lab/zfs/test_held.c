#include "zfs_test.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

static enum zb_zfs_hold_state
state_of(const char *dataset)
{
    struct zb_err err;
    struct zb_zfs_held held;
    ok(zb_zfs_held(&dataset, 1, &held, &err));
    return held.state;
}

static void
a_tree_in_one_program(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_held held[3];
    const char *const tree[] = {"zta/t/web", "zta/t/web/a", "zta/t/web/b"};
    const char *const missing[] = {"zta/t/web", "zta/t/missing"};
    make_copy("zta/t/web");
    make_mounted("zta/t/web/a", "/zt/a");
    make_copy("zta/t/web/b");
    sh("zfs snapshot -r zta/t/web@s");
    ok(zb_zfs_held(tree, 3, held, &err));
    assert_int_equal(held[0].state, ZB_ZFS_FREE);
    assert_int_equal(held[1].state, ZB_ZFS_HELD);
    assert_int_equal(held[1].sys_errno, EBUSY);
    assert_int_equal(held[2].state, ZB_ZFS_FREE);
    ok(zb_os_umount("zta/t/web/a", "/zt/a", &err));
    ok(zb_zfs_held(tree, 3, held, &err));
    assert_int_equal(held[1].state, ZB_ZFS_FREE);
    fails(ZB_E_NOTFOUND, zb_zfs_held(missing, 2, held, &err));
    assert_contains(err.msg, "zta/t/missing");
}

static void
nothing_is_changed_by_asking(void **state)
{
    (void)state;
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    snapshot("zta/t/web@s");
    write_file("/zt/web/f", "later");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    uint64_t written = written_of("zta/t/web");
    assert_true(written > 0);
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
    assert_int_equal(written_of("zta/t/web"), written);
    ok(zb_os_mount("zta/t/web", "/zt/web", 0, &err));
    sh("test \"$(cat /zt/web/f)\" = later");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
held_by_another_mount_namespace(void **state)
{
    (void)state;
    struct zb_err err;
    struct child c;
    make_mounted("zta/t/web", "/zt/web");
    snapshot("zta/t/web@s");
    child_start(&c, "exec unshare -m --propagation private sh -c 'echo; exec sleep 600'");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_HELD);
    child_end(&c);
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
}

static void
held_by_a_lazy_unmount(void **state)
{
    (void)state;
    make_mounted("zta/t/web", "/zt/web");
    snapshot("zta/t/web@s");
    int fd = open("/zt/web/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    sh("umount -l /zt/web");
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_HELD);
    assert_int_equal(write(fd, "x", 1), 1); /* it really still writes */
    close(fd);
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
}

static void
proven_without_a_snapshot_too(void **state)
{
    (void)state;
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    make_copy("zta/t/web/child");
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_HELD);
    assert_int_equal(state_of("zta/t/web/child"), ZB_ZFS_FREE);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
    assert_true(exists("zta/t/web/child"));
}

static void
unproven_under_a_newer_bookmark(void **state)
{
    (void)state;
    struct zb_err err;
    make_copy("zta/t/web");
    snapshot("zta/t/web@a");
    snapshot("zta/t/web@b");
    ok(zb_zfs_bookmark("zta/t/web@b", "zta/t/web#m", &err));
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
    ok(zb_zfs_snaps_destroy((const char *const[]){"zta/t/web@b"}, 1, NULL, &err));
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_UNPROVEN);
    snapshot("zta/t/web@c");
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
}

/* The checks behind the holds (EDQUOT) must not read as a holder, nor hide one. */
static void
a_quota_below_the_snapshot_does_not_confuse(void **state)
{
    (void)state;
    struct zb_err err;
    const struct zb_zfs_setprop refquota = {.name = "refquota", .number = 2u << 20};
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/f", 4u << 20);
    ok(zb_os_syncfs("zta/t/web", "/zt/web", &err));
    snapshot("zta/t/web@s");
    sh("rm /zt/web/f");
    ok(zb_zfs_pool_sync("zta", &err));
    ok(zb_zfs_props_set("zta/t/web", &refquota, 1, &err));
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_HELD);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    assert_int_equal(state_of("zta/t/web"), ZB_ZFS_FREE);
}

static void
an_open_zvol_is_held(void **state)
{
    (void)state;
    sh("zfs create -s -V 8M zta/t/vol && zfs snapshot zta/t/vol@s && udevadm settle");
    assert_int_equal(state_of("zta/t/vol"), ZB_ZFS_FREE);
    int fd = open("/dev/zvol/zta/t/vol", O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(state_of("zta/t/vol"), ZB_ZFS_HELD);
    close(fd);
}

TESTS(held, TEST(a_tree_in_one_program), TEST(nothing_is_changed_by_asking),
      TEST(held_by_another_mount_namespace), TEST(held_by_a_lazy_unmount),
      TEST(proven_without_a_snapshot_too), TEST(unproven_under_a_newer_bookmark),
      TEST(a_quota_below_the_snapshot_does_not_confuse), TEST(an_open_zvol_is_held));
