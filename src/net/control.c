/* Control connections: one per pair of nodes, dialled by the smaller name. */
#include "net/internal.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"

/* The peer's process is another one than before: what the old one had is dead. */
static void
older_doom(struct zb_conn *conn)
{
    struct zb_conn *other;

    for (other = TAILQ_FIRST(&conn->net->conns); other != NULL; other = TAILQ_NEXT(other, link)) {
        if (other->peer == conn->peer && other->opened && other->nonce != conn->nonce) {
            zb_conn_doom(other, "%s was restarted", conn->peer->conf.name);
        }
    }
}

void
zb_control_opened(struct zb_conn *conn)
{
    struct zb_net *net = conn->net;
    struct zb_peer *peer = conn->peer;

    older_doom(conn);
    if (peer->dialling == conn) {
        peer->dialling = NULL;
    }
    if (peer->control != NULL) {
        zb_conn_doom(peer->control, "replaced by a newer connection");
        zb_conn_finish(peer->control); /* its down before this one's up */
    }
    if (conn->state != ZB_CONN_OPEN) {
        return; /* closed by that callback */
    }
    peer->control = conn;
    peer->nonce = conn->nonce;
    peer->up_ms = zb_net_now(net);
    peer->rtt_us = 0;
    peer->redial_ms = 0;
    net->callbacks.on_peer_up(net->ctx, peer->conf.name);
}

static void
redial_later(struct zb_net *net, struct zb_peer *peer)
{
    uint32_t wait = peer->redial_ms * 2;
    wait = wait < net->timing.redial_min_ms ? net->timing.redial_min_ms : wait;
    peer->redial_ms = wait > net->timing.redial_max_ms ? net->timing.redial_max_ms : wait;
    peer->redial_at_ms = zb_net_now(net) + peer->redial_ms;
}

void
zb_control_closed(struct zb_conn *conn)
{
    struct zb_net *net = conn->net;
    struct zb_peer *peer = conn->peer;

    (void)snprintf(peer->reason, sizeof peer->reason, "%s", conn->reason);
    if (conn->dialled) {
        redial_later(net, peer);
    }
    if (peer->dialling == conn) {
        peer->dialling = NULL;
    }
    if (peer->control != conn) {
        return;
    }
    peer->control = NULL;
    if (!net->closing) {
        net->callbacks.on_peer_down(net->ctx, peer->conf.name, conn->reason);
    }
    if (!net->closing) {
        zb_stream_waiting_lost(peer, net, conn->reason);
    }
}

/* {"ping":1} or {"pong":1}, at once. */
static void
ping_send(struct zb_conn *conn, const char *key)
{
    struct zb_err err;
    json_t *json = json_pack("{s:i}", key, 1);
    if (json == NULL || zb_buf_json(&conn->out, ZB_FRAME_JSON, json, ZB_WIRE_FRAME_MAX, &err)) {
        zb_out_of_memory();
    }
    json_decref(json);
    zb_conn_wake(conn);
}

void
zb_control_frame(struct zb_conn *conn, json_t *json)
{
    struct zb_net *net = conn->net;
    struct zb_peer *peer = conn->peer;

    if (json_object_get(json, "ping") != NULL) {
        if (zb_buf_length(&conn->out) < ZB_NET_QUEUE_MAX) {
            ping_send(conn, "pong");
        }
    } else if (json_object_get(json, "pong") != NULL) {
        if (conn->ping_us != 0) {
            peer->rtt_us = (uint32_t)(uv_hrtime() / 1000 - conn->ping_us);
            conn->ping_us = 0;
        }
    } else if (json_object_get(json, "hello") != NULL || json_object_get(json, "error") != NULL) {
        zb_conn_doom(conn, "malformed input: a reserved message");
    } else {
        net->callbacks.on_message(net->ctx, peer->conf.name, json);
    }
}

void
zb_control_tick(struct zb_conn *conn, uint64_t now_ms)
{
    const struct zb_net_timing *timing = &conn->net->timing;
    uint64_t silent_ms = now_ms - conn->rx_ms;

    if (silent_ms >= timing->dead_ms) {
        zb_conn_doom(conn, "no sign of life for %llu ms", (unsigned long long)silent_ms);
    } else if (silent_ms >= timing->ping_ms && now_ms - conn->ping_ms >= timing->ping_ms) {
        conn->ping_ms = now_ms;
        conn->ping_us = uv_hrtime() / 1000;
        ping_send(conn, "ping");
    }
}

static void
dial(struct zb_net *net, struct zb_peer *peer)
{
    struct zb_err err;
    if (zb_conn_dial(net, peer, ZB_CONN_CONTROL, &peer->dialling, &err) != ZB_OK) {
        (void)snprintf(peer->reason, sizeof peer->reason, "%.*s", (int)sizeof peer->reason - 1,
                       err.msg);
        redial_later(net, peer);
    }
}

void
zb_control_redial(struct zb_net *net, uint64_t now_ms)
{
    struct zb_peer *peer;

    for (peer = TAILQ_FIRST(&net->peers); peer != NULL; peer = TAILQ_NEXT(peer, link)) {
        if (!peer->removed && peer->control == NULL && peer->dialling == NULL &&
            now_ms >= peer->redial_at_ms && strcmp(net->node, peer->conf.name) < 0) {
            dial(net, peer);
        }
    }
}
