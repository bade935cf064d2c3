/*
 * Members that go on from a set of which the leader has neither snapshot nor bookmark any more:
 * they are set aside, and go on from an older one that both have, or need a full copy. Found when
 * it prunes; told by an event (A-base-gone) and by explain, long before the member is back.
 */
#ifndef ZB_AGENT_BASE_GONE_H
#define ZB_AGENT_BASE_GONE_H

#include "agent/agent.h"

/* sets: of PRUNE's reply, "<term>/<seq>" lines or NULL. */
void zb_base_gone_tell(struct zb_agent *a, uint16_t service, const char *sets);

#endif
