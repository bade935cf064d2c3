/* The walk of sum.h: every name of a file system, without a path that grows or many open files. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "keeper/sum.h"

/* A directory on the way down. */
struct level {
    DIR *dir;        /* NULL: closed while the walk is far below it */
    size_t path_len; /* of sum.path, for it */
    ino_t ino;
};

struct walk {
    struct zb_sum *s;
    dev_t dev;
    size_t count, room;
    struct level *levels;
};

static enum zb_rc
level_push(struct walk *w, int fd, ino_t ino, struct zb_err *err)
{
    if (w->count == w->room) {
        size_t room = w->room == 0 ? ZB_SUM_OPEN_MAX : w->room * 2;
        struct level *more = realloc(w->levels, room * sizeof(*more));
        if (more == NULL) {
            (void)close(fd);
            return zb_err_set(err, ZB_E_NOMEM, "no memory for a tree that deep");
        }
        w->levels = more;
        w->room = room;
    }
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        int error = errno;
        (void)close(fd);
        return zb_err_sys(err, error, "read a directory");
    }
    w->levels[w->count++] = (struct level){.dir = dir, .path_len = strlen(w->s->path), .ino = ino};
    if (w->count > ZB_SUM_OPEN_MAX) {
        struct level *far = &w->levels[w->count - 1 - ZB_SUM_OPEN_MAX];
        if (far->dir != NULL) {
            (void)closedir(far->dir);
            far->dir = NULL;
        }
    }
    return ZB_OK;
}

