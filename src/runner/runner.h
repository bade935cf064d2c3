/*
 * Starts, stops and checks what uses a service's data: a program of the node's commands directory,
 * or a systemd unit. It refuses shells, paths, programs that others than root can change, and units
 * that start at boot by themselves. It knows nothing of terms, mounts or ZFS: the keeper asks it
 * only when it may.
 *
 * Everything a command starts is in the process group <group> (os/cgroup.h), its check and stop
 * commands in <group>.ctl: STOP is done when both are empty. The groups are outside the daemon's
 * own unit, so a restart of zbatond stops nothing, and the next keeper finds the service by its
 * group.
 *
 * Every function blocks up to its timeout (worker threads only) and is thread safe; the caller sees
 * to it that no two of them work on one service at once, but for STOP beside START, and
 * zb_runner_ask, which is in a group of its own.
 */
#ifndef ZB_RUNNER_RUNNER_H
#define ZB_RUNNER_RUNNER_H

#include "base/types.h"
#include "runner/once.h"

#define ZB_RUNNER_GROUP_MAX 128
#define ZB_RUNNER_WORDS_MAX 64  /* words of a command line; more: ZB_E_LIMIT */
#define ZB_RUNNER_LINE_MAX 4096 /* bytes of a command line */
#define ZB_RUNNER_LOG_MAX_BYTES                                                                    \
    (8 << 20)                   /* a service's log is cut when a start or check finds it longer */
#define ZB_RUNNER_SETTLE_MS 300 /* a start program that runs this long has not failed at once */

enum zb_runner_kind {
    ZB_RUNNER_NONE = 0, /* data only: start, stop succeed, never running */
    ZB_RUNNER_COMMAND,
    ZB_RUNNER_SYSTEMD,
};

/* How a service is run. All strings are borrowed; NULL and "" mean: not declared. */
struct zb_runner {
    enum zb_runner_kind kind;
    const char *service;
    const char
        *group; /* COMMAND: process group (os/cgroup.h), of at most ZB_RUNNER_GROUP_MAX bytes */
    const char *mountpoint;   /* ZBATON_MOUNTPOINT */
    const char *commands_dir; /* COMMAND: where its programs are; of root, writable by root alone */
    const char *run_dir;      /* COMMAND: <run_dir>/<service>.log */
    const char *start; /* COMMAND: "postgres-start --port 5432": name in commands_dir, arguments */
    const char *stop;
    const char *check;
    const char *unit; /* SYSTEMD: "web.service" */
};

/*
 * COMMAND: runs the start program; it may daemonize (exit 0) or stay in the foreground (still
 * running after ZB_RUNNER_SETTLE_MS). With a check command the service is started when that
 * succeeds, before the timeout, while something of it runs; a zb_runner_stop meanwhile makes it
 * fail at once. SYSTEMD: systemctl start. Already running is fine. When it fails nothing of the
 * service is left running, as far as KILL reaches. ZB_E_REFUSED: program or unit not acceptable
 * (hint says what to do); ZB_E_NOTFOUND no such program; ZB_E_FAILED it ended with an error, or is
 * to be checked and nothing of it is left; ZB_E_TIMEOUT; ZB_E_UNSUPPORTED no cgroup2 or no systemd.
 */
enum zb_rc zb_runner_start(const struct zb_runner *r, uint32_t timeout_ms,
                           struct zb_err *err) ZB_CHECKED;

/*
 * COMMAND: the stop command where there is one (until half of the time), TERM to all, KILL to all
 * at 3/4 of the time. SYSTEMD: systemctl stop, KILL at 3/4, done when the unit's group is empty.
 * ZB_OK: no process of the service is left. ZB_E_TIMEOUT: some are. Not running is fine.
 */
enum zb_rc zb_runner_stop(const struct zb_runner *r, uint32_t timeout_ms,
                          struct zb_err *err) ZB_CHECKED;

/* *running: processes are there and, where a check command is declared, it exits 0 within the
 * timeout (a check that hangs is killed and counts as not running). */
enum zb_rc zb_runner_check(const struct zb_runner *r, uint32_t timeout_ms, bool *running,
                           struct zb_err *err) ZB_CHECKED;

/*
 * Runs the command line `line` over a copy of the data that is mounted at r->mountpoint, where it
 * begins: its exit 0 says that the copy would do. r->group is the drill's own. ZB_E_FAILED,
 * ZB_E_TIMEOUT, ZB_E_CANCELED (cancel_fd is readable; -1: none) and the rest as of zb_once_run and
 * zb_runner_program_find.
 */
enum zb_rc zb_runner_drill(const struct zb_runner *r, const char *line, uint32_t timeout_ms,
                           int cancel_fd, struct zb_err *err) ZB_CHECKED;

/*
 * Runs the command line `line` for what it writes to stdout (runner/once.h), with nothing mounted.
 * r->group is its own. Codes of zb_runner_drill, whatever came; it may be a secret, and the
 * caller's to wipe.
 */
enum zb_rc zb_runner_ask(const struct zb_runner *r, const char *line, uint32_t timeout_ms,
                         int cancel_fd, struct zb_once_output *output,
                         struct zb_err *err) ZB_CHECKED;

/* *alive: any process of the service is left, healthy or not. Asks no check command. */
enum zb_rc zb_runner_alive(const struct zb_runner *r, bool *alive, struct zb_err *err) ZB_CHECKED;

/*
 * Splits a command line into words as a shell would, without being one: blanks separate; '...' is
 * literal; "..." is literal but for \" and \\; elsewhere \ takes the next character literally. No
 * variables, no patterns, no redirection: those characters are ordinary. buf of ZB_RUNNER_LINE_MAX
 * holds the words, words (ZB_RUNNER_WORDS_MAX + 1) ends with NULL. ZB_E_USAGE: empty, or a quote
 * without its end.
 */
enum zb_rc zb_runner_words_split(const char *line, char *buf, char **words,
                                 struct zb_err *err) ZB_CHECKED;

/* Looks the program up: a plain name, in a directory of root that only root can write, a regular
 * executable file of root that only root can write. path of ZB_PATH_SIZE. ZB_E_REFUSED,
 * ZB_E_NOTFOUND. */
enum zb_rc zb_runner_program_find(const char *commands_dir, const char *name, char *path,
                                  struct zb_err *err) ZB_CHECKED;

/* [A-Za-z0-9:_.@\-]+ ending in ".service", not starting with '-' or '.', at most 255 bytes. */
bool zb_runner_unit_valid(const char *unit);

#endif
