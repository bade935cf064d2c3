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

/* One that lets in, and one that asks with its token. */
struct site {
    struct world world;
    struct host host;
    struct asking asking;
    char *key;
};

static void
ask(struct site *s)
{
    struct asking *a = &s->asking;
    a->done = false;
    memset(&a->result, 0, sizeof a->result);
    a->ask = (struct zb_join_ask){.token = &a->token,
                                  .node = "newcomer",
                                  .address = "10.0.0.9:7979",
                                  .key = {"node.key", s->key},
                                  .timeout_ms = 3000};
    assert_int_equal(pthread_create(&a->thread, NULL, ask_thread, a), 0);
    WAIT(&s->world, a->done);
    pthread_join(a->thread, NULL);
}

static int
setup(void **state)
{
    struct site *s = calloc(1, sizeof *s);
    struct zb_err err;
    assert_non_null(s);
    world_open(&s->world);
    host_init(&s->host, &s->world, "alfa");
    host_start(&s->host);
    s->host.on_join = let_in;
    assert_int_equal(zb_pki_key_create(&s->key, &err), ZB_OK);
    token_of(&s->host, &s->asking.token);
    *state = s;
    return 0;
}

static int
teardown(void **state)
{
    struct site *s = *state;
    zb_pki_text_free(s->key);
    host_close(&s->host);
    world_close(&s->world);
    free(s);
    return 0;
}

static void
test_join_then_peer(void **state)
{
    struct site *s = *state;
    struct host newcomer;
    struct zb_pki_cert_info info;
    struct zb_err err;
    ask(s);
    if (s->asking.rc != ZB_OK) {
        fail_msg("%s", s->asking.err.msg);
    }
    assert_string_equal(s->asking.result.cluster_name, "garden");
    assert_int_equal(s->asking.result.nodes_count, 1);
    assert_string_equal(s->asking.result.nodes[0].name, "alfa");
    assert_string_equal(s->asking.result.ca_pem, s->world.ca_cert);

    host_init(&newcomer, &s->world, "newcomer"); /* with the certificate that it was given */
    zb_pki_text_free(newcomer.key);
    zb_pki_text_free(newcomer.cert);
    newcomer.key = strdup(s->key);
    newcomer.cert = strdup(s->asking.result.cert_pem);
    assert_int_equal(zb_pki_cert_info((struct zb_pem){"cert", newcomer.cert}, &info, &err), ZB_OK);
    zb_strcopy(newcomer.fingerprint, sizeof newcomer.fingerprint, info.fingerprint);
    host_start(&newcomer);
    host_knows(&newcomer, &s->host);
    host_knows(&s->host, &newcomer);
    WAIT(&s->world, s->host.ups == 1 && newcomer.ups == 1);

    zb_join_result_close(&s->asking.result);
    host_close(&newcomer);
}

static void
test_token_once(void **state)
{
    struct site *s = *state;
    ask(s);
    assert_int_equal(s->asking.rc, ZB_OK);
    zb_join_result_close(&s->asking.result);
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_REFUSED);
    assert_non_null(strstr(s->asking.err.msg, "refused: token: used before"));
    assert_about(s->asking.err.hint, "zbaton token create");
    assert_null(s->asking.result.cert_pem);
}

static void
test_wrong_secret(void **state)
{
    struct site *s = *state;
    s->asking.token.secret[0] ^= 1;
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_REFUSED);
    assert_int_equal(verify_err.rc, ZB_E_AUTH);
    assert_false(record.used);
}

static void
test_expired_at_the_issuer(void **state)
{
    struct site *s = *state;
    record.expires.s = zb_wall_now().s - 1;
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_REFUSED);
    assert_int_equal(verify_err.rc, ZB_E_STALE);
}

/* Somebody else answers at the token's address: nothing of ours is sent. */
static void
test_other_ca_gets_nothing(void **state)
{
    struct site *s = *state;
    struct world other;
    struct host impostor;
    world_open(&other);
    host_init(&impostor, &other, "alfa");
    impostor.world = &s->world;
    char *ca = s->world.ca_cert;
    s->world.ca_cert = other.ca_cert;
    host_start(&impostor);
    s->world.ca_cert = ca;
    zb_strcopy(s->asking.token.address, sizeof s->asking.token.address, impostor.address);
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_AUTH);
    assert_non_null(
        strstr(s->asking.err.msg, "not the cluster that the token is of (nothing was sent)"));
    WAIT(&s->world, impostor.refusals == 1); /* an alert in the handshake, no frame */
    assert_non_null(strstr(impostor.refused_reason, "alert"));
    assert_int_equal(impostor.joins + s->host.joins, 0);

    host_close(&impostor);
    world_close(&other);
}

