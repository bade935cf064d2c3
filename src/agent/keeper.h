/*
 * Client of the keeper: requests and replies of wire/kmsg.h over the inherited socketpair, many
 * under way at once, each answered through a callback. Never blocks. What the keeper sends is
 * decoded strictly; bytes that do not decode, or an answer to nothing, end the client (and with it
 * the engine: the keeper starts it again).
 */
#ifndef ZB_AGENT_KEEPER_H
#define ZB_AGENT_KEEPER_H

#include <uv.h>

#include "wire/kmsg.h"

#define ZB_KEEPER_PENDING_MAX                                                                      \
    8192 /* requests without an answer; past it a request fails at once                            \
          */

struct zb_keeper_client;

struct zb_keeper_call {
    /* The final answer, exactly once, from the loop; rep is borrowed. */
    void (*on_reply)(void *ctx, const struct zb_krep *rep);
    /* SEND and RECEIVE: the pipe's end; the callee owns fd. At most once, before on_reply. NULL for
     * the others. */
    void (*on_pipe)(void *ctx, int fd);
    void *ctx;
};

/* Takes fd (the socket) on success. on_lost is called once, from the loop, when the keeper went
 * away or broke the protocol, after every pending call was answered with ZB_E_CLOSED. */
enum zb_rc zb_keeper_client_new(uv_loop_t *loop, int fd,
                                void (*on_lost)(void *ctx, const char *why), void *ctx,
                                struct zb_keeper_client **out, struct zb_err *err) ZB_CHECKED;
/* Answers pending calls with ZB_E_CLOSED, also those that are made meanwhile, and closes the
 * socket. The memory goes when the loop has run its closing handles. NULL is fine. */
void zb_keeper_client_free(struct zb_keeper_client *c);

/* Sends req (its id is chosen here; borrowed for the call) and returns the id, for CANCEL. A
 * request that cannot be sent (too large, too many pending, keeper gone) is answered from the loop
 * with ZB_E_LIMIT or ZB_E_CLOSED. */
uint64_t zb_keeper_client_call(struct zb_keeper_client *c, struct zb_kreq *req,
                               const struct zb_keeper_call *call);
/* What a reply that is not ZB_OK says; `hint` where the keeper had none. */
void zb_keeper_reply_error(const struct zb_krep *rep, const char *hint, struct zb_err *err);
/* Asks the keeper to end a SEND or RECEIVE; that one is still answered. id 0: nothing. */
void zb_keeper_client_cancel(struct zb_keeper_client *c, uint64_t id);

#endif
