/*
 * The decision core: what this node does next for each service. Pure: no I/O, no clock, no
 * allocation, no logging; randomness only from the seed in its state. Time is in the event.
 *
 *     zb_core_step(core, event, plan)
 *
 * changes the state and fills the plan: actions in order, the next wake-up. The caller (agent, or a
 * simulator) carries the actions out and reports each one that has a result with ZB_EV_DONE and the
 * action's id, exactly once (a caller that cannot finish one reports it with rc). Actions of one
 * plan are started in the order given; they may finish in any order.
 *
 * Nodes and services are small integers of this process; the caller maps them to names. The meaning
 * of the roles and their transitions stands in core/table.c; doc/states.md is made from it.
 */
#ifndef ZB_CORE_CORE_H
#define ZB_CORE_CORE_H

#include "base/lineage.h"

#define ZB_NODE_NONE 0xffu
/* etcd, where it has a vote (core/witness.h): a number that no node has, never a member's. */
#define ZB_NODE_WITNESS ZB_NODES_MAX
#define ZB_PEERS_MAX (ZB_NODES_MAX + 1) /* whom a core hears of: nodes, and the witness */
#define ZB_CORE_ACTIONS_MAX                                                                        \
    256 /* of one plan; a step that wants more defers services to a wake-up */

/* Role of this node for one service. */
enum zb_role {
    ZB_ROLE_UNKNOWN,    /* not observed yet */
    ZB_ROLE_FOLLOWER,   /* at rest; read-only copy, or none yet */
    ZB_ROLE_CREATING,   /* first leader: makes or adopts the dataset */
    ZB_ROLE_ASKING,     /* asks the voters to grant a term */
    ZB_ROLE_FORWARDING, /* failover, granted: brings its copy to the newest position there is */
    ZB_ROLE_PROMOTING,  /* granted: records, mounts, probes */
    ZB_ROLE_STARTING,   /* writable; the service is being started */
    ZB_ROLE_LEADING,    /* writable; replicates at its interval */
    ZB_ROLE_PRESYNC,    /* move: leading, bringing the target close */
    ZB_ROLE_STOPPING,   /* move: the service is being stopped */
    ZB_ROLE_SEALING,    /* move: final set, unmount, send */
    ZB_ROLE_RELEASING,  /* move: the release is being recorded */
    ZB_ROLE_RELEASED,   /* given away; nobody leads until the target does */
    ZB_ROLE_RESTORING,  /* an aborted move is put back */
    ZB_ROLE_DEMOTING,   /* stops and unmounts what must not be writable */
    ZB_ROLE_COUNT
};
const char *zb_role_word(enum zb_role role);

/* What the operator declared. Members vote, backups do not (protocol.md). */
struct zb_core_conf {
    uint8_t members_count;
    uint8_t members[ZB_MEMBERS_MAX]; /* node numbers, each below ZB_NODES_MAX */
    bool backup[ZB_MEMBERS_MAX];
    bool witness;         /* ZB_NODE_WITNESS votes too */
    uint8_t first_leader; /* takes the first term of a service that never had a leader */
    uint64_t term_floor;  /* terms up to it may have been led in an earlier cluster; 0: none were */
    bool led_before;      /* ... and of this very service there are sets from then */
    uint64_t version;     /* of the declaration; grants carry it (M11) */
    bool frozen;          /* who leads is not changed by anybody's command */
    bool keyed;           /* a set may bring another key with it */
    uint64_t held_term;   /* the service that ends in this term is not started again; 0: none */
    int64_t interval_ms;
    int64_t idle_interval_ms; /* ... while less than idle_bytes were written; 0: no such */
    uint64_t idle_bytes;
    int64_t backup_every_ms; /* backups are sent sets so often; 0: each at once */
    uint32_t keep_count;
    int64_t start_timeout_ms;
    int64_t stop_timeout_ms;
};

