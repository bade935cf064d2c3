/* Join requests as they come in: form only; whether somebody may join is the agent's. */
#include "net/internal.h"

#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "net/x509.h"

#define JOIN_ANSWER_MS 30000 /* the agent's time to answer */

/* Copies a field that fits its buffer. */
static bool
field_copy(char *to, size_t size, const char *from)
{
    if (strlen(from) >= size) {
        return false;
    }
    zb_strcopy(to, size, from);
    return true;
}

/* NULL, or what is wrong with the request. */
static const char *
request_parse(json_t *json, struct zb_join_request *request)
{
    int version, renew = 0, lost = 0;
    const char *id, *node, *address, *proof;
    uint8_t id_bytes[(ZB_TOKEN_ID_SIZE - 1) / 2];
    struct zb_err err;

    if (json_unpack(json, "{s:i, s:s, s:s, s:s, s:s, s:s, s?b, s?b !}", "join", &version, "id", &id,
                    "node", &node, "address", &address, "csr", &request->csr_pem, "proof", &proof,
                    "renew", &renew, "lost", &lost) != 0) {
        return "without a certificate only a join request is accepted";
    }
    if (version != 1) {
        return "join request of another version";
    }
    if (!zb_hex_parse(id, id_bytes, sizeof id_bytes) ||
        !zb_hex_parse(proof, request->proof, sizeof request->proof)) {
        return "join request: bad id or proof";
    }
    request->renew = renew != 0;
    request->lost = lost != 0;
    if (!zb_node_name_valid(node) ||
        (!(request->renew && address[0] == '\0') && !zb_socket_address_valid(address))) {
        return "join request: bad node name or address";
    }
    if (!field_copy(request->token_id, sizeof request->token_id, id) ||
        !field_copy(request->node, sizeof request->node, node) ||
        !field_copy(request->address, sizeof request->address, address)) {
        return "join request: a field is too long";
    }
    struct zb_pem csr = {"join request", request->csr_pem};
    if (zb_pki_csr_check(csr, request->node, &err) != ZB_OK) {
        return "join request: bad certificate request";
    }
    return NULL;
}

void
zb_join_frame(struct zb_conn *conn, json_t *json)
{
    struct zb_net *net = conn->net;
    struct zb_join_request request = {0};

    const char *wrong = request_parse(json, &request);
    if (wrong == NULL && net->callbacks.on_join == NULL) {
        wrong = "this node lets nobody join";
    }
    if (wrong != NULL) {
        zb_hello_refuse(conn, "%s", wrong);
        return;
    }
    zb_tls_binding(conn->ssl, request.binding);
    zb_strcopy(request.from, sizeof request.from, conn->address);
    request.id = conn->id = ++net->last_id;
    conn->state = ZB_CONN_JOINING;
    conn->deadline_ms = zb_net_now(net) + JOIN_ANSWER_MS;
    net->callbacks.on_join(net->ctx, &request);
}

static struct zb_conn *
joining_find(struct zb_net *net, uint64_t join_id)
{
    struct zb_conn *conn;

    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (conn->state == ZB_CONN_JOINING && conn->id == join_id) {
            return conn;
        }
    }
    return NULL;
}

static json_t *
reply_json(const struct zb_join_result *result)
{
    json_t *nodes = json_array();
    for (uint32_t i = 0; i < result->nodes_count; i++) {
        const struct zb_join_node *node = &result->nodes[i];
        json_t *item = json_pack("{s:s, s:s, s:s}", "name", node->name, "address", node->address,
                                 "fingerprint", node->fingerprint);
        if (json_array_append_new(nodes, item) != 0) {
            zb_out_of_memory();
        }
    }
    json_t *json = json_pack("{s:s, s:s, s:s, s:s, s:o}", "cert", result->cert_pem, "ca",
                             result->ca_pem, "cluster_id", result->cluster_id, "cluster_name",
                             result->cluster_name, "nodes", nodes);
    if (json == NULL) {
        zb_out_of_memory();
    }
    return json;
}

enum zb_rc
zb_net_join_reply(struct zb_net *net, uint64_t join_id, const struct zb_join_result *result,
                  struct zb_err *err)
{
    struct zb_conn *conn = joining_find(net, join_id);
    if (conn == NULL) {
        return zb_err_set(err, ZB_E_CLOSED, "the joining node has gone");
    }
    json_t *json = reply_json(result);
    enum zb_rc rc = zb_buf_json(&conn->out, ZB_FRAME_JSON, json, ZB_WIRE_FRAME_MAX, err);
    json_decref(json);
    if (rc == ZB_OK) {
        zb_conn_linger(conn);
    }
    return rc;
}

void
zb_net_join_refuse(struct zb_net *net, uint64_t join_id, const char *reason)
{
    struct zb_conn *conn = joining_find(net, join_id);
    if (conn != NULL) {
        zb_hello_error_send(conn, reason);
    }
}
