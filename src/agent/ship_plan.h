/*
 * Which streams bring a follower to hold a set whole: pure, from the leader's list of snapshots,
 * the follower's and the set's manifest. Snapshots are matched by guid, never by name; from what
 * the leader has only a bookmark of, a follower goes on as well. Every snapshot of the leader in
 * between travels, those of other tools too, one increment each; a dataset that is not there starts
 * with a full stream of its oldest snapshot. Nothing on the follower is ever rolled back or
 * overwritten: what does not continue from a common snapshot is ZB_E_DIVERGED.
 */
#ifndef ZB_AGENT_SHIP_PLAN_H
#define ZB_AGENT_SHIP_PLAN_H

#include "agent/inventory.h"

#define ZB_CHAIN_NONE 0xffffffffu

struct zb_ship_step {
    char snap[ZB_SNAP_NAME_SIZE];
    uint64_t guid;
    uint64_t from_guid; /* 0: full stream */
};

/* The streams of one dataset, each after the one before. */
struct zb_ship_chain {
    char uuid[ZB_UUID_SIZE];
    char rel[ZB_REL_SIZE];        /* on the leader */
    char peer_rel[ZB_REL_SIZE];   /* on the follower: another one when it was renamed since */
    char base[ZB_SNAP_NAME_SIZE]; /* on the leader, of the first step, a bookmark's too; empty: full
                                   * stream */
    char token[1024];             /* of a receive that was interrupted there; for the first step */
    bool adopt;                   /* the follower's copy carries no uuid yet */
    uint32_t after;               /* chain whose first step must be done before (the parent is made
                                   * by it), or ZB_CHAIN_NONE */
    uint32_t steps_count;         /* at least 1 */
    struct zb_ship_step *steps;   /* owned */
};

struct zb_ship_plan {
    uint32_t chains_count;        /* datasets that hold the set already have none */
    struct zb_ship_chain *chains; /* owned; parents before children */
    uint32_t steps_total;
};

void zb_ship_plan_close(struct zb_ship_plan *plan);

/* Name on the leader of the snapshot or bookmark that a step starts from; empty: full stream. */
const char *zb_ship_chain_base(const struct zb_ship_chain *c, uint32_t step);

/* ZB_E_NOTFOUND: own has no longer the set's snapshot of a dataset. ZB_E_DIVERGED: the follower's
 * dataset has no common snapshot, or has newer ones beside the leader's line; the sentence names
 * it. own with names. */
enum zb_rc zb_ship_plan_make(const struct zb_manifest *m, const struct zb_inventory *own,
                             const struct zb_inventory *peer, struct zb_ship_plan *plan,
                             struct zb_err *err) ZB_CHECKED;

/* Where a follower that cannot go on came away from this node's line: an entry for each dataset of
 * peer that own has too, by uuid, with a snapshot in common: its place there and the guid of the
 * newest such snapshot. *m (zeroed, then the caller's) has no id. True: the service's own dataset
 * is among them. */
bool zb_ship_fork_make(const struct zb_inventory *own, const struct zb_inventory *peer,
                       struct zb_manifest *m);
/* What the streams brought meanwhile: the first done[i] steps of each chain i are there. */
void zb_ship_fork_advance(struct zb_manifest *m, const struct zb_ship_plan *plan,
                          const uint32_t *done);

/* The steady state: the follower holds sets[0] whole and nothing newer, and nothing but sets[1] to
 * sets[count-1] was made since. False (plan untouched) when a dataset came or went between them.
 * count >= 2. */
bool zb_ship_plan_fast(const struct zb_manifest *const *sets, uint32_t count,
                       struct zb_ship_plan *plan);

#endif
