#include "zfs_test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static void
read_write_over_the_property(void **state)
{
    (void)state;
    struct zb_err err;
    bool readonly = true;
    make_copy("zta/t/web");
    ok(zb_os_mount("zta/t/web", "/zt/new/deep/web", ZB_OS_MOUNT_RW, &err));
    ok(zb_os_mount_check("zta/t/web", "/zt/new/deep/web", &readonly, &err));
    assert_false(readonly);
    ok(zb_os_write_probe("zta/t/web", "/zt/new/deep/web", &err));
    sh("test -z \"$(ls -A /zt/new/deep/web)\"");
    fails(ZB_E_EXISTS, zb_os_mount("zta/t/web", "/zt/elsewhere", ZB_OS_MOUNT_RW, &err));
    ok(zb_os_umount("zta/t/web", "/zt/new/deep/web", &err));
    fails(ZB_E_NOTFOUND, zb_os_umount("zta/t/web", "/zt/new/deep/web", &err));
    fails(ZB_E_MISMATCH, zb_os_mount_check("zta/t/web", "/zt/new/deep/web", &readonly, &err));
    fails(ZB_E_NOTFOUND, zb_os_mount("zta/t/missing", "/zt/x", 0, &err));
}

static void
read_only_with_flags(void **state)
{
    (void)state;
    struct zb_err err;
    bool readonly = false;
    make_copy("zta/t/web");
    ok(zb_os_mount("zta/t/web", "/zt/web",
                   ZB_OS_MOUNT_NOSUID | ZB_OS_MOUNT_NOEXEC | ZB_OS_MOUNT_NODEV, &err));
    ok(zb_os_mount_check("zta/t/web", "/zt/web", &readonly, &err));
    assert_true(readonly);
    const char *options = sh_out("awk '$5 == \"/zt/web\" {print $6}' /proc/self/mountinfo");
    assert_contains(options, "ro");
    assert_contains(options, "nosuid");
    assert_contains(options, "noexec");
    assert_contains(options, "nodev");
    fails(ZB_E_REFUSED, zb_os_write_probe("zta/t/web", "/zt/web", &err));
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
directories_that_are_refused(void **state)
{
    (void)state;
    struct zb_err err;
    make_copy("zta/t/web");
    sh("mkdir -p /zt/full /zt/real/sub && echo x >/zt/full/file && ln -s /zt/real /zt/link");
    fails(ZB_E_REFUSED, zb_os_mount("zta/t/web", "/zt/full", ZB_OS_MOUNT_RW, &err));
    assert_contains(err.msg, "file");
    fails(ZB_E_REFUSED, zb_os_mount("zta/t/web", "/zt/link", ZB_OS_MOUNT_RW, &err));
    assert_contains(err.msg, "symbolic link");
    fails(ZB_E_REFUSED, zb_os_mount("zta/t/web", "/zt/link/sub", ZB_OS_MOUNT_RW, &err));
    assert_contains(err.msg, "/zt/link");
    fails(ZB_E_REFUSED, zb_os_mount("zta/t/web", "/zt/full/file", ZB_OS_MOUNT_RW, &err));
    fails(ZB_E_REFUSED, zb_os_mount("zta/t/web", "/proc", ZB_OS_MOUNT_RW, &err));
    fails(ZB_E_USAGE, zb_os_mount("zta/t/web", "zt/relative", ZB_OS_MOUNT_RW, &err));
    fails(ZB_E_USAGE, zb_os_mount("zta/t/web", "/zt/../zt/x", ZB_OS_MOUNT_RW, &err));
    fails(ZB_E_USAGE, zb_os_mount("zta/t/web", "/zt/x/.", ZB_OS_MOUNT_RW, &err));
    fails(ZB_E_USAGE, zb_os_mount("zta/t/web", "/", ZB_OS_MOUNT_RW, &err));
    sh("! grep -q zta/t/web /proc/self/mountinfo");
}

static void
probe_never_writes_beside_the_mount(void **state)
{
    (void)state;
    struct zb_err err;
    make_copy("zta/t/web");
    make_mounted("zta/t/other", "/zt/other");
    sh("mkdir -p /zt/web /zt/other/sub");
    fails(ZB_E_MISMATCH, zb_os_write_probe("zta/t/web", "/zt/web", &err));
    fails(ZB_E_MISMATCH, zb_os_write_probe("zta/t/web", "/zt/other", &err));
    fails(ZB_E_MISMATCH, zb_os_write_probe("zta/t/other", "/zt/other/sub", &err));
    fails(ZB_E_MISMATCH, zb_os_syncfs("zta/t/web", "/zt/web", &err));
    sh("test -z \"$(ls -A /zt/web)\" && test \"$(ls -A /zt/other)\" = sub");
    ok(zb_os_umount("zta/t/other", "/zt/other", &err));
}

static void
another_mount_on_top_is_noticed(void **state)
{
    (void)state;
    struct zb_err err;
    bool readonly;
    make_mounted("zta/t/web", "/zt/web");
    sh("mount -t tmpfs none /zt/web");
    fails(ZB_E_MISMATCH, zb_os_mount_check("zta/t/web", "/zt/web", &readonly, &err));
    fails(ZB_E_NOTFOUND, zb_os_umount("zta/t/web", "/zt/web", &err));
    sh("umount /zt/web");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
unmount_is_neither_lazy_nor_forced(void **state)
{
    (void)state;
    struct zb_err err;
    bool readonly;
    make_mounted("zta/t/web", "/zt/web");
    int fd = open("/zt/web/file", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    fails(ZB_E_HELD, zb_os_umount("zta/t/web", "/zt/web", &err));
    assert_int_equal(err.sys_errno, EBUSY);
    ok(zb_os_mount_check("zta/t/web", "/zt/web", &readonly, &err));
    close(fd);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
mounts_of_a_tree(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_os_mounts m = {0};
    make_mounted("zta/t/web", "/zt/web site");
    make_mounted("zta/t/web/log", "/zt/web site/log");
    make_mounted("zta/t/website", "/zt/website");
    sh("mkdir /zt/bind '/zt/web site/d' && mount --bind '/zt/web site/d' /zt/bind");
    ok(zb_os_mounts_read("zta/t/web", &m, &err));
    assert_int_equal(m.count, 3);
    assert_string_equal(m.entries[0].dataset, "zta/t/web");
    assert_string_equal(m.entries[0].dir, "/zt/web site");
    assert_false(m.entries[0].readonly);
    assert_string_equal(m.entries[1].dataset, "zta/t/web/log");
    assert_int_equal(m.entries[1].parent_id, m.entries[0].id);
    assert_true(m.entries[2].subtree);
    assert_int_equal(m.entries[2].dev, m.entries[0].dev);
    assert_int_not_equal(m.entries[1].dev, m.entries[0].dev);
    assert_ptr_equal(zb_os_mounts_find(&m, "zta/t/web/log"), &m.entries[1]);
    assert_null(zb_os_mounts_find(&m, "zta/t/we"));
    zb_os_mounts_close(&m);
    sh("umount /zt/bind");
    ok(zb_os_umount("zta/t/web/log", "/zt/web site/log", &err));
    ok(zb_os_umount("zta/t/web", "/zt/web site", &err));
    ok(zb_os_mounts_read("zta/t/web", &m, &err));
    assert_int_equal(m.count, 0);
    ok(zb_os_umount("zta/t/website", "/zt/website", &err));
}

#define THREADS 6

struct mounter {
    pthread_t thread;
    char dataset[32];
    char dir[32];
    uint32_t wrong;
};

static bool
is_listed(const char *dataset)
{
    struct zb_err err;
    struct zb_os_mounts m = {0};
    if (zb_os_mounts_read(dataset, &m, &err) != ZB_OK) {
        return false;
    }
    bool listed = zb_os_mounts_find(&m, dataset) != NULL;
    zb_os_mounts_close(&m);
    return listed;
}

static void *
mount_often(void *arg)
{
    struct mounter *mine = arg;
    struct zb_err err;
    for (int i = 0; i < 30; i++) {
        bool mounted = zb_os_mount(mine->dataset, mine->dir, ZB_OS_MOUNT_RW, &err) == ZB_OK;
        mine->wrong += !mounted || !is_listed(mine->dataset);
        mounted = zb_os_umount(mine->dataset, mine->dir, &err) != ZB_OK;
        mine->wrong += mounted || is_listed(mine->dataset);
    }
    return NULL;
}

/* The table is read for all who ask at one time: each sees what it did just before. */
static void
mounts_of_many_at_once(void **state)
{
    (void)state;
    struct mounter all[THREADS] = {0};
    for (int i = 0; i < THREADS; i++) {
        snprintf(all[i].dataset, sizeof all[i].dataset, "zta/t/many%d", i);
        snprintf(all[i].dir, sizeof all[i].dir, "/zt/many%d", i);
        make_copy(all[i].dataset);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&all[i].thread, NULL, mount_often, &all[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(all[i].thread, NULL), 0);
        assert_int_equal(all[i].wrong, 0);
    }
}

/* A store into a shared mapping is in the snapshot after syncfs, which snapshot alone would miss.
 */
static void
syncfs_takes_mapped_pages_along(void **state)
{
    (void)state;
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/map", 4096);
    ok(zb_os_syncfs("zta/t/web", "/zt/web", &err));
    int fd = open("/zt/web/map", O_RDWR | O_CLOEXEC);
    char *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_ptr_not_equal(map, MAP_FAILED);
    memcpy(map, "mapped store", 12);
    ok(zb_os_syncfs("zta/t/web", "/zt/web", &err));
    snapshot("zta/t/web@s");
    sh("mkdir /zt/s && mount -t zfs -o ro zta/t/web@s /zt/s && head -c 12 /zt/s/map |"
       " grep -qx 'mapped store'; r=$?; umount /zt/s; exit $r");
    munmap(map, 4096);
    close(fd);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    assert_int_equal(written_of("zta/t/web"), 0);
}

/* As after a crash: fsync'ed data is only in the intent log (zpool freeze stops all txgs). */
static void
replay_of_the_intent_log(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_os_mounts m = {0};
    make_mounted("zta/t/web", "/zt/web");
    write_file("/zt/web/before", "before");
    snapshot("zta/t/web@s");
    ok(zb_zfs_pool_sync("zta", &err));
    sh("zpool freeze zta");
    write_file("/zt/web/acked", "fsync'ed before the crash");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    sh("zpool export zta && zpool import -N -d /var/tmp -o cachefile=none zta");
    /* The claimed log shows in `written`, the file does not exist yet for a receive or a rollback.
     */
    assert_int_equal(written_of("zta/t/web"), 8192); /* two copies of one block, ashift=12 */
    bool modified = true;
    ok(zb_zfs_modified("zta/t/web", &modified, &err));
    assert_false(modified);
    ok(zb_os_replay("zta/t/web", &err));
    ok(zb_os_mounts_read("zta/t/web", &m, &err));
    assert_int_equal(m.count, 0);
    ok(zb_zfs_pool_sync("zta", &err));
    assert_true(written_of("zta/t/web") > 8192);
    ok(zb_zfs_modified("zta/t/web", &modified, &err));
    assert_true(modified);
    const char *dataset = "zta/t/web";
    struct zb_zfs_held held;
    ok(zb_zfs_held(&dataset, 1, &held, &err));
    assert_int_equal(held.state, ZB_ZFS_FREE);
    /* In a snapshot taken now, without any other mount. */
    snapshot("zta/t/web@after");
    sh("mkdir /zt/s && mount -t zfs -o ro zta/t/web@after /zt/s && grep -q before /zt/s/acked;"
       " r=$?; umount /zt/s; exit $r");
    ok(zb_os_replay("zta/t/web", &err));
    assert_int_equal(written_of("zta/t/web"), 0);
}

static void
replay_refuses_what_is_mounted(void **state)
{
    (void)state;
    struct zb_err err;
    struct child c;
    make_mounted("zta/t/web", "/zt/web");
    fails(ZB_E_EXISTS, zb_os_replay("zta/t/web", &err));
    child_start(&c, "exec unshare -m --propagation private sh -c 'echo; exec sleep 600'");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    fails(ZB_E_HELD, zb_os_replay("zta/t/web", &err));
    child_end(&c);
    ok(zb_os_replay("zta/t/web", &err));
    fails(ZB_E_NOTFOUND, zb_os_replay("zta/t/missing", &err));
}

TESTS(mount, TEST(read_write_over_the_property), TEST(read_only_with_flags),
      TEST(directories_that_are_refused), TEST(probe_never_writes_beside_the_mount),
      TEST(another_mount_on_top_is_noticed), TEST(unmount_is_neither_lazy_nor_forced),
      TEST(mounts_of_a_tree), TEST(mounts_of_many_at_once), TEST(syncfs_takes_mapped_pages_along),
      TEST(replay_of_the_intent_log), TEST(replay_refuses_what_is_mounted));
