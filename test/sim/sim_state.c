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
    copy(c, d->marks, d->marks_count * sizeof(d->marks[0]));
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
    copy(c, &s->conf, sizeof(*s) - offsetof(struct sim_service, conf));
    copy(c, w->cores[node], sizeof(struct zb_core));
    copy(c, svc, offsetof(struct svc, peers));
    copy(c, svc->peers, w->opt.nodes * sizeof(svc->peers[0]));
    copy(c, &svc->peers[ZB_NODE_WITNESS], sizeof(svc->peers[0]));
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
    copy(c, w->lost, w->lost_count * sizeof(w->lost[0]));
    copy(c, w->rescued, w->rescued_count * sizeof(w->rescued[0]));
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

/* Most words of a record are zero; the others count with their place. */
static void
put_bytes(struct sim_hash *h, const void *p, size_t size)
{
    const uint8_t *at = p;
    uint64_t word;

    for (size_t i = 0; i < size; i += sizeof(word)) {
        word = 0;
        memcpy(&word, at + i, size - i < sizeof(word) ? size - i : sizeof(word));
        if (word != 0) {
            put(h, word + i * 0x9e3779b97f4a7c15ULL);
        }
    }
}

static void
put_set(struct sim_hash *h, const struct zb_set_ref *s)
{
    uint64_t digest;

    memcpy(&digest, s->digest, sizeof(digest)); /* its first half tells any two apart */
    put(h, s->id.term << 32 | s->id.seq);
    put(h, digest);
}

/* Small numbers share words: terms, sets' numbers and nonces stay far below what they get here. */
static uint64_t
pack(uint64_t a, uint64_t b, uint64_t c)
{
    return a << 40 | b << 16 | c;
}

static uint64_t
pack_id(struct zb_set_id id)
{
    return id.term << 32 | id.seq;
}

static void
put_lineage(struct sim_hash *h, const struct zb_lineage *l)
{
    put(h, l->count);
    for (uint32_t i = 0; i < l->count; i++) {
        put(h, pack(l->lines[i].term, l->lines[i].fork.term, l->lines[i].fork.seq));
    }
}

static void
put_msg(struct sim_hash *h, const struct zb_core_msg *m)
{
    put(h, pack(m->term, m->nonce, m->kind));
    put(h, pack(m->version, m->suspects, (uint64_t)m->rc));
    put(h,
        pack(m->granted_term, m->learned_term, m->granted_to | (uint64_t)m->learned_leader << 8));
    put(h, pack(m->established_term, m->released_term, m->released_to));
    put(h, pack(m->role, m->bases_count,
                (uint64_t)m->running | m->modified << 1 | m->exists << 2 | m->failover << 3 |
                    m->allow_loss << 4 | m->sees_leader << 5));
    put_set(h, &m->set);
    put_lineage(h, &m->lineage);
    for (uint32_t i = 0; i < m->bases_count; i++) {
        put(h, pack_id(m->bases[i]));
    }
    put(h, pack_id(m->floor));
    put(h, pack_id(m->floor_way));
}

static void
put_obs(struct sim_hash *h, const struct zb_core_obs *o)
{
    put(h, pack(o->suspects, 0,
                (uint64_t)o->exists | o->mounted << 1 | o->mounted_rw << 2 | o->mounted_here << 3 |
                    o->sealed << 4 | o->running << 5 | o->modified << 6 | o->foreign << 7 |
                    o->suspects_unknown << 8 | (o->written_bytes > 0) << 9 | o->beyond << 10));
    put(h,
        pack(o->granted_term, o->learned_term, o->granted_to | (uint64_t)o->learned_leader << 8));
    put(h, pack(o->established_term, o->released_term, o->released_to));
    put_set(h, &o->newest);
    put_set(h, &o->reached);
    put_set(h, &o->released_set);
    put_lineage(h, &o->lineage);
}

