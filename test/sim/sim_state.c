#include "sim_state.h"

#include "core/internal.h"

#include <stdlib.h>
#include <string.h>

/* ---- saving ---- */

struct sim_saved {
    size_t used;
    size_t size;
    uint8_t bytes[];
};

/* Copies in the direction that `save` says; grows nothing: size was measured before. */
struct copier {
    uint8_t *at;
    bool save;
    bool measure;
    size_t used;
};

static void
copy(struct copier *c, void *p, size_t size)
{
    if (!c->measure && c->save) {
        memcpy(c->at + c->used, p, size);
    } else if (!c->measure) {
        memcpy(p, c->at + c->used, size);
    }
    c->used += size;
}

static void
dataset_copy(struct copier *c, struct sim_dataset *d)
{
    copy(c, d, offsetof(struct sim_dataset, snaps));
    copy(c, d->snaps, d->snaps_count * sizeof(d->snaps[0]));
}

static void
node_copy(struct copier *c, struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];
    struct sim_service *s = &n->services[0];
    struct svc *svc = w->cores[node]->services;

    copy(c, n, offsetof(struct sim_node, services));
    copy(c, &s->record, sizeof(s->record));
    dataset_copy(c, &s->datasets[0]);
    copy(c, &s->conf_version, sizeof(*s) - offsetof(struct sim_service, conf_version));
    copy(c, w->cores[node], sizeof(struct zb_core));
    copy(c, svc, offsetof(struct svc, peers));
    copy(c, svc->peers, w->opt.nodes * sizeof(svc->peers[0]));
}

/* The items in the heap's order; their slots do not matter. */
static void
items_copy(struct copier *c, struct sim *w)
{
    struct sim_item *item;

    for (uint32_t i = 0; i < w->heap_count; i++) {
        if (!c->save && !c->measure) {
            w->heap[i] = (uint16_t)i;
        }
        item = &w->items[w->heap[i]];
        copy(c, item, sizeof(*item));
    }
    if (!c->save && !c->measure) {
        for (uint32_t i = w->heap_count; i < SIM_ITEMS; i++) {
            w->free_items[i] = (uint16_t)i;
        }
    }
}

static void
world_copy(struct copier *c, struct sim *w)
{
    copy(c, w, offsetof(struct sim, nodes));
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        node_copy(c, w, n);
    }
    items_copy(c, w);
    copy(c, w->commands, w->commands_count * sizeof(w->commands[0]));
    copy(c, w->manifests, w->manifests_count * sizeof(w->manifests[0]));
    copy(c, w->versions, w->versions_count * sizeof(w->versions[0]));
}

struct sim_saved *
sim_state_save(const struct sim *w)
{
    struct sim *from = (struct sim *)(uintptr_t)w;
    struct copier c = {.save = true, .measure = true};
    struct sim_saved *saved;

    world_copy(&c, from);
    saved = malloc(sizeof(*saved) + c.used);
    if (saved == NULL) {
        abort();
    }
    c = (struct copier){.at = saved->bytes, .save = true};
    world_copy(&c, from);
    saved->used = c.used;
    return saved;
}

void
sim_state_restore(struct sim *w, const struct sim_saved *saved)
{
    struct copier c = {.at = (uint8_t *)(uintptr_t)saved->bytes};

    world_copy(&c, w);
}

/* ---- telling apart ---- */

static uint64_t
mix(uint64_t h, uint64_t v)
{
    h ^= v + 0x9e3779b97f4a7c15ULL + (h << 6) + (h >> 2);
    h *= 0xff51afd7ed558ccdULL;
    return h ^ (h >> 32);
}

static void
put(struct sim_hash *h, uint64_t v)
{
    h->a = mix(h->a, v);
    h->b = mix(h->b ^ 0x5851f42d4c957f2dULL, v * 0xc4ceb9fe1a85ec53ULL + 1);
}

static void
put_bytes(struct sim_hash *h, const void *p, size_t size)
{
    const uint8_t *at = p;
    uint64_t word;

    for (size_t i = 0; i < size; i += sizeof(word)) {
        word = 0;
        memcpy(&word, at + i, size - i < sizeof(word) ? size - i : sizeof(word));
        put(h, word);
    }
}

static void
put_set(struct sim_hash *h, const struct zb_set_ref *s)
{
    put(h, s->id.term << 32 | s->id.seq);
    put_bytes(h, s->digest, sizeof(s->digest));
}

