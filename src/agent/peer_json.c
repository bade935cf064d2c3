#include "agent/peer_json.h"

#include <inttypes.h>

#include "agent/json.h"
#include "agent/must.h"

static const char *const kind_words[] = {
    [ZB_MSG_REPORT] = "report",
    [ZB_MSG_GRANT_ASK] = "grant-ask",
    [ZB_MSG_GRANT_ANSWER] = "grant-answer",
    [ZB_MSG_RELEASED] = "released",
    [ZB_MSG_RELEASE_ASK] = "release-ask",
    [ZB_MSG_FORWARD_ASK] = "forward-ask",
    [ZB_MSG_FORWARD_ANSWER] = "forward-answer",
    [ZB_MSG_COPY_ASK] = "copy-ask",
    [ZB_MSG_COPY_ANSWER] = "copy-answer",
};
#define KINDS_COUNT (sizeof(kind_words) / sizeof(kind_words[0]))

uint8_t
zb_peer_names_find(const struct zb_peer_names *names, const char *name)
{
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->nodes[i].name, name) == 0) {
            return (uint8_t)i;
        }
    }
    return ZB_NODE_NONE;
}

static json_t *
node_json(const struct zb_peer_names *names, uint8_t node)
{
    return node < names->count ? zb_json_text(names->nodes[node].name) : json_null();
}

static json_t *
suspects_json(const struct zb_peer_names *names, uint32_t suspects)
{
    json_t *list = zb_json_array_new();
    for (uint32_t i = 0; i < names->count; i++) {
        if (suspects & (UINT32_C(1) << i)) {
            zb_json_append(list, zb_json_text(names->nodes[i].name));
        }
    }
    return list;
}

static json_t *
id_json(struct zb_set_id id)
{
    json_t *o = zb_must(json_object());
    zb_json_put(o, "term", zb_json_u64(id.term));
    zb_json_put(o, "seq", zb_json_u64(id.seq));
    return o;
}

static json_t *
bases_json(const struct zb_core_msg *msg)
{
    json_t *list = zb_json_array_new();
    for (uint32_t i = 0; i < msg->bases_count; i++) {
        zb_json_append(list, id_json(msg->bases[i]));
    }
    return list;
}

static json_t *
lineage_json(const struct zb_lineage *l)
{
    json_t *list = zb_json_array_new();
    for (uint32_t i = 0; i < l->count; i++) {
        json_t *line = zb_must(json_object());
        zb_json_put(line, "term", zb_json_u64(l->lines[i].term));
        zb_json_put(line, "fork", id_json(l->lines[i].fork));
        zb_json_append(list, line);
    }
    return list;
}

/* Names that are no node here any more are left out: then nobody is told whom a grant was to. */
static json_t *
seen_json(const struct zb_peer_names *names, const struct zb_core_seen *seen)
{
    json_t *o = zb_must(json_object());
    zb_json_put(o, "granted_term", zb_json_u64(seen->granted_term));
    zb_json_put(o, "granted_to", node_json(names, seen->granted_to));
    zb_json_put(o, "learned_term", zb_json_u64(seen->learned_term));
    zb_json_put(o, "learned_leader", node_json(names, seen->learned_leader));
    zb_json_put(o, "suspects", suspects_json(names, seen->suspects));
    return o;
}

static void
report_encode(const struct zb_core_msg *msg, json_t *o)
{
    zb_json_put(o, "number", zb_json_u64(msg->number));
    zb_json_put(o, "role", zb_json_int(msg->role));
    zb_json_put(o, "running", zb_json_bool(msg->running));
    zb_json_put(o, "modified", zb_json_bool(msg->modified));
    zb_json_put(o, "written_bytes", zb_json_u64(msg->written_bytes));
    zb_json_put(o, "parted", zb_json_bool(msg->parted));
    zb_json_put(o, "exists", zb_json_bool(msg->exists));
    zb_json_put(o, "key", zb_json_int(msg->key));
    zb_json_put(o, "start_ms", zb_json_int(msg->start_ms));
    zb_json_put(o, "bases", bases_json(msg));
    zb_json_put(o, "floor", id_json(msg->floor));
    zb_json_put(o, "floor_way", id_json(msg->floor_way));
}

