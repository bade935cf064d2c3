/*
 * Snapshots of many services in one transaction group. Sets of one interval are due at the same
 * moment, and a group takes about as long for hundreds of snapshots as for one: so a service that
 * is ready for its snapshot waits for those that are being made ready, from the look before it on,
 * and one call takes them all. Who is alone waits for nobody.
 */
#include <stdlib.h>
#include <string.h>

#include "keeper/internal.h"

#define WAIT_MS_MAX 10000 /* for one that hangs, too */
#define WAIT_SHARE 4      /* of the interval: by so much a set may be late for the sake of others */
/* Nobody joins from there on, for other writers of the pool wait for the call; one service's more.
 */
#define SNAPS_ENOUGH 1024

/* Snapshots of one service, on the stack of its worker. */
struct member {
    struct member *next;
    const char *const *snaps;
    size_t count;
    char (*newest)[ZB_DATASET_NAME_SIZE];
    bool done;
    bool taken; /* else each takes its own: one of them may be in the way of all */
};

struct zb_keeper_batch {
    struct member *members;
    size_t members_count, snaps_count;
    struct zb_mono until;
    bool full;
};

void
zb_keeper_gather_expect(struct zb_keeper *k, struct zb_keeper_job *job)
{
    if (job->service->announced) { /* that is this one, or it does not come */
        job->service->announced = false;
        k->gather.expected--;
        (void)pthread_cond_broadcast(&k->gather.moved);
    }
    job->gathers = job->req.op == ZB_KOP_SNAPSHOT && (job->req.flags & ZB_KF_SYNC) == 0;
    job->expected =
        job->gathers || (job->req.op == ZB_KOP_OBSERVE && (job->req.flags & ZB_KF_DUE) != 0);
    k->gather.expected += job->expected ? 1 : 0;
    if (k->idle_workers == NULL) { /* none is left for those that are waited for */
        zb_keeper_gather_hurry(k);
    }
}

void
zb_keeper_gather_forget(struct zb_keeper *k, struct zb_keeper_job *job)
{
    if (job->expected && job->announces && !job->service->announced) {
        job->expected = false;
        job->service->announced = true;
    } else if (job->expected) {
        job->expected = false;
        k->gather.expected--;
        (void)pthread_cond_broadcast(&k->gather.moved);
    }
}

/* Nobody waits a second time for what did not come: the engine may have ended, or an operation
 * hang. Caller holds lock. */
static void
expected_forget(struct zb_keeper *k)
{
    const struct zb_keeper_list *lists[] = {&k->waiting, &k->active};

    for (uint32_t i = 0; i < k->services_count; i++) {
        k->services[i]->announced = false;
    }
    for (size_t i = 0; i < 2; i++) {
        for (struct zb_keeper_job *j = lists[i]->head; j != NULL; j = j->next) {
            j->expected = false;
        }
    }
    k->gather.expected = 0;
}

void
zb_keeper_gather_hurry(struct zb_keeper *k)
{
    (void)pthread_cond_broadcast(&k->gather.moved);
}

/* All of them, or none. */
static bool
batch_take(const struct zb_keeper_batch *b)
{
    const char **snaps = calloc(b->snaps_count, sizeof(*snaps));
    char(*newest)[ZB_DATASET_NAME_SIZE] = calloc(b->snaps_count, sizeof(*newest));
    struct zb_err err;
    size_t at = 0;
    bool taken = false;

    if (snaps != NULL && newest != NULL) {
        for (const struct member *m = b->members; m != NULL; m = m->next) {
            memcpy(snaps + at, m->snaps, m->count * sizeof(*snaps));
            at += m->count;
        }
        taken = zb_zfs_snapshot(snaps, at, newest, &err) == ZB_OK;
        at = 0;
        for (const struct member *m = b->members; taken && m != NULL; m = m->next) {
            memcpy(m->newest, newest + at, m->count * sizeof(*newest));
            at += m->count;
        }
    }
    free(snaps);
    free(newest);
    return taken;
}

/* Caller holds lock. */
static void
batch_wait(struct zb_keeper *k, const struct zb_keeper_batch *b)
{
    while (k->gather.expected > 0 && !b->full && k->idle_workers != NULL && !k->ending &&
           k->session.stage != ZB_SESSION_LAPSED) {
        int64_t left_ms = b->until.ms - zb_mono_now().ms;
        if (left_ms <= 0) {
            expected_forget(k);
            return;
        }
        zb_keeper_wait(k, &k->gather.moved, left_ms);
    }
}

/* Caller holds lock. */
static void
batch_add(struct zb_keeper_batch *b, struct member *m, int64_t wait_ms)
{
    struct zb_mono until = {zb_mono_now().ms + wait_ms};

    m->next = b->members;
    b->members = m;
    b->members_count++;
    b->snaps_count += m->count;
    b->until = b->until.ms == 0 || until.ms < b->until.ms ? until : b->until;
    b->full = b->snaps_count >= SNAPS_ENOUGH;
}

/* Whoever begins a batch takes it for the others. Caller holds lock, which is open meanwhile. */
static void
batch_lead(struct zb_keeper *k, struct zb_keeper_batch *b)
{
    bool taken = false;

    batch_wait(k, b);
    if (k->gather.batch == b) {
        k->gather.batch = NULL;
    }
    /* Who is alone takes its own, and has its own error. */
    if (b->members_count > 1 && k->session.stage != ZB_SESSION_LAPSED) {
        (void)pthread_mutex_unlock(&k->lock);
        taken = batch_take(b);
        (void)pthread_mutex_lock(&k->lock);
    }
    for (struct member *m = b->members; m != NULL; m = m->next) {
        m->taken = taken;
        m->done = true;
    }
    (void)pthread_cond_broadcast(&k->gather.taken);
}

enum zb_rc
zb_keeper_gather_snapshot(struct zb_keeper *k, struct zb_keeper_job *job, const char *const *snaps,
                          size_t count, char (*newest)[ZB_DATASET_NAME_SIZE], struct zb_err *err)
{
    int64_t wait_ms = job->conf.interval_ms / WAIT_SHARE;
    struct member self = {.snaps = snaps, .count = count, .newest = newest};
    struct zb_keeper_batch own = {0};
    bool lapsed;

    if (!job->gathers) {
        return zb_zfs_snapshot(snaps, count, newest, err);
    }
    wait_ms = wait_ms < WAIT_MS_MAX ? wait_ms : WAIT_MS_MAX;
    (void)pthread_mutex_lock(&k->lock);
    if (k->gather.batch == NULL || k->gather.batch->full) {
        batch_add(&own, &self, wait_ms);
        k->gather.batch = &own;
        zb_keeper_gather_forget(k, job);
        batch_lead(k, &own);
    } else {
        batch_add(k->gather.batch, &self, wait_ms);
        zb_keeper_gather_forget(k, job);
        while (!self.done) {
            (void)pthread_cond_wait(&k->gather.taken, &k->lock);
        }
    }
    lapsed = k->session.stage == ZB_SESSION_LAPSED;
    (void)pthread_mutex_unlock(&k->lock);
    if (!self.taken && lapsed) { /* whoever demotes waits for it */
        return zb_err_set(err, ZB_E_STALE, "the session in etcd is over");
    }
    return self.taken ? ZB_OK : zb_zfs_snapshot(snaps, count, newest, err);
}