/* A moment ahead or not: what the core asks of its own times. */
static void
put_ahead(struct sim_hash *h, struct zb_mono at, int64_t now_ms)
{
    put(h, at.ms > now_ms);
}

static void
put_lineage(struct sim_hash *h, const struct zb_lineage *l)
{
    put(h, l->count);
    for (uint32_t i = 0; i < l->count; i++) {
        put(h, l->lines[i].term);
        put(h, l->lines[i].fork.term << 32 | l->lines[i].fork.seq);
    }
}

static void
put_msg(struct sim_hash *h, const struct zb_core_msg *m)
{
    put(h, m->kind);
    put(h, m->term);
    put(h, m->nonce);
    put(h, m->version << 8 | (uint64_t)m->rc);
    put_set(h, &m->set);
    put(h, m->suspects);
    put(h, m->granted_term << 8 | m->granted_to);
    put(h, (uint64_t)m->role << 32 | m->learned_term << 8 | m->learned_leader);
    put(h, m->established_term << 32 | m->released_term << 8 | m->released_to);
    put_lineage(h, &m->lineage);
    put(h, m->failover | m->allow_loss << 1 | m->sees_leader << 2);
    put(h, m->running | m->modified << 1 | m->exists << 2);
    put(h, m->bases_count);
    for (uint32_t i = 0; i < m->bases_count; i++) {
        put(h, m->bases[i].term << 32 | m->bases[i].seq);
    }
    put(h, m->floor.term << 32 | m->floor.seq);
    put(h, m->floor_way.term << 32 | m->floor_way.seq);
}

static void
put_obs(struct sim_hash *h, const struct zb_core_obs *o)
{
    put(h, (uint64_t)o->exists | o->mounted << 1 | o->mounted_rw << 2 | o->mounted_here << 3 |
               o->sealed << 4 | o->running << 5 | o->modified << 6 | o->foreign << 7 |
               o->suspects_unknown << 8 | (o->written_bytes > 0) << 9);
    put_set(h, &o->newest);
    put_set(h, &o->reached);
    put(h, o->granted_term << 8 | o->granted_to);
    put(h, o->learned_term << 8 | o->learned_leader);
    put(h, o->established_term);
    put(h, o->released_term << 8 | o->released_to);
    put_set(h, &o->released_set);
    put(h, (uint64_t)o->suspects << 1 | o->beyond);
    put_lineage(h, &o->lineage);
}

static void
put_peer(struct sim_hash *h, const struct peer *p, int64_t now_ms)
{
    put(h,
        (uint64_t)p->known | p->position_known << 1 | p->ask_waits << 2 | (p->ship_id != 0) << 3);
    put_msg(h, &p->report);
    put_set(h, &p->position);
    put_set(h, &p->ship_set);
    put_ahead(h, p->ship_retry_at, now_ms);
    put(h, p->ship_failures > 0);
    put_msg(h, &p->ask);
    put(h, now_ms - p->asked_at.ms < ZB_ASK_MS);
}

static void
put_move(struct sim_hash *h, const struct move *m, int64_t now_ms)
{
    put(h, m->command_id);
    put(h, (uint64_t)m->target | (uint64_t)m->step << 8 | (uint64_t)m->rounds << 16 |
               (uint64_t)m->looked << 24 | (uint64_t)m->final_made << 25 |
               (uint64_t)m->sealed << 26 | (uint64_t)m->aborted << 27 |
               (uint64_t)m->seal_tries << 32 | (uint64_t)m->ship_tries << 40);
    put(h, m->term);
    put_set(h, &m->final_set);
    put_ahead(h, m->deadline, now_ms);
}

static void
put_asking(struct sim_hash *h, const struct asking *a, unsigned nodes, int64_t now_ms)
{
    put(h, (uint64_t)a->failover | a->exact << 1 | (uint64_t)a->fenced << 8 |
               (uint64_t)a->lineage_leader << 40);
    put(h, a->majority_at.ms != 0);
    put_ahead(h, (struct zb_mono){a->majority_at.ms + ZB_COLLECT_MS}, now_ms);
    put(h, a->lineage_term);
    put_lineage(h, &a->lineage);
    for (unsigned n = 0; n < nodes; n++) {
        put_set(h, &a->at[n]);
    }
}