static bool
is_of_copy(enum zb_msg_kind kind)
{
    return kind == ZB_MSG_COPY_ASK || kind == ZB_MSG_COPY_ANSWER;
}

json_t *
zb_peer_core_encode(const struct zb_peer_names *names, const char *service,
                    const struct zb_core_msg *msg)
{
    json_t *o = zb_json_new("core");
    zb_json_put(o, "service", zb_json_text(service));
    zb_json_put(o, "kind", zb_json_text(kind_words[msg->kind]));
    zb_json_put(o, "term", zb_json_u64(msg->term));
    zb_json_put(o, "nonce", zb_json_u64(msg->nonce));
    zb_json_put(o, "version", zb_json_u64(msg->version));
    zb_json_put(o, "rc", zb_json_int(msg->rc));
    zb_json_put(o, "set", zb_json_set(&msg->set));
    zb_json_put(o, "suspects", suspects_json(names, msg->suspects));
    zb_json_put(o, "granted_term", zb_json_u64(msg->granted_term));
    zb_json_put(o, "granted_to", node_json(names, msg->granted_to));
    zb_json_put(o, "learned_term", zb_json_u64(msg->learned_term));
    zb_json_put(o, "learned_leader", node_json(names, msg->learned_leader));
    zb_json_put(o, "established_term", zb_json_u64(msg->established_term));
    zb_json_put(o, "released_term", zb_json_u64(msg->released_term));
    zb_json_put(o, "released_to", node_json(names, msg->released_to));
    zb_json_put(o, "failover", zb_json_bool(msg->failover));
    zb_json_put(o, "allow_loss", zb_json_bool(msg->allow_loss));
    zb_json_put(o, "sees_leader", zb_json_bool(msg->sees_leader));
    zb_json_put(o, "lineage", lineage_json(&msg->lineage));
    zb_json_put(o, "seen", seen_json(names, &msg->seen));
    if (msg->kind == ZB_MSG_REPORT) {
        report_encode(msg, o);
    }
    if (is_of_copy(msg->kind)) {
        zb_json_put(o, "node", node_json(names, msg->node));
    }
    return o;
}

static enum zb_msg_kind
kind_read(struct zb_json_reader *r)
{
    char word[16];
    zb_json_read_text(r, "kind", word, sizeof(word));
    for (size_t i = ZB_MSG_REPORT; i < KINDS_COUNT; i++) {
        if (strcmp(word, kind_words[i]) == 0) {
            return (enum zb_msg_kind)i;
        }
    }
    zb_json_read_fail(r, "kind");
    return ZB_MSG_REPORT;
}

static uint8_t
node_read(const struct zb_peer_names *names, struct zb_json_reader *r, const char *key)
{
    char name[ZB_NODE_NAME_SIZE];
    if (json_is_null(json_object_get(r->object, key))) {
        return ZB_NODE_NONE;
    }
    zb_json_read_name(r, key, name, sizeof(name), zb_node_name_valid);
    return zb_peer_names_find(names, name);
}

/* Bits of the named nodes; *unknown is the first name that is no node. */
static uint32_t
suspects_read(const struct zb_peer_names *names, struct zb_json_reader *r, const char **unknown)
{
    const json_t *list = json_object_get(r->object, "suspects");
    uint32_t bits = 0;
    if (!json_is_array(list) || json_array_size(list) > ZB_NODES_MAX) {
        zb_json_read_fail(r, "suspects");
        return 0;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        if (name == NULL || !zb_node_name_valid(name)) {
            zb_json_read_fail(r, "suspects");
            return 0;
        }
        uint8_t node = zb_peer_names_find(names, name);
        if (node == ZB_NODE_NONE) {
            *unknown = name;
            return 0;
        }
        bits |= UINT32_C(1) << node;
    }
    return bits;
}

