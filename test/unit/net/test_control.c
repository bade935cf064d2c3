/* Control connections between nets: up, messages, down, who is refused. */
#include "world.h"

#include <openssl/pem.h>
#include <unistd.h>

static void
send_text(struct host *from, const struct host *to, const char *text)
{
    struct zb_err err;
    json_t *msg = json_pack("{s:s}", "text", text);
    assert_int_equal(zb_net_send(from->net, to->name, msg, &err), ZB_OK);
    json_decref(msg);
}

static const char *
text_of(const struct host *h)
{
    return json_string_value(json_object_get(h->message, "text"));
}

static void
test_messages_both_ways(void **state)
{
    struct world w;
    struct host a, b;
    (void)state;
    pair_open(&w, &a, &b);
    send_text(&a, &b, "from alfa");
    send_text(&b, &a, "from bravo");
    WAIT(&w, a.messages == 1 && b.messages == 1);
    assert_string_equal(text_of(&b), "from alfa");
    assert_string_equal(text_of(&a), "from bravo");
    for (int i = 0; i < 1000; i++) {
        send_text(&a, &b, i < 999 ? "again" : "last");
    }
    WAIT(&w, b.messages == 1001);
    assert_string_equal(text_of(&b), "last");
    pair_close(&w, &a, &b);
}

static void
test_long_message(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    char *text = calloc(1, ZB_WIRE_FRAME_MAX + 1);
    memset(text, 'x', ZB_WIRE_FRAME_MAX - 100);
    send_text(&a, &b, text);
    WAIT(&w, b.messages == 1);
    assert_int_equal(strlen(text_of(&b)), ZB_WIRE_FRAME_MAX - 100);

    memset(text, 'x', ZB_WIRE_FRAME_MAX);
    json_t *msg = json_pack("{s:s}", "text", text);
    assert_int_equal(zb_net_send(a.net, "bravo", msg, &err), ZB_E_LIMIT);
    json_decref(msg);
    send_text(&a, &b, "still up");
    WAIT(&w, b.messages == 2);
    free(text);
    pair_close(&w, &a, &b);
}

static void
test_send_to_nobody(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    json_t *msg = json_pack("{s:i}", "x", 1);
    assert_int_equal(zb_net_send(a.net, "charlie", msg, &err), ZB_E_NOTFOUND);
    host_stop(&b);
    WAIT(&w, a.downs == 1);
    assert_int_equal(zb_net_send(a.net, "bravo", msg, &err), ZB_E_CLOSED);
    json_decref(msg);
    pair_close(&w, &a, &b);
}

static void
test_reconnect_after_restart(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_net_peer_status status;
    (void)state;
    pair_open(&w, &a, &b);
    assert_true(zb_net_peer_status(a.net, "bravo", &status));
    assert_true(status.up);
    uint64_t nonce = status.nonce;

    host_stop(&b);
    WAIT(&w, a.downs == 1);
    assert_true(zb_net_peer_status(a.net, "bravo", &status));
    assert_false(status.up);
    assert_string_not_equal(status.reason, "");
    b.downs = b.ups; /* its net was freed, which tells nothing */
    host_start(&b);
    host_knows(&b, &a);
    WAIT(&w, a.ups == 2 && b.ups == 2);
    assert_true(zb_net_peer_status(a.net, "bravo", &status));
    assert_true(status.up && status.nonce != nonce);
    send_text(&b, &a, "back");
    WAIT(&w, a.messages == 1);
    pair_close(&w, &a, &b);
}

static void
test_removed_peer_goes_down(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_err err;
    struct zb_net_peer_status status;
    (void)state;
    pair_open(&w, &a, &b);
    assert_int_equal(zb_net_peers_set(b.net, NULL, 0, &err), ZB_OK);
    assert_false(zb_net_peer_status(b.net, "alfa", &status));
    WAIT(&w, a.downs == 1 && b.downs == 1 && b.refusals == 1);
    assert_string_equal(b.down_reason, "the node was removed");
    assert_string_equal(b.refused_reason, "alfa is not a node of this cluster");
    WAIT(&w, a.refusals == 1);
    assert_string_equal(a.refused_reason,
                        "the other side refused: alfa is not a node of this cluster");
    host_knows(&b, &a); /* and back */
    WAIT(&w, a.ups == 2 && b.ups == 2);
    pair_close(&w, &a, &b);
}

