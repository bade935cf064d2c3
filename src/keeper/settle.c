#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "keeper/volume.h"
#include "runner/runner.h"

/* ---- giving up a tree ---- */

enum zb_rc
zb_keeper_demote(struct zb_keeper *k, struct zb_keeper_service *s,
                 const struct zb_conf_service *conf, uint32_t timeout_ms, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    char dataset[ZB_DATASET_NAME_SIZE];
    struct zb_mono deadline;
    enum zb_rc rc = zb_keeper_dataset_name(k, s->name, "", dataset, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_service_stop(k, s->name, conf, timeout_ms, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    /* From here on this node does not lead, however far the unmounting comes. */
    zb_keeper_unproven_set(k, s, true);
    zb_keeper_stage_set(k, s, ZB_STAGE_REST);
    s->rested = false;
    deadline.ms = zb_mono_now().ms + ZB_KEEPER_UMOUNT_MS;
    rc = zb_keeper_tree_sync(dataset, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_tree_umount(dataset, deadline, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_view_open(k, s->name, &view, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_keeper_volumes_rest(&view, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_tree_free_prove(&view, err);
    }
    if (rc == ZB_E_MISMATCH) {
        rc = ZB_OK; /* a newer bookmark: unmounted all the same, and not to be handed over */
    }
    if (rc == ZB_OK) {
        struct zb_err said;
        zb_keeper_unproven_set(k, s, false);
        /* It is given up all the same: the next start, and each receive, puts values right. */
        s->rested = zb_keeper_rest_set_all(&view, &said) == ZB_OK;
        if (!s->rested) {
            zb_log_warning("%s: properties at rest: %s", s->name, said.msg);
        }
        zb_keeper_keys_unload_soon(k, s->name, &view);
    }
    zb_keeper_view_close(&view);
    return rc;
}

void
zb_keeper_unproven_set(struct zb_keeper *k, struct zb_keeper_service *s, bool unproven)
{
    (void)pthread_mutex_lock(&k->lock);
    s->unproven = unproven;
    (void)pthread_mutex_unlock(&k->lock);
}

/* ---- mounts that were there before this keeper ---- */

/* The tree's own dataset is mounted read-write, and none that was in a set is unmounted: a keeper
 * that ended inside a SEAL leaves the children unmounted first. One that is mounted read-only, or
 * was never in a set, is a newcomer: the next set turns it read-write. */
static bool
tree_mounted(const struct zb_keeper_view *view)
{
    const struct zb_kdataset *root = zb_keeper_view_find(view, "");

    for (uint32_t i = 0; i < view->count; i++) {
        if (view->datasets[i].marked && view->datasets[i].mount == ZB_MOUNT_NONE) {
            return false;
        }
    }
    return root != NULL && root->mount == ZB_MOUNT_RW;
}

static bool
any_mounted_rw(const struct zb_keeper_view *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->datasets[i].mount == ZB_MOUNT_RW) {
            return true;
        }
    }
    return false;
}

/* A tree mounted read-write that this life has not mounted goes on by M12, or is given up. */
static enum zb_rc
mounts_settle(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_keeper_view *view,
              struct zb_err *err)
{
    struct zb_keeper_record r;
    enum zb_keeper_stage stage;
    enum zb_rc rc;

    (void)pthread_mutex_lock(&k->lock);
    stage = s->stage;
    (void)pthread_mutex_unlock(&k->lock);
    /* A tree that is not zbaton's yet is its owner's to mount: adoption asks before it unmounts. */
    if (stage != ZB_STAGE_REST || !any_mounted_rw(view) ||
        !zb_keeper_view_is_managed(view, s->name)) {
        return ZB_OK;
    }
    zb_keeper_record_copy(k, s, &r);
    if (zb_keeper_may_write(k, err) == ZB_OK && !s->frozen && s->defined && tree_mounted(view) &&
        zb_rules_continues(&r, k->conf->node, k->boot_id, view->pool_guid)) {
        zb_log_info("%s goes on: mounted read-write under term %llu since before this start",
                    s->name, (unsigned long long)r.rec.established_term);
        zb_keeper_stage_set(k, s, ZB_STAGE_MOUNTED);
        return ZB_OK;
    }
    zb_log_warning("%s is mounted read-write and may not be: stopping and unmounting it", s->name);
    rc = zb_keeper_demote(k, s, s->defined ? &s->conf : NULL,
                          s->defined ? s->conf.stop_timeout_ms : ZB_KEEPER_STOP_MS, err);
    zb_keeper_view_close(view);
    return rc == ZB_OK ? zb_keeper_view_open(k, s->name, view, err) : rc;
}

/* ---- intent logs ---- */

struct replay {
    const struct zb_keeper_view *view;
    enum zb_rc *rcs;
    struct zb_err *errs;
};

static void
replay_one(void *ctx, size_t i)
{
    struct replay *r = ctx;

    r->rcs[i] = zb_keeper_replay(r->view->props[i], &r->errs[i]);
}

/* A log that was never replayed shows in `written` (zfs.h). */
static bool
any_written(const struct zb_keeper_view *view)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->datasets[i].written_bytes != 0) {
            return true;
        }
    }
    return false;
}

/* Before anything receives into it or tells its position: what was fsync'ed is in the log alone.
 * That of an encrypted dataset wants its key; without it only a tree that cannot have one is let
 * pass, so that who lost the key still follows and grants. */
static enum zb_rc
logs_replay(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view,
            struct zb_err *err)
{
    struct replay r = {.view = view};
    enum zb_rc rc = zb_keeper_keys_begin(k, service, view, -1, err);

