/* What PRUNE may destroy, and what of it has to be left: the invariants S4 and S5. */
#include "members.h"
#include "prune.h"
#include "sim.h"

#include <string.h>

/* The newest set that a node holds has this dataset. Where a history destroyed it that was failed
 * over from since, what is left of it is no part of where the node stands: it is sent in full. Who
 * holds no whole set is still being sent the first one, by the leader, who knows what it needs. */
static bool
stands_with(struct sim *w, uint8_t node, uint8_t service, uint8_t uuid, bool leader_prunes)
{
    struct zb_set_ref at;
    const struct sim_manifest *m;
    bool has = false;

    sim_position(w, node, service, &at);
    m = sim_manifest_find(w, service, &at);
    for (uint8_t i = 0; m != NULL && i < m->count; i++) {
        has = has || m->uuids[i] == uuid;
    }
    return has || (m == NULL && leader_prunes);
}

/* The last leader's of all that led; NULL: it has none. */
static const struct sim_dataset *
last_led(struct sim *w, uint8_t service, uint8_t uuid, uint8_t *node)
{
    const struct sim_dataset *led = NULL;
    uint64_t last = 0;

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_service *s = &w->nodes[n].services[service];
        if (s->record.rec.established_term > last) {
            last = s->record.rec.established_term;
            led = sim_dataset_by_uuid(w, n, service, uuid);
            *node = n;
        }
    }
    return led;
}

/* S4: who follows the last leader prunes nothing of a history that this one does not go on from: it
 * is set aside first. */
static void
pruned_of_history(struct sim *w, uint8_t node, uint8_t service, const struct sim_dataset *d,
                  const struct sim_snap *gone)
{
    const struct zb_record *r = &w->nodes[node].services[service].record.rec;
    uint8_t leader = node;
    const struct sim_dataset *led = last_led(w, service, d->uuid, &leader);
    uint64_t last = w->nodes[leader].services[service].record.rec.established_term;

    if (sim_statement_reverting(leader, service)) {
        return; /* it goes back, in a term that is not led yet */
    }
    if (led != NULL && !led->orphan && r->learned_term == last && r->established_term < last &&
        !sim_descends(w, gone->version, led->live)) {
        sim_fail(w,
                 "S4: n%u pruned the set %lu/%lu of service %u, which came away from what it "
                 "follows",
                 node + 1, (unsigned long)gone->id.term, (unsigned long)gone->id.seq, service);
    }
}

static bool
is_here(const struct sim_dataset *d, uint64_t guid, bool snaps)
{
    bool found = false;

    for (uint32_t i = 0; snaps && i < d->snaps_count; i++) {
        found = found || d->snaps[i].guid == guid;
    }
    for (uint32_t i = 0; i < d->marks_count; i++) {
        found = found || d->marks[i].guid == guid;
    }
    return found;
}

/* No set of the dataset is later than `at` and earlier than id, and of `at` there is something. */
static bool
is_next(const struct sim_dataset *d, struct zb_set_id at, struct zb_set_id id)
{
    bool there = false;
    bool between = false;

    for (uint32_t i = 0; i < d->snaps_count + d->marks_count; i++) {
        struct zb_set_id one =
            i < d->snaps_count ? d->snaps[i].id : d->marks[i - d->snaps_count].id;
        there = there || zb_set_id_cmp(one, at) == 0;
        between = between || (zb_set_id_cmp(one, at) > 0 && zb_set_id_cmp(one, id) < 0);
    }
    return there && !between;
}

/* When it asked for the PRUNE, the node knew that member n stands there: it was told so, or of the
 * set before. Who follows goes by what its leader told. */
static bool
is_known(const struct sim *w, const struct sim_item *prune, const struct sim_dataset *d, uint8_t n,
         struct zb_set_id id)
{
    const struct sim_service *s = &w->nodes[prune->node].services[prune->service];
    bool leads = s->record.rec.established_term == s->record.rec.learned_term;
    bool known = false;

    for (uint8_t i = 0; !leads && i < prune->u.op.bases_count; i++) {
        struct zb_set_id at = prune->u.op.protect[i];
        known = known || zb_set_id_cmp(at, id) == 0;
    }
    if (leads && !zb_set_id_is_none(prune->u.op.known[n])) {
        struct zb_set_id at = prune->u.op.known[n];
        known = zb_set_id_cmp(at, id) == 0 || (zb_set_id_cmp(at, id) < 0 && is_next(d, at, id));
    }
    return known;
}

/* Member n goes on from there. A backup never sends. */
static bool
is_stood_on(struct sim *w, const struct sim_item *prune, const struct sim_dataset *d, uint8_t n,
            uint64_t guid)
{
    uint8_t service = prune->service;
    const struct sim_dataset *other = sim_dataset_by_uuid(w, n, service, d->uuid);
    bool put_back = w->image.taken && w->image.node == n; /* who was told is not where it was */

    /* After a revert members go back to where nobody knew that they would stand, or get full
     * copies. */
    return !w->reverted[service] && (prune->u.op.members & 1u << n) != 0 &&
           sim_is_voter(&w->nodes[prune->node].services[service].conf, prune->node) &&
           n != prune->node && !put_back && !w->destroyed[service][d->uuid] && other != NULL &&
           !other->partial && !other->orphan && other->snaps_count > 0 &&
           other->snaps[other->snaps_count - 1].guid == guid &&
           stands_with(w, n, service, d->uuid, d->mount == ZB_MOUNT_RW);
}

