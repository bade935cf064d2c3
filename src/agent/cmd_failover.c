/*
 * failover: this node takes the lead by an operator's order. What it would lose is said
 * first (loss.h); the core's steps are told as lines.
 */
#include <inttypes.h>

#include "agent/failover_fence.h"
#include "agent/fence.h"
#include "agent/heart.h"
#include "agent/help.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/loss_json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/request.h"
#include "agent/steps.h"

#define WAIT_MS 5000               /* for suspects to grant, where nobody can be asked */
#define WAIT_INTERACTIVE_MS 600000 /* ... where an operator is asked to fence them */

struct failover {
    struct zb_agent *a;
    struct zb_request *r; /* gone when it is answered */
    uint16_t service;
    bool dry_run;
    uint8_t source; /* the last leader; ZB_NODE_NONE: none is known */
    uint64_t next;  /* 0: not chosen yet */
    struct zb_failover_fence fence;
    struct zb_set_ref fork;
    struct zb_loss loss;
    char lost[256];
    bool lost_told; /* by a term of this order that was recorded: a later one adds nothing */
};

static const char *
service_name(const struct failover *f)
{
    return f->a->services[f->service].conf.name;
}

static const char *
node_name(const struct failover *f, uint8_t node)
{
    return node < f->a->nodes_count ? f->a->nodes[node].name : "";
}

static void
failover_free(struct failover *f)
{
    zb_failover_fence_close(&f->fence);
    zb_loss_close(&f->loss);
    free(f);
}

static void
words_fill(const struct failover *f, uint64_t bytes, struct zb_step_texts *x)
{
    uint64_t known = f->loss.term > f->a->recovered.term ? f->loss.term : f->a->recovered.term;
    struct zb_step_subject subject = {.service = f->service,
                                      .source = f->source,
                                      .target = f->a->self,
                                      .set = f->fork.id,
                                      .bytes = bytes,
                                      .term = f->loss.term,
                                      .next = f->next != 0 ? f->next : known + 1};

    zb_step_words_fill(f->a, &subject, x);
    zb_failover_fence_calls(&f->fence, x->fence, sizeof x->fence);
}

static json_t *
statement_json(const struct failover *f)
{
    json_t *statement = zb_loss_json(&f->loss);

    zb_json_put(statement, "fence", zb_failover_fence_plan(&f->fence));
    return statement;
}

/* --- progress --- */

static void
step_text(const struct failover *f, const struct zb_action *s, char *buf, size_t size)
{
    struct zb_step_texts words;

    if (s->text[0] != '\0') {
        (void)snprintf(buf, size, "%s", s->text);
    } else if (s->step == ZB_FAILOVER_FENCE && s->phase == ZB_STEP_BEGIN) {
        (void)snprintf(buf, size, "%s may still be writing and does not answer",
                       node_name(f, s->node));
    } else if (s->step == ZB_FAILOVER_FORWARD && s->phase == ZB_STEP_BEGIN) {
        (void)snprintf(buf, size, "set %" PRIu64 "/%" PRIu64 " from %s", s->set.id.term,
                       s->set.id.seq, node_name(f, s->node));
    } else if (s->phase == ZB_STEP_END) {
        words_fill(f, s->bytes, &words);
        zb_steps_done(&zb_steps_failover, s->step, &words.w, buf, size);
    }
}

static void
on_step(void *ctx, const struct zb_action *s)
{
    struct failover *f = ctx;
    char text[512] = "";

    f->next = s->term > f->loss.term ? s->term : f->next;
    if (!zb_set_id_is_none(s->set.id)) {
        f->fork = s->set;
    }
    step_text(f, s, text, sizeof text);
    json_t *line = zb_steps_progress(&zb_steps_failover, s->step, s->phase, text, s->elapsed_ms);
    zb_json_put(line, "node", zb_json_text(node_name(f, s->node)));
    zb_json_put(line, "bytes", zb_json_int((int64_t)s->bytes));
    zb_request_progress(f->r, line);
    if (s->step == ZB_FAILOVER_FENCE && s->phase == ZB_STEP_BEGIN) {
        zb_loss_suspect(&f->loss, node_name(f, s->node));
    }
    if (s->step == ZB_FAILOVER_FENCE) {
        zb_failover_fence_step(&f->fence, s);
    }
}

/* What the history keeps of the loss, now that the set is known that the term goes on from. A
 * leader that takes its own service again goes on with all that it wrote. */
static void
on_term(void *ctx, const struct zb_action *term, char *lost, size_t size)
{
    struct failover *f = ctx;
    const struct zb_manifest *m = NULL;

    f->fork = term->set;
    if (term->reason != ZB_TERM_FAILOVER) {
        if (!f->lost_told) {
            zb_strcopy(f->lost, sizeof f->lost, "nothing");
        }
        return;
    }
    if (!zb_set_id_is_none(term->set.id)) {
        m = zb_position_manifest(f->a, f->service, term->set.id);
    }
    zb_loss_text(&f->loss, term->set.id, m != NULL ? m->time.s : -1, f->lost, sizeof f->lost);
    (void)snprintf(lost, size, "%s", f->lost);
    f->lost_told = true;
}

