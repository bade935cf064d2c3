#include "agent/verify.h"

#include <inttypes.h>

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/request.h"
#include "agent/verify_sums.h"

#define NAMES_LISTED 200   /* that ranges of names are chosen for, about */
#define DIFFERENCES_MAX 10 /* names that are told */
#define GRACE_MS 60000     /* beyond the deadline, which each keeps by its own clock */
#define CANCEL_MS 5000     /* for those that are told to end */

enum round { ROUND_SUMS, ROUND_NARROW, ROUND_LIST };

/* A node that is asked. */
struct target {
    struct zb_verify *v;
    uint8_t node;
    bool pending;
    uint64_t keeper_id; /* of its own part, if it is this node */
    int64_t elapsed_ms;
    struct zb_verify_answer *sums; /* of the first round */
    struct zb_verify_answer *last; /* of the round under way, or the last one */
};

struct zb_verify {
    struct zb_agent *a;
    struct zb_verify_order order;
    char who[128];
    uint64_t seed;
    struct zb_mono deadline;
    uv_timer_t *timer; /* for those that do not answer; it outlives this for a moment */
    bool ended;        /* told; kept for what this node's keeper says still */
    enum round round;
    char range[96];
    uint32_t above; /* what ROUND_NARROW divides */
    uint32_t differing;
    uint32_t pending;
    struct zb_err err; /* the first one; ZB_OK: none */
    struct target targets[ZB_NODES_MAX];
};

/* --- one node's part --- */

struct part {
    void (*on_done)(void *ctx, const char *text, uint32_t elapsed_ms, const struct zb_err *err);
    void *ctx;
};

static void
on_read(void *ctx, const struct zb_krep *rep)
{
    struct part *p = ctx;
    struct zb_err err;

    if (rep->rc != ZB_OK) {
        zb_keeper_reply_error(rep, "", &err);
        p->on_done(p->ctx, NULL, 0, &err);
    } else {
        p->on_done(p->ctx, rep->text != NULL ? rep->text : "", rep->elapsed_ms, NULL);
    }
    free(p);
}

/* The manifest is borrowed: for the call that follows. */
static enum zb_rc
part_request(struct zb_agent *a, const json_t *args, struct zb_kreq *req, struct zb_err *err)
{
    struct zb_json_reader r = zb_json_read(args);
    char set[ZB_SET_ID_SIZE];
    struct zb_set_id id;

    zb_json_read_name(&r, "service", req->service, sizeof req->service, zb_service_name_valid);
    zb_json_read_text(&r, "set", set, sizeof set);
    req->nonce = zb_json_read_u64(&r, "seed");
    req->count = (uint32_t)zb_json_read_int(&r, "share", 0, ZB_VERIFY_ALL);
    req->timeout_ms =
        (uint32_t)zb_json_read_int(&r, "timeout_ms", 1, ZB_VERIFY_TIMEOUT_S_MAX * INT64_C(1000));
    req->flags = zb_json_read_bool(&r, "list") ? ZB_KF_LIST : 0;
    if (!zb_set_id_parse(set, &id)) {
        zb_json_read_fail(&r, "set");
    }
    if (zb_json_read_end(&r, err) != ZB_OK) {
        return err->rc;
    }
    uint16_t service = zb_agent_service_find(a, req->service);
    const struct zb_manifest *m =
        service == ZB_SERVICE_NONE ? NULL : zb_position_manifest(a, service, id);
    if (m == NULL) {
        return zb_err_set(err, ZB_E_NOTFOUND, "it knows no set %s of %s", set, req->service);
    }
    req->manifest = *m; /* borrowed for the call */
    return ZB_OK;
}

uint64_t
zb_verify_part_start(struct zb_agent *a, const json_t *args,
                     void (*on_done)(void *ctx, const char *text, uint32_t elapsed_ms,
                                     const struct zb_err *err),
                     void *ctx)
{
    struct zb_kreq req = {.op = ZB_KOP_VERIFY};
    const char *range = json_string_value(json_object_get(args, "range"));
    char text[96];
    struct zb_err err;

    (void)snprintf(text, sizeof text, "%s", range != NULL ? range : "");
    req.text = text;
    if (part_request(a, args, &req, &err) != ZB_OK) {
        on_done(ctx, NULL, 0, &err);
        return 0;
    }
    struct part *p = zb_must_alloc(1, sizeof *p);
    *p = (struct part){.on_done = on_done, .ctx = ctx};
    return zb_keeper_client_call(a->keeper, &req,
                                 &(struct zb_keeper_call){.on_reply = on_read, .ctx = p});
}

/* --- the result --- */

static void
on_timer_closed(uv_handle_t *handle)
{
    free(handle);
}

static void
timer_end(struct zb_verify *v)
{
    if (v->timer != NULL) {
        uv_close((uv_handle_t *)v->timer, on_timer_closed);
        v->timer = NULL;
    }
}

