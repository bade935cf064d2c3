/*
 * Memory in the engine: out of it is fail-stop. The keeper then demotes by its deadline and starts
 * the engine again.
 */
#ifndef ZB_AGENT_MUST_H
#define ZB_AGENT_MUST_H

#include <stdlib.h>

#include "base/log.h"

/* p, or the end of the process when it is NULL. */
static inline void *
zb_must(void *p)
{
    if (p == NULL) {
        zb_out_of_memory();
    }
    return p;
}

/* Zeroed memory for count things of size bytes (count 0 is fine); never NULL. */
static inline void *
zb_must_alloc(size_t count, size_t size)
{
    return zb_must(calloc(count > 0 ? count : 1, size));
}

#endif
