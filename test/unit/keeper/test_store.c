/* A record whose store fails half way: memory never says less than the file. */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/internal.h"

/* fsync of the library is this one (meson.build): the disk as the test wants it. */
static unsigned fails_from; /* the calls from this one on, counted from 1, fail; 0: none */
static unsigned fails_to;
static unsigned calls;

int __real_fsync(int fd); // NOLINT(bugprone-reserved-identifier)
int __wrap_fsync(int fd); // NOLINT(bugprone-reserved-identifier)

int
__wrap_fsync(int fd) // NOLINT(bugprone-reserved-identifier)
{
    calls++;
    if (fails_from != 0 && calls >= fails_from && calls <= fails_to) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

static void
fsync_fails(unsigned from, unsigned to)
{
    calls = 0;
    fails_from = from;
    fails_to = to;
}

struct fixture {
    char dir[32];
    struct zb_keeper k;
    struct zb_keeper_service s;
    struct zb_keeper_record sealed;
    struct zb_keeper_record released;
};

static int
setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    struct zb_err err;

    assert_non_null(f);
    zb_strcopy(f->dir, sizeof(f->dir), "/tmp/zb-store-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    f->k.dir_fd = open(f->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(f->k.dir_fd >= 0);
    assert_int_equal(pthread_mutex_init(&f->k.lock, NULL), 0);
    zb_strcopy(f->s.name, sizeof(f->s.name), "web");
    f->sealed = (struct zb_keeper_record){
        .rec = {.granted_term = 3, .granted_to = "vm1", .learned_term = 3, .established_term = 3}};
    zb_strcopy(f->sealed.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm1");
    f->released = f->sealed;
    f->released.rec.granted_term = 4;
    f->released.rec.released_term = 4;
    zb_strcopy(f->released.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    zb_strcopy(f->released.rec.released_to, ZB_NODE_NAME_SIZE, "vm2");
    fsync_fails(0, 0);
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->sealed, &err), ZB_OK);
    *state = f;
    return 0;
}

static int
teardown(void **state)
{
    struct fixture *f = *state;

    fsync_fails(0, 0);
    (void)unlinkat(f->k.dir_fd, "web.record", 0);
    (void)unlinkat(f->k.dir_fd, "web.record.tmp", 0);
    (void)close(f->k.dir_fd);
    assert_int_equal(rmdir(f->dir), 0);
    (void)pthread_mutex_destroy(&f->k.lock);
    free(f);
    return 0;
}

static void
assert_file(const struct fixture *f, const struct zb_keeper_record *r)
{
    struct zb_keeper_record back;
    struct zb_err err;

    assert_int_equal(zb_keeper_record_load(f->k.dir_fd, "web", &back, &err), ZB_OK);
    assert_memory_equal(&back, r, sizeof(back));
}

/* Nothing was renamed: the record is what it was, and the next store is free to succeed. */
static void
test_before_the_rename(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    fsync_fails(1, 1);
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->released, &err), ZB_E_SYS);
    assert_false(f->s.frozen);
    assert_memory_equal(&f->s.record, &f->sealed, sizeof(f->sealed));
    assert_file(f, &f->sealed);
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->released, &err), ZB_OK);
    assert_memory_equal(&f->s.record, &f->released, sizeof(f->released));
}

/* The directory could not be synced once: what the file says is made durable, and holds. */
static void
test_after_the_rename_once(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    fsync_fails(2, 2);
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->released, &err), ZB_OK);
    assert_true(calls >= 4); /* file and directory, both times */
    assert_false(f->s.frozen);
    assert_memory_equal(&f->s.record, &f->released, sizeof(f->released));
    assert_file(f, &f->released);
}

/* It cannot be synced at all: the file may say "released" after a restart, so nothing goes on. */
static void
test_after_the_rename_for_good(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    fsync_fails(2, 1000);
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->released, &err), ZB_E_SYS);
    assert_true(f->s.frozen);
    assert_non_null(strstr(f->s.frozen_why, "web.record"));
    assert_file(f, &f->released);

    /* Also when the disk is well again: only a start reads it anew. */
    fsync_fails(0, 0);
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->sealed, &err), ZB_E_REFUSED);
    assert_file(f, &f->released);
}

/* As above, with a file that cannot be read either. */
static void
test_unreadable(void **state)
{
    struct fixture *f = *state;
    struct zb_err err;

    assert_int_equal(unlinkat(f->k.dir_fd, "web.record", 0), 0);
    assert_int_equal(mkdirat(f->k.dir_fd, "web.record", 0700), 0); /* rename onto it fails */
    assert_int_equal(zb_keeper_record_change(&f->k, &f->s, &f->released, &err), ZB_E_SYS);
    assert_true(f->s.frozen);
    assert_int_equal(unlinkat(f->k.dir_fd, "web.record", AT_REMOVEDIR), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_before_the_rename, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_the_rename_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_after_the_rename_for_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unreadable, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
