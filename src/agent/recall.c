/* A set that the history does not know (position.h): of before this node, or the cluster, was. */
#include "agent/internal.h"
#include "agent/must.h"
#include "agent/position.h"

struct recall {
    struct zb_agent *a;
    uint16_t service;
    struct zb_set_id id;
    void (*cb)(void *ctx, enum zb_recall what, const struct zb_manifest *m);
    void *ctx;
};

static void
on_fetched(void *ctx, const struct zb_inventory_result *result)
{
    struct recall *q = ctx;
    enum zb_recall what = ZB_RECALL_NONE;
    struct zb_manifest m = {0};

    if (result->rc == ZB_OK && q->a->services[q->service].present) {
        what = zb_inventory_recall(result->inventory, q->id, &m);
    }
    if (what == ZB_RECALL_WHOLE) { /* of a part nobody says that it is all */
        zb_position_store(q->a, q->service, &m);
    }
    q->cb(q->ctx, what, what == ZB_RECALL_NONE ? NULL : &m);
    zb_manifest_close(&m);
    free(q);
}

void
zb_position_recall(struct zb_agent *a, uint16_t service, struct zb_set_id id,
                   void (*cb)(void *ctx, enum zb_recall what, const struct zb_manifest *m),
                   void *ctx)
{
    const struct zb_manifest *m =
        zb_set_id_is_none(id) ? NULL : zb_position_manifest(a, service, id);

    if (m != NULL || zb_set_id_is_none(id)) {
        cb(ctx, m == NULL ? ZB_RECALL_NONE : ZB_RECALL_WHOLE, m);
        return;
    }
    struct recall *q = zb_must_alloc(1, sizeof *q);
    *q = (struct recall){.a = a, .service = service, .id = id, .cb = cb, .ctx = ctx};
    zb_inventory_fetch(a, service, false, on_fetched, q);
}
