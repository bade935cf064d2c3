#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/record.h"

static enum zb_rc
write_all(int fd, const char *data, size_t size, struct zb_err *err)
{
    while (size > 0) {
        ssize_t n = write(fd, data, size);
        if (n < 0 && errno != EINTR) {
            return zb_err_sys(err, errno, "write");
        }
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_file_store(int dir_fd, const char *name, const void *data, size_t size, bool *in_doubt,
                     struct zb_err *err)
{
    char beside[256];
    enum zb_rc rc = ZB_OK;
    int fd;

    *in_doubt = false;
    (void)snprintf(beside, sizeof(beside), "%s.tmp", name);
    fd = openat(dir_fd, beside, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        rc = zb_err_sys(err, errno, "open");
        goto out;
    }
    rc = write_all(fd, data, size, err);
    if (rc != ZB_OK) {
        goto out;
    }
    if (fsync(fd) != 0) {
        rc = zb_err_sys(err, errno, "fsync");
        goto out;
    }
    *in_doubt = true;
    if (renameat(dir_fd, beside, dir_fd, name) != 0) {
        rc = zb_err_sys(err, errno, "rename");
        goto out;
    }
    if (fsync(dir_fd) != 0) {
        rc = zb_err_sys(err, errno, "fsync of the directory");
        goto out;
    }
    *in_doubt = false;
out:
    if (fd >= 0) {
        (void)close(fd);
    }
    return rc == ZB_OK ? rc : zb_err_wrap(err, "store %s", name);
}

static enum zb_rc
read_all(int fd, char *data, size_t size, struct zb_err *err)
{
    while (size > 0) {
        ssize_t n = read(fd, data, size);
        if (n == 0) {
            return zb_err_set(err, ZB_E_FORMAT, "it became shorter while it was read");
        }
        if (n < 0 && errno != EINTR) {
            return zb_err_sys(err, errno, "read");
        }
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_file_load(int dir_fd, const char *name, size_t max, char **data, size_t *size,
                    struct zb_err *err)
{
    struct stat st;
    char *buf = NULL;
    enum zb_rc rc = ZB_OK;
    int fd = openat(dir_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0) {
        if (errno == ENOENT) {
            return zb_err_set(err, ZB_E_NOTFOUND, "no file %s", name);
        }
        return zb_err_sys(err, errno, "open %s", name);
    }
    if (fstat(fd, &st) != 0) {
        rc = zb_err_sys(err, errno, "stat");
        goto out;
    }
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max) {
        rc = zb_err_set(err, ZB_E_LIMIT, "not a file of at most %zu bytes", max);
        goto out;
    }
    buf = malloc((size_t)st.st_size + 1);
    if (buf == NULL) {
        rc = zb_err_sys(err, ENOMEM, "read");
        goto out;
    }
    rc = read_all(fd, buf, (size_t)st.st_size, err);
    if (rc == ZB_OK) {
        buf[st.st_size] = '\0';
        *data = buf;
        *size = (size_t)st.st_size;
        buf = NULL;
    }
out:
    free(buf);
    (void)close(fd);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "load %s", name);
}

enum zb_rc
zb_keeper_file_remove(int dir_fd, const char *name, struct zb_err *err)
{
    if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT) {
        return zb_err_sys(err, errno, "remove %s", name);
    }
    if (fsync(dir_fd) != 0) {
        return zb_err_sys(err, errno, "remove %s: fsync of the directory", name);
    }
    return ZB_OK;
}
