#include "zfs_test.h"

#include <pthread.h>
#include <unistd.h>

#define WHOLE (8u << 20)

/* Receives the first half of the stream into target, resumable; then the stream ends. */
static void
receive_half(const char *snap, const char *from, const char *target)
{
    struct zb_err err;
    struct sender s;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 0;
    char *half = malloc(WHOLE / 2);
    FILE *file = tmpfile();

    assert_non_null(half);
    assert_non_null(file);
    sender_start(&s, snap, from);
    ok(zb_os_read_full(s.read_fd, half, WHOLE / 2, &err));
    assert_int_equal(sender_end(&s), ZB_E_CLOSED);
    assert_int_equal(write(fileno(file), half, WHOLE / 2), WHOLE / 2);
    assert_int_equal(lseek(fileno(file), 0, SEEK_SET), 0);
    ok(zb_zfs_begin_read(fileno(file), begin, &err));
    struct zb_zfs_receive receive = {
        .snap = target, .begin = begin, .fd = fileno(file), .resumable = true};
    fails(ZB_E_CLOSED, zb_zfs_receive(&receive, &bytes, &err));
    fclose(file);
    free(half);
}

static void
read_token(const char *dataset, struct zb_zfs_token *token)
{
    struct zb_err err;
    struct zb_zfs_props p = {0};
    ok(zb_zfs_props_get(dataset, &p, &err));
    assert_string_not_equal(p.token, "");
    assert_string_equal(p.token, sh_out("zfs get -H -o value receive_resume_token %s", dataset));
    ok(zb_zfs_token_decode(p.token, token, &err));
    zb_zfs_props_close(&p);
}

/* Goes on where the token says. */
static enum zb_rc
resume(const char *snap, const char *from, const struct zb_zfs_token *token, const char *target,
       struct zb_err *err)
{
    struct sender s;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 0;
    sender_start_at(&s, snap, from, token);
    enum zb_rc rc = zb_zfs_begin_read(s.read_fd, begin, err);
    if (rc == ZB_OK) {
        struct zb_zfs_receive receive = {
            .snap = target, .begin = begin, .fd = s.read_fd, .resumable = true};
        rc = zb_zfs_receive(&receive, &bytes, err);
    }
    (void)sender_end(&s);
    if (rc == ZB_OK) {
        assert_true(bytes < WHOLE * 3 / 4); /* not all over again */
    }
    return rc;
}

static void
make_source(void)
{
    make_mounted("zta/t/web", "/zt/web");
    write_file("/zt/web/small", "small");
    snapshot("zta/t/web@s1");
    write_random("/zt/web/big", WHOLE);
    snapshot("zta/t/web@s2");
}

static void
drop_source(void)
{
    struct zb_err err;
    ok(zb_os_umount("zta/t/web", "/zt/web", &err));
}

static void
resume_a_full_stream(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_token token;
    make_source();
    receive_half("zta/t/web@s2", NULL, "ztb/t/web@s2");
    read_token("ztb/t/web", &token);
    assert_int_equal(token.toguid, guid_of("zta/t/web@s2"));
    assert_int_equal(token.fromguid, 0);
    assert_string_equal(token.toname, "zta/t/web@s2");
    assert_true(token.object > 0);
    assert_true(token.bytes > 0);
    assert_false(token.raw);
    ok(resume("zta/t/web@s2", NULL, &token, "ztb/t/web@s2", &err));
    assert_int_equal(guid_of("ztb/t/web@s2"), token.toguid);
    drop_source();
}

static void
resume_an_increment_which_blocks_others(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_token token;
    make_source();
    ok(transfer("zta/t/web@s1", NULL, &(struct zb_zfs_receive){.snap = "ztb/t/web@s1"}, &err));
    receive_half("zta/t/web@s2", "zta/t/web@s1", "ztb/t/web@s2");
    read_token("ztb/t/web", &token);
    assert_int_equal(token.fromguid, guid_of("zta/t/web@s1"));
    fails(ZB_E_BUSY, transfer("zta/t/web@s2", "zta/t/web@s1",
                              &(struct zb_zfs_receive){.snap = "ztb/t/web@s2"}, &err));
    ok(resume("zta/t/web@s2", "zta/t/web@s1", &token, "ztb/t/web@s2", &err));
    assert_int_equal(guid_of("ztb/t/web@s2"), token.toguid);
    sh("test \"$(zfs get -H -o value receive_resume_token ztb/t/web)\" = -");
    drop_source();
}

