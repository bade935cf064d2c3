/* Datasets below a tree that are none of the set's: kmsg.h, PROMOTE. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

/* Whether the set has this dataset of the tree (an unfit one: never). */
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
