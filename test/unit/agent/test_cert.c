/*
 * The renewal of a certificate, step by step: the node that signs, the configuration and the other
 * nodes are played by the test. Keys and certificates are real.
 */
#include "unit.h"

#include "agent/cert.h"
#include "agent/config.h"
#include "agent/files.h"
#include "agent/internal.h"
#include "agent/member.h"
#include "agent/request.h"

static struct zb_agent a;
static struct zb_conf_node conf;
static char *ca_crt, *ca_key;

static struct zb_config_doc doc; /* in force */
static uint8_t behind;           /* who has not said that it knows it */
static struct zb_config_change change;
static struct zb_config_doc wanted;
static int changes;

static struct zb_forward_ask asked;
static bool asked_open;

static char *stored; /* in the history */
static int switched; /* of the net */
static char used[65];

static int done, told_used;
static struct zb_err done_err;

/* --- instead of the other modules --- */

const struct zb_config_doc *
zb_config_current(const struct zb_agent *agent)
{
    (void)agent;
    return &doc;
}

uint8_t
zb_config_behind(const struct zb_agent *agent, uint64_t version)
{
    (void)agent;
    assert_in_range(version, 1, doc.version);
    return behind;
}

void
zb_config_change(struct zb_agent *agent, const struct zb_config_change *c)
{
    struct zb_err err;

    (void)agent;
    assert_null(change.on_done);
    change = *c;
    changes++;
    zb_config_doc_close(&wanted);
    assert_int_equal(zb_config_doc_copy(&wanted, c->doc, &err), ZB_OK);
    assert_int_equal(wanted.version, doc.version + 1);
}

void
zb_forward_start(struct zb_agent *agent, const struct zb_forward_ask *ask)
{
    (void)agent;
    assert_string_equal(ask->cmd, "cert.sign");
    asked = *ask;
    asked.args = json_incref((json_t *)(uintptr_t)ask->args);
    asked_open = true;
}

static void
answer(json_t *result)
{
    asked_open = false;
    json_decref((json_t *)(uintptr_t)asked.args);
    asked.on_result(asked.ctx, result);
    json_decref(result);
}

void
zb_forward_end(struct zb_agent *agent, const void *ctx)
{
    (void)agent;
    if (asked_open && asked.ctx == ctx) {
        answer(json_pack("{s:i, s:s}", "rc", ZB_E_TIMEOUT, "error", "vm2 did not answer in time"));
    }
}

