#include "agent/config.h"

#include <inttypes.h>

#include "agent/config_internal.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/member.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "base/log.h"

const struct zb_config_doc *
zb_config_current(const struct zb_agent *a)
{
    return &a->config->committed;
}

uint8_t
zb_config_behind(const struct zb_agent *a, uint64_t version)
{
    const struct zb_config_doc *doc = &a->config->committed;

    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        uint8_t n = zb_agent_node_find(a, doc->nodes[i].name);
        if (n != ZB_NODE_NONE && n != a->self && a->config->told[n] < version) {
            return n;
        }
    }
    return ZB_NODE_NONE;
}

json_t *
zb_config_doc_json(const char *canonical)
{
    return zb_must(json_loads(canonical, JSON_REJECT_DUPLICATES, NULL));
}

const char *
zb_config_answer_word(enum zb_config_answer answer)
{
    static const char *const words[] = {[ZB_CONFIG_YES] = "yes",
                                        [ZB_CONFIG_OUTBID] = "outbid",
                                        [ZB_CONFIG_BEHIND] = "behind",
                                        [ZB_CONFIG_AHEAD] = "ahead"};

    return words[answer];
}

enum zb_rc
zb_config_doc_read(const json_t *msg, const char *key, struct zb_config_doc *doc,
                   struct zb_err *err)
{
    char *text = json_dumps(json_object_get(msg, key), JSON_COMPACT | JSON_SORT_KEYS);

    if (text == NULL) {
        return zb_err_set(err, ZB_E_FORMAT, "message without '%s'", key);
    }
    enum zb_rc rc = zb_config_doc_parse(text, doc, err);
    free(text);
    return rc;
}

/* --- what is in force --- */

/* What is frozen now and was not, or for another reason; what is not frozen any more. */
static void
freezes_tell(struct zb_agent *a, const struct zb_config_doc *before,
             const struct zb_config_doc *now)
{
    char text[ZB_FREEZE_SAY_SIZE];

    for (uint32_t i = 0; i < now->freezes.count; i++) {
        const struct zb_freeze *f = &now->freezes.items[i];
        const struct zb_freeze *old = zb_freezes_find(&before->freezes, f->service);
        if (old == NULL || old->since.s != f->since.s || strcmp(old->reason, f->reason) != 0) {
            zb_freeze_say(f, text);
            zb_agent_event(a, ZB_LOG_WARNING, f->service, "CFG-frozen", "%s", text);
        }
    }
    for (uint32_t i = 0; i < before->freezes.count; i++) {
        const struct zb_freeze *f = &before->freezes.items[i];
        if (zb_freezes_find(&now->freezes, f->service) == NULL) {
            zb_agent_event(a, ZB_LOG_INFO, f->service, "CFG-thawed", "no longer frozen (%s)",
                           f->reason);
        }
    }
}

/* Who is drained now, who is not any more. */
static void
drains_tell(struct zb_agent *a, const struct zb_config_doc *before, const struct zb_config_doc *now)
{
    char text[ZB_DRAINED_SAY_SIZE];

    for (uint32_t i = 0; i < now->nodes_count; i++) {
        const struct zb_config_node *n = &now->nodes[i];
        int at = zb_config_doc_node_find(before, n->name);
        bool was = at >= 0 && zb_drained_is(&before->nodes[at].drained);
        if (zb_drained_is(&n->drained) && !was) {
            zb_drained_say(&n->drained, text);
            zb_agent_event(a, ZB_LOG_WARNING, "", "CFG-drained", "%s is %s", n->name, text);
        } else if (was && !zb_drained_is(&n->drained)) {
            zb_agent_event(a, ZB_LOG_INFO, "", "CFG-undrained", "%s is not drained any more",
                           n->name);
        }
    }
}

