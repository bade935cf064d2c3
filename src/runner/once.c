#include "runner/once.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "os/cgroup.h"
#include "os/spawn.h"
#include "runner/internal.h"

#define KILL_WAIT_MS 2000 /* for what was killed to be gone */
#define POLL_MS 1000

/* What the program says on stderr: the line under way, and the last one that said something. */
struct lines {
    char now[ZB_ONCE_LINE_MAX + 1];
    char last[ZB_ONCE_LINE_MAX + 1];
    size_t used;
};

/* --- what it says --- */

static void
lines_end(struct lines *l)
{
    if (l->used > 0) {
        l->now[l->used] = '\0';
        memcpy(l->last, l->now, l->used + 1);
    }
    l->used = 0;
}

static void
lines_add(struct lines *l, const char *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        if (c == '\n' || c == '\r') {
            lines_end(l);
        } else if (l->used < ZB_ONCE_LINE_MAX) {
            l->now[l->used++] = c >= ' ' && c < 0x7f ? (char)c : '?';
        }
    }
}

/* Reads what is there. False: nobody writes any more. */
static bool
lines_read(struct lines *l, int fd)
{
    char chunk[4096];
    ssize_t n = read(fd, chunk, sizeof(chunk));

    if (n > 0) {
        lines_add(l, chunk, (size_t)n);
    }
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* The same, of stdout. It may be a secret: no copy of it stays. */
static bool
output_read(struct zb_once_output *o, int fd)
{
    char dropped[512];
    bool full = o->used == o->size;
    ssize_t n =
        full ? read(fd, dropped, sizeof(dropped)) : read(fd, o->bytes + o->used, o->size - o->used);

    if (n > 0 && !full) {
        o->used += (size_t)n;
    }
    explicit_bzero(dropped, sizeof(dropped));
    return n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN));
}

/* "exit status 1: no route to the BMC" */
static enum zb_rc
said(const struct lines *l, enum zb_rc rc, const char *what, struct zb_err *err)
{
    return zb_err_set(err, rc, "%s%s%s", what, l->last[0] != '\0' ? ": " : "", l->last);
}

/* --- a run --- */

/* What the program writes to. */
enum { OUTPUT, ERROR, PIPES };
struct pipes {
    int fds[PIPES][2]; /* read, write; -1: not open */
};

static void
pipes_close(const struct pipes *p)
{
    for (int i = 0; i < PIPES; i++) {
        for (int end = 0; end < 2; end++) {
            if (p->fds[i][end] >= 0) {
                (void)close(p->fds[i][end]);
            }
        }
    }
}

static enum zb_rc
pipes_open(const struct zb_once *o, struct pipes *p, struct zb_err *err)
{
    for (int i = o->output != NULL ? OUTPUT : ERROR; i < PIPES; i++) {
        if (pipe2(p->fds[i], O_CLOEXEC) != 0 || fcntl(p->fds[i][0], F_SETFL, O_NONBLOCK) != 0) {
            return zb_err_sys(err, errno, "pipe");
        }
    }
    return ZB_OK;
}

/* Until the program has ended (ZB_OK), its time is over, or nobody wants it any more. */
static enum zb_rc
end_wait(const struct zb_once *o, const struct zb_os_child *child, const struct pipes *pipes,
         struct lines *l)
{
    struct zb_mono deadline = zb_runner_after(o->timeout_ms);
    int error_fd = pipes->fds[ERROR][0], output_fd = pipes->fds[OUTPUT][0];

    for (;;) {
        struct pollfd p[4] = {{.fd = child->pidfd, .events = POLLIN},
                              {.fd = o->cancel_fd, .events = POLLIN},
                              {.fd = error_fd, .events = POLLIN},
                              {.fd = output_fd, .events = POLLIN}};
        int64_t left_ms = deadline.ms - zb_mono_now().ms;

        if (left_ms <= 0) {
            return ZB_E_TIMEOUT;
        }
        if (poll(p, 4, left_ms > POLL_MS ? POLL_MS : (int)left_ms) <= 0) {
            continue;
        }
        if (p[2].revents != 0 && !lines_read(l, error_fd)) {
            error_fd = -1;
        }
        if (o->output != NULL && p[3].revents != 0 && !output_read(o->output, output_fd)) {
            output_fd = -1;
        }
        if (p[1].revents != 0) {
            return ZB_E_CANCELED;
        }
        if (p[0].revents != 0) {
            return ZB_OK;
        }
    }
}