/* --- the end --- */

static bool
rule_is(const struct zb_action *reply, const char *rule)
{
    return reply->rule != NULL && strcmp(reply->rule, rule) == 0;
}

static json_t *
result_json(const struct failover *f, const struct zb_action *reply)
{
    json_t *data = zb_must(json_object());

    if (f->dry_run) {
        struct zb_step_texts words;
        words_fill(f, 0, &words);
        zb_json_put(data, "statement", statement_json(f));
        zb_json_put(data, "steps", zb_steps_plan(&zb_steps_failover, &words.w));
        return data;
    }
    uint64_t term = reply->term != 0 ? reply->term : f->next;
    zb_json_put(data, "to", zb_json_text(node_name(f, f->a->self)));
    zb_json_put(data, "term", zb_json_int((int64_t)term));
    zb_json_put(data, "from_set", zb_json_set_id(f->fork.id));
    zb_json_put(data, "lost", zb_json_text(f->lost));
    zb_json_put(data, "background", zb_json_bool(reply->rc == ZB_E_TIMEOUT));
    zb_json_put(data, "degraded", zb_json_bool(rule_is(reply, "C-failover-degraded")));
    zb_json_put(data, "text", zb_json_text(reply->text));
    return data;
}

/* "vm1,vm3": those that are still asked about. */
static void
asked_names(const struct failover *f, char *buf, size_t size)
{
    buf[0] = '\0';
    for (uint32_t n = 0; n < f->a->nodes_count; n++) {
        if ((f->fence.asked & (UINT32_C(1) << n)) != 0) {
            size_t used = strlen(buf);
            (void)snprintf(buf + used, size - used, "%s%s", used > 0 ? "," : "",
                           node_name(f, (uint8_t)n));
        }
    }
}

/* The command that helps, by the rule that refused. */
static enum zb_rc
hint_set(const struct failover *f, const struct zb_action *reply, struct zb_err *err)
{
    const char *service = service_name(f);
    const char *self = node_name(f, f->a->self);
    char names[128];
    char help[ZB_HELP_SIZE];

    asked_names(f, names, sizeof names);
    if (rule_is(reply, "C-failover-suspect") && names[0] != '\0') {
        return zb_err_hint(err, "power %s off, then: zbaton failover --fenced %s --to %s %s", names,
                           names, self, service);
    }
    if (zb_help_find(reply->rule, service, help)) {
        return zb_err_hint(err, "%s", help);
    }
    return zb_err_hint(err, "zbaton status %s; zbaton events %s", service, service);
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct failover *f = ctx;
    struct zb_err err;
    bool goes_on = reply->rc == ZB_E_TIMEOUT && rule_is(reply, "C-failover-in-background");

    if ((f->dry_run || rule_is(reply, "C-failover-frozen")) &&
        zb_request_frozen(f->r, f->service, "C-failover-frozen")) {
        failover_free(f); /* by whom and why is said, before anything else that is in the way */
        return;
    }
    if (reply->rc == ZB_OK || goes_on) {
        zb_request_done(f->r, result_json(f, reply));
    } else {
        bool unfenced = rule_is(reply, "C-failover-suspect") && f->fence.why_not[0] != '\0';
        zb_err_set(&err, reply->rc, "%s to %s: %s%s%s", service_name(f), node_name(f, f->a->self),
                   reply->text, unfenced ? "; " : "", unfenced ? f->fence.why_not : "");
        hint_set(f, reply, &err);
        zb_request_fail(f->r, &err, reply->rule);
    }
    failover_free(f);
}

/* --- beginning --- */

/* Bits of the nodes in args.fenced. */
static enum zb_rc
fenced_read(const struct zb_request *r, uint32_t *bits, struct zb_err *err)
{
    size_t i;
    json_t *item;

    *bits = 0;
    json_array_foreach(json_object_get(r->args, "fenced"), i, item)
    {
        const char *name = json_is_string(item) ? json_string_value(item) : "";
        uint8_t node = zb_agent_node_find(r->a, name);
        if (node == ZB_NODE_NONE) {
            return zb_agent_no_node(name, err);
        }
        *bits |= UINT32_C(1) << node;
    }
    return ZB_OK;
}

static bool
any_passed_over(const struct zb_loss *loss)
{
    bool any = false;

    for (uint32_t i = 0; i < loss->members_count; i++) {
        any = any || loss->members[i].undrilled || loss->members[i].drained ||
              loss->members[i].keyless;
    }
    return any;
}

/* Who shall take the lead: args.to, or the one that holds the newest set. ZB_LOSS_NONE with *err.
 */
