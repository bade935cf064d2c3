#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/be.h"
#include "base/log.h"
#include "keeper/internal.h"
#include "os/memory.h"

#define STACK_BYTES (1u << 20)
#define OUT_BYTES (16u << 10) /* of most replies */

struct zb_keeper_worker {
    struct zb_keeper *k;
    pthread_t thread;
    pthread_cond_t woken;
    bool is_woken;                 /* [lock] */
    struct zb_keeper_worker *next; /* [lock] of those that are idle */
};

void
zb_keeper_wait(struct zb_keeper *k, pthread_cond_t *cond, int64_t ms)
{
    struct timespec until;

    (void)clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += ms / 1000;
    until.tv_nsec += ms % 1000 * 1000000;
    until.tv_sec += until.tv_nsec / 1000000000;
    until.tv_nsec %= 1000000000;
    (void)pthread_cond_clockwait(cond, &k->lock, CLOCK_MONOTONIC, &until);
}

struct zb_keeper_job *
zb_keeper_job_new(void)
{
    struct zb_keeper_job *job = calloc(1, sizeof(*job));

    if (job != NULL) {
        job->transfer_fd = -1;
    }
    return job;
}

void
zb_keeper_job_free(struct zb_keeper_job *job)
{
    zb_kreq_close(&job->req);
    zb_krep_close(&job->rep);
    free(job);
}

void
zb_keeper_list_add(struct zb_keeper_list *list, struct zb_keeper_job *job)
{
    job->next = NULL;
    if (list->tail != NULL) {
        list->tail->next = job;
    } else {
        list->head = job;
    }
    list->tail = job;
}

void
zb_keeper_list_remove(struct zb_keeper_list *list, struct zb_keeper_job *job)
{
    struct zb_keeper_job *before = NULL;

    for (struct zb_keeper_job *j = list->head; j != NULL; before = j, j = j->next) {
        if (j == job) {
            *(before != NULL ? &before->next : &list->head) = job->next;
            if (list->tail == job) {
                list->tail = before;
            }
            job->next = NULL;
            return;
        }
    }
}

void
zb_keeper_outcome(struct zb_krep *rep, enum zb_rc rc, const struct zb_err *err)
{
    rep->rc = (uint32_t)rc;
    if (rc != ZB_OK) {
        rep->sys_errno = err->sys_errno;
        (void)snprintf(rep->msg, sizeof(rep->msg), "%s", err->msg);
        (void)snprintf(rep->hint, sizeof(rep->hint), "%s", err->hint);
    }
}

/* The message behind its length, in room for so much of it. */
static struct zb_keeper_out *
out_encode(const struct zb_krep *rep, size_t room, struct zb_err *err)
{
    struct zb_keeper_out *out = malloc(sizeof(*out) + 4 + room);
    struct zb_keeper_out *fitted;
    size_t used = 0;

    if (out == NULL) {
        (void)zb_err_sys(err, ENOMEM, "reply");
        return NULL;
    }
    if (zb_krep_encode(rep, out->bytes + 4, room, &used, err) != ZB_OK) {
        free(out);
        return NULL;
    }
    zb_be32_put(out->bytes, (uint32_t)used);
    fitted = realloc(out, sizeof(*out) + 4 + used);
    out = fitted != NULL ? fitted : out;
    out->next = NULL;
    out->sent = 0;
    out->size = 4 + used;
    // cppcheck-suppress memleak ; fitted is out
    return out;
}

static struct zb_keeper_out *
out_new(const struct zb_krep *rep, struct zb_err *err)
{
    struct zb_keeper_out *out = out_encode(rep, OUT_BYTES, err);

    return out != NULL ? out : out_encode(rep, ZB_KMSG_MAX, err);
}

