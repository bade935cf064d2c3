/*
 * Peeks of this node: read-only clones of sets (PEEK of wire/kmsg.h), as the keeper lists them. One
 * whose time is over is ended: the keeper is asked what there is at the start, when one was made,
 * when the next one ends, and once a minute. One that cannot be ended is told once, and tried
 * again.
 */
#ifndef ZB_AGENT_PEEK_H
#define ZB_AGENT_PEEK_H

#include <jansson.h>

#include "agent/agent.h"

#define ZB_PEEK_LIFE_S 3600 /* unless another one is asked for */

struct zb_peeks;

struct zb_peeks *zb_peeks_new(struct zb_agent *a);
/* They are not looked at by the clock any more. */
void zb_peeks_close(struct zb_agent *a);
/* After the keeper's answers have come. NULL is fine. */
void zb_peeks_free(struct zb_peeks *p);
/* A peek was made: looks at them again, so that its end is waited for. */
void zb_peeks_look(struct zb_agent *a);

/* --- pure --- */

/* Of the objects of PEEKS: the names of those whose time is over (a new array), and in how many
 * milliseconds the next of the others ends, at most `most_ms`. */
json_t *zb_peeks_due(const json_t *list, struct zb_wall now, uint64_t most_ms, uint64_t *next_ms);

#endif
