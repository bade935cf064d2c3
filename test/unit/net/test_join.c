/* Joining, end to end: zb_join_ask in a thread, the net that lets in (or not) in the loop. */
#include "world.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/x509.h"

static struct zb_token_record record; /* what the agent keeps */
static struct zb_err verify_err;

struct asking {
    pthread_t thread;
    struct zb_token token;
    struct zb_join_ask ask;
    struct zb_join_result result;
    enum zb_rc rc;
    struct zb_err err;
    _Atomic bool done;
};

/* The agent's part. */
static void
let_in(struct host *h, const struct zb_join_request *request)
{
    struct zb_err err;
    struct zb_join_result result = {.nodes_count = 1};
    assert_non_null(strstr(request->from, "127.0.0.1:"));
    if (zb_join_request_verify(request, &record, zb_wall_now(), &verify_err) != ZB_OK) {
        zb_net_join_refuse(h->net, request->id, verify_err.msg);
        return;
    }
    record.used = true;
    assert_int_equal(zb_pki_sign((struct zb_pem){"ca", h->world->ca_cert},
                                 (struct zb_pem){"ca key", h->world->ca_key},
                                 (struct zb_pem){"csr", request->csr_pem}, request->node,
                                 &result.cert_pem, &err),
                     ZB_OK);
    result.ca_pem = strdup(h->world->ca_cert);
    zb_strcopy(result.cluster_id, sizeof result.cluster_id, WORLD_CLUSTER);
    zb_strcopy(result.cluster_name, sizeof result.cluster_name, "garden");
    zb_strcopy(result.nodes[0].name, ZB_NODE_NAME_SIZE, h->name);
    zb_strcopy(result.nodes[0].address, ZB_ADDRESS_SIZE, h->address);
    zb_strcopy(result.nodes[0].fingerprint, ZB_FINGERPRINT_SIZE, h->fingerprint);
    assert_int_equal(zb_net_join_reply(h->net, request->id, &result, &err), ZB_OK);
    assert_int_equal(zb_net_join_reply(h->net, request->id, &result, &err), ZB_E_CLOSED);
    zb_join_result_close(&result);
}

static void
token_of(struct host *h, struct zb_token *token)
{
    struct zb_pki_cert_info info;
    struct zb_err err;
    char text[ZB_TOKEN_TEXT_SIZE];
    struct zb_token made = {0};
    assert_int_equal(zb_pki_cert_info((struct zb_pem){"ca", h->world->ca_cert}, &info, &err),
                     ZB_OK);
    zb_strcopy(made.cluster_id, sizeof made.cluster_id, WORLD_CLUSTER);
    zb_strcopy(made.address, sizeof made.address, h->address);
    zb_strcopy(made.ca_fingerprint, sizeof made.ca_fingerprint, info.fingerprint);
    made.expires.s = zb_wall_now().s + 60;
    assert_int_equal(zb_token_create(&made, text, &record, &err), ZB_OK);
    assert_int_equal(zb_token_parse(text, zb_wall_now(), token, &err), ZB_OK);
}

static void *
ask_thread(void *ctx)
{
    struct asking *a = ctx;
    a->rc = zb_join_ask(&a->ask, &a->result, &a->err);
    a->done = true;
    return NULL;
}

static void
ask(struct world *w, struct asking *a, const char *key)
{
    a->done = false;
    memset(&a->result, 0, sizeof a->result);
    a->ask = (struct zb_join_ask){.token = &a->token,
                                  .node = "newcomer",
                                  .address = "10.0.0.9:7979",
                                  .key = {"node.key", key},
                                  .timeout_ms = 3000};
    assert_int_equal(pthread_create(&a->thread, NULL, ask_thread, a), 0);
    WAIT(w, a->done);
    pthread_join(a->thread, NULL);
}

static void
site_open(struct world *w, struct host *h, char **key)
{
    struct zb_err err;
    world_open(w);
    host_init(h, w, "alfa");
    host_start(h);
    h->on_join = let_in;
    assert_int_equal(zb_pki_key_create(key, &err), ZB_OK);
}

static void
site_close(struct world *w, struct host *h, char *key)
{
    zb_pki_text_free(key);
    host_close(h);
    world_close(w);
}

