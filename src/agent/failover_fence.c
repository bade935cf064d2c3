#include "agent/failover_fence.h"

#include "agent/fence.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/request.h"
#include "agent/steps.h"

static const char *
node_name(const struct zb_failover_fence *f, uint8_t node)
{
    return node == ZB_NODE_WITNESS    ? "etcd"
           : node < f->a->nodes_count ? f->a->nodes[node].name
                                      : "";
}

/* --- what it would do --- */

/* Who may have to be fenced, as far as it is known before anybody granted. */
static uint32_t
suspects(const struct zb_failover_fence *f)
{
    struct zb_core_view view;
    uint32_t bits;

    zb_core_view(f->a->core, f->service, &view);
    bits = view.obs.suspects;
    if (f->source < ZB_NODES_MAX) {
        bits |= UINT32_C(1) << f->source;
    }
    return bits & ~f->said & ~(UINT32_C(1) << f->a->self);
}

void
zb_failover_fence_calls(const struct zb_failover_fence *f, char *buf, size_t size)
{
    const struct zb_agent *a = f->a;
    uint32_t bits = suspects(f);

    if (!f->by_command) {
        (void)snprintf(buf, size,
                       "operator: power it off, then zbaton failover --fenced NODE (or "
                       "the answer on the terminal)");
        return;
    }
    buf[0] = '\0';
    for (uint8_t n = 0; n < a->nodes_count; n++) {
        if ((bits & UINT32_C(1) << n) != 0 || (bits == 0 && n == 0)) {
            size_t used = strlen(buf);
            (void)snprintf(buf + used, size - used, "%s%s: %s %s", used > 0 ? "; " : "",
                           node_name(f, a->self), a->conf->fence_command,
                           bits == 0 ? "NODE" : node_name(f, n));
        }
    }
}

json_t *
zb_failover_fence_plan(const struct zb_failover_fence *f)
{
    const struct zb_agent *a = f->a;
    uint32_t bits = suspects(f);
    json_t *plan, *nodes;

    if (!f->by_command) {
        return json_null();
    }
    plan = zb_must(json_object());
    nodes = zb_json_array_new();
    for (uint8_t n = 0; n < a->nodes_count; n++) {
        if ((bits & UINT32_C(1) << n) != 0) {
            zb_json_append(nodes, zb_json_text(node_name(f, n)));
        }
    }
    zb_json_put(plan, "on", zb_json_text(node_name(f, a->self)));
    zb_json_put(plan, "command", zb_json_text(a->conf->fence_command));
    zb_json_put(plan, "timeout_ms", zb_json_int(a->conf->fence_timeout_ms));
    zb_json_put(plan, "nodes", nodes);
    return plan;
}

/* --- what it does --- */

static void
fence_ask(struct zb_failover_fence *f, uint8_t node, uint64_t term)
{
    json_t *line = zb_must(json_object());

    zb_json_put(line, "need", zb_json_text("fenced"));
    zb_json_put(line, "node", zb_json_text(node_name(f, node)));
    zb_json_put(line, "term", zb_json_int((int64_t)term));
    zb_json_put(line, "to", zb_json_text(node_name(f, f->a->self)));
    zb_request_progress(f->r, line);
}

static void
fence_note(struct zb_failover_fence *f, uint8_t node, const char *text)
{
    json_t *line = zb_steps_note(&zb_steps_failover, ZB_FAILOVER_FENCE, "note", text, 0);

    zb_json_put(line, "node", zb_json_text(node_name(f, node)));
    zb_request_progress(f->r, line);
}

static void
on_waits(void *ctx, const struct zb_action *reply)
{
    (void)ctx;
    (void)reply; /* stale: it has ended, or waits in another term and is told anew */
}

/* How long the core waits for the suspects that are left, from now on. May end f. */
static void
fence_wait(struct zb_failover_fence *f, int64_t wait_ms)
{
    struct zb_agent_command command = {.kind = ZB_CMD_FENCE_WAIT,
                                       .service = f->service,
                                       .term = f->term,
                                       .wait_ms = wait_ms,
                                       .who = f->r->who,
                                       .on_reply = on_waits};

    zb_agent_command_start(f->a, &command);
}

