/*
 * rekey. The keeper of this host changes a key only with root's consent (keeper/consent.h), which
 * is there while this command runs, and not after it, however it ends.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include "agent/files.h"
#include "cmd/cli.h"
#include "cmd/field.h"
#include "conf/node.h"
#include "keeper/consent.h"

static char consent[ZB_PATH_SIZE + ZB_SERVICE_NAME_SIZE + 32]; /* where it is */

static void
consent_end(void)
{
    (void)unlink(consent);
    consent[0] = '\0';
}

static void
on_signal(int sig)
{
    consent_end();
    (void)raise(sig); /* which ends it now: SA_RESETHAND */
}

static void
ends_catch(void)
{
    static const int signals[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
    const struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};

    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        struct sigaction before;
        if (sigaction(signals[i], NULL, &before) == 0 && before.sa_handler != SIG_IGN) {
            (void)sigaction(signals[i], &action, NULL);
        }
    }
    (void)atexit(consent_end); /* out of memory */
}

static enum zb_rc
consent_place(const struct zb_cli *cli, struct zb_err *err)
{
    const char *service = cli->operands[0];
    struct zb_conf_node conf;

    if (zb_cli_has(cli, ZB_OPT_KEY_FILE) == zb_cli_has(cli, ZB_OPT_KEY_COMMAND)) {
        return zb_err_set(err, ZB_E_USAGE,
                          "what gives the key is to be said: --key-file or "
                          "--key-command, as declared");
    }
    if (!zb_service_name_valid(service)) {
        return zb_err_set(err, ZB_E_USAGE, "%.100s is no name of a service", service);
    }
    if (geteuid() != 0) {
        return zb_err_set(err, ZB_E_REFUSED, "only root can consent to another key");
    }
    enum zb_rc rc = zb_conf_node_load(cli->conf_path, &conf, err);
    if (rc == ZB_OK) {
        (void)snprintf(consent, sizeof consent, "%s/" ZB_DIR_KEEPER "/" ZB_CONSENT_NAME,
                       conf.state_dir, service);
    }
    return rc;
}

static enum zb_rc
consent_give(const struct zb_cli *cli, struct zb_err *err)
{
    const char *file = cli->values[ZB_OPT_KEY_FILE];
    enum zb_rc rc = consent_place(cli, err);

    if (rc != ZB_OK) {
        return rc;
    }
    ends_catch();
    int fd = open(consent, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        return zb_err_sys(err, errno, "open %.200s", consent);
    }
    int n = file != NULL ? dprintf(fd, ZB_CONSENT_FILE, file)
                         : dprintf(fd, ZB_CONSENT_COMMAND, cli->values[ZB_OPT_KEY_COMMAND]);
    if (n < 0) {
        rc = zb_err_sys(err, errno, "write %.200s", consent);
        consent_end();
    }
    (void)close(fd);
    return rc;
}

int
zb_run_rekey(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = consent_give(cli, &err);

    if (rc == ZB_OK) {
        struct zb_client_call call = {.cmd = "rekey",
                                      .args = json_pack("{s:s}", "service", cli->operands[0])};
        rc = zb_cli_call(cli, &call, &data, &err);
        consent_end();
    }
    if (rc != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        zb_show_rekey(&cli->show, data);
    }
    int code = zb_field_bool(data, "degraded") ? ZB_EXIT_DEGRADED : 0;
    json_decref(data);
    return code;
}
