/*
 * A simulated cluster around the production core and the production rules of the keeper: what is
 * simulated is what they stand on, namely disks, mounts, services, the network, clocks and
 * operators. What the model covers and what it leaves out stands in doc/simulation.md.
 *
 * One struct sim is one world. It holds no pointers into itself but for the cores' own, so that the
 * exhaustive search can copy it (exhaust.c). Everything in it follows from the seed.
 */
#ifndef SIM_H
#define SIM_H

#include "core/witness.h"
#include "keeper/rules.h"

#define SIM_NODES 5
#define SIM_SERVICES 2
#define SIM_DATASETS 3    /* of a tree: "", "a", "b"; a slot per name */
#define SIM_BACKUP_SETS 8 /* intervals between two times of a backup, where it has its own */
#define SIM_SNAPS 160     /* of a dataset */
#define SIM_SNAPS_ROOM 56 /* past it there is no space for one more, until there are more disks */
#define SIM_DECLARATIONS 4096 /* versions of one that are remembered */
#define SIM_MARKS 16          /* bookmarks of a dataset; past it none can be made */
#define SIM_ITEMS 2048        /* things that are going to happen */
#define SIM_VERSIONS 65536    /* writes of one run */
#define SIM_MANIFESTS 4096
#define SIM_COMMANDS 512
#define SIM_UUIDS 255
#define SIM_LOST 512     /* acknowledged writes that a failover left behind, in one run */
#define SIM_RESCUED 2048 /* datasets that were set aside */

/* ---- disks ---- */

struct sim_snap {
    uint64_t guid;
    struct zb_set_id id; /* none: another tool's */
    struct zb_wall time; /* in the set's name */
    uint32_t version;    /* what it holds */
    uint16_t manifest;   /* 1 + number of the set's */
    bool held;           /* by somebody else */
};

/* A bookmark of a base (base-<set>); it stands where its guid does among the snapshots', which only
 * grow along a dataset. */
struct sim_mark {
    uint64_t guid;
    struct zb_set_id id;
    struct zb_wall time;
};

/* One dataset of one service on one node. Versions are numbers of writes (struct sim_version); 0 is
 * the empty file system. */
struct sim_dataset {
    bool exists;
    bool marked;
    bool orphan;
    bool partial;        /* the first receive never ended: no snapshot yet */
    bool safe;           /* readonly=on, canmount=noauto (S0) */
    uint8_t uuid;        /* 0: none yet (a newcomer) */
    uint8_t mount;       /* enum zb_mount_state */
    bool outsider;       /* a process outside the service keeps it mounted */
    bool lazy;           /* unmounted lazily: a process still writes through it */
    bool dirty;          /* a page written through a mapping and not flushed */
    uint64_t token_guid; /* a partial incremental receive leads there; 0 none */
    uint32_t live;       /* what a reader of the mounted file system sees */
    uint32_t synced;     /* what is there after a crash, without the intent log */
    uint32_t logged;     /* what its replay brings back; 0: nothing is logged */
    uint32_t snaps_count;
    uint32_t marks_count;
    struct sim_snap snaps[SIM_SNAPS];
    struct sim_mark marks[SIM_MARKS];
};

struct sim_image {
    bool taken;
    uint8_t node;
    uint8_t service;
    uint64_t learned_term;
    struct sim_dataset datasets[SIM_DATASETS];
};

/* ---- nodes ---- */

struct sim_service {
    /* survives a crash */
    struct zb_keeper_record record;
    struct sim_dataset datasets[SIM_DATASETS];
    struct zb_core_conf conf; /* the declaration that this node has */
    /* the running host's */
    bool running;
    bool stubborn; /* does not end when it is asked to */
    bool writing;  /* a write of it is scheduled */
    /* the keeper's life */
    enum zb_keeper_stage stage;
    bool settled;
    bool claimed;           /* an operation that changes the tree is under way */
    uint32_t sealed;        /* manifest number of ZB_STAGE_SEALED */
    uint32_t receives;      /* under way */
    uint8_t copier;         /* who sent the first copy ... */
    uint64_t copier_term;   /* ... in this term; 0: none did */
    uint32_t receive_epoch; /* raised to end them */
    /* the engine's life: what the leader told of where this copy came away */
    struct {
        uint8_t leader;
        uint8_t count;
        uint64_t term;
        uint8_t uuids[SIM_DATASETS];
        uint64_t guids[SIM_DATASETS];
    } fork;
    /* survives a crash: what the engine remembers of the others' records */
    struct zb_core_seen seen[SIM_NODES];
    struct zb_core_seen witness_seen;
    uint64_t told_version[SIM_NODES];       /* of the declaration, in their last reports */
    struct zb_set_ref positions[SIM_NODES]; /* ... and where they stood when it last heard */
    struct zb_record before; /* what the record said when it was put back; or nothing */
};

