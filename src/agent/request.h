/*
 * A command under way: it came over the control socket of this node, or from a node that passed it
 * on. Its handler may answer at once or later, exactly once, with zb_request_done or
 * zb_request_fail, whatever became of who asked.
 */
#ifndef ZB_AGENT_REQUEST_H
#define ZB_AGENT_REQUEST_H

#include "agent/agent.h"
#include "agent/label.h"

#define ZB_REQUESTS_MAX 256 /* under way on this node; more are refused with ZB_E_BUSY */

struct zb_request {
    struct zb_agent *a;
    const struct zb_command *command;
    json_t *args;   /* always an object; owned */
    char who[128];  /* "root@vm1" */
    bool from_peer; /* passed on by another node */
    bool gone;      /* nobody listens any more */
    /* Set by a handler that only ends with its listener (events -f); must end the request. */
    void (*on_gone)(struct zb_request *r);
    void *ctx; /* of the handler */
    /* Of one that the engine makes itself: its end, instead of an answer; result is borrowed. */
    void (*on_result)(void *ctx, const json_t *result);
    void *result_ctx;
    struct zb_client *client; /* control.c; NULL: from_peer or gone */
    uint8_t peer;             /* forward.c */
    uint64_t peer_id;
    struct zb_request *next;
};

/* How an action of the core is told: {"type":"progress", ...}. Takes line. */
void zb_request_progress(struct zb_request *r, json_t *line);
/* Ends the request with data (taken). */
void zb_request_done(struct zb_request *r, json_t *data);
/* Ends it with an error; rule may be NULL. */
void zb_request_fail(struct zb_request *r, const struct zb_err *err, const char *rule);

/* --- arguments: "" or `otherwise` when absent --- */

const char *zb_request_text(const struct zb_request *r, const char *name);
bool zb_request_bool(const struct zb_request *r, const char *name);
int64_t zb_request_int(const struct zb_request *r, const char *name, int64_t otherwise);
/* The service of args.service. Not declared: the request is failed, ZB_SERVICE_NONE. */
uint16_t zb_request_service(struct zb_request *r);
/* The set of args.set. ZB_E_USAGE: it is none. */
enum zb_rc zb_request_set(const struct zb_request *r, uint16_t service, struct zb_set_id *id,
                          struct zb_err *err) ZB_CHECKED;
/* Fails the request, saying who froze the service and why; false when it is not frozen. */
bool zb_request_frozen(struct zb_request *r, uint16_t service, const char *rule);

/* --- commands --- */

struct zb_command {
    const char *name;
    bool from_peer; /* may be passed on by another node */
    void (*run)(struct zb_request *r);
    bool peer_only; /* is what nodes ask of each other: refused on the control socket */
};
/* NULL when there is none. */
const struct zb_command *zb_command_find(const char *name);

void zb_cmd_ping(struct zb_request *r);
void zb_cmd_status(struct zb_request *r);
void zb_cmd_transfers(struct zb_request *r);
void zb_cmd_node_list(struct zb_request *r);
void zb_cmd_node_remove(struct zb_request *r);
void zb_cmd_cert_renew(struct zb_request *r);
void zb_cmd_cert_sign(struct zb_request *r);
void zb_cmd_token_create(struct zb_request *r);
void zb_cmd_token_list(struct zb_request *r);
void zb_cmd_token_revoke(struct zb_request *r);
void zb_cmd_config_show(struct zb_request *r);
void zb_cmd_apply(struct zb_request *r);
void zb_cmd_adopt_plan(struct zb_request *r);
void zb_cmd_snapshot(struct zb_request *r);
void zb_cmd_sync(struct zb_request *r);
void zb_cmd_label(struct zb_request *r);
void zb_cmd_move(struct zb_request *r);
void zb_cmd_failover(struct zb_request *r);
void zb_cmd_fenced(struct zb_request *r);
void zb_cmd_revert(struct zb_request *r);
void zb_cmd_rejoin(struct zb_request *r);
void zb_cmd_rescue_list(struct zb_request *r);
void zb_cmd_rescue_show(struct zb_request *r);
void zb_cmd_rescue_mount(struct zb_request *r);
void zb_cmd_rescue_drop(struct zb_request *r);
void zb_cmd_drill(struct zb_request *r);
void zb_cmd_peek(struct zb_request *r);
void zb_cmd_peek_list(struct zb_request *r);
void zb_cmd_peek_end(struct zb_request *r);
void zb_cmd_verify(struct zb_request *r);
void zb_cmd_verify_part(struct zb_request *r);
void zb_cmd_verify_end(struct zb_request *r);
void zb_cmd_rekey(struct zb_request *r);
void zb_cmd_rekey_part(struct zb_request *r);
void zb_cmd_prune(struct zb_request *r);
void zb_cmd_explain(struct zb_request *r);
void zb_cmd_start(struct zb_request *r);
void zb_cmd_drain(struct zb_request *r);
void zb_cmd_undrain(struct zb_request *r);
void zb_cmd_freeze(struct zb_request *r);
void zb_cmd_thaw(struct zb_request *r);
void zb_cmd_history(struct zb_request *r);
void zb_cmd_events(struct zb_request *r);

