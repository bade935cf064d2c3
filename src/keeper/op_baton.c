#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

/* What the rules judge by. The view is the caller's to close, whatever comes out. */
static enum zb_rc
baton_look(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
           struct zb_keeper_record *record, struct zb_keeper_facts *facts, struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, view, err);

    zb_keeper_record_copy(k, job->service, record);
    return rc == ZB_OK ? zb_keeper_facts(k, job, view, true, facts, err) : rc;
}

/* Once that is durable, what was sealed here is over. */
static enum zb_rc
baton_record(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_record *next,
             struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_record_change(k, job->service, next, err);

    if (rc == ZB_OK) {
        zb_keeper_stage_set(k, job->service, ZB_STAGE_REST);
    }
    return rc;
}

/* ---- RELEASE ---- */

/* S2: proven at the moment of the release, not only when it was sealed. First that nothing holds
 * the tree: what is looked at after that changes no more. */
static enum zb_rc
release_prove(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
              struct zb_keeper_facts *facts, struct zb_err *err)
{
    enum zb_rc rc = zb_rules_idle(facts, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_tree_free_prove(view, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, job->req.service, view, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_written_prove(k, view, NULL, true);
        rc = zb_keeper_facts(k, job, view, false, facts, err);
    }
    return rc == ZB_OK ? zb_rules_tree_equal(&job->req.manifest, facts, err) : rc;
}

enum zb_rc
zb_keeper_op_release(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record next;
    struct zb_keeper_facts facts;
    bool again = false;
    enum zb_rc rc = baton_look(k, job, &view, &next, &facts, err);

    if (rc == ZB_OK) {
        rc = zb_rules_release(&next, &job->req, &facts, &again, err);
    }
    if (rc == ZB_OK && !again) {
        rc = release_prove(k, job, &view, &facts, err);
        if (rc == ZB_OK) {
            rc = zb_rules_released(&next, &job->req, err);
        }
        if (rc == ZB_OK) {
            rc = baton_record(k, job, &next, err);
        }
    }
    if (rc == ZB_OK) { /* not before: an aborted move mounts the tree again */
        zb_keeper_keys_unload(k, job->req.service, &view);
    }
    zb_keeper_view_close(&view);
    if (rc == ZB_OK) {
        zb_keeper_observation_add(k, job);
    }
    return rc;
}

/* ---- GRANT ---- */

/* M2: a tree that this node led may be written still though nothing of it is mounted: by what was
 * unmounted lazily, or from another mount namespace. One that cannot be proven free because of a
 * newer bookmark is granted all the same, as DEMOTE gives it up. */
static enum zb_rc
grant_prove(const struct zb_keeper_record *r, const struct zb_keeper_view *view, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    if (view->count > 0 && zb_rules_may_have_led(r, view->led)) {
        rc = zb_keeper_tree_free_prove(view, err);
    }
    return rc == ZB_E_MISMATCH ? ZB_OK : rc;
}

enum zb_rc
zb_keeper_op_grant(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record next;
    struct zb_keeper_facts facts;
    bool again = false;
    enum zb_rc rc = baton_look(k, job, &view, &next, &facts, err);

    if (rc == ZB_OK) {
        rc = zb_rules_grant(&next, &job->req, &facts, &again, err);
    }
    if (rc == ZB_OK && !again) {
        rc = grant_prove(&next, &view, err);
    }
    zb_keeper_view_close(&view);
    if (rc == ZB_OK && !again) {
        rc = zb_rules_granted(&next, &job->req, err);
        if (rc == ZB_OK) {
            rc = baton_record(k, job, &next, err);
        }
    }
    if (rc == ZB_OK && strcmp(job->req.node, k->conf->node) == 0) {
        job->service->grant_session = zb_keeper_session_id(k);
    }
    if (rc == ZB_OK) {
        zb_keeper_observation_add(k, job); /* M2: the position is read after the grant */
    }
    return rc;
}

/* ---- LEARN ---- */

/* Values that only a leader has are cleared when somebody else leads. A failure is put right by the
 * next start, and by each receive for its dataset. */
static void
follower_rest(struct zb_keeper *k, struct zb_keeper_service *s)
{
    struct zb_keeper_view view = {0};
    struct zb_err err;
    enum zb_rc rc = zb_keeper_view_open(k, s->name, &view, &err);

    if (rc == ZB_OK) {
        rc = zb_keeper_rest_set_all(&view, &err);
    }
    zb_keeper_view_close(&view);
    s->rested = rc == ZB_OK;
    if (rc != ZB_OK) {
        zb_log_warning("%s: properties at rest: %s", s->name, err.msg);
    }
}

enum zb_rc
zb_keeper_op_learn(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_record next;
    struct zb_err more;
    enum zb_keeper_stage stage;
    bool known = false;
    enum zb_rc rc;

    zb_keeper_record_copy(k, s, &next);
    rc = zb_rules_learn(&next, &job->req, &known, err);
    if (rc == ZB_E_MISMATCH) {
        zb_log_error("%s: %s", s->name, err->msg);
    }
    if (rc == ZB_OK && !known && job->claim != ZB_CLAIM_WRITE) {
        return zb_err_set(err, ZB_E_BUSY, "the record changed meanwhile");
    }
    if (rc != ZB_OK || known) {
        job->rep.record = next.rec;
        return rc;
    }
    zb_rules_learned(&next, &job->req);
    rc = zb_keeper_record_change(k, s, &next, err);
    (void)pthread_mutex_lock(&k->lock);
    stage = s->stage;
    (void)pthread_mutex_unlock(&k->lock);
    if (stage != ZB_STAGE_REST) {
        /* Somebody leads a higher term: nothing more is written under the old one, asked to or not,
         * recorded or not. */
        zb_log_error("%s: %s leads term %llu, this node gives up term %llu", s->name, job->req.node,
                     (unsigned long long)job->req.term,
                     (unsigned long long)next.rec.established_term);
        if (zb_keeper_demote(k, s, &job->conf, job->conf.stop_timeout_ms, &more) != ZB_OK) {
            zb_log_error("%s: %s", s->name, more.msg);
            *err = rc == ZB_OK ? more : *err;
            rc = err->rc;
        }
    } else if (rc == ZB_OK && !s->rested && strcmp(job->req.node, k->conf->node) != 0) {
        follower_rest(k, s);
    }
    if (rc == ZB_OK) {
        zb_keeper_observation_add(k, job);
    }
    return rc;
}
