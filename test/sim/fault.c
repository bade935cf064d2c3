/* What goes wrong, and what people do at bad moments. */
#include "members.h"
#include "sim.h"

#include <string.h>

static uint8_t
any_node(struct sim *w)
{
    return (uint8_t)sim_random(w, w->opt.nodes);
}

static struct sim_item *
later(struct sim *w, enum sim_kind kind, uint8_t node, uint32_t at_most_ms)
{
    struct sim_item *item = sim_item_add(w, kind, node, 10 + (int64_t)sim_random(w, at_most_ms));

    item->life = w->nodes[node].host_life;
    return item;
}

static void
power_cut(struct sim *w, uint8_t node)
{
    sim_tell(w, node, "power cut");
    sim_host_crash(w, node);
    (void)later(w, SIM_START_NODE, node, 20000);
}

/* For minutes: longer than the others keep what they have. */
static void
fault_away(struct sim *w)
{
    uint8_t node = any_node(w);

    sim_tell(w, node, "goes away");
    sim_host_crash(w, node);
    (void)later(w, SIM_START_NODE, node, 600000);
}

static void
power_cut_all(struct sim *w)
{
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        power_cut(w, i);
    }
}

static void
fault_power(struct sim *w)
{
    if (sim_chance(w, 100)) {
        power_cut_all(w);
    } else {
        power_cut(w, any_node(w));
    }
}

static void
fault_engine(struct sim *w)
{
    uint8_t node = any_node(w);

    sim_tell(w, node, "engine killed");
    sim_engine_kill(w, node);
    (void)later(w, SIM_START_ENGINE, node, 3000);
}

static void
fault_keeper(struct sim *w)
{
    uint8_t node = any_node(w);

    if (w->nodes[node].on) {
        sim_tell(w, node, "keeper killed");
        sim_keeper_kill(w, node);
        (void)later(w, SIM_START_KEEPER, node, 5000);
    }
}

static void
fault_cut(struct sim *w)
{
    uint8_t a = any_node(w);
    uint8_t b = any_node(w);

    if (a == b) { /* a partition: one node from all */
        for (uint8_t i = 0; i < w->opt.nodes; i++) {
            w->cut[a][i] = w->cut[i][a] = i != a;
        }
    } else {
        w->cut[a][b] = true;
        w->cut[b][a] = sim_chance(w, 600);
    }
    sim_tell(w, a, "cut from n%u", b + 1);
    sim_links_check(w, a);
}

static void
fault_mend(struct sim *w)
{
    for (uint8_t a = 0; a < w->opt.nodes; a++) {
        for (uint8_t b = 0; b < w->opt.nodes; b++) {
            w->cut[a][b] = false;
        }
    }
    for (uint8_t a = 0; a < w->opt.nodes; a++) {
        sim_links_check(w, a);
    }
}

static void
fault_pause(struct sim *w)
{
    uint8_t node = any_node(w);

    if (w->nodes[node].on && !w->nodes[node].paused) {
        sim_tell(w, node, "paused");
        w->nodes[node].paused = true;
        sim_links_check(w, node);
        (void)later(w, SIM_RESUME, node, 30000);
    }
}

static void
fault_disk(struct sim *w)
{
    uint8_t node = any_node(w);

    if (w->nodes[node].on) {
        bool full = sim_chance(w, 500);
        sim_tell(w, node, full ? "disk full" : "disk does not answer");
        *(full ? &w->nodes[node].disk_full : &w->nodes[node].disk_stuck) = true;
        (void)later(w, SIM_DISK_WELL, node, 20000);
    }
}

