#include "members.h"
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define HEAL_MS 900000 /* everything is well again by then, or liveness failed */

/* ---- chance: xorshift64*, everything follows from the seed ---- */

static uint64_t
random_next(struct sim *w)
{
    w->random ^= w->random >> 12;
    w->random ^= w->random << 25;
    w->random ^= w->random >> 27;
    return w->random * 0x2545f4914f6cdd1dULL;
}

uint32_t
sim_random(struct sim *w, uint32_t below)
{
    return below == 0 || w->manual ? 0 : (uint32_t)((random_next(w) >> 32) % below);
}

bool
sim_chance(struct sim *w, uint32_t per_mille)
{
    return per_mille > 0 && !w->manual && sim_random(w, 1000) < per_mille;
}

/* ---- the queue: a heap of item numbers by time, then by the order in which they came ---- */

static bool
before(const struct sim *w, uint16_t a, uint16_t b)
{
    const struct sim_item *x = &w->items[a];
    const struct sim_item *y = &w->items[b];

    return x->at_ms != y->at_ms ? x->at_ms < y->at_ms : x->order < y->order;
}

static void
heap_up(struct sim *w, uint32_t i)
{
    while (i > 0 && before(w, w->heap[i], w->heap[(i - 1) / 2])) {
        uint16_t swap = w->heap[i];
        w->heap[i] = w->heap[(i - 1) / 2];
        w->heap[(i - 1) / 2] = swap;
        i = (i - 1) / 2;
    }
}

static void
heap_down(struct sim *w, uint32_t i)
{
    for (;;) {
        uint32_t least = i;
        for (uint32_t child = 2 * i + 1; child <= 2 * i + 2; child++) {
            if (child < w->heap_count && before(w, w->heap[child], w->heap[least])) {
                least = child;
            }
        }
        if (least == i) {
            return;
        }
        uint16_t swap = w->heap[i];
        w->heap[i] = w->heap[least];
        w->heap[least] = swap;
        i = least;
    }
}

struct sim_item *
sim_item_add(struct sim *w, enum sim_kind kind, uint8_t node, int64_t delay_ms)
{
    uint16_t slot;
    struct sim_item *item;

    if (w->heap_count == SIM_ITEMS) {
        sim_fail(w, "model: more than %d things are going to happen", SIM_ITEMS);
        return &w->items[0]; /* the run ends before it is looked at */
    }
    slot = w->free_items[w->heap_count];
    item = &w->items[slot];
    memset(item, 0, sizeof(*item));
    item->kind = kind;
    item->node = node;
    item->at_ms = w->now_ms + delay_ms;
    item->order = w->order++;
    w->heap[w->heap_count++] = slot;
    heap_up(w, w->heap_count - 1);
    return item;
}

void
sim_item_remove(struct sim *w, uint32_t at, struct sim_item *out)
{
    uint16_t slot = w->heap[at];

    *out = w->items[slot];
    w->heap[at] = w->heap[--w->heap_count];
    w->free_items[w->heap_count] = slot;
    if (at < w->heap_count) {
        heap_down(w, at);
        heap_up(w, at);
    }
}

void
sim_item_again(struct sim *w, const struct sim_item *item, int64_t delay_ms)
{
    struct sim_item *next = sim_item_add(w, item->kind, item->node, delay_ms);
    int64_t at_ms = next->at_ms;
    uint64_t order = next->order;

    *next = *item;
    next->at_ms = at_ms;
    next->order = order;
}

static bool
item_take(struct sim *w, int64_t until_ms, struct sim_item *out)
{
    if (w->heap_count == 0 || w->items[w->heap[0]].at_ms > until_ms) {
        return false;
    }
    sim_item_remove(w, 0, out);
    return true;
}

/* ---- clocks ---- */

int64_t
sim_local_ms(const struct sim *w, uint8_t node)
{
    const struct sim_node *n = &w->nodes[node];
    int64_t passed_ms = w->now_ms - n->clock_at_ms;

    return n->clock_base_ms + passed_ms + passed_ms * n->clock_ppm / 1000000;
}

/* The first moment at which the node's clock shows local_ms or later. */
static int64_t
global_ms(const struct sim *w, uint8_t node, int64_t local_ms)
{
    const struct sim_node *n = &w->nodes[node];
    int64_t wait_ms = local_ms - sim_local_ms(w, node);

    wait_ms = wait_ms > 0 ? wait_ms * 1000000 / (1000000 + n->clock_ppm) + 1 : 0;
    return w->now_ms + wait_ms;
}

/* ---- one step of a core ---- */

static bool
is_failover(const struct sim *w, uint8_t node, uint64_t command)
{
    for (uint32_t i = 0; i < w->commands_count; i++) {
        if (w->commands[i].id == command && w->commands[i].node == node) {
            return w->commands[i].failover;
        }
    }
    return false;
}

