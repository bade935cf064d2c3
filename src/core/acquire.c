#include "core/internal.h"

#include <string.h>

/* ---- asking for a term (candidate) ---- */

void
zb_core_ask_begin(struct step *x, uint64_t term, const struct zb_set_ref *released)
{
    struct svc *s = x->s;

    memset(&s->ask, 0, sizeof(s->ask));
    s->ask.planned = released != NULL;
    s->ask.term = released != NULL ? term : zb_core_granted_max(x) + 1;
    s->ask.set = released != NULL ? *released : *zb_core_reached(s);
    s->ask.reason = released != NULL               ? ZB_TERM_MOVE
                    : s->obs.established_term != 0 ? ZB_TERM_RESTART
                                                   : ZB_TERM_FIRST;
    s->ask.exact = s->ask.planned;
    s->ask.suspects = zb_core_suspects(s);
    s->ask.lineage_term = s->obs.learned_term;
    s->ask.again_at = x->now;
}

void
zb_core_ask_begin_failover(struct step *x)
{
    struct svc *s = x->s;

    zb_core_ask_begin(x, 0, NULL);
    s->ask.failover = true;
    s->ask.exact = true;
    s->ask.reason = s->failover.revert ? ZB_TERM_REVERT : ZB_TERM_FAILOVER;
    s->ask.set = s->obs.newest;
    s->ask.lineage_leader = s->obs.learned_leader;
    s->ask.lineage = s->obs.lineage;
}

/* A voter whose newer set this leader's disk lacks is not soon asked again: each answer is a grant
 * to it, between which it comes to nothing else. */
static bool
is_ahead(const struct step *x, uint8_t n)
{
    const struct asking *ask = &x->s->ask;

    return (ask->ahead & 1u << n) != 0 && x->now.ms < ask->ahead_at.ms + ZB_ASK_AHEAD_MS;
}

/* Only grants of this very term count; a repeated question is answered again (M5: by nonce). */
static void
ask_voters(struct step *x)
{
    struct svc *s = x->s;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        struct zb_action *a;
        /* Of a failover backups are asked too: they do not vote, but may be ahead. */
        bool asked = s->ask.failover ? zb_core_is_granter(s, n) : zb_core_is_voter(s, n);
        if (n == x->core->opt.self || !asked || !zb_core_peer_up(x, n) ||
            (s->ask.granted & (1u << n)) != 0 || is_ahead(x, n)) {
            continue;
        }
        a = zb_core_act(x, ZB_ACT_MESSAGE);
        a->node = n;
        a->msg.kind = ZB_MSG_GRANT_ASK;
        a->msg.term = s->ask.term;
        a->msg.nonce = x->core->opt.nonce;
        a->msg.version = s->conf.version;
        a->msg.set = s->ask.set;
        a->msg.established_term = s->obs.established_term;
        a->msg.failover = s->ask.failover;
        a->msg.allow_loss = s->failover.allow_loss && !s->failover.automatic;
        a->msg.released_term = s->ask.planned ? s->ask.term : 0;
        a->msg.released_to = s->ask.planned ? x->core->opt.self : ZB_NODE_NONE;
        a->msg.seen = s->peers[n].seen;
    }
    s->ask.again_at.ms = x->now.ms + ZB_ASK_MS;
}

/* Leaders of later terms than this node, and for a failover any granter, knows of, as somebody
 * told, a member or not: when the list of members has changed more than once since, a majority of
 * them may know nothing of it (M11). */
static uint32_t
led_later(const struct svc *s)
{
    uint32_t nodes = 0;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct zb_core_seen *seen = &s->peers[n].seen;
        if (seen->learned_term > s->ask.lineage_term && seen->learned_term < s->ask.term &&
            seen->learned_leader < ZB_NODES_MAX) {
            nodes |= seen->suspects | 1u << seen->learned_leader;
        }
    }
    return nodes;
}

uint32_t
zb_core_ask_suspects(const struct svc *s)
{
    return (s->ask.suspects | led_later(s)) & ~s->ask.granted;
}

