#include "os/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/memory.h"

extern char **environ;

static pthread_mutex_t left_lock = PTHREAD_MUTEX_INITIALIZER;
static pid_t left_pids[ZB_SERVICES_MAX]; /* left to themselves, not reaped yet; 0: free place */

/* What the child must not compute for itself: between fork and exec only async-signal-safe calls.
 */
struct child_plan {
    const struct zb_os_spawn_spec *spec;
    char *const *env;
    int null_fd;
    int group_fd; /* -1: none */
    int error_fd; /* close-on-exec pipe: errno of a failed step */
};

static int
signals_default(void)
{
    sigset_t none;

    for (int sig = 1; sig < NSIG; sig++) {
        (void)signal(sig, SIG_DFL); /* KILL, STOP and the C library's own refuse: fine */
    }
    (void)sigemptyset(&none);
    return sigprocmask(SIG_SETMASK, &none, NULL);
}

static int
descriptors_arrange(const struct child_plan *plan)
{
    const struct zb_os_spawn_spec *spec = plan->spec;
    int out = spec->output_fd >= 0 ? spec->output_fd : plan->null_fd;
    int error = spec->error_fd > 0 ? spec->error_fd : out;

    if (dup2(plan->null_fd, 0) < 0) {
        return -1;
    }
    if (!spec->own_output && (dup2(out, 1) < 0 || dup2(error, 2) < 0)) {
        return -1;
    }
    if (syscall(SYS_close_range, 3U, ~0U, (unsigned)CLOSE_RANGE_CLOEXEC) != 0) {
        return -1;
    }
    if (spec->keep_fd > 0) {
        if (spec->keep_fd == ZB_OS_SPAWN_KEEP_FD) {
            return fcntl(spec->keep_fd, F_SETFD, 0);
        }
        return dup2(spec->keep_fd, ZB_OS_SPAWN_KEEP_FD) < 0 ? -1 : 0;
    }
    return 0;
}

static int
group_enter(int group_fd)
{
    int fd = openat(group_fd, "cgroup.procs", O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, "0", 1) == 1 ? 0 : -1;
}

/* By the calls themselves: the C library's own would look after threads that are not here. Without
 * root the capabilities go too (capabilities(7)). */
static int
identity_take(const struct zb_os_identity *as)
{
    if (as == NULL) {
        return 0;
    }
    if (syscall(SYS_setgroups, (size_t)0, NULL) != 0 ||
        syscall(SYS_setresgid, as->gid, as->gid, as->gid) != 0 ||
        syscall(SYS_setresuid, as->uid, as->uid, as->uid) != 0) {
        return -1;
    }
    return 0;
}

__attribute__((noreturn)) static void
child_run(const struct child_plan *plan)
{
    int e;

    /* The error pipe must survive the arrangement of descriptor 3. */
    int error_fd = fcntl(plan->error_fd, F_DUPFD_CLOEXEC, ZB_OS_SPAWN_KEEP_FD + 1);

    if (error_fd >= 0 && (plan->group_fd < 0 || group_enter(plan->group_fd) == 0) &&
        setsid() >= 0 && chdir(plan->spec->dir != NULL ? plan->spec->dir : "/") == 0 &&
        signals_default() == 0 && descriptors_arrange(plan) == 0 &&
        identity_take(plan->spec->as) == 0) {
        (void)umask(022);
        zb_os_memory_child();
        (void)execve(plan->spec->path, plan->spec->argv, plan->env);
    }
    e = errno;
    (void)!write(error_fd >= 0 ? error_fd : plan->error_fd, &e, sizeof(e));
    _exit(127);
}

/* errno of the child's failed step, or 0 when exec took place (the pipe closed without a word). */
static int
exec_result(int fd)
{
    int e = 0;
    ssize_t n;

    do {
        n = read(fd, &e, sizeof(e));
    } while (n < 0 && errno == EINTR);
    return n == (ssize_t)sizeof(e) ? e : 0;
}

static enum zb_rc
fork_and_exec(struct child_plan *plan, struct zb_os_child *child, struct zb_err *err)
{
    int pipe_fd[2];
    int e;
    pid_t pid;

    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        return zb_err_sys(err, errno, "pipe");
    }
    plan->error_fd = pipe_fd[1];
    pid = fork();
    if (pid == 0) {
        child_run(plan);
    }
    e = pid < 0 ? errno : 0;
    (void)close(pipe_fd[1]);
    if (e == 0) {
        e = exec_result(pipe_fd[0]);
        if (e != 0) {
            (void)waitpid(pid, NULL, 0);
        }
    }
    (void)close(pipe_fd[0]);
    if (e != 0) {
        return zb_err_sys(err, e, "start %s", plan->spec->path);
    }
    child->pid = pid;
    child->pidfd = (int)syscall(SYS_pidfd_open, pid, 0U);
    if (child->pidfd < 0) {
        enum zb_rc rc = zb_err_sys(err, errno, "pidfd of %s", plan->spec->path);
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        *child = (struct zb_os_child){0};
        return rc;
    }
    (void)fcntl(child->pidfd, F_SETFD, FD_CLOEXEC);
    return ZB_OK;
}

