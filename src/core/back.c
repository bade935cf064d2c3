/*
 * Records that went back: a state directory or a disk was put back to an older copy. Such a node
 * has forgotten what it granted, and would grant the same term once more (M1). Everybody remembers
 * what each member's record said, acts by the most that it heard, and tells the member. That one
 * takes back by itself what it granted and learned, which is always safe: it was so before. Until
 * then it neither grants, nor asks, nor leads.
 */
#include "core/internal.h"

#include <stdio.h>
#include <string.h>

/* Whoever learns of a leader is told by that of whom to suspect anew: what was before its term is
 * over (M3). */
static bool
supersedes(const struct zb_core_seen *newer, const struct zb_core_seen *older)
{
    return newer->learned_term > older->learned_term && newer->learned_term >= older->granted_term;
}

/* Less than it was: by numbers, not by suspects. */
static bool
is_less(const struct zb_core_seen *now, const struct zb_core_seen *before)
{
    uint64_t highest =
        now->granted_term > now->learned_term ? now->granted_term : now->learned_term;

    return !supersedes(now, before) &&
           (highest < before->granted_term || now->learned_term < before->learned_term);
}

bool
zb_core_seen_add(struct zb_core_seen *seen, const struct zb_core_seen *told)
{
    struct zb_core_seen sum = *seen;

    if (supersedes(seen, told)) {
        return false;
    }
    if (supersedes(told, seen)) {
        *seen = *told;
        return true;
    }
    if (told->granted_term > sum.granted_term) {
        sum.granted_term = told->granted_term;
        sum.granted_to = told->granted_to;
    }
    if (told->learned_term > sum.learned_term) {
        sum.learned_term = told->learned_term;
        sum.learned_leader = told->learned_leader;
    }
    sum.suspects |= told->suspects;
    if (sum.granted_term == seen->granted_term && sum.learned_term == seen->learned_term &&
        sum.suspects == seen->suspects) {
        return false;
    }
    *seen = sum;
    return true;
}

static struct zb_core_seen
of_message(const struct zb_core_msg *m)
{
    return (struct zb_core_seen){.granted_term = m->granted_term,
                                 .granted_to = m->granted_to,
                                 .learned_term = m->learned_term,
                                 .learned_leader = m->learned_leader,
                                 .suspects = m->suspects};
}

static struct zb_core_seen
of_record(const struct svc *s)
{
    return (struct zb_core_seen){.granted_term = s->obs.granted_term,
                                 .granted_to = s->obs.granted_to,
                                 .learned_term = s->obs.learned_term,
                                 .learned_leader = s->obs.learned_leader,
                                 .suspects = s->obs.suspects};
}

bool
zb_core_peer_is_back(const struct svc *s, uint8_t node)
{
    const struct peer *p = &s->peers[node];

    return p->known && is_less(&p->now, &p->seen);
}

uint64_t
zb_core_peer_granted(const struct svc *s, uint8_t node)
{
    return s->peers[node].seen.granted_term;
}

bool
zb_core_lost(const struct svc *s, struct zb_core_seen *lost)
{
    struct zb_core_seen now = of_record(s);

    *lost = (struct zb_core_seen){.granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE};
    for (uint8_t n = 0; s->obs_known && n < ZB_NODES_MAX; n++) {
        if (!supersedes(&now, &s->peers[n].told)) {
            (void)zb_core_seen_add(lost, &s->peers[n].told);
        }
    }
    /* A leader of before what it granted since is not learned any more (M2), and nobody waits. */
    return s->obs_known && is_less(&now, lost) &&
           (now.granted_term < lost->granted_term || now.granted_term <= lost->learned_term);
}

uint32_t
zb_core_suspects(const struct svc *s)
{
    struct zb_core_seen lost;

    (void)zb_core_lost(s, &lost);
    return s->obs.suspects | lost.suspects;
}

/* As far as it told. */
static bool
can_grant(const struct step *x, uint8_t node)
{
    const struct peer *p = &x->s->peers[node];

    return zb_core_peer_up(x, node) && p->known && p->report.version == x->s->conf.version &&
           (p->report.role == ZB_ROLE_FOLLOWER || p->report.role == ZB_ROLE_RELEASED);
}

bool
zb_core_waits_for_anybody(const struct step *x)
{
    const struct svc *s = x->s;
    uint32_t wanted = zb_core_suspects(s);
    bool waits = s->obs.suspects_unknown;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        if (n != x->core->opt.self && zb_core_is_granter(s, n)) {
            wanted |= s->peers[n].seen.suspects;
            if (s->peers[n].seen.granted_term > s->obs.established_term &&
                s->peers[n].seen.granted_to < ZB_NODES_MAX) {
                wanted |= 1u << s->peers[n].seen.granted_to;
            }
        }
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        waits = waits || (n != x->core->opt.self && (wanted & 1u << n) != 0 && !can_grant(x, n));
    }
    return waits;
}

