#include "agent/etcds.h"

#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/note.h"
#include "agent/peer.h"
#include "base/log.h"

#define NOTE "etcds"

struct zb_etcds {
    bool loaded;
    struct zb_session_etcds all;
};

struct zb_etcds *
zb_etcds_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_etcds));
}

void
zb_etcds_free(struct zb_etcds *e)
{
    free(e);
}

static void
told_set(const struct zb_agent *a, uint8_t who, uint8_t by, bool known, uint64_t etcd)
{
    struct zb_session_etcds *all = &a->etcds->all;

    if (all->told[who][by].known != known || all->told[who][by].etcd != etcd) {
        all->told[who][by].known = known;
        all->told[who][by].etcd = etcd;
        all->changed_at = zb_mono_now();
    }
}

/* What `who` was told, by names; whom this node does not know is left out. False: it is no such
 * thing, and nothing is taken. */
static bool
row_read(const struct zb_agent *a, uint8_t who, json_t *nodes)
{
    struct zb_session_etcds read = {0};
    const char *name;
    json_t *value;

    if (!json_is_object(nodes)) {
        return false;
    }
    json_object_foreach(nodes, name, value)
    {
        uint8_t node = zb_agent_node_find(a, name);
        uint64_t etcd;
        if (!zb_json_is_u64(value, &etcd)) {
            return false;
        }
        if (node != ZB_NODE_NONE) {
            read.told[who][node].known = true;
            read.told[who][node].etcd = etcd;
        }
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        told_set(a, who, n, read.told[who][n].known, read.told[who][n].etcd);
    }
    return true;
}

static json_t *
row_json(const struct zb_agent *a)
{
    json_t *nodes = zb_must(json_object());

    for (uint8_t n = 0; n < a->nodes_count; n++) {
        if (a->etcds->all.told[a->self][n].known) {
            zb_json_put(nodes, a->nodes[n].name, zb_json_u64(a->etcds->all.told[a->self][n].etcd));
        }
    }
    return nodes;
}

/* In which etcd the own session was is not kept: until it is found again, it is said to be in none,
 * for the configuration may name another one now. */
static void
load(const struct zb_agent *a)
{
    if (a->etcds->loaded) {
        return;
    }
    a->etcds->loaded = true;
    json_t *nodes = zb_note_load(a, NOTE);
    if (!row_read(a, a->self, nodes)) {
        zb_log_error("etcds in the history: not what was written there");
    }
    told_set(a, a->self, a->self, true, 0);
    json_decref(nodes);
}

static void
row_send(struct zb_agent *a, uint8_t node)
{
    json_t *msg = zb_json_new("etcds");

    zb_json_put(msg, "nodes", row_json(a));
    (void)zb_peer_send(a, node, msg);
}

static void
row_tell(struct zb_agent *a)
{
    for (uint32_t n = 0; n < a->nodes_count; n++) {
        if (n != a->self && a->nodes[n].up) {
            row_send(a, (uint8_t)n);
        }
    }
}

void
zb_etcds_peer_up(struct zb_agent *a, uint8_t node)
{
    load(a);
    row_send(a, node);
}

void
zb_etcds_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_session_etcds *all = &a->etcds->all;
    json_t *nodes = json_object_get(msg, "nodes");

    load(a);
    if (json_object_get(nodes, a->nodes[node].name) == NULL || !row_read(a, node, nodes)) {
        zb_log_warning("etcds told by %s dropped", a->nodes[node].name);
        return;
    }
    if (!all->told[a->self][node].known ||
        all->told[a->self][node].etcd != all->told[node][node].etcd) {
        told_set(a, a->self, node, true, all->told[node][node].etcd);
        json_t *row = row_json(a);
        bool stored = zb_note_store(a, NOTE, row);
        json_decref(row);
        if (!stored) { /* it would grant as if it had not been told, after its next start */
            zb_log_error("in which etcd %s is could not be stored: ending", a->nodes[node].name);
            zb_agent_stop(a);
            return;
        }
        row_tell(a);
    }
}

void
zb_etcds_own(struct zb_agent *a, uint64_t etcd)
{
    load(a);
    told_set(a, a->self, a->self, true, etcd);
    row_tell(a);
}

const struct zb_session_etcds *
zb_etcds_told(const struct zb_agent *a)
{
    load(a);
    return &a->etcds->all;
}

/* --- status --- */

static bool
is_shared(const struct zb_agent *a, uint8_t node)
{
    for (uint32_t i = 0; i < a->services_count; i++) {
        const struct zb_agent_service *s = &a->services[i];
        if (s->present && s->conf.failover == ZB_CONF_FAILOVER_AUTOMATIC &&
            zb_conf_names_contain(&s->conf.members, a->nodes[a->self].name) &&
            zb_conf_names_contain(&s->conf.members, a->nodes[node].name)) {
            return true;
        }
    }
    return false;
}

void
zb_etcds_warn(const struct zb_agent *a, json_t *warnings)
{
    const struct zb_session_etcds *all = zb_etcds_told(a);
    uint64_t own = all->told[a->self][a->self].etcd;
    char text[300];

    for (uint32_t n = 0; own != 0 && n < a->nodes_count; n++) {
        if (n == a->self || !a->nodes[n].present || !all->told[a->self][n].known ||
            all->told[a->self][n].etcd == own || !is_shared(a, (uint8_t)n)) {
            continue;
        }
        (void)snprintf(text, sizeof text,
                       "%s: %s; nobody takes over from it without an order before it has a session "
                       "in the etcd of %s",
                       a->nodes[n].name,
                       all->told[a->self][n].etcd != 0 ? "its session is in another etcd"
                                                       : "it has told of no session in etcd",
                       a->nodes[a->self].name);
        zb_json_append(warnings, zb_json_text(text));
    }
}