/* Of its own times the core asks only which are ahead, and which are long ago. */
static void
put_peer(struct sim_hash *h, const struct peer *p, int64_t now_ms)
{
    put(h, (uint64_t)p->known | p->position_known << 1 | p->ask_waits << 2 |
               (p->ship_id != 0) << 3 | (p->ship_retry_at.ms > now_ms) << 4 |
               (p->ship_failures > 0) << 5 | (now_ms - p->asked_at.ms < ZB_ASK_MS) << 6 |
               (uint64_t)p->copying << 7 | (uint64_t)p->copy_from << 8 |
               (uint64_t)(p->copy_ask_at.ms > now_ms) << 16 |
               (uint64_t)(p->copy_answer_by.ms > now_ms) << 17 | (uint64_t)p->copy_useless << 24);
    put_set(h, &p->position);
    if (p->known) {
        put_msg(h, &p->report);
        put(h, p->numbered_by);
    }
    if (p->seen.granted_term > p->now.granted_term || p->seen.learned_term > p->now.learned_term ||
        p->seen.suspects != p->now.suspects) { /* messages came in another order */
        put(h, pack(p->seen.granted_term, p->seen.learned_term, p->seen.suspects));
    }
    if (p->ship_id != 0) {
        put_set(h, &p->ship_set);
    }
    if (p->ask_waits) {
        put_msg(h, &p->ask);
    }
}

static void
put_move(struct sim_hash *h, const struct move *m, int64_t now_ms)
{
    put(h, m->command_id);
    if (m->command_id == 0) {
        return; /* the rest is of one that is over */
    }
    put(h, (uint64_t)m->target | (uint64_t)m->step << 8 | (uint64_t)m->rounds << 16 |
               (uint64_t)m->looked << 24 | (uint64_t)m->final_made << 25 |
               (uint64_t)m->sealed << 26 | (uint64_t)m->aborted << 27 |
               (uint64_t)(m->deadline.ms > now_ms) << 28 | (uint64_t)m->seal_tries << 32 |
               (uint64_t)m->ship_tries << 40);
    put(h, m->term);
    put_set(h, &m->final_set);
}

static void
put_asking(struct sim_hash *h, const struct asking *a, unsigned nodes, int64_t now_ms)
{
    put(h, pack(a->lineage_term, a->fenced,
                (uint64_t)a->failover | a->exact << 1 | (a->majority_at.ms != 0) << 2 |
                    (a->majority_at.ms + ZB_COLLECT_MS > now_ms) << 3 |
                    (a->ahead_at.ms + ZB_ASK_AHEAD_MS > now_ms) << 4 |
                    (uint64_t)a->lineage_leader << 8 | (uint64_t)a->ahead << 32));
    put_lineage(h, &a->lineage);
    for (unsigned n = 0; n < nodes; n++) {
        put_set(h, &a->at[n]);
    }
}

static void
put_failover(struct sim_hash *h, const struct failover *f, int64_t now_ms)
{
    put(h, f->command_id);
    put(h, (uint64_t)f->step | f->allow_loss << 8 | f->looked << 9 |
               (f->begun_at.ms + ZB_MAJORITY_MS > now_ms) << 10 | (f->fence_by.ms > now_ms) << 11 |
               (f->ask_at.ms > now_ms) << 12 | (f->answer_by.ms > now_ms) << 13 |
               (f->deadline.ms > now_ms) << 14 | (uint64_t)f->told << 16 | (uint64_t)f->from << 40 |
               (uint64_t)f->tries << 48);
    put(h, f->term << 32 | f->useless);
    put(h, f->stated_term << 32 | f->up);
    put_set(h, &f->best);
}

