/*
 * Small objects that are kept under a name in the history. A failure is logged, and what was kept
 * then counts as not there: for what is told again, or costs no more than a message; or the caller
 * looks at what came of it.
 */
#ifndef ZB_AGENT_NOTE_H
#define ZB_AGENT_NOTE_H

#include "agent/agent.h"

/* Owned by the caller: an object, empty where there is none. Nothing in it has been checked. */
json_t *zb_note_load(const struct zb_agent *a, const char *name);
/* Durable when it returns true. */
bool zb_note_store(const struct zb_agent *a, const char *name, const json_t *object);

#endif