static void
verify_free(struct zb_verify *v)
{
    timer_end(v);
    for (uint32_t i = 0; i < v->order.nodes_count; i++) {
        struct target *t = &v->targets[i];
        if (t->last != t->sums) {
            free(t->last);
        }
        free(t->sums);
    }
    if (v->a->verify == v) {
        v->a->verify = NULL;
    }
    free(v);
}

static json_t *
target_json(const struct target *t)
{
    const struct zb_verify_answer *s = t->sums;
    json_t *one = zb_must(json_object());
    json_t *errors = zb_json_array_new();
    char digest[33];

    zb_verify_digest(s, digest);
    zb_json_put(one, "node", zb_json_text(t->v->a->nodes[t->node].name));
    zb_json_put(one, "names", zb_json_int((int64_t)s->names));
    zb_json_put(one, "files", zb_json_int((int64_t)s->files));
    zb_json_put(one, "read_files", zb_json_int((int64_t)s->read_files));
    zb_json_put(one, "read_bytes", zb_json_int((int64_t)s->read_bytes));
    zb_json_put(one, "unreadable", zb_json_int((int64_t)s->unreadable));
    zb_json_put(one, "digest", zb_json_text(digest));
    zb_json_put(one, "elapsed_ms", zb_json_int(t->elapsed_ms));
    for (uint32_t i = 0; i < s->errors_count; i++) {
        json_t *error = zb_must(json_object());
        zb_json_put(error, "path", zb_json_text(s->errors[i].path));
        zb_json_put(error, "error", zb_json_text(strerror(s->errors[i].error)));
        zb_json_append(errors, error);
    }
    zb_json_put(one, "errors", errors);
    return one;
}

static void
answers_collect(struct zb_verify *v, bool last, struct zb_verify_answer **answers,
                const char **nodes)
{
    for (uint32_t i = 0; i < v->order.nodes_count; i++) {
        answers[i] = last ? v->targets[i].last : v->targets[i].sums;
        nodes[i] = v->a->nodes[v->targets[i].node].name;
    }
}

static json_t *
result_new(struct zb_verify *v)
{
    struct zb_verify_answer *answers[ZB_NODES_MAX];
    const char *names[ZB_NODES_MAX];
    json_t *result = zb_must(json_object());
    json_t *nodes = zb_json_array_new();
    uint64_t unreadable = 0;

    for (uint32_t i = 0; i < v->order.nodes_count; i++) {
        zb_json_append(nodes, target_json(&v->targets[i]));
        unreadable += v->targets[i].sums->unreadable;
    }
    answers_collect(v, true, answers, names);
    zb_json_put(result, "same", zb_json_bool(v->differing == 0 && unreadable == 0));
    zb_json_put(result, "nodes", nodes);
    zb_json_put(result, "differing", zb_json_int(v->differing));
    zb_json_put(result, "names",
                v->round == ROUND_LIST
                    ? zb_verify_names_json(answers, names, v->order.nodes_count, DIFFERENCES_MAX)
                    : zb_json_array_new());
    return result;
}

/* "vm1, vm2, vm3" */
static void
nodes_text(const struct zb_verify *v, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (uint32_t i = 0; i < v->order.nodes_count && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "%s%s", i > 0 ? ", " : "",
                                 v->a->nodes[v->targets[i].node].name);
    }
}

static void
result_tell(struct zb_verify *v, const json_t *result)
{
    const char *service = v->a->services[v->order.service].conf.name;
    const struct zb_verify_answer *first = v->targets[0].sums;
    bool same = json_is_true(json_object_get(result, "same"));
    const char *path = json_string_value(
        json_object_get(json_array_get(json_object_get(result, "names"), 0), "path"));
    char set[ZB_SET_ID_SIZE], nodes[400];

    for (uint32_t i = 0; i < v->order.nodes_count && path == NULL; i++) {
        path = v->targets[i].sums->errors_count > 0 ? v->targets[i].sums->errors[0].path : NULL;
    }
    zb_set_id_format(v->order.set, set);
    nodes_text(v, nodes, sizeof nodes);
    zb_agent_event(v->a, same ? ZB_LOG_INFO : ZB_LOG_WARNING, service,
                   same ? "A-verify" : "A-verify-differs",
                   "%s verified set %s on %s: %s (%" PRIu64 " names, the content of %" PRIu64
                   " of %" PRIu64 " files)%s%s",
                   v->who, set, nodes, same ? "the same" : "not the same", first->names,
                   first->read_files, first->files, same || path == NULL ? "" : ", first of all ",
                   same || path == NULL ? "" : path);
}

