/*
 * Tests of src/zfs and src/os against real OpenZFS: a program that runs as root inside a lab guest
 * (test_zfs_layer.py copies it there). It works on two pools of its own, zta and ztb, each on a
 * file, which test_zfs_layer.py makes. Each test has a dataset of its own below "zta/t" and
 * "ztb/t".
 */
#ifndef ZB_TEST_LAB_ZFS_TEST_H
#define ZB_TEST_LAB_ZFS_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/types.h"
#include "os/holder.h"
#include "os/mount.h"
#include "os/pipe.h"
#include "zfs/zfs.h"

/* A call that must succeed: prints its error otherwise. `err` is in scope. */
#define ok(call)                                                                                   \
    do {                                                                                           \
        enum zb_rc ok_rc = (call);                                                                 \
        if (ok_rc != ZB_OK) {                                                                      \
            fail_msg("%s: rc %d errno %d: %s", #call, (int)ok_rc, err.sys_errno, err.msg);         \
        }                                                                                          \
    } while (0)

/* A call that must fail with this code. */
#define fails(code, call)                                                                          \
    do {                                                                                           \
        enum zb_rc fails_rc = (call);                                                              \
        if (fails_rc != (code)) {                                                                  \
            fail_msg("%s: rc %d instead of %s: %s", #call, (int)fails_rc, #code,                   \
                     fails_rc == ZB_OK ? "succeeded" : err.msg);                                   \
        }                                                                                          \
        assert_int_equal(fails_rc, err.rc);                                                        \
    } while (0)

void assert_contains(const char *text, const char *part);

/* Runs a shell command; it must end with 0. */
void sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* First line of its output; static storage, one at a time. */
const char *sh_out(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
uint64_t sh_number(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* zta/t and ztb/t made anew (canmount=off, mountpoint=none), whatever was left of the test before
 * unmounted and destroyed; /zt an empty directory. */
int test_setup(void **state);

/* A file system like every copy of zbaton: readonly=on, canmount=noauto, mountpoint=none. */
void make_copy(const char *dataset);
/* make_copy and mounted read-write at dir. */
void make_mounted(const char *dataset, const char *dir);
void write_file(const char *path, const char *text);
/* size bytes that do not compress. */
void write_random(const char *path, size_t size);
uint64_t guid_of(const char *name);
uint64_t written_of(const char *dataset);
bool exists(const char *name);
void snapshot(const char *snap);

/* Number of the open txg of a pool (kstat txgs). */
uint64_t open_txg(const char *pool);
int64_t now_us(void);

/* A send on a thread of its own into a pipe. */
struct sender {
    struct zb_zfs_send send;
    enum zb_rc rc;
    struct zb_err err;
    uint64_t thread; /* pthread_t */
    int read_fd;
};
void sender_start(struct sender *s, const char *snap, const char *from);
void sender_start_at(struct sender *s, const char *snap, const char *from,
                     const struct zb_zfs_token *token);
/* Waits for its end; closes the pipe. */
enum zb_rc sender_end(struct sender *s);

/* snap of `from`.. is sent and received as to; the receiver's answer. */
enum zb_rc transfer(const char *snap, const char *from, struct zb_zfs_receive *receive,
                    struct zb_err *err);

/* A child process in a shell; killed and reaped by child_end
 * (which ends all children). It has printed a line before
 * child_start returns. */
struct child {
    int pid;
    int out;
};
void child_start(struct child *c, const char *command);
void child_end(struct child *c);

extern const struct CMUnitTest props_tests[], snap_tests[], stream_tests[], resume_tests[],
    held_tests[], mount_tests[], holder_tests[], measure_tests[], clone_tests[], snap_prop_tests[];
extern const size_t props_tests_count, snap_tests_count, stream_tests_count, resume_tests_count,
    held_tests_count, mount_tests_count, holder_tests_count, measure_tests_count, clone_tests_count,
    snap_prop_tests_count;

#define TEST(name) cmocka_unit_test_setup(name, test_setup)
#define TESTS(group, ...)                                                                          \
    const struct CMUnitTest group##_tests[] = {__VA_ARGS__};                                       \
    const size_t group##_tests_count = sizeof group##_tests / sizeof group##_tests[0]

#endif
