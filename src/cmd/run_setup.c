/*
 * init: the first node of a new cluster. join: one more node. Both work without the daemon.
 */
#include "agent/files.h"
#include "cmd/recover.h"
#include "net/join.h"

/* What lies between the checks and the end; every text is released by pki_close. */
struct pki {
    char *ca_crt;
    char *ca_key;
    char *node_crt;
    char *node_key;
    char *csr;
};

static void
pki_close(struct pki *p)
{
    zb_pki_text_free(p->ca_crt);
    zb_pki_text_free(p->ca_key);
    zb_pki_text_free(p->node_crt);
    zb_pki_text_free(p->node_key);
    zb_pki_text_free(p->csr);
}

/* --- init --- */

static enum zb_rc
pki_make(const char *cluster, const char *node, struct pki *p, struct zb_err *err)
{
    enum zb_rc rc = zb_pki_ca_create(cluster, &p->ca_crt, &p->ca_key, err);

    if (rc == ZB_OK) {
        rc = zb_pki_key_create(&p->node_key, err);
    }
    if (rc == ZB_OK) {
        rc = zb_pki_csr_create((struct zb_pem){"key", p->node_key}, node, &p->csr, err);
    }
    if (rc == ZB_OK) {
        rc = zb_pki_sign((struct zb_pem){"CA", p->ca_crt}, (struct zb_pem){"CA key", p->ca_key},
                         (struct zb_pem){"request", p->csr}, node, &p->node_crt, err);
    }
    return rc;
}

static enum zb_rc
pki_store(struct zb_setup *s, const struct pki *p, struct zb_err *err)
{
    enum zb_rc rc = zb_setup_file_write(s, ZB_FILE_CA_CRT, p->ca_crt, err);

    if (rc == ZB_OK && p->ca_key != NULL) {
        rc = zb_setup_file_write(s, ZB_FILE_CA_KEY, p->ca_key, err);
    }
    if (rc == ZB_OK) {
        rc = zb_setup_file_write(s, ZB_FILE_NODE_KEY, p->node_key, err);
    }
    if (rc == ZB_OK) {
        rc = zb_setup_file_write(s, ZB_FILE_NODE_CRT, p->node_crt, err);
    }
    return rc;
}

/* Version 1: this node alone, no services. */
static enum zb_rc
first_doc(const struct zb_setup *s, const char *cluster, const char *node_crt,
          struct zb_config_doc *doc, struct zb_err *err)
{
    struct zb_pki_cert_info info;
    enum zb_rc rc = zb_pki_cert_info((struct zb_pem){"certificate", node_crt}, &info, err);

    if (rc != ZB_OK) {
        return rc;
    }
    doc->version = 1;
    doc->nodes_count = 1;
    zb_strcopy(doc->cluster, sizeof doc->cluster, cluster);
    zb_strcopy(doc->nodes[0].name, sizeof doc->nodes[0].name, s->conf.node);
    zb_strcopy(doc->nodes[0].address, sizeof doc->nodes[0].address, s->address);
    zb_strcopy(doc->nodes[0].fingerprint, sizeof doc->nodes[0].fingerprint, info.fingerprint);
    return zb_config_doc_services_set(doc, "", "services", err);
}

static enum zb_rc
init_make(struct zb_setup *s, const char *cluster, const struct zb_recover *recover,
          struct zb_err *err)
{
    struct zb_config_doc doc = {0};
    struct pki pki = {0};
    char cluster_id[ZB_UUID_SIZE];
    enum zb_rc rc = pki_make(cluster, s->conf.node, &pki, err);

    zb_uuid_new(cluster_id);
    if (rc == ZB_OK) {
        rc = first_doc(s, cluster, pki.node_crt, &doc, err);
    }
    if (rc == ZB_OK && recover != NULL) {
        zb_recover_fill(recover, &doc.recovered);
        rc = zb_recover_aside(s, recover, err);
    }
    if (rc == ZB_OK) {
        rc = zb_setup_places_make(s, err);
    }
    if (rc == ZB_OK) {
        rc = pki_store(s, &pki, err);
    }
    if (rc == ZB_OK) {
        rc = zb_setup_finish(s, &doc, cluster_id, err);
    }
    zb_config_doc_close(&doc);
    pki_close(&pki);
    return rc;
}

static void
init_told(const struct zb_setup *s, const char *cluster)
{
    printf("Cluster %s has its first node %s.\n"
           "  %s\n  %s/\n  dataset %s%s\n\n"
           "Keep a copy of the key of the cluster's CA in a safe place; who has it can let nodes "
           "in:\n"
           "  %s/%s\n\n",
           cluster, s->conf.node, s->conf_path, s->conf.state_dir, s->conf.root,
           s->dataset_made ? " (made)" : "", s->conf.state_dir, ZB_FILE_CA_KEY);
}

/* Over the copies of an earlier cluster: they are told, and agreed to, first. */
static enum zb_rc
recover_run(const struct zb_cli *cli, struct zb_setup *s, struct zb_err *err)
{
    struct zb_recover recover = {0};
    bool dry_run = zb_cli_has(cli, ZB_OPT_DRY_RUN);
    enum zb_rc rc = zb_recover_look(cli, s, &recover, err);

    if (rc == ZB_OK) {
        zb_recover_show(cli, s, &recover);
    }
    if (rc == ZB_OK && !dry_run) {
        rc = zb_recover_consent(cli, s, &recover, err);
    }
    if (rc == ZB_OK && !dry_run) {
        rc = init_make(s, cli->values[ZB_OPT_CLUSTER], &recover, err);
        if (rc != ZB_OK) {
            zb_setup_undo(s);
        } else {
            putchar('\n');
            init_told(s, cli->values[ZB_OPT_CLUSTER]);
            zb_recover_next(s, &recover);
        }
    }
    zb_recover_close(&recover);
    return rc;
}

