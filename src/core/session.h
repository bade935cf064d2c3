/*
 * The sessions of the cluster's nodes in etcd (protocol.md, E): this node's own, which it renews by
 * compare-and-swap, and what it knows of the others'. Pure: no I/O, no clock, no allocation.
 *
 * One key per node: session/<node>. A heartbeat is one transaction: if the own key is as it was
 * seen last, put the next value; and read all keys. A transaction with a put goes through the
 * majority of etcd's members, so that what it read was so at some moment after it was sent. There
 * is no watch: nothing of it could be relied upon that the next heartbeat does not tell.
 *
 *     loop: zb_sessions_next -> a transaction (with a stamp of the keeper) -> zb_sessions_answer
 */
#ifndef ZB_CORE_SESSION_H
#define ZB_CORE_SESSION_H

#include "base/types.h"

enum zb_life {
    ZB_LIFE_NONE = 0, /* no key */
    ZB_LIFE_ALIVE,
    ZB_LIFE_DEAD, /* certified: it was not renewed for its own timeout, as another node saw */
    ZB_LIFE_LEFT, /* ended by its node, on which nothing binds any more */
};

/* The value of a key. */
struct zb_session_value {
    enum zb_life life;
    uint64_t id;
    uint64_t nonce; /* of the keeper's stamp */
    uint32_t timeout_ms;
    bool fenced; /* its node does not write once the timeout has passed, whatever hangs */
};

/* A key as a transaction read it. */
struct zb_session_row {
    uint8_t node;
    int64_t mod; /* its mod_revision */
    struct zb_session_value value;
};

enum zb_sessions_do {
    ZB_SESSIONS_WAIT = 1, /* until `at` */
    ZB_SESSIONS_PROBE,    /* put something else, and read: the own key is not known yet, or a new
                           * session is to be begun and etcd may not be there */
    ZB_SESSIONS_STAMP,    /* ask the keeper for a stamp; then zb_sessions_stamped */
    ZB_SESSIONS_BEAT,     /* put `value` if the own key is of `mod` (0: is not there), and read */
    ZB_SESSIONS_CERTIFY,  /* put `value` if the key of `node` is of `mod`, and read */
    ZB_SESSIONS_LEAVE,    /* put `value` if the own key is of `mod`, and read */
};

struct zb_sessions_step {
    enum zb_sessions_do what;
    struct zb_mono at;
    uint8_t node;
    int64_t mod;
    struct zb_session_value value;
    bool new;         /* STAMP: of a new session ... */
    uint64_t unknown; /* ... while etcd has this one of the node, or 0 */
};

/* How a transaction ended. */
struct zb_sessions_answer {
    bool known;     /* it was answered; else it may have been done or not */
    bool succeeded; /* the put was done */
    uint64_t cluster_id;
    int64_t revision;
    uint32_t rows_count;
    struct zb_session_row rows[ZB_NODES_MAX];
};

/* What an answer means; more than one may be true. */
struct zb_sessions_news {
    bool renewed; /* tell the keeper, with `nonce` */
    uint64_t nonce;
    bool lost; /* tell the keeper: session `id` is over */
    uint64_t id;
    bool left;    /* tell the keeper: session `id` was left */
    bool changed; /* the life of some node's session changed */
    bool moved;   /* tell the other nodes `etcd` of the sessions */
};

/* What each node was told last, by each node, of the etcd in which that one's session is (E10):
 * cluster ids, 0 in none. */
struct zb_session_etcds {
    struct {
        bool known;
        uint64_t etcd;
    } told[ZB_NODES_MAX][ZB_NODES_MAX]; /* [who was told][by whom] */
    struct zb_mono changed_at; /* when anything else than before was heard here; 0: never */
};

struct zb_sessions {
    uint8_t self;
    uint32_t heartbeat_ms;
    uint32_t timeout_ms;
    /* the own session */
    uint64_t id; /* the keeper's; 0: none */
    bool fenced;
    bool put;       /* etcd is known to have had it */
    bool renew_new; /* the keeper wants a new one begun */
    uint64_t etcd;  /* in which it is, for the others to know; 0: maybe in another one */
    bool known;     /* the own key is, as of own_mod */
    int64_t own_mod;
    struct zb_session_value own;
    /* a transaction under way */
    enum zb_sessions_do doing; /* 0: none */
    uint8_t doing_node;
    uint64_t doing_nonce;
    struct zb_mono sent_at;
    bool stamped; /* a beat is to be sent, with doing_nonce */
    bool leaving;
    struct zb_mono beat_at; /* the next one is due */
    struct zb_mono certify_again_at;
    /* what was read */
    uint64_t cluster_id;
    int64_t revision;
    struct zb_mono since; /* when this etcd was first read without anything going back; 0: never */
    struct zb_mono read_at; /* when the newest answer's transaction was sent; 0: never */
    struct {
        int64_t mod;               /* 0: no key */
        struct zb_mono changed_at; /* when it was received that it had changed */
        struct zb_session_value value;
    } nodes[ZB_NODES_MAX];
};

void zb_sessions_init(struct zb_sessions *s, uint8_t self, uint32_t heartbeat_ms,
                      uint32_t timeout_ms);
/* What is to be done now. Nothing but WAIT while a transaction is under way. */
void zb_sessions_next(struct zb_sessions *s, struct zb_mono now, struct zb_sessions_step *step);
/* The keeper's answer to STAMP. ZB_OK; ZB_E_NOTFOUND, ZB_E_STALE: a new one has to be begun;
 * others: not now. */
void zb_sessions_stamped(struct zb_sessions *s, struct zb_mono now, enum zb_rc rc, uint64_t id,
                         uint64_t nonce, bool fenced);
void zb_sessions_answer(struct zb_sessions *s, struct zb_mono now,
                        const struct zb_sessions_answer *answer, struct zb_sessions_news *news);
/* The next heartbeat is due at once. */
void zb_sessions_hurry(struct zb_sessions *s, struct zb_mono now);
/* The own session ends such that nothing binds this node: LEAVE comes next. */
void zb_sessions_leave(struct zb_sessions *s, struct zb_mono now);
/* It is alive, and etcd has confirmed it. */
bool zb_sessions_is_open(const struct zb_sessions *s);
/* The own session as some transaction read it, of revision mod, is what this node knows of it, or
 * newer: etcd did not go back before that. */
bool zb_sessions_is_own(const struct zb_sessions *s, const struct zb_session_value *value,
                        int64_t mod);
/* A certificate is believed: whatever etcd had before this node read it first, or before it was
 * restored from a backup, every node whose session is in no such state any more has demoted. */
bool zb_sessions_may_judge(const struct zb_sessions *s, struct zb_mono now);
/* Somebody was told by the node that its session is not in this etcd. One of those who granted it
 * its term was, before that, and tells so here before it grants the same to another. */
bool zb_sessions_is_elsewhere(const struct zb_sessions *s, const struct zb_session_etcds *etcds,
                              uint8_t node);
/* The node cannot write, and cannot begin to without a grant (M4, M6): its session is certified
 * dead, as was read by a transaction that was sent after `after`, its node is fenced by that, and
 * its session is not elsewhere, nor was before that transaction was sent (E10). */
bool zb_sessions_is_fenced(const struct zb_sessions *s, const struct zb_session_etcds *etcds,
                           uint8_t node, struct zb_mono now, struct zb_mono after);

#endif
