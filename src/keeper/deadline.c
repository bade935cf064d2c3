/*
 * The write deadline: BEAT, RENEW, LAPSE and LEAVE of kmsg.h, what is done when it passes, and the
 * watchdog behind it. The loop looks at the clock; it waits for nothing but the keeper's own small
 * files, when a session begins or was left. A thread of its own demotes, for a worker may hang in a
 * pool that does not answer.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "os/watchdog.h"

#define PAT_MS 1000          /* between two pats of the watchdog at most */
#define CLAIM_WAIT_MS 2000   /* for another operation of a service to end */
#define ROUND_MS 300         /* before what could not be demoted is tried again */
#define STOP_MIN_MS 1000     /* for a service to stop, however late it is */
#define POOL_STUCK_MS 30000  /* what a pool may take for a transaction group, however busy */
#define UNMOUNT_ROOM_MS 3000 /* of the time until the hard deadline, for what comes after that */

static const struct timespec round_step = {.tv_nsec = ROUND_MS * 1000000L};

/* ---- what was writable ---- */

/* Caller holds lock. PROMOTE alone makes writable what was not. */
static bool
is_promoted(const struct zb_keeper *k, const struct zb_keeper_service *s)
{
    const struct zb_keeper_list *lists[] = {&k->waiting, &k->active};

    for (size_t i = 0; i < 2; i++) {
        for (const struct zb_keeper_job *j = lists[i]->head; j != NULL; j = j->next) {
            if (j->service == s && j->req.op == ZB_KOP_PROMOTE) {
                return true;
            }
        }
    }
    return false;
}

/* Caller holds lock. */
static bool
is_writable(const struct zb_keeper *k, const struct zb_keeper_service *s)
{
    return s->stage != ZB_STAGE_REST || s->unproven || is_promoted(k, s);
}

/* Caller holds lock. */
static bool
any_writable(const struct zb_keeper *k)
{
    for (uint32_t i = 0; i < k->services_count; i++) {
        if (is_writable(k, k->services[i])) {
            return true;
        }
    }
    return false;
}

/* Caller holds lock. Before it is looked after, a service may be mounted by an earlier life. */
static bool
is_at_rest(const struct zb_keeper *k)
{
    bool settled = true;

    for (uint32_t i = 0; i < k->services_count; i++) {
        settled = settled && k->services[i]->settled;
    }
    return settled && !any_writable(k);
}

/* Caller holds lock. When it was renewed last, and whether a deadline can be late for anything: for
 * this boot's next keeper. Lost, that one demotes. */
static bool
run_store(struct zb_keeper *k)
{
    bool rested = zb_session_is_at_rest(&k->session) || is_at_rest(k);
    bool good = zb_keeper_session_run_store(k, rested);

    k->deadline.rest_stored = rested;
    return good;
}

/* ---- demotion ---- */

/* Of the services that were writable, or were becoming so, when the session lapsed. */
struct lapse {
    struct zb_keeper *k;
    size_t count;
    struct zb_keeper_service **services;
    bool *done;
    bool *unknown; /* it is at rest as far as this life knows, which has not looked after it yet */
};

static uint32_t
stop_ms(struct zb_keeper *k)
{
    int64_t left_ms;

    (void)pthread_mutex_lock(&k->lock);
    left_ms = zb_session_hard_at(&k->session).ms - zb_mono_now().ms - UNMOUNT_ROOM_MS;
    (void)pthread_mutex_unlock(&k->lock);
    return left_ms < STOP_MIN_MS ? STOP_MIN_MS : (uint32_t)left_ms;
}

