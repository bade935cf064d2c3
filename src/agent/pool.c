#include "agent/pool.h"

#include <inttypes.h>

#include "agent/apply.h"
#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/note.h"
#include "agent/peer.h"

#define NOTE "pools"

struct zb_pools {
    uint64_t guids[ZB_NODES_MAX];
    bool is_new[ZB_SERVICES_MAX][ZB_NODES_MAX];
    json_t *stored; /* {node: guid}, as in the history; owned; NULL: not read yet */
};

struct zb_pools *
zb_pools_new(void)
{
    return zb_must_alloc(1, sizeof(struct zb_pools));
}

void
zb_pools_free(struct zb_pools *p)
{
    if (p != NULL) {
        json_decref(p->stored);
        free(p);
    }
}

/* --- memory --- */

static void
load(struct zb_agent *a)
{
    if (a->pools->stored == NULL) {
        a->pools->stored = zb_note_load(a, NOTE);
    }
}

static void
store(struct zb_agent *a, uint8_t node, uint64_t guid)
{
    struct zb_pools *p = a->pools;

    p->guids[node] = guid;
    zb_json_put(p->stored, a->nodes[node].name, zb_json_u64(guid));
    (void)zb_note_store(a, NOTE, p->stored);
}

/* 0: nothing was told before. */
static uint64_t
remembered(struct zb_agent *a, uint8_t node)
{
    uint64_t guid = 0;

    load(a);
    if (a->pools->guids[node] != 0) {
        return a->pools->guids[node];
    }
    return zb_json_is_u64(json_object_get(a->pools->stored, a->nodes[node].name), &guid) ? guid : 0;
}

/* --- a change --- */

static void
changed(struct zb_agent *a, uint8_t node, uint64_t was, uint64_t guid)
{
    bool self = node == a->self;

    zb_agent_event(a, ZB_LOG_WARNING, "", "A-pool-changed",
                   "%s: its pool is another one than before (guid %" PRIu64 ", was %" PRIu64
                   "): %s",
                   a->nodes[node].name, guid, was,
                   self ? "copies without the marks of this pool are not received into, nor led "
                          "from; if this is the wrong pool, import the right one and restart "
                          "zbatond; if not, move away or destroy what stands in the way, and full "
                          "copies come by themselves"
                        : "where it stood before does not count any more");
    for (uint32_t s = 0; s < a->services_count; s++) {
        a->pools->is_new[s][node] = true;
        if (!self && a->services[s].present) {
            zb_apply_position_forget(a, (uint16_t)s, node);
        }
    }
}

static void
told(struct zb_agent *a, uint8_t node, uint64_t guid)
{
    uint64_t was = remembered(a, node);

    if (guid == 0 || guid == was) {
        a->pools->guids[node] = was;
        return;
    }
    store(a, node, guid);
    if (was != 0) {
        changed(a, node, was, guid);
    }
}

static void
guid_send(struct zb_agent *a, uint8_t node)
{
    json_t *msg = zb_json_new("pool");

    zb_json_put(msg, "guid", zb_json_u64(a->pools->guids[a->self]));
    (void)zb_peer_send(a, node, msg);
}

void
zb_pool_own(struct zb_agent *a, uint64_t guid)
{
    uint64_t before = a->pools->guids[a->self];

    told(a, a->self, guid);
    for (uint8_t n = 0; n < a->nodes_count && a->pools->guids[a->self] != before; n++) {
        if (n != a->self && a->nodes[n].up) {
            guid_send(a, n);
        }
    }
}

void
zb_pool_peer_up(struct zb_agent *a, uint8_t node)
{
    if (a->pools->guids[a->self] != 0) {
        guid_send(a, node);
    }
}

void
zb_pool_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    uint64_t guid = zb_json_read_u64(&r, "guid");

    if (r.bad == NULL) {
        told(a, node, guid);
    }
}

void
zb_pool_holds(struct zb_agent *a, uint16_t service, uint8_t node)
{
    a->pools->is_new[service][node] = false;
}

bool
zb_pool_is_new(const struct zb_agent *a, uint16_t service, uint8_t node)
{
    return node < ZB_NODES_MAX && a->pools->is_new[service][node];
}
