/*
 * Every interleaving: the production core and rules, two or three nodes, one service of one
 * dataset, from a cluster at rest. The search decides what happens next: which message arrives,
 * which operation of a keeper goes one stage further, which answer, transfer or restart; when a
 * clock reaches the core's next wake-up; and, up to the given numbers, a move, a write, a power
 * cut, the end of an engine. States that are equal but for names of moments (sim_state.c) are one.
 * Depth first; when something breaks, again with a smaller depth until the way there is the
 * shortest.
 */
#include "sim_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4000
#define CHANNEL_MAX 3 /* messages from one node to another; a later one is lost */

enum what { CHOOSE_ITEM, CHOOSE_TICK, CHOOSE_MOVE, CHOOSE_WRITE, CHOOSE_CRASH, CHOOSE_KILL };

struct choice {
    enum what what;
    uint8_t node;
    uint8_t peer;
    uint64_t order; /* of the item */
};

struct search {
    struct sim *w;
    struct sim_bounds bounds;
    struct sim_seen seen;
    struct choice path[DEPTH_MAX];
    uint64_t transitions;
    unsigned depth_limit;
    unsigned deepest;
    bool shortening; /* something broke before: depths matter */
    bool found;
};

/* ---- what may happen ---- */

static struct sim_item *
item_at(struct sim *w, uint32_t i)
{
    return &w->items[w->heap[i]];
}

/* Only the oldest message of a connection arrives next. */
static bool
is_oldest(struct sim *w, const struct sim_item *item)
{
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *other = item_at(w, i);
        if (other->kind == SIM_MESSAGE && other->node == item->node && other->peer == item->peer &&
            other->order < item->order) {
            return false;
        }
    }
    return true;
}

static void
add(struct choice *choices, unsigned *count, enum what what, uint8_t node, uint8_t peer)
{
    choices[(*count)++] = (struct choice){.what = what, .node = node, .peer = peer};
}

static unsigned
choices_list(struct search *x, const struct sim_bounds *left, struct choice *choices)
{
    struct sim *w = x->w;
    unsigned count = 0;

    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *item = item_at(w, i);
        if (item->kind != SIM_MESSAGE || is_oldest(w, item)) {
            choices[count++] = (struct choice){
                .what = CHOOSE_ITEM, .node = item->node, .peer = item->peer, .order = item->order};
        }
    }
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        const struct sim_node *node = &w->nodes[n];
        if (left->ticks > 0 && node->engine) {
            add(choices, &count, CHOOSE_TICK, n, 0);
        }
        for (uint8_t p = 0;
             left->moves > 0 && node->services[0].running && node->engine && p < w->opt.nodes;
             p++) {
            if (p != n) {
                add(choices, &count, CHOOSE_MOVE, n, p);
            }
        }
        if (left->writes > 0 && node->services[0].running &&
            node->services[0].datasets[0].mount == ZB_MOUNT_RW) {
            add(choices, &count, CHOOSE_WRITE, n, 0);
        }
        if (left->crashes > 0 && node->on) {
            add(choices, &count, CHOOSE_CRASH, n, 0);
        }
        if (left->kills > 0 && node->engine) {
            add(choices, &count, CHOOSE_KILL, n, 0);
        }
    }
    return count;
}

/* ---- making it happen ---- */

/* Takes an item out of the heap by its number in it. */
static void
item_remove(struct sim *w, uint32_t at, struct sim_item *out)
{
    uint16_t slot = w->heap[at];

    *out = w->items[slot];
    w->heap[at] = w->heap[--w->heap_count];
    w->free_items[w->heap_count] = slot;
}

/* What only makes the world livelier goes; so do messages of connections that are gone, reports
 * that a newer one follows, and what a connection has no room for. */