static enum zb_rc
init_run(const struct zb_cli *cli, struct zb_setup *s, struct zb_err *err)
{
    enum zb_rc rc;

    if (zb_cli_has(cli, ZB_OPT_DRY_RUN) || zb_cli_has(cli, ZB_OPT_YES) ||
        zb_cli_has(cli, ZB_OPT_FENCED) || zb_cli_has(cli, ZB_OPT_WITHOUT_STATE)) {
        return zb_err_set(err, ZB_E_USAGE,
                          "-n, -y, --fenced and --without-state go with --recover");
    }
    rc = zb_recover_none_check(s, err);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = init_make(s, cli->values[ZB_OPT_CLUSTER], NULL, err);
    if (rc != ZB_OK) {
        zb_setup_undo(s);
        return rc;
    }
    init_told(s, cli->values[ZB_OPT_CLUSTER]);
    puts("Next: systemctl enable --now zbaton; zbaton token create");
    return ZB_OK;
}

int
zb_run_init(struct zb_cli *cli)
{
    struct zb_setup setup;
    struct zb_err err;
    const char *cluster = cli->values[ZB_OPT_CLUSTER];

    if (!zb_node_name_valid(cluster)) {
        zb_err_set(&err, ZB_E_USAGE, "'%.64s' cannot be a cluster's name: [a-z0-9][a-z0-9-]*",
                   cluster);
        return zb_cli_fail(cli, &err);
    }
    enum zb_rc rc = zb_setup_begin(cli, &setup, &err);
    if (rc == ZB_OK) {
        rc = zb_cli_has(cli, ZB_OPT_RECOVER) ? recover_run(cli, &setup, &err)
                                             : init_run(cli, &setup, &err);
    }
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

/* --- join --- */

/* The peers to ask for the configuration: version 0, agreed on by nobody. */
static enum zb_rc
joined_doc(const struct zb_join_result *result, struct zb_config_doc *doc, struct zb_err *err)
{
    zb_strcopy(doc->cluster, sizeof doc->cluster, result->cluster_name);
    doc->nodes_count = result->nodes_count;
    for (uint32_t i = 0; i < result->nodes_count; i++) {
        struct zb_config_node *n = &doc->nodes[i];
        zb_strcopy(n->name, sizeof n->name, result->nodes[i].name);
        zb_strcopy(n->address, sizeof n->address, result->nodes[i].address);
        zb_strcopy(n->fingerprint, sizeof n->fingerprint, result->nodes[i].fingerprint);
    }
    return zb_config_doc_services_set(doc, "", "services", err);
}

static enum zb_rc
joined_store(struct zb_setup *s, struct pki *pki, const struct zb_join_result *result,
             struct zb_err *err)
{
    struct zb_config_doc doc = {0};
    enum zb_rc rc = joined_doc(result, &doc, err);
    struct pki stored = {
        .ca_crt = result->ca_pem, .node_crt = result->cert_pem, .node_key = pki->node_key};

    if (rc == ZB_OK) {
        rc = pki_store(s, &stored, err);
    }
    if (rc == ZB_OK) {
        rc = zb_setup_finish(s, &doc, result->cluster_id, err);
    }
    if (rc != ZB_OK) {
        zb_err_hint(err, "the token is used: repeat with a new one (zbaton token create)");
    }
    zb_config_doc_close(&doc);
    return rc;
}

static enum zb_rc
join_make(struct zb_setup *s, const struct zb_token *token, bool lost,
          struct zb_join_result *result, struct zb_err *err)
{
    struct pki pki = {0};
    enum zb_rc rc = zb_pki_key_create(&pki.node_key, err);

    if (rc == ZB_OK) {
        rc = zb_setup_places_make(s, err);
    }
    if (rc == ZB_OK) {
        struct zb_join_ask ask = {.token = token,
                                  .node = s->conf.node,
                                  .address = s->address,
                                  .lost = lost,
                                  .key = {"new key", pki.node_key}};
        rc = zb_join_ask(&ask, result, err);
    }
    if (rc == ZB_OK) {
        rc = joined_store(s, &pki, result, err);
    }
    pki_close(&pki);
    return rc;
}

int
zb_run_join(struct zb_cli *cli)
{
    struct zb_setup setup;
    struct zb_token token = {0};
    struct zb_join_result result = {0};
    struct zb_err err;
    enum zb_rc rc = zb_token_parse(cli->operands[0], zb_wall_now(), &token, &err);

    if (rc == ZB_OK) {
        rc = zb_setup_begin(cli, &setup, &err);
    }
    if (rc == ZB_OK) {
        rc = join_make(&setup, &token, zb_cli_has(cli, ZB_OPT_LOST), &result, &err);
        if (rc != ZB_OK) {
            zb_setup_undo(&setup);
        }
    }
    if (rc == ZB_OK) {
        printf("%s is a node of cluster %s, which has %u now.\n  %s\n  %s/\n  dataset %s%s\n\n"
               "Next: systemctl enable --now zbaton\n",
               setup.conf.node, result.cluster_name, result.nodes_count, setup.conf_path,
               setup.conf.state_dir, setup.conf.root, setup.dataset_made ? " (made)" : "");
    }
    zb_join_result_close(&result);
    zb_token_close(&token);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}
