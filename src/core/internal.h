/*
 * State of the core and the functions its files share. A step: the event changes facts; settle.c
 * then starts what the facts ask for. At most one keeper operation per service is under way (op);
 * SHIPs run beside it.
 */
#ifndef ZB_CORE_INTERNAL_H
#define ZB_CORE_INTERNAL_H

#include "base/log.h" /* the levels alone */
#include "core/table.h"

#define ZB_CORE_WAITERS_MAX 8 /* snapshot and sync commands waiting on one service */
#define ZB_CORE_ROOM 64       /* actions one service may add in one step */

#define ZB_REPORT_MS 10000    /* refresh of reports that did not change */
#define ZB_ASK_MS 500         /* grants and releases are asked for again after this */
#define ZB_ASK_AHEAD_MS 10000 /* ... of a voter that holds a newer set */
#define ZB_LOOK_MS 30000      /* a member looks at its own disk this often, or at the interval */
#define ZB_RETRY_MIN_MS 500   /* first wait after a failed operation, doubled up to ... */
#define ZB_RETRY_MAX_MS 30000
#define ZB_PRESYNC_ROUNDS_MAX 3
#define ZB_PRESYNC_SMALL_BYTES (1u << 20)
#define ZB_SEAL_TRIES_MAX 3
#define ZB_FINAL_SHIP_MS                                                                           \
    120000 /* the final set must be with the target by then, else the move aborts */
#define ZB_TAKE_MS                                                                                 \
    60000 /* beyond the start timeout: then a move's command ends "in the background" */
#define ZB_PRUNE_MS 5000 /* between two prunings */
#define ZB_PRUNE_MORE_MS                                                                           \
    500                    /* ... of which the second goes on with the first: a receive may begin */
#define ZB_RESTORE_TELL 4  /* failures to put an aborted move back, then its command is answered */
#define ZB_FOLLOW_MS 30000 /* the others shall follow by then */
#define ZB_MAJORITY_MS 15000 /* a failover gives up without the grants of a majority by then */
#define ZB_COLLECT_MS 3000   /* after the majority's, for positions of the other members */
#define ZB_FORWARD_MS 10000  /* without a word of the member that is ahead */
#define ZB_COPY_ASK_MS 2000  /* a first copy that another one sends is asked after so often */
#define ZB_COPY_MS 10000     /* ... and who says nothing for so long does not send it */
#define ZB_TRIES_MAX 3       /* of what a failover needs, then it gives up */
#define ZB_YIELD_MS 30000    /* a failover's question is kept while this node demotes itself */
#define ZB_WAY_FAILURES 4    /* of ships in a row, then a member counts as away */

struct peer {
    bool known;
    struct zb_core_msg report; /* its nonce: the peer's newest, from a RELEASE_ASK too */
    uint64_t numbered_by;      /* the nonce that report came with: its number counts for that one */
    struct zb_mono report_at;
    bool position_known;
    struct zb_set_ref position;
    uint64_t ship_id;
    struct zb_set_ref ship_set;
    struct zb_mono ship_retry_at;
    struct zb_mono shipped_at; /* the last one that went well; 0: none since this start */
    /* copy.c, leader: another one sends its first copy */
    bool copying;
    uint8_t copy_from;
    struct zb_mono copy_ask_at;
    struct zb_mono copy_answer_by;
    uint32_t copy_useless; /* node bits: could not */
    uint32_t ship_failures;
    /* a grant it asks of this node, answered when no operation is under way */
    bool ask_waits;
    struct zb_core_msg ask;
    struct zb_mono ask_at;
    struct zb_mono asked_at;  /* release asked of it */
    struct zb_core_seen now;  /* its record, as it told last, in a report or with a grant */
    struct zb_core_seen seen; /* ... the most that was heard of it, before this start too */
    struct zb_core_seen told; /* this node's own record, as it remembers it */
    /* what was said of it once, until it changes */
    struct zb_set_id fork_noted;
    uint64_t fork_term;
    bool modified_noted;
    enum zb_key_state key_noted;
    bool back_noted;
};