/* The reply is checked too. */
static void
reply_of(struct host *h, const struct zb_join_request *request, const char *cluster_id)
{
    struct zb_err err;
    struct zb_join_result result = {.cert_pem = h->cert, .ca_pem = h->world->ca_cert};
    zb_strcopy(result.cluster_id, sizeof result.cluster_id, cluster_id);
    zb_strcopy(result.cluster_name, sizeof result.cluster_name, "garden");
    assert_int_equal(zb_net_join_reply(h->net, request->id, &result, &err), ZB_OK);
}

static void
reply_other_cluster(struct host *h, const struct zb_join_request *request)
{
    reply_of(h, request, WORLD_OTHER_CLUSTER);
}

static void
reply_other_cert(struct host *h, const struct zb_join_request *request)
{
    reply_of(h, request, WORLD_CLUSTER);
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
    struct site *s = *state;
    struct zb_err err;
    s->host.on_join = reply_other_cluster;
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_AUTH);
    s->host.on_join = reply_other_cert;
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_MISMATCH);
    s->host.on_join = reply_never;
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_TIMEOUT);
    struct zb_join_result result = {.cert_pem = s->host.cert, .ca_pem = s->world.ca_cert};
    for (int i = 0; i < 50; i++) {
        world_step(&s->world); /* the loop sees that the joiner left */
    }
    assert_int_equal(zb_net_join_reply(s->host.net, 3, &result, &err), ZB_E_CLOSED);
    zb_net_join_refuse(s->host.net, 3, "too late"); /* nothing happens */
}

static void
test_nobody_there(void **state)
{
    struct site *s = *state;
    zb_strcopy(s->asking.token.address, sizeof s->asking.token.address, "127.0.0.1:1");
    ask(s);
    assert_int_equal(s->asking.rc, ZB_E_SYS);
    assert_non_null(strstr(s->asking.err.msg, "join: connect to 127.0.0.1:1"));
    assert_about(s->asking.err.hint, "systemctl status zbaton");
}

static void
form_refused(struct site *s, const char *json, const char *words)
{
    struct raw r;
    raw_connect(&r, &s->world, s->host.address);
    assert_true(raw_tls(&r, s->world.ca_cert, NULL, NULL));
    raw_frame(&r, ZB_FRAME_JSON, json);
    json_t *answer = raw_json(&r);
    assert_non_null(answer);
    const char *error = json_string_value(json_object_get(answer, "error"));
    assert_about(error, words);
    json_decref(answer);
    assert_int_equal(s->host.joins, 0);
    raw_close(&r);
}

static void
request_refused(struct site *s, int version, const char *id, const char *node, const char *words)
{
    uint8_t zero[ZB_JOIN_PROOF_SIZE] = {0};
    char text[1024], proof[2 * ZB_JOIN_PROOF_SIZE + 1];
    zb_hex_format(zero, sizeof zero, proof);
    (void)snprintf(text, sizeof text,
                   "{\"join\":%d,\"id\":\"%s\",\"node\":\"%s\",\"address\":\"1.2.3.4:5\","
                   "\"csr\":\"x\",\"proof\":\"%s\"}",
                   version, id, node, proof);
    form_refused(s, text, words);
}

static void
test_bad_requests(void **state)
{
    struct site *s = *state;
    form_refused(s, "{\"error\":\"x\"}", "only a join request");
    form_refused(s, "{\"join\":1}", "only a join request");
    request_refused(s, 2, "0123456789abcdef", "n", "another version");
    request_refused(s, 1, "0123", "n", "bad id");
    request_refused(s, 1, "0123456789abcdef", "N!", "bad node name");
    request_refused(s, 1, "0123456789abcdef", "n", "bad certificate request");
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_join_then_peer),        T(test_token_once),
        T(test_wrong_secret),          T(test_expired_at_the_issuer),
        T(test_other_ca_gets_nothing), T(test_bad_replies),
        T(test_nobody_there),          T(test_bad_requests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