/* This node's keeper, its record and the disk, as last observed. */
struct zb_core_obs {
    bool exists;  /* the service's dataset is there */
    bool mounted; /* any dataset of the tree, in any mode */
    bool mounted_rw;
    bool mounted_here;     /* read-write by this keeper's life, or continued (M12) */
    bool sealed;           /* sealed by this keeper's life and not released */
    bool running;          /* the runner sees the service */
    enum zb_key_state key; /* with which the tree could be mounted */
    bool modified; /* not mounted, yet written != 0 on some dataset: a follower that changed */
    /* Not mounted, and some dataset of the newest set has snapshots or writes that came after it.
     */
    bool beyond;
    uint64_t written_bytes;
    bool foreign; /* a snapshot of another tool is newer than the newest set */
    bool added;   /* a dataset below the tree's own carries no mark: new here, or half received */
    struct zb_set_ref newest; /* the newest set held whole (position) */
    /* The newest set that was here whole, of which only datasets that are gone are missing; none,
     * or not below newest. Says how far this disk came, not what it holds. */
    struct zb_set_ref reached;
    uint64_t granted_term;
    uint8_t granted_to;
    uint64_t learned_term;
    uint8_t learned_leader;
    uint64_t established_term;
    uint64_t released_term;
    uint8_t released_to;
    struct zb_set_ref released_set;
    uint32_t suspects;         /* bit per node number (M3) */
    bool suspects_unknown;     /* the record names a node that is no longer known */
    struct zb_lineage lineage; /* of learned_term */
};

/* What a member's record said of its grants, as far as it was heard of. A record only grows, so
 * that less than this is an older copy of it. */
struct zb_core_seen {
    uint64_t granted_term;
    uint8_t granted_to;
    uint64_t learned_term;
    uint8_t learned_leader;
    uint32_t suspects;
};
/* Takes in what was told later or elsewhere; true when that was news. */
bool zb_core_seen_add(struct zb_core_seen *seen, const struct zb_core_seen *told);

enum zb_msg_kind {
    ZB_MSG_REPORT = 1,   /* state of the sender, on change and every 10 s */
    ZB_MSG_GRANT_ASK,    /* term, nonce, version */
    ZB_MSG_GRANT_ANSWER, /* term, nonce of the asker, rc, granted_term, position, suspects */
    ZB_MSG_RELEASED,     /* term, nonce of the target, set, suspects: the holder's grant (M1) */
    ZB_MSG_RELEASE_ASK,  /* nonce: a (re)started target fetches its release (M5) */
    ZB_MSG_FORWARD_ASK, /* term, nonce, set: who granted the term sends that set to the candidate */
    ZB_MSG_FORWARD_ANSWER, /* term, nonce of the asker, rc: ZB_E_BUSY while it is being sent */
    ZB_MSG_COPY_ASK,       /* term, node: the leader has a follower send its copy to that member */
    ZB_MSG_COPY_ANSWER,    /* term, nonce of the asker, node, rc: ZB_OK that one has a copy,
                            * ZB_E_BUSY while it is being sent */
};
#define ZB_MSG_LAST ZB_MSG_COPY_ANSWER

struct zb_core_msg {
    enum zb_msg_kind kind;
    uint64_t term;
    uint64_t nonce; /* REPORT: of the sender's own start */
    /* REPORT: rises from each to the next that was sent with this nonce, of whichever service and
     * to whomever; 0: the witness's, which has no starts */
    uint64_t number;
    uint64_t version;
    enum zb_rc rc; /* GRANT_ANSWER: ZB_OK granted; ZB_E_STALE, ZB_E_REFUSED, ZB_E_BUSY ... */
    uint8_t node;  /* COPY_ASK, COPY_ANSWER: whose first copy it is */
    struct zb_set_ref set; /* REPORT, GRANT_ANSWER: position; RELEASED: final set */
    uint32_t suspects;     /* node bits */
    uint64_t granted_term;
    uint8_t granted_to;
    bool failover;   /* GRANT_ASK: by an operator's order, whoever led before */
    bool allow_loss; /* ... and although a voter sees the leader */
    uint64_t learned_term;
    uint8_t learned_leader;
    struct zb_lineage lineage; /* REPORT, GRANT_ANSWER: of learned_term; a leader's: of its own */
    bool sees_leader; /* REPORT, GRANT_ANSWER: the leader of learned_term is up, and leads */
    /* REPORT, GRANT_ASK, GRANT_ANSWER: what the sender remembers of the receiver's own record */
    struct zb_core_seen seen;
    /* REPORT only */
    enum zb_role role;
    uint64_t established_term; /* non-zero while the sender leads it (mounted) */
    uint64_t released_term;
    uint8_t released_to;
    bool running;
    bool modified;
    uint64_t written_bytes; /* modified: how much */
    bool parted;            /* its copy came away from the leader's history, as that one found */
    enum zb_key_state key;  /* with which it could mount the tree */
    bool exists;
    uint32_t start_ms; /* leader: how long the last start took */
    /* leader: what no member may prune */
    uint32_t bases_count;
    struct zb_set_id bases[ZB_MEMBERS_MAX]; /* where members stand */
    struct zb_set_id floor;     /* and all sets from this one on, up to a number; or none */
    struct zb_set_id floor_way; /* ... however many: a member is on its way from there; or none */
};