static uint32_t
candidate_find(const struct zb_request *r, const struct zb_loss *loss, struct zb_err *err)
{
    const char *to = zb_request_text(r, "to");
    uint32_t index = to[0] != '\0' ? zb_loss_member_find(loss, to) : zb_loss_choose(loss);

    if (index != ZB_LOSS_NONE) {
        return index;
    }
    if (to[0] == '\0') {
        zb_err_set(err, ZB_E_REFUSED, "no reachable member that could lead %s%s holds a set of it",
                   loss->service,
                   any_passed_over(loss)
                       ? ", other than those that are drained, have not its key, or whose last "
                         "drill failed,"
                       : "");
        zb_err_hint(err, "zbaton status %s; --to names one anyway", loss->service);
    } else if (zb_agent_node_find(r->a, to) == ZB_NODE_NONE) {
        (void)zb_agent_no_node(to, err);
    } else {
        zb_err_set(err, ZB_E_REFUSED, "%s is no member of %s", to, loss->service);
        zb_err_hint(err, "zbaton config show names its members; zbaton apply adds one");
    }
    return ZB_LOSS_NONE;
}

/* To the node that carries it out; false when that is this one. */
static bool
passed_on(struct zb_request *r, const struct zb_loss *loss)
{
    const char *to = loss->members[loss->to].node;
    uint8_t node = zb_agent_node_find(r->a, to);
    struct zb_err err;

    if (node == r->a->self) {
        return false;
    }
    if (r->from_peer || node == ZB_NODE_NONE) {
        zb_err_set(&err, ZB_E_STALE, "this is not %s", to);
        zb_err_hint(&err, "repeat the command");
        zb_request_fail(r, &err, NULL);
        return true;
    }
    zb_json_put(r->args, "to", zb_json_text(to));
    zb_json_put(r->args, "chosen", zb_json_bool(loss->chosen));
    zb_forward_request(r, node);
    return true;
}

/* The world has not moved on since the operator looked at it. */
static enum zb_rc
term_check(const struct zb_request *r, const struct zb_loss *loss, struct zb_err *err)
{
    int64_t seen = zb_request_int(r, "as_of_term", -1);

    if (seen < 0 || (uint64_t)seen == loss->term) {
        return ZB_OK;
    }
    zb_err_set(err, ZB_E_REFUSED, "%s is in term %" PRIu64 " now, not in term %" PRId64,
               loss->service, loss->term, seen);
    return zb_err_hint(err, "look again: zbaton failover -n %s", loss->service);
}

static void
failover_run(struct failover *f)
{
    struct zb_request *r = f->r;
    json_t *line = zb_must(json_object());
    struct zb_agent_command command = {.kind = ZB_CMD_FAILOVER,
                                       .service = f->service,
                                       .node = r->a->self,
                                       .dry_run = f->dry_run,
                                       .allow_loss = zb_request_bool(r, "allow_loss"),
                                       .automatic = zb_request_bool(r, "automatic"),
                                       .wait_ms = f->fence.wait_ms,
                                       .who = r->who,
                                       .on_step = on_step,
                                       .on_term = on_term,
                                       .on_reply = on_reply,
                                       .ctx = f};

    zb_loss_find(&f->loss);
    f->fork = f->loss.base;
    command.set = f->loss.base; /* what the loss was judged by, where it is automatic */
    (void)snprintf(f->lost, sizeof f->lost, "%s", f->loss.lost);
    zb_json_put(line, "statement", statement_json(f));
    zb_request_progress(r, line);
    zb_agent_command_start(r->a, &command);
}

void
zb_cmd_failover(struct zb_request *r)
{
    uint16_t service = zb_request_service(r);
    struct zb_core_view view;
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    bool dry_run = zb_request_bool(r, "dry_run"); /* its statement comes first, frozen or not */
    if (!dry_run && zb_request_frozen(r, service, "C-failover-frozen")) {
        return;
    }
    struct failover *f = zb_must_alloc(1, sizeof *f);
    *f = (struct failover){.a = r->a, .r = r, .service = service, .dry_run = dry_run};
    zb_core_view(r->a->core, service, &view);
    zb_loss_gather(r->a, service, &view, &f->loss);
    f->source = view.leader != ZB_NODE_NONE ? view.leader : view.obs.learned_leader;
    f->fence = (struct zb_failover_fence){
        .a = r->a,
        .r = r,
        .service = service,
        .source = f->source,
        .by_command = zb_fence_configured(r->a) && !zb_request_bool(r, "no_fence_command"),
        .wait_ms = zb_request_bool(r, "interactive")  ? WAIT_INTERACTIVE_MS
                   : zb_heart_wait_ms(r->a) > WAIT_MS ? zb_heart_wait_ms(r->a)
                                                      : WAIT_MS};
    f->loss.chosen = zb_request_text(r, "to")[0] == '\0' || zb_request_bool(r, "chosen");
    f->loss.to = candidate_find(r, &f->loss, &err);
    if (f->loss.to == ZB_LOSS_NONE || fenced_read(r, &f->fence.said, &err) != ZB_OK ||
        term_check(r, &f->loss, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        failover_free(f);
    } else if (passed_on(r, &f->loss)) {
        failover_free(f);
    } else {
        failover_run(f);
    }
}
