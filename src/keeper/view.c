#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/volume.h"

#define UNFIT_SNAP "unusual-name"

enum zb_rc
zb_keeper_dataset_name(const struct zb_keeper *k, const char *service, const char *rel, char *buf,
                       struct zb_err *err)
{
    int n;

    if (!zb_service_name_valid(service) || !zb_rel_valid(rel)) {
        return zb_err_set(err, ZB_E_USAGE, "not the name of a dataset: %.60s/%.160s", service, rel);
    }
    n = snprintf(buf, ZB_DATASET_NAME_SIZE, "%s/%s%s%s", k->conf->root, service,
                 rel[0] != '\0' ? "/" : "", rel);
    if (n >= ZB_DATASET_NAME_SIZE || !zb_dataset_name_valid(buf)) {
        return zb_err_set(err, ZB_E_LIMIT, "name of dataset %.60s/%.160s is too long", service,
                          rel);
    }
    return ZB_OK;
}

static enum zb_rc
pool_check(const char *root, struct zb_err *err)
{
    enum zb_zfs_pool_state state = zb_zfs_pool_state(root);

    if (state == ZB_ZFS_POOL_ABSENT) {
        return zb_err_set(err, ZB_E_NOTFOUND, "the pool of %s is not imported", root);
    }
    if (state != ZB_ZFS_POOL_ONLINE && state != ZB_ZFS_POOL_DEGRADED) {
        return zb_err_set(err, ZB_E_SUSPENDED, "the pool of %s is %s", root,
                          zb_zfs_pool_state_word(state));
    }
    return ZB_OK;
}

bool
zb_keeper_is_marked(const struct zb_zfs_props *props, const char *service, const char *node,
                    uint64_t pool_guid)
{
    char text[24];
    const char *s = zb_zfs_props_local(props, "zbaton:service");
    const char *n = zb_zfs_props_local(props, "zbaton:node");
    const char *p = zb_zfs_props_local(props, "zbaton:pool");

    (void)snprintf(text, sizeof(text), "%llu", (unsigned long long)pool_guid);
    return s != NULL && n != NULL && p != NULL && strcmp(s, service) == 0 && strcmp(n, node) == 0 &&
           strcmp(p, text) == 0;
}

/* A volume that is not zbaton's, and read-only as all below the tree, has a device and disturbs
 * nothing. */
static uint32_t
mount_state(const struct zb_os_mounts *mounts, const struct zb_zfs_props *p, bool marked)
{
    uint32_t state = ZB_MOUNT_NONE;

    for (size_t i = 0; i < mounts->count; i++) {
        const struct zb_os_mount_entry *e = &mounts->entries[i];
        if (strcmp(e->dataset, p->name) == 0 && (marked || !e->volume || !p->readonly_on)) {
            if (e->volume ? !p->readonly_on : !e->readonly) {
                return ZB_MOUNT_RW;
            }
            state = ZB_MOUNT_RO;
        }
    }
    return state;
}

static const char *
rel_of(const struct zb_keeper_view *view, const struct zb_zfs_props *p)
{
    const char *rel = p->name + strlen(view->dataset);

    return rel + (*rel == '/' ? 1 : 0);
}

static void
dataset_fill(const struct zb_keeper *k, const char *service, const struct zb_keeper_view *view,
             const struct zb_zfs_props *p, struct zb_kdataset *d)
{
    const char *rel = rel_of(view, p);
    const char *uuid = zb_zfs_props_local(p, "zbaton:uuid");

    zb_strcopy(d->rel, sizeof(d->rel), rel);
    if (uuid != NULL && zb_uuid_valid(uuid)) {
        zb_strcopy(d->uuid, sizeof(d->uuid), uuid);
    }
    d->guid = p->guid;
    d->marked = zb_keeper_is_marked(p, service, k->conf->node, view->pool_guid);
    d->mount = mount_state(&view->mounts, p, d->marked);
    d->readonly_on = p->readonly_on;
    d->written_bytes = p->written_bytes;
    d->used_bytes = p->used_bytes;
    /* Another tool's name that no message can carry; the guid says which it is. */
    zb_strcopy(d->newest, sizeof(d->newest),
               p->newest[0] == '\0' || zb_snap_name_valid(p->newest) ? p->newest : UNFIT_SNAP);
    d->newest_guid = p->newest_guid;
    if (strlen(p->token) < sizeof(d->token)) { /* a longer one is not resumed, but thrown away */
        zb_strcopy(d->token, sizeof(d->token), p->token);
    }
}