static void
test_join_then_peer(void **state)
{
    struct world w;
    struct host h, newcomer;
    struct asking a;
    struct zb_pki_cert_info info;
    struct zb_err err;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    token_of(&h, &a.token);
    ask(&w, &a, key);
    if (a.rc != ZB_OK) {
        fail_msg("%s", a.err.msg);
    }
    assert_string_equal(a.result.cluster_name, "garden");
    assert_int_equal(a.result.nodes_count, 1);
    assert_string_equal(a.result.nodes[0].name, "alfa");
    assert_string_equal(a.result.ca_pem, w.ca_cert);

    host_init(&newcomer, &w, "newcomer"); /* with the certificate that it was given */
    zb_pki_text_free(newcomer.key);
    zb_pki_text_free(newcomer.cert);
    newcomer.key = strdup(key);
    newcomer.cert = strdup(a.result.cert_pem);
    assert_int_equal(zb_pki_cert_info((struct zb_pem){"cert", newcomer.cert}, &info, &err), ZB_OK);
    zb_strcopy(newcomer.fingerprint, sizeof newcomer.fingerprint, info.fingerprint);
    host_start(&newcomer);
    host_knows(&newcomer, &h);
    host_knows(&h, &newcomer);
    WAIT(&w, h.ups == 1 && newcomer.ups == 1);

    zb_join_result_close(&a.result);
    host_close(&newcomer);
    site_close(&w, &h, key);
}

static void
test_token_once(void **state)
{
    struct world w;
    struct host h;
    struct asking a;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    token_of(&h, &a.token);
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_OK);
    zb_join_result_close(&a.result);
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_REFUSED);
    assert_non_null(strstr(a.err.msg, "refused: token: used before"));
    assert_null(a.result.cert_pem);
    site_close(&w, &h, key);
}

static void
test_wrong_secret(void **state)
{
    struct world w;
    struct host h;
    struct asking a;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    token_of(&h, &a.token);
    a.token.secret[0] ^= 1;
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_REFUSED);
    assert_int_equal(verify_err.rc, ZB_E_AUTH);
    assert_false(record.used);
    site_close(&w, &h, key);
}

static void
test_expired_at_the_issuer(void **state)
{
    struct world w;
    struct host h;
    struct asking a;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    token_of(&h, &a.token);
    record.expires.s = zb_wall_now().s - 1;
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_REFUSED);
    assert_int_equal(verify_err.rc, ZB_E_STALE);
    site_close(&w, &h, key);
}

/* Somebody else answers at the token's address: nothing of ours is sent. */
static void
test_other_ca_gets_nothing(void **state)
{
    struct world w, other;
    struct host h, impostor;
    struct asking a;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    world_open(&other);
    host_init(&impostor, &other, "alfa");
    impostor.world = &w;
    char *ca = w.ca_cert;
    w.ca_cert = other.ca_cert;
    host_start(&impostor);
    w.ca_cert = ca;
    token_of(&h, &a.token);
    zb_strcopy(a.token.address, sizeof a.token.address, impostor.address);
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_AUTH);
    assert_non_null(strstr(a.err.msg, "not the cluster that the token is of (nothing was sent)"));
    WAIT(&w, impostor.refusals == 1); /* an alert in the handshake, no frame */
    assert_non_null(strstr(impostor.refused_reason, "alert"));
    assert_int_equal(impostor.joins + h.joins, 0);

    host_close(&impostor);
    world_close(&other);
    site_close(&w, &h, key);
}

/* The reply is checked too. */
static void
reply_other_cluster(struct host *h, const struct zb_join_request *request)
{
    struct zb_err err;
    struct zb_join_result result = {.cert_pem = h->cert, .ca_pem = h->world->ca_cert};
    zb_strcopy(result.cluster_id, sizeof result.cluster_id, WORLD_OTHER_CLUSTER);
    zb_strcopy(result.cluster_name, sizeof result.cluster_name, "garden");
    assert_int_equal(zb_net_join_reply(h->net, request->id, &result, &err), ZB_OK);
}

static void
reply_other_cert(struct host *h, const struct zb_join_request *request)
{
    struct zb_err err;
    struct zb_join_result result = {.cert_pem = h->cert, .ca_pem = h->world->ca_cert};
    zb_strcopy(result.cluster_id, sizeof result.cluster_id, WORLD_CLUSTER);
    zb_strcopy(result.cluster_name, sizeof result.cluster_name, "garden");
    assert_int_equal(zb_net_join_reply(h->net, request->id, &result, &err), ZB_OK);
}