/* Somebody's process in the mount, one that does not end, a lazy unmount, a mount taken away. */
static void
fault_holder(struct sim *w)
{
    uint8_t node = any_node(w);
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    uint8_t slot = (uint8_t)sim_random(w, w->opt.datasets);
    struct sim_service *s = &w->nodes[node].services[service];
    struct sim_dataset *d = &s->datasets[slot];

    if (d->exists && d->outsider) {
        d->outsider = false;
    } else if (d->exists && d->lazy) {
        sim_dataset_lazy_end(w, node, service, slot);
    } else if (s->stubborn) {
        s->stubborn = false;
    } else if (d->exists && d->mount == ZB_MOUNT_RW) {
        switch (sim_random(w, 4)) {
        case 0:
            d->outsider = true;
            break;
        case 1:
            s->stubborn = s->running;
            break;
        case 2:
            d->lazy = true;
            d->mount = ZB_MOUNT_NONE;
            break;
        default:
            if (!s->running) {
                sim_dataset_flush(w, node, service, slot);
                d->mount = ZB_MOUNT_NONE;
            }
            break;
        }
        sim_tell(w, node, "holder: %s",
                 d->outsider   ? "outsider"
                 : d->lazy     ? "lazy unmount"
                 : s->stubborn ? "does not end"
                               : "unmounted");
    }
}

static void
fault_service(struct sim *w)
{
    uint8_t node = any_node(w);
    struct sim_service *s = &w->nodes[node].services[sim_random(w, w->opt.services)];

    if (s->running && !s->stubborn) { /* it ends by itself: its runner's matter */
        sim_tell(w, node, "the service ended by itself");
        s->running = false;
    }
}

/* Somebody else's program mounts whatever mounts by itself (S0). */
static void
fault_mount_all(struct sim *w)
{
    uint8_t node = any_node(w);

    for (uint8_t i = 0; w->nodes[node].on && i < w->opt.services; i++) {
        for (uint8_t j = 0; j < w->opt.datasets; j++) {
            struct sim_dataset *d = &w->nodes[node].services[i].datasets[j];
            if (d->exists && d->marked && !d->safe && d->mount == ZB_MOUNT_NONE && !d->lazy) {
                sim_dataset_replay(d);
                d->mount = ZB_MOUNT_RW;
            }
        }
    }
}

/* A follower's copy is written to, or loses its marks, by somebody's hands. */
static void
fault_follower(struct sim *w)
{
    uint8_t node = any_node(w);
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    uint8_t slot = (uint8_t)sim_random(w, w->opt.datasets);
    struct sim_service *s = &w->nodes[node].services[service];
    struct sim_dataset *d = &s->datasets[slot];

    if (!w->nodes[node].on || !d->exists || d->partial || d->snaps_count == 0 ||
        d->mount != ZB_MOUNT_NONE || d->lazy || s->claimed || s->stage != ZB_STAGE_REST ||
        s->record.rec.established_term >= s->record.rec.learned_term) {
        return;
    }
    if (sim_chance(w, 500)) {
        sim_tell(w, node, "copy of service %u was written to", service);
        (void)sim_write(w, node, service, slot, false);
        d->synced = d->live;
        if (sim_chance(w, 300) && !sim_full(w, d)) {
            d->snaps[d->snaps_count++] =
                (struct sim_snap){.guid = ++w->next_guid, .version = d->live};
        }
    } else {
        sim_tell(w, node, "copy of service %u lost its marks", service);
        d->marked = false;
    }
}

/* Followers' copies are marked again by hand. */
static void
fault_repair(struct sim *w)
{
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        for (uint8_t j = 0; j < w->opt.services; j++) {
            struct sim_service *s = &w->nodes[i].services[j];
            for (uint8_t k = 0; k < w->opt.datasets; k++) {
                struct sim_dataset *d = &s->datasets[k];
                d->marked = d->marked || d->uuid != 0;
            }
        }
    }
}

/* Every other voter holds a newer set of its history than the node's disk ever came to, so that it
 * never leads with what it has (S6). What no set of theirs has could only be lost silently. */
static bool
older_shows(struct sim *w, uint8_t node, uint8_t service)
{
    const struct zb_lineage *lineage = &w->nodes[node].services[service].record.rec.lineage;
    struct zb_set_ref own;

    sim_reached(w, node, service, &own);
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        struct zb_set_ref other;
        sim_reached(w, i, service, &other);
        if (i != node && sim_is_voter(&w->conf[service], i) &&
            (zb_set_id_cmp(other.id, own.id) <= 0 || !zb_lineage_has(lineage, other.id))) {
            return false;
        }
    }
    return true;
}

