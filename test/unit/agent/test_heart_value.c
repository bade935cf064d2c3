#include "unit.h"

#include <jansson.h>
#include <stdlib.h>

#include "agent/heart.h"

#define OWN "1111111111111111111111111111111111111111111111111111111111111111"
#define NEXT "2222222222222222222222222222222222222222222222222222222222222222"

static const struct zb_session_value alive = {.life = ZB_LIFE_ALIVE,
                                              .id = UINT64_C(0xfedcba9876543210),
                                              .nonce = 7,
                                              .timeout_ms = 20000,
                                              .fenced = true};

static char *
text_of(const struct zb_session_value *value, const char *fingerprint)
{
    json_t *json = zb_heart_value_json(value, fingerprint);
    char *text = json_dumps(json, JSON_COMPACT);

    json_decref(json);
    assert_non_null(text);
    return text;
}

static bool
parse(const char *text, struct zb_session_value *value)
{
    return zb_heart_value_parse(text, strlen(text), OWN, NEXT, value);
}

static void
what_is_written_is_read(void **state)
{
    (void)state;
    for (int life = ZB_LIFE_ALIVE; life <= ZB_LIFE_LEFT; life++) {
        struct zb_session_value value = alive, read = {0};
        value.life = (enum zb_life)life;
        char *text = text_of(&value, OWN);
        assert_true(parse(text, &read));
        assert_int_equal(read.life, value.life);
        assert_true(read.id == value.id && read.nonce == value.nonce);
        assert_int_equal(read.timeout_ms, value.timeout_ms);
        assert_true(read.fenced);
        free(text);
    }
}

/* A value of a host that had this name before says nothing of the one that has it now. */
static void
another_certificate_is_not_fenced(void **state)
{
    (void)state;
    static const struct {
        const char *fingerprint;
        bool fenced;
    } cases[] = {{OWN, true}, {NEXT, true}, {"3333", false}, {"", false}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct zb_session_value read = {0};
        char *text = text_of(&alive, cases[i].fingerprint);
        assert_true(parse(text, &read));
        assert_int_equal(read.fenced, cases[i].fenced);
        free(text);
    }
    struct zb_session_value read = {0};
    char *text = text_of(&alive, "");
    assert_true(zb_heart_value_parse(text, strlen(text), "", "", &read));
    assert_false(read.fenced);
    free(text);
}

static void
nothing_else_is_a_value(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        "[]",
        "{}",
        "{\"life\":\"alive\"}",
        "{\"life\":\"undead\",\"id\":\"00000000000000aa\",\"nonce\":\"0000000000000001\","
        "\"timeout_ms\":1,\"fenced\":true,\"fingerprint\":\"\"}",
        "{\"life\":\"dead\",\"id\":\"0000000000000000\",\"nonce\":\"0000000000000001\","
        "\"timeout_ms\":1,\"fenced\":true,\"fingerprint\":\"\"}",
        "{\"life\":\"dead\",\"id\":\"00000000000000aa\",\"nonce\":\"1\","
        "\"timeout_ms\":1,\"fenced\":true,\"fingerprint\":\"\"}",
        "{\"life\":\"dead\",\"id\":\"00000000000000aa\",\"nonce\":\"0000000000000001\","
        "\"timeout_ms\":0,\"fenced\":true,\"fingerprint\":\"\"}",
        "{\"life\":\"dead\",\"id\":\"00000000000000aa\",\"nonce\":\"0000000000000001\","
        "\"timeout_ms\":4294967297,\"fenced\":true,\"fingerprint\":\"\"}",
        "{\"life\":\"dead\",\"id\":\"00000000000000aa\",\"nonce\":\"0000000000000001\","
        "\"timeout_ms\":1,\"fenced\":\"yes\",\"fingerprint\":\"\"}",
        "{\"life\":\"dead\",\"id\":\"00000000000000aa\",\"nonce\":\"0000000000000001\","
        "\"timeout_ms\":1,\"fenced\":true}",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct zb_session_value read = {0};
        assert_false(parse(texts[i], &read));
        assert_int_equal(read.life, ZB_LIFE_NONE);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(another_certificate_is_not_fenced),
        cmocka_unit_test(nothing_else_is_a_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