struct waiter {
    uint64_t command_id; /* 0: free */
    enum zb_cmd_kind kind;
    bool marked; /* the snapshot under way was begun after the command */
    bool taken;  /* its set exists: `set` */
    struct zb_set_ref set;
};

/* Asking for a term. */
struct asking {
    uint64_t term;
    bool planned;
    bool failover;
    struct zb_set_ref set; /* planned: the released set; restart, failover: newest */
    bool exact;            /* the tree must equal set when it is taken */
    uint32_t granted;      /* node bits, own grant included */
    uint32_t suspects;
    uint32_t fenced;            /* M4: were off at some moment after a majority granted this term */
    struct zb_mono majority_at; /* 0: not yet */
    /* failover: of the granters (M2, M8); the lineage of the highest term that one of them learned
     */
    struct zb_set_ref at[ZB_PEERS_MAX];
    uint64_t lineage_term;
    uint8_t lineage_leader;
    struct zb_lineage lineage;
    enum zb_term_reason reason;
    uint32_t ahead; /* node bits: voters that hold a newer set than this leader's disk ... */
    struct zb_mono ahead_at; /* ... as one of them answered last */
    struct zb_mono again_at;
};

struct move {
    uint64_t command_id; /* 0: none */
    uint8_t target;
    uint8_t step;
    uint32_t rounds;
    uint64_t round_bytes;
    bool looked; /* PRESYNC: the disk was looked at in this round */
    bool final_made;
    bool sealed;
    uint32_t seal_tries;
    uint32_t ship_tries;
    uint64_t ship_bytes; /* to the target in this step */
    uint64_t term;       /* the next one */
    struct zb_set_ref final_set;
    struct zb_mono step_at;
    struct zb_mono down_at;
    uint32_t stop_ms;
    uint32_t start_ms;
    uint32_t down_ms;
    struct zb_mono deadline;
    bool aborted;
    char why[200];
};

/* An operator's order to lead here, until it is answered. */
struct failover {
    uint64_t command_id; /* 0: none */
    uint8_t step;        /* enum zb_failover_step */
    bool allow_loss;
    bool automatic; /* nobody's word: it goes on from no set below least, and past no leader */
    struct zb_set_id least;
    bool revert;          /* of the leader to itself: it goes on from best, whoever holds more */
    uint32_t up;          /* node bits, when it was given: what they held was counted on (S3) */
    uint64_t stated_term; /* the highest one that was known then */
    bool looked;          /* FORWARDING: the disk was looked at since the last change */
    uint64_t term;        /* that is asked for; another one after an outbidding */
    int64_t wait_ms;
    uint32_t told;    /* suspects whose fencing was asked for, in this term */
    uint32_t useless; /* members that are ahead and could not send */
    bool made_way;    /* FORWARDING: what was on top of the copy was set aside, or could not be */
    uint8_t from;     /* who sends best */
    struct zb_set_ref best;
    uint32_t tries;
    struct zb_mono begun_at;
    struct zb_mono step_at;
    struct zb_mono fence_by;
    struct zb_mono ask_at;    /* FORWARD_ASK is sent again */
    struct zb_mono answer_by; /* of from */
    struct zb_mono deadline;  /* once it is taken */
};

/* The leader cannot go on from this copy. */
struct rejoin {
    bool wanted;
    bool common;  /* some snapshot of the leader's is here */
    bool ordered; /* by an operator: without any, too */
    uint8_t leader;
    uint64_t term;
    struct zb_set_ref set; /* what goes on; none: as the leader told */
};

