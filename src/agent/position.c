#include "agent/position.h"

#include "agent/internal.h"
#include "agent/memo.h"
#include "agent/must.h"

#define KNOWN_MAX 8      /* newest manifests of a service in memory */
#define SEARCHED_MAX 256 /* manifests of the history that are compared with the disk */

struct known {
    struct zb_set_ref ref;
    struct zb_manifest m;
};

struct zb_position_service {
    bool loaded;
    uint32_t generation; /* of what is known: a search's result holds for one */
    uint32_t known_count;
    struct known known[KNOWN_MAX]; /* newest first */
    struct zb_manifest other;      /* the last one read from the history for somebody */
    bool searched;
    uint64_t searched_key; /* what the last search on disk was about, and its result */
    struct zb_position searched_result;
    uint64_t nonce; /* of the keeper's look that the last position is of; 0: none */
};

struct zb_positions {
    struct zb_position_service services[ZB_SERVICES_MAX];
};

struct zb_positions *
zb_positions_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_positions));
}

void
zb_positions_free(struct zb_positions *p)
{
    for (size_t i = 0; p != NULL && i < ZB_SERVICES_MAX; i++) {
        struct zb_position_service *s = &p->services[i];
        for (uint32_t k = 0; k < s->known_count; k++) {
            zb_manifest_close(&s->known[k].m);
        }
        zb_manifest_close(&s->other);
    }
    free(p);
}

/* What was found on disk may be found to be something else now. */
static void
known_changed(struct zb_position_service *s)
{
    s->generation++;
    s->nonce = 0;
}

static const char *
name_of(const struct zb_agent *a, uint16_t service)
{
    return a->services[service].conf.name;
}

/* Takes m; keeps the newest KNOWN_MAX. */
static void
known_insert(struct zb_position_service *s, struct zb_manifest *m)
{
    uint32_t at = 0;
    while (at < s->known_count && zb_set_id_cmp(s->known[at].m.id, m->id) > 0) {
        at++;
    }
    if (at < s->known_count && zb_set_id_cmp(s->known[at].m.id, m->id) == 0) {
        zb_manifest_close(&s->known[at].m);
    } else if (at == KNOWN_MAX) {
        zb_manifest_close(m);
        return;
    } else {
        if (s->known_count == KNOWN_MAX) {
            zb_manifest_close(&s->known[--s->known_count].m);
        }
        memmove(&s->known[at + 1], &s->known[at], (s->known_count - at) * sizeof(s->known[0]));
        s->known_count++;
    }
    s->known[at].m = *m;
    zb_manifest_ref(m, &s->known[at].ref);
    known_changed(s);
}

static void
history_failed(const struct zb_agent *a, uint16_t service, const struct zb_err *err)
{
    zb_log_error("%s: sets in the history: %s", name_of(a, service), err->msg);
}

/* The state of a service, with what the history knows. */
static struct zb_position_service *
state_of(struct zb_agent *a, uint16_t service)
{
    struct zb_position_service *s = &a->positions->services[service];
    struct zb_history_set *sets = NULL;
    uint32_t count = 0;
    struct zb_err err;
    if (s->loaded) {
        return s;
    }
    s->loaded = true;
    if (zb_history_sets_list(a->history, name_of(a, service), KNOWN_MAX, &sets, &count, &err) !=
        ZB_OK) {
        history_failed(a, service, &err);
    }
    for (uint32_t i = 0; i < count; i++) {
        struct zb_manifest m = {0};
        if (zb_history_set_get(a->history, name_of(a, service), sets[i].ref.id, &m, &err) ==
            ZB_OK) {
            known_insert(s, &m);
        } else {
            history_failed(a, service, &err);
        }
    }
    free(sets);
    return s;
}

