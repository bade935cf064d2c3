/*
 * Rescues of this node: what the keeper has set aside (RESCUE of wire/kmsg.h), as it lists them.
 * What is known is asked for again after a minute, when somebody wants it, and when it changed.
 */
#ifndef ZB_AGENT_RESCUE_H
#define ZB_AGENT_RESCUE_H

#include "agent/agent.h"

#define ZB_RESCUES_MS 60000

struct zb_rescues;

struct zb_rescues *zb_rescues_new(void);
/* Who waits is told that zbatond is ending. NULL is fine. */
void zb_rescues_close(struct zb_agent *a);
/* After the keeper's answers have come. NULL is fine. */
void zb_rescues_free(struct zb_rescues *r);

/* Every rescue, as the keeper has them now: an array of the objects of RESCUES, borrowed; NULL with
 * *err. cb exactly once, from the loop. */
void zb_rescues_list(struct zb_agent *a,
                     void (*cb)(void *ctx, json_t *list, const struct zb_err *err), void *ctx);
/* Of one service, as last heard: count, and the bytes that only they hold. False before the first
 * list has come. */
bool zb_rescues_of(struct zb_agent *a, const char *service, uint32_t *count, uint64_t *bytes);
/* They are others now. */
void zb_rescues_changed(struct zb_agent *a);

/* --- the next one --- */

/* Who waits for the end of the next RESCUE of a service. Embedded in the caller's struct; unlinked
 * before on_made is called. */
struct zb_rescue_waiter {
    uint16_t service;
    void (*on_made)(void *ctx, const struct zb_krep *rep);
    void *ctx;
    struct zb_rescue_waiter *next;
};
void zb_rescues_wait(struct zb_agent *a, struct zb_rescue_waiter *w);
/* Nothing happens when it does not wait. */
void zb_rescues_unwait(struct zb_agent *a, struct zb_rescue_waiter *w);
/* act.c: a RESCUE has ended so. */
void zb_rescues_made(struct zb_agent *a, uint16_t service, const struct zb_krep *rep);

#endif
