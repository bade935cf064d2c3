#include "os/memory.h"

#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#define ARENAS_MAX 2
#define MMAP_THRESHOLD_BYTES (128 << 10)
#define STACK_OWN_BYTES (4 << 10) /* below its frame: what it calls itself */

void
zb_os_memory_spare(void)
{
    (void)mallopt(M_ARENA_MAX, ARENAS_MAX);
    /* The default, but once it is set glibc does not raise it when something large is freed. */
    (void)mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD_BYTES);
    (void)prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0);
}

void
zb_os_memory_stack_free(void)
{
    static _Thread_local char *low;
    char *here = __builtin_frame_address(0);
    pthread_attr_t attr;
    void *address;
    size_t size;

    if (low == NULL && pthread_getattr_np(pthread_self(), &attr) == 0) {
        low = pthread_attr_getstack(&attr, &address, &size) == 0 ? address : NULL;
        (void)pthread_attr_destroy(&attr);
    }
    here -= STACK_OWN_BYTES;
    here -= (uintptr_t)here % (uintptr_t)sysconf(_SC_PAGESIZE);
    if (low != NULL && low < here) {
        (void)madvise(low, (size_t)(here - low), MADV_DONTNEED);
    }
}

void
zb_os_memory_child(void)
{
    (void)prctl(PR_SET_THP_DISABLE, 0, 0, 0, 0);
}
