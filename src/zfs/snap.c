/*
 * What makes, keeps and removes datasets, snapshots, holds and bookmarks.
 */
#include "zfs/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum zb_rc
zb_zfs_create(const char *dataset, const struct zb_zfs_setprop *props, size_t count,
              struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = zb_zfs_setprops_nvlist(props, count);
    int e = lzc_create(dataset, LZC_DATSET_TYPE_ZFS, in, NULL, 0);
    fnvlist_free(in);
    if (e == ENOENT) {
        return zb_err_set(err, ZB_E_NOTFOUND, "create %s: its parent does not exist", dataset);
    }
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, dataset, "create %s", dataset);
}

static nvlist_t *
names_nvlist(const char *const *names, size_t count)
{
    nvlist_t *nvl = fnvlist_alloc();
    for (size_t i = 0; i < count; i++) {
        fnvlist_add_boolean(nvl, names[i]);
    }
    return nvl;
}

/* "<what> <the first that refused, else the first of all>" */
static enum zb_rc
fail_first(struct zb_err *err, const char *what, const char *first, nvlist_t *errors, int e)
{
    int which_errno = e;
    const char *which = zb_zfs_first_error(errors, &which_errno);
    return zb_zfs_fail(err, which_errno, first, "%s %s", what, which != NULL ? which : first);
}

/* Nothing is made unless every check passes. The checks do not add up what they ask for together
 * (snapshot_limit, refreservation), so the making can be refused in the middle: what was made is
 * destroyed again in the same txg, which nobody sees. */
static const char lua_snapshot[] =
    "local args = ...\n"
    "local snaps = args['snaps']\n"
    "local newest = {}\n"
    "for i, snap in ipairs(snaps) do\n"
    "    local e = zfs.check.snapshot(snap)\n"
    "    if e ~= 0 then return {name=snap, errno=e} end\n"
    "    newest[i] = zfs.get_prop(string.match(snap, '[^@]+'), 'prevsnap')\n"
    "end\n"
    "for i, snap in ipairs(snaps) do\n"
    "    local e = zfs.sync.snapshot(snap)\n"
    "    if e ~= 0 then\n"
    "        for j = 1, i - 1 do zfs.sync.destroy(snaps[j]) end\n"
    "        return {name=snap, errno=e}\n"
    "    end\n"
    "end\n"
    "return {newest=newest}\n";

/* A snapshot of the same dataset in the same txg is EAGAIN. A program waits for its txg, so that
 * the next one runs in a later one. */
#define SNAPSHOT_TRIES 20

/* Of a clone without snapshots of its own it is the origin: not one of this dataset's. */
static void
newest_take(nvlist_t *table, const char *const *snaps, size_t count,
            char (*newest)[ZB_DATASET_NAME_SIZE])
{
    nvlist_t *found = NULL;

    (void)nvlist_lookup_nvlist(table, "newest", &found);
    for (size_t i = 0; i < count; i++) {
        char key[24];
        const char *name;
        size_t length = strcspn(snaps[i], "@") + 1;

        snprintf(key, sizeof key, "%zu", i + 1);
        newest[i][0] = '\0';
        if (nvlist_lookup_string(found, key, &name) == 0 && strncmp(name, snaps[i], length) == 0) {
            zb_strcopy(newest[i], sizeof newest[i], name + length);
        }
    }
}

/* *again: refused, and worth another try. */
static enum zb_rc
snapshot_once(const char *first, nvlist_t *args, nvlist_t **table, bool *again, struct zb_err *err)
{
    const char *refused;
    int64_t e = 0;
    enum zb_rc rc = zb_zfs_program(first, true, lua_snapshot, args, table, err);

    *again = false;
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "snapshot %s", first);
    }
    if (nvlist_lookup_string(*table, "name", &refused) == 0 &&
        nvlist_lookup_int64(*table, "errno", &e) == 0) {
        *again = e == EAGAIN;
        rc = zb_zfs_fail(err, (int)e, refused, "snapshot %s", refused);
        fnvlist_free(*table);
        *table = NULL;
    }
    return rc;
}

