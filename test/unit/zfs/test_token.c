#include "unit.h"

#include "zfs/zfs.h"

/* Written by OpenZFS 2.3.2 for a full stream of zta/t/x@a. */
static const char real[] =
    "1-e216840e8-f0-"
    "789c636064000310a500c4ec50360710e72765a52697303030419460caa7a515a796806464e0f26c"
    "48f2499525a9c540da43460eabfe92fcf4d2cc140606fd595f7ebd6de5e9d74092e704cbe725e6a63230549524ea97"
    "e8"
    "57382442dd2101d50f73776a6e526a4a7e36d87c6e24f1e4fcdc82a2d4e262a0141c000085b01d38";

static void
reads_what_zfs_wrote(void **state)
{
    (void)state;
    struct zb_err err;
    struct zb_zfs_token t;
    assert_int_equal(zb_zfs_token_decode(real, &t, &err), ZB_OK);
    assert_true(t.toguid == 0x8f0c85edfaf49a2f);
    assert_true(t.fromguid == 0);
    assert_int_equal(t.object, 2);
    assert_int_equal(t.offset, 0x1c0000);
    assert_int_equal(t.bytes, 0x1e1c48);
    assert_false(t.raw);
    assert_string_equal(t.toname, "zta/t/x@a");
}

static void
refuses(const char *text)
{
    struct zb_err err;
    struct zb_zfs_token t = {.object = 7};
    assert_int_equal(zb_zfs_token_decode(text, &t, &err), ZB_E_FORMAT);
    assert_int_equal(t.object, 7);
}

static void
refuses_every_shorter_one(void **state)
{
    (void)state;
    for (size_t n = 0; n < sizeof real - 1; n++) {
        char cut[sizeof real];
        memcpy(cut, real, n);
        cut[n] = '\0';
        refuses(cut);
    }
}

static void
refuses_every_changed_digit(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof real - 1; i++) {
        char changed[sizeof real];
        memcpy(changed, real, sizeof real);
        changed[i] = changed[i] == '0' ? '1' : '0';
        refuses(changed);
    }
}

static void
refuses_what_is_none(void **state)
{
    (void)state;
    refuses("");
    refuses("-");
    refuses("2-e216840e8-f0-789c");
    refuses("1-0-0-00");
    refuses("1-0-10-");
    refuses("1-0-ffffffff-00");
    refuses("1-0-10-zz");
    /* Longer than any. */
    char *big = malloc(100001);
    memset(big, '0', 100000);
    memcpy(big, "1-0-10-", 7);
    big[100000] = '\0';
    refuses(big);
    free(big);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_zfs_wrote),
        cmocka_unit_test(refuses_every_shorter_one),
        cmocka_unit_test(refuses_every_changed_digit),
        cmocka_unit_test(refuses_what_is_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
