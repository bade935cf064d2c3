/*
 * zbatond(8): the keeper, or, started by it with --engine FD, the engine.
 */
#include <signal.h>
#include <unistd.h>

#include "agent/agent.h"
#include "base/log.h"
#include "cmd/cli.h"
#include "conf/node.h"
#include "keeper/keeper.h"

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

/* "--engine FD" at the end: as the keeper starts it. -1: not there, -2: malformed. */
static int
engine_fd(int argc, char **argv)
{
    char *end;

    if (argc < 3 || strcmp(argv[argc - 2], "--engine") != 0) {
        return -1;
    }
    long fd = strtol(argv[argc - 1], &end, 10);
    return *end == '\0' && end != argv[argc - 1] && fd > 2 && fd < 1024 ? (int)fd : -2;
}

int
main(int argc, char **argv)
{
    const char *path = ZB_CONF_PATH;
    bool check = false, verbose = false;
    int fd = engine_fd(argc, argv);
    struct zb_conf_node conf;
    struct zb_err err;
    char self[ZB_PATH_SIZE];
    int c;

    zb_log_init(fd >= 0 ? "zbatond: engine" : "zbatond: keeper", ZB_LOG_INFO);
    while ((c = getopt(fd >= 0 ? argc - 2 : argc, argv, "+f:nv")) != -1) {
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
    if (fd == -2 || optind < (fd >= 0 ? argc - 2 : argc)) {
        return usage();
    }
    if (zb_conf_node_load(path, &conf, &err) != ZB_OK) {
        return fail(&err);
    }
    zb_log_init(fd >= 0 ? "zbatond: engine" : "zbatond: keeper",
                verbose ? ZB_LOG_DEBUG : conf.log_level);
    if (check) {
        zb_conf_node_print(&conf, stdout);
        return 0;
    }
    if (fd >= 0) {
        struct zb_agent_options options = {.conf = &conf, .keeper_fd = fd};
        return zb_agent_run(&options, &err) == ZB_OK ? 0 : fail(&err);
    }
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0) {
        zb_err_set(&err, ZB_E_SYS, "/proc/self/exe cannot be read: is /proc mounted?");
        return fail(&err);
    }
    self[length] = '\0';
    return zb_keeper_run(&conf, self, &err) == ZB_OK ? 0 : fail(&err);
}
