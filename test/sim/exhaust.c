/*
 * Every interleaving: the production core and rules, two or three nodes, one service of one
 * dataset, from a cluster at rest. Of what may happen next (choice.h) everything is tried. States
 * that are equal but for names of moments (sim_state.c) are one. Depth first; when something
 * breaks, again with a smaller depth until the way there is the shortest.
 */
#include "sim_state.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 4000
#define CHANNEL_MAX 3 /* messages from one node to another; a later one is lost */

struct search {
    struct sim *w;
    struct sim_bounds bounds;
    struct sim_seen seen;
    struct sim_choice path[DEPTH_MAX];
    uint64_t transitions;
    uint64_t terms; /* the highest one that was granted */
    unsigned depth_limit;
    unsigned deepest;
    bool shortening; /* something broke before: depths matter */
    bool found;
    bool telling; /* each choice is printed */
};

static void
choose(struct search *x, const struct sim_choice *c, struct sim_bounds *left)
{
    char label[SIM_LABEL_SIZE];

    if (x->telling) {
        sim_choice_label(x->w, c, label);
        printf("> %s\n", label);
    }
    sim_choice_run(x->w, c, left);
}

/* What the witness is told, and answers: only what it is asked for falls between anything else. */
static bool
is_told(const struct sim_item *item)
{
    return (item->kind == SIM_VOTE || item->kind == SIM_VOTED) && item->u.msg.kind == ZB_MSG_REPORT;
}

static bool
is_swift(const struct search *x, const struct sim_choice *c)
{
    const struct sim_item *item = c->what == SIM_CHOOSE_ITEM ? sim_choice_item(x->w, c) : NULL;

    return item != NULL && item->kind != SIM_START_NODE && item->kind != SIM_START_KEEPER &&
           item->kind != SIM_START_ENGINE &&
           (is_told(item) || item->node >= x->bounds.nodes_free ||
            ((item->kind == SIM_SHIP || item->kind == SIM_MESSAGE) &&
             item->peer >= x->bounds.nodes_free));
}

/* The nodes from bounds.nodes_free on are swift: what they have to do, and what is sent to them and
 * by them, happens before anything else. */
static void
swift_run(struct search *x)
{
    static const struct sim_bounds items = {.channel_max = CHANNEL_MAX};
    struct sim_choice choices[SIM_CHOICES_MAX];
    unsigned count;
    unsigned i;

    do {
        struct sim_bounds bounds = items;
        count = sim_choices_list(x->w, &bounds, choices);
        for (i = 0; i < count && !is_swift(x, &choices[i]); i++) {
        }
        if (i < count) {
            choose(x, &choices[i], &bounds);
        }
    } while (i < count && !x->w->failed);
}

/* ---- the search ---- */

/* States with a term above the bound are met, and nothing is done from there. */
static bool
is_beyond(struct search *x)
{
    uint64_t term = 0;

    for (uint8_t n = 0; n < x->w->opt.nodes; n++) {
        uint64_t granted = x->w->nodes[n].services[0].record.rec.granted_term;
        term = granted > term ? granted : term;
    }
    x->terms = term > x->terms ? term : x->terms;
    return x->bounds.terms > 0 && term > x->bounds.terms;
}

/* S4: at any time, and not only in the end. */
static void
lost_check(struct search *x)
{
    if (!x->w->failed && !sim_lost_found(x->w)) {
        sim_fail(x->w, "S4: a write that a failover left behind is nowhere");
    }
}

static void
explore(struct search *x, unsigned depth, struct sim_bounds left)
{
    struct sim_choice choices[SIM_CHOICES_MAX];
    struct sim_bounds next;
    struct sim_saved *saved;
    unsigned count;

    x->deepest = depth > x->deepest ? depth : x->deepest;
    if (x->found || x->seen.full || depth >= x->depth_limit || depth >= DEPTH_MAX ||
        !sim_seen_add(&x->seen, sim_state_hash(x->w, &left), x->shortening ? depth : 0)) {
        return;
    }
    if (is_beyond(x)) {
        return;
    }
    saved = sim_state_save(x->w);
    count = sim_choices_list(x->w, &left, choices);
    for (unsigned i = 0; i < count && !x->found && !x->seen.full; i++) {
        next = left;
        x->path[depth] = choices[i];
        choose(x, &choices[i], &next);
        swift_run(x);
        lost_check(x);
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

static void
way_print(struct search *x)
{
    struct sim_bounds left = x->bounds;

    sim_close(x->w);
    sim_rest(x->w, x->bounds.nodes, x->bounds.witness != 0);
    x->w->searching = true;
    x->w->opt.trace = x->telling = true;
    for (unsigned i = 0; i < x->depth_limit; i++) {
        choose(x, &x->path[i], &left);
        swift_run(x);
        lost_check(x);
    }
    printf("%u steps lead to: %s\n", x->depth_limit, x->w->failure);
    sim_state_print(x->w);
}

static void
result_print(const struct search *x)
{
    const struct sim_bounds *b = &x->bounds;

    printf("exhaustive: %u nodes%s, %u of them swift", b->nodes,
           b->witness != 0 ? " and the witness" : "",
           b->nodes > b->nodes_free ? b->nodes - b->nodes_free : 0);
    for (unsigned k = SIM_CHOOSE_ITEM + 1; k < SIM_CHOOSE_COUNT; k++) {
        if (b->left[k] > 0) {
            printf(", %s %u", sim_choice_word((enum sim_what)k), b->left[k]);
        }
    }
    if (b->terms > 0) {
        printf(", terms %u", b->terms);
    }
    printf(": %lu states, %lu transitions, depth %u, terms up to %lu%s\n",
           (unsigned long)x->seen.count, (unsigned long)x->transitions, x->deepest,
           (unsigned long)x->terms,
           x->found       ? ", broken"
           : x->seen.full ? ", NOT complete: more states than fit"
                          : ", complete");
    if (x->found) {
        printf("%s; looks for the shortest way\n", x->w->failure);
    }
    (void)fflush(stdout);
}

bool
sim_exhaust(struct sim *w, const struct sim_bounds *bounds)
{
    static struct search x;
    unsigned limit = DEPTH_MAX;
    bool broken = false;
    struct sim_choice *shortest = NULL;

    for (;;) {
        memset(&x, 0, sizeof(x));
        x.w = w;
        x.bounds = *bounds;
        x.bounds.channel_max = CHANNEL_MAX;
        x.depth_limit = limit;
        x.shortening = broken;
        if (!sim_seen_open(&x.seen, bounds->states_max)) {
            printf("no memory for %lu states\n", (unsigned long)bounds->states_max);
            return false;
        }
        sim_rest(w, bounds->nodes, bounds->witness != 0);
        w->searching = true;
        explore(&x, 0, x.bounds);
        result_print(&x);
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