static void
verify_end(struct zb_verify *v)
{
    const struct zb_verify_order order = v->order;
    const struct zb_err err = v->err;
    json_t *result = NULL;

    if (err.rc == ZB_OK) {
        result = result_new(v);
        result_tell(v, result);
    }
    verify_free(v);
    order.on_done(order.ctx, result, result != NULL ? NULL : &err);
    json_decref(result);
}

/* --- rounds --- */

static void round_start(struct zb_verify *v);

/* What is looked at next. False: nothing. */
static bool
round_next(struct zb_verify *v)
{
    struct zb_verify_answer *answers[ZB_NODES_MAX];
    const char *nodes[ZB_NODES_MAX];
    uint32_t ranges[ZB_VERIFY_RANGES_MAX];
    uint32_t bits = ZB_VERIFY_BUCKET_BITS, above = 0;
    uint64_t names = 1;

    if (v->round == ROUND_LIST) {
        return false;
    }
    answers_collect(v, true, answers, nodes);
    for (uint32_t i = 0; i < v->order.nodes_count; i++) {
        names = answers[i]->names > names ? answers[i]->names : names;
    }
    uint64_t most = (uint64_t)NAMES_LISTED * ZB_VERIFY_BUCKETS / names;
    uint32_t max = most < 1                      ? 1
                   : most < ZB_VERIFY_RANGES_MAX ? (uint32_t)most
                                                 : ZB_VERIFY_RANGES_MAX;
    uint32_t found = zb_verify_differing(answers, v->order.nodes_count, ranges, max);
    if (v->round == ROUND_SUMS) {
        v->differing = found;
    } else {
        above = v->above;
        bits *= 2;
    }
    if (found == 0) {
        return false;
    }
    if (v->round == ROUND_SUMS && most < 1) {
        v->round = ROUND_NARROW;
        v->above = ranges[0];
    } else {
        v->round = ROUND_LIST;
    }
    size_t used = (size_t)snprintf(v->range, sizeof v->range, "%u", bits);
    for (uint32_t i = 0; i < found && i < max; i++) {
        used += (size_t)snprintf(v->range + used, sizeof v->range - used, " %" PRIu32,
                                 above << ZB_VERIFY_BUCKET_BITS | ranges[i]);
    }
    return true;
}

static void
on_told(void *ctx, json_t *result)
{
    (void)ctx;
    (void)result;
}

static void on_timer(uv_timer_t *timer);

static void
cancel_others(struct zb_verify *v)
{
    json_t *args = zb_must(json_object());

    (void)uv_timer_start(v->timer, on_timer, CANCEL_MS, 0);
    for (uint32_t i = 0; i < v->order.nodes_count && !v->a->stopping; i++) {
        const struct target *t = &v->targets[i];
        if (!t->pending) {
            continue;
        }
        if (t->node == v->a->self) {
            zb_keeper_client_cancel(v->a->keeper, t->keeper_id);
        } else {
            const struct zb_forward_ask ask = {.node = t->node,
                                               .cmd = "verify.end",
                                               .args = args,
                                               .who = v->who,
                                               .on_result = on_told};
            zb_forward_start(v->a, &ask);
        }
    }
    json_decref(args);
}

/* The first error is told; what others do for it still is of no use any more. */
static void
fail(struct zb_verify *v, const struct zb_err *err, const char *node)
{
    if (v->err.rc == ZB_OK) {
        v->err = *err;
        if (node != NULL) {
            (void)zb_err_wrap(&v->err, "%s", node);
        }
        cancel_others(v);
    }
}

static void
answer_take(struct target *t, const char *text, int64_t elapsed_ms, const struct zb_err *err)
{
    struct zb_verify *v = t->v;
    struct zb_err bad;

    t->pending = false;
    v->pending--;
    if (v->ended) {
        if (v->pending == 0) {
            verify_free(v);
        }
        return;
    }
    if (err == NULL && zb_verify_answer_parse(text, t->last, &bad) != ZB_OK) {
        err = &bad;
    }
    if (err != NULL) {
        fail(v, err, v->a->nodes[t->node].name);
    } else if (v->round == ROUND_SUMS) {
        t->elapsed_ms = elapsed_ms;
    }
    if (v->pending > 0) {
        return;
    }
    if (v->err.rc == ZB_OK && round_next(v)) {
        round_start(v);
    } else {
        verify_end(v);
    }
}

/* The order ends without those that have not answered: what other nodes say after this finds
 * nothing; for this node's keeper the struct is kept. */
static void
on_timer(uv_timer_t *timer)
{
    struct zb_verify *v = timer->data;
    const struct zb_verify_order order = v->order;
    struct zb_err err;
    uint32_t first = 0;

    while (!v->targets[first].pending) {
        first++;
    }
    (void)zb_err_set(&err, ZB_E_TIMEOUT, "no answer in time");
    fail(v, &err, v->a->nodes[v->targets[first].node].name);
    err = v->err;
    v->ended = true;
    v->a->verify = NULL;
    v->pending++; /* it lives until the end of this */
    for (uint32_t i = 0; i < order.nodes_count; i++) {
        if (v->targets[i].pending && v->targets[i].node != v->a->self) {
            zb_forward_end(v->a, &v->targets[i]);
        }
    }
    if (--v->pending == 0) {
        verify_free(v);
    } else {
        timer_end(v);
    }
    order.on_done(order.ctx, NULL, &err);
}

