/*
 * Configuration of one node: zbatond.conf (libconfuse syntax), read once at start.
 */
#ifndef ZB_CONF_NODE_H
#define ZB_CONF_NODE_H

#include <stdio.h>

#include "base/log.h"
#include "base/types.h"
#include "conf/send_limit.h"

/* How a node that lost its session in etcd is kept from writing, so that others may take over. */
enum zb_conf_fenced_by {
    ZB_CONF_FENCED_BY_NOTHING = 0, /* it demotes itself, and nobody counts on that */
    ZB_CONF_FENCED_BY_DEADLINE,    /* ... its keeper, or a reboot where it cannot */
    ZB_CONF_FENCED_BY_WATCHDOG,    /* ... and where that hangs, its watchdog device */
};

#define ZB_CONF_ETCD_ENDPOINTS_MAX 8
/* What the deadlines leave for a slow clock and a late reset (protocol.md, Timing). */
#define ZB_CONF_SLACK_MS 2000
#define ZB_CONF_SLACK_UNWATCHED_MS 1000
#define ZB_CONF_DEMOTE_MIN_MS 3000 /* from the soft deadline to the hard one */

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
    uint64_t send_limit_bytes;        /* per second, of all streams out; 0: none */
    char send_limit_at[ZB_COMMAND_SIZE]; /* other limits at times of the day; "": none */
    struct zb_conf_spans send_spans;     /* the same */
    enum zb_log_level log_level;         /* default info */
    char etcd[ZB_COMMAND_SIZE]; /* "http://10.77.0.1:2379 ...", at least one; "": no etcd */
    char etcd_ca[ZB_PATH_SIZE]; /* PEM files; "": none */
    char etcd_cert[ZB_PATH_SIZE];
    char etcd_key[ZB_PATH_SIZE];
    char etcd_user[ZB_NODE_NAME_SIZE]; /* "": no authentication by password */
    char etcd_password_file[ZB_PATH_SIZE];
    enum zb_conf_fenced_by fenced_by; /* default nothing */
    char watchdog[ZB_PATH_SIZE];      /* "/dev/watchdog0"; "": none */
    /* Times of the session: heartbeats, answers, the two deadlines counted from before a heartbeat
     * was sent, the watchdog's own time, and how long others see nothing before they take over. */
    uint32_t heartbeat_ms;        /* default 2 s */
    uint32_t etcd_timeout_ms;     /* default 2 s */
    uint32_t soft_deadline_ms;    /* default 7 s: services are stopped from here on */
    uint32_t hard_deadline_ms;    /* default 14 s: everything is unmounted until here */
    uint32_t watchdog_timeout_ms; /* default 4 s */
    uint32_t session_timeout_ms;  /* default 20 s */
};

/* name stands for the text in messages. ZB_E_FORMAT with "name:line: what was expected",
 * ZB_E_LIMIT, ZB_E_NOMEM. out is written on success only. */
enum zb_rc zb_conf_node_parse(const char *text, const char *name, struct zb_conf_node *out,
                              struct zb_err *err) ZB_CHECKED;
/* As above, from a file: blocks for its I/O. ZB_E_REFUSED: the file is not of root, or others may
 * write it; ZB_E_SYS too. */
enum zb_rc zb_conf_node_load(const char *path, struct zb_conf_node *out,
                             struct zb_err *err) ZB_CHECKED;
/* Bytes per second that may be sent at that time; 0: no limit. */
uint64_t zb_conf_node_send_limit(const struct zb_conf_node *conf, struct zb_wall now);
/* As configuration text that parses again to the same. Errors of the stream are ferror's. */
void zb_conf_node_print(const struct zb_conf_node *conf, FILE *file);

#endif
