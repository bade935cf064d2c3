/*
 * A watchdog device (Linux watchdog API, watchdog-api.rst): resets the host unless it is patted.
 */
#ifndef ZB_OS_WATCHDOG_H
#define ZB_OS_WATCHDOG_H

#include <stdbool.h>

#include "base/err.h"

/* Opens and arms path with that timeout, rounded up to seconds. ZB_E_REFUSED: the device takes only
 * a longer one; ZB_E_BUSY: somebody else has it (systemd's RuntimeWatchdogSec, watchdog(8)). */
enum zb_rc zb_os_watchdog_open(const char *path, unsigned timeout_ms, int *fd,
                               struct zb_err *err) ZB_CHECKED;
/* False: it could not be patted. Does not block. */
bool zb_os_watchdog_pat(int fd);
/* disarm: the host goes on without it, where the device allows that; otherwise it must be opened
 * and patted again in time. */
void zb_os_watchdog_close(int fd, bool disarm);

/* Resets the host at once, with nothing written back. Returns only when it cannot. */
void zb_os_reset(void);

#endif
