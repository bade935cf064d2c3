#include "choice.h"
#include "members.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- items ---- */

static const struct sim_item *
item_at(const struct sim *w, uint32_t i)
{
    return &w->items[w->heap[i]];
}

/* One that was repeated arrives whenever it likes, over the ends of connections too. */
static bool
is_late(const struct sim_item *item)
{
    return item->kind == SIM_MESSAGE && item->session == 0;
}

static bool
same_channel(const struct sim_item *a, const struct sim_item *b)
{
    return a->kind == SIM_MESSAGE && b->kind == SIM_MESSAGE && a->node == b->node &&
           a->peer == b->peer && !is_late(a) && !is_late(b);
}

/* Only the oldest message of a connection arrives next. */
static bool
is_oldest(const struct sim *w, const struct sim_item *item)
{
    for (uint32_t i = 0; i < w->heap_count; i++) {
        if (same_channel(item_at(w, i), item) && item_at(w, i)->order < item->order) {
            return false;
        }
    }
    return true;
}

/* The same is on its way to the witness, or from there, that was sent later. */
static bool
is_asked_again(const struct sim *w, const struct sim_item *item)
{
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *other = item_at(w, i);
        if (other->kind == item->kind && other->node == item->node && other->order > item->order &&
            other->u.msg.kind == item->u.msg.kind && other->u.msg.term == item->u.msg.term) {
            return true;
        }
    }
    return false;
}

/* What only makes the world livelier; messages of connections that are gone; reports that a newer
 * one follows. */
static bool
is_void(const struct sim *w, const struct sim_item *item)
{
    if (item->kind == SIM_SYNC || item->kind == SIM_WRITE) {
        return true;
    }
    if (item->kind == SIM_VOTE || item->kind == SIM_VOTED) {
        return !sim_item_lives(w, item) || is_asked_again(w, item);
    }
    if (item->kind != SIM_MESSAGE) {
        return !sim_item_lives(w, item);
    }
    if (is_late(item)) {
        return false;
    }
    if (!w->nodes[item->node].engine || item->session != w->nodes[item->node].session[item->peer]) {
        return true;
    }
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *other = item_at(w, i);
        if (same_channel(other, item) && other->order > item->order &&
            other->u.msg.kind == item->u.msg.kind && other->u.msg.term == item->u.msg.term) {
            return true;
        }
    }
    return false;
}

/* What a connection has no room for. */
static bool
is_too_much(const struct sim *w, const struct sim_item *item, unsigned channel_max)
{
    unsigned older = 0;

    for (uint32_t i = 0; i < w->heap_count; i++) {
        older += same_channel(item_at(w, i), item) && item_at(w, i)->order < item->order;
    }
    return channel_max > 0 && older >= channel_max;
}

static void
purge(struct sim *w, unsigned channel_max)
{
    struct sim_item out;

    for (unsigned pass = 0; pass < 2; pass++) {
        for (uint32_t i = 0; i < w->heap_count;) {
            if (pass == 0 ? is_void(w, item_at(w, i))
                          : is_too_much(w, item_at(w, i), channel_max)) {
                sim_item_remove(w, i, &out);
                i = 0;
            } else {
                i++;
            }
        }
    }
}

static const struct sim_item *
channel_oldest(const struct sim *w, uint8_t from, uint8_t to)
{
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *item = item_at(w, i);
        if (item->kind == SIM_MESSAGE && !is_late(item) && item->node == to && item->peer == from &&
            is_oldest(w, item)) {
            return item;
        }
    }
    return NULL;
}

/* ---- what people and accidents do ---- */

static bool
has_engine(const struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    return w->nodes[node].engine;
}

static bool
has_keeper(const struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    return w->nodes[node].keeper;
}

static bool
is_on(const struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    return w->nodes[node].on;
}

static bool
can_move(const struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    return w->nodes[node].engine && w->nodes[node].services[0].running;
}

static bool
can_write(const struct sim *w, uint8_t node, uint8_t peer)
{
    const struct sim_service *s = &w->nodes[node].services[0];

    (void)peer;
    return s->datasets[0].mount == ZB_MOUNT_RW;
}

static bool
can_modify(const struct sim *w, uint8_t node, uint8_t peer)
{
    const struct sim_service *s = &w->nodes[node].services[0];
    const struct sim_dataset *d = &s->datasets[0];

    (void)peer;
    return w->nodes[node].on && d->exists && !d->partial && d->mount == ZB_MOUNT_NONE &&
           s->stage == ZB_STAGE_REST && !s->claimed;
}

static bool
can_repeat(const struct sim *w, uint8_t node, uint8_t peer)
{
    return channel_oldest(w, node, peer) != NULL;
}

