#include "keeper/session.h"

#include <string.h>

struct zb_mono
zb_session_soft_at(const struct zb_session *s)
{
    return (struct zb_mono){s->renewed.ms + s->soft_ms};
}

struct zb_mono
zb_session_hard_at(const struct zb_session *s)
{
    return (struct zb_mono){s->renewed.ms + s->hard_ms};
}

bool
zb_session_tick(struct zb_session *s, struct zb_mono now)
{
    if (s->stage != ZB_SESSION_OPEN || now.ms < zb_session_soft_at(s).ms) {
        return false;
    }
    s->stage = ZB_SESSION_LAPSED;
    s->demoted = false;
    return true;
}

bool
zb_session_is_at_rest(const struct zb_session *s)
{
    return s->stage == ZB_SESSION_LAPSED && (s->demoted || s->rested);
}

bool
zb_session_is_late(const struct zb_session *s, struct zb_mono now)
{
    return s->stage == ZB_SESSION_LAPSED && !zb_session_is_at_rest(s) &&
           now.ms >= zb_session_hard_at(s).ms;
}

bool
zb_session_may_pat(const struct zb_session *s, struct zb_mono now)
{
    return s->stage == ZB_SESSION_NONE || zb_session_is_at_rest(s) ||
           now.ms < zb_session_hard_at(s).ms;
}

/* The clock is asked first, whatever was done about it until now. */
static bool
is_over(const struct zb_session *s, struct zb_mono now)
{
    return s->stage == ZB_SESSION_LAPSED ||
           (s->stage == ZB_SESSION_OPEN && now.ms >= zb_session_soft_at(s).ms);
}

enum zb_rc
zb_session_may_write(const struct zb_session *s, struct zb_mono now, struct zb_err *err)
{
    if (is_over(s, now)) {
        (void)zb_err_set(err, ZB_E_STALE,
                         "this node's session in etcd is over: it may not write before a new one");
        return zb_err_hint(err, "zbaton status says why etcd is not reached");
    }
    if (s->stage == ZB_SESSION_OPEN && !s->confirmed) {
        return zb_err_set(err, ZB_E_STALE, "etcd is not known to have this node's session yet");
    }
    return ZB_OK;
}

static void
begin(struct zb_session *s, uint64_t id, struct zb_mono renewed)
{
    s->stage = ZB_SESSION_OPEN;
    s->id = id;
    s->etcd = 0;
    s->renewed = renewed;
    s->confirmed = false;
    s->demoted = false;
    s->rested = false;
    memset(s->stamps, 0, sizeof(s->stamps));
    s->stamps_count = 0;
}

/* Until when others wait is not known: everything is demoted as after a soft deadline. */
static void
lapse_now(struct zb_session *s, struct zb_mono now)
{
    s->stage = ZB_SESSION_LAPSED;
    s->renewed.ms = now.ms - s->soft_ms;
    s->demoted = false;
}

enum zb_rc
zb_session_new(struct zb_session *s, struct zb_mono now, uint64_t id, bool writable, bool other,
               struct zb_err *err)
{
    bool first = s->stage == ZB_SESSION_NONE && !other;

    (void)zb_session_tick(s, now);
    if (s->stage == ZB_SESSION_OPEN) {
        return zb_err_set(err, ZB_E_EXISTS, "there is a session already");
    }
    if (s->stage == ZB_SESSION_NONE && other && writable) {
        lapse_now(s, now); /* others may count on it being over */
    }
    if (s->stage == ZB_SESSION_LAPSED && (!s->demoted || writable)) {
        return zb_err_set(err, ZB_E_BUSY,
                          "the last session is over, and not everything is "
                          "unmounted yet that was writable under it");
    }
    begin(s, id, now);
    s->confirmed = first;
    return ZB_OK;
}

void
zb_session_resume(struct zb_session *s, struct zb_mono now, const struct zb_session_past *past)
{
    begin(s, past->id, past->renewed);
    s->etcd = past->etcd;
    s->confirmed = past->confirmed;
    if (past->rebooted || !past->known) {
        lapse_now(s, now);
    } else if (past->lapsed) {
        s->stage = ZB_SESSION_LAPSED;
    }
    s->rested = past->rebooted || (past->known && past->rested);
}

enum zb_rc
zb_session_stamp(struct zb_session *s, struct zb_mono now, uint64_t nonce, uint64_t etcd,
                 struct zb_err *err)
{
    (void)zb_session_tick(s, now);
    if (s->etcd != 0 && s->etcd != etcd) {
        zb_session_lapse(s, s->id);
    }
    if (s->stage == ZB_SESSION_NONE) {
        return zb_err_set(err, ZB_E_NOTFOUND, "there is no session");
    }
    if (s->stage == ZB_SESSION_LAPSED) {
        return zb_err_set(err, s->demoted ? ZB_E_STALE : ZB_E_BUSY, "the session is over");
    }
    s->etcd = etcd;
    s->stamps[s->stamps_count % ZB_SESSION_STAMPS].nonce = nonce;
    s->stamps[s->stamps_count % ZB_SESSION_STAMPS].at = now;
    s->stamps_count++;
    return ZB_OK;
}

enum zb_rc
zb_session_renew(struct zb_session *s, struct zb_mono now, uint64_t nonce, struct zb_err *err)
{
    (void)zb_session_tick(s, now);
    if (s->stage != ZB_SESSION_OPEN) { /* nothing is given back within a term */
        return zb_err_set(err, ZB_E_STALE, "the session is over");
    }
    for (size_t i = 0; i < ZB_SESSION_STAMPS; i++) {
        if (nonce != 0 && s->stamps[i].nonce == nonce) {
            if (s->stamps[i].at.ms > s->renewed.ms) {
                s->renewed = s->stamps[i].at;
            }
            s->confirmed = true;
            return ZB_OK;
        }
    }
    return zb_err_set(err, ZB_E_STALE, "no such stamp of this session");
}

void
zb_session_lapse(struct zb_session *s, uint64_t id)
{
    if (s->stage == ZB_SESSION_OPEN && s->id == id) {
        s->stage = ZB_SESSION_LAPSED;
        s->demoted = false;
    }
}

enum zb_rc
zb_session_leave(struct zb_session *s, uint64_t id, struct zb_err *err)
{
    if (s->stage != ZB_SESSION_OPEN || s->id != id) {
        return zb_err_set(err, ZB_E_STALE, "it is not the session that is open");
    }
    *s = (struct zb_session){.soft_ms = s->soft_ms, .hard_ms = s->hard_ms};
    return ZB_OK;
}
