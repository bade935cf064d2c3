#include "unit.h"

#include "conf/value.h"

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))

static void
durations(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        uint64_t ms;
        const char *again;
    } good[] = {
        {"30s", 30000, "30s"},   {"500ms", 500, "500ms"}, {"60s", 60000, "1m"},
        {"90m", 5400000, "90m"}, {"24h", 86400000, "1d"}, {"2d", 172800000, "2d"},
        {"0s", 0, "0ms"},        {"007s", 7000, "7s"},    {"1500ms", 1500, "1500ms"},
    };
    static const char *const bad[] = {"",
                                      "30",
                                      "s",
                                      "-1s",
                                      "1.5s",
                                      "30 s",
                                      " 30s",
                                      "30S",
                                      "30sec",
                                      "99999999999999999999s",
                                      "9999999999999999999h",
                                      "+5s"};

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        uint64_t ms = 1;
        char text[ZB_CONF_NUMBER_SIZE];
        assert_true(zb_conf_duration_parse(good[i].text, &ms));
        assert_int_equal(ms, good[i].ms);
        zb_conf_duration_format(ms, text);
        assert_string_equal(text, good[i].again);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        uint64_t ms;
        assert_false(zb_conf_duration_parse(bad[i], &ms));
    }
}

static void
sizes(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    char text[ZB_CONF_NUMBER_SIZE];

    assert_true(zb_conf_size_parse("10G", &bytes));
    assert_true(bytes == UINT64_C(10) << 30);
    zb_conf_size_format(bytes, text);
    assert_string_equal(text, "10G");
    assert_true(zb_conf_size_parse("1537", &bytes));
    zb_conf_size_format(bytes, text);
    assert_string_equal(text, "1537");
    assert_true(zb_conf_size_parse("2048K", &bytes));
    zb_conf_size_format(bytes, text);
    assert_string_equal(text, "2M");
    assert_false(zb_conf_size_parse("10g", &bytes));
    assert_false(zb_conf_size_parse("10GB", &bytes));
    assert_false(zb_conf_size_parse("16384P", &bytes)); /* 2^64 */
    assert_true(zb_conf_count_parse("24", &bytes));
    assert_false(zb_conf_count_parse("24K", &bytes));
}

static void
paths(void **state)
{
    (void)state;
    static const char *const good[] = {"/srv", "/srv/web", "/a.b/..c", "/a b"};
    static const char *const bad[] = {"",      "/",     "srv",     "/srv/", "//srv", "/a//b",
                                      "/a/..", "/../a", "/a/./b",  "/a\nb", "/${A}", "/\xc3\xa4",
                                      "/.",    "/..",   "/a/../b", "./a"};

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(zb_conf_path_valid(good[i]));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(zb_conf_path_valid(bad[i]));
    }
    assert_true(zb_conf_paths_overlap("/srv", "/srv"));
    assert_true(zb_conf_paths_overlap("/srv", "/srv/web"));
    assert_true(zb_conf_paths_overlap("/srv/web/a", "/srv/web"));
    assert_false(zb_conf_paths_overlap("/srv/web", "/srv/web2"));
    assert_false(zb_conf_paths_overlap("/srv/a", "/srv/b"));
}

static void
commands_and_units(void **state)
{
    (void)state;
    static const char *const good[] = {"start",    "redis-start 6379", "a 'b c' \"d \\\" e\"",
                                       "a it\\'s", "a $HOME | b > c",  "a '\\' b"};
    static const char *const bad[] = {"",        " start", "/bin/sh", "./start",  "-x",
                                      ".hidden", "a 'b",   "a \"b",   "a \"\\\"", "a \\",
                                      "a\tb",    "a\nb",   "a ${B}",  "a;b",      "'a' b"};

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(zb_conf_command_valid(good[i]));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(zb_conf_command_valid(bad[i]));
    }
    assert_true(zb_conf_unit_valid("web.service"));
    assert_true(zb_conf_unit_valid("web@a\\x2db:1.service"));
    assert_false(zb_conf_unit_valid("web"));
    assert_false(zb_conf_unit_valid("web.socket"));
    assert_false(zb_conf_unit_valid(".service"));
    assert_false(zb_conf_unit_valid("-web.service"));
    assert_false(zb_conf_unit_valid("../web.service"));
    assert_false(zb_conf_unit_valid("web.service x"));
}

static void
addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"10.77.0.1:7979", "[fd00::1]:7979", "0.0.0.0:1",
                                       "[::]:65535"};
    static const char *const bad[] = {"",
                                      "10.77.0.1",
                                      "10.77.0.1:",
                                      "10.77.0.1:0",
                                      "vm1:7979",
                                      "10.77.0.1:65536",
                                      "fd00::1:7979",
                                      "[fd00::1]",
                                      "[fd00::1:7979",
                                      "[10.77.0.1]:7979",
                                      ":7979",
                                      "10.77.0.256:1",
                                      "10.77.0.1:7979x",
                                      "10.77.0.1:07979",
                                      "[]:7979"};

    for (size_t i = 0; i < COUNT_OF(good); i++) {
        assert_true(zb_conf_address_valid(good[i]));
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        assert_false(zb_conf_address_valid(bad[i]));
    }
}

static void
suggestions(void **state)
{
    (void)state;
    static const char *const words[] = {"members", "backups", "leader", "keep"};

    assert_string_equal(zb_conf_suggest("member", words, 4), "members");
    assert_string_equal(zb_conf_suggest("laeder", words, 4), "leader");
    assert_string_equal(zb_conf_suggest("kep", words, 4), "keep");
    assert_null(zb_conf_suggest("mountpoint", words, 4));
    assert_null(zb_conf_suggest("x", words, 4));
    assert_null(zb_conf_suggest("mmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmmm", words, 4));
    assert_null(zb_conf_suggest("members", words, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(durations), cmocka_unit_test(sizes),
        cmocka_unit_test(paths),     cmocka_unit_test(commands_and_units),
        cmocka_unit_test(addresses), cmocka_unit_test(suggestions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
