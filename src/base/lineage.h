/*
 * The chain of terms of a service: each with the set it forked from (a timeline, as in PostgreSQL).
 * Says which sets belong to one history. Pure; no ownership.
 */
#ifndef ZB_BASE_LINEAGE_H
#define ZB_BASE_LINEAGE_H

#include "base/types.h"

#define ZB_LINEAGE_MAX 8 /* newest terms of a service that are remembered */

struct zb_line {
    uint64_t term;
    struct zb_set_id fork; /* newest set of the earlier terms that this term goes on from; none: the
                            * term began with a new tree */
};

/* Oldest first, terms growing. What is older than the first line counts as of the lineage: who is
 * to lead asks zb_lineage_reaches too. */
struct zb_lineage {
    uint32_t count;
    struct zb_line lines[ZB_LINEAGE_MAX];
};

/* A new leader's term; the oldest line goes when there is no room. A term not above the newest one
 * changes nothing. */
void zb_lineage_add(struct zb_lineage *l, uint64_t term, struct zb_set_id fork);
/* The newest set at or below id that can be of this lineage: id itself if it is. */
struct zb_set_id zb_lineage_clamp(const struct zb_lineage *l, struct zb_set_id id);
/* A set of a term that no leader of this lineage led, or later than the fork it was left at, is
 * not. No set at all is of every lineage. */
bool zb_lineage_has(const struct zb_lineage *l, struct zb_set_id id);
/* False: the set is older than every term that is remembered, and others may be forgotten: whether
 * it is of this lineage is not known. */
bool zb_lineage_reaches(const struct zb_lineage *l, struct zb_set_id id);
/* Terms grow from line to line, forks are of earlier terms: for lineages of others. */
bool zb_lineage_valid(const struct zb_lineage *l);

#endif