enum zb_rc
zb_zfs_snapshot(const char *const *snaps, size_t count, char (*newest)[ZB_DATASET_NAME_SIZE],
                struct zb_err *err)
{
    nvlist_t *table = NULL;
    bool again = true;
    enum zb_rc rc = zb_zfs_names_check(snaps, count, '@', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *args = fnvlist_alloc();
    fnvlist_add_string_array(args, "snaps", snaps, (uint_t)count);
    for (int tries = SNAPSHOT_TRIES; tries > 0 && again; tries--) {
        rc = snapshot_once(snaps[0], args, &table, &again, err);
    }
    if (rc == ZB_OK && newest != NULL) {
        newest_take(table, snaps, count, newest);
    }
    fnvlist_free(args);
    fnvlist_free(table);
    return rc;
}

static enum zb_rc
destroy_failed(const char *const *snaps, size_t count, nvlist_t *errors, int e, int *errnos,
               struct zb_err *err)
{
    int which_errno = e;
    const char *which = zb_zfs_first_error(errors, &which_errno);
    for (size_t i = 0; errnos != NULL && i < count; i++) {
        int32_t one = 0;
        errnos[i] = errors != NULL && nvlist_lookup_int32(errors, snaps[i], &one) == 0 ? one : 0;
    }
    if (which == NULL) {
        which = snaps[0];
    }
    if (which_errno == EBUSY) {
        zb_err_set(err, ZB_E_HELD, "destroy %s: it is held or in use", which);
    } else if (which_errno == EEXIST) {
        zb_err_set(err, ZB_E_HELD, "destroy %s: it has clones", which);
    } else {
        return zb_zfs_fail(err, which_errno, which, "destroy %s", which);
    }
    err->sys_errno = which_errno;
    return err->rc;
}

enum zb_rc
zb_zfs_snaps_destroy(const char *const *snaps, size_t count, int *errnos, struct zb_err *err)
{
    nvlist_t *errors = NULL;
    enum zb_rc rc = zb_zfs_names_check(snaps, count, '@', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = names_nvlist(snaps, count);
    int e = lzc_destroy_snaps(in, B_FALSE, &errors);
    if (e != 0) {
        rc = destroy_failed(snaps, count, errors, e, errnos, err);
    } else if (errnos != NULL) {
        memset(errnos, 0, count * sizeof *errnos);
    }
    fnvlist_free(in);
    fnvlist_free(errors);
    return rc;
}

/* True when every error in the list is one that counts as done. */
static bool
only_errors(nvlist_t *errors, int harmless, int harmless_too)
{
    if (errors == NULL || nvlist_empty(errors)) {
        return false;
    }
    for (nvpair_t *p = nvlist_next_nvpair(errors, NULL); p != NULL;
         p = nvlist_next_nvpair(errors, p)) {
        int32_t value;
        if (nvpair_value_int32(p, &value) != 0 || (value != harmless && value != harmless_too)) {
            return false;
        }
    }
    return true;
}

static int
hold_once(const char *const *snaps, size_t count, const char *tag, nvlist_t *skip,
          nvlist_t **errors)
{
    nvlist_t *in = fnvlist_alloc();
    for (size_t i = 0; i < count; i++) {
        if (!nvlist_exists(skip, snaps[i])) {
            fnvlist_add_string(in, snaps[i], tag);
        }
    }
    int e = nvlist_empty(in) ? 0 : lzc_hold(in, -1, errors);
    fnvlist_free(in);
    return e;
}

enum zb_rc
zb_zfs_hold(const char *const *snaps, size_t count, const char *tag, struct zb_err *err)
{
    nvlist_t *errors = NULL;
    enum zb_rc rc = zb_zfs_names_check(snaps, count, '@', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *held = fnvlist_alloc();
    int e = hold_once(snaps, count, tag, held, &errors);
    /* The kernel holds none when one is held already and tells only the first: go on without it. */
    for (size_t i = 0; i < count && e != 0 && only_errors(errors, EEXIST, EEXIST); i++) {
        fnvlist_merge(held, errors);
        fnvlist_free(errors);
        errors = NULL;
        e = hold_once(snaps, count, tag, held, &errors);
    }
    /* A snapshot that is gone is an error entry of a call that succeeded. */
    int gone = 0;
    if (e != 0 || zb_zfs_first_error(errors, &gone) != NULL) {
        rc = fail_first(err, "hold", snaps[0], errors, e != 0 ? e : gone);
    }
    fnvlist_free(held);
    fnvlist_free(errors);
    return rc;
}

enum zb_rc
zb_zfs_release(const char *const *snaps, size_t count, const char *tag, struct zb_err *err)
{
    nvlist_t *errors = NULL;
    enum zb_rc rc = zb_zfs_names_check(snaps, count, '@', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = fnvlist_alloc();
    nvlist_t *tags = fnvlist_alloc();
    fnvlist_add_boolean(tags, tag);
    for (size_t i = 0; i < count; i++) {
        fnvlist_add_nvlist(in, snaps[i], tags);
    }
    int e = lzc_release(in, &errors);
    if (e != 0 && !only_errors(errors, ENOENT, ESRCH)) {
        rc = fail_first(err, "release", snaps[0], errors, e);
    }
    fnvlist_free(tags);
    fnvlist_free(in);
    fnvlist_free(errors);
    return rc;
}

enum zb_rc
zb_zfs_holds_list(const char *snap, struct zb_zfs_names *tags, struct zb_err *err)
{
    nvlist_t *holds = NULL;
    enum zb_rc rc = zb_zfs_name_check(snap, '@', err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_get_holds(snap, &holds);
    if (e != 0) {
        fnvlist_free(holds);
        return zb_zfs_fail(err, e, snap, "list holds of %s", snap);
    }
    struct zb_zfs_names out = {0};
    out.names = calloc(fnvlist_num_pairs(holds) + 1, sizeof *out.names);
    if (out.names == NULL) {
        fnvlist_free(holds);
        return zb_err_set(err, ZB_E_NOMEM, "list holds of %s: no memory", snap);
    }
    for (nvpair_t *p = nvlist_next_nvpair(holds, NULL); p != NULL;
         p = nvlist_next_nvpair(holds, p)) {
        snprintf(out.names[out.count++], sizeof out.names[0], "%s", nvpair_name(p));
    }
    fnvlist_free(holds);
    *tags = out;
    return ZB_OK;
}

/* Whether the bookmark is of this very snapshot. */
static bool
bookmark_is_of(const char *mark, const char *snap)
{
    nvlist_t *props = NULL;
    nvlist_t *guid_prop;
    struct zb_err ignored;
    uint64_t mark_guid = 0;
    uint64_t snap_guid = 0;

    if (lzc_get_bookmark_props(mark, &props) == 0 &&
        nvlist_lookup_nvlist(props, "guid", &guid_prop) == 0) {
        (void)nvlist_lookup_uint64(guid_prop, "value", &mark_guid);
    }
    fnvlist_free(props);
    return mark_guid != 0 && zb_zfs_guids(&snap, 1, &snap_guid, &ignored) == ZB_OK &&
           snap_guid == mark_guid;
}

enum zb_rc
zb_zfs_bookmark(const char *snap, const char *mark, struct zb_err *err)
{
    nvlist_t *errors = NULL;
    enum zb_rc rc = zb_zfs_name_check(snap, '@', err);
    if (rc == ZB_OK) {
        rc = zb_zfs_name_check(mark, '#', err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = fnvlist_alloc();
    fnvlist_add_string(in, mark, snap);
    int e = lzc_bookmark(in, &errors);
    if (e != 0 && !(e == EEXIST && bookmark_is_of(mark, snap))) {
        rc = fail_first(err, "bookmark", mark, errors, e);
    }
    fnvlist_free(in);
    fnvlist_free(errors);
    return rc;
}

enum zb_rc
zb_zfs_bookmarks_destroy(const char *const *marks, size_t count, struct zb_err *err)
{
    nvlist_t *errors = NULL;
    enum zb_rc rc = zb_zfs_names_check(marks, count, '#', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = names_nvlist(marks, count);
    int e = lzc_destroy_bookmarks(in, &errors);
    if (e != 0) {
        rc = fail_first(err, "destroy bookmark", marks[0], errors, e);
    }
    fnvlist_free(in);
    fnvlist_free(errors);
    return rc;
}

enum zb_rc
zb_zfs_rename(const char *from, const char *to, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(from, '\0', err);
    if (rc == ZB_OK) {
        rc = zb_zfs_name_check(to, '\0', err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_rename(from, to);
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, from, "rename %s to %s", from, to);
}
