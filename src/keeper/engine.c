#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/be.h"
#include "base/log.h"
#include "keeper/internal.h"

#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 5000
#define BACKOFF_RESET_MS 30000 /* an engine that lived so long did not end at once */
#define ARGUMENTS_MAX 64

/* This process's own command line (text, its words are not copied) with "--engine 3" behind it. */
static enum zb_rc
command_line(char **text, char **argv, struct zb_err *err)
{
    static char engine[] = "--engine";
    static char number[] = "3";
    size_t size = 0;
    size_t count = 0;
    int fd = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
    char *buf = malloc(ZB_PATH_SIZE * 4 + 1);
    ssize_t n = fd >= 0 && buf != NULL ? read(fd, buf, ZB_PATH_SIZE * 4) : -1;

    if (fd >= 0) {
        (void)close(fd);
    }
    if (n <= 0 || n == ZB_PATH_SIZE * 4) {
        free(buf);
        return zb_err_set(err, ZB_E_FAILED, "own command line cannot be read");
    }
    buf[n] = '\0';
    for (; size < (size_t)n && count < ARGUMENTS_MAX - 3; size += strlen(buf + size) + 1) {
        argv[count++] = buf + size;
    }
    argv[count++] = engine;
    argv[count++] = number;
    argv[count] = NULL;
    *text = buf;
    return ZB_OK;
}

enum zb_rc
zb_keeper_engine_start(struct zb_keeper *k, struct zb_err *err)
{
    char *argv[ARGUMENTS_MAX];
    char *text = NULL;
    int pair[2] = {-1, -1};
    struct zb_os_spawn_spec spec = {.path = k->engine_path, .argv = argv, .own_output = true};
    enum zb_rc rc;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return zb_err_sys(err, errno, "start the engine: socketpair");
    }
    rc = command_line(&text, argv, err);
    if (rc != ZB_OK) {
        goto out;
    }
    spec.keep_fd = pair[1];
    rc = zb_os_spawn(&spec, &k->engine, err);
    if (rc != ZB_OK) {
        goto out;
    }
    (void)pthread_mutex_lock(&k->lock);
    k->generation++;
    (void)pthread_mutex_unlock(&k->lock);
    k->engine_fd = pair[0];
    pair[0] = -1;
    k->nonce = zb_random_u64();
    k->greeted = false;
    k->in_used = 0;
    k->engine_started = zb_mono_now();
    zb_log_info("engine is process %d", (int)k->engine.pid);
out:
    free(text);
    for (int i = 0; i < 2; i++) {
        if (pair[i] >= 0) {
            (void)close(pair[i]);
        }
    }
    return rc == ZB_OK ? rc : zb_err_wrap(err, "start the engine");
}

static void
out_free(struct zb_keeper_out *out)
{
    if (out->fd >= 0) {
        (void)close(out->fd);
    }
    free(out);
}

static void
outs_free(struct zb_keeper_out *out)
{
    while (out != NULL) {
        struct zb_keeper_out *next = out->next;
        out_free(out);
        out = next;
    }
}

/* Nobody will read what its transfers write, or write what they read, or hear who is off. */
static void
jobs_cancel(struct zb_keeper *k)
{
    const struct zb_keeper_list *lists[] = {&k->waiting, &k->active};

    (void)pthread_mutex_lock(&k->lock);
    for (size_t i = 0; i < 2; i++) {
        for (struct zb_keeper_job *j = lists[i]->head; j != NULL; j = j->next) {
            if (zb_keeper_job_cancelable(j)) {
                zb_keeper_job_cancel(j);
            }
        }
    }
    (void)pthread_mutex_unlock(&k->lock);
}

