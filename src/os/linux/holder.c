#include "os/holder.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/types.h"
#include "os/linux/mountinfo.h"

#define ZFS_MAGIC 0x2fc12fc1 /* statfs f_type, sys/fs/zfs.h */
#define TARGETS_MAX (ZB_DATASETS_MAX * 2)
#define NAMESPACES_MAX 1024
#define ATTACHED_MAX 8192

/* A file system that is looked for. One dataset may have two: an old one, lazily unmounted, and a
 * new. */
struct wanted {
    const char *dataset;
    dev_t dev;
    bool attached; /* mounted somewhere */
};

struct scan {
    const struct zb_os_holder_target *targets;
    size_t targets_count;
    struct wanted wanted[TARGETS_MAX];
    size_t wanted_count;
    uint64_t namespaces[NAMESPACES_MAX]; /* seen; [0] is this one */
    size_t namespaces_count;
    dev_t attached[ATTACHED_MAX]; /* every file system mounted in any of them */
    size_t attached_count;
    struct zb_os_holders *out;
};

static struct zb_os_holder *
add_holder(struct scan *s, enum zb_os_holder_kind kind, pid_t pid)
{
    if (s->out->count == ZB_OS_HOLDERS_MAX) {
        s->out->more_count++;
        return NULL;
    }
    struct zb_os_holder *h = &s->out->list[s->out->count++];
    *h = (struct zb_os_holder){.kind = kind, .pid = pid, .fd = -1};
    if (pid != 0) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/comm", (int)pid);
        char *comm = zb_os_file_read(path);
        if (comm != NULL) {
            snprintf(h->comm, sizeof h->comm, "%.*s", (int)strcspn(comm, "\n"), comm);
        }
        free(comm);
    }
    return h;
}

static void
set_path(struct zb_os_holder *h, const char *path)
{
    snprintf(h->path, sizeof h->path, "%.*s", (int)sizeof h->path - 1, path);
}

static struct wanted *
find_wanted(struct scan *s, dev_t dev)
{
    for (size_t i = 0; i < s->wanted_count; i++) {
        if (s->wanted[i].dev == dev) {
            return &s->wanted[i];
        }
    }
    return NULL;
}

static struct wanted *
add_wanted(struct scan *s, const char *dataset, dev_t dev)
{
    struct wanted *w = find_wanted(s, dev);
    if (w == NULL && s->wanted_count < TARGETS_MAX) {
        w = &s->wanted[s->wanted_count++];
        *w = (struct wanted){.dataset = dataset, .dev = dev};
    }
    return w;
}

static bool
is_attached(const struct scan *s, dev_t dev)
{
    for (size_t i = 0; i < s->attached_count; i++) {
        if (s->attached[i] == dev) {
            return true;
        }
    }
    return false;
}

/* Also of what is mounted from the device of a zvol. */
static const char *
target_of(struct scan *s, const struct zb_os_mountinfo *line)
{
    if (strcmp(line->fstype, "zfs") != 0) {
        const struct wanted *w = find_wanted(s, line->dev);
        return w != NULL ? w->dataset : NULL;
    }
    for (size_t i = 0; i < s->targets_count; i++) {
        if (strcmp(s->targets[i].dataset, line->source) == 0) {
            return s->targets[i].dataset;
        }
    }
    return NULL;
}

/* One mount of a dataset that is looked for. */
static void
note_mount(struct scan *s, const char *dataset, const struct zb_os_mountinfo *line, pid_t pid,
           uint64_t mnt_ns)
{
    struct wanted *w = add_wanted(s, dataset, line->dev);
    if (w != NULL) {
        w->attached = true;
    }
    struct zb_os_holder *h =
        add_holder(s, mnt_ns != 0 ? ZB_OS_HOLDER_NAMESPACE : ZB_OS_HOLDER_MOUNT, pid);
    if (h != NULL) {
        h->mnt_ns = mnt_ns;
        zb_strcopy(h->dataset, sizeof h->dataset, dataset);
        set_path(h, line->dir);
    }
}

