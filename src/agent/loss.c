#include "agent/loss.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
zb_loss_close(struct zb_loss *loss)
{
    free(loss->sets);
    *loss = (struct zb_loss){0};
}

uint32_t
zb_loss_member_find(const struct zb_loss *loss, const char *node)
{
    for (uint32_t i = 0; i < loss->members_count; i++) {
        if (strcmp(loss->members[i].node, node) == 0) {
            return i;
        }
    }
    return ZB_LOSS_NONE;
}

/* --- what the core knows --- */

/* The highest term that is known, its lineage and its leader. */
static void
term_look(struct zb_loss *loss, uint64_t term, uint8_t leader, const struct zb_lineage *lineage)
{
    if (term > loss->term || loss->lineage == NULL) {
        loss->term = term;
        loss->lineage = lineage;
        loss->leader = leader;
    }
}

void
zb_loss_terms_look(struct zb_loss *loss, const struct zb_core_view *view)
{
    term_look(loss, view->obs.learned_term, view->obs.learned_leader, &view->obs.lineage);
    loss->suspects = view->obs.suspects;
    for (uint32_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct zb_core_peer_view *p = &view->peers[n];
        if (p->known) {
            term_look(loss, p->report.learned_term, p->report.learned_leader, &p->report.lineage);
            loss->suspects |= p->report.suspects;
        }
    }
    if (loss->lineage->count > 0) {
        loss->fork = loss->lineage->lines[loss->lineage->count - 1].fork;
    }
}

/* What it told in an earlier term, or while it changed its role, says nothing of now. Nor does the
 * position of the last leader, unless it released: another tool's snapshot may hold what it wrote
 * after its newest set. */
static bool
rests(const struct zb_loss *loss, uint8_t node, enum zb_role role, uint64_t learned_term)
{
    bool at_rest = role == ZB_ROLE_RELEASED || (role == ZB_ROLE_FOLLOWER && node != loss->leader);

    return at_rest && learned_term >= loss->term;
}

bool
zb_loss_member_look(const struct zb_loss *loss, const struct zb_core_view *view, uint8_t self,
                    uint8_t node, struct zb_loss_member *m)
{
    m->time_s = m->written_bytes = -1;
    if (node >= ZB_NODES_MAX) {
        return false;
    }
    m->led_last = node == loss->leader;
    m->writer = m->led_last || (loss->suspects & (UINT32_C(1) << node)) != 0;
    if (node == self) {
        m->reachable = true;
        m->leads = view->obs.mounted_rw;
        m->rests = !m->leads && rests(loss, node, view->role, view->obs.learned_term);
        m->modified = view->obs.modified;
        m->keyless = view->obs.key != ZB_KEY_GOOD;
        m->forgot = m->led_last && view->obs.established_term < loss->term;
        m->set = view->obs.newest;
        m->written_bytes = (int64_t)view->obs.written_bytes;
        return true;
    }
    if (view->peers[node].known) {
        const struct zb_core_peer_view *p = &view->peers[node];
        m->reachable = p->up;
        m->leads = p->up && p->report.established_term != 0;
        m->rests = p->up && rests(loss, node, p->report.role, p->report.learned_term);
        m->modified = p->report.modified;
        m->keyless = p->report.key != ZB_KEY_GOOD;
        m->set = p->report.set;
    }
    return view->peers[node].known;
}

void
zb_loss_suspect(struct zb_loss *loss, const char *node)
{
    uint32_t i = zb_loss_member_find(loss, node);

    if (i != ZB_LOSS_NONE) {
        loss->members[i].writer = true;
        loss->members[i].rests = false;
    }
}

static bool
is_of_history(const struct zb_loss *loss, const struct zb_loss_member *m)
{
    return !zb_set_id_is_none(m->set.id) && zb_lineage_has(loss->lineage, m->set.id);
}

uint32_t
zb_loss_choose(const struct zb_loss *loss)
{
    uint32_t best = ZB_LOSS_NONE;

    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        if (m->backup || !m->reachable || m->leads || m->modified || m->keyless || m->undrilled ||
            m->drained || !is_of_history(loss, m)) {
            continue;
        }
        if (best == ZB_LOSS_NONE || zb_set_id_cmp(m->set.id, loss->members[best].set.id) > 0) {
            best = i;
        }
    }
    return best;
}

/* --- what is found --- */

/* How many sets stand between, as far as they are known here. */
static int64_t
sets_between(const struct zb_loss *loss, struct zb_set_id from, struct zb_set_id to)
{
    int64_t count = 0;
    bool seen = false;

    if (zb_set_id_cmp(from, to) >= 0) {
        return 0;
    }
    if (from.term == to.term) {
        return (int64_t)(to.seq - from.seq);
    }
    for (uint32_t i = 0; i < loss->sets_count; i++) {
        struct zb_set_id id = loss->sets[i].ref.id;
        seen = seen || zb_set_id_cmp(id, from) == 0;
        count += zb_set_id_cmp(id, from) > 0 && zb_set_id_cmp(id, to) <= 0;
    }
    return seen ? count : -1;
}

static struct zb_set_id
newest_known(const struct zb_loss *loss)
{
    struct zb_set_id newest = {0};

    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        if (is_of_history(loss, m) && zb_set_id_cmp(m->set.id, newest) > 0) {
            newest = m->set.id;
        }
    }
    return newest;
}

