/* The invariants of doc/design.md, asked of the simulated disks and mounts, never of the core. */
#include "members.h"
#include "sim.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void
sim_fail(struct sim *w, const char *fmt, ...)
{
    va_list ap;

    if (w->failed) {
        return;
    }
    w->failed = true;
    va_start(ap, fmt);
    (void)vsnprintf(w->failure, sizeof(w->failure), fmt, ap);
    va_end(ap);
    sim_tell(w, 0, "FAILED %s", w->failure);
}

static bool
can_write(const struct sim *w, const struct sim_service *s)
{
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        if (d->exists && (d->mount == ZB_MOUNT_RW || d->lazy)) {
            return true;
        }
    }
    return false;
}

/* S1 after every step: at most one host from which a service's data can be written. */
void
sim_check(struct sim *w)
{
    for (uint8_t i = 0; i < w->opt.services; i++) {
        int writer = -1;
        for (uint8_t n = 0; n < w->opt.nodes; n++) {
            const struct sim_service *s = &w->nodes[n].services[i];
            if (!can_write(w, s)) {
                continue;
            }
            if (writer >= 0) {
                sim_fail(w, "S1: service %u can be written on n%d and on n%u", i, writer + 1,
                         n + 1);
            }
            writer = n;
        }
    }
}

/* M4: off at some moment after a majority had granted the term. */
bool
sim_was_off(const struct sim *w, uint8_t service, uint8_t node, uint64_t term)
{
    const struct sim_node *n = &w->nodes[node];

    return w->majority[service].term == term && (!n->on || n->off_ms >= w->majority[service].at_ms);
}

/* The highest one, also when its record went back since. */
static uint64_t
granted_term(const struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];

    return s->before.granted_term > s->record.rec.granted_term ? s->before.granted_term
                                                               : s->record.rec.granted_term;
}

/* Before its record was put back. */
static bool
granted_before(const struct sim *w, uint8_t node, const struct sim_item *promote)
{
    const struct zb_record *before = &w->nodes[node].services[promote->service].before;
    char candidate[ZB_NODE_NAME_SIZE];

    sim_node_name(promote->node, candidate);
    return before->granted_term == promote->u.op.term && strcmp(before->granted_to, candidate) == 0;
}

/* M3: who granted the term suspects nobody who could write still. */
static void
suspects_check(struct sim *w, const struct sim_item *item, const struct zb_record *r,
               uint64_t latest)
{
    uint64_t term = item->u.op.term;

    for (size_t i = 0; r->granted_term == term && i < ZB_MEMBERS_MAX + 1; i++) {
        const char *suspect = r->suspects[i];
        /* What was before a leader is over, though not all voters have heard of it. */
        bool over = r->learned_term < latest && suspect[0] != '\0' &&
                    granted_term(w, (uint8_t)(suspect[1] - '1'), item->service) <= latest;
        if (suspect[0] != '\0' && !over &&
            !sim_was_off(w, item->service, (uint8_t)(suspect[1] - '1'), term) &&
            granted_term(w, (uint8_t)(suspect[1] - '1'), item->service) < term) {
            sim_fail(w, "M3: n%u leads term %lu of service %u without the grant of %s",
                     item->node + 1, (unsigned long)term, item->service, suspect);
        }
    }
}

/* Whether the witness granted the term that item promotes, or a later one; its suspects. */
static bool
witness_granted(struct sim *w, const struct sim_item *item, uint64_t latest)
{
    const struct zb_witness_record *r = &w->witness.records[item->service];
    uint64_t term = item->u.op.term;
    struct zb_record record;

    sim_witness_record(r, &record);
    suspects_check(w, item, &record, latest);
    return r->granted_term > term || w->witness.before[item->service].granted_term > term ||
           sim_witness_granted(w, item->service, term, item->node);
}

/* M1, M3, M7: a term is led by one node, recorded before; a majority of voters has granted it or
 * more, and so has every node that one of them suspects. */