static bool
ask_complete(const struct step *x)
{
    const struct svc *s = x->s;
    uint32_t self = 1u << x->core->opt.self;

    return (s->ask.granted & self) != 0 && zb_core_majority(s, s->ask.granted) &&
           (zb_core_ask_suspects(s) & ~s->ask.fenced) == 0 && !s->obs.suspects_unknown;
}

void
zb_core_ask_settle(struct step *x)
{
    struct svc *s = x->s;
    struct zb_core_seen lost;

    if (s->obs.granted_term > s->ask.term) {
        zb_core_go(x, ZB_STIM_SUPERSEDED); /* this node granted something higher meanwhile */
        return;
    }
    if (zb_core_lost(s, &lost) &&
        (!s->failover.allow_loss ||
         (lost.granted_term >= s->ask.term && lost.granted_term > s->obs.granted_term))) {
        zb_core_go(x, ZB_STIM_SUPERSEDED); /* ... or did so before, and forgot it */
        return;
    }
    s->ask.suspects |= zb_core_suspects(s); /* those too that it forgot */
    if (x->now.ms < s->promote_at.ms) {
        zb_core_wake_at(x, s->promote_at.ms);
        return;
    }
    if ((s->ask.granted & (1u << x->core->opt.self)) == 0) {
        struct zb_action *a = zb_core_op(x, ZB_ACT_GRANT);
        a->term = s->ask.term;
        a->node = x->core->opt.self;
        a->nonce = x->core->opt.nonce;
        s->op_node = x->core->opt.self;
        s->op_nonce = x->core->opt.nonce;
        s->op_term = s->ask.term;
        return;
    }
    /* After its own grant, so that no voter has granted this node a term that it does not know of
     * when it starts again: it would then lead a lower one, which that voter never follows. */
    if (x->now.ms >= s->ask.again_at.ms) {
        ask_voters(x);
    }
    if (s->ask.majority_at.ms == 0 && zb_core_majority(s, s->ask.granted)) {
        s->ask.majority_at = x->now;
    }
    if (ask_complete(x)) {
        if (s->ask.failover) {
            zb_core_failover_choose(x);
        } else if (!s->ask.planned &&
                   zb_core_ahead_away(x, &s->obs.lineage, zb_core_reached(s)) != ZB_NODE_NONE) {
            s->why = "a member that was not asked holds a newer set than this leader's disk";
            s->why_rule = "R-own-disk-older";
            zb_core_wake_at(x, s->ask.again_at.ms);
        } else if (s->ask.planned && s->obs.beyond) {
            zb_core_go(x, ZB_STIM_BEHIND); /* something was written here since: aside with it */
        } else {
            zb_core_go(x, ZB_STIM_GRANTED);
        }
        return;
    }
    s->why = zb_core_majority(s, s->ask.granted)
                 ? "waits for the grant of a node that may still be writable (suspect)"
                 : "waits for grants: a majority of voters has not answered yet";
    s->why_rule = "R-asking";
    zb_core_wake_at(x, s->ask.again_at.ms);
}

/* Another candidate or an earlier term of our own stands in the way: a higher term after a random
 * wait (M6); a planned take never changes its term. */
static void
outbid(struct step *x, uint64_t granted_term)
{
    struct svc *s = x->s;

    if (s->ask.planned || granted_term < s->ask.term) {
        return;
    }
    if (s->ask.failover) {
        zb_core_ask_begin_failover(x);
    } else {
        zb_core_ask_begin(x, 0, NULL);
    }
    if (s->ask.term <= granted_term) {
        s->ask.term = granted_term + 1;
    }
    s->retry_at.ms = x->now.ms + 50 + (int64_t)(zb_core_random(x->core) % 450);
}

/* A failover's: where the granter stands, and the longest history that one of them knows (M8). */
static void
answer_note(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct asking *ask = &x->s->ask;

    ask->at[node] = m->set;
    if (m->learned_term > ask->lineage_term) {
        ask->lineage_term = m->learned_term;
        ask->lineage_leader = m->learned_leader;
        ask->lineage = m->lineage;
    }
}

/* A set that came away from the history is not ahead; one of a term that this leader knows nothing
 * of may be. */
static bool
is_newer(const struct svc *s, struct zb_set_id id)
{
    return zb_set_id_cmp(id, zb_core_reached(s)->id) > 0 &&
           (id.term > s->obs.learned_term || zb_lineage_has(&s->obs.lineage, id));
}

