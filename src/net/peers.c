/* The peers table. */
#include "net/internal.h"

#include <string.h>

static enum zb_rc
peers_check(const struct zb_net_peer *peers, size_t count, struct zb_err *err)
{
    if (count > ZB_NODES_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "%zu peers, at most %d", count, ZB_NODES_MAX);
    }
    for (size_t i = 0; i < count; i++) {
        const struct zb_net_peer *p = &peers[i];
        if (!zb_node_name_valid(p->name)) {
            return zb_err_set(err, ZB_E_USAGE, "peer %zu: bad name", i);
        }
        if (!zb_socket_address_valid(p->address)) {
            return zb_err_set(err, ZB_E_USAGE, "peer %s: bad address \"%s\"", p->name, p->address);
        }
        if ((p->fingerprint[0] != '\0' && !zb_fingerprint_valid(p->fingerprint)) ||
            (p->next[0] != '\0' && !zb_fingerprint_valid(p->next))) {
            return zb_err_set(err, ZB_E_USAGE, "peer %s: bad fingerprint", p->name);
        }
        for (size_t j = 0; j < i; j++) {
            if (strcmp(peers[j].name, p->name) == 0) {
                return zb_err_set(err, ZB_E_USAGE, "peer %s: twice", p->name);
            }
        }
    }
    return ZB_OK;
}

bool
zb_net_peer_pinned(const struct zb_net_peer *peer, const char *fingerprint)
{
    return peer->fingerprint[0] == '\0' || strcmp(peer->fingerprint, fingerprint) == 0 ||
           (peer->next[0] != '\0' && strcmp(peer->next, fingerprint) == 0);
}

static void
peer_doom(struct zb_net *net, struct zb_peer *peer, bool dialled_only, const char *reason)
{
    struct zb_conn *conn;

    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (conn->peer == peer && (conn->dialled || !dialled_only)) {
            zb_conn_doom(conn, "%s", reason);
        }
    }
}

/* Connections whose certificate is not the pinned one any more. */
static void
unpinned_doom(struct zb_net *net, struct zb_peer *peer)
{
    struct zb_conn *conn;

    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (conn->peer == peer && conn->opened &&
            !zb_net_peer_pinned(&peer->conf, conn->tls_peer.fingerprint)) {
            zb_conn_doom(conn, "its certificate is not the pinned one any more");
        }
    }
}

static void
peer_change(struct zb_net *net, struct zb_peer *peer, const struct zb_net_peer *conf)
{
    bool moved = strcmp(peer->conf.address, conf->address) != 0;

    peer->conf = *conf;
    unpinned_doom(net, peer);
    if (moved) {
        peer_doom(net, peer, true, "its address changed");
        peer->redial_ms = 0;
        peer->redial_at_ms = 0;
    }
}

static void
peer_add(struct zb_net *net, const struct zb_net_peer *conf)
{
    struct zb_peer *peer = zb_net_alloc(sizeof *peer);

    peer->conf = *conf;
    TAILQ_INIT(&peer->waiting);
    TAILQ_INSERT_TAIL(&net->peers, peer, link);
}

static bool
listed(const struct zb_net_peer *peers, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(peers[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

enum zb_rc
zb_net_peers_set(struct zb_net *net, const struct zb_net_peer *peers, size_t count,
                 struct zb_err *err)
{
    struct zb_peer *peer;
    enum zb_rc rc = peers_check(peers, count, err);

    if (rc != ZB_OK) {
        return rc;
    }
    for (peer = TAILQ_FIRST(&net->peers); peer != NULL; peer = TAILQ_NEXT(peer, link)) {
        if (!peer->removed && !listed(peers, count, peer->conf.name)) {
            peer->removed = true;
            peer_doom(net, peer, false, "the node was removed");
        }
    }
    for (size_t i = 0; i < count; i++) {
        peer = zb_net_peer_find(net, peers[i].name);
        if (peer != NULL) {
            peer_change(net, peer, &peers[i]);
        } else if (strcmp(peers[i].name, net->node) != 0) {
            peer_add(net, &peers[i]);
        }
    }
    zb_net_work_start(net); /* frees the removed */
    return ZB_OK;
}

bool
zb_net_peer_status(const struct zb_net *net, const char *name, struct zb_net_peer_status *out)
{
    const struct zb_peer *peer = zb_net_peer_find(net, name);
    const struct zb_conn *conn;

    if (peer == NULL) {
        return false;
    }
    memset(out, 0, sizeof *out);
    out->nonce = peer->nonce;
    out->up = peer->control != NULL;
    if (out->up) {
        out->up_ms = (int64_t)(zb_net_now(net) - peer->up_ms);
        out->rtt_us = peer->rtt_us;
        out->queued_bytes = zb_buf_length(&peer->control->out);
    }
    zb_strcopy(out->reason, sizeof out->reason, peer->reason);
    out->streams_out = (uint32_t)peer->waiting_count;
    for (conn = TAILQ_FIRST(&net->conns); conn != NULL; conn = TAILQ_NEXT(conn, link)) {
        if (conn->peer == peer && conn->stream != NULL) {
            *(conn->dialled ? &out->streams_out : &out->streams_in) += 1;
        }
    }
    return true;
}