/* A leader's disk is put back to an older state while its host is off. */
static void
fault_image(struct sim *w)
{
    uint8_t node = any_node(w);
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    struct sim_service *s = &w->nodes[node].services[service];
    struct zb_set_ref newest;

    sim_reached(w, node, service, &newest);
    if (w->opt.changes > 0 || w->nodes[node].on || w->image.taken ||
        s->datasets[0].snaps_count < 4 || w->writer[service].node != node ||
        s->record.rec.granted_term != s->record.rec.established_term) {
        return;
    }
    w->image.node = node;
    w->image.service = service;
    w->image.learned_term = s->record.rec.learned_term;
    memcpy(w->image.datasets, s->datasets, sizeof(s->datasets));
    for (uint8_t i = 0; i < w->opt.datasets; i++) {
        struct sim_dataset *d = &s->datasets[i];
        while (d->exists && d->snaps_count > 1 &&
               (zb_set_id_is_none(d->snaps[d->snaps_count - 1].id) ||
                zb_set_id_cmp(d->snaps[d->snaps_count - 1].id, newest.id) == 0)) {
            d->snaps_count--;
        }
        if (d->exists && d->snaps_count > 0) {
            d->live = d->synced = d->snaps[d->snaps_count - 1].version;
            d->logged = 0;
        }
    }
    w->image.taken = older_shows(w, node, service);
    if (w->image.taken) {
        sim_tell(w, node, "disk of service %u is put back", service);
    } else {
        memcpy(s->datasets, w->image.datasets, sizeof(s->datasets));
    }
}

/* The newer state is brought back; nobody can have led or received meanwhile. */
static void
image_undo(struct sim *w)
{
    struct sim_service *s = &w->nodes[w->image.node].services[w->image.service];

    if (w->image.taken && s->record.rec.learned_term != w->image.learned_term) {
        w->forgiven[w->image.service] = true; /* it went on from the older state */
        w->image.taken = false;
    }
    if (w->image.taken) {
        memcpy(s->datasets, w->image.datasets, sizeof(s->datasets));
        w->image.taken = false;
        for (uint8_t i = 0; i < w->opt.datasets; i++) {
            sim_dataset_crash(&s->datasets[i]);
        }
    }
}

/* Everybody else heard of all that the node's record says of grants. */
static bool
record_is_remembered(const struct sim *w, uint8_t node, uint8_t service)
{
    const struct zb_keeper_record *r = &w->nodes[node].services[service].record;
    struct zb_core_obs obs;

    sim_obs_fill((struct sim *)(uintptr_t)w, node, service, &obs);
    if (zb_set_id_is_none(obs.newest.id)) { /* nobody but its last leader goes on from no set */
        return false;
    }
    /* The witness remembers nobody's record but its own: it has to know those terms itself. */
    const struct zb_witness_record *v = &w->witness.records[service];
    if (w->opt.witness &&
        ((v->granted_term < r->rec.granted_term && v->learned_term < r->rec.granted_term) ||
         v->learned_term < r->rec.learned_term)) {
        return false;
    }
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        const struct zb_core_seen *seen = &w->nodes[i].services[service].seen[node];
        if (i != node &&
            (seen->granted_term < r->rec.granted_term || seen->learned_term < r->rec.learned_term ||
             (obs.suspects & ~seen->suspects) != 0)) {
            return false;
        }
    }
    return true;
}

/* A host's state directory is put back to an older copy while it is off. The version of the voters'
 * list is none of what others remember (M11), and stays. */
