#include "core/internal.h"

#include <string.h>

static const char diverged[] =
    "this copy came away from the service's history: choose another member";

/* ---- lines for the operator ---- */

struct zb_action *
zb_core_failover_step_line(struct step *x, uint8_t number, enum zb_step_phase phase,
                           const char *text)
{
    struct failover *f = &x->s->failover;
    struct zb_action *a = zb_core_act(x, ZB_ACT_STEP);

    a->command_id = f->command_id;
    a->step = number;
    a->phase = phase;
    a->term = f->term;
    a->set = f->best;
    (void)zb_core_copy(a->text, sizeof(a->text), text);
    if (phase == ZB_STEP_BEGIN) {
        f->step = number;
        f->step_at = x->now;
    } else {
        a->elapsed_ms = (uint32_t)(x->now.ms - f->step_at.ms);
    }
    return a;
}

void
zb_core_failover_step_to(struct step *x, uint8_t number, uint8_t node)
{
    if (x->s->failover.step < number) {
        (void)zb_core_failover_step_line(x, x->s->failover.step, ZB_STEP_END, "");
        zb_core_failover_step_line(x, number, ZB_STEP_BEGIN, "")->node = node;
    }
}

void
zb_core_failover_end(struct step *x, enum zb_rc rc, uint8_t node, const char *rule,
                     const char *text)
{
    struct failover *f = &x->s->failover;
    struct zb_action *a;

    if (f->command_id != 0) {
        if (rc != ZB_OK && rc != ZB_E_TIMEOUT) {
            zb_core_failover_step_line(x, f->step, ZB_STEP_FAIL, text)->node = node;
        }
        zb_core_reply(x, f->command_id, rc, rule, text);
        a = &x->plan->actions[x->plan->actions_count - 1];
        a->node = node;
        a->term = f->term;
        a->set = f->best;
    }
    memset(f, 0, sizeof(*f));
}

void
zb_core_failover_give_up(struct step *x, enum zb_rc rc, uint8_t node, const char *rule,
                         const char *text)
{
    zb_core_failover_end(x, rc, node, rule, text);
    zb_core_go(x, ZB_STIM_GIVE_UP);
}

/* ---- the order ---- */

uint32_t
zb_core_up_voters(const struct step *x)
{
    ZB_ASSERT(x->core->opt.self < ZB_NODES_MAX);
    return (x->core->up | 1u << x->core->opt.self) & zb_core_voters(x->s);
}

/* Who, of those that can be asked, sees the leader; ZB_NODE_NONE nobody. */
static uint8_t
leader_seen_by(const struct step *x)
{
    const struct svc *s = x->s;

    if (zb_core_sees_leader(x)) {
        return x->core->opt.self;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (zb_core_is_member(s, n) && zb_core_peer_up(x, n) && p->known && p->report.sees_leader &&
            p->report.learned_term >= s->obs.learned_term) {
            return n;
        }
    }
    return ZB_NODE_NONE;
}

/* A leader is followed no more once a term above its own was granted to somebody who gave up. */
static bool
needs_new_term(const struct step *x)
{
    const struct svc *s = x->s;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        if (zb_core_is_granter(s, n) && zb_core_peer_up(x, n) && s->peers[n].known &&
            zb_core_peer_granted(s, n) > s->obs.established_term) {
            return true;
        }
    }
    return false;
}

static bool
copy_known(const struct step *x)
{
    const struct svc *s = x->s;

    if (!zb_set_id_is_none(s->obs.newest.id)) {
        return true;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (zb_core_is_member(s, n) && zb_core_peer_up(x, n) && p->position_known &&
            !zb_set_id_is_none(p->position.id)) {
            return true;
        }
    }
    return false;
}

/* The longest history that anybody who can be asked knows: this node may have forgotten some. */
static const struct zb_lineage *
history_known(const struct step *x)
{
    const struct svc *s = x->s;
    const struct zb_lineage *history = &s->obs.lineage;
    uint64_t term = s->obs.learned_term;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (zb_core_is_granter(s, n) && zb_core_peer_up(x, n) && p->known &&
            p->report.learned_term > term) {
            history = &p->report.lineage;
            term = p->report.learned_term;
        }
    }
    return history;
}

