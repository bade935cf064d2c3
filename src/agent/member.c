#include "agent/member.h"

#include <inttypes.h>

#include "agent/cert.h"
#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "agent/voters.h"
#include "base/log.h"

#define META_TOKENS "tokens"

struct told {
    char version[32];
    char root[ZB_DATASET_NAME_SIZE];
    bool issuer; /* holds the CA's key */
    struct zb_wall cert_ends;
};

struct zb_member_state {
    struct told told[ZB_NODES_MAX];
    uint32_t tokens_count;
    struct zb_member_token tokens[ZB_TOKENS_MAX];
};

/* --- what nodes tell of themselves --- */

void
zb_member_peer_up(struct zb_agent *a, uint8_t node)
{
    json_t *msg = zb_json_new("node.info");

    zb_json_put(msg, "version", zb_json_text(ZB_VERSION));
    zb_json_put(msg, "root", zb_json_text(a->root));
    zb_json_put(msg, "issuer", zb_json_bool(a->pki.ca_key != NULL));
    zb_json_put(msg, "cert_ends_s", zb_json_int(zb_cert_ends(a).s));
    (void)zb_peer_send(a, node, msg);
}

void
zb_member_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    struct told told = {0};

    if (strcmp(json_string_value(json_object_get(msg, "t")), "node.info") != 0) {
        return;
    }
    zb_json_read_text(&r, "version", told.version, sizeof told.version);
    zb_json_read_text(&r, "root", told.root, sizeof told.root);
    told.issuer = zb_json_read_bool(&r, "issuer");
    if (json_object_get(msg, "cert_ends_s") != NULL) { /* an older one does not tell */
        told.cert_ends.s = zb_json_read_int(&r, "cert_ends_s", 0, INT64_MAX);
    }
    if (r.bad == NULL) {
        a->member->told[node] = told;
    }
}

const char *
zb_member_version(const struct zb_agent *a, uint8_t node)
{
    return a->member->told[node].version;
}

const char *
zb_member_root(const struct zb_agent *a, uint8_t node)
{
    return a->member->told[node].root;
}

struct zb_wall
zb_member_cert_ends(const struct zb_agent *a, uint8_t node)
{
    return node == a->self ? zb_cert_ends(a) : a->member->told[node].cert_ends;
}

bool
zb_member_is_issuer(const struct zb_agent *a, uint8_t node)
{
    return node == a->self ? a->pki.ca_key != NULL : a->member->told[node].issuer;
}

/* --- tokens --- */

enum zb_rc
zb_member_issuer_check(const struct zb_agent *a, struct zb_err *err)
{
    if (a->pki.ca_key != NULL) {
        return ZB_OK;
    }
    zb_err_set(err, ZB_E_REFUSED, "this node does not hold the key of the cluster's CA");
    for (uint8_t i = 0; i < a->nodes_count; i++) {
        if (a->nodes[i].present && a->member->told[i].issuer) {
            zb_err_hint(err, "run the command on %s, which holds it", a->nodes[i].name);
        }
    }
    return err->rc;
}

const struct zb_member_token *
zb_member_tokens(const struct zb_agent *a, uint32_t *count)
{
    *count = a->member->tokens_count;
    return a->member->tokens;
}

static void
verifier_to_hex(const uint8_t *verifier, char *hex)
{
    for (size_t i = 0; i < ZB_TOKEN_VERIFIER_SIZE; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", verifier[i]);
    }
}