/* The core's next wake-up is there. */
static void
clock_run(struct sim *w, uint8_t node, uint8_t peer)
{
    struct sim_node *n = &w->nodes[node];
    int64_t wait_ms = n->wake_ms - sim_local_ms(w, node);

    (void)peer;
    n->clock_base_ms += wait_ms > 0 ? wait_ms : 1;
    sim_step(w, node, &(struct zb_event){.kind = ZB_EV_TICK});
}

static void
move_run(struct sim *w, uint8_t node, uint8_t peer)
{
    sim_command(w, node, 0, ZB_CMD_MOVE, peer);
}

/* Whoever uses the mount. */
static void
write_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    (void)sim_write(w, node, 0, 0, true);
}

/* Somebody mounts a copy by hand and writes to it. */
static void
modify_run(struct sim *w, uint8_t node, uint8_t peer)
{
    struct sim_dataset *d = &w->nodes[node].services[0].datasets[0];

    (void)peer;
    sim_dataset_replay(d);
    (void)sim_write(w, node, 0, 0, false);
    d->synced = d->live;
}

static void
power_cut_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    sim_tell(w, node, "power cut");
    sim_host_crash(w, node);
    sim_item_add(w, SIM_START_NODE, node, 0)->life = w->nodes[node].host_life;
}

static void
kill_engine_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    sim_tell(w, node, "engine killed");
    sim_engine_kill(w, node);
    sim_item_add(w, SIM_START_ENGINE, node, 0)->life = w->nodes[node].host_life;
}

static void
kill_keeper_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    sim_tell(w, node, "keeper killed");
    sim_keeper_kill(w, node);
    sim_item_add(w, SIM_START_KEEPER, node, 0)->life = w->nodes[node].host_life;
}

/* The oldest message arrives, and once more at any time. */
static void
repeat_run(struct sim *w, uint8_t node, uint8_t peer)
{
    const struct sim_item *first = channel_oldest(w, node, peer);
    struct sim_item *late = sim_item_add(w, SIM_MESSAGE, peer, 0);

    late->peer = node;
    late->service = first->service;
    late->u.msg = first->u.msg;
}

/* There may be orders: what waits for one is looked after at the end. */
static void
failover_order(struct sim *w, uint8_t node, bool fenced)
{
    w->opt.failovers = 1;
    (void)sim_failover(w, node, 0, fenced);
}

static void
failover_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    failover_order(w, node, false);
}

static void
seize_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    failover_order(w, node, true);
}

static bool
can_fence(const struct sim *w, uint8_t node, uint8_t peer)
{
    return w->nodes[node].engine && !w->nodes[peer].on;
}

/* About the term that the candidate has granted itself, thus asks for. */
static void
fenced_run(struct sim *w, uint8_t node, uint8_t peer)
{
    struct sim_item item = {.node = node, .peer = peer};

    item.u.told.term = w->nodes[node].services[0].record.rec.granted_term;
    sim_fence_look(w, &item);
}

static void
declare_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)node;
    (void)peer;
    sim_declare(w, 0);
}

static bool
can_claim(const struct sim *w, uint8_t node, uint8_t peer)
{
    char name[ZB_NODE_NAME_SIZE];

    sim_node_name(node, name);
    return sim_connected(w, node, peer) &&
           strcmp(w->nodes[peer].services[0].record.rec.learned_leader, name) != 0;
}

static void
claim_run(struct sim *w, uint8_t node, uint8_t peer)
{
    const struct zb_record *r = &w->nodes[peer].services[0].record.rec;
    struct zb_core_msg msg = {.kind = ZB_MSG_REPORT,
                              .nonce = w->nodes[node].nonce,
                              .version = w->nodes[node].services[0].conf.version,
                              .role = ZB_ROLE_LEADING,
                              .established_term = r->learned_term,
                              .granted_term = r->learned_term,
                              .granted_to = node,
                              .learned_term = r->learned_term,
                              .learned_leader = node,
                              .released_to = ZB_NODE_NONE,
                              .lineage = r->lineage};

    sim_position(w, node, 0, &msg.set);
    sim_message_send(w, node, 0, peer, &msg);
}

static void
copy_record_run(struct sim *w, uint8_t node, uint8_t peer)
{
    (void)peer;
    w->backup.taken = true;
    w->backup.node = node;
    w->backup.record = w->nodes[node].services[0].record;
}

static bool
has_copy(const struct sim *w, uint8_t node)
{
    return w->backup.taken && w->backup.node == node;
}

static bool
can_forget(const struct sim *w, uint8_t node, uint8_t peer)
{
    const struct zb_record *r = &w->nodes[node].services[0].record.rec;

    (void)peer;
    return !w->nodes[node].on && (has_copy(w, node) || r->granted_term > r->learned_term);
}

