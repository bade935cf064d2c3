#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/volume.h"

#define NEWCOMER_LOOKS_MAX 16
#define TAKES_MAX 4 /* of a set, when datasets go and come meanwhile */

/* ---- SNAPSHOT ---- */

/* The highest seq of the term among the snapshots of the tree; looked for once per term and
 * keeper's life. */
static enum zb_rc
last_seq_find(struct zb_keeper_service *s, const struct zb_keeper_view *view, uint64_t term,
              struct zb_err *err)
{
    bool any = false;
    uint64_t last = 0;

    if (s->last_term == term) {
        return ZB_OK;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        struct zb_zfs_snaps list = {0};
        enum zb_rc rc = zb_zfs_snaps_names(view->props[i]->name, &list, err);

        if (rc != ZB_OK) {
            return rc;
        }
        for (size_t j = 0; j < list.count; j++) {
            struct zb_set_id id;
            if (zb_set_name_parse(list.snaps[j].name, &id, NULL) && id.term == term) {
                last = !any || id.seq > last ? id.seq : last;
                any = true;
            }
        }
        zb_zfs_snaps_close(&list);
    }
    s->last_term = term;
    s->last_seq = last;
    s->last_any = any;
    return ZB_OK;
}

/* Whether another tool's snapshot lies between the base set and snap ("ds@set"); newest is what was
 * the newest of the dataset just before it. Asked when snap is there: what another tool makes until
 * then lies below it, and what it makes later is found by the next set. */
static enum zb_rc
foreign_find(const char *snap, const char *newest, struct zb_set_id base, bool *foreign,
             struct zb_err *err)
{
    size_t length = strcspn(snap, "@");
    char dataset[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_snaps list = {0};
    struct zb_set_id id;
    size_t end = 0;
    enum zb_rc rc;

    if (newest[0] == '\0' ||
        (zb_set_name_parse(newest, &id, NULL) && zb_set_id_cmp(id, base) == 0)) {
        return ZB_OK; /* the usual case, without a list */
    }
    (void)snprintf(dataset, sizeof(dataset), "%.*s", (int)length, snap);
    rc = zb_zfs_snaps_list(dataset, &list, err);
    while (end < list.count && strcmp(list.snaps[end].name, snap + length + 1) != 0) {
        end++;
    }
    for (size_t i = end; rc == ZB_OK && i-- > 0;) {
        if (!zb_set_name_parse(list.snaps[i].name, &id, NULL)) {
            *foreign = true;
            break;
        }
        if (!zb_set_id_is_none(base) && zb_set_id_cmp(id, base) <= 0) {
            break;
        }
    }
    zb_zfs_snaps_close(&list);
    return rc;
}

/* ---- children that came in ---- */

/* A dataset that somebody made below the leading tree becomes one of the tree: marks and a uuid.
 * It is mounted then as zfs create did it, read-only as it inherits that; newcomer_mount. *any:
 * there was one. */
static enum zb_rc
newcomers_mark(struct zb_keeper *k, const struct zb_keeper_job *job,
               const struct zb_keeper_view *view, bool *any, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    *any = false;
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        char uuid[ZB_UUID_SIZE];
        struct zb_keeper_mark mark = {.service = job->req.service,
                                      .node = k->conf->node,
                                      .uuid = uuid,
                                      .cluster = "",
                                      .pool_guid = view->pool_guid,
                                      .raw = job->conf.flavour == ZB_CONF_FLAVOUR_RAW};

        if (!view->datasets[i].marked || view->datasets[i].uuid[0] == '\0') {
            zb_uuid_new(uuid);
            rc = zb_keeper_adopt(view->props[i], &mark, false, err);
            *any = true;
            if (rc == ZB_OK) {
                zb_log_info("new dataset %s belongs to %s now", view->props[i]->name,
                            job->req.service);
            }
        }
    }
    return rc;
}

/* Until a look shows none: more may come between two looks, and a set has no place for what has no
 * uuid. */
static enum zb_rc
newcomers_adopt(struct zb_keeper *k, const struct zb_keeper_job *job, struct zb_keeper_view *view,
                struct zb_err *err)
{
    for (int looks = 0; looks < NEWCOMER_LOOKS_MAX; looks++) {
        bool any;
        enum zb_rc rc = newcomers_mark(k, job, view, &any, err);

        if (rc != ZB_OK || !any) {
            return rc;
        }
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, job->req.service, view, err);
        if (rc == ZB_OK) {
            rc = zb_keeper_view_whole(view, job->conf.flavour, err);
        }
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return zb_err_set(err, ZB_E_BUSY, "new datasets come to %s again and again", view->dataset);
}