/* --- cmd_label.c --- */

struct zb_label_order {
    struct zb_label label; /* text "": it shall have none any more */
    /* Exactly once, possibly before zb_label_start returns; err NULL: a majority of the nodes has
     * agreed. */
    void (*on_done)(void *ctx, const struct zb_err *err);
    void *ctx;
};
/* All of the label but its set. text is zb_label_check'ed. */
void zb_label_order_fill(struct zb_label_order *order, const struct zb_request *r, uint16_t service,
                         const char *text);
void zb_label_start(struct zb_agent *a, const struct zb_label_order *order);

/* --- control.c --- */

/* New request, counted; NULL when ZB_REQUESTS_MAX are under way. args (may be NULL) is borrowed. */
struct zb_request *zb_request_new(struct zb_agent *a, const struct zb_command *command,
                                  const json_t *args, const char *who);
/* The listener is gone: output is dropped from now on. */
void zb_request_orphan(struct zb_request *r);
/* Every request under way, for the caller's `same`. */
void zb_request_each(struct zb_agent *a, void (*visit)(struct zb_request *r, uint8_t node),
                     uint8_t node);

/* --- result.c --- */

/* {"type":"result", "rc", "word", "error", "hint", "rule"}. */
json_t *zb_result_error(const struct zb_err *err, const char *rule);
/* The data of a result that says ZB_OK (borrowed); else NULL and *err, never ZB_OK: what another
 * node calls an error is not taken for anything else. */
json_t *zb_result_data(const json_t *result, struct zb_err *err);

/* --- forward.c: commands for another node --- */

struct zb_forwards;

struct zb_forwards *zb_forwards_new(void);
/* Answers those that wait with ZB_E_CLOSED, so that who asked can free what waits with it. */
void zb_forwards_close(struct zb_forwards *f);
void zb_forwards_free(struct zb_forwards *f);

/* A command carried out by `node`. on_progress may be NULL; on_result exactly once:
 * {"type":"result",...} as on the control socket; also when the node goes down (ZB_E_CLOSED). Both
 * borrowed. */
struct zb_forward_ask {
    uint8_t node;
    const char *cmd;
    const json_t *args;
    const char *who;
    void (*on_progress)(void *ctx, json_t *line);
    void (*on_result)(void *ctx, json_t *result);
    void *ctx;
};
void zb_forward_start(struct zb_agent *a, const struct zb_forward_ask *ask);
/* Those with this ctx are answered now, with ZB_E_TIMEOUT: what the other node says later finds
 * nothing. */
void zb_forward_end(struct zb_agent *a, const void *ctx);
/* Passes a whole request on and its answers back. */
void zb_forward_request(struct zb_request *r, uint8_t node);
/* The node that args.node names, or this one: this one: true. Otherwise the request is passed on to
 * it, or failed; false. */
bool zb_forward_to_named(struct zb_request *r);
/* The node that must carry out a command on a service that must be led: this one: true. Otherwise
 * the request is passed on to the leader, or failed when nobody leads; false. */
bool zb_forward_to_leader(struct zb_request *r, uint16_t service);
void zb_forward_message(struct zb_agent *a, uint8_t node, const json_t *msg);
void zb_forward_peer_down(struct zb_agent *a, uint8_t node);
/* Output of a request that came from a peer. */
void zb_forward_answer(struct zb_request *r, json_t *line, bool last);

#endif
