/*
 * The pool under a node, by its guid: each node tells it ("pool" at peer up), and remembers it of
 * all, durably. A node of the same name with another pool has none of the copies that it had: where
 * it stood is forgotten, and an event says so. What the new pool holds is told by its reports, and
 * received into only with marks of this pool (the keeper's matter).
 */
#ifndef ZB_AGENT_POOL_H
#define ZB_AGENT_POOL_H

#include "agent/agent.h"

struct zb_pools;

struct zb_pools *zb_pools_new(void);
void zb_pools_free(struct zb_pools *p);

/* This node's own, as the keeper last saw it; 0: it did not. Peers are told when it is another one
 * than before. */
void zb_pool_own(struct zb_agent *a, uint64_t guid);
void zb_pool_peer_up(struct zb_agent *a, uint8_t node);
void zb_pool_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* node reported a set: it holds one again in that service. */
void zb_pool_holds(struct zb_agent *a, uint16_t service, uint8_t node);
/* Its pool is another one than before, and it has not held a set of the service since. */
bool zb_pool_is_new(const struct zb_agent *a, uint16_t service, uint8_t node);

#endif
