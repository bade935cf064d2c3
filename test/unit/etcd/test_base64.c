#include "unit.h"

#include "etcd/base64.h"

static void
test_known(void **state)
{
    static const struct {
        const char *bytes, *text;
    } known[] = {{"", ""},
                 {"f", "Zg=="},
                 {"fo", "Zm8="},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg=="},
                 {"fooba", "Zm9vYmE="},
                 {"foobar", "Zm9vYmFy"}, /* RFC 4648 */
                 {"\xfb\xff\xfe", "+//+"}};
    char text[16], bytes[16];
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t size = strlen(known[i].bytes);
        zb_base64_encode(known[i].bytes, size, text);
        assert_string_equal(text, known[i].text);
        assert_int_equal(strlen(text), ZB_BASE64_LENGTH(size));
        assert_true(zb_base64_decode(text, strlen(text), bytes, &used));
        assert_int_equal(used, size);
        assert_memory_equal(bytes, known[i].bytes, size);
    }
}

static void
test_refused(void **state)
{
    static const char *const bad[] = {"Z",    "Zg",       "Zg=",   "Z===",     "====",
                                      "=Zg=", "Zh==",     "Zm9=",  "Zm-v",     "Zm_v",
                                      "Zm 9", "Zg==Zg==", "Zm9vZ", "Zm9v\nZm9"};
    char bytes[16];
    size_t used;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_base64_decode(bad[i], strlen(bad[i]), bytes, &used));
    }
    assert_false(zb_base64_decode("Zm\0v", 4, bytes, &used));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
