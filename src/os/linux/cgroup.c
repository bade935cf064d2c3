#include "os/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOP "zbaton"
#define DEPTH_MAX                                                                                  \
    16 /* groups below a service's: deeper ones are not signalled, but cgroup.kill reaches them */

/* Where the cgroup2 hierarchy is mounted: /sys/fs/cgroup, or .../unified beside version 1. */
static enum zb_rc
hierarchy_find(char *path, size_t size, struct zb_err *err)
{
    FILE *f = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t line_size = 0;
    bool found = false;

    if (f == NULL) {
        return zb_err_sys(err, errno, "open /proc/self/mountinfo");
    }
    while (!found && getline(&line, &line_size, f) > 0) {
        char dir[512];
        const char *type = strstr(line, " - ");
        if (type == NULL || strncmp(type + 3, "cgroup2 ", 8) != 0) {
            continue;
        }
        if (sscanf(line, "%*s %*s %*s %*s %511s", dir) == 1 && strlen(dir) < size) {
            zb_strcopy(path, size, dir);
            found = true;
        }
    }
    free(line);
    (void)fclose(f);
    if (!found) {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "no cgroup2 hierarchy is mounted");
    }
    return ZB_OK;
}

static bool
name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && n < 128 && name[n] == '\0' && name[0] != '.';
}

static enum zb_rc
group_path(const char *name, char *path, size_t size, struct zb_err *err)
{
    char top[512];
    enum zb_rc rc;

    if (!name_valid(name)) {
        return zb_err_set(err, ZB_E_USAGE, "not a group name: '%s'", name);
    }
    rc = hierarchy_find(top, sizeof(top), err);
    if (rc != ZB_OK) {
        return rc;
    }
    (void)snprintf(path, size, "%s/" TOP "/%s", top, name);
    return ZB_OK;
}

enum zb_rc
zb_os_cgroup_open(const char *name, int *dir_fd, struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    char *slash;
    int fd;
    enum zb_rc rc = group_path(name, path, sizeof(path), err);

    if (rc != ZB_OK) {
        return rc;
    }
    slash = strrchr(path, '/');
    *slash = '\0';
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", path);
    }
    *slash = '/';
    if (mkdir(path, 0755) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", path);
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return zb_err_sys(err, errno, "open %s", path);
    }
    *dir_fd = fd;
    return ZB_OK;
}

/* 0 empty, 1 populated, -1 errno. */
static int
events_read(int fd)
{
    char text[256];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    const char *p;

    if (n < 0) {
        return errno == ENODEV ? 0 : -1; /* the group was removed meanwhile */
    }
    text[n] = '\0';
    p = strstr(text, "populated ");
    if (p == NULL) {
        errno = EPROTO;
        return -1;
    }
    return p[strlen("populated ")] == '1';
}

/* Waits for an empty group; deadline NULL asks once. A missing group is empty. */
static enum zb_rc
empty_wait(const char *path, const struct zb_mono *deadline, bool *populated, struct zb_err *err)
{
    char file[ZB_PATH_SIZE + 32];
    enum zb_rc rc = ZB_OK;
    int fd;

    (void)snprintf(file, sizeof(file), "%s/cgroup.events", path);
    fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        if (errno == ENOENT) {
            *populated = false;
            return ZB_OK;
        }
        return zb_err_sys(err, errno, "open %s", file);
    }
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLPRI};
        int64_t left_ms;
        int state = events_read(fd);

        if (state < 0) {
            rc = zb_err_sys(err, errno, "read %s", file);
            break;
        }
        *populated = state != 0;
        if (state == 0 || deadline == NULL) {
            break;
        }
        left_ms = deadline->ms - zb_mono_now().ms;
        if (left_ms <= 0) {
            rc = zb_err_set(err, ZB_E_TIMEOUT, "processes are left in %s", path);
            break;
        }
        (void)poll(&p, 1, left_ms > 1000 ? 1000 : (int)left_ms);
    }
    (void)close(fd);
    return rc;
}

enum zb_rc
zb_os_cgroup_populated(const char *name, bool *populated, struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    enum zb_rc rc = group_path(name, path, sizeof(path), err);

    return rc == ZB_OK ? empty_wait(path, NULL, populated, err) : rc;
}

enum zb_rc
zb_os_cgroup_wait_empty(const char *name, struct zb_mono deadline, struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    bool populated;
    enum zb_rc rc = group_path(name, path, sizeof(path), err);

    return rc == ZB_OK ? empty_wait(path, &deadline, &populated, err) : rc;
}

