#include "agent/base_gone.h"
#include "agent/foreign.h"
#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/must.h"
#include "agent/peer_json.h"
#include "agent/pool.h"
#include "agent/position.h"
#include "agent/promise.h"
#include "agent/relocate.h"
#include "agent/rescue.h"
#include "agent/ship.h"
#include "agent/trouble.h"

/* An operation at the keeper for the core. */
struct op {
    struct zb_agent *a;
    uint16_t service;
    uint64_t action_id;
    enum zb_act_kind kind;
    struct zb_mono begun;
    struct zb_core_result result; /* of the operation, while the disk is looked at after it */
    struct zb_core_obs obs;
};

/* What fills the request beyond service, term, node and time; the manifest it needs. */
enum needs {
    NEEDS_NOTHING = 0,
    NEEDS_MANIFEST, /* of action.set: without it nothing is asked */
    LIKES_MANIFEST, /* of action.set, where it is known */
    NEEDS_FORK,     /* of action.set; where that is none, what the leader told of the fork */
};

static const struct act_op {
    enum zb_kop op;
    enum needs needs;
    bool looks;                   /* the disk is looked at afterwards: the result carries obs */
    enum zb_trouble_kind trouble; /* what its failures are kept as; 0: they are not */
} ops[] = {
    [ZB_ACT_OBSERVE] = {ZB_KOP_OBSERVE, .trouble = ZB_TROUBLE_LOOK},
    [ZB_ACT_CREATE] = {ZB_KOP_CREATE, .looks = true},
    [ZB_ACT_GRANT] = {ZB_KOP_GRANT, .looks = true},
    [ZB_ACT_LEARN] = {ZB_KOP_LEARN, .looks = true},
    [ZB_ACT_PROMOTE] = {ZB_KOP_PROMOTE, LIKES_MANIFEST, .looks = true,
                        .trouble = ZB_TROUBLE_PROMOTE},
    [ZB_ACT_START] = {ZB_KOP_START, .trouble = ZB_TROUBLE_START},
    [ZB_ACT_STOP] = {ZB_KOP_STOP},
    [ZB_ACT_SNAPSHOT] = {ZB_KOP_SNAPSHOT, .trouble = ZB_TROUBLE_SNAPSHOT},
    [ZB_ACT_SEAL] = {ZB_KOP_SEAL, NEEDS_MANIFEST, .looks = true},
    [ZB_ACT_RELEASE] = {ZB_KOP_RELEASE, NEEDS_MANIFEST, .looks = true},
    [ZB_ACT_DEMOTE] = {ZB_KOP_DEMOTE, .looks = true, .trouble = ZB_TROUBLE_DEMOTE},
    [ZB_ACT_PRUNE] = {ZB_KOP_PRUNE, .trouble = ZB_TROUBLE_PRUNE},
    [ZB_ACT_RESCUE] = {ZB_KOP_RESCUE, NEEDS_FORK, .looks = true, .trouble = ZB_TROUBLE_RESCUE},
};
#define OPS_COUNT (sizeof(ops) / sizeof(ops[0]))

/* --- what was observed --- */

static void
obs_datasets(const struct zb_krep *observed, struct zb_core_obs *obs)
{
    struct zb_set_id id;
    bool written = false;
    obs->exists = observed->datasets_count > 0;
    for (uint32_t i = 0; i < observed->datasets_count; i++) {
        const struct zb_kdataset *d = &observed->datasets[i];
        obs->mounted = obs->mounted || d->mount != ZB_MOUNT_NONE;
        obs->mounted_rw = obs->mounted_rw || d->mount == ZB_MOUNT_RW;
        obs->written_bytes += d->written_bytes;
        /* Without any snapshot there is nothing that it could have changed from. */
        written = written || (d->written_bytes != 0 && d->newest[0] != '\0');
        obs->added = obs->added || (d->rel[0] != '\0' && d->uuid[0] == '\0' && !d->marked);
        obs->foreign =
            obs->foreign || (d->newest[0] != '\0' && !zb_set_name_parse(d->newest, &id, NULL));
    }
    obs->modified = written && !obs->mounted;
}