void
zb_position_know(struct zb_agent *a, uint16_t service, const struct zb_manifest *m)
{
    struct zb_manifest copy = {0};
    struct zb_err err;
    if (zb_manifest_copy(&copy, m, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    known_insert(state_of(a, service), &copy);
}

void
zb_position_store(struct zb_agent *a, uint16_t service, const struct zb_manifest *m)
{
    zb_memo_set(a, name_of(a, service), m);
}

const struct zb_manifest *
zb_position_manifest(struct zb_agent *a, uint16_t service, struct zb_set_id id)
{
    struct zb_position_service *s = state_of(a, service);
    struct zb_manifest m = {0};
    struct zb_err err;
    for (uint32_t i = 0; i < s->known_count; i++) {
        if (zb_set_id_cmp(s->known[i].m.id, id) == 0) {
            return &s->known[i].m;
        }
    }
    if (zb_set_id_cmp(s->other.id, id) == 0 && s->other.entries_count > 0) {
        return &s->other;
    }
    zb_agent_flush(a);
    if (zb_history_set_get(a->history, name_of(a, service), id, &m, &err) != ZB_OK) {
        return NULL;
    }
    zb_manifest_close(&s->other);
    s->other = m;
    return &s->other;
}

void
zb_position_prune(struct zb_agent *a, uint16_t service, struct zb_set_id id)
{
    struct zb_position_service *s = state_of(a, service);
    while (s->known_count > 0 && zb_set_id_cmp(s->known[s->known_count - 1].m.id, id) < 0) {
        zb_manifest_close(&s->known[--s->known_count].m);
    }
    zb_memo_prune(a, name_of(a, service), id);
}

static const struct zb_kdataset *
observed_find(const struct zb_krep *observed, const struct zb_manifest_entry *e)
{
    const struct zb_kdataset *there = NULL;
    for (uint32_t i = 0; i < observed->datasets_count; i++) {
        const struct zb_kdataset *d = &observed->datasets[i];
        if (strcmp(d->uuid, e->uuid) == 0) {
            return d;
        }
        if (strcmp(d->rel, e->rel) == 0) {
            there = d;
        }
    }
    return there;
}

bool
zb_position_is_newest(const struct zb_krep *observed, const struct zb_manifest *m)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        const struct zb_kdataset *d = observed_find(observed, &m->entries[i]);
        if (d == NULL || d->newest_guid != m->entries[i].guid) {
            return false;
        }
    }
    return m->entries_count > 0;
}

bool
zb_position_is_beyond(const struct zb_krep *observed, const struct zb_manifest *m)
{
    bool beyond = false;
    for (uint32_t i = 0; i < observed->datasets_count; i++) {
        const struct zb_kdataset *d = &observed->datasets[i];
        if (d->mount != ZB_MOUNT_NONE) {
            return false;
        }
        for (uint32_t k = 0; k < m->entries_count; k++) {
            const struct zb_manifest_entry *e = &m->entries[k];
            beyond = beyond || (strcmp(d->uuid, e->uuid) == 0 &&
                                (d->newest_guid != e->guid || d->written_bytes != 0));
        }
    }
    return beyond;
}

/* --- search on disk --- */

/* What came after found->newest; that set's manifest is known, or nothing is said. */
static void
position_compare(struct zb_agent *a, uint16_t service, const struct zb_krep *observed,
                 struct zb_position *found)
{
    const struct zb_manifest *m = NULL;
    if (!zb_set_id_is_none(found->newest.id)) {
        m = zb_position_manifest(a, service, found->newest.id);
    }
    found->beyond = m != NULL && zb_position_is_beyond(observed, m);
}

struct search {
    struct zb_agent *a;
    uint16_t service;
    bool follows; /* another node makes the sets */
    uint64_t key;
    struct zb_krep observed; /* its datasets alone; owned */
    void (*cb)(void *ctx, const struct zb_position *position);
    void *ctx;
};

static uint64_t
hash_add(uint64_t h, const void *data, size_t size)
{
    const uint8_t *p = data;
    for (size_t i = 0; i < size; i++) {
        h = (h ^ p[i]) * UINT64_C(0x100000001b3); /* FNV-1a */
    }
    return h;
}

/* What the result of a search depends on; equal keys, equal results. */
static uint64_t
search_key(const struct zb_position_service *s, const struct zb_krep *observed, bool follows)
{
    uint64_t h = hash_add(UINT64_C(0xcbf29ce484222325), &s->generation, sizeof(s->generation));
    h = hash_add(h, &follows, sizeof(follows));
    for (uint32_t i = 0; i < observed->datasets_count; i++) {
        const struct zb_kdataset *d = &observed->datasets[i];
        h = hash_add(h, d->rel, strlen(d->rel) + 1);
        h = hash_add(h, &d->newest_guid, sizeof(d->newest_guid));
    }
    return h;
}

