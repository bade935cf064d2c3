#include "agent/ship_internal.h"

#include "agent/drive.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/ship_limit.h"
#include "agent/trouble.h"

#define TIMER_MS 500
#define ALONE_MS 600000 /* who could not keep up with the others is not waited for */

const char *
zb_ship_node(const struct zb_ship *s)
{
    return s->a->nodes[s->node].name;
}

const char *
zb_ship_service(const struct zb_ship *s)
{
    return s->a->services[s->service].conf.name;
}

static void ship_begin(struct zb_ship *s);

/* --- ends --- */

static void
ship_reset(struct zb_ship *s)
{
    zb_inventory_close(&s->own);
    zb_inventory_close(&s->peer);
    zb_ship_plan_close(&s->plan);
    zb_manifest_close(&s->fork);
    s->fork_known = false;
    free(s->chain_next);
    free(s->chain_busy);
    free(s->chain_ms);
    s->chain_next = NULL;
    s->chain_busy = NULL;
    s->chain_ms = NULL;
    s->own_ready = false;
    s->peer_next = UINT32_MAX;
    s->steps_done = 0;
    s->estimate = (struct zb_ship_estimate){0};
}

static void
ship_free(struct zb_ship *s)
{
    ship_reset(s);
    zb_manifest_close(&s->manifest);
    free(s);
}

static void
ship_unlink(struct zb_ships *ships, struct zb_ship *s)
{
    struct zb_ship **at = &ships->head;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    at = &ships->of[s->service];
    while (*at != s) {
        at = &(*at)->of_next;
    }
    *at = s->of_next;
}

/* The oldest one. */
static struct zb_ship *
ship_of(const struct zb_ships *ships, uint16_t service, uint8_t node)
{
    struct zb_ship *s = ships->of[service];
    while (s != NULL && s->node != node) {
        s = s->of_next;
    }
    return s;
}

/* Answers the core; the next one to the same node begins. */
static void
ship_end(struct zb_ship *s)
{
    struct zb_ships *ships = s->a->ships;
    struct zb_core_result result = {.rc = s->rc, .bytes = s->bytes};
    uint16_t service = s->service;
    uint8_t node = s->node;
    if (s->rc == ZB_OK) {
        result.set = s->set;
        ships->acked[service][node] = s->set;
    } else {
        ships->acked[service][node] = (struct zb_set_ref){0};
        (void)snprintf(result.text, sizeof(result.text), "%s", s->msg);
    }
    result.elapsed_ms = (uint32_t)(zb_mono_now().ms - s->started.ms);
    uint64_t action_id = s->action_id;
    ship_unlink(ships, s);
    struct zb_agent *a = s->a;
    zb_trouble_put(a, &(struct zb_trouble_at){service, ZB_TROUBLE_SHIP, node}, s->rc, s->msg);
    ship_free(s);
    zb_drive_done(a, service, action_id, &result);
    struct zb_ship *next = ship_of(ships, service, node);
    if (next != NULL && next->state == ZB_SHIP_WAITING) {
        ship_begin(next);
    }
    zb_ship_jobs_start(ships);
}

/* The follower stands beside this node's line: it is told where it left it. Not a dataset there
 * that carries no mark: that one is somebody else's. */
static void
fork_tell(const struct zb_ship *s)
{
    struct zb_err err;
    json_t *msg = zb_json_new("ship.fork");
    zb_json_put(msg, "service", zb_json_text(zb_ship_service(s)));
    zb_json_put(msg, "ship", zb_json_u64(s->id));
    zb_json_put(msg, "term", zb_json_u64(s->term));
    zb_json_put(msg, "common", zb_json_bool(s->fork_common));
    zb_json_put(msg, "manifest",
                s->fork.entries_count > 0 ? zb_json_manifest(&s->fork) : json_null());
    if (zb_net_send(s->a->net, zb_ship_node(s), msg, &err) != ZB_OK) {
        zb_log_info("fork of %s to %s: %s", zb_ship_service(s), zb_ship_node(s), err.msg);
    }
    json_decref(msg);
}

