/*
 * The parts of an engine that need its loop, its keeper and its peers: made together, in the order
 * in which one needs the other, and ended together.
 */
#ifndef ZB_AGENT_PARTS_H
#define ZB_AGENT_PARTS_H

struct zb_agent;

/* With loop, memo, keeper and net there. */
void zb_parts_open(struct zb_agent *a);
/* The keeper's client goes first, while those who wait for it are still there. The loop goes on:
 * what is being closed has its last turns. */
void zb_parts_close(struct zb_agent *a);
/* What others may look at until the loop has ended. */
void zb_parts_free(struct zb_agent *a);

#endif
