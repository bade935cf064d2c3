#include "core/internal.h"

#define LOOK_GRAINS 16 /* of the time between two looks */

bool
zb_core_is_member(const struct svc *s, uint8_t node)
{
    for (unsigned i = 0; i < s->conf.members_count; i++) {
        if (s->conf.members[i] == node) {
            return true;
        }
    }
    return false;
}

bool
zb_core_is_voter(const struct svc *s, uint8_t node)
{
    for (unsigned i = 0; i < s->conf.members_count; i++) {
        if (s->conf.members[i] == node) {
            return !s->conf.backup[i];
        }
    }
    return node == ZB_NODE_WITNESS && s->conf.witness;
}

bool
zb_core_is_granter(const struct svc *s, uint8_t node)
{
    return zb_core_is_member(s, node) || zb_core_is_voter(s, node);
}

uint32_t
zb_core_voters(const struct svc *s)
{
    uint32_t voters = s->conf.witness ? 1u << ZB_NODE_WITNESS : 0;

    for (unsigned i = 0; i < s->conf.members_count; i++) {
        if (!s->conf.backup[i]) {
            voters |= 1u << s->conf.members[i];
        }
    }
    return voters;
}

bool
zb_core_majority(const struct svc *s, uint32_t nodes)
{
    uint32_t voters = zb_core_voters(s);

    return 2 * __builtin_popcount(nodes & voters) > __builtin_popcount(voters);
}

bool
zb_core_leads(enum zb_role role)
{
    return role == ZB_ROLE_STARTING || role == ZB_ROLE_LEADING || role == ZB_ROLE_PRESYNC;
}

bool
zb_core_peer_up(const struct step *x, uint8_t node)
{
    return node < ZB_PEERS_MAX && (x->core->up & (1u << node)) != 0;
}

static bool
tells_of_a_leader(const struct peer *p)
{
    return p->seen.learned_term != 0 || (p->known && p->report.learned_term != 0);
}

/* Of a life that no record tells of: this node would begin an empty service over it. What this disk
 * has itself is gone on with. */
bool
zb_core_has_a_past(const struct step *x)
{
    const struct svc *s = x->s;

    if (s->obs.learned_term != 0 || s->obs.established_term != 0) {
        return false;
    }
    bool held = false;
    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (tells_of_a_leader(p)) {
            return false;
        }
        held = held || (n != x->core->opt.self && zb_core_is_member(s, n) && p->position_known &&
                        !zb_set_id_is_none(p->position.id));
    }
    return s->conf.led_before || (held && zb_set_id_is_none(zb_core_reached(s)->id));
}

/* Every earlier leader was granted its term by a majority, so a majority that granted nothing to
 * anybody else proves that there was none. */
bool
zb_core_never_led(const struct step *x)
{
    const struct svc *s = x->s;
    struct zb_core_seen lost;
    uint32_t clean = 0;

    if (zb_core_has_a_past(x) || zb_core_lost(s, &lost) || s->obs.learned_term != 0 ||
        s->obs.established_term != 0 ||
        (s->obs.granted_term != 0 && s->obs.granted_to != x->core->opt.self)) {
        return false;
    }
    clean |= 1u << x->core->opt.self;
    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        const struct peer *p = &s->peers[n];
        if (tells_of_a_leader(p)) {
            return false;
        }
        if (!p->known) {
            continue;
        }
        if (p->report.established_term != 0) {
            return false;
        }
        if (p->seen.granted_term == 0 || p->seen.granted_to == x->core->opt.self) {
            clean |= 1u << n;
        }
    }
    return zb_core_majority(s, clean);
}

/*
 * What the disk and the keeper's record say about this node's part, in order of precedence:
 * 1 mounted: rightly (M12) or not; then what forgot a grant is at rest; 2 a release not taken yet;
 * 3 sealed by this keeper's life; 4 the last established leader (M6); 5 the first leader of a new
 * service; 6 a follower.
 */
enum zb_stim
zb_core_classify(const struct step *x)
{
    const struct svc *s = x->s;
    const struct zb_core_obs *o = &s->obs;
    uint8_t self = x->core->opt.self;
    struct zb_core_seen lost;
    /* Who forgot a later grant has no right to write under what it remembers. */
    bool forgot = zb_core_lost(s, &lost);
    bool own_term = o->established_term != 0 && o->granted_term == o->established_term &&
                    o->granted_to == self && !forgot;

    if (o->mounted) {
        return o->mounted_here && o->mounted_rw && own_term ? ZB_STIM_OBS_LEADING
                                                            : ZB_STIM_OBS_MOUNTED;
    }
    if (forgot) {
        return o->sealed ? ZB_STIM_OBS_MOUNTED : ZB_STIM_OBS_FOLLOWER;
    }
    if (o->released_term != 0 && o->released_term == o->granted_term &&
        o->learned_term < o->released_term) {
        return ZB_STIM_OBS_RELEASED;
    }
    if (o->sealed) { /* under a term that is over, when giving it up failed */
        return own_term ? ZB_STIM_OBS_SEALED : ZB_STIM_OBS_MOUNTED;
    }
    if (x->core->barred && !o->running) {
        return ZB_STIM_OBS_FOLLOWER; /* it could not lead what it asks for */
    }
    if (zb_core_is_owner(s) && (own_term || o->granted_to == self)) {
        /* What runs there has no data under it. */
        return o->running ? ZB_STIM_OBS_MOUNTED : ZB_STIM_OBS_OWNER;
    }
    if (s->conf.first_leader == self && zb_core_never_led(x)) {
        return ZB_STIM_OBS_FIRST;
    }
    return ZB_STIM_OBS_FOLLOWER;
}