static enum zb_rc
hierarchy_path(const char *path, char *full, size_t size, struct zb_err *err)
{
    char top[512];
    enum zb_rc rc;

    if (path[0] != '/' || strstr(path, "..") != NULL || strlen(path) >= size - sizeof(top)) {
        return zb_err_set(err, ZB_E_USAGE, "not the path of a group: '%s'", path);
    }
    rc = hierarchy_find(top, sizeof(top), err);
    if (rc == ZB_OK) {
        (void)snprintf(full, size, "%s%s", top, path);
    }
    return rc;
}

enum zb_rc
zb_os_cgroup_path_populated(const char *path, bool *populated, struct zb_err *err)
{
    char full[ZB_PATH_SIZE];
    enum zb_rc rc = hierarchy_path(path, full, sizeof(full), err);

    return rc == ZB_OK ? empty_wait(full, NULL, populated, err) : rc;
}

enum zb_rc
zb_os_cgroup_path_wait_empty(const char *path, struct zb_mono deadline, struct zb_err *err)
{
    char full[ZB_PATH_SIZE];
    bool populated;
    enum zb_rc rc = hierarchy_path(path, full, sizeof(full), err);

    return rc == ZB_OK ? empty_wait(full, &deadline, &populated, err) : rc;
}

static void
procs_signal(int dir_fd, int sig)
{
    int fd = openat(dir_fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
    char line[32];

    if (f == NULL) {
        if (fd >= 0) {
            (void)close(fd);
        }
        return;
    }
    while (fgets(line, sizeof(line), f) != NULL) {
        long pid = strtol(line, NULL, 10); /* 0: of another pid namespace */
        if (pid > 1) {
            (void)kill((pid_t)pid, sig); /* ESRCH: it ended meanwhile */
        }
    }
    (void)fclose(f);
}

/* Takes dir_fd. Signals the group and those below; with sig 0 removes those below instead. */
static void
group_walk(int dir_fd, int sig, int depth)
{
    DIR *dir = fdopendir(dir_fd);
    const struct dirent *e;

    if (dir == NULL) {
        (void)close(dir_fd);
        return;
    }
    if (sig != 0) {
        procs_signal(dir_fd, sig);
    }
    while (depth < DEPTH_MAX && (e = readdir(dir)) != NULL) {
        int fd;
        if (e->d_type != DT_DIR || strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) {
            continue;
        }
        fd = openat(dir_fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd >= 0) {
            group_walk(fd, sig, depth + 1);
        }
        if (sig == 0) {
            (void)unlinkat(dir_fd, e->d_name, AT_REMOVEDIR);
        }
    }
    (void)closedir(dir);
}

enum zb_rc
zb_os_cgroup_signal(const char *name, int sig, struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    int fd;
    enum zb_rc rc = group_path(name, path, sizeof(path), err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (sig <= 0) {
        return zb_err_set(err, ZB_E_USAGE, "not a signal: %d", sig);
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ZB_OK : zb_err_sys(err, errno, "open %s", path);
    }
    group_walk(fd, sig, 0);
    return ZB_OK;
}

enum zb_rc
zb_os_cgroup_kill(const char *name, struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    char file[ZB_PATH_SIZE + 32];
    ssize_t n;
    int fd;
    enum zb_rc rc = group_path(name, path, sizeof(path), err);

    if (rc != ZB_OK) {
        return rc;
    }
    (void)snprintf(file, sizeof(file), "%s/cgroup.kill", path);
    fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0) {
        return errno == ENOENT ? ZB_OK : zb_err_sys(err, errno, "open %s", file);
    }
    n = write(fd, "1", 1);
    if (n != 1) {
        rc = zb_err_sys(err, errno, "write %s", file);
    }
    (void)close(fd);
    return rc;
}

void
zb_os_cgroup_remove(const char *name)
{
    char path[ZB_PATH_SIZE];
    struct zb_err err;
    int fd;

    if (group_path(name, path, sizeof(path), &err) != ZB_OK) {
        return;
    }
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0) {
        group_walk(fd, 0, 0);
        (void)rmdir(path);
    }
}

bool
zb_os_cgroup_has(pid_t pid, const char *name)
{
    char path[64];
    char line[ZB_PATH_SIZE];
    size_t size = strlen(name);
    bool found = false;

    (void)snprintf(path, sizeof(path), "/proc/%d/cgroup", (int)pid);
    FILE *f = fopen(path, "re");
    if (f == NULL) {
        return false;
    }
    while (!found && fgets(line, sizeof(line), f) != NULL) {
        if (strncmp(line, "0::", 3) != 0) { /* of version 1 */
            continue;
        }
        for (const char *at = strchr(line, '/'); at != NULL && !found; at = strchr(at + 1, '/')) {
            found = strncmp(at + 1, name, size) == 0 && strchr("/\n", at[1 + size]) != NULL;
        }
    }
    (void)fclose(f);
    return found;
}