/* The candidate's own set if nobody reachable holds a newer one. */
static void
base_find(struct zb_loss *loss)
{
    uint32_t best = loss->to;

    if (!is_of_history(loss, &loss->members[best])) {
        best = ZB_LOSS_NONE;
    }
    for (uint32_t i = 0; i < loss->members_count; i++) {
        const struct zb_loss_member *m = &loss->members[i];
        if (m->reachable && is_of_history(loss, m) &&
            (best == ZB_LOSS_NONE || zb_set_id_cmp(m->set.id, loss->members[best].set.id) > 0)) {
            best = i;
        }
    }
    loss->base = (struct zb_set_ref){0};
    loss->base_time_s = -1;
    loss->forward = ZB_LOSS_NONE;
    if (best != ZB_LOSS_NONE) {
        loss->base = loss->members[best].set;
        loss->base_time_s = loss->members[best].time_s;
        loss->forward = best != loss->to ? best : ZB_LOSS_NONE;
    }
}

void
zb_loss_find(struct zb_loss *loss)
{
    loss->newest = newest_known(loss);
    for (uint32_t i = 0; i < loss->members_count; i++) {
        struct zb_loss_member *m = &loss->members[i];
        bool has = !zb_set_id_is_none(m->set.id);
        m->diverged = has && !zb_lineage_has(loss->lineage, m->set.id);
        m->may_be_ahead = i != loss->to && (!m->reachable || m->leads);
        m->behind_sets = has && !m->diverged ? sets_between(loss, m->set.id, loss->newest) : -1;
    }
    base_find(loss);
    zb_loss_text(loss, loss->base.id, loss->base_time_s, loss->lost, sizeof loss->lost);
}

/* --- the sentence --- */

static void
append(char *buf, size_t size, const char *text)
{
    size_t used = strlen(buf);
    (void)snprintf(buf + used, size - used, "%s", text);
}

/* What it wrote went with its disk: it made the newest set of the history that is known of anybody,
 * and does not have it any more. */
static bool
disk_is_older(const struct zb_loss *loss, const struct zb_loss_member *m)
{
    return m->led_last && zb_set_id_cmp(m->set.id, loss->newest) < 0;
}

/* Whether it can have written something that the service would not go on with: not one that is
 * seen at rest with no more than that. */
static bool
may_lose(const struct zb_loss *loss, const struct zb_loss_member *m, struct zb_set_id set)
{
    if (strcmp(m->node, loss->members[loss->to].node) == 0) {
        /* its tree is not gone on with as it stands */
        return m->forgot || disk_is_older(loss, m);
    }
    return m->writer && (!m->rests || m->modified || zb_set_id_cmp(m->set.id, set) > 0);
}

/* "vm1", "vm1 and vm3", "vm1, vm3 and vm4"; false when there is none. */
static bool
writers_text(const struct zb_loss *loss, struct zb_set_id set, char *buf, size_t size)
{
    uint32_t left = 0;
    bool first = true;

    for (uint32_t i = 0; i < loss->members_count; i++) {
        left += may_lose(loss, &loss->members[i], set);
    }
    buf[0] = '\0';
    for (uint32_t i = 0; i < loss->members_count; i++) {
        if (may_lose(loss, &loss->members[i], set)) {
            left--;
            append(buf, size, first ? "" : left == 0 ? " and " : ", ");
            append(buf, size, loss->members[i].node);
            first = false;
        }
    }
    return !first;
}

/* " of 06:41:00, 37 s ago"; the day too when it is another one. */
static void
time_text(const struct zb_loss *loss, int64_t time_s, char *buf, size_t size)
{
    char time[24], now[24];

    buf[0] = '\0';
    if (time_s < 0) {
        return;
    }
    zb_wall_format((struct zb_wall){time_s}, time);
    zb_wall_format((struct zb_wall){loss->now_s}, now);
    int64_t age_s = loss->now_s > time_s ? loss->now_s - time_s : 0;
    if (strncmp(time, now, 10) == 0) {
        (void)snprintf(buf, size, " of %.8s, %" PRId64 " s ago", time + 11, age_s);
    } else {
        (void)snprintf(buf, size, " of %.10s %.8s, %" PRId64 " s ago", time, time + 11, age_s);
    }
}

void
zb_loss_text(const struct zb_loss *loss, struct zb_set_id set, int64_t time_s, char *buf,
             size_t size)
{
    char writers[160], time[64];
    bool any = writers_text(loss, set, writers, sizeof writers);

    time_text(loss, time_s, time, sizeof time);
    if (zb_set_id_cmp(set, loss->fork) < 0) { /* of earlier terms, whose leaders are not known */
        append(writers, sizeof writers, any ? " and who led before" : "who led before");
    } else if (!any) {
        (void)snprintf(buf, size, "nothing");
        return;
    }
    if (zb_set_id_is_none(set)) {
        (void)snprintf(buf, size, "everything that %s wrote", writers);
    } else {
        (void)snprintf(buf, size, "what %s wrote after set %" PRIu64 "/%" PRIu64 "%s", writers,
                       set.term, set.seq, time);
    }
}
