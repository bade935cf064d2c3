/*
 * token.create, token.list, token.revoke.
 */
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/member.h"
#include "agent/must.h"
#include "agent/request.h"
#include "base/log.h"

#define LIFETIME_DEFAULT_S 86400

static json_t *
time_json(struct zb_wall time)
{
    char buf[24];

    zb_wall_format(time, buf);
    return zb_json_text(buf);
}

/* What goes into the token beside its secret. */
static enum zb_rc
token_fill(const struct zb_request *r, struct zb_token *token, struct zb_err *err)
{
    const struct zb_agent *a = r->a;
    struct zb_pki_cert_info ca;
    const char *address = zb_request_text(r, "address");
    int64_t lifetime_s = zb_request_int(r, "lifetime_s", LIFETIME_DEFAULT_S);
    enum zb_rc rc = zb_member_issuer_check(a, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (lifetime_s < 1 || lifetime_s > ZB_TOKEN_LIFETIME_MAX_S) {
        return zb_err_set(err, ZB_E_USAGE, "a token lives from 1 s to %d days",
                          ZB_TOKEN_LIFETIME_MAX_S / 86400);
    }
    if (strlen(address) >= sizeof token->address) {
        return zb_err_set(err, ZB_E_USAGE, "address too long");
    }
    rc = zb_pki_cert_info((struct zb_pem){"CA certificate", a->pki.ca_crt}, &ca, err);
    if (rc != ZB_OK) {
        return rc;
    }
    zb_strcopy(token->cluster_id, sizeof token->cluster_id, a->cluster_id);
    zb_strcopy(token->address, sizeof token->address,
               address[0] == '\0' ? a->nodes[a->self].address : address);
    zb_strcopy(token->ca_fingerprint, sizeof token->ca_fingerprint, ca.fingerprint);
    token->expires.s = zb_wall_now().s + lifetime_s;
    return ZB_OK;
}

void
zb_cmd_token_create(struct zb_request *r)
{
    struct zb_token token = {0};
    struct zb_token_record record;
    char text[ZB_TOKEN_TEXT_SIZE];
    struct zb_err err;
    enum zb_rc rc = token_fill(r, &token, &err);

    if (rc == ZB_OK) {
        rc = zb_token_create(&token, text, &record, &err);
    }
    if (rc == ZB_OK) {
        rc = zb_member_token_add(r->a, &record, &err);
    }
    if (rc == ZB_OK) {
        json_t *data = zb_must(json_object());
        zb_agent_event(r->a, ZB_LOG_INFO, "", "N-token", "token %s made by %s", record.id, r->who);
        zb_json_put(data, "id", zb_json_text(record.id));
        zb_json_put(data, "token", zb_json_text(text));
        zb_json_put(data, "expires", time_json(record.expires));
        zb_request_done(r, data);
    } else {
        zb_request_fail(r, &err, NULL);
    }
    zb_token_close(&token);
    explicit_bzero(text, sizeof text);
}

void
zb_cmd_token_list(struct zb_request *r)
{
    uint32_t count;
    const struct zb_member_token *tokens = zb_member_tokens(r->a, &count);
    json_t *array = zb_json_array_new();
    struct zb_err err;

    if (zb_member_issuer_check(r->a, &err) != ZB_OK) {
        json_decref(array);
        zb_request_fail(r, &err, NULL);
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        json_t *token = zb_must(json_object());
        zb_json_put(token, "id", zb_json_text(tokens[i].record.id));
        zb_json_put(token, "expires", time_json(tokens[i].record.expires));
        zb_json_put(token, "used_by",
                    tokens[i].record.used ? zb_json_text(tokens[i].used_by) : zb_must(json_null()));
        zb_json_append(array, token);
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "tokens", array);
    zb_request_done(r, data);
}

void
zb_cmd_token_revoke(struct zb_request *r)
{
    const char *id = zb_request_text(r, "id");
    struct zb_err err;
    enum zb_rc rc = zb_member_issuer_check(r->a, &err);

    if (rc == ZB_OK) {
        rc = zb_member_token_remove(r->a, id, &err);
    }
    if (rc != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    zb_agent_event(r->a, ZB_LOG_INFO, "", "N-token", "token %s revoked by %s", id, r->who);
    zb_request_done(r, zb_must(json_object()));
}
