#include "agent/internal.h"
#include "agent/must.h"
#include "agent/position.h"

/* One inventory being made: the datasets one after the other, each in pages. */
struct fetch {
    struct zb_agent *a;
    uint16_t service;
    uint32_t dataset; /* index of the one that is asked for */
    uint32_t start;   /* index of the next snapshot asked for */
    bool cut;         /* the oldest ones were left out */
    bool marks;       /* bookmarks too */
    struct zb_inventory inv;
    void (*cb)(void *ctx, const struct zb_inventory_result *result);
    void *ctx;
};

static void
fetch_end(struct fetch *f, enum zb_rc rc, const char *msg)
{
    struct zb_inventory_result result = {.rc = rc, .msg = msg, .inventory = &f->inv};
    f->cb(f->ctx, &result);
    zb_inventory_close(&f->inv);
    free(f);
}

static void on_snaps(void *ctx, const struct zb_krep *rep);
static void on_marks(void *ctx, const struct zb_krep *rep);

static void
fetch_next(struct fetch *f)
{
    if (f->dataset == f->inv.datasets_count) {
        fetch_end(f, ZB_OK, "");
        return;
    }
    struct zb_inventory_dataset *d = &f->inv.datasets[f->dataset];
    bool marks = f->marks && d->marks == NULL; /* first: the snapshots then say where they stand */
    struct zb_kreq req = {.op = ZB_KOP_SNAPS, .count = f->start, .flags = marks ? ZB_KF_MARKS : 0};
    zb_strcopy(req.service, sizeof(req.service), f->a->services[f->service].conf.name);
    zb_strcopy(req.rel, sizeof(req.rel), d->rel);
    zb_agent_keeper_call(f->a, &req, marks ? on_marks : on_snaps, f);
}

static void
snaps_append(struct zb_inventory_dataset *d, const struct zb_krep *rep)
{
    uint32_t count = d->snaps_count + rep->snaps_count;
    d->guids = zb_must(reallocarray(d->guids, count + 1, sizeof(*d->guids)));
    d->names = zb_must(reallocarray(d->names, count + 1, sizeof(*d->names)));
    for (uint32_t i = 0; i < rep->snaps_count; i++) {
        uint32_t at = d->snaps_count + i;
        d->guids[at] = rep->snaps[i].guid;
        zb_strcopy(d->names[at], sizeof(d->names[at]), rep->snaps[i].name);
        for (uint32_t m = 0; m < d->marks_count; m++) {
            d->marks[m].before += rep->snaps[i].createtxg <= d->marks[m].createtxg;
        }
    }
    d->snaps_count = count;
}

/* A reply's worth at most: there are a few for each member that is away. */
static void
on_marks(void *ctx, const struct zb_krep *rep)
{
    struct fetch *f = ctx;
    if (rep->rc != ZB_OK) {
        fetch_end(f, (enum zb_rc)rep->rc, rep->msg);
        return;
    }
    struct zb_inventory_dataset *d = &f->inv.datasets[f->dataset];
    d->marks_count = rep->snaps_count;
    d->marks = zb_must_alloc(rep->snaps_count + 1, sizeof(*d->marks));
    for (uint32_t i = 0; i < rep->snaps_count; i++) {
        zb_strcopy(d->marks[i].name, sizeof(d->marks[i].name), rep->snaps[i].name);
        d->marks[i].guid = rep->snaps[i].guid;
        d->marks[i].createtxg = rep->snaps[i].createtxg;
    }
    fetch_next(f);
}

static void
on_snaps(void *ctx, const struct zb_krep *rep)
{
    struct fetch *f = ctx;
    if (rep->rc != ZB_OK) {
        fetch_end(f, (enum zb_rc)rep->rc, rep->msg);
        return;
    }
    struct zb_inventory_dataset *d = &f->inv.datasets[f->dataset];
    if (rep->count > ZB_SNAPS_MAX && !f->cut) {
        f->cut = true; /* again, the newest ones only */
        f->start = rep->count - ZB_SNAPS_MAX;
        fetch_next(f);
        return;
    }
    if (d->snaps_count + rep->snaps_count > 2 * ZB_SNAPS_MAX) {
        fetch_end(f, ZB_E_LIMIT, "snapshots are made faster than they can be listed");
        return;
    }
    snaps_append(d, rep);
    f->start += rep->snaps_count;
    if (rep->snaps_count == 0 || f->start >= rep->count) {
        f->dataset++;
        f->start = 0;
        f->cut = false;
    }
    fetch_next(f);
}

static void
on_observed(void *ctx, const struct zb_krep *rep)
{
    struct fetch *f = ctx;
    if (rep->rc != ZB_OK) {
        fetch_end(f, (enum zb_rc)rep->rc, rep->msg);
        return;
    }
    f->inv.datasets_count = rep->datasets_count;
    f->inv.datasets = zb_must_alloc(rep->datasets_count, sizeof(*f->inv.datasets));
    for (uint32_t i = 0; i < rep->datasets_count; i++) {
        const struct zb_kdataset *from = &rep->datasets[i];
        struct zb_inventory_dataset *d = &f->inv.datasets[i];
        zb_strcopy(d->uuid, sizeof(d->uuid), from->uuid);
        zb_strcopy(d->rel, sizeof(d->rel), from->rel);
        d->guid = from->guid;
        zb_strcopy(d->newest, sizeof(d->newest), from->newest);
        zb_strcopy(d->token, sizeof(d->token), from->token);
    }
    fetch_next(f);
}

void
zb_inventory_fetch(struct zb_agent *a, uint16_t service, bool marks,
                   void (*cb)(void *ctx, const struct zb_inventory_result *result), void *ctx)
{
    struct fetch *f = zb_must_alloc(1, sizeof(*f));
    struct zb_kreq req = {.op = ZB_KOP_OBSERVE};
    *f = (struct fetch){.a = a, .service = service, .marks = marks, .cb = cb, .ctx = ctx};
    zb_strcopy(req.service, sizeof(req.service), a->services[service].conf.name);
    zb_agent_keeper_call(a, &req, on_observed, f);
}
