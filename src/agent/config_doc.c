#include "agent/config_doc.h"

#include <openssl/evp.h>

#include "agent/json.h"
#include "agent/must.h"
#include "net/pki.h"

void
zb_config_doc_close(struct zb_config_doc *doc)
{
    free(doc->text);
    zb_conf_services_close(&doc->services);
    zb_freezes_close(&doc->freezes);
    zb_faileds_close(&doc->failed);
    zb_labels_close(&doc->labels);
    zb_recovered_close(&doc->recovered);
    memset(doc, 0, sizeof *doc);
}

int
zb_config_doc_node_find(const struct zb_config_doc *doc, const char *name)
{
    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        if (strcmp(doc->nodes[i].name, name) == 0) {
            return (int)i;
        }
    }
    return -1;
}

/* It is of a service, and of a node that may lead it. */
static bool
failed_applies(const struct zb_config_doc *doc, const struct zb_failed *f)
{
    const struct zb_conf_service *s = zb_conf_services_find(&doc->services, f->service);

    return s != NULL && zb_conf_names_contain(&s->members, f->node);
}

enum zb_rc
zb_config_doc_services_set(struct zb_config_doc *doc, const char *text, const char *file,
                           struct zb_err *err)
{
    const char *names[ZB_NODES_MAX];
    struct zb_conf_nodes known = {.count = doc->nodes_count, .names = names};
    struct zb_conf_services services = {0};

    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        names[i] = doc->nodes[i].name;
    }
    enum zb_rc rc = zb_conf_services_parse(text, file, &known, &services, err);
    if (rc != ZB_OK) {
        return rc;
    }
    for (uint32_t i = 0; i < doc->services.count; i++) {
        const char *name = doc->services.items[i].name;
        if (zb_conf_services_find(&services, name) == NULL) {
            zb_recovered_remove(&doc->recovered, name);
        }
    }
    char *copy = zb_must(strdup(text));
    free(doc->text);
    doc->text = copy;
    zb_conf_services_close(&doc->services);
    doc->services = services;
    for (uint32_t i = doc->freezes.count; i-- > 0;) {
        const char *name = doc->freezes.items[i].service;
        if (zb_conf_services_find(&doc->services, name) == NULL) {
            (void)zb_freezes_remove(&doc->freezes, name);
        }
    }
    for (uint32_t i = doc->failed.count; i-- > 0;) {
        const struct zb_failed f = doc->failed.items[i];
        if (!failed_applies(doc, &f)) {
            (void)zb_faileds_remove(&doc->failed, f.service, f.node);
        }
    }
    for (uint32_t i = doc->labels.count; i-- > 0;) {
        const struct zb_label label = doc->labels.items[i];
        if (zb_conf_services_find(&doc->services, label.service) == NULL) {
            (void)zb_labels_remove(&doc->labels, label.service, label.set);
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_config_doc_copy(struct zb_config_doc *to, const struct zb_config_doc *from, struct zb_err *err)
{
    struct zb_config_doc copy = *from;

    copy.text = NULL;
    copy.services = (struct zb_conf_services){0};
    copy.freezes = (struct zb_freezes){0};
    copy.failed = (struct zb_faileds){0};
    copy.labels = (struct zb_labels){0};
    copy.recovered = (struct zb_recovered){0};
    enum zb_rc rc = zb_config_doc_services_set(&copy, from->text, "configuration", err);
    if (rc == ZB_OK) {
        zb_freezes_copy(&copy.freezes, &from->freezes);
        zb_faileds_copy(&copy.failed, &from->failed);
        zb_labels_copy(&copy.labels, &from->labels);
        zb_recovered_copy(&copy.recovered, &from->recovered);
        *to = copy;
    }
    return rc;
}

void
zb_config_hash(const char *text, char hash[ZB_CONFIG_HASH_SIZE])
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;

    if (EVP_Digest(text, strlen(text), digest, &size, EVP_sha256(), NULL) != 1 || size != 32) {
        zb_out_of_memory();
    }
    for (unsigned i = 0; i < size; i++) {
        snprintf(hash + (size_t)2 * i, 3, "%02x", digest[i]);
    }
}

enum zb_rc
zb_config_doc_format(const struct zb_config_doc *doc, char **text, char hash[ZB_CONFIG_HASH_SIZE],
                     struct zb_err *err)
{
    json_t *object = zb_must(json_object());
    json_t *nodes = zb_json_array_new();

    for (uint32_t i = 0; i < doc->nodes_count; i++) {
        json_t *node = zb_must(json_object());
        zb_json_put(node, "name", zb_json_text(doc->nodes[i].name));
        zb_json_put(node, "address", zb_json_text(doc->nodes[i].address));
        zb_json_put(node, "fingerprint", zb_json_text(doc->nodes[i].fingerprint));
        if (doc->nodes[i].next[0] != '\0') {
            zb_json_put(node, "next", zb_json_text(doc->nodes[i].next));
        }
        if (zb_drained_is(&doc->nodes[i].drained)) {
            zb_json_put(node, "drained", zb_drained_doc(&doc->nodes[i].drained));
        }
        zb_json_append(nodes, node);
    }
    zb_json_put(object, "version", zb_json_u64(doc->version));
    zb_json_put(object, "cluster", zb_json_text(doc->cluster));
    zb_json_put(object, "nodes", nodes);
    zb_json_put(object, "services", zb_json_text(doc->text));
    if (doc->freezes.count > 0) {
        zb_json_put(object, "freezes", zb_freezes_json(&doc->freezes));
    }
    if (doc->failed.count > 0) {
        zb_json_put(object, "failed", zb_faileds_json(&doc->failed));
    }
    if (doc->labels.count > 0) {
        zb_json_put(object, "labels", zb_labels_json(&doc->labels));
    }
    if (doc->recovered.term != 0) {
        zb_json_put(object, "recovered", zb_recovered_json(&doc->recovered));
    }
    char *dump = zb_must(json_dumps(object, JSON_COMPACT | JSON_SORT_KEYS));
    json_decref(object);
    if (strlen(dump) > ZB_CONFIG_DOC_MAX) {
        free(dump);
        return zb_err_set(err, ZB_E_LIMIT, "the configuration is longer than %u bytes",
                          ZB_CONFIG_DOC_MAX);
    }
    zb_config_hash(dump, hash);
    *text = dump;
    return ZB_OK;
}

static enum zb_rc
nodes_parse(const json_t *array, struct zb_config_doc *doc, struct zb_err *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(array) || json_array_size(array) == 0 ||
        json_array_size(array) > ZB_NODES_MAX) {
        return zb_err_set(err, ZB_E_FORMAT, "configuration: nodes");
    }
    json_array_foreach(array, i, item)
    {
        struct zb_json_reader r = zb_json_read(item);
        struct zb_config_node node = {0};
        zb_json_read_name(&r, "name", node.name, sizeof node.name, zb_node_name_valid);
        zb_json_read_text(&r, "address", node.address, sizeof node.address);
        zb_json_read_text(&r, "fingerprint", node.fingerprint, sizeof node.fingerprint);
        if (r.bad == NULL && node.fingerprint[0] != '\0' &&
            !zb_fingerprint_valid(node.fingerprint)) {
            zb_json_read_fail(&r, "fingerprint");
        }
        if (json_object_get(item, "next") != NULL) {
            zb_json_read_name(&r, "next", node.next, sizeof node.next, zb_fingerprint_valid);
        }
        if (r.bad == NULL && zb_config_doc_node_find(doc, node.name) >= 0) {
            zb_json_read_fail(&r, "name");
        }
        const json_t *drained = json_object_get(item, "drained");
        enum zb_rc rc = zb_json_read_end(&r, err);
        if (rc == ZB_OK && drained != NULL) {
            rc = zb_drained_parse(drained, &node.drained, err);
        }
        if (rc != ZB_OK) {
            zb_err_wrap(err, "configuration: node %zu", i);
            return rc;
        }
        doc->nodes[doc->nodes_count++] = node;
    }
    return ZB_OK;
}

