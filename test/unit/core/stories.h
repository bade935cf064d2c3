/*
 * What the stories of a small cluster share: the cluster, led by vm1 with everybody current when a
 * story begins, and what they assert of it.
 */
#ifndef STORIES_H
#define STORIES_H

#include "world.h"

extern struct world W;

int stories_setup(void **state);
int stories_teardown(void **state);
/* The leader leads, and everybody holds its newest set, within that time. */
void stories_current(unsigned leader, int64_t ms);
/* The command was answered. */
bool stories_replied(struct world *w, unsigned id);
/* The command is answered, so and by that rule. */
void stories_reply(unsigned id, enum zb_rc rc, const char *rule);

#endif
