/*
 * The step FENCE of a failover: each suspect that the core names is said to be off with the
 * command, proven not to write by the end of its session (heart.h), proven off by the node's
 * fence-command (fence.h), or asked about; in this order. Who waits, and why, is told to the
 * request.
 */
#ifndef ZB_AGENT_FAILOVER_FENCE_H
#define ZB_AGENT_FAILOVER_FENCE_H

#include <jansson.h>

#include "agent/agent.h"
#include "agent/heart.h"

struct zb_request;

/* Part of a failover: what the caller fills in, then what is found. */
struct zb_failover_fence {
    struct zb_agent *a;
    struct zb_request *r; /* not answered before the failover's end */
    uint16_t service;
    uint8_t source;  /* the last leader, or ZB_NODE_NONE */
    uint32_t said;   /* node bits: said to be off with the command ... */
    bool by_command; /* ... the others by the node's fence-command */
    int64_t wait_ms; /* for suspects, where no command runs */

    uint32_t asked;          /* FENCE has begun for them ... */
    uint64_t term;           /* ... in this term */
    struct zb_mono asked_at; /* the last of them */
    struct zb_heart_reader reader;
    uint32_t runs;     /* the command runs for them, or is about to */
    int64_t until_ms;  /* monotonic: the core waits for commands; 0: for none */
    char why_not[512]; /* of the last one that failed, "" none */
};

/* A step of the core, of ZB_FAILOVER_FENCE. */
void zb_failover_fence_step(struct zb_failover_fence *f, const struct zb_action *s);
/* The failover ends: so do its commands. Accepts the zero state with `a`. */
void zb_failover_fence_close(struct zb_failover_fence *f);

/* For the dry run, as far as suspects are known before anybody grants: "vm2: /etc/zbaton/fence vm1"
 * ... */
void zb_failover_fence_calls(const struct zb_failover_fence *f, char *buf, size_t size);
/* ... and {"on", "command", "timeout_ms", "nodes"}, or null where no command would be run. */
json_t *zb_failover_fence_plan(const struct zb_failover_fence *f);

#endif