/* Only services that the configuration has; none of them: no list at all. */
static enum zb_rc
freezes_parse(const json_t *array, struct zb_config_doc *doc, struct zb_err *err)
{
    if (array == NULL) {
        return ZB_OK;
    }
    enum zb_rc rc = zb_freezes_parse(array, &doc->freezes, err);
    for (uint32_t i = 0; rc == ZB_OK && i < doc->freezes.count; i++) {
        const char *name = doc->freezes.items[i].service;
        if (zb_conf_services_find(&doc->services, name) == NULL) {
            rc = zb_err_set(err, ZB_E_FORMAT, "freezes: there is no service %s", name);
        }
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "configuration");
}

static enum zb_rc
failed_parse(const json_t *array, struct zb_config_doc *doc, struct zb_err *err)
{
    if (array == NULL) {
        return ZB_OK;
    }
    enum zb_rc rc = zb_faileds_parse(array, &doc->failed, err);
    for (uint32_t i = 0; rc == ZB_OK && i < doc->failed.count; i++) {
        const struct zb_failed *f = &doc->failed.items[i];
        if (!failed_applies(doc, f)) {
            rc = zb_err_set(err, ZB_E_FORMAT, "failed: %s is no member of a service %s", f->node,
                            f->service);
        }
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "configuration");
}

