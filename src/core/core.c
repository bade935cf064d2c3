#include "core/internal.h"

#include <string.h>

size_t
zb_core_size(uint16_t services_max)
{
    return sizeof(struct zb_core) + (size_t)services_max * sizeof(struct svc);
}

struct zb_core *
zb_core_init(void *mem, const struct zb_core_options *options)
{
    struct zb_core *core = mem;

    core->opt = *options;
    core->next_id = 1;
    core->random = options->seed | 1;
    core->services = (struct svc *)(core + 1);
    return core;
}

/* xorshift64*: waits that differ between nodes, not secrets */
uint64_t
zb_core_random(struct zb_core *core)
{
    core->random ^= core->random >> 12;
    core->random ^= core->random << 25;
    core->random ^= core->random >> 27;
    return core->random * 0x2545f4914f6cdd1dULL;
}

struct zb_action *
zb_core_act(struct step *x, enum zb_act_kind kind)
{
    struct zb_action *a;

    ZB_ASSERT(x->plan->actions_count < ZB_CORE_ACTIONS_MAX);
    a = &x->plan->actions[x->plan->actions_count++];
    memset(a, 0, sizeof(*a));
    a->id = x->core->next_id++;
    a->kind = kind;
    a->service = x->service;
    a->node = ZB_NODE_NONE;
    return a;
}

struct zb_action *
zb_core_op(struct step *x, enum zb_act_kind kind)
{
    struct zb_action *a = zb_core_act(x, kind);

    ZB_ASSERT(x->s->op_id == 0);
    x->s->op_id = a->id;
    x->s->op_kind = kind;
    return a;
}

/* Copies what fits, NUL included; returns the length copied. */
size_t
zb_core_copy(char *out, size_t size, const char *text)
{
    size_t n = strlen(text);

    if (n >= size) {
        n = size - 1;
    }
    memcpy(out, text, n);
    out[n] = '\0';
    return n;
}

/* "a: b", cut to size: texts for people may be cut, facts never are. */
void
zb_core_join(char *out, size_t size, const char *a, const char *b)
{
    size_t used = zb_core_copy(out, size, a);

    used += zb_core_copy(out + used, size - used, ": ");
    (void)zb_core_copy(out + used, size - used, b);
}

void
zb_core_note(struct step *x, uint32_t level, const char *rule, const char *text)
{
    struct zb_action *a = zb_core_act(x, ZB_ACT_NOTE);

    a->level = level;
    a->rule = rule;
    zb_core_join(a->text, sizeof(a->text), zb_role_word(x->s->role), text);
}

void
zb_core_note_about(struct step *x, uint8_t node, const char *rule, const char *text)
{
    struct zb_action *a = zb_core_act(x, ZB_ACT_NOTE);

    a->level = ZB_LOG_WARNING;
    a->rule = rule;
    a->node = node;
    (void)zb_core_copy(a->text, sizeof(a->text), text);
}

void
zb_core_reply(struct step *x, uint64_t command_id, enum zb_rc rc, const char *rule,
              const char *text)
{
    struct zb_action *a = zb_core_act(x, ZB_ACT_REPLY);

    a->command_id = command_id;
    a->rc = rc;
    a->rule = rule;
    (void)zb_core_copy(a->text, sizeof(a->text), text);
}

void
zb_core_wake_at(struct step *x, int64_t ms)
{
    if (x->s->wake.ms == 0 || ms < x->s->wake.ms) {
        x->s->wake.ms = ms;
    }
}

void
zb_core_retry_later(struct step *x)
{
    uint32_t shift = x->s->failures < 6 ? x->s->failures : 6;
    int64_t wait_ms = (int64_t)ZB_RETRY_MIN_MS << shift;

    x->s->failures++;
    x->s->retry_at.ms = x->now.ms + (wait_ms < ZB_RETRY_MAX_MS ? wait_ms : ZB_RETRY_MAX_MS);
}

