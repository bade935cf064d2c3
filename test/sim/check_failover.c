/* The rules and invariants of failovers, asked of the simulated disks and records (check.c). */
#include "members.h"
#include "sim.h"

#include <string.h>

#define COLLECT_MS 2900 /* a failover waits for positions a little longer (ZB_COLLECT_MS) */

/* ---- who granted ---- */

static bool
is_grant(const struct zb_record *r, uint64_t term, const char *to)
{
    return r->granted_term == term && strcmp(r->granted_to, to) == 0;
}

void
sim_majority_note(struct sim *w, uint8_t service, const struct zb_record *granter)
{
    uint64_t term = granter->granted_term;
    uint8_t candidate = (uint8_t)(granter->granted_to[1] - '1');
    const struct zb_core_conf *conf;
    unsigned voters = 0;
    unsigned granted = 0;

    if (term <= w->majority[service].term) {
        return;
    }
    conf = &w->nodes[candidate].services[service].conf;
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_service *s = &w->nodes[n].services[service];
        voters += sim_is_voter(conf, n);
        granted += sim_is_voter(conf, n) && (is_grant(&s->record.rec, term, granter->granted_to) ||
                                             is_grant(&s->before, term, granter->granted_to));
    }
    voters += conf->witness;
    granted += conf->witness && sim_witness_granted(w, service, term, candidate);
    if (2 * granted > voters) {
        w->majority[service] = (struct sim_majority){.term = term,
                                                     .at_ms = w->now_ms,
                                                     .node = candidate,
                                                     .host_life = w->nodes[candidate].host_life,
                                                     .session = w->next_session,
                                                     .local_ms = sim_local_ms(w, candidate)};
    }
}

bool
sim_granted_to(const struct sim *w, uint8_t node, const struct sim_item *promote)
{
    const struct zb_record *r = &w->nodes[node].services[promote->service].record.rec;
    char candidate[ZB_NODE_NAME_SIZE];

    sim_node_name(promote->node, candidate);
    return r->granted_term == promote->u.op.term && strcmp(r->granted_to, candidate) == 0;
}

/* It could be asked all the time since the majority's grants, and that is less than what a failover
 * waits for positions. */
static bool
is_waited_for(const struct sim *w, const struct sim_item *promote, uint8_t node)
{
    const struct sim_majority *m = &w->majority[promote->service];
    const struct sim_node *candidate = &w->nodes[promote->node];

    return m->term == promote->u.op.term && m->node == promote->node &&
           m->host_life == candidate->host_life &&
           sim_local_ms(w, promote->node) - m->local_ms < COLLECT_MS &&
           sim_connected(w, promote->node, node) && candidate->session[node] <= m->session;
}

/* node holds a set of the history that is newer than the one that the term goes on from. */
static void
ahead(struct sim *w, const struct sim_item *item, const struct zb_lineage *lineage, uint8_t node,
      struct zb_set_id at, const char *rule, const char *how)
{
    if (zb_lineage_has(lineage, at) && zb_set_id_cmp(at, item->u.op.set.id) > 0) {
        sim_fail(w, "%s: n%u leads service %u in term %lu from %lu/%lu, n%u %s %lu/%lu", rule,
                 item->node + 1, item->service, (unsigned long)item->u.op.term,
                 (unsigned long)item->u.op.set.id.term, (unsigned long)item->u.op.set.id.seq,
                 node + 1, how, (unsigned long)at.term, (unsigned long)at.seq);
    }
}

/* S3, S6, M8: no member that granted the term, could be asked, or told so, holds a newer set of the
 * history that the granters know. */
static void
writable_newest(struct sim *w, const struct sim_item *item)
{
    const struct zb_witness_record *witness = &w->witness.records[item->service];
    const struct zb_lineage *lineage = &item->u.op.lineage;
    uint64_t learned = lineage->lines[lineage->count - 1].term;

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_record *r = &w->nodes[n].services[item->service].record.rec;
        bool counts = sim_granted_to(w, n, item) && r->learned_term < item->u.op.term;
        if (counts && r->learned_term > learned) {
            learned = r->learned_term;
            lineage = &r->lineage;
        }
    }
    if (witness->granted_term == item->u.op.term && witness->granted_to == item->node &&
        witness->learned_term > learned && witness->learned_term < item->u.op.term) {
        learned = witness->learned_term;
        lineage = &witness->lineage;
    }
    if (!zb_lineage_has(lineage, item->u.op.set.id)) {
        sim_fail(w,
                 "M8: n%u leads service %u in term %lu from %lu/%lu, which is not of its history",
                 item->node + 1, item->service, (unsigned long)item->u.op.term,
                 (unsigned long)item->u.op.set.id.term, (unsigned long)item->u.op.set.id.seq);
    }
    for (uint8_t n = 0; n < w->opt.nodes && !w->allow_loss[item->node][item->service]; n++) {
        struct zb_set_ref at;
        const struct sim_service *its = &w->nodes[n].services[item->service];
        /* Or leads again since, and nobody of them knows. */
        bool led = its->record.rec.established_term >= learned ||
                   its->before.established_term == learned; /* and forgot it */
        if ((item->u.op.members & 1u << n) == 0) {
            continue;
        }
        sim_position(w, n, item->service, &at);
        /* What the last leader granted, and was off before its answer arrived: its own last sets
         * are the loss that is stated. */
        if (its->before.established_term == learned &&
            sim_was_off(w, item->service, n, item->u.op.term)) {
            continue;
        }
        if (sim_granted_to(w, n, item)) {
            ahead(w, item, lineage, n, at.id, "S6", "granted it and holds");
            continue;
        }
        if (is_waited_for(w, item, n)) {
            ahead(w, item, lineage, n, at.id, "S3", "can be asked and holds");
        }
        if (!led) { /* whose last sets are what is stated (statement.c) */
            ahead(w, item, lineage, n, w->told[item->node][n][item->service].at, "S6",
                  "did not grant it, and told that it holds");
        }
    }
}

