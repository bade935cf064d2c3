/*
 * What taking a dataset into a service's keeping changes, and how it leaves again.
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

/* Services of `services` that are missing in `next`, where this node leads them: stopped,
 * unmounted, the properties put back that adoption changed, mounted where these say so. Call it
 * before the declarations are withdrawn: the keeper works in order. Data and snapshots stay. */
void zb_adopt_leave(struct zb_agent *a, const struct zb_conf_services *services,
                    const struct zb_conf_services *next);

#endif
