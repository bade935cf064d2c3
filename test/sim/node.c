#include "members.h"
#include "sim.h"

#include <stdio.h>
#include <string.h>

/* ---- engine ---- */

void
sim_engine_kill(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];

    if (!n->engine) {
        return;
    }
    n->engine = n->witness_up = false;
    for (uint8_t i = 0; i < w->opt.services; i++) {
        memset(&n->services[i].fork, 0, sizeof(n->services[i].fork));
    }
    memset(n->session, 0, sizeof(n->session));
    for (uint32_t i = 0; i < w->commands_count; i++) {
        if (w->commands[i].node == node && !w->commands[i].answered) {
            w->commands[i].dropped = true;
        }
    }
    for (uint8_t i = 0; i < w->opt.services; i++) { /* the keeper ends its transfers */
        n->services[i].receive_epoch++;
        n->services[i].receives = 0;
    }
    sim_links_check(w, node);
}

/* What the history has of the others' records. The exhaustive search does without: there, no record
 * goes back. */
static void
seen_load(struct sim *w, uint8_t node, uint8_t service)
{
    for (uint8_t i = 0; i < w->opt.nodes && !w->manual; i++) {
        struct zb_event ev = {.kind = ZB_EV_PEER_SEEN, .service = service, .node = i};
        ev.u.seen = w->nodes[node].services[service].seen[i];
        sim_step(w, node, &ev);
    }
    if (w->opt.witness && !w->manual) {
        struct zb_event ev = {.kind = ZB_EV_PEER_SEEN, .service = service, .node = ZB_NODE_WITNESS};
        ev.u.seen = w->nodes[node].services[service].witness_seen;
        sim_step(w, node, &ev);
    }
}

static void
positions_load(struct sim *w, uint8_t node, uint8_t service)
{
    const struct zb_set_ref *positions = w->nodes[node].services[service].positions;

    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        struct zb_event ev = {.kind = ZB_EV_PEER_POSITION, .service = service, .node = i};
        ev.u.set = positions[i];
        if (!zb_set_id_is_none(positions[i].id)) {
            sim_step(w, node, &ev);
        }
    }
}

void
sim_engine_start(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];
    struct zb_core_options opt = {.self = node, .services_max = w->opt.services};

    if (n->engine) {
        return;
    }
    sim_tell(w, node, "engine starts");
    n->engine = true;
    n->engine_life = ++n->lives;
    n->nonce = (uint64_t)n->engine_life * 100 + node + 1;
    opt.nonce = n->nonce;
    opt.seed = w->opt.seed * 1000003 + n->nonce;
    memset(w->cores[node], 0, zb_core_size(opt.services_max));
    w->cores[node] = zb_core_init(w->cores[node], &opt);
    memset(w->told[node], 0, sizeof(w->told[node]));
    n->wake_ms = sim_local_ms(w, node) + 1000;
    for (uint8_t i = 0; i < w->opt.services; i++) {
        struct zb_event ev = {.kind = ZB_EV_CONFIG, .service = i};
        ev.u.conf = n->services[i].conf;
        sim_step(w, node, &ev);
        positions_load(w, node, i);
        seen_load(w, node, i);
        if (n->services[i].conf.version != w->conf[i].version || w->opt.changes > 0) {
            struct sim_item *item = sim_item_add(w, SIM_CONF, node, 500);
            item->service = i;
            item->life = n->engine_life;
        }
    }
    sim_links_check(w, node);
    sim_witness_link_soon(w, node);
}

/* ---- keeper ---- */

void
sim_keeper_kill(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];

    sim_engine_kill(w, node);
    n->keeper = false;
    for (uint8_t i = 0; i < w->opt.services; i++) {
        struct sim_service *s = &n->services[i];
        s->claimed = s->settled = false;
        s->stage = ZB_STAGE_REST;
        for (uint8_t j = 0; j < SIM_DATASETS; j++) { /* a receive that nobody feeds any more */
            if (s->datasets[j].partial && sim_chance(w, 500)) {
                sim_dataset_destroy(&s->datasets[j]);
            }
        }
    }
}

void
sim_keeper_start(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];

    if (n->keeper) {
        return;
    }
    sim_tell(w, node, "keeper starts");
    n->keeper = true;
    n->keeper_life = ++n->lives;
    for (uint8_t i = 0; i < w->opt.services; i++) {
        bool goes_on = sim_check_goes_on(w, node, i);
        sim_keeper_settle(w, node, i);
        sim_check_restart(w, node, i, goes_on);
    }
    sim_item_add(w, SIM_START_ENGINE, node, 10 + (int64_t)sim_random(w, 200))->life = n->host_life;
}