static void
id_read(struct zb_json_reader *r, const char *key, const json_t *value, struct zb_set_id *id)
{
    struct zb_json_reader in = zb_json_read(value);
    id->term = zb_json_read_u64(&in, "term");
    id->seq = zb_json_read_u64(&in, "seq");
    if (in.bad != NULL) {
        zb_json_read_fail(r, key);
    }
}

static void
lineage_read(struct zb_json_reader *r, struct zb_lineage *l)
{
    const json_t *list = json_object_get(r->object, "lineage");
    if (!json_is_array(list) || json_array_size(list) > ZB_LINEAGE_MAX) {
        zb_json_read_fail(r, "lineage");
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct zb_json_reader in = zb_json_read(json_array_get(list, i));
        l->lines[i].term = zb_json_read_u64(&in, "term");
        id_read(&in, "fork", json_object_get(in.object, "fork"), &l->lines[i].fork);
        if (in.bad != NULL) {
            zb_json_read_fail(r, "lineage");
        }
    }
    l->count = (uint32_t)json_array_size(list);
    if (!zb_lineage_valid(l)) {
        zb_json_read_fail(r, "lineage");
    }
}

/* Whom this node does not know cannot be suspected, nor granted to, by name: the grant is then one
 * to nobody, and is not taken back (core/back.c). */
static void
seen_read(const struct zb_peer_names *names, struct zb_json_reader *r, struct zb_core_seen *seen)
{
    struct zb_json_reader in = zb_json_read(json_object_get(r->object, "seen"));
    const char *unknown = NULL;
    seen->granted_term = zb_json_read_u64(&in, "granted_term");
    seen->granted_to = node_read(names, &in, "granted_to");
    seen->learned_term = zb_json_read_u64(&in, "learned_term");
    seen->learned_leader = node_read(names, &in, "learned_leader");
    seen->suspects = suspects_read(names, &in, &unknown);
    if (unknown != NULL) {
        seen->granted_to = ZB_NODE_NONE;
    }
    if (in.bad != NULL) {
        zb_json_read_fail(r, "seen");
    }
}

static void
bases_read(struct zb_json_reader *r, struct zb_core_msg *msg)
{
    const json_t *list = json_object_get(r->object, "bases");
    if (!json_is_array(list) || json_array_size(list) > ZB_MEMBERS_MAX) {
        zb_json_read_fail(r, "bases");
        return;
    }
    for (size_t i = 0; i < json_array_size(list); i++) {
        id_read(r, "bases", json_array_get(list, i), &msg->bases[msg->bases_count++]);
    }
    id_read(r, "floor", json_object_get(r->object, "floor"), &msg->floor);
    id_read(r, "floor_way", json_object_get(r->object, "floor_way"), &msg->floor_way);
}

static void
report_read(struct zb_json_reader *r, struct zb_core_msg *msg)
{
    msg->number = zb_json_read_u64(r, "number");
    if (msg->number == 0) { /* no node's */
        zb_json_read_fail(r, "number");
    }
    msg->role = (enum zb_role)zb_json_read_int(r, "role", 0, ZB_ROLE_COUNT - 1);
    msg->running = zb_json_read_bool(r, "running");
    msg->modified = zb_json_read_bool(r, "modified");
    msg->written_bytes = zb_json_read_u64(r, "written_bytes");
    msg->parted = zb_json_read_bool(r, "parted");
    msg->exists = zb_json_read_bool(r, "exists");
    msg->key = (enum zb_key_state)zb_json_read_int(r, "key", ZB_KEY_GOOD, ZB_KEY_STATE_LAST);
    msg->start_ms = (uint32_t)zb_json_read_int(r, "start_ms", 0, UINT32_MAX);
    bases_read(r, msg);
}