void
zb_keeper_reply(struct zb_keeper *k, uint64_t generation, const struct zb_krep *rep, int fd)
{
    const uint64_t one = 1;
    struct zb_err err;
    struct zb_keeper_out *out = out_new(rep, &err);

    if (out == NULL && err.rc != ZB_E_NOMEM) {
        /* Too large or with a name that kmsg.h does not carry: the outcome at least is told. */
        struct zb_krep small = {.id = rep->id, .op = rep->op};
        zb_keeper_outcome(&small, err.rc, &err);
        out = out_new(&small, &err);
    }
    (void)pthread_mutex_lock(&k->lock);
    if (out == NULL) {
        k->out_lost = true;
        if (fd >= 0) {
            (void)close(fd);
        }
    } else {
        out->fd = fd;
        out->generation = generation;
        *(k->done_tail != NULL ? &k->done_tail->next : &k->done_head) = out;
        k->done_tail = out;
    }
    (void)pthread_mutex_unlock(&k->lock);
    (void)!write(k->wake_fd, &one, sizeof(one));
}

void
zb_keeper_job_cancel(struct zb_keeper_job *job)
{
    job->canceled = true;
    if (job->transfer_fd >= 0) {
        (void)shutdown(job->transfer_fd, SHUT_RDWR);
    }
}

/* They may be waiting for a key. Caller holds lock. */
void
zb_keeper_promotes_cancel(struct zb_keeper *k)
{
    const struct zb_keeper_list *lists[] = {&k->waiting, &k->active};

    for (size_t i = 0; i < 2; i++) {
        for (struct zb_keeper_job *j = lists[i]->head; j != NULL; j = j->next) {
            if (j->req.op == ZB_KOP_PROMOTE) {
                zb_keeper_job_cancel(j);
            }
        }
    }
}

void
zb_keeper_job_run(struct zb_keeper *k, struct zb_keeper_job *job)
{
    struct zb_err err = {0};
    enum zb_rc rc = ZB_OK;
    bool settle;

    (void)pthread_mutex_lock(&k->lock);
    settle = job->op->wants_settled && !job->service->settled;
    (void)pthread_mutex_unlock(&k->lock);
    if (settle && job->claim != ZB_CLAIM_WRITE) { /* it was settled when the job was accepted */
        rc = zb_err_set(&err, ZB_E_BUSY, "a rescue of %s was begun and is not ended",
                        job->req.service);
    } else if (settle) {
        rc = zb_keeper_settle(k, job->service, &err);
    }
    if (rc == ZB_OK) {
        rc = job->op->handler(k, job, &err);
    }
    if (rc != ZB_OK) {
        zb_log(rc == ZB_E_CANCELED || rc == ZB_E_CLOSED ? ZB_LOG_DEBUG : ZB_LOG_WARNING,
               "%s %s: %s: %s", zb_kop_word(job->req.op), job->req.service, zb_rc_word(rc),
               err.msg);
    }
    job->rep.id = job->req.id;
    job->rep.op = job->req.op;
    zb_keeper_outcome(&job->rep, rc, &err);
}

/* Whoever cancels the job shuts one end of a socket pair down; the run looks at the other. */
enum zb_rc
zb_keeper_job_cancel_open(struct zb_keeper *k, struct zb_keeper_job *job, int *fd,
                          struct zb_err *err)
{
    bool canceled;
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0) {
        return zb_err_sys(err, errno, "socketpair");
    }
    (void)pthread_mutex_lock(&k->lock);
    canceled = job->canceled;
    job->transfer_fd = pair[0];
    (void)pthread_mutex_unlock(&k->lock);
    if (canceled) {
        zb_keeper_job_cancel_close(k, job, pair[1]);
        return zb_err_set(err, ZB_E_CANCELED, "canceled before it began");
    }
    *fd = pair[1];
    return ZB_OK;
}

void
zb_keeper_job_cancel_close(struct zb_keeper *k, struct zb_keeper_job *job, int fd)
{
    int other;

    (void)pthread_mutex_lock(&k->lock);
    other = job->transfer_fd;
    job->transfer_fd = -1;
    (void)pthread_mutex_unlock(&k->lock);
    (void)close(other);
    (void)close(fd);
}

/* The first waiting job that may begin: transfers leave workers for the rest. Caller holds lock. */
static struct zb_keeper_job *
job_take(struct zb_keeper *k)
{
    struct zb_keeper_job *job = k->waiting.head;

    while (job != NULL && job->op->transfer && k->transfers_count >= ZB_KEEPER_TRANSFERS_MAX) {
        job = job->next;
    }
    if (job != NULL) {
        zb_keeper_list_remove(&k->waiting, job);
        zb_keeper_list_add(&k->active, job);
        k->transfers_count += job->op->transfer ? 1 : 0;
    }
    return job;
}