struct sim_node {
    bool on;     /* the host */
    bool keeper; /* the processes */
    bool engine;
    bool paused;
    bool disk_full;
    bool disk_stuck; /* operations begin and do not return */
    int64_t off_ms;  /* when the host was off last */
    uint32_t lives;  /* counts the starts of all three */
    uint32_t host_life;
    uint32_t keeper_life;
    uint32_t engine_life;
    bool witness_up; /* as its core was told */
    uint64_t nonce;
    int64_t clock_base_ms; /* the host's clock at clock_at_ms */
    int64_t clock_at_ms;
    int32_t clock_ppm;
    int64_t wake_ms;             /* on the host's clock; of the core */
    uint32_t session[SIM_NODES]; /* of the connection with that peer, as its engine knows; 0 none */
    struct sim_service services[SIM_SERVICES];
};

/* ---- what is going to happen ---- */

enum sim_kind {
    SIM_FREE = 0,
    SIM_MESSAGE,   /* arrives at node */
    SIM_OP,        /* an operation of the keeper of node reaches its next stage */
    SIM_DONE,      /* its answer arrives at the engine */
    SIM_SHIP,      /* a transfer from node reaches its next stage */
    SIM_RECEIVED,  /* node's engine hears that it holds a set whole */
    SIM_DIVERGED,  /* ... that the leader cannot go on from its copy */
    SIM_FENCE,     /* somebody looks after peer, that node asked to be fenced */
    SIM_VOTE,      /* node's transaction at the witness */
    SIM_VOTED,     /* ... its answer arrives */
    SIM_VOTE_LINK, /* whether node reaches the witness is looked at */
    SIM_LINK,      /* the connection of node and peer is looked at */
    SIM_CONF,      /* node hears of a newer declaration */
    SIM_WRITE,     /* the service on node writes */
    SIM_SYNC,      /* a transaction group of node's pool ends */
    SIM_START_NODE,
    SIM_START_KEEPER,
    SIM_START_ENGINE,
    SIM_RESUME,
    SIM_DISK_WELL,
    SIM_FAULT,
    SIM_OPERATOR,
};

