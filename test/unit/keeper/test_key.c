#include "unit.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <libnvpair.h>

#include "keeper/key.h"

static const struct zb_zfs_key_params raw = {.format = ZB_ZFS_KEY_RAW};
static const struct zb_zfs_key_params hex = {.format = ZB_ZFS_KEY_HEX};
static const char digits[] = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

static enum zb_rc
derive(const struct zb_zfs_key_params *params, const char *text, uint8_t *key, struct zb_err *err)
{
    return zb_keeper_key_derive((const uint8_t *)text, strlen(text), params, key, err);
}

static void
assert_counts(const uint8_t *key)
{
    for (uint8_t i = 0; i < ZB_ZFS_KEY_SIZE; i++) {
        assert_int_equal(key[i], i);
    }
}

static void
raw_and_hexadecimal(void **state)
{
    (void)state;
    uint8_t key[ZB_ZFS_KEY_SIZE] = {0};
    uint8_t bytes[ZB_ZFS_KEY_SIZE + 1];
    struct zb_err err;
    char text[80];

    for (uint8_t i = 0; i <= ZB_ZFS_KEY_SIZE; i++) {
        bytes[i] = i;
    }
    assert_int_equal(zb_keeper_key_derive(bytes, 32, &raw, key, &err), ZB_OK);
    assert_counts(key);
    memset(key, 0, sizeof(key));
    bytes[31] = '\n'; /* a byte of it like any other */
    assert_int_equal(zb_keeper_key_derive(bytes, 32, &raw, key, &err), ZB_OK);
    assert_int_equal(key[31], '\n');
    assert_int_equal(zb_keeper_key_derive(bytes, 31, &raw, key, &err), ZB_E_FORMAT);
    assert_int_equal(zb_keeper_key_derive(bytes, 33, &raw, key, &err), ZB_E_FORMAT);
    assert_string_equal(err.msg, "it holds 33 bytes, not 32 bytes (key-format raw)");

    assert_int_equal(derive(&hex, digits, key, &err), ZB_OK);
    assert_counts(key);
    (void)snprintf(text, sizeof(text), "%s\n", digits);
    assert_int_equal(derive(&hex, text, key, &err), ZB_OK);
    (void)snprintf(text, sizeof(text), "%s\n\n", digits);
    assert_int_equal(derive(&hex, text, key, &err), ZB_E_FORMAT);
    (void)snprintf(text, sizeof(text), "%.63sg", digits);
    assert_int_equal(derive(&hex, text, key, &err), ZB_E_FORMAT);
    assert_int_equal(derive(&hex, "", key, &err), ZB_E_FORMAT);
    assert_int_equal(derive(&(struct zb_zfs_key_params){.format = 9}, digits, key, &err),
                     ZB_E_FORMAT);
}

/* Of Python's hashlib:
 * pbkdf2_hmac("sha1", b"correct horse", (0x1122334455667788).to_bytes(8, "little"), 1000, 32) */
static void
passphrases(void **state)
{
    (void)state;
    static const uint8_t wanted[ZB_ZFS_KEY_SIZE] = {0x57, 0x40, 0x58, 0x2b, 0x49, 0xcb, 0xb6, 0x2e,
                                                    0x49, 0x77, 0x8b, 0xa9, 0x22, 0x35, 0x10, 0x14,
                                                    0x71, 0x29, 0xb1, 0x38, 0xcb, 0x72, 0xf1, 0xba,
                                                    0xf2, 0xe5, 0x6c, 0x51, 0x9d, 0x0a, 0x0f, 0xe3};
    const struct zb_zfs_key_params params = {
        .format = ZB_ZFS_KEY_PASSPHRASE, .salt = 0x1122334455667788, .iterations = 1000};
    struct zb_zfs_key_params none = params;
    uint8_t key[ZB_ZFS_KEY_SIZE];
    struct zb_err err;

    assert_int_equal(derive(&params, "correct horse", key, &err), ZB_OK);
    assert_memory_equal(key, wanted, sizeof(wanted));
    memset(key, 0, sizeof(key));
    assert_int_equal(derive(&params, "correct horse\n", key, &err), ZB_OK);
    assert_memory_equal(key, wanted, sizeof(wanted));
    assert_int_equal(derive(&params, "seven..", key, &err), ZB_E_FORMAT);
    none.iterations = 0;
    assert_int_equal(derive(&none, "correct horse", key, &err), ZB_E_FORMAT);
    none.iterations = UINT64_MAX;
    assert_int_equal(derive(&none, "correct horse", key, &err), ZB_E_FORMAT);
}

static enum zb_rc
key_read(const char *path, const struct zb_zfs_key_params *params, uint8_t key[ZB_ZFS_KEY_SIZE],
         struct zb_err *err)
{
    struct zb_keeper_key_text text = {0};
    enum zb_rc rc = zb_keeper_key_file_read(path, &text, err);

    return rc == ZB_OK ? zb_keeper_key_derive(text.bytes, text.size, params, key, err) : rc;
}

static enum zb_rc
read_file(const char *text, mode_t mode, struct zb_err *err)
{
    char path[] = "/tmp/zb-key-XXXXXX";
    uint8_t key[ZB_ZFS_KEY_SIZE];
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    (void)close(fd);
    enum zb_rc rc = key_read(path, &hex, key, err);
    if (rc == ZB_OK) {
        assert_counts(key);
    }
    (void)unlink(path);
    return rc;
}

