/*
 * The command that helps, by the rule that refused or waits.
 */
#ifndef ZB_AGENT_HELP_H
#define ZB_AGENT_HELP_H

#include "base/types.h"

#define ZB_HELP_SIZE 256

/* False: nothing in particular helps; buf is "". rule may be NULL. */
bool zb_help_find(const char *rule, const char *service, char buf[ZB_HELP_SIZE]);

#endif
