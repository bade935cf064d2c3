/* When the keeper's operations are done: their admission and their stages, as src/keeper/dispatch.c
 * has them. */
#include "members.h"
#include "sim.h"

#include <string.h>

static bool
op_looks(enum zb_act_kind kind)
{
    return kind != ZB_ACT_START && kind != ZB_ACT_STOP && kind != ZB_ACT_SNAPSHOT &&
           kind != ZB_ACT_PRUNE;
}

/* By which declaration it is told where members stand: its own as the leader, else the leader's. */
static uint32_t
members_told(const struct sim *w, uint8_t node, uint8_t service)
{
    const struct sim_service *s = &w->nodes[node].services[service];
    uint8_t leader = (uint8_t)(s->record.rec.learned_leader[1] - '1');
    uint64_t version = leader == node ? s->conf.version : s->told_version[leader];

    return w->members_of[service][version % SIM_DECLARATIONS];
}

void
sim_op_begin(struct sim *w, uint8_t node, const struct zb_action *a)
{
    const struct sim_service *s = &w->nodes[node].services[a->service];
    struct sim_item *item = sim_item_add(w, SIM_OP, node, 1 + (int64_t)sim_random(w, 10));
    const struct sim_manifest *m;

    item->service = (uint8_t)a->service;
    item->life = w->nodes[node].keeper_life;
    item->peer_life = w->nodes[node].engine_life;
    item->u.op.id = a->id;
    item->u.op.kind = a->kind;
    item->u.op.node = a->node;
    item->u.op.final = a->final;
    item->u.op.flags = a->flags;
    item->u.op.keep_count = a->keep_count;
    item->u.op.term = a->term;
    item->u.op.nonce = a->nonce;
    item->u.op.timeout_ms = a->timeout_ms;
    item->u.op.begun_ms = w->now_ms;
    item->u.op.set = a->set;
    item->u.op.floor = a->floor;
    item->u.op.floor_way = a->floor_way;
    item->u.op.lineage = a->lineage;
    item->u.op.protect_count = (uint8_t)a->protect_count;
    item->u.op.bases_count = (uint8_t)a->bases_count;
    memcpy(item->u.op.protect, a->protect, sizeof(item->u.op.protect));
    item->u.op.voters = sim_voters(&s->conf);
    item->u.op.members = s->record.rec.learned_leader[0] != '\0' && a->kind == ZB_ACT_PRUNE
                             ? members_told(w, node, item->service)
                             : sim_members(&s->conf);
    for (uint8_t n = 0; a->kind == ZB_ACT_PRUNE && n < w->opt.nodes; n++) {
        item->u.op.known[n] = s->positions[n].id;
    }
    item->u.op.fail = sim_chance(w, w->opt.op_failures);
    if (!zb_set_id_is_none(a->set.id)) {
        m = sim_manifest_find(w, item->service, &a->set);
        item->u.op.manifest = m != NULL ? (uint32_t)(m - w->manifests) + 1 : 0;
    }
    if (a->kind == ZB_ACT_RESCUE) {
        item->u.op.meddled = sim_chance(w, w->opt.op_failures / 2);
        sim_check_rescue(w, node, item->service, a->node, a->term);
    }
    if (a->kind == ZB_ACT_GRANT && a->node != node && a->nonce != 0) {
        sim_check_version(w, node, a->node, item->service);
    }
    sim_tell(w, node, "asks %s service %u term %lu set %lu/%lu n%u", sim_act_word(a->kind),
             a->service, (unsigned long)a->term, (unsigned long)a->set.id.term,
             (unsigned long)a->set.id.seq, a->node + 1);
}