static void
fault_record(struct sim *w)
{
    struct zb_keeper_record *r;

    /* The last leader that forgot it leads by order only; who remembers it may be a member no more.
     */
    if (w->opt.failovers == 0 || w->opt.changes > 0) {
        return;
    }
    if (!w->backup.taken) {
        w->backup.taken = true;
        w->backup.node = any_node(w);
        w->backup.service = (uint8_t)sim_random(w, w->opt.services);
        w->backup.record = w->nodes[w->backup.node].services[w->backup.service].record;
        return;
    }
    r = &w->nodes[w->backup.node].services[w->backup.service].record;
    /* Who forgot that it ever led does not know its own new children any more: that wants hands. A
     * last leader that forgot it leaves behind what is in no set, and at rest nobody knows (M13).
     */
    if (w->backup.record.rec.granted_term < r->rec.granted_term &&
        (w->backup.record.rec.established_term != 0) == (r->rec.established_term != 0) &&
        (r->rec.established_term == 0 || r->rec.established_term < r->rec.learned_term) &&
        record_is_remembered(w, w->backup.node, w->backup.service)) {
        power_cut(w, w->backup.node);
        sim_tell(w, w->backup.node, "record of service %u is put back", w->backup.service);
        w->backup.record.granted_version = r->granted_version;
        w->backup.record.rec.version = r->rec.version;
        if (r->rec.granted_term >=
            w->nodes[w->backup.node].services[w->backup.service].before.granted_term) {
            w->nodes[w->backup.node].services[w->backup.service].before = r->rec;
        }
        w->forgot[w->backup.service] =
            w->forgot[w->backup.service] ||
            w->backup.record.rec.established_term < r->rec.established_term;
        *r = w->backup.record;
        w->backup.taken = false;
    } else if (sim_chance(w, 100)) {
        w->backup.taken = false;
    }
}

/* A confused engine asks for a term that was granted already, to whomever. */
static void
fault_confused(struct sim *w)
{
    uint8_t node = any_node(w);
    uint8_t voter = any_node(w);
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    const struct zb_record *r = &w->nodes[voter].services[service].record.rec;
    struct zb_core_msg msg = {.kind = ZB_MSG_GRANT_ASK,
                              .term = r->granted_term,
                              .nonce = w->nodes[node].nonce,
                              .version = w->nodes[voter].services[service].conf.version,
                              .established_term = r->granted_term,
                              .released_term = r->granted_term,
                              .released_to = node,
                              .granted_to = ZB_NODE_NONE,
                              .learned_leader = ZB_NODE_NONE};

    if (node != voter && w->nodes[node].engine && r->granted_term != 0) {
        sim_message_send(w, node, service, voter, &msg);
    }
}

void
sim_fault(struct sim *w)
{
    static void (*const faults[])(struct sim *) = {
        fault_power,   fault_engine,    fault_keeper,   fault_cut,      fault_cut,
        fault_mend,    fault_mend,      fault_pause,    fault_disk,     fault_holder,
        fault_service, fault_mount_all, fault_confused, fault_follower, fault_image,
        fault_repair,  fault_repair,    fault_record,   fault_record,   fault_record,
    };

    if (w->healing) {
        return;
    }
    w->faults++;
    if (w->opt.witness && sim_chance(w, 200)) {
        sim_fault_witness(w);
    } else if (w->opt.witness && sim_chance(w, 60)) {
        sim_fault_witness_back(w);
    } else if (sim_chance(w, w->opt.away)) {
        fault_away(w);
    } else {
        faults[sim_random(w, sizeof(faults) / sizeof(faults[0]))](w);
    }
    (void)sim_item_add(w, SIM_FAULT, 0, 1 + (int64_t)sim_random(w, 2 * (uint32_t)w->opt.fault_ms));
}

/* ---- people ---- */

static void
snapshot_foreign(struct sim *w)
{
    uint8_t node = any_node(w);
    struct sim_service *s = &w->nodes[node].services[sim_random(w, w->opt.services)];
    struct sim_dataset *d = &s->datasets[sim_random(w, w->opt.datasets)];

    if (d->exists && d->mount == ZB_MOUNT_RW && d->snaps_count < SIM_SNAPS_ROOM / 2) {
        d->synced = d->live;
        d->logged = 0;
        d->snaps[d->snaps_count++] = (struct sim_snap){
            .guid = ++w->next_guid, .version = d->live, .held = sim_chance(w, 100)};
    }
}

