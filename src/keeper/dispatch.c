#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"

#define CLAIM_STEP_MS 50 /* while another operation of a service is under way */

/* HELLO, CANCEL and what is about the session never wait and are answered by the loop itself. */
static const struct zb_keeper_op ops[] = {
    /* op, handler, claim, wants definition, settled, ends receives, transfer, when frozen, anywhere
     */
    {ZB_KOP_DEFINE, zb_keeper_op_define, ZB_CLAIM_WRITE, false, false, false, false, true, false},
    {ZB_KOP_OBSERVE, zb_keeper_op_observe, ZB_CLAIM_READ, true, true, false, false, false, false},
    {ZB_KOP_SNAPS, zb_keeper_op_snaps, ZB_CLAIM_READ, true, false, false, false, false, false},
    {ZB_KOP_CREATE, zb_keeper_op_create, ZB_CLAIM_WRITE, true, true, false, false, false, false},
    {ZB_KOP_UNADOPT, zb_keeper_op_unadopt, ZB_CLAIM_WRITE, true, true, false, false, false, false},
    {ZB_KOP_SNAPSHOT, zb_keeper_op_snapshot, ZB_CLAIM_SNAP, true, true, false, false, false, false},
    {ZB_KOP_SEND, zb_keeper_op_send, ZB_CLAIM_READ, true, false, false, true, false, false},
    {ZB_KOP_RECEIVE, zb_keeper_op_receive, ZB_CLAIM_RECEIVE, true, true, false, true, false, false},
    {ZB_KOP_START, zb_keeper_op_start, ZB_CLAIM_WRITE, true, true, false, false, false, false},
    {ZB_KOP_STOP, zb_keeper_op_stop, ZB_CLAIM_WRITE, true, false, false, false, true, false},
    {ZB_KOP_CHECK, zb_keeper_op_check, ZB_CLAIM_CHECK, true, false, false, false, true, false},
    {ZB_KOP_SEAL, zb_keeper_op_seal, ZB_CLAIM_WRITE, true, true, false, false, false, false},
    {ZB_KOP_RELEASE, zb_keeper_op_release, ZB_CLAIM_WRITE, true, true, false, false, false, false},
    {ZB_KOP_GRANT, zb_keeper_op_grant, ZB_CLAIM_WRITE, true, true, true, false, false, false},
    {ZB_KOP_LEARN, zb_keeper_op_learn, ZB_CLAIM_WRITE, true, true, true, false, false, false},
    {ZB_KOP_PROMOTE, zb_keeper_op_promote, ZB_CLAIM_WRITE, true, true, false, false, false, false},
    {ZB_KOP_DEMOTE, zb_keeper_op_demote, ZB_CLAIM_WRITE, true, false, true, false, true, false},
    {ZB_KOP_PRUNE, zb_keeper_op_prune, ZB_CLAIM_SNAP, true, true, false, false, false, false},
    {ZB_KOP_ARRANGE, zb_keeper_op_arrange, ZB_CLAIM_WRITE, true, true, true, false, false, false},
    {ZB_KOP_RESCUE, zb_keeper_op_rescue, ZB_CLAIM_WRITE, true, true, true, false, false, false},
    {ZB_KOP_RESCUES, zb_keeper_op_rescues, ZB_CLAIM_READ, false, true, false, false, false, true},
    {ZB_KOP_RESCUE_MOUNT, zb_keeper_op_rescue_mount, ZB_CLAIM_READ, false, true, false, false,
     false, true},
    {ZB_KOP_RESCUE_DROP, zb_keeper_op_rescue_drop, ZB_CLAIM_READ, false, true, false, false, false,
     true},
    {ZB_KOP_BLOCKERS, zb_keeper_op_blockers, ZB_CLAIM_READ, true, false, false, false, true, false},
    {ZB_KOP_SETS, zb_keeper_op_sets, ZB_CLAIM_READ, true, false, false, false, true, false},
    {ZB_KOP_PEEK, zb_keeper_op_peek, ZB_CLAIM_READ, true, true, false, false, false, false},
    {ZB_KOP_PEEKS, zb_keeper_op_peeks, ZB_CLAIM_READ, false, false, false, false, true, true},
    {ZB_KOP_PEEK_END, zb_keeper_op_peek_end, ZB_CLAIM_READ, false, false, false, false, true, true},
    {ZB_KOP_DRILL, zb_keeper_op_drill, ZB_CLAIM_READ, true, true, false, false, false, false},
    {ZB_KOP_FENCE, zb_keeper_op_fence, ZB_CLAIM_READ, true, false, false, false, false, false},
    {ZB_KOP_NOTIFY, zb_keeper_op_notify, ZB_CLAIM_READ, false, false, false, false, true, true},
    {ZB_KOP_VERIFY, zb_keeper_op_verify, ZB_CLAIM_READ, true, true, false, false, false, false},
    {ZB_KOP_ESTIMATE, zb_keeper_op_estimate, ZB_CLAIM_READ, true, false, false, false, false,
     false},
    {ZB_KOP_REKEY, zb_keeper_op_rekey, ZB_CLAIM_READ, true, true, false, false, false, false},
};

