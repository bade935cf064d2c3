/*
 * Runs a program once to its end, for what its exit says: a fence command, a drill's check, what
 * hears of an event. It runs in a group of its own (os/cgroup.h): whatever became of it, nothing of
 * it is left when the call returns, as far as KILL reaches. What it writes to stdout is dropped
 * unless the caller takes it, of stderr the last line is told.
 */
#ifndef ZB_RUNNER_ONCE_H
#define ZB_RUNNER_ONCE_H

#include "base/types.h"
#include "os/priv.h"

#define ZB_ONCE_LINE_MAX 160 /* bytes of the program's last line that are told */

/* The first bytes of what the program writes to stdout; what comes after is dropped. */
struct zb_once_output {
    uint8_t *bytes; /* the caller's */
    size_t size;
    size_t used; /* so far; 0 at first */
};

/* All strings are borrowed. */
struct zb_once {
    const char *path; /* of zb_runner_program_find */
    char *const *argv;
    char *const *env;
    const char *dir;   /* where it begins; NULL: "/" */
    const char *group; /* as ZB_RUNNER_GROUP_MAX */
    uint32_t timeout_ms;
    int cancel_fd;                   /* readable: the run is ended; -1: none */
    const struct zb_os_identity *as; /* whom it runs as; NULL: as this process */
    struct zb_once_output *output;   /* NULL: nobody takes it */
};

/*
 * ZB_OK: the program was started by this call, and exited 0 within the timeout. ZB_E_FAILED: it
 * ended otherwise; ZB_E_TIMEOUT; ZB_E_CANCELED; each with the last line that it wrote to stderr,
 * printable and bounded. ZB_E_BUSY: what an earlier run left does not end; ZB_E_UNSUPPORTED no
 * cgroup2. Blocks up to the timeout and a few seconds. Thread safe for different groups.
 */
enum zb_rc zb_once_run(const struct zb_once *o, struct zb_err *err) ZB_CHECKED;

/* Ends what an earlier life left running in the group; quick where there is nothing. */
enum zb_rc zb_once_group_end(const char *group, struct zb_err *err) ZB_CHECKED;

#endif
