#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/internal.h"
#include "keeper/volume.h"
#include "os/spawn.h"

#define TEXT_MAX (60u << 10)         /* of a plan; below what kmsg.h allows for text */
#define SNAPS_BYTES_MAX (400u << 10) /* of names and numbers in one reply; below ZB_KMSG_MAX */
#define ADOPT_UMOUNT_MS 5000
#define ZFS_MOUNT_MS 60000 /* all of zfs mount after UNADOPT */

/* ---- DEFINE ---- */

static enum zb_rc
definition_remove(struct zb_keeper *k, struct zb_keeper_service *s, const char *file,
                  struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_file_remove(k->dir_fd, file, err);

    if (rc == ZB_OK) {
        (void)pthread_mutex_lock(&k->lock);
        s->defined = false;
        (void)pthread_mutex_unlock(&k->lock);
    }
    return rc;
}

static enum zb_rc
definition_store(struct zb_keeper *k, struct zb_keeper_service *s, const char *file,
                 const char *text, struct zb_err *err)
{
    struct zb_conf_service conf;
    enum zb_rc rc = zb_conf_service_from_json(text, &conf, err);

    if (rc == ZB_OK && strcmp(conf.name, s->name) != 0) {
        rc = zb_err_set(err, ZB_E_USAGE, "the declaration is one of %s", conf.name);
    }
    if (rc == ZB_OK) {
        /* Either one will do: a declaration newer than the record's version is asked for again. */
        bool in_doubt;
        rc = zb_keeper_file_store(k->dir_fd, file, text, strlen(text), &in_doubt, err);
    }
    if (rc == ZB_OK) {
        (void)pthread_mutex_lock(&k->lock);
        s->conf = conf;
        s->defined = true;
        (void)pthread_mutex_unlock(&k->lock);
        if (conf.flavour == ZB_CONF_FLAVOUR_RAW) {
            zb_keeper_keys_forget(k, s);
        }
    }
    return rc;
}

enum zb_rc
zb_keeper_op_define(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_service *s = job->service;
    struct zb_keeper_view view = {0};
    struct zb_keeper_record next;
    struct zb_keeper_facts facts = {.self = k->conf->node};
    char file[ZB_SERVICE_NAME_SIZE + 8];
    bool removes = job->req.text == NULL || job->req.text[0] == '\0';
    enum zb_rc rc = ZB_OK;

    (void)snprintf(file, sizeof(file), "%s.json", s->name);
    zb_keeper_record_copy(k, s, &next);
    if (removes) {
        rc = zb_keeper_view_open(k, s->name, &view, err);
        if (rc == ZB_OK) {
            rc = zb_keeper_facts(k, job, &view, true, &facts, err);
        }
    }
    if (rc == ZB_OK) {
        rc = zb_rules_define(&next, &job->req, &facts, err);
    }
    /* The declaration first: after a crash in between it is asked for again, with the same version.
     */
    if (rc == ZB_OK) {
        rc = removes ? definition_remove(k, s, file, err)
                     : definition_store(k, s, file, job->req.text, err);
    }
    if (rc == ZB_OK && !s->frozen && (next.rec.version != job->req.version || !s->recorded)) {
        next.rec.version = job->req.version;
        rc = zb_keeper_record_change(k, s, &next, err);
    }
    zb_keeper_view_close(&view);
    return rc;
}

/* ---- SNAPS ---- */

_Static_assert(SNAPS_BYTES_MAX / (sizeof(struct zb_ksnap) - ZB_SNAP_NAME_SIZE + 17) <= ZB_SNAPS_MAX,
               "what fits in a reply is decoded");

/* The snapshots; or the bookmarks, zbaton's alone. */
static enum zb_rc
snaps_list(const struct zb_kreq *req, const char *dataset, struct zb_zfs_snaps *list,
           struct zb_err *err)
{
    bool marks = (req->flags & ZB_KF_MARKS) != 0;
    struct zb_set_id id;
    size_t kept = 0;
    enum zb_rc rc =
        marks ? zb_zfs_bookmarks_list(dataset, list, err) : zb_zfs_snaps_list(dataset, list, err);

    for (size_t i = 0; rc == ZB_OK && marks && i < list->count; i++) {
        if (zb_rules_mark_parse(list->snaps[i].name, &id)) {
            list->snaps[kept++] = list->snaps[i];
        }
    }
    list->count = rc == ZB_OK && marks ? kept : list->count;
    return rc;
}

