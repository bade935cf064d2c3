/* VERIFY of kmsg.h: what is in a set, as sums that another node's can be compared with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/internal.h"
#include "keeper/sum.h"

#define LIFE_S 300 /* of the clone beyond that, should nobody be left to end it */
#define TIMEOUT_MS_MAX (7u * 86400000u)

struct verify {
    struct zb_keeper *k;
    const struct zb_keeper_job *job;
    struct zb_mono deadline;
};

static enum zb_rc
place_take(struct zb_keeper *k, struct zb_err *err)
{
    bool runs;

    (void)pthread_mutex_lock(&k->lock);
    runs = k->verifying;
    k->verifying = true;
    (void)pthread_mutex_unlock(&k->lock);
    return runs ? zb_err_set(err, ZB_E_BUSY, "a set is being verified on %s already", k->conf->node)
                : ZB_OK;
}

static void
place_free(struct zb_keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->verifying = false;
    (void)pthread_mutex_unlock(&k->lock);
}

static enum zb_rc
go_on(void *ctx, struct zb_err *err)
{
    const struct verify *v = ctx;
    bool canceled;

    (void)pthread_mutex_lock(&v->k->lock);
    canceled = v->job->canceled;
    (void)pthread_mutex_unlock(&v->k->lock);
    if (canceled) {
        return zb_err_set(err, ZB_E_CANCELED, "ended: nobody waits for it any more");
    }
    if (zb_mono_now().ms >= v->deadline.ms) {
        return zb_err_set(err, ZB_E_TIMEOUT, "not all of it is read after %u s",
                          v->job->req.timeout_ms / 1000);
    }
    return ZB_OK;
}

/* Every dataset of the peek, where it is mounted or has its device. */
static enum zb_rc
datasets_read(const struct zb_keeper *k, const char *peek, uint32_t count, struct zb_sum *sum,
              struct zb_err *err)
{
    char top[ZB_DATASET_NAME_SIZE];
    struct zb_os_mounts mounts = {0};
    enum zb_rc rc = zb_keeper_side_dataset(k, &zb_keeper_peeks, peek, top, err);
    uint32_t read = 0;

    if (rc == ZB_OK) {
        rc = zb_os_mounts_read(top, &mounts, err);
    }
    for (size_t i = 0; i < mounts.count && rc == ZB_OK; i++) {
        const struct zb_os_mount_entry *m = &mounts.entries[i];
        const char *rel = m->dataset + strlen(top);
        if (zb_os_mounts_find(&mounts, m->dataset) == m && strchr(rel, '@') == NULL) {
            rel += rel[0] == '/' ? 1 : 0;
            rc = m->volume ? zb_sum_volume(sum, rel, m->dir, m->dev, err)
                           : zb_sum_tree(sum, rel, m->dir, m->dev, err);
            read++;
        }
    }
    zb_os_mounts_close(&mounts);
    if (rc == ZB_OK && read != count) {
        rc = zb_err_set(err, ZB_E_FAILED, "of %u datasets of the set %u are mounted", count, read);
    }
    return rc;
}

static enum zb_rc
sums_make(struct verify *v, const char *peek, char **text, struct zb_err *err)
{
    const struct zb_kreq *req = &v->job->req;
    struct zb_sum_options options = {.seed = req->nonce,
                                     .share = req->count,
                                     .list = (req->flags & ZB_KF_LIST) != 0,
                                     .go_on = go_on,
                                     .ctx = v};
    struct zb_sum sum = {0};
    enum zb_rc rc = zb_sum_range_parse(req->text, &options)
                        ? zb_sum_open(&sum, &options, err)
                        : zb_err_set(err, ZB_E_USAGE, "a range of names is wanted");

    if (rc == ZB_OK) {
        rc = datasets_read(v->k, peek, req->manifest.entries_count, &sum, err);
    }
    if (rc == ZB_OK) {
        *text = zb_sum_text_new(&sum);
        rc = *text != NULL ? ZB_OK : zb_err_set(err, ZB_E_NOMEM, "no memory for sums");
    }
    zb_sum_close(&sum);
    return rc;
}

static enum zb_rc
peek_read(struct verify *v, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_kreq req = {.op = ZB_KOP_PEEK, .manifest = job->req.manifest}; /* borrowed */
    struct zb_peek *peek = calloc(1, sizeof(*peek));
    enum zb_rc rc;

    if (peek == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for a peek");
    }
    zb_strcopy(req.service, sizeof(req.service), job->req.service);
    req.time_s = zb_wall_now().s + job->req.timeout_ms / 1000 + LIFE_S;
    rc = zb_keeper_peek_make(v->k, &req, peek, err);
    if (rc == ZB_OK) {
        rc = sums_make(v, peek->name, &job->rep.text, err);
        zb_keeper_peek_leave(v->k, job->req.service, peek->name);
    }
    free(peek->line);
    free(peek);
    return rc;
}

enum zb_rc
zb_keeper_op_verify(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    struct verify v = {.k = k, .job = job, .deadline = {begin.ms + (int64_t)job->req.timeout_ms}};
    enum zb_rc rc;

    if (job->req.timeout_ms == 0 || job->req.timeout_ms > TIMEOUT_MS_MAX) {
        return zb_err_set(err, ZB_E_USAGE, "a time limit of at most %u days is wanted",
                          TIMEOUT_MS_MAX / 86400000u);
    }
    rc = place_take(k, err);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = peek_read(&v, job, err);
    place_free(k);
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}
