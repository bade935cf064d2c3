#include "core/session.h"

#include <string.h>

#define CERTIFY_AGAIN_MS 1000
#define STAMP_AGAIN_MS 500 /* the keeper still demotes, or its pool does not answer */
#define READ_RECENTLY_BEATS 2
#define SEND_AGAIN_MS 200 /* at least between an attempt whose end is not known and the next */

void
zb_sessions_init(struct zb_sessions *s, uint8_t self, uint32_t heartbeat_ms, uint32_t timeout_ms)
{
    *s = (struct zb_sessions){.self = self, .heartbeat_ms = heartbeat_ms, .timeout_ms = timeout_ms};
}

/* ---- what to do ---- */

static struct zb_session_value
own_value(const struct zb_sessions *s, enum zb_life life)
{
    return (struct zb_session_value){.life = life,
                                     .id = s->id,
                                     .nonce = s->doing_nonce,
                                     .timeout_ms = s->timeout_ms,
                                     .fenced = s->fenced};
}

/* When a node has been silent for its own timeout: a certificate is due then. */
static bool
silence_at(const struct zb_sessions *s, uint8_t node, struct zb_mono *at)
{
    at->ms = s->nodes[node].changed_at.ms + s->nodes[node].value.timeout_ms;
    return node != s->self && s->nodes[node].mod != 0 && s->nodes[node].value.life == ZB_LIFE_ALIVE;
}

static bool
was_read_recently(const struct zb_sessions *s, struct zb_mono now)
{
    return s->read_at.ms != 0 &&
           now.ms - s->read_at.ms <= READ_RECENTLY_BEATS * (int64_t)s->heartbeat_ms;
}

static bool
certify_next(struct zb_sessions *s, struct zb_mono now, struct zb_sessions_step *step)
{
    struct zb_mono at;

    /* Not by what was read long ago: etcd may have gone back since, and have another session of
     * that node at the same revision. */
    if (!zb_sessions_may_judge(s, now) || now.ms < s->certify_again_at.ms ||
        !was_read_recently(s, now)) {
        return false;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (silence_at(s, n, &at) && now.ms >= at.ms) {
            step->what = ZB_SESSIONS_CERTIFY;
            step->node = n;
            step->mod = s->nodes[n].mod;
            step->value = s->nodes[n].value;
            step->value.life = ZB_LIFE_DEAD;
            s->certify_again_at.ms = now.ms + CERTIFY_AGAIN_MS;
            return true;
        }
    }
    return false;
}

/* When something is due by itself. */
static struct zb_mono
due_at(const struct zb_sessions *s, struct zb_mono now)
{
    struct zb_mono due = s->beat_at;
    struct zb_mono at;

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (silence_at(s, n, &at) && at.ms > now.ms && at.ms < due.ms) {
            due = at;
        }
    }
    return due;
}

static void
beat_next(struct zb_sessions *s, struct zb_sessions_step *step)
{
    step->what = ZB_SESSIONS_BEAT;
    step->mod = s->own_mod;
    step->value = own_value(s, ZB_LIFE_ALIVE);
    s->stamped = false;
}

/* Of a session that is the own keeper's, or that nobody of this node has. */
static uint64_t
unknown_id(const struct zb_sessions *s)
{
    bool counts = s->own.life == ZB_LIFE_ALIVE || s->own.life == ZB_LIFE_DEAD;

    return counts && s->own.id != s->id ? s->own.id : 0;
}