void
sim_op_finish(struct sim *w, const struct sim_item *item, enum zb_rc rc, bool looks)
{
    struct sim_node *n = &w->nodes[item->node];
    struct sim_item *done;

    if (item->u.op.claims) {
        n->services[item->service].claimed = false;
    }
    done = sim_item_add(w, SIM_DONE, item->node, 1 + (int64_t)sim_random(w, 5));
    done->service = item->service;
    done->life = item->peer_life;
    done->u.done.id = item->u.op.id;
    done->u.done.kind = item->u.op.kind;
    done->u.done.rc = rc;
    done->u.done.set = item->u.op.set;
    done->u.done.elapsed_ms = (uint32_t)(w->now_ms - item->u.op.begun_ms);
    done->u.done.remounted = item->u.op.remounted;
    done->u.done.rescued = item->u.op.rescued;
    if (looks && sim_service_settle(w, item->node, item->service)) {
        done->u.done.obs_valid = true;
        sim_obs_fill(w, item->node, item->service, &done->u.done.obs);
        sim_check_told(w, item->node, item->service);
    } else if (looks && item->u.op.kind == ZB_ACT_OBSERVE) {
        done->u.done.rc = ZB_E_FAILED;
    }
}

static bool
op_claims(const struct sim *w, const struct sim_item *item, const struct sim_request *r)
{
    const struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_err err;
    bool known = false;

    switch (item->u.op.kind) {
    case ZB_ACT_OBSERVE:
        return !s->settled;
    case ZB_ACT_LEARN:
        return zb_rules_learn(&s->record, &r->req, &known, &err) == ZB_OK && !known;
    default:
        return true;
    }
}

/* Stage 0: claimed, or tried again while it may wait, or busy. */
static int64_t
op_admit(struct sim *w, struct sim_item *item, const struct sim_request *r)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    bool ends_receives = item->u.op.kind == ZB_ACT_GRANT || item->u.op.kind == ZB_ACT_LEARN ||
                         item->u.op.kind == ZB_ACT_DEMOTE || item->u.op.kind == ZB_ACT_RESCUE;

    if (op_claims(w, item, r)) {
        if (ends_receives && s->receives > 0) {
            s->receive_epoch++;
            s->receives = 0;
        }
        if (s->claimed || s->receives > 0) {
            if (ends_receives && w->now_ms - item->u.op.begun_ms < 5000) {
                return 100;
            }
            sim_op_finish(w, item, ZB_E_BUSY, op_looks(item->u.op.kind));
            return -1;
        }
        s->claimed = item->u.op.claims = true;
    }
    item->stage = 1;
    return sim_chance(w, 50) ? (int64_t)sim_random(w, 2000) : (int64_t)sim_random(w, 20);
}

void
sim_op_run(struct sim *w, struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    struct zb_keeper_record before = s->record;
    struct sim_facts f;
    struct sim_request r;
    int64_t delay_ms;

    sim_request_fill(w, item, &r);
    if (item->stage == 0) {
        delay_ms = op_admit(w, item, &r);
    } else if (item->u.op.kind != ZB_ACT_STOP && item->u.op.kind != ZB_ACT_DEMOTE &&
               !sim_service_settle(w, item->node, item->service)) {
        sim_op_finish(w, item, ZB_E_HELD, op_looks(item->u.op.kind));
        delay_ms = -1;
    } else if (item->u.op.kind == ZB_ACT_PROMOTE) {
        delay_ms = sim_op_promote(w, item);
    } else if (item->u.op.kind == ZB_ACT_SEAL) {
        delay_ms = sim_op_seal(w, item);
    } else if (item->u.op.kind == ZB_ACT_SNAPSHOT) {
        delay_ms = sim_op_snapshot(w, item);
    } else {
        sim_facts_fill(w, item->node, item->service, &f);
        sim_op_finish(w, item, sim_op_simple(w, item, &f, &r), op_looks(item->u.op.kind));
        delay_ms = -1;
    }
    sim_check_grant(w, item->node, item->service, &before);
    if (s->record.rec.released_term != before.rec.released_term) {
        sim_check_released(w, item->node, item->service);
    }
    if (delay_ms >= 0) {
        sim_item_again(w, item, delay_ms);
    }
}
