/*
 * move: the core's steps as lines for the operator.
 */
#include "agent/help.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/place.h"
#include "agent/progress.h"
#include "agent/request.h"
#include "agent/steps.h"

#define BYTES_MS 1000 /* between two lines about a send under way */

struct move {
    struct zb_request *r;
    uint16_t service;
    uint8_t target;
    bool dry_run;
    uint8_t step; /* under way, 0 before the first */
    uint32_t stop_ms;
    uint32_t start_ms;
    uint64_t term; /* the source's */
    uint64_t next; /* the target's; 0: not chosen yet */
    struct zb_set_id final_set;
    uv_timer_t timer;
};

static void
words_fill(const struct move *m, uint64_t bytes, struct zb_step_texts *x)
{
    const struct zb_agent *a = m->r->a;
    struct zb_core_view view;
    struct zb_step_subject subject = {.service = m->service,
                                      .source = a->self,
                                      .target = m->target,
                                      .set = m->final_set,
                                      .bytes = bytes,
                                      .term = m->term,
                                      .next = m->next != 0 ? m->next : m->term + 1};

    zb_core_view(a->core, m->service, &view);
    if (zb_set_id_is_none(subject.set)) {
        subject.set = view.peers[m->target].report.set.id;
    }
    zb_step_words_fill(a, &subject, x);
}

/* --- progress --- */

static void
on_step(void *ctx, const struct zb_action *s)
{
    struct move *m = ctx;
    struct zb_step_texts words;
    char text[512];

    m->step = s->phase == ZB_STEP_BEGIN ? s->step : 0;
    if (s->step >= 4 && !zb_set_id_is_none(s->set.id)) {
        m->final_set = s->set.id;
    }
    m->next = s->term > m->term ? s->term : m->next;
    if (s->step == 3 && s->phase == ZB_STEP_END) {
        m->stop_ms = s->elapsed_ms;
    } else if (s->step == 8 && s->phase == ZB_STEP_END) {
        m->start_ms = s->elapsed_ms;
    }
    (void)snprintf(text, sizeof text, "%s", s->text);
    if (s->phase == ZB_STEP_END && text[0] == '\0') {
        words_fill(m, s->bytes, &words);
        zb_steps_done(&zb_steps_move, s->step, &words.w, text, sizeof text);
    }
    json_t *line = zb_steps_progress(&zb_steps_move, s->step, s->phase, text, s->elapsed_ms);
    zb_json_put(line, "bytes", zb_json_int((int64_t)s->bytes));
    zb_request_progress(m->r, line);
}

/* A line about the send to the target while a step waits for it. */
static void
on_timer(uv_timer_t *timer)
{
    struct move *m = timer->data;
    struct zb_agent *a = m->r->a;
    struct zb_agent_ship_view ship;
    struct zb_core_view view;

    if (m->step == 0) {
        return;
    }
    zb_core_view(a->core, m->service, &view);
    uint64_t id = view.peers[m->target].ship_id;
    if (id == 0 || !zb_agent_ship_view(a, id, &ship)) {
        return;
    }
    json_t *line = zb_steps_note(&zb_steps_move, m->step, "bytes", "", ship.elapsed_ms);
    zb_progress_put(line, &ship);
    zb_request_progress(m->r, line);
}

/* --- the end --- */

static void
on_timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

