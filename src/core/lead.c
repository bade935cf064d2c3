#include "core/internal.h"

#include <string.h>

/* Sets of the same interval are due at the same moment, and take the transaction groups of a few.
 */
static void
due_set(struct step *x)
{
    int64_t interval_ms = x->s->conf.interval_ms;

    x->s->set_due.ms = interval_ms > 0 ? (x->now.ms / interval_ms + 1) * interval_ms : x->now.ms;
}

void
zb_core_lead_begin(struct step *x)
{
    struct svc *s = x->s;
    const struct zb_set_id last = zb_core_reached(s)->id;

    if (last.term == s->obs.established_term && last.seq >= s->next_seq) {
        s->next_seq = last.seq + 1;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        zb_core_copy_forget(x, n);
    }
    due_set(x);
    s->made_at.ms = 0;
    s->first_set_due = s->obs.newest.id.term != s->obs.established_term;
}

/* ---- sets ---- */

void
zb_core_snapshot(struct step *x, bool final)
{
    struct svc *s = x->s;
    struct zb_action *a = zb_core_op(x, ZB_ACT_SNAPSHOT);

    a->term = s->obs.established_term;
    a->set.id.term = s->obs.established_term;
    a->set.id.seq = s->next_seq;
    a->final = final;
    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        s->waiters[i].marked = s->waiters[i].command_id != 0 && !s->waiters[i].taken;
    }
}

static void
snapshot_failed(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        struct waiter *w = &s->waiters[i];
        if (w->command_id != 0 && w->marked) {
            zb_core_reply(x, w->command_id, r->rc, "C-snapshot-failed", r->text);
            memset(w, 0, sizeof(*w));
        }
    }
    if (r->rc == ZB_E_REFUSED) { /* numbers are not used twice (M6): sets that are not known here */
        uint32_t shift = s->snapshot_refusals < 12 ? s->snapshot_refusals : 12;
        s->snapshot_refusals++;
        s->next_seq += (uint64_t)1 << shift;
    }
    zb_core_note(x, ZB_LOG_WARNING, "R-snapshot-failed", r->text);
    s->unpruned = s->conf.keep_count; /* perhaps for want of room */
    zb_core_retry_later(x);
    if (s->role == ZB_ROLE_SEALING || s->role == ZB_ROLE_PRESYNC) {
        zb_core_move_abort(x, r->text);
    }
}

void
zb_core_snapshot_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    if (r->rc != ZB_OK) {
        snapshot_failed(x, r);
        return;
    }
    s->failures = 0;
    s->obs.newest = r->set;
    s->obs.written_bytes = 0;
    s->obs.foreign = false;
    s->newest_at = x->now;
    s->made_at = x->now;
    s->next_seq = r->set.id.seq + 1;
    s->first_set_due = false;
    s->snapshot_refusals = 0;
    s->unpruned++;
    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        if (s->waiters[i].marked) {
            s->waiters[i].marked = false;
            s->waiters[i].taken = true;
            s->waiters[i].set = r->set;
            s->ordered = r->set.id;
        }
    }
    if (s->role == ZB_ROLE_SEALING) {
        s->move.final_made = true;
        s->move.final_set = r->set;
    }
}

/* A set is waited for, or the first one of a term is due: at once. */
static bool
snapshot_wanted(const struct svc *s)
{
    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        if (s->waiters[i].command_id != 0 && !s->waiters[i].taken) {
            return true;
        }
    }
    return s->first_set_due || zb_set_id_is_none(s->obs.newest.id);
}

/* There is something to distribute, and not so little that it waits for more, as long as it is not
 * too old by the next look. How old what this node did not distribute itself is, it does not know:
 * that does not wait. */
static bool
is_written(const struct step *x)
{
    const struct svc *s = x->s;
    bool idle = s->made_at.ms != 0 && s->obs.written_bytes < s->conf.idle_bytes &&
                x->now.ms + s->conf.interval_ms - s->made_at.ms <= s->conf.idle_interval_ms;

    return s->obs.foreign || (s->obs.written_bytes > 0 && !idle);
}

/* It was started as often as it may be in this term, and did not stay. */
static bool
is_held(const struct svc *s)
{
    return s->conf.held_term != 0 && s->conf.held_term == s->obs.established_term;
}

/* One operation at a time, in this order: the service runs; sets that are waited for; due sets; old
 * sets go. */
