/*
 * What the files of the sending side share: ship.c (life of a ship), ship_stream.c (its streams),
 * ship_limit.c (their limits), ship_inventory.c (what the follower has).
 */
#ifndef ZB_AGENT_SHIP_INTERNAL_H
#define ZB_AGENT_SHIP_INTERNAL_H

#include "agent/internal.h"
#include "agent/inventory.h"
#include "agent/ship.h"
#include "agent/ship_plan.h"

#define ZB_SHIP_LINE_MAX 8 /* sets made here that the fast path can start from */
#define ZB_SHIP_BULK_MAX                                                                           \
    (ZB_NET_DATA_CONNS_MAX - 1) /* streams of slow or limited ships to a node at once: one         \
                                 * connection stays for the steady state and what is waited for */

enum zb_ship_state {
    ZB_SHIP_WAITING = 1, /* for the one before it to the same node, of the same service */
    ZB_SHIP_ASKING,      /* inventories */
    ZB_SHIP_STREAMING,
    ZB_SHIP_ACK,    /* every stream was answered: the follower looks at the whole */
    ZB_SHIP_ENDING, /* rc is known: until nothing of it is under way any more */
};

struct zb_ship_job;

struct zb_ship {
    struct zb_agent *a;
    struct zb_ship *next;
    uint64_t action_id;
    uint64_t id; /* on the wire; another one for a second try */
    uint16_t service;
    uint8_t node;
    uint64_t term;
    struct zb_set_ref set;
    struct zb_manifest manifest;
    enum zb_ship_state state;
    enum zb_ship_as as;
    bool fast;
    bool first;    /* waited for: limits of its service do not hold it back */
    bool retry;    /* ENDING only to begin again the slow way */
    bool fetching; /* the own inventory is being made */
    bool own_ready;
    struct zb_inventory own;
    struct zb_inventory peer;
    uint32_t peer_next; /* datasets of peer that have come; UINT32_MAX: none yet */
    struct zb_ship_plan plan;
    bool fork_known; /* from the inventories; told to a follower that has diverged */
    bool fork_common;
    struct zb_manifest fork;
    uint32_t *chain_next; /* per chain: steps done */
    bool *chain_busy;     /* ... and whether one is under way */
    uint32_t steps_done;
    uint32_t jobs_count;
    struct zb_ship_job *jobs;
    enum zb_rc rc;
    char msg[256];
    uint64_t bytes; /* of streams that have ended */
    struct zb_mono started;
    struct zb_mono deadline; /* of ASKING and ACK */
};

/* Sets that this node made, newest last; each was made with the one before it as its base. */
struct zb_ship_line {
    uint32_t count;
    struct {
        struct zb_set_ref ref;
        bool foreign;
    } sets[ZB_SHIP_LINE_MAX];
};

struct zb_ships {
    struct zb_agent *a;
    uv_timer_t timer; /* deadlines; runs while there are ships */
    uint64_t next_id;
    struct zb_ship *head;
    uint32_t jobs_count[ZB_NODES_MAX];
    uint32_t bulk_count[ZB_NODES_MAX];
    struct zb_ship_line lines[ZB_SERVICES_MAX];
    /* What the follower acknowledged since it came up, none {0} when that is not known. */
    struct zb_set_ref acked[ZB_SERVICES_MAX][ZB_NODES_MAX];
};

/* ship.c. Fails the ship once; it ends when nothing of it is under way. May free it. */
void zb_ship_fail(struct zb_ship *s, enum zb_rc rc, const char *msg);
/* A stream of it is done: goes on, or ends it when it failed. May free it. */
void zb_ship_continue(struct zb_ship *s);
/* Both inventories are there. May free it. */
void zb_ship_inventories_ready(struct zb_ship *s);
const char *zb_ship_node(const struct zb_ship *s);
const char *zb_ship_service(const struct zb_ship *s);

/* ship_stream.c. Starts streams to the node as far as its connections allow. */
void zb_ship_jobs_start(struct zb_ships *ships, uint8_t node);
/* Ends what is under way; each job still comes to its end. */
void zb_ship_jobs_cancel(struct zb_ship *s);
/* The limits of its streams are those of now. */
void zb_ship_jobs_limit(struct zb_ship *s);
uint64_t zb_ship_jobs_bytes(const struct zb_ship *s);
/* Frees jobs without waiting: at the end of the process. */
void zb_ship_jobs_free(struct zb_ship *s);

/* ship_inventory.c. Asks the follower and the own keeper. May free the ship. */
void zb_ship_inventory_ask(struct zb_ship *s);
void zb_ship_inventory_message(struct zb_ship *s, const json_t *msg);

#endif