static void
writable_term(struct sim *w, const struct sim_item *item)
{
    uint64_t term = item->u.op.term;
    uint64_t latest = 0; /* term before that a granter knows to have been led */
    uint32_t by = (item->u.op.flags & ZB_PROMOTE_REMOUNT) != 0 ? w->writer[item->service].voters
                                                               : item->u.op.voters;
    unsigned voters = 0;
    unsigned granted = 0;

    if (w->nodes[item->node].services[item->service].record.rec.established_term != term) {
        sim_fail(w, "M7: n%u mounts service %u in term %lu and has not recorded it", item->node + 1,
                 item->service, (unsigned long)term);
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_record *r = &w->nodes[n].services[item->service].record.rec;
        const struct zb_lineage *l = &r->lineage;
        uint64_t before = r->learned_term < term ? r->learned_term
                          : l->count > 1         ? l->lines[l->count - 2].term
                                                 : 0;
        latest = r->granted_term == term && before > latest ? before : latest;
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_record *r = &w->nodes[n].services[item->service].record.rec;
        if ((by & 1u << n) == 0) {
            continue;
        }
        voters++;
        granted += granted_term(w, n, item->service) > term || sim_granted_to(w, n, item) ||
                   granted_before(w, n, item);
        suspects_check(w, item, r, latest);
    }
    if ((by & 1u << ZB_NODE_WITNESS) != 0) {
        voters++;
        granted += witness_granted(w, item, latest);
    }
    if (2 * granted <= voters) {
        sim_fail(w, "M1: n%u leads term %lu of service %u, granted by %u of %u", item->node + 1,
                 (unsigned long)term, item->service, granted, voters);
    }
}

/* S1, M6: no term is led twice, by whomever. */
static void
writable_once(struct sim *w, const struct sim_item *item)
{
    uint32_t host_life = w->nodes[item->node].host_life;
    uint64_t term = item->u.op.term;

    if (term < w->writer[item->service].term ||
        (term == w->writer[item->service].term && item->node != w->writer[item->service].node)) {
        sim_fail(w, "S1: n%u leads term %lu of service %u, n%u led term %lu", item->node + 1,
                 (unsigned long)term, item->service, w->writer[item->service].node + 1,
                 (unsigned long)w->writer[item->service].term);
    }
    if (term == w->writer[item->service].term && host_life != w->writer[item->service].host_life) {
        sim_fail(w, "M6: n%u writes in term %lu of service %u again after a restart",
                 item->node + 1, (unsigned long)term, item->service);
    }
    if ((item->u.op.flags & ZB_PROMOTE_REMOUNT) == 0) {
        w->writer[item->service].voters = item->u.op.voters;
    }
    w->writer[item->service].term = term;
    w->writer[item->service].node = item->node;
    w->writer[item->service].host_life = host_life;
}

/* S2: everything that was acknowledged is there. */
static void
writable_whole(struct sim *w, const struct sim_item *item)
{
    for (unsigned u = 1; u <= w->next_uuid[item->service]; u++) {
        const struct sim_dataset *d = sim_dataset_by_uuid(w, item->node, item->service, (uint8_t)u);
        uint32_t acked = w->acked[item->service][u];
        if (acked == 0 || w->destroyed[item->service][u]) {
            continue;
        }
        if (d == NULL || d->orphan || !sim_descends(w, acked, d->live)) {
            sim_fail(w, "S2: n%u leads service %u in term %lu without acknowledged write %u",
                     item->node + 1, item->service, (unsigned long)item->u.op.term, acked);
        }
    }
}

/* S2, M5: a planned take equals the released set, and the release was not superseded; a failover's
 * equals the set that it goes on from. */
