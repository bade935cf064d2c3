/*
 * What the files of the keeper share.
 *
 * Threads: the loop (keeper.c, engine.c, dispatch.c) never blocks; ZB_KEEPER_JOBS_MAX workers
 * (jobs.c) run the operations (op_*.c), which may block for ever in ZFS. Everything marked [lock]
 * is read and written under zb_keeper.lock; a service's other fields belong to whoever holds the
 * service's write claim.
 */
#ifndef ZB_KEEPER_INTERNAL_H
#define ZB_KEEPER_INTERNAL_H

#include <pthread.h>

#include "conf/node.h"
#include "conf/service.h"
#include "keeper/deadline.h"
#include "keeper/gather.h"
#include "keeper/key.h"
#include "keeper/rules.h"
#include "keeper/view.h"
#include "os/spawn.h"
#include "wire/kmsg.h"
#include "zfs/zfs.h"

#define ZB_KEEPER_TRANSFERS_MAX 48 /* of the workers: each has buffers in the kernel */
#define ZB_KEEPER_FENCES_MAX 8     /* fence commands at once; another is ZB_E_BUSY */
#define ZB_KEEPER_DRILLS_MAX 4     /* drills at once; another is ZB_E_BUSY */
#define ZB_KEEPER_WAITING_MAX 4096 /* requests not finished; then the socket is not read */
#define ZB_KEEPER_DRAIN_MS 5000    /* for receives to end before a grant; then ZB_E_BUSY */
#define ZB_KEEPER_STOP_MS 30000    /* for a service that must not run, when nobody said how long */
#define ZB_KEEPER_UMOUNT_MS 1000   /* for what just ended to let go of a mount */

/* How an operation claims its service; which claims go together: dispatch.c. */
enum zb_keeper_claim {
    ZB_CLAIM_NONE = 0,
    ZB_CLAIM_READ,  /* looks, or reads what cannot change: OBSERVE, SNAPS, SEND */
    ZB_CLAIM_CHECK, /* runs the check command */
    ZB_CLAIM_RECEIVE,
    ZB_CLAIM_SNAP, /* makes or removes snapshots; the tree stays as it is */
    ZB_CLAIM_WRITE,
    ZB_CLAIM_COUNT
};

/* Does nothing that a look could not tell by the pool, the mounts and the processes. */
static inline bool
zb_keeper_claim_only_looks(enum zb_keeper_claim claim)
{
    return claim <= ZB_CLAIM_CHECK;
}

/* A look at a service's tree that an engine was told of. */
struct zb_keeper_look {
    uint64_t nonce;        /* that the engine names it by; 0: none */
    struct zb_mono at;     /* begun then */
    struct zb_zfs_txg txg; /* ... when this was the last one on the pool's disks ... */
    uint64_t mounts;       /* ... after so many changes of mounts, ... */
    uint64_t changes;      /* ... and so many of the service */
    bool running;
    uint64_t written_bytes; /* of all datasets */
};

struct zb_keeper_service {
    char name[ZB_SERVICE_NAME_SIZE];
    unsigned claims[ZB_CLAIM_COUNT]; /* [lock] */
    unsigned drains;                 /* [lock] operations that wait for receives to end */
    bool defined;                    /* [lock] */
    bool recorded;                   /* [lock] a record file exists */
    bool settled;                    /* [lock] looked after since the start: settle.c */
    struct zb_conf_service conf;     /* [lock] when defined */
    struct zb_keeper_record record;  /* [lock] equal to the file */
    enum zb_keeper_stage stage;      /* [lock] */
    /* [lock] until the keeper's next start, for what its record says is not known: it cannot be
     * read, or what was stored last may be durable or not. Changed by who claims to write. */
    bool frozen;
    char frozen_why[256];
    const char *frozen_hint;
    struct zb_manifest sealed;    /* of ZB_STAGE_SEALED */
    uint64_t last_term, last_seq; /* sets of this term have seqs up to that; 0: not looked yet */
    bool last_any;
    char pruned_to[ZB_REL_SIZE];       /* where PRUNE ended before its end; "": it did not */
    char warned[ZB_DATASET_NAME_SIZE]; /* the new child that was last said not to be mountable */
    bool rested;            /* the follower's properties were put right since it last led */
    bool drilling;          /* [lock] a DRILL runs */
    bool unproven;          /* [lock] at rest, and something may be mounted read-write */
    uint64_t grant_session; /* of its last grant to itself, which is void in a later one (M5) */
    uint32_t copies_from, copies_next; /* passed over in the question to the leader, and then */
    char copier[ZB_NODE_NAME_SIZE]; /* [lock] who sends its first copy (ZB_KF_COPY), or did, ... */
    uint64_t copier_term;           /* [lock] ... in this term; 0: nobody did */
    struct zb_keeper_keys keys;     /* [key_lock] */
    uint64_t changes; /* [lock] whenever an operation that may change something begins or ends */
    struct zb_keeper_look look; /* [lock] the last one */
    bool aside;      /* [lock] a RESCUE is moving the tree: there may be none for a moment */
    uint64_t asides; /* [lock] how often one has begun to */
    bool announced;  /* [lock] a set follows the look that ended: gather.c */
};