static enum zb_rc
labels_parse(const json_t *array, struct zb_config_doc *doc, struct zb_err *err)
{
    if (array == NULL) {
        return ZB_OK;
    }
    enum zb_rc rc = zb_labels_parse(array, &doc->labels, err);
    for (uint32_t i = 0; rc == ZB_OK && i < doc->labels.count; i++) {
        const char *name = doc->labels.items[i].service;
        if (zb_conf_services_find(&doc->services, name) == NULL) {
            rc = zb_err_set(err, ZB_E_FORMAT, "labels: there is no service %s", name);
        }
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "configuration");
}

static enum zb_rc
recovered_parse(const json_t *object, struct zb_config_doc *doc, struct zb_err *err)
{
    if (object == NULL) {
        return ZB_OK;
    }
    enum zb_rc rc = zb_recovered_parse(object, &doc->recovered, err);
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "configuration");
}

enum zb_rc
zb_config_doc_parse(const char *text, struct zb_config_doc *doc, struct zb_err *err)
{
    json_t *object = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    struct zb_json_reader r = zb_json_read(object);
    struct zb_config_doc parsed = {0};
    char *canonical = NULL;
    char hash[ZB_CONFIG_HASH_SIZE];
    const char *services = json_string_value(json_object_get(object, "services"));

    parsed.version = zb_json_read_u64(&r, "version");
    zb_json_read_name(&r, "cluster", parsed.cluster, sizeof parsed.cluster, zb_node_name_valid);
    if (services == NULL) {
        zb_json_read_fail(&r, "services");
    }
    enum zb_rc rc = zb_json_read_end(&r, err);
    if (rc == ZB_OK) {
        rc = nodes_parse(json_object_get(object, "nodes"), &parsed, err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_services_set(&parsed, services, "configuration", err);
    }
    if (rc == ZB_OK) {
        rc = freezes_parse(json_object_get(object, "freezes"), &parsed, err);
    }
    if (rc == ZB_OK) {
        rc = failed_parse(json_object_get(object, "failed"), &parsed, err);
    }
    if (rc == ZB_OK) {
        rc = labels_parse(json_object_get(object, "labels"), &parsed, err);
    }
    if (rc == ZB_OK) {
        rc = recovered_parse(json_object_get(object, "recovered"), &parsed, err);
    }
    if (rc == ZB_OK) {
        rc = zb_config_doc_format(&parsed, &canonical, hash, err);
    }
    if (rc == ZB_OK && strcmp(canonical, text) != 0) {
        rc = zb_err_set(err, ZB_E_FORMAT, "configuration: not in canonical form");
    }
    if (rc == ZB_OK) {
        *doc = parsed;
    } else {
        zb_config_doc_close(&parsed);
    }
    free(canonical);
    json_decref(object);
    return rc;
}
