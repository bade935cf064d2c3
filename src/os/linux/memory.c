#include "os/memory.h"

#include <malloc.h>
#include <sys/prctl.h>

#define ARENAS_MAX 2
#define MMAP_THRESHOLD_BYTES (128 << 10)

void
zb_os_memory_spare(void)
{
    (void)mallopt(M_ARENA_MAX, ARENAS_MAX);
    /* The default, but once it is set glibc does not raise it when something large is freed. */
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

void
zb_os_memory_child(void)
{
    (void)prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
}
