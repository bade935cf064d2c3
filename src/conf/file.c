#include "conf/parser.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum zb_rc
owner_check(const struct stat *st, const char *path, struct zb_err *err)
{
    if (st->st_uid != 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s: not owned by root", path);
        return zb_err_hint(err, "chown root %s", path);
    }
    if ((st->st_mode & S_IWOTH) != 0 || ((st->st_mode & S_IWGRP) != 0 && st->st_gid != 0)) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s: others than root may write it", path);
        return zb_err_hint(err, "chmod go-w %s", path);
    }
    return ZB_OK;
}

/* Reads up to size bytes, fewer at the end of the file. */
static enum zb_rc
fd_read(int fd, char *buf, size_t size, size_t *used, struct zb_err *err)
{
    *used = 0;
    while (*used < size) {
        ssize_t got = read(fd, buf + *used, size - *used);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return zb_err_sys(err, errno, "read");
        }
        if (got == 0) {
            break;
        }
        *used += (size_t)got;
    }
    return ZB_OK;
}

/* *text has room for ZB_CONF_TEXT_MAX bytes, one more that shows a longer file, and the NUL. */
static enum zb_rc
text_read(int fd, const char *path, char **text, struct zb_err *err)
{
    size_t used = 0;
    char *buf = calloc(1, ZB_CONF_TEXT_MAX + 2);

    if (buf == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "%s: out of memory", path);
    }
    enum zb_rc rc = fd_read(fd, buf, ZB_CONF_TEXT_MAX + 1, &used, err);
    if (rc != ZB_OK) {
        rc = zb_err_wrap(err, "%s", path);
    } else if (used > ZB_CONF_TEXT_MAX) {
        rc = zb_err_set(err, ZB_E_LIMIT, "%s: longer than %u bytes", path, ZB_CONF_TEXT_MAX);
    } else if (memchr(buf, '\0', used) != NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: not a text", path);
    }
    if (rc != ZB_OK) {
        free(buf);
        return rc;
    }
    *text = buf;
    return ZB_OK;
}

enum zb_rc
zb_conf_file_read(const char *path, bool of_root, char **text, struct zb_err *err)
{
    struct stat st;
    enum zb_rc rc = ZB_OK;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0) {
        return zb_err_sys(err, errno, "%s", path);
    }
    if (fstat(fd, &st) != 0) {
        rc = zb_err_sys(err, errno, "%s", path);
    } else if (of_root) {
        rc = owner_check(&st, path, err);
    }
    if (rc == ZB_OK) {
        rc = text_read(fd, path, text, err);
    }
    (void)close(fd);
    return rc;
}
