#include "cmd/compare.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK (128u << 10)
#define OPEN_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME)

struct walk {
    const struct zb_compare *compare;
    dev_t dev; /* of the one tree */
    unsigned depth;
    char path[ZB_PATH_SIZE * 4];
    struct zb_err *err;
};

static enum zb_rc
failed(const struct walk *w, const char *what)
{
    return zb_err_sys(w->err, errno, "%s %.180s", what, w->path);
}

/* O_NOATIME is only the owner's and root's. */
static int
file_open(int dir, const char *name, int flags)
{
    int fd = openat(dir, name, OPEN_FLAGS | flags);
    return fd < 0 && errno == EPERM ? openat(dir, name, (OPEN_FLAGS & ~O_NOATIME) | flags) : fd;
}

static ssize_t
chunk_read(int fd, char *buf)
{
    size_t used = 0;
    while (used < CHUNK) {
        ssize_t n = read(fd, buf + used, CHUNK - used);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return n < 0 ? n : (ssize_t)used;
        }
        used += (size_t)n;
    }
    return (ssize_t)used;
}

static enum zb_rc
content_equal(const struct walk *w, int one, int other, bool *equal)
{
    static char left[CHUNK], right[CHUNK];
    for (;;) {
        ssize_t n = chunk_read(one, left);
        ssize_t m = n < 0 ? n : chunk_read(other, right);
        if (n < 0 || m < 0) {
            return failed(w, "read");
        }
        *equal = n == m && memcmp(left, right, (size_t)n) == 0;
        if (!*equal || n == 0) {
            return ZB_OK;
        }
    }
}

/* Two entries of one name, and what fstatat(2) says of them. */
struct entries {
    const char *name;
    int one; /* the directories that they are in */
    int other;
    struct stat a;
    struct stat b;
};

static enum zb_rc
file_equal(const struct walk *w, const struct entries *e, bool *equal)
{
    int left = file_open(e->one, e->name, 0);
    int right = left < 0 ? -1 : file_open(e->other, e->name, 0);
    enum zb_rc rc = right < 0 ? failed(w, "open") : content_equal(w, left, right, equal);
    if (left >= 0) {
        (void)close(left);
    }
    if (right >= 0) {
        (void)close(right);
    }
    return rc;
}

static enum zb_rc
link_equal(const struct walk *w, const struct entries *e, bool *equal)
{
    static char left[ZB_PATH_SIZE * 4], right[ZB_PATH_SIZE * 4];
    ssize_t n = readlinkat(e->one, e->name, left, sizeof left);
    ssize_t m = n < 0 ? n : readlinkat(e->other, e->name, right, sizeof right);
    if (n < 0 || m < 0) {
        return failed(w, "read link");
    }
    *equal = n == m && memcmp(left, right, (size_t)n) == 0;
    return ZB_OK;
}

/* Neither is a directory. */
static enum zb_rc
entry_equal(const struct walk *w, const struct entries *e, bool *equal)
{
    *equal = (e->a.st_mode & S_IFMT) == (e->b.st_mode & S_IFMT);
    if (!*equal) {
        return ZB_OK;
    }
    switch (e->a.st_mode & S_IFMT) {
    case S_IFREG:
        *equal = e->a.st_size == e->b.st_size;
        return *equal && e->a.st_size > 0 ? file_equal(w, e, equal) : ZB_OK;
    case S_IFLNK:
        return link_equal(w, e, equal);
    case S_IFCHR:
    case S_IFBLK:
        *equal = e->a.st_rdev == e->b.st_rdev;
        return ZB_OK;
    default:
        return ZB_OK;
    }
}

static enum zb_rc dir_compare(struct walk *w, int one, int other);

/* Everything below a directory; other: -1 when the other tree has none of this name. */
static enum zb_rc
below_compare(struct walk *w, int one, int other, const char *name)
{
    int left = file_open(one, name, O_DIRECTORY);
    int right = other < 0 ? -1 : file_open(other, name, O_DIRECTORY);
    enum zb_rc rc;

    if (left < 0 || (other >= 0 && right < 0)) {
        rc = failed(w, "open");
    } else if (w->depth >= ZB_COMPARE_DEPTH_MAX) {
        rc = zb_err_set(w->err, ZB_E_LIMIT, "%.180s: more than %d directories below each other",
                        w->path, ZB_COMPARE_DEPTH_MAX);
    } else {
        w->depth++;
        rc = dir_compare(w, left, right);
        w->depth--;
    }
    if (left >= 0) {
        (void)close(left);
    }
    if (right >= 0) {
        (void)close(right);
    }
    return rc;
}

static void
tell(const struct walk *w, char change, const struct stat *st)
{
    uint64_t bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0;
    w->compare->on_change(w->compare->ctx, change, w->path, bytes);
}

static enum zb_rc
entry_compare(struct walk *w, int one, int other, const char *name)
{
    struct entries e = {.name = name, .one = one, .other = other};
    bool equal = false;

    if (fstatat(one, name, &e.a, AT_SYMLINK_NOFOLLOW) != 0) {
        return failed(w, "look at");
    }
    bool there = other >= 0 && fstatat(other, name, &e.b, AT_SYMLINK_NOFOLLOW) == 0;
    if (!there && other >= 0 && errno != ENOENT) {
        return failed(w, "look at");
    }
    if (S_ISDIR(e.a.st_mode)) {
        bool both = there && S_ISDIR(e.b.st_mode);
        if (e.a.st_dev != w->dev) {
            return ZB_OK; /* another dataset, which is compared by itself */
        }
        if (!both) {
            tell(w, there ? 'M' : '+', &e.a);
        }
        return below_compare(w, one, both ? other : -1, name);
    }
    if (!there) {
        tell(w, '+', &e.a);
        return ZB_OK;
    }
    enum zb_rc rc = entry_equal(w, &e, &equal);
    if (rc == ZB_OK && !equal) {
        tell(w, 'M', &e.a);
    }
    return rc;
}

static int
is_named(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static enum zb_rc
dir_compare(struct walk *w, int one, int other)
{
    struct dirent **names = NULL;
    size_t length = strlen(w->path);
    int count = scandirat(one, ".", &names, is_named, alphasort);
    enum zb_rc rc = count < 0 ? failed(w, "list") : ZB_OK;

    for (int i = 0; i < count; i++) {
        size_t room = sizeof w->path - length;
        int n = snprintf(w->path + length, room, "%s%s",
                         length > 0 && w->path[length - 1] != '/' ? "/" : "", names[i]->d_name);
        if (rc == ZB_OK && (size_t)n >= room) {
            rc = zb_err_set(w->err, ZB_E_LIMIT, "a path is too long: %.180s", w->path);
        } else if (rc == ZB_OK) {
            rc = entry_compare(w, one, other, names[i]->d_name);
        }
        w->path[length] = '\0';
        free(names[i]);
    }
    free(names);
    return rc;
}

enum zb_rc
zb_compare_trees(const struct zb_compare *compare, const char *prefix, int one, int other,
                 struct zb_err *err)
{
    struct walk w = {.compare = compare, .err = err};
    struct stat st;

    if (fstat(one, &st) != 0) {
        return zb_err_sys(err, errno, "look at the tree");
    }
    w.dev = st.st_dev;
    zb_strcopy(w.path, sizeof w.path, prefix);
    return dir_compare(&w, one, other);
}