static void
forget_run(struct sim *w, uint8_t node, uint8_t peer)
{
    struct sim_service *s = &w->nodes[node].services[0];
    struct zb_record *r = &s->record.rec;

    (void)peer;
    s->before = *r;
    if (has_copy(w, node)) {
        *r = w->backup.record.rec;
        return;
    }
    r->granted_term = r->learned_term;
    zb_strcopy(r->granted_to, sizeof(r->granted_to), r->learned_leader);
    memset(r->suspects, 0, sizeof(r->suspects));
    zb_strcopy(r->suspects[0], sizeof(r->suspects[0]), r->learned_leader);
}

static const struct {
    const char *word;
    bool of_two; /* nodes */
    bool (*possible)(const struct sim *w, uint8_t node, uint8_t peer);
    void (*run)(struct sim *w, uint8_t node, uint8_t peer);
} kinds[SIM_CHOOSE_COUNT] = {
    [SIM_CHOOSE_CLOCK] = {"clock", false, has_engine, clock_run},
    [SIM_CHOOSE_MOVE] = {"move", true, can_move, move_run},
    [SIM_CHOOSE_WRITE] = {"write", false, can_write, write_run},
    [SIM_CHOOSE_MODIFY] = {"modify", false, can_modify, modify_run},
    [SIM_CHOOSE_POWER] = {"power-cut", false, is_on, power_cut_run},
    [SIM_CHOOSE_ENGINE] = {"kill-engine", false, has_engine, kill_engine_run},
    [SIM_CHOOSE_KEEPER] = {"kill-keeper", false, has_keeper, kill_keeper_run},
    [SIM_CHOOSE_REPEAT] = {"repeat", true, can_repeat, repeat_run},
    [SIM_CHOOSE_FAILOVER] = {"failover", false, has_engine, failover_run},
    [SIM_CHOOSE_SEIZE] = {"seize", false, has_engine, seize_run},
    [SIM_CHOOSE_FENCED] = {"fenced", true, can_fence, fenced_run},
    [SIM_CHOOSE_DECLARE] = {"declare", false, has_engine, declare_run},
    [SIM_CHOOSE_CLAIM] = {"claim", true, can_claim, claim_run},
    [SIM_CHOOSE_COPY] = {"copy-record", false, has_keeper, copy_record_run},
    [SIM_CHOOSE_FORGET] = {"forget", false, can_forget, forget_run},
};

const char *
sim_choice_word(enum sim_what what)
{
    return kinds[what].word;
}

/* ---- choices ---- */

static void
add(struct sim_choice *choices, unsigned *count, struct sim_choice c)
{
    if (*count == SIM_CHOICES_MAX) {
        abort(); /* a search that leaves out one proves nothing */
    }
    choices[(*count)++] = c;
}

static void
items_list(const struct sim *w, struct sim_choice *choices, unsigned *count)
{
    for (uint32_t i = 0; i < w->heap_count; i++) {
        const struct sim_item *item = item_at(w, i);
        unsigned at = *count;
        if (item->kind == SIM_MESSAGE && !is_late(item) && !is_oldest(w, item)) {
            continue;
        }
        add(choices, count,
            (struct sim_choice){.node = item->node, .peer = item->peer, .order = item->order});
        for (; at > 0 && at < *count && choices[at - 1].order > choices[at].order; at--) {
            struct sim_choice swap = choices[at - 1];
            choices[at - 1] = choices[at];
            choices[at] = swap;
        }
    }
}

unsigned
sim_choices_list(const struct sim *w, const struct sim_bounds *bounds,
                 struct sim_choice choices[SIM_CHOICES_MAX])
{
    unsigned count = 0;

    items_list(w, choices, &count);
    for (unsigned k = SIM_CHOOSE_ITEM + 1; k < SIM_CHOOSE_COUNT; k++) {
        for (uint8_t n = 0; bounds->left[k] > 0 && n < w->opt.nodes; n++) {
            for (uint8_t p = 0; p < (kinds[k].of_two ? w->opt.nodes : 1); p++) {
                if ((!kinds[k].of_two || p != n) && kinds[k].possible(w, n, p)) {
                    add(choices, &count,
                        (struct sim_choice){.what = (enum sim_what)k, .node = n, .peer = p});
                }
            }
        }
    }
    return count;
}

const struct sim_item *
sim_choice_item(const struct sim *w, const struct sim_choice *c)
{
    for (uint32_t i = 0; i < w->heap_count; i++) {
        if (item_at(w, i)->order == c->order) {
            return item_at(w, i);
        }
    }
    return NULL;
}

