#include "os/memory.h"

#include <malloc.h>

#define HEAPS 2
#define LARGE_BYTES (128 << 10)

void
zb_os_memory_share(void)
{
    /* What fails leaves the default, which works too. */
    (void)mallopt(M_ARENA_MAX, HEAPS);
    (void)mallopt(M_MMAP_THRESHOLD, LARGE_BYTES);
}