static void
action_start(struct sim *w, uint8_t node, const struct zb_action *a)
{
    sim_check_target(w, node, a);
    switch (a->kind) {
    case ZB_ACT_MESSAGE:
        sim_message_send(w, node, (uint8_t)a->service, a->node, &a->msg);
        break;
    case ZB_ACT_SHIP:
        sim_ship_begin(w, node, a);
        break;
    case ZB_ACT_REPLY:
        for (uint32_t i = 0; i < w->commands_count; i++) {
            struct sim_command *c = &w->commands[i];
            if (c->id == a->command_id && c->node == node) {
                if (c->answered) {
                    sim_fail(w, "command %lu was answered twice", (unsigned long)c->id);
                }
                c->answered = true;
                w->moves_done += a->rc == ZB_OK && a->rule != NULL && a->down_ms > 0;
                w->failovers_done += c->failover && a->rc == ZB_OK;
            }
        }
        sim_tell(w, node, "reply %lu rc %d %s %s", (unsigned long)a->command_id, (int)a->rc,
                 a->rule, a->text);
        break;
    case ZB_ACT_STEP:
        if (a->step == ZB_FAILOVER_FENCE && a->phase == ZB_STEP_BEGIN &&
            is_failover(w, node, a->command_id)) {
            sim_statement_suspect(node, (uint8_t)a->service, a->node);
            sim_fence_wanted(w, node, (uint8_t)a->service, a->node, a->term);
        }
        sim_tell(w, node, "step %u phase %d n%u %s", a->step, (int)a->phase, a->node + 1, a->text);
        break;
    case ZB_ACT_TERM:
        w->reverts_done += a->reason == ZB_TERM_REVERT;
        sim_statement_check(w, node, a, is_failover(w, node, a->command_id));
        break;
    case ZB_ACT_NOTE:
        sim_tell(w, node, "%s %s %s", sim_act_word(a->kind), a->rule != NULL ? a->rule : "",
                 a->text);
        break;
    default:
        sim_op_begin(w, node, a);
        break;
    }
}

void
sim_step(struct sim *w, uint8_t node, struct zb_event *ev)
{
    struct sim_node *n = &w->nodes[node];

    ev->now.ms = sim_local_ms(w, node);
    ev->wall.s = 1800000000 + w->now_ms / 1000;
    zb_core_step(w->cores[node], ev, &w->plan);
    w->steps++;
    n->wake_ms = w->plan.wake.ms;
    for (uint32_t i = 0; i < w->plan.actions_count; i++) {
        action_start(w, node, &w->plan.actions[i]);
    }
    sim_check(w);
}

/* ---- what is due ---- */

static void
done_arrive(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_DONE, .service = item->service};
    struct zb_core_result *r = &ev.u.done.result;

    ev.u.done.action_id = item->u.done.id;
    r->rc = item->u.done.rc;
    r->obs_valid = item->u.done.obs_valid;
    r->obs = item->u.done.obs;
    r->set = item->u.done.set;
    r->remounted = item->u.done.remounted;
    r->elapsed_ms = item->u.done.elapsed_ms;
    r->bytes = 1000;
    zb_strcopy(r->rescue, sizeof(r->rescue), item->u.done.rescued ? "aside" : "");
    zb_strcopy(r->text, sizeof(r->text), r->rc == ZB_OK ? "" : zb_rc_word(r->rc));
    sim_tell(w, item->node, "done %s: %s", sim_act_word(item->u.done.kind), zb_rc_word(r->rc));
    sim_step(w, item->node, &ev);
}

static void
conf_arrive(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_CONFIG, .service = item->service};

    if (w->opt.changes > 0) {
        sim_conf_pass(w, item);
        return;
    }
    ev.u.conf = w->conf[item->service];
    w->nodes[item->node].services[item->service].conf = ev.u.conf;
    sim_step(w, item->node, &ev);
}

static void
received_arrive(struct sim *w, const struct sim_item *item)
{
    struct zb_event ev = {.kind = ZB_EV_RECEIVED, .service = item->service};

    ev.u.set = item->u.set;
    sim_step(w, item->node, &ev);
}

/* A running service writes now and then; some of it is acknowledged to its clients. */
static void
service_write(struct sim *w, const struct sim_item *item)
{
    struct sim_service *s = &w->nodes[item->node].services[item->service];
    uint8_t slot = (uint8_t)sim_random(w, w->opt.datasets);
    struct sim_dataset *d = &s->datasets[slot];

    s->writing = s->running;
    if (!s->running) {
        return;
    }
    if (d->exists && d->mount == ZB_MOUNT_RW) {
        if (sim_chance(w, 150)) {
            d->dirty = true;
        } else {
            (void)sim_write(w, item->node, item->service, slot, sim_chance(w, 600));
        }
    }
    struct sim_item *next =
        sim_item_add(w, SIM_WRITE, item->node, 100 + (int64_t)sim_random(w, 4000));
    next->service = item->service;
    next->life = item->life;
}