static bool
is_void(struct sim *w, const struct sim_item *item)
{
    unsigned newer = 0;
    unsigned older = 0;

    if (item->kind == SIM_SYNC || item->kind == SIM_WRITE) {
        return true;
    }
    if (item->kind != SIM_MESSAGE) {
        return !sim_item_lives(w, item);
    }
    if (!w->nodes[item->node].engine || item->session != w->nodes[item->node].session[item->peer]) {
        return true;
    }
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *other = item_at(w, i);
        if (other->kind == SIM_MESSAGE && other->node == item->node && other->peer == item->peer) {
            newer += other->order > item->order && other->u.msg.kind == item->u.msg.kind &&
                     other->u.msg.term == item->u.msg.term;
            older += other->order < item->order;
        }
    }
    return newer > 0 || older >= CHANNEL_MAX;
}

static void
purge(struct sim *w)
{
    struct sim_item out;

    for (uint32_t i = 0; i < w->heap_count;) {
        if (is_void(w, item_at(w, i))) {
            item_remove(w, i, &out);
            i = 0;
        } else {
            i++;
        }
    }
}

static void
item_choose(struct sim *w, uint64_t order)
{
    struct sim_item item;

    for (uint32_t i = 0; i < w->heap_count; i++) {
        if (item_at(w, i)->order == order) {
            item_remove(w, i, &item);
            sim_item_run(w, &item);
            return;
        }
    }
}

static void
tick(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];
    int64_t wait_ms = n->wake_ms - sim_local_ms(w, node);

    n->clock_base_ms += wait_ms > 0 ? wait_ms : 1;
    sim_step(w, node, &(struct zb_event){.kind = ZB_EV_TICK});
}

static void
choose(struct search *x, const struct choice *c, struct sim_bounds *left)
{
    struct sim *w = x->w;

    switch (c->what) {
    case CHOOSE_ITEM:
        item_choose(w, c->order);
        break;
    case CHOOSE_TICK:
        left->ticks--;
        tick(w, c->node);
        break;
    case CHOOSE_MOVE:
        left->moves--;
        sim_command(w, c->node, 0, ZB_CMD_MOVE, c->peer);
        break;
    case CHOOSE_WRITE:
        left->writes--;
        (void)sim_write(w, c->node, 0, 0, true);
        break;
    case CHOOSE_CRASH:
        left->crashes--;
        sim_tell(w, c->node, "power cut");
        sim_host_crash(w, c->node);
        sim_item_add(w, SIM_START_NODE, c->node, 0)->life = w->nodes[c->node].host_life;
        break;
    case CHOOSE_KILL:
        left->kills--;
        sim_tell(w, c->node, "engine killed");
        sim_engine_kill(w, c->node);
        sim_item_add(w, SIM_START_ENGINE, c->node, 0)->life = w->nodes[c->node].host_life;
        break;
    }
    purge(w);
}

/* The nodes from bounds.nodes_free on are swift: what they have to do, and what is sent to them and
 * by them, happens before anything else. */
static void
swift_run(struct search *x)
{
    struct sim *w = x->w;
    struct sim_item item;

    for (uint32_t i = 0; i < w->heap_count && !w->failed;) {
        const struct sim_item *at = item_at(w, i);
        bool swift =
            at->node >= x->bounds.nodes_free ||
            ((at->kind == SIM_SHIP || at->kind == SIM_MESSAGE) && at->peer >= x->bounds.nodes_free);
        if (swift && at->kind != SIM_START_NODE && at->kind != SIM_START_ENGINE &&
            (at->kind != SIM_MESSAGE || is_oldest(w, at))) {
            item_remove(w, i, &item);
            sim_item_run(w, &item);
            purge(w);
            i = 0;
        } else {
            i++;
        }
    }
}

/* ---- the search ---- */

static void
explore(struct search *x, unsigned depth, struct sim_bounds left)
{
    struct choice choices[256];
    struct sim_bounds next;
    struct sim_saved *saved;
    unsigned count;

    x->deepest = depth > x->deepest ? depth : x->deepest;
    if (x->found || x->seen.full || depth >= x->depth_limit || depth >= DEPTH_MAX ||
        !sim_seen_add(&x->seen, sim_state_hash(x->w, &left), x->shortening ? depth : 0)) {
        return;
    }
    saved = sim_state_save(x->w);
    count = choices_list(x, &left, choices);
    for (unsigned i = 0; i < count && !x->found && !x->seen.full; i++) {
        next = left;
        x->path[depth] = choices[i];
        choose(x, &choices[i], &next);
        swift_run(x);
        x->transitions++;
        if (x->w->failed) {
            x->found = true;
            x->depth_limit = depth + 1;
        } else {
            explore(x, depth + 1, next);
        }
        if (!x->found) {
            sim_state_restore(x->w, saved);
        }
    }
    free(saved);
}

