/*
 * Until when this node may write: the session's deadline, what is done when it passes, and the
 * watchdog behind it. For files of the keeper.
 */
#ifndef ZB_KEEPER_DEADLINE_H
#define ZB_KEEPER_DEADLINE_H

#include <pthread.h>

#include "keeper/session.h"
#include "wire/kmsg.h"

struct zb_keeper;
struct zb_keeper_service;

/* Part of zb_keeper; [lock] as there. */
struct zb_keeper_deadline {
    pthread_t thread; /* demotes when the session lapses */
    pthread_cond_t lapsed;
    bool started;
    bool ending;      /* [lock] */
    bool all;         /* [lock] every service is demoted, whatever is known of it */
    bool rest_stored; /* [lock] run-dir says that nothing is writable */
    bool late;        /* the hard deadline has passed, and that was acted on */
    int watchdog_fd;  /* -1: none */
};

/* Takes up an earlier life's session and arms the watchdog, before anything is settled.
 * ZB_E_REFUSED: others count on a session, and there is no etcd to keep it. */
enum zb_rc zb_keeper_deadline_open(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Starts the thread that demotes; from now on it claims services. */
enum zb_rc zb_keeper_deadline_start(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Looks at the clock; how long the loop may wait, which wants to for timeout_ms (-1: for ever). */
int zb_keeper_deadline_step(struct zb_keeper *k, int timeout_ms);
/* May anything be made writable? ZB_E_STALE: not before there is a new session. */
enum zb_rc zb_keeper_may_write(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Of the session under which something may be made writable now; 0: none is needed.
 * ZB_SESSION_OVER: nothing may. */
uint64_t zb_keeper_session_id(struct zb_keeper *k);
/* The session is over, and what is left of it is for the thread that demotes. */
bool zb_keeper_is_lapsed(struct zb_keeper *k);
/* Nothing can be mounted here: of a session that lapsed before, nothing is left to be done. */
void zb_keeper_lapse_settled(struct zb_keeper *k);
/* Others count on what the keeper still has to do: it may not end. */
bool zb_keeper_is_bound(struct zb_keeper *k);
void zb_keeper_lapse_now(struct zb_keeper *k, const char *why);
/* False: the thread is stuck, and what it uses cannot be freed. */
bool zb_keeper_deadline_end(struct zb_keeper *k);

typedef enum zb_rc zb_keeper_quick(struct zb_keeper *k, const struct zb_kreq *req,
                                   struct zb_krep *rep, struct zb_err *err);
zb_keeper_quick zb_keeper_op_beat, zb_keeper_op_renew, zb_keeper_op_lapse, zb_keeper_op_leave;

/* session_file.c: what the next keeper has to know of the session. Durably that there is one, so
 * that a node that is configured without etcd does not write while others count on its deadline;
 * and of which boot. */
enum zb_rc zb_keeper_session_store(const struct zb_keeper *k, uint64_t id,
                                   struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_keeper_session_remove(const struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Goes on with an earlier life's, in k->session, where there is one. ZB_E_REFUSED as of
 * zb_keeper_deadline_open. */
enum zb_rc zb_keeper_session_resume(struct zb_keeper *k, struct zb_err *err) ZB_CHECKED;
/* Caller holds lock. rested: nothing is writable. False: it could not be written, and that was
 * said. */
bool zb_keeper_session_run_store(const struct zb_keeper *k, bool rested);

#endif
