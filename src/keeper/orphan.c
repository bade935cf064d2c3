/* Datasets below a tree that are none of the set's: kmsg.h, PROMOTE. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

/* ---- renamed where the set was made ---- */

/* One dataset that does not stand where the set has it; *any: there was one. */
static enum zb_rc
rename_next(const struct zb_keeper *k, const struct zb_kreq *req, const struct zb_keeper_view *view,
            bool *any, struct zb_err *err)
{
    const struct zb_keeper_facts f = {.datasets_count = view->count, .datasets = view->datasets};

    for (uint32_t i = 0; i < req->manifest.entries_count; i++) { /* sorted: parents first */
        const struct zb_manifest_entry *e = &req->manifest.entries[i];
        int64_t at = zb_rules_entry_dataset(e, &f);
        char to[ZB_DATASET_NAME_SIZE];
        enum zb_rc rc;

        if (at < 0 || strcmp(f.datasets[at].rel, e->rel) == 0) {
            continue;
        }
        rc = zb_keeper_dataset_name(k, req->service, e->rel, to, err);
        if (rc == ZB_OK) {
            zb_log_info("%s is %s in the set: renamed", view->props[at]->name, to);
            rc = zb_zfs_rename(view->props[at]->name, to, err);
        }
        *any = true;
        return rc;
    }
    *any = false;
    return ZB_OK;
}

enum zb_rc
zb_keeper_renames_follow(struct zb_keeper *k, const struct zb_kreq *req,
                         struct zb_keeper_view *view, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    /* Each one settles an entry for good, or fails. */
    for (uint32_t i = 0; i <= req->manifest.entries_count && rc == ZB_OK; i++) {
        bool any = false;

        rc = rename_next(k, req, view, &any, err);
        if (rc != ZB_OK || !any) {
            return rc;
        }
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, req->service, view, err);
    }
    return rc;
}

/* ---- the mark ---- */

/* Whether the set has this dataset of the tree (a volume or an unfit one: never). */
static bool
is_in_set(const struct zb_manifest *m, const struct zb_keeper_view *view,
          const struct zb_zfs_props *p)
{
    const struct zb_keeper_facts f = {.datasets_count = view->count, .datasets = view->datasets};

    for (uint32_t i = 0; i < view->count; i++) {
        if (view->props[i] == p) {
            return !zb_rules_is_orphan(m, &f, i);
        }
    }
    return false;
}

enum zb_rc
zb_keeper_orphans_mark(struct zb_keeper *k, const struct zb_kreq *req, struct zb_keeper_view *view,
                       struct zb_err *err)
{
    char term[24];
    const struct zb_zfs_setprop mark = {.name = ZB_KEEPER_ORPHAN, .text = term};
    bool any = false;
    enum zb_rc rc = ZB_OK;

    (void)snprintf(term, sizeof(term), "%" PRIu64, req->term);
    for (size_t i = 0; i < view->tree.count && rc == ZB_OK; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];

        if (!is_in_set(&req->manifest, view, p) && !zb_keeper_is_orphan(view, p)) {
            zb_log_warning("%s is not in the set that term %s begins with: left alone", p->name,
                           term);
            rc = zb_zfs_props_set(p->name, &mark, 1, err);
            any = true;
        }
    }
    if (rc == ZB_OK && any) {
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, req->service, view, err);
    }
    return rc;
}

enum zb_rc
zb_keeper_orphan_clear(struct zb_keeper *k, const struct zb_kreq *req, struct zb_keeper_view *view,
                       struct zb_err *err)
{
    const char *const mark = ZB_KEEPER_ORPHAN;
    char name[ZB_DATASET_NAME_SIZE];
    bool any = false;
    enum zb_rc rc = zb_keeper_dataset_name(k, req->service, req->rel, name, err);

    for (size_t i = 0; i < view->tree.count && rc == ZB_OK; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];
        size_t n = strlen(p->name);

        if (strncmp(p->name, name, n) == 0 && (name[n] == '\0' || name[n] == '/') &&
            zb_zfs_props_local(p, mark) != NULL) {
            rc = zb_zfs_props_inherit(p->name, &mark, 1, err);
            any = true;
        }
    }
    if (rc == ZB_OK && any) {
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, req->service, view, err);
    }
    return rc;
}
