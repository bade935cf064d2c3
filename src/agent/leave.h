/*
 * Services that were withdrawn leave this node: stopped, unmounted, the properties put back that
 * adoption changed, the keeper's declaration removed. Data and snapshots stay. Tried until it is
 * done: the keeper's list of declarations says after a restart what is left to do.
 */
#ifndef ZB_AGENT_LEAVE_H
#define ZB_AGENT_LEAVE_H

#include "agent/agent.h"

struct zb_leaves;

struct zb_leaves *zb_leaves_new(struct zb_agent *a);
void zb_leaves_free(struct zb_agent *a);

/* Begins; a service that leaves already is left alone. version: of the configuration without it.
 * remount: mounted again where the properties of before say so (this node led it). */
void zb_leave_start(struct zb_agent *a, const char *service, uint64_t version, bool remount);
/* Declared again: what has not been done stays undone. */
void zb_leave_stop(struct zb_agent *a, const char *service);
/* Names, one a line, that the keeper has declarations of: those that are not declared (any more)
 * leave. Called once, with the committed configuration in force. */
void zb_leave_rest(struct zb_agent *a, const char *names, uint64_t version);

#endif
