/* RESCUES, RESCUE_MOUNT and RESCUE_DROP of kmsg.h: what is below <root>/.rescue. */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"

#define TEXT_MAX (60u << 10) /* below what kmsg.h allows for text */
#define UMOUNT_MS 5000
#define DESTROY_BATCH 100

/* One at a time in a keeper's life: nothing is mounted while it is dropped. */
static enum zb_rc
turn_take(struct zb_keeper *k, struct zb_err *err)
{
    bool taken;

    (void)pthread_mutex_lock(&k->lock);
    taken = !k->rescue_busy;
    k->rescue_busy = true;
    (void)pthread_mutex_unlock(&k->lock);
    return taken ? ZB_OK : zb_err_set(err, ZB_E_BUSY, "another rescue is being mounted or dropped");
}

static void
turn_give(struct zb_keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->rescue_busy = false;
    (void)pthread_mutex_unlock(&k->lock);
}

/* The rescue that the request names, with everything in it. */
static enum zb_rc
rescue_open(struct zb_keeper *k, const struct zb_kreq *req, struct zb_zfs_tree *tree,
            struct zb_err *err)
{
    char dataset[ZB_DATASET_NAME_SIZE];
    const char *mark;
    const char *service;
    enum zb_rc rc = zb_keeper_rescue_dataset(k, req->text != NULL ? req->text : "", dataset, err);

    if (rc == ZB_OK) {
        rc = zb_zfs_tree_observe(dataset, tree, err);
    }
    if (rc == ZB_E_NOTFOUND) {
        return zb_err_set(err, ZB_E_NOTFOUND, "there is no rescue %s here", req->text);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    mark = zb_zfs_props_local(&tree->datasets[0], ZB_KEEPER_RESCUE);
    service = zb_zfs_props_local(&tree->datasets[0], "zbaton:service");
    if (mark == NULL || service == NULL) { /* S9 */
        rc = zb_err_set(err, ZB_E_REFUSED, "%s is not zbaton's", dataset);
    } else if (strcmp(mark, ZB_KEEPER_RESCUE_KEPT) != 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s was begun and is not ended", dataset);
    } else if (req->service[0] != '\0' && strcmp(service, req->service) != 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s is a rescue of %.60s", dataset, service);
    }
    if (rc != ZB_OK) {
        zb_zfs_tree_close(tree);
    }
    return rc;
}

/* ---- RESCUES ---- */

struct text {
    char *bytes;
    size_t used;
    bool full;
};

__attribute__((format(printf, 2, 3))) static void
text_add(struct text *t, const char *fmt, ...)
{
    size_t room = TEXT_MAX - t->used;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->bytes + t->used, room, fmt, ap);
    va_end(ap);
    t->full = t->full || n < 0 || (size_t)n >= room;
    t->used += t->full ? 0 : (size_t)n;
}