enum zb_cmd_kind {
    ZB_CMD_MOVE = 1, /* node: target; dry_run */
    ZB_CMD_SNAPSHOT, /* one set now; answered when it exists */
    ZB_CMD_SYNC, /* one set now (if anything changed); answered when every reachable follower has it
                  */
    ZB_CMD_FAILOVER, /* this node takes the lead; dry_run, allow_loss, wait_ms */
    ZB_CMD_FENCED,   /* node, term: it was off at some moment after a majority granted term (M4) */
    ZB_CMD_FENCE_WAIT, /* term, wait_ms: its failover waits for suspects so long from now on */
    ZB_CMD_REJOIN,     /* a copy without any snapshot in common is set aside too */
    ZB_CMD_PRUNE,      /* old sets go now, not only when enough came in */
    ZB_CMD_REVERT,     /* set: this node, which leads, goes back to it in a new term; dry_run */
};

enum zb_ev_kind {
    ZB_EV_TICK = 1,
    ZB_EV_CONFIG,  /* service declared or changed: conf (not a member: conf.members lacks this node)
                    */
    ZB_EV_REMOVE,  /* service withdrawn: forgotten, nothing is stopped */
    ZB_EV_PEER_UP, /* node */
    ZB_EV_PEER_DOWN,     /* node */
    ZB_EV_MESSAGE,       /* node, service, msg */
    ZB_EV_DONE,          /* action id: result */
    ZB_EV_COMMAND,       /* service, command */
    ZB_EV_RECEIVED,      /* this node now holds `set` whole (re-read by guid) */
    ZB_EV_PEER_POSITION, /* a position remembered from before this start: node, service, set */
    ZB_EV_PEER_SEEN,     /* a member's record, remembered likewise: node, service, seen */
    ZB_EV_DIVERGED,      /* node, service, diverged: the leader cannot go on from this copy */
    ZB_EV_BARRED,        /* the keeper makes nothing writable, and unmounts what is: the session in
                          * etcd is over (keeper/session.h) */
    ZB_EV_UNBARRED,      /* ... there is a new one, or none is needed; so from the start on */
};

struct zb_core_result {
    enum zb_rc rc;
    char text[256]; /* why not; shown to people, never parsed */
    bool obs_valid; /* OBSERVE, CREATE, GRANT, LEARN, PROMOTE, SEAL, RELEASE, DEMOTE fill obs */
    struct zb_core_obs obs;
    struct zb_set_ref set; /* SNAPSHOT: the new set; SHIP: what the follower acknowledged */
    char rescue[ZB_DATASET_NAME_SIZE]; /* RESCUE: its name, "" when there was nothing to rescue */
    bool remounted;                    /* SEAL failed and put the mounts back */
    bool running;                      /* CHECK */
    bool more;                         /* PRUNE: not all that goes is gone yet */
    uint64_t bytes;                    /* SHIP */
    uint32_t elapsed_ms;               /* START, STOP, SHIP */
};

struct zb_event {
    enum zb_ev_kind kind;
    struct zb_mono now;
    struct zb_wall wall; /* only passed on into set names */
    uint16_t service;
    uint8_t node;
    union {
        struct zb_core_conf conf;
        struct zb_core_msg msg;
        struct {
            uint64_t action_id;
            struct zb_core_result result;
        } done;
        struct {
            enum zb_cmd_kind kind;
            uint64_t id; /* echoed in STEP and REPLY */
            uint8_t node;
            bool dry_run;
            bool allow_loss;
            bool automatic; /* FAILOVER by nobody's word: from no set below `set`, past no leader */
            uint64_t term;
            int64_t wait_ms; /* FAILOVER, FENCE_WAIT, REVERT: for suspects to grant or be fenced */
            struct zb_set_ref set; /* REVERT, FAILOVER with automatic */
        } command;
        struct {
            uint64_t term;
            bool common; /* the service's own dataset has a snapshot of the leader's */
        } diverged;
        struct zb_set_ref set;
        struct zb_core_seen seen;
    } u;
};