/* The dataset above, if it is mounted where it belongs: else the child's directory would be made
 * in another file system. */
static enum zb_rc
parent_check(const struct zb_keeper_job *job, const struct zb_keeper_view *view, uint32_t i,
             struct zb_err *err)
{
    char dataset[ZB_DATASET_NAME_SIZE];
    char dir[ZB_PATH_SIZE + ZB_REL_SIZE];
    bool readonly = true;
    enum zb_rc rc;

    (void)snprintf(dir, sizeof(dir), "%s/%s", job->conf.mountpoint, view->datasets[i].rel);
    *strrchr(dir, '/') = '\0';
    zb_strcopy(dataset, sizeof(dataset), view->props[i]->name);
    *strrchr(dataset, '/') = '\0';
    rc = zb_os_mount_check(dataset, dir, &readonly, err);
    if (rc == ZB_OK && readonly) {
        rc = zb_err_set(err, ZB_E_BUSY, "%s above it is not mounted read-write", dataset);
    }
    return rc;
}

/* Its place is free, and it is mounted nowhere: what is mapped elsewhere goes to the disk with that
 * mount, which has to be writable for it. */
static enum zb_rc
newcomer_fetch(const struct zb_keeper_job *job, const struct zb_keeper_view *view, uint32_t i,
               const char *dir, struct zb_err *err)
{
    const char *name = view->props[i]->name;
    struct zb_mono deadline = {zb_mono_now().ms + ZB_KEEPER_UMOUNT_MS};
    enum zb_rc rc = parent_check(job, view, i, err);

    if (rc == ZB_OK) {
        rc = zb_os_mount_dir_free(dir, err);
    }
    return rc == ZB_OK && zb_os_mounts_find(&view->mounts, name) != NULL
               ? zb_keeper_tree_umount(name, deadline, err)
               : rc;
}

/* S0: nothing else mounts it read-write. e: its mount, NULL where there is none. */
static enum zb_rc
newcomer_rest(const struct zb_zfs_props *p, const struct zb_os_mount_entry *e, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    if (e != NULL && !e->readonly) { /* readonly=on acts on it at once */
        rc = zb_os_syncfs(p->name, e->dir, err);
    }
    return rc == ZB_OK ? zb_keeper_rest_set(p, false, false, err) : rc;
}

/* Values at rest, and mounted read-write in its place. Where it is mounted already it is turned
 * read-write whoever uses it; from elsewhere it is only taken when its place is free, and has the
 * values at rest all the same when it is not. */
static enum zb_rc
newcomer_mount(const struct zb_keeper_job *job, const struct zb_keeper_view *view, uint32_t i,
               struct zb_err *err)
{
    const struct zb_zfs_props *p = view->props[i];
    const struct zb_os_mount_entry *e = zb_os_mounts_find(&view->mounts, p->name);
    char dir[ZB_PATH_SIZE + ZB_REL_SIZE];
    struct zb_err other;
    enum zb_rc rc;

    (void)snprintf(dir, sizeof(dir), "%s/%s", job->conf.mountpoint, view->datasets[i].rel);
    if (e != NULL && strcmp(e->dir, dir) == 0) {
        rc = newcomer_rest(p, e, err);
        return rc == ZB_OK ? zb_os_remount_rw(p->name, dir, err) : rc;
    }
    rc = newcomer_fetch(job, view, i, dir, err);
    if (rc != ZB_OK) {
        if (newcomer_rest(p, e, &other) != ZB_OK) {
            zb_log_warning("%s: %s", p->name, other.msg);
        }
        return rc;
    }
    rc = newcomer_rest(p, NULL, err);
    return rc == ZB_OK ? zb_os_mount(p->name, dir, ZB_OS_MOUNT_RW, err) : rc;
}

static enum zb_rc
newcomer_volume(struct zb_keeper *k, const struct zb_keeper_job *job, const struct zb_zfs_props *p,
                const char *rel, struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_volume_lead(k, &job->conf, rel, p->name, err);

    return rc == ZB_OK ? zb_keeper_rest_set(p, false, true, err) : rc;
}

/* The service can write to it, and it has the values at rest. */
static bool
is_at_work(const struct zb_kdataset *d, const struct zb_zfs_props *p)
{
    return d->mount == ZB_MOUNT_RW &&
           (p->type == ZB_ZFS_VOLUME ? zb_keeper_is_rested(p, false, true) : d->readonly_on);
}

