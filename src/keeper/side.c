/* Trees beside the services': what is below <root>/.rescue and <root>/.peek. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/volume.h"

#define TURN_MS 5000
#define TURN_STEP_MS 20
#define UMOUNT_MS 5000
#define DESTROY_BATCH 100

/* ---- one at a time ---- */

static bool
turn_try(struct zb_keeper *k)
{
    bool taken;

    (void)pthread_mutex_lock(&k->lock);
    taken = !k->side_busy;
    k->side_busy = true;
    (void)pthread_mutex_unlock(&k->lock);
    return taken;
}

enum zb_rc
zb_keeper_side_turn_take(struct zb_keeper *k, struct zb_err *err)
{
    const int64_t deadline_ms = zb_mono_now().ms + TURN_MS;

    while (!turn_try(k)) {
        if (zb_mono_now().ms >= deadline_ms) {
            return zb_err_set(err, ZB_E_BUSY, "another rescue or peek is being mounted or dropped");
        }
        (void)usleep(TURN_STEP_MS * 1000);
    }
    return ZB_OK;
}

void
zb_keeper_side_turn_give(struct zb_keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->side_busy = false;
    (void)pthread_mutex_unlock(&k->lock);
}

/* ---- names ---- */

enum zb_rc
zb_keeper_side_dataset(const struct zb_keeper *k, const struct zb_keeper_side *side,
                       const char *name, char *buf, struct zb_err *err)
{
    int n;

    if (name[0] == '\0' || strchr(name, '/') != NULL || !zb_rel_valid(name)) {
        return zb_err_set(err, ZB_E_USAGE, "not the name of a %s: %.160s", side->word, name);
    }
    n = snprintf(buf, ZB_DATASET_NAME_SIZE, "%s%s/%s", k->conf->root, side->container, name);
    return n < ZB_DATASET_NAME_SIZE
               ? ZB_OK
               : zb_err_set(err, ZB_E_LIMIT, "name of %s %.160s is too long", side->word, name);
}

