#include "core/internal.h"

/* Who may still write, and neither granted nor is fenced: asked for one by one, until the time is
 * over. */
static void
watch_suspects(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;
    uint32_t left = zb_core_ask_suspects(s) & ~s->ask.fenced;

    if (left == 0 && !s->obs.suspects_unknown) {
        return;
    }
    if (f->fence_by.ms == 0) {
        f->fence_by.ms = x->now.ms + f->wait_ms;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if ((left & ~f->told & 1u << n) != 0) {
            if (f->step < ZB_FAILOVER_FENCE) {
                zb_core_failover_step_to(x, ZB_FAILOVER_FENCE, n);
            } else {
                zb_core_failover_step_line(x, ZB_FAILOVER_FENCE, ZB_STEP_BEGIN, "")->node = n;
            }
            f->told |= 1u << n;
        }
    }
    if (x->now.ms >= f->fence_by.ms) {
        zb_core_failover_give_up(
            x, ZB_E_REFUSED, left != 0 ? (uint8_t)__builtin_ctz(left) : ZB_NODE_NONE,
            "C-failover-suspect",
            left != 0 ? "that node may still be writable, and neither answers nor is fenced"
                      : "a node that is no longer known may still be writable");
        return;
    }
    zb_core_wake_at(x, f->fence_by.ms);
}

static void
watch_asking(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;

    if (f->term != s->ask.term) { /* statements about an earlier term are void (M4) */
        f->term = s->ask.term;
        f->begun_at = x->now;
        f->told = 0;
        f->fence_by.ms = 0;
    }
    if (s->ask.majority_at.ms != 0) {
        watch_suspects(x);
    } else if (x->now.ms >= f->begun_at.ms + ZB_MAJORITY_MS) {
        zb_core_failover_give_up(x, ZB_E_NOQUORUM, ZB_NODE_NONE, "C-failover-no-majority",
                                 "no majority of the voters granted the term");
    } else {
        zb_core_wake_at(x, f->begun_at.ms + ZB_MAJORITY_MS);
    }
}

static void
watch_leading(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;

    if (zb_core_leads(s->role) && s->obs.running) {
        zb_core_failover_step_to(x, ZB_FAILOVER_START, x->core->opt.self);
        if (f->step == ZB_FAILOVER_START) {
            zb_core_failover_step_to(x, ZB_FAILOVER_FOLLOW, x->core->opt.self);
            f->deadline.ms = x->now.ms + ZB_FOLLOW_MS;
        }
    }
    if (f->step == ZB_FAILOVER_FOLLOW && zb_core_all_follow(x, s->obs.established_term)) {
        (void)zb_core_failover_step_line(x, ZB_FAILOVER_FOLLOW, ZB_STEP_END, "");
        zb_core_failover_end(x, ZB_OK, x->core->opt.self, "C-done", "");
        return;
    }
    if (x->now.ms >= f->deadline.ms && f->step < ZB_FAILOVER_TAKE) {
        zb_core_failover_end(x, ZB_E_HELD, x->core->opt.self, "C-failover-not-begun",
                             "this node could not stop or unmount the service, which it led: "
                             "nothing was taken");
        return;
    }
    if (x->now.ms >= f->deadline.ms) {
        bool runs = f->step == ZB_FAILOVER_FOLLOW;
        zb_core_failover_end(x, runs ? ZB_OK : ZB_E_TIMEOUT, x->core->opt.self,
                             runs ? "C-failover-degraded" : "C-failover-in-background",
                             runs ? "a member does not follow yet: it catches up by itself"
                                  : "taken, but the service does not run yet: it is started again");
        return;
    }
    zb_core_wake_at(x, f->deadline.ms);
}

void
zb_core_failover_watch(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;

    if (f->command_id == 0) {
        return;
    }
    /* One that a leader may have stopped for goes on: it would leave nobody that leads. */
    if (s->conf.frozen && s->ask.failover && !f->allow_loss && !f->revert &&
        (s->role == ZB_ROLE_ASKING || s->role == ZB_ROLE_FORWARDING)) {
        zb_core_failover_give_up(x, ZB_E_REFUSED, x->core->opt.self, "C-failover-frozen",
                                 "the service was frozen meanwhile");
        return;
    }
    switch (s->role) {
    case ZB_ROLE_ASKING:
        watch_asking(x);
        break;
    case ZB_ROLE_FORWARDING:
        break;
    case ZB_ROLE_FOLLOWER:
    case ZB_ROLE_RELEASED:
        zb_core_failover_end(x, ZB_E_FAILED, ZB_NODE_NONE, "C-failover-superseded",
                             "another node was granted a later term, or leads: see zbaton status");
        break;
    default: /* yielding, promoting, starting, leading */
        if (f->deadline.ms == 0) {
            f->deadline.ms =
                x->now.ms + s->conf.stop_timeout_ms + s->conf.start_timeout_ms + ZB_TAKE_MS;
        }
        if (s->role == ZB_ROLE_PROMOTING) {
            f->term = s->ask.term;
            zb_core_failover_step_to(x, ZB_FAILOVER_TAKE, x->core->opt.self);
        } else if (s->role == ZB_ROLE_STARTING) {
            zb_core_failover_step_to(x, ZB_FAILOVER_START, x->core->opt.self);
        }
        watch_leading(x);
        break;
    }
}
