/* Messages between cores as JSON: what goes out comes back; what is wrong is refused whole. */
#include "unit.h"

#include "agent/json.h"
#include "agent/peer_json.h"

static const struct zb_agent_node nodes[] = {
    {.present = true, .name = "vm1"},
    {.present = true, .name = "vm2"},
    {.present = false, .name = "old"},
};
static const struct zb_peer_names names = {.nodes = nodes, .count = 3};

static struct zb_core_msg
report(void)
{
    struct zb_core_msg m = {.kind = ZB_MSG_REPORT,
                            .nonce = UINT64_MAX, /* beyond 2^53 and beyond int64 */
                            .number = UINT64_MAX - 1,
                            .version = 7,
                            .set = {.id = {.term = 12, .seq = 0}},
                            .suspects = 5,
                            .granted_term = UINT64_C(1) << 60,
                            .granted_to = 1,
                            .role = ZB_ROLE_LEADING,
                            .learned_term = 12,
                            .learned_leader = 0,
                            .established_term = 12,
                            .released_term = 11,
                            .released_to = 2,
                            .lineage = {.count = 2, .lines = {{1, {0, 0}}, {12, {11, 345}}}},
                            .running = true,
                            .exists = true,
                            .start_ms = UINT32_MAX,
                            .bases_count = 2,
                            .bases = {{.term = 12, .seq = 0}, {.term = 3, .seq = UINT64_MAX}},
                            .modified = true,
                            .parted = true,
                            .key = ZB_KEY_OTHER,
                            .written_bytes = UINT64_C(1) << 40,
                            .seen = {.granted_term = 13,
                                     .granted_to = 2,
                                     .learned_term = 12,
                                     .learned_leader = 1,
                                     .suspects = 6},
                            .floor = {.term = 2, .seq = 9},
                            .floor_way = {.term = 3, .seq = 1}};
    for (int i = 0; i < ZB_DIGEST_SIZE; i++) {
        m.set.digest[i] = (uint8_t)(17 * i);
    }
    return m;
}

/* Through the text, as on the wire. */
static json_t *
sent(const struct zb_core_msg *m)
{
    json_t *json = zb_peer_core_encode(&names, "web", m);
    char *text = json_dumps(json, JSON_COMPACT);
    json_decref(json);
    json = json_loads(text, 0, NULL);
    free(text);
    assert_non_null(json);
    return json;
}

static void
assert_same(const struct zb_core_msg *a, const struct zb_core_msg *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_true(a->term == b->term && a->nonce == b->nonce && a->version == b->version);
    assert_true(a->number == b->number);
    assert_int_equal(a->rc, b->rc);
    assert_true(zb_set_ref_equal(&a->set, &b->set));
    assert_memory_equal(&a->lineage, &b->lineage, sizeof(a->lineage));
    assert_int_equal(a->suspects, b->suspects);
    assert_true(a->failover == b->failover && a->allow_loss == b->allow_loss);
    assert_int_equal(a->sees_leader, b->sees_leader);
    assert_true(a->granted_term == b->granted_term && a->learned_term == b->learned_term);
    assert_true(a->established_term == b->established_term);
    assert_true(a->released_term == b->released_term);
    assert_int_equal(a->granted_to, b->granted_to);
    assert_int_equal(a->learned_leader, b->learned_leader);
    assert_int_equal(a->released_to, b->released_to);
    assert_int_equal(a->role, b->role);
    assert_true(a->running == b->running && a->modified == b->modified && a->parted == b->parted &&
                a->exists == b->exists && a->key == b->key);
    assert_int_equal(a->start_ms, b->start_ms);
    assert_true(a->written_bytes == b->written_bytes);
    assert_true(a->seen.granted_term == b->seen.granted_term &&
                a->seen.learned_term == b->seen.learned_term);
    assert_int_equal(a->seen.granted_to, b->seen.granted_to);
    assert_int_equal(a->seen.learned_leader, b->seen.learned_leader);
    assert_int_equal(a->seen.suspects, b->seen.suspects);
    assert_int_equal(a->node, b->node);
    assert_int_equal(zb_set_id_cmp(a->floor, b->floor), 0);
    assert_int_equal(zb_set_id_cmp(a->floor_way, b->floor_way), 0);
    assert_int_equal(a->bases_count, b->bases_count);
    for (uint32_t i = 0; i < a->bases_count; i++) {
        assert_int_equal(zb_set_id_cmp(a->bases[i], b->bases[i]), 0);
    }
}