/* Mounts of one namespace. pid: one of its processes; 0 and mnt_ns 0 for our own. */
static void
scan_mounts(struct scan *s, pid_t pid, uint64_t mnt_ns)
{
    char path[64];
    struct zb_os_mountinfo line;

    if (pid == 0) {
        snprintf(path, sizeof path, "/proc/self/mountinfo");
    } else {
        snprintf(path, sizeof path, "/proc/%d/mountinfo", (int)pid);
    }
    char *text = zb_os_file_read(path);
    char *cursor = text;
    while (text != NULL && zb_os_mountinfo_next(&cursor, &line)) {
        if (line.dir == NULL) {
            continue;
        }
        if (!is_attached(s, line.dev) && s->attached_count < ATTACHED_MAX) {
            s->attached[s->attached_count++] = line.dev;
        }
        const char *dataset = target_of(s, &line);
        if (dataset != NULL) {
            note_mount(s, dataset, &line, pid, mnt_ns);
        }
    }
    free(text);
}

/* File systems mounted inside the wanted ones, in this namespace. */
static void
scan_nested(struct scan *s)
{
    uint64_t ids[TARGETS_MAX];
    size_t ids_count = 0;
    struct zb_os_mountinfo line;
    char *text = zb_os_file_read("/proc/self/mountinfo");
    char *cursor = text;

    while (text != NULL && zb_os_mountinfo_next(&cursor, &line)) {
        if (line.dir == NULL) {
            continue;
        }
        const char *dataset = target_of(s, &line);
        if (dataset != NULL && ids_count < TARGETS_MAX) {
            ids[ids_count++] = line.id;
        }
        for (size_t i = 0; dataset == NULL && i < ids_count; i++) {
            struct zb_os_holder *h;
            /* A snapshot's automount goes away by itself when its parent is unmounted. */
            if (line.parent_id == ids[i] && strchr(line.source, '@') == NULL &&
                (h = add_holder(s, ZB_OS_HOLDER_NESTED, 0)) != NULL) {
                set_path(h, line.dir);
            }
        }
    }
    free(text);
}

static bool
namespace_is_new(struct scan *s, uint64_t ns)
{
    for (size_t i = 0; i < s->namespaces_count; i++) {
        if (s->namespaces[i] == ns) {
            return false;
        }
    }
    if (s->namespaces_count < NAMESPACES_MAX) {
        s->namespaces[s->namespaces_count++] = ns;
    }
    return true;
}

/* Whether a file on dev (seen through magic, a link in /proc) is one that is looked for. */
static bool
is_held(struct scan *s, dev_t dev, const char *magic, const struct wanted **which)
{
    struct statfs st;

    *which = find_wanted(s, dev);
    if (*which != NULL) {
        return true;
    }
    return !is_attached(s, dev) && major(dev) == 0 && statfs(magic, &st) == 0 &&
           st.f_type == ZFS_MAGIC;
}

static void
note_file(struct scan *s, pid_t pid, enum zb_os_holder_kind kind, int fd, const char *magic)
{
    struct stat st;
    const struct wanted *w = NULL;
    char target[ZB_PATH_SIZE];

    if (stat(magic, &st) != 0 ||
        !is_held(s, S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev, magic, &w)) {
        return;
    }
    struct zb_os_holder *h = add_holder(s, kind, pid);
    if (h == NULL) {
        return;
    }
    h->fd = fd;
    h->detached = !S_ISBLK(st.st_mode) && (w == NULL || !w->attached);
    if (w != NULL) {
        zb_strcopy(h->dataset, sizeof h->dataset, w->dataset);
    }
    ssize_t n = readlink(magic, target, sizeof target - 1);
    target[n > 0 ? n : 0] = '\0';
    set_path(h, target);
}