static void
files(void **state)
{
    (void)state;
    uint8_t key[ZB_ZFS_KEY_SIZE];
    char longest[ZB_KEEPER_KEY_TEXT_MAX + 100];
    struct zb_err err;

    assert_int_equal(key_read("/nowhere/key", &hex, key, &err), ZB_E_NOTFOUND);
    assert_string_equal(err.msg, "there is no key file /nowhere/key");
    assert_int_equal(key_read("/", &hex, key, &err), ZB_E_REFUSED);
    if (geteuid() != 0) {
        skip();
    }
    assert_int_equal(read_file(digits, 0600, &err), ZB_OK);
    assert_int_equal(read_file(digits, 0400, &err), ZB_OK);
    assert_int_equal(read_file(digits, 0640, &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.msg, "others than root can read or write /tmp/zb-key-"));
    assert_non_null(strstr(err.hint, "chmod 600 /tmp/zb-key-"));
    assert_int_equal(read_file(digits, 0602, &err), ZB_E_REFUSED);
    assert_int_equal(read_file("", 0600, &err), ZB_E_FORMAT);
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    assert_int_equal(read_file(longest, 0600, &err), ZB_E_FORMAT);
    assert_non_null(strstr(err.msg, "it holds 514 bytes, not 64 hexadecimal digits"));
}

static enum zb_rc
check(enum zb_conf_flavour flavour, const char *name, const char *root, struct zb_err *err)
{
    struct zb_zfs_props props = {.encrypted = root[0] != '\0', .encryption_root = root};

    zb_strcopy(props.name, sizeof(props.name), name);
    return zb_keeper_flavour_check(flavour, "p/web", &props, err);
}

static void
what_a_flavour_carries(void **state)
{
    (void)state;
    const enum zb_conf_flavour plain = ZB_CONF_FLAVOUR_PLAIN, is_raw = ZB_CONF_FLAVOUR_RAW;
    struct zb_err err;

    assert_int_equal(check(plain, "p/web", "", &err), ZB_OK);
    assert_int_equal(check(plain, "p/web", "p", &err), ZB_OK); /* that is the host's matter */
    assert_int_equal(check(plain, "p/web", "p/web", &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.msg, "p/web is encrypted with a key of its own"));
    assert_non_null(strstr(err.hint, "flavour = \"raw\""));
    assert_int_equal(check(plain, "p/web/a", "p/web/a", &err), ZB_E_REFUSED);

    assert_int_equal(check(is_raw, "p/web", "p/web", &err), ZB_OK);
    assert_int_equal(check(is_raw, "p/web/a", "p/web", &err), ZB_OK);
    assert_int_equal(check(is_raw, "p/web", "", &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.msg, "p/web is not encrypted"));
    assert_int_equal(check(is_raw, "p/web/a", "", &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.hint, "zfs rename"));
    assert_int_equal(check(is_raw, "p/web", "p", &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.hint, "zfs change-key -o keyformat=FORMAT"));
    assert_int_equal(check(is_raw, "p/web/a", "p/web/a", &err), ZB_E_REFUSED);
    assert_string_equal(err.hint, "zfs change-key -i p/web/a");

    const struct zb_zfs_props clear = {.name = "p/web", .encryption_root = ""};
    const struct zb_zfs_props own = {
        .name = "p/web/a", .encrypted = true, .encryption_root = "p/web/a"};
    assert_int_equal(zb_keeper_copy_check(plain, &clear, &err), ZB_OK);
    assert_int_equal(zb_keeper_copy_check(is_raw, &own, &err), ZB_OK); /* as it is received */
    assert_int_equal(zb_keeper_copy_check(is_raw, &clear, &err), ZB_E_REFUSED);
    assert_string_equal(err.msg, "p/web is a copy in clear, and the service is of flavour \"raw\"");
}

/* Whatever a declaration says: its streams would be in clear. */
static void
the_mark_of_the_raw_flavour_is_never_plain(void **state)
{
    struct zb_zfs_props props = {
        .name = "p/web", .encrypted = true, .encryption_root = "p/web", .all = fnvlist_alloc()};
    nvlist_t *mark = fnvlist_alloc();
    struct zb_err err;

    (void)state;
    fnvlist_add_string(mark, "value", "raw");
    fnvlist_add_string(mark, "source", "p/web");
    fnvlist_add_nvlist(props.all, ZB_KEEPER_FLAVOUR, mark);
    assert_int_equal(zb_keeper_copy_check(ZB_CONF_FLAVOUR_PLAIN, &props, &err), ZB_E_REFUSED);
    assert_non_null(strstr(err.msg, "the service is declared \"plain\""));
    assert_int_equal(zb_keeper_copy_check(ZB_CONF_FLAVOUR_RAW, &props, &err), ZB_OK);
    fnvlist_free(mark);
    fnvlist_free(props.all);
}

/* A device is not opened to find out that it is none. */
static void
what_is_no_file_is_refused(void **state)
{
    const struct zb_zfs_key_params params = {.format = ZB_ZFS_KEY_RAW};
    uint8_t key[ZB_ZFS_KEY_SIZE];
    struct zb_err err;

    (void)state;
    assert_int_equal(key_read("/dev/zero", &params, key, &err), ZB_E_REFUSED);
    assert_string_equal(err.msg, "/dev/zero is not a file");
    assert_int_equal(key_read("/tmp", &params, key, &err), ZB_E_REFUSED);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(raw_and_hexadecimal),
        cmocka_unit_test(passphrases),
        cmocka_unit_test(files),
        cmocka_unit_test(what_a_flavour_carries),
        cmocka_unit_test(the_mark_of_the_raw_flavour_is_never_plain),
        cmocka_unit_test(what_is_no_file_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