static bool
verifier_from_hex(const char *hex, uint8_t *verifier)
{
    for (size_t i = 0; i < ZB_TOKEN_VERIFIER_SIZE; i++) {
        char digits[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        char *end;
        verifier[i] = (uint8_t)strtoul(digits, &end, 16);
        if (end != digits + 2) {
            return false;
        }
    }
    return true;
}

static enum zb_rc
tokens_store(struct zb_agent *a, const struct zb_member_state *m, struct zb_err *err)
{
    json_t *array = zb_json_array_new();

    for (uint32_t i = 0; i < m->tokens_count; i++) {
        const struct zb_member_token *t = &m->tokens[i];
        char hex[2 * ZB_TOKEN_VERIFIER_SIZE + 1];
        json_t *token = zb_must(json_object());
        verifier_to_hex(t->record.verifier, hex);
        zb_json_put(token, "id", zb_json_text(t->record.id));
        zb_json_put(token, "verifier", zb_json_text(hex));
        zb_json_put(token, "expires", zb_json_int(t->record.expires.s));
        zb_json_put(token, "used", zb_json_bool(t->record.used));
        zb_json_put(token, "used_by", zb_json_text(t->used_by));
        zb_json_append(array, token);
    }
    char *text = zb_must(json_dumps(array, JSON_COMPACT));
    enum zb_rc rc = zb_history_meta_set(a->history, META_TOKENS, text, err);
    free(text);
    json_decref(array);
    return rc;
}

static enum zb_rc
tokens_load(struct zb_agent *a, struct zb_member_state *m, struct zb_err *err)
{
    char *text = NULL;
    size_t i;
    json_t *item;
    enum zb_rc rc = zb_history_meta_get(a->history, META_TOKENS, &text, err);

    if (rc == ZB_E_NOTFOUND) {
        return ZB_OK;
    }
    if (rc != ZB_OK) {
        return rc;
    }
    json_t *array = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    json_array_foreach(array, i, item)
    {
        struct zb_json_reader r = zb_json_read(item);
        struct zb_member_token t = {0};
        char hex[2 * ZB_TOKEN_VERIFIER_SIZE + 1];
        zb_json_read_text(&r, "id", t.record.id, sizeof t.record.id);
        zb_json_read_text(&r, "verifier", hex, sizeof hex);
        t.record.expires.s = zb_json_read_int(&r, "expires", 0, INT64_MAX);
        t.record.used = zb_json_read_bool(&r, "used");
        zb_json_read_text(&r, "used_by", t.used_by, sizeof t.used_by);
        if (r.bad == NULL && !verifier_from_hex(hex, t.record.verifier)) {
            zb_json_read_fail(&r, "verifier");
        }
        rc = zb_json_read_end(&r, err);
        if (rc != ZB_OK || m->tokens_count == ZB_TOKENS_MAX) {
            break;
        }
        m->tokens[m->tokens_count++] = t;
    }
    json_decref(array);
    free(text);
    return rc;
}

static void
tokens_drop(struct zb_member_state *m, uint32_t index)
{
    memmove(&m->tokens[index], &m->tokens[index + 1],
            (m->tokens_count - index - 1) * sizeof m->tokens[0]);
    m->tokens_count--;
}

/* Stores the changed copy, then it is the state. */
static enum zb_rc
tokens_replace(struct zb_agent *a, const struct zb_member_state *changed, struct zb_err *err)
{
    enum zb_rc rc = tokens_store(a, changed, err);

    if (rc == ZB_OK) {
        *a->member = *changed;
    }
    return rc;
}

enum zb_rc
zb_member_token_add(struct zb_agent *a, const struct zb_token_record *record, struct zb_err *err)
{
    struct zb_member_state changed = *a->member;
    int64_t now_s = zb_wall_now().s;

    for (uint32_t i = 0; changed.tokens_count == ZB_TOKENS_MAX && i < ZB_TOKENS_MAX; i++) {
        if (changed.tokens[i].record.used || changed.tokens[i].record.expires.s < now_s) {
            tokens_drop(&changed, i);
        }
    }
    if (changed.tokens_count == ZB_TOKENS_MAX) {
        zb_err_set(err, ZB_E_LIMIT, "%d tokens wait to be used", ZB_TOKENS_MAX);
        return zb_err_hint(err, "zbaton token list, zbaton token revoke ID");
    }
    changed.tokens[changed.tokens_count++] = (struct zb_member_token){.record = *record};
    return tokens_replace(a, &changed, err);
}

static int
token_index(const struct zb_agent *a, const char *id)
{
    for (uint32_t i = 0; i < a->member->tokens_count; i++) {
        if (strcmp(a->member->tokens[i].record.id, id) == 0) {
            return (int)i;
        }
    }
    return -1;
}

enum zb_rc
zb_member_token_remove(struct zb_agent *a, const char *id, struct zb_err *err)
{
    struct zb_member_state changed = *a->member;
    int index = token_index(a, id);

    if (index < 0) {
        zb_err_set(err, ZB_E_NOTFOUND, "no token %.20s", id);
        return zb_err_hint(err, "zbaton token list");
    }
    tokens_drop(&changed, (uint32_t)index);
    return tokens_replace(a, &changed, err);
}

/* --- joining --- */

struct joining {
    struct zb_agent *a;
    uint64_t request_id;
    char node[ZB_NODE_NAME_SIZE];
    char *cert; /* PEM; owned */
};

static void
joining_free(struct joining *j)
{
    zb_pki_text_free(j->cert);
    free(j);
}

static void
refuse(struct zb_agent *a, uint64_t id, const char *node, const struct zb_err *err)
{
    zb_agent_event(a, ZB_LOG_WARNING, "", "N-join-refused", "%s may not join: %s", node, err->msg);
    zb_net_join_refuse(a->net, id, err->msg);
}

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct joining *j = ctx;
    struct zb_agent *a = j->a;
    const struct zb_config_doc *doc = zb_config_current(a);
    struct zb_join_result result = {
        .cert_pem = j->cert, .ca_pem = a->pki.ca_crt, .nodes_count = doc->nodes_count};
    struct zb_err err;

    if (outcome->rc != ZB_OK) {
        refuse(a, j->request_id, j->node, outcome->err);
        joining_free(j);
        return;
    }
    zb_strcopy(result.cluster_id, sizeof result.cluster_id, a->cluster_id);
    zb_strcopy(result.cluster_name, sizeof result.cluster_name, a->cluster_name);
    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        struct zb_join_node *n = &result.nodes[i];
        zb_strcopy(n->name, sizeof n->name, doc->nodes[i].name);
        zb_strcopy(n->address, sizeof n->address, doc->nodes[i].address);
        /* This one is who it reaches first: by the certificate that it will see. */
        bool self = strcmp(n->name, a->nodes[a->self].name) == 0;
        zb_strcopy(n->fingerprint, sizeof n->fingerprint,
                   self && zb_cert_fingerprint(a)[0] != '\0' ? zb_cert_fingerprint(a)
                                                             : doc->nodes[i].fingerprint);
    }
    if (zb_net_join_reply(a->net, j->request_id, &result, &err) == ZB_OK) {
        zb_agent_event(a, ZB_LOG_INFO, "", "N-joined", "%s joined the cluster", j->node);
    } else {
        zb_agent_event(a, ZB_LOG_WARNING, "", "N-join-lost",
                       "%s is in the configuration, but did not wait for its certificate: it may "
                       "join again with a new token",
                       j->node);
    }
    joining_free(j);
}