/* ---- host ---- */

void
sim_host_crash(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];

    if (!n->on) {
        return;
    }
    sim_keeper_kill(w, node);
    n->on = n->paused = false;
    n->off_ms = w->now_ms;
    n->disk_full = n->disk_stuck = false;
    for (uint8_t i = 0; i < w->opt.services; i++) {
        struct sim_service *s = &n->services[i];
        s->running = s->stubborn = s->writing = false;
        for (uint8_t j = 0; j < SIM_DATASETS; j++) {
            sim_dataset_crash(&s->datasets[j]);
        }
    }
}

void
sim_host_start(struct sim *w, uint8_t node)
{
    struct sim_node *n = &w->nodes[node];

    if (n->on) {
        return;
    }
    sim_tell(w, node, "host starts");
    n->on = true;
    n->off_ms = w->now_ms;
    n->host_life = ++n->lives;
    n->clock_base_ms = 4000 + (int64_t)sim_random(w, 1000); /* since its boot */
    n->clock_at_ms = w->now_ms;
    n->clock_ppm = (int32_t)sim_random(w, 20001) - 10000;
    sim_item_add(w, SIM_SYNC, node, 5000)->life = n->host_life;
    sim_keeper_start(w, node);
}

/* ---- operators ---- */

bool
sim_command_set(struct sim *w, uint8_t node, uint8_t service, enum zb_cmd_kind kind, uint8_t target,
                const struct zb_set_ref *set)
{
    struct zb_event ev = {.kind = ZB_EV_COMMAND, .service = service};
    struct sim_command *c;

    if (!w->nodes[node].engine || w->nodes[node].paused) {
        return false;
    }
    if (w->commands_count == SIM_COMMANDS) { /* answered ones make room */
        uint32_t kept = 0;
        for (uint32_t i = 0; i < w->commands_count; i++) {
            if (!w->commands[i].answered && !w->commands[i].dropped) {
                w->commands[kept++] = w->commands[i];
            }
        }
        w->commands_count = kept;
    }
    if (w->commands_count == SIM_COMMANDS) {
        return false;
    }
    c = &w->commands[w->commands_count++];
    *c = (struct sim_command){
        .id = w->next_command++, .node = node, .failover = kind == ZB_CMD_FAILOVER || set != NULL};
    w->moves += kind == ZB_CMD_MOVE;
    w->failovers += kind == ZB_CMD_FAILOVER;
    ev.u.command.kind = kind;
    ev.u.command.id = c->id;
    ev.u.command.node = target;
    ev.u.command.dry_run = (kind == ZB_CMD_MOVE || kind == ZB_CMD_FAILOVER) && sim_chance(w, 50);
    ev.u.command.allow_loss = w->allow_loss[node][service];
    ev.u.command.wait_ms = 4000;
    if (set != NULL) {
        ev.u.command.set = *set;
    }
    sim_tell(w, node, "command %lu kind %d service %u to n%u", (unsigned long)c->id, (int)kind,
             service, target + 1);
    sim_step(w, node, &ev);
    return true;
}

bool
sim_command(struct sim *w, uint8_t node, uint8_t service, enum zb_cmd_kind kind, uint8_t target)
{
    return sim_command_set(w, node, service, kind, target, NULL);
}

/* A newer declaration reaches the nodes one after the other. */
void
sim_config_change(struct sim *w, uint8_t service)
{
    struct zb_core_conf next = w->conf[service];

    next.interval_ms = 2000 + (int64_t)sim_random(w, 10000);
    next.keep_count = 3 + sim_random(w, 6);
    if (w->opt.changes > 0) {
        next.version++;
        (void)sim_conf_decide(w, (uint8_t)sim_random(w, w->opt.nodes), service, &next);
        return;
    }
    w->conf[service] = next;
    sim_declare(w, service);
}

void
sim_declare(struct sim *w, uint8_t service)
{
    w->conf[service].version++;
    sim_members_note(w, service);
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        if (w->nodes[i].engine) {
            struct sim_item *item = sim_item_add(w, SIM_CONF, i, (int64_t)sim_random(w, 2000));
            item->service = service;
            item->life = w->nodes[i].engine_life;
        }
    }
}
