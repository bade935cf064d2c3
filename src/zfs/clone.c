/*
 * Clones, and datasets that go.
 */
#include "zfs/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum zb_rc
zb_zfs_clone(const char *dataset, const char *snap, const struct zb_zfs_setprop *props,
             size_t count, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc == ZB_OK) {
        rc = zb_zfs_name_check(snap, '@', err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = zb_zfs_setprops_nvlist(props, count);
    int e = lzc_clone(dataset, snap, in);
    fnvlist_free(in);
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, dataset, "clone %s as %s", snap, dataset);
}

enum zb_rc
zb_zfs_promote(const char *dataset, struct zb_err *err)
{
    char snap[ZB_DATASET_NAME_SIZE] = "";
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_promote(dataset, snap, sizeof snap);
    if (e == EEXIST) {
        zb_err_set(err, ZB_E_EXISTS,
                   "promote %s: it has a snapshot %s of its own, and its origin another one",
                   dataset, snap);
        err->sys_errno = e;
        return err->rc;
    }
    if (e == EINVAL) {
        zb_err_set(err, ZB_E_REFUSED, "promote %s: it is not a clone", dataset);
        err->sys_errno = e;
        return err->rc;
    }
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, dataset, "promote %s", dataset);
}

enum zb_rc
zb_zfs_clones_list(const char *snap, struct zb_zfs_names *clones, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    struct zb_zfs_names out = {0};
    nvlist_t *prop = NULL;
    nvlist_t *list = NULL;
    enum zb_rc rc = zb_zfs_name_check(snap, '@', err);
    if (rc == ZB_OK) {
        rc = zb_zfs_props_get(snap, &props, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    if (nvlist_lookup_nvlist(props.all, "clones", &prop) == 0) {
        (void)nvlist_lookup_nvlist(prop, "value", &list);
    }
    out.names = calloc((list != NULL ? fnvlist_num_pairs(list) : 0) + 1, sizeof *out.names);
    if (out.names == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "list clones of %s: no memory", snap);
    }
    for (nvpair_t *p = list != NULL && rc == ZB_OK ? nvlist_next_nvpair(list, NULL) : NULL;
         p != NULL; p = nvlist_next_nvpair(list, p)) {
        zb_strcopy(out.names[out.count++], sizeof out.names[0], nvpair_name(p));
    }
    zb_zfs_props_close(&props);
    if (rc == ZB_OK) {
        *clones = out;
    }
    return rc;
}

enum zb_rc
zb_zfs_destroy(const char *dataset, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_destroy(dataset);
    if (e == EEXIST || e == ENOTEMPTY) {
        zb_err_set(err, ZB_E_HELD, "destroy %s: it has snapshots or children", dataset);
        err->sys_errno = e;
        return err->rc;
    }
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, dataset, "destroy %s", dataset);
}
