/*
 * Starting programs from a process with many threads: no shell, an explicit environment, only the
 * descriptors that were named, default signals, optionally inside a group (os/cgroup.h) before the
 * first instruction of the program runs. Thread safe.
 */
#ifndef ZB_OS_SPAWN_H
#define ZB_OS_SPAWN_H

#include <sys/types.h>

#include "base/types.h"
#include "os/priv.h"

#define ZB_OS_SPAWN_KEEP_FD 3 /* the number under which the program finds keep_fd */

struct zb_os_spawn_spec {
    const char *path;                /* absolute; no search */
    char *const *argv;               /* NULL-terminated, argv[0] included */
    char *const *env;                /* NULL-terminated; NULL: this process's own */
    const char *group;               /* zb_os_cgroup name; NULL: this process's own */
    const char *dir;                 /* where it begins; NULL: "/" */
    const struct zb_os_identity *as; /* whom the program runs as, without other groups and
                                        capabilities; NULL: this process's */
    int output_fd;                   /* stdout and stderr; -1: /dev/null; stays the caller's */
    int error_fd;                    /* stderr; <= 0: as output_fd; stays the caller's */
    int keep_fd;                     /* becomes descriptor 3; <= 0: none; stays the caller's */
    bool own_output; /* stdout and stderr are this process's own (the engine); output_fd is ignored
                      */
};

/* A process that was started; zero state: none. */
struct zb_os_child {
    pid_t pid;
    int pidfd; /* readable (poll) when the process has ended */
};

/* Starts spec->path, stdin /dev/null, umask 022, in a session of its own. Nothing runs
 * when it fails; that exec itself failed (no such file ...) is reported here as ZB_E_SYS. */
enum zb_rc zb_os_spawn(const struct zb_os_spawn_spec *spec, struct zb_os_child *child,
                       struct zb_err *err) ZB_CHECKED;

/* Blocks until the process has ended and reaps it (child becomes none): *status as waitpid(2) has
 * it. ZB_E_TIMEOUT at the deadline: it still runs, child is unchanged. */
enum zb_rc zb_os_child_wait(struct zb_os_child *child, struct zb_mono deadline, int *status,
                            struct zb_err *err) ZB_CHECKED;

/* Leaves the process to itself: it goes on, and is reaped by a later call of this function or of
 * zb_os_children_reap when it has ended. child becomes none. Accepts none. */
void zb_os_child_leave(struct zb_os_child *child);
void zb_os_children_reap(void);

/* SIGKILL to the process (not to what it started) and reaps it. Accepts none. */
void zb_os_child_kill(struct zb_os_child *child);

/* "exit status 3", "killed by signal 9 (Killed)"; buf of 64. */
void zb_os_status_text(int status, char *buf);

/* Runs to the end or the deadline (then kills it: ZB_E_TIMEOUT). Output (stdout and stderr) of at
 * most size - 1 bytes, the rest is read and dropped; *status as waitpid(2). spec->output_fd is not
 * used. */
enum zb_rc zb_os_run(const struct zb_os_spawn_spec *spec, struct zb_mono deadline, char *output,
                     size_t size, int *status, struct zb_err *err) ZB_CHECKED;

#endif
