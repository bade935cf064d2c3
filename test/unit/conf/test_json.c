#include "unit.h"

#include "conf/service.h"

#define START                                                                                      \
    "{\"name\":\"web\",\"members\":[\"vm1\"],\"leader\":\"vm1\",\"mountpoint\":\"/srv/web\""

static const char full[] =
    "{\"name\":\"web\",\"members\":[\"vm1\",\"vm2\"],\"backups\":[\"b1\"],\"leader\":\"vm1\","
    "\"mountpoint\":\"/srv/"
    "web\",\"flavour\":\"plain\",\"failover\":\"manual\",\"interval\":\"10s\",\"idle-interval\":"
    "\"5m\",\"idle-written\":"
    "\"1M\",\"keep\":\"7\",\"catch-up\":\"1000\","
    "\"foreign-grace\":\"7d\","
    "\"send-limit\":\"10M\","
    "\"quota\":\"10G\","
    "\"runner\":\"command\",\"start\":\"s \\\"a\\\\\\\" b\\\"\",\"stop\":\"t\",\"check\":\"c\","
    "\"start-timeout\":\"90s\",\"stop-timeout\":\"2m\",\"relocate\":\"no\",\"drill-timeout\":"
    "\"20m\"}";

static void
full_round_trip(void **state)
{
    (void)state;
    struct zb_conf_service service = {0};
    struct zb_err err;
    char *text = NULL;

    if (zb_conf_service_from_json(full, &service, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
    assert_string_equal(service.name, "web");
    assert_int_equal(service.members.count, 2);
    assert_int_equal(service.interval_ms, 10000);
    assert_int_equal(service.runner, ZB_CONF_RUNNER_COMMAND);
    assert_string_equal(service.start, "s \"a\\\" b\"");
    assert_int_equal(zb_conf_service_to_json(&service, &text, &err), ZB_OK);
    assert_string_equal(text, full);
    free(text);
}

/* Whatever order the keys come in, and with the defaults left out, the text is the same. */
static void
canonical(void **state)
{
    (void)state;
    static const char other[] =
        "{\"unit\": \"web.service\", \"runner\": \"systemd\", \"mountpoint\": \"/srv/web\","
        " \"backups\": [], \"leader\": \"vm1\", \"members\": [\"vm1\"], \"name\": \"web\"}";
    struct zb_conf_service service = {0};
    struct zb_err err;
    char *text = NULL;

    assert_int_equal(zb_conf_service_from_json(other, &service, &err), ZB_OK);
    assert_int_equal(zb_conf_service_to_json(&service, &text, &err), ZB_OK);
    assert_string_equal(text, START
                        ",\"flavour\":\"plain\",\"failover\":\"manual\","
                        "\"interval\":\"30s\",\"keep\":\"24\","
                        "\"catch-up\":\"1000\",\"foreign-grace\":\"7d\",\"runner\":\"systemd\","
                        "\"unit\":\"web.service\",\"start-timeout\":\"1m\","
                        "\"stop-timeout\":\"1m\",\"relocate\":\"no\",\"drill-timeout\":\"10m\"}");
    free(text);
}

static void
hostile_texts(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *msg; /* behind "service as JSON: " */
    } cases[] = {
        {"[]", "not an object"},
        {"{}", "name: expected the name of a service"},
        {"{\"name\":7}", "name: expected the name of a service"},
        {"{\"name\":\"../x\"}", "name: expected the name of a service"},
        {"{\"name\":\"web\"}", "members is missing"},
        {START ",\"extra\":\"1\"}", "unknown key 'extra'"},
        {START ",\"keep\":7}", "keep: expected a string"},
        {START ",\"keep\":null}", "keep: expected a string"},
        {START ",\"keep\":[\"7\"]}", "keep: expected a string"},
        {START ",\"keep\":\"1\"}", "keep: expected a number from 2 to 10000, not \"1\""},
        {START ",\"backups\":\"b1\"}", "backups: expected an array of strings"},
        {START ",\"backups\":[1]}", "backups: expected an array of strings"},
        {START ",\"backups\":[\"vm1\"]}", "vm1 is both a member and a backup"},
        {START ",\"backups\":[\"B\"]}",
         "backups: expected names of nodes (a-z, 0-9, -), not \"B\""},
        {START ",\"backups\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\"]}",
         "10 members and backups, at most 9"},
        {START ",\"backups\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"a\"]}",
         "backups: 10 nodes, at most 9"},
        {START ",\"runner\":\"systemd\"}", "unit is missing"},
        {START ",\"runner\":\"command\",\"start\":\"/bin/sh\"}",
         "start: expected the name of a program in commands-dir and its arguments (no path, no "
         "shell), not \"/bin/sh\""},
        {START ",\"runner\":\"command\",\"start\":\"\"}",
         "start: expected the name of a program in commands-dir and its arguments (no path, no "
         "shell), not \"\""},
        {START ",\"start\":\"s\"}", "start is not for runner \"none\""},
        {START ",\"leader\":\"vm1\"}", "duplicate object key near '\"leader\"'"},
        {"{\"name\":\"web\",\"members\":[],\"leader\":\"vm1\",\"mountpoint\":\"/a\"}",
         "members: at least one is needed"},
        {"{\"name\":\"web\",\"members\":[\"a\",\"a\"],\"leader\":\"a\",\"mountpoint\":\"/a\"}",
         "members: a is named twice"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct zb_conf_service service = {.name = "untouched"};
        struct zb_err err;
        char expected[512];
        assert_int_not_equal(zb_conf_service_from_json(cases[i].text, &service, &err), ZB_OK);
        (void)snprintf(expected, sizeof expected, "service as JSON: %s", cases[i].msg);
        assert_string_equal(err.msg, expected);
        assert_string_equal(service.name, "untouched");
    }
}

static void
long_texts_and_every_truncation(void **state)
{
    (void)state;
    struct zb_conf_service service;
    struct zb_err err;
    char *text = calloc(1, 65538);

    assert_non_null(text);
    memset(text, ' ', 65537);
    assert_int_equal(zb_conf_service_from_json(text, &service, &err), ZB_E_LIMIT);
    assert_string_equal(err.msg, "service as JSON: longer than 65536 bytes");
    for (size_t size = 0; size < sizeof full - 1; size++) {
        memcpy(text, full, size);
        text[size] = '\0';
        assert_int_equal(zb_conf_service_from_json(text, &service, &err), ZB_E_FORMAT);
    }
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(full_round_trip),
        cmocka_unit_test(canonical),
        cmocka_unit_test(hostile_texts),
        cmocka_unit_test(long_texts_and_every_truncation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
