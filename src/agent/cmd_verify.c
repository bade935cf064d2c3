/*
 * verify: whether members hold the same files under a set. verify.part and verify.end are what the
 * node that compares asks of the others.
 */
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/keeper.h"
#include "agent/must.h"
#include "agent/request.h"
#include "agent/verify.h"

#define SHARE_DEFAULT (ZB_VERIFY_ALL / 10)

/* --- verify --- */

static void
on_done(void *ctx, const json_t *result, const struct zb_err *err)
{
    struct zb_request *r = ctx;

    r->on_gone = NULL;
    if (result == NULL) {
        struct zb_err told = *err;
        const char *service = zb_request_text(r, "service");
        if (told.rc == ZB_E_NOTFOUND && json_is_true(json_object_get(r->args, "chosen"))) {
            (void)zb_err_hint(
                &told,
                "zbaton history %s; then of a set that all of them hold: zbaton verify "
                "%s SET",
                service, service);
        }
        zb_request_fail(r, &told, NULL);
        return;
    }
    json_t *data = zb_must(json_deep_copy(result));
    zb_json_put(data, "service", zb_json_text(zb_request_text(r, "service")));
    zb_json_put(data, "set", json_incref(json_object_get(r->args, "set")));
    zb_json_put(data, "share", zb_json_int(zb_request_int(r, "share", SHARE_DEFAULT)));
    zb_json_put(data, "skipped", json_incref(json_object_get(r->args, "skipped")));
    zb_request_done(r, data);
}

static void
on_gone(struct zb_request *r)
{
    zb_verify_cancel(r->a, r);
}

/* The newest set of a member as far as this node knows; false: it is not known, or none. */
static bool
newest_of(const struct zb_agent *a, const struct zb_core_view *view, uint8_t node,
          struct zb_set_id *newest)
{
    *newest = node == a->self ? view->obs.newest.id : view->peers[node].report.set.id;
    return (node == a->self || (view->peers[node].up && view->peers[node].known)) &&
           !zb_set_id_is_none(*newest);
}

static bool
is_named(const struct zb_request *r, const char *name)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(r->args, "nodes"), i, one)
    {
        if (json_is_string(one) && strcmp(json_string_value(one), name) == 0) {
            return true;
        }
    }
    return false;
}

/* Takes a member into the order; the set is the oldest one of the newest sets of each, which one
 * that is ahead may have let go. Named by the operator it has to be there; else it is skipped. */
static enum zb_rc
member_take(struct zb_request *r, const char *name, struct zb_verify_order *order,
            struct zb_err *err)
{
    uint8_t node = zb_agent_node_find(r->a, name);
    bool named = json_array_size(json_object_get(r->args, "nodes")) > 0;
    struct zb_core_view view;
    struct zb_set_id newest;

    if (named && !is_named(r, name)) {
        return ZB_OK;
    }
    zb_core_view(r->a->core, order->service, &view);
    if (node != ZB_NODE_NONE && newest_of(r->a, &view, node, &newest)) {
        if (order->nodes_count == 0 || zb_set_id_cmp(newest, order->set) < 0) {
            order->set = newest;
        }
        order->nodes[order->nodes_count++] = node;
        return ZB_OK;
    }
    if (named) {
        (void)zb_err_set(err, ZB_E_CLOSED, "%s is not reachable, or holds no whole set", name);
        return zb_err_hint(err, "zbaton status %s", r->a->services[order->service].conf.name);
    }
    zb_json_append(json_object_get(r->args, "skipped"), zb_json_text(name));
    return ZB_OK;
}

static enum zb_rc
named_check(const struct zb_request *r, const struct zb_conf_service *conf, struct zb_err *err)
{
    size_t i;
    json_t *one;

    json_array_foreach(json_object_get(r->args, "nodes"), i, one)
    {
        const char *name = json_is_string(one) ? json_string_value(one) : "";
        if (!zb_conf_names_contain(&conf->members, name) &&
            !zb_conf_names_contain(&conf->backups, name)) {
            (void)zb_err_set(err, ZB_E_NOTFOUND, "'%.64s' is no member of %s", name, conf->name);
            return zb_err_hint(err, "zbaton status %s", conf->name);
        }
    }
    return ZB_OK;
}

