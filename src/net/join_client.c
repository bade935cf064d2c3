/* The joiner: blocking, for the CLI, one deadline for all of it. */
#include "net/token.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <openssl/err.h>

#include "base/log.h"
#include "net/buf.h"
#include "net/socket.h"
#include "net/tls.h"
#include "net/x509.h"

struct joiner {
    const struct zb_join_ask *ask;
    const char *address; /* where to connect */
    int64_t deadline_ms;
    int fd;
    SSL_CTX *ctx;
    SSL *ssl;
    char *csr_pem;
    char pinned[ZB_FINGERPRINT_SIZE];
};

/* Waits until fd is ready. */
static enum zb_rc
ready_wait(struct joiner *j, short events, struct zb_err *err)
{
    for (;;) {
        int64_t left_ms = j->deadline_ms - zb_mono_now().ms;
        if (left_ms <= 0) {
            return zb_err_set(err, ZB_E_TIMEOUT, "%s: no answer in time", j->address);
        }
        struct pollfd pfd = {.fd = j->fd, .events = events};
        int rc = poll(&pfd, 1, (int)left_ms);
        if (rc > 0) {
            return ZB_OK;
        }
        if (rc < 0 && errno != EINTR) {
            return zb_err_sys(err, errno, "poll");
        }
    }
}

/* After a failed SSL call: waits for what it wants, or says why it cannot go on. */
static enum zb_rc
tls_wait(struct joiner *j, int ssl_rc, struct zb_err *err)
{
    char reason[256];

    switch (zb_tls_status(j->ssl, ssl_rc, reason, sizeof reason)) {
    case ZB_TLS_WANT_READ:
        return ready_wait(j, POLLIN, err);
    case ZB_TLS_WANT_WRITE:
        return ready_wait(j, POLLOUT, err);
    case ZB_TLS_PROTOCOL:
        zb_err_set(err, ZB_E_AUTH, "%s: %s", j->address, reason);
        if (SSL_get_verify_result(j->ssl) != X509_V_OK) {
            zb_err_wrap(err, "not the cluster that the token is of (nothing was sent)");
        }
        return err->rc;
    case ZB_TLS_CLOSED:
        break;
    }
    return zb_err_set(err, ZB_E_CLOSED, "%s: %s", j->address, reason);
}

