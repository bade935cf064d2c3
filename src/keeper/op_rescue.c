/* RESCUE of kmsg.h. */
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

/* ---- what may say no ---- */

/* A beginning of zbaton's own, without any mark yet, is thrown away before the tree is set aside.
 */
static void
places_own(const struct zb_keeper_view *view, struct zb_rules_place *places)
{
    const struct zb_kdataset *root = zb_keeper_view_find(view, "");

    for (size_t i = 0; i < view->tree.count; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];
        places[i].own = places[i].own || (root != NULL && root->marked && p->inconsistent &&
                                          places[i].uuid[0] == '\0');
    }
}

static enum zb_rc
unmounted_check(const struct zb_keeper_view *view, struct zb_err *err)
{
    return view->mounts.count == 0 ? ZB_OK : zb_keeper_mounted_say(&view->mounts.entries[0], err);
}

/* A log that cannot be replayed may have what nothing else tells of: then whether there is anything
 * to set aside is not known, and it is not done again and again for nothing. */
static enum zb_rc
keys_check(const struct zb_keeper_view *view, const struct zb_manifest *forks, struct zb_err *err)
{
    const struct zb_keeper_facts f = {.datasets_count = view->count, .datasets = view->datasets};
    const struct zb_zfs_props *locked = NULL;
    struct zb_err ignored;

    for (uint32_t i = 0; i < view->count; i++) {
        const struct zb_manifest_entry *e = zb_rules_fork_entry(forks, &f, i);
        bool modified = view->datasets[i].written_bytes != 0;

        if (modified && !view->props[i]->key_available) {
            locked = view->props[i];
            modified = zb_zfs_modified(locked->name, &modified, &ignored) == ZB_OK && modified;
        }
        if (e == NULL || view->datasets[i].newest_guid != e->guid || modified) {
            return ZB_OK;
        }
    }
    if (locked == NULL) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_UNSUPPORTED,
                     "%s stands on its fork, but its intent log cannot be replayed: its encryption "
                     "key is not loaded",
                     locked->name);
    return zb_err_hint(err, "zfs load-key %.240s", locked->encryption_root);
}

/* What the rule wants to know, and what is in no view: a mounted snapshot, an orphan. */
static enum zb_rc
rule_ask(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
         struct zb_keeper_facts *facts, struct zb_err *err)
{
    struct zb_rules_place *places = zb_keeper_places_new(k, view, job->req.service, err);
    struct zb_keeper_record r;
    enum zb_rc rc;

    if (places == NULL) {
        return err->rc;
    }
    zb_keeper_record_copy(k, job->service, &r);
    places_own(view, places);
    rc = zb_keeper_facts(k, job, view, true, facts, err);
    if (rc == ZB_OK) {
        rc = zb_rules_rescue(&r, &job->req, facts, places, view->tree.count, err);
    }
    free(places);
    return rc == ZB_OK ? unmounted_check(view, err) : rc;
}

/* *needless: every dataset stands on its fork. */
static enum zb_rc
rescue_check(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_keeper_view *view,
             bool *needless, struct zb_err *err)
{
    struct zb_kdataset *kept = calloc(view->count + 1, sizeof(*kept));
    struct zb_keeper_facts facts;
    enum zb_rc rc;

    if (kept == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory to set %s aside", view->dataset);
    }
    rc = rule_ask(k, job, view, &facts, err);
    if (rc == ZB_OK) {
        zb_keeper_written_prove(k, view, NULL, true);
        zb_keeper_complete_only(view, kept, &facts);
        *needless = zb_rules_on_forks(&job->req.manifest, &facts);
        rc = keys_check(view, &job->req.manifest, err);
    }
    if (rc == ZB_OK && !*needless) {
        rc = zb_keeper_tree_free_prove(view, err);
        rc = rc == ZB_E_MISMATCH ? ZB_OK : rc; /* a newer bookmark is no reason to leave it */
    }
    free(kept);
    return rc;
}

/* ---- forks ---- */

struct chosen {
    const struct zb_zfs_props *props;
    const struct zb_manifest_entry *entry;
};

static bool
is_parent_chosen(const struct chosen *chosen, size_t count, const char *rel)
{
    const char *slash = strrchr(rel, '/');
    size_t n = slash != NULL ? (size_t)(slash - rel) : 0;

    for (size_t i = 0; i < count; i++) {
        const char *parent = chosen[i].entry->rel;
        if (strncmp(parent, rel, n) == 0 && parent[n] == '\0') {
            return true;
        }
    }
    return false;
}

/* The dataset that the entry is about, if it has the fork's snapshot; else NULL. */
static enum zb_rc
fork_find(const struct zb_keeper_view *view, const struct zb_manifest *forks,
          const struct zb_manifest_entry *e, const struct zb_zfs_props **found, struct zb_err *err)
{
    const struct zb_keeper_facts f = {.datasets_count = view->count, .datasets = view->datasets};
    char snap[ZB_DATASET_NAME_SIZE];
    int64_t at = zb_rules_entry_dataset(e, &f);
    enum zb_rc rc = ZB_OK;

    *found = NULL;
    if (at < 0 || zb_rules_fork_entry(forks, &f, (uint32_t)at) != e ||
        (view->datasets[at].rel[0] == '\0') != (e->rel[0] == '\0')) {
        return ZB_OK;
    }
    if (view->datasets[at].newest_guid != e->guid) {
        rc = zb_keeper_snap_find(view->props[at], e->guid, snap, err);
    }
    if (rc == ZB_OK) {
        *found = view->props[at];
    }
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc;
}

