/*
 * What does not agree between the members, said once for each change, by the leader and by the
 * member itself. Nothing is decided here: what came away is set aside by rejoin.c, and the keeper
 * receives into nothing that changed.
 */
#include "core/internal.h"

#include <stdio.h>
#include <string.h>

/* Where a copy stands that the leader of term does not go on from. */
static void
fork_note(struct step *x, uint8_t node, const struct zb_lineage *history, struct zb_set_id at,
          struct zb_set_id leads)
{
    struct zb_set_id fork = zb_lineage_clamp(history, at);
    char came[64];
    char text[256];

    if (fork.seq == UINT64_MAX) { /* later than every term of the history */
        (void)snprintf(came, sizeof(came), "nobody is known to have led its term");
    } else {
        (void)snprintf(came, sizeof(came), "it came away at %llu/%llu",
                       (unsigned long long)fork.term, (unsigned long long)fork.seq);
    }
    (void)snprintf(text, sizeof(text),
                   "holds set %llu/%llu, which is not in the history of the leader's %llu/%llu: %s",
                   (unsigned long long)at.term, (unsigned long long)at.seq,
                   (unsigned long long)leads.term, (unsigned long long)leads.seq, came);
    zb_core_note_about(x, node, "C-fork", text);
}

static void
fork_watch(struct step *x, uint8_t node, const struct zb_lineage *history, struct zb_set_id at,
           struct zb_set_id leads)
{
    struct peer *p = &x->s->peers[node];
    uint64_t term = history->count > 0 ? history->lines[history->count - 1].term : 0;

    if (zb_lineage_has(history, at)) {
        p->fork_noted = (struct zb_set_id){0};
        return;
    }
    if (zb_set_id_cmp(p->fork_noted, at) != 0 || p->fork_term != term) {
        p->fork_noted = at;
        p->fork_term = term;
        fork_note(x, node, history, at, leads);
    }
}

/* A copy at rest was written to. */
static void
modified_watch(struct step *x, uint8_t node, bool modified, uint64_t bytes, struct zb_set_id at)
{
    struct peer *p = &x->s->peers[node];
    char text[256];

    if (modified && !p->modified_noted) {
        (void)snprintf(text, sizeof(text),
                       "its copy was written to by somebody else: %llu bytes since set %llu/%llu. "
                       "Nothing is received over them; they are set aside",
                       (unsigned long long)bytes, (unsigned long long)at.term,
                       (unsigned long long)at.seq);
        zb_core_note_about(x, node, "C-modified", text);
    }
    p->modified_noted = modified;
}

/* A member that could not mount its tree (again, if it leads) for want of the key; backups need
 * none. */
static void
key_watch(struct step *x, uint8_t node, enum zb_key_state key)
{
    struct peer *p = &x->s->peers[node];
    char text[160];

    if (key != ZB_KEY_GOOD && key != p->key_noted && zb_core_is_voter(x->s, node)) {
        (void)snprintf(text, sizeof(text), "its tree could not be mounted: %s",
                       zb_core_key_lack(key));
        zb_core_note_about(x, node, "C-key", text);
    }
    p->key_noted = key;
}

static void
follower_watch(struct step *x)
{
    const struct svc *s = x->s;
    uint8_t self = x->core->opt.self;
    uint64_t term;
    uint8_t leader = zb_core_leader(x, &term);

    modified_watch(x, self, s->obs.modified && !zb_set_ref_equal(&s->unchanged_at, &s->obs.newest),
                   s->obs.written_bytes, s->obs.newest.id);
    if (leader != ZB_NODE_NONE && leader != self) {
        fork_watch(x, self, &s->peers[leader].report.lineage, s->obs.newest.id,
                   s->peers[leader].report.set.id);
    }
}

void
zb_core_diverge_watch(struct step *x)
{
    const struct svc *s = x->s;

    if (s->obs_known && s->member) {
        key_watch(x, x->core->opt.self, s->obs.key);
    }
    if (s->obs_known && s->role == ZB_ROLE_FOLLOWER) {
        follower_watch(x);
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX && zb_core_leads(s->role); n++) {
        const struct zb_core_msg *m = &s->peers[n].report;
        if (s->peers[n].known && zb_core_is_member(s, n) && !zb_core_leads(m->role)) {
            modified_watch(x, n, m->modified, m->written_bytes, m->set.id);
            key_watch(x, n, m->key);
            fork_watch(x, n, &s->obs.lineage, m->set.id, s->obs.newest.id);
        }
    }
}

/* The follower's disk was looked at. What nobody sent, seen twice while nothing is on its way: who
 * has the leader's newest set receives nothing. */
void
zb_core_diverge_looked(struct step *x, bool same)
{
    struct svc *s = x->s;
    uint64_t term;
    uint8_t leader = zb_core_leader(x, &term);
    bool strange = same && s->role == ZB_ROLE_FOLLOWER && (s->obs.foreign || s->obs.added) &&
                   leader != ZB_NODE_NONE && leader != x->core->opt.self &&
                   zb_set_ref_equal(&s->peers[leader].report.set, &s->obs.newest);

    s->strange_looks = strange ? s->strange_looks + 1 : 0;
    if (s->strange_looks == 1 && s->obs.foreign) {
        zb_core_note_about(x, x->core->opt.self, "C-foreign",
                           "a snapshot that the leader did not send came after its newest set "
                           "here: it is set aside with the copy when the next set comes");
    }
    if (s->strange_looks == 1 && s->obs.added) {
        zb_core_note_about(x, x->core->opt.self, "C-added",
                           "a dataset that is not zbaton's was made in this copy: it is left "
                           "alone, and stands in the way of a rescue and of a take");
    }
}
