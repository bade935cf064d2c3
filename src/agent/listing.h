/*
 * What the keeper lists in lines of JSON: RESCUES, PEEKS (wire/kmsg.h).
 */
#ifndef ZB_AGENT_LISTING_H
#define ZB_AGENT_LISTING_H

#include <jansson.h>

#include "agent/agent.h"

/* All of them, as the keeper has them now: an array of its objects, borrowed; NULL with *err. cb
 * exactly once, from the loop. */
void zb_listing_start(struct zb_agent *a, uint32_t op,
                      void (*cb)(void *ctx, json_t *list, const struct zb_err *err), void *ctx);

#endif
