/*
 * zbatond(8): the keeper. The engine is a program of its own (zbatond_engine.c): what runs as root
 * loads no library that talks to others.
 */
#include <unistd.h>

#include "base/log.h"
#include "cmd/cli.h"
#include "conf/node.h"
#include "keeper/keeper.h"
#include "os/beside.h"

static int
usage(void)
{
    fputs("usage: zbatond [-nv] [-f FILE]\n", stderr);
    return zb_rc_exit(ZB_E_USAGE);
}

static int
fail(const struct zb_err *err)
{
    zb_log_error("%s%s%s", err->msg, err->hint[0] == '\0' ? "" : "; ", err->hint);
    return zb_rc_exit(err->rc);
}

int
main(int argc, char **argv)
{
    const char *path = ZB_CONF_PATH;
    bool check = false, verbose = false;
    struct zb_conf_node conf;
    struct zb_err err;
    char engine[ZB_OS_BESIDE_SIZE];
    int c;

    zb_log_init("zbatond: keeper", ZB_LOG_INFO);
    while ((c = getopt(argc, argv, "+f:nv")) != -1) {
        switch (c) {
        case 'f':
            path = optarg;
            break;
        case 'n':
            check = true;
            break;
        case 'v':
            verbose = true;
            break;
        default:
            return usage();
        }
    }
    if (optind < argc) {
        return usage();
    }
    if (zb_conf_node_load(path, &conf, &err) != ZB_OK) {
        return fail(&err);
    }
    zb_log_init("zbatond: keeper", verbose ? ZB_LOG_DEBUG : conf.log_level);
    if (check) {
        zb_conf_node_print(&conf, stdout);
        return 0;
    }
    if (zb_os_beside("zbatond-engine", engine, &err) != ZB_OK) {
        return fail(&err);
    }
    return zb_keeper_run(&conf, engine, &err) == ZB_OK ? 0 : fail(&err);
}
