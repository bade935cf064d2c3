#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/ship_internal.h"

#define ASKED_AFTER_MS 1000 /* what is sent sooner, as in the steady state, costs no request */
#define ASKED_MAX 4         /* at once, of all ships: the keeper has other things to do */

static struct zb_ship *
ship_of_id(const struct zb_agent *a, uint64_t id)
{
    struct zb_ship *s = a->ships != NULL ? a->ships->head : NULL;

    while (s != NULL && s->id != id) {
        s = s->next;
    }
    return s;
}

static uint64_t
bytes_done(const struct zb_ship *s)
{
    return s->bytes + zb_ship_jobs_bytes(s);
}

/* Whether the plan that an estimate belongs to is still the one that is sent. */
static bool
is_sent(const struct zb_ship *s)
{
    return s->state == ZB_SHIP_STREAMING || s->state == ZB_SHIP_ACK;
}

/* --- the keeper's estimate --- */

struct ask {
    struct zb_agent *a;
    uint64_t id; /* of the ship, on the wire: another one for another plan */
};

static void chain_ask(struct zb_ship *s);

static void
on_estimate(void *ctx, const struct zb_krep *rep)
{
    struct ask ask = *(struct ask *)ctx;
    struct zb_ship *s = ship_of_id(ask.a, ask.id);

    free(ctx);
    if (ask.a->ships != NULL) {
        ask.a->ships->estimates_count--;
    }
    if (s == NULL || !is_sent(s)) {
        return;
    }
    if (rep->rc != ZB_OK) { /* how much it is stays unknown */
        zb_log_debug("%s to %s: estimate: %s", zb_ship_service(s), zb_ship_node(s), rep->msg);
        return;
    }
    s->estimate.bytes += rep->bytes;
    s->estimate.chain++;
    s->estimate.known = s->estimate.chain == s->plan.chains_count;
    if (!s->estimate.known) {
        chain_ask(s);
    }
}

/* One after the other: the keeper's threads are for the streams. */
static void
chain_ask(struct zb_ship *s)
{
    const struct zb_ship_chain *c = &s->plan.chains[s->estimate.chain];
    struct zb_kreq req = {.op = ZB_KOP_ESTIMATE,
                          .guid = c->steps[c->steps_count - 1].guid,
                          .from_guid = c->steps[0].from_guid,
                          .count = c->steps_count};
    struct ask *ask = zb_must_alloc(1, sizeof *ask);

    *ask = (struct ask){.a = s->a, .id = s->id};
    zb_strcopy(req.service, sizeof req.service, zb_ship_service(s));
    zb_strcopy(req.rel, sizeof req.rel, c->rel);
    zb_strcopy(req.token, sizeof req.token, c->token);
    s->a->ships->estimates_count++;
    (void)zb_keeper_client_call(s->a->keeper, &req,
                                &(struct zb_keeper_call){.on_reply = on_estimate, .ctx = ask});
}

void
zb_ship_estimate_begin(struct zb_ship *s)
{
    s->estimate =
        (struct zb_ship_estimate){.planned = zb_mono_now(), .before_bytes = bytes_done(s)};
}

void
zb_ship_estimate_step(struct zb_ship *s, struct zb_mono now)
{
    struct zb_ship_estimate *e = &s->estimate;

    if (!is_sent(s)) {
        return;
    }
    zb_progress_note(&s->progress, now.ms, bytes_done(s));
    if (!e->asked && s->jobs_count > 0 && s->state == ZB_SHIP_STREAMING &&
        now.ms - e->planned.ms >= ASKED_AFTER_MS && s->a->ships->estimates_count < ASKED_MAX) {
        e->asked = true;
        chain_ask(s);
    }
}

/* --- what it looks like --- */

static struct zb_agent_ship_view
ship_view(const struct zb_ship *s)
{
    int64_t now_ms = zb_mono_now().ms;
    struct zb_agent_ship_view view = {.bytes_done = bytes_done(s),
                                      .elapsed_ms = now_ms - s->started.ms};

    if (s->estimate.known) {
        view.bytes_total = s->estimate.before_bytes + s->estimate.bytes;
    }
    view.rate = zb_progress_rate(&s->progress, now_ms, view.bytes_done);
    view.left_s = zb_progress_left_s(view.bytes_done, view.bytes_total, view.rate);
    return view;
}

bool
zb_agent_ship_view(const struct zb_agent *a, uint64_t ship_id, struct zb_agent_ship_view *view)
{
    for (const struct zb_ship *s = a->ships->head; s != NULL; s = s->next) {
        if (s->action_id == ship_id) {
            *view = ship_view(s);
            return true;
        }
    }
    return false;
}

void
zb_ships_each(const struct zb_agent *a, void (*visit)(void *ctx, const struct zb_ship_look *look),
              void *ctx)
{
    for (const struct zb_ship *s = a->ships->head; s != NULL; s = s->next) {
        if (s->state != ZB_SHIP_WAITING) {
            struct zb_ship_look look = {
                .service = s->service, .node = s->node, .set = s->set.id, .view = ship_view(s)};
            visit(ctx, &look);
        }
    }
}