void
zb_core_lead_settle(struct step *x)
{
    struct svc *s = x->s;

    if (!s->obs.running && !is_held(s) && x->now.ms >= s->start_retry_at.ms) {
        zb_core_op(x, ZB_ACT_START)->timeout_ms = s->conf.start_timeout_ms;
        return;
    }
    if (s->failures > 0 && zb_core_prune_settle(x)) {
        return;
    }
    if (snapshot_wanted(s)) {
        zb_core_snapshot(x, false);
        return;
    }
    if (s->set_due.ms - x->now.ms > (int64_t)s->conf.interval_ms) {
        due_set(x); /* by the interval of an earlier declaration */
    }
    if (x->now.ms >= s->set_due.ms) {
        if (s->obs_at.ms < s->set_due.ms) {
            zb_core_op(x, ZB_ACT_OBSERVE)->flags = ZB_OBSERVE_DUE;
            return;
        }
        due_set(x);
        if (is_written(x)) {
            zb_core_snapshot(x, false);
            return;
        }
    }
    zb_core_ship_settle(x); /* first: what is on its way is not destroyed */
    if (zb_core_prune_settle(x)) {
        return;
    }
    /* A service that ended is not missed until a set is due. */
    if (s->conf.interval_ms > ZB_LOOK_MS) {
        if (x->now.ms >= zb_core_look_due_ms(s)) {
            zb_core_op(x, ZB_ACT_OBSERVE);
            return;
        }
        zb_core_wake_at(x, zb_core_look_due_ms(s));
    }
    s->why = s->obs.running ? "leads"
             : is_held(s)   ? "leads, but the service failed again and again: not started any more"
                            : "leads, but the service does not run: started again later";
    s->why_rule = s->obs.running ? "R-leads" : is_held(s) ? "R-service-held" : "R-service-down";
    if (!s->obs.running && !is_held(s)) {
        zb_core_wake_at(x, s->start_retry_at.ms);
    }
    zb_core_wake_at(x, s->set_due.ms);
}

/* ---- ships ---- */

void
zb_core_ship(struct step *x, uint8_t node, const struct zb_set_ref *set)
{
    struct peer *p = &x->s->peers[node];
    struct zb_action *a = zb_core_act(x, ZB_ACT_SHIP);

    a->node = node;
    a->set = *set;
    a->term = x->s->obs.established_term;
    a->flags = x->s->role == ZB_ROLE_SEALING && node == x->s->move.target ? ZB_SHIP_FIRST : 0;
    p->ship_id = a->id;
    p->ship_set = *set;
}

static bool
behind(const struct svc *s, uint8_t node)
{
    const struct peer *p = &s->peers[node];

    return !p->position_known || !zb_set_ref_equal(&p->position, &s->obs.newest);
}

/* A backup gets what is only due by the interval at its own times, all of it then. Not what
 * somebody waits for: its first set of a term, sets that were ordered, a move's final one. */
static bool
waits_for_its_time(struct step *x, uint8_t node)
{
    const struct svc *s = x->s;
    const struct peer *p = &s->peers[node];
    int64_t due_ms = p->shipped_at.ms + s->conf.backup_every_ms;

    if (s->conf.backup_every_ms == 0 || zb_core_is_voter(s, node) || p->shipped_at.ms == 0 ||
        s->role == ZB_ROLE_SEALING || !p->position_known ||
        p->position.id.term != s->obs.established_term ||
        zb_set_id_cmp(p->position.id, s->ordered) < 0 || x->now.ms >= due_ms) {
        return false;
    }
    zb_core_wake_at(x, due_ms);
    return true;
}

/* Every follower that is behind gets the newest set; who cannot be reached or fails is tried later.
 * Nothing is sent while sets are destroyed: they may be among those in between. */
void
zb_core_ship_settle(struct step *x)
{
    struct svc *s = x->s;
    bool sealing = s->role == ZB_ROLE_SEALING && s->move.final_made && !s->move.aborted;

    if ((!zb_core_leads(s->role) && !sealing) || zb_set_id_is_none(s->obs.newest.id) ||
        (s->op_id != 0 && s->op_kind == ZB_ACT_PRUNE)) {
        return;
    }
    for (unsigned i = 0; i < s->conf.members_count; i++) {
        uint8_t n = s->conf.members[i];
        struct peer *p = &s->peers[n];
        if (!zb_core_follows(x, n)) {
            zb_core_copy_forget(x, n);
            continue;
        }
        if (p->ship_id != 0 || !behind(s, n) || waits_for_its_time(x, n) ||
            zb_core_copy_settle(x, n)) {
            continue;
        }
        if (x->now.ms < p->ship_retry_at.ms) {
            zb_core_wake_at(x, p->ship_retry_at.ms);
            continue;
        }
        zb_core_ship(x, n, &s->obs.newest);
    }
}

static void
ship_failed(struct step *x, uint8_t node, const struct zb_core_result *r)
{
    struct peer *p = &x->s->peers[node];
    uint32_t shift = p->ship_failures < 5 ? p->ship_failures : 5;

    p->ship_failures++;
    p->ship_retry_at.ms = x->now.ms + ((int64_t)1000 << shift);
    if (p->ship_failures == 1 || p->ship_failures % 16 == 0) {
        zb_core_note_about(x, node, "R-ship-failed", r->text);
    }
    if (x->s->move.command_id != 0 && x->s->move.target == node) {
        zb_core_move_ship_failed(x, r);
    }
}

void
zb_core_ship_done(struct step *x, uint8_t node, const struct zb_core_result *r)
{
    struct peer *p = &x->s->peers[node];
    struct zb_core_result differs = *r;

    p->ship_id = 0;
    x->s->move.looked = false;
    if (r->rc == ZB_OK && !zb_set_ref_equal(&r->set, &p->ship_set)) {
        differs.rc = ZB_E_MISMATCH;
        (void)zb_core_copy(differs.text, sizeof(differs.text),
                           "the follower re-read other guids than the set's manifest has");
    }
    if (differs.rc != ZB_OK) {
        /* What it told in the middle is where it stands now, and perhaps for long. */
        if (p->known && zb_set_id_cmp(p->report.set.id, p->position.id) > 0) {
            p->position = p->report.set;
        }
        ship_failed(x, node, &differs);
        return;
    }
    p->ship_failures = 0;
    p->ship_retry_at = x->now;
    p->shipped_at = x->now;
    p->position = r->set;
    p->position_known = true;
    x->s->move.ship_bytes += x->s->move.target == node ? r->bytes : 0;
}

/* ---- commands that wait for sets ---- */

/* By content where it is known here, by number in between. */
static bool
holds(const struct svc *s, uint8_t node, const struct zb_set_ref *set)
{
    const struct peer *p = &s->peers[node];

    return !behind(s, node) || zb_set_ref_equal(&p->position, set) ||
           (zb_set_id_cmp(p->position.id, set->id) > 0 &&
            zb_set_id_cmp(p->position.id, s->obs.newest.id) < 0);
}

/* A follower that is up counts until it holds the set or its ship failed. */
static bool
sync_ended(const struct step *x, const struct waiter *w, bool *degraded)
{
    const struct svc *s = x->s;

    *degraded = false;
    for (unsigned i = 0; i < s->conf.members_count; i++) {
        uint8_t n = s->conf.members[i];
        const struct peer *p = &s->peers[n];
        if (n == x->core->opt.self || holds(s, n, &w->set)) {
            continue;
        }
        if (zb_core_peer_up(x, n) && p->ship_failures == 0) {
            return false;
        }
        *degraded = true;
    }
    return true;
}

void
zb_core_waiters_settle(struct step *x)
{
    struct svc *s = x->s;

    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        struct waiter *w = &s->waiters[i];
        bool degraded = false;
        if (w->command_id == 0 || !w->taken ||
            (w->kind == ZB_CMD_SYNC && !sync_ended(x, w, &degraded))) {
            continue;
        }
        zb_core_reply(x, w->command_id, ZB_OK, degraded ? "C-sync-degraded" : "C-done",
                      degraded ? "a follower is unreachable or failed: it catches up later" : "");
        x->plan->actions[x->plan->actions_count - 1].set = w->set;
        memset(w, 0, sizeof(*w));
    }
}

void
zb_core_waiters_fail(struct step *x, const char *text)
{
    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        struct waiter *w = &x->s->waiters[i];
        if (w->command_id != 0) {
            zb_core_reply(x, w->command_id, ZB_E_FAILED, "C-lost-lead", text);
            memset(w, 0, sizeof(*w));
        }
    }
}

static void
prune_command(struct step *x, const struct zb_event *ev)
{
    x->s->unpruned = x->s->conf.keep_count;
    x->s->prune_at = x->now;
    zb_core_reply(x, ev->u.command.id, ZB_OK, "C-done", "");
}

void
zb_core_command(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;

    if (!s->declared) {
        zb_core_reply(x, ev->u.command.id, ZB_E_NOTFOUND, "C-unknown-service", "no such service");
        return;
    }
    switch (ev->u.command.kind) {
    case ZB_CMD_MOVE:
        zb_core_move_command(x, ev);
        return;
    case ZB_CMD_FAILOVER:
        zb_core_failover_command(x, ev);
        return;
    case ZB_CMD_FENCED:
        zb_core_fenced_command(x, ev);
        return;
    case ZB_CMD_FENCE_WAIT:
        zb_core_fence_wait_command(x, ev);
        return;
    case ZB_CMD_REJOIN:
        zb_core_rejoin_command(x, ev);
        return;
    case ZB_CMD_REVERT:
        zb_core_revert_command(x, ev);
        return;
    case ZB_CMD_PRUNE:
        prune_command(x, ev);
        return;
    case ZB_CMD_SNAPSHOT:
    case ZB_CMD_SYNC:
        break;
    }
    if (s->role != ZB_ROLE_LEADING) {
        zb_core_reply(x, ev->u.command.id, ZB_E_REFUSED, "C-not-leading",
                      "this node does not lead the service, or a move is under way");
        return;
    }
    for (unsigned i = 0; i < ZB_CORE_WAITERS_MAX; i++) {
        if (s->waiters[i].command_id == 0) {
            s->waiters[i].command_id = ev->u.command.id;
            s->waiters[i].kind = ev->u.command.kind;
            for (unsigned n = 0; n < ZB_NODES_MAX; n++) {
                zb_core_ship_hurry(x, (uint8_t)n);
            }
            return;
        }
    }
    zb_core_reply(x, ev->u.command.id, ZB_E_BUSY, "C-too-many-waiting",
                  "too many commands wait for a set of this service");
}

/* ---- pruning ---- */

/* Is sent to, or soon will be. Who fails again and again counts as away: what is kept for it must
 * not fill the pool. */
static bool
on_its_way(const struct step *x, uint8_t node)
{
    const struct svc *s = x->s;
    const struct peer *p = &s->peers[node];
    bool begins = zb_core_peer_up(x, node) && x->now.ms - s->role_at.ms < ZB_FOLLOW_MS;

    return p->ship_id != 0 ||
           ((begins || zb_core_follows(x, node)) && p->ship_failures < ZB_WAY_FAILURES);
}

static void
floor_lower(struct zb_set_id *floor, struct zb_set_id at)
{
    if (zb_set_id_is_none(*floor) || zb_set_id_cmp(at, *floor) < 0) {
        *floor = at;
    }
}

/* A member's newest set is the base of what it gets next, from whoever leads then; on its way from
 * there to the newest one it may stop at any in between. So all keep all sets from the one on that
 * the last of them stands on (for one that is away, the keeper: up to a number), and where each
 * stands. Only the leader knows that; it tells the others. Itself a member keeps what it stands on,
 * and needs nothing else for its own sake. */
void
zb_core_bases_fill(const struct step *x, uint8_t node, struct zb_core_msg *m)
{
    const struct svc *s = x->s;

    for (unsigned i = 0; i < s->conf.members_count && zb_core_leads(s->role); i++) {
        uint8_t n = s->conf.members[i];
        const struct peer *p = &s->peers[n];
        const struct zb_set_id below_all = {.seq = 1};
        struct zb_set_id at = p->position_known ? p->position.id : (struct zb_set_id){0};
        bool reached = zb_lineage_reaches(&s->obs.lineage, at);
        if (n == x->core->opt.self || n == node) {
            continue;
        }
        /* What came away goes on from where it did. */
        at = reached ? zb_lineage_clamp(&s->obs.lineage, at) : at;
        bool none = zb_set_id_is_none(at);
        if (!none || !p->position_known || p->report.exists) { /* else it has nothing */
            m->bases[m->bases_count++] = none ? below_all : at;
        }
        at = reached && !none ? at : below_all;
        floor_lower(&m->floor, at);
        if (on_its_way(x, n)) {
            floor_lower(&m->floor_way, at);
        }
    }
}

static bool
ships_any(const struct svc *s)
{
    for (unsigned n = 0; n < ZB_NODES_MAX; n++) {
        if (s->peers[n].ship_id != 0) {
            return true;
        }
    }
    return false;
}

/* What a follower holds is known to be of its leader's history: by the terms that are remembered,
 * or because it has come further by what that leader sent. */
static bool
goes_on(const struct svc *s)
{
    return zb_lineage_reaches(&s->obs.lineage, zb_core_reached(s)->id) ||
           (!zb_set_id_is_none(s->came_at) && s->came_term == s->obs.learned_term &&
            zb_set_id_cmp(s->obs.newest.id, s->came_at) > 0);
}

/* What is protected now; false: it is not known, nothing is pruned. */
static bool
bases_now(const struct step *x, struct zb_core_msg *m)
{
    const struct svc *s = x->s;
    const struct peer *p;

    memset(m, 0, sizeof(*m));
    if (zb_core_leads(s->role)) {
        zb_core_bases_fill(x, ZB_NODE_NONE, m);
        return true;
    }
    if (s->obs.learned_leader >= ZB_NODES_MAX || s->obs.learned_leader == x->core->opt.self ||
        s->obs.granted_term > s->obs.learned_term || s->rejoin.wanted || !goes_on(s) ||
        !zb_lineage_has(&s->obs.lineage, zb_core_reached(s)->id) || ships_any(s) ||
        (s->obs.exists && zb_set_id_is_none(zb_core_reached(s)->id))) {
        return false; /* what there is may be wanted by whoever leads next, or have come away */
    }
    p = &s->peers[s->obs.learned_leader];
    *m = p->report;
    /* What is to be kept may be declared anew, and not known here yet. */
    return p->known && m->established_term == s->obs.learned_term && m->version <= s->conf.version;
}

static void
prune_fill(const struct step *x, const struct zb_core_msg *bases, struct zb_action *a)
{
    const struct svc *s = x->s;

    a->keep_count = s->conf.keep_count;
    for (uint32_t i = 0; i < bases->bases_count; i++) {
        a->protect[a->protect_count++] = bases->bases[i];
    }
    a->bases_count = bases->bases_count;
    a->protect[a->protect_count++] = s->obs.newest.id;
    if (s->obs.released_term != 0 && a->protect_count < ZB_MEMBERS_MAX + 1) {
        a->protect[a->protect_count++] = s->obs.released_set.id;
    }
    a->floor = bases->floor;
    a->floor_way = bases->floor_way;
    /* Where a dataset is gone or another one, later sets of the rest may be where the leader goes
     * on from, or have come away from its history. */
    if (!zb_set_id_is_none(s->obs.newest.id)) {
        floor_lower(&a->floor_way, s->obs.newest.id);
    }
}

bool
zb_core_prune_plan(const struct zb_core *core, uint16_t service, struct zb_action *a)
{
    struct svc *s = (struct svc *)(uintptr_t)&core->services[service];
    const struct step x = {.core = (struct zb_core *)(uintptr_t)core, .s = s};
    struct zb_core_msg bases;

    *a = (struct zb_action){.kind = ZB_ACT_PRUNE, .service = service};
    if (!s->declared || !bases_now(&x, &bases)) {
        return false;
    }
    prune_fill(&x, &bases, a);
    return true;
}

/* Old sets go when enough came in. */
bool
zb_core_prune_settle(struct step *x)
{
    struct svc *s = x->s;
    uint32_t every = s->conf.keep_count / 8 > 0 ? s->conf.keep_count / 8 : 1;
    struct zb_core_msg bases;

    if (s->unpruned < every || !bases_now(x, &bases)) {
        return false;
    }
    if (x->now.ms < s->prune_at.ms) {
        zb_core_wake_at(x, s->prune_at.ms);
        return false;
    }
    prune_fill(x, &bases, zb_core_op(x, ZB_ACT_PRUNE));
    s->op_behind = !zb_set_id_is_none(bases.floor) && /* else nobody needs anything */
                   zb_set_id_cmp(bases.floor, s->obs.newest.id) < 0;
    s->prune_at.ms = x->now.ms + ZB_PRUNE_MS;
    return true;
}