void
zb_core_msg_grant_answer(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct svc *s = x->s;

    if (s->role != ZB_ROLE_ASKING || m->nonce != x->core->opt.nonce ||
        !zb_core_is_granter(s, node)) {
        return;
    }
    if (m->rc == ZB_OK) {
        if (m->term != s->ask.term || m->granted_term != s->ask.term) {
            return;
        }
        if (s->ask.failover) {
            answer_note(x, node, m);
        }
        /* A voter that holds a newer set than this last leader's disk ever came to: it went back. A
         * child that was destroyed here is no step back. */
        if (!s->ask.planned && !s->ask.failover && is_newer(s, m->set.id)) {
            if (s->ask.ahead == 0) {
                zb_core_note(x, ZB_LOG_WARNING, "R-own-disk-older",
                             "a voter holds a newer set than this leader's disk: it does not lead");
            }
            s->ask.ahead |= 1u << node;
            s->ask.ahead_at = x->now;
            return;
        }
        if (zb_core_peer_granted(s, node) > m->term) {
            return; /* it granted a later one before, and forgot it */
        }
        s->ask.granted |= 1u << node;
        s->ask.suspects |= m->suspects | s->peers[node].seen.suspects;
        return;
    }
    if (s->ask.failover
            ? m->learned_term >= s->ask.term
            : m->learned_term > s->obs.established_term && m->learned_leader != x->core->opt.self) {
        s->superseded = m->learned_term > s->superseded ? m->learned_term : s->superseded;
        if (!s->ask.planned || m->learned_term >= s->ask.term) {
            zb_core_go(x, ZB_STIM_SUPERSEDED);
        }
        return;
    }
    if (m->rc == ZB_E_STALE) {
        outbid(x, m->granted_term);
    }
}

/* ---- answering candidates (voter) ---- */

static void
answer(struct step *x, uint8_t node, uint64_t term, uint64_t nonce, enum zb_rc rc)
{
    struct svc *s = x->s;
    struct zb_action *a = zb_core_act(x, ZB_ACT_MESSAGE);
    struct zb_core_seen lost;

    a->node = node;
    a->msg.kind = ZB_MSG_GRANT_ANSWER;
    a->msg.term = term;
    a->msg.nonce = nonce;
    a->msg.rc = rc;
    /* How far a child that is gone here came counts too; but for who would have to send it. */
    a->msg.set = s->peers[node].ask.failover ? s->obs.newest : *zb_core_reached(s);
    a->msg.lineage = s->obs.lineage;
    a->msg.sees_leader = zb_core_sees_leader(x);
    a->msg.suspects = zb_core_suspects(s);
    a->msg.seen = s->peers[node].seen;
    a->msg.granted_term = s->obs.granted_term;
    a->msg.granted_to = s->obs.granted_to;
    a->msg.learned_term = s->obs.learned_term;
    a->msg.learned_leader = s->obs.learned_leader;
    if (zb_core_lost(s, &lost) && lost.granted_term > s->obs.granted_term) {
        a->msg.granted_term = lost.granted_term;
        a->msg.granted_to = lost.granted_to;
    }
    if (zb_core_leads(s->role)) {
        a->msg.learned_term = s->obs.established_term;
        a->msg.learned_leader = x->core->opt.self;
    }
}

void
zb_core_msg_grant_ask(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    x->s->peers[node].ask = *m;
    x->s->peers[node].ask_at = x->now;
    x->s->peers[node].ask_waits = true;
}

/* Whether this node may grant at all: only at rest, only to the target of a release or to a leader
 * later than whom this node knows of none (M6), only under the same declaration. The keeper checks
 * the term once more. */
