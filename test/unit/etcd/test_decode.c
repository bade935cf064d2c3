/* What etcd answers, and what it must not. */
#include "unit.h"

#include "etcd/internal.h"

#define HEADER                                                                                     \
    "\"header\":{\"cluster_id\":\"14841639068965178418\",\"member_id\":\"10276657743932975437\","  \
    "\"revision\":\"9\",\"raft_term\":\"3\"}"
#define PUT "{\"response_put\":{\"header\":{\"revision\":\"9\"}}}"
#define KV(key, value)                                                                             \
    "{\"key\":\"" key "\",\"create_revision\":\"2\",\"mod_revision\":\"9\",\"version\":\"3\","     \
    "\"value\":\"" value "\"}"
#define RANGE(count, kvs) "{\"response_range\":{\"count\":\"" count "\",\"kvs\":[" kvs "]}}"
#define DONE(responses) "{" HEADER ",\"succeeded\":true,\"responses\":[" responses "]}"
#define A "cy9h" /* s/a */
#define B "cy9i"

static char key_s[] = "s/", end_s[] = "s0", key_b[] = "b";

/* success: put, range of s/; failure: range of b alone. */
static const struct zb_etcd_asked asked = {
    .call = ZB_ETCD_CALL_TXN,
    .branches = {{1, {{ZB_ETCD_RANGE, key_b, NULL}}},
                 {2, {{ZB_ETCD_PUT, NULL, NULL}, {ZB_ETCD_RANGE, key_s, end_s}}}},
};

static enum zb_rc
decode(const char *body, struct zb_etcd_answer *answer)
{
    struct zb_err err;

    *answer = (struct zb_etcd_answer){0};
    return zb_etcd_answer_decode(body, strlen(body), &asked, answer, &err);
}

static void
test_success(void **state)
{
    struct zb_etcd_answer a;

    (void)state;
    assert_int_equal(decode(DONE(PUT "," RANGE("2", KV(A, "MQ==") "," KV(B, ""))), &a), ZB_OK);
    assert_true(a.succeeded);
    assert_true(a.cluster_id == 14841639068965178418u);
    assert_true(a.revision == 9 && a.raft_term == 3);
    assert_int_equal(a.kvs_count, 2);
    assert_string_equal(a.kvs[0].key, "s/a");
    assert_string_equal(a.kvs[0].value, "1");
    assert_int_equal(a.kvs[0].mod_revision, 9);
    assert_int_equal(a.kvs[1].value_size, 0);
    zb_etcd_answer_close(&a);
}

static void
test_failure(void **state)
{
    struct zb_etcd_answer a;

    (void)state;
    assert_int_equal(decode("{" HEADER ",\"responses\":[{\"response_range\":{}}]}", &a), ZB_OK);
    assert_false(a.succeeded);
    assert_int_equal(a.kvs_count, 0);
    /* What others wrote may be any bytes. */
    assert_int_equal(decode("{" HEADER ",\"responses\":[" RANGE("1", KV("Yg==", "AGH/")) "]}", &a),
                     ZB_OK);
    assert_int_equal(a.kvs[0].value_size, 3);
    assert_memory_equal(a.kvs[0].value, "\0a\xff", 4);
    zb_etcd_answer_close(&a);
}