void
zb_act_obs(const struct zb_agent *a, const struct zb_krep *observed, struct zb_core_obs *obs)
{
    struct zb_peer_names names = {.nodes = a->nodes, .count = a->nodes_count};
    const struct zb_record *r = &observed->record;
    *obs = (struct zb_core_obs){0};
    obs_datasets(observed, obs);
    obs->mounted_here = observed->mounted_here != 0;
    obs->sealed = observed->sealed != 0;
    obs->running = observed->running != 0;
    obs->key = (enum zb_key_state)observed->key;
    obs->granted_term = r->granted_term;
    obs->granted_to = zb_peer_names_find(&names, r->granted_to);
    obs->learned_term = r->learned_term;
    obs->learned_leader = zb_peer_names_find(&names, r->learned_leader);
    obs->established_term = r->established_term;
    obs->released_term = r->released_term;
    obs->released_to = zb_peer_names_find(&names, r->released_to);
    obs->released_set = r->released_set;
    obs->lineage = r->lineage;
    for (size_t i = 0; i < sizeof(r->suspects) / sizeof(r->suspects[0]); i++) {
        uint8_t node = zb_peer_names_find(&names, r->suspects[i]);
        if (r->suspects[i][0] != '\0' && node == ZB_NODE_NONE) {
            obs->suspects_unknown = true;
        } else if (r->suspects[i][0] != '\0') {
            obs->suspects |= UINT32_C(1) << node;
        }
    }
}

/* --- answers --- */

static void
op_end(struct op *op)
{
    struct zb_trouble_at at = {op->service, ops[op->kind].trouble, op->a->self};

    if (at.kind != 0) {
        zb_trouble_put(op->a, &at, op->result.rc, op->result.text);
    }
    zb_drive_done(op->a, op->service, op->action_id, &op->result);
    if (op->kind == ZB_ACT_START && op->result.rc != ZB_E_BUSY) { /* which tried nothing */
        struct zb_core_view view;
        zb_core_view(op->a->core, op->service, &view);
        zb_health_started(&op->a->healths[op->service], view.term);
    }
    free(op);
}

static void
on_position(void *ctx, const struct zb_position *position)
{
    struct op *op = ctx;
    if (position != NULL) {
        op->result.obs_valid = true;
        op->result.obs = op->obs;
        op->result.obs.newest = position->newest;
        op->result.obs.reached = position->reached;
        op->result.obs.beyond = position->beyond;
        zb_promise_observed(op->a, op->service, &op->result.obs, op->begun.ms);
    } else if (op->kind == ZB_ACT_OBSERVE) {
        zb_position_nonce_set(op->a, op->service, 0); /* the core is told nothing of it */
        op->result.rc = ZB_E_FAILED;
        (void)snprintf(op->result.text, sizeof(op->result.text),
                       "the snapshots on disk cannot be listed");
    }
    op_end(op);
}

/* Nothing tells whether a service without a runner is running: once started it is, for as long as
 * all of it is mounted. */
static void
running_keep(struct op *op, const struct zb_krep *observed)
{
    const struct zb_agent *a = op->a;
    bool keeps = a->services[op->service].conf.runner == ZB_CONF_RUNNER_NONE &&
                 op->obs.mounted_here && !op->obs.running;
    struct zb_core_view view;

    for (uint32_t i = 0; i < observed->datasets_count && keeps; i++) {
        keeps = observed->datasets[i].mount == ZB_MOUNT_RW;
    }
    if (keeps) {
        zb_core_view(a->core, op->service, &view);
        op->obs.running = view.obs.running;
    }
}

/* After an operation: obs for its result, whatever became of it. */
static void
on_looked(void *ctx, const struct zb_krep *rep)
{
    struct op *op = ctx;
    if (rep->rc != ZB_OK) {
        op_end(op);
        return;
    }
    zb_pool_own(op->a, rep->pool_guid);
    zb_act_obs(op->a, rep, &op->obs);
    running_keep(op, rep);
    zb_position_nonce_set(op->a, op->service, op->kind == ZB_ACT_OBSERVE ? rep->nonce : 0);
    zb_position_find(op->a, op->service, rep, on_position, op);
}

/* What the core knows is what is there. */
static void
on_same(struct op *op)
{
    struct zb_core_view view;

    zb_core_view(op->a->core, op->service, &view);
    op->result.obs_valid = true;
    op->result.obs = view.obs;
    zb_promise_observed(op->a, op->service, &view.obs, op->begun.ms);
    op_end(op);
}

static void
result_fill(struct zb_core_result *result, const struct zb_krep *rep)
{
    result->rc = (enum zb_rc)rep->rc;
    result->remounted = (rep->flags & ZB_KF_REMOUNTED) != 0;
    result->running = rep->running != 0;
    result->elapsed_ms = rep->elapsed_ms;
    result->more = rep->op == ZB_KOP_PRUNE && rep->count >= ZB_PRUNE_MAX;
    if (rep->hint[0] != '\0') {
        (void)snprintf(result->text, sizeof(result->text), "%.150s (%.100s)", rep->msg, rep->hint);
    } else {
        (void)snprintf(result->text, sizeof(result->text), "%.255s", rep->msg);
    }
}