static void
test_peers_set_checks(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    struct zb_net_peer peers[2] = {{"bravo", "127.0.0.1:1", ""}, {"bravo", "127.0.0.1:2", ""}};
    assert_int_equal(zb_net_peers_set(a.net, peers, 2, &err), ZB_E_USAGE);
    struct zb_net_peer bad_address = {"bravo", "vm2:7979", ""};
    assert_int_equal(zb_net_peers_set(a.net, &bad_address, 1, &err), ZB_E_USAGE);
    struct zb_net_peer bad_pin = {"bravo", "127.0.0.1:1", "abc"};
    assert_int_equal(zb_net_peers_set(a.net, &bad_pin, 1, &err), ZB_E_USAGE);
    assert_int_equal(a.downs, 0);
    pair_close(&w, &a, &b);
}

/* a and b, started but with whatever the test changed before; waits for both events of a refusal.
 */
static void
refused_pair(struct world *w, struct host *a, struct host *b, const char *words)
{
    host_start(a);
    host_start(b);
    host_knows(a, b);
    host_knows(b, a);
    WAIT(w, a->refusals > 0 || b->refusals > 0);
    const struct host *teller = b->refusals > 0 ? b : a;
    assert_about(teller->refused_reason, words);
    assert_int_equal(a->ups + b->ups, 0);
}

static void
test_wrong_cluster(void **state)
{
    struct world w;
    struct host a, b;
    (void)state;
    pair_init(&w, &a, &b);
    b.cluster_id = WORLD_OTHER_CLUSTER;
    refused_pair(&w, &a, &b, "alfa is of cluster " WORLD_CLUSTER);
    WAIT(&w, a.refusals > 0);
    assert_non_null(strstr(a.refused_reason, "the other side refused"));
    pair_close(&w, &a, &b);
}

static void
test_wrong_ca(void **state)
{
    struct world w, other;
    struct host a, b;
    (void)state;
    world_open(&w);
    world_open(&other);
    host_init(&a, &other, "alfa");
    host_init(&b, &w, "bravo");
    a.world = &w;
    char *ca = w.ca_cert;
    w.ca_cert = other.ca_cert; /* alfa trusts the other CA ... */
    host_start(&a);
    w.ca_cert = ca; /* ... bravo ours */
    host_start(&b);
    host_knows(&a, &b);
    host_knows(&b, &a);
    WAIT(&w, a.refusals > 0);
    assert_non_null(strstr(a.refused_reason, "certificate: "));
    assert_int_equal(a.ups + b.ups, 0);
    pair_close(&w, &a, &b);
    world_close(&other);
}

static void
test_wrong_name_in_the_table(void **state)
{
    struct world w;
    struct host a, b;
    (void)state;
    pair_init(&w, &a, &b);
    host_start(&a);
    host_start(&b);
    zb_strcopy(b.name, sizeof b.name, "charlie"); /* as alfa's table calls bravo's address */
    host_knows(&a, &b);
    WAIT(&w, a.refusals > 0);
    assert_string_equal(a.refused_reason, "its certificate is of bravo, not of charlie");
    pair_close(&w, &a, &b);
}

static void
test_wrong_pin(void **state)
{
    struct world w;
    struct host a, b, again;
    (void)state;
    pair_init(&w, &a, &b);
    host_init(&again, &w, "alfa");
    zb_strcopy(a.fingerprint, sizeof a.fingerprint, again.fingerprint); /* what bravo pins */
    refused_pair(&w, &a, &b, "the certificate of alfa is not the pinned one");
    host_close(&again);
    pair_close(&w, &a, &b);
}

static void
test_pin_changed_while_up(void **state)
{
    struct world w;
    struct host a, b, again;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    host_init(&again, &w, "alfa");
    zb_strcopy(a.fingerprint, sizeof a.fingerprint, again.fingerprint);
    host_knows(&b, &a);
    WAIT(&w, a.downs == 1 && b.downs == 1);
    /* alfa gets the certificate that bravo wants. */
    struct zb_pem ca = {"ca", w.ca_cert}, cert = {"cert", again.cert}, key = {"key", again.key};
    assert_int_equal(zb_net_identity_set(a.net, ca, cert, (struct zb_pem){"key", a.key}, &err),
                     ZB_E_MISMATCH);
    assert_int_equal(zb_net_identity_set(a.net, ca, cert, key, &err), ZB_OK);
    WAIT(&w, a.ups == 2 && b.ups == 2);
    host_close(&again);
    pair_close(&w, &a, &b);
}

