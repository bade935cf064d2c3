#include "os/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <unistd.h>

enum zb_rc
zb_os_pipe_open(int *read_fd, int *write_fd, struct zb_err *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
        return zb_err_sys(err, errno, "open a pipe");
    }
    /* Refused above the user's limit of pipe pages: a small pipe works too. */
    (void)fcntl(ends[1], F_SETPIPE_SZ, (int)ZB_OS_PIPE_BYTES);
    *read_fd = ends[0];
    *write_fd = ends[1];
    return ZB_OK;
}

enum zb_rc
zb_os_read_full(int fd, void *buf, size_t size, struct zb_err *err)
{
    uint8_t *p = buf;
    size_t used = 0;
    while (used < size) {
        ssize_t n = read(fd, p + used, size - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return zb_err_sys(err, errno, "read");
        }
        if (n == 0) {
            return zb_err_set(err, ZB_E_CLOSED, "the stream ended after %zu of %zu bytes", used,
                              size);
        }
        used += (size_t)n;
    }
    return ZB_OK;
}