/* Nothing of it is mounted read-write, or it is not zbaton's. */
static bool
is_unmounted(const struct zb_keeper *k, const struct zb_keeper_service *s)
{
    struct zb_keeper_view view = {0};
    struct zb_err err;
    bool mounted = zb_keeper_view_open(k, s->name, &view, &err) != ZB_OK;

    for (uint32_t i = 0; !mounted && i < view.count; i++) {
        mounted =
            view.datasets[i].mount == ZB_MOUNT_RW && zb_keeper_view_is_managed(&view, s->name);
    }
    zb_keeper_view_close(&view);
    return !mounted;
}

static void
demote_one(void *ctx, size_t i)
{
    struct lapse *l = ctx;
    struct zb_keeper *k = l->k;
    struct zb_keeper_service *s = l->services[i];
    struct zb_conf_service conf;
    struct zb_err err = {0};
    enum zb_rc rc;
    bool defined;

    l->done[i] = l->done[i] || (l->unknown[i] && is_unmounted(k, s));
    if (l->done[i]) {
        return;
    }
    (void)pthread_mutex_lock(&k->lock);
    defined = s->defined;
    conf = s->conf;
    (void)pthread_mutex_unlock(&k->lock);
    /* Whatever operation is under way, a START too: it ends the sooner for it. */
    rc = zb_keeper_service_stop(k, s->name, defined ? &conf : NULL, stop_ms(k), &err);
    if (!zb_keeper_claim_wait(k, s, ZB_CLAIM_WRITE, CLAIM_WAIT_MS)) {
        zb_log_error("%s: an operation does not end; it is not known to be demoted", s->name);
        return;
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_demote(k, s, defined ? &conf : NULL, STOP_MIN_MS, &err);
    }
    zb_keeper_claim_end(k, s, ZB_CLAIM_WRITE);
    l->done[i] = rc == ZB_OK;
    zb_log(rc == ZB_OK ? ZB_LOG_WARNING : ZB_LOG_ERROR, "%s: %s%s", s->name,
           rc == ZB_OK ? "demoted: the session in etcd is over" : "not demoted yet: ",
           rc == ZB_OK ? "" : err.msg);
}

/* Caller holds lock. */
static bool
lapse_is_over(const struct zb_keeper *k, const struct lapse *l)
{
    bool all = true;

    for (size_t i = 0; i < l->count; i++) {
        all = all && l->done[i];
    }
    return all || k->deadline.ending;
}

/* Whom it is about; waits for a lapse. False: the thread ends. */
static bool
lapse_wait(struct zb_keeper *k, struct lapse *l)
{
    (void)pthread_mutex_lock(&k->lock);
    while (!k->deadline.ending && (k->session.stage != ZB_SESSION_LAPSED || k->session.demoted)) {
        (void)pthread_cond_wait(&k->deadline.lapsed, &k->lock);
    }
    l->count = 0;
    for (uint32_t i = 0; i < k->services_count; i++) {
        struct zb_keeper_service *s = k->services[i];
        l->done[l->count] = false;
        l->unknown[l->count] = !is_writable(k, s);
        if (is_writable(k, s) || !s->settled) {
            l->services[l->count++] = s;
        }
    }
    bool ending = k->deadline.ending;
    (void)pthread_mutex_unlock(&k->lock);
    return !ending;
}

static void *
demoter(void *arg)
{
    const uint64_t one = 1;
    static struct zb_keeper_service *services[ZB_SERVICES_MAX];
    static bool done[ZB_SERVICES_MAX];
    static bool unknown[ZB_SERVICES_MAX];
    struct lapse l = {.k = arg, .services = services, .done = done, .unknown = unknown};
    struct zb_keeper *k = arg;

    while (lapse_wait(k, &l)) {
        bool over = false;
        bool demoted = false;
        while (!over) {
            zb_keeper_parallel(l.count, demote_one, &l);
            (void)pthread_mutex_lock(&k->lock);
            over = lapse_is_over(k, &l);
            demoted = over && !k->deadline.ending;
            k->session.demoted = demoted;
            if (demoted) {
                (void)run_store(k);
            }
            (void)pthread_mutex_unlock(&k->lock);
            if (!over) {
                (void)nanosleep(&round_step, NULL);
            }
        }
        if (demoted) {
            zb_log_warning("the session in etcd is over: nothing is writable here");
        }
        (void)!write(k->wake_fd, &one, sizeof(one));
    }
    return NULL;
}

