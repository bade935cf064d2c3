/* What goes wrong, and what is asked for. */
#include "sess.h"

#define ENGINE_END_MS 10000 /* it is waited for, and killed */

static void
all_fault_until(struct sess *w, int64_t at)
{
    for (unsigned n = 0; n < SESS_NODES; n++) {
        sess_fault_until(&w->hosts[n], at);
    }
}

static int64_t
length(struct sess *w)
{
    return sess_chance(w, 500) ? sess_between(w, 100, 8000) : sess_between(w, 5000, 60000);
}

void
sess_cut(struct sess *w, struct sess_host *h, int64_t ms, bool answers)
{
    h->cut_until = w->now + ms;
    h->cut_answers = answers;
    sess_fault_until(h, h->cut_until);
    sess_note(w, h, "cut off from etcd until %ld%s", (long)h->cut_until,
              h->cut_answers ? ", answers only" : "");
}

void
sess_engine_stop(struct sess *w, struct sess_host *h, int64_t ms)
{
    if (h->e.on) {
        h->e.stopped_until = w->now + ms;
        sess_fault_until(h, h->e.stopped_until);
        sess_note(w, h, "engine stands still until %ld", (long)h->e.stopped_until);
    }
}

/* What is known of the last heartbeat comes late, and nothing comes after it. */
static void
stumble(struct sess *w, struct sess_host *h)
{
    if (sess_chance(w, 500)) {
        h->stop_next = true;
    } else {
        sess_cut(w, h, sess_between(w, 1000, 6500), true);
        h->cut_next = true;
    }
}

/* While etcd is away some engines end, or stand still until after it. */
static void
engines_fault(struct sess *w)
{
    for (unsigned n = 0; n < SESS_NODES; n++) {
        if (sess_chance(w, 200)) {
            sess_engine_kill(w, &w->hosts[n]);
        } else if (sess_chance(w, 200)) {
            sess_engine_stop(w, &w->hosts[n], sess_between(w, 10000, 60000));
        }
    }
}

static void
etcd_fault(struct sess *w)
{
    if (w->restores && sess_chance(w, 600) && w->now >= w->down_until) {
        if (sess_chance(w, 800)) {
            sess_etcd_restore(w);
        } else {
            sess_etcd_replace(w);
        }
        all_fault_until(w, w->down_until + SESS_HEARTBEAT_MS);
        engines_fault(w);
        return;
    }
    w->quorum_until = w->now + length(w);
    all_fault_until(w, w->quorum_until);
    sess_note(w, NULL, "no quorum until %ld", (long)w->quorum_until);
}

static void
engine_fault(struct sess *w, struct sess_host *h)
{
    if (sess_chance(w, 500)) {
        sess_engine_kill(w, h);
        sess_fault_until(h, h->e.start_at);
    } else {
        sess_engine_stop(w, h, length(w));
    }
}

/* Whom nothing but a deadline fences has to have its keeper back soon. */
static void
keeper_fault(struct sess *w, struct sess_host *h)
{
    int64_t off_ms = sess_between(w, 100, w->tight ? 200 : 2000);

    if (h->fencing != SESS_DEADLINE && sess_chance(w, 400)) {
        off_ms = sess_between(w, 100, 30000);
    }
    if (h->keeper) {
        sess_keeper_end(w, h, off_ms);
    }
}

void
sess_fault(struct sess *w)
{
    struct sess_host *h = &w->hosts[sess_random(w, SESS_NODES)];
    uint64_t kind = sess_random(w, 100);

    if (!h->on || h->paused) {
        return;
    }
    w->faults++;
    if (w->restores && sess_chance(w, 150)) {
        etcd_fault(w);
    } else if (kind < 20) {
        sess_cut(w, h, length(w), sess_chance(w, 300));
    } else if (kind < 30) {
        stumble(w, h);
    } else if (kind < 45) {
        etcd_fault(w);
    } else if (kind < 60) {
        engine_fault(w, h);
    } else if (kind < 70) {
        keeper_fault(w, h);
    } else if (kind < 78) {
        sess_host_off(w, h, sess_between(w, 1000, 40000));
    } else if (kind < 90 && w->pauses) {
        sess_host_pause(w, h, length(w), sess_chance(w, 300));
    } else if (kind >= 90 && w->leaves && h->keeper && !h->stopping && h->e.on) {
        h->stopping = true;
        h->stop_at = w->now + ENGINE_END_MS;
        sess_fault_until(h, w->now);
        sess_note(w, h, "zbatond is stopped");
    }
}

void
sess_order(struct sess *w)
{
    struct sess_host *h = &w->hosts[sess_random(w, SESS_NODES)];
    struct sess_host *observer = &w->hosts[sess_random(w, SESS_NODES)];

    if (h->keeper && !h->paused && h->tree == SESS_MOUNTED && h->demoted_at == 0 &&
        sess_chance(w, 100)) {
        sess_tree_end(w, h);
    }
    if (sess_chance(w, 700) && h->promote_at == 0) {
        sess_keeper_grant(w, h);
    }
    if (observer->e.on && !observer->paused && sess_chance(w, 300)) {
        observer->e.after = sess_local(w, observer).ms;
        observer->e.after_at = w->now;
    }
}

void
sess_heal(struct sess *w)
{
    sess_note(w, NULL, "everything is healed");
    w->quorum_until = w->now < w->quorum_until ? w->now : w->quorum_until;
    w->backup_next = SESS_NEVER;
    for (unsigned n = 0; n < SESS_NODES; n++) {
        struct sess_host *h = &w->hosts[n];
        h->cut_until = 0;
        h->cut_next = h->stop_next = false;
        h->boot_at = h->on ? h->boot_at : w->now;
        h->resume_at = w->now;
        h->keeper_at = 0;
        h->e.stopped_until = h->e.stopped_until != 0 ? 1 : 0;
        h->demoted_at = h->demoted_at != 0 ? 1 : 0;
    }
    all_fault_until(w, w->down_until > w->now ? w->down_until : w->now);
}