void
zb_keeper_children_mount(struct zb_keeper *k, const struct zb_keeper_job *job,
                         const struct zb_keeper_view *view)
{
    struct zb_keeper_service *s = job->service;
    const char *bad = "";
    struct zb_err first = {0};

    for (uint32_t i = 0; i < view->count; i++) { /* sorted: parents first */
        const struct zb_kdataset *d = &view->datasets[i];
        const struct zb_zfs_props *p = view->props[i];
        struct zb_err err = {0};
        enum zb_rc rc;

        if (d->rel[0] == '\0' || !d->marked || is_at_work(d, p)) {
            continue;
        }
        rc = p->type == ZB_ZFS_VOLUME ? newcomer_volume(k, job, p, d->rel, &err)
                                      : newcomer_mount(job, view, i, &err);
        if (rc != ZB_OK && bad[0] == '\0') {
            bad = p->name;
            first = err;
        }
        if (rc == ZB_E_TIMEOUT) { /* without udev each device would take as long */
            break;
        }
    }
    if (bad[0] != '\0' && strcmp(bad, s->warned) != 0) {
        zb_log_warning("new dataset %s is in the sets, but cannot be written to: %s", bad,
                       first.msg);
    }
    zb_strcopy(s->warned, sizeof(s->warned), bad);
}

/* The snapshots of a set, one for each dataset of the view. */
struct snapshots {
    char (*names)[ZB_DATASET_NAME_SIZE];
    char (*newest)[ZB_DATASET_NAME_SIZE]; /* of the dataset, just before */
    const char **list;
    uint64_t *guids;
};

static enum zb_rc
snapshots_init(struct snapshots *t, const struct zb_keeper_view *view, const char *set,
               struct zb_err *err)
{
    t->names = calloc(view->count, sizeof(*t->names));
    t->newest = calloc(view->count, sizeof(*t->newest));
    t->list = calloc(view->count, sizeof(*t->list));
    t->guids = calloc(view->count, sizeof(*t->guids));
    if (t->names == NULL || t->newest == NULL || t->list == NULL || t->guids == NULL) {
        return zb_err_sys(err, ENOMEM, "snapshot");
    }
    for (uint32_t i = 0; i < view->count; i++) {
        if ((size_t)snprintf(t->names[i], sizeof(t->names[i]), "%s@%s", view->props[i]->name,
                             set) >= sizeof(t->names[i])) {
            return zb_err_set(err, ZB_E_LIMIT, "name of %s is too long", view->props[i]->name);
        }
        t->list[i] = t->names[i];
    }
    return ZB_OK;
}

static void
snapshots_close(struct snapshots *t)
{
    free(t->names);
    free(t->newest);
    free(t->list);
    free(t->guids);
}

/* A dataset that was destroyed, and perhaps made anew under its name, since the look: the set would
 * say another uuid of it than it has. ZB_E_NOTFOUND. */
static enum zb_rc
datasets_check(const struct zb_keeper_view *view, struct snapshots *t, struct zb_err *err)
{
    uint64_t *guids = calloc(view->count, sizeof(*guids));
    enum zb_rc rc;

    if (guids == NULL) {
        return zb_err_sys(err, ENOMEM, "snapshot");
    }
    for (uint32_t i = 0; i < view->count; i++) {
        *strchr(t->names[i], '@') = '\0';
    }
    rc = zb_zfs_guids(t->list, view->count, guids, err);
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        if (guids[i] != view->datasets[i].guid) {
            rc = zb_err_set(err, ZB_E_NOTFOUND, "%s was made anew meanwhile", t->names[i]);
        }
    }
    for (uint32_t i = 0; i < view->count; i++) {
        t->names[i][strlen(t->names[i])] = '@';
    }
    free(guids);
    return rc;
}

/* All the snapshots, of the datasets that were looked at, with their guids. ZB_E_NOTFOUND: these
 * are not there any more, and no snapshot is left: nobody has heard of any. */
static enum zb_rc
snapshots_take(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
               struct snapshots *t, struct zb_err *err)
{
    struct zb_err destroying;
    enum zb_rc rc = zb_keeper_gather_snapshot(k, job, t->list, view->count, t->newest, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_zfs_guids(t->list, view->count, t->guids, err);
    if (rc == ZB_OK) {
        rc = datasets_check(view, t, err);
    }
    if (rc == ZB_E_NOTFOUND &&
        zb_zfs_snaps_destroy(t->list, view->count, NULL, &destroying) != ZB_OK) {
        *err = destroying;
        rc = destroying.rc == ZB_E_NOTFOUND ? ZB_E_FAILED : destroying.rc;
    }
    return rc;
}

/* Takes the snapshots, re-reads their guids into the manifest, and looks for foreign ones below. */
static enum zb_rc
set_take(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
         struct zb_err *err)
{
    const struct zb_kreq *req = &job->req;
    struct zb_krep *rep = &job->rep;
    struct zb_set_id id = {req->term, req->seq};
    struct zb_set_id base = {req->base_term, req->base_seq};
    struct zb_wall time = {req->time_s};
    struct zb_manifest *m = &rep->manifest;
    struct snapshots t = {0};
    char set[ZB_SNAP_NAME_SIZE];
    bool foreign = false;
    enum zb_rc rc;

