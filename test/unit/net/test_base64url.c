#include "unit.h"

#include "net/base64url.h"

static void
test_known(void **state)
{
    static const struct {
        const char *bytes, *text;
    } known[] = {{"", ""},
                 {"f", "Zg"},
                 {"fo", "Zm8"},
                 {"foo", "Zm9v"},
                 {"foob", "Zm9vYg"},
                 {"fooba", "Zm9vYmE"},
                 {"foobar", "Zm9vYmFy"}, /* RFC 4648 */
                 {"\xfb\xff\xfe", "-__-"}};
    char text[16];
    uint8_t bytes[16];
    size_t used;
    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        size_t size = strlen(known[i].bytes);
        zb_base64url_encode((const uint8_t *)known[i].bytes, size, text);
        assert_string_equal(text, known[i].text);
        assert_int_equal(strlen(text), ZB_BASE64URL_LENGTH(size));
        assert_true(zb_base64url_decode(text, strlen(text), bytes, sizeof bytes, &used));
        assert_int_equal(used, size);
        assert_memory_equal(bytes, known[i].bytes, size);
    }
}

static void
test_refused(void **state)
{
    static const char *const bad[] = {"Z", "Zm9v=", "Zm 9", "Zm+v", "Zm/v", "Zh", "Zm9", "Zm9vY"};
    uint8_t bytes[16];
    size_t used;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(zb_base64url_decode(bad[i], strlen(bad[i]), bytes, sizeof bytes, &used));
    }
    assert_false(zb_base64url_decode("Zm9v", 4, bytes, 2, &used)); /* no room */
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
