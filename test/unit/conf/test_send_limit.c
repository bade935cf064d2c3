#include "unit.h"

#include "conf/node.h"
#include "conf/send_limit.h"

#define MIB (UINT64_C(1) << 20)
#define HEAD "node = vm1\nroot = tank\nlisten = \"10.0.0.1:1\"\n"

static void
forms(void **state)
{
    (void)state;
    static const char *const good[] = {
        "08:00-18:00 5M",
        "00:00-24:00 64K",
        "22:00-06:00 none, 06:00-22:00 1T",
        "22:00-00:00 1048576,00:00-06:00 none",
        "  08:00-09:00   5M  ,  09:00-10:00 none  ",
    };
    static const char *const bad[] = {
        "",
        " ",
        "5M",
        "08:00-18:00",
        "08:00-18:00 ",
        "08:00-18:00 5M,",
        "08:00-18:00 5M, ",
        "08:00-18:00 5M 6M",
        "08:00-18:00 5M 19:00-20:00 5M",
        "08:00-18:00 5M; 19:00-20:00 5M",
        "08:00 - 18:00 5M",
        "8:00-18:00 5M",
        "08:00-18:60 5M",
        "24:00-06:00 5M",
        "22:00-24:01 5M",
        "22:00-25:00 5M",
        "08:00-18:00 0",
        "08:00-18:00 63K",
        "08:00-18:00 2T",
        "08:00-18:00 no",
        "08:00-18:00 None",
        "08:00-18:00 99999999999999999999999999M",
        "08:00-18:00,5M",
        "0a:00-18:00 5M",
        "08:00-1",
    };

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        struct zb_conf_spans spans;
        struct zb_err err;
        assert_true(zb_conf_spans_valid(good[i]));
        assert_int_equal(zb_conf_spans_parse(good[i], &spans, &err), ZB_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (zb_conf_spans_valid(bad[i])) {
            fail_msg("%s", bad[i]);
        }
    }
}

static void
refused(const char *text, const char *msg)
{
    struct zb_conf_spans spans = {.count = 77};
    struct zb_err err;

    assert_true(zb_conf_spans_valid(text));
    assert_int_equal(zb_conf_spans_parse(text, &spans, &err), ZB_E_FORMAT);
    assert_string_equal(err.msg, msg);
    assert_int_equal(spans.count, 77);
}

static void
overlaps(void **state)
{
    struct zb_conf_spans spans;
    struct zb_err err;
    char many[1024] = "00:00-00:01 1M";
    (void)state;
    refused("08:00-18:00 5M, 17:59-19:00 1M", "08:00-18:00 and 17:59-19:00 overlap");
    refused("22:00-06:00 5M, 21:00-23:00 1M", "22:00-06:00 and 21:00-23:00 overlap");
    refused("22:00-06:00 5M, 23:00-01:00 1M", "22:00-06:00 and 23:00-01:00 overlap");
    refused("22:00-06:00 5M, 05:00-07:00 1M", "22:00-06:00 and 05:00-07:00 overlap");
    refused("08:00-09:00 5M, 00:00-24:00 1M", "08:00-09:00 and 00:00-24:00 overlap");
    refused("08:00-09:00 5M, 08:00-09:00 1M", "08:00-09:00 and 08:00-09:00 overlap");
    refused("12:00-11:00 5M, 10:59-11:00 1M", "12:00-11:00 and 10:59-11:00 overlap");
    refused("08:00-08:00 5M", "08:00-08:00 is empty; the whole day is 00:00-24:00");
    refused("00:00-00:00 5M", "00:00-00:00 is empty; the whole day is 00:00-24:00");
    for (unsigned i = 1; i <= ZB_CONF_SPANS_MAX; i++) {
        size_t length = strlen(many);
        (void)snprintf(many + length, sizeof many - length, ", 00:%02u-00:%02u 1M", i, i + 1);
    }
    assert_int_equal(zb_conf_spans_parse(many, &spans, &err), ZB_E_LIMIT);
    assert_int_equal(zb_conf_spans_parse("", &spans, &err), ZB_OK);
    assert_int_equal(spans.count, 0);
}

static uint64_t
limit_at(const struct zb_conf_node *conf, uint32_t clock)
{
    return zb_conf_node_send_limit(conf, zb_wall_from_utc(20260329, clock));
}

static void
by_time(void **state)
{
    struct zb_conf_node conf;
    struct zb_err err;
    (void)state;
    if (zb_conf_node_parse(HEAD "send-limit = \"50M\"\n"
                                "send-limit-at = \"08:00-18:00 5M, 22:00-06:00 none\"\n",
                           "t", &conf, &err) != ZB_OK) {
        fail_msg("%s", err.msg);
    }
    assert_int_equal(limit_at(&conf, 75959), 50 * MIB);
    assert_int_equal(limit_at(&conf, 80000), 5 * MIB);
    assert_int_equal(limit_at(&conf, 175959), 5 * MIB);
    assert_int_equal(limit_at(&conf, 180000), 50 * MIB);
    assert_int_equal(limit_at(&conf, 220000), 0);
    assert_int_equal(limit_at(&conf, 0), 0);
    assert_int_equal(limit_at(&conf, 55959), 0);
    assert_int_equal(limit_at(&conf, 60000), 50 * MIB);
    assert_int_equal(
        zb_conf_node_parse(HEAD "send-limit-at = \"00:00-24:00 1M\"\n", "t", &conf, &err), ZB_OK);
    assert_int_equal(limit_at(&conf, 235959), MIB);
    assert_int_equal(zb_conf_node_parse(HEAD, "t", &conf, &err), ZB_OK);
    assert_int_equal(limit_at(&conf, 120000), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forms),
        cmocka_unit_test(overlaps),
        cmocka_unit_test(by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