void
zb_sessions_next(struct zb_sessions *s, struct zb_mono now, struct zb_sessions_step *step)
{
    *step = (struct zb_sessions_step){.what = ZB_SESSIONS_WAIT, .node = s->self};
    if (s->doing != 0) {
        step->at.ms = now.ms + s->heartbeat_ms;
        return;
    }
    if (s->stamped) {
        beat_next(s, step);
    } else if (s->leaving && s->known && s->put && now.ms >= s->beat_at.ms) {
        step->what = ZB_SESSIONS_LEAVE;
        step->mod = s->own_mod;
        step->value = own_value(s, ZB_LIFE_LEFT);
    } else if (s->leaving) {
        step->at.ms = now.ms < s->beat_at.ms ? s->beat_at.ms : now.ms + s->heartbeat_ms;
        return;
    } else if (!certify_next(s, now, step)) {
        if (now.ms < s->beat_at.ms) {
            step->at = due_at(s, now);
            return;
        }
        step->what = s->known && (!s->renew_new || was_read_recently(s, now)) ? ZB_SESSIONS_STAMP
                                                                              : ZB_SESSIONS_PROBE;
        step->new = s->renew_new;
        step->unknown = unknown_id(s);
        s->beat_at.ms = now.ms + s->heartbeat_ms;
    }
    s->doing = step->what;
    s->doing_node = step->node;
    s->sent_at = now;
}

void
zb_sessions_stamped(struct zb_sessions *s, struct zb_mono now, enum zb_rc rc, uint64_t id,
                    uint64_t nonce, bool fenced)
{
    s->doing = 0;
    if (rc == ZB_OK) {
        if (id != s->id) {
            s->put = s->own.life == ZB_LIFE_ALIVE && s->own.id == id;
        }
        if (s->renew_new) {
            s->since = now; /* whatever etcd was meanwhile, nobody is judged by what was before */
        }
        s->id = id;
        s->fenced = fenced;
        s->doing_nonce = nonce;
        s->stamped = s->own.life != ZB_LIFE_DEAD || s->own.id != id;
        s->known = s->stamped; /* the keeper does not know that it is over: that is read again */
        s->beat_at = s->stamped ? s->beat_at : now;
        s->renew_new = false;
    } else if (rc == ZB_E_NOTFOUND || rc == ZB_E_STALE) {
        s->id = 0;
        s->put = false;
        s->renew_new = true;
        s->beat_at = now;
    } else {
        s->put = s->put && rc == ZB_E_SUSPENDED;
        s->beat_at.ms = now.ms + STAMP_AGAIN_MS;
    }
}

/* ---- what was read ---- */

static bool
is_same(const struct zb_session_value *a, const struct zb_session_value *b)
{
    return a->life == b->life && a->id == b->id && a->nonce == b->nonce &&
           a->timeout_ms == b->timeout_ms;
}

/* Not what can have become of what was read before: since then keys only change, and to revisions
 * that are higher than any before. The revision alone does not tell: others' heartbeats raise it
 * again. */
static bool
went_back(const struct zb_sessions *s, const struct zb_sessions_answer *answer)
{
    bool seen[ZB_NODES_MAX] = {false};
    bool back = answer->cluster_id != s->cluster_id || answer->revision < s->revision;

    for (uint32_t i = 0; i < answer->rows_count; i++) {
        const struct zb_session_row *row = &answer->rows[i];
        seen[row->node] = true;
        back = back || (row->mod == s->nodes[row->node].mod
                            ? !is_same(&row->value, &s->nodes[row->node].value)
                            : row->mod <= s->revision);
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        back = back || (s->nodes[n].mod != 0 && !seen[n]);
    }
    return back;
}

/* A restored etcd, or another one: what it says of before is of no use. */
static void
contact_look(struct zb_sessions *s, struct zb_mono now, const struct zb_sessions_answer *answer,
             struct zb_sessions_news *news)
{
    if (s->since.ms == 0 || went_back(s, answer)) {
        s->since = now;
        memset(s->nodes, 0, sizeof(s->nodes));
        news->changed = true;
    }
    s->cluster_id = answer->cluster_id;
    s->revision = answer->revision;
    if (s->etcd != 0 && s->etcd != s->cluster_id) {
        s->etcd = 0; /* before anything is asked for, or granted, under a session that is in it */
        news->moved = true;
    }
}

static void
rows_read(struct zb_sessions *s, struct zb_mono now, const struct zb_sessions_answer *answer,
          struct zb_sessions_news *news)
{
    for (uint32_t i = 0; i < answer->rows_count; i++) {
        const struct zb_session_row *row = &answer->rows[i];
        news->changed = news->changed || s->nodes[row->node].value.life != row->value.life;
        if (s->nodes[row->node].mod != row->mod) {
            s->nodes[row->node].mod = row->mod;
            s->nodes[row->node].changed_at = now;
        }
        s->nodes[row->node].value = row->value;
    }
    s->known = true;
    s->own_mod = s->nodes[s->self].mod;
    s->own = s->nodes[s->self].value;
}

