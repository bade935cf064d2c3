/* etcd as a voter (core/witness.h): a record per service that every transaction changes at once or
 * not at all. It may be out of a node's reach, answer late or never after it was done, and be put
 * back to an older copy. */
#include "members.h"
#include "sim.h"

#include <string.h>

#define W ZB_NODE_WITNESS

/* What a record of a node would say. */
void
sim_witness_record(const struct zb_witness_record *r, struct zb_record *out)
{
    *out = (struct zb_record){.granted_term = r->granted_term, .learned_term = r->learned_term};
    out->lineage = r->lineage;
    if (r->granted_to < SIM_NODES) {
        sim_node_name(r->granted_to, out->granted_to);
    }
    for (uint8_t n = 0, i = 0; n < SIM_NODES; n++) {
        if ((r->suspects & 1u << n) != 0) {
            sim_node_name(n, out->suspects[i++]);
        }
    }
}

bool
sim_witness_granted(const struct sim *w, uint8_t service, uint64_t term, uint8_t to)
{
    const struct zb_witness_record *r = &w->witness.records[service];
    const struct zb_witness_record *before = &w->witness.before[service];

    return (r->granted_term == term && r->granted_to == to) ||
           (before->granted_term == term && before->granted_to == to);
}

/* ---- whether a node reaches it ---- */

void
sim_witness_link(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];
    bool up = w->opt.witness && n->engine && (w->witness.cut & 1u << node) == 0;
    struct zb_event ev = {.kind = up ? ZB_EV_PEER_UP : ZB_EV_PEER_DOWN, .node = W};

    if (!n->engine || up == n->witness_up) {
        return;
    }
    n->witness_up = up;
    sim_tell(w, node, "%s the witness", up ? "reaches" : "lost");
    sim_step(w, node, &ev);
}

void
sim_witness_link_soon(struct sim *w, uint8_t node)
{
    if (w->manual) {
        sim_witness_link(w, node);
    } else if (w->opt.witness) {
        (void)sim_item_add(w, SIM_VOTE_LINK, node, 2 + (int64_t)sim_random(w, 4000));
    }
}

/* ---- transactions ---- */

void
sim_witness_send(struct sim *w, uint8_t from, uint8_t service, const struct zb_core_msg *msg)
{
    struct sim_item *item;
    int64_t delay_ms = 1 + (int64_t)sim_random(w, 20);

    if ((w->witness.cut & 1u << from) != 0 || sim_chance(w, w->opt.loss)) {
        return;
    }
    if (sim_chance(w, w->opt.reorder)) { /* a member that stood still goes on with it */
        delay_ms += (int64_t)sim_random(w, 3000);
    }
    item = sim_item_add(w, SIM_VOTE, from, delay_ms);
    item->service = service;
    item->life = w->nodes[from].engine_life;
    item->u.msg = *msg;
}

static void
check(struct sim *w, const struct sim_item *item, const struct zb_core_msg *answer,
      const struct zb_witness_record *a, const struct zb_witness_record *b)
{
    struct zb_record record;

    if (b->granted_term < a->granted_term || b->learned_term < a->learned_term) {
        sim_fail(w, "M2: a term went back in the record of the witness for service %u",
                 item->service);
    }
    if (b->granted_term == a->granted_term && a->granted_term != 0 &&
        b->granted_to != a->granted_to) {
        sim_fail(w, "M1: the witness granted term %lu of service %u to n%u and to n%u",
                 (unsigned long)a->granted_term, item->service, a->granted_to + 1,
                 b->granted_to + 1);
    }
    /* One that is refused may tell it what it granted before (M13). */
    if (answer->kind == ZB_MSG_GRANT_ANSWER && answer->rc == ZB_OK &&
        item->u.msg.version < a->version) {
        sim_fail(w, "M11: the witness granted term %lu of service %u by an older list",
                 (unsigned long)b->granted_term, item->service);
    }
    if (b->learned_term == a->learned_term && (a->suspects & ~b->suspects) != 0) {
        sim_fail(w, "M3: the witness forgot a suspect of service %u", item->service);
    }
    if (b->granted_to < SIM_NODES) {
        sim_witness_record(b, &record);
        sim_majority_note(w, item->service, &record);
    }
}

