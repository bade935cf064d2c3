#include "os/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/types.h"
#include "os/linux/mountinfo.h"
#include "os/volume.h"

/* All mounts of ZFS in a namespace at one time. */
struct table {
    unsigned refs;
    char *text; /* strings of the lines lie in it */
    size_t count;
    struct zb_os_mountinfo *lines;
};

static void
table_free(struct table *t)
{
    if (t != NULL) {
        free(t->text);
        free(t->lines);
        free(t);
    }
}

static enum zb_rc
table_add(struct table *t, size_t *room, const struct zb_os_mountinfo *line, struct zb_err *err)
{
    if (t->count == *room) {
        size_t larger = *room == 0 ? 64 : 2 * *room;
        void *lines = realloc(t->lines, larger * sizeof *t->lines);
        if (lines == NULL) {
            return zb_err_set(err, ZB_E_NOMEM, "list mounts: no memory");
        }
        t->lines = lines;
        *room = larger;
    }
    t->lines[t->count++] = *line;
    return ZB_OK;
}

/* Takes text, of malloc. */
static enum zb_rc
table_new(char *text, struct table **out, struct zb_err *err)
{
    struct table *t = calloc(1, sizeof *t);
    struct zb_os_mountinfo line;
    char *cursor = text;
    size_t room = 0;
    enum zb_rc rc = ZB_OK;

    if (t == NULL) {
        free(text);
        return zb_err_set(err, ZB_E_NOMEM, "list mounts: no memory");
    }
    t->text = text;
    while (rc == ZB_OK && zb_os_mountinfo_next(&cursor, &line)) {
        if (line.dir == NULL) {
            rc = zb_err_set(err, ZB_E_FORMAT, "list mounts: a line is malformed");
        } else if (strcmp(line.fstype, "zfs") == 0) {
            rc = table_add(t, &room, &line, err);
        }
    }
    if (rc != ZB_OK) {
        table_free(t);
        return rc;
    }
    *out = t;
    return ZB_OK;
}

/* "web", "web/log", "web@snap" for "web"; not "website". */
static bool
is_under(const char *source, const char *dataset)
{
    size_t length = strlen(dataset);
    return strncmp(source, dataset, length) == 0 &&
           (source[length] == '\0' || source[length] == '/' || source[length] == '@');
}

struct picked {
    struct zb_os_mounts mounts;
    size_t room;
};

/* A new entry, of zeros but for its dataset and dir; NULL with err. */
static struct zb_os_mount_entry *
entry_add(struct picked *p, const char *dataset, const char *dir, struct zb_err *err)
{
    struct zb_os_mounts *mounts = &p->mounts;

    if (strlen(dataset) >= ZB_DATASET_NAME_SIZE || strlen(dir) >= ZB_PATH_SIZE) {
        (void)zb_err_set(err, ZB_E_LIMIT, "the mount point of %.300s is too long", dataset);
        return NULL;
    }
    if (mounts->count == p->room) {
        size_t larger = p->room == 0 ? 1 : 2 * p->room;
        void *entries = realloc(mounts->entries, larger * sizeof *mounts->entries);
        if (entries == NULL) {
            (void)zb_err_set(err, ZB_E_NOMEM, "list mounts: no memory");
            return NULL;
        }
        mounts->entries = entries;
        p->room = larger;
    }
    struct zb_os_mount_entry *entry = &mounts->entries[mounts->count++];
    *entry = (struct zb_os_mount_entry){0};
    zb_strcopy(entry->dataset, sizeof entry->dataset, dataset);
    zb_strcopy(entry->dir, sizeof entry->dir, dir);
    return entry;
}

static enum zb_rc
volume_add(void *ctx, const char *name, dev_t dev, struct zb_err *err)
{
    char dir[sizeof ZB_OS_VOLUMES + ZB_DATASET_NAME_SIZE];

    (void)snprintf(dir, sizeof dir, ZB_OS_VOLUMES "%s", name);
    struct zb_os_mount_entry *entry = entry_add(ctx, name, dir, err);
    if (entry == NULL) {
        return err->rc;
    }
    entry->dev = dev;
    entry->volume = true;
    return ZB_OK;
}

static enum zb_rc
table_pick(const struct table *t, const char *dataset, struct picked *p, struct zb_err *err)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct zb_os_mountinfo *line = &t->lines[i];
        struct zb_os_mount_entry *entry;

        if (!is_under(line->source, dataset)) {
            continue;
        }
        entry = entry_add(p, line->source, line->dir, err);
        if (entry == NULL) {
            return err->rc;
        }
        entry->id = line->id;
        entry->parent_id = line->parent_id;
        entry->dev = line->dev;
        entry->readonly = line->readonly;
        entry->subtree = strcmp(line->root, "/") != 0;
    }
    return ZB_OK;
}