/* Somebody who may have led since did not grant the term: an operator said that it is off. */
static bool
without_a_suspect(const struct sim *w, const struct sim_item *item)
{
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_record *r = &w->nodes[n].services[item->service].record.rec;
        for (size_t i = 0; sim_granted_to(w, n, item) && i < ZB_MEMBERS_MAX + 1; i++) {
            const char *suspect = r->suspects[i];
            if (suspect[0] != '\0' &&
                w->nodes[suspect[1] - '1'].services[item->service].record.rec.granted_term <
                    item->u.op.term) {
                return true;
            }
        }
    }
    return false;
}

static bool
granter_ahead(struct sim *w, const struct sim_item *item)
{
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        struct zb_set_ref at;
        sim_position(w, n, item->service, &at);
        if (sim_granted_to(w, n, item) && zb_set_id_cmp(at.id, item->u.op.set.id) > 0) {
            return true;
        }
    }
    return false;
}

/* Recorded: from here on what a failover leaves behind is no part of the service. */
void
sim_check_taken(struct sim *w, const struct sim_item *item)
{
    /* It leads with an older disk, that was brought to what the others have. */
    bool put_back = w->image.taken && w->image.node == item->node &&
                    w->image.service == item->service && !granter_ahead(w, item);

    if (item->u.op.lineage.count > 0) { /* a failover brings its granters' history */
        writable_newest(w, item);
    }
    if (item->u.op.lineage.count > 0 || without_a_suspect(w, item) || put_back) {
        sim_lose(w, item);
    }
    if (put_back) { /* what the newer disk had alone */
        w->forgiven[item->service] = true;
    }
}

/* ---- what is set aside ---- */

/* M9: a follower's copy is set aside only towards a leader that led, and can be reached. */
void
sim_check_rescue(struct sim *w, uint8_t node, uint8_t service, uint8_t leader, uint64_t term)
{
    const struct sim_service *led = &w->nodes[leader].services[service];

    if (leader != node &&
        ((led->record.rec.established_term < term && led->before.established_term < term) ||
         w->nodes[node].session[leader] == 0)) {
        sim_fail(
            w,
            "M9: n%u sets service %u aside towards n%u, which does not lead term %lu, or cannot "
            "be reached",
            node + 1, service, leader + 1, (unsigned long)term);
    }
}

/* What is told of a dataset that a RESCUE looks at, or all that it holds. */
static uint32_t
content(const struct sim_dataset *d)
{
    return d->logged != 0 ? d->logged : d->live;
}

void
sim_contents_note(const struct sim *w, uint8_t node, uint8_t service,
                  struct sim_content contents[SIM_DATASETS])
{
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &w->nodes[node].services[service].datasets[i];
        contents[i] = (struct sim_content){
            .exists = d->exists && !d->partial, .uuid = d->uuid, .version = content(d)};
    }
}

/* S4: whatever was there is there, or stands aside. */
void
sim_check_aside(struct sim *w, uint8_t node, uint8_t service,
                const struct sim_content before[SIM_DATASETS])
{
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &w->nodes[node].services[service].datasets[i];
        bool found = !before[i].exists || w->rescued_count == SIM_RESCUED ||
                     (d->exists && d->uuid == before[i].uuid &&
                      sim_descends(w, before[i].version, content(d)));
        for (uint32_t j = w->rescued_count; j-- > 0 && !found;) {
            const struct sim_write *r = &w->rescued[j];
            found = r->service == service && r->uuid == before[i].uuid &&
                    sim_descends(w, before[i].version, r->version);
        }
        if (!found) {
            sim_fail(w, "S4: n%u set service %u aside, and write %u of dataset %u is nowhere",
                     node + 1, service, before[i].version, before[i].uuid);
        }
    }
}

/* S7: what goes on after it stands on its forks. */
void
sim_check_forks(struct sim *w, uint8_t node, uint8_t service, const uint64_t guids[SIM_DATASETS])
{
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        const struct sim_dataset *d = &w->nodes[node].services[service].datasets[i];
        if (guids[i] != 0 && d->exists && !d->orphan && d->snaps_count > 0 &&
            (d->snaps[d->snaps_count - 1].guid != guids[i] || sim_written(d) != 0)) {
            sim_fail(w, "S7: n%u says that service %u goes on from its forks; dataset %u does not",
                     node + 1, service, d->uuid);
        }
    }
}
