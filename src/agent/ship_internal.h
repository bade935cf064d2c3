/*
 * What the files of the sending side share: ship.c (life of a ship), ship_stream.c (its streams),
 * ship_read.c (what they send is read once for all ships that want the same), ship_limit.c (their
 * limits), ship_inventory.c (what the follower has), ship_estimate.c (how much it is, and how far).
 */
#ifndef ZB_AGENT_SHIP_INTERNAL_H
#define ZB_AGENT_SHIP_INTERNAL_H

#include "agent/internal.h"
#include "agent/inventory.h"
#include "agent/progress.h"
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

/* One stream: what the keeper reads, into a stream of net. It is over when both have ended. */
struct zb_ship_job {
    struct zb_ship *s;
    struct zb_ship_job *next;
    struct zb_ship_job *read_next; /* in read->jobs */
    struct zb_ship_read *read;     /* NULL: ended, or left to the others */
    uint32_t chain;
    const struct zb_ship_step *step; /* of the ship's plan */
    struct zb_stream *stream;        /* NULL: not yet, or ended */
    bool opened;                     /* the stream has been opened, or it was tried */
    bool bulk;
    bool resumed;  /* goes on where a broken receive stopped */
    bool again;    /* ends only to begin again without the token */
    bool answered; /* the follower has the snapshot, re-read */
    bool ending;   /* its callback is running: whoever cancels leaves it alone */
};

/* How much the plan sends in all, as the keeper says it, dataset by dataset. */
struct zb_ship_estimate {
    struct zb_mono planned; /* when the plan stood; 0: not yet */
    uint64_t before_bytes;  /* sent by then, by a try that came to nothing */
    bool asked;
    bool known; /* of every chain */
    uint32_t chain;
    uint64_t bytes; /* of the chains before */
};

struct zb_ship {
    struct zb_agent *a;
    struct zb_ship *next;
    struct zb_ship *of_next; /* of the same service */
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
    bool alone;    /* was too slow for the others: shares no read */
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
    bool *chain_busy;     /* ... whether one is under way ... */
    int64_t *chain_ms; /* ... and when its first one ended, or else the plan was made: monotonic */
    uint32_t steps_done;
    uint32_t jobs_count;
    struct zb_ship_job *jobs;
    enum zb_rc rc;
    char msg[256];
    uint64_t bytes; /* of streams that have ended */
    struct zb_ship_estimate estimate;
    struct zb_progress progress;
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
    struct zb_ship *of[ZB_SERVICES_MAX]; /* the same ones by service */
    struct zb_ship_read *reads;
    uint32_t jobs_count[ZB_NODES_MAX];
    uint32_t bulk_count[ZB_NODES_MAX];
    uint32_t estimates_count;             /* asked for, and not answered */
    int64_t alone_until_ms[ZB_NODES_MAX]; /* could not keep up with the others lately: monotonic */
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

/* Its follower cannot keep up with the others: it goes on by itself. May free it. */
void zb_ship_behind(struct zb_ship *s);

/* ship_stream.c. Starts streams, to each node as far as its connections allow. */
void zb_ship_jobs_start(struct zb_ships *ships);
/* The read has begun: opens the stream, with what comes out of *fd, which is taken (-1), or when it
 * was taken with what `with` gets. May free the job. */
void zb_ship_job_open(struct zb_ship_job *j, int *fd, struct zb_stream *with);
/* The read is over and j has left it. May free the job. */
void zb_ship_job_read_ended(struct zb_ship_job *j, enum zb_rc rc, const char *msg);
/* Ends what is under way; each job still comes to its end. */
void zb_ship_jobs_cancel(struct zb_ship *s);
/* The limits of its streams are those of now. */
void zb_ship_jobs_limit(struct zb_ship *s);
uint64_t zb_ship_jobs_bytes(const struct zb_ship *s);
/* Frees jobs without waiting: at the end of the process. */
void zb_ship_jobs_free(struct zb_ship *s);

/* ship_read.c. The job's stream is read: with another one that wants the same and has not begun, or
 * by itself. */
void zb_ship_read_join(struct zb_ship_job *j);
/* The job wants no more of it. j->read stays until the keeper has answered if it was the last. */
void zb_ship_read_leave(struct zb_ship_job *j);
/* At the end of the process. */
void zb_ship_reads_free(struct zb_ships *ships);

/* ship_estimate.c. The plan stands; what is sent from here on is of it. */
void zb_ship_estimate_begin(struct zb_ship *s);
/* Twice a second: how far it is, and, once it takes its time, how much it is in all. */
void zb_ship_estimate_step(struct zb_ship *s, struct zb_mono now);

/* ship_inventory.c. Asks the follower and the own keeper. May free the ship. */
void zb_ship_inventory_ask(struct zb_ship *s);
void zb_ship_inventory_message(struct zb_ship *s, const json_t *msg);

#endif
