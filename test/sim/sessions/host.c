/* A host: its clock, its power, its watchdog, what is mounted on it. */
#include "sess.h"

void
sess_tree_begin(struct sess *w, struct sess_host *h)
{
    h->spans[h->spans_count++ % SESS_SPANS] =
        (struct sess_span){.from = w->now, .to = SESS_NEVER, .grant_at = h->grant_at};
    w->promotions++;
    sess_note(w, h, "may be written to");
}

void
sess_tree_end(struct sess *w, struct sess_host *h)
{
    if (h->tree != SESS_REST) {
        h->tree = SESS_REST;
        h->spans[(h->spans_count - 1) % SESS_SPANS].to = w->now;
        sess_note(w, h, "is not written to any more");
    }
}

void
sess_fault_until(struct sess_host *h, int64_t at)
{
    h->fault_at = at > h->fault_at ? at : h->fault_at;
}

/* It is another one in the configuration with which zbatond starts next. */
static void
etcd_change(struct sess *w, struct sess_host *h)
{
    if (w->moves && sess_chance(w, 400)) {
        h->etcd = (uint8_t)((h->etcd + 1) % SESS_ETCDS);
        sess_note(w, h, "gets etcd %u", h->etcd);
    }
}

void
sess_host_off(struct sess *w, struct sess_host *h, int64_t off_ms)
{
    sess_note(w, h, "off");
    sess_tree_end(w, h);
    h->on = h->keeper = h->paused = h->stopping = h->granted = h->armed = h->slow = false;
    h->e = (struct sess_engine){0};
    h->session = (struct zb_session){0};
    h->promote_at = h->demoted_at = 0;
    h->boot_at = w->now + off_ms;
    etcd_change(w, h);
    sess_fault_until(h, h->boot_at);
}

void
sess_keeper_end(struct sess *w, struct sess_host *h, int64_t off_ms)
{
    sess_note(w, h, "keeper ends");
    if (h->tree == SESS_MOUNTING) {
        h->tree = SESS_MOUNTED;
    }
    h->keeper = h->stopping = h->granted = false;
    h->stop_at = h->demoted_at = 0;
    h->e = (struct sess_engine){0};
    h->session = (struct zb_session){0};
    h->keeper_at = w->now + off_ms;
    etcd_change(w, h);
    sess_fault_until(h, h->keeper_at);
}

void
sess_host_pause(struct sess *w, struct sess_host *h, int64_t pause_ms, bool jumps)
{
    sess_note(w, h, "paused for %ld", (long)pause_ms);
    sess_clock_set(w, h, sess_local(w, h).ms);
    h->paused = true;
    h->jumps = jumps;
    h->resume_at = w->now + pause_ms;
    sess_fault_until(h, h->resume_at);
}

static void
shift(int64_t *at, int64_t ms)
{
    *at += *at != 0 && *at != SESS_NEVER ? ms : 0;
}

/* Nothing on it has moved on; its clock has, or not. */
static void
resume(struct sess *w, struct sess_host *h)
{
    int64_t ms = w->now - h->clock_real;
    int64_t local = h->clock_local + (h->jumps ? ms : 0);

    h->paused = false;
    h->resumed_at = w->now;
    sess_clock_set(w, h, local);
    h->patted += h->jumps ? ms : 0;
    shift(&h->demoted_at, ms);
    shift(&h->mounted_at, ms);
    shift(&h->promote_at, ms);
    shift(&h->keeper_at, ms);
    shift(&h->stop_at, ms);
    shift(&h->e.start_at, ms);
    shift(&h->e.stopped_until, ms);
    if (!h->jumps) {
        shift(&h->e.wake_at, ms);
        shift(&h->e.attempt_ends, ms);
    }
    sess_note(w, h, "goes on");
    if (!h->jumps && sess_chance(w, 300)) {
        sess_engine_kill(w, h);
    }
}

static void
boot(struct sess *w, struct sess_host *h)
{
    h->on = true;
    h->boot++;
    sess_clock_set(w, h, sess_between(w, 5000, 90000));
    if (sess_chance(w, 500)) { /* run-dir may be a disk's */
        h->run.id = 0;
    }
    h->keeper_at = w->now;
    sess_note(w, h, "boots");
}

static int64_t
watchdog_at(const struct sess_host *h)
{
    return h->on && h->armed && !h->paused ? sess_real(h, h->patted + SESS_WATCHDOG_MS)
                                           : SESS_NEVER;
}

void
sess_host_step(struct sess *w, struct sess_host *h)
{
    if (!h->on && w->now >= h->boot_at) {
        boot(w, h);
    }
    if (h->paused && w->now >= h->resume_at) {
        resume(w, h);
    }
    if (w->now >= watchdog_at(h)) {
        sess_note(w, h, "reset by the watchdog");
        if (h->keeper) {
            sess_check_reset(w, h);
        }
        sess_host_off(w, h, sess_between(w, 5000, 40000));
    }
    if (h->on && !h->keeper && !h->paused && w->now >= h->keeper_at) {
        sess_keeper_start(w, h);
    }
}

int64_t
sess_host_due(const struct sess *w, const struct sess_host *h)
{
    int64_t due = watchdog_at(h);

    (void)w;
    if (!h->on) {
        return h->boot_at;
    }
    if (h->paused) {
        return h->resume_at;
    }
    return !h->keeper && h->keeper_at < due ? h->keeper_at : due;
}
