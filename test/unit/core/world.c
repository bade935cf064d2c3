#include "world.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DELAY_MS 5
#define OP_MS 10

void
world_queue(struct world *w, int64_t at_ms, unsigned node, const struct zb_event *ev,
            const struct zb_action *act)
{
    struct world_item *i;

    assert(w->queue_count < WORLD_QUEUE);
    i = &w->queue[w->queue_count++];
    memset(i, 0, sizeof(*i));
    i->at_ms = at_ms;
    i->order = w->order++;
    i->node = (uint8_t)node;
    i->life = w->nodes[node].life;
    if (ev != NULL) {
        i->ev = *ev;
    }
    if (act != NULL) {
        i->act = *act;
    }
}

static void
check(struct world *w)
{
    unsigned writers = 0;

    for (unsigned i = 0; i < w->nodes_count; i++) {
        writers += w->nodes[i].mounted_rw;
        assert(!w->nodes[i].running || w->nodes[i].mounted_rw);
    }
    assert(writers <= 1);
}

static int64_t
op_ms(const struct world *w, enum zb_act_kind kind)
{
    if (kind == ZB_ACT_SHIP && w->ship_ms != 0) {
        return w->ship_ms;
    }
    if (kind == ZB_ACT_GRANT && w->grant_ms != 0) {
        return w->grant_ms;
    }
    return kind == ZB_ACT_START ? 100 : OP_MS;
}

static void
start_action(struct world *w, unsigned node, const struct zb_action *a)
{
    if (getenv("WORLD_TRACE") != NULL && a->kind != ZB_ACT_MESSAGE) {
        printf("%8ld vm%u act %d term %lu step %u %s %s\n", (long)w->now_ms, node + 1, (int)a->kind,
               (unsigned long)a->term, a->step, a->rule != NULL ? a->rule : "", a->text);
    }
    if (a->kind == ZB_ACT_MESSAGE) {
        struct zb_event ev = {.kind = ZB_EV_MESSAGE, .node = (uint8_t)node};
        ev.u.msg = a->msg;
        if (!w->cut[node][a->node] && w->nodes[a->node].on) {
            world_queue(w, w->now_ms + DELAY_MS, a->node, &ev, NULL);
        }
    } else if (a->kind == ZB_ACT_REPLY) {
        assert(w->replies_count < WORLD_REPLIES);
        w->replies[w->replies_count].command_id = a->command_id;
        w->replies[w->replies_count].rc = a->rc;
        w->replies[w->replies_count].rule = a->rule;
        w->replies[w->replies_count].action = *a;
        snprintf(w->replies[w->replies_count++].text, 256, "%s", a->text);
    } else if (a->kind == ZB_ACT_NOTE && w->notes_count < WORLD_NOTES) {
        struct world_note *note = &w->notes[w->notes_count++];
        note->by = node;
        note->about = a->node;
        note->rule = a->rule;
        snprintf(note->text, sizeof(note->text), "%s", a->text);
    } else if (a->kind == ZB_ACT_TERM) {
        w->term = *a;
    } else if (a->kind == ZB_ACT_STEP) {
        w->steps_seen[a->step] |= 1u << a->phase;
    } else if (a->kind <= ZB_ACT_SHIP) {
        world_queue(w, w->now_ms + op_ms(w, a->kind), node, NULL, a);
    }
}

static void
step(struct world *w, unsigned node, struct zb_event *ev)
{
    struct world_node *n = &w->nodes[node];

    ev->now.ms = w->now_ms;
    ev->wall.s = w->now_ms / 1000;
    zb_core_step(n->core, ev, &w->plan);
    n->wake = w->plan.wake;
    for (uint32_t i = 0; i < w->plan.actions_count; i++) {
        start_action(w, node, &w->plan.actions[i]);
    }
    check(w);
}

static void
finish_action(struct world *w, unsigned node, const struct zb_action *a)
{
    struct zb_event ev = {.kind = ZB_EV_DONE};
    struct zb_core_result *r = &ev.u.done.result;

    ev.u.done.action_id = a->id;
    r->rc = world_carry_out(w, node, a, r);
    check(w);
    snprintf(r->text, sizeof(r->text), "operation %d: rc %d", (int)a->kind, (int)r->rc);
    r->obs_valid = a->kind != ZB_ACT_SHIP && a->kind != ZB_ACT_START && a->kind != ZB_ACT_STOP &&
                   a->kind != ZB_ACT_SNAPSHOT && a->kind != ZB_ACT_PRUNE;
    r->obs = world_observe(&w->nodes[node]);
    step(w, node, &ev);
}