/* Reads on to the name that the walk went down by: nothing changes, so the order is the same. */
static bool
dir_skip_to(DIR *dir, const char *name)
{
    const struct dirent *e;

    while ((e = readdir(dir)) != NULL) {
        if (strcmp(e->d_name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* The directory above `below` is opened again, as it was. name: of `below` in it. */
static enum zb_rc
level_reopen(struct walk *w, struct level *above, const struct level *below, const char *name,
             struct zb_err *err)
{
    int fd = openat(dirfd(below->dir), "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0) {
        return zb_err_sys(err, errno, "go back to a directory");
    }
    if (fstat(fd, &st) != 0 || st.st_dev != w->dev || st.st_ino != above->ino) {
        (void)close(fd);
        return zb_err_set(err, ZB_E_SYS, "a directory is not where it was");
    }
    above->dir = fdopendir(fd);
    if (above->dir == NULL) {
        int error = errno;
        (void)close(fd);
        return zb_err_sys(err, error, "read a directory");
    }
    return dir_skip_to(above->dir, name)
               ? ZB_OK
               : zb_err_set(err, ZB_E_SYS, "a directory does not hold what it held");
}

static enum zb_rc
level_pop(struct walk *w, struct zb_err *err)
{
    struct level *below = &w->levels[w->count - 1];
    struct level *above = w->count > 1 ? below - 1 : NULL;
    enum zb_rc rc = ZB_OK;

    if (above != NULL && above->dir == NULL) {
        const char *name = w->s->path + above->path_len + (above->path_len > 0 ? 1 : 0);
        rc = level_reopen(w, above, below, name, err);
    }
    (void)closedir(below->dir);
    w->count--;
    w->s->path[above != NULL ? above->path_len : 0] = '\0';
    return rc;
}

/* Appends a name to the path of the directory. False: too long. */
static bool
path_enter(struct zb_sum *s, size_t dir_len, const char *name)
{
    size_t slash = dir_len > 0 ? 1 : 0;
    size_t n = strlen(name);

    if (dir_len + slash + n >= ZB_SUM_PATH_MAX) {
        return false;
    }
    s->path[dir_len] = '/'; /* of the first level it is overwritten */
    memcpy(s->path + dir_len + slash, name, n + 1);
    return true;
}

/* A directory that cannot be read on, or holds a path that is too long: what is missing of it has
 * no name, or none that can be told. */
static enum zb_rc
rest_tell(struct walk *w, const struct level *top, int error, struct zb_err *err)
{
    enum zb_rc rc;

    w->s->path[top->path_len] = '\0';
    if (top->path_len + 2 < ZB_SUM_PATH_MAX) {
        memcpy(w->s->path + top->path_len, "//", 3); /* no name has that */
    }
    rc = zb_sum_entry_add(w->s, -1, "", NULL, error, err);
    w->s->path[top->path_len] = '\0';
    return rc;
}

static enum zb_rc
name_visit(struct walk *w, const char *name, struct zb_err *err)
{
    const struct level *top = &w->levels[w->count - 1];
    const int dir = dirfd(top->dir);
    const size_t dir_len = top->path_len;
    enum zb_rc rc;
    struct stat st;
    int fd = -1;
    int error = 0;

    if (!path_enter(w->s, dir_len, name)) {
        return rest_tell(w, top, ENAMETOOLONG, err);
    }
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
        error = errno;
    } else if (st.st_dev != w->dev) {
        w->s->path[dir_len] = '\0';
        return ZB_OK; /* mounted there: not of this file system */
    }
    if (error == 0 && S_ISDIR(st.st_mode)) {
        fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        error = fd < 0 ? errno : 0;
    }
    rc = zb_sum_entry_add(w->s, dir, name, error == 0 ? &st : NULL, error, err);
    if (rc == ZB_OK && fd >= 0) {
        return level_push(w, fd, st.st_ino, err);
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    w->s->path[dir_len] = '\0';
    return rc;
}

/* The directory of snapshots that ZFS shows at the top of a file system; no file can have its
 * name there. */
static bool
is_passed_over(const struct walk *w, const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
           (w->count == 1 && strcmp(name, ".zfs") == 0);
}

static enum zb_rc
step(struct walk *w, struct zb_err *err)
{
    const struct zb_sum_options *o = &w->s->options;
    struct level *top = &w->levels[w->count - 1];
    enum zb_rc rc = o->go_on != NULL ? o->go_on(o->ctx, err) : ZB_OK;
    const struct dirent *e;

    if (rc != ZB_OK) {
        return rc;
    }
    errno = 0;
    e = readdir(top->dir);
    if (e == NULL && errno != 0) {
        rc = rest_tell(w, top, errno, err);
    }
    if (rc == ZB_OK && e == NULL) {
        return level_pop(w, err);
    }
    return rc == ZB_OK && !is_passed_over(w, e->d_name) ? name_visit(w, e->d_name, err) : rc;
}

/* What is at dir is the file system: *ino of its top, or unless that is 0, the same. -1 with *err,
 * else open. */
static int
top_open(const char *dir, dev_t dev, ino_t *ino, struct zb_err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;

    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)zb_err_sys(err, errno, "open %.400s", dir);
    } else if (st.st_dev != dev || (*ino != 0 && st.st_ino != *ino)) {
        (void)zb_err_set(err, ZB_E_MISMATCH, "%.400s is not mounted any more", dir);
    } else {
        *ino = st.st_ino;
        return fd;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    return -1;
}

static enum zb_rc
walk_all(struct walk *w, int fd, ino_t ino, struct zb_err *err)
{
    struct stat st;
    enum zb_rc rc = fstat(fd, &st) == 0 ? zb_sum_entry_add(w->s, fd, ".", &st, 0, err)
                                        : zb_err_sys(err, errno, "look at a directory");

    if (rc == ZB_OK) {
        rc = level_push(w, fd, ino, err);
    } else {
        (void)close(fd);
    }
    while (rc == ZB_OK && w->count > 0) {
        rc = step(w, err);
    }
    while (w->count > 0) {
        DIR *open_dir = w->levels[--w->count].dir;
        if (open_dir != NULL) {
            (void)closedir(open_dir);
        }
    }
    return rc;
}

enum zb_rc
zb_sum_tree(struct zb_sum *s, const char *rel, const char *dir, dev_t dev, struct zb_err *err)
{
    struct walk w = {.s = s, .dev = dev};
    ino_t ino = 0;
    int fd = top_open(dir, dev, &ino, err);

    if (fd < 0) {
        return err->rc;
    }
    s->rel = rel;
    s->path[0] = '\0';
    enum zb_rc rc = walk_all(&w, fd, ino, err);
    free(w.levels);
    s->rel = "";
    if (rc == ZB_OK) {
        fd = top_open(dir, dev, &ino, err);
        rc = fd < 0 ? err->rc : ZB_OK;
        if (fd >= 0) {
            (void)close(fd);
        }
    }
    return rc;
}
