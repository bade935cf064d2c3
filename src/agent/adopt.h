/*
 * What taking a dataset into a service's keeping changes.
 */
#ifndef ZB_AGENT_ADOPT_H
#define ZB_AGENT_ADOPT_H

#include "agent/agent.h"

struct zb_adopt_plan {
    enum zb_rc rc;   /* why the dataset cannot be adopted ... */
    const char *msg; /* ... in a sentence */
    const char *hint;
    const char *text; /* commands, one per line; "" when nothing would change */
};

/* Asks this node's keeper what CREATE would do for a service that is not declared yet. The keeper
 * gets the declaration for the question and loses it again. cb exactly once, from the loop. */
void zb_adopt_plan(struct zb_agent *a, const struct zb_conf_service *service, uint64_t version,
                   void (*cb)(void *ctx, const struct zb_adopt_plan *plan), void *ctx);

#endif
