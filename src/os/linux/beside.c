#include "os/beside.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum zb_rc
zb_os_beside(const char *name, char path[ZB_OS_BESIDE_SIZE], struct zb_err *err)
{
    char self[ZB_PATH_SIZE];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);

    if (length <= 0) {
        return zb_err_set(err, ZB_E_SYS, "/proc/self/exe cannot be read: is /proc mounted?");
    }
    self[length] = '\0';
    (void)snprintf(path, ZB_OS_BESIDE_SIZE, "%.*s%s", (int)(strrchr(self, '/') + 1 - self), self,
                   name);
    if (access(path, X_OK) != 0) {
        (void)zb_err_set(err, ZB_E_NOTFOUND, "there is no program %s", path);
        return zb_err_hint(err, "it belongs beside %s: install both again", self);
    }
    return ZB_OK;
}