/* Whatever is left of the run is killed. What KILL does not reach (a device that does not answer)
 * is left to itself: the next run of the group finds it there. */
static void
run_clear(const struct zb_once *o, struct zb_os_child *child)
{
    struct zb_err err;
    int status;

    if (zb_once_group_end(o->group, &err) != ZB_OK) {
        zb_log_warning("%s: end what it left: %s", o->path, err.msg);
    }
    if (child->pid != 0) {
        (void)kill(child->pid, SIGKILL);
        if (zb_os_child_wait(child, zb_runner_after(KILL_WAIT_MS), &status, &err) != ZB_OK) {
            zb_os_child_leave(child);
        }
    }
}

static enum zb_rc
run_judge(const struct zb_once *o, enum zb_rc ended, int status, const struct lines *l,
          struct zb_err *err)
{
    char text[64];

    if (ended == ZB_E_TIMEOUT) {
        (void)snprintf(text, sizeof(text), "not ended after %" PRIu32 " ms", o->timeout_ms);
        return said(l, ZB_E_TIMEOUT, text, err);
    }
    if (ended != ZB_OK) {
        return said(l, ZB_E_CANCELED, "ended: nobody waits for it any more", err);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return ZB_OK;
    }
    zb_os_status_text(status, text);
    return said(l, ZB_E_FAILED, text, err);
}

static enum zb_rc
run(const struct zb_once *o, const struct pipes *pipes, struct zb_err *err)
{
    struct zb_os_spawn_spec spec = {.path = o->path,
                                    .argv = o->argv,
                                    .env = o->env,
                                    .as = o->as,
                                    .dir = o->dir,
                                    .group = o->group,
                                    .output_fd = pipes->fds[OUTPUT][1],
                                    .error_fd = pipes->fds[ERROR][1]};
    struct zb_os_child child = {0};
    struct lines l = {0};
    int status = 0;
    enum zb_rc ended;
    enum zb_rc rc = zb_os_spawn(&spec, &child, err);

    if (rc != ZB_OK) {
        return rc;
    }
    ended = end_wait(o, &child, pipes, &l);
    if (ended == ZB_OK) {
        rc = zb_os_child_wait(&child, zb_runner_after(KILL_WAIT_MS), &status, err);
    }
    run_clear(o, &child);
    for (int i = 0; i < 16 && lines_read(&l, pipes->fds[ERROR][0]); i++) {
    }
    for (int i = 0; i < 16 && o->output != NULL && output_read(o->output, pipes->fds[OUTPUT][0]);
         i++) {
    }
    lines_end(&l);
    return rc == ZB_OK ? run_judge(o, ended, status, &l, err) : rc;
}

enum zb_rc
zb_once_run(const struct zb_once *o, struct zb_err *err)
{
    struct pipes pipes = {{{-1, -1}, {-1, -1}}};
    enum zb_rc rc = zb_once_group_end(o->group, err);

    if (rc == ZB_OK) {
        rc = pipes_open(o, &pipes, err);
    }
    if (rc == ZB_OK) {
        rc = run(o, &pipes, err);
    }
    pipes_close(&pipes);
    zb_os_cgroup_remove(o->group);
    return rc;
}

enum zb_rc
zb_once_group_end(const char *group, struct zb_err *err)
{
    bool populated = false;
    enum zb_rc rc = zb_os_cgroup_populated(group, &populated, err);

    if (rc == ZB_E_UNSUPPORTED || (rc == ZB_OK && !populated)) {
        return ZB_OK; /* without groups nothing was ever started */
    }
    if (rc == ZB_OK) {
        rc = zb_os_cgroup_kill(group, err);
    }
    if (rc == ZB_OK) {
        rc = zb_os_cgroup_wait_empty(group, zb_runner_after(KILL_WAIT_MS), err);
    }
    if (rc == ZB_E_TIMEOUT) {
        return zb_err_set(err, ZB_E_BUSY, "what an earlier run left does not end");
    }
    return rc;
}