bool
zb_core_is_owner(const struct svc *s)
{
    return s->obs.established_term != 0 && s->obs.established_term >= s->obs.learned_term &&
           s->obs.established_term >= s->superseded &&
           s->obs.released_term <= s->obs.established_term;
}

bool
zb_core_sees_leader(const struct step *x)
{
    uint64_t term;

    return zb_core_leader(x, &term) != ZB_NODE_NONE && term >= x->s->obs.learned_term;
}

bool
zb_core_all_follow(const struct step *x, uint64_t term)
{
    const struct svc *s = x->s;

    for (unsigned i = 0; i < s->conf.members_count; i++) {
        uint8_t n = s->conf.members[i];
        if (n != x->core->opt.self && zb_core_peer_up(x, n) &&
            s->peers[n].report.set.id.term != term) {
            return false;
        }
    }
    return s->obs.newest.id.term == term;
}

/* The node that leads, as far as this node knows, and its term. */
uint8_t
zb_core_leader(const struct step *x, uint64_t *term)
{
    const struct svc *s = x->s;
    uint8_t leader = ZB_NODE_NONE;

    *term = 0;
    if (zb_core_leads(s->role)) {
        leader = x->core->opt.self;
        *term = s->obs.established_term;
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        const struct peer *p = &s->peers[n];
        /* In this order: memory of who is no peer stays unused. */
        if (zb_core_peer_up(x, n) && p->known && p->report.established_term > *term) {
            leader = n;
            *term = p->report.established_term;
        }
    }
    return leader;
}

bool
zb_core_lead(const struct zb_core *core, uint16_t service, struct zb_core_lead *lead)
{
    struct svc *s = &core->services[service];
    const struct step x = {.core = (struct zb_core *)(uintptr_t)core, .s = s};
    uint64_t term;

    if (s->role != ZB_ROLE_LEADING || zb_core_leader(&x, &term) != core->opt.self) {
        return false;
    }
    *lead = (struct zb_core_lead){.term = term,
                                  .version = s->conf.version,
                                  .newest = s->obs.newest.id,
                                  .running = s->obs.running};
    return true;
}

/* What is not as it should be shows about one interval of its sets after the last look. Rounded up,
 * so that a node wakes up for many services at once. */
int64_t
zb_core_look_due_ms(const struct svc *s)
{
    int64_t every_ms = s->conf.interval_ms > 0 && s->conf.interval_ms < ZB_LOOK_MS
                           ? s->conf.interval_ms
                           : ZB_LOOK_MS;
    int64_t grain_ms = every_ms < LOOK_GRAINS ? 1 : every_ms / LOOK_GRAINS;

    return (s->obs_at.ms + every_ms + grain_ms - 1) / grain_ms * grain_ms;
}

void
zb_core_look_now(struct step *x)
{
    x->s->obs_at.ms = x->now.ms - 2 * (int64_t)ZB_LOOK_MS;
}

const struct zb_set_ref *
zb_core_reached(const struct svc *s)
{
    return zb_set_id_cmp(s->obs.reached.id, s->obs.newest.id) > 0 ? &s->obs.reached
                                                                  : &s->obs.newest;
}

uint64_t
zb_core_granted_max(const struct step *x)
{
    const struct svc *s = x->s;
    uint64_t max = s->obs.granted_term;

    if (s->conf.term_floor > max) {
        max = s->conf.term_floor;
    }
    /* A service that was withdrawn and declared again has sets, but no records. */
    if (zb_core_reached(s)->id.term > max) {
        max = zb_core_reached(s)->id.term;
    }
    if (s->obs.established_term > max) {
        max = s->obs.established_term;
    }
    if (s->superseded > max) {
        max = s->superseded;
    }
    for (uint8_t n = 0; n < ZB_PEERS_MAX; n++) {
        if (zb_core_peer_granted(s, n) > max) {
            max = zb_core_peer_granted(s, n);
        }
    }
    return max;
}

/* May this node's sets be sent to `node` now? It has to know this leader and term (M2, LEARN). */
bool
zb_core_follows(const struct step *x, uint8_t node)
{
    const struct svc *s = x->s;
    const struct peer *p = &s->peers[node];

    return node != x->core->opt.self && zb_core_is_member(s, node) && zb_core_peer_up(x, node) &&
           p->known && p->report.learned_term == s->obs.established_term &&
           p->report.learned_leader == x->core->opt.self &&
           zb_core_peer_granted(s, node) <= s->obs.established_term;
}
