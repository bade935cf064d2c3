/*
 * Who is at the other end. What is checked, in this order: the certificate is of our CA (TLS did),
 * the hello's node is the certificate's CN, cluster id, protocol version, peers table, pinned
 * certificate, and that the right side dialled.
 */
#include "net/internal.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/be.h"
#include "base/log.h"
#include "net/x509.h"

struct hello {
    const char *cluster;
    const char *node;
    enum zb_conn_kind kind;
    int version;
    uint64_t nonce;
};

static const char *const kind_words[] = {
    [ZB_CONN_CONTROL] = "control",
    [ZB_CONN_DATA] = "data",
};

void
zb_hello_error_send(struct zb_conn *conn, const char *reason)
{
    struct zb_err err;
    json_t *json = json_pack("{s:s}", "error", reason);

    if (json != NULL) { /* else: not UTF-8, nothing to tell */
        (void)!zb_buf_json(&conn->out, ZB_FRAME_JSON, json, ZB_WIRE_HELLO_MAX, &err);
        json_decref(json);
    }
    zb_conn_linger(conn);
}

void
zb_hello_refuse(struct zb_conn *conn, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    (void)vsnprintf(conn->reason, sizeof conn->reason, fmt, args);
    va_end(args);
    zb_hello_error_send(conn, conn->reason);
    zb_net_refused(conn->net, conn->address, conn->reason);
}

static void
hello_send(struct zb_conn *conn)
{
    struct zb_err err;
    char nonce[17];
    (void)snprintf(nonce, sizeof nonce, "%016" PRIx64, conn->net->nonce);
    json_t *json = json_pack("{s:i, s:s, s:s, s:s, s:i, s:s}", "hello", 1, "cluster",
                             conn->net->cluster_id, "node", conn->net->node, "kind",
                             kind_words[conn->kind], "version", ZB_NET_VERSION, "nonce", nonce);
    if (json == NULL || zb_buf_json(&conn->out, ZB_FRAME_JSON, json, ZB_WIRE_HELLO_MAX, &err)) {
        zb_out_of_memory();
    }
    json_decref(json);
}

/* The dialled one is who we wanted: its name and pin. */
static bool
server_right(struct zb_conn *conn)
{
    const struct zb_net_peer *want = &conn->peer->conf;

    if (strcmp(conn->tls_peer.name, want->name) != 0) {
        zb_hello_refuse(conn, "its certificate is of %s, not of %s",
                        conn->tls_peer.name[0] != '\0' ? conn->tls_peer.name : "no node",
                        want->name);
        return false;
    }
    if (!zb_net_peer_pinned(want, conn->tls_peer.fingerprint)) {
        zb_hello_refuse(conn, "the certificate of %s is not the pinned one", want->name);
        return false;
    }
    return true;
}

void
zb_hello_begin(struct zb_conn *conn)
{
    if (conn->dialled && server_right(conn)) {
        hello_send(conn);
    }
}

static bool
nonce_parse(const char *text, uint64_t *nonce)
{
    uint8_t bytes[8];
    if (!zb_hex_parse(text, bytes, sizeof bytes)) {
        return false;
    }
    *nonce = zb_be64_get(bytes);
    return true;
}

static bool
hello_parse(json_t *json, struct hello *hello)
{
    int one;
    const char *kind, *nonce;

    if (json_unpack(json, "{s:i, s:s, s:s, s:s, s:i, s:s}", "hello", &one, "cluster",
                    &hello->cluster, "node", &hello->node, "kind", &kind, "version",
                    &hello->version, "nonce", &nonce) != 0 ||
        one != 1 || !zb_node_name_valid(hello->node) || !nonce_parse(nonce, &hello->nonce)) {
        return false;
    }
    for (size_t i = ZB_CONN_CONTROL; i <= ZB_CONN_DATA; i++) {
        if (strcmp(kind, kind_words[i]) == 0) {
            hello->kind = i;
            return true;
        }
    }
    return false;
}

