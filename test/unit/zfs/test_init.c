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

#define OPEN "13 43489345310 O 0 0 0 0 0 0 0 0 0\n"
#define IDLE_12 "12 38369381152 C 0 0 0 0 0 5119964158 33601 60738 466614\n"
#define IDLE_11 "11 33249351703 C 0 0 0 0 0 5120029449 45603 68750 988556\n"
#define SET_11 "11 33249351703 C 0 0 262144 0 46 1751927731 18903 38848 38237268\n"
#define FILE_11 "11 33249351703 C 20480 0 98304 0 24 5120029449 45603 68750 988556\n"
#define SYNCING_12 "12 38369381152 S 0 0 0 0 0 5119964158 33601 60738 0\n"
#define BASE_10 "10 28128837141 C 4096 0 8192 0 9 5120514562 35923 62265 986165\n"

static struct zb_zfs_quiet
read_all(const char *lines, struct zb_zfs_txg since)
{
    struct zb_zfs_quiet q = {.since = since};
    char line[256];
    for (size_t n; *lines != '\0'; lines += n) {
        n = strcspn(lines, "\n") + 1;
        memcpy(line, lines, n);
        line[n] = '\0';
        zb_zfs_quiet_line(&q, line);
    }
    return q;
}

/* Quiet after the last look, as far as the groups since then are known. */
static void
groups_that_wrote_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *lines;
        bool quiet;
        uint64_t last;
    } of[] = {
        {BASE_10, true, 10}, /* what the look saw itself does not count */
        {BASE_10 OPEN, true, 10},
        {BASE_10 IDLE_11 OPEN, true, 10}, /* what it wrote may not be counted yet */
        {BASE_10 IDLE_11 IDLE_12 OPEN, true, 11},
        {BASE_10 SET_11 IDLE_12 OPEN, false, 11}, /* a snapshot, a property */
        {BASE_10 FILE_11 OPEN, false, 11},
        {BASE_10 IDLE_11 SYNCING_12 OPEN, false, 11},
        {IDLE_11 IDLE_12 OPEN, false, 11}, /* the history does not go back so far */
        {"10 99 C 0 0 0 0 0 1 1 1 1\n" IDLE_11 OPEN, false, 10}, /* the pool was imported anew */
        {OPEN, false, 0},
        {"16 1 0x01 13 3536 7686484691 45535563360\ntxg birth state ndirty\n", false, 0},
        {"", false, 0},
    };
    const struct zb_zfs_txg since = {10, UINT64_C(28128837141)};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        struct zb_zfs_quiet q = read_all(of[i].lines, since);
        assert_int_equal(q.found && !q.written, of[i].quiet);
        assert_int_equal(q.last.txg, of[i].last);
    }
    struct zb_zfs_txg last = since;
    assert_false(zb_zfs_is_quiet("no-such-pool", &last));
    assert_int_equal(last.txg, 0);
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
        cmocka_unit_test(groups_that_wrote_nothing),
        cmocka_unit_test(zero_states_close),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