/* While one certificate takes the place of another, both are good; then the old one is not. */
static void
test_two_pins_while_it_is_renewed(void **state)
{
    struct world w;
    struct host a, b, again;
    struct zb_net_peer peer = {0};
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    host_init(&again, &w, "alfa");
    zb_strcopy(peer.name, sizeof peer.name, "alfa");
    zb_strcopy(peer.address, sizeof peer.address, a.address);
    zb_strcopy(peer.fingerprint, sizeof peer.fingerprint, a.fingerprint);
    zb_strcopy(peer.next, sizeof peer.next, "not hex");
    assert_int_equal(zb_net_peers_set(b.net, &peer, 1, &err), ZB_E_USAGE);
    zb_strcopy(peer.next, sizeof peer.next, again.fingerprint);
    assert_int_equal(zb_net_peers_set(b.net, &peer, 1, &err), ZB_OK);
    struct zb_pem ca = {"ca", w.ca_cert}, cert = {"cert", again.cert}, key = {"key", again.key};
    assert_int_equal(zb_net_identity_set(a.net, ca, cert, key, &err), ZB_OK);
    uint64_t until_ms = world_now_ms() + 300;
    WAIT(&w, world_now_ms() > until_ms);
    assert_int_equal(a.downs + b.downs, 0); /* the connection of before stays */
    zb_strcopy(peer.fingerprint, sizeof peer.fingerprint, again.fingerprint);
    peer.next[0] = '\0';
    assert_int_equal(zb_net_peers_set(b.net, &peer, 1, &err), ZB_OK);
    WAIT(&w, a.downs == 1 && a.ups == 2 && b.ups == 2);
    cert.text = a.cert;
    key.text = a.key;
    assert_int_equal(zb_net_identity_set(a.net, ca, cert, key, &err), ZB_OK);
    host_stop(&b);
    host_start(&b);
    assert_int_equal(zb_net_peers_set(b.net, &peer, 1, &err), ZB_OK);
    WAIT(&w, b.refusals > 0);
    assert_string_equal(b.refused_reason, "the certificate of alfa is not the pinned one");
    host_close(&again);
    pair_close(&w, &a, &b);
}

