/*
 * node.remove: a node leaves the cluster for good. Its certificate is good for nothing afterwards:
 * who is a peer, and by which certificate, is what the configuration says (net/net.h).
 */
#include <inttypes.h>

#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/member.h"
#include "agent/must.h"
#include "agent/request.h"
#include "agent/voters.h"

/* --- what the services still need of it, as far as this node knows --- */

typedef enum zb_rc service_check(const struct zb_conf_service *s, const struct zb_core_view *view,
                                 const char *name, uint8_t node, struct zb_err *err);

static enum zb_rc
leads_check(const struct zb_conf_service *s, const struct zb_core_view *view, const char *name,
            uint8_t node, struct zb_err *err)
{
    if (view->leader != node) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED, "%s leads %s", name, s->name);
    return zb_err_hint(err, "zbaton move %s NODE, or if %s is lost: zbaton failover %s", s->name,
                       name, s->name);
}

static enum zb_rc
declared_check(const struct zb_conf_service *s, const struct zb_core_view *view, const char *name,
               uint8_t node, struct zb_err *err)
{
    (void)view;
    (void)node;
    if (!zb_conf_names_contain(&s->members, name) && !zb_conf_names_contain(&s->backups, name)) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED, "%s is declared in service %s", name, s->name);
    return zb_err_hint(err, "take %s out of the services file, then zbaton apply FILE", name);
}

/* Who was a member, and may have led: a failover asks for it by name. */
static enum zb_rc
suspect_check(const struct zb_conf_service *s, const struct zb_core_view *view, const char *name,
              uint8_t node, struct zb_err *err)
{
    if ((zb_voter_suspects(view) & UINT32_C(1) << node) == 0) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED, "%s may be writing to %s still", name, s->name);
    return zb_err_hint(err, "try again once %s is led: zbaton status %s", s->name, s->name);
}

static enum zb_rc
services_check(const struct zb_agent *a, const struct zb_config_doc *doc, const char *name,
               uint8_t node, struct zb_err *err)
{
    static service_check *const checks[] = {leads_check, declared_check, suspect_check};
    enum zb_rc rc = ZB_OK;

    for (size_t c = 0; c < sizeof checks / sizeof checks[0]; c++) {
        for (uint32_t i = 0; i < doc->services.count && rc == ZB_OK; i++) {
            const struct zb_conf_service *s = &doc->services.items[i];
            uint16_t service = zb_agent_service_find(a, s->name);
            struct zb_core_view view = {.leader = ZB_NODE_NONE};
            if (service != ZB_SERVICE_NONE) {
                zb_core_view(a->core, service, &view);
            }
            rc = checks[c](s, &view, name, node, err);
        }
    }
    return rc;
}

/* --- the command --- */

static enum zb_rc
node_check(const struct zb_agent *a, const char *name, uint8_t node, bool lost, struct zb_err *err)
{
    if (node == ZB_NODE_NONE) {
        return zb_agent_no_node(name, err);
    }
    if (node == a->self) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is this node: it cannot take itself out", name);
        return zb_err_hint(err, "run the command on another node");
    }
    if (!lost && !a->nodes[node].up) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "%s is not reachable, and may be needed when it is back", name);
        return zb_err_hint(err, "zbaton node remove --lost %s, if it is gone for ever", name);
    }
    if (lost && a->nodes[node].up) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is not lost: it is up", name);
        return zb_err_hint(err, "zbaton node remove %s", name);
    }
    if (!lost && zb_member_is_issuer(a, node)) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "%s holds the key of the cluster's CA: without it nobody can join", name);
        return zb_err_hint(err, "keep %s, or switch it off and say --lost", name);
    }
    return ZB_OK;
}

/* The nodes that are left have to agree on every change that comes after this one. */
static enum zb_rc
majority_check(const struct zb_agent *a, const struct zb_config_doc *left, struct zb_err *err)
{
    uint32_t up = 0;
    char down[ZB_NODE_NAME_SIZE] = "";

    for (uint32_t i = 0; i < left->nodes_count; i++) {
        uint8_t n = zb_agent_node_find(a, left->nodes[i].name);
        if (n == a->self || (n != ZB_NODE_NONE && a->nodes[n].up)) {
            up++;
        } else {
            zb_strcopy(down, sizeof down, left->nodes[i].name);
        }
    }
    if (up > left->nodes_count / 2) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED,
                     "of the %u nodes that are left %u could be reached: no majority, and no "
                     "change of the configuration any more",
                     left->nodes_count, up);
    return zb_err_hint(err, "if %s is gone for ever, first: zbaton node remove --lost %s", down,
                       down);
}

static void
on_configured(void *ctx, const struct zb_config_outcome *outcome)
{
    struct zb_request *r = ctx;

    if (outcome->rc != ZB_OK) {
        zb_request_fail(r, outcome->err, NULL);
        return;
    }
    zb_agent_event(r->a, ZB_LOG_WARNING, "", "A-node-removed",
                   "%s took %s out of the cluster: its certificate is good for nothing any more",
                   r->who, zb_request_text(r, "node"));
    json_t *data = zb_must(json_object());
    zb_json_put(data, "node", zb_json_text(zb_request_text(r, "node")));
    zb_json_put(data, "version", zb_json_int((int64_t)outcome->version));
    zb_request_done(r, data);
}

static enum zb_rc
doc_without(const struct zb_agent *a, const char *name, struct zb_config_doc *doc,
            struct zb_err *err)
{
    enum zb_rc rc = zb_config_doc_copy(doc, zb_config_current(a), err);
    int index = rc == ZB_OK ? zb_config_doc_node_find(doc, name) : -1;

    if (rc != ZB_OK || index < 0) {
        return rc != ZB_OK ? rc : zb_err_set(err, ZB_E_NOTFOUND, "no node '%.64s'", name);
    }
    doc->nodes_count--;
    memmove(&doc->nodes[index], &doc->nodes[index + 1],
            (doc->nodes_count - (uint32_t)index) * sizeof doc->nodes[0]);
    memset(&doc->nodes[doc->nodes_count], 0, sizeof doc->nodes[0]);
    doc->version++;
    return ZB_OK;
}

/* No other node is known to hold the key of the CA. */
static bool
last_key(const struct zb_agent *a, uint8_t node)
{
    for (uint8_t i = 0; i < a->nodes_count; i++) {
        if (i != node && a->nodes[i].present && zb_member_is_issuer(a, i)) {
            return false;
        }
    }
    return true;
}

void
zb_cmd_node_remove(struct zb_request *r)
{
    const char *name = zb_request_text(r, "node");
    uint8_t node = zb_agent_node_find(r->a, name);
    struct zb_config_doc doc = {0};
    struct zb_err err;
    enum zb_rc rc = node_check(r->a, name, node, zb_request_bool(r, "lost"), &err);

    if (rc == ZB_OK) {
        rc = services_check(r->a, zb_config_current(r->a), name, node, &err);
    }
    if (rc == ZB_OK) {
        rc = doc_without(r->a, name, &doc, &err);
    }
    if (rc == ZB_OK) {
        rc = majority_check(r->a, &doc, &err);
    }
    if (rc != ZB_OK) {
        zb_request_fail(r, &err, NULL);
    } else if (zb_request_bool(r, "dry_run")) {
        json_t *data = zb_must(json_object());
        zb_json_put(data, "last_key", zb_json_bool(last_key(r->a, node)));
        zb_request_done(r, data);
    } else {
        const struct zb_config_change change = {.doc = &doc, .on_done = on_configured, .ctx = r};
        zb_config_change(r->a, &change);
    }
    zb_config_doc_close(&doc);
}
