/*
 * A simulation of the sessions in etcd (doc/simulation.md): the production code of the engine's
 * part (core/session.c) and of the keeper's (keeper/session.c) on three hosts, over an etcd that
 * loses, delays, stands still and is restored. What may write is what the model has mounted, at the
 * time of a clock that no host sees.
 */
#ifndef SESS_H
#define SESS_H

#include <stdarg.h>

#include "core/session.h"
#include "keeper/session.h"

#define SESS_NODES 3
#define SESS_ETCDS 2
#define SESS_REQUESTS 48
#define SESS_SPANS 8
#define SESS_BACKUPS 4
#define SESS_NEVER INT64_MAX

/* The times of every node, as zbatond.conf has them by default. */
#define SESS_HEARTBEAT_MS 2000
#define SESS_REQUEST_MS 2000
#define SESS_SOFT_MS 7000
#define SESS_HARD_MS 14000
#define SESS_WATCHDOG_MS 4000
#define SESS_TIMEOUT_MS 20000
#define SESS_TIMEOUT_LEAST_MS 15000 /* of a node without a watchdog, as conf/node.c allows it */

enum sess_fencing { SESS_NOTHING, SESS_DEADLINE, SESS_WATCHDOG };

enum sess_tree { SESS_REST, SESS_MOUNTING, SESS_MOUNTED };

/* A time during which something could be written, under a grant of grant_at. */
struct sess_span {
    int64_t from, to;
    int64_t grant_at;
};

/* The engine of a node: one attempt at a time. */
struct sess_engine {
    bool on;
    int64_t start_at;
    int64_t stopped_until; /* SIGSTOP; 0: runs */
    struct zb_sessions s;
    struct zb_sessions_step step;
    int64_t wake_at;      /* by real time */
    uint64_t attempt;     /* under way; 0: none */
    int64_t attempt_ends; /* by real time: unknown from then on */
    int64_t read_at;      /* when what was read last was so, by real time */
    bool leaving;
    int64_t after;    /* local: what is read later counts (M4) */
    int64_t told_at;  /* local: what is read later counts (E10) */
    int64_t after_at; /* the same moment, by real time */
};

struct sess_host {
    uint8_t self;
    enum sess_fencing fencing;
    uint8_t etcd;        /* of its configuration: which one it reads */
    uint32_t timeout_ms; /* of its session */
    bool on;
    int64_t boot_at;
    uint64_t boot;
    /* its clock */
    int64_t clock_real, clock_local;
    int32_t ppm;
    /* paused as a whole: nothing of it runs */
    bool paused, jumps;
    int64_t resume_at, resumed_at, disturbed_at;
    /* what is durable, and what lives in run-dir */
    struct {
        bool there;
        uint64_t id, boot;
    } file;
    struct {
        uint64_t id, boot, etcd;
        int64_t renewed;
        bool confirmed, rested, lapsed;
    } run;
    /* the keeper */
    bool keeper, stopping, late;
    int64_t keeper_at;
    int64_t stop_at; /* etcd cannot be told of the end from then on */
    struct zb_session session;
    int64_t demoted_at; /* real; 0: nothing is being demoted */
    bool slow;          /* a demotion took longer than it may */
    bool armed;
    int64_t patted; /* local */
    /* the one service that it may lead */
    enum sess_tree tree;
    int64_t mounted_at;
    bool granted;
    uint64_t grant_session;
    int64_t grant_at, promote_at;
    struct sess_span spans[SESS_SPANS]; /* the newest is spans[spans_count - 1] */
    uint32_t spans_count;
    /* faults that concern it */
    int64_t cut_until;
    bool cut_answers; /* only what comes back is lost */
    bool cut_next;    /* right after the next answer */
    bool stop_next;   /* its engine, right after what it sends next; and cut off */
    int64_t fault_at; /* the last moment of any */
    int64_t slow_at;  /* the last demotion that hung */
    struct sess_engine e;
};

struct sess_store {
    uint64_t cluster_id;
    int64_t revision;
    struct {
        int64_t mod;
        struct zb_session_value value;
    } keys[SESS_NODES];
};

struct sess_request {
    uint64_t attempt; /* 0: free */
    uint8_t node, etcd;
    struct zb_sessions_step step;
    int64_t commit_at, answer_at; /* SESS_NEVER: it is lost */
    bool committed;
    struct zb_sessions_answer answer;
    int64_t committed_at;
};

