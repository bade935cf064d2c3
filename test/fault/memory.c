/* Allocations of our own code, and of jansson, which lets its own be replaced. */
#include "fault.h"

#include <errno.h>

#include <jansson.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_reallocarray(void *old, size_t count, size_t size);
char *__real_strdup(const char *text);
int __real_vasprintf(char **out, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
FILE *__real_fmemopen(void *buf, size_t size, const char *mode);
FILE *__real_open_memstream(char **buf, size_t *size);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_vasprintf(char **out, const char *fmt, va_list args)
    __attribute__((format(printf, 2, 0)));
FILE *__wrap_fmemopen(void *buf, size_t size, const char *mode);
FILE *__wrap_open_memstream(char **buf, size_t *size);

/* True, with errno, when this allocation fails. */
static bool
refused(void)
{
    bool due = fault_due();

    if (due) {
        errno = ENOMEM;
    }
    return due;
}

void *
__wrap_malloc(size_t size)
{
    return refused() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t count, size_t size)
{
    return refused() ? NULL : __real_calloc(count, size);
}

void *
__wrap_realloc(void *old, size_t size)
{
    return refused() ? NULL : __real_realloc(old, size);
}

void *
__wrap_reallocarray(void *old, size_t count, size_t size)
{
    return refused() ? NULL : __real_reallocarray(old, count, size);
}

char *
__wrap_strdup(const char *text)
{
    return refused() ? NULL : __real_strdup(text);
}

int
__wrap_vasprintf(char **out, const char *fmt, va_list args)
{
    return refused() ? -1 : __real_vasprintf(out, fmt, args);
}

FILE *
__wrap_fmemopen(void *buf, size_t size, const char *mode)
{
    return refused() ? NULL : __real_fmemopen(buf, size, mode);
}

FILE *
__wrap_open_memstream(char **buf, size_t *size)
{
    return refused() ? NULL : __real_open_memstream(buf, size);
}

/* --- jansson --- */

void
fault_hook_jansson(void)
{
    json_set_alloc_funcs(__wrap_malloc, free);
}