/* ---- the loop's part ---- */

/* Caller holds lock. */
static void
lapse_tell(struct zb_keeper *k, const char *why)
{
    zb_log_error("the session in etcd is over (%s): what is writable here is stopped and unmounted",
                 why);
    k->session.rested = is_at_rest(k);
    (void)pthread_cond_broadcast(&k->deadline.lapsed);
    zb_keeper_gather_hurry(k);
    zb_keeper_promotes_cancel(k);
}

/* Caller holds lock. Before a stamp or a renewal, so that no lapse goes by untold. */
static void
tick(struct zb_keeper *k, struct zb_mono now)
{
    if (zb_session_tick(&k->session, now)) {
        lapse_tell(k, "it was not renewed in time");
    }
}

/* Nobody may be able to write here when the hard deadline has passed. */
static void
hard_check(struct zb_keeper *k, struct zb_mono now)
{
    /* The start of a keeper first does what it can about what an earlier life left. */
    bool late = k->deadline.started && zb_session_is_late(&k->session, now);

    if (!late || k->deadline.late) {
        k->deadline.late = late;
        return;
    }
    k->deadline.late = true;
    if (k->conf->fenced_by == ZB_CONF_FENCED_BY_NOTHING) {
        zb_log_error("the hard deadline has passed and something may still be writable: nobody "
                     "takes over by itself (fenced-by is \"nothing\")");
        return;
    }
    zb_log_error("the hard deadline has passed and something may still be writable: reset");
    zb_os_reset();
    zb_log_error("the host cannot be reset: %s", strerror(errno));
}

int
zb_keeper_deadline_step(struct zb_keeper *k, int timeout_ms)
{
    struct zb_mono now = zb_mono_now();
    int64_t next_ms = timeout_ms < 0 ? INT64_MAX : now.ms + timeout_ms;

    if (k->conf->etcd[0] == '\0') {
        return timeout_ms;
    }
    (void)pthread_mutex_lock(&k->lock);
    tick(k, now);
    hard_check(k, now);
    if (k->deadline.watchdog_fd >= 0 && zb_session_may_pat(&k->session, now)) {
        if (!zb_os_watchdog_pat(k->deadline.watchdog_fd)) {
            zb_log_error("the watchdog cannot be patted: %s", strerror(errno));
        }
        next_ms = now.ms + PAT_MS < next_ms ? now.ms + PAT_MS : next_ms;
    }
    if (k->session.stage == ZB_SESSION_OPEN && zb_session_soft_at(&k->session).ms < next_ms) {
        next_ms = zb_session_soft_at(&k->session).ms;
    } else if (k->session.stage == ZB_SESSION_LAPSED && !zb_session_is_at_rest(&k->session) &&
               !k->deadline.late && zb_session_hard_at(&k->session).ms < next_ms) {
        next_ms = zb_session_hard_at(&k->session).ms;
    }
    (void)pthread_mutex_unlock(&k->lock);
    if (next_ms == INT64_MAX) {
        return -1;
    }
    return next_ms <= now.ms ? 0 : (int)(next_ms - now.ms);
}

