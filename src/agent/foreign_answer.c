/* The leader's side of foreign.h: which of a follower's snapshots are gone here. */
#include "agent/foreign.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "agent/position.h"

struct answer {
    struct zb_agent *a;
    uint16_t service;
    uint8_t node;
    uint64_t ask;
    json_t *items; /* owned */
};

/* Which of the items are gone here; what is no item counts as there. */
static json_t *
gone_list(const struct zb_inventory *inv, const json_t *items)
{
    json_t *list = zb_json_array_new();

    for (size_t i = 0; i < json_array_size(items); i++) {
        const json_t *one = json_array_get(items, i);
        const char *uuid = json_string_value(json_array_get(one, 0));
        uint64_t guid = 0;
        if (uuid != NULL && zb_json_is_u64(json_array_get(one, 1), &guid) &&
            zb_foreign_is_gone(inv, uuid, guid)) {
            zb_json_append(list, zb_json_int((int64_t)i));
        }
    }
    return list;
}

static bool
leads(const struct zb_agent *a, uint16_t service, uint64_t term)
{
    struct zb_core_view view;

    zb_core_view(a->core, service, &view);
    return view.leader == a->self && view.term == term;
}

static void
gone_send(struct zb_agent *a, const struct answer *c, enum zb_rc rc, json_t *list)
{
    json_t *msg = zb_json_new("foreign.gone");

    zb_json_put(msg, "service", zb_json_text(a->services[c->service].conf.name));
    zb_json_put(msg, "ask", zb_json_u64(c->ask));
    zb_json_put(msg, "rc", zb_json_int(rc));
    zb_json_put(msg, "items", list);
    (void)zb_peer_send(a, c->node, msg);
}

static void
on_own_listed(void *ctx, const struct zb_inventory_result *result)
{
    struct answer c = *(struct answer *)ctx;

    bool *answering = zb_foreign_answering(c.a, c.node);

    free(ctx);
    if (answering != NULL && !c.a->stopping) {
        *answering = false;
        gone_send(c.a, &c, result->rc,
                  result->rc == ZB_OK ? gone_list(result->inventory, c.items)
                                      : zb_json_array_new());
    }
    json_decref(c.items);
}

void
zb_foreign_answer(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    char name[ZB_SERVICE_NAME_SIZE];
    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    struct answer ask = {.a = a, .node = node, .ask = zb_json_read_u64(&r, "ask")};
    uint64_t term = zb_json_read_u64(&r, "term");
    json_t *items = json_object_get(msg, "items");

    ask.service = zb_agent_service_find(a, name);
    if (r.bad != NULL || !json_is_array(items) || ask.service == ZB_SERVICE_NONE ||
        json_array_size(items) > ZB_FOREIGN_ITEMS_MAX) {
        zb_log_warning("%s asked for snapshots in a way that is not understood",
                       a->nodes[node].name);
        return;
    }
    bool *answering = zb_foreign_answering(a, node);
    if (!leads(a, ask.service, term) || *answering) {
        gone_send(a, &ask, *answering ? ZB_E_BUSY : ZB_E_STALE, zb_json_array_new());
        return;
    }
    struct answer *c = zb_must_alloc(1, sizeof(*c));
    *c = ask;
    c->items = json_incref(items);
    *answering = true;
    zb_inventory_fetch(a, c->service, on_own_listed, c);
}