bool
zb_keeper_is_orphan(const struct zb_keeper_view *view, const struct zb_zfs_props *p)
{
    struct zb_zfs_value mark;
    size_t n = strlen(view->dataset);

    if (rel_of(view, p)[0] == '\0' || !zb_zfs_props_find(p, ZB_KEEPER_ORPHAN, &mark)) {
        return false;
    }
    return mark.source == ZB_ZFS_SOURCE_LOCAL ||
           (mark.source == ZB_ZFS_SOURCE_INHERITED &&
            strncmp(mark.source_name, view->dataset, n) == 0 && mark.source_name[n] == '/');
}

static enum zb_rc
datasets_fill(const struct zb_keeper *k, const char *service, struct zb_keeper_view *view,
              struct zb_err *err)
{
    size_t count = view->tree.count;

    view->datasets = calloc(count + 1, sizeof(*view->datasets));
    view->props = calloc(count + 1, sizeof(void *));
    if (view->datasets == NULL || view->props == NULL) {
        return zb_err_sys(err, ENOMEM, "observe %s", view->dataset);
    }
    for (size_t i = 0; i < count; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];
        const char *rel = rel_of(view, p);

        if (zb_keeper_is_orphan(view, p)) {
            continue;
        }
        if (rel[0] == '\0' && p->type == ZB_ZFS_VOLUME) {
            zb_strcopy(view->volume, sizeof(view->volume), p->name);
            continue;
        }
        if (strlen(rel) >= ZB_REL_SIZE || !zb_rel_valid(rel)) {
            zb_strcopy(view->unfit, sizeof(view->unfit), p->name);
            continue;
        }
        dataset_fill(k, service, view, p, &view->datasets[view->count]);
        view->led = view->led || zb_zfs_props_local(p, "zbaton:led") != NULL;
        view->props[view->count++] = p;
    }
    return ZB_OK;
}

/* Something of the tree was not found: the tree itself, or what vanished between two looks. */
static enum zb_rc
vanished(struct zb_keeper_view *view, struct zb_err *err)
{
    struct zb_zfs_props root = {0};
    enum zb_rc rc = zb_zfs_props_get(view->dataset, &root, err);

    zb_zfs_props_close(&root);
    if (rc == ZB_E_NOTFOUND) {
        return ZB_OK;
    }
    return rc == ZB_OK
               ? zb_err_set(err, ZB_E_BUSY, "%s changed while it was looked at", view->dataset)
               : rc;
}

enum zb_rc
zb_keeper_view_open(const struct zb_keeper *k, const char *service, struct zb_keeper_view *view,
                    struct zb_err *err)
{
    enum zb_rc rc;

    *view = (struct zb_keeper_view){0};
    rc = zb_keeper_dataset_name(k, service, "", view->dataset, err);
    if (rc == ZB_OK) {
        rc = pool_check(k->conf->root, err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_pool_guid(k->conf->root, &view->pool_guid, err);
    }
    if (rc == ZB_OK) {
        rc = zb_os_mounts_read(view->dataset, &view->mounts, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    rc = zb_zfs_tree_observe(view->dataset, &view->tree, err);
    if (rc == ZB_E_NOTFOUND) {
        rc = vanished(view, err);
    } else if (rc == ZB_OK) {
        rc = datasets_fill(k, service, view, err);
    }
out:
    if (rc != ZB_OK) {
        zb_keeper_view_close(view);
    }
    return rc;
}

void
zb_keeper_view_slim(struct zb_keeper_view *view)
{
    zb_zfs_tree_close(&view->tree);
    zb_os_mounts_close(&view->mounts);
    free(view->props);
    view->props = NULL;
}

void
zb_keeper_view_close(struct zb_keeper_view *view)
{
    zb_keeper_view_slim(view);
    free(view->datasets);
    *view = (struct zb_keeper_view){0};
}

const struct zb_kdataset *
zb_keeper_view_find(const struct zb_keeper_view *view, const char *rel)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (strcmp(view->datasets[i].rel, rel) == 0) {
            return &view->datasets[i];
        }
    }
    return NULL;
}

enum zb_rc
zb_keeper_view_whole(const struct zb_keeper_view *view, enum zb_conf_flavour flavour,
                     struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    if (view->volume[0] != '\0') {
        (void)zb_err_set(err, ZB_E_UNSUPPORTED,
                         "%s is a volume: a service's own dataset is a file system, which may have "
                         "volumes below it",
                         view->volume);
        return zb_err_hint(err, "zfs rename it, create a file system of that name, and zfs rename "
                                "it to a place below that");
    }
    if (view->unfit[0] != '\0') {
        return zb_err_set(err, ZB_E_LIMIT,
                          "name of dataset %s is too long, or has unusual characters: no set "
                          "holds it",
                          view->unfit);
    }
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        /* What was taken in under the plain flavour, when it was not looked at, goes on. */
        if (flavour == ZB_CONF_FLAVOUR_RAW || !view->datasets[i].marked ||
            zb_zfs_props_local(view->props[i], ZB_KEEPER_FLAVOUR) != NULL) {
            rc = zb_keeper_flavour_check(flavour, view->dataset, view->props[i], err);
        }
    }
    return rc;
}

