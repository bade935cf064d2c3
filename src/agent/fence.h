/*
 * Fencing of suspects: the node's fence-command, run by the keeper, for the failovers that wait for
 * one; and what is stated to the core about nodes that are off, by whomever.
 *
 * Whoever asks does so when a majority has granted the term (M4): only a run that begins after that
 * counts for it. At most one run per node is under way; it answers all who asked before it began,
 * and who asks later waits for the next one. Nobody is fenced who is connected, or is known to have
 * granted the term: such an ask waits, and begins when the node is not connected any more.
 */
#ifndef ZB_AGENT_FENCE_H
#define ZB_AGENT_FENCE_H

#include "agent/agent.h"

struct zb_fences;

struct zb_fence_ask {
    uint16_t service;
    uint8_t node; /* not this one */
    uint64_t term;
    /* A run was begun for it (runs), or one that began before it is waited for; the answer comes
     * within wait_ms, unless it is told again or the node connects. */
    void (*on_wait)(void *ctx, uint8_t node, bool runs, int64_t wait_ms);
    /* At most once. ZB_OK: node was off at some moment after the ask; else text says why that is
     * not known. */
    void (*on_end)(void *ctx, uint8_t node, uint64_t term, enum zb_rc rc, const char *text);
    void *ctx;
};

struct zb_fences *zb_fences_new(void);
/* Nobody is called any more. */
void zb_fences_free(struct zb_fences *f);

/* This node has a fence-command. */
bool zb_fence_configured(const struct zb_agent *a);
/* ask is copied. Its callbacks may be called before this returns. */
void zb_fence_start(struct zb_agent *a, const struct zb_fence_ask *ask);
/* Everything that was asked with this ctx is forgotten; a run that nobody waits for is ended. */
void zb_fence_drop(struct zb_agent *a, const void *ctx);
/* From drive.c. A run for a node that connects is ended: it will answer by itself. */
void zb_fence_peer_up(struct zb_agent *a, uint8_t node);
void zb_fence_peer_down(struct zb_agent *a, uint8_t node);

/* --- cmd_fenced.c --- */

/* A node was off at some moment after a majority granted the term (M4): told to the core, and once
 * it has accepted that, to the history, with who says so. */
enum zb_fenced_by {
    ZB_FENCED_BY_WHO = 0, /* an operator says so */
    ZB_FENCED_BY_COMMAND,
    ZB_FENCED_BY_SESSION, /* its session in etcd is certified to be over */
};

struct zb_fenced {
    uint16_t service;
    uint8_t node;
    uint64_t term;
    enum zb_fenced_by by;
    const char *who; /* copied */
};
void zb_fenced_tell(struct zb_agent *a, const struct zb_fenced *fenced);

#endif