static void
apply(struct zb_agent *a)
{
    const struct zb_config_doc *doc = &a->config->committed;
    struct zb_agent_node nodes[ZB_NODES_MAX] = {0};

    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        nodes[i].present = true;
        zb_strcopy(nodes[i].name, sizeof nodes[i].name, doc->nodes[i].name);
        zb_strcopy(nodes[i].address, sizeof nodes[i].address, doc->nodes[i].address);
        zb_strcopy(nodes[i].fingerprint, sizeof nodes[i].fingerprint, doc->nodes[i].fingerprint);
        zb_strcopy(nodes[i].next, sizeof nodes[i].next, doc->nodes[i].next);
        nodes[i].drained = doc->nodes[i].drained;
    }
    zb_agent_nodes_apply(a, nodes, doc->nodes_count);
    zb_faileds_close(&a->failed);
    zb_faileds_copy(&a->failed, &doc->failed);
    zb_labels_close(&a->labels);
    zb_labels_copy(&a->labels, &doc->labels);
    zb_recovered_close(&a->recovered);
    zb_recovered_copy(&a->recovered, &doc->recovered);
    if (doc->version > 0) {
        zb_agent_services_apply(a, &doc->services, &doc->freezes, doc->version);
    }
}

enum zb_rc
zb_config_commit_here(struct zb_agent *a, const struct zb_config_doc *doc, struct zb_err *err)
{
    struct zb_config_state *c = a->config;
    struct zb_config_doc copy = {0};
    bool news = false;
    enum zb_rc rc = zb_config_doc_copy(&copy, doc, err);

    if (rc == ZB_OK) {
        rc = zb_config_store_commit(a->history, &c->store, doc, &news, err);
    }
    if (rc != ZB_OK || !news) {
        zb_config_doc_close(&copy);
        return rc;
    }
    zb_agent_event(a, ZB_LOG_INFO, "", "CFG-committed", "configuration %" PRIu64 " is in force",
                   copy.version);
    freezes_tell(a, &c->committed, &copy);
    drains_tell(a, &c->committed, &copy);
    zb_config_doc_close(&c->committed);
    c->committed = copy;
    apply(a);
    return ZB_OK;
}

json_t *
zb_config_commit_message(const struct zb_agent *a)
{
    const struct zb_config_store *s = &a->config->store;
    json_t *msg = zb_json_new("config.commit");

    zb_json_put(msg, "version", zb_json_u64(s->acceptor.committed));
    zb_json_put(msg, "hash", zb_json_text(s->acceptor.committed_hash));
    zb_json_put(msg, "doc", zb_config_doc_json(s->committed_text));
    return msg;
}

/* --- messages --- */

static void
have_send(struct zb_agent *a, uint8_t node)
{
    const struct zb_config_acceptor *acceptor = &a->config->store.acceptor;
    json_t *msg = zb_json_new("config.have");

    zb_json_put(msg, "version", zb_json_u64(acceptor->committed));
    zb_json_put(msg, "hash", zb_json_text(acceptor->committed_hash));
    zb_peer_send(a, node, msg);
}

static void
on_have(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    const struct zb_config_acceptor *acceptor = &a->config->store.acceptor;
    char hash[ZB_CONFIG_HASH_SIZE];
    uint64_t version = zb_json_read_u64(r, "version");

    (void)msg;
    zb_json_read_text(r, "hash", hash, sizeof hash);
    if (r->bad != NULL) {
        return;
    }
    if (version > acceptor->committed) {
        zb_peer_send(a, node, zb_json_new("config.get"));
    } else if (version < acceptor->committed) {
        zb_peer_send(a, node, zb_config_commit_message(a));
    }
    if (version != acceptor->committed || strcmp(hash, acceptor->committed_hash) == 0) {
        a->config->told[node] = version;
    } else if (version > 0) {
        zb_agent_event(a, ZB_LOG_ERROR, "", "CFG-split",
                       "%s has another configuration %" PRIu64
                       ": one of the two state directories is not of this cluster's life",
                       a->nodes[node].name, version);
    }
}

