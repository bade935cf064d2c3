/*
 * Answers, read strictly: int64 are decimal strings, bytes are base64, and false, 0 and empty are
 * absent. What is wrong anywhere makes the whole answer wrong: it is then not known what was done.
 */
#include "etcd/internal.h"

#include <errno.h>
#include <string.h>

#include <jansson.h>

#include "etcd/base64.h"

/* Decimal digits without leading zeros. */
static bool
digits_read(const json_t *value, uint64_t max, uint64_t *out)
{
    const char *text = json_string_value(value);
    size_t length = json_string_length(value);
    uint64_t v = 0;

    if (text == NULL || length == 0 || length > 20 || text[0] == '0') {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(text[i] - '0');
        if (v > (max - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *out = v;
    return true;
}

/* A number that is not 0, and so must be there. */
static bool
u64_read(const json_t *object, const char *key, uint64_t *out)
{
    return digits_read(json_object_get(object, key), UINT64_MAX, out);
}

static bool
revision_read(const json_t *object, const char *key, int64_t *out)
{
    uint64_t v;

    if (!digits_read(json_object_get(object, key), INT64_MAX, &v)) {
        return false;
    }
    *out = (int64_t)v;
    return true;
}

static bool
bool_read(const json_t *object, const char *key, bool *out)
{
    const json_t *value = json_object_get(object, key);

    *out = json_is_true(value);
    return value == NULL || json_is_boolean(value);
}

/* A heap string with a NUL behind it; absent is empty. */
static bool
bytes_read(const json_t *object, const char *key, char **out, size_t *size)
{
    const json_t *value = json_object_get(object, key);
    size_t length = json_string_length(value);

    if (value != NULL && !json_is_string(value)) {
        return false;
    }
    char *bytes = must(malloc(ZB_BASE64_SIZE(length) + 1));
    *size = 0;
    if (length > 0 && !zb_base64_decode(json_string_value(value), length, bytes, size)) {
        free(bytes);
        return false;
    }
    bytes[*size] = '\0';
    *out = bytes;
    return true;
}

static bool
header_read(const json_t *root, struct zb_etcd_answer *answer)
{
    const json_t *header = json_object_get(root, "header");

    return u64_read(header, "cluster_id", &answer->cluster_id) &&
           revision_read(header, "revision", &answer->revision) &&
           u64_read(header, "raft_term", &answer->raft_term);
}

/* As etcd orders keys: by bytes, the shorter first. */
static int
key_cmp(const char *key, size_t size, const char *text)
{
    size_t length = strlen(text);
    int order = memcmp(key, text, size < length ? size : length);

    return order != 0 ? order : (size > length) - (size < length);
}

static bool
key_asked(const struct zb_etcd_kv *kv, const char *key, const char *range_end)
{
    if (range_end == NULL) {
        return key_cmp(kv->key, kv->key_size, key) == 0;
    }
    return key_cmp(kv->key, kv->key_size, key) >= 0 &&
           key_cmp(kv->key, kv->key_size, range_end) < 0;
}

/* *kv is closed with the answer, whatever comes out. */
static bool
kv_read(const json_t *object, struct zb_etcd_kv *kv)
{
    return json_is_object(object) && bytes_read(object, "key", &kv->key, &kv->key_size) &&
           bytes_read(object, "value", &kv->value, &kv->value_size) &&
           revision_read(object, "mod_revision", &kv->mod_revision);
}

static bool
range_read(const json_t *range, const char *key, const char *range_end,
           struct zb_etcd_answer *answer)
{
    const json_t *kvs = json_object_get(range, "kvs");
    size_t count = json_array_size(kvs);
    uint64_t said = 0;
    bool more;

    if (!json_is_object(range) || (kvs != NULL && !json_is_array(kvs)) ||
        !bool_read(range, "more", &more) || more) {
        return false;
    }
    if ((json_object_get(range, "count") != NULL && !u64_read(range, "count", &said)) ||
        said != count) {
        return false;
    }
    if (count == 0) {
        return true;
    }
    size_t size = (answer->kvs_count + count) * sizeof *answer->kvs;
    answer->kvs = must(realloc(answer->kvs, size));
    for (size_t i = 0; i < count; i++) {
        const struct zb_etcd_kv *before = i > 0 ? &answer->kvs[answer->kvs_count - 1] : NULL;
        struct zb_etcd_kv *kv = &answer->kvs[answer->kvs_count++];
        *kv = (struct zb_etcd_kv){0};
        if (!kv_read(json_array_get(kvs, i), kv) || !key_asked(kv, key, range_end) ||
            kv->mod_revision > answer->revision ||
            (before != NULL && before->key_size == kv->key_size &&
             memcmp(before->key, kv->key, kv->key_size) == 0)) {
            return false;
        }
    }
    return true;
}

static bool
responses_read(const json_t *root, const struct zb_etcd_asked *asked, struct zb_etcd_answer *answer)
{
    static const char *const names[] = {
        [ZB_ETCD_PUT] = "response_put", [ZB_ETCD_RANGE] = "response_range"};
    const json_t *responses = json_object_get(root, "responses");
    uint32_t count = asked->branches[answer->succeeded].count;

    if ((responses != NULL && !json_is_array(responses)) || json_array_size(responses) != count) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const json_t *response = json_array_get(responses, i);
        enum zb_etcd_kind kind = asked->branches[answer->succeeded].ops[i].kind;
        const json_t *of_kind = json_object_get(response, names[kind]);
        if (json_object_size(response) != 1 || !json_is_object(of_kind)) {
            return false;
        }
        if (kind == ZB_ETCD_RANGE &&
            !range_read(of_kind, asked->branches[answer->succeeded].ops[i].key,
                        asked->branches[answer->succeeded].ops[i].range_end, answer)) {
            return false;
        }
    }
    return true;
}

void
zb_etcd_answer_close(struct zb_etcd_answer *answer)
{
    for (uint32_t i = 0; i < answer->kvs_count; i++) {
        free(answer->kvs[i].key);
        free(answer->kvs[i].value);
    }
    free(answer->kvs);
    answer->kvs = NULL;
    answer->kvs_count = 0;
}

/* The object that is all of the bytes; NULL when they are not one. */
static json_t *
object_load(const char *body, size_t size)
{
    json_t *root = json_loadb(body, size, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);

    if (!json_is_object(root)) {
        json_decref(root);
        return NULL;
    }
    return root;
}

enum zb_rc
zb_etcd_answer_decode(const char *body, size_t size, const struct zb_etcd_asked *asked,
                      struct zb_etcd_answer *answer, struct zb_err *err)
{
    struct zb_etcd_answer read = {0};
    const char *bad = NULL;
    json_t *root = object_load(body, size);

    if (root == NULL) {
        return zb_err_set(err, ZB_E_FORMAT, "the answer is no JSON object");
    }
    if (!header_read(root, &read)) {
        bad = "header";
    } else if (asked->call == ZB_ETCD_CALL_TXN) {
        bad = !bool_read(root, "succeeded", &read.succeeded) ? "\"succeeded\"" : NULL;
        if (bad == NULL && !responses_read(root, asked, &read)) {
            bad = "responses";
        }
    }
    json_decref(root);
    if (bad != NULL) {
        zb_etcd_answer_close(&read);
        return zb_err_set(err, ZB_E_FORMAT, "the answer has no right %s", bad);
    }
    *answer = read;
    return ZB_OK;
}

/* Into a header line it goes: no control characters, no spaces. */
static bool
token_valid(const char *text, size_t length)
{
    if (length == 0 || length > 4096) {
        return false;
    }
    for (size_t i = 0; i < length; i++) {
        if (text[i] <= 0x20 || text[i] >= 0x7f) {
            return false;
        }
    }
    return true;
}

enum zb_rc
zb_etcd_login_decode(const char *body, size_t size, char **token, struct zb_err *err)
{
    json_t *root = object_load(body, size);
    const json_t *value = json_object_get(root, "token");
    bool good =
        json_is_string(value) && token_valid(json_string_value(value), json_string_length(value));

    if (good) {
        *token = must(strdup(json_string_value(value)));
    }
    json_decref(root);
    return good ? ZB_OK : zb_err_set(err, ZB_E_FORMAT, "no token in the answer to a login");
}

/* --- other statuses than 200 --- */

/* Of gRPC (google.golang.org/grpc/codes). The others leave open what was done. */
enum code {
    CODE_INVALID_ARGUMENT = 3,
    CODE_NOT_FOUND = 5,
    CODE_PERMISSION_DENIED = 7,
    CODE_FAILED_PRECONDITION = 9,
    CODE_OUT_OF_RANGE = 11,
    CODE_UNIMPLEMENTED = 12,
    CODE_UNAUTHENTICATED = 16,
};

/* The words are etcd's (etcdserver/api/v3rpc/rpctypes/error.go); the first that fits. */
static const struct meaning {
    enum code code;
    const char *words; /* NULL: any */
    enum zb_rc rc;
    bool token;
    bool login_not_needed;
} meanings[] = {
    {CODE_UNAUTHENTICATED, NULL, ZB_E_AUTH, .token = true},
    {CODE_INVALID_ARGUMENT, "user name is empty", ZB_E_AUTH, .token = true},
    {CODE_INVALID_ARGUMENT, "revision of auth store is old", ZB_E_AUTH, .token = true},
    {CODE_INVALID_ARGUMENT, "authentication failed", ZB_E_AUTH},
    {CODE_FAILED_PRECONDITION, "authentication is not enabled", ZB_E_AUTH,
     .login_not_needed = true},
    {CODE_PERMISSION_DENIED, NULL, ZB_E_AUTH},
    {CODE_OUT_OF_RANGE, "compacted", ZB_E_STALE},
    {CODE_OUT_OF_RANGE, NULL, ZB_E_REFUSED},
    {CODE_INVALID_ARGUMENT, NULL, ZB_E_REFUSED},
    {CODE_FAILED_PRECONDITION, NULL, ZB_E_REFUSED},
    {CODE_NOT_FOUND, NULL, ZB_E_REFUSED},
    {CODE_UNIMPLEMENTED, NULL, ZB_E_UNSUPPORTED},
};

static void
text_take(struct zb_etcd_refusal *refusal, long status, const char *text, size_t size)
{
    int head = snprintf(refusal->text, sizeof refusal->text, "HTTP %ld: ", status);
    size_t at = (size_t)head;

    for (size_t i = 0; i < size && at + 1 < sizeof refusal->text; i++) {
        char c = text[i];
        refusal->text[at++] = c >= 0x20 && c < 0x7f ? c : ' ';
    }
    while (at > 0 && refusal->text[at - 1] == ' ') {
        at--;
    }
    refusal->text[at] = '\0';
}

static void
code_apply(json_int_t code, struct zb_etcd_refusal *refusal)
{
    for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++) {
        const struct meaning *m = &meanings[i];
        if ((json_int_t)m->code == code &&
            (m->words == NULL || strstr(refusal->text, m->words) != NULL)) {
            refusal->rc = m->rc;
            refusal->token = m->token;
            refusal->login_not_needed = m->login_not_needed;
            return;
        }
    }
}

void
zb_etcd_refusal_decode(long status, const char *body, size_t size, struct zb_etcd_refusal *refusal)
{
    json_t *root = object_load(body, size);
    const json_t *message = json_object_get(root, "message");

    *refusal = (struct zb_etcd_refusal){.rc = ZB_E_CLOSED};
    if (json_is_string(message)) {
        text_take(refusal, status, json_string_value(message), json_string_length(message));
    } else {
        text_take(refusal, status, body, size);
    }
    if (status >= 400 && status < 500 && json_is_integer(json_object_get(root, "code"))) {
        code_apply(json_integer_value(json_object_get(root, "code")), refusal);
    } else if (status == 400 && strstr(refusal->text, "CommonName") != NULL) {
        refusal->rc = ZB_E_AUTH; /* plain text: a certificate with a CN, and RBAC */
    } else if (status == 404) {
        refusal->rc = ZB_E_UNSUPPORTED;
    }
    json_decref(root);
}