struct svc {
    bool declared;
    bool member;
    struct zb_core_conf conf;
    enum zb_role role;
    struct zb_mono role_at; /* entered then; RESTORING looks again after each failure */
    bool obs_known;
    struct zb_core_obs obs;
    struct zb_mono obs_at;
    struct zb_mono newest_at;
    struct zb_mono made_at; /* the newest set of this node's lead, by this start; 0: none */
    uint64_t op_id;
    enum zb_act_kind op_kind;
    uint8_t op_node; /* GRANT: for whom */
    uint64_t op_nonce;
    uint64_t op_term;
    bool op_behind; /* PRUNE: somebody does not hold the newest set yet */
    struct zb_mono retry_at;
    uint32_t failures;      /* of the role's operation, in a row */
    uint32_t look_failures; /* of OBSERVE */
    uint32_t promote_failures;
    struct zb_mono promote_at; /* no new term is asked for before: each costs every voter a grant */
    struct zb_mono wake;
    uint64_t life;       /* the core's nonce as of the last pass; 0: there was none */
    uint64_t superseded; /* highest established term that voters told of */
    struct asking ask;
    uint64_t next_seq;
    struct zb_set_id ordered; /* the newest set that was made by order: no backup waits for it */
    bool first_set_due;       /* the term's first: at once */
    struct zb_mono set_due;
    struct zb_mono start_retry_at;
    uint32_t start_failures;
    uint32_t start_ms;
    uint64_t came_term; /* learned: how far the disk had come then */
    struct zb_set_id came_at;
    uint32_t unpruned;
    uint32_t snapshot_refusals;
    struct zb_mono prune_at;
    struct waiter waiters[ZB_CORE_WAITERS_MAX];
    struct move move;
    struct failover failover;
    struct rejoin rejoin;
    bool op_back; /* GRANT of what was granted before (zb_core_back_settle) */
    bool lost_noted;
    uint32_t strange_looks;  /* how often in a row something was there that nobody sent */
    uint32_t modified_looks; /* how often in a row the copy was seen to have changed by itself */
    struct zb_set_ref unchanged_at; /* seen to be changed there, and then proven not to be */
    struct zb_core_msg reported;
    struct zb_mono reported_at;
    const char *why;
    const char *why_rule;
    struct peer peers[ZB_PEERS_MAX];
};

struct zb_core {
    struct zb_core_options opt;
    uint64_t next_id;
    uint64_t random;
    uint32_t up; /* node bits */
    bool barred; /* the keeper makes nothing writable */
    struct svc *services;
    uint16_t
        services_count; /* one above the highest that had an event: what is beyond is not touched */
    struct zb_mono wake; /* the earliest of the services', 0: of none; settle.c */
    uint16_t wake_of;    /* ... and whose it is */
};

/* One step under way: what every function here needs. */
struct step {
    struct zb_core *core;
    struct zb_plan *plan;
    struct zb_mono now;
    struct zb_wall wall;
    struct svc *s;
    uint16_t service;
};

#define ZB_ASSERT(cond) ((cond) ? (void)0 : __builtin_trap())

/* core.c */
struct zb_action *zb_core_act(struct step *x, enum zb_act_kind kind);
struct zb_action *zb_core_op(struct step *x, enum zb_act_kind kind);
void zb_core_go(struct step *x, enum zb_stim stim);
void zb_core_note(struct step *x, uint32_t level, const char *rule, const char *text);
/* Of another node, or of this one whatever its role. */
void zb_core_note_about(struct step *x, uint8_t node, const char *rule, const char *text);
void zb_core_reply(struct step *x, uint64_t command_id, enum zb_rc rc, const char *rule,
                   const char *text);
void zb_core_retry_later(struct step *x);
void zb_core_wake_at(struct step *x, int64_t ms);
uint64_t zb_core_random(struct zb_core *core);
size_t zb_core_copy(char *out, size_t size, const char *text);
void zb_core_join(char *out, size_t size, const char *a, const char *b);

/* settle.c: starts what the facts of the service ask for, until nothing more can start now */
void zb_core_settle(struct step *x);
/* This node holds that set whole. */
void zb_core_received(struct step *x, const struct zb_set_ref *set);
/* After services settled: all of them, or one. */
#define ZB_CORE_ALL 0xffffu
void zb_core_wake_find(struct zb_core *core, uint16_t service);

