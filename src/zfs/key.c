/*
 * Keys of encrypted datasets, each 32 bytes as the kernel takes it.
 */
#include "zfs/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* DCP_CMD_NEW_KEY and DCP_CMD_INHERIT of sys/dsl_crypt.h, which libzfs_core takes as numbers. */
#define CHANGE_NEW_KEY 2
#define CHANGE_INHERIT 3

bool
zb_zfs_key_params_find(const struct zb_zfs_props *root, struct zb_zfs_key_params *params)
{
    struct zb_zfs_value format, salt, iterations;

    if (!zb_zfs_props_find(root, "keyformat", &format) || format.text != NULL) {
        return false;
    }
    *params = (struct zb_zfs_key_params){.format = (unsigned)format.number};
    if (params->format == ZB_ZFS_KEY_PASSPHRASE) {
        if (!zb_zfs_props_find(root, "pbkdf2salt", &salt) ||
            !zb_zfs_props_find(root, "pbkdf2iters", &iterations)) {
            return false;
        }
        params->salt = salt.number;
        params->iterations = iterations.number;
    }
    return true;
}

static void
params_add(nvlist_t *in, const struct zb_zfs_key_params *params)
{
    fnvlist_add_uint64(in, "keyformat", params->format);
    if (params->format == ZB_ZFS_KEY_PASSPHRASE) {
        fnvlist_add_uint64(in, "pbkdf2salt", params->salt);
        fnvlist_add_uint64(in, "pbkdf2iters", params->iterations);
    }
}

enum zb_rc
zb_zfs_create_encrypted(const char *dataset, const struct zb_zfs_setprop *props, size_t count,
                        const struct zb_zfs_key_params *params, const uint8_t key[ZB_ZFS_KEY_SIZE],
                        struct zb_err *err)
{
    uint8_t bytes[ZB_ZFS_KEY_SIZE]; /* the call does not promise to leave it as it is */
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = zb_zfs_setprops_nvlist(props, count);
    fnvlist_add_uint64(in, "encryption", ZB_ZFS_ON);
    fnvlist_add_string(in, "keylocation", "prompt");
    params_add(in, params);
    memcpy(bytes, key, sizeof bytes);
    int e = lzc_create(dataset, LZC_DATSET_TYPE_ZFS, in, bytes, sizeof bytes);
    explicit_bzero(bytes, sizeof bytes);
    fnvlist_free(in);
    if (e == ENOENT) {
        return zb_err_set(err, ZB_E_NOTFOUND, "create %s: its parent does not exist", dataset);
    }
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, dataset, "create %s", dataset);
}

enum zb_rc
zb_zfs_key_load(const char *root, const uint8_t key[ZB_ZFS_KEY_SIZE], bool only_try,
                struct zb_err *err)
{
    uint8_t bytes[ZB_ZFS_KEY_SIZE];
    enum zb_rc rc = zb_zfs_name_check(root, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    memcpy(bytes, key, sizeof bytes);
    int e = lzc_load_key(root, only_try ? B_TRUE : B_FALSE, bytes, sizeof bytes);
    explicit_bzero(bytes, sizeof bytes);
    if (e == EACCES) {
        zb_err_set(err, ZB_E_MISMATCH, "load the key of %s: it is another one", root);
        err->sys_errno = e;
        return err->rc;
    }
    return e == 0 || e == EEXIST ? ZB_OK : zb_zfs_fail(err, e, root, "load the key of %s", root);
}

enum zb_rc
zb_zfs_key_unload(const char *root, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(root, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_unload_key(root);
    /* EACCES: it is not loaded. */
    return e == 0 || e == EACCES ? ZB_OK : zb_zfs_fail(err, e, root, "unload the key of %s", root);
}

enum zb_rc
zb_zfs_key_inherit(const char *root, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(root, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    int e = lzc_change_key(root, CHANGE_INHERIT, NULL, NULL, 0);
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, root, "let %s inherit its key", root);
}

enum zb_rc
zb_zfs_key_change(const char *root, const struct zb_zfs_key_params *params,
                  const uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err)
{
    uint8_t bytes[ZB_ZFS_KEY_SIZE];
    enum zb_rc rc = zb_zfs_name_check(root, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *in = fnvlist_alloc();
    params_add(in, params);
    memcpy(bytes, key, sizeof bytes);
    int e = lzc_change_key(root, CHANGE_NEW_KEY, in, bytes, sizeof bytes);
    explicit_bzero(bytes, sizeof bytes);
    fnvlist_free(in);
    return e == 0 ? ZB_OK : zb_zfs_fail(err, e, root, "change the key of %s", root);
}