enum zb_rc
zb_keeper_side_open(const struct zb_keeper *k, const struct zb_keeper_side *side,
                    const struct zb_kreq *req, struct zb_zfs_tree *tree, struct zb_err *err)
{
    char dataset[ZB_DATASET_NAME_SIZE];
    const char *service;
    enum zb_rc rc =
        zb_keeper_side_dataset(k, side, req->text != NULL ? req->text : "", dataset, err);

    if (rc == ZB_OK) {
        rc = zb_zfs_tree_observe(dataset, tree, err);
    }
    if (rc == ZB_E_NOTFOUND) {
        return zb_err_set(err, ZB_E_NOTFOUND, "there is no %s %s here", side->word, req->text);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    service = zb_zfs_props_local(&tree->datasets[0], "zbaton:service");
    if (zb_zfs_props_local(&tree->datasets[0], side->mark) == NULL || service == NULL) { /* S9 */
        rc = zb_err_set(err, ZB_E_REFUSED, "%s is not zbaton's", dataset);
    } else if (req->service[0] != '\0' && strcmp(service, req->service) != 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s is a %s of %.60s", dataset, side->word, service);
    }
    if (rc != ZB_OK) {
        zb_zfs_tree_close(tree);
    }
    return rc;
}

enum zb_rc
zb_keeper_side_container_make(const struct zb_keeper *k, const struct zb_keeper_side *side,
                              struct zb_err *err)
{
    const struct zb_zfs_setprop props[] = {
        {.name = "canmount", .number = ZB_ZFS_OFF},
        {.name = "mountpoint", .text = "none"},
        {.name = "com.sun:auto-snapshot", .text = "false"},
    };
    char name[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc;

    if (snprintf(name, sizeof(name), "%s%s", k->conf->root, side->container) >= (int)sizeof(name)) {
        return zb_err_set(err, ZB_E_LIMIT, "name of %.200s%s is too long", k->conf->root,
                          side->container);
    }
    rc = zb_zfs_create(name, props, sizeof(props) / sizeof(props[0]), err);
    return rc == ZB_E_EXISTS ? ZB_OK : rc;
}

/* ---- lists ---- */

void
zb_keeper_text_add(struct zb_keeper_text *t, const char *fmt, ...)
{
    size_t room = ZB_KEEPER_TEXT_MAX - t->used;
    va_list ap;
    int n;

    va_start(ap, fmt);
    n = vsnprintf(t->bytes + t->used, room, fmt, ap);
    va_end(ap);
    t->full = t->full || n < 0 || (size_t)n >= room;
    t->used += t->full ? 0 : (size_t)n;
    t->bytes[t->used] = '\0';
}

/* Adds the line of a dataset below the container, if it is one that is asked for. */
static enum zb_rc
line_add(const struct zb_keeper_side *side, const char *dataset, const char *name,
         struct zb_keeper_job *job, struct zb_keeper_text *t, struct zb_err *err)
{
    struct zb_zfs_tree tree = {0};
    struct zb_zfs_props props = {0};
    size_t before = t->used;
    const char *service = NULL;
    bool wanted = false;
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    if (rc == ZB_OK) {
        service = zb_zfs_props_local(&props, "zbaton:service");
        wanted = service != NULL && zb_zfs_props_local(&props, side->mark) != NULL &&
                 (job->req.service[0] == '\0' || strcmp(service, job->req.service) == 0);
    }
    if (wanted && job->rep.count++ >= job->req.count && !t->full) {
        rc = zb_zfs_tree_observe(dataset, &tree, err);
        if (rc == ZB_OK) {
            rc = side->describe(&tree, name, t, err);
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

/* Datasets of the container, itself first; none where there is no container. container of
 * ZB_DATASET_NAME_SIZE. */
static enum zb_rc
names_list(const struct zb_keeper *k, const struct zb_keeper_side *side, char *container,
           struct zb_zfs_names *names, struct zb_err *err)
{
    (void)snprintf(container, ZB_DATASET_NAME_SIZE, "%.240s%s", k->conf->root, side->container);
    enum zb_rc rc = zb_zfs_children_list(container, names, err);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc;
}

/* NULL: it is part of another one. */
static const char *
name_in(const char *container, const char *dataset)
{
    const char *name = dataset + strlen(container) + 1;

    return strchr(name, '/') == NULL ? name : NULL;
}

enum zb_rc
zb_keeper_side_count(const struct zb_keeper *k, const struct zb_keeper_side *side, size_t *count,
                     struct zb_err *err)
{
    char container[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_names names = {0};
    enum zb_rc rc = names_list(k, side, container, &names, err);
    size_t found = 0;

    for (size_t i = 1; i < names.count; i++) {
        found += name_in(container, names.names[i]) != NULL ? 1 : 0;
    }
    zb_zfs_names_close(&names);
    if (rc == ZB_OK) {
        *count = found;
    }
    return rc;
}

enum zb_rc
zb_keeper_side_list(const struct zb_keeper *k, const struct zb_keeper_side *side,
                    struct zb_keeper_job *job, struct zb_err *err)
{
    char container[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_names names = {0};
    struct zb_keeper_text t = {.bytes = calloc(1, ZB_KEEPER_TEXT_MAX)};
    enum zb_rc rc;

    if (t.bytes == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for a list");
    }
    rc = names_list(k, side, container, &names, err);
    for (size_t i = 1; i < names.count && rc == ZB_OK; i++) {
        const char *name = name_in(container, names.names[i]);

        if (name != NULL) {
            rc = line_add(side, names.names[i], name, job, &t, err);
        }
    }
    zb_zfs_names_close(&names);
    job->rep.text = t.bytes;
    return rc;
}

/* ---- mounts ---- */

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

    if (tree->datasets[i].type == ZB_ZFS_VOLUME) {
        return zb_keeper_volume_show(NULL, tree->datasets[i].name, false, err);
    }
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

enum zb_rc
zb_keeper_side_umount(const struct zb_zfs_tree *tree, const char *path, struct zb_err *err)
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
zb_keeper_side_path(const struct zb_keeper *k, const struct zb_keeper_side *side, const char *name,
                    char *path, struct zb_err *err)
{
    if ((size_t)snprintf(path, ZB_PATH_SIZE, "%s/%s/%s", k->conf->run_dir, side->word, name) >=
        ZB_PATH_SIZE - ZB_REL_SIZE) {
        return zb_err_set(err, ZB_E_LIMIT, "path of %s is too long", name);
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_side_mount(const struct zb_zfs_tree *tree, const char *path, struct zb_err *err)
{
    char parent[ZB_PATH_SIZE];
    struct zb_err undo;
    enum zb_rc rc;

    zb_strcopy(parent, sizeof(parent), path);
    *strrchr(parent, '/') = '\0';
    rc = closed_dir_make(parent, err);
    for (size_t i = 0; i < tree->count && rc == ZB_OK; i++) { /* parents first */
        rc = dataset_mount(tree, i, path, err);
    }
    if (rc != ZB_OK && zb_keeper_side_umount(tree, path, &undo) != ZB_OK) {
        zb_log_warning("%s", undo.msg);
    }
    return rc;
}

/* ---- the end ---- */

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

/* A hold, or a clone outside the tree. */
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
dataset_check(const struct zb_keeper_side *side, const struct zb_zfs_tree *tree, size_t i,
              struct zb_err *err)
{
    const char *service = zb_zfs_props_local(&tree->datasets[0], "zbaton:service");
    const char *own = zb_zfs_props_local(&tree->datasets[i], "zbaton:service");
    const char *dataset = tree->datasets[i].name;
    struct zb_zfs_snaps snaps = {0};
    char snap[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc;

    if (own == NULL || strcmp(own, service) != 0 ||
        (side->own_only && zb_zfs_props_local(&tree->datasets[i], side->mark) == NULL)) { /* S9 */
        (void)zb_err_set(err, ZB_E_REFUSED, "%s in the %s is not zbaton's", dataset, side->word);
        return zb_err_hint(err, "rename it to a place outside the %s", side->word);
    }
    rc = zb_zfs_snaps_list(dataset, &snaps, err);
    if (rc == ZB_OK && side->own_only && snaps.count > 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s in the %s has snapshots, which are not zbaton's",
                         dataset, side->word);
        rc = zb_err_hint(err, "zfs destroy %.200s@%%", dataset);
    }
    for (size_t s = 0; s < snaps.count && rc == ZB_OK; s++) {
        snap_name(dataset, snaps.snaps[s].name, snap);
        rc = snap_check(tree, snap, err);
    }
    zb_zfs_snaps_close(&snaps);
    return rc;
}

enum zb_rc
zb_keeper_side_check(const struct zb_keeper_side *side, const struct zb_zfs_tree *tree,
                     struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (size_t i = 0; i < tree->count && rc == ZB_OK; i++) {
        rc = dataset_check(side, tree, i, err);
    }
    return rc;
}

static enum zb_rc
unmounted_check(const struct zb_zfs_tree *tree, struct zb_err *err)
{
    struct zb_os_mounts mounts = {0};
    enum zb_rc rc = zb_os_mounts_read(tree->datasets[0].name, &mounts, err);

    if (rc == ZB_OK && mounts.count > 0) {
        rc = zb_keeper_mounted_say(&mounts.entries[0], err);
    }
    zb_os_mounts_close(&mounts);
    return rc;
}

/* The snapshots of one dataset, then itself. ZB_E_HELD: of what the tree has yet, something is
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
tree_drop(const struct zb_zfs_tree *tree, struct zb_err *err)
{
    bool *gone = calloc(tree->count + 1, sizeof(*gone));
    bool again = true;
    enum zb_rc rc = gone != NULL ? ZB_OK : zb_err_set(err, ZB_E_NOMEM, "no memory to drop a tree");

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
zb_keeper_side_drop(const struct zb_keeper_side *side, const struct zb_zfs_tree *tree,
                    struct zb_err *err)
{
    enum zb_rc rc = unmounted_check(tree, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_side_check(side, tree, err);
    }
    if (rc == ZB_OK) {
        zb_log_info("%s is dropped", tree->datasets[0].name);
        rc = tree_drop(tree, err);
    }
    return rc;
}