bool
zb_keeper_is_own(const struct zb_keeper_view *view, const struct zb_kdataset *d)
{
    const struct zb_kdataset *root = zb_keeper_view_find(view, "");

    return d->marked || (root != NULL && root->marked && d->uuid[0] == '\0' &&
                         view->props[d - view->datasets]->inconsistent);
}

bool
zb_keeper_view_is_managed(const struct zb_keeper_view *view, const char *service)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const char *mark = zb_zfs_props_local(view->props[i], "zbaton:service");
        if (mark != NULL && strcmp(mark, service) == 0) {
            return true;
        }
    }
    return false;
}

enum zb_rc
zb_keeper_facts(struct zb_keeper *k, const struct zb_keeper_job *job,
                const struct zb_keeper_view *view, bool runs, struct zb_keeper_facts *facts,
                struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    const struct zb_conf_service *conf = s->defined ? &job->conf : NULL;
    struct zb_keeper_facts f = {.self = k->conf->node, .sealed = &s->sealed};
    enum zb_rc rc = ZB_OK;

    if (view != NULL) {
        f.datasets_count = view->count;
        f.datasets = view->datasets;
    }
    (void)pthread_mutex_lock(&k->lock);
    f.stage = s->stage;
    f.copier = s->copier_term == job->req.term && strcmp(s->copier, job->req.node) == 0;
    (void)pthread_mutex_unlock(&k->lock);
    if (runs) {
        rc = zb_keeper_service_alive(k, s->name, conf, &f.running, err);
    }
    if (rc == ZB_OK) {
        *facts = f;
    }
    return rc;
}

/* Unmounted, and looks written to. */
static bool
looks_written(const struct zb_keeper_view *view, uint32_t i, const char *rel)
{
    const struct zb_kdataset *d = &view->datasets[i];

    return d->written_bytes != 0 && d->newest[0] != '\0' && d->mount == ZB_MOUNT_NONE &&
           !view->props[i]->inconsistent && (rel == NULL || strcmp(d->rel, rel) == 0);
}

static void
written_prove(struct zb_keeper_view *view, uint32_t i, bool replay)
{
    const struct zb_zfs_props *p = view->props[i];
    bool modified = true;
    struct zb_err err;
    enum zb_rc rc = ZB_OK;

    if (replay) { /* what the log alone has is not compared */
        rc = zb_keeper_replay(p, &err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_modified(p->name, &modified, &err);
    }
    if (rc != ZB_OK) {
        zb_log_info("%s: taken as written to: %s", p->name, err.msg);
        view->doubtful = true;
    } else if (!modified) {
        view->datasets[i].written_bytes = 0;
    }
}

void
zb_keeper_written_prove(struct zb_keeper *k, struct zb_keeper_view *view, const char *rel,
                        bool replay)
{
    const char *service = view->dataset + strlen(k->conf->root) + 1;
    bool any = false;
    struct zb_err err;

    for (uint32_t i = 0; i < view->count; i++) {
        any = any || looks_written(view, i, rel);
    }
    if (!any) {
        return;
    }
    bool keys = replay && zb_keeper_keys_begin(k, service, view, -1, &err) == ZB_OK;
    if (replay && !keys) { /* then none is replayed, and all stay as they look */
        zb_log_warning("%s: %s", service, err.msg);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        if (looks_written(view, i, rel)) {
            written_prove(view, i, replay);
        }
    }
    if (keys) {
        zb_keeper_keys_end(k, service);
        zb_keeper_keys_unload(k, service, view);
    }
}
