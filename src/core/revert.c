/*
 * REVERT: the leader goes back to an earlier set of its own, in a new term. It is a failover of
 * this node to itself that goes on from that set: what came after it is set aside here before the
 * term begins, and by every other member when it hears of the term, as after any failover.
 */
#include "core/internal.h"

/* Why this node cannot begin, or NULL. */
static const char *
preflight(const struct step *x, const struct zb_set_ref *set, enum zb_rc *rc, const char **rule)
{
    const struct svc *s = x->s;

    *rc = ZB_E_REFUSED;
    *rule = "C-revert-not-leading";
    if (s->role != ZB_ROLE_LEADING || s->failover.command_id != 0) {
        return "this node does not lead the service, or its leader is about to change: try again";
    }
    *rc = ZB_E_BUSY;
    *rule = "C-revert-prunes";
    if (s->op_id != 0 && s->op_kind == ZB_ACT_PRUNE) { /* of that set, perhaps */
        return "old sets are being destroyed: try again";
    }
    *rc = ZB_E_REFUSED;
    *rule = "C-revert-not-of-history";
    if (zb_set_id_is_none(set->id) || zb_set_id_cmp(set->id, s->obs.newest.id) > 0 ||
        !zb_lineage_has(&s->obs.lineage, set->id)) {
        return "that set is not of the service's history, or not made yet";
    }
    *rule = "C-revert-frozen";
    if (s->conf.frozen) {
        return "the service is frozen";
    }
    *rc = ZB_E_NOQUORUM;
    *rule = "C-revert-no-majority";
    if (!zb_core_majority(s, zb_core_up_voters(x))) {
        return "no majority of the voters can be reached";
    }
    *rule = "C-revert-suspect";
    if (zb_core_waits_for_anybody(x)) {
        return "a node that may still be writable, or was granted a later term, does not answer: "
               "bring it back first";
    }
    return NULL;
}

void
zb_core_revert_command(struct step *x, const struct zb_event *ev)
{
    const char *rule;
    enum zb_rc rc;
    const char *no = preflight(x, &ev->u.command.set, &rc, &rule);

    if (no != NULL || ev->u.command.dry_run) {
        zb_core_reply(x, ev->u.command.id, no != NULL ? rc : ZB_OK,
                      no != NULL ? rule : "C-revert-possible", no != NULL ? no : "");
        return;
    }
    zb_core_failover_begin(x, ev);
    x->s->failover.revert = true;
    x->s->failover.best = ev->u.command.set;
    zb_core_failover_step_to(x, ZB_FAILOVER_COLLECT, x->core->opt.self);
    zb_core_go(x, ZB_STIM_YIELD); /* it asks for a new term when it is at rest (M6) */
}

void
zb_core_revert_go_on(struct step *x)
{
    struct failover *f = &x->s->failover;

    if (!zb_lineage_has(&x->s->ask.lineage, f->best.id)) {
        zb_core_failover_give_up(x, ZB_E_STALE, x->s->ask.lineage_leader, "C-failover-moved-on",
                                 "a later term left that set behind: look again");
        return;
    }
    f->looked = false;
    f->tries = 0;
    zb_core_failover_step_to(x, ZB_FAILOVER_FORWARD, x->core->opt.self);
    zb_core_go(x, ZB_STIM_BEHIND);
}
