#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "os/cgroup.h"
#include "os/spawn.h"
#include "runner/internal.h"

#define CHECK_STEP_MS 200 /* between two checks while a service starts */
#define KILL_WAIT_MS 2000 /* after a failed start, for what was killed to be gone */
#define GROUP_SIZE (ZB_RUNNER_GROUP_MAX + 8)

/* The group of the check and stop commands. */
static void
control_group(const struct zb_runner *r, char *group)
{
    (void)snprintf(group, GROUP_SIZE, "%.*s.ctl", ZB_RUNNER_GROUP_MAX, r->group);
}

/* The log is a file that the service itself writes to (a pipe would break when zbatond restarts);
 * being open for appending only, it can be cut under the writer. */
static enum zb_rc
log_open(const struct zb_runner *r, int *log_fd, struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    struct stat st;
    int fd;

    if (mkdir(r->run_dir, 0755) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", r->run_dir);
    }
    if ((size_t)snprintf(path, sizeof(path), "%s/%s.log", r->run_dir, r->service) >= sizeof(path)) {
        return zb_err_set(err, ZB_E_LIMIT, "path of the log is too long");
    }
    fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (fd < 0) {
        return zb_err_sys(err, errno, "open %s", path);
    }
    if (fstat(fd, &st) == 0 && st.st_size > ZB_RUNNER_LOG_MAX_BYTES) {
        zb_log_warning("%s was longer than %d bytes and is cut", path, ZB_RUNNER_LOG_MAX_BYTES);
        (void)!ftruncate(fd, 0);
    }
    *log_fd = fd;
    return ZB_OK;
}

static enum zb_rc
command_alive(const struct zb_runner *r, bool *alive, struct zb_err *err)
{
    enum zb_rc rc = zb_os_cgroup_populated(r->group, alive, err);

    if (rc == ZB_E_UNSUPPORTED) { /* without groups nothing was ever started */
        *alive = false;
        return ZB_OK;
    }
    return rc;
}

/* Runs check or stop to its end in the control group, and ends what it leaves there. */
static enum zb_rc
control_run(const struct zb_runner *r, const char *line, struct zb_mono deadline, int *status,
            struct zb_err *err)
{
    struct zb_runner_command c;
    struct zb_os_spawn_spec spec = {.path = c.path, .argv = c.words, .env = c.env};
    struct zb_os_child child = {0};
    struct zb_err ignored;
    char group[GROUP_SIZE];
    int log_fd = -1;
    enum zb_rc rc = zb_runner_command_prepare(r, line, &c, err);