/* Which claims on one service go together. A SEND, which reads snapshots that cannot change,
 * hinders nothing, least of all the SEAL of the set it sends; the kernel refuses to destroy what is
 * being sent. */
static const bool together[ZB_CLAIM_COUNT][ZB_CLAIM_COUNT] = {
    [ZB_CLAIM_READ] = {[ZB_CLAIM_READ] = true,
                       [ZB_CLAIM_CHECK] = true,
                       [ZB_CLAIM_RECEIVE] = true,
                       [ZB_CLAIM_SNAP] = true,
                       [ZB_CLAIM_WRITE] = true},
    [ZB_CLAIM_CHECK] = {[ZB_CLAIM_READ] = true, [ZB_CLAIM_RECEIVE] = true, [ZB_CLAIM_SNAP] = true},
    [ZB_CLAIM_RECEIVE] =
        {[ZB_CLAIM_READ] = true, [ZB_CLAIM_CHECK] = true, [ZB_CLAIM_RECEIVE] = true},
    [ZB_CLAIM_SNAP] = {[ZB_CLAIM_READ] = true, [ZB_CLAIM_CHECK] = true},
    [ZB_CLAIM_WRITE] = {[ZB_CLAIM_READ] = true},
};

static const struct zb_keeper_op *
op_find(uint32_t op)
{
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (ops[i].op == op) {
            return &ops[i];
        }
    }
    return NULL;
}

/* Answers a request that gets no job. */
static void
answer(struct zb_keeper *k, const struct zb_kreq *req, enum zb_rc rc, const struct zb_err *err)
{
    struct zb_krep rep = {.id = req->id, .op = req->op};

    zb_keeper_outcome(&rep, rc, err);
    zb_keeper_reply(k, k->generation, &rep, -1);
}

/* Names of the services that are defined and have a record. */
static char *
names_list(struct zb_keeper *k)
{
    char *text = malloc((size_t)k->services_count * ZB_SERVICE_NAME_SIZE + 1);
    size_t used = 0;

    for (uint32_t i = 0; text != NULL && i < k->services_count; i++) {
        const struct zb_keeper_service *s = k->services[i];
        if (s->defined && s->recorded) {
            size_t n = strlen(s->name);
            memcpy(text + used, s->name, n);
            text[used + n] = '\n';
            used += n + 1;
        }
    }
    if (text != NULL) {
        text[used] = '\0';
    }
    return text;
}