static enum zb_rc
picked_give(struct picked *p, enum zb_rc rc, struct zb_os_mounts *mounts)
{
    if (rc == ZB_OK) {
        *mounts = p->mounts;
    } else {
        zb_os_mounts_close(&p->mounts);
    }
    return rc;
}

enum zb_rc
zb_os_mounts_parse(const char *text, const char *dataset, struct zb_os_mounts *mounts,
                   struct zb_err *err)
{
    struct table *t = NULL;
    struct picked p = {0};
    char *copy = strdup(text);
    if (copy == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "list mounts: no memory");
    }
    enum zb_rc rc = table_new(copy, &t, err);
    if (rc == ZB_OK) {
        rc = table_pick(t, dataset, &p, err);
    }
    table_free(t);
    return picked_give(&p, rc, mounts);
}

/* --- of this namespace --- */

/*
 * The kernel writes out all mounts of the host whatever is asked for, and a keeper looks at many
 * services at the same time. Who asks while the table is read waits for the next reading, which is
 * for all who asked by then: so each has what was true after it asked, and many cost two.
 */
static struct {
    pthread_mutex_t lock;
    pthread_cond_t read;
    bool reading;
    uint64_t begun, ended; /* readings, counted */
    struct table *last;    /* NULL: rc and err say why not */
    enum zb_rc rc;
    struct zb_err err;
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER, .read = PTHREAD_COND_INITIALIZER};

static enum zb_rc
table_read(struct table **out, struct zb_err *err)
{
    char *text = zb_os_file_read("/proc/self/mountinfo");
    if (text == NULL) {
        return zb_err_sys(err, errno, "read /proc/self/mountinfo");
    }
    return table_new(text, out, err);
}

/* Caller holds the lock, which is open meanwhile. */
static void
shared_read(void)
{
    struct table *t = NULL;
    struct zb_err err = {0};

    shared.reading = true;
    shared.begun++;
    (void)pthread_mutex_unlock(&shared.lock);
    enum zb_rc rc = table_read(&t, &err);
    if (t != NULL) {
        t->refs = 1;
    }
    (void)pthread_mutex_lock(&shared.lock);
    if (shared.last != NULL && --shared.last->refs == 0) {
        table_free(shared.last);
    }
    shared.last = t;
    shared.rc = rc;
    shared.err = err;
    shared.reading = false;
    shared.ended = shared.begun;
    (void)pthread_cond_broadcast(&shared.read);
}

enum zb_rc
zb_os_mounts_read(const char *dataset, struct zb_os_mounts *mounts, struct zb_err *err)
{
    struct picked p = {0};

    (void)pthread_mutex_lock(&shared.lock);
    uint64_t wanted = shared.begun + 1;
    while (shared.ended < wanted) {
        if (shared.reading) {
            (void)pthread_cond_wait(&shared.read, &shared.lock);
        } else {
            shared_read();
        }
    }
    struct table *t = shared.last;
    enum zb_rc rc = shared.rc;
    if (rc == ZB_OK) {
        t->refs++;
    } else {
        *err = shared.err;
    }
    (void)pthread_mutex_unlock(&shared.lock);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = table_pick(t, dataset, &p, err);
    (void)pthread_mutex_lock(&shared.lock);
    bool unused = --t->refs == 0;
    (void)pthread_mutex_unlock(&shared.lock);
    if (unused) {
        table_free(t);
    }
    if (rc == ZB_OK) {
        rc = zb_os_volumes_each(dataset, volume_add, &p, err);
    }
    return picked_give(&p, rc, mounts);
}

uint64_t
zb_os_mounts_changes(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int fd = -1; /* poll(2) of it tells of each change once: proc(5) */
    static uint64_t count;
    uint64_t now;

    (void)pthread_mutex_lock(&lock);
    if (fd < 0) {
        fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
        count++; /* nobody was told of what was until now */
    }
    struct pollfd change = {.fd = fd, .events = POLLPRI};
    count += poll(&change, 1, 0) != 0 ? 1 : 0;
    now = count;
    (void)pthread_mutex_unlock(&lock);
    return now;
}

void
zb_os_mounts_close(struct zb_os_mounts *mounts)
{
    free(mounts->entries);
    *mounts = (struct zb_os_mounts){0};
}

const struct zb_os_mount_entry *
zb_os_mounts_find(const struct zb_os_mounts *mounts, const char *dataset)
{
    for (size_t i = 0; i < mounts->count; i++) {
        if (!mounts->entries[i].subtree && strcmp(mounts->entries[i].dataset, dataset) == 0) {
            return &mounts->entries[i];
        }
    }
    return NULL;
}

const char *
zb_os_mounts_dir(const struct zb_os_mounts *mounts)
{
    for (size_t i = 0; i < mounts->count; i++) {
        if (!mounts->entries[i].volume) {
            return mounts->entries[i].dir;
        }
    }
    return "";
}