    if (rc == ZB_OK) {
        rc = log_open(r, &log_fd, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    control_group(r, group);
    spec.group = group;
    spec.output_fd = log_fd;
    rc = zb_os_spawn(&spec, &child, err);
    if (rc == ZB_OK) {
        rc = zb_os_child_wait(&child, deadline, status, err);
        zb_os_child_kill(&child);
    }
    if (zb_os_cgroup_kill(group, &ignored) != ZB_OK) {
        zb_log_warning("%s: end the commands' group: %s", r->service, ignored.msg);
    }
    (void)close(log_fd);
    return rc;
}

static enum zb_rc
check_run(const struct zb_runner *r, struct zb_mono deadline, bool *healthy, struct zb_err *err)
{
    int status = 0;
    enum zb_rc rc = control_run(r, r->check, deadline, &status, err);

    if (rc == ZB_E_TIMEOUT) {
        *healthy = false;
        return ZB_OK;
    }
    if (rc == ZB_OK) {
        *healthy = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    return rc;
}

static enum zb_rc
command_check(const struct zb_runner *r, struct zb_mono deadline, bool *running, struct zb_err *err)
{
    bool alive;
    enum zb_rc rc = command_alive(r, &alive, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (!alive || !zb_runner_declared(r->check)) {
        *running = alive;
        return ZB_OK;
    }
    return check_run(r, deadline, running, err);
}

/* Waits for the start program until `until`. *ended says whether it is gone; ended badly is an
 * error. */
static enum zb_rc
start_program_wait(struct zb_os_child *child, struct zb_mono until, bool *ended, struct zb_err *err)
{
    char text[64];
    int status;
    enum zb_rc rc = zb_os_child_wait(child, until, &status, err);

    if (rc == ZB_E_TIMEOUT) {
        *ended = false;
        return ZB_OK;
    }
    if (rc != ZB_OK) {
        return rc;
    }
    *ended = true;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        zb_os_status_text(status, text);
        return zb_err_set(err, ZB_E_FAILED, "the start program ended with %s", text);
    }
    return ZB_OK;
}

/* From "the program runs or ended well" to "the check succeeds". Who demotes stops the service
 * under it, and waits: where nothing is left of it there is nothing to be checked. */
static enum zb_rc
healthy_wait(const struct zb_runner *r, struct zb_os_child *child, bool ended,
             struct zb_mono deadline, struct zb_err *err)
{
    for (;;) {
        bool healthy = false;
        bool left = true;
        enum zb_rc rc = ended ? command_alive(r, &left, err) : ZB_OK;

        if (rc == ZB_OK && !left) {
            return zb_err_set(err, ZB_E_FAILED,
                              "the start program has ended and nothing of it runs any more");
        }
        if (rc == ZB_OK) {
            rc = check_run(r, deadline, &healthy, err);
        }
        if (rc != ZB_OK || healthy) {
            return rc;
        }
        if (zb_mono_now().ms >= deadline.ms) {
            return zb_err_set(err, ZB_E_TIMEOUT, "the check '%s' did not succeed in time",
                              r->check);
        }
        if (!ended) {
            rc = start_program_wait(child, zb_runner_after(CHECK_STEP_MS), &ended, err);
            if (rc != ZB_OK) {
                return rc;
            }
        } else {
            (void)usleep(CHECK_STEP_MS * 1000);
        }
    }
}

static void
failed_start_clear(const struct zb_runner *r)
{
    struct zb_err err;

    if (zb_os_cgroup_kill(r->group, &err) != ZB_OK ||
        zb_os_cgroup_wait_empty(r->group, zb_runner_after(KILL_WAIT_MS), &err) != ZB_OK) {
        zb_log_warning("%s: after a failed start: %s", r->service, err.msg);
    }
}

static enum zb_rc
command_start(const struct zb_runner *r, struct zb_mono deadline, struct zb_err *err)
{
    struct zb_runner_command c;
    struct zb_os_spawn_spec spec = {.path = c.path, .argv = c.words, .env = c.env};
    struct zb_os_child child = {0};
    int log_fd = -1;
    bool alive;
    bool ended = true;
    enum zb_rc rc = command_alive(r, &alive, err);

    if (rc == ZB_OK) {
        rc = zb_runner_command_prepare(r, r->start != NULL ? r->start : "", &c, err);
    }
    if (rc == ZB_OK) {
        rc = log_open(r, &log_fd, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    if (!alive) {
        struct zb_mono settled = zb_runner_after(ZB_RUNNER_SETTLE_MS);
        spec.group = r->group;
        spec.output_fd = log_fd;
        rc = zb_os_spawn(&spec, &child, err);
        if (rc == ZB_OK) {
            rc = start_program_wait(&child, settled, &ended, err);
        }
    }
    if (rc == ZB_OK && zb_runner_declared(r->check)) {
        rc = healthy_wait(r, &child, ended, deadline, err);
    }
    zb_os_child_leave(&child);
    if (rc != ZB_OK) {
        failed_start_clear(r);
        (void)zb_err_hint(err, "its output is in %.150s/%.70s.log", r->run_dir, r->service);
    }
    (void)close(log_fd);
    return rc;
}

static void
stop_command_run(const struct zb_runner *r, struct zb_mono deadline)
{
    struct zb_err err;
    char text[64];
    int status = 0;

    if (control_run(r, r->stop, deadline, &status, &err) != ZB_OK) {
        zb_log_warning("%s: stop command: %s", r->service, err.msg);
    } else if (status != 0) {
        zb_os_status_text(status, text);
        zb_log_warning("%s: stop command ended with %s", r->service, text);
    } else if (zb_os_cgroup_wait_empty(r->group, deadline, &err) != ZB_OK) {
        zb_log_info("%s: processes are left after the stop command", r->service);
    }
}

/* Whether the commands' group still has processes; one that cannot be asked is none. */
static bool
group_left(const char *group)
{
    struct zb_err err;
    bool populated = false;

    return zb_os_cgroup_populated(group, &populated, &err) == ZB_OK && populated;
}

static enum zb_rc
command_stop(const struct zb_runner *r, uint32_t timeout_ms, struct zb_err *err)
{
    struct zb_mono half = zb_runner_after(timeout_ms / 2);
    struct zb_mono hard = zb_runner_after((uint64_t)timeout_ms * 3 / 4);
    struct zb_mono deadline = zb_runner_after(timeout_ms);
    char group[GROUP_SIZE];
    bool alive = false;
    enum zb_rc rc = command_alive(r, &alive, err);

    control_group(r, group);
    if (rc != ZB_OK || (!alive && !group_left(group))) {
        return rc;
    }
    if (alive && zb_runner_declared(r->stop)) {
        stop_command_run(r, half);
    }
    if (rc == ZB_OK && alive) {
        rc = zb_os_cgroup_signal(r->group, SIGTERM, err);
    }
    if (rc == ZB_OK) {
        rc = zb_os_cgroup_wait_empty(r->group, hard, err);
    }
    if (rc == ZB_E_TIMEOUT) {
        zb_log_warning("%s: not stopped by TERM, killing what is left", r->service);
        rc = zb_os_cgroup_kill(r->group, err);
        if (rc == ZB_OK) {
            rc = zb_os_cgroup_wait_empty(r->group, deadline, err);
        }
    }
    if (rc == ZB_OK) {
        rc = zb_os_cgroup_kill(group, err);
    }
    if (rc == ZB_OK) {
        rc = zb_os_cgroup_wait_empty(group, deadline, err);
    }
    zb_os_children_reap();
    if (rc == ZB_OK) {
        zb_os_cgroup_remove(r->group);
        zb_os_cgroup_remove(group);
    }
    return rc;
}

const struct zb_runner_ops zb_runner_command_ops = {command_start, command_stop, command_check,
                                                    command_alive};