static void
on_own(void *ctx, const char *text, uint32_t elapsed_ms, const struct zb_err *err)
{
    answer_take(ctx, text, elapsed_ms, err);
}

static void
on_result(void *ctx, json_t *result)
{
    struct zb_err err;
    const json_t *data = zb_result_data(result, &err);
    const char *text = json_string_value(json_object_get(data, "text"));

    if (data != NULL && text == NULL) {
        (void)zb_err_set(&err, ZB_E_FORMAT, "the answer is not understood");
    }
    answer_take(ctx, text, json_integer_value(json_object_get(data, "elapsed_ms")),
                text != NULL ? NULL : &err);
}

static json_t *
args_new(const struct zb_verify *v)
{
    json_t *args = zb_must(json_object());
    int64_t left_ms = v->deadline.ms - zb_mono_now().ms;
    char set[ZB_SET_ID_SIZE];

    zb_set_id_format(v->order.set, set);
    zb_json_put(args, "service", zb_json_text(v->a->services[v->order.service].conf.name));
    zb_json_put(args, "set", zb_json_text(set));
    zb_json_put(args, "seed", zb_json_u64(v->seed));
    zb_json_put(args, "share", zb_json_int(v->order.share));
    zb_json_put(args, "range", zb_json_text(v->range));
    zb_json_put(args, "list", zb_json_bool(v->round == ROUND_LIST));
    zb_json_put(args, "timeout_ms", zb_json_int(left_ms > 1 ? left_ms : 1));
    return args;
}

static void
round_start(struct zb_verify *v)
{
    json_t *args = args_new(v);
    uint32_t count = v->order.nodes_count;

    v->pending = count;
    for (uint32_t i = 0; i < count; i++) {
        struct target *t = &v->targets[i];
        t->pending = true;
        if (v->round == ROUND_SUMS) {
            t->last = t->sums;
        } else if (t->last == t->sums) {
            t->last = zb_must_alloc(1, sizeof *t->last);
        }
    }
    /* Each may answer at once, and the last of them ends this. */
    for (uint32_t i = 0; i < count; i++) {
        struct target *t = &v->targets[i];
        const struct zb_forward_ask ask = {.node = t->node,
                                           .cmd = "verify.part",
                                           .args = args,
                                           .who = v->who,
                                           .on_result = on_result,
                                           .ctx = t};
        if (v->err.rc != ZB_OK) { /* one of the others has failed at once */
            answer_take(t, NULL, 0, &v->err);
        } else if (t->node != v->a->self) {
            zb_forward_start(v->a, &ask);
        } else {
            uint64_t id = zb_verify_part_start(v->a, args, on_own, t);
            if (id != 0) { /* then it is not answered yet */
                t->keeper_id = id;
            }
        }
    }
    json_decref(args);
}

void
zb_verify_start(struct zb_agent *a, const struct zb_verify_order *order)
{
    struct zb_err err;

    if (a->verify != NULL) {
        (void)zb_err_set(&err, ZB_E_BUSY, "a set is being verified by order of %s already",
                         a->nodes[a->self].name);
        order->on_done(order->ctx, NULL, &err);
        return;
    }
    struct zb_verify *v = zb_must_alloc(1, sizeof *v);
    *v = (struct zb_verify){.a = a,
                            .order = *order,
                            .seed = zb_random_u64(),
                            .deadline = {zb_mono_now().ms + order->timeout_s * 1000}};
    (void)snprintf(v->who, sizeof v->who, "%s", order->who);
    v->timer = zb_must_alloc(1, sizeof *v->timer);
    (void)uv_timer_init(&a->loop, v->timer);
    v->timer->data = v;
    (void)uv_timer_start(v->timer, on_timer, (uint64_t)order->timeout_s * 1000 + GRACE_MS, 0);
    for (uint32_t i = 0; i < order->nodes_count; i++) {
        v->targets[i] = (struct target){
            .v = v, .node = order->nodes[i], .sums = zb_must_alloc(1, sizeof *v->targets[i].sums)};
    }
    a->verify = v;
    round_start(v);
}

void
zb_verify_cancel(struct zb_agent *a, const void *ctx)
{
    struct zb_err err;

    if (a->verify != NULL && a->verify->order.ctx == ctx) {
        (void)zb_err_set(&err, ZB_E_CANCELED, "ended: nobody waits for it any more");
        fail(a->verify, &err, NULL);
    }
}
