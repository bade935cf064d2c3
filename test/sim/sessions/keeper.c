/* The keeper's part around keeper/session.c, as src/keeper/deadline.c and op_lead.c have it. */
#include "sess.h"

#define PAT_MS 1000

static bool
is_writable(const struct sess_host *h)
{
    return h->tree != SESS_REST;
}

static void
run_store(struct sess_host *h)
{
    h->run.boot = h->boot;
    h->run.id = h->session.id;
    h->run.etcd = h->session.etcd;
    h->run.renewed = h->session.renewed.ms;
    h->run.confirmed = h->session.confirmed;
    h->run.rested = zb_session_is_at_rest(&h->session) || !is_writable(h);
    h->run.lapsed = h->session.stage == ZB_SESSION_LAPSED;
}

static void
demote_begin(struct sess *w, struct sess_host *h)
{
    int64_t ms = is_writable(h) ? sess_between(w, 50, 5500) : sess_between(w, 1, 100);

    if (is_writable(h) && !w->healed && sess_chance(w, 150)) {
        ms = sess_between(w, 20000, 60000);
        h->slow = true;
        h->slow_at = w->now;
    }
    h->demoted_at = w->now + ms;
    sess_note(w, h, "demotes, until %ld", (long)h->demoted_at);
}

static void
lapsed(struct sess *w, struct sess_host *h, bool told)
{
    w->lapses++;
    sess_note(w, h, "session %lx is over", (unsigned long)(h->session.id >> 48));
    sess_check_lapse(w, h, told);
    h->session.rested = h->tree == SESS_REST;
    demote_begin(w, h);
}

static uint64_t
session_id(struct sess *w, struct sess_host *h)
{
    struct zb_err ignored;

    return zb_session_may_write(&h->session, sess_local(w, h), &ignored) == ZB_OK ? h->session.id
                                                                                  : ZB_SESSION_OVER;
}

void
sess_keeper_start(struct sess *w, struct sess_host *h)
{
    struct zb_mono now = sess_local(w, h);
    struct zb_session_past past = {.id = h->file.id,
                                   .etcd = h->run.etcd,
                                   .rebooted = h->file.boot != h->boot,
                                   .renewed.ms = h->run.renewed,
                                   .confirmed = h->run.confirmed,
                                   .rested = h->run.rested,
                                   .lapsed = h->run.lapsed};

    past.known = h->run.id == h->file.id && h->run.boot == h->boot && h->run.renewed <= now.ms;
    h->session = (struct zb_session){.soft_ms = SESS_SOFT_MS, .hard_ms = SESS_HARD_MS};
    h->keeper = true;
    h->stopping = h->late = false;
    h->demoted_at = 0;
    h->grant_session = 0;
    h->armed = h->fencing == SESS_WATCHDOG;
    h->patted = now.ms;
    h->e = (struct sess_engine){.start_at = w->now + sess_between(w, 10, 500)};
    if (h->file.there) {
        zb_session_resume(&h->session, now, &past);
        (void)zb_session_tick(&h->session, now);
    }
    sess_note(w, h, "keeper starts, session %lx, stage %u", (unsigned long)(h->session.id >> 48),
              (unsigned)h->session.stage);
    if (h->session.stage == ZB_SESSION_LAPSED ||
        (is_writable(h) && session_id(w, h) == ZB_SESSION_OVER)) {
        demote_begin(w, h);
    }
}

static void
demoted(struct sess *w, struct sess_host *h)
{
    h->demoted_at = 0;
    h->slow = false;
    sess_tree_end(w, h);
    h->session.demoted = h->session.stage == ZB_SESSION_LAPSED;
    run_store(h);
}

static bool
is_bound(const struct sess_host *h)
{
    return (h->session.stage == ZB_SESSION_OPEN && is_writable(h)) ||
           (h->session.stage == ZB_SESSION_LAPSED && !h->session.demoted);
}

/* zbatond is stopped: nobody may count on it when it is gone. */
static void
stop_step(struct sess *w, struct sess_host *h)
{
    if (!h->stopping || (h->e.on && w->now < h->stop_at)) {
        return;
    }
    if (is_bound(h) && h->session.stage == ZB_SESSION_OPEN) {
        zb_session_lapse(&h->session, h->session.id);
        sess_fault_until(h, w->now);
        lapsed(w, h, true);
    }
    if (!is_bound(h)) {
        if (h->session.stage == ZB_SESSION_OPEN) {
            zb_session_lapse(&h->session, h->session.id);
            h->session.demoted = true;
            run_store(h);
        }
        h->armed = false;
        sess_keeper_end(w, h, sess_between(w, 500, 25000));
    }
}

void
sess_keeper_step(struct sess *w, struct sess_host *h)
{
    struct zb_mono now = sess_local(w, h);
    bool late;

    if (!h->keeper || h->paused) {
        return;
    }
    if (zb_session_tick(&h->session, now)) {
        lapsed(w, h, false);
    }
    late = zb_session_is_late(&h->session, now);
    if (late && !h->late && h->fencing != SESS_NOTHING) {
        sess_check_reset(w, h);
        sess_host_off(w, h, sess_between(w, 5000, 40000));
        return;
    }
    h->late = late;
    if (zb_session_may_pat(&h->session, now)) {
        h->patted = now.ms;
    }
    if (h->demoted_at != 0 && w->now >= h->demoted_at) {
        demoted(w, h);
    }
    if (h->tree == SESS_MOUNTING && w->now >= h->mounted_at) {
        h->tree = SESS_MOUNTED;
    }
    if (h->promote_at != 0 && w->now >= h->promote_at) {
        h->promote_at = 0;
        sess_keeper_promote(w, h);
    }
    stop_step(w, h);
}

