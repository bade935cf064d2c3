/*
 * What the JSON gateway of etcd answers. The first byte says what was asked and which status came.
 */
#include "fuzz.h"

#include "etcd/internal.h"

enum kind { TXN, COMPACT, LOGIN, REFUSAL, KINDS_COUNT };

static void
txn(const char *body, size_t size)
{
    struct zb_etcd_txn t = {.success = {{.kind = ZB_ETCD_PUT, .key = "s/a", .value = ""},
                                        {.kind = ZB_ETCD_RANGE, .key = "s/", .range_end = "s0"}},
                            .success_count = 2,
                            .failure = {{.kind = ZB_ETCD_RANGE, .key = "b"}},
                            .failure_count = 1};
    struct zb_etcd_asked asked = {0};
    struct zb_etcd_answer answer = {0};
    struct zb_err err;
    char *request;

    enum zb_rc rc = zb_etcd_txn_encode(&t, &request, &asked, &err);
    assert(rc == ZB_OK);
    if (zb_etcd_answer_decode(body, size, &asked, &answer, &err) == ZB_OK) {
        assert(answer.revision > 0 && answer.raft_term > 0 && answer.cluster_id != 0);
    } else {
        assert(answer.kvs == NULL && answer.revision == 0);
    }
    for (uint32_t i = 0; i < answer.kvs_count; i++) {
        const struct zb_etcd_kv *kv = &answer.kvs[i];
        assert(kv->key[kv->key_size] == '\0' && kv->value[kv->value_size] == '\0');
        assert(kv->mod_revision <= answer.revision);
        assert(answer.succeeded ? memcmp(kv->key, "s/", 2) == 0 : strcmp(kv->key, "b") == 0);
    }
    zb_etcd_answer_close(&answer);
    zb_etcd_asked_close(&asked);
    free(request);
}

static void
login(const char *body, size_t size)
{
    struct zb_err err;
    char *token = NULL;

    if (zb_etcd_login_decode(body, size, &token, &err) == ZB_OK) {
        assert(token[0] != '\0' && strpbrk(token, " \r\n") == NULL);
    }
    zb_etcd_secret_free(token);
}

static void
refusal(const char *body, size_t size, long status)
{
    struct zb_etcd_refusal r;

    zb_etcd_refusal_decode(status, body, size, &r);
    assert(r.rc != ZB_OK && r.rc != ZB_E_TIMEOUT);
    assert(status < 500 || r.rc == ZB_E_CLOSED);
    for (const char *c = r.text; *c != '\0'; c++) {
        assert(*c >= 0x20 && *c < 0x7f);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {302, 400, 401, 403, 404, 429, 500, 503};

    if (size == 0) {
        return 0;
    }
    char *body = malloc(size - 1); /* of its size, so that reading past its end is seen */
    assert(body != NULL || size == 1);
    if (size > 1) {
        memcpy(body, data + 1, size - 1);
    }
    struct zb_etcd_asked compact = {.call = ZB_ETCD_CALL_COMPACT};
    struct zb_etcd_answer answer = {0};
    struct zb_err err;
    enum zb_rc rc;

    switch (data[0] % KINDS_COUNT) {
    case TXN:
        txn(body, size - 1);
        break;
    case COMPACT:
        rc = zb_etcd_answer_decode(body, size - 1, &compact, &answer, &err);
        assert(rc == ZB_OK || rc == ZB_E_FORMAT);
        assert(answer.kvs == NULL);
        break;
    case LOGIN:
        login(body, size - 1);
        break;
    default:
        refusal(body, size - 1, statuses[data[0] / KINDS_COUNT % 8]);
    }
    free(body);
    return 0;
}