struct sim_item {
    enum sim_kind kind;
    int64_t at_ms;
    uint64_t order;
    uint8_t node;
    uint8_t peer;
    uint8_t service;
    uint8_t stage; /* of an operation or a transfer */
    uint32_t life; /* of what it belongs to: host, keeper or engine of node */
    uint32_t peer_life;
    uint32_t keeper_life;
    uint32_t session;
    union {
        struct zb_core_msg msg;
        struct {
            uint64_t id;
            enum zb_act_kind kind;
            uint8_t node;
            bool final;
            bool fail; /* as the fault plan has it */
            bool claims;
            bool was_mounted; /* SEAL: before it */
            bool remounted;   /* SEAL: put back */
            bool rescued;     /* RESCUE: something was set aside */
            bool meddled;     /* RESCUE: somebody takes a snapshot of what goes on */
            uint8_t protect_count;
            uint8_t bases_count;
            uint32_t flags;
            uint32_t keep_count;
            uint32_t manifest; /* 1 + number */
            uint64_t term;
            uint64_t nonce;
            int64_t timeout_ms;
            int64_t begun_ms;
            struct zb_set_ref set;
            struct zb_set_id floor;
            struct zb_lineage lineage;
            struct zb_set_id floor_way;
            struct zb_set_id protect[ZB_MEMBERS_MAX + 1];
            uint32_t voters;  /* PROMOTE: by which declaration the grants were counted */
            uint32_t members; /* PRUNE: who counted, where the others were told to stand */
            struct zb_set_id known[SIM_NODES]; /* PRUNE: where its node knew the others to stand */
        } op;
        struct {
            uint64_t id;
            uint64_t term;
            uint32_t manifest; /* 1 + number */
            uint32_t epoch;    /* of the follower's receives, when this one began */
            uint8_t entry;     /* of the manifest */
            uint8_t slot;      /* of the follower's dataset */
            bool receiving;    /* snap is on its way */
            bool fail;
            uint32_t flags; /* ZB_SHIP_* */
            bool lie;       /* the receive says that it is done, and is not */
            uint32_t snaps_before;
            uint64_t newest_before; /* guid of the newest snapshot there; 0 none */
            struct sim_snap snap;
            struct zb_set_ref set;
        } ship;
        struct {
            uint64_t id;
            enum zb_act_kind kind;
            enum zb_rc rc;
            bool obs_valid;
            bool remounted;
            uint32_t elapsed_ms;
            bool rescued;
            struct zb_core_obs obs;
            struct zb_set_ref set;
        } done;
        struct {
            uint64_t term;
            bool common;
        } told; /* DIVERGED, FENCE */
        struct zb_set_ref set;
    } u;
};

struct sim_version {
    uint32_t parent;
    uint8_t node; /* who wrote it */
};

struct sim_manifest {
    struct zb_set_ref ref;
    uint8_t service;
    uint8_t count;
    uint8_t uuids[SIM_DATASETS];
    uint8_t slots[SIM_DATASETS]; /* the names they have there */
    uint64_t guids[SIM_DATASETS];
    uint32_t versions[SIM_DATASETS];
};

struct sim_command {
    uint64_t id;
    uint8_t node;
    bool answered;
    bool failover; /* or a revert, which is one of the leader to itself */
    bool dropped;  /* its engine ended: the client was told so */
};

/* What a run may meet; chances are per 1000. */
struct sim_options {
    uint64_t seed;
    uint8_t nodes;
    uint8_t services;
    uint8_t datasets;
    uint32_t steps;      /* core steps to run, before the end */
    int64_t fault_ms;    /* mean time between faults; 0: none */
    int64_t operator_ms; /* mean time between commands; 0: none */
    uint32_t loss;
    uint32_t duplicates;
    uint32_t reorder;
    uint32_t op_failures;
    uint32_t failovers; /* of the commands, per 1000; 0: nobody orders one */
    uint32_t catch_up;  /* newest sets that stay for who is away */
    uint32_t changes;   /* of the commands, who is a member changes, per 1000 */
    bool witness;       /* etcd votes too */
    uint32_t away;      /* of the faults, a host stays off for minutes, per 1000 */
    bool trace;
};