static void
put_failover(struct sim_hash *h, const struct failover *f, int64_t now_ms)
{
    put(h, f->command_id);
    put(h, (uint64_t)f->step | f->allow_loss << 8 | f->looked << 9 | (uint64_t)f->told << 16 |
               (uint64_t)f->from << 40 | (uint64_t)f->tries << 48);
    put(h, f->term << 32 | f->useless);
    put_set(h, &f->best);
    put_ahead(h, (struct zb_mono){f->begun_at.ms + ZB_MAJORITY_MS}, now_ms);
    put_ahead(h, f->fence_by, now_ms);
    put_ahead(h, f->ask_at, now_ms);
    put_ahead(h, f->answer_by, now_ms);
    put_ahead(h, f->deadline, now_ms);
}

static void
put_core(struct sim_hash *h, const struct zb_core *core, unsigned nodes, int64_t now_ms)
{
    const struct svc *s = core->services;

    put(h, core->up);
    put(h, s->role);
    put(h, s->obs_at.ms > s->role_at.ms);
    put(h, now_ms - s->obs_at.ms >= ZB_LOOK_MS);
    put(h, s->obs_known);
    put_obs(h, &s->obs);
    put(h, s->op_id != 0 ? (uint64_t)s->op_kind << 8 | s->op_node : 0);
    put(h, s->op_id != 0 ? s->op_nonce ^ s->op_term << 32 : 0);
    put_ahead(h, s->retry_at, now_ms);
    put_ahead(h, s->promote_at, now_ms);
    put_ahead(h, s->set_due, now_ms);
    put_ahead(h, s->start_retry_at, now_ms);
    put_ahead(h, s->prune_at, now_ms);
    put(h, (s->failures > 0) | (s->look_failures > 0) << 1 | (s->promote_failures > 0) << 2 |
               (s->start_failures > 0) << 3 | (s->unpruned > 0) << 4 | s->first_set_due << 5);
    put(h, s->superseded);
    put(h, s->ask.term);
    put(h,
        (uint64_t)s->ask.planned | (uint64_t)s->ask.granted << 8 | (uint64_t)s->ask.suspects << 32);
    put_set(h, &s->ask.set);
    put_ahead(h, s->ask.again_at, now_ms);
    put_asking(h, &s->ask, nodes, now_ms);
    put_failover(h, &s->failover, now_ms);
    put(h, (uint64_t)s->rejoin.wanted | s->rejoin.common << 1 | s->rejoin.ordered << 2 |
               (uint64_t)s->rejoin.leader << 8 | s->rejoin.term << 16);
    put_set(h, &s->rejoin.set);
    put(h, s->modified_looks > 0);
    put_set(h, &s->unchanged_at);
    put(h, s->next_seq);
    put_move(h, &s->move, now_ms);
    put_msg(h, &s->reported);
    put(h, now_ms - s->reported_at.ms >= ZB_REPORT_MS);
    for (unsigned n = 0; n < nodes; n++) {
        put_peer(h, &s->peers[n], now_ms);
    }
}

static void
put_dataset(struct sim_hash *h, const struct sim_dataset *d)
{
    put(h, (uint64_t)d->exists | d->marked << 1 | d->orphan << 2 | d->partial << 3 | d->uuid << 8 |
               d->mount << 16);
    put(h, d->live);
    put(h, (uint64_t)d->synced << 32 | d->logged);
    put(h, d->snaps_count);
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        put(h, d->snaps[i].guid);
    }
}

static void
put_node(struct sim_hash *h, const struct sim *w, uint8_t node)
{
    const struct sim_node *n = &w->nodes[node];
    const struct sim_service *s = &n->services[0];

    put(h, (uint64_t)n->on | n->keeper << 1 | n->engine << 2);
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        put(h, sim_connected(w, node, i));
    }
    put(h, n->nonce);
    put(h, n->off_ms >= w->majority[0].at_ms); /* what M4 is checked by */
    put(h, (uint64_t)w->allow_loss[node][0] | (uint64_t)s->fork.leader << 8 |
               (uint64_t)s->fork.count << 16 | s->fork.term << 24);
    put(h, s->fork.guids[0]);
    put_bytes(h, &s->record, sizeof(s->record));
    put_dataset(h, &s->datasets[0]);
    put(h, (uint64_t)s->running | (uint64_t)s->stage << 8 | (uint64_t)s->settled << 16 |
               (uint64_t)s->claimed << 17 | (uint64_t)s->receives << 24 |
               (uint64_t)s->sealed << 32);
    if (n->engine) {
        put_core(h, w->cores[node], w->opt.nodes, sim_local_ms(w, node));
    }
}