/* The node's time to write back what is dirty. */
static void
pool_sync(struct sim *w, const struct sim_item *item)
{
    struct sim_node *n = &w->nodes[item->node];

    for (uint8_t i = 0; i < w->opt.services; i++) {
        for (uint8_t j = 0; j < w->opt.datasets; j++) {
            struct sim_dataset *d = &n->services[i].datasets[j];
            if (d->exists && (d->mount == ZB_MOUNT_RW || d->lazy)) {
                if (sim_chance(w, 500)) {
                    sim_dataset_flush(w, item->node, i, j);
                }
                if (d->lazy) {
                    (void)sim_write(w, item->node, i, j, false);
                }
                d->synced = d->live;
                d->logged = 0;
            }
        }
    }
    sim_item_add(w, SIM_SYNC, item->node, 5000)->life = item->life;
}

bool
sim_item_lives(const struct sim *w, const struct sim_item *item)
{
    const struct sim_node *n = &w->nodes[item->node];

    switch (item->kind) {
    case SIM_DONE:
    case SIM_RECEIVED:
    case SIM_DIVERGED:
    case SIM_FENCE:
    case SIM_CONF:
    case SIM_VOTED:
        return n->engine && item->life == n->engine_life;
    case SIM_OP:
        return n->keeper && item->life == n->keeper_life;
    case SIM_WRITE:
    case SIM_SYNC:
    case SIM_START_KEEPER:
    case SIM_START_ENGINE:
    case SIM_RESUME:
    case SIM_DISK_WELL:
        return n->on && item->life == n->host_life;
    case SIM_START_NODE:
        return !n->on && item->life == n->host_life;
    default:
        return true;
    }
}

/* What a paused host or a disk that does not answer has to wait with. */
static bool
item_waits(const struct sim *w, const struct sim_item *item)
{
    const struct sim_node *n = &w->nodes[item->node];

    if (item->kind == SIM_OP && n->disk_stuck) {
        return true;
    }
    return n->paused && item->kind != SIM_RESUME && item->kind != SIM_LINK &&
           item->kind != SIM_FAULT && item->kind != SIM_OPERATOR && item->kind != SIM_START_NODE;
}

void
sim_item_run(struct sim *w, struct sim_item *item)
{
    struct sim_node *n = &w->nodes[item->node];

    switch (item->kind) {
    case SIM_MESSAGE:
        sim_message_arrive(w, item);
        break;
    case SIM_OP:
        sim_op_run(w, item);
        break;
    case SIM_DONE:
        done_arrive(w, item);
        break;
    case SIM_SHIP:
        sim_ship_run(w, item);
        break;
    case SIM_RECEIVED:
        received_arrive(w, item);
        break;
    case SIM_DIVERGED:
        sim_diverged_arrive(w, item);
        break;
    case SIM_FENCE:
        sim_fence_look(w, item);
        break;
    case SIM_LINK:
        sim_link_check(w, item->node, item->peer);
        break;
    case SIM_VOTE:
        sim_witness_run(w, item);
        break;
    case SIM_VOTED:
        sim_witness_arrive(w, item);
        break;
    case SIM_VOTE_LINK:
        sim_witness_link(w, item->node);
        break;
    case SIM_CONF:
        conf_arrive(w, item);
        break;
    case SIM_WRITE:
        service_write(w, item);
        break;
    case SIM_SYNC:
        pool_sync(w, item);
        break;
    case SIM_START_NODE:
        sim_host_start(w, item->node);
        break;
    case SIM_START_KEEPER:
        sim_keeper_start(w, item->node);
        break;
    case SIM_START_ENGINE:
        if (n->keeper) {
            sim_engine_start(w, item->node);
        }
        break;
    case SIM_RESUME:
        n->paused = false;
        sim_links_check(w, item->node);
        break;
    case SIM_DISK_WELL:
        n->disk_full = n->disk_stuck = false;
        break;
    case SIM_FAULT:
        sim_fault(w);
        break;
    case SIM_OPERATOR:
        sim_operator(w);
        break;
    case SIM_FREE:
        break;
    }
}

/* The node whose core wants to be woken first, at the latest at *at_ms; SIM_NODES: none. */
static uint8_t
first_wake(const struct sim *w, int64_t *at_ms)
{
    uint8_t who = SIM_NODES;

    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        const struct sim_node *n = &w->nodes[i];
        int64_t wake_ms;
        if (!n->engine || n->paused) {
            continue;
        }
        wake_ms = global_ms(w, i, n->wake_ms);
        if (wake_ms < *at_ms || (wake_ms == *at_ms && who == SIM_NODES)) {
            *at_ms = wake_ms;
            who = i;
        }
    }
    return who;
}

