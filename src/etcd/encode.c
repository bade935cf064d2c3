/* Requests as JSON. What bytes can be there is base64, so that JSON has nothing to escape. */
#include "etcd/internal.h"

#include <inttypes.h>
#include <string.h>

#include <jansson.h>

#include "etcd/base64.h"

static void
put(json_t *object, const char *key, json_t *value)
{
    if (json_object_set_new_nocheck(object, key, must(value)) != 0) {
        zb_out_of_memory();
    }
}

static void
append(json_t *array, json_t *value)
{
    if (json_array_append_new(array, must(value)) != 0) {
        zb_out_of_memory();
    }
}

static json_t *
bytes_json(const char *bytes)
{
    size_t size = strlen(bytes);
    char *text = must(malloc(ZB_BASE64_LENGTH(size) + 1));

    zb_base64_encode(bytes, size, text);
    json_t *json = must(json_string_nocheck(text));
    free(text);
    return json;
}

static json_t *
i64_json(int64_t v)
{
    char text[21];

    (void)snprintf(text, sizeof text, "%" PRId64, v);
    return must(json_string_nocheck(text));
}

static char *
text_of_json(json_t *json)
{
    char *text = must(json_dumps(json, JSON_COMPACT));

    json_decref(json);
    return text;
}

static json_t *
compare_json(const struct zb_etcd_compare *c)
{
    json_t *o = must(json_object());

    put(o, "key", bytes_json(c->key));
    put(o, "result", json_string_nocheck("EQUAL"));
    put(o, "target", json_string_nocheck("MOD"));
    put(o, "mod_revision", i64_json(c->revision));
    return o;
}

static json_t *
op_json(const struct zb_etcd_op *op)
{
    static const char *const names[] = {
        [ZB_ETCD_PUT] = "request_put", [ZB_ETCD_RANGE] = "request_range"};
    json_t *request = must(json_object());
    json_t *o = must(json_object());

    put(request, "key", bytes_json(op->key));
    if (op->kind == ZB_ETCD_PUT) {
        put(request, "value", bytes_json(op->value));
    } else if (op->range_end != NULL) {
        put(request, "range_end", bytes_json(op->range_end));
    }
    put(o, names[op->kind], request);
    return o;
}

static json_t *
ops_json(const struct zb_etcd_op *ops, uint32_t count)
{
    json_t *array = must(json_array());

    for (uint32_t i = 0; i < count; i++) {
        append(array, op_json(&ops[i]));
    }
    return array;
}

/* Adds to *size what the text takes; false when it is not there or empty and must not be. */
static bool
text_check(const char *text, bool may_be_empty, size_t *size)
{
    if (text == NULL || (text[0] == '\0' && !may_be_empty)) {
        return false;
    }
    *size += ZB_BASE64_LENGTH(strlen(text));
    return true;
}

static enum zb_rc
ops_check(const struct zb_etcd_op *ops, uint32_t count, size_t *size, struct zb_err *err)
{
    for (uint32_t i = 0; i < count; i++) {
        const struct zb_etcd_op *op = &ops[i];
        bool good = text_check(op->key, false, size) && op->kind <= ZB_ETCD_RANGE;
        if (good && op->kind == ZB_ETCD_PUT) {
            good = text_check(op->value, true, size) && op->range_end == NULL;
        } else if (good && op->range_end != NULL) {
            good = text_check(op->range_end, false, size) && strcmp(op->key, op->range_end) < 0;
        }
        if (!good) {
            return zb_err_set(err, ZB_E_USAGE, "bad operation %" PRIu32, i);
        }
    }
    return ZB_OK;
}

static bool
has_put(const struct zb_etcd_txn *txn)
{
    for (uint32_t i = 0; i < txn->success_count; i++) {
        if (txn->success[i].kind == ZB_ETCD_PUT) {
            return true;
        }
    }
    return false;
}

