#include "core/internal.h"

#include <string.h>

static void
past_settle(struct step *x)
{
    const struct zb_cell *follower = &zb_core_table[ZB_ROLE_UNKNOWN][ZB_STIM_OBS_FOLLOWER];
    struct svc *s = x->s;

    if (zb_core_has_a_past(x)) {
        s->why = "there are sets of it from before it was declared here: it goes on from them, by "
                 "order (zbaton failover --to NODE)";
        s->why_rule = "R-led-before";
    } else if (strcmp(s->why_rule, "R-led-before") == 0) { /* it is led now */
        s->why = follower->reason;
        s->why_rule = follower->rule;
    }
}

static void
barred_settle(struct step *x)
{
    const struct zb_cell *follower = &zb_core_table[ZB_ROLE_UNKNOWN][ZB_STIM_OBS_FOLLOWER];
    struct svc *s = x->s;

    if (x->core->barred && zb_core_is_owner(s)) {
        s->why = "it led last, and may lead again when this node has a session in etcd";
        s->why_rule = "R-barred";
    } else if (strcmp(s->why_rule, "R-barred") == 0) {
        s->why = follower->reason;
        s->why_rule = follower->rule;
    }
}

void
zb_core_received(struct step *x, const struct zb_set_ref *set)
{
    struct svc *s = x->s;

    if (!zb_set_ref_equal(&s->obs.newest, set)) {
        s->obs.newest = *set;
        s->newest_at = x->now;
        s->unpruned++;
    }
    s->obs.exists = true;
    memset(&s->rejoin, 0, sizeof(s->rejoin)); /* it goes on from the leader's sets again */
    if (s->conf.keyed) {
        zb_core_look_now(x); /* who has not got that key is not given the lead */
    }
}

/* A follower's pass. */
static void
follower_settle(struct step *x)
{
    struct svc *s = x->s;

    if (!x->core->barred && s->conf.first_leader == x->core->opt.self && zb_core_never_led(x)) {
        zb_core_go(x, ZB_STIM_OBS_FIRST);
        return;
    }
    past_settle(x);
    barred_settle(x);
    if (zb_core_rejoin_settle(x) || zb_core_prune_settle(x)) {
        return;
    }
    if (x->now.ms >= zb_core_look_due_ms(s)) {
        zb_core_op(x, ZB_ACT_OBSERVE);
        return;
    }
    zb_core_wake_at(x, zb_core_look_due_ms(s));
}

static void
promoting_settle(struct step *x)
{
    struct svc *s = x->s;
    struct zb_action *a = zb_core_op(x, ZB_ACT_PROMOTE);

    a->term = s->ask.term;
    a->set = s->ask.set;
    a->flags = s->ask.exact ? ZB_PROMOTE_EXACT : 0;
    if (s->ask.failover) {
        a->lineage = s->ask.lineage;
    }
}

static void
restoring_settle(struct step *x)
{
    struct svc *s = x->s;
    struct zb_action *a;

    if (s->obs_at.ms <= s->role_at.ms || zb_core_classify(x) != ZB_STIM_OBS_SEALED) {
        zb_core_op(x, ZB_ACT_OBSERVE);
        return;
    }
    if (s->obs.running) { /* what runs there uses a mount that is gone */
        zb_core_op(x, ZB_ACT_STOP)->timeout_ms = s->conf.stop_timeout_ms;
        return;
    }
    a = zb_core_op(x, ZB_ACT_PROMOTE);
    a->term = s->obs.established_term;
    a->flags = ZB_PROMOTE_REMOUNT;
}

