/*
 * The total table of roles and stimuli: for every pair either nothing happens, or it cannot happen
 * (an assertion), or the role changes. Pure data; doc/states.md is made from it.
 */
#ifndef ZB_CORE_TABLE_H
#define ZB_CORE_TABLE_H

#include "core/core.h"

/* What can happen to a service, computed from facts before the table is asked. */
enum zb_stim {
    ZB_STIM_OBS_LEADING,  /* mounted read-write under its own established term (M12) */
    ZB_STIM_OBS_MOUNTED,  /* mounted otherwise */
    ZB_STIM_OBS_RELEASED, /* at rest; its release has not been taken yet */
    ZB_STIM_OBS_SEALED,   /* not mounted, term kept by this keeper's life, not released */
    ZB_STIM_OBS_OWNER,    /* at rest; this node is the last established leader it knows of */
    ZB_STIM_OBS_FIRST,    /* nobody ever led; this node is to be the first */
    ZB_STIM_OBS_FOLLOWER, /* at rest otherwise */
    ZB_STIM_OP_OK,        /* the role's own operation succeeded */
    ZB_STIM_OP_FAILED,    /* ... did not */
    ZB_STIM_RELEASE,      /* a valid release to this node, whose tree equals the released set */
    ZB_STIM_FAILOVER,     /* an operator orders this node to take the lead */
    ZB_STIM_BEHIND,  /* granted for a failover; the newest position is not here, or more than it */
    ZB_STIM_GRANTED, /* a majority granted, every suspect did or is fenced */
    ZB_STIM_GIVE_UP, /* the failover cannot go on: nothing is mounted */
    ZB_STIM_BARRED,  /* the keeper makes nothing writable: what was granted before is void */
    ZB_STIM_YIELD,   /* an operator orders somebody else to take the lead */
    ZB_STIM_SUPERSEDED,    /* a voter knows a later established leader */
    ZB_STIM_LED_ELSEWHERE, /* another node leads a higher term */
    ZB_STIM_MOVE,          /* an accepted move */
    ZB_STIM_CLOSE_ENOUGH,  /* move: little is left to send */
    ZB_STIM_FINAL_READY,   /* move: sealed, and the target holds the final set */
    ZB_STIM_ABORT,         /* move: cannot go on before the release */
    ZB_STIM_COUNT
};

enum zb_cell_kind { ZB_CELL_MISSING = 0, ZB_CELL_IGNORE, ZB_CELL_IMPOSSIBLE, ZB_CELL_GO };

struct zb_cell {
    enum zb_cell_kind kind;
    enum zb_role next;
    const char *rule;   /* stable id */
    const char *reason; /* one sentence */
};

extern const struct zb_cell zb_core_table[ZB_ROLE_COUNT][ZB_STIM_COUNT];
const char *zb_stim_word(enum zb_stim stim);

#endif