static json_t *
result_json(const struct move *m, const struct zb_action *reply)
{
    json_t *data = zb_must(json_object());

    if (m->dry_run) {
        struct zb_step_texts words;
        struct zb_core_view view;
        zb_core_view(m->r->a->core, m->service, &view);
        words_fill(m, view.obs.written_bytes, &words);
        zb_json_put(data, "steps", zb_steps_plan(&zb_steps_move, &words.w));
        return data;
    }
    bool background = reply->rc == ZB_E_TIMEOUT;
    zb_json_put(data, "term", zb_json_int((int64_t)reply->term));
    zb_json_put(data, "background", zb_json_bool(background));
    zb_json_put(data, "degraded",
                zb_json_bool(reply->rule != NULL && strcmp(reply->rule, "C-move-degraded") == 0));
    zb_json_put(data, "text", zb_json_text(reply->text));
    if (!background) {
        zb_json_put(data, "down_ms", zb_json_int(reply->down_ms));
        zb_json_put(data, "own_ms", zb_json_int(reply->own_ms));
        zb_json_put(data, "stop_ms", zb_json_int(m->stop_ms));
        zb_json_put(data, "start_ms", zb_json_int(m->start_ms));
    }
    return data;
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct move *m = ctx;
    const struct zb_agent *a = m->r->a;
    char help[ZB_HELP_SIZE];
    struct zb_err err;
    /* Released, but not started there yet: neither done nor failed. */
    bool goes_on = reply->rc == ZB_E_TIMEOUT && reply->rule != NULL &&
                   strcmp(reply->rule, "C-move-in-background") == 0;

    if (reply->rc == ZB_OK || goes_on) {
        zb_request_done(m->r, result_json(m, reply));
    } else {
        const char *name = a->services[m->service].conf.name;
        zb_err_set(&err, reply->rc, "%s to %s: %s", name, a->nodes[m->target].name, reply->text);
        if (zb_help_find(reply->rule, name, help)) {
            zb_err_hint(&err, "%s", help);
        } else {
            zb_err_hint(&err, "zbaton status %s", name);
        }
        zb_request_fail(m->r, &err, reply->rule);
    }
    uv_close((uv_handle_t *)&m->timer, on_timer_closed);
}

/* What the core does not know of stands in the way; false: nothing does. */
static bool
refuse(struct zb_request *r, uint16_t service, uint8_t target)
{
    const char *name = r->a->services[service].conf.name;
    const char *node = r->a->nodes[target].name;
    char text[ZB_PLACE_REFUSAL_SIZE];
    struct zb_err err;
    const char *rule = zb_place_refusal(r->a, service, target, text);

    if (rule == NULL) {
        return false;
    }
    (void)zb_err_set(&err, ZB_E_REFUSED, "%s to %s: %s", name, node, text);
    if (strcmp(rule, "A-drained") == 0) {
        (void)zb_err_hint(&err, "zbaton undrain %s", node);
    } else if (zb_request_bool(r, "allow_undrilled")) {
        return false;
    } else {
        (void)zb_err_hint(&err, "zbaton drill %s --node %s tries again; --allow-undrilled", name,
                          node);
    }
    zb_request_fail(r, &err, rule);
    return true;
}

void
zb_cmd_move(struct zb_request *r)
{
    struct zb_agent *a = r->a;
    const char *node = zb_request_text(r, "node");
    uint16_t service = zb_request_service(r);
    struct zb_core_view view;
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    uint8_t target = zb_agent_node_find(a, node);
    if (target == ZB_NODE_NONE) {
        (void)zb_agent_no_node(node, &err);
        zb_request_fail(r, &err, NULL);
        return;
    }
    if (zb_request_frozen(r, service, "C-move-frozen") || !zb_forward_to_leader(r, service)) {
        return;
    }
    if (refuse(r, service, target)) {
        return;
    }
    zb_core_view(a->core, service, &view);
    struct move *m = zb_must_alloc(1, sizeof *m);
    *m = (struct move){.r = r,
                       .service = service,
                       .target = target,
                       .dry_run = zb_request_bool(r, "dry_run"),
                       .term = view.term};
    m->timer.data = m;
    (void)uv_timer_init(&a->loop, &m->timer);
    (void)uv_timer_start(&m->timer, on_timer, BYTES_MS, BYTES_MS);
    struct zb_agent_command command = {.kind = ZB_CMD_MOVE,
                                       .service = service,
                                       .node = target,
                                       .dry_run = m->dry_run,
                                       .who = r->who,
                                       .on_step = on_step,
                                       .on_reply = on_reply,
                                       .ctx = m};
    zb_agent_command_start(a, &command);
}
