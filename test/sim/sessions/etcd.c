/* An etcd: keys with the revision of their last change, every transaction at one moment. What is
 * sent to it may be lost, done and its answer lost, or done long after it was given up. */
#include "sess.h"

#include <string.h>

#define RESTORE_LEAST_MS                                                                           \
    (SESS_SOFT_MS + 2 * SESS_REQUEST_MS) /* from the end of the old members                        \
                                          */

static int64_t
later(int64_t at, int64_t than)
{
    return at > than ? at : than;
}

/* What becomes of it. */
static void
fate(struct sess *w, struct sess_host *h, struct sess_request *r)
{
    bool cut = w->now < h->cut_until;

    r->commit_at = w->now + sess_between(w, 1, 30);
    if (w->now < w->quorum_until || w->now < w->down_until) { /* it waits, or is given up */
        r->commit_at = sess_chance(w, 500) && w->now >= w->down_until
                           ? w->quorum_until + sess_between(w, 0, 500)
                           : SESS_NEVER;
    } else if (cut && !h->cut_answers) { /* what is on its way may arrive when the cut is over */
        r->commit_at = sess_chance(w, 200) ? h->cut_until + sess_between(w, 0, 1000) : SESS_NEVER;
    } else if (w->noisy && !w->healed && sess_chance(w, 60)) {
        sess_fault_until(h, w->now);
        r->commit_at = sess_chance(w, 300) ? SESS_NEVER : w->now + sess_between(w, 100, 12000);
    }
    if (r->commit_at == SESS_NEVER) {
        r->answer_at = SESS_NEVER;
        return;
    }
    r->answer_at = r->commit_at + sess_between(w, 1, 30);
    if (cut) {
        r->answer_at = SESS_NEVER;
    } else if (w->noisy && !w->healed && sess_chance(w, 60)) {
        sess_fault_until(h, w->now);
        r->answer_at = sess_chance(w, 400) ? SESS_NEVER : r->commit_at + sess_between(w, 100, 4000);
    }
}

void
sess_send(struct sess *w, struct sess_host *h)
{
    struct sess_request *r = w->requests;

    h->e.attempt = ++w->attempts;
    h->e.attempt_ends = sess_real(h, sess_local(w, h).ms + SESS_REQUEST_MS);
    while (r < w->requests + SESS_REQUESTS && r->attempt != 0) {
        r++;
    }
    if (r == w->requests + SESS_REQUESTS) {
        return; /* as good as lost */
    }
    *r = (struct sess_request){
        .attempt = h->e.attempt, .node = h->self, .etcd = h->etcd, .step = h->e.step};
    fate(w, h, r);
    if (r->commit_at == SESS_NEVER) {
        r->attempt = 0;
    }
    if (h->stop_next) {
        h->stop_next = false;
        sess_engine_stop(w, h, sess_between(w, 1500, 6500));
        sess_cut(w, h, sess_between(w, 10000, 40000), false);
    }
}

static void
commit(struct sess *w, struct sess_request *r)
{
    const struct zb_sessions_step *step = &r->step;
    struct zb_sessions_answer *answer = &r->answer;
    struct sess_store *store = &w->stores[r->etcd];
    bool probe = step->what == ZB_SESSIONS_PROBE;

    r->committed = true;
    r->committed_at = w->now;
    *answer = (struct zb_sessions_answer){.known = true, .cluster_id = store->cluster_id};
    answer->succeeded = probe || store->keys[step->node].mod == step->mod;
    store->revision += answer->succeeded;
    if (answer->succeeded && !probe) {
        store->keys[step->node].mod = store->revision;
        store->keys[step->node].value = step->value;
    }
    answer->revision = store->revision;
    for (uint8_t n = 0; n < SESS_NODES; n++) {
        if (store->keys[n].mod != 0) {
            answer->rows[answer->rows_count++] = (struct zb_session_row){
                .node = n, .mod = store->keys[n].mod, .value = store->keys[n].value};
        }
    }
    sess_note(w, &w->hosts[r->node],
              "committed: %u of n%u at mod %ld, life %u id %lx: %s, revision %ld",
              (unsigned)step->what, step->node + 1u, (long)step->mod, (unsigned)step->value.life,
              (unsigned long)(step->value.id >> 48), answer->succeeded ? "done" : "not equal",
              (long)store->revision);
}

void
sess_etcd_step(struct sess *w)
{
    if (w->restore_due && w->now >= w->down_until) {
        w->restore_due = false;
        w->stores[0] = w->restore;
        w->restored++;
        sess_note(w, NULL, "etcd begins again at revision %ld", (long)w->stores[0].revision);
    }
    for (struct sess_request *r = w->requests; r < w->requests + SESS_REQUESTS; r++) {
        struct sess_host *h = &w->hosts[r->node];
        if (r->attempt != 0 && !r->committed && w->now >= r->commit_at) {
            if (w->now < w->quorum_until) {
                r->commit_at = w->quorum_until + 1;
                r->answer_at = later(r->answer_at, r->commit_at + 1);
                continue;
            }
            commit(w, r);
        }
        if (r->attempt == 0 || !r->committed) {
            continue;
        }
        if (r->answer_at == SESS_NEVER || h->e.attempt != r->attempt) {
            r->attempt = 0; /* nobody waits for it */
        } else if (w->now >= r->answer_at && h->e.on && !h->paused && h->e.stopped_until == 0) {
            sess_engine_answer(w, h, r);
            r->attempt = 0;
        }
    }
}

int64_t
sess_etcd_due(const struct sess *w)
{
    int64_t due = w->restore_due ? w->down_until : SESS_NEVER;

    for (const struct sess_request *r = w->requests; r < w->requests + SESS_REQUESTS; r++) {
        const struct sess_host *h = &w->hosts[r->node];
        bool held = h->paused || h->e.stopped_until != 0;
        int64_t at = !r->committed ? r->commit_at : held ? SESS_NEVER : r->answer_at;
        due = r->attempt != 0 && at < due ? at : due;
    }
    return due;
}

/* --- what goes back --- */

void
sess_etcd_backup(struct sess *w)
{
    if (w->now >= w->down_until) {
        w->backups[w->backups_count++ % SESS_BACKUPS] = w->stores[0];
        sess_note(w, NULL, "backup of etcd at revision %ld", (long)w->stores[0].revision);
    }
}

static void
begin_anew(struct sess *w, const struct sess_store *store)
{
    w->restore = *store;
    w->restore_due = true;
    w->down_until = w->now + RESTORE_LEAST_MS +
                    (sess_chance(w, 700) ? sess_between(w, 0, 3000) : sess_between(w, 0, 40000));
    memset(w->requests, 0, sizeof w->requests); /* its members are gone, and their connections */
    sess_note(w, NULL, "etcd ends, until %ld", (long)w->down_until);
}

void
sess_etcd_restore(struct sess *w)
{
    uint32_t kept = w->backups_count < SESS_BACKUPS ? w->backups_count : SESS_BACKUPS;

    if (kept > 0) {
        uint32_t newest = (w->backups_count - 1) % SESS_BACKUPS;
        begin_anew(w, &w->backups[sess_chance(w, 500) ? newest : sess_random(w, kept)]);
    }
}

void
sess_etcd_replace(struct sess *w)
{
    begin_anew(w, &(struct sess_store){.cluster_id = sess_random(w, 0), .revision = 1});
    w->backups_count = 0;
}