static void
hello(struct zb_keeper *k, const struct zb_kreq *req)
{
    struct zb_krep rep = {.id = req->id, .op = req->op, .nonce = k->nonce};
    struct zb_err err = {0};
    enum zb_rc rc = ZB_OK;

    if (req->version != ZB_KMSG_VERSION) {
        rc = zb_err_set(&err, ZB_E_VERSION, "engine speaks version %u of the keeper's protocol",
                        (unsigned)req->version);
    } else {
        k->greeted = true;
        zb_strcopy(rep.node, sizeof(rep.node), k->conf->node);
        zb_strcopy(rep.root, sizeof(rep.root), k->conf->root);
        zb_strcopy(rep.boot_id, sizeof(rep.boot_id), k->boot_id);
        (void)pthread_mutex_lock(&k->lock);
        rep.text = names_list(k);
        (void)pthread_mutex_unlock(&k->lock);
        /* Not imported yet is no reason not to start: the operations say so. */
        if (zb_zfs_pool_guid(k->conf->root, &rep.pool_guid, &err) != ZB_OK) {
            zb_log_warning("%s", err.msg);
            rep.pool_guid = 0;
        }
    }
    zb_keeper_outcome(&rep, rc, &err);
    zb_keeper_reply(k, k->generation, &rep, -1);
    zb_krep_close(&rep);
}

static struct zb_keeper_job *
job_find(const struct zb_keeper_list *list, uint64_t generation, uint64_t id)
{
    for (struct zb_keeper_job *j = list->head; j != NULL; j = j->next) {
        if (j->generation == generation && j->req.id == id) {
            return j;
        }
    }
    return NULL;
}

static void
cancel(struct zb_keeper *k, const struct zb_kreq *req)
{
    struct zb_err err = {0};
    struct zb_keeper_job *job;
    enum zb_rc rc = ZB_OK;

    (void)pthread_mutex_lock(&k->lock);
    job = job_find(&k->active, k->generation, req->target);
    if (job == NULL) {
        job = job_find(&k->waiting, k->generation, req->target);
    }
    if (job == NULL) {
        rc = zb_err_set(&err, ZB_E_NOTFOUND, "no such operation is under way");
    } else if (!zb_keeper_job_cancelable(job)) {
        rc = zb_err_set(&err, ZB_E_USAGE, "%s cannot be canceled", zb_kop_word(job->req.op));
    } else {
        zb_keeper_job_cancel(job);
    }
    (void)pthread_mutex_unlock(&k->lock);
    answer(k, req, rc, &err);
}

static bool
receives_same(const struct zb_keeper_list *list, const struct zb_keeper_job *job)
{
    for (const struct zb_keeper_job *j = list->head; j != NULL; j = j->next) {
        if (j->claim == ZB_CLAIM_RECEIVE && j->service == job->service &&
            strcmp(j->req.rel, job->req.rel) == 0) {
            return true;
        }
    }
    return false;
}

/* Whether the job's claim goes with those that others have. Caller holds lock. */
static bool
claim_free(const struct zb_keeper *k, const struct zb_keeper_job *job)
{
    const struct zb_keeper_service *s = job->service;

    for (size_t c = 0; c < ZB_CLAIM_COUNT; c++) {
        if (s->claims[c] > 0 && !together[job->claim][c]) {
            return false;
        }
    }
    if (job->claim == ZB_CLAIM_RECEIVE) {
        return s->drains == 0 && !receives_same(&k->waiting, job) &&
               !receives_same(&k->active, job);
    }
    return true;
}

/* Caller holds lock. */
static void
claim_count(struct zb_keeper_service *s, enum zb_keeper_claim claim, int by)
{
    s->claims[claim] += (unsigned)by;
    s->changes += zb_keeper_claim_only_looks(claim) ? 0 : 1; /* what was seen is of before */
}

static void
claim_take(struct zb_keeper *k, struct zb_keeper_job *job)
{
    claim_count(job->service, job->claim, 1);
    job->conf = job->service->conf;
    zb_keeper_gather_expect(k, job);
    zb_keeper_list_add(&k->waiting, job);
    zb_keeper_worker_wake(k); /* who ends another job looks for the next one anyway */
}

void
zb_keeper_unclaim(struct zb_keeper_job *job)
{
    claim_count(job->service, job->claim, -1);
}

