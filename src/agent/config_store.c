#include "agent/config_store.h"

#include "agent/json.h"
#include "agent/must.h"

#define META_PROMISED "config-promised"
#define META_ACCEPTED "config-accepted"

void
zb_config_store_close(struct zb_config_store *s)
{
    free(s->committed_text);
    free(s->accepted_text);
    memset(s, 0, sizeof *s);
}

/* {"version","round","node"} of a ballot; zero when there is none for this version. */
static enum zb_rc
ballot_load(struct zb_history *h, const char *name, uint64_t version,
            struct zb_config_ballot *ballot, struct zb_err *err)
{
    char *text = NULL;
    enum zb_rc rc = zb_history_meta_get(h, name, &text, err);

    if (rc == ZB_E_NOTFOUND) {
        return ZB_OK;
    }
    if (rc != ZB_OK) {
        return rc;
    }
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct zb_json_reader r = zb_json_read(object);
    struct zb_config_ballot read = {0};
    uint64_t of = zb_json_read_u64(&r, "version");

    read.round = zb_json_read_u64(&r, "round");
    zb_json_read_name(&r, "node", read.node, sizeof read.node, zb_node_name_valid);
    rc = zb_json_read_end(&r, err);
    if (rc == ZB_OK && of == version) {
        *ballot = read;
    }
    json_decref(object);
    free(text);
    return rc;
}

static enum zb_rc
ballot_store(struct zb_history *h, const char *name, uint64_t version,
             const struct zb_config_ballot *ballot, struct zb_err *err)
{
    json_t *object = zb_must(json_object());

    zb_json_put(object, "version", zb_json_u64(version));
    zb_json_put(object, "round", zb_json_u64(ballot->round));
    zb_json_put(object, "node", zb_json_text(ballot->node));
    char *text = zb_must(json_dumps(object, JSON_COMPACT));
    enum zb_rc rc = zb_history_meta_set(h, name, text, err);

    free(text);
    json_decref(object);
    return rc;
}

static enum zb_rc
accepted_load(struct zb_history *h, struct zb_config_store *s, struct zb_err *err)
{
    struct zb_history_config config = {0};
    uint64_t next = s->acceptor.committed + 1;
    enum zb_rc rc = ballot_load(h, META_PROMISED, next, &s->acceptor.promised, err);

    if (rc == ZB_OK) {
        rc = ballot_load(h, META_ACCEPTED, next, &s->acceptor.accepted, err);
    }
    if (rc != ZB_OK || s->acceptor.accepted.round == 0) {
        return rc;
    }
    rc = zb_history_config_get(h, ZB_HISTORY_ACCEPTED, &config, err);
    if (rc == ZB_OK && config.version != next) {
        rc = zb_err_set(err, ZB_E_FORMAT, "history: accepted configuration %llu is missing",
                        (unsigned long long)next);
    }
    if (rc == ZB_OK) {
        s->accepted_text = zb_must(strdup(config.text));
        zb_config_hash(config.text, s->acceptor.accepted_hash);
    }
    zb_history_config_close(&config);
    return rc;
}

enum zb_rc
zb_config_store_load(struct zb_history *h, struct zb_config_store *s, struct zb_err *err)
{
    struct zb_history_config config = {0};
    struct zb_config_store loaded = {0};
    enum zb_rc rc = zb_history_config_get(h, ZB_HISTORY_COMMITTED, &config, err);

    if (rc == ZB_OK) {
        loaded.acceptor.committed = config.version;
        loaded.committed_text = zb_must(strdup(config.text));
        zb_config_hash(config.text, loaded.acceptor.committed_hash);
    } else if (rc != ZB_E_NOTFOUND) {
        goto out;
    }
    rc = accepted_load(h, &loaded, err);
out:
    zb_history_config_close(&config);
    if (rc == ZB_OK) {
        *s = loaded;
    } else {
        zb_config_store_close(&loaded);
        zb_err_wrap(err, "configuration");
    }
    return rc;
}

enum zb_rc
zb_config_store_ask(struct zb_history *h, struct zb_config_store *s, uint64_t version,
                    const struct zb_config_ballot *ballot, enum zb_config_answer *answer,
                    struct zb_err *err)
{
    struct zb_config_acceptor next = s->acceptor;
    enum zb_config_answer said = zb_config_rules_ask(&next, version, ballot);
    enum zb_rc rc = ZB_OK;

    if (said == ZB_CONFIG_YES) {
        rc = ballot_store(h, META_PROMISED, version, ballot, err);
    }
    if (rc == ZB_OK) {
        s->acceptor = next;
        *answer = said;
    }
    return rc;
}

enum zb_rc
zb_config_store_propose(struct zb_history *h, struct zb_config_store *s,
                        const struct zb_config_ballot *ballot, const struct zb_config_doc *doc,
                        enum zb_config_answer *answer, struct zb_err *err)
{
    struct zb_config_acceptor next = s->acceptor;
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    enum zb_rc rc = zb_config_doc_format(doc, &text, hash, err);

    if (rc != ZB_OK) {
        return rc;
    }
    enum zb_config_answer said = zb_config_rules_propose(&next, doc->version, ballot, hash);
    if (said == ZB_CONFIG_YES) {
        rc = zb_history_begin(h, err);
        if (rc != ZB_OK) {
            goto out;
        }
        rc = zb_history_config_put(h, doc->version, ZB_HISTORY_ACCEPTED, text, err);
        if (rc == ZB_OK) {
            rc = ballot_store(h, META_ACCEPTED, doc->version, ballot, err);
        }
        if (rc == ZB_OK) {
            rc = ballot_store(h, META_PROMISED, doc->version, ballot, err);
        }
        if (rc == ZB_OK) {
            rc = zb_history_commit(h, err);
        } else {
            zb_history_rollback(h);
        }
    }
    if (rc == ZB_OK) {
        *answer = said;
        s->acceptor = next;
    }
    if (rc == ZB_OK && said == ZB_CONFIG_YES) {
        free(s->accepted_text);
        s->accepted_text = text;
        text = NULL;
    }
out:
    free(text);
    return rc;
}

enum zb_rc
zb_config_store_commit(struct zb_history *h, struct zb_config_store *s,
                       const struct zb_config_doc *doc, bool *news, struct zb_err *err)
{
    struct zb_config_acceptor next = s->acceptor;
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    bool mismatch;
    enum zb_rc rc = zb_config_doc_format(doc, &text, hash, err);

    if (rc != ZB_OK) {
        return rc;
    }
    bool changed = zb_config_rules_commit(&next, doc->version, hash, &mismatch);
    if (mismatch) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "configuration %llu is another one here",
                        (unsigned long long)doc->version);
        goto out;
    }
    if (changed) {
        rc = zb_history_config_put(h, doc->version, ZB_HISTORY_COMMITTED, text, err);
    }
    if (rc == ZB_OK) {
        *news = changed;
    }
    if (rc == ZB_OK && changed) {
        s->acceptor = next;
        free(s->committed_text);
        free(s->accepted_text);
        s->committed_text = text;
        s->accepted_text = NULL;
        text = NULL;
    }
out:
    free(text);
    return rc;
}
