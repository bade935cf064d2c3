#include "agent/relocate.h"

#define AGAIN_MIN_MS INT64_C(60000)
#define AGAIN_MAX_MS INT64_C(3600000)

static void
term_begin(struct zb_health *h, uint64_t term)
{
    if (h->term != term) {
        *h = (struct zb_health){.term = term};
    }
}

void
zb_health_started(struct zb_health *h, uint64_t term)
{
    term_begin(h, term);
    h->starts++;
    h->well_since.ms = 0; /* the run before is over, though nobody may have seen it */
}

void
zb_health_seen(struct zb_health *h, uint64_t term, bool running, struct zb_mono now)
{
    term_begin(h, term);
    h->down = !running;
    if (!running) {
        h->well_since.ms = 0;
        return;
    }
    if (h->well_since.ms == 0) {
        h->well_since = now;
    }
    if (h->starts == 0 || zb_health_well(h, now)) {
        h->starts = 1; /* this run's */
    }
}

bool
zb_health_failed(const struct zb_health *h, uint32_t restarts)
{
    /* A start beyond those that are allowed says itself that the run before it has ended. */
    return restarts > 0 && (h->starts > restarts + 1 || (h->down && h->starts > restarts));
}

bool
zb_health_well(const struct zb_health *h, struct zb_mono now)
{
    return h->well_since.ms != 0 && now.ms - h->well_since.ms >= ZB_WELL_MS;
}

const struct zb_choose_member *
zb_relocate_target(const struct zb_choose_member *members, uint32_t count)
{
    const struct zb_choose_member *first = zb_choose_first(members, count);

    return first != NULL && !first->failed ? first : NULL;
}

const struct zb_choose_member *
zb_failback_target(const struct zb_choose_member *members, uint32_t count, uint32_t own,
                   struct zb_set_id newest)
{
    const struct zb_choose_member *best = NULL;

    for (uint32_t i = 0; i < count; i++) {
        const struct zb_choose_member *m = &members[i];
        bool better = m->preference < (best != NULL ? best->preference : own);
        if (better && zb_choose_can(m) && !m->failed && zb_set_id_cmp(m->set, newest) == 0) {
            best = m;
        }
    }
    return best;
}

void
zb_again_failed(struct zb_again *again, struct zb_mono now)
{
    again->wait_ms = again->wait_ms == 0                 ? AGAIN_MIN_MS
                     : again->wait_ms * 2 > AGAIN_MAX_MS ? AGAIN_MAX_MS
                                                         : again->wait_ms * 2;
    again->at.ms = now.ms + again->wait_ms;
}

bool
zb_again_waits(const struct zb_again *again, struct zb_mono now)
{
    return again->wait_ms != 0 && now.ms < again->at.ms;
}
