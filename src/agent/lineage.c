#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/memo.h"
#include "agent/peer_json.h"

#define TOLD_MAX 32 /* terms of a service that a node is told of when it is back */

static const enum zb_history_reason reasons[] = {
    [ZB_TERM_FIRST] = ZB_HISTORY_INIT,      [ZB_TERM_MOVE] = ZB_HISTORY_MOVE,
    [ZB_TERM_RESTART] = ZB_HISTORY_RESTART, [ZB_TERM_FAILOVER] = ZB_HISTORY_FAILOVER,
    [ZB_TERM_REVERT] = ZB_HISTORY_REVERT,   [ZB_TERM_UNTOLD] = ZB_HISTORY_UNTOLD};

static json_t *
term_json(const char *service, const struct zb_history_term *t)
{
    json_t *msg = zb_json_new("core.term");
    zb_json_put(msg, "service", zb_json_text(service));
    zb_json_put(msg, "term", zb_json_u64(t->term));
    zb_json_put(msg, "leader", zb_json_text(t->leader));
    zb_json_put(msg, "fork", zb_json_set(&t->fork));
    zb_json_put(msg, "reason", zb_json_int(t->reason));
    zb_json_put(msg, "who", zb_json_text(t->who));
    zb_json_put(msg, "started", zb_json_int(t->started.s));
    zb_json_put(msg, "down_ms", zb_json_int(t->down_ms));
    zb_json_put(msg, "own_ms", zb_json_int(t->own_ms));
    zb_json_put(msg, "lost", zb_json_text(t->lost));
    return msg;
}

static void
term_send(struct zb_agent *a, uint8_t node, const char *service, const struct zb_history_term *t)
{
    json_t *msg = term_json(service, t);
    struct zb_err err;

    if (zb_net_send(a->net, a->nodes[node].name, msg, &err) != ZB_OK) {
        zb_log_info("term %s of %s: %s", a->nodes[node].name, service, err.msg);
    }
    json_decref(msg);
}

void
zb_lineage_tell(struct zb_agent *a, uint8_t node)
{
    zb_agent_flush(a);
    for (uint32_t i = 0; i < a->services_count; i++) {
        const char *service = a->services[i].conf.name;
        struct zb_history_term *terms = NULL;
        uint32_t count = 0;
        struct zb_err err;
        if (a->services[i].present &&
            zb_history_terms_list(a->history, service, TOLD_MAX, &terms, &count, &err) != ZB_OK) {
            zb_log_error("%s: terms in the history: %s", service, err.msg);
        }
        for (uint32_t j = 0; j < count; j++) {
            term_send(a, node, service, &terms[j]);
        }
        free(terms);
    }
}

bool
zb_lineage_led_above(struct zb_history *history, const char *service, uint64_t term)
{
    struct zb_history_term *terms = NULL;
    uint32_t count = 0;
    struct zb_err err;

    if (zb_history_terms_list(history, service, 1, &terms, &count, &err) != ZB_OK) {
        zb_log_error("%s: terms in the history: %s", service, err.msg);
    }
    bool led = count > 0 && terms[0].term > term;
    free(terms);
    return led;
}

static bool
is_known(struct zb_agent *a, const char *service, uint64_t term)
{
    struct zb_history_term known;
    struct zb_err err;

    zb_agent_flush(a);
    return zb_history_term_get(a->history, service, term, &known, &err) == ZB_OK;
}

void
zb_lineage_term(struct zb_agent *a, const struct zb_action *action,
                const struct zb_history_term *about)
{
    const char *service = a->services[action->service].conf.name;
    struct zb_history_term t = {.term = action->term,
                                .fork = action->set,
                                .reason = reasons[action->reason],
                                .started = zb_wall_now(),
                                .down_ms = action->down_ms,
                                .own_ms = action->own_ms};
    if (t.reason == ZB_HISTORY_UNTOLD && is_known(a, service, t.term)) {
        return;
    }
    zb_strcopy(t.leader, sizeof(t.leader), a->nodes[action->node].name);
    zb_strcopy(t.who, sizeof(t.who), about->who);
    zb_strcopy(t.lost, sizeof(t.lost), about->lost);
    zb_memo_term(a, service, &t);
    for (uint32_t i = 0; i < a->nodes_count; i++) {
        if (i != a->self && a->nodes[i].up) {
            term_send(a, (uint8_t)i, service, &t);
        }
    }
}

void
zb_lineage_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    struct zb_history_term t = {0};
    char service[ZB_SERVICE_NAME_SIZE];
    zb_json_read_name(&r, "service", service, sizeof(service), zb_service_name_valid);
    t.term = zb_json_read_u64(&r, "term");
    zb_json_read_name(&r, "leader", t.leader, sizeof(t.leader), zb_node_name_valid);
    zb_json_read_set(&r, "fork", &t.fork);
    t.reason =
        (enum zb_history_reason)zb_json_read_int(&r, "reason", ZB_HISTORY_INIT, ZB_HISTORY_UNTOLD);
    zb_json_read_text(&r, "who", t.who, sizeof(t.who));
    t.started.s = zb_json_read_int(&r, "started", 0, INT64_C(253402300799));
    t.down_ms = (uint32_t)zb_json_read_int(&r, "down_ms", 0, UINT32_MAX);
    t.own_ms = (uint32_t)zb_json_read_int(&r, "own_ms", 0, UINT32_MAX);
    zb_json_read_text(&r, "lost", t.lost, sizeof(t.lost));
    if (r.bad != NULL || t.term == 0) {
        zb_log_warning("term told by %s dropped: %s", a->nodes[node].name,
                       r.bad != NULL ? r.bad : "term");
    } else if (zb_agent_service_find(a, service) != ZB_SERVICE_NONE) {
        zb_memo_term(a, service, &t);
    }
}
