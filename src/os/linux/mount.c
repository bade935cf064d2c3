#include "os/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/types.h"
#include "os/linux/dir.h"
#include "os/linux/mountinfo.h"

#define ZFS_MAGIC 0x2fc12fc1UL /* statfs(2) f_type */

/* Whether the object (see zb_os_dir_mount_id) is the root of a mount of dataset; *entry is filled
 * then. */
static enum zb_rc
find_mount_at(int fd, const char *name, const char *dataset, bool *found,
              struct zb_os_mount_entry *entry, struct zb_err *err)
{
    struct zb_os_mounts mounts = {0};
    uint64_t id = 0;
    bool is_root = false;

    enum zb_rc rc = zb_os_dir_mount_id(fd, name, &id, &is_root, err);
    if (rc == ZB_OK) {
        rc = zb_os_mounts_read(dataset, &mounts, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    *found = false;
    for (size_t i = 0; is_root && i < mounts.count; i++) {
        if (mounts.entries[i].id == id && !mounts.entries[i].subtree &&
            strcmp(mounts.entries[i].dataset, dataset) == 0) {
            *entry = mounts.entries[i];
            *found = true;
        }
    }
    zb_os_mounts_close(&mounts);
    return ZB_OK;
}

/* Opens dir and proves that it is the root of dataset's mount. */
static enum zb_rc
open_proven(const char *dataset, const char *dir, int *fd, struct zb_err *err)
{
    struct zb_os_mount_entry entry;
    bool found = false;
    int opened = -1;

    enum zb_rc rc = zb_os_dir_open(dir, false, &opened, err);
    if (rc == ZB_OK) {
        rc = find_mount_at(opened, "", dataset, &found, &entry, err);
    }
    if (rc == ZB_OK && !found) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "%s is not mounted at %s", dataset, dir);
    }
    if (rc != ZB_OK) {
        if (opened >= 0) {
            close(opened);
        }
        return rc;
    }
    *fd = opened;
    return ZB_OK;
}

enum zb_rc
zb_os_mount_check(const char *dataset, const char *dir, bool *readonly, struct zb_err *err)
{
    struct statvfs st;
    int fd = -1;
    enum zb_rc rc = open_proven(dataset, dir, &fd, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (fstatvfs(fd, &st) != 0) {
        rc = zb_err_sys(err, errno, "look at the mount %s", dir);
    } else {
        *readonly = (st.f_flag & ST_RDONLY) != 0;
    }
    close(fd);
    return rc;
}

static enum zb_rc
refuse_unless_empty(int fd, const char *dir, struct zb_err *err)
{
    uint64_t id;
    bool is_root = false;
    enum zb_rc rc = zb_os_dir_mount_id(fd, "", &id, &is_root, err);
    if (rc != ZB_OK) {
        return rc;
    }
    if (is_root) {
        return zb_err_set(err, ZB_E_REFUSED, "%s is a mount point already", dir);
    }
    DIR *d = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (d == NULL) {
        return zb_err_sys(err, errno, "read directory %s", dir);
    }
    for (struct dirent *e; rc == ZB_OK && (e = readdir(d)) != NULL;) {
        if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0) {
            zb_err_set(err, ZB_E_REFUSED, "%s is not empty: it contains %.200s", dir, e->d_name);
            rc = zb_err_hint(err, "move the files away; a mount would hide them");
        }
    }
    closedir(d);
    return rc;
}

static enum zb_rc
refuse_if_mounted(const char *dataset, struct zb_err *err)
{
    struct zb_os_mounts mounts = {0};
    enum zb_rc rc = zb_os_mounts_read(dataset, &mounts, err);
    if (rc != ZB_OK) {
        return rc;
    }
    const struct zb_os_mount_entry *entry = zb_os_mounts_find(&mounts, dataset);
    if (entry != NULL) {
        rc = zb_err_set(err, ZB_E_EXISTS, "it is mounted at %.300s already", entry->dir);
    }
    zb_os_mounts_close(&mounts);
    return rc;
}

static enum zb_rc
mount_fail(int e, struct zb_err *err)
{
    switch (e) {
    case ENOENT:
        return zb_err_set(err, ZB_E_NOTFOUND, "the dataset does not exist");
    case EBUSY:
        err->sys_errno = e;
        return zb_err_set(err, ZB_E_HELD, "it is in use: mounted elsewhere, or being received");
    case EACCES:
        return zb_err_set(err, ZB_E_UNSUPPORTED, "its encryption key is not loaded");
    case ENODEV:
        return zb_err_set(err, ZB_E_UNSUPPORTED, "the zfs module is not loaded");
    default:
        return zb_err_sys(err, e, "mount");
    }
}

