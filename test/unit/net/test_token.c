#include "unit.h"

#include "net/base64url.h"
#include "net/token.h"

static const struct zb_wall now = {1795329600};

static void
token_fill(struct zb_token *token)
{
    memset(token, 0, sizeof *token);
    zb_strcopy(token->cluster_id, sizeof token->cluster_id, "11111111-2222-4333-8444-555555555555");
    zb_strcopy(token->address, sizeof token->address, "[fd00::1]:7979");
    memset(token->ca_fingerprint, 'a', ZB_FINGERPRINT_SIZE - 1);
    token->expires.s = now.s + 3600;
}

static void
test_round_trip(void **state)
{
    struct zb_token made, found;
    struct zb_token_record record;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE], padded[ZB_TOKEN_TEXT_SIZE + 8];
    (void)state;
    token_fill(&made);
    assert_int_equal(zb_token_create(&made, text, &record, &err), ZB_OK);
    assert_memory_equal(text, "zbt1.", 5);
    (void)snprintf(padded, sizeof padded, "  %s\r\n", text);
    assert_int_equal(zb_token_parse(padded, now, &found, &err), ZB_OK);
    assert_memory_equal(&found, &made, sizeof made);
    assert_string_equal(record.id, made.id);
    assert_int_equal(record.expires.s, made.expires.s);
    assert_false(record.used);
    assert_memory_not_equal(record.verifier, made.secret, sizeof made.secret);
    zb_token_close(&found);
    assert_string_equal(found.id, "");
}

static void
test_expired(void **state)
{
    struct zb_token made, found;
    struct zb_token_record record;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE];
    (void)state;
    token_fill(&made);
    assert_int_equal(zb_token_create(&made, text, &record, &err), ZB_OK);
    struct zb_wall late = made.expires;
    assert_int_equal(zb_token_parse(text, late, &found, &err), ZB_E_STALE);
    assert_non_null(strstr(err.msg, "token: expired 2026-11-22T"));
    assert_string_not_equal(err.hint, "");
    late.s--;
    assert_int_equal(zb_token_parse(text, late, &found, &err), ZB_OK);
}

static void
parse_fails(const char *text, enum zb_rc rc)
{
    struct zb_token found;
    struct zb_err err;
    enum zb_rc got = zb_token_parse(text, now, &found, &err);
    if (got != rc) {
        fail_msg("\"%.60s\": %s instead of %s", text, zb_rc_word(got), zb_rc_word(rc));
    }
}

static void
json_fails(const char *json)
{
    char text[ZB_TOKEN_TEXT_SIZE] = "zbt1.";
    zb_base64url_encode((const uint8_t *)json, strlen(json), text + 5);
    parse_fails(text, ZB_E_FORMAT);
}

#define FP "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define CLUSTER "\"cluster\":\"11111111-2222-4333-8444-555555555555\","

static void
test_malformed(void **state)
{
    (void)state;
    parse_fails("", ZB_E_FORMAT);
    parse_fails("hello", ZB_E_FORMAT);
    parse_fails("zbt2.abcd", ZB_E_VERSION);
    parse_fails("zbt1.", ZB_E_FORMAT);
    parse_fails("zbt1.!!!!", ZB_E_FORMAT);
    parse_fails("zbt1.abcd efgh", ZB_E_FORMAT);
    json_fails("{}");
    json_fails("{" CLUSTER "\"address\":\"vm1:7979\",\"ca_fp\":\"" FP
               "\",\"id\":\"0123456789abcdef\","
               "\"secret\":\"" FP "\",\"expires\":9999999999}");
    json_fails("{" CLUSTER "\"address\":\"1.2.3.4:5\",\"ca_fp\":\"" FP
               "\",\"id\":\"0123456789abcdeX\","
               "\"secret\":\"" FP "\",\"expires\":9999999999}");
    json_fails("{" CLUSTER "\"address\":\"1.2.3.4:5\",\"ca_fp\":\"" FP
               "\",\"id\":\"0123456789abcdef\","
               "\"secret\":\"" FP "a\",\"expires\":9999999999}");
    json_fails("{" CLUSTER "\"address\":\"1.2.3.4:5\",\"ca_fp\":\"" FP
               "\",\"id\":\"0123456789abcdef\","
               "\"secret\":\"" FP "\",\"expires\":9999999999,\"more\":1}");
    char longer[2000];
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    memcpy(longer, "zbt1.", 5);
    parse_fails(longer, ZB_E_LIMIT);
}

