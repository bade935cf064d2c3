/* The only functions of net that touch files. */
#include "net/pki.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"

static enum zb_rc
write_all(int fd, const char *path, const char *text, struct zb_err *err)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t n = write(fd, text, left);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return zb_err_sys(err, errno, "write %s", path);
        }
        text += n;
        left -= (size_t)n;
    }
    return ZB_OK;
}

/* A rename is durable when its directory is. */
static enum zb_rc
directory_sync(const char *path, struct zb_err *err)
{
    char directory[ZB_PATH_SIZE];
    zb_strcopy(directory, sizeof directory, path);
    char *slash = strrchr(directory, '/');
    if (slash == NULL) {
        zb_strcopy(directory, sizeof directory, ".");
    } else {
        slash[slash == directory ? 1 : 0] = '\0';
    }
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return zb_err_sys(err, errno, "open %s", directory);
    }
    enum zb_rc rc = fsync(fd) == 0 ? ZB_OK : zb_err_sys(err, errno, "fsync %s", directory);
    close(fd);
    return rc;
}

enum zb_rc
zb_pki_file_write(const char *path, const char *text, uid_t uid, gid_t gid, struct zb_err *err)
{
    char temporary[ZB_PATH_SIZE];
    if (strlen(path) + sizeof ".XXXXXX" > sizeof temporary) {
        return zb_err_set(err, ZB_E_LIMIT, "%.64s...: path too long", path);
    }
    (void)snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0) {
        return zb_err_sys(err, errno, "create %s", temporary);
    }
    enum zb_rc rc = write_all(fd, path, text, err);
    if (rc == ZB_OK && fchown(fd, uid, gid) != 0) {
        rc = zb_err_sys(err, errno, "give %s to uid %u", path, (unsigned)uid);
    }
    if (rc == ZB_OK && fsync(fd) != 0) {
        rc = zb_err_sys(err, errno, "fsync %s", path);
    }
    close(fd);
    if (rc == ZB_OK && rename(temporary, path) != 0) {
        rc = zb_err_sys(err, errno, "rename to %s", path);
    }
    if (rc != ZB_OK) {
        (void)unlink(temporary);
        return rc;
    }
    return directory_sync(path, err);
}

static enum zb_rc
read_all(int fd, const char *path, char *text, size_t *used, struct zb_err *err)
{
    while (*used <= ZB_PKI_PEM_MAX) {
        ssize_t n = read(fd, text + *used, ZB_PKI_PEM_MAX + 1 - *used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return zb_err_sys(err, errno, "read %s", path);
        }
        if (n == 0) {
            return ZB_OK;
        }
        *used += (size_t)n;
    }
    return zb_err_set(err, ZB_E_LIMIT, "%s: longer than %u bytes", path, ZB_PKI_PEM_MAX);
}

enum zb_rc
zb_pki_file_read(const char *path, char **text, struct zb_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        int number = errno;
        zb_err_sys(err, number, "open %s", path);
        err->rc = number == ENOENT ? ZB_E_NOTFOUND : err->rc;
        return err->rc;
    }
    char *buf = calloc(1, ZB_PKI_PEM_MAX + 2);
    if (buf == NULL) {
        zb_out_of_memory();
    }
    size_t used = 0;
    enum zb_rc rc = read_all(fd, path, buf, &used, err);
    close(fd);
    if (rc == ZB_OK && memchr(buf, '\0', used) != NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: has a NUL byte", path);
    }
    if (rc != ZB_OK) {
        explicit_bzero(buf, ZB_PKI_PEM_MAX + 2);
        free(buf);
        return rc;
    }
    *text = buf;
    return ZB_OK;
}
