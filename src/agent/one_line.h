/*
 * Texts that people write and others read: reasons, labels.
 */
#ifndef ZB_AGENT_ONE_LINE_H
#define ZB_AGENT_ONE_LINE_H

#include <stdbool.h>
#include <stddef.h>

/* UTF-8 without anything that controls a terminal or ends a line, and more than blanks. */
bool zb_one_line_valid(const char *text);

#endif
