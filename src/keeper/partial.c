/* Receives that did not come to their end. */
#include "keeper/internal.h"

static bool
is_own_partial(const struct zb_keeper_view *view, uint32_t i)
{
    const struct zb_zfs_props *p = view->props[i];

    return (p->token[0] != '\0' || p->inconsistent) && zb_keeper_is_own(view, &view->datasets[i]);
}

enum zb_rc
zb_keeper_partials_abort(struct zb_keeper *k, const char *service, struct zb_keeper_view *view,
                         struct zb_err *err)
{
    bool any = false;
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = view->count; i-- > 0 && rc == ZB_OK;) {
        if (is_own_partial(view, i)) {
            rc = zb_zfs_receive_abort(view->props[i]->name, err);
            any = true;
        }
    }
    if (rc == ZB_OK && any) {
        zb_keeper_view_close(view);
        rc = zb_keeper_view_open(k, service, view, err);
    }
    return rc;
}

void
zb_keeper_complete_only(const struct zb_keeper_view *view, struct zb_kdataset *kept,
                        struct zb_keeper_facts *facts)
{
    facts->datasets = kept;
    facts->datasets_count = 0;
    for (uint32_t i = 0; i < view->count; i++) {
        if (!view->props[i]->inconsistent) {
            kept[facts->datasets_count++] = view->datasets[i];
        }
    }
}