/* It is decided at once; the answer is on its way, or lost. */
void
sim_witness_run(struct sim *w, const struct sim_item *item)
{
    struct zb_witness_record *r = &w->witness.records[item->service];
    struct zb_witness_record next;
    struct zb_core_msg answer;
    bool changed = zb_witness_decide(r, item->node, &item->u.msg, &next, &answer);
    bool done = (w->witness.cut & 1u << item->node) == 0;

    if (done && changed) {
        const struct zb_witness_record before = *r;
        *r = next;
        check(w, item, &answer, &before, r);
    }
    sim_tell(w, item->node, "witness: kind %d term %lu rc %d granted %lu to n%u learned %lu%s",
             (int)item->u.msg.kind, (unsigned long)item->u.msg.term, (int)answer.rc,
             (unsigned long)next.granted_term, next.granted_to + 1,
             (unsigned long)next.learned_term, done ? "" : ": not done");
    if (answer.kind == 0 || !done || sim_chance(w, 2 * w->opt.loss)) {
        return;
    }
    struct sim_item *back =
        sim_item_add(w, SIM_VOTED, item->node,
                     1 + (int64_t)sim_random(w, sim_chance(w, w->opt.reorder) ? 3000 : 20));
    back->service = item->service;
    back->life = item->life;
    back->u.msg = answer;
}

void
sim_witness_arrive(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_MESSAGE, .node = W, .service = item->service};
    const struct zb_core_msg *m = &item->u.msg;
    const struct zb_core_seen told = {.granted_term = m->granted_term,
                                      .granted_to = m->granted_to,
                                      .learned_term = m->learned_term,
                                      .learned_leader = m->learned_leader,
                                      .suspects = m->suspects};

    (void)zb_core_seen_add(&w->nodes[item->node].services[item->service].witness_seen, &told);
    ev.u.msg = *m;
    sim_step(w, item->node, &ev);
}

/* ---- faults ---- */

/* Out of the reach of some nodes, or of all, or back. */
void
sim_fault_witness(struct sim *w)
{
    uint32_t cut = (1u << w->opt.nodes) - 1;

    w->witness.cut = w->witness.cut != 0 && sim_chance(w, 700) ? 0
                     : sim_chance(w, 500)                      ? cut
                                                               : sim_random(w, cut + 1);
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        sim_witness_link_soon(w, n);
    }
}

/* Everybody heard of all that the record says (as of a node's record that is put back). */
static bool
is_remembered(const struct sim *w, uint8_t service)
{
    const struct zb_witness_record *r = &w->witness.records[service];

    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct zb_core_seen *seen = &w->nodes[n].services[service].witness_seen;
        if (seen->granted_term < r->granted_term || seen->learned_term < r->learned_term ||
            (r->suspects & ~seen->suspects) != 0) {
            return false;
        }
    }
    return true;
}

/* etcd is restored from a copy. The version of the voters' list is none of what others remember
 * (M11), and stays. */
void
sim_fault_witness_back(struct sim *w)
{
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    struct zb_witness_record *r = &w->witness.records[service];
    struct zb_witness_record *copy = &w->witness.copy[service];

    if (!w->witness.copied[service] || copy->granted_term >= r->granted_term) {
        *copy = *r;
        w->witness.copied[service] = true;
    } else if (w->opt.changes == 0 && is_remembered(w, service)) {
        sim_tell(w, 0, "the witness' record of service %u is put back to term %lu", service,
                 (unsigned long)copy->granted_term);
        copy->version = r->version;
        if (r->granted_term >= w->witness.before[service].granted_term) {
            w->witness.before[service] = *r;
        }
        *r = *copy;
        w->witness.copied[service] = false;
    }
}