enum zb_rc
zb_keeper_may_write(struct zb_keeper *k, struct zb_err *err)
{
    enum zb_rc rc;

    (void)pthread_mutex_lock(&k->lock);
    rc = zb_session_may_write(&k->session, zb_mono_now(), err);
    if (rc == ZB_OK && k->session.stage == ZB_SESSION_OPEN && k->deadline.rest_stored &&
        !is_at_rest(k) && !run_store(k)) {
        rc = zb_err_set(err, ZB_E_FAILED, "what a restart has to know cannot be written to %s",
                        k->conf->run_dir);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return rc;
}

uint64_t
zb_keeper_session_id(struct zb_keeper *k)
{
    struct zb_err ignored;
    uint64_t id;

    (void)pthread_mutex_lock(&k->lock);
    id = zb_session_may_write(&k->session, zb_mono_now(), &ignored) == ZB_OK ? k->session.id
                                                                             : ZB_SESSION_OVER;
    (void)pthread_mutex_unlock(&k->lock);
    return id;
}

/* ---- operations: answered by the loop ---- */

/* Caller holds lock. */
static enum zb_rc
session_new(struct zb_keeper *k, struct zb_mono now, const struct zb_kreq *req, struct zb_err *err)
{
    struct zb_session next = k->session;
    bool lapsed = k->session.stage == ZB_SESSION_LAPSED;
    enum zb_rc rc =
        zb_session_new(&next, now, zb_random_u64(), any_writable(k), req->guid != 0, err);

    if (rc == ZB_E_BUSY) {
        k->session = next;
        if (!lapsed) {
            lapse_tell(k, "etcd has one that this node knows nothing of");
        }
        return rc;
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_session_store(k, next.id, err);
    }
    if (rc == ZB_OK) {
        k->session = next;
    }
    return rc;
}

/* Caller holds lock. */
static enum zb_rc
stamp(struct zb_keeper *k, struct zb_mono now, uint64_t nonce, uint64_t etcd, struct zb_err *err)
{
    bool open = k->session.stage == ZB_SESSION_OPEN;
    uint64_t before = k->session.etcd;
    enum zb_rc rc = zb_session_stamp(&k->session, now, nonce, etcd, err);

    if (open && k->session.stage == ZB_SESSION_LAPSED) {
        lapse_tell(k, "it is in another etcd than the one that is there now");
    } else if (rc == ZB_OK && before != etcd) { /* of a new session */
        (void)run_store(k);
    }
    return rc;
}

enum zb_rc
zb_keeper_op_beat(struct zb_keeper *k, const struct zb_kreq *req, struct zb_krep *rep,
                  struct zb_err *err)
{
    uint64_t nonce = zb_random_u64();
    struct zb_mono now = zb_mono_now();
    enum zb_rc rc = ZB_OK;

    if (k->conf->etcd[0] == '\0') {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "this node is configured without etcd");
    }
    (void)pthread_mutex_lock(&k->lock);
    tick(k, now);
    if (any_writable(k)) {
        rc = zb_zfs_pool_check(k->conf->root, POOL_STUCK_MS, err);
    }
    if (rc == ZB_OK && (req->flags & ZB_KF_NEW) != 0) {
        rc = session_new(k, now, req, err);
    }
    if (rc == ZB_OK) {
        rc = stamp(k, now, nonce, req->from_guid, err);
    }
    rep->nonce = nonce;
    rep->guid = k->session.id;
    rep->count = k->conf->fenced_by;
    (void)pthread_mutex_unlock(&k->lock);
    return rc;
}

enum zb_rc
zb_keeper_op_renew(struct zb_keeper *k, const struct zb_kreq *req, struct zb_krep *rep,
                   struct zb_err *err)
{
    struct zb_mono now = zb_mono_now();
    enum zb_rc rc;

    (void)rep;
    (void)pthread_mutex_lock(&k->lock);
    tick(k, now);
    rc = zb_session_renew(&k->session, now, req->nonce, err);
    if (rc == ZB_OK) {
        (void)run_store(k);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return rc;
}

enum zb_rc
zb_keeper_op_lapse(struct zb_keeper *k, const struct zb_kreq *req, struct zb_krep *rep,
                   struct zb_err *err)
{
    bool open;