static void
put_core(struct sim_hash *h, const struct zb_core *core, unsigned nodes, int64_t now_ms)
{
    const struct svc *s = core->services;

    put(h,
        pack(s->role, core->up,
             (uint64_t)s->obs_known | (s->obs_at.ms > s->role_at.ms) << 1 |
                 (now_ms >= zb_core_look_due_ms(s)) << 2 | (s->retry_at.ms > now_ms) << 3 |
                 (s->promote_at.ms > now_ms) << 4 | (s->set_due.ms > now_ms) << 5 |
                 (s->start_retry_at.ms > now_ms) << 6 | (s->prune_at.ms > now_ms) << 7 |
                 (s->ask.again_at.ms > now_ms) << 8 |
                 (now_ms - s->reported_at.ms >= ZB_REPORT_MS) << 9 | (s->failures > 0) << 10 |
                 (s->look_failures > 0) << 11 | (s->promote_failures > 0) << 12 |
                 (s->start_failures > 0) << 13 | (s->unpruned > 0) << 14 | s->first_set_due << 15));
    put_obs(h, &s->obs);
    if (s->op_id != 0) {
        put(h, pack(s->op_term, s->op_nonce, (uint64_t)s->op_kind << 8 | s->op_node));
    }
    put(h, pack(s->ask.term, s->superseded, (uint64_t)(s->op_id != 0) | s->ask.planned << 1));
    put(h, (uint64_t)s->ask.granted << 32 | s->ask.suspects);
    put_set(h, &s->ask.set);
    put_asking(h, &s->ask, nodes, now_ms);
    put_failover(h, &s->failover, now_ms);
    put(h, (uint64_t)s->rejoin.wanted | s->rejoin.common << 1 | s->rejoin.ordered << 2 |
               (uint64_t)(s->modified_looks > 0) << 3 | (uint64_t)s->rejoin.leader << 8 |
               s->rejoin.term << 16);
    put_set(h, &s->rejoin.set);
    put_set(h, &s->unchanged_at);
    put(h, s->next_seq);
    put_move(h, &s->move, now_ms);
    put_msg(h, &s->reported);
    for (unsigned n = 0; n < nodes; n++) {
        if (n != core->opt.self) {
            put_peer(h, &s->peers[n], now_ms);
        }
    }
    if (s->conf.witness) {
        put_peer(h, &s->peers[ZB_NODE_WITNESS], now_ms);
    }
}

static void
put_dataset(struct sim_hash *h, const struct sim_dataset *d)
{
    put(h, pack(d->snaps_count, d->mount,
                (uint64_t)d->exists | d->marked << 1 | d->orphan << 2 | d->partial << 3 |
                    d->uuid << 4));
    put(h, pack(d->live, d->synced, d->logged));
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        put(h, d->snaps[i].guid);
    }
    for (uint32_t i = 0; i < d->marks_count; i++) {
        put(h, d->marks[i].guid);
    }
}

static void
put_node(struct sim_hash *h, const struct sim *w, uint8_t node)
{
    const struct sim_node *n = &w->nodes[node];
    const struct sim_service *s = &n->services[0];
    uint64_t connected = 0;

    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        connected |= (uint64_t)sim_connected(w, node, i) << i;
    }
    put(h, pack(n->nonce, connected,
                (uint64_t)n->on | n->keeper << 1 | n->engine << 2 | s->running << 3 |
                    s->settled << 4 | s->claimed << 5 |
                    (n->off_ms >= w->majority[0].at_ms) << 6 | /* what M4 is checked by */
                    w->allow_loss[node][0] << 7 | (uint64_t)s->stage << 8));
    put(h, (uint64_t)s->receives << 32 | s->sealed);
    put(h, (uint64_t)s->copier << 56 | s->copier_term);
    put(h, (uint64_t)s->fork.leader | (uint64_t)s->fork.count << 8 | s->fork.term << 16);
    put(h, s->fork.guids[0]);
    put_bytes(h, &s->record, sizeof(s->record));
    put_dataset(h, &s->datasets[0]);
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

