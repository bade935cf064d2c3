/*
 * The Nth allocation fails where that is the end of the process: the engine and the command-line
 * program. It says so and ends at once; nothing wrong has been made before, in memory or on disk.
 */
#include "fault.h"

#include <openssl/crypto.h>
#include <unistd.h>

#include "agent/config_store.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/memo.h"
#include "agent/peer_json.h"
#include "base/log.h"
#include "cmd/memory.h"
#include "cmd/show.h"
#include "net/buf.h"
#include "net/token.h"

#define UUID_A "00000000-0000-4000-8000-00000000000a"

/* In a child, where an assertion of cmocka could not be heard. */
static void
must_hold(bool good, const char *what)
{
    if (!good) {
        (void)fprintf(stderr, "wrong: %s\n", what);
        _exit(3);
    }
}

/* --- JSON of the engine --- */

static const struct zb_agent_node nodes[] = {{.name = "vm1", .present = true},
                                             {.name = "vm2", .present = true}};
static char *expected_message;

static json_t *
message_make(void)
{
    static struct zb_manifest_entry entries[] = {{UUID_A, "", 1}};
    const struct zb_manifest set = {
        .id = {3, 9}, .time = {1}, .entries_count = 1, .entries = entries};
    const struct zb_peer_names names = {.nodes = nodes, .count = 2};
    const struct zb_core_msg msg = {.kind = ZB_MSG_REPORT,
                                    .term = 3,
                                    .set = {.id = {3, 9}},
                                    .granted_to = 1,
                                    .learned_leader = 0,
                                    .released_to = ZB_NODE_NONE};
    json_t *json = zb_peer_core_encode(&names, "web", &msg);

    zb_json_put(json, "manifest", zb_json_manifest(&set));
    zb_json_put(json, "text", zb_json_text("K\xc3\xbchlschrank"));
    return json;
}

static enum zb_rc
message_run(void *ctx, struct zb_err *err)
{
    struct zb_buf buf = {0};
    json_t *json = message_make();
    char *text = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    (void)ctx;

    must_hold(strcmp(text, expected_message) == 0, text);
    enum zb_rc rc = zb_buf_json(&buf, ZB_FRAME_JSON, json, ZB_WIRE_FRAME_MAX, err);
    must_hold(rc == ZB_OK && zb_buf_length(&buf) == ZB_FRAME_HEADER_SIZE + strlen(text), "frame");
    json_decref(json);
    zb_buf_close(&buf);
    free(text);
    return rc;
}

static void
messages(void **state)
{
    json_t *json = message_make();
    (void)state;

    expected_message = json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(json);
    fault_loop_ends(&(struct fault_case){.name = "message to a peer", .run = message_run});
    free(expected_message);
}

/* --- the configuration --- */

struct store {
    char dir[64];
    char path[96];
};

static void
doc_fill(struct zb_config_doc *doc, uint64_t version)
{
    static const char text[] = "# K\xc3\xbchlschrank\nservice web {\n members = {vm1}\n"
                               " leader = vm1\n mountpoint = \"/srv/web\"\n}\n";
    struct zb_err err;

    *doc = (struct zb_config_doc){.version = version, .cluster = "c", .nodes_count = 1};
    zb_strcopy(doc->nodes[0].name, sizeof doc->nodes[0].name, "vm1");
    zb_strcopy(doc->nodes[0].address, sizeof doc->nodes[0].address, "10.0.0.1:7979");
    must_hold(zb_config_doc_services_set(doc, text, "text", &err) == ZB_OK, err.msg);
}

static char *expected_text;

static enum zb_rc
doc_run(void *ctx, struct zb_err *err)
{
    struct zb_config_doc doc = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    (void)ctx;

    enum zb_rc rc = zb_config_doc_parse(expected_text, &doc, err);
    if (rc == ZB_OK) {
        rc = zb_config_doc_format(&doc, &text, hash, err);
        must_hold(rc == ZB_OK && strcmp(text, expected_text) == 0, "the text is another one");
    }
    zb_config_doc_close(&doc);
    free(text);
    return rc;
}

static void *
store_setup(void)
{
    struct store *s = calloc(1, sizeof *s);
    struct zb_config_store store = {0};
    struct zb_history *h = NULL;
    struct zb_config_doc doc;
    struct zb_err err;
    bool news;

    assert_non_null(s);
    fault_dir_make(s->dir);
    (void)snprintf(s->path, sizeof s->path, "%s/history.db", s->dir);
    doc_fill(&doc, 1);
    assert_int_equal(zb_history_open(s->path, &h, &err), ZB_OK);
    assert_int_equal(zb_config_store_commit(h, &store, &doc, &news, &err), ZB_OK);
    zb_config_store_close(&store);
    zb_config_doc_close(&doc);
    zb_history_close(h);
    return s;
}

static void
store_teardown(void *ctx)
{
    struct store *s = ctx;

    fault_dir_remove(s->dir);
    free(s);
}