static void
every_kind_comes_back(void **state)
{
    (void)state;
    for (int kind = ZB_MSG_REPORT; kind <= ZB_MSG_LAST; kind++) {
        struct zb_core_msg m = report();
        struct zb_core_msg got;
        struct zb_err err;
        char service[ZB_SERVICE_NAME_SIZE];
        if (kind != ZB_MSG_REPORT) {
            m = (struct zb_core_msg){
                .kind = (enum zb_msg_kind)kind,
                .term = 3,
                .nonce = 4,
                .node = kind >= ZB_MSG_COPY_ASK ? 1 : 0,
                .rc = ZB_E_STALE,
                .suspects = 2,
                .failover = kind == ZB_MSG_GRANT_ASK,
                .allow_loss = kind == ZB_MSG_GRANT_ASK,
                .sees_leader = kind == ZB_MSG_GRANT_ANSWER,
                .granted_to = ZB_NODE_NONE,
                .learned_leader = ZB_NODE_NONE,
                .released_to = ZB_NODE_NONE,
                .seen = {.granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE}};
        }
        json_t *json = sent(&m);
        assert_int_equal(zb_peer_core_decode(&names, json, service, &got, &err), ZB_OK);
        assert_string_equal(service, "web");
        assert_same(&m, &got);
        json_decref(json);
    }
}

/* Decoding the report with one key changed. Takes value; NULL removes the key. */
static enum zb_rc
changed(const char *key, json_t *value)
{
    struct zb_core_msg m = report();
    struct zb_core_msg got = {.term = 99};
    struct zb_err err;
    char service[ZB_SERVICE_NAME_SIZE] = "untouched";
    json_t *json = sent(&m);
    if (value == NULL) {
        assert_int_equal(json_object_del(json, key), 0);
    } else {
        assert_int_equal(json_object_set_new(json, key, value), 0);
    }
    enum zb_rc rc = zb_peer_core_decode(&names, json, service, &got, &err);
    if (rc != ZB_OK) {
        assert_int_equal(got.term, 99);
        assert_string_equal(service, "untouched");
    }
    json_decref(json);
    return rc;
}

static void
a_missing_key_refuses_all(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "service",          "kind",     "term",         "nonce",
        "version",          "rc",       "set",          "suspects",
        "granted_term",     "role",     "learned_term", "released_term",
        "established_term", "lineage",  "running",      "modified",
        "exists",           "start_ms", "bases",        "floor",
        "floor_way",        "parted",   "key",          "number",
    };
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        assert_int_equal(changed(keys[i], NULL), ZB_E_FORMAT);
        assert_int_equal(changed(keys[i], json_real(1.5)), ZB_E_FORMAT);
        assert_int_equal(changed(keys[i], json_pack("{s:i}", "a", 1)), ZB_E_FORMAT);
    }
}