/* What a second try the slow way may put right: the follower is not where it was thought to be. */
static bool
is_retried(const struct zb_ship *s, enum zb_rc rc)
{
    return s->fast && rc != ZB_E_CLOSED && rc != ZB_E_TIMEOUT;
}

static bool
is_idle(const struct zb_ship *s)
{
    return s->jobs_count == 0 && !s->fetching;
}

static void
ship_settle(struct zb_ship *s)
{
    if (!is_idle(s)) {
        return;
    }
    if (s->retry) {
        s->retry = false;
        s->fast = false;
        s->rc = ZB_OK;
        ship_reset(s);
        s->id = ++s->a->ships->next_id;
        zb_ship_inventory_ask(s);
        return;
    }
    ship_end(s);
}

void
zb_ship_fail(struct zb_ship *s, enum zb_rc rc, const char *msg)
{
    if (s->state == ZB_SHIP_ENDING) {
        return; /* the first failure counts */
    }
    s->retry = is_retried(s, rc);
    if (s->retry) {
        zb_log_info("%s to %s: %s: looking at all of it", zb_ship_service(s), zb_ship_node(s), msg);
    }
    s->rc = rc;
    (void)snprintf(s->msg, sizeof(s->msg), "%s: %s", zb_ship_node(s), msg);
    s->state = ZB_SHIP_ENDING;
    if (rc == ZB_E_DIVERGED && s->fork_known && s->as == ZB_SHIP_AS_LEADER) {
        if (s->chain_next != NULL) {
            zb_ship_fork_advance(&s->fork, &s->plan, s->chain_next);
        }
        fork_tell(s);
    }
    zb_ship_jobs_cancel(s);
    ship_settle(s);
}

void
zb_ship_behind(struct zb_ship *s)
{
    if (s->state == ZB_SHIP_ENDING) {
        return;
    }
    zb_log_info("%s to %s: cannot keep up with the others: goes on by itself", zb_ship_service(s),
                zb_ship_node(s));
    s->a->ships->alone_until_ms[s->node] = zb_mono_now().ms + ALONE_MS;
    s->alone = true;
    s->retry = true;
    s->state = ZB_SHIP_ENDING;
    zb_ship_jobs_cancel(s);
    ship_settle(s);
}

/* As zb_ship_fail, and without a second try. */
static void
ship_give_up(struct zb_ship *s, enum zb_rc rc, const char *msg)
{
    if (s->state != ZB_SHIP_ENDING) {
        s->fast = false;
        zb_ship_fail(s, rc, msg);
    } else if (s->retry) {
        s->retry = false;
        s->rc = rc;
        (void)snprintf(s->msg, sizeof(s->msg), "%s: %s", zb_ship_node(s), msg);
        ship_settle(s);
    }
}

/* --- beginning --- */

static void
deadline_set(struct zb_ship *s)
{
    s->deadline.ms = zb_mono_now().ms + ZB_SHIP_ANSWER_MS;
}

/* The sets from the one that the follower acknowledged to this one, when nothing else was made in
 * between: true with the plan. */
