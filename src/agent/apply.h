/*
 * State of apply.c: which declarations the keeper has, and what is known of where members stand.
 */
#ifndef ZB_AGENT_APPLY_H
#define ZB_AGENT_APPLY_H

#include "agent/agent.h"

struct zb_applied;

struct zb_applied *zb_applied_new(struct zb_agent *a);
/* The memory goes when the loop has run its closing handles. NULL is fine. */
void zb_applied_free(struct zb_agent *a);

#endif