bool
zb_keeper_claim_wait(struct zb_keeper *k, struct zb_keeper_service *s, enum zb_keeper_claim claim,
                     int64_t ms)
{
    const struct zb_mono until = {zb_mono_now().ms + ms};
    const struct zb_keeper_job job = {.service = s, .claim = claim};

    for (;;) {
        bool got;
        (void)pthread_mutex_lock(&k->lock);
        got = claim_free(k, &job);
        if (got) {
            claim_count(s, claim, 1);
        }
        (void)pthread_mutex_unlock(&k->lock);
        if (got || zb_mono_now().ms >= until.ms) {
            return got;
        }
        (void)usleep(CLAIM_STEP_MS * 1000);
    }
}

void
zb_keeper_claim_end(struct zb_keeper *k, struct zb_keeper_service *s, enum zb_keeper_claim claim)
{
    (void)pthread_mutex_lock(&k->lock);
    claim_count(s, claim, -1);
    (void)pthread_mutex_unlock(&k->lock);
}

static void
receives_cancel(struct zb_keeper *k, const struct zb_keeper_service *s)
{
    const struct zb_keeper_list *lists[] = {&k->waiting, &k->active};

    for (size_t i = 0; i < 2; i++) {
        for (struct zb_keeper_job *j = lists[i]->head; j != NULL; j = j->next) {
            if (j->service == s && j->req.op == ZB_KOP_RECEIVE) {
                zb_keeper_job_cancel(j);
            }
        }
    }
}

/* What the operation has to claim as things are. Caller holds lock. */
static enum zb_keeper_claim
claim_wanted(const struct zb_keeper_job *job)
{
    const struct zb_keeper_service *s = job->service;
    struct zb_err err;
    bool known = false;

    if (job->op->wants_settled && !s->settled) {
        return ZB_CLAIM_WRITE;
    }
    /* Told again who leads, which happens with every report of a peer: nothing changes, no receive
     * is ended. */
    if (job->req.op == ZB_KOP_LEARN &&
        (zb_rules_learn(&s->record, &job->req, &known, &err) != ZB_OK || known)) {
        return ZB_CLAIM_READ;
    }
    return job->op->claim;
}

/* Decides under the lock: claimed (ZB_OK), waits for receives to end (ZB_OK too), or why not. */
static enum zb_rc
job_admit(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    const struct zb_keeper_op *op = job->op;
    struct zb_keeper_service *s = zb_keeper_service_find(k, job->req.service);

    if (s == NULL && op->op == ZB_KOP_DEFINE) {
        s = zb_keeper_service_make(k, job->req.service, err);
        if (s == NULL) {
            return err->rc;
        }
    }
    if (s == NULL && op->anywhere) {
        s = &k->nobody;
    }
    if (s == NULL || (op->wants_definition && !s->defined)) {
        return zb_err_set(err, ZB_E_NOTFOUND, "service %s is not defined here", job->req.service);
    }
    if (s->frozen && !op->when_frozen) {
        (void)zb_err_set(err, ZB_E_REFUSED, "frozen: %.400s", s->frozen_why);
        return zb_err_hint(err, "%s", s->frozen_hint);
    }
    job->service = s;
    job->claim = claim_wanted(job);
    if (claim_free(k, job)) {
        k->jobs_count++;
        claim_take(k, job);
        return ZB_OK;
    }
    if (!op->ends_receives) {
        (void)zb_err_set(err, ZB_E_BUSY, "another operation on %s is under way", s->name);
        return zb_err_hint(err, "it ends by itself: try again in a moment");
    }
    receives_cancel(k, s);
    s->drains++;
    k->jobs_count++;
    job->drain_deadline.ms = zb_mono_now().ms + ZB_KEEPER_DRAIN_MS;
    zb_keeper_list_add(&k->draining, job);
    return ZB_OK;
}

