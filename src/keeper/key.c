#include "keeper/key.h"

#include <openssl/evp.h>
#include <string.h>

#define PASSPHRASE_MIN 8
#define ITERATIONS_MAX 10000000 /* a stream may say any number, and who waits holds others up */

/* ---- from a text ---- */

static int
hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool
hex_derive(const uint8_t *text, size_t size, uint8_t key[ZB_ZFS_KEY_SIZE])
{
    if (size != 2 * (size_t)ZB_ZFS_KEY_SIZE) {
        return false;
    }
    for (size_t i = 0; i < ZB_ZFS_KEY_SIZE; i++) {
        int high = hex_digit(text[2 * i]);
        int low = hex_digit(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        key[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

static bool
passphrase_derive(const uint8_t *text, size_t size, const struct zb_zfs_key_params *params,
                  uint8_t key[ZB_ZFS_KEY_SIZE])
{
    uint8_t salt[8];

    for (size_t i = 0; i < sizeof(salt); i++) {
        salt[i] = (uint8_t)(params->salt >> (8 * i));
    }
    return size >= PASSPHRASE_MIN && size <= ZB_KEEPER_KEY_TEXT_MAX && params->iterations > 0 &&
           params->iterations <= ITERATIONS_MAX &&
           PKCS5_PBKDF2_HMAC_SHA1((const char *)text, (int)size, salt, sizeof(salt),
                                  (int)params->iterations, ZB_ZFS_KEY_SIZE, key) == 1;
}

enum zb_rc
zb_keeper_key_derive(const uint8_t *text, size_t size, const struct zb_zfs_key_params *params,
                     uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err)
{
    bool ok = false;
    const char *wanted = "a key format of ZFS";

    if (params->format != ZB_ZFS_KEY_RAW && size > 0 && text[size - 1] == '\n') {
        size--;
    }
    if (params->format == ZB_ZFS_KEY_RAW) {
        wanted = "32 bytes (key-format raw)";
        ok = size == ZB_ZFS_KEY_SIZE;
        if (ok) {
            memcpy(key, text, ZB_ZFS_KEY_SIZE);
        }
    } else if (params->format == ZB_ZFS_KEY_HEX) {
        wanted = "64 hexadecimal digits (key-format hex)";
        ok = hex_derive(text, size, key);
    } else if (params->format == ZB_ZFS_KEY_PASSPHRASE) {
        wanted = "8 to 512 characters (key-format passphrase)";
        ok = passphrase_derive(text, size, params, key);
    }
    return ok ? ZB_OK : zb_err_set(err, ZB_E_FORMAT, "it holds %zu bytes, not %s", size, wanted);
}

/* ---- what a flavour carries ---- */

static enum zb_rc
plain_check(const struct zb_zfs_props *props, struct zb_err *err)
{
    if (!props->encrypted || strcmp(props->encryption_root, props->name) != 0) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED,
                     "%s is encrypted with a key of its own, and would not be on who follows: "
                     "streams of flavour \"plain\" are in clear",
                     props->name);
    return zb_err_hint(
        err, "flavour = \"raw\" and key-file or key-command in the service's declaration");
}

enum zb_rc
zb_keeper_flavour_check(enum zb_conf_flavour flavour, const char *tree,
                        const struct zb_zfs_props *props, struct zb_err *err)
{
    bool top = strcmp(props->name, tree) == 0;

    if (flavour == ZB_CONF_FLAVOUR_PLAIN) {
        return plain_check(props, err);
    }
    if (!props->encrypted) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "%s is not encrypted, and flavour \"raw\" is for encrypted datasets",
                         props->name);
        return zb_err_hint(err, top ? "flavour = \"plain\"; or rename it, and copy its files into "
                                      "the one that zbaton makes"
                                    : "zfs rename it to a place outside the service's tree");
    }
    if (strcmp(props->encryption_root, tree) != 0) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "%s is under the encryption root %s: flavour \"raw\" wants the tree to be "
                         "one of its own, %s",
                         props->name, props->encryption_root, tree);
        return top ? zb_err_hint(
                         err,
                         "zfs change-key -o keyformat=FORMAT -o keylocation=file://FILE %.150s",
                         props->name)
                   : zb_err_hint(err, "zfs change-key -i %.200s", props->name);
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_copy_check(enum zb_conf_flavour flavour, const struct zb_zfs_props *props,
                     struct zb_err *err)
{
    if (flavour == ZB_CONF_FLAVOUR_PLAIN) {
        return zb_zfs_props_local(props, ZB_KEEPER_FLAVOUR) == NULL
                   ? ZB_OK
                   : zb_err_set(err, ZB_E_REFUSED,
                                "%s is of flavour \"raw\", and the service is declared \"plain\"",
                                props->name);
    }
    if (props->encrypted) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED,
                     "%s is a copy in clear, and the service is of flavour \"raw\"", props->name);
    return zb_err_hint(err, "zfs rename it to a place outside the service's tree: it is received "
                            "anew");
}