/* The set is known before the core hears of it, and written down after. */
static void
snapshot_done(struct op *op, const struct zb_krep *rep)
{
    struct zb_agent *a = op->a;
    uint16_t service = op->service;
    if (rep->rc != ZB_OK || !zb_manifest_valid(&rep->manifest)) {
        if (rep->rc == ZB_OK) {
            op->result.rc = ZB_E_FORMAT;
        }
        op_end(op);
        return;
    }
    zb_manifest_ref(&rep->manifest, &op->result.set);
    zb_position_know(a, service, &rep->manifest);
    zb_ship_set_made(a, service, &op->result.set, rep->foreign != 0);
    zb_position_store(a, service, &rep->manifest);
    op_end(op);
}

/* Whatever became of it: the tree may be another one now. */
static void
rescue_done(struct op *op, const struct zb_krep *rep)
{
    if (rep->rc == ZB_OK && rep->text != NULL) {
        (void)snprintf(op->result.rescue, sizeof(op->result.rescue), "%.255s", rep->text);
    }
    zb_rescues_made(op->a, op->service, rep);
    zb_land_forget(op->a, op->service);
    zb_position_look_anew(op->a, op->service);
}

static void
on_reply(void *ctx, const struct zb_krep *rep)
{
    struct op *op = ctx;
    result_fill(&op->result, rep);
    if (op->kind == ZB_ACT_RESCUE) {
        rescue_done(op, rep);
    }
    if (op->kind == ZB_ACT_PRUNE && rep->rc == ZB_OK) {
        zb_base_gone_tell(op->a, op->service, rep->text);
        zb_foreign_ask(op->a, op->service, rep->text);
    }
    if (op->kind == ZB_ACT_SNAPSHOT) {
        snapshot_done(op, rep);
    } else if (op->kind == ZB_ACT_OBSERVE && (rep->flags & ZB_KF_SAME) != 0) {
        on_same(op);
    } else if (op->kind == ZB_ACT_OBSERVE ||
               (ops[op->kind].looks && rep->rc == ZB_OK && rep->pool_guid != 0)) {
        on_looked(op, rep); /* the keeper looked already */
    } else if (ops[op->kind].looks) {
        struct zb_kreq req = {.op = ZB_KOP_OBSERVE};
        zb_strcopy(req.service, sizeof(req.service), op->a->services[op->service].conf.name);
        zb_agent_keeper_call(op->a, &req, on_looked, op);
    } else {
        op_end(op);
    }
}

/* --- requests --- */

void
zb_act_protect(const struct zb_action *action, struct zb_kreq *req)
{
    req->base_term = action->floor.term;
    req->base_seq = action->floor.seq;
    req->term = action->floor_way.term;
    req->seq = action->floor_way.seq;
    req->protect_count = action->protect_count;
    req->count = action->bases_count;
    for (uint32_t i = 0; i < action->protect_count; i++) {
        req->protect[i] = action->protect[i];
    }
}

static void
request_snapshot(struct zb_agent *a, const struct zb_action *action, struct zb_kreq *req)
{
    struct zb_core_view view;
    zb_core_view(a->core, action->service, &view);
    req->seq = action->set.id.seq;
    req->flags = action->final ? ZB_KF_SYNC : 0;
    req->base_term = view.obs.newest.id.term;
    req->base_seq = view.obs.newest.id.seq;
}

static void
request_fill(struct zb_agent *a, const struct zb_action *action, struct zb_kreq *req)
{
    const struct zb_agent_service *s = &a->services[action->service];
    req->op = ops[action->kind].op;
    zb_strcopy(req->service, sizeof(req->service), s->conf.name);
    req->term = action->term;
    req->nonce = action->nonce;
    req->version = s->version;
    req->time_s = zb_wall_now().s;
    req->timeout_ms = (uint32_t)action->timeout_ms;
    if (action->node < a->nodes_count) {
        zb_strcopy(req->node, sizeof(req->node), a->nodes[action->node].name);
    }
    if (action->kind == ZB_ACT_OBSERVE) {
        req->nonce = zb_position_nonce(a, action->service);
        req->flags = (action->flags & ZB_OBSERVE_DUE) != 0 ? ZB_KF_DUE : 0;
    } else if (action->kind == ZB_ACT_SNAPSHOT) {
        request_snapshot(a, action, req);
    } else if (action->kind == ZB_ACT_PRUNE) {
        zb_act_protect(action, req);
    } else if (action->kind == ZB_ACT_CREATE) {
        zb_strcopy(req->uuid, sizeof(req->uuid), a->cluster_id);
        req->flags = ZB_KF_UNMOUNT; /* who applied the declaration saw this and agreed */
    } else if (action->kind == ZB_ACT_LEARN) {
        req->lineage = action->lineage;
    } else if (action->kind == ZB_ACT_PROMOTE) {
        req->base_term = action->set.id.term;
        req->base_seq = action->set.id.seq;
        req->lineage = action->lineage;
        req->flags = ((action->flags & ZB_PROMOTE_EXACT) != 0 ? ZB_KF_EXACT : 0) |
                     ((action->flags & ZB_PROMOTE_REMOUNT) != 0 ? ZB_KF_REMOUNT : 0);
    } else if (action->kind == ZB_ACT_RESCUE) {
        req->flags = (action->flags & ZB_RESCUE_WHOLE) != 0 ? ZB_KF_WHOLE : 0;
    }
}