uint8_t
zb_agent_node_find(const struct zb_agent *agent, const char *name)
{
    for (uint8_t i = 0; i < agent->nodes_count; i++) {
        if (strcmp(agent->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return ZB_NODE_NONE;
}

bool
zb_member_is_issuer(const struct zb_agent *agent, uint8_t node)
{
    (void)agent;
    return node == 1;
}

enum zb_rc
zb_member_issuer_check(const struct zb_agent *agent, struct zb_err *err)
{
    (void)agent;
    return zb_err_set(err, ZB_E_REFUSED, "not the one");
}

enum zb_rc
zb_history_meta_get(struct zb_history *h, const char *name, char **value, struct zb_err *err)
{
    (void)h;
    assert_string_equal(name, "identity");
    if (stored == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "none");
    }
    *value = strdup(stored);
    return ZB_OK;
}

enum zb_rc
zb_history_meta_set(struct zb_history *h, const char *name, const char *value, struct zb_err *err)
{
    (void)h;
    (void)name;
    (void)err;
    free(stored);
    stored = strdup(value);
    return ZB_OK;
}

enum zb_rc
zb_net_identity_set(struct zb_net *net, struct zb_pem ca, struct zb_pem cert, struct zb_pem key,
                    struct zb_err *err)
{
    struct zb_pki_cert_info info;

    (void)net;
    assert_int_equal(zb_pki_identity_check(ca, cert, key, "vm1", err), ZB_OK);
    assert_int_equal(zb_pki_cert_info(cert, &info, err), ZB_OK);
    zb_strcopy(used, sizeof(used), info.fingerprint);
    switched++;
    return ZB_OK;
}

void
zb_agent_event(struct zb_agent *agent, uint32_t level, const char *service, const char *rule,
               const char *fmt, ...)
{
    (void)agent;
    (void)level;
    (void)service;
    (void)rule;
    (void)fmt;
}

/* --- keys --- */

static char *
sign(const char *csr, const char *name)
{
    char *cert = NULL;
    struct zb_err err;

    assert_int_equal(zb_pki_sign((struct zb_pem){"ca", ca_crt}, (struct zb_pem){"ca key", ca_key},
                                 (struct zb_pem){"csr", csr}, name, &cert, &err),
                     ZB_OK);
    return cert;
}

static void
identity_make(const char *name, char **cert, char **key)
{
    char *csr = NULL;
    struct zb_err err;

    assert_int_equal(zb_pki_key_create(key, &err), ZB_OK);
    assert_int_equal(zb_pki_csr_create((struct zb_pem){"key", *key}, name, &csr, &err), ZB_OK);
    *cert = sign(csr, name);
    zb_pki_text_free(csr);
}

static void
fingerprint(const char *cert, char text[65])
{
    struct zb_pki_cert_info info;
    struct zb_err err;

    assert_int_equal(zb_pki_cert_info((struct zb_pem){"cert", cert}, &info, &err), ZB_OK);
    zb_strcopy(text, 65, info.fingerprint);
}

/* --- what happens --- */

static void
on_done(void *ctx, const struct zb_wall *ends, const struct zb_err *err)
{
    (void)ctx;
    done++;
    done_err = err != NULL ? *err : (struct zb_err){.rc = ZB_OK};
    assert_int_equal(ends != NULL, err == NULL);
}

static void
on_used(void *ctx, struct zb_wall ends)
{
    (void)ctx;
    assert_true(ends.s > 0);
    assert_int_equal(++told_used, switched); /* once, at the switch */
}

static void
renew(void)
{
    const struct zb_cert_order order = {.who = "root@vm1", .on_used = on_used, .on_done = on_done};

    zb_cert_renew(&a, &order);
}

static void
signed_by_vm2(void)
{
    assert_true(asked_open);
    assert_int_equal(asked.node, 1);
    char *cert = sign(json_string_value(json_object_get(asked.args, "csr")), "vm1");
    answer(json_pack("{s:i, s:{s:s}}", "rc", 0, "data", "cert", cert));
    zb_pki_text_free(cert);
}

static void
changed(enum zb_rc rc)
{
    const struct zb_config_change was = change;
    struct zb_err err = {.rc = rc};
    struct zb_config_outcome outcome = {.rc = rc, .err = &err, .version = wanted.version};

    assert_non_null(was.on_done);
    change = (struct zb_config_change){0};
    if (rc == ZB_OK) {
        zb_config_doc_close(&doc);
        doc = wanted;
        wanted = (struct zb_config_doc){0};
    } else if (rc == ZB_E_STALE) {
        doc.version++;
    }
    was.on_done(was.ctx, &outcome);
}

static void
quick(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (handle->type == UV_TIMER && uv_is_active(handle) &&
        uv_timer_get_repeat((uv_timer_t *)handle) < 1000) {
        uv_timer_set_repeat((uv_timer_t *)handle, 1);
        (void)uv_timer_again((uv_timer_t *)handle);
    }
}

static void
ticks(int count)
{
    uv_walk(&a.loop, quick, NULL);
    for (int i = 0; i < count; i++) {
        (void)uv_run(&a.loop, UV_RUN_NOWAIT);
        uv_sleep(1);
    }
}

static int
setup(void **state)
{
    struct zb_err err;
    (void)state;

    memset(&a, 0, sizeof(a));
    zb_strcopy(conf.node, sizeof(conf.node), "vm1");
    a.conf = &conf;
    a.nodes_count = 3;
    for (int i = 0; i < 3; i++) {
        (void)snprintf(a.nodes[i].name, sizeof(a.nodes[i].name), "vm%d", i + 1);
        (void)snprintf(doc.nodes[i].name, sizeof(doc.nodes[i].name), "vm%d", i + 1);
        a.nodes[i].present = a.nodes[i].up = true;
    }
    identity_make("vm1", &a.pki.node_crt, &a.pki.node_key);
    a.pki.ca_crt = ca_crt;
    doc.version = 7;
    doc.nodes_count = 3;
    zb_strcopy(doc.cluster, sizeof(doc.cluster), "test");
    assert_int_equal(zb_config_doc_services_set(&doc, "", "services", &err), ZB_OK);
    fingerprint(a.pki.node_crt, doc.nodes[0].fingerprint);
    behind = ZB_NODE_NONE;
    change = (struct zb_config_change){0};
    changes = switched = done = told_used = 0;
    if (uv_loop_init(&a.loop) != 0) {
        return 1;
    }
    a.certs = zb_certs_new(&a);
    return 0;
}

static int
teardown(void **state)
{
    (void)state;
    zb_certs_close(&a);
    while (uv_run(&a.loop, UV_RUN_NOWAIT) != 0) {
    }
    zb_config_doc_close(&doc);
    zb_config_doc_close(&wanted);
    zb_pki_text_free(a.pki.node_crt);
    zb_pki_text_free(a.pki.node_key);
    free(stored);
    stored = NULL;
    return uv_loop_close(&a.loop);
}

static void
test_step_by_step(void **state)
{
    char next[65];
    (void)state;

    renew();
    signed_by_vm2();
    zb_strcopy(next, sizeof(next), wanted.nodes[0].next);
    assert_string_equal(wanted.nodes[0].fingerprint, doc.nodes[0].fingerprint);
    changed(ZB_OK);
    ticks(3);
    assert_int_equal(switched, 1);
    assert_string_equal(used, next);
    assert_int_equal(done, 0); /* the next command would meet the last step */
    assert_string_equal(wanted.nodes[0].fingerprint, next);
    assert_string_equal(wanted.nodes[0].next, "");
    changed(ZB_OK);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_OK);
    assert_string_equal(zb_cert_fingerprint(&a), next);
}

/* It would know neither certificate of those that were renewed meanwhile. */
static void
test_not_while_a_node_is_away(void **state)
{
    (void)state;
    a.nodes[2].up = false;
    renew();
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_E_REFUSED);
    assert_non_null(strstr(done_err.msg, "vm3 is not reachable"));
    assert_non_null(strstr(done_err.hint, "zbaton node remove --lost vm3"));
    assert_false(asked_open);
    assert_int_equal(changes, 0);
}