static enum zb_rc
connect_and_handshake(struct joiner *j, struct zb_err *err)
{
    struct zb_socket_address address;
    enum zb_rc rc = zb_socket_address_parse(j->address, &address, err);

    if (rc == ZB_OK) {
        rc = zb_socket_connect(&address, &j->fd, err);
    }
    if (rc == ZB_OK) {
        rc = ready_wait(j, POLLOUT, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    int number = zb_socket_error(j->fd);
    if (number != 0) {
        return zb_err_sys(err, number, "connect to %s", j->address);
    }
    j->ctx = zb_tls_join_context(j->pinned);
    j->ssl = zb_tls_open(j->ctx, j->fd, true);
    for (;;) {
        ERR_clear_error();
        int done = SSL_do_handshake(j->ssl);
        if (done == 1) {
            return ZB_OK;
        }
        rc = tls_wait(j, done, err);
        if (rc != ZB_OK) {
            return rc;
        }
    }
}

static enum zb_rc
request_frame(struct joiner *j, struct zb_buf *frame, struct zb_err *err)
{
    struct zb_join_request request = {.csr_pem = j->csr_pem};
    char proof[2 * ZB_JOIN_PROOF_SIZE + 1];

    zb_strcopy(request.token_id, sizeof request.token_id, j->ask->token->id);
    request.renew = j->ask->renew;
    zb_strcopy(request.node, sizeof request.node, j->ask->node);
    zb_strcopy(request.address, sizeof request.address, j->ask->address);
    zb_tls_binding(j->ssl, request.binding);
    zb_join_request_sign(&request, j->ask->token);
    zb_hex_format(request.proof, sizeof request.proof, proof);
    json_t *json =
        json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "join", 1, "id", request.token_id, "node",
                  request.node, "address", request.address, "csr", j->csr_pem, "proof", proof);
    if (json == NULL || (request.renew && json_object_set_new(json, "renew", json_true()) != 0) ||
        (j->ask->lost && json_object_set_new(json, "lost", json_true()) != 0)) {
        zb_out_of_memory();
    }
    enum zb_rc rc = zb_buf_json(frame, ZB_FRAME_JSON, json, ZB_WIRE_HELLO_MAX, err);
    json_decref(json);
    return rc;
}

static enum zb_rc
frame_send(struct joiner *j, struct zb_buf *frame, struct zb_err *err)
{
    while (zb_buf_length(frame) > 0) {
        size_t sent = 0;
        ERR_clear_error();
        int done = SSL_write_ex(j->ssl, zb_buf_data(frame), zb_buf_length(frame), &sent);
        if (done == 1) {
            zb_buf_consume(frame, sent);
            continue;
        }
        enum zb_rc rc = tls_wait(j, done, err);
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return ZB_OK;
}

/* Exactly size more bytes. */
static enum zb_rc
receive(struct joiner *j, struct zb_buf *in, size_t size, struct zb_err *err)
{
    while (size > 0) {
        size_t got = 0;
        ERR_clear_error();
        int done = SSL_read_ex(j->ssl, zb_buf_reserve(in, size), size, &got);
        if (done == 1) {
            zb_buf_added(in, got);
            size -= got;
            continue;
        }
        enum zb_rc rc = tls_wait(j, done, err);
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return ZB_OK;
}

static enum zb_rc
reply_receive(struct joiner *j, json_t **reply, struct zb_err *err)
{
    struct zb_buf in = {0};
    struct zb_frame frame;
    json_error_t error;

    enum zb_rc rc = receive(j, &in, ZB_FRAME_HEADER_SIZE, err);
    if (rc == ZB_OK) {
        rc = zb_frame_header_decode(zb_buf_data(&in), ZB_WIRE_FRAME_MAX, &frame, err);
    }
    if (rc == ZB_OK) {
        zb_buf_consume(&in, ZB_FRAME_HEADER_SIZE);
        rc = receive(j, &in, frame.payload_size, err);
    }
    if (rc == ZB_OK) {
        json_t *json = json_loadb((const char *)zb_buf_data(&in), frame.payload_size,
                                  JSON_REJECT_DUPLICATES, &error);
        if (json_is_object(json)) {
            *reply = json;
        } else {
            json_decref(json);
            rc = zb_err_set(err, ZB_E_FORMAT, "%s: its answer is not a JSON object", j->address);
        }
    }
    zb_buf_close(&in);
    return rc;
}

static bool
field_copy(char *to, size_t size, const char *from)
{
    if (strlen(from) >= size) {
        return false;
    }
    zb_strcopy(to, size, from);
    return true;
}

static bool
node_take(json_t *json, struct zb_join_node *node)
{
    const char *name, *address, *fingerprint;

    return json_unpack(json, "{s:s, s:s, s:s}", "name", &name, "address", &address, "fingerprint",
                       &fingerprint) == 0 &&
           zb_node_name_valid(name) && field_copy(node->name, sizeof node->name, name) &&
           zb_socket_address_valid(address) &&
           field_copy(node->address, sizeof node->address, address) &&
           (fingerprint[0] == '\0' || zb_fingerprint_valid(fingerprint)) &&
           field_copy(node->fingerprint, sizeof node->fingerprint, fingerprint);
}

static char *
text_copy(const char *text)
{
    char *copy = strdup(text);
    if (copy == NULL) {
        zb_out_of_memory();
    }
    return copy;
}

static bool
result_take(json_t *reply, struct zb_join_result *result)
{
    const char *cert, *ca, *cluster_id, *cluster_name;
    json_t *nodes, *node;
    size_t i;

    if (json_unpack(reply, "{s:s, s:s, s:s, s:s, s:o}", "cert", &cert, "ca", &ca, "cluster_id",
                    &cluster_id, "cluster_name", &cluster_name, "nodes", &nodes) != 0 ||
        !zb_uuid_valid(cluster_id) || !zb_node_name_valid(cluster_name) || !json_is_array(nodes) ||
        json_array_size(nodes) > ZB_NODES_MAX) {
        return false;
    }
    json_array_foreach(nodes, i, node)
    {
        if (!node_take(node, &result->nodes[i])) {
            return false;
        }
    }
    result->nodes_count = (uint32_t)json_array_size(nodes);
    zb_strcopy(result->cluster_id, sizeof result->cluster_id, cluster_id);
    zb_strcopy(result->cluster_name, sizeof result->cluster_name, cluster_name);
    result->cert_pem = text_copy(cert);
    result->ca_pem = text_copy(ca);
    return true;
}

/* What came is of the cluster that the token names, and ours. */
static enum zb_rc
result_check(struct joiner *j, const struct zb_join_result *result, struct zb_err *err)
{
    struct zb_pem ca = {"join reply: CA", result->ca_pem};
    struct zb_pem cert = {"join reply: certificate", result->cert_pem};
    struct zb_pki_cert_info info;
    enum zb_rc rc = zb_pki_cert_info(ca, &info, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (strcmp(info.fingerprint, j->ask->token->ca_fingerprint) != 0) {
        return zb_err_set(err, ZB_E_AUTH, "join reply: the CA is not the token's");
    }
    if (strcmp(result->cluster_id, j->ask->token->cluster_id) != 0) {
        return zb_err_set(err, ZB_E_AUTH, "join reply: the cluster is not the token's");
    }
    return zb_pki_identity_check(ca, cert, j->ask->key, j->ask->node, err);
}

static enum zb_rc
exchange(struct joiner *j, struct zb_join_result *result, struct zb_err *err)
{
    struct zb_buf frame = {0};
    json_t *reply = NULL;
    const char *refused;
    enum zb_rc rc = request_frame(j, &frame, err);

    if (rc == ZB_OK) {
        rc = frame_send(j, &frame, err);
    }
    if (rc == ZB_OK) {
        rc = reply_receive(j, &reply, err);
    }
    if (rc != ZB_OK) {
        goto out;
    }
    if (json_unpack(reply, "{s:s}", "error", &refused) == 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "%s refused: %.300s", j->address, refused);
    } else if (!result_take(reply, result)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: its answer is incomplete", j->address);
    } else {
        rc = result_check(j, result, err);
    }
out:
    zb_buf_close(&frame);
    json_decref(reply);
    return rc;
}

/* What to look at, by how it failed; what is more exact was set before. */
static void
hint_complete(struct zb_err *err)
{
    if (err->hint[0] != '\0') {
        return;
    }
    switch (err->rc) {
    case ZB_E_REFUSED:
        zb_err_hint(err, "on the node that made the token: zbaton events, zbaton token create");
        break;
    case ZB_E_AUTH:
        zb_err_hint(err, "on a node of the cluster: zbaton token create makes a new token");
        break;
    case ZB_E_SYS:
    case ZB_E_TIMEOUT:
    case ZB_E_CLOSED:
        zb_err_hint(err, "the address is of the node that made the token; there: systemctl status "
                         "zbaton, and does a firewall let this host in?");
        break;
    default:
        break;
    }
}

enum zb_rc
zb_join_ask(const struct zb_join_ask *ask, struct zb_join_result *result, struct zb_err *err)
{
    struct joiner j = {.ask = ask, .address = ask->token->address, .fd = -1};
    struct zb_join_result found = {0};
    uint32_t timeout_ms = ask->timeout_ms != 0 ? ask->timeout_ms : ZB_JOIN_TIMEOUT_MS;

    j.deadline_ms = zb_mono_now().ms + timeout_ms;
    zb_strcopy(j.pinned, sizeof j.pinned, ask->token->ca_fingerprint);
    if (!(ask->renew && ask->address[0] == '\0') && !zb_socket_address_valid(ask->address)) {
        return zb_err_set(err, ZB_E_USAGE, "join: \"%.100s\" is not an address", ask->address);
    }
    enum zb_rc rc = zb_pki_csr_create(ask->key, ask->node, &j.csr_pem, err);
    if (rc == ZB_OK) {
        rc = connect_and_handshake(&j, err);
    }
    if (rc == ZB_OK) {
        rc = exchange(&j, &found, err);
    }
    if (rc == ZB_OK) {
        *result = found;
    } else {
        zb_join_result_close(&found);
        zb_err_wrap(err, "join");
        hint_complete(err);
    }
    SSL_free(j.ssl);
    SSL_CTX_free(j.ctx);
    if (j.fd >= 0) {
        close(j.fd);
    }
    zb_pki_text_free(j.csr_pem);
    return rc;
}

void
zb_join_result_close(struct zb_join_result *result)
{
    zb_pki_text_free(result->cert_pem);
    zb_pki_text_free(result->ca_pem);
    memset(result, 0, sizeof *result);
}