struct sess {
    uint64_t seed, random;
    int64_t now;
    uint64_t steps, attempts;
    bool trace;
    /* what a seed has */
    bool pauses, restores, leaves, noisy, tight, moves;
    int64_t fault_every;
    bool healed;
    int64_t fault_next, order_next, backup_next;
    int64_t quorum_until, down_until;
    bool restore_due;
    struct sess_store stores[SESS_ETCDS], restore, backups[SESS_BACKUPS];
    struct zb_session_etcds etcds; /* as one of each majority was told before it granted */
    uint32_t backups_count;
    struct sess_request requests[SESS_REQUESTS];
    struct sess_host hosts[SESS_NODES];
    int64_t fenced_at[SESS_NODES]; /* the newest moment at which it was said not to write */
    /* what happened */
    uint64_t faults, lapses, resets, fenced, promotions, restored, late_writes, refused;
    char failure[256];
};

/* --- world.c --- */
uint64_t sess_random(struct sess *w, uint64_t below);
bool sess_chance(struct sess *w, unsigned per_mille);
int64_t sess_between(struct sess *w, int64_t from, int64_t to);
struct zb_mono sess_local(const struct sess *w, const struct sess_host *h);
/* The first real time at which its clock shows that. */
int64_t sess_real(const struct sess_host *h, int64_t local);
void sess_clock_set(struct sess *w, struct sess_host *h, int64_t local);
void sess_note(const struct sess *w, const struct sess_host *h, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
void sess_fail(struct sess *w, const char *format, ...) __attribute__((format(printf, 2, 3)));
void sess_init(struct sess *w, uint64_t seed, bool trace);
bool sess_run(struct sess *w);

/* --- etcd.c --- */
void sess_send(struct sess *w, struct sess_host *h);
void sess_etcd_step(struct sess *w);
int64_t sess_etcd_due(const struct sess *w);
void sess_etcd_backup(struct sess *w);
void sess_etcd_restore(struct sess *w);
void sess_etcd_replace(struct sess *w);

/* --- engine.c --- */
void sess_engine_start(struct sess *w, struct sess_host *h);
void sess_engine_kill(struct sess *w, struct sess_host *h);
void sess_engine_step(struct sess *w, struct sess_host *h);
void sess_engine_answer(struct sess *w, struct sess_host *h, const struct sess_request *r);
int64_t sess_engine_due(const struct sess *w, const struct sess_host *h);

/* --- keeper.c --- */
void sess_keeper_start(struct sess *w, struct sess_host *h);
void sess_keeper_step(struct sess *w, struct sess_host *h);
int64_t sess_keeper_due(const struct sess *w, const struct sess_host *h);
enum zb_rc sess_keeper_beat(struct sess *w, struct sess_host *h,
                            const struct zb_sessions_step *step, uint64_t etcd, uint64_t *nonce);
void sess_keeper_renew(struct sess *w, struct sess_host *h, uint64_t nonce);
void sess_keeper_lapse(struct sess *w, struct sess_host *h, uint64_t id);
void sess_keeper_leave(struct sess *w, struct sess_host *h, uint64_t id);
void sess_keeper_grant(struct sess *w, struct sess_host *h);
void sess_keeper_promote(struct sess *w, struct sess_host *h);

/* --- host.c --- */
void sess_fault_until(struct sess_host *h, int64_t at);
void sess_tree_begin(struct sess *w, struct sess_host *h);
void sess_tree_end(struct sess *w, struct sess_host *h);
void sess_host_off(struct sess *w, struct sess_host *h, int64_t off_ms);
void sess_keeper_end(struct sess *w, struct sess_host *h, int64_t off_ms);
void sess_host_pause(struct sess *w, struct sess_host *h, int64_t pause_ms, bool jumps);
void sess_host_step(struct sess *w, struct sess_host *h);
int64_t sess_host_due(const struct sess *w, const struct sess_host *h);

/* --- fault.c --- */
void sess_cut(struct sess *w, struct sess_host *h, int64_t ms, bool answers);
void sess_engine_stop(struct sess *w, struct sess_host *h, int64_t ms);
void sess_fault(struct sess *w);
void sess_order(struct sess *w);
void sess_heal(struct sess *w);

/* --- check.c --- */
void sess_check(struct sess *w);
void sess_check_lapse(struct sess *w, const struct sess_host *h, bool told);
void sess_check_reset(struct sess *w, const struct sess_host *h);
void sess_check_end(struct sess *w);

#endif