/* A majority agreed; vm3 has not said that it knows. */
static void
test_the_switch_waits_for_everybody(void **state)
{
    (void)state;
    renew();
    signed_by_vm2();
    behind = 2;
    changed(ZB_OK);
    a.nodes[2].up = false;
    ticks(20);
    assert_int_equal(switched, 0);
    assert_null(stored);
    behind = ZB_NODE_NONE;
    for (int i = 0; i < 1000 && switched == 0; i++) {
        ticks(1);
    }
    assert_int_equal(switched, 1);
    behind = 2; /* of a later version */
    ticks(10);
    assert_int_equal(changes, 1);
    assert_int_equal(done, 0);
    behind = ZB_NODE_NONE;
    ticks(3);
    assert_int_equal(changes, 2);
    changed(ZB_OK);
    assert_int_equal(done_err.rc, ZB_OK);
}

static void
test_the_switch_does_not_come(void **state)
{
    (void)state;
    renew();
    signed_by_vm2();
    behind = 2;
    changed(ZB_OK);
    ticks(400);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_E_TIMEOUT);
    assert_non_null(strstr(done_err.msg, "vm3 has not said"));
    assert_int_equal(switched, 0);
    assert_null(stored);

    behind = ZB_NODE_NONE;
    renew(); /* and again */
    signed_by_vm2();
    changed(ZB_OK);
    ticks(3);
    changed(ZB_OK);
    assert_int_equal(done, 2);
    assert_int_equal(done_err.rc, ZB_OK);
    assert_string_equal(doc.nodes[0].fingerprint, used);
}

