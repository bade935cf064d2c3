#include "agent/ship_plan.h"

#include "agent/must.h"

void
zb_ship_plan_close(struct zb_ship_plan *plan)
{
    for (uint32_t i = 0; i < plan->chains_count; i++) {
        free(plan->chains[i].steps);
    }
    free(plan->chains);
    *plan = (struct zb_ship_plan){0};
}

const char *
zb_ship_chain_base(const struct zb_ship_chain *c, uint32_t step)
{
    return step == 0 ? c->base : c->steps[step - 1].snap;
}

struct place {
    uint64_t guid;
    uint32_t index;
};

static int
place_cmp(const void *a, const void *b)
{
    const struct place *left = a;
    const struct place *right = b;
    return left->guid < right->guid ? -1 : left->guid > right->guid;
}

/* The newest snapshot of the peer that own has too, or a bookmark of it. */
struct common {
    uint64_t guid;    /* 0: nothing in common */
    uint32_t next;    /* index in own's list of the snapshot that comes after it */
    const char *name; /* on own */
    uint32_t newer;   /* how many of the peer's are newer */
};

/* By guid; of the bookmarks behind the snapshots. */
static struct place *
places_make(const struct zb_inventory_dataset *own, uint32_t *count)
{
    *count = own->snaps_count + own->marks_count;
    struct place *places = zb_must_alloc(*count, sizeof(*places));
    for (uint32_t i = 0; i < *count; i++) {
        places[i].index = i;
        places[i].guid =
            i < own->snaps_count ? own->guids[i] : own->marks[i - own->snaps_count].guid;
    }
    qsort(places, *count, sizeof(*places), place_cmp);
    return places;
}

static struct common
newest_common(const struct zb_inventory_dataset *own, const struct zb_inventory_dataset *peer)
{
    struct common found = {0};
    uint32_t count;
    struct place *places = places_make(own, &count);
    for (uint32_t i = peer->snaps_count; i > 0 && found.guid == 0; i--) {
        struct place key = {.guid = peer->guids[i - 1]};
        const struct place *p = bsearch(&key, places, count, sizeof(*places), place_cmp);
        if (p == NULL) {
            found.newer++;
        } else if (p->index < own->snaps_count) {
            found.guid = p->guid;
            found.next = p->index + 1;
            found.name = own->names[p->index];
        } else {
            const struct zb_inventory_mark *mark = &own->marks[p->index - own->snaps_count];
            found.guid = mark->guid;
            found.next = mark->before;
            found.name = mark->name;
        }
    }
    free(places);
    return found;
}

static const char *
shown(const char *rel)
{
    return rel[0] != '\0' ? rel : "(top)";
}

/* The steps of own from what is in common (NULL: full stream first) to snapshot index `to`. */
static void
chain_fill(struct zb_ship_chain *c, const struct zb_inventory_dataset *own,
           const struct common *from, uint32_t to)
{
    uint32_t next = from != NULL ? from->next : 0;
    uint64_t guid = from != NULL ? from->guid : 0;
    c->steps_count = to + 1 - next;
    c->steps = zb_must_alloc(c->steps_count, sizeof(*c->steps));
    if (from != NULL) {
        zb_strcopy(c->base, sizeof(c->base), from->name);
    }
    for (uint32_t i = 0; i < c->steps_count; i++) {
        zb_strcopy(c->steps[i].snap, sizeof(c->steps[i].snap), own->names[next + i]);
        c->steps[i].guid = own->guids[next + i];
        c->steps[i].from_guid = guid;
        guid = c->steps[i].guid;
    }
}

