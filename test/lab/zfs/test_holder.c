#include "zfs_test.h"

#include <unistd.h>

static struct zb_os_holders holders;
static char text[4096];

static void
find(const char *dataset, dev_t dev)
{
    struct zb_err err;
    struct zb_os_holder_target target = {dataset, dev};
    ok(zb_os_holders_find(&target, 1, &holders, &err));
    zb_os_holders_format(&holders, text, sizeof text);
}

static const struct zb_os_holder *
holder_of(enum zb_os_holder_kind kind, int pid)
{
    for (size_t i = 0; i < holders.count; i++) {
        if (holders.list[i].kind == kind && (pid == 0 || holders.list[i].pid == pid)) {
            return &holders.list[i];
        }
    }
    fail_msg("no holder of kind %d of pid %d in: %s", (int)kind, pid, text);
    return NULL;
}

static dev_t
dev_of(const char *dataset)
{
    struct zb_err err;
    struct zb_os_mounts m = {0};
    ok(zb_os_mounts_read(dataset, &m, &err));
    dev_t dev = m.entries[0].dev;
    zb_os_mounts_close(&m);
    return dev;
}

static void
files_and_directories(void **state)
{
    (void)state;
    struct zb_err err;
    struct child c;
    make_mounted("zta/t/web", "/zt/web");
    make_mounted("zta/t/other", "/zt/other");
    find("zta/t/web", 0);
    assert_int_equal(holders.count, 1);
    assert_int_equal(holders.list[0].kind, ZB_OS_HOLDER_MOUNT);
    child_start(&c, "cd /zt/web && exec 7>/zt/web/log 8>/zt/other/not && echo && exec sleep 600");
    find("zta/t/web", 0);
    const struct zb_os_holder *h = holder_of(ZB_OS_HOLDER_FD, c.pid);
    assert_int_equal(h->fd, 7);
    assert_string_equal(h->path, "/zt/web/log");
    assert_string_equal(h->dataset, "zta/t/web");
    assert_false(h->detached);
    assert_string_equal(holder_of(ZB_OS_HOLDER_CWD, c.pid)->path, "/zt/web");
    assert_int_equal(holders.count, 3);
    assert_contains(text, ") has /zt/web/log open");
    assert_contains(text, ") works in /zt/web");
    child_end(&c);
    find("zta/t/web", 0);
    assert_int_equal(holders.count, 1);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    ok(zb_os_umount("zta/t/other", "/zt/other", &err));
    find("zta/t/web", 0);
    assert_int_equal(holders.count, 0);
    assert_string_equal(text, "");
}

static void
programs_and_mappings(void **state)
{
    (void)state;
    struct zb_err err;
    struct child c;
    make_mounted("zta/t/web", "/zt/web");
    sh("cp /bin/sleep /zt/web/program && head -c 8192 /dev/zero >/zt/web/data");
    child_start(&c, "cd /; /zt/web/program 600 & exec python3 -c \"\n"
                    "import mmap, time\n"
                    "f = open('/zt/web/data', 'r+b')\n"
                    "m = mmap.mmap(f.fileno(), 8192)\n"
                    "f.close()\n"
                    "print(flush=True)\n"
                    "time.sleep(600)\n\"");
    find("zta/t/web", 0);
    assert_string_equal(holder_of(ZB_OS_HOLDER_EXE, 0)->path, "/zt/web/program");
    assert_string_equal(holder_of(ZB_OS_HOLDER_MAP, c.pid)->path, "/zt/web/data");
    assert_contains(text, "(program) runs /zt/web/program");
    assert_contains(text, ") has /zt/web/data mapped");
    child_end(&c);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
mounts_in_another_namespace(void **state)
{
    (void)state;
    struct zb_err err;
    struct child c;
    make_mounted("zta/t/web", "/zt/web");
    child_start(&c, "exec unshare -m --propagation private sh -c 'echo; exec sleep 600'");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
    find("zta/t/web", 0);
    const struct zb_os_holder *h = holder_of(ZB_OS_HOLDER_NAMESPACE, c.pid);
    assert_string_equal(h->path, "/zt/web");
    assert_int_equal(h->mnt_ns, sh_number("stat -Lc %%i /proc/%d/ns/mnt", c.pid));
    assert_contains(text, "in another mount namespace");
    child_end(&c);
}

static void
files_after_a_lazy_unmount(void **state)
{
    (void)state;
    struct child c;
    make_mounted("zta/t/web", "/zt/web");
    dev_t dev = dev_of("zta/t/web");
    child_start(&c, "exec 7>/zt/web/log && echo && exec sleep 600");
    sh("umount -l /zt/web");
    find("zta/t/web", dev);
    const struct zb_os_holder *h = holder_of(ZB_OS_HOLDER_FD, c.pid);
    assert_true(h->detached);
    assert_string_equal(h->dataset, "zta/t/web");
    /* Without the device it is still named, as something unmounted. */
    find("zta/t/web", 0);
    h = holder_of(ZB_OS_HOLDER_FD, c.pid);
    assert_true(h->detached);
    assert_string_equal(h->dataset, "");
    assert_contains(text, "unmounted file system");
    child_end(&c);
}

static void
nested_mounts_and_loop_devices(void **state)
{
    (void)state;
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    sh("modprobe loop && udevadm settle && mkdir /zt/web/sub && mount -t tmpfs none /zt/web/sub && "
       "truncate -s 1M /zt/web/disk"
       " && losetup -f /zt/web/disk");
    find("zta/t/web", 0);
    assert_string_equal(holder_of(ZB_OS_HOLDER_NESTED, 0)->path, "/zt/web/sub");
    assert_contains(holder_of(ZB_OS_HOLDER_LOOP, 0)->path, "/dev/loop");
    assert_contains(text, "uses a file in zta/t/web");
    /* While udev still looks at the device, the kernel lets the file go only after that. */
    sh("umount /zt/web/sub && udevadm settle && losetup -d $(losetup -nO NAME -j /zt/web/disk) &&"
       " timeout 30 sh -c 'while losetup -nO NAME -j /zt/web/disk | grep -q .; do sleep 0.1; "
       "done'");
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
more_than_can_be_listed(void **state)
{
    (void)state;
    struct zb_err err;
    struct child c;
    char small[120];
    make_mounted("zta/t/web", "/zt/web");
    child_start(&c, "for i in $(seq 10 60); do eval \"exec $i>/zt/web/f$i\"; done; echo;"
                    " exec sleep 600");
    find("zta/t/web", 0);
    assert_int_equal(holders.count, ZB_OS_HOLDERS_MAX);
    assert_int_equal(holders.count + holders.more_count, 1 + 51);
    assert_contains(text, "; and ");
    zb_os_holders_format(&holders, small, sizeof small);
    assert_contains(small, " more");
    child_end(&c);
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

TESTS(holder, TEST(files_and_directories), TEST(programs_and_mappings),
      TEST(mounts_in_another_namespace), TEST(files_after_a_lazy_unmount),
      TEST(nested_mounts_and_loop_devices), TEST(more_than_can_be_listed));
