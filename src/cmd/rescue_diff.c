#include "cmd/rescue_diff.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/field.h"

#define MOUNT_POINT "/tmp/zbaton-diff-XXXXXX"

bool
zb_rescue_dir(const char *path, const char *rel, char *buf, size_t size)
{
    struct stat top, st;
    size_t length = strlen(path);

    (void)snprintf(buf, size, "%s%s%s", path, rel[0] != '\0' ? "/" : "", rel);
    if (rel[0] == '\0') {
        return stat(path, &st) == 0;
    }
    if (stat(path, &top) == 0 && lstat(buf, &st) == 0 && S_ISDIR(st.st_mode) &&
        st.st_dev != top.st_dev) {
        return true;
    }
    for (char *p = buf + length; *p != '\0'; p++) {
        *p = *p == '/' ? '+' : *p;
    }
    return lstat(buf, &st) == 0 && S_ISDIR(st.st_mode);
}

static bool
live_has(const json_t *live, const char *rel)
{
    size_t i;
    json_t *item;

    json_array_foreach(zb_field_array(live, "rels"), i, item)
    {
        if (json_is_string(item) && strcmp(json_string_value(item), rel) == 0) {
            return true;
        }
    }
    return false;
}

/* The dataset's snapshot of the newest set, mounted at dir and opened: -1 with *err. */
static int
live_open(const json_t *live, const char *rel, const char *dir, struct zb_err *err)
{
    char snap[ZB_DATASET_NAME_SIZE + ZB_REL_SIZE + ZB_SNAP_NAME_SIZE];

    (void)snprintf(snap, sizeof snap, "%.255s%s%.159s@%.127s", zb_field_text(live, "dataset"),
                   rel[0] != '\0' ? "/" : "", rel, zb_field_text(live, "snapshot"));
    if (mount(snap, dir, "zfs", MS_RDONLY | MS_NODEV | MS_NOSUID | MS_NOEXEC, "") != 0) {
        zb_err_sys(err, errno, "mount %s", snap);
        return -1;
    }
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        zb_err_sys(err, errno, "open %s", snap);
        (void)umount2(dir, UMOUNT_NOFOLLOW);
    }
    return fd;
}

/* One dataset of the rescue against the live one of its name. */
static enum zb_rc
dataset_diff(const json_t *live, const char *path, const char *rel, const char *dir,
             const struct zb_compare *compare, struct zb_err *err)
{
    char from[ZB_PATH_SIZE * 2];
    int one = -1;
    int other = -1;
    enum zb_rc rc;

    if (!zb_rescue_dir(path, rel, from, sizeof from)) {
        return zb_err_set(err, ZB_E_NOTFOUND, "%s: not mounted", rel[0] != '\0' ? rel : path);
    }
    one = open(from, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (one < 0) {
        return zb_err_sys(err, errno, "open %.300s", from);
    }
    if (live_has(live, rel)) {
        other = live_open(live, rel, dir, err);
        if (other < 0) {
            (void)close(one);
            return err->rc;
        }
    }
    rc = zb_compare_trees(compare, rel, one, other, err);
    (void)close(one);
    if (other >= 0) {
        (void)close(other);
        if (umount2(dir, UMOUNT_NOFOLLOW) != 0 && rc == ZB_OK) {
            rc = zb_err_sys(err, errno, "unmount %s", dir);
        }
    }
    return rc;
}

/* In a mount namespace of its own: what is mounted here goes with the process. */
static enum zb_rc
child_run(const json_t *shown, const char *path, const char *dir, const struct zb_compare *compare,
          struct zb_err *err)
{
    const json_t *rescue = json_object_get(shown, "rescue");
    size_t i;
    json_t *item;
    enum zb_rc rc = ZB_OK;

    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) {
        return zb_err_sys(err, errno, "mount namespace");
    }
    json_array_foreach(zb_field_array(rescue, "datasets"), i, item)
    {
        const char *rel = zb_field_text(item, "rel");

        if (json_is_true(json_object_get(item, "volume"))) {
            compare->on_change(compare->ctx, '?', rel, 0); /* only its users know what is in it */
        } else if (rc == ZB_OK) {
            rc = dataset_diff(json_object_get(shown, "live"), path, rel, dir, compare, err);
        }
    }
    return rc;
}

/* The child tells its end through the pipe, as it stands in struct zb_err. */
static enum zb_rc
child_wait(pid_t pid, int fd, struct zb_err *err)
{
    struct zb_err told;
    int status = 0;
    ssize_t n;

    do {
        n = read(fd, &told, sizeof told);
    } while (n < 0 && errno == EINTR);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (n != (ssize_t)sizeof told) {
        return zb_err_set(err, ZB_E_FAILED, "the comparison ended before it was done");
    }
    *err = told;
    return told.rc;
}

enum zb_rc
zb_rescue_diff(const json_t *shown, const char *path, const struct zb_compare *compare,
               struct zb_err *err)
{
    char dir[] = MOUNT_POINT;
    int fds[2];
    enum zb_rc rc;

    if (mkdtemp(dir) == NULL) {
        return zb_err_sys(err, errno, "make %s", dir);
    }
    if (pipe2(fds, O_CLOEXEC) != 0) {
        rc = zb_err_sys(err, errno, "pipe");
        (void)rmdir(dir);
        return rc;
    }
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        struct zb_err told = {0};
        told.rc = child_run(shown, path, dir, compare, &told);
        fflush(stdout);
        _exit(write(fds[1], &told, sizeof told) == (ssize_t)sizeof told ? 0 : 1);
    }
    (void)close(fds[1]);
    rc = pid < 0 ? zb_err_sys(err, errno, "fork") : child_wait(pid, fds[0], err);
    (void)close(fds[0]);
    (void)rmdir(dir);
    return rc;
}
