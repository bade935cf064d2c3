#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/volume.h"
#include "os/holder.h"

#define HELPERS_MAX 8
#define UMOUNT_STEP_MS 50

/* ---- some at once ---- */

struct parallel {
    pthread_mutex_t lock;
    size_t next, count;
    void (*fn)(void *ctx, size_t i);
    void *ctx;
};

static void *
parallel_run(void *arg)
{
    struct parallel *p = arg;

    for (;;) {
        size_t i;
        (void)pthread_mutex_lock(&p->lock);
        i = p->next++;
        (void)pthread_mutex_unlock(&p->lock);
        if (i >= p->count) {
            return NULL;
        }
        p->fn(p->ctx, i);
    }
}

void
zb_keeper_parallel(size_t count, void (*fn)(void *ctx, size_t i), void *ctx)
{
    struct parallel p = {.lock = PTHREAD_MUTEX_INITIALIZER, .count = count, .fn = fn, .ctx = ctx};
    pthread_t helpers[HELPERS_MAX];
    size_t started = 0;

    /* This thread works too: without helpers it takes longer, and succeeds. */
    while (started + 1 < count && started < HELPERS_MAX &&
           pthread_create(&helpers[started], NULL, parallel_run, &p) == 0) {
        started++;
    }
    (void)parallel_run(&p);
    for (size_t i = 0; i < started; i++) {
        (void)pthread_join(helpers[i], NULL);
    }
}

/* ---- mount ---- */

static enum zb_rc
dir_of(const struct zb_conf_service *conf, const char *rel, char *dir, struct zb_err *err)
{
    int n = snprintf(dir, ZB_PATH_SIZE, "%s%s%s", conf->mountpoint, rel[0] != '\0' ? "/" : "", rel);
    return n < ZB_PATH_SIZE ? ZB_OK : zb_err_set(err, ZB_E_LIMIT, "path of %s is too long", rel);
}

struct probe {
    const struct zb_keeper_view *view;
    const struct zb_conf_service *conf;
    enum zb_rc *rcs;
    struct zb_err *errs;
};

static void
probe_one(void *ctx, size_t i)
{
    struct probe *p = ctx;
    char dir[ZB_PATH_SIZE];

    p->rcs[i] = dir_of(p->conf, p->view->datasets[i].rel, dir, &p->errs[i]);
    if (p->rcs[i] == ZB_OK && p->view->datasets[i].marked &&
        p->view->props[i]->type == ZB_ZFS_FILESYSTEM) {
        p->rcs[i] = zb_os_write_probe(p->view->props[i]->name, dir, &p->errs[i]);
    }
}

static enum zb_rc
probe_all(const struct zb_keeper_view *view, const struct zb_conf_service *conf, struct zb_err *err)
{
    struct probe p = {.view = view, .conf = conf};
    enum zb_rc rc = ZB_OK;

    p.rcs = calloc(view->count + 1, sizeof(*p.rcs));
    p.errs = calloc(view->count + 1, sizeof(*p.errs));
    if (p.rcs == NULL || p.errs == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "no memory to probe the tree");
        goto out;
    }
    zb_keeper_parallel(view->count, probe_one, &p);
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        if (p.rcs[i] != ZB_OK) {
            *err = p.errs[i];
            rc = err->rc;
        }
    }
out:
    free(p.rcs);
    free(p.errs);
    return rc;
}

static enum zb_rc
file_system_mount(const struct zb_conf_service *conf, const char *rel, const char *dataset,
                  struct zb_err *err)
{
    char dir[ZB_PATH_SIZE];
    bool readonly = true;
    enum zb_rc rc = dir_of(conf, rel, dir, err);

    if (rc == ZB_OK) {
        rc = zb_os_mount(dataset, dir, ZB_OS_MOUNT_RW, err);
    }
    if (rc == ZB_OK || rc == ZB_E_EXISTS) { /* mounted before: a seal that did not come to an end */
        rc = zb_os_mount_check(dataset, dir, &readonly, err);
    }
    return rc == ZB_OK && readonly ? zb_err_set(err, ZB_E_MISMATCH, "%s is mounted read-only", dir)
                                   : rc;
}

