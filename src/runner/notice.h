/*
 * Runs the administrator's program that hears of an event (runner/once.h): without arguments, as an
 * unprivileged user, with an environment of PATH, ZBATON_NODE, ZBATON_SERVICE (which may be empty),
 * ZBATON_RULE, ZBATON_LEVEL, ZBATON_TIME and ZBATON_TEXT.
 */
#ifndef ZB_RUNNER_NOTICE_H
#define ZB_RUNNER_NOTICE_H

#include "base/types.h"
#include "os/priv.h"

#define ZB_NOTICE_TEXT_SIZE 512

/* All of it is borrowed. */
struct zb_notice {
    const char *command; /* absolute path */
    const char *group;   /* as ZB_RUNNER_GROUP_MAX */
    const struct zb_os_identity *as;
    const char *node; /* this one */
    const char *service;
    const char *rule;
    const char *level;
    struct zb_wall time;
    const char *text; /* below ZB_NOTICE_TEXT_SIZE bytes; control characters are told as '?' */
    uint32_t timeout_ms;
    int cancel_fd;
};

/* As zb_once_run and zb_runner_path_find. */
enum zb_rc zb_notice_run(const struct zb_notice *n, struct zb_err *err) ZB_CHECKED;

#endif