/* From a cluster at rest: led, current, nothing on its way but timers. */
static void
rest(struct sim *w, const struct sim_bounds *bounds)
{
    struct sim_options o = {
        .seed = 1, .nodes = (uint8_t)bounds->nodes, .services = 1, .datasets = 1};
    int64_t until_ms;

    sim_init(w, &o);
    w->healing = true;
    while (!sim_check_alive(w) && sim_advance(w, w->now_ms + 100000)) {
    }
    w->conf[0].interval_ms = INT64_MAX / 4; /* no sets but those of moves and new terms */
    w->conf[0].version++;
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        struct sim_item *item = sim_item_add(w, SIM_CONF, n, 0);
        item->life = w->nodes[n].engine_life;
    }
    until_ms = w->now_ms + 60000;
    while (sim_advance(w, until_ms)) {
    }
    while (!sim_check_alive(w) && sim_advance(w, w->now_ms + 100000)) {
    }
    w->manual = true;
    purge(w);
}

static void
way_print(struct search *x)
{
    static const char *const words[] = {"", "clock", "move", "write", "power cut", "engine killed"};
    struct sim_bounds left = x->bounds;
    unsigned depth = x->depth_limit;

    printf("%u steps lead to: %s\n", depth, x->w->failure);
    sim_close(x->w);
    rest(x->w, &x->bounds);
    x->w->opt.trace = true;
    for (unsigned i = 0; i < depth; i++) {
        const struct choice *c = &x->path[i];
        if (c->what != CHOOSE_ITEM) {
            printf("%3u n%u %s%s\n", i + 1, c->node + 1, words[c->what],
                   c->what == CHOOSE_MOVE ? (const char *[]){" to n1", " to n2", " to n3"}[c->peer]
                                          : "");
        }
        choose(x, c, &left);
        swift_run(x);
    }
    sim_state_print(x->w);
}

bool
sim_exhaust(struct sim *w, const struct sim_bounds *bounds)
{
    static struct search x;
    unsigned limit = DEPTH_MAX;
    bool broken = false;
    struct choice *shortest = NULL;

    for (;;) {
        memset(&x, 0, sizeof(x));
        x.w = w;
        x.bounds = *bounds;
        x.depth_limit = limit;
        x.shortening = broken;
        if (!sim_seen_open(&x.seen, bounds->states_max)) {
            printf("no memory for %lu states\n", (unsigned long)bounds->states_max);
            return false;
        }
        rest(w, bounds);
        explore(&x, 0, x.bounds);
        printf("exhaustive: %u nodes, %u of them swift, %u moves, %u power cuts, %u ends of "
               "engines, %u writes, %u"
               " wake-ups: %lu states, %lu transitions, depth %u%s\n",
               bounds->nodes, bounds->nodes - bounds->nodes_free, bounds->moves, bounds->crashes,
               bounds->kills, bounds->writes, bounds->ticks, (unsigned long)x.seen.count,
               (unsigned long)x.transitions, x.deepest,
               x.found       ? ", broken"
               : x.seen.full ? ", NOT complete: more states than fit"
                             : ", complete");
        sim_seen_close(&x.seen);
        if (!x.found) {
            break;
        }
        broken = true;
        limit = x.depth_limit - 1;
        free(shortest);
        shortest = malloc(sizeof(x.path));
        if (shortest != NULL) {
            memcpy(shortest, x.path, sizeof(x.path));
        }
        sim_close(w);
    }
    if (broken && shortest != NULL) {
        memcpy(x.path, shortest, sizeof(x.path));
        x.depth_limit = limit + 1;
        way_print(&x);
    }
    free(shortest);
    sim_close(w);
    return !broken && !x.seen.full;
}
