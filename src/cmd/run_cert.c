/*
 * cert renew: by the daemon, while it runs; or with a token, for a host whose certificate has ended
 * or is not accepted any more, without it.
 */
#include <errno.h>
#include <pwd.h>
#include <unistd.h>

#include "agent/config.h"
#include "agent/files.h"
#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/table.h"
#include "conf/node.h"
#include "keeper/survey.h"
#include "net/join.h"
#include "net/pki.h"
#include "os/priv.h"

struct renewal {
    struct zb_conf_node conf;
    struct zb_token token;
    char *key;
    struct zb_join_result result;
    int lock_fd; /* the keeper's; 0: none */
};

static void
state_path(const struct renewal *n, const char *name, char *path)
{
    (void)snprintf(path, ZB_PATH_SIZE + 32, "%s/%s", n->conf.state_dir, name);
}

/* A daemon that runs goes on with what it has read, and would write over what is renewed here. The
 * lock keeps one from beginning meanwhile. */
static enum zb_rc
stopped_check(const struct zb_cli *cli, struct renewal *n, struct zb_err *err)
{
    struct zb_client_call call = {.cmd = "ping"};
    struct zb_err none;
    json_t *data = NULL;

    if (zb_cli_call(cli, &call, &data, &none) != ZB_OK) {
        return zb_survey_idle_lock(n->conf.state_dir, &n->lock_fd, err);
    }
    json_decref(data);
    (void)zb_err_set(err, ZB_E_REFUSED, "zbatond runs on this host");
    return zb_err_hint(err,
                       "zbaton cert renew; or if nobody lets it in, first: systemctl stop zbaton");
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

/* What the others have for certificates now: those that this host knows may be as old as its own.
 * The history is the engine's, and is opened as that. */
static enum zb_rc
pins_write(const struct renewal *n, struct zb_err *err)
{
    struct zb_config_node nodes[ZB_NODES_MAX] = {0};
    const struct passwd *user = getpwnam(ZB_ENGINE_USER);
    char path[ZB_PATH_SIZE + 32];
    enum zb_rc rc = ZB_OK;

    if (user == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "there is no user " ZB_ENGINE_USER);
    }
    for (uint32_t i = 0; i < n->result.nodes_count; i++) {
        const struct zb_join_node *from = &n->result.nodes[i];
        zb_strcopy(nodes[i].name, sizeof nodes[i].name, from->name);
        zb_strcopy(nodes[i].address, sizeof nodes[i].address, from->address);
        zb_strcopy(nodes[i].fingerprint, sizeof nodes[i].fingerprint, from->fingerprint);
    }
    state_path(n, ZB_FILE_HISTORY, path);
    if (setegid(user->pw_gid) != 0 || seteuid(user->pw_uid) != 0) {
        rc = zb_err_sys(err, errno, "become " ZB_ENGINE_USER);
    } else {
        rc = zb_config_pins_renew(path, nodes, n->result.nodes_count, err);
    }
    if (seteuid(0) != 0 || setegid(0) != 0) {
        return zb_err_sys(err, errno, "become root again");
    }
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
    if (rc == ZB_OK) {
        rc = pins_write(n, err);
    }
    return rc == ZB_OK
               ? ZB_OK
               : zb_err_hint(err, "the token is used: repeat with a new one (zbaton token create)");
}

static enum zb_rc
renew(const struct zb_cli *cli, struct renewal *n, struct zb_err *err)
{
    const char *address = cli->values[ZB_OPT_ADDRESS];

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
        rc = stopped_check(cli, n, err);
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
                                        .address = address != NULL ? address : "",
                                        .renew = true,
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
    if (n.lock_fd > 0) {
        (void)close(n.lock_fd);
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