static void
writable_exact(struct sim *w, const struct sim_item *item)
{
    const struct sim_manifest *m = sim_manifest_find(w, item->service, &item->u.op.set);
    bool released = item->u.op.lineage.count > 0;

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_service *s = &w->nodes[n].services[item->service];
        const struct zb_record *r = &s->record.rec;
        released = released || s->before.released_term == item->u.op.term;
        /* Its holder may grant more to another candidate, which then waits for the taker (M3). */
        released =
            released ||
            (r->released_term == item->u.op.term &&
             (r->granted_term == item->u.op.term || w->opt.failovers > 0 || w->opt.changes > 0));
    }
    if (!released) {
        sim_fail(w, "M5: n%u takes term %lu of service %u on a release that does not stand",
                 item->node + 1, (unsigned long)item->u.op.term, item->service);
    }
    if (m == NULL || !sim_holds(w, item->node, m)) {
        sim_fail(w, "S2: n%u leads service %u without the released set", item->node + 1,
                 item->service);
        return;
    }
    for (uint8_t i = 0; i < m->count; i++) {
        const struct sim_dataset *d =
            sim_dataset_by_uuid(w, item->node, item->service, m->uuids[i]);
        if (d->snaps[d->snaps_count - 1].guid != m->guids[i] || d->live != m->versions[i]) {
            sim_fail(w, "S2: the tree of n%u is not the released set of service %u", item->node + 1,
                     item->service);
        }
    }
}

/* Asked when PROMOTE has mounted, before anything was written. */
void
sim_check_writable(struct sim *w, const struct sim_item *item)
{
    bool exact = (item->u.op.flags & (ZB_PROMOTE_EXACT | ZB_PROMOTE_REMOUNT)) == ZB_PROMOTE_EXACT;

    writable_term(w, item);
    writable_once(w, item);
    writable_whole(w, item);
    if (exact) {
        writable_exact(w, item);
    }
}

/* S6, S9, M2: at its beginning a receive goes on from the newest snapshot, in a dataset that is
 * zbaton's, in a term that this node has not given up. */
void
sim_check_receive(struct sim *w, const struct sim_item *item)
{
    const struct sim_service *s = &w->nodes[item->peer].services[item->service];
    const struct sim_dataset *d = &s->datasets[item->u.ship.slot];
    const struct sim_snap *newest = d->snaps_count > 0 ? &d->snaps[d->snaps_count - 1] : NULL;
    const struct sim_snap *snap = &item->u.ship.snap;

    if (newest != NULL && !zb_set_id_is_none(snap->id) && zb_set_id_cmp(newest->id, snap->id) > 0) {
        sim_fail(w, "S6: n%u went back from %lu/%lu to %lu/%lu of service %u", item->peer + 1,
                 (unsigned long)newest->id.term, (unsigned long)newest->id.seq,
                 (unsigned long)snap->id.term, (unsigned long)snap->id.seq, item->service);
    }
    if (!d->marked) {
        sim_fail(w, "S9: n%u receives service %u into a dataset that is not zbaton's",
                 item->peer + 1, item->service);
    }
    if (s->record.rec.granted_term > item->u.ship.term) {
        sim_fail(w, "M2: n%u receives term %lu of service %u, having granted term %lu",
                 item->peer + 1, (unsigned long)item->u.ship.term, item->service,
                 (unsigned long)s->record.rec.granted_term);
    }
}

/* S4, S8: at its end it replaces only what a snapshot holds already, and destroyed none. */
void
sim_check_overwrite(struct sim *w, const struct sim_item *item)
{
    const struct sim_service *s = &w->nodes[item->peer].services[item->service];
    const struct sim_dataset *d = &s->datasets[item->u.ship.slot];

    if (d->mount != ZB_MOUNT_NONE || d->lazy) {
        sim_fail(w, "S4: n%u receives service %u into a mounted dataset", item->peer + 1,
                 item->service);
    }
    if (d->logged != 0 || d->dirty ||
        d->live != (d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].version : 0)) {
        sim_fail(w, "S4: a receive of n%u destroyed writes of service %u", item->peer + 1,
                 item->service);
    }
    if (d->snaps_count < item->u.ship.snaps_before) {
        sim_fail(w, "S8: a receive of n%u destroyed snapshots of service %u", item->peer + 1,
                 item->service);
    }
}

/* M6: (term, seq) is never used twice. */
void
sim_check_set(struct sim *w, const struct sim_manifest *made)
{
    for (uint32_t i = w->manifests_count; i-- > 0;) {
        const struct sim_manifest *m = &w->manifests[i];
        if (m->service == made->service && zb_set_id_cmp(m->ref.id, made->ref.id) == 0) {
            sim_fail(w, "M6: set %lu/%lu of service %u was made twice",
                     (unsigned long)made->ref.id.term, (unsigned long)made->ref.id.seq,
                     made->service);
        }
    }
}

