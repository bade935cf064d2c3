#include "keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"

#define OUT_BYTES_MAX (8u << 20) /* an engine that does not read its replies is not read either */
#define DRAIN_STEP_MS 50
#define STOPPING_STEP_MS 100
#define ENGINE_END_MS 5000   /* for the engine after SIGTERM; then KILL */
#define WORKERS_END_MS 10000 /* for operations under way at the end */

static enum zb_rc
directory_open(const char *path, const char *name, int *fd, struct zb_err *err)
{
    char full[ZB_PATH_SIZE + 32];
    struct stat st;

    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", path);
    }
    (void)snprintf(full, sizeof(full), "%s/%s", path, name);
    if (mkdir(full, 0700) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", full);
    }
    *fd = open(full, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &st) != 0) {
        return zb_err_sys(err, errno, "open %s", full);
    }
    if (st.st_uid != 0 || (st.st_mode & 0077) != 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s can be entered by others than root", full);
        return zb_err_hint(err, "chown root %.100s; chmod 700 %.100s", full, full);
    }
    return ZB_OK;
}

static enum zb_rc
boot_id_read(char *boot_id, struct zb_err *err)
{
    FILE *f = fopen("/proc/sys/kernel/random/boot_id", "re");
    char line[64] = "";

    if (f == NULL || fgets(line, sizeof(line), f) == NULL) {
        if (f != NULL) {
            (void)fclose(f);
        }
        return zb_err_set(err, ZB_E_FAILED, "the boot id cannot be read");
    }
    (void)fclose(f);
    line[strcspn(line, "\n")] = '\0';
    if (!zb_uuid_valid(line)) {
        return zb_err_set(err, ZB_E_FORMAT, "not a boot id: %s", line);
    }
    zb_strcopy(boot_id, ZB_UUID_SIZE, line);
    return ZB_OK;
}

static enum zb_rc
keeper_open(struct zb_keeper *k, struct zb_err *err)
{
    enum zb_rc rc;

    if (geteuid() != 0) {
        return zb_err_set(err, ZB_E_USAGE, "the keeper runs as root");
    }
    rc = directory_open(k->conf->state_dir, "keeper", &k->dir_fd, err);
    if (rc != ZB_OK) {
        return rc;
    }
    k->lock_fd = openat(k->dir_fd, "lock", O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (k->lock_fd < 0) {
        return zb_err_sys(err, errno, "open the lock of %s", k->conf->state_dir);
    }
    if (flock(k->lock_fd, LOCK_EX | LOCK_NB) != 0) {
        return errno == EWOULDBLOCK
                   ? zb_err_set(err, ZB_E_BUSY, "another keeper has %s", k->conf->state_dir)
                   : zb_err_sys(err, errno, "lock %s", k->conf->state_dir);
    }
    k->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    k->key_end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (k->wake_fd < 0 || k->key_end_fd < 0) {
        return zb_err_sys(err, errno, "eventfd");
    }
    k->in = malloc(4 + ZB_KMSG_MAX);
    if (k->in == NULL) {
        return zb_err_sys(err, ENOMEM, "start");
    }
    rc = boot_id_read(k->boot_id, err);
    return rc == ZB_OK ? zb_keeper_services_load(k, err) : rc;
}

static void
keeper_close(struct zb_keeper *k)
{
    const int fds[] = {k->wake_fd, k->key_end_fd, k->lock_fd, k->dir_fd};

    for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++) {
        if (fds[i] >= 0) {
            (void)close(fds[i]);
        }
    }
    zb_keeper_services_close(k);
    free(k->workers);
    free(k->in);
}

/* Signals arrive through a descriptor, for the loop; SIGPIPE is an error of write. */
static enum zb_rc
signals_take(int *fd, struct zb_err *err)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGTERM);
    (void)sigaddset(&set, SIGINT);
    (void)sigaddset(&set, SIGPIPE);
    if (pthread_sigmask(SIG_BLOCK, &set, NULL) != 0) {
        return zb_err_set(err, ZB_E_FAILED, "block signals");
    }
    (void)sigdelset(&set, SIGPIPE);
    *fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return *fd >= 0 ? ZB_OK : zb_err_sys(err, errno, "signalfd");
}