struct sim {
    struct sim_options opt;
    uint64_t random;
    int64_t now_ms;
    uint64_t order;
    uint64_t steps;
    uint32_t faults;
    uint32_t moves; /* asked for */
    uint32_t moves_done;
    uint32_t failovers; /* ordered */
    uint32_t failovers_done;
    uint32_t reverts; /* begun */
    uint32_t reverts_done;
    uint32_t changes; /* of members */
    uint32_t marks_made;
    uint32_t marks_used;         /* a dataset went on from a bookmark */
    uint32_t bases_gone;         /* told so: a member's base is neither a snapshot nor a bookmark */
    bool reverted[SIM_SERVICES]; /* ever; it was begun */
    uint32_t lost_count;
    uint32_t rescued_count;
    uint64_t next_guid;
    uint64_t next_command;
    uint32_t next_session;
    uint8_t next_uuid[SIM_SERVICES];
    uint64_t asked_version[SIM_NODES][SIM_NODES][SIM_SERVICES]; /* at, by: of the last question */
    int64_t heal_order_ms;                  /* an operator looks after what waits for an order */
    bool healing;                           /* no new faults, no commands */
    bool manual;                            /* nothing happens by chance (choice.h) */
    bool searching;                         /* ... and states come back (exhaust.c) */
    bool cut[SIM_NODES][SIM_NODES];         /* from, to */
    struct zb_core_conf conf[SIM_SERVICES]; /* the newest declarations that were decided */
    uint32_t acked[SIM_SERVICES][SIM_UUIDS + 1]; /* newest acknowledged write */
    bool destroyed[SIM_SERVICES][SIM_UUIDS + 1]; /* by its leader's administrator */
    /* Who mounted the newest term, and in which life of its host. */
    struct {
        uint64_t term;
        uint8_t node;
        uint32_t host_life;
        uint32_t voters; /* when it took the term */
    } writer[SIM_SERVICES];
    /* The newest term that a majority has granted to one node, and since when (M4). */
    struct sim_majority {
        uint64_t term;
        int64_t at_ms;
        uint8_t node; /* to whom; when, on its clock, and the newest connection at that moment */
        uint32_t host_life;
        uint32_t session;
        int64_t local_ms;
    } majority[SIM_SERVICES];
    /* To, by: the position in the newest report that arrived. */
    struct sim_told {
        uint64_t nonce;
        uint64_t number;
        struct zb_set_id at;
    } told[SIM_NODES][SIM_NODES][SIM_SERVICES];
    bool allow_loss[SIM_NODES][SIM_SERVICES]; /* of the last order to that node */
    bool forgiven[SIM_SERVICES]; /* a disk is gone for good that held writes of nobody else */
    bool forgot[SIM_SERVICES];   /* a node does not know any more in which term it led last */
    uint32_t items_count;
    uint32_t heap_count;
    uint32_t commands_count;
    uint32_t manifests_count;
    uint32_t versions_count;
    bool failed;
    char failure[512];
    struct {
        uint32_t cut; /* node bits: who does not reach it */
        struct zb_witness_record records[SIM_SERVICES];
        struct zb_witness_record before[SIM_SERVICES]; /* what was said when it was put back */
        bool copied[SIM_SERVICES];
        struct zb_witness_record copy[SIM_SERVICES];
    } witness;
    struct sim_node nodes[SIM_NODES];
    struct {
        bool taken;
        uint8_t node;
        uint8_t service;
        struct zb_keeper_record record;
    } backup;               /* of a state directory */
    struct sim_image image; /* of a disk, taken when it was put back to an older state */
    uint8_t members_of[SIM_SERVICES][SIM_DECLARATIONS]; /* node bits, by version */
    struct sim_item items[SIM_ITEMS];
    uint16_t heap[SIM_ITEMS];
    uint16_t free_items[SIM_ITEMS];
    struct sim_command commands[SIM_COMMANDS];
    struct sim_write {
        uint8_t service;
        uint8_t uuid;
        uint32_t version;
    } lost[SIM_LOST], rescued[SIM_RESCUED];
    struct sim_manifest manifests[SIM_MANIFESTS];
    struct sim_version versions[SIM_VERSIONS];
    struct zb_core *cores[SIM_NODES];
    struct zb_plan plan;
};

/* ---- sim.c: the world's life ---- */

void sim_init(struct sim *w, const struct sim_options *options);
void sim_close(struct sim *w);
/* Runs until options.steps core steps were made, then heals everything and waits for liveness.
 * False: an invariant broke or liveness failed; w->failure says it. */
bool sim_run(struct sim *w);
/* Its end: everything is healed, then liveness. */
bool sim_end(struct sim *w);
/* The next thing that is due happens; false when nothing is left before until_ms. */
bool sim_advance(struct sim *w, int64_t until_ms);
/* Whether what the item belongs to is still there. */
bool sim_item_lives(const struct sim *w, const struct sim_item *item);
void sim_item_run(struct sim *w, struct sim_item *item);
void sim_step(struct sim *w, uint8_t node, struct zb_event *ev);
uint32_t sim_random(struct sim *w, uint32_t below);
bool sim_chance(struct sim *w, uint32_t per_mille);
struct sim_item *sim_item_add(struct sim *w, enum sim_kind kind, uint8_t node, int64_t delay_ms);
/* The same once more, later. */
void sim_item_again(struct sim *w, const struct sim_item *item, int64_t delay_ms);
/* Takes one out of the heap by its number there. */
void sim_item_remove(struct sim *w, uint32_t at, struct sim_item *out);
int64_t sim_local_ms(const struct sim *w, uint8_t node);