int64_t
sess_keeper_due(const struct sess *w, const struct sess_host *h)
{
    struct zb_mono now = sess_local(w, h);
    int64_t due = SESS_NEVER;
    int64_t at[] = {
        h->demoted_at,
        h->tree == SESS_MOUNTING ? h->mounted_at : 0,
        h->promote_at,
        h->stopping ? h->stop_at : 0,
        h->armed && zb_session_may_pat(&h->session, now) ? sess_real(h, h->patted + PAT_MS) : 0,
        h->session.stage == ZB_SESSION_OPEN ? sess_real(h, zb_session_soft_at(&h->session).ms) : 0,
        h->session.stage == ZB_SESSION_LAPSED && !h->session.demoted && !h->late
            ? sess_real(h, zb_session_hard_at(&h->session).ms)
            : 0,
    };

    for (size_t i = 0; h->keeper && !h->paused && i < sizeof at / sizeof at[0]; i++) {
        due = at[i] != 0 && at[i] < due ? at[i] : due;
    }
    return due <= w->now ? w->now + 1 : due;
}

/* --- operations --- */

static enum zb_rc
session_new(struct sess *w, struct sess_host *h, uint64_t unknown)
{
    struct zb_session next = h->session;
    bool was_lapsed = h->session.stage == ZB_SESSION_LAPSED;
    struct zb_err ignored;
    enum zb_rc rc = zb_session_new(&next, sess_local(w, h), sess_random(w, 0), is_writable(h),
                                   unknown != 0, &ignored);

    if (rc == ZB_E_BUSY) {
        h->session = next;
        if (!was_lapsed) {
            sess_fault_until(h, w->now);
            lapsed(w, h, true);
        }
        return rc;
    }
    if (rc == ZB_OK) {
        h->file.there = true;
        h->file.id = next.id;
        h->file.boot = h->boot;
        h->session = next;
        sess_note(w, h, "new session %lx", (unsigned long)(next.id >> 48));
    }
    return rc;
}

enum zb_rc
sess_keeper_beat(struct sess *w, struct sess_host *h, const struct zb_sessions_step *step,
                 uint64_t etcd, uint64_t *nonce)
{
    struct zb_err ignored;
    enum zb_rc rc = step->new ? session_new(w, h, step->unknown) : ZB_OK;

    *nonce = sess_random(w, 0);
    if (rc == ZB_OK) {
        bool open = h->session.stage == ZB_SESSION_OPEN;
        bool other = h->session.etcd != 0 && h->session.etcd != etcd;
        rc = zb_session_stamp(&h->session, sess_local(w, h), *nonce, etcd, &ignored);
        if (open && h->session.stage == ZB_SESSION_LAPSED) {
            lapsed(w, h, other);
        } else if (rc == ZB_OK && step->new) {
            run_store(h);
        }
    }
    return rc;
}

void
sess_keeper_renew(struct sess *w, struct sess_host *h, uint64_t nonce)
{
    struct zb_err ignored;
    bool open = h->session.stage == ZB_SESSION_OPEN;

    if (zb_session_renew(&h->session, sess_local(w, h), nonce, &ignored) == ZB_OK) {
        run_store(h);
    } else if (open && h->session.stage == ZB_SESSION_LAPSED) {
        lapsed(w, h, false);
    }
}

void
sess_keeper_lapse(struct sess *w, struct sess_host *h, uint64_t id)
{
    bool open = h->session.stage == ZB_SESSION_OPEN;

    zb_session_lapse(&h->session, id);
    if (open && h->session.stage == ZB_SESSION_LAPSED) {
        lapsed(w, h, true);
    }
}

void
sess_keeper_leave(struct sess *w, struct sess_host *h, uint64_t id)
{
    struct zb_err ignored;

    if (zb_session_leave(&h->session, id, &ignored) == ZB_OK) {
        h->file.there = false;
        sess_note(w, h, "session left");
    }
}

/* One of those who grant, which tells on what it was told before it grants to another. */
static void
etcd_tell(struct sess *w, const struct sess_host *h)
{
    if (w->etcds.told[0][h->self].known && w->etcds.told[0][h->self].etcd == h->e.s.etcd) {
        return;
    }
    w->etcds.told[0][h->self].known = true;
    w->etcds.told[0][h->self].etcd = h->e.s.etcd;
    for (unsigned n = 0; n < SESS_NODES; n++) {
        w->hosts[n].e.told_at = sess_local(w, &w->hosts[n]).ms;
    }
}

/* A majority grants it a term, itself first. Nothing asks whether the engine holds a session: the
 * keeper has to. */
void
sess_keeper_grant(struct sess *w, struct sess_host *h)
{
    if (h->keeper && h->on && !h->paused && h->tree == SESS_REST && (h->e.on || !w->moves)) {
        if (w->moves) {
            etcd_tell(w, h);
        }
        h->granted = true;
        h->grant_session = session_id(w, h);
        h->grant_at = w->now;
        h->promote_at = w->now + sess_between(w, 1, sess_chance(w, 200) ? 15000 : 1500);
        sess_note(w, h, "granted");
    }
}

void
sess_keeper_promote(struct sess *w, struct sess_host *h)
{
    struct zb_err ignored;

    if (!h->granted || h->tree != SESS_REST) {
        return;
    }
    if (zb_session_may_write(&h->session, sess_local(w, h), &ignored) != ZB_OK ||
        h->grant_session != session_id(w, h)) {
        w->refused++;
        return;
    }
    h->tree = SESS_MOUNTING;
    if (h->session.stage == ZB_SESSION_OPEN) {
        run_store(h);
    }
    h->mounted_at = w->now + sess_between(w, 10, 1500);
    sess_tree_begin(w, h);
}
