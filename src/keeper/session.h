/*
 * The keeper's part of a node's session in etcd (protocol.md, E): until when this node may write.
 * Pure: no I/O, no clock.
 *
 * The engine asks for a stamp, sends a heartbeat that carries its nonce, and tells when that was
 * accepted. Deadlines count from the stamp, which is from before the heartbeat was sent; so they
 * have passed before anybody else can have seen nothing for the session's timeout.
 */
#ifndef ZB_KEEPER_SESSION_H
#define ZB_KEEPER_SESSION_H

#include "base/types.h"

#define ZB_SESSION_OVER UINT64_MAX /* the number of no session */
#define ZB_SESSION_STAMPS 8        /* heartbeats that may be under way or unanswered */

enum zb_session_stage {
    ZB_SESSION_NONE = 0, /* nobody counts on a deadline of this node's: it may write */
    ZB_SESSION_OPEN,     /* it may write until the soft deadline */
    ZB_SESSION_LAPSED,   /* it may not write */
};

struct zb_session {
    enum zb_session_stage stage;
    uint64_t id;            /* random; 0 when there is none */
    uint64_t etcd;          /* cluster id of the one that it is in */
    struct zb_mono renewed; /* stamp of the newest heartbeat that is known to be accepted */
    bool confirmed;         /* etcd has no earlier one of the node that others could certify */
    uint32_t soft_ms;
    uint32_t hard_ms;
    bool demoted; /* LAPSED: nothing is writable, proven */
    bool rested;  /* LAPSED: nothing was writable then: there is no hard deadline */
    struct {
        uint64_t nonce;
        struct zb_mono at;
    } stamps[ZB_SESSION_STAMPS];
    uint32_t stamps_count; /* ever made of this session */
};

/* Valid while OPEN or LAPSED. */
struct zb_mono zb_session_soft_at(const struct zb_session *s);
struct zb_mono zb_session_hard_at(const struct zb_session *s);
/* The deadline passed: true when the session lapses by that. */
bool zb_session_tick(struct zb_session *s, struct zb_mono now);
/* It lapsed, and there is nothing that a hard deadline could be late for. */
bool zb_session_is_at_rest(const struct zb_session *s);
/* It lapsed, and the hard deadline has passed without a proof that nothing is writable. */
bool zb_session_is_late(const struct zb_session *s, struct zb_mono now);
/* Whether the watchdog may be told that all is well. */
bool zb_session_may_pat(const struct zb_session *s, struct zb_mono now);
/* May anything be made writable now? ZB_E_STALE says why not. A new session after another is not
 * enough before etcd has it: until then others may certify that the earlier one is over. */
enum zb_rc zb_session_may_write(const struct zb_session *s, struct zb_mono now,
                                struct zb_err *err) ZB_CHECKED;
/* A new session begins, with number id: ZB_E_BUSY where something may still be writable under an
 * earlier one (which lapses by that, where it is only etcd that knows of it: *s is changed);
 * ZB_E_EXISTS where one is open. writable: something is mounted read-write here, or may be; other:
 * etcd has a session of this node that this keeper knows nothing of, and that was not left. It is
 * in the etcd of its first stamp. */
enum zb_rc zb_session_new(struct zb_session *s, struct zb_mono now, uint64_t id, bool writable,
                          bool other, struct zb_err *err) ZB_CHECKED;

/* What an earlier life of the keeper left of its session. */
struct zb_session_past {
    uint64_t id;
    uint64_t etcd;
    bool rebooted; /* that was before the host's last boot */
    bool known;    /* in this boot, and these are: */
    struct zb_mono renewed;
    bool confirmed;
    bool rested; /* nothing was writable */
    bool lapsed; /* and it was over */
};
/* Goes on with it. Where it is not known until when, it lapses now. */
void zb_session_resume(struct zb_session *s, struct zb_mono now,
                       const struct zb_session_past *past);
/* For a heartbeat that goes to the etcd of that cluster id, never 0. ZB_E_NOTFOUND none;
 * ZB_E_STALE lapsed and demoted; ZB_E_BUSY lapsed, by this too: a session that is in another etcd
 * is not taken along, for those who read that one see it end. */
enum zb_rc zb_session_stamp(struct zb_session *s, struct zb_mono now, uint64_t nonce, uint64_t etcd,
                            struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_session_renew(struct zb_session *s, struct zb_mono now, uint64_t nonce,
                            struct zb_err *err) ZB_CHECKED;
void zb_session_lapse(struct zb_session *s, uint64_t id);
/* ZB_E_STALE: it is another one, or has lapsed. */
enum zb_rc zb_session_leave(struct zb_session *s, uint64_t id, struct zb_err *err) ZB_CHECKED;

#endif