static void
on_get(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    (void)msg;
    (void)r;
    if (a->config->store.acceptor.committed > 0) {
        zb_peer_send(a, node, zb_config_commit_message(a));
    }
}

/* version, cluster and hash of the envelope fit the doc. */
static enum zb_rc
commit_check(const struct zb_agent *a, const struct zb_config_doc *doc, uint64_t version,
             const char *hash, struct zb_err *err)
{
    char computed[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    enum zb_rc rc = zb_config_doc_format(doc, &text, computed, err);

    if (rc == ZB_OK && (doc->version != version || version == 0 || strcmp(computed, hash) != 0)) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "the text does not have its version and hash");
    }
    if (rc == ZB_OK && strcmp(doc->cluster, a->cluster_name) != 0) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "it is of cluster %s", doc->cluster);
    }
    free(text);
    return rc;
}

static void
on_commit(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    struct zb_config_doc doc = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    struct zb_err err;
    uint64_t before = a->config->committed.version;
    uint64_t version = zb_json_read_u64(r, "version");

    zb_json_read_text(r, "hash", hash, sizeof hash);
    if (r->bad != NULL) {
        return;
    }
    enum zb_rc rc = zb_config_doc_read(msg, "doc", &doc, &err);
    if (rc == ZB_OK) {
        rc = commit_check(a, &doc, version, hash, &err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_commit_here(a, &doc, &err);
    }
    if (rc != ZB_OK) {
        zb_agent_event(a, ZB_LOG_ERROR, "", "CFG-refused", "configuration %" PRIu64 " of %s: %s",
                       version, a->nodes[node].name, err.msg);
    } else {
        a->config->told[node] = version;
        have_send(a, node);
    }
    if (rc == ZB_OK && a->config->committed.version != before) {
        zb_config_change_overtaken(a);
    }
    zb_config_doc_close(&doc);
}

/* The acceptor's answer: promised tells an outbid proposer what to go above. */
static json_t *
answer_message(const struct zb_agent *a, const char *type, const struct zb_config_ballot *ballot,
               uint64_t version, enum zb_config_answer answer)
{
    json_t *msg = zb_json_new(type);

    zb_json_put(msg, "version", zb_json_u64(version));
    zb_json_put(msg, "round", zb_json_u64(ballot->round));
    zb_json_put(msg, "answer", zb_json_text(zb_config_answer_word(answer)));
    zb_json_put(msg, "promised", zb_json_u64(a->config->store.acceptor.promised.round));
    return msg;
}

static void
on_ask(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    struct zb_config_store *s = &a->config->store;
    struct zb_config_ballot ballot = {.round = zb_json_read_u64(r, "round")};
    uint64_t version = zb_json_read_u64(r, "version");
    enum zb_config_answer answer;
    struct zb_err err;

    (void)msg;
    zb_strcopy(ballot.node, sizeof ballot.node, a->nodes[node].name);
    if (r->bad != NULL || ballot.round == 0) {
        return;
    }
    if (zb_config_store_ask(a->history, s, version, &ballot, &answer, &err) != ZB_OK) {
        zb_log_error("configuration: %s", err.msg);
        return; /* not durable: no answer */
    }
    json_t *reply = answer_message(a, "config.promise", &ballot, version, answer);
    if (answer == ZB_CONFIG_YES && s->acceptor.accepted.round != 0) {
        json_t *accepted = zb_must(json_object());
        zb_json_put(accepted, "round", zb_json_u64(s->acceptor.accepted.round));
        zb_json_put(accepted, "node", zb_json_text(s->acceptor.accepted.node));
        zb_json_put(accepted, "doc", zb_config_doc_json(s->accepted_text));
        zb_json_put(reply, "accepted", accepted);
    }
    zb_peer_send(a, node, reply);
}

static void
on_propose(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    struct zb_config_ballot ballot = {.round = zb_json_read_u64(r, "round")};
    struct zb_config_doc doc = {0};
    enum zb_config_answer answer;
    struct zb_err err;

    zb_strcopy(ballot.node, sizeof ballot.node, a->nodes[node].name);
    if (r->bad != NULL || ballot.round == 0) {
        return;
    }
    enum zb_rc rc = zb_config_doc_read(msg, "doc", &doc, &err);
    if (rc == ZB_OK && strcmp(doc.cluster, a->cluster_name) != 0) {
        rc = zb_err_set(&err, ZB_E_MISMATCH, "it is of cluster %s", doc.cluster);
    }
    if (rc == ZB_OK) {
        rc = zb_config_store_propose(a->history, &a->config->store, &ballot, &doc, &answer, &err);
    }
    if (rc == ZB_OK) {
        zb_peer_send(a, node, answer_message(a, "config.accepted", &ballot, doc.version, answer));
    } else {
        zb_log_error("configuration proposed by %s: %s", a->nodes[node].name, err.msg);
    }
    zb_config_doc_close(&doc);
}

static void
on_promise(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    (void)r;
    zb_config_change_promise(a, node, msg);
}

static void
on_accepted(struct zb_agent *a, uint8_t node, const json_t *msg, struct zb_json_reader *r)
{
    (void)r;
    zb_config_change_accepted(a, node, msg);
}

void
zb_config_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    static const struct {
        const char *type;
        void (*handle)(struct zb_agent *a, uint8_t node, const json_t *msg,
                       struct zb_json_reader *r);
    } handlers[] = {
        {"config.have", on_have},         {"config.get", on_get},
        {"config.commit", on_commit},     {"config.ask", on_ask},
        {"config.promise", on_promise},   {"config.propose", on_propose},
        {"config.accepted", on_accepted},
    };
    const char *type = json_string_value(json_object_get(msg, "t"));
    struct zb_json_reader r = zb_json_read(msg);

    for (size_t i = 0; type != NULL && i < sizeof handlers / sizeof handlers[0]; i++) {
        if (strcmp(type, handlers[i].type) == 0) {
            handlers[i].handle(a, node, msg, &r);
            break;
        }
    }
    if (r.bad != NULL) {
        zb_log_warning("message %s of %s: bad '%s'", type, a->nodes[node].name, r.bad);
    }
}

