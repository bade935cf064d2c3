/*
 * OBSERVE. A look opens every dataset of the tree, which costs about a millisecond each; most looks
 * see what the one before saw. So what a look was about is remembered: when no transaction group
 * has written anything to the pool since, nothing was mounted or unmounted, and nothing was done
 * here, it is the same.
 */
#include <stdlib.h>

#include "base/log.h"
#include "keeper/internal.h"

#define LOOK_AGAIN_MS 300000 /* whatever is told, so often it is looked for itself */

static uint64_t
written_of(const struct zb_krep *rep)
{
    uint64_t bytes = 0;

    for (uint32_t i = 0; i < rep->datasets_count; i++) {
        bytes += rep->datasets[i].written_bytes;
    }
    return bytes;
}

/* ---- the same as before ---- */

/* What a look is about, as it begins: what comes later is not in it. False: it is not known when
 * another one would be the same; keys come and go without a word of the pool. */
static bool
look_begin(struct zb_keeper *k, const struct zb_keeper_job *job, struct zb_keeper_look *look)
{
    const struct zb_keeper_service *s = job->service;
    bool alone = job->conf.flavour != ZB_CONF_FLAVOUR_RAW;

    *look = (struct zb_keeper_look){.at = zb_mono_now(), .mounts = zb_os_mounts_changes()};
    (void)zb_zfs_is_quiet(k->conf->root, &look->txg);
    (void)pthread_mutex_lock(&k->lock);
    look->changes = s->changes;
    for (enum zb_keeper_claim c = 0; c < ZB_CLAIM_COUNT; c++) {
        alone = alone && (zb_keeper_claim_only_looks(c) || s->claims[c] == 0);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return alone && look->txg.txg != 0;
}

/* What was written, if it is enough for a set: a service that hardly changes waits for more. */
static void
set_announce(struct zb_keeper_job *job, uint64_t written_bytes)
{
    job->announces = written_bytes > 0 && written_bytes >= job->conf.idle_bytes;
}

static void
look_keep(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_look *look)
{
    look->nonce = job->rep.nonce = zb_random_u64() | 1;
    look->running = job->rep.running != 0;
    look->written_bytes = written_of(&job->rep);
    (void)pthread_mutex_lock(&k->lock);
    job->service->look = *look;
    (void)pthread_mutex_unlock(&k->lock);
}

static bool
look_is_same(struct zb_keeper *k, struct zb_keeper_job *job)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_look look;
    enum zb_zfs_pool_state pool;
    struct zb_err err;
    bool running = false;
    bool same;

    (void)pthread_mutex_lock(&k->lock);
    look = s->look;
    same = job->req.nonce != 0 && look.nonce == job->req.nonce && look.changes == s->changes;
    (void)pthread_mutex_unlock(&k->lock);
    if (!same) {
        return false;
    }
    pool = zb_zfs_pool_state(k->conf->root);
    if (zb_mono_now().ms - look.at.ms >= LOOK_AGAIN_MS ||
        (pool != ZB_ZFS_POOL_ONLINE && pool != ZB_ZFS_POOL_DEGRADED) ||
        zb_os_mounts_changes() != look.mounts || !zb_zfs_is_quiet(k->conf->root, &look.txg) ||
        zb_keeper_service_alive(k, s->name, &job->conf, &running, &err) != ZB_OK ||
        running != look.running) {
        return false;
    }
    (void)pthread_mutex_lock(&k->lock);
    same = s->look.nonce == look.nonce && look.changes == s->changes;
    if (same) {
        s->look.txg = look.txg;
        set_announce(job, look.written_bytes);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return same;
}

/* ---- a look ---- */

/* *sure: what looks written to was compared, unless something was under way. */
static enum zb_rc
observe(struct zb_keeper *k, struct zb_keeper_job *job, bool *sure, struct zb_err *err)
{
    struct zb_krep *rep = &job->rep;
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_view view = {0};
    struct zb_keeper_facts facts;
    bool alone;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc != ZB_OK) {
        return rc;
    }
    (void)pthread_mutex_lock(&k->lock);
    alone =
        job->claim != ZB_CLAIM_READ || s->claims[ZB_CLAIM_RECEIVE] + s->claims[ZB_CLAIM_WRITE] == 0;
    (void)pthread_mutex_unlock(&k->lock);
    if (alone) { /* comparing owns the dataset for a moment, which a receive would find busy */
        zb_keeper_written_prove(k, &view, NULL, false);
    }
    rc = zb_keeper_facts(k, job, &view, true, &facts, err);
    if (rc != ZB_OK) {
        goto out;
    }
    *sure = !view.doubtful;
    rep->pool_guid = view.pool_guid;
    rep->key = zb_keeper_key_state(k, job->req.service, &view);
    rep->running = facts.running;
    rep->mounted_here =
        facts.stage == ZB_STAGE_MOUNTED && view.count > 0 && view.datasets[0].mount == ZB_MOUNT_RW;
    rep->sealed = facts.stage != ZB_STAGE_REST && !rep->mounted_here;
    free(rep->datasets);
    rep->datasets = view.datasets;
    rep->datasets_count = view.count;
    view.datasets = NULL;
    (void)pthread_mutex_lock(&k->lock);
    rep->record = s->record.rec;
    (void)pthread_mutex_unlock(&k->lock);
out:
    zb_keeper_view_close(&view);
    return rc;
}

enum zb_rc
zb_keeper_observation_fill(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    bool sure;

    return observe(k, job, &sure, err);
}

void
zb_keeper_observation_add(struct zb_keeper *k, struct zb_keeper_job *job)
{
    struct zb_err err;

    (void)pthread_mutex_lock(&k->lock);
    job->rep.record = job->service->record.rec;
    (void)pthread_mutex_unlock(&k->lock);
    if (zb_keeper_observation_fill(k, job, &err) != ZB_OK) {
        zb_log_info("%s after %s: %s", job->req.service, zb_kop_word(job->req.op), err.msg);
    }
}

enum zb_rc
zb_keeper_op_observe(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    uint64_t asides = zb_keeper_asides(k, job->service);
    struct zb_keeper_look look;
    bool keep, sure;
    enum zb_rc rc;

    if (look_is_same(k, job)) {
        job->rep.flags = ZB_KF_SAME;
        job->rep.nonce = job->req.nonce;
        return ZB_OK;
    }
    keep = look_begin(k, job, &look);
    rc = observe(k, job, &sure, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_aside_check(k, job, asides, err);
    }
    if (rc == ZB_OK) {
        set_announce(job, written_of(&job->rep));
    }
    if (rc == ZB_OK && keep && sure) {
        look_keep(k, job, &look);
    }
    return rc;
}
