/*
 * What a cycle costs ZFS itself: a snapshot, sent into another pool of the same host, nothing else.
 *
 *   floor FROM SNAP TARGET    "ds@base" or "-" for a full stream, "ds@new", "other/ds@new"
 *
 * Prints the microseconds. Runs inside a lab guest (lab/bench).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "zfs/zfs.h"

static void
check(enum zb_rc rc, const struct zb_err *err)
{
    if (rc != ZB_OK) {
        (void)fprintf(stderr, "floor: %s\n", err->msg);
        exit(1);
    }
}

static void *
sender(void *ctx)
{
    const struct zb_zfs_send *send = ctx;
    struct zb_err err;

    check(zb_zfs_send(send, &err), &err);
    (void)close(send->fd);
    return NULL;
}

static int64_t
now_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int
main(int argc, char **argv)
{
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    pthread_t thread;
    uint64_t bytes;
    struct zb_zfs_version version;
    struct zb_err err;
    int pair[2];

    if (argc != 4) {
        (void)fprintf(stderr, "usage: floor FROM|- SNAP TARGET\n");
        return 2;
    }
    const char *snap = argv[2];
    struct zb_zfs_send send = {.snap = snap, .from = strcmp(argv[1], "-") != 0 ? argv[1] : NULL};
    struct zb_zfs_receive receive = {.snap = argv[3], .begin = begin};
    check(zb_zfs_init(&version, &err), &err);
    int64_t begun_us = now_us();
    check(zb_zfs_snapshot(&snap, 1, NULL, &err), &err);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) {
        perror("floor: socketpair");
        return 1;
    }
    send.fd = pair[1];
    receive.fd = pair[0];
    if (pthread_create(&thread, NULL, sender, &send) != 0) {
        (void)fprintf(stderr, "floor: no thread\n");
        return 1;
    }
    check(zb_zfs_begin_read(receive.fd, begin, &err), &err);
    check(zb_zfs_receive(&receive, &bytes, &err), &err);
    (void)printf("%lld\n", (long long)(now_us() - begun_us));
    return pthread_join(thread, NULL);
}