/* facts.c: predicates and sums over facts, no effects */
enum zb_stim zb_core_classify(const struct step *x);
bool zb_core_is_member(const struct svc *s, uint8_t node);
bool zb_core_is_voter(const struct svc *s, uint8_t node);
/* Who grants a failover: members, whose copies count though they may not vote, and the witness. */
bool zb_core_is_granter(const struct svc *s, uint8_t node);
uint32_t zb_core_voters(const struct svc *s);
bool zb_core_majority(const struct svc *s, uint32_t nodes);
bool zb_core_never_led(const struct step *x);
/* Nobody's record knows of a leader, and yet there are sets of the service, elsewhere. */
bool zb_core_has_a_past(const struct step *x);
uint8_t zb_core_leader(const struct step *x, uint64_t *term);
bool zb_core_peer_up(const struct step *x, uint8_t node);
uint64_t zb_core_granted_max(const struct step *x);
/* When this node looks at its disk next, if nothing tells of it earlier. */
int64_t zb_core_look_due_ms(const struct svc *s);
void zb_core_look_now(struct step *x);
/* How far this disk came: obs.reached, or a newer obs.newest. */
const struct zb_set_ref *zb_core_reached(const struct svc *s);
bool zb_core_follows(const struct step *x, uint8_t node);
bool zb_core_leads(enum zb_role role);
/* The leader of the highest term that this node knows of is up and leads, or is this node. */
bool zb_core_sees_leader(const struct step *x);
/* The last established leader, which did not release: its tree as it stands is the service's. */
bool zb_core_is_owner(const struct svc *s);
/* Every member that is up, and this node, hold a set of that term. */
bool zb_core_all_follow(const struct step *x, uint64_t term);

/* acquire.c: grants asked and given, learning of leaders, releases taken */
/* released: the set of the release that is being taken, with its term; NULL: a new term of our own
 */