static enum zb_rc
may_grant(const struct step *x, uint8_t node, const struct zb_core_msg *ask)
{
    const struct svc *s = x->s;
    bool rest =
        s->role == ZB_ROLE_FOLLOWER || s->role == ZB_ROLE_RELEASED || s->role == ZB_ROLE_ASKING;
    bool planned = ask->released_term == ask->term && ask->released_to == node;
    struct zb_core_seen lost;
    bool forgot = zb_core_lost(s, &lost);
    uint64_t learned =
        lost.learned_term > s->obs.learned_term ? lost.learned_term : s->obs.learned_term;

    if (!(ask->failover || zb_core_is_voter(s, x->core->opt.self)) || !zb_core_is_voter(s, node)) {
        return ZB_E_REFUSED;
    }
    if (forgot && !ask->allow_loss) { /* what it granted before is not known here again */
        return ZB_E_BUSY;
    }
    if ((forgot && ask->term <= lost.granted_term && lost.granted_term > s->obs.granted_term) ||
        zb_core_peer_granted(s, node) > ask->term ||
        (zb_core_peer_granted(s, node) == ask->term && s->peers[node].seen.granted_to != node)) {
        return ZB_E_STALE; /* one of the two granted it before, and forgot it */
    }
    if (s->obs.suspects_unknown && !planned) { /* M3: it could not be told whom to fence */
        return ZB_E_REFUSED;
    }
    if (ask->version != s->conf.version) {
        return ask->version > s->conf.version ? ZB_E_BUSY : ZB_E_REFUSED;
    }
    if (ask->failover && !ask->allow_loss && zb_core_sees_leader(x)) {
        return ZB_E_REFUSED;
    }
    if (!s->obs_known || s->obs.mounted || (ask->failover && s->role == ZB_ROLE_DEMOTING)) {
        return ZB_E_BUSY;
    }
    if (!rest) {
        return s->role == ZB_ROLE_UNKNOWN ? ZB_E_BUSY : ZB_E_REFUSED;
    }
    if (ask->term < s->obs.granted_term || ask->term <= s->obs.learned_term ||
        (ask->term == s->obs.granted_term && s->obs.granted_to != node)) {
        return ZB_E_STALE;
    }
    if (!planned && !ask->failover &&
        (learned > ask->established_term ||
         (s->obs.learned_term != 0 && s->obs.learned_term == ask->established_term &&
          s->obs.learned_leader != node))) {
        return ZB_E_STALE;
    }
    return ZB_OK;
}

static bool
grant_settle(struct step *x)
{
    struct svc *s = x->s;

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        struct peer *p = &s->peers[n];
        struct zb_action *a;
        enum zb_rc rc;
        if (!p->ask_waits) {
            continue;
        }
        rc = may_grant(x, n, &p->ask);
        if (rc == ZB_E_BUSY && p->ask.failover && x->now.ms - p->ask_at.ms < ZB_YIELD_MS) {
            /* Kept until this node is at rest, so that it does not ask for a term itself then. */
            if (zb_core_leads(s->role)) {
                zb_core_go(x, ZB_STIM_YIELD);
            }
            continue;
        }
        p->ask_waits = false;
        if (rc != ZB_OK) {
            answer(x, n, p->ask.term, p->ask.nonce, rc);
            continue;
        }
        a = zb_core_op(x, ZB_ACT_GRANT);
        a->term = p->ask.term;
        a->node = n;
        a->nonce = p->ask.nonce;
        s->op_node = n;
        s->op_nonce = p->ask.nonce;
        s->op_term = p->ask.term;
        return true;
    }
    return false;
}

/* The end of a GRANT: of this node to itself, or to another candidate. */
void
zb_core_grant_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    if (s->op_back) { /* a grant of before: nobody waits for it */
        s->op_back = false;
        if (r->rc != ZB_OK) {
            zb_core_retry_later(x);
            zb_core_note(x, ZB_LOG_WARNING, "R-grant-refused", r->text);
        }
        return;
    }
    if (s->op_node != x->core->opt.self) {
        if (r->rc != ZB_OK) {
            zb_core_note(x, ZB_LOG_WARNING, "R-grant-refused", r->text);
        }
        answer(x, s->op_node, s->op_term, s->op_nonce, r->rc);
        if (r->rc == ZB_OK && s->role == ZB_ROLE_ASKING && s->peers[s->op_node].ask.failover) {
            zb_core_go(x,
                       ZB_STIM_SUPERSEDED); /* it gives way: its own term would be a higher one */
        }
        return;
    }
    if (s->role != ZB_ROLE_ASKING) {
        return;
    }
    if (r->rc == ZB_OK) {
        if (s->obs.granted_term == s->ask.term && s->obs.granted_to == x->core->opt.self) {
            s->ask.granted |= 1u << x->core->opt.self;
            s->ask.suspects |= s->obs.suspects;
        }
        return;
    }
    zb_core_retry_later(x);
    zb_core_note(x, ZB_LOG_WARNING, "R-own-grant-failed", r->text);
    zb_core_go(x, ZB_STIM_OP_FAILED);
}