bool
sim_advance(struct sim *w, int64_t until_ms)
{
    struct sim_item item;
    int64_t wake_ms = until_ms;
    uint8_t who = first_wake(w, &wake_ms);

    if (item_take(w, wake_ms, &item)) {
        w->now_ms = item.at_ms > w->now_ms ? item.at_ms : w->now_ms;
        if (!sim_item_lives(w, &item)) {
            return true;
        }
        if (item_waits(w, &item)) {
            sim_item_again(w, &item, 50); /* behind what else is due then, in its own order */
            return true;
        }
        sim_item_run(w, &item);
        return true;
    }
    if (who == SIM_NODES) {
        return false;
    }
    w->now_ms = wake_ms > w->now_ms ? wake_ms : w->now_ms;
    sim_step(w, who, &(struct zb_event){.kind = ZB_EV_TICK});
    return true;
}

/* ---- a run ---- */

void
sim_init(struct sim *w, const struct sim_options *options)
{
    memset(w, 0, offsetof(struct sim, items));
    sim_statements_clear();
    w->opt = *options;
    w->random = options->seed * 0x9e3779b97f4a7c15ULL | 1;
    w->now_ms = 1000000;
    w->next_guid = 1000;
    w->next_command = 1;
    w->versions_count = 1; /* 0 is the empty file system */
    memset(&w->versions[0], 0, sizeof(w->versions[0]));
    for (uint16_t i = 0; i < SIM_ITEMS; i++) {
        w->free_items[i] = i;
    }
    for (uint8_t i = 0; i < options->services; i++) {
        struct zb_core_conf *c = &w->conf[i];
        c->members_count = options->nodes;
        c->witness = options->witness;
        zb_witness_record_init(&w->witness.records[i]);
        zb_witness_record_init(&w->witness.before[i]);
        c->first_leader = (uint8_t)sim_random(w, options->nodes);
        c->version = 1;
        c->interval_ms = 2000 + (int64_t)sim_random(w, 10000);
        c->idle_interval_ms = (int64_t)(options->seed + i) % 3 * c->interval_ms;
        c->idle_bytes = (options->seed + i) % 3 * 2;
        c->keep_count = 3 + sim_random(w, 6);
        c->start_timeout_ms = 10000;
        c->stop_timeout_ms = 10000;
        for (uint8_t j = 0; j < options->nodes; j++) {
            c->members[j] = j;
            c->backup[j] = options->nodes > 3 && j == options->nodes - 1;
        }
        if (options->fault_ms > 0 && options->nodes > 3 && (options->seed + i) % 2 == 0) {
            c->backup_every_ms = SIM_BACKUP_SETS * c->interval_ms;
        }
        if (c->backup[c->first_leader]) {
            c->first_leader = 0;
        }
    }
    for (uint8_t i = 0; i < options->nodes; i++) {
        w->cores[i] = calloc(1, zb_core_size(options->services));
        if (w->cores[i] == NULL) {
            abort();
        }
        for (uint8_t j = 0; j < options->services; j++) {
            w->nodes[i].services[j].conf = w->conf[j];
            sim_members_note(w, j);
        }
        sim_host_start(w, i);
    }
    if (options->fault_ms > 0) {
        (void)sim_item_add(w, SIM_FAULT, 0, 20000);
    }
    if (options->operator_ms > 0) {
        (void)sim_item_add(w, SIM_OPERATOR, 0, 20000);
    }
}

void
sim_close(struct sim *w)
{
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        free(w->cores[i]);
        w->cores[i] = NULL;
    }
}

bool
sim_end(struct sim *w)
{
    int64_t until_ms;

    sim_heal(w);
    until_ms = w->now_ms + HEAL_MS;
    while (!w->failed && !sim_check_alive(w)) {
        sim_failover_heal(w);
        if (!sim_advance(w, until_ms)) {
            sim_fail(w, "liveness: not led, or not all current, %d s after everything was healed",
                     HEAL_MS / 1000);
        }
    }
    if (!w->failed && !sim_lost_found(w)) {
        sim_fail(w,
                 "S4: a write that a failover left behind is in no rescue and not in the history");
    }
    return !w->failed;
}

bool
sim_run(struct sim *w)
{
    while (!w->failed && (w->steps < w->opt.steps || (w->opt.fault_ms > 0 && w->faults < 20)) &&
           w->versions_count < SIM_VERSIONS - 1000) {
        if (!sim_advance(w, w->now_ms + 3600000)) {
            sim_fail(w, "liveness: nothing is going to happen any more");
        }
    }
    return sim_end(w);
}