    (void)rep;
    (void)err;
    (void)pthread_mutex_lock(&k->lock);
    open = k->session.stage == ZB_SESSION_OPEN;
    zb_session_lapse(&k->session, req->guid);
    if (open && k->session.stage == ZB_SESSION_LAPSED) {
        lapse_tell(k, "etcd does not know it any more");
    }
    (void)pthread_mutex_unlock(&k->lock);
    return ZB_OK;
}

enum zb_rc
zb_keeper_op_leave(struct zb_keeper *k, const struct zb_kreq *req, struct zb_krep *rep,
                   struct zb_err *err)
{
    enum zb_rc rc;

    (void)rep;
    (void)pthread_mutex_lock(&k->lock);
    rc = zb_session_leave(&k->session, req->guid, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_session_remove(k, err);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return rc;
}

/* ---- begin and end ---- */

enum zb_rc
zb_keeper_deadline_open(struct zb_keeper *k, struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_session_resume(k, err);

    if (rc != ZB_OK || k->conf->etcd[0] == '\0' || k->conf->watchdog[0] == '\0') {
        return rc;
    }
    return zb_os_watchdog_open(k->conf->watchdog, k->conf->watchdog_timeout_ms,
                               &k->deadline.watchdog_fd, err);
}

enum zb_rc
zb_keeper_deadline_start(struct zb_keeper *k, struct zb_err *err)
{
    int e;

    if (k->conf->etcd[0] == '\0') {
        return ZB_OK;
    }
    e = pthread_create(&k->deadline.thread, NULL, demoter, k);
    k->deadline.started = e == 0;
    return e == 0 ? ZB_OK : zb_err_sys(err, e, "start the thread that demotes");
}

bool
zb_keeper_is_lapsed(struct zb_keeper *k)
{
    bool lapsed;

    (void)pthread_mutex_lock(&k->lock);
    lapsed = k->session.stage == ZB_SESSION_LAPSED;
    (void)pthread_mutex_unlock(&k->lock);
    return lapsed;
}

void
zb_keeper_lapse_settled(struct zb_keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->session.demoted = k->session.stage == ZB_SESSION_LAPSED;
    (void)pthread_mutex_unlock(&k->lock);
}

bool
zb_keeper_is_bound(struct zb_keeper *k)
{
    bool bound;

    (void)pthread_mutex_lock(&k->lock);
    bound = (k->session.stage == ZB_SESSION_OPEN && any_writable(k)) ||
            (k->session.stage == ZB_SESSION_LAPSED && !k->session.demoted);
    (void)pthread_mutex_unlock(&k->lock);
    return bound;
}

void
zb_keeper_lapse_now(struct zb_keeper *k, const char *why)
{
    (void)pthread_mutex_lock(&k->lock);
    if (k->session.stage == ZB_SESSION_OPEN) {
        zb_session_lapse(&k->session, k->session.id);
        lapse_tell(k, why);
    }
    (void)pthread_mutex_unlock(&k->lock);
}

bool
zb_keeper_deadline_end(struct zb_keeper *k)
{
    bool idle;

    if (!k->deadline.started) {
        return true;
    }
    (void)pthread_mutex_lock(&k->lock);
    k->deadline.ending = true;
    if (k->session.stage == ZB_SESSION_OPEN && !any_writable(k)) {
        /* Etcd could not be told. What the next start finds is not late for what was not there. */
        zb_session_lapse(&k->session, k->session.id);
        k->session.demoted = true;
        (void)run_store(k);
    }
    idle = k->session.stage != ZB_SESSION_LAPSED || k->session.demoted;
    (void)pthread_cond_broadcast(&k->deadline.lapsed);
    (void)pthread_mutex_unlock(&k->lock);
    if (k->deadline.watchdog_fd >= 0) {
        zb_os_watchdog_close(k->deadline.watchdog_fd, idle);
        k->deadline.watchdog_fd = -1;
    }
    if (idle) {
        (void)pthread_join(k->deadline.thread, NULL);
    }
    return idle;
}