static enum zb_rc
txn_check(const struct zb_etcd_txn *txn, struct zb_err *err)
{
    size_t size = 0;

    if (txn->compares_count > ZB_ETCD_OPS_MAX || txn->success_count > ZB_ETCD_OPS_MAX ||
        txn->failure_count > ZB_ETCD_OPS_MAX) {
        return zb_err_set(err, ZB_E_USAGE, "more than %d of a kind", ZB_ETCD_OPS_MAX);
    }
    if (!has_put(txn)) {
        return zb_err_set(err, ZB_E_USAGE, "no put in the success branch: it would prove nothing");
    }
    for (uint32_t i = 0; i < txn->compares_count; i++) {
        const struct zb_etcd_compare *c = &txn->compares[i];
        if (!text_check(c->key, false, &size) || c->revision < 0) {
            return zb_err_set(err, ZB_E_USAGE, "bad compare %" PRIu32, i);
        }
    }
    enum zb_rc rc = ops_check(txn->success, txn->success_count, &size, err);
    if (rc == ZB_OK) {
        rc = ops_check(txn->failure, txn->failure_count, &size, err);
    }
    if (rc == ZB_OK && size > ZB_ETCD_BODY_MAX) {
        rc = zb_err_set(err, ZB_E_LIMIT, "keys and values of %zu bytes, at most %u", size,
                        ZB_ETCD_BODY_MAX);
    }
    return rc;
}

static void
branch_copy(const struct zb_etcd_op *ops, uint32_t count, struct zb_etcd_asked *asked,
            bool succeeded)
{
    asked->branches[succeeded].count = count;
    for (uint32_t i = 0; i < count; i++) {
        asked->branches[succeeded].ops[i].kind = ops[i].kind;
        if (ops[i].kind == ZB_ETCD_RANGE) {
            asked->branches[succeeded].ops[i].key = must(strdup(ops[i].key));
            if (ops[i].range_end != NULL) {
                asked->branches[succeeded].ops[i].range_end = must(strdup(ops[i].range_end));
            }
        }
    }
}

void
zb_etcd_asked_close(struct zb_etcd_asked *asked)
{
    for (size_t b = 0; b < 2; b++) {
        for (uint32_t i = 0; i < asked->branches[b].count; i++) {
            free(asked->branches[b].ops[i].key);
            free(asked->branches[b].ops[i].range_end);
        }
    }
    *asked = (struct zb_etcd_asked){0};
}

enum zb_rc
zb_etcd_txn_encode(const struct zb_etcd_txn *txn, char **body, struct zb_etcd_asked *asked,
                   struct zb_err *err)
{
    enum zb_rc rc = txn_check(txn, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_t *o = must(json_object());
    json_t *compares = must(json_array());
    for (uint32_t i = 0; i < txn->compares_count; i++) {
        append(compares, compare_json(&txn->compares[i]));
    }
    put(o, "compare", compares);
    put(o, "success", ops_json(txn->success, txn->success_count));
    put(o, "failure", ops_json(txn->failure, txn->failure_count));
    *body = text_of_json(o);
    asked->call = ZB_ETCD_CALL_TXN;
    branch_copy(txn->success, txn->success_count, asked, true);
    branch_copy(txn->failure, txn->failure_count, asked, false);
    return ZB_OK;
}

enum zb_rc
zb_etcd_compact_encode(int64_t revision, char **body, struct zb_err *err)
{
    if (revision <= 0) {
        return zb_err_set(err, ZB_E_USAGE, "compact to revision %" PRId64, revision);
    }
    json_t *o = must(json_object());
    put(o, "revision", i64_json(revision));
    *body = text_of_json(o);
    return ZB_OK;
}

char *
zb_etcd_login_encode(const char *user, const char *password)
{
    json_t *o = must(json_object());

    put(o, "name", json_string(user));
    put(o, "password", json_string(password));
    return text_of_json(o);
}

bool
zb_etcd_prefix_end(const char *prefix, char *buf, size_t size)
{
    size_t length = strlen(prefix);

    while (length > 0 && (unsigned char)prefix[length - 1] == 0xff) {
        length--;
    }
    if (length == 0 || length >= size) {
        return false;
    }
    memcpy(buf, prefix, length);
    buf[length - 1] = (char)((unsigned char)buf[length - 1] + 1);
    buf[length] = '\0';
    return true;
}
