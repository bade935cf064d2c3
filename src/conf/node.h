/*
 * Configuration of one node: zbatond.conf (libconfuse syntax), read once at start.
 */
#ifndef ZB_CONF_NODE_H
#define ZB_CONF_NODE_H

#include <stdio.h>

#include "base/log.h"
#include "base/types.h"

struct zb_conf_node {
    char node[ZB_NODE_NAME_SIZE];
    char root[ZB_DATASET_NAME_SIZE];  /* dataset that contains every service's: "pool1/services" */
    char listen[ZB_ADDRESS_SIZE];     /* numeric "10.77.0.1:7979" or "[fd00::1]:7979" */
    char group[ZB_NODE_NAME_SIZE];    /* whose members may use the control socket; default zbaton */
    char state_dir[ZB_PATH_SIZE];     /* default /var/lib/zbaton */
    char run_dir[ZB_PATH_SIZE];       /* default /run/zbaton */
    char commands_dir[ZB_PATH_SIZE];  /* default /etc/zbaton/commands */
    char fence_command[ZB_PATH_SIZE]; /* program that proves a node off; "": none */
    uint32_t fence_timeout_ms;        /* default 60 s */
    char notify[ZB_PATH_SIZE];        /* program that hears of events; "": none */
    uint32_t notify_timeout_ms;       /* default 30 s */
    enum zb_log_level log_level;      /* default info */
};

/* name stands for the text in messages. ZB_E_FORMAT with "name:line: what was expected",
 * ZB_E_LIMIT, ZB_E_NOMEM. out is written on success only. */
enum zb_rc zb_conf_node_parse(const char *text, const char *name, struct zb_conf_node *out,
                              struct zb_err *err) ZB_CHECKED;
/* As above, from a file: blocks for its I/O. ZB_E_REFUSED: the file is not of root, or others may
 * write it; ZB_E_SYS too. */
enum zb_rc zb_conf_node_load(const char *path, struct zb_conf_node *out,
                             struct zb_err *err) ZB_CHECKED;
/* As configuration text that parses again to the same. Errors of the stream are ferror's. */
void zb_conf_node_print(const struct zb_conf_node *conf, FILE *file);

#endif
