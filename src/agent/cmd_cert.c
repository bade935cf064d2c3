/*
 * cert.renew: a new certificate for a node. cert.sign is what that node asks of the one that holds
 * the CA's key.
 */
#include "agent/cert.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"

static void
on_done(void *ctx, const struct zb_wall *ends, const struct zb_err *err)
{
    struct zb_request *r = ctx;
    char text[24];

    if (ends == NULL) {
        zb_request_fail(r, err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_wall_format(*ends, text);
    zb_json_put(data, "node", zb_json_text(r->a->nodes[r->a->self].name));
    zb_json_put(data, "ends", zb_json_text(text));
    zb_request_done(r, data);
}

/* Whoever passed this on may not hear the result: its connection is of the certificate before. */
static void
on_used(void *ctx, struct zb_wall ends)
{
    struct zb_request *r = ctx;
    json_t *line = zb_must(json_object());
    char text[24];

    zb_wall_format(ends, text);
    zb_json_put(line, "ends", zb_json_text(text));
    zb_request_progress(r, line);
}

/* --- of another node --- */

static void
on_far_progress(void *ctx, json_t *line)
{
    struct zb_request *r = ctx;
    json_t *ends = json_object_get(line, "ends");

    if (json_is_string(ends)) {
        zb_json_put(r->args, "ends", json_incref(ends));
    }
}

static void
on_far_result(void *ctx, json_t *result)
{
    struct zb_request *r = ctx;
    struct zb_err err;
    json_t *data = zb_result_data(result, &err);
    json_t *ends = json_object_get(r->args, "ends");

    if (data != NULL) {
        zb_request_done(r, json_incref(data));
    } else if (err.rc == ZB_E_CLOSED && json_is_string(ends)) {
        data = zb_must(json_object());
        zb_json_put(data, "node", zb_json_text(zb_request_text(r, "node")));
        zb_json_put(data, "ends", json_incref(ends));
        zb_request_done(r, data);
    } else {
        zb_request_fail(r, &err, json_string_value(json_object_get(result, "rule")));
    }
}

void
zb_cmd_cert_renew(struct zb_request *r)
{
    const struct zb_cert_order order = {
        .who = r->who, .on_used = on_used, .on_done = on_done, .ctx = r};
    uint8_t node = zb_agent_node_find(r->a, zb_request_text(r, "node"));

    if (node != ZB_NODE_NONE && node != r->a->self && !r->from_peer) {
        const struct zb_forward_ask ask = {.node = node,
                                           .cmd = r->command->name,
                                           .args = r->args,
                                           .who = r->who,
                                           .on_progress = on_far_progress,
                                           .on_result = on_far_result,
                                           .ctx = r};
        zb_forward_start(r->a, &ask);
    } else if (zb_forward_to_named(r)) {
        zb_cert_renew(r->a, &order);
    }
}

/* --- signing --- */

void
zb_cmd_cert_sign(struct zb_request *r)
{
    char *cert = NULL;
    struct zb_err err;
    /* Who is at the other end is what its certificate says, not what it says. */
    const char *node = r->a->nodes[r->peer].name;

    if (zb_cert_sign(r->a, node, zb_request_text(r, "csr"), &cert, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "cert", zb_json_text(cert));
    zb_pki_text_free(cert);
    zb_request_done(r, data);
}