/* ZFS has no names with a character that JSON escapes. */
static enum zb_rc
dataset_describe(const struct zb_zfs_tree *tree, size_t i, struct text *t, struct zb_err *err)
{
    const struct zb_zfs_props *p = &tree->datasets[i];
    const char *rel = p->name + strlen(tree->datasets[0].name);
    const char *mark = zb_zfs_props_local(p, ZB_KEEPER_FORK);
    const char *at = strchr(p->origin, '@');
    char ignored[ZB_REL_SIZE];
    struct zb_zfs_snaps snaps = {0};
    uint64_t guid = 0;
    enum zb_rc rc = zb_zfs_snaps_list(p->name, &snaps, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (mark != NULL && !zb_rules_fork_parse(mark, &guid, ignored)) {
        guid = 0;
    }
    text_add(t,
             "%s{\"rel\":\"%s\",\"fork\":\"%s\",\"fork_guid\":\"%" PRIu64
             "\",\"snaps\":%zu,\"written\":%" PRIu64 "}",
             i > 0 ? "," : "", rel[0] == '/' ? rel + 1 : rel, guid != 0 && at != NULL ? at + 1 : "",
             guid, snaps.count, p->written_bytes);
    zb_zfs_snaps_close(&snaps);
    return ZB_OK;
}

/* One line; datasets past the limit of a message are left off, and counted. */
static enum zb_rc
rescue_describe(const struct zb_zfs_tree *tree, const char *name, const char *service,
                struct text *t, struct zb_err *err)
{
    const struct zb_zfs_props *root = &tree->datasets[0];
    const char *mark = zb_zfs_props_local(root, ZB_KEEPER_RESCUE);
    struct zb_os_mounts mounts = {0};
    char owner[ZB_SERVICE_NAME_SIZE];
    char created[24];
    struct zb_wall time = {0};
    uint64_t term = 0;
    size_t i = 0;
    enum zb_rc rc = zb_os_mounts_read(root->name, &mounts, err);

    (void)zb_rules_rescue_name_parse(name, owner, &term, &time); /* renamed by hand: not known */
    zb_wall_format(time, created);
    text_add(t,
             "{\"name\":\"%s\",\"service\":\"%s\",\"term\":%" PRIu64
             ",\"created\":\"%s\",\"bytes\":%" PRIu64
             ",\"whole\":%s,\"kept\":%s,\"mounted\":\"%.1000s\",\"datasets\":[",
             name, service, term, created, root->used_bytes,
             zb_zfs_props_local(root, ZB_KEEPER_FORK) == NULL ? "true" : "false",
             strcmp(mark, ZB_KEEPER_RESCUE_KEPT) == 0 ? "true" : "false",
             mounts.count > 0 ? mounts.entries[0].dir : "");
    zb_os_mounts_close(&mounts);
    for (; i < tree->count && rc == ZB_OK && t->used + 512 < TEXT_MAX; i++) {
        rc = dataset_describe(tree, i, t, err);
    }
    text_add(t, "],\"left_off\":%zu}\n", tree->count - i);
    return rc;
}

/* Adds the line of a dataset below the container, if it is a rescue that is asked for. */
static enum zb_rc
rescue_list(const char *dataset, const char *name, const struct zb_kreq *req, struct zb_krep *rep,
            struct text *t, struct zb_err *err)
{
    struct zb_zfs_tree tree = {0};
    struct zb_zfs_props props = {0};
    size_t before = t->used;
    const char *service = NULL;
    bool wanted = false;
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    if (rc == ZB_OK) {
        service = zb_zfs_props_local(&props, "zbaton:service");
        wanted = service != NULL && zb_zfs_props_local(&props, ZB_KEEPER_RESCUE) != NULL &&
                 (req->service[0] == '\0' || strcmp(service, req->service) == 0);
    }
    if (wanted && rep->count++ >= req->count && !t->full) {
        rc = zb_zfs_tree_observe(dataset, &tree, err);
        if (rc == ZB_OK) {
            rc = rescue_describe(&tree, name, service, t, err);
        }
        if (t->full || rc != ZB_OK) { /* whole lines only: the rest is asked for with count */
            t->used = before;
            t->bytes[before] = '\0';
        }
    }
    zb_zfs_props_close(&props);
    zb_zfs_tree_close(&tree);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc; /* dropped meanwhile */
}

enum zb_rc
zb_keeper_op_rescues(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    char container[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_names names = {0};
    struct text t = {.bytes = calloc(1, TEXT_MAX)};
    enum zb_rc rc;

    if (t.bytes == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory to list rescues");
    }
    (void)snprintf(container, sizeof(container), "%.240s" ZB_KEEPER_RESCUES, k->conf->root);
    rc = zb_zfs_children_list(container, &names, err);
    if (rc == ZB_E_NOTFOUND) {
        rc = ZB_OK;
    }
    for (size_t i = 1; i < names.count && rc == ZB_OK; i++) { /* the first is the container */
        const char *name = names.names[i] + strlen(container) + 1;

        if (strchr(name, '/') == NULL) {
            rc = rescue_list(names.names[i], name, &job->req, &job->rep, &t, err);
        }
    }
    zb_zfs_names_close(&names);
    job->rep.text = t.bytes;
    return rc;
}

/* ---- RESCUE_MOUNT ---- */

/* Root's alone: what the service kept behind a closed directory is not shown to everybody. */
static enum zb_rc
closed_dir_make(const char *dir, struct zb_err *err)
{
    struct stat st;

    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
        return zb_err_sys(err, errno, "make %s", dir);
    }
    if (lstat(dir, &st) != 0) {
        return zb_err_sys(err, errno, "look at %s", dir);
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 077) != 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is not a directory of root's alone", dir);
        return zb_err_hint(err, "remove it");
    }
    return ZB_OK;
}

/* Below its parent, where it was; beside it where that has no room for it: a directory that was
 * never made, or one with files below. */
static enum zb_rc
dataset_mount(const struct zb_zfs_tree *tree, size_t i, const char *path, struct zb_err *err)
{
    const unsigned flags = ZB_OS_MOUNT_NODEV | ZB_OS_MOUNT_NOSUID | ZB_OS_MOUNT_NOEXEC;
    const char *rel = tree->datasets[i].name + strlen(tree->datasets[0].name);
    char dir[ZB_PATH_SIZE];
    enum zb_rc rc;

    if ((size_t)snprintf(dir, sizeof(dir), "%s%s", path, rel) >= sizeof(dir)) {
        return zb_err_set(err, ZB_E_LIMIT, "path of %s is too long", tree->datasets[i].name);
    }
    rc = zb_os_mount(tree->datasets[i].name, dir, flags, err);
    if (rel[0] != '\0' && rc != ZB_OK && (rc == ZB_E_REFUSED || err->sys_errno == EROFS)) {
        zb_log_warning("%s: mounted beside the others", err->msg);
        for (char *p = dir + strlen(path); *p != '\0'; p++) {
            *p = *p == '/' ? '+' : *p;
        }
        rc = zb_os_mount(tree->datasets[i].name, dir, flags, err);
    }
    return rc == ZB_E_EXISTS ? ZB_OK : rc;
}

