#include "os/priv.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every capability the kernel knows leaves the bounding set; EINVAL says that there are no more. */
static enum zb_rc
bounding_set_drop(struct zb_err *err)
{
    for (unsigned long cap = 0; cap < 64; cap++) {
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0) {
            if (errno == EINVAL && cap > 0) {
                break;
            }
            return zb_err_sys(err, errno, "drop capability %lu", cap);
        }
    }
    return ZB_OK;
}

static enum zb_rc
capabilities_clear(struct zb_err *err)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
    struct __user_cap_data_struct data[2] = {{0}};

    if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) != 0 && errno != EINVAL) {
        return zb_err_sys(err, errno, "clear ambient capabilities");
    }
    if (syscall(SYS_capset, &head, data) != 0) {
        return zb_err_sys(err, errno, "clear capabilities");
    }
    return ZB_OK;
}

/* status_fd was opened before the chroot; reading it now tells the state of now. */
static enum zb_rc
capabilities_prove(int status_fd, struct zb_err *err)
{
    char text[8192];
    ssize_t n = pread(status_fd, text, sizeof(text) - 1, 0);
    unsigned lines = 0;

    if (n <= 0) {
        return zb_err_sys(err, n < 0 ? errno : EIO, "read /proc/self/status");
    }
    text[n] = '\0';
    for (char *line = strstr(text, "\nCap"); line != NULL; line = strstr(line + 1, "\nCap")) {
        char *colon = strchr(line, ':');
        char *end = NULL;
        if (colon == NULL || strtoull(colon + 1, &end, 16) != 0 || end == colon + 1) {
            return zb_err_set(err, ZB_E_FAILED, "capabilities are left after the drop: %.6s",
                              line + 1);
        }
        lines++;
    }
    if (lines < 4) {
        return zb_err_set(err, ZB_E_FAILED, "/proc/self/status does not list capabilities");
    }
    return ZB_OK;
}

static enum zb_rc
drop_prove(const struct zb_os_identity *id, int status_fd, struct zb_err *err)
{
    uid_t uid[3];
    gid_t gid[3];

    if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 || getresgid(&gid[0], &gid[1], &gid[2]) != 0) {
        return zb_err_sys(err, errno, "read back ids");
    }
    for (int i = 0; i < 3; i++) {
        if (uid[i] != id->uid || gid[i] != id->gid) {
            return zb_err_set(err, ZB_E_FAILED, "ids are not the wanted ones after the drop");
        }
    }
    if (getgroups(0, NULL) != 0) {
        return zb_err_set(err, ZB_E_FAILED, "supplementary groups are left after the drop");
    }
    if (setuid(0) == 0 || setgid(0) == 0 || chroot(".") == 0) {
        return zb_err_set(err, ZB_E_FAILED, "root could be had back after the drop");
    }
    if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1) {
        return zb_err_set(err, ZB_E_FAILED, "no_new_privs is not set after the drop");
    }
    return capabilities_prove(status_fd, err);
}

enum zb_rc
zb_os_identity_find(const char *user, struct zb_os_identity *identity, struct zb_err *err)
{
    char buf[4096];
    struct passwd pw, *found = NULL;
    int e = getpwnam_r(user, &pw, buf, sizeof(buf), &found);

    if (e != 0) {
        return zb_err_sys(err, e, "look up user %s", user);
    }
    if (found == NULL) {
        (void)zb_err_set(err, ZB_E_NOTFOUND, "no user %s", user);
        return zb_err_hint(err, "useradd --system --no-create-home --shell /usr/sbin/nologin %s",
                           user);
    }
    if (pw.pw_uid == 0 || pw.pw_gid == 0) {
        return zb_err_set(err, ZB_E_USAGE, "user %s is root", user);
    }
    *identity = (struct zb_os_identity){pw.pw_uid, pw.pw_gid};
    return ZB_OK;
}

enum zb_rc
zb_os_priv_drop(const char *user, const char *chroot_dir, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;
    int status_fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
    struct zb_os_identity id = {0};

    if (status_fd < 0) {
        return zb_err_sys(err, errno, "open /proc/self/status");
    }
    rc = zb_os_identity_find(user, &id, err);
    if (rc != ZB_OK) {
        goto out;
    }
    if (chroot_dir != NULL && (chroot(chroot_dir) != 0 || chdir("/") != 0)) {
        rc = zb_err_sys(err, errno, "chroot to %s", chroot_dir);
        goto out;
    }
    rc = bounding_set_drop(err);
    if (rc != ZB_OK) {
        goto out;
    }
    if (setgroups(0, NULL) != 0 || setresgid(id.gid, id.gid, id.gid) != 0 ||
        setresuid(id.uid, id.uid, id.uid) != 0) {
        rc = zb_err_sys(err, errno, "become %s", user);
        goto out;
    }
    rc = capabilities_clear(err);
    if (rc != ZB_OK) {
        goto out;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) {
        rc = zb_err_sys(err, errno, "set no_new_privs");
        goto out;
    }
    rc = drop_prove(&id, status_fd, err);
out:
    (void)close(status_fd);
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "drop privileges");
}
