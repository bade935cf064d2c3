/*
 * The first copy of a member is everything that there is: a follower that is current sends it
 * rather than the leader, which has the service to run. Who is sent to takes it from there only
 * while it has no set of its own, under the leader's term, and what it then holds is compared by
 * guid like any set. What the copy lacks comes from the leader, and so does everything where no
 * follower can.
 */
#include "core/internal.h"

static bool
has_none(const struct peer *p)
{
    return p->known && p->position_known && zb_set_id_is_none(p->position.id);
}

/* A follower with sets of the present term, which has come furthest and sends no other copy. */
static uint8_t
sender(const struct step *x, uint8_t node)
{
    const struct svc *s = x->s;
    uint32_t busy = 1u << node | s->peers[node].copy_useless;
    uint8_t best = ZB_NODE_NONE;

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        busy |= s->peers[n].copying ? 1u << s->peers[n].copy_from : 0;
    }
    for (unsigned i = 0; i < s->conf.members_count; i++) {
        uint8_t n = s->conf.members[i];
        const struct peer *p = &s->peers[n];
        if ((busy & (1u << n)) == 0 && zb_core_is_voter(s, n) && zb_core_follows(x, n) &&
            p->ship_failures == 0 && p->report.role == ZB_ROLE_FOLLOWER && !p->report.modified &&
            p->position_known && p->position.id.term == s->obs.established_term &&
            (best == ZB_NODE_NONE ||
             zb_set_id_cmp(p->position.id, s->peers[best].position.id) > 0)) {
            best = n;
        }
    }
    return best;
}

static void
ask(struct step *x, uint8_t node)
{
    struct peer *p = &x->s->peers[node];
    struct zb_action *a = zb_core_act(x, ZB_ACT_MESSAGE);

    a->node = p->copy_from;
    a->msg.kind = ZB_MSG_COPY_ASK;
    a->msg.term = x->s->obs.established_term;
    a->msg.nonce = x->core->opt.nonce;
    a->msg.node = node;
    p->copy_ask_at.ms = x->now.ms + ZB_COPY_ASK_MS;
}

static void
give_up(struct peer *p)
{
    p->copying = false;
    p->copy_useless |= 1u << p->copy_from;
}

bool
zb_core_copy_settle(struct step *x, uint8_t node)
{
    struct peer *p = &x->s->peers[node];

    if (p->copying && (!zb_core_follows(x, p->copy_from) || x->now.ms >= p->copy_answer_by.ms)) {
        give_up(p);
    }
    if (!p->copying && has_none(p) && x->s->role == ZB_ROLE_LEADING) {
        uint8_t from = sender(x, node);
        if (from != ZB_NODE_NONE) {
            p->copying = true;
            p->copy_from = from;
            p->copy_ask_at = x->now;
            p->copy_answer_by.ms = x->now.ms + ZB_COPY_MS;
            zb_core_note(x, ZB_LOG_INFO, "R-first-copy", "a follower sends it its first copy");
            x->plan->actions[x->plan->actions_count - 1].node = node;
        }
    }
    if (!p->copying) {
        return false;
    }
    if (x->now.ms >= p->copy_ask_at.ms) {
        ask(x, node);
    }
    zb_core_wake_at(x, p->copy_ask_at.ms);
    return true;
}

void
zb_core_copy_forget(struct step *x, uint8_t node)
{
    struct peer *p = &x->s->peers[node];

    if (p->copying || p->copy_useless != 0) { /* memory of nodes that are no members stays unused */
        p->copying = false;
        p->copy_useless = 0;
    }
}

void
zb_core_ship_hurry(struct step *x, uint8_t node)
{
    struct peer *p = &x->s->peers[node];

    if (p->ship_failures != 0 || p->ship_retry_at.ms > x->now.ms) { /* as above */
        p->ship_failures = 0;
        p->ship_retry_at = x->now;
    }
}

void
zb_core_msg_copy_answer(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct peer *p = m->node < ZB_NODES_MAX ? &x->s->peers[m->node] : NULL;

    if (p == NULL || !p->copying || p->copy_from != node || m->nonce != x->core->opt.nonce ||
        m->term != x->s->obs.established_term) {
        return;
    }
    if (m->rc == ZB_E_BUSY) {
        p->copy_answer_by.ms = x->now.ms + ZB_COPY_MS;
    } else if (m->rc == ZB_OK) {
        zb_core_copy_forget(x, m->node);
    } else if (m->rc != ZB_E_NOTFOUND) { /* else it may yet hear of it, or meet it */
        give_up(p);
    }
}

/* The follower's part. */
static enum zb_rc
copy(struct step *x, uint8_t leader, const struct zb_core_msg *m)
{
    struct svc *s = x->s;
    struct peer *p;
    struct zb_action *a;

    if (!s->obs_known || s->role != ZB_ROLE_FOLLOWER || s->obs.learned_leader != leader ||
        s->obs.learned_term != m->term || s->obs.granted_term > m->term ||
        s->obs.newest.id.term != m->term) { /* what it has of before may have come away */
        return ZB_E_STALE;
    }
    if (m->node == x->core->opt.self || !zb_core_is_member(s, m->node) ||
        !zb_core_peer_up(x, m->node)) {
        return ZB_E_NOTFOUND;
    }
    p = &s->peers[m->node];
    if (p->ship_id != 0) {
        return ZB_E_BUSY;
    }
    if (p->known && !has_none(p)) {
        return ZB_OK;
    }
    if (p->ship_failures >= ZB_TRIES_MAX) {
        p->ship_failures = 0;
        return ZB_E_FAILED;
    }
    if (p->known && x->now.ms >= p->ship_retry_at.ms &&
        !(s->op_id != 0 && s->op_kind == ZB_ACT_PRUNE)) {
        zb_core_ship(x, m->node, &s->obs.newest);
        a = &x->plan->actions[x->plan->actions_count - 1];
        a->term = m->term;
        a->flags = ZB_SHIP_COPY;
    }
    return ZB_E_BUSY;
}

void
zb_core_msg_copy_ask(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    enum zb_rc rc = copy(x, node, m);
    struct zb_action *a = zb_core_act(x, ZB_ACT_MESSAGE);

    a->node = node;
    a->msg.kind = ZB_MSG_COPY_ANSWER;
    a->msg.term = m->term;
    a->msg.nonce = m->nonce;
    a->msg.node = m->node;
    a->msg.rc = rc;
}
