#include "unit.h"

#include <unistd.h>

#include "net/socket.h"

static void
test_addresses(void **state)
{
    static const char *const good[] = {"10.77.0.1:7979", "[fd00::1]:7979", "0.0.0.0:0",
                                       "[::]:65535"};
    static const char *const bad[] = {
        "",           "10.77.0.1",    "10.77.0.1:",   "10.77.0.1:65536",
        "vm1:7979",   "fd00::1:7979", "[fd00::1]",    "[10.77.0.1]:1",
        "1.2.3.4:+5", "1.2.3.4: 5",   "[fd00::1]x:1", "[:1"};
    struct zb_socket_address address;
    struct zb_err err;
    char text[ZB_ADDRESS_SIZE];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(zb_socket_address_parse(good[i], &address, &err), ZB_OK);
        zb_socket_address_format(&address, text);
        assert_string_equal(text, good[i]);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (zb_socket_address_parse(bad[i], &address, &err) != ZB_E_USAGE) {
            fail_msg("\"%s\" was taken", bad[i]);
        }
    }
    assert_true(zb_socket_address_valid("10.77.0.1:7979"));
    assert_false(zb_socket_address_valid("10.77.0.1:0"));
    assert_false(zb_socket_address_valid("10.77.0.1:00"));
    assert_int_equal(zb_socket_address_parse("[::ffff:10.0.0.1]:5", &address, &err), ZB_OK);
    zb_socket_address_format(&address, text);
    assert_string_equal(text, "10.0.0.1:5");
}

static void
test_listen_twice(void **state)
{
    struct zb_socket_address address;
    struct zb_err err;
    int first, second;
    (void)state;
    assert_int_equal(zb_socket_address_parse("127.0.0.1:0", &address, &err), ZB_OK);
    assert_int_equal(zb_socket_listen(&address, &first, &err), ZB_OK);
    assert_int_equal(zb_socket_local(first, &address, &err), ZB_OK);
    assert_int_equal(zb_socket_listen(&address, &second, &err), ZB_E_SYS);
    assert_non_null(strstr(err.msg, "listen on 127.0.0.1:"));
    close(first);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_listen_twice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