void
zb_keeper_engine_end(struct zb_keeper *k, const char *why)
{
    struct zb_mono now = zb_mono_now();

    if (k->engine.pid != 0) {
        zb_log_warning("engine (process %d) ends: %s", (int)k->engine.pid, why);
    }
    zb_os_child_kill(&k->engine);
    if (k->engine_fd >= 0) {
        (void)close(k->engine_fd);
        k->engine_fd = -1;
    }
    outs_free(k->out_head);
    k->out_head = k->out_tail = NULL;
    k->out_bytes = 0;
    jobs_cancel(k);
    if (now.ms - k->engine_started.ms > BACKOFF_RESET_MS) {
        k->backoff_ms = BACKOFF_MIN_MS;
    }
    k->engine_next.ms = now.ms + k->backoff_ms;
    k->backoff_ms = k->backoff_ms * 2 > BACKOFF_MAX_MS ? BACKOFF_MAX_MS : k->backoff_ms * 2;
}

/* One whole message at the front of the buffer, if there is one. */
static bool
message_take(struct zb_keeper *k, bool *taken, const char **why)
{
    struct zb_kreq req = {0};
    struct zb_err err;
    uint32_t size;

    *taken = false;
    if (k->in_used < 4) {
        return true;
    }
    size = zb_be32_get(k->in);
    if (size > ZB_KMSG_MAX) {
        *why = "it sent a message that is too long";
        return false;
    }
    if (k->in_used < 4 + (size_t)size) {
        return true;
    }
    if (zb_kreq_decode(k->in + 4, size, &req, &err) != ZB_OK) {
        zb_log_error("from the engine: %s", err.msg);
        *why = "it sent a message that does not decode";
        return false;
    }
    k->in_used -= 4 + (size_t)size;
    memmove(k->in, k->in + 4 + size, k->in_used);
    zb_keeper_request(k, &req);
    *taken = true;
    return true;
}

bool
zb_keeper_engine_read(struct zb_keeper *k, const char **why)
{
    ssize_t n = recv(k->engine_fd, k->in + k->in_used, 4 + ZB_KMSG_MAX - k->in_used, MSG_DONTWAIT);
    bool taken;

    if (n == 0) {
        *why = "it closed its socket";
        return false;
    }
    if (n < 0) {
        *why = "its socket failed";
        return errno == EAGAIN || errno == EINTR;
    }
    k->in_used += (size_t)n;
    do {
        if (!message_take(k, &taken, why)) {
            return false;
        }
    } while (taken);
    return true;
}

void
zb_keeper_engine_collect(struct zb_keeper *k)
{
    struct zb_keeper_out *out;

    (void)pthread_mutex_lock(&k->lock);
    out = k->done_head;
    k->done_head = k->done_tail = NULL;
    (void)pthread_mutex_unlock(&k->lock);
    while (out != NULL) {
        struct zb_keeper_out *next = out->next;
        out->next = NULL;
        if (k->engine_fd < 0 || out->generation != k->generation) {
            out_free(out); /* asked by an engine that is gone */
        } else {
            *(k->out_tail != NULL ? &k->out_tail->next : &k->out_head) = out;
            k->out_tail = out;
            k->out_bytes += out->size;
        }
        out = next;
    }
}

/* Bytes of one reply; its descriptor goes with the first of them. */
static ssize_t
out_send(int fd, const struct zb_keeper_out *out)
{
    struct iovec iov = {.iov_base = (uint8_t *)(uintptr_t)(out->bytes + out->sent),
                        .iov_len = out->size - out->sent};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    union {
        char buf[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};

    if (out->fd >= 0 && out->sent == 0) {
        struct cmsghdr *c;
        msg.msg_control = control.buf;
        msg.msg_controllen = sizeof(control.buf);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &out->fd, sizeof(int));
    }
    return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

bool
zb_keeper_engine_write(struct zb_keeper *k, const char **why)
{
    while (k->out_head != NULL) {
        struct zb_keeper_out *out = k->out_head;
        ssize_t n = out_send(k->engine_fd, out);

        if (n < 0) {
            *why = "its socket failed";
            return errno == EAGAIN || errno == EINTR;
        }
        out->sent += (size_t)n;
        if (out->fd >= 0) {
            (void)close(out->fd);
            out->fd = -1;
        }
        if (out->sent < out->size) {
            return true;
        }
        k->out_head = out->next;
        k->out_tail = k->out_head == NULL ? NULL : k->out_tail;
        k->out_bytes -= out->size;
        out_free(out);
    }
    return true;
}