/* Why this node cannot begin, or NULL. */
static const char *
preflight(const struct step *x, const struct zb_event *ev, uint8_t *node, enum zb_rc *rc,
          const char **rule)
{
    const struct svc *s = x->s;
    bool allow_loss = ev->u.command.allow_loss && !ev->u.command.automatic;
    struct zb_core_seen lost;

    *rc = ZB_E_REFUSED;
    *node = x->core->opt.self;
    *rule = "C-failover-not-a-voter";
    if (!s->member || !zb_core_is_voter(s, x->core->opt.self)) {
        return "this node is no member that may lead (a backup never does)";
    }
    *rule = "C-failover-barred";
    if (x->core->barred) {
        return "this node has no session in etcd, without which it may not write";
    }
    *rule = "C-failover-leads";
    if (zb_core_leads(s->role) && !needs_new_term(x)) {
        return "it leads here already";
    }
    *rule = "C-failover-suspect"; /* nobody is there to fence it, and the service still runs */
    if (zb_core_leads(s->role) && ev->u.command.automatic && zb_core_waits_for_anybody(x)) {
        return "a node that may still be writable, or was granted a later term, does not answer";
    }
    *rule = "C-failover-busy";
    if (s->failover.command_id != 0 || (s->role != ZB_ROLE_FOLLOWER && s->role != ZB_ROLE_ASKING &&
                                        s->role != ZB_ROLE_RELEASED && !zb_core_leads(s->role))) {
        return "another failover or change of role is under way here: try again";
    }
    *rule = "C-failover-leader-up";
    *node = zb_core_leads(s->role) ? ZB_NODE_NONE : leader_seen_by(x);
    if (*node != ZB_NODE_NONE && !allow_loss) {
        return "the leader is up and leads: move the service; if that cannot be, --allow-data-loss "
               "takes it all the same";
    }
    *node = x->core->opt.self;
    *rule = "C-failover-term-back";
    if (!allow_loss && zb_core_lost(s, &lost)) {
        return "this node's record went back, and what it granted before is not known again: "
               "choose another member, or try again";
    }
    *rule = "C-failover-without-copy";
    if (!copy_known(x)) {
        return "no whole set is here, nor on a member that can be reached";
    }
    *rule = "C-failover-diverged";
    if (!zb_lineage_has(history_known(x), s->obs.newest.id)) {
        return diverged;
    }
    *rule = "C-failover-key";
    if (s->obs.key != ZB_KEY_GOOD) {
        return zb_core_key_lack(s->obs.key);
    }
    *rule = "C-failover-frozen";
    if (s->conf.frozen) {
        return "the service is frozen";
    }
    *rc = ZB_E_NOQUORUM;
    *rule = "C-failover-no-majority";
    if (!zb_core_majority(s, zb_core_up_voters(x))) {
        return "no majority of the voters can be reached";
    }
    return NULL;
}

/* The highest term that this node or another member knows to be led. */
static uint64_t
highest_told(const struct step *x)
{
    const struct svc *s = x->s;
    uint64_t highest = s->obs.learned_term;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (n != x->core->opt.self && zb_core_is_granter(s, n) && p->known &&
            p->report.learned_term > highest) {
            highest = p->report.learned_term;
        }
    }
    return highest;
}

void
zb_core_failover_begin(struct step *x, const struct zb_event *ev)
{
    struct failover *f = &x->s->failover;

    memset(f, 0, sizeof(*f));
    f->command_id = ev->u.command.id;
    f->up = x->core->up;
    f->stated_term = highest_told(x);
    f->wait_ms = ev->u.command.wait_ms;
    f->begun_at = x->now;
    f->from = ZB_NODE_NONE;
    (void)zb_core_failover_step_line(x, ZB_FAILOVER_CHECK, ZB_STEP_BEGIN, "");
}

void
zb_core_failover_command(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;
    const char *rule;
    enum zb_rc rc;
    uint8_t node;
    const char *no = preflight(x, ev, &node, &rc, &rule);
    struct zb_action *a;

    if (no != NULL || ev->u.command.dry_run) {
        zb_core_reply(x, ev->u.command.id, no != NULL ? rc : ZB_OK,
                      no != NULL ? rule : "C-failover-possible", no != NULL ? no : "");
        a = &x->plan->actions[x->plan->actions_count - 1];
        a->node = node;
        return;
    }
    zb_core_failover_begin(x, ev);
    s->failover.allow_loss = ev->u.command.allow_loss;
    s->failover.automatic = ev->u.command.automatic;
    s->failover.least = ev->u.command.set.id;
    zb_core_failover_step_to(x, ZB_FAILOVER_COLLECT, x->core->opt.self);
    if (zb_core_leads(s->role)) {
        zb_core_go(x, ZB_STIM_YIELD); /* it asks for a new term when it is at rest (M6) */
    } else if (s->role != ZB_ROLE_ASKING || !s->ask.failover) {
        zb_core_go(x, ZB_STIM_FAILOVER);
    }
}

