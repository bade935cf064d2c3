/* The keepers of a world: what they observe, and each operation under the record's rules. */
#include "world.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

struct zb_core_obs
world_observe(const struct world_node *n)
{
    struct zb_core_obs o = n->disk.record;

    o.exists = n->disk.exists;
    o.mounted = o.mounted_rw = o.mounted_here = n->mounted_rw;
    o.sealed = n->sealed;
    o.running = n->running;
    o.reached = n->disk.newest;
    o.newest = n->disk.child_gone ? (struct zb_set_ref){0} : n->disk.newest;
    o.written_bytes = n->disk.content - n->disk.newest_content;
    o.beyond = !n->mounted_rw && o.written_bytes != 0;
    o.modified = n->disk.written_to && o.beyond;
    return o;
}

static enum zb_rc
op_promote(struct world *w, uint8_t self, const struct zb_action *a)
{
    struct world_node *n = &w->nodes[self];
    struct zb_core_obs *r = &n->disk.record;

    if (n->mounted_rw || r->granted_term != a->term || r->granted_to != self) {
        return ZB_E_REFUSED;
    }
    if (a->flags & ZB_PROMOTE_REMOUNT) {
        if (!n->sealed || r->established_term != a->term) {
            return ZB_E_REFUSED;
        }
    } else {
        if (a->term <= r->established_term) {
            return ZB_E_REFUSED;
        }
        if ((a->flags & ZB_PROMOTE_EXACT) && (!zb_set_ref_equal(&a->set, &n->disk.newest) ||
                                              n->disk.content != n->disk.newest_content)) {
            return ZB_E_MISMATCH;
        }
    }
    if (a->lineage.count > 0) {
        r->lineage = a->lineage;
    }
    zb_lineage_add(&r->lineage, a->term, a->set.id);
    r->established_term = a->term;
    r->learned_term = a->term;
    r->learned_leader = self;
    r->suspects = 1u << self;
    if (w->fail_mount) {
        w->fail_mount = false;
        return ZB_E_FAILED;
    }
    n->mounted_rw = true;
    n->sealed = false;
    return ZB_OK;
}

static enum zb_rc
op_grant(struct world_node *n, const struct zb_action *a)
{
    struct zb_core_obs *r = &n->disk.record;

    if (n->mounted_rw || a->term < r->granted_term ||
        (a->term == r->granted_term && r->granted_to != a->node)) {
        return ZB_E_REFUSED;
    }
    r->granted_term = a->term;
    r->granted_to = a->node;
    r->suspects |= 1u << a->node;
    return ZB_OK;
}

static enum zb_rc
op_learn(struct world_node *n, const struct zb_action *a)
{
    struct zb_core_obs *r = &n->disk.record;

    if (a->term < r->granted_term || a->term < r->learned_term) {
        return ZB_E_REFUSED;
    }
    r->learned_term = a->term;
    r->learned_leader = a->node;
    r->lineage = a->lineage;
    r->suspects = 1u << a->node;
    return ZB_OK;
}

static enum zb_rc
op_snapshot(struct world *w, struct world_node *n, const struct zb_action *a,
            struct zb_core_result *res)
{
    if (n->disk.record.established_term != a->term || (!n->mounted_rw && !n->sealed) ||
        zb_set_id_cmp(a->set.id, n->disk.newest.id) <= 0) {
        return ZB_E_REFUSED;
    }
    n->disk.child_gone = false;
    n->disk.newest.id = a->set.id;
    memset(n->disk.newest.digest, 0, sizeof(n->disk.newest.digest));
    memcpy(n->disk.newest.digest, &n->disk.content, sizeof(n->disk.content));
    n->disk.newest_content = n->disk.content;
    res->set = n->disk.newest;
    if (w->sets_count < WORLD_SETS) {
        w->sets[w->sets_count++] = n->disk.newest;
    }
    return ZB_OK;
}

static enum zb_rc
op_release(struct world_node *n, const struct zb_action *a)
{
    struct zb_core_obs *r = &n->disk.record;

    if (!n->sealed || n->mounted_rw || !zb_set_ref_equal(&a->set, &n->disk.newest) ||
        a->term <= r->granted_term) {
        return ZB_E_REFUSED;
    }
    r->granted_term = r->released_term = a->term;
    r->granted_to = r->released_to = a->node;
    r->released_set = a->set;
    r->suspects |= 1u << a->node;
    n->sealed = false;
    return ZB_OK;
}