static enum zb_rc
members_take(struct zb_request *r, struct zb_verify_order *order, struct zb_err *err)
{
    const struct zb_conf_service *conf = &r->a->services[order->service].conf;
    const struct zb_conf_names *kinds[] = {&conf->members, &conf->backups};
    enum zb_rc rc = named_check(r, conf, err);

    for (size_t k = 0; k < 2; k++) {
        for (uint32_t i = 0; i < kinds[k]->count && rc == ZB_OK; i++) {
            rc = member_take(r, kinds[k]->items[i], order, err);
        }
    }
    if (rc == ZB_OK && order->nodes_count < 2) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "two members with a set of %s are wanted, and %u can be asked", conf->name,
                         order->nodes_count);
        rc = zb_err_hint(err, "zbaton status %s", conf->name);
    }
    return rc;
}

static enum zb_rc
order_fill(struct zb_request *r, struct zb_verify_order *order, struct zb_err *err)
{
    int64_t share = zb_request_int(r, "share", SHARE_DEFAULT);
    enum zb_rc rc = members_take(r, order, err);
    char set[ZB_SET_ID_SIZE];

    order->timeout_s = zb_request_int(r, "timeout_s", ZB_VERIFY_TIMEOUT_S);
    if (rc == ZB_OK && (share < 0 || share > ZB_VERIFY_ALL || order->timeout_s < 1 ||
                        order->timeout_s > ZB_VERIFY_TIMEOUT_S_MAX)) {
        return zb_err_set(err, ZB_E_USAGE, "a share of at most all, and a time of at most 7 days");
    }
    order->share = (uint32_t)share;
    if (rc == ZB_OK && zb_request_text(r, "set")[0] != '\0') {
        return zb_request_set(r, order->service, &order->set, err);
    }
    zb_set_id_format(order->set, set);
    zb_json_put(r->args, "set", zb_json_text(set));
    zb_json_put(r->args, "chosen", zb_json_bool(true));
    return rc;
}

void
zb_cmd_verify(struct zb_request *r)
{
    struct zb_verify_order order = {.who = r->who, .on_done = on_done, .ctx = r};
    struct zb_err err;

    order.service = zb_request_service(r);
    if (order.service == ZB_SERVICE_NONE) {
        return;
    }
    zb_json_put(r->args, "skipped", zb_json_array_new());
    if (order_fill(r, &order, &err) != ZB_OK) {
        zb_request_fail(r, &err, NULL);
        return;
    }
    r->on_gone = on_gone;
    zb_verify_start(r->a, &order);
}

/* --- verify.part, verify.end --- */

/* ctx of the request is the keeper's number of what it waits for. */
static void
on_part(void *ctx, const char *text, uint32_t elapsed_ms, const struct zb_err *err)
{
    struct zb_request *r = ctx;

    free(r->ctx);
    r->ctx = NULL;
    r->on_gone = NULL;
    if (text == NULL) {
        zb_request_fail(r, err, NULL);
        return;
    }
    json_t *data = zb_must(json_object());
    zb_json_put(data, "text", zb_json_text(text));
    zb_json_put(data, "elapsed_ms", zb_json_int(elapsed_ms));
    zb_request_done(r, data);
}

static void
part_cancel(struct zb_request *r)
{
    if (r->ctx != NULL) {
        zb_keeper_client_cancel(r->a->keeper, *(const uint64_t *)r->ctx);
    }
}

void
zb_cmd_verify_part(struct zb_request *r)
{
    uint64_t *keeper_id = zb_must_alloc(1, sizeof *keeper_id);

    r->ctx = keeper_id;
    r->on_gone = part_cancel;
    uint64_t id = zb_verify_part_start(r->a, r->args, on_part, r);
    if (id != 0) { /* else it is answered, and gone */
        *keeper_id = id;
    }
}

static void
end_if_of(struct zb_request *r, uint8_t node)
{
    if (r->peer == node && r->command->run == zb_cmd_verify_part) {
        part_cancel(r);
    }
}

void
zb_cmd_verify_end(struct zb_request *r)
{
    zb_request_each(r->a, end_if_of, r->peer);
    zb_request_done(r, zb_must(json_object()));
}