static bool
plan_fast(struct zb_ship *s)
{
    struct zb_ships *ships = s->a->ships;
    const struct zb_ship_line *line = &ships->lines[s->service];
    const struct zb_set_ref *acked = &ships->acked[s->service][s->node];
    struct zb_manifest copies[ZB_SHIP_LINE_MAX] = {0};
    const struct zb_manifest *sets[ZB_SHIP_LINE_MAX];
    uint32_t count = 0;
    bool good = !zb_set_id_is_none(acked->id);
    for (uint32_t i = 0; good && i < line->count; i++) {
        if (count == 0 && !zb_set_ref_equal(&line->sets[i].ref, acked)) {
            continue;
        }
        const struct zb_manifest *m = zb_position_manifest(s->a, s->service, line->sets[i].ref.id);
        struct zb_err err;
        good = m != NULL && (count == 0 || !line->sets[i].foreign);
        if (good && zb_manifest_copy(&copies[count], m, &err) != ZB_OK) {
            zb_out_of_memory();
        }
        sets[count] = &copies[count];
        count++;
        if (zb_set_ref_equal(&line->sets[i].ref, &s->set)) {
            break;
        }
    }
    good = good && count >= 2 && zb_set_id_cmp(copies[count - 1].id, s->set.id) == 0 &&
           zb_ship_plan_fast(sets, count, &s->plan);
    for (uint32_t i = 0; i < ZB_SHIP_LINE_MAX; i++) {
        zb_manifest_close(&copies[i]);
    }
    return good;
}

static bool
set_send(struct zb_ship *s, struct zb_err *err)
{
    json_t *msg = zb_json_new("ship.set");
    zb_json_put(msg, "service", zb_json_text(zb_ship_service(s)));
    zb_json_put(msg, "ship", zb_json_u64(s->id));
    zb_json_put(msg, "term", zb_json_u64(s->term));
    zb_json_put(msg, "as", zb_ship_as_json(s->as));
    zb_json_put(msg, "streams", zb_json_int(s->plan.steps_total));
    zb_json_put(msg, "manifest", zb_json_manifest(&s->manifest));
    enum zb_rc rc = zb_net_send(s->a->net, zb_ship_node(s), msg, err);
    json_decref(msg);
    return rc == ZB_OK;
}

/* The plan stands: tells the follower what comes, and sends it. */
static void
ship_send(struct zb_ship *s)
{
    struct zb_err err;
    s->chain_next = zb_must_alloc(s->plan.chains_count, sizeof(*s->chain_next));
    s->chain_busy = zb_must_alloc(s->plan.chains_count, sizeof(*s->chain_busy));
    s->chain_ms = zb_must_alloc(s->plan.chains_count, sizeof(*s->chain_ms));
    for (uint32_t i = 0; i < s->plan.chains_count; i++) {
        s->chain_ms[i] = zb_mono_now().ms;
    }
    s->state = s->plan.steps_total > 0 ? ZB_SHIP_STREAMING : ZB_SHIP_ACK;
    deadline_set(s);
    zb_ship_estimate_begin(s);
    if (!set_send(s, &err)) {
        zb_ship_fail(s, err.rc, err.msg);
        return;
    }
    zb_ship_jobs_start(s->a->ships);
}

/* Whether the service's own dataset there is zbaton's. */
static bool
is_marked(const struct zb_inventory *inv)
{
    for (uint32_t i = 0; i < inv->datasets_count; i++) {
        if (inv->datasets[i].rel[0] == '\0') {
            return inv->datasets[i].uuid[0] != '\0';
        }
    }
    return false;
}

void
zb_ship_inventories_ready(struct zb_ship *s)
{
    struct zb_err err;
    s->fork_known = is_marked(&s->peer);
    s->fork_common = zb_ship_fork_make(&s->own, &s->peer, &s->fork);
    if (zb_ship_plan_make(&s->manifest, &s->own, &s->peer, &s->plan, &err) != ZB_OK) {
        zb_ship_fail(s, err.rc, err.msg);
        return;
    }
    zb_inventory_close(&s->own);
    zb_inventory_close(&s->peer);
    ship_send(s);
}

void
zb_ship_continue(struct zb_ship *s)
{
    if (s->state == ZB_SHIP_ENDING) {
        ship_settle(s);
        return;
    }
    if (s->steps_done == s->plan.steps_total) {
        s->state = ZB_SHIP_ACK;
        deadline_set(s);
    }
    zb_ship_jobs_start(s->a->ships);
}

