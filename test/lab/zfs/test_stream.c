#include "zfs_test.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "wire/record.h"

/* What a follower's dataset is made with (design.md, On disk). */
static const struct zb_zfs_setprop follower_props[] = {
    {.name = "readonly", .number = ZB_ZFS_ON},
    {.name = "canmount", .number = ZB_ZFS_CANMOUNT_NOAUTO},
    {.name = "mountpoint", .text = "none"},
    {.name = "setuid", .number = ZB_ZFS_OFF},
    {.name = "exec", .number = ZB_ZFS_OFF},
    {.name = "devices", .number = ZB_ZFS_OFF},
    {.name = "com.sun:auto-snapshot", .text = "false"},
    {.name = "zbaton:uuid", .text = "11111111-2222-4333-8444-555555555555"},
};

#define FOLLOWER(target)                                                                           \
    (struct zb_zfs_receive)                                                                        \
    {                                                                                              \
        .snap = (target), .props = follower_props,                                                 \
        .props_count = sizeof follower_props / sizeof follower_props[0]                            \
    }

/* zta/t/web mounted at /zt/web with a file and @s1, which ztb/t/web has received. */
static void
make_pair(void)
{
    struct zb_err err;
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/one", 256u << 10);
    snapshot("zta/t/web@s1");
    ok(transfer("zta/t/web@s1", NULL, &FOLLOWER("ztb/t/web@s1"), &err));
}

