/*
 * Runs the administrator's program that proves a node off (a BMC, a hypervisor, a PDU): its exit 0
 * is the proof, anything else is none. It knows nothing of terms: the keeper asks it only when it
 * may.
 *
 * The program is run as "PROGRAM NODE", without a shell, with an environment of PATH, ZBATON_NODE,
 * ZBATON_CLUSTER, ZBATON_SERVICE and ZBATON_TERM, in a group of its own (os/cgroup.h): whatever
 * became of it, nothing of it is left when the call returns, as far as KILL reaches.
 */
#ifndef ZB_RUNNER_FENCE_H
#define ZB_RUNNER_FENCE_H

#include "base/types.h"

/* All strings are borrowed. */
struct zb_fence {
    const char *command; /* absolute path */
    const char *group;   /* as ZB_RUNNER_GROUP_MAX */
    const char *node;    /* who is to be off */
    const char *cluster;
    const char *service;
    uint64_t term;
    uint32_t timeout_ms;
    int cancel_fd; /* readable: the run is ended; -1: none */
};

/*
 * ZB_OK: the program was started by this call, and exited 0 within the timeout. ZB_E_FAILED: it
 * ended otherwise; ZB_E_TIMEOUT; ZB_E_CANCELED; each with the last line that it wrote to stderr,
 * printable and bounded. ZB_E_REFUSED: program or its directory can be changed by others than root;
 * ZB_E_NOTFOUND; ZB_E_BUSY: what an earlier run left does not end; ZB_E_UNSUPPORTED no cgroup2.
 * Blocks up to the timeout and a few seconds. Thread safe for different groups.
 */
enum zb_rc zb_fence_run(const struct zb_fence *f, struct zb_err *err) ZB_CHECKED;

#endif
