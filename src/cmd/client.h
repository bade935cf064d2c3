/*
 * One request to the daemon of this host over its control socket (doc/control-protocol.md).
 */
#ifndef ZB_CMD_CLIENT_H
#define ZB_CMD_CLIENT_H

#include <jansson.h>

#include "base/types.h"

struct zb_client_call {
    const char *socket; /* path */
    const char *cmd;
    json_t *args; /* borrowed; may be NULL */
    /* Each progress line; false ends the call (the daemon goes on). May be NULL. */
    bool (*on_progress)(void *ctx, const json_t *progress);
    void *ctx;
};

/* Sends the request and reads until its result. *data (the caller's reference) only on success; on
 * a refusal *err has the daemon's code, sentence and hint. ZB_E_SYS with a hint when no daemon
 * listens, ZB_E_CLOSED when the daemon went away before its result, ZB_E_FORMAT, ZB_E_LIMIT,
 * ZB_E_CANCELED when on_progress ended it. Blocks as long as the daemon works. */
enum zb_rc zb_client_call(const struct zb_client_call *call, json_t **data,
                          struct zb_err *err) ZB_CHECKED;

#endif
