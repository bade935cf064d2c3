/*
 * Snapshots of other tools that came along with the sets: a follower's keeper asks, with each
 * PRUNE, which of its copies the leader still has; this node asks that leader, and the next PRUNE
 * takes the answer along (keeper/received.h has the form of both). What the leader does not answer
 * for, stays.
 */
#ifndef ZB_AGENT_FOREIGN_H
#define ZB_AGENT_FOREIGN_H

#include "agent/agent.h"
#include "agent/inventory.h"

struct zb_foreigns;

struct zb_foreigns *zb_foreigns_new(void);
/* NULL is fine. */
void zb_foreigns_free(struct zb_foreigns *f);

/* Text of PRUNE and SETS, for free(), or NULL: the labels, and what the leader answered. once: an
 * answer that a PRUNE took along is not given to another. */
char *zb_foreign_text(struct zb_agent *a, uint16_t service, bool once);
/* The next question is asked at once. */
void zb_foreign_hurry(struct zb_agent *a, uint16_t service);
/* asked: of PRUNE's reply, or NULL. */
void zb_foreign_ask(struct zb_agent *a, uint16_t service, const char *asked);

/* {"t":"foreign.ask"} and {"t":"foreign.answer"}, {"service", "term", "asked" or "answer"}. */
void zb_foreign_message(struct zb_agent *a, uint8_t node, const json_t *msg);

/* Pure: what this node, which has `own`, answers; for free(). Of a dataset that it does not have,
 * or not wholly in the list, it says nothing. */
char *zb_foreign_answer(const char *asked, const struct zb_inventory *own);

#endif
