#include "zfs/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* How the kernel marks a received value (ZPROP_SOURCE_VAL_RECVD). */
#define SOURCE_RECEIVED "$recvd"

/* The kernel's inherit asserts that the dataset exists and panics otherwise (2.3.2): a dataset that
 * is destroyed meanwhile is looked for in the same program, which nothing can come between. */
static const char lua_inherit[] = "local args = ...\n"
                                  "if not zfs.exists(args['name']) then\n"
                                  "    return {prop=args['props'][1], errno=2}\n"
                                  "end\n"
                                  "for i, prop in ipairs(args['props']) do\n"
                                  "    local e = zfs.check.inherit(args['name'], prop)\n"
                                  "    if e ~= 0 then return {prop=prop, errno=e} end\n"
                                  "end\n"
                                  "for i, prop in ipairs(args['props']) do\n"
                                  "    local e = zfs.sync.inherit(args['name'], prop)\n"
                                  "    if e ~= 0 then return {prop=prop, errno=e} end\n"
                                  "end\n"
                                  "return {}\n";

bool
zb_zfs_props_find(const struct zb_zfs_props *props, const char *name, struct zb_zfs_value *value)
{
    nvlist_t *prop;
    struct zb_zfs_value v = {.source = ZB_ZFS_SOURCE_NONE, .source_name = ""};
    const char *source;

    if (props->all == NULL || nvlist_lookup_nvlist(props->all, name, &prop) != 0) {
        return false;
    }
    if (nvlist_lookup_uint64(prop, "value", &v.number) != 0 &&
        nvlist_lookup_string(prop, "value", &v.text) != 0) {
        return false;
    }
    if (nvlist_lookup_string(prop, "source", &source) == 0) {
        if (source[0] == '\0') {
            v.source = ZB_ZFS_SOURCE_DEFAULT;
        } else if (strcmp(source, props->name) == 0) {
            v.source = ZB_ZFS_SOURCE_LOCAL;
        } else if (strcmp(source, SOURCE_RECEIVED) == 0) {
            v.source = ZB_ZFS_SOURCE_RECEIVED;
        } else {
            v.source = ZB_ZFS_SOURCE_INHERITED;
            v.source_name = source;
        }
    }
    *value = v;
    return true;
}

const char *
zb_zfs_props_local(const struct zb_zfs_props *props, const char *name)
{
    struct zb_zfs_value v;
    if (!zb_zfs_props_find(props, name, &v) || v.source != ZB_ZFS_SOURCE_LOCAL) {
        return NULL;
    }
    return v.text;
}

const char *
zb_zfs_props_next(const struct zb_zfs_props *props, void **cursor)
{
    nvpair_t *pair = props->all != NULL ? nvlist_next_nvpair(props->all, *cursor) : NULL;
    *cursor = pair;
    return pair != NULL ? nvpair_name(pair) : NULL;
}

static uint64_t
number_of(const struct zb_zfs_props *props, const char *name, uint64_t otherwise)
{
    struct zb_zfs_value v;
    return zb_zfs_props_find(props, name, &v) && v.text == NULL ? v.number : otherwise;
}

static const char *
text_of(const struct zb_zfs_props *props, const char *name)
{
    struct zb_zfs_value v;
    return zb_zfs_props_find(props, name, &v) && v.text != NULL ? v.text : "";
}

static enum zb_zfs_source
source_of(const struct zb_zfs_props *props, const char *name)
{
    struct zb_zfs_value v;
    return zb_zfs_props_find(props, name, &v) ? v.source : ZB_ZFS_SOURCE_DEFAULT;
}

/* Of a clone without snapshots of its own prevsnap is its origin: not one of this dataset's. */
static const char *
own_newest(const struct zb_zfs_props *props)
{
    const char *newest = text_of(props, "prevsnap");
    size_t length = strlen(props->name);
    bool own = strncmp(newest, props->name, length) == 0 && newest[length] == '@';
    return own ? newest + length + 1 : "";
}

static void
fill(struct zb_zfs_props *p)
{
    struct zb_zfs_value v;

    p->type = strchr(p->name, '@') != NULL          ? ZB_ZFS_SNAPSHOT
              : zb_zfs_props_find(p, "volsize", &v) ? ZB_ZFS_VOLUME
                                                    : ZB_ZFS_FILESYSTEM;
    p->guid = number_of(p, "guid", 0);
    p->createtxg = number_of(p, "createtxg", 0);
    p->used_bytes = number_of(p, "used", 0);
    p->available_bytes = number_of(p, "available", 0);
    p->referenced_bytes = number_of(p, "referenced", 0);
    p->written_bytes = number_of(p, "written", 0);
    p->quota_bytes = number_of(p, "quota", 0);
    p->refquota_bytes = number_of(p, "refquota", 0);
    p->reservation_bytes = number_of(p, "reservation", 0);
    p->refreservation_bytes = number_of(p, "refreservation", 0);
    p->readonly_on = number_of(p, "readonly", ZB_ZFS_OFF) == ZB_ZFS_ON;
    p->readonly_source = source_of(p, "readonly");
    p->canmount = (unsigned)number_of(p, "canmount", ZB_ZFS_ON);
    p->canmount_source = source_of(p, "canmount");
    p->mountpoint = text_of(p, "mountpoint");
    p->mountpoint_source = source_of(p, "mountpoint");
    p->newest = own_newest(p);
    p->token = text_of(p, "receive_resume_token");
    p->origin = text_of(p, "origin");
    p->encrypted = number_of(p, "encryption", ZB_ZFS_OFF) != ZB_ZFS_OFF;
    p->key_available = !p->encrypted || number_of(p, "keystatus", 0) == ZFS_KEYSTATUS_AVAILABLE;
    p->encryption_root = text_of(p, "encryptionroot");
}