static void
leave_pair(void)
{
    struct zb_err err;
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
full_then_increments(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_props p = {0};
    struct zb_os_mounts mounts = {0};
    make_pair();
    assert_int_equal(guid_of("ztb/t/web@s1"), guid_of("zta/t/web@s1"));
    ok(zb_zfs_props_get("ztb/t/web", &p, &err));
    assert_true(p.readonly_on);
    assert_int_equal(p.readonly_source, ZB_ZFS_SOURCE_LOCAL);
    assert_int_equal(p.canmount, ZB_ZFS_CANMOUNT_NOAUTO);
    assert_string_equal(p.mountpoint, "none");
    assert_string_equal(zb_zfs_props_local(&p, "zbaton:uuid"), follower_props[7].text);
    assert_string_equal(zb_zfs_props_local(&p, "com.sun:auto-snapshot"), "false");
    zb_zfs_props_close(&p);
    assert_string_equal(sh_out("zfs get -H -o value,source exec ztb/t/web"), "off\tlocal");
    ok(zb_os_mounts_read("ztb/t/web", &mounts, &err));
    assert_int_equal(mounts.count, 0);
    zb_os_mounts_close(&mounts);

    write_file("/zt/web/two", "two");
    snapshot("zta/t/web@s2");
    ok(transfer("zta/t/web@s2", "zta/t/web@s1", &(struct zb_zfs_receive){.snap = "ztb/t/web@s2"},
                &err));
    assert_int_equal(guid_of("ztb/t/web@s2"), guid_of("zta/t/web@s2"));
    assert_int_equal(written_of("ztb/t/web"), 0);

    /* A bookmark is enough of a base, and the name on the other side does not matter. */
    ok(zb_zfs_bookmark("zta/t/web@s2", "zta/t/web#ack", &err));
    ok(zb_zfs_snaps_destroy((const char *const[]){"zta/t/web@s2"}, 1, NULL, &err));
    write_file("/zt/web/three", "three");
    snapshot("zta/t/web@s3");
    ok(transfer("zta/t/web@s3", "zta/t/web#ack",
                &(struct zb_zfs_receive){.snap = "ztb/t/web@other", .resumable = true}, &err));
    assert_int_equal(guid_of("ztb/t/web@other"), guid_of("zta/t/web@s3"));
    sh("mkdir /zt/b && mount -t zfs -o ro ztb/t/web@other /zt/b && cmp /zt/web/one /zt/b/one"
       " && cmp /zt/web/three /zt/b/three; r=$?; umount /zt/b; exit $r");
    leave_pair();
}

static void
begin_record_says_what_comes(void **state)
{
    (void)state;
    struct zb_err err;
    struct sender s;
    uint8_t raw[ZB_ZFS_BEGIN_SIZE];
    struct zb_stream_begin begin;
    make_pair();
    snapshot("zta/t/web@s2");
    sender_start(&s, "zta/t/web@s2", "zta/t/web@s1");
    ok(zb_zfs_begin_read(s.read_fd, raw, &err));
    ok(zb_stream_begin_parse(raw, &begin, &err));
    assert_int_equal(begin.toguid, guid_of("zta/t/web@s2"));
    assert_int_equal(begin.fromguid, guid_of("zta/t/web@s1"));
    assert_string_equal(begin.toname, "zta/t/web@s2");
    (void)sender_end(&s);
    leave_pair();
}

static void
refusals_of_receive(void **state)
{
    (void)state;
    struct zb_err err;
    make_pair();
    write_file("/zt/web/two", "two");
    snapshot("zta/t/web@s2");
    snapshot("zta/t/web@s3");
    /* The snapshot is there already; the dataset is there already. */
    fails(ZB_E_EXISTS, transfer("zta/t/web@s2", "zta/t/web@s1",
                                &(struct zb_zfs_receive){.snap = "ztb/t/web@s1"}, &err));
    fails(ZB_E_EXISTS,
          transfer("zta/t/web@s2", NULL, &(struct zb_zfs_receive){.snap = "ztb/t/web@s2"}, &err));
    /* No snapshot with the guid of the base. */
    fails(ZB_E_DIVERGED, transfer("zta/t/web@s3", "zta/t/web@s2",
                                  &(struct zb_zfs_receive){.snap = "ztb/t/web@s3"}, &err));
    assert_int_equal(err.sys_errno, ENODEV);
    /* The follower was written to. */
    ok(zb_os_mount("ztb/t/web", "/zt/b", ZB_OS_MOUNT_RW, &err));
    write_file("/zt/b/own", "own");
    ok(zb_os_umount("ztb/t/web", "/zt/b", &err));
    fails(ZB_E_DIVERGED, transfer("zta/t/web@s2", "zta/t/web@s1",
                                  &(struct zb_zfs_receive){.snap = "ztb/t/web@s2"}, &err));
    assert_int_equal(err.sys_errno, ETXTBSY);
    assert_false(exists("ztb/t/web@s2"));
    ok(zb_os_mount("ztb/t/web", "/zt/b", 0, &err));
    sh("test \"$(cat /zt/b/own)\" = own");
    ok(zb_os_umount("ztb/t/web", "/zt/b", &err));
    /* No parent. */
    fails(ZB_E_NOTFOUND, transfer("zta/t/web@s2", NULL,
                                  &(struct zb_zfs_receive){.snap = "ztb/t/no/web@s2"}, &err));
    leave_pair();
}

/* Within a fifth of what zfs send writes in the same flavour. */
static void
assert_space(const char *snap, const char *from)
{
    struct zb_err err;
    uint64_t bytes = 0;
    char base[ZB_DATASET_NAME_SIZE + 4] = "";
    if (from != NULL) {
        snprintf(base, sizeof base, "-i %s", from);
    }
    uint64_t sent = sh_number("zfs send -Lc %s %s | wc -c", base, snap);
    ok(zb_zfs_send_space(snap, from, &bytes, &err));
    assert_in_range(bytes, sent - sent / 5, sent + sent / 5);
}

static void
how_much_a_stream_comes_to(void **state)
{
    (void)state;
    struct zb_err err;
    uint64_t bytes = 0;
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/one", 8u << 20);
    snapshot("zta/t/web@s1");
    write_random("/zt/web/two", 4u << 20);
    snapshot("zta/t/web@s2");
    assert_space("zta/t/web@s1", NULL);
    assert_space("zta/t/web@s2", NULL);
    assert_space("zta/t/web@s2", "zta/t/web@s1");
    ok(zb_zfs_bookmark("zta/t/web@s1", "zta/t/web#ack", &err));
    fails(ZB_E_USAGE, zb_zfs_send_space("zta/t/web@s2", "zta/t/web#ack", &bytes, &err));
    fails(ZB_E_NOTFOUND, zb_zfs_send_space("zta/t/web@s3", NULL, &bytes, &err));
    assert_int_equal(bytes, 0);
    leave_pair();
}

static void
no_room_on_the_follower(void **state)
{
    (void)state;
    struct zb_err err;
    const struct zb_zfs_setprop quota = {.name = "quota", .number = 4u << 20};
    make_copy("ztb/t/small");
    ok(zb_zfs_props_set("ztb/t/small", &quota, 1, &err));
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/big", 24u << 20);
    snapshot("zta/t/web@s1");
    fails(ZB_E_NOSPACE, transfer("zta/t/web@s1", NULL, &FOLLOWER("ztb/t/small/web@s1"), &err));
    assert_false(exists("ztb/t/small/web"));
    leave_pair();
}

static void
a_property_that_cannot_be_set_is_named(void **state)
{
    (void)state;
    struct zb_err err;
    const struct zb_zfs_setprop bad[] = {{.name = "readonly", .number = ZB_ZFS_ON},
                                         {.name = "refquota", .number = 1024}};
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/f", 4u << 20);
    snapshot("zta/t/web@s1");
    enum zb_rc rc = transfer(
        "zta/t/web@s1", NULL,
        &(struct zb_zfs_receive){.snap = "ztb/t/web@s1", .props = bad, .props_count = 2}, &err);
    assert_int_not_equal(rc, ZB_OK);
    assert_contains(err.msg, "ztb/t/web@s1");
    leave_pair();
}

static void
a_stream_cut_short_leaves_nothing(void **state)
{
    (void)state;
    struct zb_err err;
    struct sender s;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 7;
    int ends[2];
    char block[4096];
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/f", 4u << 20);
    snapshot("zta/t/web@s1");
    sender_start(&s, "zta/t/web@s1", NULL);
    ok(zb_zfs_begin_read(s.read_fd, begin, &err));
    ok(zb_os_read_full(s.read_fd, block, sizeof block, &err));
    ok(zb_os_pipe_open(&ends[0], &ends[1], &err));
    assert_int_equal(write(ends[1], block, sizeof block), sizeof block);
    close(ends[1]);
    struct zb_zfs_receive receive = {.snap = "ztb/t/web@s1", .begin = begin, .fd = ends[0]};
    fails(ZB_E_CLOSED, zb_zfs_receive(&receive, &bytes, &err));
    assert_int_equal(bytes, 7);
    assert_false(exists("ztb/t/web"));
    close(ends[0]);
    (void)sender_end(&s);
    leave_pair();
}

static void
bytes_that_are_no_stream(void **state)
{
    (void)state;
    struct zb_err err;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE] = {0};
    uint64_t bytes = 0;
    int ends[2];
    ok(zb_os_pipe_open(&ends[0], &ends[1], &err));
    assert_int_equal(write(ends[1], "short", 5), 5);
    close(ends[1]);
    fails(ZB_E_CLOSED, zb_zfs_begin_read(ends[0], begin, &err));
    struct zb_zfs_receive receive = {.snap = "ztb/t/web@s1", .begin = begin, .fd = ends[0]};
    assert_int_not_equal(zb_zfs_receive(&receive, &bytes, &err), ZB_OK);
    assert_false(exists("ztb/t/web"));
    close(ends[0]);
}