/* Starts the engine when its time has come; how long poll may wait. */
static int
engine_due(struct zb_keeper *k)
{
    struct zb_err err;
    int64_t left_ms = k->engine_next.ms - zb_mono_now().ms;

    if (k->engine.pid != 0) {
        return -1;
    }
    if (k->stopping) {
        return STOPPING_STEP_MS;
    }
    if (left_ms > 0) {
        return (int)left_ms;
    }
    if (zb_keeper_engine_start(k, &err) != ZB_OK) {
        zb_log_error("%s", err.msg);
        zb_keeper_engine_end(k, "not started");
        return (int)k->backoff_ms;
    }
    zb_keeper_notify("READY=1");
    return -1;
}

static bool
engine_may_ask(struct zb_keeper *k)
{
    bool room;

    (void)pthread_mutex_lock(&k->lock);
    room = k->jobs_count < ZB_KEEPER_WAITING_MAX;
    (void)pthread_mutex_unlock(&k->lock);
    return room && k->out_bytes < OUT_BYTES_MAX;
}

/* What goes between keeper and engine; p: its socket and its process, polled. Returns why the
 * engine has to be ended, or NULL. */
static const char *
engine_serve(struct zb_keeper *k, const struct pollfd p[2])
{
    const char *why = NULL;

    if ((p[0].revents & POLLIN) != 0 && !zb_keeper_engine_read(k, &why)) {
        return why;
    }
    if (p[1].revents != 0 || (p[0].revents & (POLLERR | POLLHUP)) != 0) {
        return "it ended by itself";
    }
    if (k->out_head != NULL && !zb_keeper_engine_write(k, &why)) {
        return why;
    }
    return NULL;
}

/* One that was told to end closes its socket before its files: it is not killed for that. */
static void
engine_wait(struct zb_keeper *k)
{
    struct zb_mono until = {zb_mono_now().ms + ENGINE_END_MS};
    struct zb_err err;
    enum zb_rc rc;
    int status;

    do { /* the watchdog does not wait for it */
        (void)zb_keeper_deadline_step(k, -1);
        rc = zb_os_child_wait(&k->engine, (struct zb_mono){zb_mono_now().ms + STOPPING_STEP_MS},
                              &status, &err);
    } while (rc == ZB_E_TIMEOUT && zb_mono_now().ms < until.ms);
    if (rc != ZB_OK) {
        zb_log_warning("engine: %s", err.msg);
    }
}

/* One round of the loop. False: a signal says to end. */
static bool
loop_step(struct zb_keeper *k, int signal_fd)
{
    uint64_t count;
    int timeout_ms = engine_due(k);
    bool up = k->engine.pid != 0;
    bool lost;
    const char *why;
    struct pollfd p[4] = {
        {.fd = signal_fd, .events = POLLIN},
        {.fd = k->wake_fd, .events = POLLIN},
        {.fd = up ? k->engine_fd : -1},
        {.fd = up ? k->engine.pidfd : -1, .events = POLLIN},
    };

    p[2].events = (short)((engine_may_ask(k) ? POLLIN : 0) | (k->out_head != NULL ? POLLOUT : 0));
    if (zb_keeper_drains_step(k)) {
        timeout_ms = DRAIN_STEP_MS;
    }
    (void)poll(p, 4, zb_keeper_deadline_step(k, timeout_ms));
    if (p[0].revents != 0) {
        return false;
    }
    (void)!read(k->wake_fd, &count, sizeof(count));
    zb_keeper_engine_collect(k);
    (void)pthread_mutex_lock(&k->lock);
    lost = k->out_lost;
    k->out_lost = false;
    (void)pthread_mutex_unlock(&k->lock);
    if (!up) {
        return true;
    }
    why = lost ? "a reply to it was lost for want of memory" : engine_serve(k, p + 2);
    if (why != NULL) {
        if (k->stopping) {
            engine_wait(k);
        }
        zb_keeper_engine_end(k, why);
    }
    return true;
}