enum zb_rc
zb_keeper_op_snaps(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_krep *rep = &job->rep;
    struct zb_zfs_snaps list = {0};
    char dataset[ZB_DATASET_NAME_SIZE];
    size_t from = job->req.count;
    size_t bytes = 0;
    uint64_t asides = zb_keeper_asides(k, job->service);
    struct zb_err busy;
    enum zb_rc rc = zb_keeper_dataset_name(k, job->req.service, job->req.rel, dataset, err);

    if (rc == ZB_OK) {
        rc = snaps_list(&job->req, dataset, &list, err);
    }
    if (zb_keeper_aside_check(k, job, asides, &busy) != ZB_OK) {
        zb_zfs_snaps_close(&list);
        *err = busy;
        return busy.rc;
    }
    if (rc != ZB_OK) {
        return rc;
    }
    rep->snaps = calloc(list.count + 1, sizeof(*rep->snaps));
    if (rep->snaps == NULL) {
        zb_zfs_snaps_close(&list);
        return zb_err_sys(err, ENOMEM, "list snapshots");
    }
    for (size_t i = from; rc == ZB_OK && i < list.count; i++) {
        struct zb_ksnap *snap = &rep->snaps[rep->snaps_count];
        const char *name = list.snaps[i].name;

        bytes += strlen(name) + sizeof(*snap) - sizeof(snap->name) + 16;
        if (bytes > SNAPS_BYTES_MAX) {
            break;
        }
        if (strlen(name) >= sizeof(snap->name) || !zb_snap_name_valid(name)) {
            rc = zb_err_set(err, ZB_E_LIMIT,
                            "snapshot %s@%s: name too long or with unusual "
                            "characters",
                            dataset, name);
            break;
        }
        zb_strcopy(snap->name, sizeof(snap->name), name);
        snap->guid = list.snaps[i].guid;
        snap->createtxg = list.snaps[i].createtxg;
        rep->snaps_count++;
    }
    rep->count = (uint32_t)list.count;
    zb_zfs_snaps_close(&list);
    return rc;
}

/* ---- CREATE ---- */

static enum zb_rc
marks_check(const struct zb_keeper_view *view, const struct zb_kreq *req,
            enum zb_conf_flavour flavour, struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_view_whole(view, flavour, err);

    if (rc != ZB_OK) {
        return rc;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const char *service = zb_zfs_props_local(view->props[i], "zbaton:service");
        const char *cluster = zb_zfs_props_local(view->props[i], "zbaton:cluster");

        if (service != NULL && strcmp(service, req->service) != 0) {
            return zb_err_set(err, ZB_E_REFUSED, "%s belongs to service %.60s",
                              view->props[i]->name, service);
        }
        if (cluster != NULL && req->uuid[0] != '\0' && strcmp(cluster, req->uuid) != 0) {
            return zb_err_set(err, ZB_E_REFUSED, "%s belongs to another cluster (%.60s)",
                              view->props[i]->name, cluster);
        }
    }
    return ZB_OK;
}

/* The tree of a service that was led before comes from its leader, not from CREATE. */
static enum zb_rc
create_check(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
             struct zb_err *err)
{
    struct zb_keeper_record r;
    struct zb_keeper_facts facts;
    enum zb_rc rc;

    zb_keeper_record_copy(k, job->service, &r);
    if (r.rec.learned_term != 0 && (view->count == 0 || !view->datasets[0].marked)) {
        return zb_err_set(err, ZB_E_REFUSED, "%s led term %llu: the tree is received, not made",
                          r.rec.learned_leader, (unsigned long long)r.rec.learned_term);
    }
    rc = zb_keeper_facts(k, job, view, true, &facts, err);
    if (rc == ZB_OK && facts.stage != ZB_STAGE_REST) {
        rc =
            zb_err_set(err, ZB_E_REFUSED, "the tree is %s here", zb_keeper_stage_word(facts.stage));
    }
    if (rc == ZB_OK && facts.running) {
        rc = zb_err_set(err, ZB_E_REFUSED, "the service is running here");
    }
    rc = rc == ZB_OK ? marks_check(view, &job->req, job->conf.flavour, err) : rc;
    return rc == ZB_OK ? zb_keeper_create_key_check(k, &job->conf, view, err) : rc;
}

static enum zb_rc
create_umount(const struct zb_keeper_view *view, const struct zb_kreq *req, struct zb_err *err)
{
    struct zb_mono deadline = {zb_mono_now().ms + ADOPT_UMOUNT_MS};
    enum zb_rc rc;

    if (view->mounts.count == 0) {
        return ZB_OK;
    }
    if ((req->flags & ZB_KF_UNMOUNT) == 0) {
        (void)zb_err_set(err, ZB_E_HELD, "%s is mounted at %.200s", view->mounts.entries[0].dataset,
                         view->mounts.entries[0].dir);
        return zb_err_hint(err, "stop what uses it and unmount it, or allow zbaton to unmount it");
    }
    rc = zb_keeper_tree_sync(view->dataset, err);
    return rc == ZB_OK ? zb_keeper_tree_umount(view->dataset, deadline, err) : rc;
}