/* What entering a role resets. */
static void
enter(struct step *x, enum zb_role from)
{
    struct svc *s = x->s;

    switch (s->role) {
    case ZB_ROLE_ASKING:
        if (s->failover.command_id != 0) {
            zb_core_ask_begin_failover(x);
        } else if (from != ZB_ROLE_ASKING) { /* nothing of an earlier order's question stays */
            zb_core_ask_begin(x, 0, NULL);
        }
        break;
    case ZB_ROLE_FORWARDING:
        if (!s->ask.failover) { /* a release's target, that an order may wait on all the same */
            s->failover.from = ZB_NODE_NONE;
            s->failover.best = (struct zb_set_ref){0};
            s->failover.looked = false;
            s->failover.tries = 0;
        }
        break;
    case ZB_ROLE_LEADING:
        if (from != ZB_ROLE_PRESYNC) {
            zb_core_lead_begin(x);
        }
        break;
    case ZB_ROLE_RESTORING:
    case ZB_ROLE_UNKNOWN:
    case ZB_ROLE_DEMOTING:
        zb_core_waiters_fail(x, "the service does not lead here any more");
        break;
    default:
        break;
    }
}

void
zb_core_go(struct step *x, enum zb_stim stim)
{
    struct svc *s = x->s;
    enum zb_role from = s->role;
    const struct zb_cell *cell = &zb_core_table[from][stim];

    ZB_ASSERT(cell->kind == ZB_CELL_GO || cell->kind == ZB_CELL_IGNORE);
    if (cell->kind == ZB_CELL_IGNORE) {
        return;
    }
    s->role = cell->next;
    s->role_at = x->now;
    s->why = cell->reason;
    s->why_rule = cell->rule;
    if (stim != ZB_STIM_OP_FAILED) {
        s->failures = 0;
        s->retry_at = x->now;
    }
    if (from != s->role && !(from == ZB_ROLE_UNKNOWN && s->role == ZB_ROLE_FOLLOWER)) {
        zb_core_note(x, stim == ZB_STIM_OP_FAILED ? ZB_LOG_WARNING : ZB_LOG_INFO, cell->rule,
                     cell->reason);
    }
    enter(x, from);
}

static void
observed(struct step *x, enum zb_act_kind kind, const struct zb_core_result *r)
{
    struct svc *s = x->s;
    bool same = s->obs_known && zb_set_ref_equal(&s->obs.newest, &r->obs.newest);
    bool modified_before = s->obs.modified && same;

    if (!r->obs_valid) {
        return;
    }
    if (!zb_set_ref_equal(&s->obs.newest, &r->obs.newest)) {
        s->newest_at = x->now;
        s->unpruned++; /* half-way of a long transfer too, so that it does not fill the pool */
    }
    s->obs = r->obs;
    s->obs_known = true;
    s->obs_at = x->now;
    if (s->came_term != s->obs.learned_term || zb_set_id_is_none(s->came_at)) {
        s->came_term = s->obs.learned_term;
        s->came_at = zb_core_reached(s)->id;
    }
    if (kind == ZB_ACT_OBSERVE) {
        zb_core_diverge_looked(x, same);
        zb_core_rejoin_looked(x, modified_before);
    }
}

/* An engine that ends while its PROMOTE runs tells nobody of the term. */
static void
own_term_found(struct step *x)
{
    const struct zb_core_obs *obs = &x->s->obs;
    const struct zb_lineage *l = &obs->lineage;

    if (obs->established_term != 0 && obs->established_term == obs->learned_term && l->count > 0) {
        struct zb_action *a = zb_core_act(x, ZB_ACT_TERM);
        a->term = obs->established_term;
        a->node = x->core->opt.self;
        a->set.id = l->lines[l->count - 1].fork;
        a->reason = ZB_TERM_UNTOLD;
    }
}

static void
observe_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    if (r->rc != ZB_OK) {
        s->retry_at.ms = x->now.ms + (s->look_failures < 5 ? 1000 : 10000);
        s->failover.tries++;
        if (s->look_failures++ == 0) {
            zb_core_note(x, ZB_LOG_WARNING, "R-observe-failed", r->text);
        }
        return;
    }
    s->look_failures = 0;
    s->failover.looked = true;
    if (s->role == ZB_ROLE_UNKNOWN) {
        s->unpruned = s->conf.keep_count; /* how many are there is not known */
        own_term_found(x);
    }
    s->move.looked = true;
    zb_core_go(x, zb_core_classify(x));
    if ((s->role == ZB_ROLE_DEMOTING || s->role == ZB_ROLE_RESTORING) && s->move.step < 6) {
        zb_core_move_abort(x, "the tree is not mounted as it should be");
    }
}