/* On a leader: a child is made, or destroyed with what it holds. */
static void
child_change(struct sim *w)
{
    uint8_t node = any_node(w);
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    struct sim_service *s = &w->nodes[node].services[service];
    struct sim_dataset *d = &s->datasets[w->opt.datasets - 1];

    if (w->opt.datasets < 2 || s->stage != ZB_STAGE_MOUNTED ||
        s->datasets[0].mount != ZB_MOUNT_RW || s->claimed) {
        return;
    }
    if (!d->exists) {
        sim_dataset_destroy(d);
        d->exists = true;
        d->mount = ZB_MOUNT_RO; /* inherits readonly */
    } else if (!d->outsider && !d->lazy && !d->orphan && sim_chance(w, 300)) {
        sim_tell(w, node, "child of service %u destroyed", service);
        w->destroyed[service][d->uuid] = d->uuid != 0;
        sim_lost_forget(w, service, d);
        sim_dataset_destroy(d);
    }
}

void
sim_operator(struct sim *w)
{
    uint8_t node = any_node(w);
    uint8_t service = (uint8_t)sim_random(w, w->opt.services);
    uint8_t target = any_node(w);

    if (w->healing) {
        return;
    }
    if (sim_chance(w, w->opt.failovers)) {
        (void)sim_failover(w, node, service, sim_chance(w, 300));
    }
    if (sim_chance(w, w->opt.failovers) && w->nodes[node].services[service].running) {
        sim_revert(w, node, service);
    }
    if (sim_chance(w, w->opt.changes)) {
        sim_members_change(w, any_node(w), service, any_node(w));
    }
    switch (sim_random(w, 10)) {
    case 0:
        (void)sim_command(w, node, service, ZB_CMD_SNAPSHOT, 0);
        break;
    case 1:
        (void)sim_command(w, node, service, ZB_CMD_SYNC, 0);
        break;
    case 2:
        sim_config_change(w, service);
        break;
    case 3:
        snapshot_foreign(w);
        break;
    case 4:
        child_change(w);
        break;
    default: /* a move, mostly asked where the service is led, as zbaton does */
        for (uint8_t i = 0; i < w->opt.nodes && sim_chance(w, 900); i++) {
            if (w->nodes[i].services[service].running) {
                node = i;
            }
        }
        (void)sim_command(w, node, service, ZB_CMD_MOVE, target);
        break;
    }
    (void)sim_item_add(w, SIM_OPERATOR, 0,
                       1 + (int64_t)sim_random(w, 2 * (uint32_t)w->opt.operator_ms));
}

/* Everything that needs hands is done by hands; the rest must follow by itself. */
void
sim_heal(struct sim *w)
{
    w->healing = true;
    w->opt.loss = w->opt.duplicates = w->opt.reorder = w->opt.op_failures = 0;
    fault_mend(w);
    fault_repair(w);
    w->witness.cut = 0;
    if (w->image.taken) { /* its host is started with the newer state */
        sim_host_crash(w, w->image.node);
        image_undo(w);
    }
    for (uint8_t i = 0; i < w->opt.nodes; i++) {
        struct sim_node *n = &w->nodes[i];
        n->paused = n->disk_full = n->disk_stuck = false;
        for (uint8_t j = 0; j < w->opt.services; j++) {
            n->services[j].stubborn = false;
            for (uint8_t k = 0; k < w->opt.datasets; k++) {
                struct sim_dataset *d = &n->services[j].datasets[k];
                d->outsider = false;
                sim_dataset_lazy_end(w, i, j, k);
            }
        }
        if (!n->on) {
            sim_host_start(w, i);
        } else if (!n->keeper) {
            sim_keeper_start(w, i);
        } else if (!n->engine) {
            sim_engine_start(w, i);
        }
        sim_links_check(w, i);
        sim_witness_link_soon(w, i);
    }
}