/* Figures and defaults that nobody looks up: most of what there is, half a kilobyte each, and of
 * hundreds of datasets many may be held at once. */
static bool
is_wanted(const struct zb_zfs_props *props, const char *name)
{
    static const char *const of_keys[] = {"keyformat", "pbkdf2salt", "pbkdf2iters"};
    struct zb_zfs_value v;

    for (size_t i = 0; i < sizeof of_keys / sizeof of_keys[0]; i++) {
        if (strcmp(name, of_keys[i]) == 0) {
            return true;
        }
    }
    return strchr(name, ':') != NULL || !zb_zfs_props_find(props, name, &v) || v.text != NULL ||
           (v.source != ZB_ZFS_SOURCE_NONE && v.source != ZB_ZFS_SOURCE_DEFAULT);
}

static void
slim(struct zb_zfs_props *props)
{
    nvpair_t *pair = nvlist_next_nvpair(props->all, NULL);

    while (pair != NULL) {
        nvpair_t *next = nvlist_next_nvpair(props->all, pair);
        if (!is_wanted(props, nvpair_name(pair))) {
            fnvlist_remove_nvpair(props->all, pair);
        }
        pair = next;
    }
}

enum zb_rc
zb_zfs_props_get(const char *name, struct zb_zfs_props *props, struct zb_err *err)
{
    nvlist_t *all = NULL;
    enum zb_rc rc =
        zb_zfs_name_check(name, name != NULL && strchr(name, '@') != NULL ? '@' : '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = zb_zfs_ioctl(ZFS_IOC_OBJSET_STATS, name, NULL, &all);
    if (e != 0) {
        fnvlist_free(all);
        return zb_zfs_fail(err, e, name, "read properties of %s", name);
    }
    if (all == NULL) {
        return zb_err_set(err, ZB_E_FORMAT, "read properties of %s: no answer", name);
    }
    *props = (struct zb_zfs_props){.all = all};
    zb_strcopy(props->name, sizeof props->name, name);
    fill(props);
    slim(props);
    return ZB_OK;
}

void
zb_zfs_props_close(struct zb_zfs_props *props)
{
    fnvlist_free(props->all);
    *props = (struct zb_zfs_props){0};
}

enum zb_rc
zb_zfs_props_set(const char *dataset, const struct zb_zfs_setprop *props, size_t count,
                 struct zb_err *err)
{
    nvlist_t *errors = NULL;
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK || count == 0) {
        return rc;
    }
    nvlist_t *in = zb_zfs_setprops_nvlist(props, count);
    int e = zb_zfs_ioctl(ZFS_IOC_SET_PROP, dataset, in, &errors);
    int which_errno = e;
    const char *which = zb_zfs_first_error(errors, &which_errno);
    if (which != NULL) {
        rc = zb_zfs_fail(err, which_errno, dataset, "set %s of %s", which, dataset);
    } else if (e != 0) {
        rc = zb_zfs_fail(err, e, dataset, "set %s of %s", props[0].name, dataset);
    }
    fnvlist_free(in);
    fnvlist_free(errors);
    return rc;
}

enum zb_rc
zb_zfs_props_inherit(const char *dataset, const char *const *names, size_t count,
                     struct zb_err *err)
{
    nvlist_t *table = NULL;
    const char *prop;
    int64_t e = 0;
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK || count == 0) {
        return rc;
    }
    nvlist_t *args = fnvlist_alloc();
    fnvlist_add_string(args, "name", dataset);
    fnvlist_add_string_array(args, "props", names, (uint_t)count);
    rc = zb_zfs_program(dataset, true, lua_inherit, args, &table, err);
    fnvlist_free(args);
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "inherit %s of %s", names[0], dataset);
    }
    if (nvlist_lookup_string(table, "prop", &prop) == 0 &&
        nvlist_lookup_int64(table, "errno", &e) == 0) {
        if (e == EINVAL) {
            rc = zb_err_set(err, ZB_E_USAGE, "inherit %s of %s: it cannot be inherited", prop,
                            dataset);
        } else {
            rc = zb_zfs_fail(err, (int)e, dataset, "inherit %s of %s", prop, dataset);
        }
    }
    fnvlist_free(table);
    return rc;
}