/* Which datasets go on: those with the snapshot of their fork, below one that goes on too. */
static enum zb_rc
forks_choose(const struct zb_keeper_view *view, const struct zb_kreq *req, struct chosen *chosen,
             size_t *count, struct zb_err *err)
{
    const struct zb_manifest *forks = &req->manifest;

    *count = 0;
    for (uint32_t i = 0; i < forks->entries_count; i++) { /* sorted: parents first */
        const struct zb_manifest_entry *e = &forks->entries[i];
        const struct zb_zfs_props *props;
        enum zb_rc rc = fork_find(view, forks, e, &props, err);

        if (rc != ZB_OK) {
            return rc;
        }
        if (props != NULL && (e->rel[0] == '\0' || is_parent_chosen(chosen, *count, e->rel))) {
            chosen[(*count)++] = (struct chosen){props, e};
        }
    }
    if (*count == 0 && (req->flags & ZB_KF_WHOLE) == 0) {
        return zb_err_set(err, ZB_E_NOTFOUND,
                          "%s has nothing in common with what it is to go on from", view->dataset);
    }
    return ZB_OK;
}

/* ---- the way aside ---- */

/* What is begun is marked before the rename, which makes it so: nothing is to be asked after it. */
static enum zb_rc
marks_set(const struct zb_keeper_view *view, const struct chosen *chosen, size_t count,
          struct zb_err *err)
{
    const struct zb_zfs_setprop begun = {.name = ZB_KEEPER_RESCUE, .text = ZB_KEEPER_RESCUE_BEGUN};
    enum zb_rc rc = zb_keeper_rescue_unmark(view, err);

    for (size_t i = 0; i < count && rc == ZB_OK; i++) {
        char text[ZB_FORK_MARK_SIZE];
        const struct zb_zfs_setprop fork = {.name = ZB_KEEPER_FORK, .text = text};

        zb_rules_fork_format(chosen[i].entry->guid, chosen[i].entry->rel, text);
        rc = zb_zfs_props_set(chosen[i].props->name, &fork, 1, err);
    }
    return rc == ZB_OK ? zb_zfs_props_set(view->dataset, &begun, 1, err) : rc;
}

static enum zb_rc
room_check(const struct zb_keeper *k, size_t forks_count, struct zb_err *err)
{
    struct zb_zfs_props root = {0};
    enum zb_rc rc = zb_zfs_props_get(k->conf->root, &root, err);

    if (rc == ZB_OK) {
        rc = zb_rules_rescue_room(root.available_bytes, forks_count, err);
        zb_zfs_props_close(&root);
    }
    return rc;
}

/* Renames the tree, and makes what goes on. */
static enum zb_rc
aside_go(struct zb_keeper *k, struct zb_keeper_service *s, const struct zb_keeper_view *view,
         const char *aside, struct zb_err *err)
{
    bool kept = false;
    enum zb_rc rc = zb_keeper_aside_begin(k, s, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_zfs_rename(view->dataset, aside, err);
    if (rc == ZB_OK) {
        zb_log_warning("%s is set aside as %s", view->dataset, aside);
        rc = zb_keeper_rescue_end(k, s->name, aside, &kept, err);
        if (!kept) { /* whatever is asked for next goes on with it first */
            (void)pthread_mutex_lock(&k->lock);
            s->settled = false;
            (void)pthread_mutex_unlock(&k->lock);
        }
        s->last_term = 0;
    }
    zb_keeper_aside_end(k, s);
    return rc;
}

static enum zb_rc
reply_fill(struct zb_krep *rep, const char *aside, const char *name, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    enum zb_rc rc = zb_zfs_props_get(aside, &props, err);

    if (rc == ZB_OK) {
        rep->bytes = props.used_bytes;
        rep->text = strdup(name);
        zb_zfs_props_close(&props);
        rc = rep->text != NULL ? ZB_OK : zb_err_set(err, ZB_E_NOMEM, "no memory for a name");
    }
    return rc;
}

static enum zb_rc
rescue_do(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
          struct zb_err *err)
{
    const struct zb_kreq *req = &job->req;
    struct chosen *chosen = calloc(req->manifest.entries_count + 1, sizeof(*chosen));
    char name[ZB_RESCUE_NAME_SIZE];
    char aside[ZB_DATASET_NAME_SIZE];
    size_t count = 0;
    enum zb_rc rc;

    if (chosen == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory to set %s aside", view->dataset);
    }
    zb_rules_rescue_name_format(req->service, req->term, (struct zb_wall){req->time_s}, name);
    rc = zb_keeper_side_dataset(k, &zb_keeper_rescues, name, aside, err);
    if (rc == ZB_OK) {
        rc = forks_choose(view, req, chosen, &count, err);
    }
    if (rc == ZB_OK) {
        rc = room_check(k, count, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_side_container_make(k, &zb_keeper_rescues, err);
    }
    if (rc == ZB_OK) {
        rc = marks_set(view, chosen, count, err);
    }
    free(chosen);
    if (rc == ZB_OK) {
        rc = aside_go(k, job->service, view, aside, err);
    }
    return rc == ZB_OK ? reply_fill(&job->rep, aside, name, err) : rc;
}

enum zb_rc
zb_keeper_op_rescue(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    bool needless = false;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = rescue_check(k, job, &view, &needless, err);
    }
    if (rc == ZB_OK && !needless) {
        rc = zb_keeper_partials_abort(k, job->req.service, &view, err);
    }
    if (rc == ZB_OK && !needless) {
        rc = rescue_do(k, job, &view, err);
    }
    zb_keeper_view_close(&view);
    return rc;
}
