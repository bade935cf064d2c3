#include "runner/fence.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "runner/internal.h"
#include "runner/once.h"

/* Everything one exec needs; lives on the stack of the call. */
struct program {
    char path[ZB_PATH_SIZE];
    char *argv[3];
    char node[ZB_NODE_NAME_SIZE + 16];
    char cluster[ZB_NODE_NAME_SIZE + 16];
    char service[ZB_SERVICE_NAME_SIZE + 16];
    char term[40];
    char *env[6];
};

static enum zb_rc
program_prepare(const struct zb_fence *f, struct program *p, struct zb_err *err)
{
    static char path[] = ZB_RUNNER_PATH;
    enum zb_rc rc = zb_runner_path_find(f->command, p->path, err);

    if (rc != ZB_OK) {
        return rc;
    }
    (void)snprintf(p->node, sizeof(p->node), "ZBATON_NODE=%s", f->node);
    (void)snprintf(p->cluster, sizeof(p->cluster), "ZBATON_CLUSTER=%s", f->cluster);
    (void)snprintf(p->service, sizeof(p->service), "ZBATON_SERVICE=%s", f->service);
    (void)snprintf(p->term, sizeof(p->term), "ZBATON_TERM=%" PRIu64, f->term);
    p->argv[0] = p->path;
    p->argv[1] = p->node + strlen("ZBATON_NODE=");
    p->argv[2] = NULL;
    p->env[0] = path;
    p->env[1] = p->node;
    p->env[2] = p->cluster;
    p->env[3] = p->service;
    p->env[4] = p->term;
    p->env[5] = NULL;
    return ZB_OK;
}

enum zb_rc
zb_fence_run(const struct zb_fence *f, struct zb_err *err)
{
    struct program p;
    enum zb_rc rc = program_prepare(f, &p, err);

    if (rc == ZB_OK) {
        const struct zb_once once = {.path = p.path,
                                     .argv = p.argv,
                                     .env = p.env,
                                     .group = f->group,
                                     .timeout_ms = f->timeout_ms,
                                     .cancel_fd = f->cancel_fd};
        rc = zb_once_run(&once, err);
    }
    return rc == ZB_OK ? rc : zb_err_wrap(err, "fence %s", f->node);
}
