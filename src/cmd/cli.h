/*
 * The command-line program: one table of commands, one table of options, one loop (zbaton.c).
 * A command gets its operands and options checked for number and kind and returns the exit code:
 * 0 done, 1 failed, 2 usage, 3 refused by a safety rule, 4 no quorum, 5 continues in the
 * background, 6 done but degraded.
 */
#ifndef ZB_CMD_CLI_H
#define ZB_CMD_CLI_H

#include <jansson.h>

#include "base/types.h"
#include "cmd/client.h"
#include "cmd/show.h"

#define ZB_EXIT_BACKGROUND 5
#define ZB_EXIT_DEGRADED 6

#define ZB_CONF_PATH "/etc/zbaton/zbatond.conf"

enum zb_option_id {
    ZB_OPT_SCRIPTED,
    ZB_OPT_EXACT,
    ZB_OPT_JSON,
    ZB_OPT_COLUMNS,
    ZB_OPT_DRY_RUN,
    ZB_OPT_YES,
    ZB_OPT_COUNT,
    ZB_OPT_UNHEALTHY,
    ZB_OPT_WATCH,
    ZB_OPT_FOLLOW,
    ZB_OPT_NO_WAIT,
    ZB_OPT_LIFETIME,
    ZB_OPT_CLUSTER,
    ZB_OPT_NODE,
    ZB_OPT_ROOT,
    ZB_OPT_LISTEN,
    ZB_OPT_ADDRESS,
    ZB_OPT_TO,
    ZB_OPT_ALLOW_LOSS,
    ZB_OPT_FENCED,
    ZB_OPT_NO_FENCE,
    ZB_OPT_AS_OF_TERM,
    ZB_OPT_DISCARD,
    ZB_OPT_ON_NODE,
    ZB_OPT_REASON,
    ZB_OPT_AT,
    ZB_OPT_FOR,
    ZB_OPT_LABEL,
    ZB_OPT_UNDRILLED,
    ZB_OPT_SAMPLE,
    ZB_OPT_FULL,
    ZB_OPT_NODES,
    ZB_OPT_TIMEOUT,
    ZB_OPT_LOST,
    ZB_OPT_TOKEN,
    ZB_OPT_RECOVER,
    ZB_OPT_WITHOUT_STATE,
    ZB_OPT_OUT,
    ZB_OPT_KEY_FILE,
    ZB_OPT_KEY_COMMAND,
    ZB_OPTIONS_COUNT,
};
#define ZB_OPT_BIT(id) (UINT64_C(1) << (id))

struct zb_cli;

struct zb_cli_command {
    const char *name;     /* "status", "token create" */
    const char *operands; /* "SERVICE NODE" */
    const char *summary;
    uint64_t options;  /* ZB_OPT_BITs it takes ... */
    uint64_t required; /* ... and of these the ones that must be given */
    int operands_min;
    int operands_max;
    int (*run)(struct zb_cli *cli);
};

struct zb_cli {
    char **argv; /* of the program */
    const struct zb_cli_command *command;
    const char *conf_path;
    bool conf_given;                      /* -f: the file must be there */
    const char *socket;                   /* -s, or NULL */
    const char *values[ZB_OPTIONS_COUNT]; /* NULL: not given; "" for one given without a value */
    int operands_count;
    char **operands;
    struct zb_show show; /* stdout */
};

static inline bool
zb_cli_has(const struct zb_cli *cli, enum zb_option_id id)
{
    return cli->values[id] != NULL;
}

/* --- cli.c: what the commands share --- */

/* Tells an error and its hint (on stderr, with -j as JSON on stdout too); returns its exit code. */
int zb_cli_fail(const struct zb_cli *cli, const struct zb_err *err);
/* zb_client_call with the socket of -s or of the configuration file; call->args is taken. */
enum zb_rc zb_cli_call(const struct zb_cli *cli, struct zb_client_call *call, json_t **data,
                       struct zb_err *err) ZB_CHECKED;
/* Prints {"output_version":{...}, ...data}. */
void zb_cli_json(const struct zb_cli *cli, const json_t *data);
/* "25"; false when it is not a number from 1 to 1000000. */
bool zb_cli_number(const char *text, int64_t *value);
/* "90s", "30m", "24h", "7d" in seconds; false when it is none of these. */
bool zb_cli_duration(const char *text, int64_t *seconds);
/* Asks on the terminal; false without one. */
bool zb_cli_confirm(const char *question);

