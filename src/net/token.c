/* Join tokens and the proof that a joiner holds one (join.h). */
#include "net/token.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/evp.h>

#include "base/log.h"
#include "net/base64url.h"
#include "net/socket.h"
#include "net/x509.h"

#define PREFIX "zbt1."
#define PREFIX_LENGTH (sizeof PREFIX - 1)
#define JSON_MAX 700 /* of a token's JSON: its base64url and the prefix fit ZB_TOKEN_TEXT_SIZE */

static_assert(PREFIX_LENGTH + ZB_BASE64URL_LENGTH(JSON_MAX) < ZB_TOKEN_TEXT_SIZE, "a token fits");

void
zb_token_close(struct zb_token *token)
{
    OPENSSL_cleanse(token, sizeof *token);
}

/* The secret is the seed of an Ed25519 key (RFC 8032): whoever holds the public half can check. */
static EVP_PKEY *
key_of_secret(const uint8_t *secret)
{
    EVP_PKEY *key =
        EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, secret, ZB_TOKEN_SECRET_SIZE);
    if (key == NULL) {
        zb_out_of_memory(); /* every 32 bytes are a seed */
    }
    return key;
}

static void
verifier_of_secret(const uint8_t *secret, uint8_t *verifier)
{
    EVP_PKEY *key = key_of_secret(secret);
    size_t size = ZB_TOKEN_VERIFIER_SIZE;
    if (EVP_PKEY_get_raw_public_key(key, verifier, &size) != 1 || size != ZB_TOKEN_VERIFIER_SIZE) {
        zb_out_of_memory();
    }
    EVP_PKEY_free(key);
}

/* NULL, or which field is wrong. */
static const char *
field_wrong(const struct zb_token *token)
{
    uint8_t id[(ZB_TOKEN_ID_SIZE - 1) / 2];

    if (!zb_uuid_valid(token->cluster_id)) {
        return "cluster";
    }
    if (!zb_socket_address_valid(token->address)) {
        return "address";
    }
    if (!zb_fingerprint_valid(token->ca_fingerprint)) {
        return "ca_fp";
    }
    return zb_hex_parse(token->id, id, sizeof id) ? NULL : "id";
}

static void
text_make(const struct zb_token *token, char *text)
{
    char secret[2 * ZB_TOKEN_SECRET_SIZE + 1], json[JSON_MAX];

    zb_hex_format(token->secret, sizeof token->secret, secret);
    /* No field needs escaping: field_wrong allows none of the characters that would. */
    int length = snprintf(json, sizeof json,
                          "{\"cluster\":\"%s\",\"address\":\"%s\",\"ca_fp\":\"%s\",\"id\":\"%s\","
                          "\"secret\":\"%s\",\"expires\":%lld}",
                          token->cluster_id, token->address, token->ca_fingerprint, token->id,
                          secret, (long long)token->expires.s);
    assert(length > 0 && (size_t)length < sizeof json);
    memcpy(text, PREFIX, PREFIX_LENGTH);
    zb_base64url_encode((const uint8_t *)json, (size_t)length, text + PREFIX_LENGTH);
    OPENSSL_cleanse(json, sizeof json);
    OPENSSL_cleanse(secret, sizeof secret);
}

enum zb_rc
zb_token_create(struct zb_token *token, char text[ZB_TOKEN_TEXT_SIZE],
                struct zb_token_record *record, struct zb_err *err)
{
    uint8_t id[(ZB_TOKEN_ID_SIZE - 1) / 2];
    zb_random(id, sizeof id);
    zb_hex_format(id, sizeof id, token->id);
    zb_random(token->secret, sizeof token->secret);

    const char *wrong = field_wrong(token);
    if (wrong != NULL) {
        return zb_err_set(err, ZB_E_USAGE, "make a token: bad %s", wrong);
    }
    text_make(token, text);
    memset(record, 0, sizeof *record);
    zb_strcopy(record->id, sizeof record->id, token->id);
    verifier_of_secret(token->secret, record->verifier);
    record->expires = token->expires;
    return ZB_OK;
}

/* Copies a string that fits; a longer one leaves "" which no check accepts. */
static void
field_copy(char *to, size_t size, const char *from)
{
    to[0] = '\0';
    if (strlen(from) < size) {
        zb_strcopy(to, size, from);
    }
}

/* Fields of the JSON into *token: NULL, or which one is wrong. */
static const char *
fields_take(json_t *json, struct zb_token *token)
{
    const char *cluster, *address, *fingerprint, *id, *secret;
    json_int_t expires;

    if (json_unpack(json, "{s:s, s:s, s:s, s:s, s:s, s:I !}", "cluster", &cluster, "address",
                    &address, "ca_fp", &fingerprint, "id", &id, "secret", &secret, "expires",
                    &expires) != 0) {
        return "set of fields";
    }
    field_copy(token->cluster_id, sizeof token->cluster_id, cluster);
    field_copy(token->address, sizeof token->address, address);
    field_copy(token->ca_fingerprint, sizeof token->ca_fingerprint, fingerprint);
    field_copy(token->id, sizeof token->id, id);
    token->expires.s = expires;
    if (!zb_hex_parse(secret, token->secret, sizeof token->secret)) {
        return "secret";
    }
    return field_wrong(token);
}