void
zb_core_back_learned(struct step *x, uint64_t term, uint8_t leader)
{
    if (leader != x->core->opt.self && term > x->s->superseded) {
        x->s->superseded = term;
    }
}

/* Heard in an earlier life, or before the service was declared to this core. */
void
zb_core_back_remembered(struct step *x, uint8_t node, const struct zb_core_seen *seen)
{
    (void)zb_core_seen_add(&x->s->peers[node].seen, seen);
    zb_core_back_learned(x, seen->learned_term, seen->learned_leader);
}

void
zb_core_back_heard(struct step *x, uint8_t node, const struct zb_core_msg *m)
{
    struct peer *p = &x->s->peers[node];

    if (m->kind == ZB_MSG_REPORT || m->kind == ZB_MSG_GRANT_ANSWER) {
        p->now = of_message(m);
        (void)zb_core_seen_add(&p->seen, &p->now);
    }
    if (m->kind == ZB_MSG_REPORT || m->kind == ZB_MSG_GRANT_ANSWER || m->kind == ZB_MSG_GRANT_ASK) {
        (void)zb_core_seen_add(&p->told, &m->seen);
        zb_core_back_learned(x, m->seen.learned_term, m->seen.learned_leader);
    }
}

/* Who can tell the history of the leader that this node forgot, or of a later one. */
static uint8_t
who_knows(const struct svc *s, uint64_t term)
{
    uint8_t node = ZB_NODE_NONE;

    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (p->known && p->report.learned_term >= term && p->report.learned_leader < ZB_NODES_MAX &&
            p->report.learned_term >= s->obs.granted_term &&
            (node == ZB_NODE_NONE || p->report.learned_term > s->peers[node].report.learned_term)) {
            node = n;
        }
    }
    return node;
}

/* First the leader, then the grant: as they were recorded before. */
bool
zb_core_back_settle(struct step *x)
{
    struct svc *s = x->s;
    struct zb_core_seen lost;
    struct zb_action *a;
    uint8_t node;

    if ((s->role != ZB_ROLE_FOLLOWER && s->role != ZB_ROLE_RELEASED) || !zb_core_lost(s, &lost) ||
        x->now.ms < s->retry_at.ms) {
        return false;
    }
    s->why = "its record went back: it grants nothing until it knows again what it granted";
    s->why_rule = "R-term-back";
    if (lost.learned_term > s->obs.learned_term) {
        node = who_knows(s, lost.learned_term);
        if (node == ZB_NODE_NONE) {
            return false;
        }
        a = zb_core_op(x, ZB_ACT_LEARN);
        a->term = s->peers[node].report.learned_term;
        a->node = s->peers[node].report.learned_leader;
        a->lineage = s->peers[node].report.lineage;
        return true;
    }
    if (lost.granted_to >= ZB_NODES_MAX) {
        return false;
    }
    a = zb_core_op(x, ZB_ACT_GRANT);
    a->term = lost.granted_term;
    a->node = lost.granted_to;
    s->op_node = lost.granted_to;
    s->op_nonce = 0;
    s->op_term = lost.granted_term;
    s->op_back = true;
    return true;
}

static void
lost_note(struct step *x, const struct zb_core_seen *lost)
{
    const struct svc *s = x->s;
    char text[256];

    (void)snprintf(text, sizeof(text),
                   "this node's record went back: others heard that it granted term %llu and knew "
                   "of term %llu, and it says %llu and %llu. It grants nothing until it has that "
                   "again",
                   (unsigned long long)lost->granted_term, (unsigned long long)lost->learned_term,
                   (unsigned long long)s->obs.granted_term,
                   (unsigned long long)s->obs.learned_term);
    zb_core_note_about(x, x->core->opt.self, "C-term-back", text);
}

static void
back_note(struct step *x, uint8_t node)
{
    const struct peer *p = &x->s->peers[node];
    char text[256];

    (void)snprintf(
        text, sizeof(text),
        "its record went back: it granted term %llu and knew of term %llu, and says "
        "%llu and %llu now. It is told; what it granted before holds",
        (unsigned long long)p->seen.granted_term, (unsigned long long)p->seen.learned_term,
        (unsigned long long)p->now.granted_term, (unsigned long long)p->now.learned_term);
    zb_core_note_about(x, node, "C-term-back", text);
}

void
zb_core_back_watch(struct step *x)
{
    struct svc *s = x->s;
    struct zb_core_seen lost;
    bool is_lost = zb_core_lost(s, &lost);

    if (is_lost && !s->lost_noted) {
        lost_note(x, &lost);
    }
    s->lost_noted = is_lost;
    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        bool back = zb_core_peer_is_back(s, n);
        if (back && !s->peers[n].back_noted) {
            back_note(x, n);
            if (zb_core_peer_up(x, n)) {
                zb_core_report_send(x, n); /* told at once */
            }
        }
        s->peers[n].back_noted = back;
    }
}