struct zb_keeper;
struct zb_keeper_job;

typedef enum zb_rc zb_keeper_handler(struct zb_keeper *k, struct zb_keeper_job *job,
                                     struct zb_err *err);

/* One row of the table in dispatch.c. */
struct zb_keeper_op {
    uint32_t op;
    zb_keeper_handler *handler;
    enum zb_keeper_claim claim;
    bool wants_definition;
    bool wants_settled; /* claims to write when the service is not settled yet, and settles it */
    bool ends_receives;
    bool transfer;
    bool when_frozen; /* allowed while the record is not known */
    bool anywhere;    /* of a service that is not known here, too, or of none */
};

/* An operation under way. Owned by the loop, lent to a worker. */
struct zb_keeper_job {
    struct zb_keeper_job *next;
    struct zb_kreq req;
    struct zb_krep rep;
    const struct zb_keeper_op *op;
    struct zb_keeper_service *service;
    struct zb_conf_service conf; /* copy of the definition at the start; only where wanted */
    enum zb_keeper_claim claim;
    uint64_t generation; /* of the engine that asked */
    struct zb_mono drain_deadline;
    bool canceled;  /* [lock] */
    bool gathers;   /* its snapshot may be taken with others': gather.c */
    bool expected;  /* [lock] ... who wait for it, or for the look before it */
    bool announces; /* a look after which a set is due: it found something written */
    /* [lock] the kernel's end of a transfer, FENCE, DRILL, NOTIFY, REKEY: of its ending; -1 none */
    int transfer_fd;
};

/* Bytes for the engine. */
struct zb_keeper_out {
    struct zb_keeper_out *next;
    uint64_t generation;
    int fd; /* goes with the first byte; -1 none; closed when sent or dropped */
    size_t size, sent;
    uint8_t bytes[];
};

struct zb_keeper_list {
    struct zb_keeper_job *head, *tail;
};

struct zb_keeper {
    const struct zb_conf_node *conf;
    const char *engine_path;
    int dir_fd; /* <state-dir>/keeper */
    int lock_fd;
    char boot_id[ZB_UUID_SIZE];

    pthread_mutex_t lock, key_lock;                      /* key_lock is taken first */
    struct zb_keeper_worker *idle_workers;               /* [lock] who was busy last comes first */
    pthread_cond_t ended;                                /* a job, once workers end */
    bool ending;                                         /* [lock] workers end */
    uint32_t services_count;                             /* [lock] */
    struct zb_keeper_service *services[ZB_SERVICES_MAX]; /* [lock] entries are never removed */
    struct zb_keeper_service nobody; /* whom operations are of that name no known service */
    bool side_busy;                  /* [lock] a rescue or peek is being mounted or dropped */
    uint32_t drills_count;           /* [lock] */
    struct zb_keeper_list waiting;   /* [lock] claimed, for a worker */
    struct zb_keeper_list active;    /* [lock] with a worker */
    struct zb_keeper_list draining;  /* loop: waits for receives to end */
    uint32_t jobs_count;             /* [lock] waiting, active and draining */
    uint32_t transfers_count;        /* [lock] of the active ones */
    struct zb_keeper_out *done_head, *done_tail; /* [lock] replies for the loop */
    bool out_lost;                               /* [lock] a reply could not be made: engine ends */
    int wake_fd;                                 /* eventfd: something is in done */
    /* [lock] whom a fence command runs for; "": free */
    char fencing[ZB_KEEPER_FENCES_MAX][ZB_NODE_NAME_SIZE];
    bool notifying;            /* [lock] the notify program runs */
    bool verifying;            /* [lock] a VERIFY reads a set */
    bool stopping;             /* no engine is started any more; the loop's alone */
    struct zb_session session; /* [lock] */
    struct zb_keeper_deadline deadline;
    struct {
        uint32_t expected;             /* jobs on their way to a snapshot */
        struct zb_keeper_batch *batch; /* that others can join; NULL: none */
        pthread_cond_t moved;          /* any of this, for who leads it */
        pthread_cond_t taken;          /* ... and its end, for the others */
    } gather;                          /* [lock] */
    struct zb_keeper_worker *workers;  /* room for ZB_KEEPER_JOBS_MAX */
    uint32_t workers_count;
    uint32_t key_asks; /* [key_lock] programs that are asked: key_state.c ... */
    int key_end_fd;    /* eventfd: ... nobody waits for them any more */
    bool stuck;        /* workers did not end: nothing is freed */