/* The mount itself, on an open directory, so that nobody can exchange the path below it. */
static enum zb_rc
mount_on(int fd, const char *dataset, unsigned flags, struct zb_err *err)
{
    char target[64];
    bool rw = (flags & ZB_OS_MOUNT_RW) != 0;
    unsigned long ms = (rw ? 0 : MS_RDONLY) | ((flags & ZB_OS_MOUNT_NOSUID) ? MS_NOSUID : 0) |
                       ((flags & ZB_OS_MOUNT_NOEXEC) ? MS_NOEXEC : 0) |
                       ((flags & ZB_OS_MOUNT_NODEV) ? MS_NODEV : 0);
    snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
    if (mount(dataset, target, "zfs", ms, rw ? "rw,zfsutil" : "ro,zfsutil") != 0) {
        return mount_fail(errno, err);
    }
    return ZB_OK;
}

/* After the mount: is it what was asked for? If not, it is taken back. */
static enum zb_rc
verify_mount(const char *dataset, const char *dir, unsigned flags, struct zb_err *err)
{
    bool readonly = false;
    bool rw = (flags & ZB_OS_MOUNT_RW) != 0;
    struct zb_err ignored;

    enum zb_rc rc = zb_os_mount_check(dataset, dir, &readonly, err);
    if (rc == ZB_OK && readonly == rw) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "the mount came out %s",
                        readonly ? "read-only" : "read-write");
        if (readonly) {
            rc = zb_err_hint(err, "OpenZFS 2.3.7 and 2.4.2 ignore rw over readonly=on "
                                  "(openzfs#18557): use another version");
        }
    }
    if (rc != ZB_OK && zb_os_umount(dataset, dir, &ignored) != ZB_OK) {
        return zb_err_wrap(err, "(still mounted: %.100s)", ignored.msg);
    }
    return rc;
}

enum zb_rc
zb_os_mount(const char *dataset, const char *dir, unsigned flags, struct zb_err *err)
{
    int fd = -1;
    enum zb_rc rc = refuse_if_mounted(dataset, err);
    if (rc == ZB_OK) {
        rc = zb_os_dir_open(dir, true, &fd, err);
    }
    if (rc == ZB_OK) {
        rc = refuse_unless_empty(fd, dir, err);
    }
    if (rc == ZB_OK) {
        rc = mount_on(fd, dataset, flags, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    if (rc == ZB_OK) {
        rc = verify_mount(dataset, dir, flags, err);
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "mount %s at %s", dataset, dir);
}

/* Who names dir is not trusted to show anything else of the host. */
static enum zb_rc
readonly_zfs_open(const char *dir, int *fd, struct zb_err *err)
{
    struct statfs fs;

    *fd = open(dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*fd < 0 || fstatfs(*fd, &fs) != 0) {
        return zb_err_sys(err, errno, "open %s", dir);
    }
    if ((unsigned long)fs.f_type != ZFS_MAGIC || (fs.f_flags & ST_RDONLY) == 0) {
        return zb_err_set(err, ZB_E_REFUSED,
                          "%s is no file system of ZFS that is mounted read-only", dir);
    }
    return ZB_OK;
}

enum zb_rc
zb_os_mount_bind(const char *dir, const char *to, struct zb_err *err)
{
    char source[64], target[64];
    int from = -1;
    int fd = -1;
    enum zb_rc rc = readonly_zfs_open(dir, &from, err);

    if (rc == ZB_OK) {
        rc = zb_os_dir_open(to, true, &fd, err);
    }
    if (rc == ZB_OK) {
        rc = refuse_unless_empty(fd, to, err);
    }
    if (rc == ZB_OK) {
        snprintf(source, sizeof source, "/proc/self/fd/%d", from);
        snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
        if (mount(source, target, NULL, MS_BIND | MS_REC, NULL) != 0) {
            rc = zb_err_sys(err, errno, "mount");
        }
    }
    if (from >= 0) {
        close(from);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "show %s at %s", dir, to);
}

enum zb_rc
zb_os_remount_rw(const char *dataset, const char *dir, struct zb_err *err)
{
    char target[64];
    bool readonly = true;
    int fd = -1;
    enum zb_rc rc = open_proven(dataset, dir, &fd, err);

    if (rc == ZB_OK) {
        snprintf(target, sizeof target, "/proc/self/fd/%d", fd);
        if (mount(dataset, target, "zfs", MS_REMOUNT, "rw,zfsutil") != 0) {
            rc = mount_fail(errno, err);
        }
        close(fd);
    }
    if (rc == ZB_OK) {
        rc = zb_os_mount_check(dataset, dir, &readonly, err);
    }
    if (rc == ZB_OK && readonly) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "it is still read-only");
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "remount %s at %s", dataset, dir);
}