static void
mark_fill(const struct zb_keeper *k, const struct zb_keeper_job *job, uint64_t pool_guid,
          const char *uuid, struct zb_keeper_mark *mark)
{
    *mark = (struct zb_keeper_mark){.service = job->req.service,
                                    .node = k->conf->node,
                                    .uuid = uuid,
                                    .cluster = job->req.uuid,
                                    .pool_guid = pool_guid,
                                    .raw = job->conf.flavour == ZB_CONF_FLAVOUR_RAW};
}

static enum zb_rc
tree_make(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
          struct zb_err *err)
{
    struct zb_keeper_new_props props;
    struct zb_keeper_mark mark;
    char uuid[ZB_UUID_SIZE];
    enum zb_rc rc;

    zb_uuid_new(uuid);
    mark_fill(k, job, view->pool_guid, uuid, &mark);
    zb_keeper_new_props_fill(&props, &mark, true, ZB_ZFS_FILESYSTEM);
    rc = job->conf.flavour == ZB_CONF_FLAVOUR_RAW
             ? zb_keeper_tree_encrypt(k, view->dataset, &job->conf, &props, err)
             : zb_zfs_create(view->dataset, props.props, props.count, err);
    if (rc == ZB_E_NOTFOUND) {
        (void)zb_err_hint(err, "zfs create -o canmount=off -o mountpoint=none %.150s",
                          k->conf->root);
    }
    return rc;
}

static enum zb_rc
tree_adopt(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
           struct zb_err *err)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct zb_kdataset *d = &view->datasets[i];
        struct zb_keeper_mark mark;
        char uuid[ZB_UUID_SIZE];
        enum zb_rc rc = ZB_OK;

        zb_uuid_new(uuid);
        mark_fill(k, job, view->pool_guid, d->uuid[0] != '\0' ? d->uuid : uuid, &mark);
        if (!d->marked || d->uuid[0] == '\0') {
            rc = zb_keeper_adopt(view->props[i], &mark, d->rel[0] == '\0', err);
        }
        if (rc == ZB_OK) {
            rc = zb_keeper_rest_set(view->props[i], d->rel[0] == '\0', false, err);
        }
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return ZB_OK;
}

/* What CREATE would do, one command or sentence per line. */
static enum zb_rc
create_plan(const struct zb_keeper_view *view, const struct zb_conf_service *conf, char **text,
            struct zb_err *err)
{
    char *plan = calloc(1, TEXT_MAX);
    size_t used = 0;

    if (plan == NULL) {
        return zb_err_sys(err, ENOMEM, "plan");
    }
    if (view->count == 0) {
        (void)snprintf(plan, TEXT_MAX, "zfs create %s%s\n",
                       conf->flavour == ZB_CONF_FLAVOUR_RAW ? "-o encryption=on " : "",
                       view->dataset);
    }
    for (size_t i = view->mounts.count; i-- > 0 && used < TEXT_MAX;) {
        const struct zb_os_mount_entry *e = &view->mounts.entries[i];
        used += (size_t)snprintf(plan + used, TEXT_MAX - used, "%s %s\n",
                                 e->volume ? "zfs set volmode=none" : "zfs unmount",
                                 e->volume ? e->dataset : e->dir);
    }
    for (uint32_t i = 0; i < view->count; i++) {
        zb_keeper_rest_plan(view->props[i], view->datasets[i].rel[0] == '\0', plan, TEXT_MAX);
    }
    *text = plan;
    return ZB_OK;
}

enum zb_rc
zb_keeper_op_create(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = create_check(k, job, &view, err);
    }
    if (rc == ZB_OK && (job->req.flags & ZB_KF_DRY_RUN) != 0) {
        rc = create_plan(&view, &job->conf, &job->rep.text, err);
        goto out;
    }
    if (rc == ZB_OK) {
        rc = create_umount(&view, &job->req, err);
    }
    if (rc == ZB_OK) {
        rc = view.count == 0 ? tree_make(k, job, &view, err) : tree_adopt(k, job, &view, err);
    }
    if (rc == ZB_OK) {
        job->service->rested = true;
        zb_keeper_observation_add(k, job);
    }
out:
    zb_keeper_view_close(&view);
    return rc;
}

/* ---- UNADOPT ---- */

