/*
 * Rescues of this node: what the keeper has set aside (RESCUE of wire/kmsg.h), as it lists them.
 * The keeper is asked once a minute, and when one was made or dropped; the others are told when
 * that changed something, and whoever comes up.
 */
#ifndef ZB_AGENT_RESCUE_H
#define ZB_AGENT_RESCUE_H

#include <jansson.h>

#include "agent/agent.h"

struct zb_rescues;

struct zb_rescues *zb_rescues_new(struct zb_agent *a);
/* Who waits is told that zbatond is ending. NULL is fine. */
void zb_rescues_close(struct zb_agent *a);
/* After the keeper's answers have come. NULL is fine. */
void zb_rescues_free(struct zb_rescues *r);

/* Every rescue, as the keeper has them now: an array of the objects of RESCUES, borrowed; NULL with
 * *err. cb exactly once, from the loop. */
void zb_rescues_list(struct zb_agent *a,
                     void (*cb)(void *ctx, json_t *list, const struct zb_err *err), void *ctx);
/* They are others now. */
void zb_rescues_changed(struct zb_agent *a);

/* --- what each node has --- */

/* An object for status: count, bytes (that only they hold), and of the newest one name, created
 * (RFC 3339) and fork ("12/345", or "" when nothing is in common); JSON null when that node has not
 * told yet. A new reference. */
json_t *zb_rescues_told(const struct zb_agent *a, uint8_t node, const char *service);
void zb_rescues_peer_up(struct zb_agent *a, uint8_t node);
void zb_rescues_message(struct zb_agent *a, uint8_t node, const json_t *msg);

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