void
zb_core_fenced_command(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;
    uint8_t node = ev->u.command.node;

    if (s->role != ZB_ROLE_ASKING || s->ask.term != ev->u.command.term ||
        s->ask.majority_at.ms == 0) { /* M4 */
        zb_core_reply(x, ev->u.command.id, ZB_E_STALE, "C-fenced-stale",
                      "no majority has granted that term to this node, or it asks for another now");
        return;
    }
    if (!s->ask.failover) { /* S3: what a term beside that node may lose has to be stated first */
        zb_core_reply(x, ev->u.command.id, ZB_E_REFUSED, "C-fenced-without-order",
                      "no failover is under way here: order one");
        return;
    }
    if (node >= ZB_NODES_MAX || node == x->core->opt.self || zb_core_peer_up(x, node)) {
        zb_core_reply(x, ev->u.command.id, ZB_E_REFUSED, "C-fenced-up",
                      "that node is connected: it is not off");
        return;
    }
    s->ask.fenced |= 1u << node;
    zb_core_reply(x, ev->u.command.id, ZB_OK, "C-done", "");
}

/* A fence command was begun, or has failed: the order waits longer, or no longer than without it.
 */
void
zb_core_fence_wait_command(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;

    if (s->role != ZB_ROLE_ASKING || s->failover.command_id == 0 ||
        s->ask.term != ev->u.command.term || s->failover.fence_by.ms == 0) {
        zb_core_reply(x, ev->u.command.id, ZB_E_STALE, "C-fenced-stale",
                      "no failover waits for suspects in that term");
        return;
    }
    s->failover.fence_by.ms = x->now.ms + ev->u.command.wait_ms;
    zb_core_reply(x, ev->u.command.id, ZB_OK, "C-done", "");
}

/* ---- granted: which set the service goes on from (M8) ---- */

/* Older than what is remembered of the history may be of a branch that was left: not known to be of
 * it. */
static bool
is_of_history(const struct zb_lineage *l, struct zb_set_id id)
{
    return zb_lineage_reaches(l, id) && zb_lineage_has(l, id);
}

/* Only positions inside grants count (M2), only those of the history. *node: who holds it;
 * ZB_NODE_NONE when nobody is ahead of this node. Members of `without` are left out. */
static struct zb_set_ref
best_position(const struct step *x, uint32_t without, uint8_t *node)
{
    const struct svc *s = x->s;
    struct zb_set_ref best = {0};

    *node = ZB_NODE_NONE;
    if (is_of_history(&s->ask.lineage, s->obs.newest.id)) {
        best = s->obs.newest;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        const struct zb_set_ref *at = &s->ask.at[n];
        if (n != x->core->opt.self && (s->ask.granted & ~without & 1u << n) != 0 &&
            is_of_history(&s->ask.lineage, at->id) && zb_set_id_cmp(at->id, best.id) > 0) {
            best = *at;
            *node = n;
        }
    }
    return best;
}

uint8_t
zb_core_ahead_away(const struct step *x, const struct zb_lineage *lineage,
                   const struct zb_set_ref *best)
{
    const struct svc *s = x->s;

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        const struct peer *p = &s->peers[n];
        /* What a leader has that was gone when the order was given is the loss that was stated. */
        bool stated =
            s->ask.failover && n == s->ask.lineage_leader && (s->failover.up & 1u << n) == 0;
        if (n != x->core->opt.self && !stated && zb_core_is_member(s, n) &&
            (s->ask.granted & 1u << n) == 0 && p->position_known &&
            zb_lineage_has(lineage, p->position.id) &&
            zb_set_id_cmp(p->position.id, best->id) > 0) {
            return n;
        }
    }
    return ZB_NODE_NONE;
}

/* Every member that is up has granted; or its time is over. */
static bool
collected(const struct step *x)
{
    const struct svc *s = x->s;

    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (n != x->core->opt.self && zb_core_is_member(s, n) && zb_core_peer_up(x, n) &&
            (s->ask.granted & 1u << n) == 0 && x->now.ms < s->ask.majority_at.ms + ZB_COLLECT_MS) {
            return false;
        }
    }
    return true;
}

/* Who did not grant, and told of a term that no granter knows of: one that is no member any more,
 * too. */
static uint8_t
knows_later_term(const struct step *x)
{
    const struct svc *s = x->s;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        uint64_t told = s->peers[n].seen.learned_term;
        if (n != x->core->opt.self && (s->ask.granted & 1u << n) == 0 &&
            told > s->ask.lineage_term && told < s->ask.term) {
            return n;
        }
    }
    return ZB_NODE_NONE;
}

