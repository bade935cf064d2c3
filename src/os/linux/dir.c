#include "os/linux/dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static enum zb_rc
path_check(const char *path, struct zb_err *err)
{
    size_t length = strnlen(path, ZB_PATH_SIZE);
    bool ok = path[0] == '/' && length > 1 && length < ZB_PATH_SIZE && path[length - 1] != '/' &&
              strstr(path, "//") == NULL;
    for (const char *p = path; ok && p != NULL; p = strchr(p + 1, '/')) {
        size_t n = strcspn(p + 1, "/");
        ok = !(n == 1 && p[1] == '.') && !(n == 2 && p[1] == '.' && p[2] == '.');
    }
    if (!ok) {
        return zb_err_set(err, ZB_E_USAGE, "\"%.300s\" is not an absolute path in plain form",
                          path);
    }
    return ZB_OK;
}

/* Opens one component; name is NUL-terminated. flags: with O_CREAT it is made if missing. shown is
 * the path up to it, for messages. */
static enum zb_rc
open_component(int at, const char *name, int flags, const char *shown, int *fd, struct zb_err *err)
{
    int how = (flags & ~O_CREAT) | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int found = openat(at, name, how);
    if (found < 0 && errno == ENOENT && (flags & O_CREAT) != 0) {
        if (mkdirat(at, name, 0755) != 0 && errno != EEXIST) {
            return zb_err_sys(err, errno, "make directory %s", shown);
        }
        found = openat(at, name, how);
    }
    if (found >= 0) {
        *fd = found;
        return ZB_OK;
    }
    int e = errno;
    struct stat st;
    if ((e == ELOOP || e == ENOTDIR) && fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        return zb_err_set(err, ZB_E_REFUSED, "%s is %s", shown,
                          S_ISLNK(st.st_mode) ? "a symbolic link; give the real path"
                                              : "not a directory");
    }
    if (e == ENOENT) {
        return zb_err_set(err, ZB_E_NOTFOUND, "%s does not exist", shown);
    }
    return zb_err_sys(err, e, "open directory %s", shown);
}

enum zb_rc
zb_os_dir_open_parent(const char *path, bool make, int *fd, const char **last, struct zb_err *err)
{
    enum zb_rc rc = path_check(path, err);
    if (rc != ZB_OK) {
        return rc;
    }
    int at = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0) {
        return zb_err_sys(err, errno, "open directory /");
    }
    const char *name = path + 1;
    for (const char *slash; (slash = strchr(name, '/')) != NULL; name = slash + 1) {
        char component[256];
        char shown[ZB_PATH_SIZE];
        int next = -1;
        if ((size_t)(slash - name) >= sizeof component) {
            rc = zb_err_set(err, ZB_E_LIMIT, "a component of %.300s is too long", path);
        } else {
            memcpy(component, name, (size_t)(slash - name));
            component[slash - name] = '\0';
            memcpy(shown, path, (size_t)(slash - path));
            shown[slash - path] = '\0';
            rc = open_component(at, component, O_PATH | (make ? O_CREAT : 0), shown, &next, err);
        }
        close(at);
        if (rc != ZB_OK) {
            return rc;
        }
        at = next;
    }
    *fd = at;
    *last = name;
    return ZB_OK;
}

enum zb_rc
zb_os_dir_open(const char *path, bool make, int *fd, struct zb_err *err)
{
    int parent = -1;
    const char *last = "";
    enum zb_rc rc = zb_os_dir_open_parent(path, make, &parent, &last, err);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = open_component(parent, last, O_RDONLY | (make ? O_CREAT : 0), path, fd, err);
    close(parent);
    return rc;
}

enum zb_rc
zb_os_dir_mount_id(int fd, const char *name, uint64_t *mount_id, bool *is_root, struct zb_err *err)
{
    struct statx st;
    int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (name[0] == '\0' ? AT_EMPTY_PATH : 0);
    if (statx(fd, name, flags, STATX_MNT_ID, &st) != 0) {
        return zb_err_sys(err, errno, "look at the mount of %s", name);
    }
    if ((st.stx_mask & STATX_MNT_ID) == 0 ||
        (st.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) == 0) {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "this kernel does not tell mount ids");
    }
    *mount_id = st.stx_mnt_id;
    *is_root = (st.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
    return ZB_OK;
}
