#include "cmd/memory.h"

#include <jansson.h>

static void *
must(void *p)
{
    if (p == NULL) {
        fputs("zbaton: out of memory\n", stderr);
        exit(1);
    }
    return p;
}

void *
zb_cmd_realloc(void *old, size_t size)
{
    return must(realloc(old, size));
}

char *
zb_cmd_strdup(const char *text)
{
    return must(strdup(text));
}

static void *
json_malloc(size_t size)
{
    return zb_cmd_realloc(NULL, size);
}

void
zb_cmd_memory_use(void)
{
    json_set_alloc_funcs(json_malloc, free);
}