/* A leader's report teaches its term; nothing of that leader is received before. */
static bool
learn_settle(struct step *x)
{
    struct svc *s = x->s;
    struct zb_action *a;
    uint64_t term;
    uint8_t leader = zb_core_leader(x, &term);
    bool rest = s->role == ZB_ROLE_FOLLOWER || s->role == ZB_ROLE_RELEASED;

    if (!rest || leader == ZB_NODE_NONE || leader == x->core->opt.self ||
        term <= s->obs.learned_term || term < s->obs.granted_term || x->now.ms < s->retry_at.ms) {
        return false;
    }
    a = zb_core_op(x, ZB_ACT_LEARN);
    a->term = term;
    a->node = leader;
    a->lineage = s->peers[leader].report.lineage;
    return true;
}

bool
zb_core_voter_settle(struct step *x)
{
    return zb_core_back_settle(x) || grant_settle(x) || learn_settle(x);
}

/* ---- releases (M1, M5) ---- */

void
zb_core_release_tell(struct step *x, uint8_t node)
{
    struct svc *s = x->s;
    struct zb_action *a;

    if (!s->peers[node].known) {
        return;
    }
    a = zb_core_act(x, ZB_ACT_MESSAGE);
    a->node = node;
    a->msg.kind = ZB_MSG_RELEASED;
    a->msg.term = s->obs.released_term;
    a->msg.nonce = s->peers[node].report.nonce;
    a->msg.set = s->obs.released_set;
    a->msg.suspects = zb_core_suspects(s);
}

/* A restarted target asks with its new nonce: answered while nothing higher was granted. A grant
 * under way may be recorded already, and this node not know it yet; it is asked again. */
void
zb_core_msg_release_ask(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct svc *s = x->s;
    bool granting = s->op_id != 0 && s->op_kind == ZB_ACT_GRANT;
    struct zb_core_seen lost;

    if (zb_core_lost(s, &lost)) {
        return; /* it may have granted a later term since */
    }
    if (s->obs_known && s->obs.released_term != 0 && s->obs.released_term == s->obs.granted_term &&
        s->obs.released_to == node && !granting) {
        s->peers[node].report.nonce = m->nonce;
        s->peers[node].known = true;
        zb_core_release_tell(x, node);
    }
}

void
zb_core_msg_released(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct svc *s = x->s;
    uint8_t self = x->core->opt.self;
    struct zb_core_seen lost;

    if (zb_core_lost(s, &lost)) {
        return; /* it may have granted that term to somebody else before */
    }
    if (x->core->barred) { /* taken, it could not be led; its asker has another nonce later */
        return;
    }
    if (m->nonce != x->core->opt.nonce || !zb_core_is_voter(s, self) || !s->obs_known ||
        node != s->obs.learned_leader || m->term <= s->obs.learned_term ||
        m->term <= s->obs.established_term || m->term < s->obs.granted_term ||
        (m->term == s->obs.granted_term && s->obs.granted_to != self)) {
        return;
    }
    if (s->role != ZB_ROLE_FOLLOWER && s->role != ZB_ROLE_ASKING) {
        return;
    }
    if (!zb_set_ref_equal(&m->set, &s->obs.newest)) {
        zb_core_look_now(x); /* the set may be there already: it is asked again */
        s->why = "a release waits, but this node does not hold the released set whole";
        s->why_rule = "R-release-without-set";
        return;
    }
    if (s->role == ZB_ROLE_ASKING && s->ask.planned && s->ask.term == m->term) {
        s->ask.granted |= 1u << node;
        s->ask.suspects |= m->suspects;
        return;
    }
    zb_core_go(x, ZB_STIM_RELEASE);
    zb_core_ask_begin(x, m->term, &m->set);
    s->ask.granted |= 1u << node;
    s->ask.suspects |= m->suspects;
}
