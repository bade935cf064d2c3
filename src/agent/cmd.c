/*
 * The table of commands, and the small ones.
 */
#include <inttypes.h>

#include "agent/config.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/member.h"
#include "agent/request.h"

const struct zb_command *
zb_command_find(const char *name)
{
    static const struct zb_command commands[] = {
        {"ping", false, zb_cmd_ping},
        {"status", false, zb_cmd_status},
        {"transfers", true, zb_cmd_transfers},
        {"node.list", false, zb_cmd_node_list},
        {"node.remove", false, zb_cmd_node_remove},
        {"cert.renew", true, zb_cmd_cert_renew},
        {"cert.sign", true, zb_cmd_cert_sign, .peer_only = true},
        {"token.create", false, zb_cmd_token_create},
        {"token.list", false, zb_cmd_token_list},
        {"token.revoke", false, zb_cmd_token_revoke},
        {"config.show", false, zb_cmd_config_show},
        {"apply", false, zb_cmd_apply},
        {"adopt.plan", true, zb_cmd_adopt_plan},
        {"snapshot", true, zb_cmd_snapshot},
        {"sync", true, zb_cmd_sync},
        {"label", true, zb_cmd_label},
        {"move", true, zb_cmd_move},
        {"start", true, zb_cmd_start},
        {"drain", false, zb_cmd_drain},
        {"undrain", false, zb_cmd_undrain},
        {"failover", true, zb_cmd_failover},
        {"fenced", true, zb_cmd_fenced},
        {"revert", true, zb_cmd_revert},
        {"rejoin", true, zb_cmd_rejoin},
        {"rescue.list", true, zb_cmd_rescue_list},
        {"rescue.show", true, zb_cmd_rescue_show},
        {"rescue.mount", false, zb_cmd_rescue_mount},
        {"rescue.drop", false, zb_cmd_rescue_drop},
        {"drill", true, zb_cmd_drill},
        {"peek", true, zb_cmd_peek},
        {"peek.list", true, zb_cmd_peek_list},
        {"peek.end", true, zb_cmd_peek_end},
        {"verify", false, zb_cmd_verify},
        {"verify.part", true, zb_cmd_verify_part, .peer_only = true},
        {"verify.end", true, zb_cmd_verify_end, .peer_only = true},
        {"rekey", false, zb_cmd_rekey},
        {"rekey.part", true, zb_cmd_rekey_part, .peer_only = true},
        {"prune", true, zb_cmd_prune},
        {"explain", true, zb_cmd_explain},
        {"freeze", false, zb_cmd_freeze},
        {"thaw", false, zb_cmd_thaw},
        {"history", false, zb_cmd_history},
        {"events", false, zb_cmd_events},
    };

    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

void
zb_cmd_ping(struct zb_request *r)
{
    const struct zb_agent *a = r->a;
    json_t *data = zb_must(json_object());

    zb_json_put(data, "node", zb_json_text(a->nodes[a->self].name));
    zb_json_put(data, "version", zb_json_text(ZB_VERSION));
    zb_json_put(data, "cluster", zb_json_text(a->cluster_name));
    zb_request_done(r, data);
}

static void
cert_add(json_t *node, const struct zb_agent *a, uint8_t i)
{
    const struct zb_wall ends = zb_member_cert_ends(a, i);
    char text[24];

    zb_wall_format(ends, text);
    zb_json_put(node, "cert", zb_json_text(a->nodes[i].fingerprint));
    zb_json_put(node, "cert_ends", ends.s != 0 ? zb_json_text(text) : zb_must(json_null()));
}

void
zb_cmd_node_list(struct zb_request *r)
{
    const struct zb_agent *a = r->a;
    json_t *data = zb_must(json_object());
    json_t *nodes = zb_json_array_new();

    for (uint8_t i = 0; i < a->nodes_count; i++) {
        const struct zb_agent_node *n = &a->nodes[i];
        if (!n->present) {
            continue;
        }
        bool self = i == a->self;
        json_t *node = zb_must(json_object());
        zb_json_put(node, "name", zb_json_text(n->name));
        zb_json_put(node, "address", zb_json_text(n->address));
        zb_json_put(node, "up", zb_json_bool(self || n->up));
        zb_json_put(node, "self", zb_json_bool(self));
        zb_json_put(node, "drained", zb_drained_json(&n->drained));
        zb_json_put(node, "version", zb_json_text(self ? ZB_VERSION : zb_member_version(a, i)));
        cert_add(node, a, i);
        zb_json_append(nodes, node);
    }
    zb_json_put(data, "nodes", nodes);
    zb_request_done(r, data);
}

void
zb_cmd_config_show(struct zb_request *r)
{
    const struct zb_config_doc *doc = zb_config_current(r->a);
    json_t *data = zb_must(json_object());

    zb_json_put(data, "version", zb_json_int((int64_t)doc->version));
    zb_json_put(data, "text", zb_json_text(doc->text));
    json_t *frozen = zb_json_array_new();
    for (uint32_t i = 0; i < doc->freezes.count; i++) {
        json_t *one = zb_freeze_json(&doc->freezes.items[i]);
        zb_json_put(one, "service", zb_json_text(doc->freezes.items[i].service));
        zb_json_append(frozen, one);
    }
    zb_json_put(data, "frozen", frozen);
    zb_request_done(r, data);
}