void zb_core_ask_begin(struct step *x, uint64_t term, const struct zb_set_ref *released);
/* Node bits of who may write and did not grant the term that is asked for, fenced or not. */
uint32_t zb_core_ask_suspects(const struct svc *s);
void zb_core_ask_begin_failover(struct step *x);
void zb_core_ask_settle(struct step *x);
bool zb_core_voter_settle(struct step *x);
void zb_core_grant_done(struct step *x, const struct zb_core_result *r);
void zb_core_msg_grant_ask(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_msg_grant_answer(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_msg_released(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_msg_release_ask(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_release_tell(struct step *x, uint8_t node);

/* lead.c: sets, ships, waiting commands, pruning */
void zb_core_lead_begin(struct step *x);
void zb_core_lead_settle(struct step *x);
void zb_core_snapshot(struct step *x, bool final);
void zb_core_snapshot_done(struct step *x, const struct zb_core_result *r);
void zb_core_ship_settle(struct step *x);
void zb_core_ship(struct step *x, uint8_t node, const struct zb_set_ref *set);
void zb_core_ship_done(struct step *x, uint8_t node, const struct zb_core_result *r);
void zb_core_waiters_settle(struct step *x);
void zb_core_waiters_fail(struct step *x, const char *text);
/* A member that did not grant, yet is known to hold more of this history than that (S6). */
uint8_t zb_core_ahead_away(const struct step *x, const struct zb_lineage *lineage,
                           const struct zb_set_ref *best);
bool zb_core_prune_settle(struct step *x);
/* Leader: what node may not prune for the others' sake, for the report to it. */
void zb_core_bases_fill(const struct step *x, uint8_t node, struct zb_core_msg *m);

/* move.c */
void zb_core_command(struct step *x, const struct zb_event *ev);
void zb_core_move_command(struct step *x, const struct zb_event *ev);
void zb_core_move_presync(struct step *x);
void zb_core_move_sealing(struct step *x);
void zb_core_move_op_done(struct step *x, enum zb_act_kind kind, const struct zb_core_result *r);
void zb_core_move_ship_failed(struct step *x, const struct zb_core_result *r);
void zb_core_move_abort(struct step *x, const char *why);
void zb_core_move_watch(struct step *x);

/* failover.c: an operator's order to take the lead without being handed it */
void zb_core_failover_command(struct step *x, const struct zb_event *ev);
/* An order that was found possible begins; the caller says how it goes on. */
void zb_core_failover_begin(struct step *x, const struct zb_event *ev);
/* This node, and the voters that can be asked. */
uint32_t zb_core_up_voters(const struct step *x);
void zb_core_fenced_command(struct step *x, const struct zb_event *ev);
void zb_core_fence_wait_command(struct step *x, const struct zb_event *ev);
/* ASKING, granted by a majority and every suspect: what comes first (M8)? */
void zb_core_failover_choose(struct step *x);
/* The same again, for FORWARDING too: a member that is ahead may have turned out useless. */
void zb_core_failover_go_on(struct step *x);
/* Nothing was taken: who granted the term waits for a leader of it or of a later one. */
void zb_core_failover_give_up(struct step *x, enum zb_rc rc, uint8_t node, const char *rule,
                              const char *text);
/* A line of that step for the operator: borrowed until the next action. */
struct zb_action *zb_core_failover_step_line(struct step *x, uint8_t number,
                                             enum zb_step_phase phase, const char *text);
/* The step under way ends, the next one begins. */
void zb_core_failover_step_to(struct step *x, uint8_t number, uint8_t node);
/* The order is answered and forgotten. */
void zb_core_failover_end(struct step *x, enum zb_rc rc, uint8_t node, const char *rule,
                          const char *text);

/* failover_watch.c: an order under way, until its end or the end of its time */
void zb_core_failover_watch(struct step *x);

/* revert.c */
void zb_core_revert_command(struct step *x, const struct zb_event *ev);
/* Granted. */
void zb_core_revert_go_on(struct step *x);

/* forward.c */
void zb_core_forward_settle(struct step *x);
void zb_core_msg_forward_ask(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_msg_forward_answer(struct step *x, uint8_t node, const struct zb_core_msg *m);

/* copy.c: the first copy of a member, which a follower sends */
/* Leader: the next set of node is another one's to send now. */
bool zb_core_copy_settle(struct step *x, uint8_t node);
/* Leader: it begins anew with it, now or when the node is back. */
void zb_core_copy_forget(struct step *x, uint8_t node);
/* Ships to node that failed are tried again now. */
void zb_core_ship_hurry(struct step *x, uint8_t node);
void zb_core_msg_copy_ask(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_msg_copy_answer(struct step *x, uint8_t node, const struct zb_core_msg *m);

/* rejoin.c: a copy that came away from the lineage is set aside, and goes on from the fork */
void zb_core_diverged(struct step *x, const struct zb_event *ev);
void zb_core_rejoin_command(struct step *x, const struct zb_event *ev);
void zb_core_rejoin_looked(struct step *x, bool modified_before);
bool zb_core_rejoin_settle(struct step *x);
void zb_core_rescue(struct step *x, uint8_t node, uint64_t term, const struct zb_set_ref *set);
void zb_core_rescue_done(struct step *x, const struct zb_core_result *r);

/* back.c: records that went back, of this node and of others */
/* More than its record says was heard of node: the most that was. */
bool zb_core_peer_is_back(const struct svc *s, uint8_t node);
/* The highest term that node is known to have granted. */
uint64_t zb_core_peer_granted(const struct svc *s, uint8_t node);
/* What this node's record said before, as others remember it; suspects alone: false. */
bool zb_core_lost(const struct svc *s, struct zb_core_seen *lost);
/* Of this node's record, and those that it forgot (M3). */
uint32_t zb_core_suspects(const struct svc *s);
/* A node that may be writable, or was granted a later term, and cannot grant now: nobody would lead
 * until it is back, if this leader asked for a new term. */
bool zb_core_waits_for_anybody(const struct step *x);
bool zb_core_back_settle(struct step *x);
void zb_core_back_remembered(struct step *x, uint8_t node, const struct zb_core_seen *seen);
/* A member knew this leader to be established: heard in time, that keeps the one before, which was
 * taken over from, from asking for a term above it, and so from granting itself one (M2). */
void zb_core_back_learned(struct step *x, uint64_t term, uint8_t leader);
void zb_core_back_heard(struct step *x, uint8_t node, const struct zb_core_msg *m);
void zb_core_back_watch(struct step *x);

/* diverge.c: says once what does not agree between the members */
void zb_core_diverge_watch(struct step *x);
void zb_core_diverge_looked(struct step *x, bool same);

/* report.c */
void zb_core_report_settle(struct step *x);
void zb_core_report_send(struct step *x, uint8_t node);
void zb_core_msg_report(struct step *x, uint8_t node, const struct zb_core_msg *m);

#endif