enum zb_act_kind {
    /* keeper operations (wire/kmsg.h); each is answered with ZB_EV_DONE */
    ZB_ACT_OBSERVE = 1, /* flags ZB_OBSERVE_DUE */
    ZB_ACT_CREATE,
    ZB_ACT_GRANT,    /* term, node (candidate), nonce */
    ZB_ACT_LEARN,    /* term, node (leader), lineage */
    ZB_ACT_PROMOTE,  /* term, set, flags ZB_PROMOTE_* */
    ZB_ACT_START,    /* timeout_ms */
    ZB_ACT_STOP,     /* timeout_ms */
    ZB_ACT_SNAPSHOT, /* term, set.id, final: with syncfs */
    ZB_ACT_SEAL,     /* term, set */
    ZB_ACT_RELEASE,  /* term (next), node (target), set */
    ZB_ACT_DEMOTE,   /* timeout_ms */
    ZB_ACT_PRUNE,    /* keep_count, protect: ids that stay, floor, floor_way */
    /* term, node (leader, or this one as the candidate), set: what came after it is set aside;
     * none: after the snapshots that the leader of ZB_EV_DIVERGED has too */
    ZB_ACT_RESCUE,
    /* between engines, answered with ZB_EV_DONE */
    ZB_ACT_SHIP, /* node, set, term: bring node to hold this set whole, and all snapshots in between
                  */
    /* not answered */
    ZB_ACT_MESSAGE, /* node, msg */
    ZB_ACT_STEP,    /* command_id, step, phase, text, elapsed_ms, bytes: progress of a move */
    ZB_ACT_REPLY,   /* command_id, rc, text: ends a command */
    ZB_ACT_NOTE,    /* rule, text, level: an event for people */
    ZB_ACT_TERM,    /* term, node (leader), set (fork), reason, down_ms, own_ms: for the history */
};

enum zb_observe_flag {
    ZB_OBSERVE_DUE = 1, /* a set is due: one follows if anything was written */
};

enum zb_promote_flag {
    ZB_PROMOTE_EXACT = 1,   /* the tree must equal set */
    ZB_PROMOTE_REMOUNT = 2, /* after an aborted move: same term */
};

enum zb_rescue_flag {
    ZB_RESCUE_WHOLE = 1, /* with no snapshot in common the whole tree is set aside */
};

enum zb_ship_flag {
    ZB_SHIP_FORWARD = 1, /* not by the leader: to the candidate that this node granted term to */
    ZB_SHIP_COPY = 2,    /* for the leader of term: to a member that has none yet */
    ZB_SHIP_FIRST = 4,   /* the final set, to the target of the move: the service is down for it */
};

enum zb_failover_step {
    ZB_FAILOVER_CHECK = 1,
    ZB_FAILOVER_COLLECT, /* grants and positions of a majority */
    ZB_FAILOVER_FENCE,   /* BEGIN: node may still write and was not heard of (one each) */
    ZB_FAILOVER_FORWARD, /* node: who is ahead; set */
    ZB_FAILOVER_TAKE,
    ZB_FAILOVER_START,
    ZB_FAILOVER_FOLLOW,
};

enum zb_step_phase { ZB_STEP_BEGIN = 1, ZB_STEP_END, ZB_STEP_FAIL };

enum zb_term_reason {
    ZB_TERM_FIRST = 1,
    ZB_TERM_MOVE,
    ZB_TERM_RESTART,
    ZB_TERM_FAILOVER,
    ZB_TERM_REVERT,
    ZB_TERM_UNTOLD, /* found in the record of this node: known already, or its engine ended too soon
                     */
};