static void
receive_reads_no_byte_too_many(void **state)
{
    (void)state;
    struct zb_err err;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 0;
    char trailer[8] = "";
    int ends[2];
    make_pair();
    write_file("/zt/web/two", "two");
    snapshot("zta/t/web@s2");
    uint64_t whole = sh_number("zfs send -Lc -i @s1 zta/t/web@s2 | wc -c");
    ok(zb_os_pipe_open(&ends[0], &ends[1], &err));
    ok(zb_zfs_send(
        &(struct zb_zfs_send){.snap = "zta/t/web@s2", .from = "zta/t/web@s1", .fd = ends[1]},
        &err));
    assert_int_equal(write(ends[1], "trailer", 7), 7);
    ok(zb_zfs_begin_read(ends[0], begin, &err));
    struct zb_zfs_receive receive = {.snap = "ztb/t/web@s2", .begin = begin, .fd = ends[0]};
    ok(zb_zfs_receive(&receive, &bytes, &err));
    assert_int_equal(bytes, whole);
    assert_int_equal(read(ends[0], trailer, 7), 7);
    assert_string_equal(trailer, "trailer");
    close(ends[0]);
    close(ends[1]);
    leave_pair();
}

static void
send_ends_when_the_reader_goes(void **state)
{
    (void)state;
    struct sender s;
    sigset_t pending;
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/big", 16u << 20);
    snapshot("zta/t/web@s1");
    sender_start(&s, "zta/t/web@s1", NULL);
    assert_int_equal(sender_end(&s), ZB_E_CLOSED);
    /* This process is alive, so no SIGPIPE was delivered; none waits either. */
    sigemptyset(&pending);
    sigpending(&pending);
    assert_int_equal(sigismember(&pending, SIGPIPE), 0);
    leave_pair();
}

static void
ignore_signal(int number)
{
    (void)number;
}

