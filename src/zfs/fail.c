#include "zfs/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What an errno of ZFS means whatever was tried. Functions to which one means more look first. */
static const struct meaning {
    int errnum;
    enum zb_rc rc;
    const char *sentence;
} meanings[] = {
    {ENOENT, ZB_E_NOTFOUND, "it does not exist"},
    {ESRCH, ZB_E_NOTFOUND, "there is none"},
    {EEXIST, ZB_E_EXISTS, "it exists already"},
    {EBUSY, ZB_E_HELD, "it is in use"},
    {ECHRNG, ZB_E_FAILED, "the channel program failed"},
    {ENXIO, ZB_E_SUSPENDED, "the pool is not available"},
    {EIO, ZB_E_FAILED, "an input or output error"},
    {ENOSPC, ZB_E_NOSPACE, "the pool is full"},
    {EDQUOT, ZB_E_NOSPACE, "a quota is exhausted"},
    {ENOMEM, ZB_E_NOMEM, "no memory"},
    {ENOBUFS, ZB_E_NOMEM, "no memory"},
    {EAGAIN, ZB_E_BUSY, "the pool or the dataset is busy, try again"},
    {EXDEV, ZB_E_MISMATCH, "they are not of one pool or of one line of snapshots"},
    {EROFS, ZB_E_REFUSED, "the pool was imported read-only"},
    {ENAMETOOLONG, ZB_E_LIMIT, "a name gets too long"},
    {EPERM, ZB_E_AUTH, "not allowed; root is needed"},
    {EACCES, ZB_E_UNSUPPORTED, "its encryption key is not loaded"},
    {EINVAL, ZB_E_FAILED, "ZFS does not accept it (invalid argument)"},
    {ECKSUM, ZB_E_FORMAT, "a checksum does not match"},
    {ENOTSUP, ZB_E_UNSUPPORTED, "this pool or this ZFS cannot do that"},
    {EINTR, ZB_E_CANCELED, "interrupted"},
    {EPIPE, ZB_E_CLOSED, "the reading side closed the stream"},
    {ZFS_ERR_BOOKMARK_SOURCE_NOT_ANCESTOR, ZB_E_MISMATCH, "the base is not an ancestor"},
    {ZFS_ERR_IOC_ARG_UNAVAIL, ZB_E_VERSION, "libzfs_core and the zfs module differ in this call"},
    {ZFS_ERR_IOC_CMD_UNAVAIL, ZB_E_UNSUPPORTED, "this zfs module was built without that call"},
    {ZFS_ERR_WRONG_PARENT, ZB_E_UNSUPPORTED, "wrong parent for an encrypted dataset"},
    {ZFS_ERR_FROM_IVSET_GUID_MISSING, ZB_E_DIVERGED,
     "the IV set guid of the base is missing (raw stream)"},
    {ZFS_ERR_FROM_IVSET_GUID_MISMATCH, ZB_E_DIVERGED,
     "the IV set guid of the base differs: raw and plain streams were mixed"},
    {ZFS_ERR_SPILL_BLOCK_FLAG_MISSING, ZB_E_UNSUPPORTED, "the stream lacks the spill block flag"},
    {ZFS_ERR_UNKNOWN_SEND_STREAM_FEATURE, ZB_E_UNSUPPORTED,
     "the stream uses a feature that this ZFS does not know"},
    {ZFS_ERR_STREAM_TRUNCATED, ZB_E_CLOSED, "the stream ended before its end record"},
    {ZFS_ERR_STREAM_LARGE_BLOCK_MISMATCH, ZB_E_UNSUPPORTED,
     "streams with and without large blocks were mixed"},
    {ZFS_ERR_RESUME_EXISTS, ZB_E_BUSY, "a partial receive is in the way"},
};

static const struct meaning *
find_meaning(int errnum)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        if (meanings[i].errnum == errnum) {
            return &meanings[i];
        }
    }
    return NULL;
}

