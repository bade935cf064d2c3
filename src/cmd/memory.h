/*
 * Memory of the command-line program: what it needs is bounded by the answers it reads, and without
 * memory it ends with exit code 1.
 */
#ifndef ZB_CMD_MEMORY_H
#define ZB_CMD_MEMORY_H

#include <stddef.h>

void *zb_cmd_realloc(void *old, size_t size);
char *zb_cmd_strdup(const char *text);
/* For jansson too, before anything else of it is used. */
void zb_cmd_memory_use(void);

#endif