    if (rc != ZB_OK && !any_written(view)) {
        zb_log_warning("%s: no intent log is replayed, and there is none: %s", service, err->msg);
        return ZB_OK;
    }
    if (rc != ZB_OK) {
        return zb_err_wrap(err, "replay the intent log");
    }
    r.rcs = calloc(view->count, sizeof(*r.rcs));
    r.errs = calloc(view->count, sizeof(*r.errs));
    if (r.rcs == NULL || r.errs == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "no memory to replay intent logs");
        goto out;
    }
    zb_keeper_parallel(view->count, replay_one, &r);
    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        /* Mounted by somebody: then its log was replayed. A receive that never completed has none.
         */
        if (r.rcs[i] != ZB_OK && r.rcs[i] != ZB_E_EXISTS && !view->props[i]->inconsistent) {
            *err = r.errs[i];
            rc = zb_err_wrap(err, "replay the intent log");
        }
    }
out:
    free(r.rcs);
    free(r.errs);
    zb_keeper_keys_end(k, service);
    zb_keeper_keys_unload(k, service, view);
    return rc;
}

enum zb_rc
zb_keeper_settle(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record r;
    enum zb_keeper_stage stage;
    enum zb_rc rc = zb_keeper_rescues_settle(k, s->name, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_view_open(k, s->name, &view, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_rescue_unmark(&view, err);
    }
    if (rc == ZB_OK) {
        rc = mounts_settle(k, s, &view, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    zb_keeper_record_copy(k, s, &r);
    (void)pthread_mutex_lock(&k->lock);
    stage = s->stage;
    (void)pthread_mutex_unlock(&k->lock);
    /* Before keys are loaded for the logs: devices of volumes appear with their key. */
    if (!s->rested && stage == ZB_STAGE_REST) {
        rc = zb_keeper_rest_set_all(&view, err);
        s->rested = rc == ZB_OK;
    }
    if (rc == ZB_OK && stage == ZB_STAGE_REST && view.count > 0 &&
        zb_rules_may_have_led(&r, view.led)) {
        rc = logs_replay(k, s->name, &view, err);
    }
    if (rc == ZB_OK) {
        (void)pthread_mutex_lock(&k->lock);
        s->settled = true;
        (void)pthread_mutex_unlock(&k->lock);
    }
out:
    zb_keeper_view_close(&view);
    return rc;
}

/* ---- the start ---- */

/* Services whose record is lost but whose tree is mounted read-write are found by its mark. */
static void
unknown_mounts_add(struct zb_keeper *k, const struct zb_os_mounts *mounts)
{
    size_t root_size = strlen(k->conf->root);

    for (size_t i = 0; i < mounts->count; i++) {
        const struct zb_os_mount_entry *e = &mounts->entries[i];
        char name[ZB_DATASET_NAME_SIZE];
        char dataset[ZB_DATASET_NAME_SIZE];
        struct zb_zfs_props props = {0};
        struct zb_err err;
        const char *mark;

        if (e->readonly || e->dataset[root_size] != '/') {
            continue;
        }
        zb_strcopy(name, sizeof(name), e->dataset + root_size + 1);
        name[strcspn(name, "/@")] = '\0';
        if (!zb_service_name_valid(name) || zb_keeper_service_find(k, name) != NULL ||
            zb_keeper_dataset_name(k, name, "", dataset, &err) != ZB_OK ||
            zb_zfs_props_get(dataset, &props, &err) != ZB_OK) {
            continue;
        }
        mark = zb_zfs_props_local(&props, "zbaton:service");
        if (mark != NULL && strcmp(mark, name) == 0) {
            zb_log_error("%s carries the mark of service %s, but there is no record of it here",
                         dataset, name);
            if (zb_keeper_service_make(k, name, &err) == NULL) {
                zb_log_error("%s", err.msg);
            }
        }
        zb_zfs_props_close(&props);
    }
}

static enum zb_rc
service_start_settle(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    enum zb_rc rc = zb_keeper_view_open(k, s->name, &view, err);

    if (rc == ZB_OK) {
        rc = mounts_settle(k, s, &view, err);
    }
    if (rc == ZB_OK && s->stage == ZB_STAGE_REST) { /* never under a leader that goes on */
        rc = zb_keeper_rest_set_all(&view, err);
        s->rested = rc == ZB_OK;
    }
    zb_keeper_view_close(&view);
    return rc;
}

void
zb_keeper_start_settle(struct zb_keeper *k)
{
    struct zb_os_mounts mounts = {0};
    enum zb_zfs_pool_state state = zb_zfs_pool_state(k->conf->root);
    struct zb_err err;

    zb_keeper_fences_settle(k);
    zb_keeper_drills_settle(k);
    zb_keeper_notice_settle(k);
    if (state != ZB_ZFS_POOL_ONLINE && state != ZB_ZFS_POOL_DEGRADED) {
        /* Each service is settled by its first operation, when the pool answers. */
        zb_log_error("the pool of %s is %s", k->conf->root, zb_zfs_pool_state_word(state));
        if (state == ZB_ZFS_POOL_ABSENT) { /* so nothing of it is mounted */
            zb_keeper_lapse_settled(k);
        }
        return;
    }
    if (zb_os_mounts_read(k->conf->root, &mounts, &err) == ZB_OK) {
        unknown_mounts_add(k, &mounts);
        zb_os_mounts_close(&mounts);
    } else {
        zb_log_error("%s", err.msg);
    }
    for (uint32_t i = 0; i < k->services_count && !zb_keeper_is_lapsed(k); i++) {
        (void)zb_keeper_deadline_step(k, -1); /* the watchdog does not wait for all of them */
        if (service_start_settle(k, k->services[i], &err) != ZB_OK) {
            zb_log_error("%s: %s", k->services[i]->name, err.msg);
        }
    }
    /* Of a session that has lapsed the thread that demotes takes all, in time; each service is
     * settled by its first operation then. */
}