static void
numbers_have_bounds(void **state)
{
    (void)state;
    assert_int_equal(changed("key", json_integer(ZB_KEY_GOOD)), ZB_OK);
    assert_int_equal(changed("key", json_integer(ZB_KEY_STATE_LAST + 1)), ZB_E_FORMAT);
    assert_int_equal(changed("key", json_integer(-1)), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_integer(5)), ZB_OK);
    assert_int_equal(changed("term", json_integer(-1)), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_string("18446744073709551615")), ZB_OK);
    assert_int_equal(changed("term", json_string("18446744073709551616")), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_string("99999999999999999999999")), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_string("")), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_string("01")), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_string("+1")), ZB_E_FORMAT);
    assert_int_equal(changed("term", json_string("1 ")), ZB_E_FORMAT);
    assert_int_equal(changed("number", json_string("1")), ZB_OK);
    assert_int_equal(changed("number", json_string("0")), ZB_E_FORMAT); /* the witness's alone */
    assert_int_equal(changed("role", json_integer(ZB_ROLE_COUNT)), ZB_E_FORMAT);
    assert_int_equal(changed("rc", json_integer(-1)), ZB_E_FORMAT);
    assert_int_equal(changed("rc", json_integer(1000)), ZB_E_FORMAT);
    assert_int_equal(changed("start_ms", json_integer((json_int_t)UINT32_MAX + 1)), ZB_E_FORMAT);
    assert_int_equal(changed("kind", json_string("reporT")), ZB_E_FORMAT);
}

static void
names_are_checked(void **state)
{
    (void)state;
    assert_int_equal(changed("service", json_string("../web")), ZB_E_FORMAT);
    assert_int_equal(changed("service", json_stringn("web\0x", 5)), ZB_E_FORMAT);
    assert_int_equal(changed("learned_leader", json_string("Vm1")), ZB_E_FORMAT);
    assert_int_equal(changed("suspects", json_pack("[s]", "a/b")), ZB_E_FORMAT);
    assert_int_equal(changed("suspects", json_pack("[i]", 1)), ZB_E_FORMAT);
    json_t *many = json_array();
    for (int i = 0; i <= ZB_NODES_MAX; i++) {
        assert_int_equal(json_array_append_new(many, json_string("vm1")), 0);
    }
    assert_int_equal(changed("suspects", many), ZB_E_FORMAT);
}

static void
an_unknown_suspect_refuses_an_unknown_leader_does_not(void **state)
{
    (void)state;
    assert_int_equal(changed("suspects", json_pack("[s,s]", "vm1", "vm9")), ZB_E_NOTFOUND);
    assert_int_equal(changed("suspects", json_pack("[s]", "old")), ZB_OK);
    assert_int_equal(changed("learned_leader", json_string("vm9")), ZB_OK);
    assert_int_equal(changed("granted_to", json_null()), ZB_OK);
}

static void
sets_are_checked(void **state)
{
    (void)state;
    static const char good[] = "00112233445566778899aabbccddeeff";
    assert_int_equal(changed("set", json_null()), ZB_OK);
    assert_int_equal(
        changed("set", json_pack("{s:s,s:s,s:s}", "term", "1", "seq", "2", "digest", good)), ZB_OK);
    assert_int_equal(
        changed("set", json_pack("{s:s,s:s,s:s}", "term", "0", "seq", "2", "digest", good)),
        ZB_E_FORMAT);
    assert_int_equal(
        changed("set", json_pack("{s:s,s:s,s:s}", "term", "1", "seq", "2", "digest", good + 2)),
        ZB_E_FORMAT);
    assert_int_equal(changed("set", json_pack("{s:s,s:s,s:s}", "term", "1", "seq", "2", "digest",
                                              "00112233445566778899AABBCCDDEEFF")),
                     ZB_E_FORMAT);
}

