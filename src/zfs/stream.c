/*
 * Streams: send and receive run in the kernel, on the calling thread, on a descriptor of the
 * caller.
 */
#include "os/pipe.h"
#include "zfs/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* A signal would end the kernel's read or write in its middle: all are blocked for the call. A
 * write to a closed pipe leaves a SIGPIPE for this thread, which must be gone before the mask comes
 * back. */
struct signals {
    sigset_t before;
    bool pipe_was_pending;
};

static void
signals_block(struct signals *s)
{
    sigset_t all;
    sigset_t pending;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &s->before);
    s->pipe_was_pending = sigpending(&pending) == 0 && sigismember(&pending, SIGPIPE) == 1;
}

static void
signals_restore(struct signals *s)
{
    if (!s->pipe_was_pending) {
        sigset_t pipe_only;
        struct timespec now = {0};
        sigemptyset(&pipe_only);
        sigaddset(&pipe_only, SIGPIPE);
        while (sigtimedwait(&pipe_only, NULL, &now) == -1 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
}

static enum zb_rc
send_names_check(const struct zb_zfs_send *send, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(send->snap, '@', err);
    if (rc == ZB_OK && send->from != NULL) {
        rc = zb_zfs_name_check(send->from, strchr(send->from, '#') != NULL ? '#' : '@', err);
    }
    return rc;
}

static enum zb_rc
send_fail(const struct zb_zfs_send *send, int e, struct zb_err *err)
{
    const char *from = send->from != NULL ? send->from : "the beginning";
    if (e == EINTR || e == EPIPE || e == ECONNRESET) {
        zb_err_set(err, ZB_E_CLOSED, "send %s: the reading side closed the stream", send->snap);
    } else if (e == EXDEV) {
        zb_err_set(err, ZB_E_MISMATCH, "send %s: %s is not an ancestor of it", send->snap, from);
    } else if (e == ENOENT) {
        zb_err_set(err, ZB_E_NOTFOUND, "send %s from %s: one of them does not exist", send->snap,
                   from);
    } else {
        return zb_zfs_fail(err, e, send->snap, "send %s from %s", send->snap, from);
    }
    err->sys_errno = e;
    return err->rc;
}

/* Returns errno. */
static int
send_call(const struct zb_zfs_send *send)
{
    struct signals signals;
    nvlist_t *in = fnvlist_alloc();

    fnvlist_add_int32(in, "fd", send->fd);
    if (send->from != NULL) {
        fnvlist_add_string(in, "fromsnap", send->from);
    }
    fnvlist_add_boolean(in, "largeblockok");
    fnvlist_add_boolean(in, "compressok");
    if (send->raw) {
        fnvlist_add_boolean(in, "rawok");
    }
    if (send->resume_object != 0 || send->resume_offset != 0) {
        fnvlist_add_uint64(in, "resume_object", send->resume_object);
        fnvlist_add_uint64(in, "resume_offset", send->resume_offset);
    }
    signals_block(&signals);
    int e = zb_zfs_ioctl(ZFS_IOC_SEND_NEW, send->snap, in, NULL);
    signals_restore(&signals);
    fnvlist_free(in);
    return e;
}

enum zb_rc
zb_zfs_send(const struct zb_zfs_send *send, struct zb_err *err)
{
    enum zb_rc rc = send_names_check(send, err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = send_call(send);
    return e == 0 ? ZB_OK : send_fail(send, e, err);
}

enum zb_rc
zb_zfs_send_space(const char *snap, const char *from, uint64_t *bytes, struct zb_err *err)
{
    uint64_t space = 0;
    enum zb_rc rc = zb_zfs_name_check(snap, '@', err);
    if (rc == ZB_OK && from != NULL) {
        rc = zb_zfs_name_check(from, '@', err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_send_space(snap, from, LZC_SEND_FLAG_LARGE_BLOCK | LZC_SEND_FLAG_COMPRESS, &space);
    if (e != 0) {
        return zb_zfs_fail(err, e, snap, "size of a stream of %s from %s", snap,
                           from != NULL ? from : "the beginning");
    }
    *bytes = space;
    return ZB_OK;
}

/* Bytes of the begin record at the head of the pipe with its payload (a raw stream's keys). */
static size_t
begin_size(int read_fd)
{
    uint8_t begin[ZB_ZFS_BEGIN_SIZE];
    uint32_t payload = 0;

    if (read(read_fd, begin, sizeof begin) == (ssize_t)sizeof begin) {
        memcpy(&payload, begin + 4, sizeof payload); /* of this host's byte order */
    }
    return sizeof begin + payload;
}

/* Sends the head since snap into a pipe that nobody reads and that does not block: begin and end
 * record alone mean equal; anything more, whether or not it fits, is a difference. */
static enum zb_rc
compare_head(const char *dataset, const char *snap, bool raw, bool *modified, struct zb_err *err)
{
    int read_fd = -1;
    int write_fd = -1;
    int queued = 0;

    enum zb_rc rc = zb_os_pipe_open(&read_fd, &write_fd, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (fcntl(write_fd, F_SETFL, O_NONBLOCK) != 0) {
        rc = zb_err_sys(err, errno, "set the pipe not to block");
        goto out;
    }
    struct zb_zfs_send send = {.snap = dataset, .from = snap, .raw = raw, .fd = write_fd};
    int e = send_call(&send);
    if (e == EBUSY) {
        rc = zb_err_set(err, ZB_E_HELD, "it is mounted or in use");
        err->sys_errno = e;
    } else if (ioctl(read_fd, FIONREAD, &queued) != 0) {
        rc = zb_err_sys(err, errno, "look at the pipe");
    } else {
        *modified = queued > 0 && (size_t)queued > begin_size(read_fd) + ZB_ZFS_BEGIN_SIZE;
        if (e != 0 && !*modified) {
            rc = zb_zfs_fail(err, e, dataset, "compare it with %s", snap);
        }
    }
out:
    close(read_fd);
    close(write_fd);
    return rc;
}

enum zb_rc
zb_zfs_modified(const char *dataset, bool *modified, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    char snap[2 * ZB_DATASET_NAME_SIZE];
    bool found = true;

    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc == ZB_OK) {
        rc = zb_zfs_props_get(dataset, &props, err);
    }
    if (rc == ZB_OK && props.newest[0] != '\0') {
        snprintf(snap, sizeof snap, "%s@%s", dataset, props.newest);
        rc = compare_head(dataset, snap, props.encrypted, &found, err);
    }
    zb_zfs_props_close(&props);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "is %s modified", dataset);
    }
    *modified = found;
    return ZB_OK;
}

enum zb_rc
zb_zfs_begin_read(int fd, uint8_t begin[ZB_ZFS_BEGIN_SIZE], struct zb_err *err)
{
    uint8_t bytes[ZB_ZFS_BEGIN_SIZE];
    enum zb_rc rc = zb_os_read_full(fd, bytes, sizeof bytes, err);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "read the begin record");
    }
    memcpy(begin, bytes, sizeof bytes);
    return ZB_OK;
}

/* What an errno of receive means, where it means more than elsewhere. */
static const struct {
    int errnum;
    enum zb_rc rc;
    const char *sentence;
} receive_meanings[] = {
    {ETXTBSY, ZB_E_DIVERGED, "it was modified since its newest snapshot"},
    {ENODEV, ZB_E_DIVERGED, "it has no snapshot that the stream starts from"},
    {EBUSY, ZB_E_BUSY, "a partial receive or another receive is in the way, or it is in use"},
    {EINVAL, ZB_E_DIVERGED,
     "ZFS refused the stream; perhaps a snapshot was taken here during the receive"},
    {ENOENT, ZB_E_NOTFOUND, "the dataset, its parent or the origin does not exist"},
    {EACCES, ZB_E_UNSUPPORTED, "its encryption key is not loaded"},
    {EINTR, ZB_E_CANCELED, "interrupted"},
};

static enum zb_rc
receive_fail(const struct zb_zfs_receive *receive, int e, struct zb_err *err)
{
    for (size_t i = 0; i < sizeof receive_meanings / sizeof receive_meanings[0]; i++) {
        if (receive_meanings[i].errnum == e) {
            zb_err_set(err, receive_meanings[i].rc, "receive %s: %s", receive->snap,
                       receive_meanings[i].sentence);
            err->sys_errno = e;
            return err->rc;
        }
    }
    return zb_zfs_fail(err, e, receive->snap, "receive %s", receive->snap);
}

enum zb_rc
zb_zfs_receive(const struct zb_zfs_receive *receive, uint64_t *bytes, struct zb_err *err)
{
    struct signals signals;
    nvlist_t *errors = NULL;
    uint64_t read_bytes = 0;
    uint64_t error_flags = 0;
    enum zb_rc rc = zb_zfs_name_check(receive->snap, '@', err);
    if (rc == ZB_OK && receive->origin != NULL) {
        rc = zb_zfs_name_check(receive->origin, '@', err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    /* Received by the kernel as bytes: its alignment is that of a copy on this stack. */
    union {
        uint8_t bytes[ZB_ZFS_BEGIN_SIZE];
        uint64_t align;
    } begin;
    memcpy(begin.bytes, receive->begin, sizeof begin.bytes);
    nvlist_t *props = zb_zfs_setprops_nvlist(receive->props, receive->props_count);
    signals_block(&signals);
    int e = lzc_receive_with_cmdprops(receive->snap, NULL, props, NULL, 0, receive->origin, B_FALSE,
                                      receive->resumable, receive->raw, receive->fd,
                                      (const struct dmu_replay_record *)(const void *)&begin, -1,
                                      &read_bytes, &error_flags, NULL, &errors);
    signals_restore(&signals);
    int which_errno = 0;
    const char *which = zb_zfs_first_error(errors, &which_errno);
    if (e != 0) {
        rc = receive_fail(receive, e, err);
    } else if (which != NULL) {
        zb_zfs_fail(err, which_errno, receive->snap, "receive %s: set %s", receive->snap, which);
        err->rc = rc = ZB_E_MISMATCH;
    } else {
        *bytes = sizeof begin.bytes + read_bytes;
    }
    fnvlist_free(props);
    fnvlist_free(errors);
    return rc;
}

/* Destroys the dataset only while it is the unfinished result of a full receive. */
static const char lua_abort[] =
    "local args = ...\n"
    "local ds = args['name']\n"
    "if not zfs.exists(ds) then return {errno=0} end\n"
    "if (zfs.get_prop(ds, 'inconsistent') or 0) ~= 1 then return {errno=0} end\n"
    "return {errno=zfs.sync.destroy(ds)}\n";

enum zb_rc
zb_zfs_receive_abort(const char *dataset, struct zb_err *err)
{
    char hidden[ZB_DATASET_NAME_SIZE + 8];
    int64_t e = 0;
    nvlist_t *table = NULL;
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    snprintf(hidden, sizeof hidden, "%s/%%recv", dataset);
    e = lzc_destroy(hidden);
    if (e == ENOENT) {
        nvlist_t *args = fnvlist_alloc();
        fnvlist_add_string(args, "name", dataset);
        rc = zb_zfs_program(dataset, true, lua_abort, args, &table, err);
        fnvlist_free(args);
        if (rc != ZB_OK) {
            return zb_err_wrap(err, "abort the receive of %s", dataset);
        }
        e = 0;
        (void)nvlist_lookup_int64(table, "errno", &e);
        fnvlist_free(table);
    }
    if (e == EBUSY) {
        zb_err_set(err, ZB_E_BUSY, "abort the receive of %s: it still runs", dataset);
        err->sys_errno = EBUSY;
        return err->rc;
    }
    return e == 0 ? ZB_OK : zb_zfs_fail(err, (int)e, dataset, "abort the receive of %s", dataset);
}
