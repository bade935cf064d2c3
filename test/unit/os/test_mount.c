#include "unit.h"

#include <sys/sysmacros.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/mount.h"

static const char text[] =
    "22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n"
    "30 22 0:28 / /srv/web rw,noatime shared:9 master:2 - zfs tank/web rw,xattr,noacl\n"
    "31 30 0:29 / /srv/web/log\\040dir ro - zfs tank/web/log rw,xattr\n"
    "32 22 0:30 / /srv/website rw - zfs tank/website rw\n"
    "33 22 0:28 /sub\\134dir /mnt/bind rw - zfs tank/web rw\n"
    "34 30 0:31 / /srv/web/.zfs/snapshot/s ro - zfs tank/web@s ro\n"
    "35 22 0:32 / /mnt/t rw - tmpfs  rw\n"
    "36 22 0:33 / /mnt/fake rw - tmpfs tank/web rw\n";

static void
mounts_of_one_tree(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_os_mounts m = {0};
    assert_int_equal(zb_os_mounts_parse(text, "tank/web", &m, &err), ZB_OK);
    assert_int_equal(m.count, 4);
    assert_int_equal(m.entries[0].id, 30);
    assert_int_equal(m.entries[0].parent_id, 22);
    assert_true(m.entries[0].dev == makedev(0, 28));
    assert_false(m.entries[0].readonly);
    assert_false(m.entries[0].subtree);
    assert_string_equal(m.entries[1].dir, "/srv/web/log dir");
    assert_true(m.entries[1].readonly);
    assert_true(m.entries[2].subtree);
    assert_string_equal(m.entries[3].dataset, "tank/web@s");
    assert_true(m.entries[3].readonly);
    assert_ptr_equal(zb_os_mounts_find(&m, "tank/web"), &m.entries[0]);
    assert_null(zb_os_mounts_find(&m, "tank"));
    zb_os_mounts_close(&m);
    assert_int_equal(m.count, 0);
}

static void
lines_that_are_none(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "x\n",
        "22 1 254:0 / / rw,relatime shared:1\n",
        "22 1 254:0 / / rw - zfs\n",
        "22 1 2540 / / rw - zfs a rw\n",
    };
    struct zb_err err;
    struct zb_os_mounts m = {.count = 9};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_os_mounts_parse(bad[i], "tank", &m, &err), ZB_E_FORMAT);
        assert_int_equal(m.count, 9);
    }
    assert_int_equal(zb_os_mounts_parse("", "tank", &m, &err), ZB_OK);
    assert_int_equal(m.count, 0);
}

static void
names_that_do_not_fit(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_os_mounts m = {0};
    char line[3000];
    char dir[1100];
    memset(dir, 'd', sizeof dir);
    dir[sizeof dir - 1] = '\0';
    snprintf(line, sizeof line, "30 22 0:28 / /%s rw - zfs tank/web rw\n", dir);
    assert_int_equal(zb_os_mounts_parse(line, "tank/web", &m, &err), ZB_E_LIMIT);
    assert_int_equal(zb_os_mounts_parse(line, "other", &m, &err), ZB_OK);
}

static void
directories_to_mount_at(void **state)
{
    (void)state;
    struct zb_err err;
    char base[] = "/tmp/zb-mount-XXXXXX";
    char dir[64];
    char file[80];
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/child", base);
    snprintf(file, sizeof file, "%s/file", dir);
    assert_int_equal(zb_os_mount_dir_free(dir, &err), ZB_OK);
    assert_int_equal(access(dir, F_OK), -1);
    assert_int_equal(mkdir(dir, 0755), 0);
    assert_int_equal(zb_os_mount_dir_free(dir, &err), ZB_OK);
    assert_int_equal(mkdir(file, 0755), 0);
    assert_int_equal(zb_os_mount_dir_free(dir, &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.msg, "it contains file"));
    assert_int_equal(zb_os_mount_dir_free("/proc", &err), ZB_E_REFUSED);
    assert_int_equal(rmdir(file), 0);
    assert_int_equal(rmdir(dir), 0);
    assert_int_equal(rmdir(base), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mounts_of_one_tree),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(names_that_do_not_fit),
        cmocka_unit_test(directories_to_mount_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