static void
manifests_come_back_and_bad_ones_do_not(void **state)
{
    (void)state;
    struct zb_manifest m = {0};
    struct zb_manifest got = {0};
    struct zb_set_ref a;
    struct zb_set_ref b;
    struct zb_err err;
    assert_int_equal(zb_manifest_init(&m, 2, &err), ZB_OK);
    m.id = (struct zb_set_id){.term = 3, .seq = 4};
    m.time.s = 1795300000;
    m.entries[0] = (struct zb_manifest_entry){.uuid = "00000000-0000-4000-8000-000000000001",
                                              .guid = UINT64_MAX};
    m.entries[1] = (struct zb_manifest_entry){
        .uuid = "00000000-0000-4000-8000-000000000002", .rel = "log", .guid = 7};
    json_t *o = json_object();
    zb_json_put(o, "m", zb_json_manifest(&m));
    struct zb_json_reader r = zb_json_read(o);
    zb_json_read_manifest(&r, "m", &got);
    assert_null(r.bad);
    zb_manifest_ref(&m, &a);
    zb_manifest_ref(&got, &b);
    assert_true(zb_set_ref_equal(&a, &b));
    assert_int_equal(got.time.s, m.time.s);
    zb_manifest_close(&got);

    json_t *entries = json_object_get(json_object_get(o, "m"), "entries");
    json_array_set_new(json_array_get(entries, 1), 1, json_string("../x"));
    zb_json_read_manifest(&r, "m", &got);
    assert_string_equal(r.bad, "m");
    json_array_clear(entries);
    r = zb_json_read(o);
    zb_json_read_manifest(&r, "m", &got);
    assert_string_equal(r.bad, "m");
    assert_null(got.entries);
    json_decref(o);
    zb_manifest_close(&m);
}

/* As a key of etcd has it: the same rules. */
static void
the_witness_record_comes_back(void **state)
{
    (void)state;
    struct zb_witness_record got,
        r = {.version = 7,
             .granted_term = UINT64_C(1) << 48,
             .granted_to = 1,
             .learned_term = 12,
             .learned_leader = 0,
             .suspects = 5,
             .lineage = {.count = 2, .lines = {{1, {0, 0}}, {12, {11, 345}}}}};
    struct zb_err err;
    json_t *json = zb_peer_vote_encode(&names, &r);

    assert_int_equal(zb_peer_vote_decode(&names, json, &got, &err), ZB_OK);
    assert_memory_equal(&got, &r, sizeof r);
    json_object_set_new(json, "learned_leader", json_string("nobody"));
    assert_int_equal(zb_peer_vote_decode(&names, json, &got, &err), ZB_OK);
    assert_int_equal(got.learned_leader, ZB_NODE_NONE);
    json_object_set_new(json, "suspects", json_pack("[s]", "nobody")); /* M3 */
    assert_int_equal(zb_peer_vote_decode(&names, json, &got, &err), ZB_E_NOTFOUND);
    json_object_set_new(json, "suspects", json_array());
    r.granted_term++;
    json_t *beyond = zb_peer_vote_encode(&names, &r);
    assert_int_equal(zb_peer_vote_decode(&names, beyond, &got, &err), ZB_E_LIMIT);
    json_decref(beyond);
    r.granted_term--;
    assert_true(zb_peer_vote_fits(&r));
    r.learned_term = r.granted_term + 1;
    assert_false(zb_peer_vote_fits(&r));
    json_object_del(json, "version");
    assert_int_equal(zb_peer_vote_decode(&names, json, &got, &err), ZB_E_FORMAT);
    json_decref(json);
    assert_int_equal(zb_peer_vote_decode(&names, NULL, &got, &err), ZB_E_FORMAT);
}

static void
text_that_is_no_utf8_still_travels(void **state)
{
    (void)state;
    json_t *t = zb_json_text("caf\xe9 ok");
    assert_string_equal(json_string_value(t), "caf? ok");
    json_decref(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(a_missing_key_refuses_all),
        cmocka_unit_test(numbers_have_bounds),
        cmocka_unit_test(names_are_checked),
        cmocka_unit_test(an_unknown_suspect_refuses_an_unknown_leader_does_not),
        cmocka_unit_test(sets_are_checked),
        cmocka_unit_test(manifests_come_back_and_bad_ones_do_not),
        cmocka_unit_test(the_witness_record_comes_back),
        cmocka_unit_test(text_that_is_no_utf8_still_travels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