/* An operation, and to whom it matters. */
static void
put_op(struct sim_hash *h, const struct sim *w, const struct sim_item *item)
{
    put(h, pack(item->u.op.term, item->u.op.nonce, item->u.op.node));
    put(h, pack(item->u.op.flags, item->u.op.kind,
                (uint64_t)item->u.op.claims | item->u.op.was_mounted << 1 | item->u.op.final << 2 |
                    item->u.op.remounted << 3 | item->u.op.rescued << 6 |
                    (item->peer_life == w->nodes[item->node].engine_life) << 4 |
                    is_waited_for(w, item->node, item->u.op.id) << 5));
    put_set(h, &item->u.op.set);
    put(h, pack_id(item->u.op.floor));
    put(h, pack_id(item->u.op.floor_way));
    put_lineage(h, &item->u.op.lineage);
    for (uint8_t i = 0; i < item->u.op.protect_count; i++) {
        put(h, pack_id(item->u.op.protect[i]));
    }
}

static void
put_ship(struct sim_hash *h, const struct sim *w, const struct sim_item *item)
{
    put(h,
        pack(item->u.ship.term, item->u.ship.snap.guid,
             (uint64_t)item->u.ship.receiving | is_waited_for(w, item->node, item->u.ship.id) << 1 |
                 (item->session == w->nodes[item->node].session[item->peer]) << 2 |
                 (item->u.ship.epoch == w->nodes[item->peer].services[item->service].receive_epoch)
                     << 3 |
                 (uint64_t)item->u.ship.flags << 4 | (uint64_t)item->u.ship.entry << 8));
    put_set(h, &item->u.ship.set);
}

/* Of the number of a report: how many on this way have lower ones, and whether it is news. */
static void
put_number(struct sim_hash *h, const struct sim *w, const struct sim_item *item)
{
    const struct zb_core_msg *m = &item->u.msg;
    uint64_t lower = 0;

    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *other = &w->items[w->heap[i]];
        lower += other->kind == SIM_MESSAGE && other->node == item->node &&
                 other->peer == item->peer && other->u.msg.kind == ZB_MSG_REPORT &&
                 other->u.msg.nonce == m->nonce && other->u.msg.number < m->number;
    }
    put(h, lower << 1 | (!w->nodes[item->node].engine ||
                         zb_core_is_news(w->cores[item->node], item->service, item->peer, m)));
}

static struct sim_hash
item_hash(const struct sim *w, const struct sim_item *item, unsigned place)
{
    struct sim_hash h = {item->kind, place};

    put(&h, (uint64_t)item->node | (uint64_t)item->peer << 8 | (uint64_t)item->stage << 16 |
                (uint64_t)(item->session == 0) << 24);
    switch (item->kind) {
    case SIM_MESSAGE:
        if (item->u.msg.kind == ZB_MSG_REPORT) {
            put_number(&h, w, item);
        }
        put_msg(&h, &item->u.msg);
        break;
    case SIM_VOTE:
    case SIM_VOTED:
        put_msg(&h, &item->u.msg);
        break;
    case SIM_OP:
        put_op(&h, w, item);
        break;
    case SIM_DONE:
        put(&h, pack(item->u.done.kind, (uint64_t)item->u.done.rc,
                     (uint64_t)item->u.done.obs_valid | item->u.done.remounted << 1 |
                         item->u.done.rescued << 3 |
                         is_waited_for(w, item->node, item->u.done.id) << 2));
        put_set(&h, &item->u.done.set);
        if (item->u.done.obs_valid) {
            put_obs(&h, &item->u.done.obs);
        }
        break;
    case SIM_SHIP:
        put_ship(&h, w, item);
        break;
    case SIM_RECEIVED:
        put_set(&h, &item->u.set);
        break;
    case SIM_DIVERGED:
    case SIM_FENCE:
        put(&h, item->u.told.term << 1 | item->u.told.common);
        break;
    default:
        break;
    }
    return h;
}

