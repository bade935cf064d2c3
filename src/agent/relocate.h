/*
 * What a leader does by itself about where its service runs: whether it has failed here, whether it
 * has been well for long, where it goes then, and whether it goes back to a member that is
 * preferred. Decisions from facts; pure.
 */
#ifndef ZB_AGENT_RELOCATE_H
#define ZB_AGENT_RELOCATE_H

#include "agent/choose.h"

#define ZB_WELL_MS 600000 /* a service that runs so long has not failed here any more */

/* Of a service that this node leads, in the term in which it leads it. */
struct zb_health {
    uint64_t term;
    uint32_t starts;           /* how often it was started, or found running before that */
    struct zb_mono well_since; /* found running; 0: it does not run */
    bool down;                 /* when it was looked at last */
};

/* One more start in that term. */
void zb_health_started(struct zb_health *h, uint64_t term);
/* How it was found. */
void zb_health_seen(struct zb_health *h, uint64_t term, bool running, struct zb_mono now);
/* It does not run, and was started again as often as it may be; restarts 0: without end. */
bool zb_health_failed(const struct zb_health *h, uint32_t restarts);
bool zb_health_well(const struct zb_health *h, struct zb_mono now);

/* Where a service goes that failed here: the first of those that can, and where it has not failed
 * lately; NULL: nowhere. */
const struct zb_choose_member *zb_relocate_target(const struct zb_choose_member *members,
                                                  uint32_t count);

/* The member that comes earliest in the declared order, before place `own` (UINT32_MAX: this node
 * is not in it), can lead it, and has the newest set; NULL: none. What one does not have stands in
 * the way of this one alone. */
const struct zb_choose_member *zb_failback_target(const struct zb_choose_member *members,
                                                  uint32_t count, uint32_t own,
                                                  struct zb_set_id newest);

/* When what was tried and failed is tried again: after a minute, doubled each time up to an hour.
 */
struct zb_again {
    int64_t wait_ms; /* 0: nothing failed */
    struct zb_mono at;
};
void zb_again_failed(struct zb_again *again, struct zb_mono now);
bool zb_again_waits(const struct zb_again *again, struct zb_mono now);

#endif