/* Whose base was lost goes back, where not all may hear of it: the leader, as far as it knows,
 * keeps what it stood on. */
static bool
went_back_unheard(const struct sim *w, const struct sim_item *prune, uint8_t n, struct zb_set_id id)
{
    const struct sim_service *s = &w->nodes[prune->node].services[prune->service];
    uint8_t leader = (uint8_t)(s->record.rec.learned_leader[1] - '1');

    return (w->opt.changes > 0 || w->opt.catch_up < SIM_SNAPS) && leader < SIM_NODES &&
           zb_set_id_cmp(w->nodes[leader].services[prune->service].positions[n].id, id) > 0;
}

static bool
holds_any_set(struct sim *w, uint8_t node, uint8_t service)
{
    struct zb_set_ref at;

    sim_position(w, node, service, &at);
    return !zb_set_id_is_none(at.id);
}

/* S5: nothing is pruned that another member stands on: it takes nothing that does not go on from
 * there. What is older than the sets that stay for who is away leaves a bookmark, where it is known
 * who stands there: of datasets that make no set whole that is told to nobody. */
void
sim_check_pruned(struct sim *w, const struct sim_item *prune, const struct sim_dataset *d,
                 const struct sim_snap *gone)
{
    uint32_t rank = 1;

    pruned_of_history(w, prune->node, prune->service, d, gone);
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        rank += zb_set_id_cmp(d->snaps[i].id, gone->id) > 0;
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        if (is_stood_on(w, prune, d, n, gone->guid) && !is_here(d, gone->guid, false) &&
            ((rank <= w->opt.catch_up && !went_back_unheard(w, prune, n, gone->id)) ||
             (holds_any_set(w, n, prune->service) && is_known(w, prune, d, n, gone->id)))) {
            sim_fail(w, "S5: n%u pruned the set %lu/%lu of service %u that n%u stands on",
                     prune->node + 1, (unsigned long)gone->id.term, (unsigned long)gone->id.seq,
                     prune->service, n + 1);
        }
    }
}

void
sim_check_unmarked(struct sim *w, const struct sim_item *prune, const struct sim_dataset *d,
                   const struct sim_mark *gone)
{
    bool snap = false;

    for (uint32_t i = 0; i < d->snaps_count; i++) {
        snap = snap || d->snaps[i].guid == gone->guid;
    }
    for (uint8_t n = 0; n < w->opt.nodes && !snap; n++) {
        if (is_stood_on(w, prune, d, n, gone->guid) && is_known(w, prune, d, n, gone->id)) {
            sim_fail(w,
                     "S5: n%u destroyed the bookmark of %lu/%lu of service %u that n%u stands on",
                     prune->node + 1, (unsigned long)gone->id.term, (unsigned long)gone->id.seq,
                     prune->service, n + 1);
        }
    }
}

/* Nothing is kept for who is no member any more: one base for each other member at the most. */
void
sim_check_held_back(struct sim *w, const struct sim_item *prune)
{
    if (prune->u.op.bases_count >= __builtin_popcount(prune->u.op.members)) {
        sim_fail(w, "M11: n%u keeps sets of service %u for %u members beside itself, of %d",
                 prune->node + 1, prune->service, prune->u.op.bases_count,
                 __builtin_popcount(prune->u.op.members));
    }
}

/* S5: a leader that has nothing left of where a member stands, and knows that it stands there, says
 * so. */
void
sim_check_bases(struct sim *w, const struct sim_item *prune, const struct zb_set_id *gone,
                size_t gone_count)
{
    const struct sim_service *s = &w->nodes[prune->node].services[prune->service];
    const struct sim_dataset *root = &s->datasets[0];

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_dataset *other = &w->nodes[n].services[prune->service].datasets[0];
        struct zb_set_id at = prune->u.op.known[n];
        const struct sim_snap *newest =
            other->exists && other->snaps_count > 0 ? &other->snaps[other->snaps_count - 1] : NULL;
        bool told = false;
        if (newest == NULL || zb_set_id_is_none(at) || zb_set_id_cmp(newest->id, at) != 0 ||
            !is_stood_on(w, prune, root, n, newest->guid) || !holds_any_set(w, n, prune->service) ||
            !zb_lineage_has(&s->record.rec.lineage, at) ||
            s->record.rec.established_term != s->record.rec.learned_term ||
            is_here(root, newest->guid, true)) {
            continue;
        }
        for (size_t i = 0; i < gone_count; i++) {
            told = told || zb_set_id_cmp(gone[i], at) == 0;
        }
        if (!told) {
            sim_fail(w, "S5: n%u has nothing of %lu/%lu of service %u, where n%u stands, silently",
                     prune->node + 1, (unsigned long)at.term, (unsigned long)at.seq, prune->service,
                     n + 1);
        }
    }
}

/* S5: who stands on what the leader has a bookmark of is sent on from there. */
void
sim_check_parted(struct sim *w, const struct sim_item *ship, const struct sim_dataset *from,
                 const struct sim_dataset *to, uint64_t target)
{
    uint64_t base = to->snaps[to->snaps_count - 1].guid;

    if (base < target && is_here(from, base, true) && is_here(from, target, true)) {
        sim_fail(w,
                 "S5: n%u has a bookmark of where n%u stands in service %u, and sends nothing on",
                 ship->node + 1, ship->peer + 1, ship->service);
    }
}