static void
own_look(struct zb_sessions *s, struct zb_mono now, struct zb_sessions_news *news)
{
    bool own = s->id != 0 && s->own.id == s->id;

    if (own && s->own.life == ZB_LIFE_ALIVE) {
        /* Whichever attempt it was: it counts from its own stamp. */
        s->put = true;
        news->moved = news->moved || s->etcd != s->cluster_id;
        s->etcd = s->cluster_id;
        news->renewed = true;
        news->nonce = s->own.nonce;
    } else if (own && s->own.life == ZB_LIFE_LEFT) {
        news->left = true;
        news->id = s->id;
        s->put = false;
        s->id = 0;
    } else if (s->put || (own && s->own.life == ZB_LIFE_DEAD)) {
        news->lost = true;
        news->id = s->id;
        s->put = false;
        s->since = now; /* etcd may have gone back: others' states are believed after a while */
        s->beat_at.ms = now.ms + STAMP_AGAIN_MS;
    }
}

void
zb_sessions_answer(struct zb_sessions *s, struct zb_mono now,
                   const struct zb_sessions_answer *answer, struct zb_sessions_news *news)
{
    enum zb_sessions_do doing = s->doing;

    *news = (struct zb_sessions_news){0};
    s->doing = 0;
    if (!answer->known) {
        s->beat_at.ms = s->sent_at.ms + SEND_AGAIN_MS; /* at another endpoint */
        return;
    }
    contact_look(s, now, answer, news);
    rows_read(s, now, answer, news);
    s->read_at = s->sent_at;
    if (doing == ZB_SESSIONS_PROBE) {
        s->beat_at = now;
    }
    own_look(s, now, news);
    if (doing == ZB_SESSIONS_BEAT && !answer->succeeded && !news->lost) {
        s->beat_at = now; /* the key was another than it was thought to be: now it is known */
    }
}

/* ---- questions ---- */

void
zb_sessions_hurry(struct zb_sessions *s, struct zb_mono now)
{
    s->beat_at = now;
}

void
zb_sessions_leave(struct zb_sessions *s, struct zb_mono now)
{
    s->leaving = true;
    s->beat_at = now;
}

bool
zb_sessions_is_open(const struct zb_sessions *s)
{
    return s->put;
}

bool
zb_sessions_is_own(const struct zb_sessions *s, const struct zb_session_value *value, int64_t mod)
{
    return s->put && value->id == s->id && value->life == ZB_LIFE_ALIVE && mod >= s->own_mod;
}

bool
zb_sessions_may_judge(const struct zb_sessions *s, struct zb_mono now)
{
    uint32_t longest_ms = s->timeout_ms;

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (s->nodes[n].mod != 0 && s->nodes[n].value.timeout_ms > longest_ms) {
            longest_ms = s->nodes[n].value.timeout_ms;
        }
    }
    return s->put && s->since.ms != 0 && now.ms - s->since.ms >= longest_ms;
}

bool
zb_sessions_is_elsewhere(const struct zb_sessions *s, const struct zb_session_etcds *etcds,
                         uint8_t node)
{
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (etcds->told[n][node].known && etcds->told[n][node].etcd != s->cluster_id) {
            return true;
        }
    }
    return false;
}

bool
zb_sessions_is_fenced(const struct zb_sessions *s, const struct zb_session_etcds *etcds,
                      uint8_t node, struct zb_mono now, struct zb_mono after)
{
    return node < ZB_NODES_MAX && node != s->self && zb_sessions_may_judge(s, now) &&
           s->read_at.ms > after.ms && s->read_at.ms > etcds->changed_at.ms &&
           s->nodes[node].mod != 0 && s->nodes[node].value.life == ZB_LIFE_DEAD &&
           s->nodes[node].value.fenced && !zb_sessions_is_elsewhere(s, etcds, node);
}
