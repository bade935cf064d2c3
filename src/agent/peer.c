#include "agent/peer.h"

#include "agent/internal.h"
#include "base/log.h"

bool
zb_peer_send(struct zb_agent *a, uint8_t node, json_t *msg)
{
    struct zb_err err;
    enum zb_rc rc = zb_net_send(a->net, a->nodes[node].name, msg, &err);

    if (rc != ZB_OK && rc != ZB_E_CLOSED) {
        zb_log_warning("message to %s: %s", a->nodes[node].name, err.msg);
    }
    json_decref(msg);
    return rc == ZB_OK;
}
