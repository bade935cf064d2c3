#include "unit.h"

#include <errno.h>
#include <unistd.h>

#include "zfs/zfs.h"

static void
versions(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_version v;
    assert_int_equal(zb_zfs_version_parse("2.3.2-2~bpo12+2", &v, &err), ZB_OK);
    assert_int_equal(v.major, 2);
    assert_int_equal(v.minor, 3);
    assert_int_equal(v.patch, 2);
    assert_string_equal(v.text, "2.3.2-2~bpo12+2");
    assert_true(v.rw_mount_ok);
    assert_int_equal(zb_zfs_version_parse("2.2.0-rc1", &v, &err), ZB_OK);
    assert_int_equal(zb_zfs_version_parse("3.0.0", &v, &err), ZB_OK);
    assert_int_equal(zb_zfs_version_parse("2.3.7-1", &v, &err), ZB_OK);
    assert_false(v.rw_mount_ok);
    assert_int_equal(zb_zfs_version_parse("2.4.2", &v, &err), ZB_OK);
    assert_false(v.rw_mount_ok);
    assert_int_equal(zb_zfs_version_parse("2.4.3", &v, &err), ZB_OK);
    assert_true(v.rw_mount_ok);
    assert_int_equal(zb_zfs_version_parse("2.1.11-1", &v, &err), ZB_E_UNSUPPORTED);
    assert_string_equal(v.text, "2.1.11-1");
    assert_int_equal(zb_zfs_version_parse("unknown", &v, &err), ZB_E_FORMAT);
}

static void
without_the_module(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_version v;
    if (access("/dev/zfs", F_OK) == 0) {
        skip();
    }
    assert_int_equal(zb_zfs_init(&v, &err), ZB_E_UNSUPPORTED);
    assert_string_equal(err.msg, "the zfs module is not loaded");
    assert_int_equal(zb_zfs_pool_state("rpool"), ZB_ZFS_POOL_ABSENT);
}

/* Names are looked at before anything is asked of the kernel. */
static void
names(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p;
    char text[400];
    static const char *const bad[] = {"",      "/a",    "a/",      "a@",     "a@b@c",
                                      "a@b/c", "a#b@c", "a/%recv", "a\nb@c", "@a"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_zfs_props_get(bad[i], &p, &err), ZB_E_USAGE);
    }
    memset(text, 'a', sizeof text);
    text[256] = '\0';
    assert_int_equal(zb_zfs_props_get(text, &p, &err), ZB_E_USAGE);
    const char *const mixed[] = {"a@s", "b@s"};
    assert_int_equal(zb_zfs_snapshot(mixed, 2, NULL, &err), ZB_E_USAGE);
    assert_int_equal(zb_zfs_snapshot(mixed, 0, NULL, &err), ZB_E_USAGE);
    assert_int_equal(zb_zfs_bookmark("a@s", "a@m", &err), ZB_E_USAGE);
}

/* Lines as ZFS 2.3.2 has them. */
static void
group_on_its_way(void **state)
{
    (void)state;
    const int64_t now_ns = INT64_C(2000000000000);
    static const char syncing[] =
        "1204     1900000000000    S     20480        0            0            0        0        "
        "5000000000   1000000000   500000000    0           \n";
    static const char done[] =
        "1203     1890000000000    C     20480        0            98304        0        24       "
        "5000000000   1000000000   500000000    900000000   \n";
    static const char open[] =
        "1205     1905000000000    O     0            0            0            0        0        "
        "0            0            0            0           \n";
    assert_int_equal(zb_zfs_txg_sync_ms(syncing, now_ns), 93500);
    assert_int_equal(zb_zfs_txg_sync_ms(done, now_ns), 0);
    assert_int_equal(zb_zfs_txg_sync_ms(open, now_ns), 0);
    assert_int_equal(zb_zfs_txg_sync_ms("76 0 0x01 100 11200 1234 5678\n", now_ns), 0);
    assert_int_equal(zb_zfs_txg_sync_ms("txg      birth            state ndirty\n", now_ns), 0);
    assert_int_equal(zb_zfs_txg_sync_ms("", now_ns), 0);
}

static void
zero_states_close(void **state)
{
    (void)state;
    zb_zfs_props_close(&(struct zb_zfs_props){0});
    zb_zfs_tree_close(&(struct zb_zfs_tree){0});
    zb_zfs_names_close(&(struct zb_zfs_names){0});
    zb_zfs_snaps_close(&(struct zb_zfs_snaps){0});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions),
        cmocka_unit_test(without_the_module),
        cmocka_unit_test(names),
        cmocka_unit_test(group_on_its_way),
        cmocka_unit_test(zero_states_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
