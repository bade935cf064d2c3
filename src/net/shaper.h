/*
 * Limits of what is sent, in bytes per second: one for everything, and one for each group of
 * streams. Who wants to send waits for its turn, so that all under one limit get the same.
 *
 * Pure: the time, in milliseconds of one monotonic clock, is an argument; nothing is allocated.
 * Each limit is a token bucket that may go below zero: a turn comes when something is in it, and
 * takes a whole quantum out. So what is sent exceeds the limit, over any time, by what flows in
 * 150 ms at most (or by 4 KiB).
 */
#ifndef ZB_NET_SHAPER_H
#define ZB_NET_SHAPER_H

#include <sys/queue.h>

#include "base/types.h"

#define ZB_SHAPER_QUANTUM_MIN (4u << 10)
#define ZB_SHAPER_QUANTUM_MAX (256u << 10)

/* Zero: no limit. */
struct zb_bucket {
    uint64_t rate; /* bytes per second; 0: no limit */
    int64_t level; /* thousandths of a byte */
    uint64_t at_ms;
};

/* Of one stream. Zero: of no group, as any other. */
struct zb_turn {
    TAILQ_ENTRY(zb_turn) link;
    struct zb_bucket *group; /* NULL: none */
    bool first;              /* before all others, and whatever the group's limit is */
    bool waits;
    uint32_t grant; /* bytes that are paid for and not sent */
};

TAILQ_HEAD(zb_turns, zb_turn);

struct zb_shaper {
    struct zb_bucket all;
    struct zb_turns waiting; /* who has waited longest comes first */
    /* The turn of one that waited has come; not called for who asks. */
    void (*on_turn)(struct zb_turn *turn);
};

void zb_shaper_init(struct zb_shaper *shaper, void (*on_turn)(struct zb_turn *turn));
/* What was saved up or is owed stays. */
void zb_bucket_rate_set(struct zb_bucket *bucket, uint64_t rate, uint64_t now_ms);
/* Under which limits it is from now on. */
void zb_turn_set(struct zb_shaper *shaper, struct zb_turn *turn, struct zb_bucket *group,
                 bool first, uint64_t now_ms);

/* How many bytes may be sent now; 0: it waits for its turn, and has to ask again then. */
uint32_t zb_shaper_ask(struct zb_shaper *shaper, struct zb_turn *turn, uint64_t now_ms);
/* They were sent: at most as many as ask allowed. */
void zb_turn_sent(struct zb_turn *turn, uint32_t bytes);
/* It waits no more and gives back what it was granted. Calls nobody; may be called again. */
void zb_shaper_leave(struct zb_shaper *shaper, struct zb_turn *turn, uint64_t now_ms);

/* Gives turns to those that wait. */
void zb_shaper_run(struct zb_shaper *shaper, uint64_t now_ms);
/* Milliseconds until it should run again, at least 1; UINT64_MAX: nobody waits. */
uint64_t zb_shaper_wait_ms(struct zb_shaper *shaper, uint64_t now_ms);

#endif
