#include "zfs/internal.h"

#include <errno.h>

/* The kernel's upper bounds: a program over a large tree must not end in its middle. Memory is only
 * reserved, not used; the reply's buffer has this size too. */
#define INSTRUCTIONS_MAX (100u * 1000 * 1000)
#define MEMORY_MAX (64u << 20)

static const char *
program_error_text(nvlist_t *out)
{
    const char *text;
    if (out != NULL && nvlist_lookup_string(out, ZCP_RET_ERROR, &text) == 0) {
        return text;
    }
    return "";
}

enum zb_rc
zb_zfs_program(const char *name, bool sync, const char *lua, nvlist_t *args, nvlist_t **result,
               struct zb_err *err)
{
    char pool[ZB_DATASET_NAME_SIZE];
    nvlist_t *out = NULL;
    nvlist_t *table = NULL;
    int e;

    zb_zfs_pool_of(name, pool);
    if (sync) {
        e = lzc_channel_program(pool, lua, INSTRUCTIONS_MAX, MEMORY_MAX, args, &out);
    } else {
        e = lzc_channel_program_nosync(pool, lua, INSTRUCTIONS_MAX, MEMORY_MAX, args, &out);
    }
    enum zb_rc rc = ZB_OK;
    if (e == ENOENT) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "pool %s does not exist", pool);
    } else if (e == ENOSPC && program_error_text(out)[0] != '\0') {
        rc = zb_err_set(err, ZB_E_LIMIT, "pool %s: too much for one channel program: %.200s", pool,
                        program_error_text(out));
    } else if (e != 0) {
        rc = zb_zfs_fail(err, e, pool, "channel program in pool %s (%.200s)", pool,
                         program_error_text(out));
    } else if (out != NULL && nvlist_lookup_nvlist(out, ZCP_RET_RETURN, &table) == 0) {
        *result = fnvlist_dup(table);
    } else {
        *result = fnvlist_alloc();
    }
    fnvlist_free(out);
    return rc;
}
