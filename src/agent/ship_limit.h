/*
 * Under which limits the streams of ships are: send-limit of the service and of this node, and what
 * is waited for before everything else.
 */
#ifndef ZB_AGENT_SHIP_LIMIT_H
#define ZB_AGENT_SHIP_LIMIT_H

#include "agent/ship_internal.h"

/* A service is down until it is there: the final set of a move, what a candidate lacks. */
bool zb_ship_is_waited_for(const struct zb_action *action);
/* A limit holds its streams back, or would if they were not waited for. */
bool zb_ship_is_limited(const struct zb_ship *s);

/* Which ships get streams before which. Those of ZB_SHIP_RANK_BULK may hold a connection for long,
 * and leave one to the others. */
enum zb_ship_rank {
    ZB_SHIP_RANK_FIRST = 0, /* waited for */
    ZB_SHIP_RANK_STEADY,
    ZB_SHIP_RANK_BULK, /* not of the steady state, or limited: there is always more of that */
    ZB_SHIP_RANKS
};
enum zb_ship_rank zb_ship_rank(const struct zb_ship *s);

/* By the declaration and the time of the day as they are now. */
void zb_ship_limit_set(const struct zb_ship *s, struct zb_stream *stream);

#endif