/* The configuration with the node in it: new, or with its new certificate and address. */
static enum zb_rc
doc_with_node(const struct zb_agent *a, const struct zb_join_request *request,
              const char *fingerprint, struct zb_config_doc *doc, struct zb_err *err)
{
    enum zb_rc rc = zb_config_doc_copy(doc, zb_config_current(a), err);

    if (rc != ZB_OK) {
        return rc;
    }
    int index = zb_config_doc_node_find(doc, request->node);
    if (request->renew && index < 0) {
        return zb_err_set(err, ZB_E_REFUSED, "%s is no node of this cluster: it can join",
                          request->node);
    }
    const char *address =
        request->address[0] != '\0' ? request->address : doc->nodes[index].address;
    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        if ((int)i != index && strcmp(doc->nodes[i].address, address) == 0) {
            return zb_err_set(err, ZB_E_REFUSED, "%s is the address of node %s", address,
                              doc->nodes[i].name);
        }
    }
    if (index < 0 && doc->nodes_count == ZB_NODES_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "the cluster has %d nodes", ZB_NODES_MAX);
    }
    if (index < 0) {
        index = (int)doc->nodes_count++;
    }
    struct zb_config_node *n = &doc->nodes[index];
    zb_strcopy(n->name, sizeof n->name, request->node);
    memmove(n->address, address, strlen(address) + 1); /* of the same buffer, where it is kept */
    zb_strcopy(n->fingerprint, sizeof n->fingerprint, fingerprint);
    n->next[0] = '\0';
    doc->version++;
    return ZB_OK;
}

