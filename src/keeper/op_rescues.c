/* RESCUES, RESCUE_MOUNT and RESCUE_DROP of kmsg.h: what is below <root>/.rescue. */
#include <inttypes.h>
#include <string.h>

#include "keeper/internal.h"

/* ---- RESCUES ---- */

/* ZFS has no names with a character that JSON escapes. */
static enum zb_rc
dataset_describe(const struct zb_zfs_tree *tree, size_t i, struct zb_keeper_text *t,
                 struct zb_err *err)
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
    zb_keeper_text_add(t,
                       "%s{\"rel\":\"%s\",\"fork\":\"%s\",\"fork_guid\":\"%" PRIu64
                       "\",\"snaps\":%zu,\"written\":%" PRIu64 ",\"volume\":%s}",
                       i > 0 ? "," : "", rel[0] == '/' ? rel + 1 : rel,
                       guid != 0 && at != NULL ? at + 1 : "", guid, snaps.count, p->written_bytes,
                       p->type == ZB_ZFS_VOLUME ? "true" : "false");
    zb_zfs_snaps_close(&snaps);
    return ZB_OK;
}

/* One line; datasets past the limit of a message are left off, and counted. */
static enum zb_rc
rescue_describe(const struct zb_zfs_tree *tree, const char *name, struct zb_keeper_text *t,
                struct zb_err *err)
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
    zb_keeper_text_add(
        t,
        "{\"name\":\"%s\",\"service\":\"%s\",\"term\":%" PRIu64
        ",\"created\":\"%s\",\"bytes\":%" PRIu64
        ",\"whole\":%s,\"kept\":%s,\"mounted\":\"%.1000s\",\"datasets\":[",
        name, zb_zfs_props_local(root, "zbaton:service"), term, created, root->used_bytes,
        zb_zfs_props_local(root, ZB_KEEPER_FORK) == NULL ? "true" : "false",
        strcmp(mark, ZB_KEEPER_RESCUE_KEPT) == 0 ? "true" : "false", zb_os_mounts_dir(&mounts));
    zb_os_mounts_close(&mounts);
    for (; i < tree->count && rc == ZB_OK && t->used + 512 < ZB_KEEPER_TEXT_MAX; i++) {
        rc = dataset_describe(tree, i, t, err);
    }
    zb_keeper_text_add(t, "],\"left_off\":%zu}\n", tree->count - i);
    return rc;
}

const struct zb_keeper_side zb_keeper_rescues = {.container = ZB_KEEPER_RESCUES,
                                                 .word = "rescue",
                                                 .mark = ZB_KEEPER_RESCUE,
                                                 .describe = rescue_describe};

enum zb_rc
zb_keeper_op_rescues(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    return zb_keeper_side_list(k, &zb_keeper_rescues, job, err);
}

/* The rescue that the request names, with everything in it; one that is whole. */
static enum zb_rc
rescue_open(const struct zb_keeper *k, const struct zb_kreq *req, struct zb_zfs_tree *tree,
            struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_side_open(k, &zb_keeper_rescues, req, tree, err);

    if (rc == ZB_OK && strcmp(zb_zfs_props_local(&tree->datasets[0], ZB_KEEPER_RESCUE),
                              ZB_KEEPER_RESCUE_KEPT) != 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s was begun and is not ended", tree->datasets[0].name);
        zb_zfs_tree_close(tree);
    }
    return rc;
}

/* ---- RESCUE_MOUNT ---- */

/* Its datasets are of the encryption root of what goes on, or of one of their own. */
static enum zb_rc
rescue_mount(struct zb_keeper *k, const struct zb_zfs_tree *tree, const char *path,
             struct zb_err *err)
{
    const char *service = zb_zfs_props_local(&tree->datasets[0], "zbaton:service");
    enum zb_rc rc = zb_keeper_side_keys_begin(k, service, tree, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_side_mount(tree, path, err);
        zb_keeper_keys_end(k, service);
        if (rc != ZB_OK) {
            zb_keeper_side_keys_unload(k, service, tree);
        }
    }
    return rc;
}

static enum zb_rc
rescue_umount(struct zb_keeper *k, const struct zb_zfs_tree *tree, const char *path,
              struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_side_umount(tree, path, err);

    if (rc == ZB_OK) {
        zb_keeper_side_keys_unload(k, zb_zfs_props_local(&tree->datasets[0], "zbaton:service"),
                                   tree);
    }
    return rc;
}

enum zb_rc
zb_keeper_op_rescue_mount(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    const bool on = strcmp(job->req.rel, "on") == 0;
    struct zb_zfs_tree tree = {0};
    char path[ZB_PATH_SIZE];
    enum zb_rc rc;

    if (!on && strcmp(job->req.rel, "off") != 0) {
        return zb_err_set(err, ZB_E_USAGE, "on or off is wanted");
    }
    rc = zb_keeper_side_turn_take(k, err);
    if (rc != ZB_OK) {
        return rc;
    }
    rc = rescue_open(k, &job->req, &tree, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_side_path(k, &zb_keeper_rescues, job->req.text, path, err);
    }
    if (rc == ZB_OK) {
        rc = (on ? rescue_mount : rescue_umount)(k, &tree, path, err);
    }
    if (rc == ZB_OK) {
        job->rep.text = strdup(path);
    }
    zb_zfs_tree_close(&tree);
    zb_keeper_side_turn_give(k);
    return rc;
}

/* ---- RESCUE_DROP ---- */

/* Who agreed to the service's tree did not see what was kept beside it. */
static enum zb_rc
orphans_check(const struct zb_zfs_tree *tree, struct zb_err *err)
{
    struct zb_zfs_value mark;

    for (size_t i = 0; i < tree->count; i++) {
        if (zb_zfs_props_find(&tree->datasets[i], ZB_KEEPER_ORPHAN, &mark)) {
            (void)zb_err_set(err, ZB_E_REFUSED, "%s in it was kept beside the service's tree",
                             tree->datasets[i].name);
            return zb_err_hint(err, "zbaton rescue list, rescue show, and rescue drop");
        }
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_op_rescue_drop(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_zfs_tree tree = {0};
    enum zb_rc rc = zb_keeper_side_turn_take(k, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = rescue_open(k, &job->req, &tree, err);
    if (rc == ZB_OK && (job->req.flags & ZB_KF_EXACT) != 0) {
        rc = orphans_check(&tree, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_side_drop(&zb_keeper_rescues, &tree, err);
    }
    zb_zfs_tree_close(&tree);
    zb_keeper_side_turn_give(k);
    return rc;
}
