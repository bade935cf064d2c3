#include "runner/notice.h"

#include <stdio.h>

#include "runner/internal.h"
#include "runner/once.h"

#define RULE_SIZE 64

enum zb_rc
zb_notice_run(const struct zb_notice *n, struct zb_err *err)
{
    static char search[] = ZB_RUNNER_PATH;
    char path[ZB_PATH_SIZE];
    char node[ZB_NODE_NAME_SIZE + 16], service[ZB_SERVICE_NAME_SIZE + 16], rule[RULE_SIZE + 16];
    char level[32], time[40], text[ZB_NOTICE_TEXT_SIZE + 16], when[24];
    char *argv[] = {path, NULL};
    char *env[] = {search, node, service, rule, level, time, text, NULL};
    const struct zb_once once = {.path = path,
                                 .argv = argv,
                                 .env = env,
                                 .as = n->as,
                                 .group = n->group,
                                 .timeout_ms = n->timeout_ms,
                                 .cancel_fd = n->cancel_fd};
    enum zb_rc rc = zb_runner_path_find(n->command, path, err);

    zb_wall_format(n->time, when);
    (void)snprintf(node, sizeof(node), "ZBATON_NODE=%s", n->node);
    (void)snprintf(service, sizeof(service), "ZBATON_SERVICE=%s", n->service);
    (void)snprintf(rule, sizeof(rule), "ZBATON_RULE=%s", n->rule);
    (void)snprintf(level, sizeof(level), "ZBATON_LEVEL=%s", n->level);
    (void)snprintf(time, sizeof(time), "ZBATON_TIME=%s", when);
    (void)snprintf(text, sizeof(text), "ZBATON_TEXT=%s", n->text);
    for (char *p = text; *p != '\0'; p++) {
        *p = (unsigned char)*p < ' ' || *p == 0x7f ? '?' : *p;
    }
    if (rc == ZB_OK) {
        rc = zb_once_run(&once, err);
    }
    return rc == ZB_OK ? rc : zb_err_wrap(err, "notify");
}