/* The end of an operation whose outcome is the role's own. */
static void
role_op_done(struct step *x, const struct zb_core_result *r)
{
    bool ok = r->rc == ZB_OK;

    if (!ok) {
        x->s->role_at = x->now;
        zb_core_retry_later(x);
        zb_core_note(x, ZB_LOG_WARNING, "R-operation-failed", r->text);
    }
    zb_core_go(x, ok ? ZB_STIM_OP_OK : ZB_STIM_OP_FAILED);
}

static void
promote_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;
    bool remount = s->role == ZB_ROLE_RESTORING;
    /* Then it is in the history, whatever became of the mount (S3). */
    bool recorded = r->rc == ZB_OK || (r->obs_valid && r->obs.established_term == s->ask.term);

    if (recorded && !remount && s->role == ZB_ROLE_PROMOTING) {
        struct zb_action *a = zb_core_act(x, ZB_ACT_TERM);
        a->term = s->ask.term;
        a->node = x->core->opt.self;
        a->set = s->ask.set;
        a->reason = s->ask.reason;
        a->command_id = s->failover.command_id;
        s->failover.stated_term = s->ask.term; /* an order goes on after its own */
        s->failover.revert = false; /* ... with what is written from here on: it has gone back */
        s->next_seq = 0;
    }
    if (r->rc == ZB_OK) {
        s->promote_failures = 0;
    } else if (!remount) {
        uint32_t shift = s->promote_failures < 6 ? s->promote_failures : 6;
        s->promote_failures++;
        s->promote_at.ms = x->now.ms + ((int64_t)1000 << shift);
    }
    role_op_done(x, r);
}

static void
start_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    s->obs.running = r->rc == ZB_OK;
    if (r->rc == ZB_OK) {
        s->start_ms = r->elapsed_ms;
        s->start_failures = 0;
    } else {
        uint32_t shift = s->start_failures < 4 ? s->start_failures : 4;
        s->start_failures++;
        s->start_retry_at.ms = x->now.ms + ((int64_t)5000 << shift);
    }
    if (s->role == ZB_ROLE_STARTING) {
        role_op_done(x, r);
        s->retry_at = x->now;
    } else if (r->rc != ZB_OK) {
        zb_core_note(x, ZB_LOG_WARNING, "R-start-failed", r->text);
    }
}

static void
op_done(struct step *x, enum zb_act_kind kind, const struct zb_core_result *r)
{
    observed(x, kind, r);
    switch (kind) {
    case ZB_ACT_OBSERVE:
        observe_done(x, r);
        break;
    case ZB_ACT_PROMOTE:
        promote_done(x, r);
        break;
    case ZB_ACT_START:
        start_done(x, r);
        break;
    case ZB_ACT_GRANT:
        zb_core_grant_done(x, r);
        break;
    case ZB_ACT_LEARN:
        if (r->rc != ZB_OK) {
            zb_core_retry_later(x);
            zb_core_note(x, ZB_LOG_WARNING, "R-learn-failed", r->text);
        }
        break;
    case ZB_ACT_SNAPSHOT:
        zb_core_snapshot_done(x, r);
        break;
    case ZB_ACT_RESCUE:
        zb_core_rescue_done(x, r);
        break;
    case ZB_ACT_STOP:
    case ZB_ACT_SEAL:
    case ZB_ACT_RELEASE:
        zb_core_move_op_done(x, kind, r);
        break;
    case ZB_ACT_PRUNE:
        if (r->rc == ZB_OK && r->more) {
            x->s->prune_at.ms = x->now.ms + ZB_PRUNE_MORE_MS;
        } else if (r->rc == ZB_OK && !x->s->op_behind) {
            x->s->unpruned = 0;
        } else { /* more may go when all have caught up, or there is room */
            int64_t wait_ms = x->s->conf.backup_every_ms / 16;
            x->s->prune_at.ms = x->now.ms + (wait_ms > ZB_LOOK_MS ? wait_ms : ZB_LOOK_MS);
        }
        break;
    default:
        role_op_done(x, r);
        break;
    }
}