/* --- cli.c: commands with -w --- */

/* Asks once and shows the answer. */
typedef enum zb_rc zb_cli_once(struct zb_cli *cli, void *ctx, struct zb_err *err);
/* Once, or with -w again and again until a signal ends it; returns the exit code. */
int zb_cli_watch(struct zb_cli *cli, zb_cli_once *once, void *ctx);
/* Before an answer is shown: clears the terminal with -w. */
void zb_cli_watch_begin(const struct zb_cli *cli);

/* --- cli.c: commands that are carried out in steps: move, failover, revert --- */

struct zb_cli_steps {
    const struct zb_cli *cli;
    bool begun;
    json_t *list; /* for -j; owned */
    struct zb_show_progress progress;
};

void zb_cli_steps_init(struct zb_cli_steps *s, const struct zb_cli *cli);
void zb_cli_steps_close(struct zb_cli_steps *s);
/* A progress line: shown; with -j kept, but for how far a step has come. */
void zb_cli_steps_add(struct zb_cli_steps *s, const json_t *progress);
/* With -j or of a dry run (data has its steps then) prints the result; else false: it is the
 * command's to print. */
bool zb_cli_steps_print(const struct zb_cli_steps *s, json_t *data);
/* The exit code of a command that was carried out. */
int zb_cli_steps_exit(const json_t *data);

/* --- the commands; init, join, cert renew and pki etcd by zbaton-setup (run_elsewhere.c) --- */

int zb_run_status(struct zb_cli *cli);
int zb_run_transfers(struct zb_cli *cli);
int zb_run_move(struct zb_cli *cli);
int zb_run_failover(struct zb_cli *cli);
int zb_run_revert(struct zb_cli *cli);
int zb_run_rejoin(struct zb_cli *cli);
int zb_run_prune(struct zb_cli *cli);
int zb_run_rescue_list(struct zb_cli *cli);
int zb_run_rescue_show(struct zb_cli *cli);
int zb_run_rescue_mount(struct zb_cli *cli);
int zb_run_rescue_umount(struct zb_cli *cli);
int zb_run_rescue_diff(struct zb_cli *cli);
int zb_run_rescue_export(struct zb_cli *cli);
int zb_run_rescue_drop(struct zb_cli *cli);
int zb_run_drill(struct zb_cli *cli);
int zb_run_peek(struct zb_cli *cli);
int zb_run_peek_list(struct zb_cli *cli);
int zb_run_peek_end(struct zb_cli *cli);
int zb_run_verify(struct zb_cli *cli);
int zb_run_snapshot(struct zb_cli *cli);
int zb_run_sync(struct zb_cli *cli);
int zb_run_label(struct zb_cli *cli);
int zb_run_unlabel(struct zb_cli *cli);
int zb_run_rekey(struct zb_cli *cli);
int zb_run_explain(struct zb_cli *cli);
int zb_run_start(struct zb_cli *cli);
int zb_run_drain(struct zb_cli *cli);
int zb_run_undrain(struct zb_cli *cli);
int zb_run_freeze(struct zb_cli *cli);
int zb_run_thaw(struct zb_cli *cli);
int zb_run_history(struct zb_cli *cli);
int zb_run_events(struct zb_cli *cli);
int zb_run_apply(struct zb_cli *cli);
int zb_run_config_show(struct zb_cli *cli);
int zb_run_config_check(struct zb_cli *cli);
int zb_run_node_list(struct zb_cli *cli);
int zb_run_node_remove(struct zb_cli *cli);
int zb_run_cert_renew(struct zb_cli *cli);
int zb_run_pki_etcd(struct zb_cli *cli);
int zb_run_token_create(struct zb_cli *cli);
int zb_run_token_list(struct zb_cli *cli);
int zb_run_token_revoke(struct zb_cli *cli);
int zb_run_init(struct zb_cli *cli);
int zb_run_join(struct zb_cli *cli);
int zb_run_version(struct zb_cli *cli);

#endif
