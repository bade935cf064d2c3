/*
 * revert: the whole service goes back to an earlier set. On the leader, whose core carries it out
 * as a failover to itself; the set is looked for on its disk before anything is stopped.
 */
#include <inttypes.h>

#include "agent/help.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/request.h"
#include "agent/steps.h"

#define WAIT_MS 5000 /* for a node that may still be writing to grant */

struct revert {
    struct zb_request *r;
    uint16_t service;
    bool dry_run;
    struct zb_set_ref set;
    struct zb_wall time; /* of the set */
    uint64_t term;       /* before */
    uint64_t next;       /* 0: not chosen yet */
};

static const char *
service_name(const struct revert *v)
{
    return v->r->a->services[v->service].conf.name;
}

static void
words_fill(const struct revert *v, struct zb_step_texts *x)
{
    const struct zb_agent *a = v->r->a;
    struct zb_step_subject subject = {.service = v->service,
                                      .source = a->self,
                                      .target = a->self,
                                      .set = v->set.id,
                                      .term = v->term,
                                      .next = v->next != 0 ? v->next : v->term + 1};

    zb_step_words_fill(a, &subject, x);
}

/* What it leaves behind, for the operator and for the history. */
static void
left_text(const struct revert *v, char *buf, size_t size)
{
    char time[24];

    zb_wall_format(v->time, time);
    (void)snprintf(buf, size,
                   "what was written after set %" PRIu64 "/%" PRIu64
                   " of %s; it is set aside as rescues",
                   v->set.id.term, v->set.id.seq, time);
}

static json_t *
result_json(const struct revert *v)
{
    json_t *data = zb_must(json_object());
    json_t *set = zb_json_set_id(v->set.id);
    char text[256], time[24];

    zb_wall_format(v->time, time);
    zb_json_put(set, "time", zb_json_text(time));
    left_text(v, text, sizeof text);
    zb_json_put(data, "service", zb_json_text(service_name(v)));
    zb_json_put(data, "leader", zb_json_text(v->r->a->nodes[v->r->a->self].name));
    zb_json_put(data, "set", set);
    zb_json_put(data, "left", zb_json_text(text));
    return data;
}

/* --- what the core tells --- */

static void
on_step(void *ctx, const struct zb_action *s)
{
    struct revert *v = ctx;
    struct zb_step_texts words;
    char text[512];

    v->next = s->term > v->term ? s->term : v->next;
    (void)snprintf(text, sizeof text, "%s", s->text);
    if (s->phase == ZB_STEP_END && text[0] == '\0') {
        words_fill(v, &words);
        zb_steps_done(&zb_steps_revert, s->step, &words.w, text, sizeof text);
    }
    zb_request_progress(
        v->r, zb_steps_progress(&zb_steps_revert, s->step, s->phase, text, s->elapsed_ms));
}

static void
on_term(void *ctx, const struct zb_action *term, char *lost, size_t size)
{
    if (term->reason == ZB_TERM_REVERT) {
        left_text(ctx, lost, size);
    }
}

static void
on_reply(void *ctx, const struct zb_action *reply)
{
    struct revert *v = ctx;
    const char *rule = reply->rule != NULL ? reply->rule : "";
    bool background = strcmp(rule, "C-failover-in-background") == 0;
    char help[ZB_HELP_SIZE];
    struct zb_err err;

    if (reply->rc != ZB_OK && !background) {
        zb_err_set(&err, reply->rc, "%s: %s", service_name(v), reply->text);
        if (zb_help_find(rule, service_name(v), help)) {
            zb_err_hint(&err, "%s", help);
        } else {
            zb_err_hint(&err, "zbaton status %s; zbaton events %s", service_name(v),
                        service_name(v));
        }
        zb_request_fail(v->r, &err, rule);
        free(v);
        return;
    }
    json_t *data = result_json(v);
    if (v->dry_run) {
        struct zb_step_texts words;
        words_fill(v, &words);
        zb_json_put(data, "steps", zb_steps_plan(&zb_steps_revert, &words.w));
    } else {
        zb_json_put(data, "term", zb_json_int((int64_t)v->next));
        zb_json_put(data, "background", zb_json_bool(background));
        zb_json_put(data, "degraded", zb_json_bool(strcmp(rule, "C-failover-degraded") == 0));
        zb_json_put(data, "text", zb_json_text(reply->text));
    }
    zb_request_done(v->r, data);
    free(v);
}

