/* PEEK, PEEKS and PEEK_END of kmsg.h: what is below <root>/.peek. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

#define PEEKS_MAX 64 /* on this node; more are refused with ZB_E_LIMIT */
#define END_TRIES 3  /* what was killed may need a moment to let go of the mount */
/* On each dataset of a peek, local: rules.h, zb_rules_peek_mark_format. */
#define MARK "zbaton:peek"

/* ---- PEEKS ---- */

static enum zb_rc
peek_describe(const struct zb_zfs_tree *tree, const char *name, struct zb_keeper_text *t,
              struct zb_err *err)
{
    const struct zb_zfs_props *root = &tree->datasets[0];
    struct zb_set_id set = {0};
    struct zb_wall expires = {0};
    struct zb_os_mounts mounts = {0};
    char until[24];
    char quoted[32] = "null"; /* of a mark that somebody changed: it ends when it is told to */
    enum zb_rc rc = zb_os_mounts_read(root->name, &mounts, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (zb_rules_peek_mark_parse(zb_zfs_props_local(root, MARK), &set, &expires)) {
        zb_wall_format(expires, until);
        (void)snprintf(quoted, sizeof(quoted), "\"%s\"", until);
    }
    zb_keeper_text_add(t,
                       "{\"name\":\"%s\",\"service\":\"%s\",\"term\":%" PRIu64 ",\"seq\":%" PRIu64
                       ",\"expires\":%s,\"expires_s\":%" PRId64
                       ",\"datasets\":%zu,\"mounted\":\"%.1000s\"}\n",
                       name, zb_zfs_props_local(root, "zbaton:service"), set.term, set.seq, quoted,
                       expires.s, tree->count, zb_os_mounts_dir(&mounts));
    zb_os_mounts_close(&mounts);
    return ZB_OK;
}

const struct zb_keeper_side zb_keeper_peeks = {.container = ZB_KEEPER_PEEKS,
                                               .word = "peek",
                                               .mark = MARK,
                                               .own_only = true,
                                               .describe = peek_describe};

enum zb_rc
zb_keeper_op_peeks(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    return zb_keeper_side_list(k, &zb_keeper_peeks, job, err);
}

/* ---- PEEK_END ---- */

/* Whatever of it is mounted, where ever, and all of it. */
static enum zb_rc
peek_end(struct zb_keeper *k, const char *name, const struct zb_zfs_tree *tree, struct zb_err *err)
{
    const char *service = zb_zfs_props_local(&tree->datasets[0], "zbaton:service");
    char path[ZB_PATH_SIZE];
    enum zb_rc rc = zb_keeper_side_path(k, &zb_keeper_peeks, name, path, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_side_check(&zb_keeper_peeks, tree, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_side_umount(tree, path, err);
    }
    if (rc == ZB_OK) { /* clones are of their origins' encryption roots */
        zb_keeper_side_keys_unload(k, service != NULL ? service : "", tree);
        rc = zb_keeper_side_drop(&zb_keeper_peeks, tree, err);
    }
    return rc;
}

enum zb_rc
zb_keeper_peek_end(struct zb_keeper *k, const struct zb_kreq *req, struct zb_err *err)
{
    struct zb_zfs_tree tree = {0};
    enum zb_rc rc = zb_keeper_side_turn_take(k, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_keeper_side_open(k, &zb_keeper_peeks, req, &tree, err);
    if (rc == ZB_OK) {
        rc = peek_end(k, req->text, &tree, err);
    }
    zb_zfs_tree_close(&tree);
    zb_keeper_side_turn_give(k);
    return rc;
}

void
zb_keeper_peek_leave(struct zb_keeper *k, const char *service, char *name)
{
    struct zb_kreq req = {.op = ZB_KOP_PEEK_END, .text = name};
    struct zb_err err;
    enum zb_rc rc = ZB_E_HELD;

    zb_strcopy(req.service, sizeof(req.service), service);
    for (int i = 0; i < END_TRIES && (rc == ZB_E_HELD || rc == ZB_E_BUSY); i++) {
        rc = zb_keeper_peek_end(k, &req, &err);
    }
    if (rc != ZB_OK) {
        zb_log_warning("peek of %s: %s", service, err.msg);
    }
}

enum zb_rc
zb_keeper_op_peek_end(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    return zb_keeper_peek_end(k, &job->req, err);
}

/* ---- PEEK ---- */

static enum zb_rc
count_check(const struct zb_keeper *k, struct zb_err *err)
{
    size_t count = 0;
    enum zb_rc rc = zb_keeper_side_count(k, &zb_keeper_peeks, &count, err);

    if (rc == ZB_OK && count >= PEEKS_MAX) {
        (void)zb_err_set(err, ZB_E_LIMIT, "there are %zu peeks already", count);
        return zb_err_hint(err, "zbaton peek list; zbaton peek end NAME");
    }
    return rc;
}

/* As it is now: that of a service of the raw flavour was loaded just before. */
static enum zb_rc
key_check(const char *dataset, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    if (rc == ZB_OK && !props.key_available) {
        (void)zb_err_set(err, ZB_E_UNSUPPORTED,
                         "%s cannot be read: its encryption key is not loaded", dataset);
        rc = zb_err_hint(err, "zfs load-key %.240s", props.encryption_root);
    }
    zb_zfs_props_close(&props);
    return rc;
}

/* One dataset of the set, at rest as every copy is, and with marks of its own. */
static enum zb_rc
clone_make(const struct zb_kreq *req, const struct zb_manifest_entry *e,
           const struct zb_zfs_props *from, const char *peek, struct zb_err *err)
{
    char mark[ZB_PEEK_MARK_SIZE];
    char snap[ZB_DATASET_NAME_SIZE];
    char dataset[ZB_DATASET_NAME_SIZE];
    const struct zb_zfs_setprop props[] = {
        {.name = "readonly", .number = ZB_ZFS_ON},
        {.name = "zbaton:service", .text = req->service},
        {.name = MARK, .text = mark},
        from->type == ZB_ZFS_VOLUME
            ? (struct zb_zfs_setprop){.name = "volmode", .number = ZB_ZFS_VOLMODE_NONE}
            : (struct zb_zfs_setprop){.name = "canmount", .number = ZB_ZFS_CANMOUNT_NOAUTO},
    };
    enum zb_rc rc = zb_keeper_snap_find(from, e->guid, snap, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (snprintf(dataset, sizeof(dataset), "%s%s%s", peek, e->rel[0] != '\0' ? "/" : "", e->rel) >=
        (int)sizeof(dataset)) {
        return zb_err_set(err, ZB_E_LIMIT, "name of %.160s in the peek is too long", e->rel);
    }
    zb_rules_peek_mark_format(req->manifest.id, (struct zb_wall){req->time_s}, mark);
    return zb_zfs_clone(dataset, snap, props, sizeof(props) / sizeof(props[0]), err);
}

/* Clones of all datasets of the set, parents first. */
static enum zb_rc
clones_make(const struct zb_kreq *req, const struct zb_keeper_view *view, const char *peek,
            struct zb_err *err)
{
    const struct zb_keeper_facts f = {.datasets_count = view->count, .datasets = view->datasets};
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < req->manifest.entries_count && rc == ZB_OK; i++) {
        const struct zb_manifest_entry *e = &req->manifest.entries[i];
        int64_t at = zb_rules_entry_dataset(e, &f);

        rc = at >= 0 ? key_check(view->props[at]->name, err)
                     : zb_err_set(err, ZB_E_NOTFOUND, "dataset %s is not here", e->rel);
        if (rc == ZB_OK) {
            rc = clone_make(req, e, view->props[at], peek, err);
        }
    }
    return rc;
}

/* Mounts what was cloned, and describes it for the reply. */
static enum zb_rc
clones_show(const struct zb_keeper *k, const char *name, const struct zb_zfs_tree *tree,
            struct zb_peek *out, struct zb_err *err)
{
    struct zb_keeper_text t = {.bytes = calloc(1, ZB_KEEPER_TEXT_MAX)};
    enum zb_rc rc = t.bytes != NULL ? zb_keeper_side_path(k, &zb_keeper_peeks, name, out->path, err)
                                    : zb_err_set(err, ZB_E_NOMEM, "no memory for a peek");

    if (rc == ZB_OK) {
        rc = zb_keeper_side_mount(tree, out->path, err);
    }
    if (rc == ZB_OK) {
        rc = peek_describe(tree, name, &t, err);
    }
    out->line = t.bytes;
    return rc;
}

static enum zb_rc
peek_make(struct zb_keeper *k, const struct zb_kreq *req, const struct zb_keeper_view *view,
          struct zb_peek *out, struct zb_err *err)
{
    char *name = out->name;
    char peek[ZB_DATASET_NAME_SIZE];
    struct zb_zfs_props there = {0};
    struct zb_zfs_tree tree = {0};
    struct zb_err undo;
    enum zb_rc rc;

    zb_rules_peek_name_format(req->service, req->manifest.id, zb_wall_now(), name);
    rc = zb_keeper_side_dataset(k, &zb_keeper_peeks, name, peek, err);
    if (rc == ZB_OK && zb_zfs_props_get(peek, &there, &undo) == ZB_OK) {
        zb_zfs_props_close(&there);
        rc = zb_err_set(err, ZB_E_BUSY, "there is a peek %s already: one each second", name);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    rc = clones_make(req, view, peek, err);
    if (rc == ZB_OK) {
        rc = zb_zfs_tree_observe(peek, &tree, err);
    }
    if (rc == ZB_OK) {
        rc = clones_show(k, name, &tree, out, err);
    }
    if (rc != ZB_OK) { /* none of it is left; what cannot go now does when its time is over */
        zb_zfs_tree_close(&tree);
        if (zb_zfs_tree_observe(peek, &tree, &undo) == ZB_OK &&
            peek_end(k, name, &tree, &undo) != ZB_OK) {
            zb_log_warning("%s", undo.msg);
        }
    }
    zb_zfs_tree_close(&tree);
    return rc;
}

/* A key that is not there or does not fit is told as of any dataset without its key. */
static enum zb_rc
keys_begin(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view,
           struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_keys_begin(k, service, view, -1, err);

    if (rc == ZB_E_NOTFOUND || rc == ZB_E_MISMATCH || rc == ZB_E_FORMAT) {
        err->rc = rc = ZB_E_UNSUPPORTED;
    }
    return rc;
}

enum zb_rc
zb_keeper_peek_make(struct zb_keeper *k, const struct zb_kreq *req, struct zb_peek *out,
                    struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_facts f;
    enum zb_rc rc = zb_keeper_side_turn_take(k, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_keeper_view_open(k, req->service, &view, err);
    if (rc == ZB_OK) {
        f = (struct zb_keeper_facts){.datasets_count = view.count, .datasets = view.datasets};
        rc = zb_rules_peek(req, &f, zb_wall_now(), err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_side_container_make(k, &zb_keeper_peeks, err);
    }
    if (rc == ZB_OK) {
        rc = count_check(k, err);
    }
    if (rc == ZB_OK) {
        rc = keys_begin(k, req->service, &view, err);
    }
    if (rc == ZB_OK) {
        rc = peek_make(k, req, &view, out, err);
        zb_keeper_keys_end(k, req->service);
        if (rc != ZB_OK) {
            zb_keeper_keys_unload(k, req->service, &view);
        }
    }
    zb_keeper_view_close(&view);
    zb_keeper_side_turn_give(k);
    return rc;
}

enum zb_rc
zb_keeper_op_peek(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_peek out = {0};
    enum zb_rc rc = zb_keeper_peek_make(k, &job->req, &out, err);

    job->rep.text = out.line;
    return rc;
}
