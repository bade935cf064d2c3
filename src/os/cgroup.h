/*
 * Process groups that nothing leaves: everything a service starts is in its group, whatever it
 * forks and however it daemonizes, so "nothing of it is left" can be asked and enforced. On Linux
 * these are cgroup v2 groups /sys/fs/cgroup/zbaton/<name> (wherever the cgroup2 hierarchy is
 * mounted).
 *
 * The groups stand at the top of the hierarchy, beside systemd's slices and outside the daemon's
 * own unit: stopping or restarting zbatond.service (KillMode=process or not) touches no service,
 * and the next keeper finds them by name. systemd leaves groups alone whose names are not unit
 * names.
 *
 * name: [A-Za-z0-9_.-]+, no leading '.'; anything else is ZB_E_USAGE. Thread safe (no state).
 */
#ifndef ZB_OS_CGROUP_H
#define ZB_OS_CGROUP_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/types.h"

/* Makes the group where it is missing and opens its directory (close-on-exec; the caller closes
 * it). ZB_E_UNSUPPORTED without a cgroup2 mount. */
enum zb_rc zb_os_cgroup_open(const char *name, int *dir_fd, struct zb_err *err) ZB_CHECKED;

/* Whether any process is in the group or below it (zombies do not count). A missing group is empty.
 */
enum zb_rc zb_os_cgroup_populated(const char *name, bool *populated, struct zb_err *err) ZB_CHECKED;

/* Sends sig to every process of the group and below, once. A missing group is fine. */
enum zb_rc zb_os_cgroup_signal(const char *name, int sig, struct zb_err *err) ZB_CHECKED;

/* SIGKILL to all of the group and below, forks under way included (cgroup.kill, Linux 5.14). */
enum zb_rc zb_os_cgroup_kill(const char *name, struct zb_err *err) ZB_CHECKED;

/* Blocks until the group is empty; ZB_E_TIMEOUT at the deadline. Woken by the kernel, no polling.
 */
enum zb_rc zb_os_cgroup_wait_empty(const char *name, struct zb_mono deadline,
                                   struct zb_err *err) ZB_CHECKED;

/* Removes an empty group and empty groups below it. Best effort: one that is left does no harm. */
void zb_os_cgroup_remove(const char *name);

/* Whether one component of the path of the process's group is this name ("web.service"); false when
 * the process is gone. Reads /proc alone. */
bool zb_os_cgroup_has(pid_t pid, const char *name);

/* As zb_os_cgroup_populated and _wait_empty for a group given by its path from the top of the
 * hierarchy
 * ("/system.slice/web.service", systemd's ControlGroup). */
enum zb_rc zb_os_cgroup_path_populated(const char *path, bool *populated,
                                       struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_os_cgroup_path_wait_empty(const char *path, struct zb_mono deadline,
                                        struct zb_err *err) ZB_CHECKED;

#endif