    /* engine.c; the loop's alone but for generation [lock] */
    uint64_t generation;
    struct zb_os_child engine;
    int engine_fd;
    uint64_t nonce;
    bool greeted;
    struct zb_mono engine_started, engine_next;
    int64_t backoff_ms;
    uint8_t *in;
    size_t in_used;
    struct zb_keeper_out *out_head, *out_tail;
    size_t out_bytes;
};

/* ---- service.c: the table of services ---- */

/* Loads every record and definition of the directory, or fails. A record that cannot be read
 * freezes its service, and is logged. */
enum zb_rc zb_keeper_services_load(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* NULL when there is none. Caller holds lock, as of the next. */
struct zb_keeper_service *zb_keeper_service_find(const struct zb_keeper *k, const char *name);
/* Finds it, or makes one without a record; NULL: ZB_E_LIMIT or ZB_E_NOMEM in err. */
struct zb_keeper_service *zb_keeper_service_make(struct zb_keeper *k, const char *name,
                                                 struct zb_err *err) ZB_CHECKED;
void zb_keeper_services_close(struct zb_keeper *k);
/* Makes next the service's record: file first, then memory. A store that fails after the file may
 * have been replaced is looked at: what the file says is stored once more and holds (ZB_OK if that
 * is next), or else the service is frozen. ZB_E_REFUSED: it is frozen already. */
enum zb_rc zb_keeper_record_change(struct zb_keeper *k, struct zb_keeper_service *s,
                                   const struct zb_keeper_record *next,
                                   struct zb_err *err) ZB_CHECKED;
void zb_keeper_record_copy(struct zb_keeper *k, struct zb_keeper_service *s,
                           struct zb_keeper_record *out);
void zb_keeper_stage_set(struct zb_keeper *k, struct zb_keeper_service *s,
                         enum zb_keeper_stage stage);

/* ---- jobs.c: workers ---- */

/* Runs a job's operation and fills the reply's outcome; then finishes it. Called on a worker. */
void zb_keeper_job_run(struct zb_keeper *k, struct zb_keeper_job *job);
enum zb_rc zb_keeper_workers_start(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Something waits: wakes a worker, if one is idle. Caller holds lock. */
void zb_keeper_worker_wake(struct zb_keeper *k);
/* Waits until workers ended or the deadline; false: some are stuck in the kernel. */
bool zb_keeper_workers_end(struct zb_keeper *k, struct zb_mono deadline);
/* Waits at most so long, whatever happens to the wall clock. Caller holds lock. */
void zb_keeper_wait(struct zb_keeper *k, pthread_cond_t *cond, int64_t ms);
struct zb_keeper_job *zb_keeper_job_new(void);
void zb_keeper_job_free(struct zb_keeper_job *job);
void zb_keeper_list_add(struct zb_keeper_list *list, struct zb_keeper_job *job);
void zb_keeper_list_remove(struct zb_keeper_list *list, struct zb_keeper_job *job);
/* Queues a reply for the loop; takes fd. generation: whom it is for. */
void zb_keeper_reply(struct zb_keeper *k, uint64_t generation, const struct zb_krep *rep, int fd);
/* Fills rc, and of a failure sys_errno, msg and hint. */
void zb_keeper_outcome(struct zb_krep *rep, enum zb_rc rc, const struct zb_err *err);
/* Ends a transfer's kernel call or a program, now or as soon as it begins. Caller holds lock. */
void zb_keeper_job_cancel(struct zb_keeper_job *job);
void zb_keeper_promotes_cancel(struct zb_keeper *k);
static inline bool
zb_keeper_job_cancelable(const struct zb_keeper_job *job)
{
    return job->op->transfer || job->op->op == ZB_KOP_FENCE || job->op->op == ZB_KOP_DRILL ||
           job->op->op == ZB_KOP_NOTIFY || job->op->op == ZB_KOP_VERIFY ||
           job->op->op == ZB_KOP_REKEY;
}
/* For an operation that runs a program: *fd becomes readable when the job is canceled, until close.
 * ZB_E_CANCELED: it was before. */
enum zb_rc zb_keeper_job_cancel_open(struct zb_keeper *k, struct zb_keeper_job *job, int *fd,
                                     struct zb_err *err) ZB_CHECKED;
void zb_keeper_job_cancel_close(struct zb_keeper *k, struct zb_keeper_job *job, int fd);

/* ---- dispatch.c: which operation, whether now ---- */

/* A request of the engine: answered at once, or given to the workers. Takes req. From the loop. */
void zb_keeper_request(struct zb_keeper *k, struct zb_kreq *req);
/* Moves on what waits for receives to end. From the loop; true while something waits. */
bool zb_keeper_drains_step(struct zb_keeper *k);
/* Gives the claim back. Caller holds lock. */
void zb_keeper_unclaim(struct zb_keeper_job *job);
/* For who is no operation, or one that wants more for a moment. False: not free in that time. */
bool zb_keeper_claim_wait(struct zb_keeper *k, struct zb_keeper_service *s,
                          enum zb_keeper_claim claim, int64_t ms);
void zb_keeper_claim_end(struct zb_keeper *k, struct zb_keeper_service *s,
                         enum zb_keeper_claim claim);

/* ---- engine.c: the child and its socket ---- */

enum zb_rc zb_keeper_engine_start(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Kills it, drops what was meant for it, cancels its jobs, plans the next start. */
void zb_keeper_engine_end(struct zb_keeper *k, const char *why);
/* Reads requests; sends replies. False: the engine is to be ended, *why says it. */
bool zb_keeper_engine_read(struct zb_keeper *k, const char **why);
bool zb_keeper_engine_write(struct zb_keeper *k, const char **why);
/* Takes finished replies from the workers into the queue for the socket. */
void zb_keeper_engine_collect(struct zb_keeper *k);

/* ---- notify.c ---- */

/* One datagram to $NOTIFY_SOCKET, if there is one; failures do not matter. */
void zb_keeper_notify(const char *text);

/* ---- orphan.c: what the set of a planned PROMOTE does not have; each opens view anew after a
 * change ---- */

/* Marks everything below the tree that the set does not have. 1 txg each. */
enum zb_rc zb_keeper_orphans_mark(struct zb_keeper *k, const struct zb_kreq *req,
                                  struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;

/* ---- partial.c ---- */

/* Throws own partial receives away, and opens view anew if there were any. */
enum zb_rc zb_keeper_partials_abort(struct zb_keeper *k, const char *service,
                                    struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;
/* The facts without datasets whose first receive never ended; kept: room for view->count. */
void zb_keeper_complete_only(const struct zb_keeper_view *view, struct zb_kdataset *kept,
                             struct zb_keeper_facts *facts);

/* ---- rescue.c: a tree that is set aside, and goes on from its forks ---- */

#define ZB_KEEPER_RESCUES "/.rescue" /* below the root */
#define ZB_KEEPER_PEEKS "/.peek"
/* Local user properties. On the tree's own dataset: begun, then kept. Before the rename, "begun"
 * means nothing yet. */
#define ZB_KEEPER_RESCUE "zbaton:rescue"
#define ZB_KEEPER_RESCUE_BEGUN "begun"
#define ZB_KEEPER_RESCUE_KEPT "kept"
/* On each dataset that goes on: rules.h, zb_rules_fork_format. */
#define ZB_KEEPER_FORK "zbaton:rescue:fork"

/* A snapshot of the dataset by its guid: "ds@snap" in snap (ZB_DATASET_NAME_SIZE). ZB_E_NOTFOUND.
 */
enum zb_rc zb_keeper_snap_find(const struct zb_zfs_props *props, uint64_t guid, char *snap,
                               struct zb_err *err) ZB_CHECKED;
/* Does what is left to be done for a tree that was renamed to aside: clones, promotions, the mark.
 * *kept: all is done; then ZB_E_MISMATCH names what came after a fork meanwhile. */
enum zb_rc zb_keeper_rescue_end(const struct zb_keeper *k, const char *service, const char *aside,
                                bool *kept, struct zb_err *err) ZB_CHECKED;
/* As above for every rescue of the service that was begun and not ended. */
enum zb_rc zb_keeper_rescues_settle(const struct zb_keeper *k, const char *service,
                                    struct zb_err *err) ZB_CHECKED;
/* Takes marks of a rescue that never began off the tree. */
enum zb_rc zb_keeper_rescue_unmark(const struct zb_keeper_view *view,
                                   struct zb_err *err) ZB_CHECKED;
/* Between these two there may be no tree: sends of it are ended first, and none begins; who looks
 * at it is told so by zb_keeper_aside_check. ZB_E_BUSY: a send does not end; then it did not begin.
 */
enum zb_rc zb_keeper_aside_begin(struct zb_keeper *k, struct zb_keeper_service *s,
                                 struct zb_err *err) ZB_CHECKED;
void zb_keeper_aside_end(struct zb_keeper *k, struct zb_keeper_service *s);
uint64_t zb_keeper_asides(struct zb_keeper *k, const struct zb_keeper_service *s);
/* ZB_E_BUSY: what was seen of the tree since zb_keeper_asides gave `before` may be nothing. */
enum zb_rc zb_keeper_aside_check(struct zb_keeper *k, const struct zb_keeper_job *job,
                                 uint64_t before, struct zb_err *err) ZB_CHECKED;

/* ---- side.c: trees beside the services', each below a container of its kind ---- */

#define ZB_KEEPER_TEXT_MAX (60u << 10) /* below what kmsg.h allows for text */

/* Whole lines for a reply; full: something did not fit, and was not added. */
struct zb_keeper_text {
    char *bytes; /* of ZB_KEEPER_TEXT_MAX */
    size_t used;
    bool full;
};
void zb_keeper_text_add(struct zb_keeper_text *t, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* A kind of them. */
struct zb_keeper_side {
    const char *container; /* below the root */
    const char *word;      /* for messages, and for the directory below the run directory */
    const char *mark; /* local user property of what is of the kind; another is somebody's (S9) */
    /* Nothing in it is anybody's but zbaton's: each dataset has the mark, and no snapshot. */
    bool own_only;
    /* Adds its line to what a list says. */
    enum zb_rc (*describe)(const struct zb_zfs_tree *tree, const char *name,
                           struct zb_keeper_text *t, struct zb_err *err);
};
extern const struct zb_keeper_side zb_keeper_rescues; /* op_rescues.c */
extern const struct zb_keeper_side zb_keeper_peeks;   /* op_peek.c */

/* Between these two nothing is mounted, unmounted or dropped by anybody else of them. ZB_E_BUSY
 * when it takes others longer than 5 s. */
enum zb_rc zb_keeper_side_turn_take(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
void zb_keeper_side_turn_give(struct zb_keeper *k);
/* Full name of one of the kind. buf of ZB_DATASET_NAME_SIZE. */
enum zb_rc zb_keeper_side_dataset(const struct zb_keeper *k, const struct zb_keeper_side *side,
                                  const char *name, char *buf, struct zb_err *err) ZB_CHECKED;
/* The one that req->text names (of req->service, if it names one), with everything in it; close it
 * in any case. ZB_E_NOTFOUND, ZB_E_REFUSED. */
enum zb_rc zb_keeper_side_open(const struct zb_keeper *k, const struct zb_keeper_side *side,
                               const struct zb_kreq *req, struct zb_zfs_tree *tree,
                               struct zb_err *err) ZB_CHECKED;
/* The container is there afterwards. */
enum zb_rc zb_keeper_side_container_make(const struct zb_keeper *k,
                                         const struct zb_keeper_side *side,
                                         struct zb_err *err) ZB_CHECKED;
/* How many there are. */
enum zb_rc zb_keeper_side_count(const struct zb_keeper *k, const struct zb_keeper_side *side,
                                size_t *count, struct zb_err *err) ZB_CHECKED;
/* RESCUES and PEEKS of kmsg.h. */
enum zb_rc zb_keeper_side_list(const struct zb_keeper *k, const struct zb_keeper_side *side,
                               struct zb_keeper_job *job, struct zb_err *err) ZB_CHECKED;
/* Where it is mounted; path of ZB_PATH_SIZE. */
enum zb_rc zb_keeper_side_path(const struct zb_keeper *k, const struct zb_keeper_side *side,
                               const char *name, char *path, struct zb_err *err) ZB_CHECKED;
/* Mounts the tree read-only (nodev, nosuid, noexec), all of it or nothing; what is mounted already
 * is fine. The directory above is root's alone. */
enum zb_rc zb_keeper_side_mount(const struct zb_zfs_tree *tree, const char *path,
                                struct zb_err *err) ZB_CHECKED;
/* Wherever it is mounted, and the directories with it. ZB_E_HELD names who uses it. */
enum zb_rc zb_keeper_side_umount(const struct zb_zfs_tree *tree, const char *path,
                                 struct zb_err *err) ZB_CHECKED;
/* What keeps it from being destroyed: holds and clones (ZB_E_HELD), datasets that are not zbaton's
 * (ZB_E_REFUSED). */
enum zb_rc zb_keeper_side_check(const struct zb_keeper_side *side, const struct zb_zfs_tree *tree,
                                struct zb_err *err) ZB_CHECKED;
/* Destroys its snapshots and datasets, never others: all of that, and mounts (ZB_E_HELD), is looked
 * for before. */
enum zb_rc zb_keeper_side_drop(const struct zb_keeper_side *side, const struct zb_zfs_tree *tree,
                               struct zb_err *err) ZB_CHECKED;

/* ---- op_peek.c ---- */

struct zb_peek {
    char name[ZB_PEEK_NAME_SIZE];
    char path[ZB_PATH_SIZE];
    char *line; /* of PEEKS; for free(), on an error too */
};

/* PEEK and PEEK_END of kmsg.h; req has their fields. */
enum zb_rc zb_keeper_peek_make(struct zb_keeper *k, const struct zb_kreq *req, struct zb_peek *out,
                               struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_keeper_peek_end(struct zb_keeper *k, const struct zb_kreq *req,
                              struct zb_err *err) ZB_CHECKED;

/* Ends what the keeper made for itself. What is in the way of that is no fault of the copy: it ends
 * with its time then. */
void zb_keeper_peek_leave(struct zb_keeper *k, const char *service, char *name);

/* ---- op_drill.c ---- */

/* Ends the checks of drills that an earlier life of this keeper left behind. */
void zb_keeper_drills_settle(struct zb_keeper *k);

/* ---- op_arrange.c ---- */

/* Everything of the tree as rules.h wants it; free it. NULL: ZB_E_NOMEM in err. */
struct zb_rules_place *zb_keeper_places_new(const struct zb_keeper *k,
                                            const struct zb_keeper_view *view, const char *service,
                                            struct zb_err *err) ZB_CHECKED;
/* Gives each dataset of req->manifest the name that it has there, and makes way for it; opens view
 * anew after each change. ZB_E_EXISTS: something that is not zbaton's has the name. ZB_E_HELD:
 * mounted. On an error some may be renamed: the next time goes on. 1 txg each. */
enum zb_rc zb_keeper_arrange(struct zb_keeper *k, const struct zb_kreq *req,
                             struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;

/* ---- policy.c: properties ---- */

/* Sets what every copy at rest has (design.md, On disk), where it differs; is_root: the tree's own
 * dataset; in_use: what would act on a live mount or device stays. ZB_E_HELD: volume.h. */
enum zb_rc zb_keeper_rest_set(const struct zb_zfs_props *props, bool is_root, bool in_use,
                              struct zb_err *err) ZB_CHECKED;
/* As above for each dataset of the tree; one that is mounted read-write is in use. */
enum zb_rc zb_keeper_rest_set_all(const struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;
/* What would change, for the plan of CREATE; appended to text (size bytes), one per line. */
void zb_keeper_rest_plan(const struct zb_zfs_props *props, bool is_root, char *text, size_t size);

struct zb_keeper_mark {
    const char *service, *node, *uuid;
    const char *cluster; /* "" unknown: not set */
    uint64_t pool_guid;
    bool raw; /* the service's flavour; plain is not marked */
};
#define ZB_KEEPER_NEW_PROPS_MAX 32
/* Properties of a dataset that zbaton makes (create, full receive): values at rest and marks.
 * texts: room for the pool's guid in text. Returns how many. */
struct zb_keeper_new_props {
    char pool_text[24];
    size_t count;
    struct zb_zfs_setprop props[ZB_KEEPER_NEW_PROPS_MAX];
};
void zb_keeper_new_props_fill(struct zb_keeper_new_props *p, const struct zb_keeper_mark *mark,
                              bool is_root, enum zb_zfs_type type);
/* Marks a dataset that exists: remembers the values that the rest will change, once; then the
 * marks. 1-2 txgs. */
enum zb_rc zb_keeper_adopt(const struct zb_zfs_props *props, const struct zb_keeper_mark *mark,
                           bool is_root, struct zb_err *err) ZB_CHECKED;
/* Of a volume: volmode=none, readonly=on; unmarked: volmode alone, and what it was. 1-2 txgs. */
enum zb_rc zb_keeper_hide(const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;
/* Of a volume that was given back: its device comes, which inheriting volmode alone does not do. */
enum zb_rc zb_keeper_unhide(const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;
/* Nothing of the dataset is to be changed for the values at rest. As zb_keeper_rest_set. */
bool zb_keeper_is_rested(const struct zb_zfs_props *props, bool is_root, bool in_use);
/* Puts remembered values back and takes every zbaton:* property away. */
enum zb_rc zb_keeper_unadopt(const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;
/* Declared values and the mark of leading on the tree's own dataset, read back. */
enum zb_rc zb_keeper_declared_set(const char *dataset, const struct zb_conf_service *conf,
                                  uint64_t term, struct zb_err *err) ZB_CHECKED;
bool zb_keeper_is_marked(const struct zb_zfs_props *props, const char *service, const char *node,
                         uint64_t pool_guid);

/* ---- tree.c: mounts of a whole tree ---- */

/* Runs fn(ctx, 0 .. count-1), some at once, and waits for all. */
void zb_keeper_parallel(size_t count, void (*fn)(void *ctx, size_t i), void *ctx);
/* Mounts every dataset read-write below conf->mountpoint, parents first, proves each and writes a
 * probe; of volumes the devices appear. On an error everything of the tree is unmounted again. */
enum zb_rc zb_keeper_tree_mount(struct zb_keeper *k, const struct zb_keeper_view *view,
                                const struct zb_conf_service *conf, struct zb_err *err) ZB_CHECKED;
/* syncfs of every dataset that is mounted read-write. */
enum zb_rc zb_keeper_tree_sync(const char *dataset, struct zb_err *err) ZB_CHECKED;
/* Unmounts whatever is mounted of the tree, innermost first, in parallel. Tries again until the
 * deadline; then ZB_E_HELD names the holders. What was unmounted stays so. */
enum zb_rc zb_keeper_tree_umount(const char *dataset, struct zb_mono deadline,
                                 struct zb_err *err) ZB_CHECKED;
/* Refuses (ZB_E_HELD) what something mounted is in the way of, or a device. */
enum zb_rc zb_keeper_mounted_say(const struct zb_os_mount_entry *e, struct zb_err *err) ZB_CHECKED;
/* Proves that nothing owns any dataset: ZB_E_HELD names holders, ZB_E_MISMATCH cannot be proven (a
 * bookmark is newer than the newest snapshot). view as opened while it was still mounted (devices),
 * or after. */
enum zb_rc zb_keeper_tree_free_prove(const struct zb_keeper_view *view,
                                     struct zb_err *err) ZB_CHECKED;

/* ---- settle.c: what the start of a keeper owes ---- */

/* Before the engine: trees mounted read-write either continue (M12) or are stopped and unmounted;
 * properties at rest are put right. Failures are logged: the operations refuse what is then unsafe.
 */
void zb_keeper_start_settle(struct zb_keeper *k);
/* Replays intent logs where this node may have led; once per service. Caller claims to write. */
enum zb_rc zb_keeper_settle(struct zb_keeper *k, struct zb_keeper_service *s,
                            struct zb_err *err) ZB_CHECKED;
void zb_keeper_unproven_set(struct zb_keeper *k, struct zb_keeper_service *s, bool unproven);
/* STOP, syncfs, unmount, proof; values at rest, if they can be set. conf NULL: of no definition. */
enum zb_rc zb_keeper_demote(struct zb_keeper *k, struct zb_keeper_service *s,
                            const struct zb_conf_service *conf, uint32_t timeout_ms,
                            struct zb_err *err) ZB_CHECKED;

/* ---- op_set.c ---- */

/* Children of the leading tree that cannot be written to in their place, because they came in or
 * somebody unmounted them: tried at each set and before a START, and said once. That one cannot be
 * mounted keeps no set from being made. */
void zb_keeper_children_mount(struct zb_keeper *k, const struct zb_keeper_job *job,
                              const struct zb_keeper_view *view);

/* ---- op_prune.c ---- */

/* The snapshots of a dataset, oldest first, and why each stays (zb_rules_prune); its bookmarks, and
 * which of them stay. Guids and createtxg only where not all are sets. */
struct zb_keeper_plan {
    struct zb_zfs_snaps list;
    struct zb_zfs_snaps mark_list;
    struct zb_ksnap *snaps;
    struct zb_ksnap *marks;
    uint32_t *stays;
    bool *marks_stay;
};

/* By the declared retention and what the request protects. Close *p in any case. */
enum zb_rc zb_keeper_plan_open(struct zb_keeper_plan *p, const struct zb_keeper *k,
                               const struct zb_keeper_job *job, const char *dataset,
                               struct zb_err *err) ZB_CHECKED;
void zb_keeper_plan_close(struct zb_keeper_plan *p);

/* ---- op_run.c ---- */

/* Stops what is declared and whatever else is in the service's group. */
enum zb_rc zb_keeper_service_stop(const struct zb_keeper *k, const char *service,
                                  const struct zb_conf_service *conf, uint32_t timeout_ms,
                                  struct zb_err *err) ZB_CHECKED;
/* Whether a process is in the group of the service, or of its unit. */
bool zb_keeper_service_has(const struct zb_keeper *k, const struct zb_conf_service *conf, pid_t p);
enum zb_rc zb_keeper_service_alive(const struct zb_keeper *k, const char *service,
                                   const struct zb_conf_service *conf, bool *alive,
                                   struct zb_err *err) ZB_CHECKED;

/* ---- op_notify.c ---- */

/* Ends the notify program that an earlier life of this keeper left behind. */
void zb_keeper_notice_settle(const struct zb_keeper *k);

/* ---- op_fence.c ---- */

/* Ends the fence commands that an earlier life of this keeper left behind: one that is counted no
 * more must not power anything off. */
void zb_keeper_fences_settle(struct zb_keeper *k);

/* ---- op_look.c ---- */

/* Fills record, datasets, running, mounted_here, sealed and the pool's numbers of the reply. */
enum zb_rc zb_keeper_observation_fill(struct zb_keeper *k, struct zb_keeper_job *job,
                                      struct zb_err *err) ZB_CHECKED;
/* The same behind an operation that succeeded: the record always, the rest if it can be seen. */
void zb_keeper_observation_add(struct zb_keeper *k, struct zb_keeper_job *job);

/* ---- operations ---- */

zb_keeper_handler zb_keeper_op_define, zb_keeper_op_observe, zb_keeper_op_snaps,
    zb_keeper_op_create, zb_keeper_op_unadopt, zb_keeper_op_snapshot, zb_keeper_op_prune,
    zb_keeper_op_send, zb_keeper_op_receive, zb_keeper_op_start, zb_keeper_op_stop,
    zb_keeper_op_check, zb_keeper_op_seal, zb_keeper_op_release, zb_keeper_op_grant,
    zb_keeper_op_learn, zb_keeper_op_promote, zb_keeper_op_demote, zb_keeper_op_arrange,
    zb_keeper_op_rescue, zb_keeper_op_rescues, zb_keeper_op_rescue_mount, zb_keeper_op_rescue_drop,
    zb_keeper_op_blockers, zb_keeper_op_fence, zb_keeper_op_sets, zb_keeper_op_peek,
    zb_keeper_op_peeks, zb_keeper_op_peek_end, zb_keeper_op_drill, zb_keeper_op_notify,
    zb_keeper_op_verify, zb_keeper_op_estimate, zb_keeper_op_rekey;

#endif