static void
test_hostile(void **state)
{
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "\"x\"",
        "{}",
        "{" HEADER "}",
        "{" HEADER ",\"succeeded\":true}",
        DONE(PUT) "x",
        DONE(PUT),
        DONE(PUT "," PUT),
        DONE(PUT "," PUT "," PUT),
        DONE(RANGE("0", "") "," PUT),
        DONE(PUT ",null"),
        DONE(PUT ",{}"),
        DONE(PUT ",[]"),
        DONE(PUT ",{\"response_range\":null}"),
        DONE(PUT ",{\"response_range\":[]}"),
        DONE(PUT ",{\"response_range\":{},\"response_put\":{}}"),
        /* ranges: not all, more or less than said, no list */
        DONE(PUT ",{\"response_range\":{\"more\":true}}"),
        DONE(PUT ",{\"response_range\":{\"more\":1}}"),
        DONE(PUT "," RANGE("1", "")),
        DONE(PUT ",{\"response_range\":{\"kvs\":[" KV(A, "") "]}}"),
        DONE(PUT "," RANGE("2", KV(A, ""))),
        DONE(PUT "," RANGE("1", KV(A, "") "," KV(B, ""))),
        DONE(PUT ",{\"response_range\":{\"count\":\"1\",\"kvs\":{}}}"),
        DONE(PUT ",{\"response_range\":{\"count\":1,\"kvs\":[" KV(A, "") "]}}"),
        /* keys: not asked for, twice, none, no base64 */
        DONE(PUT "," RANGE("1", KV("YQ==", ""))),
        DONE(PUT "," RANGE("1", KV("czA=", ""))),
        DONE(PUT "," RANGE("1", KV("cw==", ""))),
        DONE(PUT "," RANGE("2", KV(A, "") "," KV(A, ""))),
        DONE(PUT "," RANGE("1", KV("", ""))),
        DONE(PUT "," RANGE("1", KV("cy9", ""))),
        DONE(PUT "," RANGE("1", KV("cy9\\u0000", ""))),
        DONE(PUT "," RANGE("1", KV(A, "M"))),
        DONE(PUT "," RANGE("1", "null")),
        DONE(PUT "," RANGE("1", "[]")),
        DONE(PUT "," RANGE("1", "{\"key\":\"" A "\",\"value\":1,\"create_revision\":\"2\","
                                "\"mod_revision\":\"9\"}")),
        /* revisions: none, later than the store's */
        DONE(PUT "," RANGE("1", "{\"key\":\"" A "\",\"create_revision\":\"2\"}")),
        DONE(PUT "," RANGE("1", "{\"key\":\"" A "\",\"create_revision\":\"2\","
                                "\"mod_revision\":\"10\"}")),
        /* the other branch than it says */
        "{" HEADER ",\"responses\":[" PUT "," RANGE("0", "") "]}",
        "{" HEADER ",\"succeeded\":\"true\",\"responses\":[]}",
        "{" HEADER ",\"succeeded\":true,\"succeeded\":false,\"responses\":[" RANGE("0", "") "]}",
        "{" HEADER ",\"responses\":[" RANGE("1", KV("YmE=", "")) "]}",
        "{" HEADER ",\"responses\":{}}",
    };
    struct zb_etcd_answer a;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (decode(bad[i], &a) != ZB_E_FORMAT) {
            fail_msg("taken: %s", bad[i]);
        }
        assert_null(a.kvs);
    }
}

static void
test_header(void **state)
{
    static const char *const bad[] = {"\"cluster_id\":\"0\"",
                                      "\"cluster_id\":1",
                                      "\"cluster_id\":\"-1\"",
                                      "\"cluster_id\":\"\"",
                                      "\"cluster_id\":\"01\"",
                                      "\"cluster_id\":\"18446744073709551616\"",
                                      "\"cluster_id\":\"99999999999999999999\"",
                                      "\"cluster_id\":\"1\\u0000\"",
                                      "\"cluster_id\":\"1 \"",
                                      "\"x\":1"};
    char body[256];
    struct zb_etcd_answer a;
    struct zb_etcd_asked compact = {.call = ZB_ETCD_CALL_COMPACT};
    struct zb_err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int size = snprintf(body, sizeof body,
                            "{\"header\":{%s,\"member_id\":\"1\",\"revision\":\"1\","
                            "\"raft_term\":\"1\"}}",
                            bad[i]);
        a = (struct zb_etcd_answer){0};
        assert_int_equal(zb_etcd_answer_decode(body, (size_t)size, &compact, &a, &err),
                         ZB_E_FORMAT);
    }
    int size = snprintf(body, sizeof body,
                        "{\"header\":{\"cluster_id\":\"18446744073709551615\",\"member_id\":\"1\","
                        "\"revision\":\"9223372036854775808\",\"raft_term\":\"1\"}}");
    assert_int_equal(zb_etcd_answer_decode(body, (size_t)size, &compact, &a, &err), ZB_E_FORMAT);
    assert_int_equal(
        zb_etcd_answer_decode("{" HEADER "}", sizeof "{" HEADER "}" - 1, &compact, &a, &err),
        ZB_OK);
    assert_true(a.revision == 9);
}