static bool
next_item(struct world *w, int64_t until_ms, struct world_item *out)
{
    unsigned best = WORLD_QUEUE;

    for (unsigned i = 0; i < w->queue_count; i++) {
        const struct world_item *q = &w->queue[i];
        if (q->at_ms <= until_ms &&
            (best == WORLD_QUEUE || q->at_ms < w->queue[best].at_ms ||
             (q->at_ms == w->queue[best].at_ms && q->order < w->queue[best].order))) {
            best = i;
        }
    }
    if (best == WORLD_QUEUE) {
        return false;
    }
    *out = w->queue[best];
    w->queue[best] = w->queue[--w->queue_count];
    return true;
}

/* One thing happens: the earliest queued item or wake-up not later than until_ms. */
static bool
advance(struct world *w, int64_t until_ms)
{
    struct world_item item;
    int64_t wake_ms = until_ms;
    unsigned who = WORLD_NODES;

    for (unsigned i = 0; i < w->nodes_count; i++) {
        if (w->nodes[i].on && w->nodes[i].wake.ms <= wake_ms) {
            wake_ms = w->nodes[i].wake.ms;
            who = i;
        }
    }
    if (next_item(w, wake_ms, &item)) {
        w->now_ms = item.at_ms > w->now_ms ? item.at_ms : w->now_ms;
        if (w->nodes[item.node].on && w->nodes[item.node].life == item.life) {
            if (item.act.id != 0) {
                finish_action(w, item.node, &item.act);
            } else {
                step(w, item.node, &item.ev);
            }
        }
        return true;
    }
    if (who == WORLD_NODES) {
        return false;
    }
    w->now_ms = wake_ms > w->now_ms ? wake_ms : w->now_ms;
    w->nodes[who].wake.ms = w->now_ms + 1;
    step(w, who, &(struct zb_event){.kind = ZB_EV_TICK});
    return true;
}

void
world_run(struct world *w, int64_t ms)
{
    int64_t until_ms = w->now_ms + ms;

    while (advance(w, until_ms)) {
    }
    w->now_ms = until_ms;
}

bool
world_run_until(struct world *w, bool (*cond)(struct world *, unsigned), unsigned arg, int64_t ms)
{
    int64_t until_ms = w->now_ms + ms;

    while (!cond(w, arg)) {
        if (!advance(w, until_ms)) {
            return false;
        }
    }
    return true;
}

static void
peers(struct world *w, unsigned node, bool up)
{
    for (unsigned i = 0; i < w->nodes_count; i++) {
        struct zb_event ev = {.kind = up ? ZB_EV_PEER_UP : ZB_EV_PEER_DOWN};
        if (i == node || !w->nodes[i].on || (up && w->cut[i][node])) {
            continue;
        }
        ev.node = (uint8_t)i;
        if (w->nodes[node].on) {
            step(w, node, &ev);
        }
        ev.node = (uint8_t)node;
        step(w, i, &ev);
    }
}

void
world_declare(struct world *w, unsigned node, const struct zb_core_conf *conf)
{
    struct zb_event ev = {.kind = ZB_EV_CONFIG, .u.conf = *conf};

    step(w, node, &ev);
}

static void
boot_core(struct world *w, unsigned node)
{
    struct world_node *n = &w->nodes[node];
    struct zb_core_options opt = {.self = (uint8_t)node, .services_max = 1};

    n->life++;
    n->nonce = n->life * 100 + node + 1;
    opt.nonce = n->nonce;
    opt.seed = n->nonce * 77;
    free(n->mem);
    n->mem = calloc(1, zb_core_size(1));
    n->core = zb_core_init(n->mem, &opt);
    n->on = true;
    world_declare(w, node, &w->conf);
    peers(w, node, true);
}

void
world_power_on(struct world *w, unsigned node)
{
    boot_core(w, node);
}

void
world_power_off(struct world *w, unsigned node)
{
    struct world_node *n = &w->nodes[node];

    n->on = false;
    n->life++;
    n->mounted_rw = n->sealed = n->running = false;
    peers(w, node, false);
}

/* The keeper lives on: mounts, seal and service stay. */
void
world_engine_restart(struct world *w, unsigned node)
{
    w->nodes[node].on = false;
    peers(w, node, false);
    boot_core(w, node);
}

void
world_cut(struct world *w, unsigned a, unsigned b, bool cut)
{
    struct zb_event ev = {.kind = cut ? ZB_EV_PEER_DOWN : ZB_EV_PEER_UP};

    w->cut[a][b] = w->cut[b][a] = cut;
    ev.node = (uint8_t)b;
    step(w, a, &ev);
    ev.node = (uint8_t)a;
    step(w, b, &ev);
}