/* ---- node.c: hosts and their processes ---- */

void sim_host_start(struct sim *w, uint8_t node);
void sim_host_crash(struct sim *w, uint8_t node);
void sim_keeper_start(struct sim *w, uint8_t node);
void sim_keeper_kill(struct sim *w, uint8_t node);
void sim_engine_start(struct sim *w, uint8_t node);
void sim_engine_kill(struct sim *w, uint8_t node);
/* False: it cannot be given, no engine is there. set: of a REVERT, else NULL. */
bool sim_command_set(struct sim *w, uint8_t node, uint8_t service, enum zb_cmd_kind kind,
                     uint8_t target, const struct zb_set_ref *set);
bool sim_command(struct sim *w, uint8_t node, uint8_t service, enum zb_cmd_kind kind,
                 uint8_t target);
void sim_config_change(struct sim *w, uint8_t service);
void sim_declare(struct sim *w, uint8_t service);

struct sim_facts;
struct sim_request;

/* ---- failover.c: operators who take the lead away, and what that leaves behind ---- */

/* An order to node; false: it cannot be given. */
bool sim_failover(struct sim *w, uint8_t node, uint8_t service, bool allow_loss);
/* The service is led by node: it goes back to some set that is there. */
void sim_revert(struct sim *w, uint8_t node, uint8_t service);
/* node's core says that it waits for peer to be fenced. */
void sim_fence_wanted(struct sim *w, uint8_t node, uint8_t service, uint8_t peer, uint64_t term);
void sim_fence_look(struct sim *w, const struct sim_item *item);
/* After everything was healed: orders what waits for an order, now and then. */
void sim_failover_heal(struct sim *w);
/* A failover leaves what was acknowledged and is not here: it has to be found again. */
void sim_lose(struct sim *w, const struct sim_item *promote);
/* Its leader's administrator destroys it, with what an earlier failover had left behind. */
void sim_lost_forget(struct sim *w, uint8_t service, const struct sim_dataset *d);
/* Every write that a failover left behind stands in a rescue, or in the history. */
bool sim_lost_found(struct sim *w);

/* ---- statement.c: what an order says that it loses ---- */

void sim_statements_clear(void);
/* Before the order; given: it was taken. */
void sim_statement_ask(struct sim *w, uint8_t node, uint8_t service, bool allow_loss);
void sim_statement_give(uint8_t node, uint8_t service);
/* The core on node asks for peer to be fenced. */
void sim_statement_suspect(uint8_t node, uint8_t service, uint8_t peer);
/* An acknowledged write that a promotion leaves behind. */
void sim_statement_left(const struct sim *w, const struct sim_item *promote, uint32_t version);
/* node's core says that it took a term; ordered: by a command that is known still. */
void sim_statement_check(struct sim *w, uint8_t node, const struct zb_action *term, bool ordered);
/* A revert was begun. */
void sim_statement_revert(const struct sim *w, uint8_t node, uint8_t service);
bool sim_statement_reverting(uint8_t node, uint8_t service);
/* Asked when node leads and everybody follows: the history has its term. */
void sim_statement_told(struct sim *w, uint8_t node, uint8_t service, uint64_t term);

/* ---- rescue.c ---- */

enum zb_rc sim_op_rescue(struct sim *w, struct sim_item *item, struct sim_facts *f,
                         const struct sim_request *r);
/* A dataset is kept where no tree has it: of a rescue, or out of the way of another one. */
void sim_keep_aside(struct sim *w, uint8_t service, const struct sim_dataset *d);
/* The follower of a ship is told where its copy came away. */
void sim_fork_tell(struct sim *w, const struct sim_item *ship);
void sim_diverged_arrive(struct sim *w, const struct sim_item *item);

/* ---- net.c ---- */

void sim_link_check(struct sim *w, uint8_t a, uint8_t b);
void sim_links_check(struct sim *w, uint8_t node);
void sim_message_send(struct sim *w, uint8_t from, uint8_t service, uint8_t to,
                      const struct zb_core_msg *msg);
