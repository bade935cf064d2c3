/*
 * The engine: one libuv loop that drives the core. It owns every adapter; only files of this module
 * see both the core and the adapters. Single-threaded: nothing here may block for longer than a
 * small file access.
 *
 *   drive.c     core events and actions; names <-> numbers
 *   keeper.c    client of the keeper: requests, replies, descriptors
 *   peer_json.c core messages as JSON and back (strict)
 *   ship.c      sender of sets; land.c receiver of sets; position.c which set is held whole
 *   config.c    the cluster's declared configuration: accept, commit, catch up
 *   control.c   the control socket; cmd_*.c its commands
 *   member.c    tokens, joins, node list
 *
 * Peer messages (JSON objects) carry "t": "core" (drive.c), "ship.*" (ship.c, land.c),
 * "config.*" (config.c), "cmd.*" (control.c: commands forwarded to the node that leads),
 * "node.*" (member.c), "foreign.*" (foreign.c), "etcds" (etcds.c).
 */
#ifndef ZB_AGENT_AGENT_H
#define ZB_AGENT_AGENT_H

#include <jansson.h>
#include <uv.h>

#include "agent/drained.h"
#include "agent/freeze.h"
#include "base/types.h"
#include "conf/node.h"
#include "conf/service.h"
#include "core/core.h"
#include "history/history.h"
#include "net/net.h"
#include "wire/kmsg.h"

#define ZB_SERVICE_NONE 0xffffu

/* A node of the cluster; its index in zb_agent.nodes is its number in the core for the life of the
 * process (a removed node keeps its slot, `present` false). */
struct zb_agent_node {
    bool present;
    bool up;
    char name[ZB_NODE_NAME_SIZE];
    char address[ZB_ADDRESS_SIZE];
    char fingerprint[65]; /* SHA-256 of its certificate, hex */
    char next[65];        /* of the one that takes its place, or "" */
    char version[32];
    struct zb_drained drained;
};

/* A declared service; its index is its number in the core for the life of the process. */
struct zb_agent_service {
    bool present;
    uint64_t version; /* configuration version of the declaration in force */
    struct zb_conf_service conf;
    struct zb_freeze freeze; /* in force since that version; reason "": it is not frozen */
};

struct zb_agent; /* fields in agent/internal.h */

struct zb_agent_options {
    const struct zb_conf_node *conf;
    int keeper_fd; /* socketpair to the keeper */
};

/* Runs the engine until SIGTERM or until the keeper goes away: reads state (before the privileges
 * go), opens the listening sockets, drops privileges (os/priv.h: user _zbaton, chroot to
 * <state-dir>/engine), runs the loop. */
enum zb_rc zb_agent_run(const struct zb_agent_options *options, struct zb_err *err) ZB_CHECKED;

/* --- used by control, config and member; implemented in drive.c and keeper.c --- */

uint8_t zb_agent_node_find(const struct zb_agent *a, const char *name); /* ZB_NODE_NONE */
enum zb_rc zb_agent_no_node(const char *name, struct zb_err *err);      /* says so: ZB_E_NOTFOUND */
uint16_t zb_agent_service_find(const struct zb_agent *a, const char *name); /* ZB_SERVICE_NONE */

/* Puts a committed configuration in force: nodes (peers of net), services (keeper DEFINE,
 * ZB_EV_CONFIG / ZB_EV_REMOVE) and what is frozen of them. Copies what it needs. Idempotent. */
void zb_agent_nodes_apply(struct zb_agent *a, const struct zb_agent_node *nodes, size_t count);
void zb_agent_services_apply(struct zb_agent *a, const struct zb_conf_services *services,
                             const struct zb_freezes *freezes, uint64_t version);

/* A command for the core on this node. on_step and on_reply are called from the loop; on_reply
 * exactly once, possibly before this returns. text is borrowed. */
struct zb_agent_command {
    enum zb_cmd_kind kind;
    uint16_t service;
    uint8_t node;
    bool dry_run;
    bool allow_loss;
    bool automatic; /* as in the core's event */
    uint64_t term;
    int64_t wait_ms;
    struct zb_set_ref set;
    const char *who; /* "root@vm1", copied */
    void (*on_step)(void *ctx, const struct zb_action *step);
    /* A term that the command began: what it lost, for the history, into lost. May be NULL. */
    void (*on_term)(void *ctx, const struct zb_action *term, char *lost, size_t size);
    void (*on_reply)(void *ctx, const struct zb_action *reply);
    void *ctx;
};
void zb_agent_command_start(struct zb_agent *a, const struct zb_agent_command *command);

/* Asks the keeper; cb is called exactly once from the loop (rc ZB_E_CLOSED when the keeper goes
 * away, for SEND and RECEIVE see keeper.h). rep is borrowed. */
void zb_agent_keeper_call(struct zb_agent *a, struct zb_kreq *req,
                          void (*cb)(void *ctx, const struct zb_krep *rep), void *ctx);

/* Progress of a SHIP under way (status): false when there is none. */
struct zb_agent_ship_view {
    uint64_t bytes_done;
    uint64_t bytes_total; /* an estimate; 0 unknown */
    uint64_t rate;        /* bytes a second over the last 10 s; 0 unknown */
    int64_t left_s;       /* -1 unknown */
    int64_t elapsed_ms;
};
bool zb_agent_ship_view(const struct zb_agent *a, uint64_t ship_id,
                        struct zb_agent_ship_view *view);

/* --- used by drive.c; implemented in config.c, control.c, member.c --- */

enum zb_rc zb_config_init(struct zb_agent *a,
                          struct zb_err *err) ZB_CHECKED; /* loads the committed one */
void zb_config_peer_up(struct zb_agent *a, uint8_t node);
void zb_config_message(struct zb_agent *a, uint8_t node, const json_t *msg);
enum zb_rc zb_control_init(struct zb_agent *a, int listen_fd, struct zb_err *err) ZB_CHECKED;
void zb_control_message(struct zb_agent *a, uint8_t node, const json_t *msg);
void zb_control_peer_down(struct zb_agent *a, uint8_t node);
void zb_control_close(struct zb_agent *a);
void zb_member_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* net's join callback (net/join.h). */
/* An event for people: into the history (events), the log and to `zbaton events -f`. service may be
 * "". */
void zb_agent_event(struct zb_agent *a, uint32_t level, const char *service, const char *rule,
                    const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif
