#include "core/internal.h"

#include <string.h>

static struct zb_action *
step_line(struct step *x, uint8_t number, enum zb_step_phase phase, const char *text)
{
    struct move *m = &x->s->move;
    struct zb_action *a = zb_core_act(x, ZB_ACT_STEP);

    a->command_id = m->command_id;
    a->step = number;
    a->phase = phase;
    a->node = m->target;
    a->term = m->term;
    a->set = m->final_set;
    (void)zb_core_copy(a->text, sizeof(a->text), text);
    if (phase == ZB_STEP_BEGIN) {
        m->step = number;
        m->step_at = x->now;
    } else {
        a->elapsed_ms = (uint32_t)(x->now.ms - m->step_at.ms);
    }
    return a;
}

/* Why a move cannot begin, or NULL. Numbered as the operator would ask. */
static const char *
preflight(const struct step *x, uint8_t target, const char **rule)
{
    const struct svc *s = x->s;
    const struct peer *p = &s->peers[target < ZB_NODES_MAX ? target : 0];

    *rule = "C-move-not-leading";
    if (s->role != ZB_ROLE_LEADING) {
        return s->move.command_id != 0 ? "another move of this service is under way"
                                       : "this node does not lead the service";
    }
    *rule = "C-move-target-leads";
    if (target == x->core->opt.self) {
        return "it leads there already";
    }
    *rule = "C-move-not-a-member";
    if (target >= ZB_NODES_MAX || !zb_core_is_member(s, target)) {
        return "the target holds no copy of the service: it is not a member";
    }
    *rule = "C-move-target-backup";
    if (!zb_core_is_voter(s, target)) {
        return "the target is a backup: it never leads";
    }
    *rule = "C-move-target-down";
    if (!zb_core_peer_up(x, target) || !p->known) {
        return "the target is not reachable";
    }
    *rule = "C-move-target-modified";
    if (p->report.modified) {
        return "the target's copy has changed by itself: it cannot lead before that is resolved";
    }
    *rule = "C-move-target-runs";
    if (p->report.running) {
        return "the service runs on the target, outside of zbaton: stop it there first";
    }
    *rule = "C-move-target-key";
    if (p->report.key != ZB_KEY_GOOD) {
        return zb_core_key_lack(p->report.key);
    }
    *rule = "C-move-target-not-following";
    if (!zb_core_follows(x, target)) {
        return "the target does not follow this leader yet: try again in a moment";
    }
    *rule = "C-move-target-without-copy";
    if (!p->position_known || zb_set_id_is_none(p->position.id)) {
        return "the target holds no whole set yet: wait for its first copy";
    }
    *rule = "C-move-frozen"; /* last: what else is in the way is told first */
    if (s->conf.frozen) {
        return "the service is frozen";
    }
    return NULL;
}

void
zb_core_move_command(struct step *x, const struct zb_event *ev)
{
    struct svc *s = x->s;
    struct move *m = &s->move;
    const char *rule;
    const char *no = preflight(x, ev->u.command.node, &rule);

    if (no != NULL || ev->u.command.dry_run) {
        zb_core_reply(x, ev->u.command.id, no != NULL ? ZB_E_REFUSED : ZB_OK,
                      no != NULL ? rule : "C-move-possible", no != NULL ? no : "");
        return;
    }
    memset(m, 0, sizeof(*m));
    m->command_id = ev->u.command.id;
    m->target = ev->u.command.node;
    s->peers[m->target].ship_failures = 0;
    s->peers[m->target].ship_retry_at = x->now;
    (void)step_line(x, 1, ZB_STEP_BEGIN, "");
    step_line(x, 1, ZB_STEP_END, "")->bytes = s->obs.written_bytes;
    (void)step_line(x, 2, ZB_STEP_BEGIN, "");
    zb_core_go(x, ZB_STIM_MOVE);
}

void
zb_core_move_abort(struct step *x, const char *why)
{
    struct move *m = &x->s->move;

    if (m->command_id == 0 || m->aborted || m->step >= 6) {
        return;
    }
    m->aborted = true;
    (void)zb_core_copy(m->why, sizeof(m->why), why);
    (void)step_line(x, m->step, ZB_STEP_FAIL, m->why);
}

/* ---- step 2: the service still runs ---- */

static void
presync_done(struct step *x)
{
    struct svc *s = x->s;
    struct move *m = &s->move;

    step_line(x, 2, ZB_STEP_END, "")->bytes = m->ship_bytes;
    m->ship_bytes = 0;
    m->ship_tries = 0;
    m->term = s->obs.established_term + 1;
    if (s->obs.granted_term >= m->term) {
        m->term = s->obs.granted_term + 1;
    }
    (void)step_line(x, 3, ZB_STEP_BEGIN, "");
    m->down_at = x->now;
    zb_core_go(x, ZB_STIM_CLOSE_ENOUGH);
}

void
zb_core_move_presync(struct step *x)
{
    struct svc *s = x->s;
    struct move *m = &s->move;
    struct peer *p = &s->peers[m->target];
    bool gain;

    if (!zb_core_peer_up(x, m->target)) {
        zb_core_move_abort(x, "the target is not reachable any more");
    }
    if (p->report.key != ZB_KEY_GOOD) {
        zb_core_move_abort(x, zb_core_key_lack(p->report.key));
    }
    if (m->aborted) {
        zb_core_go(x, ZB_STIM_ABORT);
        return;
    }
    if (p->ship_id != 0) {
        return;
    }
    if (!m->looked) {
        zb_core_op(x, ZB_ACT_OBSERVE);
        return;
    }
    if (zb_set_id_is_none(s->obs.newest.id)) { /* none is whole since a child was destroyed */
        zb_core_snapshot(x, false);
        return;
    }
    if (!zb_set_ref_equal(&p->position, &s->obs.newest)) {
        return; /* ship_settle sends it */
    }
    gain = m->rounds == 0 || s->obs.written_bytes < m->round_bytes / 2;
    if (s->obs.written_bytes <= ZB_PRESYNC_SMALL_BYTES || m->rounds >= ZB_PRESYNC_ROUNDS_MAX ||
        !gain) {
        presync_done(x);
        return;
    }
    m->rounds++;
    m->round_bytes = s->obs.written_bytes;
    m->looked = false;
    zb_core_snapshot(x, false);
}

/* ---- steps 4 and 5 ---- */

static void
final_ship(struct step *x)
{
    struct svc *s = x->s;
    struct move *m = &s->move;
    struct peer *p = &s->peers[m->target];

    if (p->ship_id != 0 || zb_set_ref_equal(&p->position, &m->final_set)) {
        return;
    }
    if (!zb_core_peer_up(x, m->target)) {
        zb_core_move_abort(x, "the target is not reachable any more");
        return;
    }
    if (x->now.ms >= p->ship_retry_at.ms) {
        zb_core_ship(x, m->target, &m->final_set);
    } else {
        zb_core_wake_at(x, p->ship_retry_at.ms);
    }
}

/* The final set is on its way before the unmount begins; both have to succeed. */
void
zb_core_move_sealing(struct step *x)
{
    struct svc *s = x->s;
    struct move *m = &s->move;

    if (!m->aborted && x->now.ms >= m->deadline.ms) {
        zb_core_move_abort(x, "the target did not get the final set in time");
    }
    if (s->peers[m->target].report.key != ZB_KEY_GOOD) {
        zb_core_move_abort(x, zb_core_key_lack(s->peers[m->target].report.key));
    }
    if (m->aborted) {
        zb_core_go(x, ZB_STIM_ABORT);
        return;
    }
    zb_core_wake_at(x, m->deadline.ms);
    if (!m->final_made) {
        zb_core_snapshot(x, true);
        return;
    }
    final_ship(x);
    zb_core_ship_settle(x);
    if (!m->sealed) {
        struct zb_action *a = zb_core_op(x, ZB_ACT_SEAL);
        a->term = s->obs.established_term;
        a->set = m->final_set;
        return;
    }
    /* By a newer declaration the target may be no voter: then it is not released to. */
    if (s->peers[m->target].report.version <= s->conf.version &&
        zb_set_ref_equal(&s->peers[m->target].position, &m->final_set)) {
        step_line(x, 5, ZB_STEP_END, "")->bytes = m->ship_bytes;
        (void)step_line(x, 6, ZB_STEP_BEGIN, "");
        zb_core_go(x, ZB_STIM_FINAL_READY);
    }
}

void
zb_core_move_ship_failed(struct step *x, const struct zb_core_result *r)
{
    struct move *m = &x->s->move;

    if (m->step >= 2 && m->step <= 5 && ++m->ship_tries >= 3) {
        zb_core_move_abort(x, r->text);
    }
}

static void
stop_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    /* Something else is being done with the service, such as its check: soon over. */
    if (r->rc == ZB_E_BUSY && !s->move.aborted &&
        x->now.ms - s->move.step_at.ms < s->conf.stop_timeout_ms) {
        zb_core_retry_later(x);
        return;
    }
    s->move.stop_ms = r->elapsed_ms;
    if (r->rc != ZB_OK) {
        zb_core_move_abort(x, r->text);
        zb_core_go(x, ZB_STIM_OP_FAILED);
        return;
    }
    s->obs.running = false;
    (void)step_line(x, 3, ZB_STEP_END, "");
    (void)step_line(x, 4, ZB_STEP_BEGIN, "");
    s->move.deadline.ms = x->now.ms + ZB_FINAL_SHIP_MS;
    zb_core_go(x, ZB_STIM_OP_OK);
}

static void
seal_done(struct step *x, const struct zb_core_result *r)
{
    struct move *m = &x->s->move;

    if (r->rc == ZB_OK) {
        m->sealed = true;
        (void)step_line(x, 4, ZB_STEP_END, "");
        (void)step_line(x, 5, ZB_STEP_BEGIN, "");
        return;
    }
    if (r->rc == ZB_E_MISMATCH && ++m->seal_tries < ZB_SEAL_TRIES_MAX) {
        m->final_made = false; /* something was written after the set: another final set */
        return;
    }
    zb_core_move_abort(x, r->text);
    zb_core_go(x, ZB_STIM_OP_FAILED);
}

static void
release_done(struct step *x, const struct zb_core_result *r)
{
    struct svc *s = x->s;

    if (r->rc != ZB_OK) {
        zb_core_note(x, ZB_LOG_WARNING, "R-release-failed", r->text);
        (void)zb_core_copy(s->move.why, sizeof(s->move.why), r->text);
        zb_core_go(x, ZB_STIM_OP_FAILED);
        return;
    }
    (void)step_line(x, 6, ZB_STEP_END, "");
    zb_core_go(x, ZB_STIM_OP_OK);
    zb_core_release_tell(x, s->move.target);
}

void
zb_core_move_op_done(struct step *x, enum zb_act_kind kind, const struct zb_core_result *r)
{
    if (kind == ZB_ACT_STOP && x->s->role == ZB_ROLE_STOPPING) {
        stop_done(x, r);
    } else if (kind == ZB_ACT_STOP && x->s->role == ZB_ROLE_RESTORING) {
        x->s->obs.running = r->rc != ZB_OK;
        if (r->rc != ZB_OK) {
            zb_core_note(x, ZB_LOG_WARNING, "R-stop-failed", r->text);
            zb_core_retry_later(x);
        }
    } else if (kind == ZB_ACT_SEAL && x->s->role == ZB_ROLE_SEALING) {
        seal_done(x, r);
    } else if (kind == ZB_ACT_RELEASE && x->s->role == ZB_ROLE_RELEASING) {
        release_done(x, r);
    }
}

/* ---- steps 7 to 9: watched from here, done by the target ---- */

static void
end(struct step *x, enum zb_rc rc, const char *rule, const char *text)
{
    struct move *m = &x->s->move;
    struct zb_action *a;

    zb_core_reply(x, m->command_id, rc, rule, text);
    a = &x->plan->actions[x->plan->actions_count - 1];
    a->term = m->term;
    a->node = m->target;
    a->set = m->final_set;
    a->down_ms = m->down_ms;
    a->own_ms = m->down_ms - m->stop_ms - m->start_ms;
    if (m->stop_ms + m->start_ms > m->down_ms) {
        a->own_ms = 0;
    }
    memset(m, 0, sizeof(*m));
}

/* A later term is led already, by this node again perhaps. */
static bool
moved_on(const struct step *x)
{
    uint64_t term;

    (void)zb_core_leader(x, &term);
    return term > x->s->move.term || x->s->obs.learned_term > x->s->move.term ||
           x->s->obs.established_term > x->s->move.term;
}

static void
taken(struct step *x)
{
    struct svc *s = x->s;
    struct move *m = &s->move;
    const struct zb_core_msg *r = &s->peers[m->target].report;

    if (m->step == 7 && r->established_term == m->term) {
        (void)step_line(x, 7, ZB_STEP_END, "");
        (void)step_line(x, 8, ZB_STEP_BEGIN, "");
    }
    if (m->step == 8 && r->established_term == m->term && r->running) {
        m->start_ms = r->start_ms;
        m->down_ms = (uint32_t)(x->now.ms - m->down_at.ms);
        (void)step_line(x, 8, ZB_STEP_END, "");
        (void)step_line(x, 9, ZB_STEP_BEGIN, "");
        m->deadline.ms = x->now.ms + ZB_FOLLOW_MS;
    }
    if (m->step == 9 &&
        (zb_core_all_follow(x, s->move.term) || moved_on(x) || x->now.ms >= m->deadline.ms)) {
        bool all = zb_core_all_follow(x, s->move.term);
        struct zb_action *a;
        (void)step_line(x, 9, all ? ZB_STEP_END : ZB_STEP_FAIL,
                        all ? "" : "a member does not follow yet: it catches up by itself");
        a = zb_core_act(x, ZB_ACT_TERM);
        a->command_id = m->command_id;
        a->term = m->term;
        a->node = m->target;
        a->set = m->final_set;
        a->reason = ZB_TERM_MOVE;
        a->down_ms = m->down_ms;
        a->own_ms =
            m->down_ms > m->stop_ms + m->start_ms ? m->down_ms - m->stop_ms - m->start_ms : 0;
        end(x, ZB_OK, all ? "C-done" : "C-move-degraded",
            all ? "" : "a member does not follow yet");
        return;
    }
    if (moved_on(x)) {
        end(x, ZB_E_FAILED, "C-move-superseded",
            "released, but a later term is led: the service went on from there");
        return;
    }
    if (x->now.ms >= m->deadline.ms) {
        end(x, ZB_E_TIMEOUT, "C-move-in-background",
            "released, but the target has not started the service yet: it goes on when it can");
        return;
    }
    zb_core_wake_at(x, m->deadline.ms);
}

/* A move's command ends with the move, whatever became of it. */
void
zb_core_move_watch(struct step *x)
{
    struct svc *s = x->s;
    struct move *m = &s->move;
    char text[256];

    if (m->command_id == 0) {
        return;
    }
    if (m->step == 6 && s->role == ZB_ROLE_RELEASED) {
        (void)step_line(x, 7, ZB_STEP_BEGIN, "");
        m->deadline.ms = x->now.ms + s->conf.start_timeout_ms + ZB_TAKE_MS;
    }
    if (m->step >= 7) {
        taken(x);
        return;
    }
    if (s->role == ZB_ROLE_LEADING && (m->aborted || m->step == 6)) {
        zb_core_join(text, sizeof(text), m->why,
                     s->obs.running ? "aborted, the service runs here as before"
                                    : "aborted; the service does not run: it is started again");
        end(x, ZB_E_FAILED, "C-move-aborted", text);
    } else if (s->role == ZB_ROLE_DEMOTING ||
               (s->role == ZB_ROLE_RESTORING && s->failures >= ZB_RESTORE_TELL)) {
        zb_core_join(text, sizeof(text), m->why,
                     "aborted; the tree could not be put back yet: tried again until it can");
        end(x, ZB_E_FAILED, "C-move-aborted", text);
    } else if (s->role == ZB_ROLE_FOLLOWER || s->role == ZB_ROLE_ASKING) {
        zb_core_join(text, sizeof(text), m->why, "aborted, this node does not lead any more");
        end(x, ZB_E_FAILED, "C-move-aborted", text);
    }
}