enum zb_rc
zb_zfs_fail(struct zb_err *err, int errnum, const char *name, const char *fmt, ...)
{
    const struct meaning *m = find_meaning(errnum);
    char phrase[600];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(phrase, sizeof phrase, fmt, ap);
    va_end(ap);
    if (errnum == EAGAIN && zb_zfs_pool_state(name) == ZB_ZFS_POOL_SUSPENDED) {
        zb_err_set(err, ZB_E_SUSPENDED, "%.400s: the pool is suspended", phrase);
    } else if (m != NULL) {
        zb_err_set(err, m->rc, "%.400s: %s", phrase, m->sentence);
    } else if (errnum < 1024) {
        zb_err_set(err, ZB_E_FAILED, "%.400s: %s", phrase, strerror(errnum));
    } else {
        zb_err_set(err, ZB_E_FAILED, "%.400s: error %d of ZFS", phrase, errnum);
    }
    err->sys_errno = errnum;
    return err->rc;
}

enum zb_rc
zb_zfs_name_check(const char *name, char kind, struct zb_err *err)
{
    static const char separators[] = "@#";
    size_t length = name != NULL ? strnlen(name, ZB_DATASET_NAME_SIZE) : 0;
    bool ok = length > 0 && length < ZB_DATASET_NAME_SIZE && name[0] != '/' &&
              name[length - 1] != '/' && strpbrk(name, "%\n\t") == NULL;

    if (ok) {
        const char *at = strpbrk(name, separators);
        if (kind == '\0') {
            ok = at == NULL;
        } else {
            ok = at != NULL && at > name && *at == kind && at[1] != '\0' &&
                 strpbrk(at + 1, "@#/") == NULL;
        }
    }
    if (!ok) {
        return zb_err_set(err, ZB_E_USAGE, "\"%.300s\" is not the name of a %s",
                          name != NULL ? name : "",
                          kind == '@'   ? "snapshot"
                          : kind == '#' ? "bookmark"
                                        : "dataset");
    }
    return ZB_OK;
}

void
zb_zfs_pool_of(const char *name, char *pool)
{
    snprintf(pool, ZB_DATASET_NAME_SIZE, "%.*s", (int)strcspn(name, "/@#"), name);
}

enum zb_rc
zb_zfs_names_check(const char *const *names, size_t count, char kind, struct zb_err *err)
{
    if (count == 0) {
        return zb_err_set(err, ZB_E_USAGE, "no names were given");
    }
    size_t pool_length = strcspn(names[0], "/@#");
    for (size_t i = 0; i < count; i++) {
        enum zb_rc rc = zb_zfs_name_check(names[i], kind, err);
        if (rc != ZB_OK) {
            return rc;
        }
        if (strcspn(names[i], "/@#") != pool_length ||
            strncmp(names[i], names[0], pool_length) != 0) {
            return zb_err_set(err, ZB_E_USAGE, "%s and %s are in different pools", names[0],
                              names[i]);
        }
    }
    return ZB_OK;
}

nvlist_t *
zb_zfs_setprops_nvlist(const struct zb_zfs_setprop *props, size_t count)
{
    if (count == 0) {
        return NULL;
    }
    nvlist_t *nvl = fnvlist_alloc();
    for (size_t i = 0; i < count; i++) {
        if (props[i].text != NULL) {
            fnvlist_add_string(nvl, props[i].name, props[i].text);
        } else {
            fnvlist_add_uint64(nvl, props[i].name, props[i].number);
        }
    }
    return nvl;
}

const char *
zb_zfs_first_error(nvlist_t *errors, int *errnum)
{
    if (errors == NULL) {
        return NULL;
    }
    for (nvpair_t *p = nvlist_next_nvpair(errors, NULL); p != NULL;
         p = nvlist_next_nvpair(errors, p)) {
        int32_t value;
        if (nvpair_type(p) == DATA_TYPE_INT32 && nvpair_value_int32(p, &value) == 0 &&
            strcmp(nvpair_name(p), "N_MORE_ERRORS") != 0) {
            *errnum = value;
            return nvpair_name(p);
        }
    }
    return NULL;
}