static void
ship_begin(struct zb_ship *s)
{
    const struct zb_manifest *m = zb_position_manifest(s->a, s->service, s->set.id);
    struct zb_set_ref ref;
    struct zb_err err;
    if (m != NULL) {
        zb_manifest_ref(m, &ref);
    }
    if (m == NULL || !zb_set_ref_equal(&ref, &s->set)) {
        zb_ship_fail(s, ZB_E_NOTFOUND, "the manifest of the set is not known here");
        return;
    }
    if (zb_manifest_copy(&s->manifest, m, &err) != ZB_OK) {
        zb_out_of_memory();
    }
    s->id = ++s->a->ships->next_id;
    s->fast = s->as == ZB_SHIP_AS_LEADER && plan_fast(s);
    if (s->fast) {
        ship_send(s);
    } else {
        zb_ship_inventory_ask(s);
    }
}

static void
on_timer(uv_timer_t *timer)
{
    struct zb_ships *ships = timer->data;
    int64_t now = zb_mono_now().ms;
    if (ships->head == NULL) {
        (void)uv_timer_stop(timer);
        return;
    }
    for (struct zb_ship *s = ships->head; s != NULL; s = s->next) {
        zb_ship_estimate_step(s, (struct zb_mono){now});
        zb_ship_jobs_limit(s);
        if ((s->state == ZB_SHIP_ASKING || s->state == ZB_SHIP_ACK) && now >= s->deadline.ms) {
            zb_ship_fail(s, ZB_E_TIMEOUT, "no answer in time");
            return; /* the list may have changed: the others at the next turn */
        }
    }
    zb_ship_jobs_start(ships); /* those that have waited for others long enough */
}

void
zb_ship_start(struct zb_agent *a, const struct zb_action *action)
{
    struct zb_ships *ships = a->ships;
    bool first = ship_of(ships, action->service, action->node) == NULL;
    struct zb_ship *s = zb_must_alloc(1, sizeof(*s));
    *s = (struct zb_ship){.a = a,
                          .action_id = action->id,
                          .service = action->service,
                          .node = action->node,
                          .term = action->term,
                          .set = action->set,
                          .as = (action->flags & ZB_SHIP_FORWARD) != 0 ? ZB_SHIP_AS_FORWARD
                                : (action->flags & ZB_SHIP_COPY) != 0  ? ZB_SHIP_AS_COPY
                                                                       : ZB_SHIP_AS_LEADER,
                          .first = zb_ship_is_waited_for(action),
                          .alone = zb_mono_now().ms < ships->alone_until_ms[action->node],
                          .state = ZB_SHIP_WAITING,
                          .peer_next = UINT32_MAX,
                          .started = zb_mono_now()};
    struct zb_ship **at = &ships->head;
    while (*at != NULL) {
        at = &(*at)->next;
    }
    *at = s;
    at = &ships->of[s->service];
    while (*at != NULL) {
        at = &(*at)->of_next;
    }
    *at = s;
    if (!uv_is_active((uv_handle_t *)&ships->timer)) {
        (void)uv_timer_start(&ships->timer, on_timer, TIMER_MS, TIMER_MS);
    }
    if (first) {
        ship_begin(s);
    }
}

void
zb_ship_cancel(struct zb_agent *a, uint64_t action_id)
{
    for (struct zb_ship *s = a->ships->head; s != NULL; s = s->next) {
        if (s->action_id == action_id) {
            ship_give_up(s, ZB_E_CANCELED, "canceled");
            return;
        }
    }
}

/* For a leader that is gone: who is sent a first copy is busy with it, and may have to vote. */
static bool
is_copy_of(const struct zb_ship *s, uint8_t node)
{
    struct zb_core_view view;

    if (s->as != ZB_SHIP_AS_COPY) {
        return false;
    }
    zb_core_view(s->a->core, s->service, &view);
    return view.obs.learned_leader == node;
}