struct sets {
    struct zb_history_set *items;
    uint32_t count;
};

static bool
is_known(const void *ctx, struct zb_set_id id)
{
    const struct sets *sets = ctx;
    for (uint32_t i = 0; i < sets->count; i++) {
        if (zb_set_id_cmp(sets->items[i].ref.id, id) == 0) {
            return true;
        }
    }
    return false;
}

/* The newest known set that the inventory has, in the sense of has. */
static struct zb_set_ref
newest_of_known(struct zb_agent *a, uint16_t service, const struct zb_inventory *inv,
                const struct sets *sets,
                bool (*has)(const struct zb_inventory *inv, const struct zb_manifest *m))
{
    for (uint32_t i = 0; i < sets->count; i++) {
        const struct zb_manifest *m = zb_position_manifest(a, service, sets->items[i].ref.id);
        if (m != NULL && has(inv, m)) {
            return sets->items[i].ref;
        }
    }
    return (struct zb_set_ref){0};
}

/* Ends the search and frees it; NULL: the disk could not be asked. */
static void
search_end(struct search *q, const struct zb_position *found)
{
    struct zb_position position = {0};
    if (found != NULL) {
        position = *found;
        position_compare(q->a, q->service, &q->observed, &position);
    }
    q->cb(q->ctx, found != NULL ? &position : NULL);
    free(q->observed.datasets);
    free(q);
}

/* On a follower a dataset of the newest known set that is not here may still be on its way: by
 * names alone a set could look whole without it. A leader's own disk always is. */
static bool
is_tree_whole(const struct search *q, const struct zb_inventory *inv)
{
    const struct zb_position_service *s = state_of(q->a, q->service);
    return !q->follows || s->known_count == 0 || zb_inventory_has_datasets(inv, &s->known[0].m);
}

static void
on_searched(void *ctx, const struct zb_inventory_result *result)
{
    struct search *q = ctx;
    struct zb_position_service *s = state_of(q->a, q->service);
    struct zb_position found = {0};
    struct sets sets = {0};
    struct zb_manifest m = {0};
    struct zb_err err;
    if (result->rc != ZB_OK) {
        zb_log_warning("%s: list of snapshots: %s", name_of(q->a, q->service), result->msg);
        search_end(q, NULL);
        return;
    }
    zb_agent_flush(q->a);
    if (zb_history_sets_list(q->a->history, name_of(q->a, q->service), SEARCHED_MAX, &sets.items,
                             &sets.count, &err) != ZB_OK) {
        history_failed(q->a, q->service, &err);
    }
    found.newest = newest_of_known(q->a, q->service, result->inventory, &sets, zb_inventory_holds);
    found.reached =
        newest_of_known(q->a, q->service, result->inventory, &sets, zb_inventory_reached);
    if (is_tree_whole(q, result->inventory) &&
        zb_inventory_rebuild(result->inventory, is_known, &sets, &m)) {
        if (zb_set_id_cmp(m.id, found.newest.id) > 0) {
            zb_manifest_ref(&m, &found.newest);
            zb_position_store(q->a, q->service, &m);
            zb_position_know(q->a, q->service, &m);
        }
        zb_manifest_close(&m);
    }
    if (zb_set_id_cmp(found.newest.id, found.reached.id) > 0) {
        found.reached = found.newest;
    }
    free(sets.items);
    s->searched = true;
    s->searched_key = q->key;
    s->searched_result = found;
    search_end(q, &found);
}

static bool
is_led_elsewhere(const struct zb_agent *a, const struct zb_record *record)
{
    return record->learned_term != 0 && strcmp(record->learned_leader, a->nodes[a->self].name) != 0;
}

static bool
has_snapshots(const struct zb_krep *observed)
{
    for (uint32_t i = 0; i < observed->datasets_count; i++) {
        if (observed->datasets[i].newest_guid != 0) {
            return true;
        }
    }
    return false;
}