/* A new host of a name grants in the place of the old one, which then nobody fences (M3). */
static enum zb_rc
writer_check(const struct zb_agent *a, uint8_t node, struct zb_err *err)
{
    for (uint32_t i = 0; i < a->services_count; i++) {
        const struct zb_agent_service *s = &a->services[i];
        struct zb_core_view view;

        zb_core_view(a->core, (uint16_t)i, &view);
        if (s->present && zb_voter_out(&view, a->self, 0, node) != ZB_VOTER_OUT_MAY) {
            (void)zb_err_set(err, ZB_E_REFUSED,
                             "the host that was %s may be writing to %s still: first zbaton "
                             "failover %s there, or, if it is off for good, zbaton join --lost",
                             a->nodes[node].name, s->conf.name, s->conf.name);
            return err->rc;
        }
    }
    return ZB_OK;
}

/* Everything that can be refused before the token is spent. */
static enum zb_rc
join_check(struct zb_agent *a, const struct zb_join_request *request, int *index,
           struct zb_err *err)
{
    enum zb_rc rc = zb_member_issuer_check(a, err);

    if (rc != ZB_OK) {
        return rc;
    }
    *index = token_index(a, request->token_id);
    rc = zb_join_request_verify(request, *index < 0 ? NULL : &a->member->tokens[*index].record,
                                zb_wall_now(), err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (strcmp(request->node, a->nodes[a->self].name) == 0) {
        return zb_err_set(err, ZB_E_REFUSED, "%s is the name of this node", request->node);
    }
    uint8_t known = zb_agent_node_find(a, request->node);
    if (known != ZB_NODE_NONE && a->nodes[known].up) {
        return zb_err_set(err, ZB_E_REFUSED, "a node %s is in the cluster and up", request->node);
    }
    return known == ZB_NODE_NONE || request->renew || request->lost ? ZB_OK
                                                                    : writer_check(a, known, err);
}

/* Spends the token, then signs. */
static enum zb_rc
join_sign(struct zb_agent *a, const struct zb_join_request *request, int index, char **cert,
          struct zb_err *err)
{
    struct zb_member_state changed = *a->member;

    changed.tokens[index].record.used = true;
    zb_strcopy(changed.tokens[index].used_by, sizeof changed.tokens[index].used_by, request->node);
    enum zb_rc rc = tokens_replace(a, &changed, err);
    if (rc != ZB_OK) {
        return rc;
    }
    return zb_pki_sign((struct zb_pem){"CA certificate", a->pki.ca_crt},
                       (struct zb_pem){"CA key", a->pki.ca_key},
                       (struct zb_pem){"join request", request->csr_pem}, request->node, cert, err);
}

void
zb_member_join(struct zb_agent *a, const struct zb_join_request *request)
{
    struct zb_config_doc doc = {0};
    struct zb_pki_cert_info info;
    char *cert = NULL;
    struct zb_err err;
    int index = -1;
    enum zb_rc rc = join_check(a, request, &index, &err);

    if (rc == ZB_OK) {
        rc = doc_with_node(a, request, "", &doc, &err); /* would it fit? */
        zb_config_doc_close(&doc);
    }
    if (rc == ZB_OK) {
        rc = join_sign(a, request, index, &cert, &err);
    }
    if (rc == ZB_OK) {
        rc = zb_pki_cert_info((struct zb_pem){"new certificate", cert}, &info, &err);
    }
    if (rc == ZB_OK) {
        rc = doc_with_node(a, request, info.fingerprint, &doc, &err);
    }
    if (rc != ZB_OK) {
        refuse(a, request->id, request->node, &err);
        zb_pki_text_free(cert);
    } else {
        struct joining *j = zb_must_alloc(1, sizeof *j);
        *j = (struct joining){.a = a, .request_id = request->id, .cert = cert};
        zb_strcopy(j->node, sizeof j->node, request->node);
        struct zb_config_change change = {.doc = &doc, .on_done = on_configured, .ctx = j};
        zb_config_change(a, &change);
    }
    zb_config_doc_close(&doc);
}

/* --- begin and end --- */

enum zb_rc
zb_member_init(struct zb_agent *a, struct zb_err *err)
{
    struct zb_member_state *m = zb_must_alloc(1, sizeof *m);
    enum zb_rc rc = tokens_load(a, m, err);

    if (rc != ZB_OK) {
        zb_err_wrap(err, "tokens");
        free(m);
        return rc;
    }
    a->member = m;
    return ZB_OK;
}

void
zb_member_close(struct zb_agent *a)
{
    free(a->member);
    a->member = NULL;
}
