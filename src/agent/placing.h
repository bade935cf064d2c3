/*
 * Where the services that this node leads run, by itself (relocate.h decides): one that failed here
 * as often as `restarts` allows is marked so (failed.h), not started any more, and with
 * `relocate = yes` moved to the best other member; one that is preferred elsewhere (`failback`) is
 * moved there. Moves are an operator's in every other respect (cmd_move.c). Nothing is moved that
 * is frozen.
 */
#ifndef ZB_AGENT_PLACING_H
#define ZB_AGENT_PLACING_H

#include "agent/agent.h"

struct zb_placings;

/* Of an agent that has its configuration. */
struct zb_placings *zb_placings_new(struct zb_agent *a);
/* NULL is fine. */
void zb_placings_close(struct zb_agent *a);

/* An operator starts it: what was counted here is forgotten. */
void zb_placing_forget(struct zb_agent *a, uint16_t service);

#endif