enum zb_rc
zb_peer_core_decode(const struct zb_peer_names *names, const json_t *json, char *service,
                    struct zb_core_msg *msg, struct zb_err *err)
{
    struct zb_json_reader r = zb_json_read(json);
    struct zb_core_msg got = {
        .granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE, .released_to = ZB_NODE_NONE};
    char name[ZB_SERVICE_NAME_SIZE];
    const char *unknown = NULL;
    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    got.kind = kind_read(&r);
    got.term = zb_json_read_u64(&r, "term");
    got.nonce = zb_json_read_u64(&r, "nonce");
    got.version = zb_json_read_u64(&r, "version");
    got.rc = (enum zb_rc)zb_json_read_int(&r, "rc", ZB_OK, ZB_E_UNSUPPORTED);
    zb_json_read_set(&r, "set", &got.set);
    got.suspects = suspects_read(names, &r, &unknown);
    got.granted_term = zb_json_read_u64(&r, "granted_term");
    got.granted_to = node_read(names, &r, "granted_to");
    got.learned_term = zb_json_read_u64(&r, "learned_term");
    got.learned_leader = node_read(names, &r, "learned_leader");
    got.established_term = zb_json_read_u64(&r, "established_term");
    got.released_term = zb_json_read_u64(&r, "released_term");
    got.released_to = node_read(names, &r, "released_to");
    got.failover = zb_json_read_bool(&r, "failover");
    got.allow_loss = zb_json_read_bool(&r, "allow_loss");
    got.sees_leader = zb_json_read_bool(&r, "sees_leader");
    lineage_read(&r, &got.lineage);
    seen_read(names, &r, &got.seen);
    if (got.kind == ZB_MSG_REPORT) {
        report_read(&r, &got);
    }
    if (is_of_copy(got.kind)) {
        got.node = node_read(names, &r, "node");
    }
    enum zb_rc rc = zb_json_read_end(&r, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (unknown != NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "suspect %s is not a node of this cluster", unknown);
    }
    zb_strcopy(service, ZB_SERVICE_NAME_SIZE, name);
    *msg = got;
    return ZB_OK;
}

json_t *
zb_peer_vote_encode(const struct zb_peer_names *names, const struct zb_witness_record *record)
{
    json_t *o = zb_must(json_object());
    zb_json_put(o, "version", zb_json_u64(record->version));
    zb_json_put(o, "granted_term", zb_json_u64(record->granted_term));
    zb_json_put(o, "granted_to", node_json(names, record->granted_to));
    zb_json_put(o, "learned_term", zb_json_u64(record->learned_term));
    zb_json_put(o, "learned_leader", node_json(names, record->learned_leader));
    zb_json_put(o, "suspects", suspects_json(names, record->suspects));
    zb_json_put(o, "lineage", lineage_json(&record->lineage));
    return o;
}

bool
zb_peer_vote_fits(const struct zb_witness_record *record)
{
    return record->granted_term <= ZB_PEER_VOTE_TERM_MAX &&
           record->learned_term <= ZB_PEER_VOTE_TERM_MAX;
}

enum zb_rc
zb_peer_vote_decode(const struct zb_peer_names *names, const json_t *json,
                    struct zb_witness_record *record, struct zb_err *err)
{
    struct zb_json_reader r = zb_json_read(json);
    struct zb_witness_record got = {0};
    const char *unknown = NULL;
    got.version = zb_json_read_u64(&r, "version");
    got.granted_term = zb_json_read_u64(&r, "granted_term");
    got.granted_to = node_read(names, &r, "granted_to");
    got.learned_term = zb_json_read_u64(&r, "learned_term");
    got.learned_leader = node_read(names, &r, "learned_leader");
    got.suspects = suspects_read(names, &r, &unknown);
    lineage_read(&r, &got.lineage);
    enum zb_rc rc = zb_json_read_end(&r, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (unknown != NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "suspect %s is not a node of this cluster", unknown);
    }
    if (!zb_peer_vote_fits(&got)) {
        return zb_err_set(err, ZB_E_LIMIT, "a term above %" PRIu64, ZB_PEER_VOTE_TERM_MAX);
    }
    *record = got;
    return ZB_OK;
}
