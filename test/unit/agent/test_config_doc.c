/* agent/config_doc.h: certificates of nodes. */
#include "unit.h"

#include "agent/config_doc.h"

#define PIN_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define PIN_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define DOC(pins)                                                                                  \
    "{\"cluster\":\"test\",\"nodes\":[{\"address\":\"127.0.0.1:1\"," pins "}],"                    \
    "\"services\":\"\",\"version\":\"2\"}"

static void
a_node_may_have_two_certificates(void **state)
{
    const char *text = DOC("\"fingerprint\":\"" PIN_A "\",\"name\":\"vm1\",\"next\":\"" PIN_B "\"");
    struct zb_config_doc doc = {0}, copy = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    char *again = NULL;
    struct zb_err err;
    (void)state;

    assert_int_equal(zb_config_doc_parse(text, &doc, &err), ZB_OK);
    assert_string_equal(doc.nodes[0].fingerprint, PIN_A);
    assert_string_equal(doc.nodes[0].next, PIN_B);
    assert_int_equal(zb_config_doc_copy(&copy, &doc, &err), ZB_OK);
    assert_int_equal(zb_config_doc_format(&copy, &again, hash, &err), ZB_OK);
    assert_string_equal(again, text);
    free(again);
    copy.nodes[0].next[0] = '\0';
    assert_int_equal(zb_config_doc_format(&copy, &again, hash, &err), ZB_OK);
    assert_string_equal(again, DOC("\"fingerprint\":\"" PIN_A "\",\"name\":\"vm1\""));
    free(again);
    zb_config_doc_close(&doc);
    zb_config_doc_close(&copy);
}

static void
the_next_one_is_a_certificate(void **state)
{
    const char *const bad[] = {
        DOC("\"fingerprint\":\"" PIN_A "\",\"name\":\"vm1\",\"next\":\"\""),
        DOC("\"fingerprint\":\"" PIN_A "\",\"name\":\"vm1\",\"next\":\"abc\""),
        DOC("\"fingerprint\":\"" PIN_A "\",\"name\":\"vm1\",\"next\":null"),
        DOC("\"fingerprint\":\"" PIN_A "\",\"name\":\"vm1\",\"other\":\"" PIN_B "\""),
    };
    struct zb_config_doc doc = {0};
    struct zb_err err;
    (void)state;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_config_doc_parse(bad[i], &doc, &err), ZB_E_FORMAT);
    }
}

#define TWO(more)                                                                                  \
    "{\"cluster\":\"test\"," more                                                                  \
    "\"nodes\":[{\"address\":\"127.0.0.1:1\",\"drained\":{\"time\":5,"                             \
    "\"who\":\"root@vm1\"},\"fingerprint\":\"\",\"name\":\"vm1\"}],\"services\":\"service web "    \
    "{ members = {vm1} leader = vm1 mountpoint = \\\"/srv\\\" }\",\"version\":\"2\"}"
#define FAILED(node)                                                                               \
    "\"failed\":[{\"node\":\"" node                                                                \
    "\",\"service\":\"web\",\"term\":\"7\",\"time\":6,\"times\":2,"                                \
    "\"why\":\"no\"}],"

static void
who_is_drained_and_what_failed_stand_in_it(void **state)
{
    struct zb_config_doc doc = {0}, copy = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    char *again = NULL;
    struct zb_err err;
    (void)state;

    assert_int_equal(zb_config_doc_parse(TWO(FAILED("vm1")), &doc, &err), ZB_OK);
    assert_true(zb_drained_is(&doc.nodes[0].drained));
    assert_int_equal(zb_config_doc_copy(&copy, &doc, &err), ZB_OK);
    assert_int_equal(zb_config_doc_format(&copy, &again, hash, &err), ZB_OK);
    assert_string_equal(again, TWO(FAILED("vm1")));
    free(again);
    assert_int_equal(zb_config_doc_services_set(&copy, "", "x", &err), ZB_OK);
    assert_int_equal(copy.failed.count, 0); /* it is no service any more */
    zb_config_doc_close(&doc);
    zb_config_doc_close(&copy);
    assert_int_equal(zb_config_doc_parse(TWO(FAILED("vm2")), &doc, &err), ZB_E_FORMAT);
    assert_int_equal(zb_config_doc_parse(TWO("\"failed\":[],"), &doc, &err), ZB_E_FORMAT);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_may_have_two_certificates),
        cmocka_unit_test(the_next_one_is_a_certificate),
        cmocka_unit_test(who_is_drained_and_what_failed_stand_in_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