/* Takes everything of the rescue down again, and the directories with it. */
static enum zb_rc
rescue_umount(const struct zb_zfs_tree *tree, const char *path, struct zb_err *err)
{
    struct zb_mono deadline = {zb_mono_now().ms + UMOUNT_MS};
    enum zb_rc rc = zb_keeper_tree_umount(tree->datasets[0].name, deadline, err);

    for (size_t i = tree->count; i-- > 0 && rc == ZB_OK;) {
        const char *rel = tree->datasets[i].name + strlen(tree->datasets[0].name);
        char dir[ZB_PATH_SIZE];

        (void)snprintf(dir, sizeof(dir), "%.800s%.200s", path, rel);
        for (char *p = dir + strlen(path); *p != '\0'; p++) {
            *p = *p == '/' ? '+' : *p;
        }
        (void)rmdir(dir); /* there are none beside it as a rule */
    }
    return rc;
}

enum zb_rc
zb_keeper_op_rescue_mount(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    const bool on = strcmp(job->req.rel, "on") == 0;
    struct zb_zfs_tree tree = {0};
    char path[ZB_PATH_SIZE];
    struct zb_err undo;
    enum zb_rc rc;

    if (!on && strcmp(job->req.rel, "off") != 0) {
        return zb_err_set(err, ZB_E_USAGE, "on or off is wanted");
    }
    rc = turn_take(k, err);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = rescue_open(k, &job->req, &tree, err);
    if (rc == ZB_OK && (size_t)snprintf(path, sizeof(path), "%s/rescue/%s", k->conf->run_dir,
                                        job->req.text) >= sizeof(path) - ZB_REL_SIZE) {
        rc = zb_err_set(err, ZB_E_LIMIT, "path of %s is too long", job->req.text);
    }
    if (rc == ZB_OK && on) {
        *strrchr(path, '/') = '\0';
        rc = closed_dir_make(path, err);
        path[strlen(path)] = '/';
    }
    for (size_t i = 0; on && i < tree.count && rc == ZB_OK; i++) { /* parents first */
        rc = dataset_mount(&tree, i, path, err);
    }
    if (tree.count > 0 && (!on || rc != ZB_OK)) {
        enum zb_rc down = rescue_umount(&tree, path, on ? &undo : err);
        rc = on ? rc : down;
    }
    if (rc == ZB_OK) {
        job->rep.text = strdup(path);
    }
    zb_zfs_tree_close(&tree);
    turn_give(k);
    return rc;
}

/* ---- RESCUE_DROP ---- */

static bool
is_in_tree(const struct zb_zfs_tree *tree, const char *dataset)
{
    for (size_t i = 0; i < tree->count; i++) {
        if (strcmp(tree->datasets[i].name, dataset) == 0) {
            return true;
        }
    }
    return false;
}

/* They come from ZFS, which has no longer ones. */
static void
snap_name(const char *dataset, const char *name, char buf[ZB_DATASET_NAME_SIZE])
{
    size_t n = strlen(dataset);

    zb_strcopy(buf, ZB_DATASET_NAME_SIZE, dataset);
    zb_strcopy(buf + n, ZB_DATASET_NAME_SIZE - n, "@");
    zb_strcopy(buf + n + 1, ZB_DATASET_NAME_SIZE - n - 1, name);
}

/* A hold, or a clone outside the rescue. */
static enum zb_rc
snap_check(const struct zb_zfs_tree *tree, const char *snap, struct zb_err *err)
{
    struct zb_zfs_names names = {0};
    enum zb_rc rc = zb_zfs_holds_list(snap, &names, err);

    if (rc == ZB_OK && names.count > 0) {
        (void)zb_err_set(err, ZB_E_HELD, "%s is held: %s", snap, names.names[0]);
        rc = zb_err_hint(err, "zfs release %.100s %.130s", names.names[0], snap);
    }
    zb_zfs_names_close(&names);
    if (rc == ZB_OK) {
        rc = zb_zfs_clones_list(snap, &names, err);
    }
    for (size_t i = 0; i < names.count && rc == ZB_OK; i++) {
        if (!is_in_tree(tree, names.names[i])) {
            (void)zb_err_set(err, ZB_E_HELD, "%s has a clone: %s", snap, names.names[i]);
            rc = zb_err_hint(err, "zfs promote %.230s", names.names[i]);
        }
    }
    zb_zfs_names_close(&names);
    return rc;
}