/* The streams for a dataset that the peer has; none (steps_count 0) when it holds the set. */
static enum zb_rc
chain_continue(const struct zb_inventory_dataset *own, const struct zb_inventory_dataset *peer,
               uint32_t to, struct zb_ship_chain *c, struct zb_err *err)
{
    struct common from = newest_common(own, peer);
    if (from.newer == 0 && zb_inventory_snap_find(peer, own->guids[to]) >= 0) {
        return ZB_OK;
    }
    if (from.guid == 0 && peer->snaps_count == 0 && peer->token[0] != '\0') {
        chain_fill(c, own, NULL, to); /* a first stream that was interrupted */
        return ZB_OK;
    }
    if (from.guid == 0) {
        return zb_err_set(err, ZB_E_DIVERGED,
                          "dataset %s stands there with no snapshot in common (newest there: %s); "
                          "it is not overwritten",
                          shown(peer->rel), peer->newest[0] != '\0' ? peer->newest : "none");
    }
    if (from.newer > 0 || from.next > to) {
        return zb_err_set(err, ZB_E_DIVERGED,
                          "dataset %s has %u snapshots there that are newer than %s and not of "
                          "this line (newest: %s)",
                          shown(peer->rel),
                          from.newer > 0       ? from.newer
                          : from.next > to + 1 ? from.next - 1 - to
                                               : 1,
                          from.name, peer->newest);
    }
    chain_fill(c, own, &from, to);
    return ZB_OK;
}

static enum zb_rc
chain_make(const struct zb_manifest_entry *e, const struct zb_inventory *own,
           const struct zb_inventory *peer, struct zb_ship_chain *c, struct zb_err *err)
{
    const struct zb_inventory_dataset *mine = zb_inventory_find(own, e->uuid, e->rel);
    int64_t to = mine != NULL ? zb_inventory_snap_find(mine, e->guid) : -1;
    if (to < 0) {
        return zb_err_set(err, ZB_E_NOTFOUND, "the set's snapshot of dataset %s is gone here",
                          shown(e->rel));
    }
    const struct zb_inventory_dataset *there = zb_inventory_find(peer, e->uuid, e->rel);
    *c = (struct zb_ship_chain){.after = ZB_CHAIN_NONE};
    zb_strcopy(c->uuid, sizeof(c->uuid), e->uuid);
    zb_strcopy(c->rel, sizeof(c->rel), mine->rel);
    zb_strcopy(c->peer_rel, sizeof(c->peer_rel), there != NULL ? there->rel : e->rel);
    if (there == NULL) {
        chain_fill(c, mine, NULL, (uint32_t)to);
        return ZB_OK;
    }
    zb_strcopy(c->token, sizeof(c->token), there->token);
    c->adopt = there->uuid[0] == '\0';
    return chain_continue(mine, there, (uint32_t)to, c, err);
}

/* "a/b" is below "a" and below "". */
static bool
is_below(const char *rel, const char *parent)
{
    size_t length = strlen(parent);
    return rel[0] != '\0' &&
           (length == 0 || (strncmp(rel, parent, length) == 0 && rel[length] == '/'));
}

/* A dataset that is made by a full stream waits for its nearest ancestor that is made too. */
static void
chains_order(struct zb_ship_plan *plan)
{
    for (uint32_t i = 0; i < plan->chains_count; i++) {
        struct zb_ship_chain *c = &plan->chains[i];
        size_t best = 0;
        for (uint32_t j = 0; c->steps[0].from_guid == 0 && j < plan->chains_count; j++) {
            const struct zb_ship_chain *p = &plan->chains[j];
            if (p->steps[0].from_guid == 0 && is_below(c->peer_rel, p->peer_rel) &&
                (c->after == ZB_CHAIN_NONE || strlen(p->peer_rel) > best)) {
                c->after = j;
                best = strlen(p->peer_rel);
            }
        }
    }
}

enum zb_rc
zb_ship_plan_make(const struct zb_manifest *m, const struct zb_inventory *own,
                  const struct zb_inventory *peer, struct zb_ship_plan *plan, struct zb_err *err)
{
    struct zb_ship_plan got = {0};
    got.chains = zb_must_alloc(m->entries_count, sizeof(*got.chains));
    for (uint32_t i = 0; i < m->entries_count; i++) {
        struct zb_ship_chain *c = &got.chains[got.chains_count];
        enum zb_rc rc = chain_make(&m->entries[i], own, peer, c, err);
        if (rc != ZB_OK) {
            zb_ship_plan_close(&got);
            return rc;
        }
        if (c->steps_count > 0) {
            got.chains_count++;
            got.steps_total += c->steps_count;
        }
    }
    chains_order(&got);
    *plan = got;
    return ZB_OK;
}