void
zb_ship_peer_down(struct zb_agent *a, uint8_t node)
{
    struct zb_ships *ships = a->ships;
    bool more = true;
    for (size_t i = 0; i < ZB_SERVICES_MAX; i++) {
        ships->acked[i][node] = (struct zb_set_ref){0};
    }
    while (more) { /* from the start again: failing one may free it and begin another */
        more = false;
        for (struct zb_ship *s = ships->head; s != NULL && !more; s = s->next) {
            if ((s->node == node || is_copy_of(s, node)) &&
                (s->state != ZB_SHIP_ENDING || s->retry)) {
                more = true;
                ship_give_up(s, ZB_E_CLOSED, "the connection was lost");
            }
        }
    }
}

/* --- answers --- */

static void
on_ack(struct zb_ship *s, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    struct zb_set_ref set = {0};
    char text[256];
    enum zb_rc rc = (enum zb_rc)zb_json_read_int(&r, "rc", ZB_OK, ZB_E_UNSUPPORTED);
    zb_json_read_set(&r, "set", &set);
    zb_json_read_text(&r, "msg", text, sizeof(text));
    if (r.bad != NULL) {
        zb_ship_fail(s, ZB_E_FORMAT, "an acknowledgement that does not decode");
    } else if (rc != ZB_OK) {
        zb_ship_fail(s, rc, text);
    } else if (s->state == ZB_SHIP_ACK || s->state == ZB_SHIP_STREAMING) {
        /* The replies to the streams may still be on their way: what counts is this. */
        if (!zb_set_ref_equal(&set, &s->set)) {
            zb_ship_fail(s, ZB_E_MISMATCH, "acknowledged another set than was sent");
        } else if (s->jobs_count == 0) {
            ship_end(s);
        } else {
            s->state = ZB_SHIP_ENDING;
        }
    }
}

void
zb_ship_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    uint64_t id = zb_json_read_u64(&r, "ship");
    const char *type = json_string_value(json_object_get(msg, "t"));
    for (struct zb_ship *s = a->ships->head; r.bad == NULL && s != NULL; s = s->next) {
        if (s->id != id || s->node != node) {
            continue;
        }
        if (strcmp(type, "ship.ack") == 0) {
            on_ack(s, msg);
        } else if (s->state == ZB_SHIP_ASKING) {
            zb_ship_inventory_message(s, msg);
        }
        return;
    }
}

void
zb_ship_set_made(struct zb_agent *a, uint16_t service, const struct zb_set_ref *set, bool foreign)
{
    struct zb_ship_line *line = &a->ships->lines[service];
    /* Others made sets in between, or one of this node's is not known to be whole: what lies
     * between is not known. */
    if (line->count > 0 && (line->sets[line->count - 1].ref.id.term != set->id.term ||
                            line->sets[line->count - 1].ref.id.seq + 1 != set->id.seq)) {
        line->count = 0;
    }
    if (line->count == ZB_SHIP_LINE_MAX) {
        memmove(&line->sets[0], &line->sets[1], (ZB_SHIP_LINE_MAX - 1) * sizeof(line->sets[0]));
        line->count--;
    }
    line->sets[line->count].ref = *set;
    line->sets[line->count].foreign = foreign;
    line->count++;
}

struct zb_ships *
zb_ships_new(struct zb_agent *a)
{
    struct zb_ships *ships = zb_must_alloc(1, sizeof(*ships));
    ships->a = a;
    ships->timer.data = ships;
    (void)uv_timer_init(&a->loop, &ships->timer);
    return ships;
}

static void
on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void
zb_ships_free(struct zb_agent *a)
{
    struct zb_ships *ships = a->ships;
    if (ships == NULL) {
        return;
    }
    while (ships->head != NULL) {
        struct zb_ship *s = ships->head;
        ships->head = s->next;
        zb_ship_jobs_free(s);
        ship_free(s);
    }
    zb_ship_reads_free(ships);
    uv_close((uv_handle_t *)&ships->timer, on_closed);
    a->ships = NULL;
}