static void
on_fence_wait(void *ctx, uint8_t node, bool runs, int64_t wait_ms)
{
    struct zb_failover_fence *f = ctx;
    const struct zb_agent *a = f->a;
    int64_t until_ms = zb_mono_now().ms + (wait_ms > f->wait_ms ? wait_ms : f->wait_ms);
    char text[ZB_PATH_SIZE + 256];

    f->runs |= UINT32_C(1) << node;
    f->until_ms = until_ms > f->until_ms ? until_ms : f->until_ms;
    if (runs) {
        (void)snprintf(text, sizeof text, "%s runs %s %s", node_name(f, a->self),
                       a->conf->fence_command, node_name(f, node));
    } else {
        (void)snprintf(text, sizeof text, "%s waits for the fence command that runs for %s already",
                       node_name(f, a->self), node_name(f, node));
    }
    fence_note(f, node, text);
    fence_wait(f, f->until_ms - zb_mono_now().ms);
}

static void
on_fence_end(void *ctx, uint8_t node, uint64_t term, enum zb_rc rc, const char *text)
{
    struct zb_failover_fence *f = ctx;
    struct zb_fenced fenced = {.service = f->service,
                               .node = node,
                               .term = term,
                               .by = ZB_FENCED_BY_COMMAND,
                               .who = f->r->who};

    f->runs &= ~(UINT32_C(1) << node);
    if (rc == ZB_OK) {
        zb_fenced_tell(f->a, &fenced); /* may end f */
        return;
    }
    zb_agent_event(f->a, ZB_LOG_WARNING, f->a->services[f->service].conf.name, "A-fence-failed",
                   "%s is not known to be off: %s", node_name(f, node), text);
    (void)snprintf(f->why_not, sizeof f->why_not, "%s", text);
    fence_note(f, node, text);
    fence_ask(f, node, term);
    if (f->runs == 0) {
        f->until_ms = 0;
        fence_wait(f, f->wait_ms);
    }
}

/* Asked for after a majority has granted the term, so that what was read since counts (M4). */
static void
on_read(void *ctx)
{
    struct zb_failover_fence *f = ctx;

    for (uint32_t n = 0; n < f->a->nodes_count; n++) {
        struct zb_fenced fenced = {.service = f->service,
                                   .node = (uint8_t)n,
                                   .term = f->term,
                                   .by = ZB_FENCED_BY_SESSION,
                                   .who = f->r->who};
        /* One that is connected answers by itself, and is said to be off when it is not any more.
         */
        if ((f->asked & UINT32_C(1) << n) != 0 && !f->a->nodes[n].up &&
            zb_heart_is_fenced(f->a, (uint8_t)n, f->asked_at)) {
            f->asked &= ~(UINT32_C(1) << n);
            zb_fenced_tell(f->a, &fenced);
            return; /* f may have ended with it; the others at the next reading */
        }
    }
}

static void
session_read(struct zb_failover_fence *f)
{
    f->reader.on_read = on_read;
    f->reader.ctx = f;
    f->asked_at = zb_mono_now();
    zb_heart_subscribe(f->a, &f->reader);
    zb_heart_hurry(f->a);
}

static void
fence_begin(struct zb_failover_fence *f, uint8_t node, uint64_t term)
{
    struct zb_agent *a = f->a;
    struct zb_fenced fenced = {.service = f->service, .node = node, .term = term, .who = f->r->who};
    struct zb_fence_ask ask = {.service = f->service,
                               .node = node,
                               .term = term,
                               .on_wait = on_fence_wait,
                               .on_end = on_fence_end,
                               .ctx = f};

    if ((f->said & UINT32_C(1) << node) != 0) {
        /* Said with the command: it holds for this term, and is told now that a majority has
         * granted it (M4). */
        zb_fenced_tell(a, &fenced);
        return;
    }
    if (!f->by_command || a->nodes[node].up) { /* one that is connected is not fenced */
        fence_ask(f, node, term);
    }
    if (f->by_command) {
        zb_fence_start(a, &ask);
    }
}

/* What was asked for in an earlier term counts no more (M4), nor do those of a step that ended. */
static void
fence_forget(struct zb_failover_fence *f)
{
    zb_fence_drop(f->a, f);
    f->asked = 0;
    f->runs = 0;
    f->until_ms = 0;
}

void
zb_failover_fence_step(struct zb_failover_fence *f, const struct zb_action *s)
{
    if (s->phase == ZB_STEP_END || (s->phase == ZB_STEP_BEGIN && s->term != f->term)) {
        fence_forget(f);
        f->term = s->term;
    }
    if (s->phase == ZB_STEP_BEGIN && s->node < f->a->nodes_count) {
        f->asked |= UINT32_C(1) << s->node;
        session_read(f);
        fence_begin(f, s->node, s->term);
    }
}

void
zb_failover_fence_close(struct zb_failover_fence *f)
{
    zb_fence_drop(f->a, f);
    zb_heart_unsubscribe(f->a, &f->reader);
}
