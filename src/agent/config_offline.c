/* The configuration in a history that no daemon uses: of init, join and cert renew --token. */
#include "agent/cert.h"
#include "agent/config.h"
#include "agent/config_store.h"
#include "agent/must.h"

enum zb_rc
zb_config_seed(const char *path, const struct zb_config_doc *doc, struct zb_err *err)
{
    struct zb_history *history = NULL;
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    enum zb_rc rc = zb_config_doc_format(doc, &text, hash, err);

    if (rc == ZB_OK) {
        rc = zb_history_open(path, &history, err);
    }
    if (rc == ZB_OK) {
        rc = zb_history_config_put(history, doc->version, ZB_HISTORY_COMMITTED, text, err);
    }
    zb_history_close(history);
    free(text);
    return rc;
}

static void
node_take(struct zb_config_doc *doc, const struct zb_config_node *node)
{
    int index = zb_config_doc_node_find(doc, node->name);

    if (index < 0 && doc->nodes_count == ZB_NODES_MAX) {
        return; /* the others tell of it */
    }
    doc->nodes[index >= 0 ? (uint32_t)index : doc->nodes_count++] = *node;
}

static enum zb_rc
pins_store(struct zb_history *history, const struct zb_config_node *nodes, uint32_t count,
           struct zb_err *err)
{
    struct zb_config_store store = {0};
    struct zb_config_doc doc = {0};
    char hash[ZB_CONFIG_HASH_SIZE];
    char *text = NULL;
    enum zb_rc rc = zb_config_store_load(history, &store, err);

    if (rc == ZB_OK && store.committed_text == NULL) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "the history has no configuration");
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_parse(store.committed_text, &doc, err);
    }
    for (uint32_t i = 0; i < count && rc == ZB_OK; i++) {
        node_take(&doc, &nodes[i]);
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_format(&doc, &text, hash, err);
    }
    if (rc == ZB_OK) {
        rc = zb_history_config_put(history, doc.version, ZB_HISTORY_COMMITTED, text, err);
    }
    free(text);
    zb_config_doc_close(&doc);
    zb_config_store_close(&store);
    return rc;
}

enum zb_rc
zb_config_pins_renew(const char *path, const struct zb_config_node *nodes, uint32_t count,
                     struct zb_err *err)
{
    struct zb_history *history = NULL;
    enum zb_rc rc = zb_history_open_existing(path, &history, err);

    if (rc == ZB_OK) {
        rc = zb_history_begin(history, err);
    }
    if (rc == ZB_OK) {
        rc = pins_store(history, nodes, count, err);
        if (rc == ZB_OK) {
            rc = zb_history_meta_set(history, ZB_CERT_META, "", err);
        }
        if (rc == ZB_OK) {
            rc = zb_history_commit(history, err);
        } else {
            zb_history_rollback(history);
        }
    }
    zb_history_close(history);
    return rc;
}