static void
scan_fds(struct scan *s, pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/fd", (int)pid);
    DIR *d = opendir(path);
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char magic[400];
        if (isdigit((unsigned char)e->d_name[0])) {
            snprintf(magic, sizeof magic, "%s/%s", path, e->d_name);
            note_file(s, pid, ZB_OS_HOLDER_FD, (int)strtol(e->d_name, NULL, 10), magic);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
}

/* A line of maps, "start-end perms offset major:minor inode   path". False: not of a file. */
static bool
map_parse(const char *line, dev_t *dev, const char **path)
{
    char *end;

    for (int field = 0; field < 3; field++) {
        line += strcspn(line, " ");
        line += strspn(line, " ");
    }
    unsigned long major_number = strtoul(line, &end, 16);
    if (*end != ':') {
        return false;
    }
    *dev = makedev((unsigned)major_number, (unsigned)strtoul(end + 1, &end, 16));
    if (strtoull(end, &end, 10) == 0) {
        return false;
    }
    *path = end + strspn(end, " ");
    return true;
}

/* Mapped files, each once per process. */
static void
scan_maps(struct scan *s, pid_t pid)
{
    char path[64];
    char last[ZB_PATH_SIZE] = "";
    char *line;

    snprintf(path, sizeof path, "/proc/%d/maps", (int)pid);
    char *text = zb_os_file_read(path);
    char *cursor = text;
    while (cursor != NULL && (line = strsep(&cursor, "\n")) != NULL) {
        const char *file = "";
        dev_t dev = 0;
        if (!map_parse(line, &dev, &file) || strcmp(file, last) == 0) {
            continue;
        }
        struct wanted *w = find_wanted(s, dev);
        struct zb_os_holder *h = w != NULL ? add_holder(s, ZB_OS_HOLDER_MAP, pid) : NULL;
        if (h != NULL) {
            h->detached = !w->attached;
            zb_strcopy(h->dataset, sizeof h->dataset, w->dataset);
            set_path(h, file);
        }
        snprintf(last, sizeof last, "%.*s", (int)sizeof last - 1, file);
    }
    free(text);
}

static uint64_t
mount_namespace(pid_t pid)
{
    char path[64];
    struct stat st;
    if (pid == 0) {
        snprintf(path, sizeof path, "/proc/self/ns/mnt");
    } else {
        snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)pid);
    }
    return stat(path, &st) == 0 ? (uint64_t)st.st_ino : 0;
}

static void
scan_namespace_of(struct scan *s, pid_t pid)
{
    uint64_t ns = mount_namespace(pid);
    if (ns != 0 && namespace_is_new(s, ns)) {
        scan_mounts(s, pid, ns);
    }
}

static void
scan_files_of(struct scan *s, pid_t pid)
{
    static const struct {
        const char *name;
        enum zb_os_holder_kind kind;
    } links[] = {{"cwd", ZB_OS_HOLDER_CWD}, {"root", ZB_OS_HOLDER_ROOT}, {"exe", ZB_OS_HOLDER_EXE}};
    char magic[64];

    for (size_t i = 0; i < sizeof links / sizeof links[0]; i++) {
        snprintf(magic, sizeof magic, "/proc/%d/%s", (int)pid, links[i].name);
        note_file(s, pid, links[i].kind, -1, magic);
    }
    scan_fds(s, pid);
    scan_maps(s, pid);
}

static enum zb_rc
for_each_process(struct scan *s, void (*fn)(struct scan *, pid_t), struct zb_err *err)
{
    DIR *d = opendir("/proc");
    if (d == NULL) {
        return zb_err_sys(err, errno, "read /proc");
    }
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        int pid = isdigit((unsigned char)e->d_name[0]) ? (int)strtol(e->d_name, NULL, 10) : 0;
        if (pid > 0) {
            fn(s, (pid_t)pid);
        }
    }
    closedir(d);
    return ZB_OK;
}

/* Loop devices whose backing file lies in a wanted dataset's directory. */
static void
scan_loops(struct scan *s)
{
    size_t mounts_count = s->out->count;
    DIR *d = opendir("/sys/block");
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        char path[400];
        if (strncmp(e->d_name, "loop", 4) != 0) {
            continue;
        }
        snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", e->d_name);
        char *file = zb_os_file_read(path);
        for (size_t i = 0; file != NULL && i < mounts_count; i++) {
            const struct zb_os_holder *m = &s->out->list[i];
            size_t length = strlen(m->path);
            if (m->kind == ZB_OS_HOLDER_MOUNT && strncmp(file, m->path, length) == 0 &&
                file[length] == '/') {
                struct zb_os_holder *h = add_holder(s, ZB_OS_HOLDER_LOOP, 0);
                if (h != NULL) {
                    zb_strcopy(h->dataset, sizeof h->dataset, m->dataset);
                    snprintf(h->path, sizeof h->path, "/dev/%.200s", e->d_name);
                }
                break;
            }
        }
        free(file);
    }
    if (d != NULL) {
        closedir(d);
    }
}

