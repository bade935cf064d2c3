/* FORWARDING: the copy of a candidate becomes the set that it goes on from, by what a member that
 * is ahead sends, and by setting aside what is more than it. */
#include "core/internal.h"

/* What came on top of this copy keeps others from sending over it: it is set aside then, as it
 * would be in the end. Not before: the middle of a transfer looks like it. */
static bool
makes_way(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;

    if (f->made_way || !s->obs.beyond || !zb_core_peer_up(x, f->from)) {
        return false;
    }
    f->made_way = true;
    f->tries = 0;
    f->answer_by.ms = x->now.ms + ZB_FORWARD_MS;
    zb_core_rescue(x, x->core->opt.self, s->ask.term, &s->obs.newest);
    return true;
}

/* A release is told again, and asked for by the new list. */
static void
no_majority(struct step *x)
{
    if (x->s->ask.planned) {
        zb_core_go(x, ZB_STIM_GIVE_UP);
        return;
    }
    zb_core_failover_give_up(x, ZB_E_NOQUORUM, ZB_NODE_NONE, "C-failover-no-majority",
                             "the voters changed meanwhile, and no majority of them has granted "
                             "the term");
}

void
zb_core_forward_settle(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;
    bool more = s->obs.beyond || (f->revert && !zb_set_ref_equal(&s->obs.newest, &f->best));

    if (s->obs.granted_term > s->ask.term) {
        zb_core_go(x, ZB_STIM_SUPERSEDED);
        return;
    }
    if (f->from != ZB_NODE_NONE && !zb_set_ref_equal(&s->obs.newest, &f->best)) {
        if (!zb_core_peer_up(x, f->from) || !zb_core_is_member(s, f->from) ||
            x->now.ms >= f->answer_by.ms || f->tries >= ZB_TRIES_MAX) {
            if (makes_way(x)) {
                return;
            }
            f->useless |= 1u << f->from;
            zb_core_failover_go_on(x);
            return;
        }
        if (x->now.ms >= f->ask_at.ms) {
            struct zb_action *a = zb_core_act(x, ZB_ACT_MESSAGE);
            a->node = f->from;
            a->msg.kind = ZB_MSG_FORWARD_ASK;
            a->msg.term = s->ask.term;
            a->msg.nonce = x->core->opt.nonce;
            a->msg.set = f->best;
            f->ask_at.ms = x->now.ms + ZB_ASK_MS;
            f->looked = false;
        }
        s->why = "waits for the newest set that a member holds, before it leads";
        s->why_rule = "R-forwarding";
        zb_core_wake_at(x, f->ask_at.ms);
        return;
    }
    if ((!f->looked || more) && f->tries >= ZB_TRIES_MAX) {
        zb_core_failover_give_up(x, ZB_E_FAILED, x->core->opt.self, "C-failover-rescue-failed",
                                 "what is here beside the newest set could not be set aside");
        return;
    }
    if (!f->looked) {
        zb_core_op(x, ZB_ACT_OBSERVE);
        return;
    }
    if (more) {
        zb_core_rescue(x, x->core->opt.self, s->ask.term, f->revert ? &f->best : &s->obs.newest);
        return;
    }
    if (s->ask.planned && !zb_set_ref_equal(&s->obs.newest, &s->ask.set)) {
        zb_core_go(x, ZB_STIM_GIVE_UP); /* the release is told again when its set is here */
        return;
    }
    if (!zb_core_majority(s, s->ask.granted)) { /* M11: the voters changed meanwhile */
        no_majority(x);
        return;
    }
    s->ask.set = s->obs.newest;
    zb_core_go(x, ZB_STIM_GRANTED);
}

void
zb_core_msg_forward_answer(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct failover *f = &x->s->failover;

    if (x->s->role != ZB_ROLE_FORWARDING || node != f->from || m->nonce != x->core->opt.nonce ||
        m->term != x->s->ask.term) {
        return;
    }
    if (m->rc == ZB_OK || m->rc == ZB_E_BUSY) {
        f->answer_by.ms = x->now.ms + ZB_FORWARD_MS;
    } else {
        f->tries++;
    }
}

/* A granter's: who is ahead sends to the candidate what it holds. */
static enum zb_rc
forward(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct svc *s = x->s;
    struct peer *p = &s->peers[node];
    struct zb_action *a;

    if (!s->obs_known || s->role != ZB_ROLE_FOLLOWER || s->obs.granted_term != m->term ||
        s->obs.granted_to != node) {
        return ZB_E_STALE;
    }
    if (!zb_set_ref_equal(&s->obs.newest, &m->set)) {
        return ZB_E_NOTFOUND;
    }
    if (p->ship_failures >= ZB_TRIES_MAX) {
        p->ship_failures = 0;
        return ZB_E_FAILED;
    }
    if (p->ship_id == 0 && x->now.ms >= p->ship_retry_at.ms &&
        !(s->op_id != 0 && s->op_kind == ZB_ACT_PRUNE)) {
        zb_core_ship(x, node, &s->obs.newest);
        a = &x->plan->actions[x->plan->actions_count - 1];
        a->term = m->term;
        a->flags = ZB_SHIP_FORWARD;
    }
    return ZB_E_BUSY;
}

void
zb_core_msg_forward_ask(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    enum zb_rc rc = forward(x, node, m);
    struct zb_action *a = zb_core_act(x, ZB_ACT_MESSAGE);

    a->node = node;
    a->msg.kind = ZB_MSG_FORWARD_ANSWER;
    a->msg.term = m->term;
    a->msg.nonce = m->nonce;
    a->msg.rc = rc;
}
