/*
 * Join tokens, as an operator pastes them. An input that begins with "zbt" is a token; any other
 * is what stands inside one.
 */
#include "fuzz.h"

#include "net/base64url.h"
#include "net/join.h"

static const struct zb_wall now = {.s = 1000000};

/* A token made of the same fields says the same. */
static void
again(struct zb_token *token)
{
    struct zb_token made = *token;
    struct zb_token parsed;
    struct zb_token_record record;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE];

    enum zb_rc rc = zb_token_create(&made, text, &record, &err);
    assert(rc == ZB_OK);
    rc = zb_token_parse(text, now, &parsed, &err);
    assert(rc == ZB_OK && memcmp(&parsed, &made, sizeof made) == 0);
    assert(strcmp(parsed.cluster_id, token->cluster_id) == 0);
    assert(strcmp(parsed.address, token->address) == 0);
    assert(strcmp(parsed.ca_fingerprint, token->ca_fingerprint) == 0);
    assert(parsed.expires.s == token->expires.s);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char prefix[] = "zbt1.";
    struct zb_token token;
    struct zb_err err;
    char *text;

    if (size >= 3 && memcmp(data, "zbt", 3) == 0) {
        text = fuzz_text(data, size);
    } else {
        text = malloc(sizeof prefix + ZB_BASE64URL_LENGTH(size));
        assert(text != NULL);
        memcpy(text, prefix, sizeof prefix - 1);
        zb_base64url_encode(data, size, text + sizeof prefix - 1);
    }
    if (zb_token_parse(text, now, &token, &err) == ZB_OK) {
        again(&token);
        zb_token_close(&token);
    }
    free(text);
    return 0;
}
