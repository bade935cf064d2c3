/*
 * Drills: whether a member's copy would do, should it have to lead (DRILL of wire/kmsg.h). Each
 * node runs those of its own copies that are declared to be run now and then (`drill`), one at a
 * time, and when it is asked; remembers the last result of each service over restarts, and tells
 * the others. A member whose last drill failed is not moved to and not chosen for a failover; the
 * core knows nothing of it.
 */
#ifndef ZB_AGENT_DRILL_H
#define ZB_AGENT_DRILL_H

#include <jansson.h>

#include "agent/agent.h"

struct zb_drills;

struct zb_drills *zb_drills_new(struct zb_agent *a);
/* No more are begun; who waits for one is told still. */
void zb_drills_close(struct zb_agent *a);
/* After the keeper's answers have come. NULL is fine. */
void zb_drills_free(struct zb_drills *d);

struct zb_drill_order {
    uint16_t service;
    /* Exactly once, possibly before zb_drill_start returns. result: {"set","ok","text",
     * "elapsed_ms"}, borrowed; NULL with *err: nothing was proved or remembered. */
    void (*on_done)(void *ctx, const json_t *result, const struct zb_err *err);
    void *ctx;
};
/* Of the newest set that is held whole here. */
void zb_drill_start(struct zb_agent *a, const struct zb_drill_order *order);

/* --- what each node said --- */

/* For status: {"time","age_s","set","ok","text"} of the last one, or JSON null. A new reference. */
json_t *zb_drill_told(const struct zb_agent *a, uint8_t node, const char *service);
/* Why its last drill failed; NULL: it did not, or there was none. */
const char *zb_drill_failure(const struct zb_agent *a, uint8_t node, const char *service);
void zb_drills_peer_up(struct zb_agent *a, uint8_t node);
void zb_drills_message(struct zb_agent *a, uint8_t node, const json_t *msg);

/* --- pure --- */

/* Whether the time for another one has come. last: {"time_s",...} or NULL. A clock that was put
 * back makes it due, too. */
bool zb_drill_is_due(const json_t *last, struct zb_wall now, uint64_t every_ms);
/* Whether how a DRILL ended says anything of the copy. */
bool zb_drill_is_verdict(enum zb_rc rc);

#endif