static void
role_settle(struct step *x)
{
    struct svc *s = x->s;

    switch (s->role) {
    case ZB_ROLE_UNKNOWN:
        zb_core_op(x, ZB_ACT_OBSERVE);
        break;
    case ZB_ROLE_FOLLOWER:
        follower_settle(x);
        break;
    case ZB_ROLE_CREATING:
        zb_core_op(x, ZB_ACT_CREATE);
        break;
    case ZB_ROLE_ASKING:
        zb_core_ask_settle(x);
        break;
    case ZB_ROLE_PROMOTING:
        promoting_settle(x);
        break;
    case ZB_ROLE_STARTING:
        zb_core_op(x, ZB_ACT_START)->timeout_ms = s->conf.start_timeout_ms;
        break;
    case ZB_ROLE_LEADING:
        zb_core_lead_settle(x);
        break;
    case ZB_ROLE_PRESYNC:
        zb_core_move_presync(x);
        break;
    case ZB_ROLE_STOPPING:
        zb_core_op(x, ZB_ACT_STOP)->timeout_ms = s->conf.stop_timeout_ms;
        break;
    case ZB_ROLE_SEALING:
        zb_core_move_sealing(x);
        break;
    case ZB_ROLE_RELEASING: {
        struct zb_action *a = zb_core_op(x, ZB_ACT_RELEASE);
        a->term = s->move.term;
        a->node = s->move.target;
        a->set = s->move.final_set;
        break;
    }
    case ZB_ROLE_RESTORING:
        restoring_settle(x);
        break;
    case ZB_ROLE_DEMOTING:
        zb_core_op(x, ZB_ACT_DEMOTE)->timeout_ms = s->conf.stop_timeout_ms;
        break;
    case ZB_ROLE_FORWARDING:
        zb_core_forward_settle(x);
        break;
    case ZB_ROLE_RELEASED:
    case ZB_ROLE_COUNT:
        break;
    }
}

/* Who is no member any more does nothing; what it was asked for before is answered. */
static void
commands_end(struct step *x)
{
    static const char text[] = "this node is no member of the service any more";
    struct svc *s = x->s;

    zb_core_waiters_fail(x, text);
    zb_core_move_watch(x);
    if (s->failover.command_id == 0) {
        return;
    }
    if (s->role == ZB_ROLE_ASKING || s->role == ZB_ROLE_FORWARDING) {
        zb_core_failover_give_up(x, ZB_E_FAILED, ZB_NODE_NONE, "C-failover-superseded", text);
    } else {
        zb_core_failover_end(x, ZB_E_FAILED, ZB_NODE_NONE, "C-failover-superseded", text);
    }
}

/* The session ended, or a new one began: what was granted and ordered before is void, as after a
 * start (M4, M5). Found by each service in its own pass, before it does anything with that. */
static void
life_settle(struct step *x)
{
    struct svc *s = x->s;

    if (s->life != 0 && s->life != x->core->opt.nonce) {
        zb_core_failover_end(x, ZB_E_STALE, x->core->opt.self, "C-failover-barred",
                             "this node's session in etcd ended meanwhile");
        zb_core_go(x, ZB_STIM_BARRED);
        zb_core_look_now(x); /* what became of the mounts */
    }
    s->life = x->core->opt.nonce;
}

/* Starts what the facts ask for, until nothing more can start now. */
void
zb_core_settle(struct step *x)
{
    struct svc *s = x->s;
    uint64_t term;
    uint8_t leader;

    s->wake.ms = 0;
    if (!s->declared) {
        return;
    }
    life_settle(x);
    if (!s->member) {
        commands_end(x);
        return;
    }
    leader = zb_core_leader(x, &term);
    /* Who was ordered to take over gives way to a leader of its own term or a later one alone. */
    uint64_t above = s->obs.established_term;
    if ((s->role == ZB_ROLE_ASKING || s->role == ZB_ROLE_FORWARDING) && s->ask.failover) {
        above = s->ask.term - 1;
    }
    if (leader != ZB_NODE_NONE && leader != x->core->opt.self && term > above && s->op_id == 0) {
        zb_core_go(x, ZB_STIM_LED_ELSEWHERE);
    }
    for (int pass = 0; pass < 4 && s->op_id == 0; pass++) {
        if (zb_core_voter_settle(x)) {
            break;
        }
        if (x->now.ms < s->retry_at.ms) {
            zb_core_wake_at(x, s->retry_at.ms);
            break;
        }
        role_settle(x);
    }
    zb_core_ship_settle(x);
    zb_core_waiters_settle(x);
    zb_core_move_watch(x);
    zb_core_failover_watch(x);
    zb_core_back_watch(x);
    zb_core_diverge_watch(x);
    zb_core_report_settle(x);
}

/* One that is woken later than before may have been the first. */
void
zb_core_wake_find(struct zb_core *core, uint16_t service)
{
    uint16_t first = 0, end = core->services_count;

    if (service != ZB_CORE_ALL && service != core->wake_of) {
        first = service;
        end = service < core->services_count ? service + 1 : service;
    } else {
        core->wake.ms = 0;
    }
    for (uint16_t i = first; i < end; i++) {
        const struct svc *s = &core->services[i];
        if (s->wake.ms != 0 && (core->wake.ms == 0 || s->wake.ms < core->wake.ms)) {
            core->wake = s->wake;
            core->wake_of = i;
        }
    }
}