void sim_message_arrive(struct sim *w, const struct sim_item *item);
bool sim_connected(const struct sim *w, uint8_t a, uint8_t b);

/* ---- witness.c: etcd as a voter ---- */

/* What a node's record would say. */
void sim_witness_record(const struct zb_witness_record *r, struct zb_record *out);
/* ... also before it was put back. */
bool sim_witness_granted(const struct sim *w, uint8_t service, uint64_t term, uint8_t to);
void sim_witness_link(struct sim *w, uint8_t node);
void sim_witness_link_soon(struct sim *w, uint8_t node);
void sim_witness_send(struct sim *w, uint8_t from, uint8_t service, const struct zb_core_msg *msg);
void sim_witness_run(struct sim *w, const struct sim_item *item);
void sim_witness_arrive(struct sim *w, const struct sim_item *item);
void sim_fault_witness(struct sim *w);
void sim_fault_witness_back(struct sim *w);

/* ---- disk.c: datasets, no rules ---- */

uint32_t sim_write(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset, bool fsync);
void sim_dataset_flush(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset);
void sim_dataset_lazy_end(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset);
/* A process still writes through a mount that no list shows. */
bool sim_lazily_held(const struct sim *w, const struct sim_service *s);
/* The calendar of a node, by its clock: a hundred times as fast, so that retention has hours. */
struct zb_wall sim_calendar(const struct sim *w, uint8_t node);
void sim_dataset_crash(struct sim_dataset *d);
void sim_dataset_replay(struct sim_dataset *d);
void sim_dataset_destroy(struct sim_dataset *d);
uint64_t sim_written(const struct sim_dataset *d);
/* Some dataset of the set has snapshots or writes that came after it. */
bool sim_beyond(struct sim *w, uint8_t node, uint8_t service, const struct zb_set_ref *ref);
bool sim_holds(const struct sim *w, uint8_t node, const struct sim_manifest *m);
bool sim_full(const struct sim *w, const struct sim_dataset *d);
bool sim_descends(const struct sim *w, uint32_t ancestor, uint32_t version);
struct sim_manifest *sim_manifest_find(struct sim *w, uint8_t service,
                                       const struct zb_set_ref *ref);
void sim_position(struct sim *w, uint8_t node, uint8_t service, struct zb_set_ref *ref);
void sim_reached(struct sim *w, uint8_t node, uint8_t service, struct zb_set_ref *ref);
struct sim_dataset *sim_dataset_by_uuid(struct sim *w, uint8_t node, uint8_t service, uint8_t uuid);

/* ---- dispatch.c, keeper.c, keeper_lead.c, transfer.c: operations with the production rules ----
 */

/* What the rules are asked with; points into itself. */
struct sim_facts {
    struct zb_keeper_facts facts;
    struct zb_kdataset datasets[SIM_DATASETS];
    uint8_t slots[SIM_DATASETS];
    struct zb_manifest sealed;
    struct zb_manifest_entry sealed_entries[SIM_DATASETS];
};
struct sim_request {
    struct zb_kreq req;
    struct zb_manifest_entry entries[SIM_DATASETS];
};
void sim_node_name(uint8_t node, char *out);    /* of ZB_NODE_NAME_SIZE */
void sim_rel_name(uint8_t slot, char *out);     /* of ZB_REL_SIZE */
void sim_uuid_text(uint32_t number, char *out); /* of ZB_UUID_SIZE */
void sim_facts_fill(struct sim *w, uint8_t node, uint8_t service, struct sim_facts *f);
void sim_request_fill(struct sim *w, const struct sim_item *item, struct sim_request *r);
void sim_manifest_expand(const struct sim_manifest *m, struct zb_manifest *out,
                         struct zb_manifest_entry *entries);
void sim_obs_fill(struct sim *w, uint8_t node, uint8_t service, struct zb_core_obs *obs);
void sim_op_begin(struct sim *w, uint8_t node, const struct zb_action *a);
void sim_op_run(struct sim *w, struct sim_item *item);
void sim_op_finish(struct sim *w, const struct sim_item *item, enum zb_rc rc, bool looks);
/* Operations of one stage. */
enum zb_rc sim_op_simple(struct sim *w, struct sim_item *item, struct sim_facts *f,
                         struct sim_request *r);