void
zb_config_peer_up(struct zb_agent *a, uint8_t node)
{
    a->config->told[node] = 0; /* it may be another one of that name */
    zb_member_peer_up(a, node);
    have_send(a, node);
    zb_config_change_peer_up(a, node);
}

/* --- begin and end --- */

enum zb_rc
zb_config_init(struct zb_agent *a, struct zb_err *err)
{
    struct zb_config_state *c = zb_must_alloc(1, sizeof *c);
    enum zb_rc rc = zb_config_store_load(a->history, &c->store, err);

    if (rc == ZB_OK && c->store.committed_text == NULL) {
        zb_err_set(err, ZB_E_NOTFOUND, "the history has no configuration");
        rc = zb_err_hint(err, "zbaton init or zbaton join prepare a node");
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_parse(c->store.committed_text, &c->committed, err);
    }
    if (rc != ZB_OK) {
        zb_config_store_close(&c->store);
        free(c);
        return rc;
    }
    c->a = a;
    c->tick.data = c;
    uv_timer_init(&a->loop, &c->tick);
    a->config = c;
    apply(a);
    return ZB_OK;
}

static void
on_tick_closed(uv_handle_t *handle)
{
    struct zb_config_state *c = handle->data;

    zb_config_store_close(&c->store);
    zb_config_doc_close(&c->committed);
    free(c);
}

void
zb_config_close(struct zb_agent *a)
{
    if (a->config != NULL) {
        zb_config_change_close(a);
        uv_close((uv_handle_t *)&a->config->tick, on_tick_closed);
        a->config = NULL;
    }
}