/* The one that is used would go from the configuration, and this node with it. */
static void
test_not_before_the_last_step_of_the_one_before(void **state)
{
    (void)state;
    renew();
    signed_by_vm2();
    changed(ZB_OK);
    ticks(3);
    changed(ZB_E_NOQUORUM);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_OK);
    assert_string_equal(doc.nodes[0].next, used);

    renew();
    assert_int_equal(done, 2);
    assert_int_equal(done_err.rc, ZB_E_BUSY);
    assert_false(asked_open);
    assert_int_equal(changes, 3); /* the last step, at once */
    changed(ZB_OK);
    assert_string_equal(doc.nodes[0].fingerprint, used);
    assert_string_equal(doc.nodes[0].next, "");
    renew();
    signed_by_vm2();
    changed(ZB_OK);
    ticks(3);
    changed(ZB_OK);
    assert_int_equal(done, 3);
    assert_int_equal(done_err.rc, ZB_OK);
}

static void
test_nobody_signs(void **state)
{
    (void)state;
    renew();
    assert_true(asked_open);
    ticks(400);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_E_TIMEOUT);
    assert_string_equal(done_err.msg, "vm2 did not answer in time");
    assert_int_equal(changes, 0);
}

/* Once each. */
static void
test_another_change_came_first(void **state)
{
    (void)state;
    renew();
    signed_by_vm2();
    changed(ZB_E_STALE);
    assert_int_equal(done, 0);
    changed(ZB_OK);
    ticks(3);
    assert_int_equal(switched, 1);
    changed(ZB_E_STALE);
    assert_int_equal(done, 0);
    ticks(3);
    changed(ZB_OK);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_OK);

    renew();
    signed_by_vm2();
    changed(ZB_E_STALE);
    changed(ZB_E_STALE);
    assert_int_equal(done, 2);
    assert_int_equal(done_err.rc, ZB_E_STALE);
    assert_int_equal(switched, 1);
}

static void
test_the_end_of_the_daemon(void **state)
{
    (void)state;
    renew();
    signed_by_vm2();
    behind = 2;
    changed(ZB_OK);
    ticks(3);
    zb_certs_close(&a);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_E_CLOSED);
}

static void
store(const char *cert, const char *key)
{
    json_t *identity = json_pack("{s:s, s:s}", "cert", cert, "key", key);

    free(stored);
    stored = json_dumps(identity, JSON_COMPACT);
    json_decref(identity);
}

/* The one in the files is not what the others accept any more: no way out of a bad one. */
static void
test_what_is_loaded(void **state)
{
    char *cert = NULL, *key = NULL, *bad = NULL, *bad_key = NULL;
    char wanted_print[65], now[65];
    struct zb_err err;
    (void)state;

    assert_int_equal(zb_cert_load(&a, &err), ZB_OK); /* none */
    identity_make("vm9", &bad, &bad_key);
    store(bad, bad_key);
    assert_int_equal(zb_cert_load(&a, &err), ZB_E_AUTH);
    assert_non_null(strstr(err.msg, "renewed certificate"));
    assert_non_null(strstr(err.hint, "zbaton cert renew --token"));
    stored[0] = 'x';
    assert_int_equal(zb_cert_load(&a, &err), ZB_E_FORMAT);
    identity_make("vm1", &cert, &key);
    store(cert, key);
    assert_int_equal(zb_cert_load(&a, &err), ZB_OK);
    fingerprint(cert, wanted_print);
    fingerprint(a.pki.node_crt, now);
    assert_string_equal(now, wanted_print);
    zb_pki_text_free(cert);
    zb_pki_text_free(key);
    zb_pki_text_free(bad);
    zb_pki_text_free(bad_key);
}

#define cert_test(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cert_test(test_step_by_step),
        cert_test(test_not_while_a_node_is_away),
        cert_test(test_the_switch_waits_for_everybody),
        cert_test(test_the_switch_does_not_come),
        cert_test(test_not_before_the_last_step_of_the_one_before),
        cert_test(test_nobody_signs),
        cert_test(test_another_change_came_first),
        cert_test(test_the_end_of_the_daemon),
        cert_test(test_what_is_loaded),
    };
    struct zb_err err;

    zb_log_init("test_cert", ZB_LOG_ERROR);
    if (zb_pki_ca_create("test", &ca_crt, &ca_key, &err) != ZB_OK) {
        return 1;
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    zb_pki_text_free(ca_crt);
    zb_pki_text_free(ca_key);
    return failed;
}
