/* The engine's part around core/session.c, as src/agent/heart.c has it. */
#include "sess.h"

#define LEAVE_MS 3000

void
sess_engine_start(struct sess *w, struct sess_host *h)
{
    struct sess_engine *e = &h->e;

    *e = (struct sess_engine){
        .on = true, .wake_at = w->now, .after = sess_local(w, h).ms, .after_at = w->now};
    zb_sessions_init(&e->s, h->self, SESS_HEARTBEAT_MS, h->timeout_ms);
    sess_note(w, h, "engine starts");
}

void
sess_engine_kill(struct sess *w, struct sess_host *h)
{
    if (h->e.on) {
        h->e = (struct sess_engine){.start_at = w->now + sess_between(w, 100, 4000)};
        h->granted = false; /* grants are to one start of it (M5) */
        sess_note(w, h, "engine ends");
    }
}

static void
pump(struct sess *w, struct sess_host *h)
{
    struct sess_engine *e = &h->e;

    for (unsigned i = 0; e->on && e->s.doing == 0 && i < 20; i++) {
        uint64_t nonce = 0;
        struct zb_mono now = sess_local(w, h);
        zb_sessions_next(&e->s, now, &e->step);
        if (e->step.what == ZB_SESSIONS_WAIT) {
            e->wake_at = sess_real(h, e->step.at.ms);
            return;
        }
        if (e->step.what == ZB_SESSIONS_STAMP) {
            enum zb_rc rc = sess_keeper_beat(w, h, &e->step, e->s.cluster_id, &nonce);
            zb_sessions_stamped(&e->s, now, rc, h->session.id, nonce, h->fencing != SESS_NOTHING);
        } else {
            sess_send(w, h);
        }
    }
}

void
sess_engine_answer(struct sess *w, struct sess_host *h, const struct sess_request *r)
{
    static const struct zb_sessions_answer unknown;
    struct sess_engine *e = &h->e;
    struct zb_sessions_news news;

    e->attempt = 0;
    if (r != NULL) {
        e->read_at = r->committed_at;
    }
    if (r != NULL && h->cut_next && w->now >= h->cut_until) {
        h->cut_next = false;
        sess_cut(w, h, sess_between(w, 10000, 40000), false);
    }
    zb_sessions_answer(&e->s, sess_local(w, h), r != NULL ? &r->answer : &unknown, &news);
    sess_note(w, h, "%s%s%s%s", r != NULL ? "answered" : "no answer",
              news.renewed ? ", renewed" : "", news.lost ? ", lost" : "",
              news.left ? ", left" : "");
    if (news.lost) {
        sess_keeper_lapse(w, h, news.id);
    }
    if (news.renewed) {
        sess_keeper_renew(w, h, news.nonce);
    }
    if (news.left) {
        sess_keeper_leave(w, h, news.id);
        h->stop_at = h->stopping ? w->now : h->stop_at;
    }
    pump(w, h);
}

/* The worst moment to go on: after etcd went back, another node's key is of the revision that this
 * one knows, and is another. */
static bool
is_mistaken(const struct sess *w, const struct sess_host *h)
{
    const struct sess_store *store = &w->stores[h->etcd];

    for (uint8_t n = 0; n < SESS_NODES; n++) {
        if (n != h->self && store->keys[n].mod != 0 && store->keys[n].mod == h->e.s.nodes[n].mod &&
            store->keys[n].value.nonce != h->e.s.nodes[n].value.nonce) {
            return true;
        }
    }
    return false;
}

void
sess_engine_step(struct sess *w, struct sess_host *h)
{
    struct sess_engine *e = &h->e;

    if (!h->keeper || h->paused) {
        return;
    }
    if (!e->on && !h->stopping && w->now >= e->start_at) {
        sess_engine_start(w, h);
    }
    if (e->stopped_until != 0 && (w->now >= e->stopped_until || is_mistaken(w, h))) {
        e->stopped_until = 0;
        sess_note(w, h, "engine goes on");
        sess_etcd_step(w); /* what has arrived comes before what is over */
    }
    if (!e->on || e->stopped_until != 0) {
        return;
    }
    if (h->stopping && !e->leaving) {
        e->leaving = true;
        h->stop_at = zb_sessions_is_open(&e->s) ? w->now + LEAVE_MS : w->now;
        zb_sessions_leave(&e->s, sess_local(w, h));
        e->wake_at = w->now;
    }
    if (e->attempt != 0 && w->now >= e->attempt_ends) {
        sess_engine_answer(w, h, NULL);
    }
    if (e->attempt == 0 && w->now >= e->wake_at) {
        pump(w, h);
    }
}

int64_t
sess_engine_due(const struct sess *w, const struct sess_host *h)
{
    const struct sess_engine *e = &h->e;

    (void)w;
    if (!h->keeper || h->paused) {
        return SESS_NEVER;
    }
    if (!e->on) {
        return h->stopping ? SESS_NEVER : e->start_at;
    }
    if (e->stopped_until != 0) {
        return e->stopped_until;
    }
    return e->attempt != 0 ? e->attempt_ends : e->wake_at;
}
