/* P1, P2, P3 (doc/simulation.md), against what is mounted, by a clock that no host sees. */
#include "sess.h"

#define ROOM_MS 200
/* By the slowest clock. */
#define REAL(ms) ((ms) + (ms) / 20)

/* A paused host is the stated exception: what it writes after it goes on ends within this. With an
 * etcd that answers, and a demotion that does, by the first heartbeat that is refused; else by the
 * deadlines. */
static int64_t
excused_until(const struct sess_host *h)
{
    bool answered = h->fault_at <= h->resumed_at && h->slow_at < h->resumed_at;

    return h->resumed_at + ROOM_MS +
           (answered ? REAL(SESS_HEARTBEAT_MS + 2 * SESS_REQUEST_MS + SESS_HARD_MS - SESS_SOFT_MS)
                     : REAL(SESS_HARD_MS + SESS_WATCHDOG_MS));
}

static void
spans_check(struct sess *w, struct sess_host *h)
{
    int64_t fenced_at = w->fenced_at[h->self];

    for (uint32_t i = 0; i < SESS_SPANS && i < h->spans_count; i++) {
        struct sess_span *span = &h->spans[i];
        int64_t to = span->to < w->now ? span->to : w->now;
        if (span->grant_at >= fenced_at || to <= fenced_at ||
            (span->to == SESS_NEVER && h->paused)) {
            continue;
        }
        if (w->pauses && to <= excused_until(h)) {
            w->late_writes += span->to == SESS_NEVER;
            continue;
        }
        sess_fail(w,
                  "P1: n%u writes %ld-%ld under a grant of %ld, and was said to be fenced at %ld",
                  h->self + 1u, (long)span->from, (long)to, (long)span->grant_at, (long)fenced_at);
    }
}

static void
observer_check(struct sess *w, struct sess_host *o)
{
    const struct sess_engine *e = &o->e;
    struct zb_session_etcds etcds = w->etcds;

    etcds.changed_at.ms = e->told_at;
    for (uint8_t n = 0; n < SESS_NODES; n++) {
        if (!zb_sessions_is_fenced(&e->s, &etcds, n, sess_local(w, o),
                                   (struct zb_mono){e->after})) {
            continue;
        }
        if (e->read_at < e->after_at) {
            sess_fail(w, "P1: n%u says that n%u was fenced after %ld, and read it at %ld",
                      o->self + 1u, n + 1u, (long)e->after_at, (long)e->read_at);
        }
        if (e->read_at > w->fenced_at[n]) {
            w->fenced++;
            w->fenced_at[n] = e->read_at;
            sess_note(w, o, "n%u is fenced, as was so at %ld", n + 1u, (long)e->read_at);
        }
    }
}

void
sess_check(struct sess *w)
{
    for (unsigned n = 0; n < SESS_NODES; n++) {
        if (w->hosts[n].e.on && !w->hosts[n].paused) {
            observer_check(w, &w->hosts[n]);
        }
    }
    for (unsigned n = 0; n < SESS_NODES; n++) {
        spans_check(w, &w->hosts[n]);
    }
}

/* Nothing lapses unless something went wrong for it not long before. */
void
sess_check_lapse(struct sess *w, const struct sess_host *h, bool told)
{
    int64_t least = w->now - REAL(told ? SESS_TIMEOUT_MS + SESS_SOFT_MS
                                       : SESS_SOFT_MS + SESS_HEARTBEAT_MS + SESS_REQUEST_MS);

    if (h->fault_at < least) {
        sess_fail(w, "P2: n%u's session ended, and nothing had gone wrong since %ld", h->self + 1u,
                  (long)h->fault_at);
    }
}

void
sess_check_reset(struct sess *w, const struct sess_host *h)
{
    w->resets++;
    if (!h->slow && h->tree == SESS_REST) {
        sess_fail(w, "P2: n%u is reset, and nothing is mounted there", h->self + 1u);
    }
}

void
sess_check_end(struct sess *w)
{
    for (unsigned n = 0; n < SESS_NODES; n++) {
        struct sess_host *h = &w->hosts[n];
        struct zb_err ignored;
        if (!h->keeper || h->session.stage != ZB_SESSION_OPEN ||
            zb_session_may_write(&h->session, sess_local(w, h), &ignored) != ZB_OK) {
            sess_fail(w, "P2: n%u may not write, long after everything was healed", n + 1u);
        }
        if (!zb_sessions_may_judge(&h->e.s, sess_local(w, h))) {
            sess_fail(w, "P2: n%u does not judge, long after everything was healed", n + 1u);
        }
    }
}