/* The host's certificate as it would be if it ended so soon. */
static void
cert_shorten(struct host *h, long seconds)
{
    BIO *in = BIO_new_mem_buf(h->cert, -1), *key_in = BIO_new_mem_buf(h->world->ca_key, -1);
    BIO *out = BIO_new(BIO_s_mem());
    X509 *cert = PEM_read_bio_X509(in, NULL, NULL, NULL);
    EVP_PKEY *ca_key = PEM_read_bio_PrivateKey(key_in, NULL, NULL, NULL);
    struct zb_pki_cert_info info;
    struct zb_err err;
    char *text;
    assert_non_null(X509_gmtime_adj(X509_getm_notAfter(cert), seconds));
    assert_true(X509_sign(cert, ca_key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_bio_X509(out, cert), 1);
    long size = BIO_get_mem_data(out, &text);
    zb_pki_text_free(h->cert);
    h->cert = strndup(text, (size_t)size);
    assert_int_equal(zb_pki_cert_info((struct zb_pem){"cert", h->cert}, &info, &err), ZB_OK);
    zb_strcopy(h->fingerprint, sizeof h->fingerprint, info.fingerprint);
    EVP_PKEY_free(ca_key);
    X509_free(cert);
    BIO_free(in);
    BIO_free(key_in);
    BIO_free(out);
}

static void
test_an_expired_certificate_is_refused_until_it_is_renewed(void **state)
{
    struct world w;
    struct host a, b, again;
    struct zb_pki_cert_info info;
    struct zb_err err;
    (void)state;
    pair_init(&w, &a, &b);
    cert_shorten(&a, 3);
    assert_int_equal(zb_pki_cert_info((struct zb_pem){"cert", a.cert}, &info, &err), ZB_OK);
    pair_start(&w, &a, &b);
    WAIT(&w, zb_wall_now().s > info.not_after.s);
    assert_int_equal(a.downs, 0); /* what stands, stands */
    host_stop(&b);
    b.ups = 0;
    host_start(&b);
    host_knows(&b, &a);
    WAIT(&w, b.refusals > 0);
    assert_string_equal(b.refused_reason, "certificate: certificate has expired");
    WAIT(&w, a.refusals > 0);
    assert_about(a.refused_reason, "expired");

    struct zb_pem ca = {"ca.crt", w.ca_cert}, cert = {"node.crt", a.cert},
                  key = {"node.key", a.key};
    assert_int_equal(zb_net_identity_set(a.net, ca, cert, key, &err), ZB_E_AUTH);
    assert_string_equal(err.msg, "node.crt: certificate has expired");
    host_init(&again, &w, "alfa");
    cert.text = again.cert;
    key.text = again.key;
    assert_int_equal(zb_net_identity_set(a.net, ca, cert, key, &err), ZB_OK);
    zb_strcopy(a.fingerprint, sizeof a.fingerprint, again.fingerprint);
    host_knows(&b, &a);
    WAIT(&w, a.ups == 2 && b.ups == 1);
    host_close(&again);
    pair_close(&w, &a, &b);
}

static void
test_ping_keeps_an_idle_connection(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_net_peer_status status;
    (void)state;
    pair_init(&w, &a, &b);
    a.timing.ping_ms = b.timing.ping_ms = 100;
    a.timing.dead_ms = b.timing.dead_ms = 600;
    pair_start(&w, &a, &b);
    uint64_t until_ms = world_now_ms() + 1500;
    WAIT(&w, world_now_ms() > until_ms);
    assert_int_equal(a.downs + b.downs, 0);
    assert_true(zb_net_peer_status(a.net, "bravo", &status));
    assert_true(status.rtt_us > 0);
    pair_close(&w, &a, &b);
}

static void
test_new_checks_its_identity(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_err err;
    struct zb_net *net = NULL;
    (void)state;
    pair_init(&w, &a, &b);
    struct zb_net_options options = {
        .loop = &w.loop,
        .node = "alfa",
        .cluster_id = WORLD_CLUSTER,
        .ca = {"ca.crt", w.ca_cert},
        .cert = {"node.crt", b.cert},
        .key = {"node.key", b.key},
        .listen = "127.0.0.1:0",
    };
    assert_int_equal(zb_net_new(&options, &net, &err), ZB_E_AUTH);
    assert_string_equal(err.msg, "node.crt: is of node bravo, not of alfa");
    options.cert.text = a.cert;
    options.key.text = a.key;
    options.listen = "example.org:7979";
    assert_int_equal(zb_net_new(&options, &net, &err), ZB_E_USAGE);
    pair_close(&w, &a, &b);
}

/* A peer that takes nothing: its queue fills, then the connection is dropped. */
static void
test_queue_is_bounded(void **state)
{
    struct world w;
    struct host a, b;
    struct zb_err err;
    (void)state;
    pair_open(&w, &a, &b);
    char *text = calloc(1, 1000001);
    memset(text, 'x', 1000000);
    json_t *msg = json_pack("{s:s}", "text", text);
    int sent = 0;
    while (zb_net_send(a.net, "bravo", msg, &err) == ZB_OK) {
        sent++; /* the loop does not run: nothing leaves */
        assert_true(sent < 20);
    }
    assert_int_equal(err.rc, ZB_E_LIMIT);
    assert_int_equal(sent, 8);
    WAIT(&w, a.downs == 1);
    assert_non_null(strstr(a.down_reason, "does not take its messages"));
    WAIT(&w, a.ups == 2 && b.ups == 2);
    json_decref(msg);
    free(text);
    pair_close(&w, &a, &b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_messages_both_ways),
        cmocka_unit_test(test_long_message),
        cmocka_unit_test(test_send_to_nobody),
        cmocka_unit_test(test_reconnect_after_restart),
        cmocka_unit_test(test_removed_peer_goes_down),
        cmocka_unit_test(test_peers_set_checks),
        cmocka_unit_test(test_wrong_cluster),
        cmocka_unit_test(test_wrong_ca),
        cmocka_unit_test(test_wrong_name_in_the_table),
        cmocka_unit_test(test_wrong_pin),
        cmocka_unit_test(test_pin_changed_while_up),
        cmocka_unit_test(test_two_pins_while_it_is_renewed),
        cmocka_unit_test(test_an_expired_certificate_is_refused_until_it_is_renewed),
        cmocka_unit_test(test_ping_keeps_an_idle_connection),
        cmocka_unit_test(test_new_checks_its_identity),
        cmocka_unit_test(test_queue_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
