/* The invariants of doc/design.md, asked of the simulated disks and mounts, never of the core. */
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

/* S1, S2, M1, M6: who mounts read-write holds everything that was acknowledged, equals what was
 * released, and is the only one who ever mounted this term. */
void
sim_check_writable(struct sim *w, uint8_t node, uint8_t service, bool planned,
                   const struct zb_set_ref *released)
{
    struct sim_service *s = &w->nodes[node].services[service];
    uint64_t term = s->record.rec.established_term;
    const struct sim_manifest *m;

    if (term < 64) {
        uint64_t *leader = &w->leader_of[service][term];
        if (*leader != 0 && *leader != node + 1u) {
            sim_fail(w, "S1: term %lu of service %u is led by n%lu and by n%u",
                     (unsigned long)term, service, (unsigned long)*leader, node + 1);
        }
        *leader = node + 1u;
    }
    for (unsigned u = 1; u <= w->next_uuid[service]; u++) {
        const struct sim_dataset *d = sim_dataset_by_uuid(w, node, service, (uint8_t)u);
        uint32_t acked = w->acked[service][u];
        if (acked == 0 || w->destroyed[service][u]) {
            continue;
        }
        if (d == NULL || d->orphan || !sim_descends(w, acked, d->live)) {
            sim_fail(w, "S2: n%u leads service %u in term %lu without acknowledged write %u", node + 1,
                     service, (unsigned long)term, acked);
        }
    }
    if (!planned) {
        return;
    }
    m = sim_manifest_find(w, service, released);
    if (m == NULL || !sim_holds(w, node, m)) {
        sim_fail(w, "S2: n%u leads service %u without the released set", node + 1, service);
        return;
    }
    for (uint8_t i = 0; i < m->count; i++) {
        const struct sim_dataset *d = sim_dataset_by_uuid(w, node, service, m->uuids[i]);
        if (d->snaps[d->snaps_count - 1].guid != m->guids[i] || d->live != m->versions[i]) {
            sim_fail(w, "S2: the tree of n%u is not the released set of service %u", node + 1,
                     service);
        }
    }
}

/* S4, S6: a receive replaces what is there: only what a snapshot holds already. */
void
sim_check_overwrite(struct sim *w, uint8_t node, uint8_t service, uint8_t dataset)
{
    const struct sim_dataset *d = &w->nodes[node].services[service].datasets[dataset];

    if (d->mount != ZB_MOUNT_NONE || d->lazy) {
        sim_fail(w, "S4: n%u receives service %u into a mounted dataset", node + 1, service);
    }
    if (d->logged != 0 || d->dirty ||
        d->live != (d->snaps_count > 0 ? d->snaps[d->snaps_count - 1].version : 0)) {
        sim_fail(w, "S4: a receive of n%u destroyed writes of service %u", node + 1, service);
    }
}

/* G6: what a node tells of its disk includes what only the intent log has. */
void
sim_check_told(struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];

    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &s->datasets[i];
        if (d->exists && d->mount == ZB_MOUNT_NONE && d->logged != 0 && !d->lazy) {
            sim_fail(w, "S4: n%u told its position of service %u before the intent log was replayed",
                     node + 1, service);
        }
    }
}

/* S5: after a pruning by the leader the newest snapshot of every member is still there: a member
 * takes nothing that does not go on from it. */
void
sim_check_pruned(struct sim *w, uint8_t node, uint8_t service)
{
    if (w->nodes[node].services[service].stage != ZB_STAGE_MOUNTED) {
        return; /* a follower may prune what is newer elsewhere */
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        for (uint8_t i = 0; i < w->opt.datasets; i++) {
            const struct sim_dataset *own = &w->nodes[node].services[service].datasets[i];
            const struct sim_dataset *other;
            bool base = false;
            if (n == node || !own->exists || own->orphan || own->uuid == 0 ||
                w->destroyed[service][own->uuid]) {
                continue;
            }
            other = sim_dataset_by_uuid(w, n, service, own->uuid);
            if (other == NULL || other->partial || other->snaps_count == 0 || other->orphan) {
                continue;
            }
            for (uint32_t j = own->snaps_count; j-- > 0 && !base;) {
                base = own->snaps[j].guid == other->snaps[other->snaps_count - 1].guid;
            }
            if (!base) {
                sim_fail(w, "S5: pruning on n%u left no base with n%u for service %u", node + 1,
                         n + 1, service);
            }
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
sim_check_grant(struct sim *w, uint8_t node, uint8_t service,
                const struct zb_keeper_record *before)
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
    if (b->granted_term > a->granted_term && b->established_term == a->established_term &&
        can_write(w, s)) {
        sim_fail(w, "M2: n%u granted term %lu of service %u while it could write", node + 1,
                 (unsigned long)b->granted_term, service);
    }
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
        struct zb_set_ref own;
        sim_position(w, n, service, &own);
        if (!zb_set_ref_equal(&own, &newest)) {
            return false;
        }
    }
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