static enum zb_rc
dataset_check(const struct zb_zfs_tree *tree, size_t i, struct zb_err *err)
{
    const char *service = zb_zfs_props_local(&tree->datasets[0], "zbaton:service");
    const char *own = zb_zfs_props_local(&tree->datasets[i], "zbaton:service");
    const char *dataset = tree->datasets[i].name;
    struct zb_zfs_snaps snaps = {0};
    char snap[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc;

    if (own == NULL || strcmp(own, service) != 0) { /* S9 */
        (void)zb_err_set(err, ZB_E_REFUSED, "%s in the rescue is not zbaton's", dataset);
        return zb_err_hint(err, "rename it to a place outside the rescue");
    }
    rc = zb_zfs_snaps_list(dataset, &snaps, err);
    for (size_t s = 0; s < snaps.count && rc == ZB_OK; s++) {
        snap_name(dataset, snaps.snaps[s].name, snap);
        rc = snap_check(tree, snap, err);
    }
    zb_zfs_snaps_close(&snaps);
    return rc;
}

/* All that is in the way is looked for before anything goes. */
static enum zb_rc
drop_check(const struct zb_zfs_tree *tree, struct zb_err *err)
{
    struct zb_os_mounts mounts = {0};
    enum zb_rc rc = zb_os_mounts_read(tree->datasets[0].name, &mounts, err);

    if (rc == ZB_OK && mounts.count > 0) {
        (void)zb_err_set(err, ZB_E_HELD, "%s is mounted at %.200s", mounts.entries[0].dataset,
                         mounts.entries[0].dir);
        rc = zb_err_hint(err, "umount -R %.240s", mounts.entries[0].dir);
    }
    zb_os_mounts_close(&mounts);
    for (size_t i = 0; i < tree->count && rc == ZB_OK; i++) {
        rc = dataset_check(tree, i, err);
    }
    return rc;
}

/* The snapshots of one dataset, then itself. ZB_E_HELD: of what the rescue has yet, something is
 * below it or its clone. */
static enum zb_rc
dataset_drop(const char *dataset, struct zb_err *err)
{
    struct zb_zfs_snaps snaps = {0};
    char names[DESTROY_BATCH][ZB_DATASET_NAME_SIZE];
    const char *batch[DESTROY_BATCH];
    enum zb_rc rc = zb_zfs_snaps_list(dataset, &snaps, err);

    for (size_t from = 0; from < snaps.count && rc == ZB_OK; from += DESTROY_BATCH) {
        size_t n = snaps.count - from < DESTROY_BATCH ? snaps.count - from : DESTROY_BATCH;

        for (size_t i = 0; i < n; i++) {
            snap_name(dataset, snaps.snaps[from + i].name, names[i]);
            batch[i] = names[i];
        }
        rc = zb_zfs_snaps_destroy(batch, n, NULL, err);
    }
    zb_zfs_snaps_close(&snaps);
    return rc == ZB_OK ? zb_zfs_destroy(dataset, err) : rc;
}

/* Children before parents, clones before what they are of. */
static enum zb_rc
rescue_drop(const struct zb_zfs_tree *tree, struct zb_err *err)
{
    bool *gone = calloc(tree->count + 1, sizeof(*gone));
    bool again = true;
    enum zb_rc rc =
        gone != NULL ? ZB_OK : zb_err_set(err, ZB_E_NOMEM, "no memory to drop a rescue");

    while (gone != NULL && again && (rc == ZB_OK || rc == ZB_E_HELD)) {
        again = false;
        rc = ZB_OK;
        for (size_t i = tree->count; i-- > 0 && (rc == ZB_OK || rc == ZB_E_HELD);) {
            enum zb_rc one = gone[i] ? ZB_OK : dataset_drop(tree->datasets[i].name, err);

            again = again || (one == ZB_OK && !gone[i]);
            gone[i] = one == ZB_OK;
            rc = one != ZB_OK ? one : rc;
        }
        again = again && rc == ZB_E_HELD;
    }
    free(gone);
    return rc;
}

enum zb_rc
zb_keeper_op_rescue_drop(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_zfs_tree tree = {0};
    enum zb_rc rc = turn_take(k, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = rescue_open(k, &job->req, &tree, err);
    if (rc == ZB_OK) {
        rc = drop_check(&tree, err);
    }
    if (rc == ZB_OK) {
        zb_log_warning("%s is dropped, as was asked for", tree.datasets[0].name);
        rc = rescue_drop(&tree, err);
    }
    zb_zfs_tree_close(&tree);
    turn_give(k);
    return rc;
}
