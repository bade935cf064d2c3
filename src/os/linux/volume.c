#include "os/volume.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <ftw.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/types.h"
#include "os/linux/dir.h"

#define LINKS "/dev/zbaton/"

/* "zd16", not "zd16p1". */
static bool
is_whole_device(const char *target)
{
    const char *name = strrchr(target, '/');

    name = name != NULL ? name + 1 : target;
    if (strncmp(name, "zd", 2) != 0 || name[2] == '\0') {
        return false;
    }
    for (name += 2; isdigit((unsigned char)*name); name++) {
    }
    return *name == '\0';
}

/* A link may be left for a moment when its device is gone. */
static bool
device_find(const char *link, dev_t *dev)
{
    char target[PATH_MAX];
    struct stat st;
    ssize_t n = readlink(link, target, sizeof target - 1);

    if (n < 0) {
        return false;
    }
    target[n] = '\0';
    if (!is_whole_device(target) || stat(link, &st) != 0 || !S_ISBLK(st.st_mode)) {
        return false;
    }
    *dev = st.st_rdev;
    return true;
}

enum zb_rc
zb_os_volumes_each(const char *dataset,
                   enum zb_rc (*add)(void *ctx, const char *name, dev_t dev, struct zb_err *err),
                   void *ctx, struct zb_err *err)
{
    char top[sizeof ZB_OS_VOLUMES + ZB_DATASET_NAME_SIZE];
    char *const paths[] = {top, NULL};
    enum zb_rc rc = ZB_OK;
    dev_t dev;

    (void)snprintf(top, sizeof top, ZB_OS_VOLUMES "%s", dataset);
    if (access(top, F_OK) != 0) { /* the usual case */
        return errno == ENOENT || errno == ENOTDIR ? ZB_OK : zb_err_sys(err, errno, "read %s", top);
    }
    FTS *walk = fts_open(paths, FTS_PHYSICAL | FTS_NOCHDIR | FTS_NOSTAT, NULL);
    if (walk == NULL) {
        return zb_err_sys(err, errno, "list devices of zvols");
    }
    errno = 0;
    for (FTSENT *e; rc == ZB_OK && (e = fts_read(walk)) != NULL; errno = 0) {
        const char *name = e->fts_path + strlen(ZB_OS_VOLUMES);

        bool bad = e->fts_info == FTS_DNR || e->fts_info == FTS_ERR;
        if (bad && e->fts_errno != ENOENT) { /* udev removes what is empty */
            rc = zb_err_sys(err, e->fts_errno, "read %s", e->fts_path);
        } else if (!bad && strchr(name, '@') == NULL && strlen(name) < ZB_DATASET_NAME_SIZE &&
                   device_find(e->fts_path, &dev)) {
            rc = add(ctx, name, dev, err);
        }
    }
    if (rc == ZB_OK && errno != 0) {
        rc = zb_err_sys(err, errno, "read %s", top);
    }
    (void)fts_close(walk);
    return rc;
}

enum zb_rc
zb_os_volume_writable(const char *dataset, bool *writable, struct zb_err *err)
{
    char path[sizeof ZB_OS_VOLUMES + ZB_DATASET_NAME_SIZE];
    int readonly = 1;

    (void)snprintf(path, sizeof path, ZB_OS_VOLUMES "%s", dataset);
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? zb_err_set(err, ZB_E_NOTFOUND, "there is no device %s", path)
                               : zb_err_sys(err, errno, "open %s", path);
    }
    enum zb_rc rc =
        ioctl(fd, BLKROGET, &readonly) == 0 ? ZB_OK : zb_err_sys(err, errno, "ask %s", path);
    (void)close(fd);
    if (rc == ZB_OK) {
        *writable = readonly == 0;
    }
    return rc;
}

static int
entry_remove(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st;
    (void)kind;
    (void)at;
    return remove(path);
}

/* What is where path, or a directory above it, is to be. */
static enum zb_rc
way_clear(char *path, struct zb_err *err)
{
    struct stat st;

    for (char *p = path + strlen(LINKS); (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        bool bad = lstat(path, &st) == 0 && !S_ISDIR(st.st_mode) && unlink(path) != 0;
        *p = '/';
        if (bad) {
            return zb_err_sys(err, errno, "make way for %s", path);
        }
    }
    return lstat(path, &st) != 0 || nftw(path, entry_remove, 8, FTW_DEPTH | FTW_PHYS) == 0
               ? ZB_OK
               : zb_err_sys(err, errno, "remove %s", path);
}

enum zb_rc
zb_os_volume_link(const char *name, const char *dataset, struct zb_err *err)
{
    char path[sizeof LINKS + ZB_DATASET_NAME_SIZE];
    char target[sizeof ZB_OS_VOLUMES + ZB_DATASET_NAME_SIZE];
    const char *last = NULL;
    int parent = -1;

    (void)snprintf(path, sizeof path, LINKS "%s", name);
    (void)snprintf(target, sizeof target, ZB_OS_VOLUMES "%s", dataset);
    enum zb_rc rc = way_clear(path, err);
    if (rc == ZB_OK) {
        rc = zb_os_dir_open_parent(path, true, &parent, &last, err);
    }
    if (rc == ZB_OK && symlinkat(target, parent, last) != 0) {
        rc = zb_err_sys(err, errno, "make the link %s", path);
    }
    if (parent >= 0) {
        (void)close(parent);
    }
    return rc;
}