static zb_keeper_quick *
quick_find(uint32_t op)
{
    static zb_keeper_quick *const quick[] = {
        [ZB_KOP_BEAT] = zb_keeper_op_beat,
        [ZB_KOP_RENEW] = zb_keeper_op_renew,
        [ZB_KOP_LAPSE] = zb_keeper_op_lapse,
        [ZB_KOP_LEAVE] = zb_keeper_op_leave,
    };
    return op < sizeof(quick) / sizeof(quick[0]) ? quick[op] : NULL;
}

static void
quick_run(struct zb_keeper *k, const struct zb_kreq *req)
{
    struct zb_krep rep = {.id = req->id, .op = req->op};
    struct zb_err err = {0};

    zb_keeper_outcome(&rep, quick_find(req->op)(k, req, &rep, &err), &err);
    zb_keeper_reply(k, k->generation, &rep, -1);
}

void
zb_keeper_request(struct zb_keeper *k, struct zb_kreq *req)
{
    struct zb_keeper_job *job = NULL;
    struct zb_err err = {0};
    enum zb_rc rc;

    if (req->op == ZB_KOP_HELLO || req->op == ZB_KOP_CANCEL) {
        (req->op == ZB_KOP_HELLO ? hello : cancel)(k, req);
        zb_kreq_close(req);
        return;
    }
    if (k->greeted && quick_find(req->op) != NULL) {
        quick_run(k, req);
        zb_kreq_close(req);
        return;
    }
    if (!k->greeted) {
        rc = zb_err_set(&err, ZB_E_REFUSED, "HELLO comes first");
    } else if (op_find(req->op) == NULL ||
               (req->service[0] == '\0' && !op_find(req->op)->anywhere)) {
        rc = zb_err_set(&err, ZB_E_USAGE, "an operation and a service are wanted");
    } else if ((job = zb_keeper_job_new()) == NULL) {
        rc = zb_err_set(&err, ZB_E_NOMEM, "no memory for the operation");
    } else {
        job->req = *req;
        job->op = op_find(req->op);
        job->generation = k->generation;
        (void)pthread_mutex_lock(&k->lock);
        rc = job_admit(k, job, &err);
        (void)pthread_mutex_unlock(&k->lock);
        if (rc == ZB_OK) {
            return; /* the job has req now, and is no longer ours */
        }
        free(job);
    }
    answer(k, req, rc, &err);
    zb_kreq_close(req);
}

/* One job of the draining list: it goes on, waits, or has waited too long. Caller holds lock. */
static void
drain_step(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_mono now, bool *expired)
{
    job->claim = claim_wanted(job);
    *expired = false;
    if (claim_free(k, job)) {
        zb_keeper_list_remove(&k->draining, job);
        job->service->drains--;
        claim_take(k, job);
    } else if (now.ms >= job->drain_deadline.ms) {
        *expired = true;
        zb_keeper_list_remove(&k->draining, job);
        job->service->drains--;
        k->jobs_count--;
    }
}

bool
zb_keeper_drains_step(struct zb_keeper *k)
{
    struct zb_mono now = zb_mono_now();
    struct zb_keeper_job *job = k->draining.head;

    while (job != NULL) {
        struct zb_keeper_job *next = job->next;
        struct zb_keeper_service *s = job->service;
        struct zb_err err = {0};
        bool expired;

        (void)pthread_mutex_lock(&k->lock);
        drain_step(k, job, now, &expired);
        (void)pthread_mutex_unlock(&k->lock);
        if (expired) {
            enum zb_rc rc = zb_err_set(&err, ZB_E_BUSY,
                                       "what is under way on %s does not end "
                                       "(a receive may be stuck in the kernel)",
                                       s->name);
            job->rep.id = job->req.id;
            job->rep.op = job->req.op;
            zb_keeper_outcome(&job->rep, rc, &err);
            zb_keeper_reply(k, job->generation, &job->rep, -1);
            zb_keeper_job_free(job);
        }
        job = next;
    }
    return k->draining.head != NULL;
}
