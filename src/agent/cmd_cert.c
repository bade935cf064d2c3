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

void
zb_cmd_cert_renew(struct zb_request *r)
{
    const struct zb_cert_order order = {.who = r->who, .on_done = on_done, .ctx = r};

    if (zb_forward_to_named(r)) {
        zb_cert_renew(r->a, &order);
    }
}

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