/* The tree is taken as it is, or what is ahead comes first, or it ends here. */
void
zb_core_failover_go_on(struct step *x)
{
    struct svc *s = x->s;
    struct failover *f = &s->failover;
    uint8_t node;
    struct zb_set_ref all = best_position(x, 0, &node);
    uint8_t ahead = zb_core_ahead_away(x, &s->ask.lineage, &all);
    uint8_t later = knows_later_term(x);

    if (ahead != ZB_NODE_NONE && !f->allow_loss) {
        zb_core_failover_give_up(
            x, ZB_E_REFUSED, ahead, "C-failover-ahead",
            "a member that does not answer holds a newer set: reach it, or accept the loss "
            "with --allow-data-loss");
        return;
    }
    if (later != ZB_NODE_NONE && !f->allow_loss) {
        zb_core_failover_give_up(
            x, ZB_E_REFUSED, later, "C-failover-ahead",
            "a member knows of a later term that no granter knows of: reach it, or accept the "
            "loss with --allow-data-loss");
        return;
    }
    f->best = best_position(x, f->useless, &f->from);
    if (zb_set_id_cmp(all.id, f->best.id) > 0 && !f->allow_loss) {
        zb_core_failover_give_up(
            x, ZB_E_REFUSED, node, "C-failover-cannot-forward",
            zb_core_is_voter(s, node)
                ? "a member is ahead and cannot send what it has: choose it, or accept the loss "
                  "with --allow-data-loss"
                : "a backup is ahead and cannot send what it has: see the events of both, or "
                  "accept the loss with --allow-data-loss");
        return;
    }
    if (zb_set_id_is_none(f->best.id) && f->allow_loss) {
        f->best = s->obs.newest;
    }
    if (f->automatic && (later != ZB_NODE_NONE || zb_set_id_cmp(f->best.id, f->least) < 0)) {
        zb_core_failover_give_up(x, ZB_E_REFUSED, x->core->opt.self, "C-failover-less",
                                 "less of the service is left than was known when it was decided "
                                 "to take it over: an operator decides");
        return;
    }
    if (zb_set_id_is_none(f->best.id)) {
        bool none = zb_set_id_is_none(s->obs.newest.id);
        zb_core_failover_give_up(
            x, ZB_E_REFUSED, x->core->opt.self,
            none ? "C-failover-without-copy" : "C-failover-unknown-line",
            none ? "no granting member holds a whole set"
                 : "this copy is older than what is remembered of the service's history, and "
                   "may have come away from it: --allow-data-loss takes it all the same");
        return;
    }
    f->looked = f->from == ZB_NODE_NONE && s->role == ZB_ROLE_ASKING;
    f->tries = 0;
    f->ask_at = x->now;
    f->answer_by.ms = x->now.ms + ZB_FORWARD_MS;
    if (f->from != ZB_NODE_NONE || s->obs.beyond) {
        zb_core_failover_step_to(x, ZB_FAILOVER_FORWARD, f->from);
        if (s->role == ZB_ROLE_ASKING) {
            zb_core_go(x, ZB_STIM_BEHIND);
        }
    } else if (s->role == ZB_ROLE_ASKING) {
        s->ask.set = f->best;
        zb_core_go(x, ZB_STIM_GRANTED);
    }
}

void
zb_core_failover_choose(struct step *x)
{
    struct svc *s = x->s;
    struct zb_set_ref best;
    uint8_t node;

    if (!collected(x)) {
        s->why = "granted; waits a moment for the positions of the other members";
        s->why_rule = "R-collecting";
        zb_core_wake_at(x, s->ask.majority_at.ms + ZB_COLLECT_MS);
        return;
    }
    if (s->ask.lineage_term > s->failover.stated_term) { /* S3 */
        zb_core_failover_give_up(x, ZB_E_STALE, s->ask.lineage_leader, "C-failover-moved-on",
                                 "that member came to lead after the loss was stated: look again");
        return;
    }
    if (!zb_lineage_has(&s->ask.lineage, s->obs.newest.id)) {
        zb_core_failover_give_up(x, ZB_E_REFUSED, x->core->opt.self, "C-failover-diverged",
                                 diverged);
        return;
    }
    if (s->failover.revert) {
        zb_core_revert_go_on(x);
        return;
    }
    best = best_position(x, 0, &node);
    if (zb_core_is_owner(s) && s->obs.established_term == s->ask.lineage_term &&
        zb_set_id_cmp(best.id, zb_core_reached(s)->id) <= 0 &&
        zb_core_ahead_away(x, &s->ask.lineage, zb_core_reached(s)) == ZB_NODE_NONE) {
        /* Nobody is known to have led since, and the disk is not an older one: what is here,
         * written or not yet in a set, is the service's. Who is only fenced may have led. */
        s->ask.exact = false;
        s->ask.set = *zb_core_reached(s);
        if (zb_core_ask_suspects(s) == 0) {
            s->ask.reason = ZB_TERM_RESTART;
        }
        zb_core_go(x, ZB_STIM_GRANTED);
        return;
    }
    zb_core_failover_go_on(x);
}
