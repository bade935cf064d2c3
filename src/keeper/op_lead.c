#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/volume.h"

/* ---- PROMOTE ---- */

static enum zb_rc
promote_check(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
              const struct zb_keeper_record *r, struct zb_err *err)
{
    struct zb_keeper_facts facts;
    /* Partial receives go before anything is mounted. The rule is asked first without the
     * beginnings of datasets that no set holds yet, so that a refusal changes nothing. */
    bool planned = (job->req.flags & (ZB_KF_EXACT | ZB_KF_REMOUNT)) == ZB_KF_EXACT;
    struct zb_kdataset *kept = calloc(view->count + 1, sizeof(*kept));
    enum zb_rc rc;

    if (kept == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory to promote");
    }
    if (planned) {
        zb_keeper_written_prove(k, view, NULL, true);
    }
    rc = zb_keeper_facts(k, job, view, true, &facts, err);
    if (rc == ZB_OK) {
        zb_keeper_complete_only(view, kept, &facts);
        rc = zb_rules_promote(r, &job->req, &facts, err);
    }
    free(kept);
    if (rc == ZB_OK) {
        rc = zb_keeper_partials_abort(k, job->req.service, view, err);
    }
    if (rc == ZB_OK && planned) {
        rc = zb_keeper_arrange(k, &job->req, view, err);
    }
    return rc == ZB_OK && planned ? zb_keeper_orphans_mark(k, &job->req, view, err) : rc;
}

static enum zb_rc
session_check(struct zb_keeper *k, const struct zb_keeper_job *job, struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_may_write(k, err);

    if (rc == ZB_OK && (job->req.flags & ZB_KF_REMOUNT) == 0 &&
        job->service->grant_session != zb_keeper_session_id(k)) {
        rc = zb_err_set(err, ZB_E_STALE, "term %llu was granted under a session that is over",
                        (unsigned long long)job->req.term);
    }
    return rc;
}

/* After the record: S0 values, declared values, mounts, proof. Nothing stays mounted on an error.
 */
static enum zb_rc
promote_mount(struct zb_keeper *k, const struct zb_keeper_view *view, const struct zb_kreq *req,
              const struct zb_conf_service *conf, struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_rest_set_all(view, err);

    zb_keeper_keys_inherit(k, req->service, view);
    if (rc == ZB_OK) {
        rc = zb_keeper_declared_set(view->dataset, conf, req->term, err);
    }
    return rc == ZB_OK ? zb_keeper_tree_mount(k, view, conf, err) : rc;
}

/* A program may take longer than there is time for: a lapse of the session ends it. */
static enum zb_rc
keys_begin(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
           struct zb_err *err)
{
    int fd = -1;
    enum zb_rc rc = ZB_OK;

    if (job->conf.key_command[0] != '\0') {
        rc = zb_keeper_job_cancel_open(k, job, &fd, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_keys_begin(k, job->req.service, view, fd, err);
    }
    if (fd >= 0) {
        zb_keeper_job_cancel_close(k, job, fd);
    }
    return rc;
}

/* A term is not begun with a tree that cannot be mounted. What was mounted here before has its key
 * loaded still, whatever became of the file. */
static enum zb_rc
keys_load(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
          bool *begun, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; rc == ZB_OK && i < view->count; i++) {
        rc = view->datasets[i].marked ? zb_keeper_copy_check(job->conf.flavour, view->props[i], err)
                                      : ZB_OK;
    }
    if (rc != ZB_OK) {
        return rc;
    }
    rc = keys_begin(k, job, view, err);
    *begun = rc == ZB_OK;
    if (rc != ZB_OK && (job->req.flags & ZB_KF_REMOUNT) != 0) {
        zb_log_warning("%s: %s", job->req.service, err->msg);
        rc = ZB_OK;
    }
    return rc;
}

/* What was not to be led is free, and at rest, devices that were waited for in vain too. */
static bool
put_back(struct zb_keeper *k, const char *service)
{
    struct zb_keeper_view view = {0};
    struct zb_err ignored;
    enum zb_rc rc = zb_keeper_view_open(k, service, &view, &ignored);
    bool mounted = false;

    for (uint32_t i = 0; i < view.count; i++) {
        mounted = mounted || view.datasets[i].mount != ZB_MOUNT_NONE;
    }
    if (rc == ZB_OK && !mounted) {
        rc = zb_keeper_volumes_rest(&view, &ignored);
    }
    if (rc == ZB_OK && !mounted) {
        rc = zb_keeper_tree_free_prove(&view, &ignored);
    }
    zb_keeper_view_close(&view);
    return rc == ZB_OK && !mounted;
}