enum zb_rc
zb_os_mount_dir_free(const char *dir, struct zb_err *err)
{
    int fd = -1;
    enum zb_rc rc;

    if (access(dir, F_OK) != 0 && errno == ENOENT) {
        return ZB_OK;
    }
    rc = zb_os_dir_open(dir, false, &fd, err);
    if (rc == ZB_OK) {
        rc = refuse_unless_empty(fd, dir, err);
    }
    if (fd >= 0) {
        close(fd);
    }
    return rc;
}

enum zb_rc
zb_os_umount(const char *dataset, const char *dir, struct zb_err *err)
{
    struct zb_os_mount_entry entry;
    const char *last = NULL;
    bool found = false;
    int parent = -1;

    enum zb_rc rc = zb_os_dir_open_parent(dir, false, &parent, &last, err);
    if (rc == ZB_OK) {
        rc = find_mount_at(parent, last, dataset, &found, &entry, err);
        if (rc == ZB_OK && !found) {
            rc = zb_err_set(err, ZB_E_NOTFOUND, "it is not what is mounted there");
        }
    }
    if (rc == ZB_OK) {
        char target[ZB_PATH_SIZE + 64];
        snprintf(target, sizeof target, "/proc/self/fd/%d/%s", parent, last);
        if (umount2(target, UMOUNT_NOFOLLOW) != 0) {
            int e = errno;
            if (e == EBUSY) {
                rc = zb_err_set(err, ZB_E_HELD, "it is in use");
                err->sys_errno = e;
            } else {
                rc = zb_err_sys(err, e, "umount2");
            }
        }
    }
    if (parent >= 0) {
        close(parent);
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "unmount %s from %s", dataset, dir);
}

/* Creates a superblock of its own and lets it go: creating one is what replays the log. */
static enum zb_rc
replay_unmounted(const char *dataset, struct zb_err *err)
{
    int e = 0;
    int fs = fsopen("zfs", FSOPEN_CLOEXEC);
    if (fs < 0) {
        return mount_fail(errno, err);
    }
    if (fsconfig(fs, FSCONFIG_SET_STRING, "source", dataset, 0) != 0 ||
        fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) != 0 ||
        fsconfig(fs, FSCONFIG_SET_FLAG, "zfsutil", NULL, 0) != 0 ||
        fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) != 0) {
        e = errno;
    }
    close(fs);
    return e == 0 ? ZB_OK : mount_fail(e, err);
}

enum zb_rc
zb_os_replay(const char *dataset, struct zb_err *err)
{
    enum zb_rc rc = refuse_if_mounted(dataset, err);
    if (rc == ZB_OK) {
        rc = replay_unmounted(dataset, err);
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "replay the intent log of %s", dataset);
}

enum zb_rc
zb_os_syncfs(const char *dataset, const char *dir, struct zb_err *err)
{
    int fd = -1;
    enum zb_rc rc = open_proven(dataset, dir, &fd, err);
    if (rc == ZB_OK) {
        if (syncfs(fd) != 0) {
            rc = zb_err_sys(err, errno, "syncfs");
        }
        close(fd);
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "write out %s", dir);
}

/* A whole life of a file in an open directory. */
static enum zb_rc
probe_in(int dir_fd, struct zb_err *err)
{
    char name[40];
    char content[64];
    int e = 0;

    snprintf(name, sizeof name, ".zbaton-probe-%016llx", (unsigned long long)zb_random_u64());
    int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        if (errno == EROFS) {
            return zb_err_set(err, ZB_E_REFUSED, "it is mounted read-only");
        }
        return zb_err_sys(err, errno, "create %s", name);
    }
    memset(content, 'z', sizeof content);
    ssize_t n = write(fd, content, sizeof content);
    if (n != (ssize_t)sizeof content) {
        e = n < 0 ? errno : ENOSPC;
    } else if (fsync(fd) != 0) {
        e = errno;
    }
    close(fd);
    if (unlinkat(dir_fd, name, 0) != 0 && e == 0) {
        e = errno;
    }
    if (fsync(dir_fd) != 0 && e == 0) {
        e = errno;
    }
    return e == 0 ? ZB_OK : zb_err_sys(err, e, "write, sync and remove %s", name);
}

enum zb_rc
zb_os_write_probe(const char *dataset, const char *dir, struct zb_err *err)
{
    int fd = -1;
    enum zb_rc rc = open_proven(dataset, dir, &fd, err);
    if (rc == ZB_OK) {
        rc = probe_in(fd, err);
        close(fd);
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "probe writing at %s", dir);
}
