#include "core/internal.h"

#include <string.h>

void
zb_core_diverged(struct step *x, const struct zb_event *ev)
{
    struct rejoin *j = &x->s->rejoin;

    if (j->leader != ev->node || j->term != ev->u.diverged.term) {
        j->ordered = false; /* that was about another leader's history */
    }
    j->wanted = true;
    j->common = ev->u.diverged.common;
    j->leader = ev->node;
    j->term = ev->u.diverged.term;
    j->set = (struct zb_set_ref){0};
}

/* Seen twice with nothing received in between: not the middle of a transfer. The leader, which has
 * nothing to send then, cannot find out. */
void
zb_core_rejoin_looked(struct step *x, bool modified_before)
{
    struct svc *s = x->s;
    struct rejoin *j = &s->rejoin;

    s->modified_looks = s->obs.modified && modified_before ? s->modified_looks + 1 : 0;
    if (s->modified_looks > 0 && s->role == ZB_ROLE_FOLLOWER && !j->wanted &&
        !zb_set_id_is_none(s->obs.newest.id) &&
        !zb_set_ref_equal(&s->unchanged_at, &s->obs.newest)) {
        j->wanted = true;
        j->common = true;
        j->leader = s->obs.learned_leader;
        j->term = s->obs.learned_term;
        j->set = s->obs.newest;
    }
}

void
zb_core_rejoin_command(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;

    if (s->role != ZB_ROLE_FOLLOWER) {
        zb_core_reply(x, ev->u.command.id, ZB_E_REFUSED, "C-rejoin-not-following",
                      "this node does not follow: there is nothing to rejoin");
        return;
    }
    if (!s->rejoin.wanted) {
        zb_core_reply(x, ev->u.command.id, ZB_OK, "C-rejoin-not-diverged",
                      "nothing here came away from the leader's history");
        return;
    }
    s->rejoin.ordered = true;
    s->retry_at = x->now;
    s->failures = 0;
    zb_core_reply(x, ev->u.command.id, ZB_OK, "C-done", "");
}

void
zb_core_rescue(struct step *x, uint8_t node, uint64_t term, const struct zb_set_ref *set)
{
    struct zb_action *a = zb_core_op(x, ZB_ACT_RESCUE);

    a->node = node;
    a->term = term;
    a->set = *set;
    a->flags = x->s->rejoin.ordered ? ZB_RESCUE_WHOLE : 0;
}

/* M9: only towards a leader that is established and reachable now. */
bool
zb_core_rejoin_settle(struct step *x)
{
    struct svc *s = x->s;
    struct rejoin *j = &s->rejoin;
    uint64_t term;
    uint8_t leader = zb_core_leader(x, &term);

    if (!j->wanted) {
        return false;
    }
    if (j->term != s->obs.learned_term || j->leader != s->obs.learned_leader ||
        s->obs.granted_term > j->term) {
        memset(j, 0, sizeof(*j)); /* of an earlier leader; a new one tells anew */
        return false;
    }
    if (leader != j->leader || term != j->term) {
        s->why = "diverged: waits for the leader to be reachable before its writes are set aside";
        s->why_rule = "R-rejoin-waits";
        return false;
    }
    if (!j->common && !j->ordered) {
        s->why = "holds no snapshot that the leader has: a full copy is needed (zbaton rejoin)";
        s->why_rule = "R-rejoin-no-base";
        return false;
    }
    zb_core_rescue(x, j->leader, j->term, &j->set);
    return true;
}

void
zb_core_rescue_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    s->failover.looked = false;
    if (r->rc == ZB_OK) {
        if (r->rescue[0] != '\0') {
            zb_core_note(x, ZB_LOG_WARNING, "R-rescued", r->rescue);
        } else {
            s->unchanged_at = s->obs.newest;
            s->failover.tries++; /* nothing was set aside */
        }
        memset(&s->rejoin, 0, sizeof(s->rejoin));
        s->modified_looks = 0;
        s->failures = 0;
        return;
    }
    zb_core_note(x, ZB_LOG_WARNING, "R-rescue-failed", r->text);
    s->failover.tries++;
    if (r->rc == ZB_E_STALE) { /* what the leader told is not known any more: it tells again */
        memset(&s->rejoin, 0, sizeof(s->rejoin));
    }
    zb_core_retry_later(x);
}