static enum zb_rc
body_parse(const char *body, size_t length, struct zb_token *token, struct zb_err *err)
{
    uint8_t bytes[JSON_MAX];
    size_t used = 0;
    json_error_t error;
    enum zb_rc rc = ZB_OK;

    if (!zb_base64url_decode(body, length, bytes, sizeof bytes, &used)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "token: damaged (copied in part?)");
        goto out;
    }
    json_t *json = json_loadb((const char *)bytes, used, JSON_REJECT_DUPLICATES, &error);
    if (json == NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT, "token: damaged (copied in part?)");
        goto out;
    }
    const char *wrong = fields_take(json, token);
    if (wrong != NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT, "token: bad %s", wrong);
    }
    json_decref(json);
out:
    OPENSSL_cleanse(bytes, sizeof bytes);
    return rc;
}

static enum zb_rc
expiry_check(struct zb_wall expires, struct zb_wall now, struct zb_err *err)
{
    char text[24];
    if (now.s < expires.s) {
        return ZB_OK;
    }
    zb_wall_format(expires, text);
    zb_err_set(err, ZB_E_STALE, "token: expired %s", text);
    return zb_err_hint(err, "zbaton token create (on a node of the cluster) makes a new one");
}

enum zb_rc
zb_token_parse(const char *text, struct zb_wall now, struct zb_token *token, struct zb_err *err)
{
    static const char space[] = " \t\r\n";
    struct zb_token found = {0};

    text += strspn(text, space);
    size_t length = strcspn(text, space);
    if (text[length + strspn(text + length, space)] != '\0') {
        return zb_err_set(err, ZB_E_FORMAT, "token: more than one word");
    }
    if (length >= ZB_TOKEN_TEXT_SIZE) {
        return zb_err_set(err, ZB_E_LIMIT, "token: longer than %d characters",
                          ZB_TOKEN_TEXT_SIZE - 1);
    }
    if (length < PREFIX_LENGTH || memcmp(text, PREFIX, PREFIX_LENGTH) != 0) {
        bool newer = length > 4 && memcmp(text, "zbt", 3) == 0;
        return newer ? zb_err_set(err, ZB_E_VERSION, "token: not of version 1 (zbt1.)")
                     : zb_err_set(err, ZB_E_FORMAT, "token: does not begin with " PREFIX);
    }
    enum zb_rc rc = body_parse(text + PREFIX_LENGTH, length - PREFIX_LENGTH, &found, err);
    if (rc == ZB_OK) {
        rc = expiry_check(found.expires, now, err);
    }
    if (rc == ZB_OK) {
        *token = found;
    }
    zb_token_close(&found);
    return rc;
}

/* What is signed: a label, the binding of the connection, then the fields, each with its NUL, so
 * that no two requests give the same bytes. Heap; *size is its length. */
static uint8_t *
proof_message(const struct zb_join_request *request, size_t *size)
{
    const char *label = request->renew ? "zbaton renew 1" : "zbaton join 1";
    const size_t label_size = strlen(label) + 1;
    const char *fields[] = {request->token_id, request->node, request->address, request->csr_pem};

    *size = label_size + ZB_JOIN_BINDING_SIZE;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        *size += strlen(fields[i]) + 1;
    }
    uint8_t *message = malloc(*size), *p = message;
    if (message == NULL) {
        zb_out_of_memory();
    }
    memcpy(p, label, label_size);
    p += label_size;
    memcpy(p, request->binding, ZB_JOIN_BINDING_SIZE);
    p += ZB_JOIN_BINDING_SIZE;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        memcpy(p, fields[i], strlen(fields[i]) + 1);
        p += strlen(fields[i]) + 1;
    }
    return message;
}

void
zb_join_request_sign(struct zb_join_request *request, const struct zb_token *token)
{
    size_t size, length = ZB_JOIN_PROOF_SIZE;
    uint8_t *message = proof_message(request, &size);
    EVP_PKEY *key = key_of_secret(token->secret);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();

    if (ctx == NULL || EVP_DigestSignInit(ctx, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(ctx, request->proof, &length, message, size) != 1 ||
        length != ZB_JOIN_PROOF_SIZE) {
        zb_out_of_memory();
    }
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    free(message);
}

static bool
proof_good(const struct zb_join_request *request, const uint8_t *verifier)
{
    size_t size;
    uint8_t *message = proof_message(request, &size);
    EVP_PKEY *key =
        EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, verifier, ZB_TOKEN_VERIFIER_SIZE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bool good = key != NULL && ctx != NULL &&
                EVP_DigestVerifyInit(ctx, NULL, NULL, NULL, key) == 1 &&
                EVP_DigestVerify(ctx, request->proof, ZB_JOIN_PROOF_SIZE, message, size) == 1;

    ERR_clear_error();
    EVP_MD_CTX_free(ctx);
    EVP_PKEY_free(key);
    free(message);
    return good;
}

enum zb_rc
zb_join_request_verify(const struct zb_join_request *request, const struct zb_token_record *record,
                       struct zb_wall now, struct zb_err *err)
{
    if (record == NULL || strcmp(record->id, request->token_id) != 0) {
        return zb_err_set(err, ZB_E_NOTFOUND, "token: not known here");
    }
    if (!proof_good(request, record->verifier)) {
        return zb_err_set(err, ZB_E_AUTH, "token: wrong secret");
    }
    if (record->used) {
        return zb_err_set(err, ZB_E_REFUSED, "token: used before");
    }
    return expiry_check(record->expires, now, err);
}