static void
job_finish(struct zb_keeper *k, struct zb_keeper_job *job)
{
    (void)pthread_mutex_lock(&k->lock);
    zb_keeper_list_remove(&k->active, job);
    k->transfers_count -= job->op->transfer ? 1 : 0;
    k->jobs_count--;
    zb_keeper_unclaim(job);
    zb_keeper_gather_forget(k, job);
    if (k->ending) {
        (void)pthread_cond_signal(&k->ended);
    }
    (void)pthread_mutex_unlock(&k->lock);
    /* After the claim is back: the engine may ask for the next operation at once. */
    zb_keeper_reply(k, job->generation, &job->rep, -1);
    zb_keeper_job_free(job);
}

/* Who was busy last is woken first: a few jobs at a time use the stacks of a few workers alone. */
void
zb_keeper_worker_wake(struct zb_keeper *k)
{
    struct zb_keeper_worker *w = k->idle_workers;

    if (w != NULL) {
        k->idle_workers = w->next;
        w->is_woken = true;
        (void)pthread_cond_signal(&w->woken);
    }
}

/* Caller holds lock. */
static void
idle(struct zb_keeper_worker *w)
{
    w->is_woken = false;
    w->next = w->k->idle_workers;
    w->k->idle_workers = w;
    while (!w->is_woken) {
        (void)pthread_cond_wait(&w->woken, &w->k->lock);
    }
}

static void *
worker(void *arg)
{
    struct zb_keeper_worker *w = arg;
    struct zb_keeper *k = w->k;

    for (;;) {
        struct zb_keeper_job *job;

        (void)pthread_mutex_lock(&k->lock);
        while ((job = job_take(k)) == NULL && !k->ending) {
            idle(w);
        }
        (void)pthread_mutex_unlock(&k->lock);
        if (job == NULL) {
            return NULL;
        }
        zb_keeper_job_run(k, job);
        job_finish(k, job);
        zb_os_memory_stack_free();
    }
}

enum zb_rc
zb_keeper_workers_start(struct zb_keeper *k, struct zb_err *err)
{
    pthread_attr_t attr;
    int e = pthread_attr_init(&attr);

    zb_os_memory_spare();
    k->workers = calloc(ZB_KEEPER_JOBS_MAX, sizeof(*k->workers));
    if (e == 0) {
        e = k->workers == NULL ? ENOMEM : pthread_attr_setstacksize(&attr, STACK_BYTES);
    }
    while (e == 0 && k->workers_count < ZB_KEEPER_JOBS_MAX) {
        struct zb_keeper_worker *w = &k->workers[k->workers_count];
        *w = (struct zb_keeper_worker){.k = k, .woken = PTHREAD_COND_INITIALIZER};
        e = pthread_create(&w->thread, &attr, worker, w);
        k->workers_count += e == 0 ? 1 : 0;
    }
    (void)pthread_attr_destroy(&attr);
    return e == 0 ? ZB_OK : zb_err_sys(err, e, "start workers");
}

bool
zb_keeper_workers_end(struct zb_keeper *k, struct zb_mono deadline)
{
    const uint64_t one = 1;
    bool ended;

    (void)pthread_mutex_lock(&k->lock);
    k->ending = true;
    zb_keeper_gather_hurry(k);
    while (k->idle_workers != NULL) {
        zb_keeper_worker_wake(k);
    }
    for (struct zb_keeper_job *j = k->active.head; j != NULL; j = j->next) {
        if (zb_keeper_job_cancelable(j)) {
            zb_keeper_job_cancel(j);
        }
    }
    zb_keeper_promotes_cancel(k);
    (void)!write(k->key_end_fd, &one, sizeof(one));
    while ((k->active.head != NULL || k->waiting.head != NULL) && zb_mono_now().ms < deadline.ms) {
        zb_keeper_wait(k, &k->ended, 100);
    }
    ended = k->active.head == NULL && k->waiting.head == NULL;
    (void)pthread_mutex_unlock(&k->lock);
    for (uint32_t i = 0; ended && i < k->workers_count; i++) {
        (void)pthread_join(k->workers[i].thread, NULL);
    }
    return zb_keeper_key_asks_end(k, deadline) && ended;
}