/* Stages of the operations that lead; each returns the delay to its next stage, or -1 when it has
 * called sim_op_finish. */
int64_t sim_op_promote(struct sim *w, struct sim_item *item);
int64_t sim_op_seal(struct sim *w, struct sim_item *item);
int64_t sim_op_snapshot(struct sim *w, struct sim_item *item);
void sim_children_mount(struct sim *w, uint8_t node, uint8_t service);
/* The start of a keeper; its first operation on a service replays the intent logs too. */
void sim_keeper_settle(struct sim *w, uint8_t node, uint8_t service);
bool sim_service_settle(struct sim *w, uint8_t node, uint8_t service);
bool sim_umount(struct sim *w, uint8_t node, uint8_t service);
void sim_ship_begin(struct sim *w, uint8_t node, const struct zb_action *a);
void sim_ship_run(struct sim *w, struct sim_item *item);

/* ---- fault.c ---- */

void sim_fault(struct sim *w);
void sim_operator(struct sim *w);
void sim_heal(struct sim *w);

/* ---- check.c, check_failover.c: the invariants ---- */

/* Each failure is kept once, with the invariant's name in front; the run then ends. */
__attribute__((format(printf, 2, 3))) void sim_fail(struct sim *w, const char *fmt, ...);
void sim_check(struct sim *w);
void sim_check_writable(struct sim *w, const struct sim_item *promote);
void sim_check_rescue(struct sim *w, uint8_t node, uint8_t service, uint8_t leader, uint64_t term);
/* What a tree holds before a RESCUE, and the checks after it. */
struct sim_content {
    bool exists;
    uint8_t uuid;
    uint32_t version;
};
void sim_contents_note(const struct sim *w, uint8_t node, uint8_t service,
                       struct sim_content contents[SIM_DATASETS]);
void sim_check_aside(struct sim *w, uint8_t node, uint8_t service,
                     const struct sim_content before[SIM_DATASETS]);
void sim_check_forks(struct sim *w, uint8_t node, uint8_t service,
                     const uint64_t guids[SIM_DATASETS]);
/* A record may have made a majority. */
void sim_majority_note(struct sim *w, uint8_t service, const struct zb_record *granter);
/* Whether it was off at some moment after a majority had granted the term. */
bool sim_was_off(const struct sim *w, uint8_t service, uint8_t node, uint64_t term);
/* Whether node has granted the term of the promotion to who is promoted. */
bool sim_granted_to(const struct sim *w, uint8_t node, const struct sim_item *promote);
void sim_check_taken(struct sim *w, const struct sim_item *promote);
void sim_check_receive(struct sim *w, const struct sim_item *ship);
void sim_check_overwrite(struct sim *w, const struct sim_item *ship);
void sim_check_released(struct sim *w, uint8_t node, uint8_t service);
void sim_check_told(struct sim *w, uint8_t node, uint8_t service);
void sim_check_set(struct sim *w, const struct sim_manifest *made);
void sim_check_message(struct sim *w, uint8_t node, uint8_t service, const struct zb_core_msg *msg);
void sim_check_version(struct sim *w, uint8_t node, uint8_t candidate, uint8_t service);
void sim_check_promote(struct sim *w, const struct sim_item *promote);
bool sim_check_goes_on(struct sim *w, uint8_t node, uint8_t service);
void sim_check_restart(struct sim *w, uint8_t node, uint8_t service, bool goes_on);
void sim_check_grant(struct sim *w, uint8_t node, uint8_t service,
                     const struct zb_keeper_record *before);
bool sim_check_alive(struct sim *w);

/* ---- story.c ---- */

/* One line of what happened, when options.trace or the last lines are wanted. */
__attribute__((format(printf, 3, 4))) void sim_tell(struct sim *w, uint8_t node, const char *fmt,
                                                    ...);
const char *sim_act_word(enum zb_act_kind kind);
void sim_story_print(size_t lines);
void sim_story_keep(bool keep);
void sim_state_print(struct sim *w);

#endif