static void
put_witness(struct sim_hash *h, const struct zb_witness_record *r)
{
    put(h,
        pack(r->granted_term, r->learned_term, r->granted_to | (uint64_t)r->learned_leader << 8));
    put(h, pack(r->version, r->suspects, 0));
    put_lineage(h, &r->lineage);
}

static void
put_writes(struct sim_hash *h, const struct sim_write *writes, uint32_t count)
{
    put(h, count);
    for (uint32_t i = 0; i < count; i++) {
        put(h, pack(writes[i].version, writes[i].uuid, 0));
    }
}

/* Who can be asked since then, and for how long. */
static void
put_majority(struct sim_hash *h, const struct sim *w)
{
    const struct sim_majority *m = &w->majority[0];
    const struct sim_node *candidate = &w->nodes[m->node];
    uint64_t since = 0;

    for (uint8_t i = 0; m->host_life == candidate->host_life && i < w->opt.nodes; i++) {
        since |= (uint64_t)(candidate->session[i] <= m->session) << i;
    }
    put(h, pack(since, m->node, sim_local_ms(w, m->node) - m->local_ms < ZB_COLLECT_MS));
}

struct sim_hash
sim_state_hash(const struct sim *w, const struct sim_bounds *left)
{
    struct sim_hash h = {1, 2};
    struct sim_hash items = {0, 0};

    for (unsigned i = 0; i < SIM_CHOOSE_COUNT; i++) {
        put(&h, left->left[i]);
    }
    /* What the checks go by. */
    put(&h, pack(w->majority[0].term, w->writer[0].term, w->writer[0].node));
    put_majority(&h, w);
    put_witness(&h, &w->witness.records[0]);
    put_writes(&h, w->lost, w->lost_count);
    put_writes(&h, w->rescued, w->rescued_count);
    for (unsigned u = 1; u <= w->next_uuid[0]; u++) {
        put(&h, (uint64_t)w->acked[0][u] << 1 | w->destroyed[0][u]);
    }
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
    *s = (struct sim_seen){.size = 1 << 16, .max = max};
    s->entries = calloc(s->size, sizeof(s->entries[0]));
    return s->entries != NULL;
}

void
sim_seen_close(struct sim_seen *s)
{
    free(s->entries);
    s->entries = NULL;
}

/* Where the state is, or would be. */
static struct sim_seen_entry *
seen_place(const struct sim_seen *s, uint64_t a, uint32_t b)
{
    uint64_t i = a & (s->size - 1);

    while (s->entries[i].depth != 0 && (s->entries[i].a != a || s->entries[i].b != b)) {
        i = (i + 1) & (s->size - 1);
    }
    return &s->entries[i];
}

static bool
seen_grow(struct sim_seen *s)
{
    struct sim_seen larger = *s;

    larger.size = s->size * 2;
    larger.entries = calloc(larger.size, sizeof(larger.entries[0]));
    if (larger.entries == NULL) {
        return false;
    }
    for (uint64_t i = 0; i < s->size; i++) {
        if (s->entries[i].depth != 0) {
            *seen_place(&larger, s->entries[i].a, s->entries[i].b) = s->entries[i];
        }
    }
    free(s->entries);
    *s = larger;
    return true;
}

bool
sim_seen_add(struct sim_seen *s, struct sim_hash h, uint32_t depth)
{
    struct sim_seen_entry *e = seen_place(s, h.a, (uint32_t)h.b);

    if (e->depth != 0) {
        if (e->depth <= depth + 1) {
            return false;
        }
        e->depth = depth + 1;
        return true;
    }
    if (s->count == s->max || (s->count * 3 > s->size * 2 && !seen_grow(s))) {
        s->full = true;
        return false;
    }
    *seen_place(s, h.a, (uint32_t)h.b) = (struct sim_seen_entry){h.a, (uint32_t)h.b, depth + 1};
    s->count++;
    return true;
}