/* By uuid alone: at the same place may stand another dataset. */
static const struct zb_inventory_dataset *
same_dataset(const struct zb_inventory *inv, const char *uuid)
{
    for (uint32_t i = 0; uuid[0] != '\0' && i < inv->datasets_count; i++) {
        if (strcmp(inv->datasets[i].uuid, uuid) == 0) {
            return &inv->datasets[i];
        }
    }
    return NULL;
}

static struct zb_manifest_entry *
entry_of_uuid(struct zb_manifest *m, const char *uuid)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (strcmp(m->entries[i].uuid, uuid) == 0) {
            return &m->entries[i];
        }
    }
    return NULL;
}

bool
zb_ship_fork_make(const struct zb_inventory *own, const struct zb_inventory *peer,
                  struct zb_manifest *m)
{
    struct zb_err err;
    if (zb_manifest_init(m, peer->datasets_count, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    m->entries_count = 0;
    for (uint32_t i = 0; i < peer->datasets_count; i++) {
        const struct zb_inventory_dataset *there = &peer->datasets[i];
        const struct zb_inventory_dataset *mine = same_dataset(own, there->uuid);
        struct common at = mine != NULL ? newest_common(mine, there) : (struct common){0};
        if (at.guid == 0 || entry_of_uuid(m, there->uuid) != NULL) {
            continue;
        }
        struct zb_manifest_entry *e = &m->entries[m->entries_count++];
        zb_strcopy(e->uuid, sizeof(e->uuid), there->uuid);
        zb_strcopy(e->rel, sizeof(e->rel), there->rel);
        e->guid = at.guid;
    }
    zb_manifest_sort(m);
    return zb_manifest_find(m, "") != NULL;
}

void
zb_ship_fork_advance(struct zb_manifest *m, const struct zb_ship_plan *plan, const uint32_t *done)
{
    for (uint32_t i = 0; i < plan->chains_count; i++) {
        const struct zb_ship_chain *c = &plan->chains[i];
        struct zb_manifest_entry *e = entry_of_uuid(m, c->uuid);
        if (e != NULL && done[i] > 0) {
            e->guid = c->steps[done[i] - 1].guid;
        }
    }
}

static bool
sets_same_datasets(const struct zb_manifest *a, const struct zb_manifest *b)
{
    if (a->entries_count != b->entries_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->entries_count; i++) {
        if (strcmp(a->entries[i].uuid, b->entries[i].uuid) != 0 ||
            strcmp(a->entries[i].rel, b->entries[i].rel) != 0) {
            return false;
        }
    }
    return true;
}

bool
zb_ship_plan_fast(const struct zb_manifest *const *sets, uint32_t count, struct zb_ship_plan *plan)
{
    const struct zb_manifest *base = sets[0];
    for (uint32_t k = 1; k < count; k++) {
        if (!sets_same_datasets(base, sets[k])) {
            return false;
        }
    }
    struct zb_ship_plan got = {.chains_count = base->entries_count};
    got.chains = zb_must_alloc(got.chains_count, sizeof(*got.chains));
    for (uint32_t i = 0; i < got.chains_count; i++) {
        struct zb_ship_chain *c = &got.chains[i];
        zb_strcopy(c->uuid, sizeof(c->uuid), base->entries[i].uuid);
        zb_strcopy(c->rel, sizeof(c->rel), base->entries[i].rel);
        zb_strcopy(c->peer_rel, sizeof(c->peer_rel), base->entries[i].rel);
        zb_set_name_format(base->id, base->time, c->base);
        c->after = ZB_CHAIN_NONE;
        c->steps_count = count - 1;
        c->steps = zb_must_alloc(c->steps_count, sizeof(*c->steps));
        for (uint32_t k = 1; k < count; k++) {
            struct zb_ship_step *s = &c->steps[k - 1];
            zb_set_name_format(sets[k]->id, sets[k]->time, s->snap);
            s->guid = sets[k]->entries[i].guid;
            s->from_guid = sets[k - 1]->entries[i].guid;
        }
        got.steps_total += c->steps_count;
    }
    *plan = got;
    return true;
}
