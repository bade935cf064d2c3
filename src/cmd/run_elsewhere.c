/*
 * init, join, cert renew and pki etcd make keys and certificates, and read pools and histories.
 * What they need for that takes longer to load than other commands take to run, so zbaton-setup,
 * the same program with all of it, stands beside this one and carries them out.
 */
#include <errno.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "os/beside.h"

static int
setup_run(struct zb_cli *cli)
{
    char path[ZB_OS_BESIDE_SIZE];
    struct zb_err err;

    if (zb_os_beside("zbaton-setup", path, &err) == ZB_OK) {
        (void)execv(path, cli->argv);
        (void)zb_err_sys(&err, errno, "start %s", path);
    }
    return zb_cli_fail(cli, &err);
}

int
zb_run_init(struct zb_cli *cli)
{
    return setup_run(cli);
}

int
zb_run_join(struct zb_cli *cli)
{
    return setup_run(cli);
}

int
zb_run_cert_renew(struct zb_cli *cli)
{
    return setup_run(cli);
}

int
zb_run_pki_etcd(struct zb_cli *cli)
{
    return setup_run(cli);
}