static enum zb_rc
unadopt_all(struct zb_keeper *k, struct zb_keeper_service *s, const struct zb_keeper_view *view,
            struct zb_err *err)
{
    const char *const orphan = ZB_KEEPER_ORPHAN;
    char file[ZB_SERVICE_NAME_SIZE + 16];
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = view->count; i-- > 0 && rc == ZB_OK;) {
        if (zb_zfs_props_local(view->props[i], "zbaton:service") != NULL) {
            rc = zb_keeper_unadopt(view->props[i], err);
        }
    }
    for (size_t i = 0; i < view->tree.count && rc == ZB_OK; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];
        if (zb_zfs_props_local(p, "zbaton:service") == NULL) {
            rc = zb_keeper_hidden_return(p, err);
        }
        if (rc == ZB_OK && zb_zfs_props_local(p, orphan) != NULL) {
            rc = zb_zfs_props_local(p, "zbaton:service") != NULL
                     ? zb_keeper_unadopt(p, err)
                     : zb_zfs_props_inherit(p->name, &orphan, 1, err);
        }
    }
    (void)snprintf(file, sizeof(file), "%s.record", s->name);
    if (rc == ZB_OK) {
        rc = zb_keeper_file_remove(k->dir_fd, file, err);
    }
    if (rc == ZB_OK) {
        (void)pthread_mutex_lock(&k->lock);
        s->record = (struct zb_keeper_record){0};
        s->recorded = false;
        (void)pthread_mutex_unlock(&k->lock);
        s->last_term = 0;
    }
    return rc;
}

/* As its owner had it before: what mounts by itself is mounted, by zfs(8), which knows all that can
 * be meant. */
static enum zb_rc
unadopted_mount(const struct zb_keeper_view *view, struct zb_err *err)
{
    struct zb_mono deadline = {zb_mono_now().ms + ZFS_MOUNT_MS};
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) { /* parents first */
        char zfs[] = "zfs", mount[] = "mount", name[ZB_DATASET_NAME_SIZE], output[256] = "";
        char *argv[] = {zfs, mount, name, NULL};
        struct zb_os_spawn_spec spec = {.path = "/usr/sbin/zfs", .argv = argv, .output_fd = -1};
        struct zb_zfs_props props = {0};
        int status = 0;

        zb_strcopy(name, sizeof(name), view->props[i]->name);
        rc = zb_zfs_props_get(name, &props, err);
        bool volume = rc == ZB_OK && props.type == ZB_ZFS_VOLUME;
        bool mounts =
            rc == ZB_OK && !volume && props.canmount == ZB_ZFS_ON && props.mountpoint[0] == '/';
        rc = volume ? zb_keeper_unhide(&props, err) : rc;
        zb_zfs_props_close(&props);
        if (mounts) {
            rc = zb_os_run(&spec, deadline, output, sizeof(output), &status, err);
        }
        if (rc == ZB_OK && status != 0) {
            output[strcspn(output, "\n")] = '\0';
            rc = zb_err_set(err, ZB_E_FAILED, "given back, but not mounted: %s", output);
        }
    }
    return rc;
}

enum zb_rc
zb_keeper_op_unadopt(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record record;
    struct zb_keeper_facts facts;
    char *text = NULL;
    size_t used = 0;
    bool foreign;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, &view, true, &facts, err);
    }
    zb_keeper_record_copy(k, job->service, &record);
    if (rc != ZB_OK || zb_rules_untouched(&record, &facts)) {
        goto out;
    }
    /* What is mounted may be somebody's own, which the service never had: DEMOTE leaves it too. */
    foreign = view.mounts.count > 0 && !zb_keeper_view_is_managed(&view, job->req.service);
    rc = foreign ? ZB_OK : zb_rules_idle(&facts, err);
    if (rc != ZB_OK) {
        goto out;
    }
    if ((job->req.flags & ZB_KF_DRY_RUN) != 0) {
        text = calloc(1, TEXT_MAX);
        for (uint32_t i = 0; text != NULL && i < view.count && used < TEXT_MAX; i++) {
            used += (size_t)snprintf(text + used, TEXT_MAX - used,
                                     "put the properties of %s back, remove zbaton:*\n",
                                     view.props[i]->name);
        }
        job->rep.text = text;
        goto out;
    }
    zb_keeper_stage_set(k, job->service, ZB_STAGE_REST);
    rc = unadopt_all(k, job->service, &view, err);
    if (rc == ZB_OK && !foreign && (job->req.flags & ZB_KF_REMOUNT) != 0) {
        rc = unadopted_mount(&view, err);
    }
out:
    zb_keeper_view_close(&view);
    return rc;
}