enum zb_rc
zb_keeper_tree_mount(struct zb_keeper *k, const struct zb_keeper_view *view,
                     const struct zb_conf_service *conf, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) { /* sorted: parents first */
        const struct zb_zfs_props *p = view->props[i];
        const char *rel = view->datasets[i].rel;

        if (view->datasets[i].marked) { /* a newcomer waits for the next set */
            rc = p->type == ZB_ZFS_VOLUME ? zb_keeper_volume_lead(k, conf, rel, p->name, err)
                                          : file_system_mount(conf, rel, p->name, err);
        }
    }
    if (rc == ZB_OK) {
        rc = probe_all(view, conf, err);
    }
    if (rc != ZB_OK) {
        struct zb_err undo;
        struct zb_mono deadline = {zb_mono_now().ms + ZB_KEEPER_UMOUNT_MS};
        if (zb_keeper_tree_umount(view->dataset, deadline, &undo) != ZB_OK) {
            zb_log_error("%s is left mounted after a failed promotion: %s", view->dataset,
                         undo.msg);
        }
    }
    return rc;
}

/* ---- holders ---- */

/* Processes before mounts, which are there because of them: a sentence has room for few. */
static int
holders_compare(const void *a, const void *b)
{
    const struct zb_os_holder *x = a;
    const struct zb_os_holder *y = b;

    return (x->pid == 0) - (y->pid == 0);
}

/* Adds who holds the datasets to the error; finding nobody says so too. */
static enum zb_rc
holders_name(const struct zb_os_holder_target *targets, size_t count, struct zb_err *err)
{
    struct zb_os_holders *found = calloc(1, sizeof(*found));
    struct zb_err ignored;
    char text[400] = "";

    if (found != NULL && zb_os_holders_find(targets, count, found, &ignored) == ZB_OK) {
        qsort(found->list, found->count, sizeof(found->list[0]), holders_compare);
        zb_os_holders_format(found, text, sizeof(text));
    }
    free(found);
    return zb_err_set(err, ZB_E_HELD, "%s is held: %s", targets[0].dataset,
                      text[0] != '\0' ? text
                                      : "by nobody that could be found (an NFS export, or "
                                        "a mount namespace without processes)");
}

enum zb_rc
zb_keeper_mounted_say(const struct zb_os_mount_entry *e, struct zb_err *err)
{
    (void)zb_err_set(err, ZB_E_HELD, "%s %s %.200s", e->dataset,
                     e->volume ? "has the device" : "is mounted at", e->dir);
    return e->volume ? zb_err_hint(err, "close what has it open, then: zfs set volmode=none %.180s",
                                   e->dataset)
                     : zb_err_hint(err, "umount -R %.240s", e->dir);
}

/* ---- unmount ---- */

struct level {
    const struct zb_os_mounts *mounts;
    size_t *members; /* indexes of entries that nothing else is mounted on */
    enum zb_rc *rcs;
};

static void
umount_one(void *ctx, size_t i)
{
    struct level *l = ctx;
    const struct zb_os_mount_entry *e = &l->mounts->entries[l->members[i]];
    struct zb_err err;

    l->rcs[i] = e->volume ? zb_keeper_volume_hide(e->dataset, &err)
                          : zb_os_umount(e->dataset, e->dir, &err);
    if (l->rcs[i] != ZB_OK && l->rcs[i] != ZB_E_HELD) {
        zb_log_info("unmount %s: %s", e->dir, err.msg);
    }
}

static bool
is_innermost(const struct zb_os_mounts *mounts, size_t i)
{
    if (mounts->entries[i].volume) { /* it has no id */
        return true;
    }
    for (size_t j = 0; j < mounts->count; j++) {
        if (j != i && mounts->entries[j].parent_id == mounts->entries[i].id) {
            return false;
        }
    }
    return true;
}