/* M5: a release is told while it stands; M2: a grant is told when it is durable. */
void
sim_check_message(struct sim *w, uint8_t node, uint8_t service, const struct zb_core_msg *msg)
{
    const struct zb_record *r = &w->nodes[node].services[service].record.rec;

    if (msg->kind == ZB_MSG_RELEASED &&
        (r->released_term != msg->term || r->granted_term != msg->term)) {
        sim_fail(w, "M5: n%u tells a release of term %lu of service %u that does not stand",
                 node + 1, (unsigned long)msg->term, service);
    }
    if (msg->kind == ZB_MSG_GRANT_ANSWER && msg->rc == ZB_OK && r->granted_term < msg->term) {
        sim_fail(w, "M2: n%u tells a grant of term %lu of service %u that it has not recorded",
                 node + 1, (unsigned long)msg->term, service);
    }
}

/* M11: who grants and who asked go by the same declaration of voters. */
void
sim_check_version(struct sim *w, uint8_t node, uint8_t candidate, uint8_t service)
{
    uint64_t own = w->nodes[node].services[service].conf.version;
    uint64_t asked = w->asked_version[node][candidate][service];

    if (own != asked) {
        sim_fail(w, "M11: n%u grants service %u to n%u by version %lu, having version %lu",
                 node + 1, service, candidate + 1, (unsigned long)asked, (unsigned long)own);
    }
}

/* Asked before a keeper starts: the service runs on a tree that is whole, in a term that goes on.
 */
bool
sim_check_goes_on(struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];
    bool whole = true;

    for (uint8_t j = 0; j < w->opt.datasets; j++) {
        const struct sim_dataset *d = &s->datasets[j];
        whole = whole && (!d->exists || d->orphan || !d->marked || d->mount == ZB_MOUNT_RW);
    }
    return s->running && whole && s->record.rec.established_term == s->record.rec.granted_term;
}

/* M12: then the restart of the daemon does not stop it. */
void
sim_check_restart(struct sim *w, uint8_t node, uint8_t service, bool goes_on)
{
    if (goes_on && !w->nodes[node].services[service].running) {
        sim_fail(w, "M12: the restart of n%u stopped service %u", node + 1, service);
    }
}

/* M6: who released takes the tree again only from somebody who led it since. Asked before the
 * promotion is recorded. */
void
sim_check_promote(struct sim *w, const struct sim_item *item)
{
    const struct zb_record *r = &w->nodes[item->node].services[item->service].record.rec;

    if ((item->u.op.flags & ZB_PROMOTE_EXACT) == 0 && r->released_term > r->established_term) {
        sim_fail(w, "M6: n%u takes service %u, having released term %lu to %s", item->node + 1,
                 item->service, (unsigned long)r->released_term, r->released_to);
    }
}

/* What a node tells of its disk includes what only the intent log has. */
void
sim_check_told(struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        if (d->exists && d->mount == ZB_MOUNT_NONE && d->logged != 0 && !d->lazy) {
            sim_fail(w,
                     "S4: n%u told its position of service %u before the intent log was replayed",
                     node + 1, service);
        }
    }
}

/* S2, S7: what is released is unmounted, unwritten, and held whole by who is to take it. */
void
sim_check_released(struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];
    const struct zb_record *r = &s->record.rec;
    const struct sim_manifest *m = sim_manifest_find(w, service, &r->released_set);
    uint8_t target = (uint8_t)(r->released_to[1] - '1');

    if (m == NULL) {
        sim_fail(w, "S2: n%u released service %u with a set that nobody made", node + 1, service);
        return;
    }
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        if (d->exists && !d->orphan && d->uuid != 0 &&
            (d->mount != ZB_MOUNT_NONE || d->lazy || d->dirty ||
             (d->snaps_count > 0 && d->live != d->snaps[d->snaps_count - 1].version))) {
            sim_fail(w, "S2: n%u released service %u and can write, or wrote after the final set",
                     node + 1, service);
        }
    }
    if (!sim_holds(w, target, m)) {
        sim_fail(w, "S7: n%u released service %u to n%u, which does not hold the final set",
                 node + 1, service, target + 1);
    }
}