/* --- beginning --- */

static void
no_set(struct revert *v, const char *why)
{
    struct zb_err err;

    zb_err_set(&err, ZB_E_NOTFOUND, "set %" PRIu64 "/%" PRIu64 " of %s %s", v->set.id.term,
               v->set.id.seq, service_name(v), why);
    zb_err_hint(&err, "zbaton history %s lists the sets", service_name(v));
    zb_request_fail(v->r, &err, NULL);
    free(v);
}

static void
core_ask(struct revert *v)
{
    struct zb_agent_command command = {.kind = ZB_CMD_REVERT,
                                       .service = v->service,
                                       .node = v->r->a->self,
                                       .dry_run = v->dry_run,
                                       .wait_ms = WAIT_MS,
                                       .set = v->set,
                                       .who = v->r->who,
                                       .on_step = on_step,
                                       .on_term = on_term,
                                       .on_reply = on_reply,
                                       .ctx = v};

    zb_agent_command_start(v->r->a, &command);
}

/* The last field of the first line of that kind (BLOCKERS of wire/kmsg.h), or NULL; *length. */
static const char *
blocker_find(const char *text, const char *kind, int *length)
{
    size_t size = strlen(kind);

    for (const char *line = text; line != NULL && *line != '\0';) {
        const char *end = strchr(line, '\n');
        const char *last = line;
        if (end == NULL) {
            return NULL;
        }
        for (const char *p = line; p < end; p++) {
            last = *p == '\t' ? p + 1 : last;
        }
        if (strncmp(line, kind, size) == 0 && line[size] == '\t') {
            *length = (int)(end - last);
            return last;
        }
        line = end + 1;
    }
    return NULL;
}

/* What somebody else has open could not be unmounted, and the service would stand still for it. */
static void
on_blockers(void *ctx, const struct zb_krep *rep)
{
    struct revert *v = ctx;
    struct zb_err err;
    int length = 0;
    const char *who = blocker_find(rep->text, "process", &length);

    if (who == NULL) { /* or not known: then it is asked for all the same */
        core_ask(v);
        return;
    }
    zb_err_set(&err, ZB_E_HELD, "%s is in use beside the service's own processes: %.*s",
               service_name(v), length, who);
    zb_err_hint(&err, "zbaton explain %s", service_name(v));
    zb_request_fail(v->r, &err, "C-revert-held");
    free(v);
}

static void
on_checked(void *ctx, bool held)
{
    struct revert *v = ctx;
    struct zb_kreq req = {.op = ZB_KOP_BLOCKERS};

    if (!held) {
        no_set(v, "is not on the leader whole any more");
        return;
    }
    zb_strcopy(req.service, sizeof req.service, service_name(v));
    zb_agent_keeper_call(v->r->a, &req, on_blockers, v);
}

static void
on_recalled(void *ctx, enum zb_recall what, const struct zb_manifest *m)
{
    struct revert *v = ctx;

    if (m == NULL) {
        no_set(v, "is not known here");
        return;
    }
    if (what != ZB_RECALL_WHOLE) { /* a dataset of which older sets are gone would be missing */
        no_set(v, "is not in every dataset that is there now, and what it consisted of is not "
                  "known any more");
        return;
    }
    zb_manifest_ref(m, &v->set);
    v->time = m->time;
    zb_position_check(v->r->a, v->service, m, on_checked, v);
}

void
zb_cmd_revert(struct zb_request *r)
{
    struct zb_agent *a = r->a;
    uint16_t service = zb_request_service(r);
    struct zb_core_view view;
    struct zb_set_id id;
    struct zb_err err;

    if (service == ZB_SERVICE_NONE) {
        return;
    }
    if (zb_request_set(r, service, &id, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    if (zb_request_frozen(r, service, "C-revert-frozen") || !zb_forward_to_leader(r, service)) {
        return;
    }
    zb_core_view(a->core, service, &view);
    struct revert *v = zb_must_alloc(1, sizeof *v);
    *v = (struct revert){.r = r,
                         .service = service,
                         .dry_run = zb_request_bool(r, "dry_run"),
                         .set = {.id = id},
                         .term = view.term};
    zb_position_recall(a, service, id, on_recalled, v);
}