/* Where the leader that action names says that this copy left its line. */
static enum zb_rc
request_fork(const struct zb_agent *a, const struct zb_action *action, struct zb_kreq *req,
             const char **why)
{
    const struct zb_land_fork *fork =
        zb_land_fork_find(a, action->service, action->node, action->term);
    if (fork == NULL) {
        *why = "what that leader told of the fork is not known any more";
        return ZB_E_STALE;
    }
    req->manifest = fork->m;
    return ZB_OK;
}

/* The manifest that action needs, borrowed into req; *why says what is missing. */
static enum zb_rc
request_manifest(struct zb_agent *a, const struct zb_action *action, struct zb_kreq *req,
                 const char **why)
{
    enum needs needs = ops[action->kind].needs;
    bool needed = needs == NEEDS_MANIFEST || needs == NEEDS_FORK ||
                  (action->kind == ZB_ACT_PROMOTE && (action->flags & ZB_PROMOTE_EXACT) != 0);
    const struct zb_manifest *m = NULL;
    struct zb_set_ref ref;
    if (needs == NEEDS_NOTHING) {
        return ZB_OK;
    }
    if (needs == NEEDS_FORK && zb_set_id_is_none(action->set.id)) {
        return request_fork(a, action, req, why);
    }
    if (!zb_set_id_is_none(action->set.id)) {
        m = zb_position_manifest(a, action->service, action->set.id);
    }
    if (m != NULL) {
        zb_manifest_ref(m, &ref);
        if (zb_set_ref_equal(&ref, &action->set)) {
            req->manifest = *m;
            return ZB_OK;
        }
    }
    *why = "the manifest of the set is not known on this node";
    return needed ? ZB_E_NOTFOUND : ZB_OK;
}

/* Manifests below the newest ones kept are of no use once their snapshots are gone. */
static void
prune_known(struct zb_agent *a, const struct zb_action *action)
{
    struct zb_history_set *sets = NULL;
    uint32_t count = 0;
    struct zb_err err;
    zb_agent_flush(a);
    if (zb_history_sets_list(a->history, a->services[action->service].conf.name, action->keep_count,
                             &sets, &count, &err) != ZB_OK ||
        count < action->keep_count) {
        free(sets);
        return;
    }
    struct zb_set_id oldest = sets[count - 1].ref.id;
    for (uint32_t i = 0; i < action->protect_count; i++) {
        if (zb_set_id_cmp(action->protect[i], oldest) < 0) {
            oldest = action->protect[i];
        }
    }
    if (!zb_set_id_is_none(action->floor) && zb_set_id_cmp(action->floor, oldest) < 0) {
        oldest = action->floor;
    }
    free(sets);
    zb_position_prune(a, action->service, oldest);
}

bool
zb_act_start(struct zb_agent *a, const struct zb_action *action)
{
    if (action->kind >= OPS_COUNT || ops[action->kind].op == 0) {
        return false;
    }
    struct zb_kreq req = {0};
    const char *why = "";
    struct op *op = zb_must_alloc(1, sizeof(*op));
    *op = (struct op){.a = a,
                      .service = action->service,
                      .action_id = action->id,
                      .kind = action->kind,
                      .begun = zb_mono_now()};
    request_fill(a, action, &req);
    op->result.rc = request_manifest(a, action, &req, &why);
    if (op->result.rc != ZB_OK) {
        (void)snprintf(op->result.text, sizeof(op->result.text), "%s", why);
        op_end(op);
        return true;
    }
    if (action->kind == ZB_ACT_PRUNE) {
        req.text = zb_foreign_text(a, action->service, true);
    }
    zb_agent_keeper_call(a, &req, on_reply, op);
    free(req.text);
    if (action->kind == ZB_ACT_PRUNE) {
        prune_known(a, action);
    }
    return true;
}