void
zb_position_find(struct zb_agent *a, uint16_t service, const struct zb_krep *observed,
                 void (*cb)(void *ctx, const struct zb_position *position), void *ctx)
{
    struct zb_position_service *s = state_of(a, service);
    struct zb_position none = {0};
    if (!has_snapshots(observed)) {
        cb(ctx, &none);
        return;
    }
    for (uint32_t i = 0; i < s->known_count; i++) {
        if (zb_position_is_newest(observed, &s->known[i].m)) {
            struct zb_position found = {.newest = s->known[i].ref,
                                        .reached = s->known[i].ref,
                                        .beyond = zb_position_is_beyond(observed, &s->known[i].m)};
            cb(ctx, &found);
            return;
        }
    }
    bool follows = is_led_elsewhere(a, &observed->record);
    uint64_t key = search_key(s, observed, follows);
    if (s->searched && s->searched_key == key) {
        struct zb_position found = s->searched_result;
        position_compare(a, service, observed, &found);
        cb(ctx, &found);
        return;
    }
    struct search *q = zb_must_alloc(1, sizeof(*q));
    *q = (struct search){
        .a = a, .service = service, .follows = follows, .key = key, .cb = cb, .ctx = ctx};
    q->observed.datasets_count = observed->datasets_count;
    q->observed.datasets = zb_must_alloc(observed->datasets_count, sizeof(*q->observed.datasets));
    memcpy(q->observed.datasets, observed->datasets,
           observed->datasets_count * sizeof(*q->observed.datasets));
    zb_inventory_fetch(a, service, false, on_searched, q);
}

/* --- is a set held, as re-read --- */

struct check {
    struct zb_agent *a;
    uint16_t service;
    struct zb_manifest m;
    void (*cb)(void *ctx, bool held);
    void *ctx;
};

static void
check_end(struct check *c, bool held)
{
    c->cb(c->ctx, held);
    zb_manifest_close(&c->m);
    free(c);
}

static void
on_checked(void *ctx, const struct zb_inventory_result *result)
{
    struct check *c = ctx;
    check_end(c, result->rc == ZB_OK && zb_inventory_holds(result->inventory, &c->m));
}

static void
on_check_observed(void *ctx, const struct zb_krep *rep)
{
    struct check *c = ctx;
    if (rep->rc != ZB_OK) {
        check_end(c, false);
    } else if (zb_position_is_newest(rep, &c->m)) {
        check_end(c, true);
    } else {
        zb_inventory_fetch(c->a, c->service, false, on_checked, c);
    }
}

void
zb_position_check(struct zb_agent *a, uint16_t service, const struct zb_manifest *m,
                  void (*cb)(void *ctx, bool held), void *ctx)
{
    struct check *c = zb_must_alloc(1, sizeof(*c));
    struct zb_kreq req = {.op = ZB_KOP_OBSERVE};
    struct zb_err err;
    *c = (struct check){.a = a, .service = service, .cb = cb, .ctx = ctx};
    if (zb_manifest_copy(&c->m, m, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    zb_strcopy(req.service, sizeof(req.service), name_of(a, service));
    zb_agent_keeper_call(a, &req, on_check_observed, c);
}

void
zb_position_look_anew(struct zb_agent *a, uint16_t service)
{
    struct zb_position_service *s = state_of(a, service);
    s->searched = false;
    known_changed(s);
}

uint64_t
zb_position_nonce(struct zb_agent *a, uint16_t service)
{
    return state_of(a, service)->nonce;
}

void
zb_position_nonce_set(struct zb_agent *a, uint16_t service, uint64_t nonce)
{
    state_of(a, service)->nonce = nonce;
}

void
zb_position_forget(struct zb_agent *a, uint16_t service)
{
    struct zb_position_service *s = state_of(a, service);
    uint32_t generation = s->generation + 1;
    struct zb_err err;

    while (s->known_count > 0) {
        zb_manifest_close(&s->known[--s->known_count].m);
    }
    zb_manifest_close(&s->other);
    *s = (struct zb_position_service){.generation = generation};
    zb_agent_flush(a);
    if (zb_history_service_forget(a->history, name_of(a, service), &err) != ZB_OK) {
        zb_log_error("history of %s: %s", name_of(a, service), err.msg);
    }
}