static void
test_login(void **state)
{
    static const char *const bad[] = {"{}",
                                      "[]",
                                      "{\"token\":1}",
                                      "{\"token\":\"\"}",
                                      "{\"token\":\"a b\"}",
                                      "{\"token\":\"a\\r\\nX: y\"}",
                                      "{\"token\":\"a\\u0000\"}",
                                      "{\"token\":\"\u00e4\"}"};
    struct zb_err err;
    char *token = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_etcd_login_decode(bad[i], strlen(bad[i]), &token, &err), ZB_E_FORMAT);
        assert_null(token);
    }
    static const char good[] = "{" HEADER ",\"token\":\"abcDEF.12\"}";
    assert_int_equal(zb_etcd_login_decode(good, sizeof good - 1, &token, &err), ZB_OK);
    assert_string_equal(token, "abcDEF.12");
    free(token);
}

#define ERROR(code, message)                                                                       \
    "{\"error\":\"" message "\",\"message\":\"" message "\",\"code\":" code "}"

static void
test_refusals(void **state)
{
    static const struct {
        long status;
        const char *body;
        enum zb_rc rc;
        bool token;
    } cases[] = {
        {503, ERROR("14", "etcdserver: request timed out"), ZB_E_CLOSED, false},
        {503, ERROR("14", "etcdserver: no leader"), ZB_E_CLOSED, false},
        {500, ERROR("2", "context deadline exceeded"), ZB_E_CLOSED, false},
        {429, ERROR("8", "etcdserver: mvcc: database space exceeded"), ZB_E_CLOSED, false},
        {503, ERROR("3", "x"), ZB_E_CLOSED, false},
        {400, ERROR("2", "x"), ZB_E_CLOSED, false},
        {400, ERROR("\"3\"", "x"), ZB_E_CLOSED, false},
        {400, "", ZB_E_CLOSED, false},
        {302, "", ZB_E_CLOSED, false},
        {401, ERROR("16", "etcdserver: invalid auth token"), ZB_E_AUTH, true},
        {400, ERROR("3", "etcdserver: user name is empty"), ZB_E_AUTH, true},
        {400, ERROR("3", "etcdserver: authentication failed, invalid user ID or password"),
         ZB_E_AUTH, false},
        {403, ERROR("7", "etcdserver: permission denied"), ZB_E_AUTH, false},
        {400,
         "CommonName of client sending a request against gateway will be ignored and not used "
         "as expected\n",
         ZB_E_AUTH, false},
        {400, ERROR("3", "etcdserver: duplicate key given in txn request"), ZB_E_REFUSED, false},
        {400, ERROR("11", "etcdserver: mvcc: required revision has been compacted"), ZB_E_STALE,
         false},
        {404, "404 page not found\n", ZB_E_UNSUPPORTED, false},
    };
    struct zb_etcd_refusal refusal;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        zb_etcd_refusal_decode(cases[i].status, cases[i].body, strlen(cases[i].body), &refusal);
        assert_int_equal(refusal.rc, cases[i].rc);
        assert_int_equal(refusal.token, cases[i].token);
    }
    static const char off[] = ERROR("9", "etcdserver: authentication is not enabled");
    zb_etcd_refusal_decode(400, off, sizeof off - 1, &refusal);
    assert_true(refusal.login_not_needed);
    static const char rude[] = "a\x1b[2J\xff\n";
    zb_etcd_refusal_decode(418, rude, sizeof rude - 1, &refusal);
    assert_string_equal(refusal.text, "HTTP 418: a [2J");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_success), cmocka_unit_test(test_failure),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_header),
        cmocka_unit_test(test_login),   cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
