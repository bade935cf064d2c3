/*
 * The engine of zbatond(8), as the keeper starts it: with the keeper's own options and "--engine
 * FD" behind them.
 */
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"
#include "cmd/cli.h"
#include "conf/node.h"
#include "os/memory.h"

static int
fail(const struct zb_err *err)
{
    zb_log_error("%s%s%s", err->msg, err->hint[0] == '\0' ? "" : "; ", err->hint);
    return zb_rc_exit(err->rc);
}

/* "--engine FD" at the end. -1: not there, or malformed. */
static int
keeper_fd(int argc, char **argv)
{
    char *end;

    if (argc < 3 || strcmp(argv[argc - 2], "--engine") != 0) {
        return -1;
    }
    long fd = strtol(argv[argc - 1], &end, 10);
    return *end == '\0' && end != argv[argc - 1] && fd > 2 && fd < 1024 ? (int)fd : -1;
}

int
main(int argc, char **argv)
{
    const char *path = ZB_CONF_PATH;
    bool verbose = false, usage = false;
    int fd = keeper_fd(argc, argv);
    struct zb_conf_node conf;
    struct zb_err err;
    int c;

    zb_log_init("zbatond: engine", ZB_LOG_INFO);
    zb_os_memory_spare();
    while (fd >= 0 && (c = getopt(argc - 2, argv, "+f:v")) != -1) {
        if (c == 'f') {
            path = optarg;
        } else if (c == 'v') {
            verbose = true;
        } else {
            usage = true;
        }
    }
    if (fd < 0 || usage || optind < argc - 2) {
        fputs("zbatond-engine: zbatond starts it\n", stderr);
        return zb_rc_exit(ZB_E_USAGE);
    }
    if (zb_conf_node_load(path, &conf, &err) != ZB_OK) {
        return fail(&err);
    }
    zb_log_init("zbatond: engine", verbose ? ZB_LOG_DEBUG : conf.log_level);
    struct zb_agent_options options = {.conf = &conf, .keeper_fd = fd};
    return zb_agent_run(&options, &err) == ZB_OK ? 0 : fail(&err);
}