static enum zb_rc
op_ship(struct world *w, unsigned from, const struct zb_action *a, struct zb_core_result *res)
{
    struct world_node *n = &w->nodes[a->node];
    struct zb_event ev = {.kind = ZB_EV_RECEIVED};

    if ((w->fail_ship_to != 0 && a->node == w->fail_ship_to) || w->cut[from][a->node] || !n->on ||
        n->disk.record.granted_term > a->term || n->mounted_rw) {
        return ZB_E_CLOSED;
    }
    if ((a->flags & ZB_SHIP_FORWARD) != 0
            ? n->disk.record.granted_term != a->term || n->disk.record.granted_to != a->node
        : (a->flags & ZB_SHIP_COPY) != 0
            ? n->disk.record.learned_term != a->term || !zb_set_id_is_none(n->disk.newest.id)
            : n->disk.record.learned_term != a->term || n->disk.record.learned_leader != from) {
        return ZB_E_CLOSED;
    }
    if (n->disk.written_to) {
        return ZB_E_DIVERGED;
    }
    if (!zb_lineage_has(&n->disk.record.lineage, n->disk.newest.id)) {
        world_diverged(w, a->node, from, a->term);
        return ZB_E_DIVERGED;
    }
    assert(zb_set_id_cmp(n->disk.newest.id, a->set.id) <= 0);
    w->copies += (a->flags & ZB_SHIP_COPY) != 0;
    n->disk.newest = a->set;
    memcpy(&n->disk.content, a->set.digest, sizeof(n->disk.content));
    n->disk.newest_content = n->disk.content;
    n->disk.exists = true;
    ev.u.set = a->set;
    world_queue(w, w->now_ms, a->node, &ev, NULL);
    res->set = a->set;
    res->bytes = 1000;
    return ZB_OK;
}

/* To the set that it is to go on from, or to the fork; what is more is set aside. */
static void
op_rescue(const struct world *w, struct world_node *n, const struct zb_action *a,
          struct zb_core_result *res)
{
    struct zb_set_id to = zb_set_id_is_none(a->set.id)
                              ? zb_lineage_clamp(&n->disk.record.lineage, n->disk.newest.id)
                              : a->set.id;
    bool back = false;

    for (unsigned i = w->sets_count; i-- > 0 && !back;) {
        if (zb_set_id_cmp(w->sets[i].id, to) == 0 && zb_set_id_cmp(to, n->disk.newest.id) < 0) {
            n->disk.newest = w->sets[i];
            memcpy(&n->disk.newest_content, w->sets[i].digest, sizeof(n->disk.newest_content));
            back = true;
        }
    }
    if (back || n->disk.written_to) {
        n->disk.content = n->disk.newest_content;
        n->disk.written_to = false;
        snprintf(res->rescue, sizeof(res->rescue), "aside");
    }
}

enum zb_rc
world_carry_out(struct world *w, unsigned node, const struct zb_action *a,
                struct zb_core_result *res)
{
    struct world_node *n = &w->nodes[node];

    w->rescues += a->kind == ZB_ACT_RESCUE;
    if (a->kind == w->fail_next) {
        w->fail_next = 0;
        return w->fail_rc;
    }
    if (a->kind == w->fail_always) {
        return ZB_E_FAILED;
    }
    switch (a->kind) {
    case ZB_ACT_CREATE:
        n->disk.exists = true;
        return ZB_OK;
    case ZB_ACT_GRANT:
        return op_grant(n, a);
    case ZB_ACT_LEARN:
        return op_learn(n, a);
    case ZB_ACT_PROMOTE:
        return op_promote(w, (uint8_t)node, a);
    case ZB_ACT_START:
        if (!n->mounted_rw) {
            return ZB_E_REFUSED;
        }
        n->running = true;
        n->disk.content++; /* a running service writes */
        res->elapsed_ms = 100;
        return ZB_OK;
    case ZB_ACT_STOP:
        n->running = false;
        res->elapsed_ms = 50;
        return ZB_OK;
    case ZB_ACT_SNAPSHOT:
        return op_snapshot(w, n, a, res);
    case ZB_ACT_SEAL:
        if (!n->mounted_rw && !n->sealed) {
            return ZB_E_REFUSED;
        }
        n->mounted_rw = false;
        n->sealed = true;
        return n->disk.content == n->disk.newest_content ? ZB_OK : ZB_E_MISMATCH;
    case ZB_ACT_RELEASE:
        return op_release(n, a);
    case ZB_ACT_DEMOTE:
        n->running = false;
        n->mounted_rw = false;
        return ZB_OK;
    case ZB_ACT_SHIP:
        return op_ship(w, node, a, res);
    case ZB_ACT_RESCUE:
        op_rescue(w, n, a, res);
        return ZB_OK;
    case ZB_ACT_PRUNE:
        if (node == 0) {
            w->pruned = *a;
            w->prunes++;
            res->more = w->prunes_more > 0;
            w->prunes_more -= res->more ? 1 : 0;
        }
        return ZB_OK;
    default:
        return ZB_OK;
    }
}