static void
abort_an_increment(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_token token;
    make_source();
    ok(transfer("zta/t/web@s1", NULL, &(struct zb_zfs_receive){.snap = "ztb/t/web@s1"}, &err));
    receive_half("zta/t/web@s2", "zta/t/web@s1", "ztb/t/web@s2");
    read_token("ztb/t/web", &token);
    ok(zb_zfs_receive_abort("ztb/t/web", &err));
    sh("test \"$(zfs get -H -o value receive_resume_token ztb/t/web)\" = -");
    ok(transfer("zta/t/web@s2", "zta/t/web@s1", &(struct zb_zfs_receive){.snap = "ztb/t/web@s2"},
                &err));
    drop_source();
}

static void
abort_a_full_receive(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_tree tree = {0};
    make_source();
    receive_half("zta/t/web@s2", NULL, "ztb/t/web@s2");
    ok(zb_zfs_tree_observe("ztb/t/web", &tree, &err));
    assert_true(tree.datasets[0].inconsistent);
    zb_zfs_tree_close(&tree);
    ok(zb_zfs_receive_abort("ztb/t/web", &err));
    assert_false(exists("ztb/t/web"));
    drop_source();
}

static void
abort_touches_nothing_else(void **state)
{
    (void)state;
    struct zb_err err;
    make_copy("ztb/t/web");
    make_copy("ztb/t/web/a");
    ok(zb_zfs_receive_abort("ztb/t/web", &err));
    ok(zb_zfs_receive_abort("ztb/t/web/a", &err));
    ok(zb_zfs_receive_abort("ztb/t/missing", &err));
    assert_true(exists("ztb/t/web/a"));
}

struct receiver {
    int fd;
    enum zb_rc rc;
    struct zb_err err;
};

static void *
run_receiver(void *arg)
{
    struct receiver *r = arg;
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint64_t bytes = 0;
    r->rc = zb_zfs_begin_read(r->fd, begin, &r->err);
    if (r->rc == ZB_OK) {
        struct zb_zfs_receive receive = {
            .snap = "ztb/t/web@s2", .begin = begin, .fd = r->fd, .resumable = true};
        r->rc = zb_zfs_receive(&receive, &bytes, &r->err);
    }
    return NULL;
}

/* A receive that waits for more of its stream: it cannot be aborted, and ends when the writing end
 * closes. */
static void
abort_of_a_running_receive_is_refused(void **state)
{
    (void)state;
    struct zb_err err;
    struct sender s;
    struct receiver r = {.rc = ZB_E_FAILED};
    pthread_t thread;
    int write_fd = -1;
    char *half = malloc(WHOLE / 2);
    make_source();
    ok(transfer("zta/t/web@s1", NULL, &(struct zb_zfs_receive){.snap = "ztb/t/web@s1"}, &err));
    sender_start(&s, "zta/t/web@s2", "zta/t/web@s1");
    ok(zb_os_read_full(s.read_fd, half, WHOLE / 2, &err));
    (void)sender_end(&s);
    ok(zb_os_pipe_open(&r.fd, &write_fd, &err));
    pthread_create(&thread, NULL, run_receiver, &r);
    /* More than the pipe holds: once written, the kernel is receiving. */
    assert_int_equal(write(write_fd, half, WHOLE / 2), WHOLE / 2);
    fails(ZB_E_BUSY, zb_zfs_receive_abort("ztb/t/web", &err));
    close(write_fd);
    pthread_join(thread, NULL);
    assert_int_equal(r.rc, ZB_E_CLOSED);
    ok(zb_zfs_receive_abort("ztb/t/web", &err));
    close(r.fd);
    free(half);
    drop_source();
}

TESTS(resume, TEST(resume_a_full_stream), TEST(resume_an_increment_which_blocks_others),
      TEST(abort_an_increment), TEST(abort_a_full_receive), TEST(abort_touches_nothing_else),
      TEST(abort_of_a_running_receive_is_refused));