static void *
signal_often(void *arg)
{
    pthread_t target = *(pthread_t *)arg;
    for (int i = 0; i < 200; i++) {
        pthread_kill(target, SIGUSR1);
        usleep(1000);
    }
    return NULL;
}

/* Sends into a pipe that is read slowly, while signals come all the time. */
static void
signals_do_not_end_a_stream(void **state)
{
    (void)state;
    struct zb_err err;
    struct sender s;
    struct sigaction action = {.sa_handler = ignore_signal};
    struct sigaction before;
    pthread_t thread;
    make_mounted("zta/t/web", "/zt/web");
    write_random("/zt/web/big", 6u << 20);
    snapshot("zta/t/web@s1");
    sigaction(SIGUSR1, &action, &before);
    sender_start(&s, "zta/t/web@s1", NULL);
    pthread_t target = (pthread_t)s.thread;
    pthread_create(&thread, NULL, signal_often, &target);
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 0;
    usleep(100000);
    ok(zb_zfs_begin_read(s.read_fd, begin, &err));
    struct zb_zfs_receive receive = {.snap = "ztb/t/web@s1", .begin = begin, .fd = s.read_fd};
    ok(zb_zfs_receive(&receive, &bytes, &err));
    pthread_join(thread, NULL);
    assert_int_equal(sender_end(&s), ZB_OK);
    sigaction(SIGUSR1, &before, NULL);
    leave_pair();
}

static void
refusals_of_send(void **state)
{
    (void)state;
    struct zb_err err;
    make_pair();
    write_file("/zt/web/two", "two");
    snapshot("zta/t/web@s2");
    struct zb_zfs_send backwards = {.snap = "zta/t/web@s1", .from = "zta/t/web@s2", .fd = 1};
    fails(ZB_E_MISMATCH, zb_zfs_send(&backwards, &err));
    struct zb_zfs_send missing = {.snap = "zta/t/web@no", .fd = 1};
    fails(ZB_E_NOTFOUND, zb_zfs_send(&missing, &err));
    struct zb_zfs_send dataset = {.snap = "zta/t/web", .fd = 1};
    fails(ZB_E_USAGE, zb_zfs_send(&dataset, &err));
    leave_pair();
}

/* What diverged becomes a dataset of its own beside the live one, which keeps its identity. */
static void
rescue_by_origin_then_rollback(void **state)
{
    (void)state;
    struct zb_err err;
    make_pair();
    ok(zb_os_mount("ztb/t/web", "/zt/b", ZB_OS_MOUNT_RW, &err));
    write_file("/zt/b/own", "own");
    ok(zb_os_umount("ztb/t/web", "/zt/b", &err));
    snapshot("ztb/t/web@tip");
    make_copy("ztb/t/.rescue");
    uint64_t live = guid_of("ztb/t/web");
    struct zb_zfs_receive rescue = FOLLOWER("ztb/t/.rescue/web@tip");
    rescue.origin = "ztb/t/web@s1";
    ok(transfer("ztb/t/web@tip", "ztb/t/web@s1", &rescue, &err));
    assert_int_equal(guid_of("ztb/t/.rescue/web@tip"), guid_of("ztb/t/web@tip"));
    ok(zb_zfs_snaps_destroy((const char *const[]){"ztb/t/web@tip"}, 1, NULL, &err));
    sh("zfs rollback ztb/t/web@s1");
    assert_int_equal(guid_of("ztb/t/web"), live);
    snapshot("zta/t/web@s2");
    ok(transfer("zta/t/web@s2", "zta/t/web@s1", &(struct zb_zfs_receive){.snap = "ztb/t/web@s2"},
                &err));
    ok(zb_os_mount("ztb/t/.rescue/web", "/zt/b", 0, &err));
    sh("test \"$(cat /zt/b/own)\" = own");
    ok(zb_os_umount("ztb/t/.rescue/web", "/zt/b", &err));
    leave_pair();
}

TESTS(stream, TEST(full_then_increments), TEST(begin_record_says_what_comes),
      TEST(refusals_of_receive), TEST(how_much_a_stream_comes_to), TEST(no_room_on_the_follower),
      TEST(a_property_that_cannot_be_set_is_named), TEST(a_stream_cut_short_leaves_nothing),
      TEST(bytes_that_are_no_stream), TEST(receive_reads_no_byte_too_many),
      TEST(send_ends_when_the_reader_goes), TEST(signals_do_not_end_a_stream),
      TEST(refusals_of_send), TEST(rescue_by_origin_then_rollback));
