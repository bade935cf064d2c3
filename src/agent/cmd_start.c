/*
 * start: that a service failed, anywhere, is forgotten; so it is started again where it is led, and
 * may go everywhere.
 */
#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/placing.h"
#include "agent/request.h"

static void
start_done(struct zb_request *r, bool was)
{
    uint16_t service = zb_agent_service_find(r->a, zb_request_text(r, "service"));
    json_t *data = zb_must(json_object());

    if (service != ZB_SERVICE_NONE) {
        zb_placing_forget(r->a, service);
    }
    zb_json_put(data, "service", zb_json_text(zb_request_text(r, "service")));
    zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
    zb_json_put(data, "was", zb_json_bool(was));
    zb_request_done(r, data);
}

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct zb_request *r = ctx;

    if (outcome->rc != ZB_OK) {
        zb_request_fail(r, outcome->err, NULL);
        return;
    }
    zb_agent_event(r->a, ZB_LOG_INFO, zb_request_text(r, "service"), "A-start",
                   "%s starts it: that it failed is forgotten", r->who);
    start_done(r, true);
}

void
zb_cmd_start(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    struct zb_config_doc doc = {0};
    struct zb_err err;

    if (service == ZB_SERVICE_NONE || !zb_forward_to_leader(r, service)) {
        return;
    }
    if (zb_config_doc_copy(&doc, zb_config_current(r->a), &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
    } else if (!zb_faileds_remove(&doc.failed, r->a->services[service].conf.name, NULL)) {
        start_done(r, false);
    } else {
        const struct zb_config_change change = {.doc = &doc, .on_done = on_configured, .ctx = r};
        doc.version++;
        zb_config_change(r->a, &change);
    }
    zb_config_doc_close(&doc);
}