static void
done(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;
    const struct zb_core_result *r = &ev->u.done.result;

    if (ev->u.done.action_id == s->op_id) {
        s->op_id = 0;
        op_done(x, s->op_kind, r);
        return;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        if (s->peers[n].ship_id == ev->u.done.action_id) {
            zb_core_ship_done(x, n, r);
            return;
        }
    }
}

static void
configure(struct step *x, const struct zb_core_conf *conf)
{
    struct svc *s = x->s;

    if (s->conf.held_term != conf->held_term) {
        s->start_retry_at = x->now;
        s->start_failures = 0;
    }
    s->conf = *conf;
    s->declared = true;
    s->member = zb_core_is_member(s, x->core->opt.self);
    /* Released to it, the service would be led by nobody. */
    if (!zb_core_is_voter(s, s->move.target)) {
        zb_core_move_abort(x, "the target is no member any more that may lead");
    }
    if (s->why == NULL) {
        s->why = "not looked at yet";
        s->why_rule = "R-unknown";
    }
}

static void
message(struct step *x, const struct zb_event *ev)
{
    static void (*const handlers[])(struct step *, uint8_t, const struct zb_core_msg *) = {
        [ZB_MSG_REPORT] = zb_core_msg_report,
        [ZB_MSG_GRANT_ASK] = zb_core_msg_grant_ask,
        [ZB_MSG_GRANT_ANSWER] = zb_core_msg_grant_answer,
        [ZB_MSG_RELEASED] = zb_core_msg_released,
        [ZB_MSG_RELEASE_ASK] = zb_core_msg_release_ask,
        [ZB_MSG_FORWARD_ASK] = zb_core_msg_forward_ask,
        [ZB_MSG_FORWARD_ANSWER] = zb_core_msg_forward_answer,
        [ZB_MSG_COPY_ASK] = zb_core_msg_copy_ask,
        [ZB_MSG_COPY_ANSWER] = zb_core_msg_copy_answer,
    };

    if (x->s->declared && ev->node < ZB_PEERS_MAX && ev->u.msg.kind >= ZB_MSG_REPORT &&
        ev->u.msg.kind <= ZB_MSG_LAST &&
        zb_core_is_news(x->core, x->service, ev->node, &ev->u.msg)) {
        zb_core_back_heard(x, ev->node, &ev->u.msg);
        handlers[ev->u.msg.kind](x, ev->node, &ev->u.msg);
    }
}

static void
apply(struct step *x, const struct zb_event *ev)
{
    switch (ev->kind) {
    case ZB_EV_CONFIG:
        configure(x, &ev->u.conf);
        break;
    case ZB_EV_REMOVE:
        memset(x->s, 0, sizeof(*x->s));
        break;
    case ZB_EV_MESSAGE:
        message(x, ev);
        break;
    case ZB_EV_DONE:
        done(x, ev);
        break;
    case ZB_EV_COMMAND:
        zb_core_command(x, ev);
        break;
    case ZB_EV_RECEIVED:
        zb_core_received(x, &ev->u.set);
        break;
    case ZB_EV_PEER_POSITION:
        if (ev->node < ZB_NODES_MAX) {
            x->s->peers[ev->node].position = ev->u.set;
            x->s->peers[ev->node].position_known = true;
        }
        break;
    case ZB_EV_PEER_SEEN:
        if (ev->node < ZB_PEERS_MAX) {
            zb_core_back_remembered(x, ev->node, &ev->u.seen);
        }
        break;
    case ZB_EV_DIVERGED:
        zb_core_diverged(x, ev);
        break;
    case ZB_EV_TICK:
    case ZB_EV_PEER_UP:
    case ZB_EV_PEER_DOWN:
    case ZB_EV_BARRED:
    case ZB_EV_UNBARRED:
        break;
    }
}