/* Unmounts what nothing of the tree is mounted on, all at once. *any: at least one went. */
static enum zb_rc
level_umount(const struct zb_os_mounts *mounts, bool *any, struct zb_err *err)
{
    struct level l = {.mounts = mounts};
    size_t count = 0;
    enum zb_rc rc = ZB_OK;

    *any = false;
    l.members = calloc(mounts->count, sizeof(*l.members));
    l.rcs = calloc(mounts->count, sizeof(*l.rcs));
    if (l.members == NULL || l.rcs == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "no memory to unmount");
        goto out;
    }
    for (size_t i = 0; i < mounts->count; i++) {
        if (is_innermost(mounts, i)) {
            l.members[count++] = i;
        }
    }
    zb_keeper_parallel(count, umount_one, &l);
    for (size_t i = 0; i < count; i++) {
        *any = *any || l.rcs[i] == ZB_OK;
    }
out:
    free(l.members);
    free(l.rcs);
    return rc;
}

static enum zb_rc
mounts_held(const struct zb_os_mounts *mounts, struct zb_err *err)
{
    struct zb_os_holder_target *targets = calloc(mounts->count, sizeof(*targets));
    enum zb_rc rc;

    if (targets == NULL) {
        return zb_err_set(err, ZB_E_HELD, "%s is held", mounts->entries[0].dir);
    }
    for (size_t i = 0; i < mounts->count; i++) {
        targets[i].dataset = mounts->entries[i].dataset;
        targets[i].dev = mounts->entries[i].dev;
    }
    rc = holders_name(targets, mounts->count, err);
    free(targets);
    return rc;
}

enum zb_rc
zb_keeper_tree_umount(const char *dataset, struct zb_mono deadline, struct zb_err *err)
{
    for (;;) {
        struct zb_os_mounts mounts = {0};
        bool any = false;
        enum zb_rc rc = zb_os_mounts_read(dataset, &mounts, err);

        if (rc == ZB_OK && mounts.count > 0) {
            rc = level_umount(&mounts, &any, err);
        }
        if (rc != ZB_OK || mounts.count == 0) {
            zb_os_mounts_close(&mounts);
            return rc;
        }
        if (!any && zb_mono_now().ms >= deadline.ms) {
            rc = mounts_held(&mounts, err);
            zb_os_mounts_close(&mounts);
            return rc;
        }
        zb_os_mounts_close(&mounts);
        if (!any) {
            (void)usleep(UMOUNT_STEP_MS * 1000);
        }
    }
}

enum zb_rc
zb_keeper_tree_sync(const char *dataset, struct zb_err *err)
{
    struct zb_os_mounts mounts = {0};
    enum zb_rc rc = zb_os_mounts_read(dataset, &mounts, err);

    for (size_t i = 0; rc == ZB_OK && i < mounts.count; i++) {
        const struct zb_os_mount_entry *e = &mounts.entries[i];
        /* A device is written out by who closes it last. */
        if (!e->readonly && !e->subtree && !e->volume) {
            rc = zb_os_syncfs(e->dataset, e->dir, err);
        }
    }
    zb_os_mounts_close(&mounts);
    return rc;
}

/* ---- proof ---- */

enum zb_rc
zb_keeper_tree_free_prove(const struct zb_keeper_view *view, struct zb_err *err)
{
    const char **names = calloc(view->count + 1, sizeof(*names));
    struct zb_zfs_held *held = calloc(view->count + 1, sizeof(*held));
    enum zb_rc rc = ZB_OK;

    if (names == NULL || held == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "no memory to prove that nothing holds the tree");
        goto out;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        names[i] = view->props[i]->name;
    }
    if (view->count > 0) {
        rc = zb_zfs_held(names, view->count, held, err);
    }
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        const struct zb_os_mount_entry *e = zb_os_mounts_find(&view->mounts, names[i]);
        struct zb_os_holder_target target = {.dataset = names[i], .dev = e != NULL ? e->dev : 0};
        if (held[i].state == ZB_ZFS_HELD) {
            rc = holders_name(&target, 1, err);
        }
    }
    /* Only when none is held for sure: what cannot be proven is let pass by some. */
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        if (held[i].state == ZB_ZFS_UNPROVEN) {
            rc = zb_err_set(err, ZB_E_MISMATCH,
                            "that nothing holds %s cannot be proven: a "
                            "bookmark is newer than its newest snapshot",
                            names[i]);
        }
    }
out:
    free(names);
    free(held);
    return rc;
}
