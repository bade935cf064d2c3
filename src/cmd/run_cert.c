/*
 * cert renew: by the daemon, while it runs; or with a token, for a host whose certificate has ended
 * or is not accepted any more, without it.
 */
#include <unistd.h>

#include "agent/files.h"
#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/table.h"
#include "conf/node.h"
#include "net/join.h"
#include "net/pki.h"

struct renewal {
    struct zb_conf_node conf;
    char address[ZB_ADDRESS_SIZE];
    struct zb_token token;
    char *key;
    struct zb_join_result result;
};

static void
state_path(const struct renewal *n, const char *name, char *path)
{
    (void)snprintf(path, ZB_PATH_SIZE + 32, "%s/%s", n->conf.state_dir, name);
}

/* Where the others reach this host. */
static enum zb_rc
address_find(const struct zb_cli *cli, struct renewal *n, struct zb_err *err)
{
    const char *address = cli->values[ZB_OPT_ADDRESS];
    const char *listen = n->conf.listen;

    if (address == NULL &&
        (strncmp(listen, "0.0.0.0:", 8) == 0 || strncmp(listen, "[::]:", 5) == 0)) {
        return zb_err_set(err, ZB_E_USAGE,
                          "this host listens on %s, which is not an address to be reached at: give "
                          "--address",
                          listen);
    }
    address = address == NULL ? listen : address;
    if (strlen(address) >= sizeof n->address) {
        return zb_err_set(err, ZB_E_USAGE, "--address is too long");
    }
    zb_strcopy(n->address, sizeof n->address, address);
    return ZB_OK;
}

/* A token of another cluster would make this host a node there. */
static enum zb_rc
cluster_check(const struct renewal *n, struct zb_err *err)
{
    struct zb_pki_cert_info ca;
    char path[ZB_PATH_SIZE + 32];
    char *text = NULL;

    state_path(n, ZB_FILE_CA_CRT, path);
    enum zb_rc rc = zb_pki_file_read(path, &text, err);
    if (rc == ZB_E_NOTFOUND) {
        (void)zb_err_set(err, ZB_E_REFUSED, "this host is no node yet: there is no %s", path);
        return zb_err_hint(err, "zbaton join TOKEN");
    }
    if (rc == ZB_OK) {
        rc = zb_pki_cert_info((struct zb_pem){path, text}, &ca, err);
    }
    if (rc == ZB_OK && strcmp(ca.fingerprint, n->token.ca_fingerprint) != 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "the token is of another cluster");
    }
    zb_pki_text_free(text);
    return rc;
}

static enum zb_rc
files_write(const struct renewal *n, struct zb_err *err)
{
    char key[ZB_PATH_SIZE + 32], cert[ZB_PATH_SIZE + 32];

    state_path(n, ZB_FILE_NODE_KEY, key);
    state_path(n, ZB_FILE_NODE_CRT, cert);
    enum zb_rc rc = zb_pki_file_write(key, n->key, 0, 0, err);
    if (rc == ZB_OK) {
        rc = zb_pki_file_write(cert, n->result.cert_pem, 0, 0, err);
    }
    return rc == ZB_OK
               ? ZB_OK
               : zb_err_hint(err, "the token is used: repeat with a new one (zbaton token create)");
}

static enum zb_rc
renew(const struct zb_cli *cli, struct renewal *n, struct zb_err *err)
{
    if (geteuid() != 0) {
        return zb_err_set(err, ZB_E_AUTH, "only root can renew the certificate with a token");
    }
    if (cli->operands_count > 0) {
        return zb_err_set(err, ZB_E_USAGE, "--token is for this host: it goes without NODE");
    }
    enum zb_rc rc = zb_token_parse(cli->values[ZB_OPT_TOKEN], zb_wall_now(), &n->token, err);
    if (rc == ZB_OK) {
        rc = zb_conf_node_load(cli->conf_path, &n->conf, err);
    }
    if (rc == ZB_OK) {
        rc = address_find(cli, n, err);
    }
    if (rc == ZB_OK) {
        rc = cluster_check(n, err);
    }
    if (rc == ZB_OK) {
        rc = zb_pki_key_create(&n->key, err);
    }
    if (rc == ZB_OK) {
        const struct zb_join_ask ask = {.token = &n->token,
                                        .node = n->conf.node,
                                        .address = n->address,
                                        .key = {"new key", n->key}};
        rc = zb_join_ask(&ask, &n->result, err);
    }
    return rc == ZB_OK ? files_write(n, err) : rc;
}

static int
token_renew(const struct zb_cli *cli)
{
    struct renewal n = {0};
    struct zb_err err;
    enum zb_rc rc = renew(cli, &n, &err);

    if (rc == ZB_OK) {
        printf("%s has a new certificate in %s.\n\nNext: systemctl restart zbaton\n", n.conf.node,
               n.conf.state_dir);
    }
    zb_pki_text_free(n.key);
    zb_join_result_close(&n.result);
    zb_token_close(&n.token);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

int
zb_run_cert_renew(struct zb_cli *cli)
{
    struct zb_client_call call = {.cmd = "cert.renew"};
    json_t *data = NULL;
    struct zb_err err;

    if (zb_cli_has(cli, ZB_OPT_TOKEN)) {
        return token_renew(cli);
    }
    call.args = json_pack("{s:s}", "node", cli->operands_count > 0 ? cli->operands[0] : "");
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        fputs("The certificate of ", stdout);
        zb_text_print(stdout, zb_field_text(data, "node"));
        fputs(" is new, and ends ", stdout);
        zb_text_print(stdout, zb_field_text(data, "ends"));
        puts(".");
    }
    json_decref(data);
    return 0;
}
