/* Freezes, and the configuration that has them. */
#include "unit.h"

#include "agent/config_doc.h"

#define NODE(name) "{\"address\":\"127.0.0.1:1\",\"fingerprint\":\"\",\"name\":\"" name "\"}"
#define SERVICE(name)                                                                              \
    "service " name " {\\n members = { vm1 }\\n leader = vm1\\n mountpoint = \\\"/" name           \
    "\\\"\\n}\\n"
#define DOC(freezes, services)                                                                     \
    "{\"cluster\":\"test\"," freezes "\"nodes\":[" NODE("vm1") "],\"services\":\"" services        \
                                                               "\",\"version\":\"2\"}"
#define FREEZE(service, reason)                                                                    \
    "{\"reason\":\"" reason "\",\"service\":\"" service                                            \
    "\",\"time\":1795329660,\"who\":\"root@vm1\"}"
#define TWO SERVICE("db") SERVICE("web")

static void
reasons_are_one_line_that_says_something(void **state)
{
    static const char *const good[] = {"x", "kernel upgrade", " x ", "\xc3\xa4\xe2\x82\xac",
                                       "\xf0\x9f\xa7\x8a"};
    static const char *const bad[] = {
        "",         "   ",  "a\nb", "a\tb",     "\x1b[2J",  "\x7f",
        "\xc2\x9b", "\xff", "\xc3", "\xc0\x80", "\xed\xa0", "\xf5\x80\x80\x80",
    };
    struct zb_err err;
    char text[ZB_FREEZE_REASON_SIZE + 1];
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        assert_int_equal(zb_freeze_reason_check(good[i], &err), ZB_OK);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_freeze_reason_check(bad[i], &err), ZB_E_USAGE);
    }
    memset(text, 'x', sizeof text);
    text[ZB_FREEZE_REASON_SIZE] = '\0';
    assert_int_equal(zb_freeze_reason_check(text, &err), ZB_E_USAGE);
    text[ZB_FREEZE_REASON_SIZE - 1] = '\0';
    assert_int_equal(zb_freeze_reason_check(text, &err), ZB_OK);
}

static void
put(struct zb_freezes *f, const char *service, const char *reason)
{
    struct zb_freeze one = {.since.s = 60};
    zb_strcopy(one.service, sizeof one.service, service);
    zb_strcopy(one.reason, sizeof one.reason, reason);
    zb_strcopy(one.who, sizeof one.who, "root@vm1");
    zb_freezes_put(f, &one);
}

static void
a_service_is_frozen_for_one_reason(void **state)
{
    struct zb_freezes f = {0}, copy = {0};
    char text[ZB_FREEZE_SAY_SIZE];
    (void)state;
    put(&f, "web", "one");
    put(&f, "db", "two");
    put(&f, "mail", "three");
    put(&f, "web", "four");
    assert_int_equal(f.count, 3);
    assert_string_equal(f.items[0].service, "db");
    assert_string_equal(f.items[2].service, "web");
    zb_freeze_say(zb_freezes_find(&f, "web"), text);
    assert_string_equal(text, "frozen by root@vm1 since 1970-01-01T00:01:00Z: four");
    zb_freezes_copy(&copy, &f);
    assert_true(zb_freezes_remove(&f, "mail"));
    assert_false(zb_freezes_remove(&f, "mail"));
    assert_null(zb_freezes_find(&f, "mail"));
    assert_non_null(zb_freezes_find(&f, "db"));
    assert_non_null(zb_freezes_find(&copy, "mail"));
    zb_freezes_close(&f);
    zb_freezes_close(&copy);
}

static void
parse_ok(const char *text, struct zb_config_doc *doc)
{
    struct zb_err err;
    if (zb_config_doc_parse(text, doc, &err) != ZB_OK) {
        fail_msg("%s: %s", err.msg, text);
    }
}

/* Without any the text is what it always was. */
static void
the_configuration_says_who_is_frozen(void **state)
{
    static const char text[] =
        DOC("\"freezes\":[" FREEZE("db", "one") "," FREEZE("web", "two") "],", TWO);
    struct zb_config_doc doc = {0}, copy = {0};
    char hash[2][ZB_CONFIG_HASH_SIZE];
    char *formatted = NULL;
    struct zb_err err;
    (void)state;
    parse_ok(text, &doc);
    assert_int_equal(zb_config_doc_copy(&copy, &doc, &err), ZB_OK);
    zb_config_doc_close(&doc);
    assert_string_equal(zb_freezes_find(&copy.freezes, "web")->reason, "two");
    assert_int_equal(zb_config_doc_format(&copy, &formatted, hash[0], &err), ZB_OK);
    assert_string_equal(formatted, text);
    free(formatted);
    assert_true(zb_freezes_remove(&copy.freezes, "web"));
    assert_true(zb_freezes_remove(&copy.freezes, "db"));
    assert_int_equal(zb_config_doc_format(&copy, &formatted, hash[1], &err), ZB_OK);
    assert_string_equal(formatted, DOC("", TWO));
    assert_string_not_equal(hash[0], hash[1]);
    free(formatted);
    zb_config_doc_close(&copy);
}

/* apply: what stays declared stays frozen, what is withdrawn does not. */
static void
withdrawn_is_not_frozen_any_more(void **state)
{
    struct zb_config_doc doc = {0};
    struct zb_err err;
    (void)state;
    parse_ok(DOC("\"freezes\":[" FREEZE("db", "one") "," FREEZE("web", "two") "],", TWO), &doc);
    assert_int_equal(
        zb_config_doc_services_set(
            &doc, "service web {\n members = { vm1 }\n leader = vm1\n mountpoint = \"/w\"\n}\n",
            "test", &err),
        ZB_OK);
    assert_int_equal(doc.freezes.count, 1);
    assert_string_equal(doc.freezes.items[0].service, "web");
    zb_config_doc_close(&doc);
}

static void
what_is_no_list_of_freezes_is_refused(void **state)
{
    static const char *const bad[] = {
        DOC("\"freezes\":[],", TWO), /* not canonical */
        DOC("\"freezes\":{},", TWO),
        DOC("\"freezes\":[7],", TWO),
        DOC("\"freezes\":[" FREEZE("mail", "one") "],", TWO),
        DOC("\"freezes\":[" FREEZE("web", "one") "," FREEZE("db", "two") "],", TWO),
        DOC("\"freezes\":[" FREEZE("web", "one") "," FREEZE("web", "two") "],", TWO),
        DOC("\"freezes\":[" FREEZE("web", "") "],", TWO),
        DOC("\"freezes\":[" FREEZE("web", "a\\nb") "],", TWO),
        DOC("\"freezes\":[{\"reason\":\"x\",\"service\":\"web\",\"time\":-1,\"who\":\"x\"}],", TWO),
        DOC("\"freezes\":[{\"reason\":\"x\",\"service\":\"web\",\"time\":1}],", TWO),
        DOC("\"freezes\":[{\"more\":1,\"reason\":\"x\",\"service\":\"web\",\"time\":1,\"who\":"
            "\"x\"}],",
            TWO),
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct zb_config_doc doc = {0};
        struct zb_err err;
        if (zb_config_doc_parse(bad[i], &doc, &err) != ZB_E_FORMAT) {
            fail_msg("taken: %s", bad[i]);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reasons_are_one_line_that_says_something),
        cmocka_unit_test(a_service_is_frozen_for_one_reason),
        cmocka_unit_test(the_configuration_says_who_is_frozen),
        cmocka_unit_test(withdrawn_is_not_frozen_any_more),
        cmocka_unit_test(what_is_no_list_of_freezes_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
