/*
 * A small world for the core: up to five nodes, one service, a keeper per node that enforces the
 * record's rules as the real one does, a network with one delay, and two checks after every step:
 * never two writable trees, and nothing acknowledged is lost. Deterministic.
 */
#ifndef WORLD_H
#define WORLD_H

#include "core/core.h"

#define WORLD_NODES 5
#define WORLD_QUEUE 4096
#define WORLD_REPLIES 16
#define WORLD_NOTES 512
#define WORLD_SETS 64

struct world_disk { /* survives a crash */
    bool exists;
    struct zb_set_ref newest;
    bool written_to;         /* ... at rest, when content is beyond newest_content */
    bool child_gone;         /* ... was here whole, but for a child that was destroyed since */
    uint64_t content;        /* counter of writes in the live tree */
    uint64_t newest_content; /* ... in the newest set */
    struct zb_core_obs record;
};

struct world_node {
    bool on;
    struct zb_core *core;
    void *mem;
    struct zb_mono wake;
    struct world_disk disk;
    bool mounted_rw;
    bool sealed;
    bool running;
    uint64_t life; /* counts starts: what was under way in an older one never ends */
    uint64_t nonce;
};

struct world_item {
    int64_t at_ms;
    uint64_t order;
    uint8_t node;
    uint64_t life;
    struct zb_event ev;
    struct zb_action act; /* with .id != 0: carried out at that time */
};

struct world {
    unsigned nodes_count;
    struct zb_core_conf conf;
    int64_t now_ms;
    uint64_t order;
    struct world_node nodes[WORLD_NODES];
    bool cut[WORLD_NODES][WORLD_NODES];
    struct world_item queue[WORLD_QUEUE];
    unsigned queue_count;
    struct zb_plan plan;
    struct {
        uint64_t command_id;
        enum zb_rc rc;
        const char *rule;
        char text[256];
        struct zb_action action;
    } replies[WORLD_REPLIES];
    unsigned replies_count;
    unsigned steps_seen[10];
    enum zb_act_kind fail_next;   /* the next keeper operation of this kind fails with fail_rc */
    enum zb_act_kind fail_always; /* every one of this kind, until it is 0 */
    enum zb_rc fail_rc;
    bool fail_mount;         /* the next PROMOTE is recorded, then fails */
    unsigned fail_ship_to;   /* every SHIP to this node fails; 0: none does */
    unsigned copies;         /* first copies that a follower sent whole */
    int64_t ship_ms;         /* how long a SHIP takes; 0: as long as any operation */
    int64_t grant_ms;        /* ... a GRANT */
    struct zb_action pruned; /* the last PRUNE of node 0 */
    unsigned prunes;         /* how many there were */
    unsigned prunes_more;    /* so many of its next ones leave more to prune */
    struct world_note {      /* told to people, the oldest first */
        unsigned by;
        uint8_t about;
        const char *rule;
        char text[256];
    } notes[WORLD_NOTES];
    unsigned notes_count;
    struct zb_action term;              /* the last TERM told for the history */
    unsigned rescues;                   /* RESCUEs asked for, done or failed */
    struct zb_set_ref sets[WORLD_SETS]; /* that were ever made, in their order */
    unsigned sets_count;
};

void world_init(struct world *w, unsigned nodes);
void world_close(struct world *w);
void world_power_on(struct world *w, unsigned node);
void world_power_off(struct world *w, unsigned node);
void world_engine_restart(struct world *w, unsigned node);
void world_cut(struct world *w, unsigned a, unsigned b, bool cut);
void world_command(struct world *w, unsigned node, enum zb_cmd_kind kind, unsigned target,
                   uint64_t id);
/* An order to fail over to node, which waits a minute for suspects; without a word in between. */
void world_failover(struct world *w, unsigned node, bool allow_loss, uint64_t id);
/* Nobody orders it: to node, from no set below least. */
void world_takeover(struct world *w, unsigned node, const struct zb_set_ref *least, uint64_t id);
/* The session of node in etcd is over; there is a new one. */
void world_bar(struct world *w, unsigned node, bool barred);
/* The leader goes back to that set. */
void world_revert(struct world *w, unsigned node, const struct zb_set_ref *set, uint64_t id);
/* The operator says to node that peer was off after term was granted. */
void world_fenced(struct world *w, unsigned node, unsigned peer, uint64_t term, uint64_t id);
/* That declaration is in force on node; the one of the world is there at each start. */
void world_declare(struct world *w, unsigned node, const struct zb_core_conf *conf);
/* The failover of node in that term waits for suspects so long from now on. */
void world_fence_wait(struct world *w, unsigned node, uint64_t term, int64_t wait_ms, uint64_t id);
/* node hears from leader, of term, that its copy came away. */
void world_diverged(struct world *w, unsigned node, unsigned leader, uint64_t term);
/* node remembers that of peer's record. */
void world_seen(struct world *w, unsigned node, unsigned peer, const struct zb_core_seen *seen);
/* How often node told that rule of the node `about`. */
unsigned world_noted(const struct world *w, unsigned node, unsigned about, const char *rule);
/* node hears that peer stands on set. */
void world_position(struct world *w, unsigned node, unsigned peer, const struct zb_set_ref *set);
void world_run(struct world *w, int64_t ms);
bool world_run_until(struct world *w, bool (*cond)(struct world *, unsigned), unsigned arg,
                     int64_t ms);
bool world_leads(struct world *w, unsigned node); /* mounted, running, in role LEADING */
bool world_all_current(struct world *w, unsigned leader);
enum zb_role world_role(struct world *w, unsigned node);
void world_print(struct world *w);

/* --- between the files of a world --- */

/* An event (act NULL), or the end of an action (ev NULL), at that time. */
void world_queue(struct world *w, int64_t at_ms, unsigned node, const struct zb_event *ev,
                 const struct zb_action *act);
struct zb_core_obs world_observe(const struct world_node *n);
enum zb_rc world_carry_out(struct world *w, unsigned node, const struct zb_action *a,
                           struct zb_core_result *res);

#endif
