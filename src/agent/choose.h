/*
 * Who of the members takes the lead by itself: comparisons in a fixed order, each of which may
 * decide. Every node comes to the same answer from the same facts; where they differ, the grants
 * decide (protocol.md, M1). Pure.
 */
#ifndef ZB_AGENT_CHOOSE_H
#define ZB_AGENT_CHOOSE_H

#include "base/types.h"

/* The steps, in their order. */
enum zb_choose_step {
    ZB_CHOOSE_ELIGIBLE = 1, /* reachable, with a session, and a copy that is of the history */
    ZB_CHOOSE_UNDRAINED,    /* not drained: else it does not take the lead at all */
    ZB_CHOOSE_DRILLED,      /* its last drill did not fail: likewise */
    ZB_CHOOSE_WELL,         /* the service has not failed there lately */
    ZB_CHOOSE_POSITION,     /* the newest set */
    ZB_CHOOSE_PREFERENCE,   /* as declared (prefer) */
    ZB_CHOOSE_LOAD,         /* leads fewest services */
    ZB_CHOOSE_NAME,
};
const char *zb_choose_word(enum zb_choose_step step);

struct zb_choose_member {
    char node[ZB_NODE_NAME_SIZE];
    bool eligible;
    bool drained;
    bool drilled;
    bool failed; /* lately (failed.h) */
    struct zb_set_id set;
    uint32_t preference; /* place in the declared order; UINT32_MAX: not in it */
    uint32_t leads;
};

/* <0: a comes first. *step says what decided. Names differ. */
int zb_choose_compare(const struct zb_choose_member *a, const struct zb_choose_member *b,
                      enum zb_choose_step *step);
/* It may take the lead by itself at all. */
bool zb_choose_can(const struct zb_choose_member *m);
/* How many that can come before `node`; count: it cannot, or is not among them. */
uint32_t zb_choose_rank(const struct zb_choose_member *members, uint32_t count, const char *node);
/* The one that comes first; NULL: none can. */
const struct zb_choose_member *zb_choose_first(const struct zb_choose_member *members,
                                               uint32_t count);

#define ZB_CHOOSE_SAY_SIZE 200
/* What put it before the next one: "vm2, by position: 1/7 before vm3's 1/5". first is one of
 * members. */
void zb_choose_say(const struct zb_choose_member *members, uint32_t count,
                   const struct zb_choose_member *first, char buf[ZB_CHOOSE_SAY_SIZE]);

#define ZB_CHOOSE_WHO_SIZE 128
/* Who gave an order, with why it went there, as the history keeps it: "zbatond@vm1: failback, vm2,
 * by preference: ..."; cut where it is too long. */
void zb_choose_who(const char *who, const char *order, const char *why,
                   char buf[ZB_CHOOSE_WHO_SIZE]);

/* What would be lost at most, in seconds: written after the set that is left, and before a leader
 * can have renewed its session last. dead_ms: how long ago its end was read; timeout_ms: of its
 * session, so long before that it can have renewed it at the latest; now_s and set_s by two hosts'
 * clocks, set_s -1: not known. -1: it cannot be told, as the set is of a time after that end. */
int64_t zb_choose_loss_s(int64_t now_s, int64_t set_s, int64_t dead_ms, uint32_t timeout_ms);

#endif
