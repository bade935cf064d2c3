/* Time, chance, and the loop. */
#include "sess.h"

#include <stdio.h>
#include <string.h>

#define RUN_MS 180000 /* with faults ... */
#define HEAL_MS 75000 /* ... and without */
#define STEPS_MAX 200000
#define FIRST_TERM_MS 1000

uint64_t
sess_random(struct sess *w, uint64_t below)
{
    uint64_t z = w->random += 0x9e3779b97f4a7c15ULL;

    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
    z ^= z >> 31;
    return below == 0 ? z | 1 : z % below;
}

bool
sess_chance(struct sess *w, unsigned per_mille)
{
    return sess_random(w, 1000) < per_mille;
}

int64_t
sess_between(struct sess *w, int64_t from, int64_t to)
{
    return from + (int64_t)sess_random(w, (uint64_t)(to - from + 1));
}

struct zb_mono
sess_local(const struct sess *w, const struct sess_host *h)
{
    int64_t real = h->paused ? h->clock_real : w->now;

    return (struct zb_mono){h->clock_local + (real - h->clock_real) * (1000000 + h->ppm) / 1000000};
}

int64_t
sess_real(const struct sess_host *h, int64_t local)
{
    int64_t ahead = local - h->clock_local;

    if (local == SESS_NEVER) {
        return SESS_NEVER;
    }
    return ahead <= 0 ? h->clock_real : h->clock_real + ahead * 1000000 / (1000000 + h->ppm) + 1;
}

void
sess_clock_set(struct sess *w, struct sess_host *h, int64_t local)
{
    h->clock_local = local;
    h->clock_real = w->now;
}

void
sess_note(const struct sess *w, const struct sess_host *h, const char *format, ...)
{
    va_list args;

    if (!w->trace) {
        return;
    }
    printf("%8ld  ", (long)w->now);
    if (h != NULL) {
        printf("n%u (%ld)  ", h->self + 1u, (long)sess_local(w, h).ms);
    }
    va_start(args, format);
    (void)vprintf(format, args);
    va_end(args);
    printf("\n");
}

void
sess_fail(struct sess *w, const char *format, ...)
{
    va_list args;

    if (w->failure[0] == '\0') {
        va_start(args, format);
        (void)vsnprintf(w->failure, sizeof w->failure, format, args);
        va_end(args);
        sess_note(w, NULL, "FAILED: %s", w->failure);
    }
}

void
sess_init(struct sess *w, uint64_t seed, bool trace)
{
    *w = (struct sess){
        .seed = seed, .random = seed * 0x2545f4914f6cdd1dULL, .trace = trace, .now = 1};
    /* A store that goes back is no matter of a host that was paused, nor of a session that was
     * ended: what is asked of either could not be kept. */
    w->restores = sess_chance(w, 400);
    w->pauses = !w->restores && sess_chance(w, 400);
    w->leaves = !w->restores;
    w->noisy = sess_chance(w, 300);
    w->tight = sess_chance(w, 300); /* the least times that are allowed, with better clocks */
    w->fault_every = sess_between(w, 1500, 12000);
    w->moves = !w->restores && sess_chance(w, 300); /* nodes come to read another etcd */
    for (unsigned i = 0; i < SESS_ETCDS; i++) {
        w->stores[i] = (struct sess_store){.cluster_id = sess_random(w, 0), .revision = 1};
    }
    w->fault_next = sess_between(w, 5000, 15000);
    w->order_next = FIRST_TERM_MS;
    w->backup_next = w->restores ? sess_between(w, 1000, 20000) : SESS_NEVER;
    for (uint8_t n = 0; n < SESS_NODES; n++) {
        struct sess_host *h = &w->hosts[n];
        h->self = n;
        h->fencing = sess_chance(w, 500)   ? SESS_WATCHDOG
                     : sess_chance(w, 800) ? SESS_DEADLINE
                                           : SESS_NOTHING;
        h->timeout_ms =
            w->tight && h->fencing != SESS_WATCHDOG ? SESS_TIMEOUT_LEAST_MS : SESS_TIMEOUT_MS;
        h->ppm = w->tight ? (int32_t)sess_between(w, -20000, 20000)
                          : (int32_t)sess_between(w, -40000, 40000);
        h->boot_at = sess_between(w, 1, 3000);
        h->resumed_at = h->disturbed_at = h->fault_at = h->slow_at = -SESS_TIMEOUT_MS;
    }
}

static void
earliest(int64_t *due, int64_t at)
{
    *due = at < *due ? at : *due;
}

static int64_t
due(const struct sess *w)
{
    int64_t at = w->fault_next;

    earliest(&at, w->order_next);
    earliest(&at, w->backup_next);
    earliest(&at, sess_etcd_due(w));
    for (unsigned n = 0; n < SESS_NODES; n++) {
        earliest(&at, sess_host_due(w, &w->hosts[n]));
        earliest(&at, sess_keeper_due(w, &w->hosts[n]));
        earliest(&at, sess_engine_due(w, &w->hosts[n]));
    }
    return at;
}

static void
step(struct sess *w)
{
    int64_t at = due(w);

    w->now = at > w->now ? at : w->now;
    w->steps++;
    if (w->now >= w->fault_next) {
        w->fault_next = w->now + sess_between(w, 0, 2 * w->fault_every);
        sess_fault(w);
    }
    if (w->now >= w->order_next) {
        w->order_next = w->now + sess_between(w, 50, 2500);
        sess_order(w);
    }
    if (w->now >= w->backup_next) {
        w->backup_next = w->now + sess_between(w, 1000, 12000);
        sess_etcd_backup(w);
    }
    sess_etcd_step(w);
    for (unsigned n = 0; n < SESS_NODES; n++) {
        sess_host_step(w, &w->hosts[n]);
        if (sess_chance(w, 500)) { /* a request may be served before the clock is looked at */
            sess_engine_step(w, &w->hosts[n]);
        }
        sess_keeper_step(w, &w->hosts[n]);
        sess_engine_step(w, &w->hosts[n]);
    }
    sess_check(w);
}

bool
sess_run(struct sess *w)
{
    while (w->failure[0] == '\0' && w->now < RUN_MS + HEAL_MS && w->steps < STEPS_MAX) {
        step(w);
        if (w->now >= RUN_MS && !w->healed) {
            w->healed = true;
            w->fault_next = SESS_NEVER;
            sess_heal(w);
        }
    }
    if (w->steps == STEPS_MAX) {
        sess_fail(w, "P2: it does not come to rest");
    }
    if (w->failure[0] == '\0') {
        sess_check_end(w);
    }
    return w->failure[0] == '\0';
}