/* Whether the core still waits for this answer. */
static bool
is_waited_for(const struct sim *w, uint8_t node, uint64_t id)
{
    const struct svc *s = w->cores[node]->services;
    bool found = s->op_id == id;

    for (uint8_t i = 0; i < w->opt.nodes && !found; i++) {
        found = s->peers[i].ship_id == id;
    }
    return w->nodes[node].engine && found;
}

static struct sim_hash
item_hash(const struct sim *w, const struct sim_item *item, unsigned place)
{
    struct sim_hash h = {item->kind, place};

    put(&h, (uint64_t)item->node | (uint64_t)item->peer << 8 | (uint64_t)item->stage << 16);
    switch (item->kind) {
    case SIM_MESSAGE:
        put(&h, item->session == 0);
        put_msg(&h, &item->u.msg);
        break;
    case SIM_OP:
        put(&h, is_waited_for(w, item->node, item->u.op.id));
        put(&h, (uint64_t)item->u.op.kind | (uint64_t)item->u.op.node << 8 |
                    (uint64_t)item->u.op.claims << 16 | (uint64_t)item->u.op.was_mounted << 17 |
                    (uint64_t)item->u.op.flags << 24);
        put(&h, item->u.op.term ^ item->u.op.nonce << 32);
        put_set(&h, &item->u.op.set);
        break;
    case SIM_DONE:
        put(&h, is_waited_for(w, item->node, item->u.done.id));
        put(&h, (uint64_t)item->u.done.kind | (uint64_t)item->u.done.rc << 8);
        put_set(&h, &item->u.done.set);
        put(&h, item->u.done.obs_valid);
        put_obs(&h, &item->u.done.obs);
        break;
    case SIM_SHIP:
        put(&h, is_waited_for(w, item->node, item->u.ship.id));
        put(&h, item->session == w->nodes[item->node].session[item->peer]);
        put(&h, item->u.ship.epoch == w->nodes[item->peer].services[item->service].receive_epoch);
        put(&h, item->u.ship.term << 8 | item->u.ship.receiving << 1 | item->u.ship.forward);
        put(&h, item->u.ship.snap.guid);
        put_set(&h, &item->u.ship.set);
        break;
    case SIM_RECEIVED:
        put_set(&h, &item->u.set);
        break;
    case SIM_DIVERGED:
        put(&h, item->u.told.term << 1 | item->u.told.common);
        break;
    default:
        break;
    }
    return h;
}

struct sim_hash
sim_state_hash(const struct sim *w, const struct sim_bounds *left)
{
    struct sim_hash h = {1, 2};
    struct sim_hash items = {0, 0};

    for (unsigned i = 0; i < SIM_CHOOSE_COUNT; i++) {
        put(&h, left->left[i]);
    }
    put(&h, w->majority[0].term);
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        put_node(&h, w, n);
    }
    for (uint32_t i = 0; i < w->heap_count; i++) { /* in any order, but those of one connection */
        const struct sim_item *item = &w->items[w->heap[i]];
        unsigned place = 0;
        for (uint32_t j = 0; item->kind == SIM_MESSAGE && j < w->heap_count; j++) {
            const struct sim_item *other = &w->items[w->heap[j]];
            place += other->kind == SIM_MESSAGE && other->node == item->node &&
                     other->peer == item->peer && other->session == item->session &&
                     other->order < item->order;
        }
        struct sim_hash one = item_hash(w, item, place);
        items.a += one.a;
        items.b += one.b;
    }
    put(&h, items.a);
    put(&h, items.b);
    return h;
}

/* ---- states seen ---- */

bool
sim_seen_open(struct sim_seen *s, uint64_t max)
{
    *s = (struct sim_seen){.size = 1024, .max = max};
    while (s->size < max * 2) {
        s->size *= 2;
    }
    s->entries = calloc(s->size, sizeof(s->entries[0]));
    return s->entries != NULL;
}

void
sim_seen_close(struct sim_seen *s)
{
    free(s->entries);
    s->entries = NULL;
}

bool
sim_seen_add(struct sim_seen *s, struct sim_hash h, uint32_t depth)
{
    uint64_t i = h.a & (s->size - 1);

    while (s->entries[i].a != 0 || s->entries[i].b != 0) {
        if (s->entries[i].a == h.a && s->entries[i].b == h.b) {
            if (s->entries[i].depth <= depth) {
                return false;
            }
            s->entries[i].depth = depth;
            return true;
        }
        i = (i + 1) & (s->size - 1);
    }
    if (s->count == s->max) {
        s->full = true;
        return false;
    }
    s->entries[i] = (struct sim_seen_entry){h.a, h.b, depth};
    s->count++;
    return true;
}
