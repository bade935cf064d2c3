/*
 * Whether members hold the same files under one set: each reads its own copy (VERIFY of
 * wire/kmsg.h), and the sums are compared here, over all names first, then among the names of a
 * part that differs. One at a time by order of a node; each node reads one set at a time, whoever
 * asks.
 */
#ifndef ZB_AGENT_VERIFY_H
#define ZB_AGENT_VERIFY_H

#include <jansson.h>

#include "agent/agent.h"

#define ZB_VERIFY_ALL 10000u            /* a share: the content of every file */
#define ZB_VERIFY_TIMEOUT_S (12 * 3600) /* unless another one is asked for */
#define ZB_VERIFY_TIMEOUT_S_MAX (7 * 86400)

struct zb_verify;

struct zb_verify_order {
    uint16_t service;
    struct zb_set_id set;
    uint32_t share; /* in 1/ZB_VERIFY_ALL */
    int64_t timeout_s;
    uint32_t nodes_count; /* at least 2 */
    uint8_t nodes[ZB_NODES_MAX];
    const char *who; /* copied */
    /* Exactly once, possibly before zb_verify_start returns. result: {"same", "nodes": [{"node",
     * "names", "files", "read_files", "read_bytes", "unreadable", "digest", "elapsed_ms",
     * "errors": [{"path", "error"}]}], "differing" (parts of 1024), "names": as of
     * zb_verify_names_json}, borrowed; NULL with *err. */
    void (*on_done)(void *ctx, const json_t *result, const struct zb_err *err);
    void *ctx;
};
/* ZB_E_BUSY to on_done: another one is under way. It ends a minute after its time, whoever has not
 * answered by then (ZB_E_TIMEOUT). */
void zb_verify_start(struct zb_agent *a, const struct zb_verify_order *order);
/* Nobody waits any more for the order with this ctx: it ends soon, with ZB_E_CANCELED. */
void zb_verify_cancel(struct zb_agent *a, const void *ctx);

/* --- the part of one node --- */

/* args: {"service", "set", "seed", "share", "range", "list", "timeout_ms"}. on_done exactly once,
 * possibly before this returns; text is borrowed, NULL with *err. Returns what the keeper knows
 * this by, for zb_keeper_client_cancel; 0: it was not asked. */
uint64_t zb_verify_part_start(struct zb_agent *a, const json_t *args,
                              void (*on_done)(void *ctx, const char *text, uint32_t elapsed_ms,
                                              const struct zb_err *err),
                              void *ctx);

#endif