static void
test_cut_off(void **state)
{
    struct zb_token made, found;
    struct zb_token_record record;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE];
    (void)state;
    token_fill(&made);
    assert_int_equal(zb_token_create(&made, text, &record, &err), ZB_OK);
    for (size_t length = strlen(text) - 1; length > 5; length--) {
        text[length] = '\0';
        assert_int_equal(zb_token_parse(text, now, &found, &err), ZB_E_FORMAT);
    }
}

static void
test_create_checks(void **state)
{
    struct zb_token token;
    struct zb_token_record record;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE];
    (void)state;
    token_fill(&token);
    zb_strcopy(token.address, sizeof token.address, "vm1:7979");
    assert_int_equal(zb_token_create(&token, text, &record, &err), ZB_E_USAGE);
    assert_string_equal(err.msg, "make a token: bad address");
}

static void
test_proof(void **state)
{
    struct zb_token token;
    struct zb_token_record record, other_record;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE];
    struct zb_join_request request = {
        .node = "vm4", .address = "10.0.0.4:7979", .csr_pem = "csr", .binding = {1, 2, 3}};
    (void)state;
    token_fill(&token);
    assert_int_equal(zb_token_create(&token, text, &other_record, &err), ZB_OK);
    token_fill(&token);
    assert_int_equal(zb_token_create(&token, text, &record, &err), ZB_OK);
    zb_strcopy(request.token_id, sizeof request.token_id, token.id);
    zb_join_request_sign(&request, &token);
    assert_int_equal(zb_join_request_verify(&request, &record, now, &err), ZB_OK);

    assert_int_equal(zb_join_request_verify(&request, NULL, now, &err), ZB_E_NOTFOUND);
    assert_int_equal(zb_join_request_verify(&request, &other_record, now, &err), ZB_E_NOTFOUND);
    assert_int_equal(zb_join_request_verify(&request, &record, record.expires, &err), ZB_E_STALE);
    record.used = true;
    assert_int_equal(zb_join_request_verify(&request, &record, now, &err), ZB_E_REFUSED);
    assert_string_equal(err.msg, "token: used before");
    record.used = false;

    struct zb_join_request changed = request;
    changed.binding[0] ^= 1; /* relayed over another connection */
    assert_int_equal(zb_join_request_verify(&changed, &record, now, &err), ZB_E_AUTH);
    changed = request;
    changed.csr_pem = "another csr";
    assert_int_equal(zb_join_request_verify(&changed, &record, now, &err), ZB_E_AUTH);
    changed = request;
    zb_strcopy(changed.node, sizeof changed.node, "vm5");
    assert_int_equal(zb_join_request_verify(&changed, &record, now, &err), ZB_E_AUTH);
    changed = request;
    zb_strcopy(changed.address, sizeof changed.address, "10.0.0.5:7979");
    assert_int_equal(zb_join_request_verify(&changed, &record, now, &err), ZB_E_AUTH);
    changed = request;
    changed.proof[7] ^= 1;
    assert_int_equal(zb_join_request_verify(&changed, &record, now, &err), ZB_E_AUTH);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),    cmocka_unit_test(test_expired),
        cmocka_unit_test(test_malformed),     cmocka_unit_test(test_cut_off),
        cmocka_unit_test(test_create_checks), cmocka_unit_test(test_proof),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
