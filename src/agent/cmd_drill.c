/*
 * drill: whether the copy of this node would do.
 */
#include "agent/drill.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

static void
on_done(void *ctx, const json_t *result, const struct zb_err *err)
{
    struct zb_request *r = ctx;

    if (result == NULL) {
        zb_request_fail(r, err, NULL);
        return;
    }
    json_t *data = zb_must(json_deep_copy(result));
    zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
    zb_json_put(data, "service", zb_json_text(zb_request_text(r, "service")));
    zb_request_done(r, data);
}

void
zb_cmd_drill(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    struct zb_core_view view;
    struct zb_err err;

    if (service == ZB_SERVICE_NONE || !zb_forward_to_named(r)) {
        return;
    }
    zb_core_view(r->a->core, service, &view);
    if (view.leader == r->a->self) {
        const char *name = r->a->services[service].conf.name;
        (void)zb_err_set(&err, ZB_E_REFUSED, "%s leads %s: a drill is for a follower's copy",
                         r->a->nodes[r->a->self].name, name);
        (void)zb_err_hint(&err, "zbaton drill %s --node NODE", name);
        zb_request_fail(r, &err, NULL);
        return;
    }
    const struct zb_drill_order order = {.service = service, .on_done = on_done, .ctx = r};
    zb_drill_start(r->a, &order);
}