enum zb_rc
zb_os_spawn(const struct zb_os_spawn_spec *spec, struct zb_os_child *child, struct zb_err *err)
{
    struct child_plan plan = {.spec = spec, .null_fd = -1, .group_fd = -1};
    enum zb_rc rc = ZB_OK;

    zb_os_children_reap();
    plan.env = spec->env != NULL ? spec->env : environ;
    plan.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (plan.null_fd < 0) {
        rc = zb_err_sys(err, errno, "open /dev/null");
        goto out;
    }
    if (spec->group != NULL) {
        rc = zb_os_cgroup_open(spec->group, &plan.group_fd, err);
        if (rc != ZB_OK) {
            goto out;
        }
    }
    rc = fork_and_exec(&plan, child, err);
out:
    if (plan.group_fd >= 0) {
        (void)close(plan.group_fd);
    }
    if (plan.null_fd >= 0) {
        (void)close(plan.null_fd);
    }
    return rc;
}

static void
child_reaped(struct zb_os_child *child)
{
    (void)close(child->pidfd);
    *child = (struct zb_os_child){0};
}

enum zb_rc
zb_os_child_wait(struct zb_os_child *child, struct zb_mono deadline, int *status,
                 struct zb_err *err)
{
    for (;;) {
        struct pollfd p = {.fd = child->pidfd, .events = POLLIN};
        int64_t left_ms = deadline.ms - zb_mono_now().ms;
        int n = poll(&p, 1, left_ms <= 0 ? 0 : left_ms > 1000 ? 1000 : (int)left_ms);

        if (n > 0) {
            break;
        }
        if (n == 0 && left_ms <= 0) {
            return zb_err_set(err, ZB_E_TIMEOUT, "process %d has not ended", (int)child->pid);
        }
    }
    if (waitpid(child->pid, status, 0) != child->pid) {
        return zb_err_sys(err, errno, "wait for process %d", (int)child->pid);
    }
    child_reaped(child);
    return ZB_OK;
}

static void
left_sweep(void)
{
    for (size_t i = 0; i < ZB_SERVICES_MAX; i++) {
        if (left_pids[i] != 0 && waitpid(left_pids[i], NULL, WNOHANG) != 0) {
            left_pids[i] = 0;
        }
    }
}

void
zb_os_children_reap(void)
{
    (void)pthread_mutex_lock(&left_lock);
    left_sweep();
    (void)pthread_mutex_unlock(&left_lock);
}

void
zb_os_child_leave(struct zb_os_child *child)
{
    if (child->pid == 0) {
        return;
    }
    (void)pthread_mutex_lock(&left_lock);
    left_sweep();
    for (size_t i = 0; i < ZB_SERVICES_MAX; i++) {
        if (left_pids[i] == 0) {
            left_pids[i] = child->pid; /* without a free place it stays a zombie once it ends */
            break;
        }
    }
    (void)pthread_mutex_unlock(&left_lock);
    child_reaped(child);
}

void
zb_os_child_kill(struct zb_os_child *child)
{
    if (child->pid == 0) {
        return;
    }
    (void)kill(child->pid, SIGKILL);
    (void)waitpid(child->pid, NULL, 0);
    child_reaped(child);
}

void
zb_os_status_text(int status, char *buf)
{
    if (WIFSIGNALED(status)) {
        (void)snprintf(buf, 64, "killed by signal %d (%.30s)", WTERMSIG(status),
                       strsignal(WTERMSIG(status)));
    } else {
        (void)snprintf(buf, 64, "exit status %d", WEXITSTATUS(status));
    }
}

/* Reads until every writer is gone, the process has ended and the pipe is dry, or the deadline. */
static void
output_collect(int fd, const struct zb_os_child *child, struct zb_mono deadline, char *output,
               size_t size)
{
    size_t used = 0;
    bool open_end = true;

    output[0] = '\0';
    while (open_end) {
        char chunk[4096];
        struct pollfd p[2] = {{.fd = fd, .events = POLLIN}, {.fd = child->pidfd, .events = POLLIN}};
        int64_t left_ms = deadline.ms - zb_mono_now().ms;
        ssize_t n;

        if (left_ms <= 0 ||
            (poll(p, 2, left_ms > 1000 ? 1000 : (int)left_ms) < 0 && errno != EINTR)) {
            break;
        }
        if (p[0].revents == 0 && p[1].revents != 0) {
            break; /* ended; what it left behind in the background may keep the pipe open */
        }
        if (p[0].revents == 0) {
            continue;
        }
        n = read(fd, chunk, sizeof(chunk));
        open_end = n > 0 || (n < 0 && errno == EINTR);
        if (n > 0 && used + 1 < size) {
            size_t take = (size_t)n < size - 1 - used ? (size_t)n : size - 1 - used;
            memcpy(output + used, chunk, take);
            used += take;
            output[used] = '\0';
        }
    }
}

enum zb_rc
zb_os_run(const struct zb_os_spawn_spec *spec, struct zb_mono deadline, char *output, size_t size,
          int *status, struct zb_err *err)
{
    struct zb_os_spawn_spec own = *spec;
    struct zb_os_child child = {0};
    int pipe_fd[2];
    enum zb_rc rc;

    if (pipe2(pipe_fd, O_CLOEXEC) != 0) {
        return zb_err_sys(err, errno, "pipe");
    }
    own.output_fd = pipe_fd[1];
    own.own_output = false;
    rc = zb_os_spawn(&own, &child, err);
    (void)close(pipe_fd[1]);
    if (rc == ZB_OK) {
        output_collect(pipe_fd[0], &child, deadline, output, size);
        rc = zb_os_child_wait(&child, deadline, status, err);
    }
    (void)close(pipe_fd[0]);
    if (rc != ZB_OK) {
        zb_os_child_kill(&child);
        return zb_err_wrap(err, "%s", spec->path);
    }
    return ZB_OK;
}
