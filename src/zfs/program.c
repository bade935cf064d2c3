#include "zfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

static enum zb_rc
program_failed(const char *pool, int e, nvlist_t *out, struct zb_err *err)
{
    const char *text = program_error_text(out);

    if (e == ENOENT) {
        return zb_err_set(err, ZB_E_NOTFOUND, "pool %s does not exist", pool);
    }
    if (e == ENOSPC && text[0] != '\0') {
        return zb_err_set(err, ZB_E_LIMIT, "pool %s: too much for one channel program: %.200s",
                          pool, text);
    }
    return zb_zfs_fail(err, e, pool, "channel program in pool %s (%.200s)", pool, text);
}

/* What a program that failed says: of a question the answer, which is taken out. NULL: no answer.
 */
static char *
answer_take(nvlist_t *out)
{
    static const char begin[] = ZB_ZFS_ANSWER_BEGIN;
    const char *text = program_error_text(out);
    char *answer = NULL;
    char *end;

    if (strncmp(text, begin, sizeof begin - 1) == 0) {
        answer = strdup(text + sizeof begin - 1);
        end = answer != NULL ? strstr(answer, ZB_ZFS_ANSWER_END) : NULL; /* the traceback follows */
        if (end != NULL) {
            *end = '\0';
        }
    }
    return answer;
}

enum zb_rc
zb_zfs_ask(const char *name, const char *lua, nvlist_t *args, char **answer, struct zb_err *err)
{
    char pool[ZB_DATASET_NAME_SIZE];
    nvlist_t *out = NULL;
    int e;
    enum zb_rc rc = ZB_OK;

    zb_zfs_pool_of(name, pool);
    e = lzc_channel_program_nosync(pool, lua, INSTRUCTIONS_MAX, MEMORY_MAX, args, &out);
    if (e == 0) {
        rc = zb_err_set(err, ZB_E_FAILED, "channel program in pool %s ended without an answer",
                        pool);
    } else if (e != ECHRNG || (*answer = answer_take(out)) == NULL) {
        rc = program_failed(pool, e, out, err);
    }
    fnvlist_free(out);
    return rc;
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
    if (e != 0) {
        rc = program_failed(pool, e, out, err);
    } else if (out != NULL && nvlist_lookup_nvlist(out, ZCP_RET_RETURN, &table) == 0) {
        *result = fnvlist_dup(table);
    } else {
        *result = fnvlist_alloc();
    }
    fnvlist_free(out);
    return rc;
}
