/*
 * Snapshots of other tools that came along with the sets: each copy carries a mark, and only a copy
 * that does may ever go. It goes when its leader has had none of it for the declared time. Pure.
 *
 * What a follower asks (a line for each dataset) and what the leader's engine makes of it:
 *
 *   @<uuid><tab><guid> <guid>...              hexadecimal, oldest first; the first and the last one
 *                                             of the dataset are among them, for comparison
 *   @                                         it is an answer
 *   @<uuid><tab><holder><tab>+<guid> -<guid>...   + it is there, - it is not; holder is the guid
 *                                             of the leader's own dataset
 *
 * That it is not there means that it is gone only where it must have been there: this very dataset
 * had it once (the mark says so, of the last leaders that had it), or holds an older and a newer
 * one of the line, for whoever sends leaves none in between out. Else nothing is known.
 */
#ifndef ZB_KEEPER_RECEIVED_H
#define ZB_KEEPER_RECEIVED_H

#include "keeper/rules.h"

#define ZB_RECEIVED_PROPERTY "zbaton:received"
#define ZB_RECEIVED_MARK_SIZE 192
#define ZB_RECEIVED_HOLDERS 3 /* as many leaders are remembered */

/* What the property says. The time since it is gone is summed up from spans of one boot by the
 * monotonic clock: what is not measured (a host that is off, or whose clock is set) makes it stay
 * longer. */
struct zb_received {
    /* Leaders' datasets that were known to have it, the last one first; 0: no more. */
    uint64_t holders[ZB_RECEIVED_HOLDERS];
    bool gone;
    uint64_t gone_ms; /* up to at_ms of that boot */
    int64_t at_ms;
    char boot_id[ZB_UUID_SIZE];
};

void zb_received_format(const struct zb_received *r, char *buf); /* of ZB_RECEIVED_MARK_SIZE */
/* False: it is not of that form. */
bool zb_received_parse(const char *mark, struct zb_received *r);

struct zb_received_clock {
    const char *boot_id;
    struct zb_mono now;
};
/* For how long it is known to be gone; 0: it is not. */
uint64_t zb_received_gone_ms(const struct zb_received *r, const struct zb_received_clock *clock);

/* Whether there is an answer among a request's lines (NULL: none). */
bool zb_received_is_answered(const char *lines);

enum zb_received_said { ZB_RECEIVED_UNKNOWN = 0, ZB_RECEIVED_THERE, ZB_RECEIVED_GONE };
/* What the leader's lines (NULL: none) say of a copy. *holder: who says it. */
enum zb_received_said zb_received_said(const char *lines, const char *uuid, uint64_t guid,
                                       const struct zb_received *r, uint64_t *holder);
/* Changes the mark by what was said; true: it is to be stored. every_ms: a count that goes on is
 * stored so often. */
bool zb_received_hear(struct zb_received *r, enum zb_received_said said, uint64_t holder,
                      const struct zb_received_clock *clock, uint64_t every_ms);

/* Whether somebody may stand on the copy at index: a member that stands on the set before it, or is
 * on its way from there, may have stopped at it; what is newer than every set is where this node
 * itself stands. stays: of zb_rules_prune. */
bool zb_received_is_base(const struct zb_ksnap *snaps, const uint32_t *stays, size_t count,
                         size_t index);

#endif