    zb_set_name_format(id, time, set);
    rc = snapshots_init(&t, view, set, err);
    if (rc == ZB_OK) {
        rc = zb_manifest_init(m, view->count, err);
    }
    zb_keeper_view_slim(view); /* hundreds may wait for each other */
    if (rc == ZB_OK) {
        rc = snapshots_take(k, job, view, &t, err);
    }
    for (uint32_t i = 0; i < view->count && rc == ZB_OK && !foreign; i++) {
        rc = foreign_find(t.list[i], t.newest[i], base, &foreign, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    m->id = id;
    m->time = time;
    for (uint32_t i = 0; i < view->count; i++) {
        zb_strcopy(m->entries[i].uuid, ZB_UUID_SIZE, view->datasets[i].uuid);
        zb_strcopy(m->entries[i].rel, ZB_REL_SIZE, view->datasets[i].rel);
        m->entries[i].guid = t.guids[i];
    }
    zb_manifest_sort(m);
    rep->foreign = foreign;
out:
    if (rc != ZB_OK) { /* half of one would not decode */
        zb_manifest_close(m);
    }
    snapshots_close(&t);
    return rc;
}

/* Everything that may say no, before anything changes. */
static enum zb_rc
snapshot_check(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
               struct zb_keeper_facts *facts, struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_record r;
    enum zb_rc rc;

    if (view->count == 0) {
        return zb_err_set(err, ZB_E_NOTFOUND, "%s does not exist", view->dataset);
    }
    zb_keeper_record_copy(k, s, &r);
    rc = zb_keeper_view_whole(view, job->conf.flavour, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, view, false, facts, err);
    }
    if (rc == ZB_OK && facts->stage == ZB_STAGE_MOUNTED && view->datasets[0].mount != ZB_MOUNT_RW) {
        /* By hand: what is written from now on nobody here knows of. */
        zb_keeper_stage_set(k, s, ZB_STAGE_REST);
        facts->stage = ZB_STAGE_REST;
    }
    if (rc == ZB_OK) {
        rc = last_seq_find(s, view, job->req.term, err);
    }
    return rc == ZB_OK ? zb_rules_snapshot(&r, &job->req, facts, s->last_any, s->last_seq, err)
                       : rc;
}

/* Of what is there now, and at once. */
static enum zb_rc
set_again(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
          const struct zb_keeper_facts *facts, struct zb_err *err)
{
    enum zb_rc rc;

    job->gathers = false;
    zb_keeper_view_close(view);
    rc = zb_keeper_view_open(k, job->req.service, view, err);
    if (rc == ZB_OK && view->count == 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s does not exist any more", view->dataset);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_view_whole(view, job->conf.flavour, err);
    }
    if (rc == ZB_OK) {
        rc = newcomers_adopt(k, job, view, err);
    }
    if (rc == ZB_OK && facts->stage == ZB_STAGE_MOUNTED) {
        zb_keeper_children_mount(k, job, view);
    }
    return rc == ZB_OK ? set_take(k, job, view, err) : rc;
}

enum zb_rc
zb_keeper_op_snapshot(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_view view = {0};
    struct zb_keeper_facts facts = {0};
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = snapshot_check(k, job, &view, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = newcomers_adopt(k, job, &view, err);
    }
    if (rc == ZB_OK && facts.stage == ZB_STAGE_MOUNTED) {
        zb_keeper_children_mount(k, job, &view);
    }
    if (rc == ZB_OK && (job->req.flags & ZB_KF_SYNC) != 0) {
        rc = zb_keeper_tree_sync(view.dataset, err);
    }
    if (rc == ZB_OK) {
        if (facts.stage == ZB_STAGE_SEALED) {
            zb_keeper_stage_set(k, s,
                                ZB_STAGE_UNMOUNTED); /* the sealed set is not the newest any more */
        }
        /* Used up even if it cannot be read back: the set may exist. */
        s->last_any = true;
        s->last_seq = job->req.seq;
        rc = set_take(k, job, &view, err);
        for (int takes = 1; rc == ZB_E_NOTFOUND && takes < TAKES_MAX; takes++) {
            rc = set_again(k, job, &view, &facts, err);
        }
    }
    if (rc == ZB_OK) {
        zb_keeper_keys_carried(k, s);
    }
    zb_keeper_view_close(&view);
    return rc;
}