static void
peer_changed(struct step *x, const struct zb_event *ev)
{
    if (ev->kind == ZB_EV_PEER_UP && x->s->declared) {
        x->s->peers[ev->node].ship_retry_at = x->now;
        x->s->peers[ev->node].ship_failures = 0;
        zb_core_report_send(x, ev->node);
    }
}

static void
each_service(struct step *x, const struct zb_event *ev)
{
    bool all = ev->kind != ZB_EV_TICK;

    for (uint16_t i = 0; i < x->core->services_count; i++) {
        x->service = i;
        x->s = &x->core->services[i];
        if (!x->s->declared || (!all && (x->s->wake.ms == 0 || x->s->wake.ms > x->now.ms))) {
            continue;
        }
        if (ZB_CORE_ACTIONS_MAX - x->plan->actions_count < ZB_CORE_ROOM) {
            x->s->wake = x->now;
            continue;
        }
        peer_changed(x, ev);
        zb_core_settle(x);
    }
}

void
zb_core_step(struct zb_core *core, const struct zb_event *ev, struct zb_plan *plan)
{
    struct step x = {.core = core, .plan = plan, .now = ev->now, .wall = ev->wall};
    bool every = ev->kind == ZB_EV_TICK || ev->kind == ZB_EV_PEER_UP ||
                 ev->kind == ZB_EV_PEER_DOWN || ev->kind == ZB_EV_BARRED ||
                 ev->kind == ZB_EV_UNBARRED;

    plan->actions_count = 0;
    if (ev->kind == ZB_EV_PEER_UP && ev->node < ZB_PEERS_MAX) {
        core->up |= 1u << ev->node;
    } else if (ev->kind == ZB_EV_PEER_DOWN && ev->node < ZB_PEERS_MAX) {
        core->up &= ~(1u << ev->node);
    } else if (ev->kind == ZB_EV_BARRED || ev->kind == ZB_EV_UNBARRED) {
        core->barred = ev->kind == ZB_EV_BARRED;
        /* Another life, as after a start (M5): what is under way to the one before is void. */
        core->opt.nonce = core->opt.nonce * UINT64_C(6364136223846793005) | 1;
    }
    if (every) {
        each_service(&x, ev);
    } else if (ev->service < core->opt.services_max) {
        x.service = ev->service;
        core->services_count =
            x.service < core->services_count ? core->services_count : (uint16_t)(x.service + 1);
        x.s = &core->services[ev->service];
        apply(&x, ev);
        zb_core_settle(&x);
    }
    zb_core_wake_find(core, every ? ZB_CORE_ALL : ev->service);
    plan->wake.ms = ev->now.ms + ZB_LOOK_MS;
    if (core->wake.ms != 0 && core->wake.ms < plan->wake.ms) {
        plan->wake = core->wake;
    }
}

void
zb_core_view(const struct zb_core *core, uint16_t service, struct zb_core_view *view)
{
    const struct svc *s = &core->services[service];
    struct step x = {.core = (struct zb_core *)(uintptr_t)core, .s = (struct svc *)(uintptr_t)s};

    memset(view, 0, sizeof(*view));
    view->leader = zb_core_leader(&x, &view->term);
    view->declared = s->declared;
    view->member = s->member;
    view->version = s->conf.version;
    view->role = s->role;
    view->obs = s->obs;
    view->newest_at = s->newest_at;
    view->why = s->why != NULL ? s->why : "";
    view->why_rule = s->why_rule != NULL ? s->why_rule : "";
    if (!zb_core_lost(s, &view->lost)) {
        view->lost = (struct zb_core_seen){0};
    }
    view->step = s->move.command_id != 0 ? s->move.step : 0;
    view->parted = s->rejoin.wanted;
    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        view->peers[n].up = (core->up & (1u << n)) != 0;
        view->peers[n].known = s->peers[n].known;
        view->peers[n].report = s->peers[n].report;
        view->peers[n].report_at = s->peers[n].report_at;
        view->peers[n].ship_id = s->peers[n].ship_id;
        view->peers[n].back = zb_core_peer_is_back(s, n);
        view->peers[n].seen = s->peers[n].seen;
    }
}