static enum zb_rc
store_run(void *ctx, struct zb_err *err)
{
    const struct zb_config_ballot ballot = {.round = 3, .node = "vm1"};
    const struct store *s = ctx;
    struct zb_config_store store = {0};
    struct zb_config_doc doc = {0};
    enum zb_config_answer answer;
    struct zb_history *h = NULL;
    bool news;
    enum zb_rc rc = zb_history_open(s->path, &h, err);

    if (rc == ZB_OK) {
        rc = zb_config_store_load(h, &store, err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_parse(expected_text, &doc, err);
    }
    if (rc == ZB_OK) {
        doc.version = 2;
        rc = zb_config_store_ask(h, &store, 2, &ballot, &answer, err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_store_propose(h, &store, &ballot, &doc, &answer, err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_store_commit(h, &store, &doc, &news, err);
    }
    zb_config_doc_close(&doc);
    zb_config_store_close(&store);
    zb_history_close(h);
    return rc;
}

/* What is stored has its hash and its form, whatever version it is. */
static void
store_check(void *ctx, enum zb_rc rc)
{
    const struct store *s = ctx;
    struct zb_config_store store = {0};
    struct zb_config_doc doc = {0};
    struct zb_history *h = NULL;
    struct zb_err err;

    (void)rc;
    assert_int_equal(zb_history_open(s->path, &h, &err), ZB_OK);
    if (zb_config_store_load(h, &store, &err) != ZB_OK ||
        zb_config_doc_parse(store.committed_text, &doc, &err) != ZB_OK) {
        fail_msg("not to be loaded again: %s", err.msg);
    }
    assert_int_equal(doc.version, store.acceptor.committed);
    assert_non_null(strstr(doc.text, "K\xc3\xbchlschrank"));
    zb_config_doc_close(&doc);
    if (store.accepted_text != NULL) {
        assert_int_equal(zb_config_doc_parse(store.accepted_text, &doc, &err), ZB_OK);
        zb_config_doc_close(&doc);
    }
    zb_config_store_close(&store);
    zb_history_close(h);
}

static void
configuration(void **state)
{
    struct zb_config_doc doc;
    char hash[ZB_CONFIG_HASH_SIZE];
    struct zb_err err;
    (void)state;

    doc_fill(&doc, 1);
    assert_int_equal(zb_config_doc_format(&doc, &expected_text, hash, &err), ZB_OK);
    zb_config_doc_close(&doc);
    fault_loop_ends(&(struct fault_case){.name = "configuration document", .run = doc_run});
    fault_loop_ends(&(struct fault_case){.name = "configuration in the history",
                                         .setup = store_setup,
                                         .run = store_run,
                                         .check = store_check,
                                         .teardown = store_teardown});
    free(expected_text);
}

/* --- tokens --- */

static enum zb_rc
token_run(void *ctx, struct zb_err *err)
{
    const struct zb_wall now = {1795329600};
    struct zb_token token = {.address = "[fd00::1]:7979", .expires = {now.s + 3600}};
    struct zb_token found = {0};
    struct zb_token_record record;
    struct zb_join_request request = {.node = "vm2", .address = "[fd00::2]:7979", .csr_pem = "csr"};
    char text[ZB_TOKEN_TEXT_SIZE];
    (void)ctx;

    zb_strcopy(token.cluster_id, sizeof token.cluster_id, UUID_A);
    memset(token.ca_fingerprint, 'a', ZB_FINGERPRINT_SIZE - 1);
    enum zb_rc rc = zb_token_create(&token, text, &record, err);
    if (rc == ZB_OK) {
        rc = zb_token_parse(text, now, &found, err);
    }
    if (rc == ZB_OK) {
        must_hold(memcmp(&found, &token, sizeof found) == 0, "token");
        zb_strcopy(request.token_id, sizeof request.token_id, token.id);
        zb_join_request_sign(&request, &found);
        rc = zb_join_request_verify(&request, &record, now, err);
    }
    return rc;
}

static enum zb_rc
certificate_run(void *ctx, struct zb_err *err)
{
    char *texts[5] = {NULL}; /* CA, its key, a key, its request, its certificate */
    (void)ctx;

    enum zb_rc rc = zb_pki_ca_create("c", &texts[0], &texts[1], err);
    struct zb_pem ca = {"ca", texts[0]};
    struct zb_pem ca_key = {"ca key", texts[1]};
    if (rc == ZB_OK) {
        rc = zb_pki_key_create(&texts[2], err);
    }
    struct zb_pem key = {"key", texts[2]};
    if (rc == ZB_OK) {
        rc = zb_pki_csr_create(key, "vm1", &texts[3], err);
    }
    if (rc == ZB_OK) {
        rc = zb_pki_sign(ca, ca_key, (struct zb_pem){"csr", texts[3]}, "vm1", &texts[4], err);
    }
    if (rc == ZB_OK) {
        rc = zb_pki_identity_check(ca, (struct zb_pem){"cert", texts[4]}, key, "vm1", err);
    }
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        zb_pki_text_free(texts[i]);
    }
    return rc;
}

static void
joining(void **state)
{
    (void)state;
    fault_loop_ends(&(struct fault_case){.name = "token", .run = token_run});
    fault_loop_ends(&(struct fault_case){.name = "certificate", .run = certificate_run});
}

/* --- the command-line program --- */

static enum zb_rc
status_run(void *ctx, struct zb_err *err)
{
    const json_t *data = ctx;
    struct zb_show show = {.out = fopen("/dev/null", "we")};

    zb_cmd_memory_use();
    enum zb_rc rc = zb_show_status(&show, data, err);
    (void)fclose(show.out);
    return rc;
}

static void *
status_setup(void)
{
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/cmd/status.json", getenv("ZB_GOLDEN"));
    json_t *data = json_load_file(path, 0, NULL);
    assert_non_null(data);
    return data;
}

static void
status_teardown(void *ctx)
{
    json_decref(ctx);
}

static void
status(void **state)
{
    (void)state;
    fault_loop_ends(&(struct fault_case){.name = "zbaton status",
                                         .setup = status_setup,
                                         .run = status_run,
                                         .teardown = status_teardown});
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages),
        cmocka_unit_test(configuration),
        cmocka_unit_test(joining),
        cmocka_unit_test(status),
    };

    zb_log_init("test_failstop", ZB_LOG_WARNING);
    zb_json_memory_use();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
