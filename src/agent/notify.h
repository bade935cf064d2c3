/*
 * The administrator's program that hears of events of this node (notify in zbatond.conf): warnings,
 * errors, and promises that are kept again. The keeper runs it, for one event after the other;
 * meanwhile the next ones wait in line. Nothing waits for it.
 */
#ifndef ZB_AGENT_NOTIFY_H
#define ZB_AGENT_NOTIFY_H

#include "agent/agent.h"

#define ZB_NOTIFY_WAITING_MAX 64 /* events in line; later ones are left out, which is an event */

struct zb_notices;

/* NULL without such a program. */
struct zb_notices *zb_notices_new(struct zb_agent *a);
/* What waits is forgotten. After the keeper's answers have come. NULL is fine. */
void zb_notices_close(struct zb_agent *a);

#endif