/* It still has to say good-bye: it is served until it has ended. */
static void
engine_stop(struct zb_keeper *k)
{
    struct zb_mono until = {zb_mono_now().ms + ENGINE_END_MS};

    if (k->engine.pid != 0) {
        (void)kill(k->engine.pid, SIGTERM);
    }
    while (k->engine.pid != 0 && zb_mono_now().ms < until.ms) {
        (void)loop_step(k, -1);
    }
    if (k->engine.pid != 0) {
        zb_keeper_engine_end(k, "the keeper ends, and it did not");
    }
}

/* Nobody may count on a keeper that is gone: what is writable under a session that could not be
 * ended is demoted first. */
static void
session_stop(struct zb_keeper *k)
{
    if (zb_keeper_is_bound(k)) {
        zb_keeper_lapse_now(k, "zbatond is stopped, and etcd cannot be told");
    }
    while (zb_keeper_is_bound(k)) {
        (void)loop_step(k, -1);
    }
}

static enum zb_rc
run(struct zb_keeper *k, struct zb_err *err)
{
    int signal_fd = -1;
    enum zb_rc rc = signals_take(&signal_fd, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_deadline_open(k, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_start_settle(k);
        rc = zb_keeper_deadline_start(k, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_workers_start(k, err);
    }
    if (rc == ZB_OK) {
        while (loop_step(k, signal_fd)) {
        }
        zb_keeper_notify("STOPPING=1");
        k->stopping = true;
        engine_stop(k);
        session_stop(k);
    }
    if (!zb_keeper_deadline_end(k) ||
        !zb_keeper_workers_end(k, (struct zb_mono){zb_mono_now().ms + WORKERS_END_MS})) {
        k->stuck = true;
        return zb_err_set(err, ZB_E_FAILED,
                          "operations are stuck in the kernel; the process "
                          "ends when they do");
    }
    zb_keeper_engine_collect(k);
    if (signal_fd >= 0) {
        (void)close(signal_fd);
    }
    return rc;
}

enum zb_rc
zb_keeper_run(const struct zb_conf_node *conf, const char *engine_path, struct zb_err *err)
{
    struct zb_keeper *k = calloc(1, sizeof(*k));
    struct zb_zfs_version version;
    enum zb_rc rc;

    if (k == NULL) {
        return zb_err_sys(err, ENOMEM, "keeper");
    }
    *k = (struct zb_keeper){
        .conf = conf,
        .engine_path = engine_path,
        .dir_fd = -1,
        .lock_fd = -1,
        .wake_fd = -1,
        .key_end_fd = -1,
        .engine_fd = -1,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .key_lock = PTHREAD_MUTEX_INITIALIZER,
        .ended = PTHREAD_COND_INITIALIZER,
        .gather = {.moved = PTHREAD_COND_INITIALIZER, .taken = PTHREAD_COND_INITIALIZER},
        .nobody = {.settled = true},
        .deadline = {.lapsed = PTHREAD_COND_INITIALIZER, .watchdog_fd = -1},
        .backoff_ms = 100};
    rc = keeper_open(k, err);
    if (rc != ZB_OK) {
        goto out;
    }
    rc = zb_zfs_init(&version, err);
    if (rc != ZB_OK) {
        goto out;
    }
    zb_log_info("ZFS %s, root %s", version.text, conf->root);
    if (!version.rw_mount_ok) {
        zb_log_error("ZFS %s ignores rw over readonly=on: this node cannot lead (openzfs#18557)",
                     version.text);
    }
    rc = run(k, err);
    if (k->stuck) {
        return rc; /* workers use what k owns; its lock stays until the process is really gone */
    }
    zb_zfs_close();
out:
    keeper_close(k);
    free(k);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "keeper");
}
