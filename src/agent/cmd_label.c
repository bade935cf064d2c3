/*
 * label: a set gets a label, or loses it, with the next version of the configuration. With a label
 * it is kept on every member that has it.
 */
#include <inttypes.h>

#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/request.h"

/* --- the change --- */

struct change {
    struct zb_label_order order;
    struct zb_agent *a;
    struct zb_config_doc doc; /* the next version */
};

static void
change_end(struct change *c, const struct zb_err *err)
{
    c->order.on_done(c->order.ctx, err);
    zb_config_doc_close(&c->doc);
    free(c);
}

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct change *c = ctx;
    const struct zb_label *l = &c->order.label;
    bool off = l->text[0] == '\0';

    if (outcome->rc == ZB_OK) {
        zb_agent_event(c->a, ZB_LOG_INFO, l->service, off ? "CFG-unlabel" : "CFG-label",
                       "set %" PRIu64 "/%" PRIu64 "%s%s, by %s", l->set.term, l->set.seq,
                       off ? " has no label any more" : " is kept: ", l->text, l->who);
    }
    change_end(c, outcome->rc == ZB_OK ? NULL : outcome->err);
}

/* *same: there is nothing to be done. */
static enum zb_rc
doc_change(struct change *c, bool *same, struct zb_err *err)
{
    const struct zb_label *l = &c->order.label;
    const struct zb_label *now = zb_labels_find(&c->doc.labels, l->service, l->set);

    *same = strcmp(now != NULL ? now->text : "", l->text) == 0;
    if (*same) {
        return ZB_OK;
    }
    c->doc.version++;
    if (l->text[0] == '\0') {
        (void)zb_labels_remove(&c->doc.labels, l->service, l->set);
        return ZB_OK;
    }
    return zb_labels_put(&c->doc.labels, l, err);
}

void
zb_label_start(struct zb_agent *a, const struct zb_label_order *order)
{
    struct change *c = zb_must_alloc(1, sizeof *c);
    bool same = false;
    struct zb_err err;

    *c = (struct change){.order = *order, .a = a};
    c->order.label.since = zb_wall_now();
    enum zb_rc rc = order->label.text[0] != '\0' ? zb_label_check(order->label.text, &err) : ZB_OK;
    if (rc == ZB_OK) {
        rc = zb_config_doc_copy(&c->doc, zb_config_current(a), &err);
    }
    if (rc == ZB_OK) {
        rc = doc_change(c, &same, &err);
    }
    if (rc != ZB_OK || same) {
        change_end(c, rc != ZB_OK ? &err : NULL);
        return;
    }
    struct zb_config_change change = {.doc = &c->doc, .on_done = on_configured, .ctx = c};
    zb_config_change(a, &change);
}

/* --- the command --- */

static void
on_done(void *ctx, const struct zb_err *err)
{
    struct zb_request *r = ctx;

    if (err != NULL) {
        zb_request_fail(r, err, NULL);
    } else {
        zb_request_done(r, zb_must(json_object()));
    }
}

static void
no_set(struct zb_request *r, const struct zb_label *l, const char *why)
{
    struct zb_err err;

    (void)zb_err_set(&err, ZB_E_NOTFOUND, "set %" PRIu64 "/%" PRIu64 " of %s %s", l->set.term,
                     l->set.seq, l->service, why);
    (void)zb_err_hint(&err, "zbaton history %s lists the sets", l->service);
    zb_request_fail(r, &err, NULL);
}

/* The history knows sets that are gone, or stand in a rescue only: such a one cannot be kept. */
static void
on_checked(void *ctx, bool held)
{
    struct zb_label_order *order = ctx;
    struct zb_request *r = order->ctx;

    if (held) {
        zb_label_start(r->a, order);
    } else {
        no_set(r, &order->label, "is not on the leader whole any more");
    }
    free(order);
}

static void
label_put(const struct zb_label_order *order, struct zb_request *r, uint16_t service)
{
    const struct zb_manifest *m = zb_position_manifest(r->a, service, order->label.set);

    if (m == NULL) {
        no_set(r, &order->label, "is not known");
        return;
    }
    struct zb_label_order *kept = zb_must_alloc(1, sizeof *kept);
    *kept = *order;
    zb_position_check(r->a, service, m, on_checked, kept);
}

void
zb_cmd_label(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    const char *text = zb_request_text(r, "label");
    struct zb_label_order order = {.on_done = on_done, .ctx = r};
    struct zb_err err;
    enum zb_rc rc;

    /* Its leader knows every set; to give one up needs none. */
    if (service == ZB_SERVICE_NONE || (text[0] != '\0' && !zb_forward_to_leader(r, service))) {
        return;
    }
    rc = zb_request_set(r, service, &order.label.set, &err);
    if (rc == ZB_OK && text[0] != '\0') {
        rc = zb_label_check(text, &err);
    }
    if (rc != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_label_order_fill(&order, r, service, text);
    if (text[0] != '\0') {
        label_put(&order, r, service);
    } else if (zb_labels_find(&r->a->labels, order.label.service, order.label.set) != NULL) {
        zb_label_start(r->a, &order);
    } else {
        no_set(r, &order.label, "has no label");
    }
}

void
zb_label_order_fill(struct zb_label_order *order, const struct zb_request *r, uint16_t service,
                    const char *text)
{
    zb_strcopy(order->label.service, sizeof order->label.service,
               r->a->services[service].conf.name);
    zb_strcopy(order->label.text, sizeof order->label.text, text);
    (void)snprintf(order->label.who, sizeof order->label.who, "%s", r->who);
}
