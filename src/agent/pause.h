/*
 * Pause points: the engine stops after an action that tells of a step, so that a test can do harm
 * exactly there. Only the program zbatond-engine-paused, which is not installed, has them;
 * tools/check-pause proves it.
 */
#ifndef ZB_AGENT_PAUSE_H
#define ZB_AGENT_PAUSE_H

#include "core/core.h"

/*
 * Called after each action of a plan was started. Points are: each step
 * ("<step>-begin", "<step>-end", "<step>-fail") on the node that a move leaves or a failover goes
 * to; the rule of each note ("R-take", "R-granted", "R-writable", "R-rescued"); "learn" and
 * "rescue", on a node that comes back, when the keeper has just been told to. When the engine's
 * directory holds a file "pause-<point>", it becomes "held-<point>", and the engine, all of it,
 * stands still until that file is gone; the keeper goes on.
 */
#ifdef ZB_PAUSE_POINTS
void zb_pause_point(const struct zb_action *action);
#else
static inline void
zb_pause_point(const struct zb_action *action)
{
    (void)action;
}
#endif

#endif