void
sim_choice_run(struct sim *w, const struct sim_choice *c, struct sim_bounds *bounds)
{
    struct sim_item item;

    if (c->what != SIM_CHOOSE_ITEM) {
        bounds->left[c->what]--;
        kinds[c->what].run(w, c->node, c->peer);
    }
    for (uint32_t i = 0; c->what == SIM_CHOOSE_ITEM && i < w->heap_count; i++) {
        if (item_at(w, i)->order == c->order) {
            sim_item_remove(w, i, &item);
            w->now_ms += item.kind == SIM_DONE; /* later than what asked for it */
            sim_item_run(w, &item);
            break;
        }
    }
    purge(w, bounds->channel_max);
}

static void
item_label(const struct sim_item *item, char *out)
{
    static const char *const messages[] = {
        [ZB_MSG_REPORT] = "report",
        [ZB_MSG_GRANT_ASK] = "grant-ask",
        [ZB_MSG_GRANT_ANSWER] = "grant-answer",
        [ZB_MSG_RELEASED] = "released",
        [ZB_MSG_RELEASE_ASK] = "release-ask",
        [ZB_MSG_FORWARD_ASK] = "forward-ask",
        [ZB_MSG_FORWARD_ANSWER] = "forward-answer",
        [ZB_MSG_COPY_ASK] = "copy-ask",
        [ZB_MSG_COPY_ANSWER] = "copy-answer",
    };
    static const char *const words[] = {
        [SIM_RECEIVED] = "received",
        [SIM_CONF] = "declaration",
        [SIM_DIVERGED] = "diverged",
        [SIM_START_NODE] = "start-host",
        [SIM_START_KEEPER] = "start-keeper",
        [SIM_START_ENGINE] = "start-engine",
        [SIM_LINK] = "link",
        [SIM_VOTE_LINK] = "link-witness",
    };
    unsigned node = item->node + 1u;
    unsigned peer = item->peer + 1u;

    switch (item->kind) {
    case SIM_MESSAGE:
        (void)snprintf(out, SIM_LABEL_SIZE, "%s n%u n%u %s", is_late(item) ? "late" : "deliver",
                       peer, node, messages[item->u.msg.kind]);
        break;
    case SIM_VOTE:
        (void)snprintf(out, SIM_LABEL_SIZE, "vote n%u %s", node, messages[item->u.msg.kind]);
        break;
    case SIM_VOTED:
        (void)snprintf(out, SIM_LABEL_SIZE, "voted n%u %s", node, messages[item->u.msg.kind]);
        break;
    case SIM_OP:
        (void)snprintf(out, SIM_LABEL_SIZE, "op n%u %s %u", node, sim_act_word(item->u.op.kind),
                       item->stage);
        break;
    case SIM_DONE:
        (void)snprintf(out, SIM_LABEL_SIZE, "answer n%u %s", node, sim_act_word(item->u.done.kind));
        break;
    case SIM_SHIP:
        (void)snprintf(out, SIM_LABEL_SIZE, "ship n%u n%u %u", node, peer, item->u.ship.receiving);
        break;
    default:
        (void)snprintf(out, SIM_LABEL_SIZE, "%s n%u", words[item->kind], node);
        break;
    }
}

void
sim_choice_label(const struct sim *w, const struct sim_choice *c, char out[SIM_LABEL_SIZE])
{
    if (c->what == SIM_CHOOSE_ITEM) {
        item_label(sim_choice_item(w, c), out);
    } else if (kinds[c->what].of_two) {
        (void)snprintf(out, SIM_LABEL_SIZE, "%s n%u n%u", kinds[c->what].word, c->node + 1u,
                       c->peer + 1u);
    } else {
        (void)snprintf(out, SIM_LABEL_SIZE, "%s n%u", kinds[c->what].word, c->node + 1u);
    }
}

/* ---- the beginning ---- */

static void
until_alive(struct sim *w)
{
    while (!sim_check_alive(w) && sim_advance(w, w->now_ms + 100000)) {
    }
}

void
sim_rest(struct sim *w, unsigned nodes, bool witness)
{
    struct sim_options o = {.seed = 1,
                            .nodes = (uint8_t)nodes,
                            .services = 1,
                            .datasets = 1,
                            .catch_up = SIM_SNAPS,
                            .witness = witness};
    int64_t until_ms;

    sim_init(w, &o);
    w->conf[0].first_leader = 0;
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        w->nodes[n].services[0].conf.first_leader = 0; /* as sim_init gave it to each */
    }
    w->healing = true;
    until_alive(w);
    w->conf[0].interval_ms = INT64_MAX / 4; /* no sets but those of moves and new terms */
    w->conf[0].version++;
    sim_members_note(w, 0);
    for (uint8_t n = 0; n < w->opt.nodes; n++) {
        sim_item_add(w, SIM_CONF, n, 0)->life = w->nodes[n].engine_life;
    }
    until_ms = w->now_ms + 60000;
    while (sim_advance(w, until_ms)) {
    }
    until_alive(w);
    w->manual = true;
    purge(w, 0);
}