static void
reply_never(struct host *h, const struct zb_join_request *request)
{
    (void)h;
    (void)request;
}

static void
test_bad_replies(void **state)
{
    struct world w;
    struct host h;
    struct asking a;
    struct zb_err err;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    token_of(&h, &a.token);
    h.on_join = reply_other_cluster;
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_AUTH);
    h.on_join = reply_other_cert;
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_MISMATCH);
    h.on_join = reply_never;
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_TIMEOUT);
    struct zb_join_result result = {.cert_pem = h.cert, .ca_pem = w.ca_cert};
    for (int i = 0; i < 50; i++) {
        world_step(&w); /* the loop sees that the joiner left */
    }
    assert_int_equal(zb_net_join_reply(h.net, 3, &result, &err), ZB_E_CLOSED);
    zb_net_join_refuse(h.net, 3, "too late"); /* nothing happens */
    site_close(&w, &h, key);
}

static void
test_nobody_there(void **state)
{
    struct world w;
    struct host h;
    struct asking a;
    char *key;
    (void)state;
    site_open(&w, &h, &key);
    token_of(&h, &a.token);
    zb_strcopy(a.token.address, sizeof a.token.address, "127.0.0.1:1");
    ask(&w, &a, key);
    assert_int_equal(a.rc, ZB_E_SYS);
    assert_non_null(strstr(a.err.msg, "join: connect to 127.0.0.1:1"));
    site_close(&w, &h, key);
}

static void
form_refused(const char *json, const char *words)
{
    struct world w;
    struct host h;
    struct raw r;
    char *key;
    site_open(&w, &h, &key);
    raw_connect(&r, &w, h.address);
    assert_true(raw_tls(&r, w.ca_cert, NULL, NULL));
    raw_frame(&r, ZB_FRAME_JSON, json);
    json_t *answer = raw_json(&r);
    assert_non_null(answer);
    const char *error = json_string_value(json_object_get(answer, "error"));
    assert_non_null(error);
    if (strstr(error, words) == NULL) {
        fail_msg("\"%s\" is not about \"%s\"", error, words);
    }
    json_decref(answer);
    assert_int_equal(h.joins, 0);
    raw_close(&r);
    site_close(&w, &h, key);
}

static void
test_bad_requests(void **state)
{
    char text[1024], proof[2 * ZB_JOIN_PROOF_SIZE + 1];
    uint8_t zero[ZB_JOIN_PROOF_SIZE] = {0};
    (void)state;
    zb_hex_format(zero, sizeof zero, proof);
    form_refused("{\"error\":\"x\"}", "only a join request");
    form_refused("{\"join\":1}", "only a join request");
    (void)snprintf(
        text, sizeof text,
        "{\"join\":2,\"id\":\"0123456789abcdef\",\"node\":\"n\",\"address\":\"1.2.3.4:5\","
        "\"csr\":\"x\",\"proof\":\"%s\"}",
        proof);
    form_refused(text, "another version");
    (void)snprintf(text, sizeof text,
                   "{\"join\":1,\"id\":\"0123\",\"node\":\"n\",\"address\":\"1.2.3.4:5\","
                   "\"csr\":\"x\",\"proof\":\"%s\"}",
                   proof);
    form_refused(text, "bad id");
    (void)snprintf(
        text, sizeof text,
        "{\"join\":1,\"id\":\"0123456789abcdef\",\"node\":\"N!\",\"address\":\"1.2.3.4:5\","
        "\"csr\":\"x\",\"proof\":\"%s\"}",
        proof);
    form_refused(text, "bad node name");
    (void)snprintf(
        text, sizeof text,
        "{\"join\":1,\"id\":\"0123456789abcdef\",\"node\":\"n\",\"address\":\"1.2.3.4:5\","
        "\"csr\":\"x\",\"proof\":\"%s\"}",
        proof);
    form_refused(text, "bad certificate request");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_join_then_peer),        cmocka_unit_test(test_token_once),
        cmocka_unit_test(test_wrong_secret),          cmocka_unit_test(test_expired_at_the_issuer),
        cmocka_unit_test(test_other_ca_gets_nothing), cmocka_unit_test(test_bad_replies),
        cmocka_unit_test(test_nobody_there),          cmocka_unit_test(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