/* What holds for both sides' hello. False: refused. */
static bool
identity_right(struct zb_conn *conn, const struct hello *hello)
{
    if (strcmp(hello->node, conn->tls_peer.name) != 0) {
        zb_hello_refuse(conn, "says it is %s, its certificate is of %s", hello->node,
                        conn->tls_peer.name[0] != '\0' ? conn->tls_peer.name : "no node");
        return false;
    }
    if (strcmp(hello->cluster, conn->net->cluster_id) != 0) {
        zb_hello_refuse(conn, "%s is of cluster %.40s, this is %s", hello->node, hello->cluster,
                        conn->net->cluster_id);
        return false;
    }
    if (hello->version != ZB_NET_VERSION) {
        zb_hello_refuse(conn, "%s speaks version %d, this is version %d", hello->node,
                        hello->version, ZB_NET_VERSION);
        return false;
    }
    return true;
}

static size_t
data_accepted(const struct zb_net *net, const struct zb_peer *peer)
{
    const struct zb_conn *conn;
    size_t count = 0;

    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        count += conn->peer == peer && conn->kind == ZB_CONN_DATA && !conn->dialled &&
                 conn->state == ZB_CONN_OPEN;
    }
    return count;
}

/* An accepted connection's peer, or NULL: refused. */
static struct zb_peer *
peer_admit(struct zb_conn *conn, const struct hello *hello)
{
    struct zb_net *net = conn->net;
    struct zb_peer *peer = zb_net_peer_find(net, hello->node);

    if (peer == NULL) {
        zb_hello_refuse(conn, "%s is not a node of this cluster", hello->node);
        return NULL;
    }
    if (!zb_net_peer_pinned(&peer->conf, conn->tls_peer.fingerprint)) {
        zb_hello_refuse(conn, "the certificate of %s is not the pinned one", hello->node);
        return NULL;
    }
    if (hello->kind == ZB_CONN_CONTROL && strcmp(hello->node, net->node) > 0) {
        zb_hello_refuse(conn, "%s must not dial %s: the smaller name dials", hello->node,
                        net->node);
        return NULL;
    }
    if (hello->kind == ZB_CONN_DATA && data_accepted(net, peer) >= ZB_NET_DATA_IN_MAX) {
        zb_hello_refuse(conn, "too many data connections from %s", hello->node);
        return NULL;
    }
    return peer;
}

static void
opened(struct zb_conn *conn)
{
    conn->state = ZB_CONN_OPEN;
    conn->opened = true;
    if (conn->kind == ZB_CONN_CONTROL) {
        zb_socket_user_timeout(conn->fd, conn->net->timing.dead_ms);
        zb_control_opened(conn);
    } else if (conn->dialled) {
        conn->net->streams_due = true;
        zb_net_work_start(conn->net);
    }
}

/* A text of the other side, fit for a log line. */
static void
printable_copy(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; i < size - 1 && from[i] != '\0'; i++) {
        to[i] = isprint((unsigned char)from[i]) ? from[i] : '?';
    }
    to[i] = '\0';
}

static void
refused_by_peer(struct zb_conn *conn, const char *text)
{
    char words[ZB_NET_REASON_SIZE - 32];
    printable_copy(words, sizeof words, text);
    (void)snprintf(conn->reason, sizeof conn->reason, "the other side refused: %s", words);
    zb_net_refused(conn->net, conn->address, conn->reason);
    zb_conn_doom(conn, "refused");
}

void
zb_hello_frame(struct zb_conn *conn, json_t *json)
{
    struct hello hello;
    const char *error;

    if (!conn->tls_peer.has_cert) {
        zb_join_frame(conn, json);
        return;
    }
    if (json_unpack(json, "{s:s}", "error", &error) == 0) {
        refused_by_peer(conn, error);
        return;
    }
    if (!hello_parse(json, &hello)) {
        zb_hello_refuse(conn, "not a hello");
        return;
    }
    if (!identity_right(conn, &hello)) {
        return;
    }
    if (!conn->dialled) {
        conn->peer = peer_admit(conn, &hello);
        if (conn->peer == NULL) {
            return;
        }
        conn->kind = hello.kind;
        hello_send(conn);
    } else if (conn->kind != hello.kind) {
        zb_hello_refuse(conn, "%s answers with another kind of connection", hello.node);
        return;
    }
    conn->nonce = hello.nonce;
    opened(conn);
}
