#include "agent/fence.h"

#include <inttypes.h>

#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/must.h"

#define SLACK_MS 15000 /* beyond the timeout, for the keeper to end what does not end */

struct ask {
    struct zb_fence_ask a;
    uint64_t asked; /* place in the order of asks and runs */
    uint64_t run;   /* that it waits for; 0: for one to begin */
    struct ask *next;
};

/* Of one node. */
struct run {
    uint64_t begun; /* place in that order; 0: none is under way */
    uint64_t keeper_id;
    bool canceled;
};

struct zb_fences {
    uint64_t order;
    struct ask *asks; /* in the order they were asked */
    struct run runs[ZB_NODES_MAX];
};

/* Of a request to the keeper. */
struct call {
    struct zb_agent *a;
    uint8_t node;
    uint64_t begun;
};

struct zb_fences *
zb_fences_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_fences));
}

void
zb_fences_free(struct zb_fences *f)
{
    while (f != NULL && f->asks != NULL) {
        struct ask *next = f->asks->next;
        free(f->asks);
        f->asks = next;
    }
    free(f);
}

bool
zb_fence_configured(const struct zb_agent *a)
{
    return a->conf->fence_command[0] != '\0';
}

static int64_t
run_ms(const struct zb_agent *a)
{
    return (int64_t)a->conf->fence_timeout_ms + SLACK_MS;
}

/* As far as its reports tell. */
static bool
has_granted(const struct zb_agent *a, const struct zb_fence_ask *ask)
{
    struct zb_core_view view;

    zb_core_view(a->core, ask->service, &view);
    return view.peers[ask->node].known && view.peers[ask->node].report.granted_term >= ask->term;
}

/* The ask that a run could begin for, or NULL. */
static struct ask *
waiting_find(const struct zb_agent *a, uint8_t node)
{
    struct ask *ask = a->fences->asks;

    while (ask != NULL && (ask->a.node != node || ask->run != 0 || has_granted(a, &ask->a))) {
        ask = ask->next;
    }
    return ask;
}

static bool
is_waited_for(const struct zb_fences *f, uint64_t run)
{
    const struct ask *ask = f->asks;

    while (ask != NULL && ask->run != run) {
        ask = ask->next;
    }
    return ask != NULL;
}

/* --- runs --- */

static void on_reply(void *ctx, const struct zb_krep *rep);

/* The one ask that has this run and was not told of it yet is told; all are, one by one, because a
 * callback may drop any of them. */
static void
begun_tell(struct zb_agent *a, uint64_t begun)
{
    struct ask *ask = a->fences->asks;

    for (uint64_t told = 0; ask != NULL;) {
        if (ask->run == begun && ask->asked > told) {
            told = ask->asked;
            ask->a.on_wait(ask->a.ctx, ask->a.node, true, run_ms(a));
            ask = a->fences->asks;
        } else {
            ask = ask->next;
        }
    }
}

static void
run_begin(struct zb_agent *a, uint8_t node)
{
    struct zb_fences *f = a->fences;
    struct run *run = &f->runs[node];
    const struct ask *first = a->nodes[node].up || run->begun != 0 ? NULL : waiting_find(a, node);
    struct zb_kreq req = {.op = ZB_KOP_FENCE};

    if (first == NULL) {
        return;
    }
    struct call *call = zb_must_alloc(1, sizeof(*call));
    *run = (struct run){.begun = ++f->order};
    *call = (struct call){.a = a, .node = node, .begun = run->begun};
    req.term = first->a.term;
    req.text = a->cluster_name;
    zb_strcopy(req.service, sizeof(req.service), a->services[first->a.service].conf.name);
    zb_strcopy(req.node, sizeof(req.node), a->nodes[node].name);
    for (struct ask *ask = f->asks; ask != NULL; ask = ask->next) {
        if (ask->a.node == node && ask->run == 0 && !has_granted(a, &ask->a)) {
            ask->run = run->begun;
        }
    }
    run->keeper_id = zb_keeper_client_call(
        a->keeper, &req, &(struct zb_keeper_call){.on_reply = on_reply, .ctx = call});
    begun_tell(a, call->begun);
}

static void
run_cancel(struct zb_agent *a, uint8_t node)
{
    struct run *run = &a->fences->runs[node];

    if (run->begun != 0 && !run->canceled) {
        run->canceled = true;
        zb_keeper_client_cancel(a->keeper, run->keeper_id);
    }
}

/* Takes the first ask that waits for this run, or NULL. */
static struct ask *
ask_take(struct zb_fences *f, uint64_t begun)
{
    struct ask **at = &f->asks;

    while (*at != NULL && (*at)->run != begun) {
        at = &(*at)->next;
    }
    struct ask *ask = *at;
    if (ask != NULL) {
        *at = ask->next;
    }
    return ask;
}

static void
on_reply(void *ctx, const struct zb_krep *rep)
{
    struct call call = *(struct call *)ctx;
    struct zb_agent *a = call.a;
    char text[800];
    struct ask *ask;

    free(ctx);
    a->fences->runs[call.node] = (struct run){0};
    (void)snprintf(text, sizeof(text), "%s%s%s%s", rep->msg, rep->hint[0] != '\0' ? " (" : "",
                   rep->hint, rep->hint[0] != '\0' ? ")" : "");
    while (!a->stopping && (ask = ask_take(a->fences, call.begun)) != NULL) {
        struct zb_fence_ask told = ask->a;
        free(ask);
        told.on_end(told.ctx, told.node, told.term, (enum zb_rc)rep->rc, text);
    }
    if (!a->stopping) {
        run_begin(a, call.node);
    }
}

/* --- asks --- */

void
zb_fence_start(struct zb_agent *a, const struct zb_fence_ask *ask)
{
    struct zb_fences *f = a->fences;
    struct ask **at = &f->asks;
    struct ask *one = zb_must_alloc(1, sizeof(*one));

    *one = (struct ask){.a = *ask, .asked = ++f->order};
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = one;
    if (f->runs[ask->node].begun == 0) {
        run_begin(a, ask->node);
    } else { /* that one began before the ask: its exit says nothing about it (M4) */
        ask->on_wait(ask->ctx, ask->node, false, 2 * run_ms(a));
    }
}

void
zb_fence_drop(struct zb_agent *a, const void *ctx)
{
    struct zb_fences *f = a->fences;

    for (struct ask **at = &f->asks; *at != NULL;) {
        struct ask *ask = *at;
        if (ask->a.ctx == ctx) {
            *at = ask->next;
            free(ask);
        } else {
            at = &ask->next;
        }
    }
    for (uint8_t node = 0; node < ZB_NODES_MAX; node++) {
        if (f->runs[node].begun != 0 && !is_waited_for(f, f->runs[node].begun)) {
            run_cancel(a, node);
        }
    }
}

void
zb_fence_peer_up(struct zb_agent *a, uint8_t node)
{
    for (struct ask *ask = a->fences->asks; ask != NULL; ask = ask->next) {
        if (ask->a.node == node) {
            ask->run = 0;
        }
    }
    run_cancel(a, node);
}

void
zb_fence_peer_down(struct zb_agent *a, uint8_t node)
{
    run_begin(a, node);
}