/* Devices that are made of the device of a zvol. */
static void
scan_stacked(struct scan *s, const struct zb_os_holder_target *target)
{
    char path[80];

    snprintf(path, sizeof path, "/sys/dev/block/%u:%u/holders", major(target->dev),
             minor(target->dev));
    DIR *d = target->dev != 0 ? opendir(path) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        struct zb_os_holder *h = e->d_name[0] != '.' ? add_holder(s, ZB_OS_HOLDER_DEVICE, 0) : NULL;
        if (h != NULL) {
            zb_strcopy(h->dataset, sizeof h->dataset, target->dataset);
            snprintf(h->path, sizeof h->path, "/dev/%.200s", e->d_name);
        }
    }
    if (d != NULL) {
        closedir(d);
    }
}

enum zb_rc
zb_os_holders_find(const struct zb_os_holder_target *targets, size_t count,
                   struct zb_os_holders *out, struct zb_err *err)
{
    struct scan *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "look for holders: no memory");
    }
    *out = (struct zb_os_holders){0};
    s->targets = targets;
    s->targets_count = count;
    s->out = out;
    for (size_t i = 0; i < count; i++) {
        if (targets[i].dev != 0) {
            add_wanted(s, targets[i].dataset, targets[i].dev);
        }
    }
    s->namespaces[s->namespaces_count++] = mount_namespace(0);
    scan_mounts(s, 0, 0);
    scan_loops(s);
    scan_nested(s);
    for (size_t i = 0; i < count; i++) {
        scan_stacked(s, &targets[i]);
    }
    enum zb_rc rc = for_each_process(s, scan_namespace_of, err);
    if (rc == ZB_OK) {
        rc = for_each_process(s, scan_files_of, err);
    }
    free(s);
    return rc;
}

static void
format_one(const struct zb_os_holder *h, char *buf, size_t size)
{
    char who[64];
    const char *where = h->detached ? " (of an unmounted file system)" : "";

    snprintf(who, sizeof who, "pid %d (%s)", (int)h->pid, h->comm);
    switch (h->kind) {
    case ZB_OS_HOLDER_FD:
        snprintf(buf, size, "%s has %s open%s", who, h->path, where);
        break;
    case ZB_OS_HOLDER_CWD:
        snprintf(buf, size, "%s works in %s%s", who, h->path, where);
        break;
    case ZB_OS_HOLDER_ROOT:
        snprintf(buf, size, "%s has its root in %s%s", who, h->path, where);
        break;
    case ZB_OS_HOLDER_EXE:
        snprintf(buf, size, "%s runs %s%s", who, h->path, where);
        break;
    case ZB_OS_HOLDER_MAP:
        snprintf(buf, size, "%s has %s mapped%s", who, h->path, where);
        break;
    case ZB_OS_HOLDER_NAMESPACE:
        snprintf(buf, size, "%s has %s mounted at %s in another mount namespace (%llu)", who,
                 h->dataset, h->path, (unsigned long long)h->mnt_ns);
        break;
    case ZB_OS_HOLDER_MOUNT:
        snprintf(buf, size, "%s is mounted at %s", h->dataset, h->path);
        break;
    case ZB_OS_HOLDER_NESTED:
        snprintf(buf, size, "%s is mounted inside it", h->path);
        break;
    case ZB_OS_HOLDER_LOOP:
        snprintf(buf, size, "%s uses a file in %s", h->path, h->dataset);
        break;
    case ZB_OS_HOLDER_DEVICE:
        snprintf(buf, size, "%s is made of %s", h->path, h->dataset);
        break;
    }
}

void
zb_os_holders_format(const struct zb_os_holders *holders, char *buf, size_t size)
{
    /* Room for ", and 12345 more". */
    const size_t tail = 32;
    size_t used = 0;
    size_t shown = 0;

    buf[0] = '\0';
    for (; shown < holders->count; shown++) {
        char phrase[ZB_PATH_SIZE + ZB_DATASET_NAME_SIZE + 128];
        format_one(&holders->list[shown], phrase, sizeof phrase);
        size_t length = strlen(phrase) + (used > 0 ? 2 : 0);
        if (used + length + tail >= size) {
            break;
        }
        used += (size_t)snprintf(buf + used, size - used, "%s%s", used > 0 ? "; " : "", phrase);
    }
    size_t more = holders->count - shown + holders->more_count;
    if (more > 0 && size - used > tail) {
        snprintf(buf + used, size - used, "%s%zu more", used > 0 ? "; and " : "", more);
    }
}