void
world_command(struct world *w, unsigned node, enum zb_cmd_kind kind, unsigned target, uint64_t id)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND};

    ev.u.command.kind = kind;
    ev.u.command.id = id;
    ev.u.command.node = (uint8_t)target;
    step(w, node, &ev);
}

void
world_failover(struct world *w, unsigned node, bool allow_loss, uint64_t id)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND};

    ev.u.command.kind = ZB_CMD_FAILOVER;
    ev.u.command.id = id;
    ev.u.command.node = (uint8_t)node;
    ev.u.command.allow_loss = allow_loss;
    ev.u.command.wait_ms = 60000;
    step(w, node, &ev);
}

void
world_takeover(struct world *w, unsigned node, const struct zb_set_ref *least, uint64_t id)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND};

    ev.u.command.kind = ZB_CMD_FAILOVER;
    ev.u.command.id = id;
    ev.u.command.node = (uint8_t)node;
    ev.u.command.allow_loss = true;
    ev.u.command.automatic = true;
    ev.u.command.set = *least;
    ev.u.command.wait_ms = 60000;
    step(w, node, &ev);
}

void
world_bar(struct world *w, unsigned node, bool barred)
{
    struct zb_event ev = {.kind = barred ? ZB_EV_BARRED : ZB_EV_UNBARRED};

    step(w, node, &ev);
}

void
world_revert(struct world *w, unsigned node, const struct zb_set_ref *set, uint64_t id)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND};

    ev.u.command.kind = ZB_CMD_REVERT;
    ev.u.command.id = id;
    ev.u.command.node = (uint8_t)node;
    ev.u.command.set = *set;
    ev.u.command.wait_ms = 5000;
    step(w, node, &ev);
}

void
world_fenced(struct world *w, unsigned node, unsigned peer, uint64_t term, uint64_t id)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND};

    ev.u.command.kind = ZB_CMD_FENCED;
    ev.u.command.id = id;
    ev.u.command.node = (uint8_t)peer;
    ev.u.command.term = term;
    step(w, node, &ev);
}

void
world_fence_wait(struct world *w, unsigned node, uint64_t term, int64_t wait_ms, uint64_t id)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND};

    ev.u.command.kind = ZB_CMD_FENCE_WAIT;
    ev.u.command.id = id;
    ev.u.command.term = term;
    ev.u.command.wait_ms = wait_ms;
    step(w, node, &ev);
}

void
world_diverged(struct world *w, unsigned node, unsigned leader, uint64_t term)
{
    struct zb_event ev = {.kind = ZB_EV_DIVERGED, .node = (uint8_t)leader};

    ev.u.diverged.term = term;
    ev.u.diverged.common = true;
    step(w, node, &ev);
}

void
world_position(struct world *w, unsigned node, unsigned peer, const struct zb_set_ref *set)
{
    struct zb_event ev = {.kind = ZB_EV_PEER_POSITION, .node = (uint8_t)peer};

    ev.u.set = *set;
    step(w, node, &ev);
}

void
world_seen(struct world *w, unsigned node, unsigned peer, const struct zb_core_seen *seen)
{
    struct zb_event ev = {.kind = ZB_EV_PEER_SEEN, .node = (uint8_t)peer};

    ev.u.seen = *seen;
    step(w, node, &ev);
}

void
world_init(struct world *w, unsigned nodes)
{
    memset(w, 0, sizeof(*w));
    w->now_ms = 1000000;
    w->nodes_count = nodes;
    w->conf.members_count = (uint8_t)nodes;
    w->conf.version = 1;
    w->conf.interval_ms = 10000;
    w->conf.keep_count = 16;
    w->conf.start_timeout_ms = 10000;
    w->conf.stop_timeout_ms = 10000;
    for (unsigned i = 0; i < nodes; i++) {
        w->conf.members[i] = (uint8_t)i;
        w->nodes[i].disk.record.granted_to = ZB_NODE_NONE;
        w->nodes[i].disk.record.learned_leader = ZB_NODE_NONE;
        w->nodes[i].disk.record.released_to = ZB_NODE_NONE;
    }
    for (unsigned i = 0; i < nodes; i++) {
        world_power_on(w, i);
    }
}

void
world_close(struct world *w)
{
    for (unsigned i = 0; i < w->nodes_count; i++) {
        free(w->nodes[i].mem);
    }
}
