#include "os/watchdog.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/watchdog.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <unistd.h>

enum zb_rc
zb_os_watchdog_open(const char *path, unsigned timeout_ms, int *out, struct zb_err *err)
{
    int seconds = (int)((timeout_ms + 999) / 1000);
    int wanted = seconds;
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0) {
        int e = errno;
        (void)zb_err_sys(err, e, "open the watchdog %s", path);
        if (e == EBUSY) {
            err->rc = ZB_E_BUSY;
            return zb_err_hint(err, "systemd's RuntimeWatchdogSec and watchdog(8) use it too");
        }
        return e == ENOENT ? zb_err_hint(err, "modprobe softdog makes one in software") : err->rc;
    }
    if (ioctl(fd, WDIOC_SETTIMEOUT, &seconds) != 0 || ioctl(fd, WDIOC_GETTIMEOUT, &seconds) != 0 ||
        seconds > wanted) {
        zb_os_watchdog_close(fd, true);
        return zb_err_set(err, ZB_E_REFUSED, "the watchdog %s cannot be set to %d s", path, wanted);
    }
    *out = fd;
    return ZB_OK;
}

bool
zb_os_watchdog_pat(int fd)
{
    return ioctl(fd, WDIOC_KEEPALIVE, 0) == 0;
}

void
zb_os_watchdog_close(int fd, bool disarm)
{
    if (disarm) {
        (void)!write(fd, "V", 1);
    }
    (void)close(fd);
}

void
zb_os_reset(void)
{
    (void)reboot(RB_AUTOBOOT);
}