/* M1, M2: terms of a record only grow; a term is granted to one node; never while mounted. */
void
sim_check_grant(struct sim *w, uint8_t node, uint8_t service, const struct zb_keeper_record *before)
{
    const struct sim_service *s = &w->nodes[node].services[service];
    const struct zb_record *a = &before->rec;
    const struct zb_record *b = &s->record.rec;

    if (b->granted_term < a->granted_term || b->learned_term < a->learned_term ||
        b->established_term < a->established_term || b->released_term < a->released_term) {
        sim_fail(w, "M2: a term went back in the record of n%u for service %u", node + 1, service);
    }
    if (b->granted_term == a->granted_term && a->granted_term != 0 &&
        strcmp(a->granted_to, b->granted_to) != 0) {
        sim_fail(w, "M1: n%u granted term %lu of service %u to %s and to %s", node + 1,
                 (unsigned long)a->granted_term, service, a->granted_to, b->granted_to);
    }
    if (b->learned_term == a->learned_term && a->learned_term != 0 &&
        strcmp(a->learned_leader, b->learned_leader) != 0) {
        sim_fail(w, "M10: n%u follows %s and %s in term %lu of service %u", node + 1,
                 a->learned_leader, b->learned_leader, (unsigned long)a->learned_term, service);
    }
    if (b->learned_term > a->learned_term && b->learned_term < b->granted_term) {
        sim_fail(w, "M2: n%u follows term %lu of service %u, having granted term %lu", node + 1,
                 (unsigned long)b->learned_term, service, (unsigned long)b->granted_term);
    }
    sim_majority_note(w, service, b);
    if (b->granted_term > a->granted_term && b->established_term == a->established_term &&
        can_write(w, s)) {
        sim_fail(w, "M2: n%u granted term %lu of service %u while it could write", node + 1,
                 (unsigned long)b->granted_term, service);
    }
}

/* Whether node has the newest set, or lacks no more than a backup does between its times. The
 * interval is another one after a change of the declaration. */
static bool
is_current(struct sim *w, uint8_t node, uint8_t service, const struct zb_set_ref *newest)
{
    const struct zb_core_conf *conf = &w->conf[service];
    uint64_t sets = (uint64_t)(conf->backup_every_ms / conf->interval_ms);
    struct zb_set_ref own;

    sets = sets > SIM_BACKUP_SETS ? sets : SIM_BACKUP_SETS;
    sim_position(w, node, service, &own);
    return zb_set_ref_equal(&own, newest) ||
           (!sim_is_voter(conf, node) && conf->backup_every_ms > 0 &&
            own.id.term == newest->id.term && newest->id.seq <= own.id.seq + sets + 2);
}

static bool
service_alive(struct sim *w, uint8_t service)
{
    struct zb_set_ref newest;
    struct zb_core_view v;
    uint8_t leader = SIM_NODES;

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        if (w->nodes[n].services[service].running) {
            leader = n;
        }
    }
    if (leader == SIM_NODES || !w->nodes[leader].engine) {
        return false;
    }
    zb_core_view(w->cores[leader], service, &v);
    sim_position(w, leader, service, &newest);
    if (v.role != ZB_ROLE_LEADING || newest.id.term != v.obs.established_term) {
        return false;
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        if (sim_is_member(&w->conf[service], n) && !is_current(w, n, service, &newest)) {
            return false;
        }
    }
    sim_statement_told(w, leader, service, v.obs.established_term);
    return true;
}

/* Every service is led and runs, every member holds its newest set, every command was answered. */
bool
sim_check_alive(struct sim *w)
{
    for (uint8_t i = 0; i < w->opt.services; i++) {
        if (!service_alive(w, i)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < w->commands_count; i++) {
        if (!w->commands[i].answered && !w->commands[i].dropped) {
            return false;
        }
    }
    return true;
}