enum zb_rc
zb_keeper_op_promote(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_view view = {0};
    struct zb_keeper_record next;
    bool remount = (job->req.flags & ZB_KF_REMOUNT) != 0;
    bool keys = false;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    zb_keeper_record_copy(k, s, &next);
    if (rc == ZB_OK) {
        rc = session_check(k, job, err);
    }
    if (rc == ZB_OK) {
        rc = keys_load(k, job, &view, &keys, err);
    }
    if (rc == ZB_OK) {
        rc = promote_check(k, job, &view, &next, err);
    }
    if (rc == ZB_OK) { /* again: all of this takes its time */
        rc = session_check(k, job, err);
    }
    if (rc == ZB_OK && !remount) { /* M7: recorded before anything can be written */
        zb_rules_promoted(&next, &job->req, k->conf->node, k->boot_id, view.pool_guid);
        rc = zb_keeper_record_change(k, s, &next, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    s->rested = false;
    zb_keeper_unproven_set(k, s, true);
    rc = promote_mount(k, &view, &job->req, &job->conf, err);
    if (rc == ZB_OK) {
        zb_keeper_stage_set(k, s, ZB_STAGE_MOUNTED);
        zb_keeper_unproven_set(k, s, false); /* its stage says so */
        zb_keeper_observation_add(k, job);
    } else {
        zb_keeper_unproven_set(k, s, !put_back(k, job->req.service));
        /* The probe may have written: what was sealed is so no more. Another term, or another set.
         */
        zb_keeper_stage_set(k, s, remount ? ZB_STAGE_UNMOUNTED : ZB_STAGE_REST);
    }
out:
    if (keys) {
        zb_keeper_keys_end(k, job->req.service);
    }
    if (keys && rc != ZB_OK) {
        zb_keeper_keys_unload(k, job->req.service, &view);
    }
    zb_keeper_view_close(&view);
    return rc;
}

/* ---- SEAL ---- */

/* Mounts again what the failed seal has unmounted. */
static void
seal_undo(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view)
{
    struct zb_err err;

    if (zb_keeper_tree_mount(k, view, &job->conf, &err) == ZB_OK) {
        zb_keeper_stage_set(k, job->service, ZB_STAGE_MOUNTED);
        job->rep.flags |= ZB_KF_REMOUNTED;
    } else {
        zb_log_error("%s: not mounted again after a failed seal: %s", job->req.service, err.msg);
    }
}

/* Unmounted; now the proofs. ZB_E_HELD: put it back. ZB_E_MISMATCH: it stays unmounted. */
static enum zb_rc
seal_prove(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *before,
           struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_facts facts;
    enum zb_rc rc = zb_keeper_tree_free_prove(before, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_view_open(k, job->req.service, &view, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_written_prove(k, &view, NULL, true);
        rc = zb_keeper_facts(k, job, &view, false, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_tree_equal(&job->req.manifest, &facts, err);
    }
    zb_keeper_view_close(&view);
    return rc;
}

enum zb_rc
zb_keeper_op_seal(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_view view = {0};
    struct zb_keeper_record r;
    struct zb_keeper_facts facts;
    struct zb_mono deadline = {
        zb_mono_now().ms + (job->req.timeout_ms != 0 ? job->req.timeout_ms : ZB_KEEPER_UMOUNT_MS)};
    bool was_mounted;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    zb_keeper_record_copy(k, s, &r);
    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, &view, true, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_seal(&r, &job->req, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_keys_carried_check(k, s, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_view_whole(&view, job->conf.flavour, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    was_mounted = facts.stage == ZB_STAGE_MOUNTED;
    zb_keeper_stage_set(k, s, ZB_STAGE_UNMOUNTED);
    rc = zb_keeper_tree_umount(view.dataset, deadline, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_volumes_rest(&view, err);
    }
    if (rc == ZB_OK) {
        rc = seal_prove(k, job, &view, err);
    }
    if (rc == ZB_OK) {
        rc = zb_manifest_copy(&s->sealed, &job->req.manifest, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_stage_set(k, s, ZB_STAGE_SEALED);
        zb_keeper_observation_add(k, job);
    } else if (was_mounted && rc != ZB_E_MISMATCH) {
        seal_undo(k, job, &view);
    }
out:
    zb_keeper_view_close(&view);
    return rc;
}

/* ---- DEMOTE ---- */

/* A tree without any mark that is mounted is its owner's, who may not know that a service has the
 * same name; but on the first leader of a new service, where its adoption was agreed to. A tree
 * that cannot be seen is given up. */
static enum zb_rc
demote_check(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record r;
    struct zb_err ignored;
    enum zb_rc rc = ZB_OK;

    zb_keeper_record_copy(k, job->service, &r);
    if (zb_keeper_view_open(k, job->req.service, &view, &ignored) != ZB_OK) {
        return ZB_OK;
    }
    if (view.mounts.count > 0 && !zb_keeper_view_is_managed(&view, job->req.service) &&
        !zb_rules_is_first(&r, job->conf.leader, k->conf->node)) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is mounted at %.200s and is not zbaton's",
                         view.mounts.entries[0].dataset, view.mounts.entries[0].dir);
        rc = zb_err_hint(err, "rename it; or unmount it: it is adopted if its newest snapshot is "
                              "one of the leader's");
    }
    zb_keeper_view_close(&view);
    return rc;
}

enum zb_rc
zb_keeper_op_demote(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    uint32_t timeout_ms =
        job->req.timeout_ms != 0 ? job->req.timeout_ms : job->conf.stop_timeout_ms;
    enum zb_rc rc = demote_check(k, job, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_demote(k, job->service, &job->conf, timeout_ms, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_observation_add(k, job);
    }
    return rc;
}