struct zb_action {
    uint64_t id;
    enum zb_act_kind kind;
    uint16_t service;
    uint8_t node;
    uint8_t step; /* STEP: of a move 1..9 as in design.md, of a failover enum zb_failover_step */
    enum zb_step_phase phase;
    uint64_t term;
    uint64_t nonce;
    struct zb_set_ref set;
    bool final;
    uint32_t flags;
    uint32_t keep_count;
    uint32_t protect_count;
    uint32_t bases_count; /* of protect, from the first on: where others stand */
    struct zb_set_id protect[ZB_MEMBERS_MAX + 1];
    struct zb_set_id floor;     /* PRUNE: so do all from this one on, up to a number; or none */
    struct zb_set_id floor_way; /* ... however many; or none */
    int64_t timeout_ms;
    uint64_t command_id;
    enum zb_rc rc;
    uint32_t level; /* NOTE: enum zb_log_level */
    enum zb_term_reason reason;
    uint32_t elapsed_ms;
    uint32_t down_ms; /* TERM of a finished move: service not running */
    uint32_t own_ms;  /* ... of it neither the service's stop nor its start */
    uint64_t bytes;
    /* NOTE: node, unless it is ZB_NODE_NONE, is whom it is about */
    const char *rule; /* NOTE, REPLY: stable id "C-move-target-down" (static string) */
    char text[256];
    struct zb_lineage lineage;
    struct zb_core_msg msg;
};

struct zb_plan {
    struct zb_mono wake; /* next tick is wanted at this time at the latest */
    uint32_t actions_count;
    struct zb_action actions[ZB_CORE_ACTIONS_MAX];
};

struct zb_core_options {
    uint8_t self; /* this node's number */
    uint16_t services_max;
    uint64_t seed;
    uint64_t nonce; /* of this start (M5): the keeper's */
};

/* What `status` shows; a copy, computed when asked. */
struct zb_core_view {
    bool declared;
    bool member;
    uint64_t version; /* of the declaration that decisions are made by */
    enum zb_role role;
    struct zb_core_obs obs;
    uint8_t leader; /* ZB_NODE_NONE when none is known */
    uint64_t term;
    struct zb_mono newest_at; /* when the newest set was made here or received */
    const char *why;          /* sentence: what this service waits for; static, never NULL */
    const char *why_rule;     /* its rule id */
    uint8_t step;             /* of a move under way, else 0 */
    bool parted;              /* as in a report */
    /* This node's record went back: what it said before, as others remember; else zero. */
    struct zb_core_seen lost;
    struct zb_core_peer_view {
        bool up;
        bool known; /* has reported since this start */
        struct zb_core_msg report;
        struct zb_mono report_at;
        uint64_t ship_id; /* SHIP under way, else 0 */
        bool back;        /* its record said more before: seen */
        struct zb_core_seen seen;
    } peers[ZB_PEERS_MAX];
};

/* Of a service that this node leads, and that is not under way to anybody. */
struct zb_core_lead {
    uint64_t term;
    uint64_t version; /* as in the view */
    struct zb_set_id newest;
    bool running;
};

/* Bytes zb_core_init needs; aligned as malloc aligns. */
size_t zb_core_size(uint16_t services_max);
/* mem of zb_core_size zeroed bytes, owned by the caller for the life of the core; what is of
 * services that never had an event is not touched. */
struct zb_core *zb_core_init(void *mem, const struct zb_core_options *options);
/* Never fails: what cannot be done is a reply or a note in the plan. plan is overwritten. */
void zb_core_step(struct zb_core *core, const struct zb_event *event, struct zb_plan *plan);
void zb_core_view(const struct zb_core *core, uint16_t service, struct zb_core_view *view);
/* False: it is led elsewhere, by nobody, or on its way. Costs much less than a view. */
bool zb_core_lead(const struct zb_core *core, uint16_t service, struct zb_core_lead *lead);
/* In words; NULL: it is good. Pure. */
const char *zb_core_key_lack(enum zb_key_state key);
/* False: a report that is not above the last one of its sender's nonce that was taken for this
 * service: that one, or from before it. The core drops it as well. */
bool zb_core_is_news(const struct zb_core *core, uint16_t service, uint8_t node,
                     const struct zb_core_msg *m);
/* What PRUNE would be ordered to leave now: fills its fields of *a. False: nothing is pruned at
 * present, as it is not known what others need. */
bool zb_core_prune_plan(const struct zb_core *core, uint16_t service, struct zb_action *a);

#endif
