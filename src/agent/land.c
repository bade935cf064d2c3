#include "agent/land_internal.h"

#include "agent/drive.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/position.h"
#include "agent/trouble.h"
#include "wire/kmsg.h"

static const char *const as_words[] = {
    [ZB_SHIP_AS_LEADER] = "leader", [ZB_SHIP_AS_FORWARD] = "forward", [ZB_SHIP_AS_COPY] = "copy"};

json_t *
zb_ship_as_json(enum zb_ship_as as)
{
    return zb_json_text(as_words[as]);
}

enum zb_ship_as
zb_ship_as_read(struct zb_json_reader *r)
{
    char word[16];

    zb_json_read_text(r, "as", word, sizeof word);
    for (int as = ZB_SHIP_AS_LEADER; as <= ZB_SHIP_AS_COPY; as++) {
        if (strcmp(word, as_words[as]) == 0) {
            return (enum zb_ship_as)as;
        }
    }
    zb_json_read_fail(r, "as");
    return ZB_SHIP_AS_LEADER;
}

uint32_t
zb_ship_as_flags(enum zb_ship_as as)
{
    return as == ZB_SHIP_AS_FORWARD ? ZB_KF_FORWARD : as == ZB_SHIP_AS_COPY ? ZB_KF_COPY : 0;
}

struct zb_lands *
zb_lands_new(struct zb_agent *a)
{
    struct zb_lands *lands = zb_must_alloc(1, sizeof(*lands));
    lands->a = a;
    return lands;
}

static void
landing_free(struct zb_lands *lands, struct zb_landing *l)
{
    struct zb_landing **at = &lands->landings;
    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    zb_manifest_close(&l->manifest);
    free(l);
}

void
zb_lands_free(struct zb_agent *a)
{
    struct zb_lands *lands = a->lands;
    if (lands == NULL) {
        return;
    }
    while (lands->landings != NULL) {
        landing_free(lands, lands->landings);
    }
    zb_land_forks_free(lands);
    zb_land_recvs_free(lands);
    zb_land_inventories_free(lands, ZB_NODE_NONE);
    free(lands);
    a->lands = NULL;
}

void
zb_land_peer_down(struct zb_agent *a, uint8_t node)
{
    struct zb_lands *lands = a->lands;
    struct zb_landing *next;
    for (size_t i = 0; i < ZB_SERVICES_MAX; i++) { /* its next start counts its ships anew */
        if (lands->asked[i].node == node) {
            lands->asked[i].ship = 0;
        }
        if (lands->aside[i].node == node) {
            lands->aside[i].ship = 0;
        }
    }
    for (struct zb_landing *l = lands->landings; l != NULL; l = next) {
        next = l->next;
        if (l->node == node) {
            landing_free(lands, l);
        }
    }
    zb_land_inventories_free(lands, node);
}

void
zb_land_forget(struct zb_agent *a, uint16_t service)
{
    struct zb_landing *next;
    a->lands->aside[service] = a->lands->asked[service];
    for (struct zb_landing *l = a->lands->landings; l != NULL; l = next) {
        next = l->next;
        if (l->service == service) {
            landing_free(a->lands, l);
        }
    }
}

static bool
is_member(const struct zb_agent *a, uint16_t service, uint8_t node)
{
    const struct zb_conf_service *conf = &a->services[service].conf;
    return zb_conf_names_contain(&conf->members, a->nodes[node].name) ||
           zb_conf_names_contain(&conf->backups, a->nodes[node].name);
}

/* The first copy of this node: from its beginning to its end, in which older sets may be whole. */
static const char *
copy_refuses(const struct zb_agent *a, uint16_t service, const struct zb_land_sender *from,
             const struct zb_core_view *view)
{
    const struct zb_landing *l = a->lands->landings;

    while (l != NULL && (l->service != service || l->node != from->node ||
                         l->as != ZB_SHIP_AS_COPY || l->term != from->term)) {
        l = l->next;
    }
    if (view->obs.learned_term != from->term || view->obs.granted_term > from->term) {
        return "this node does not follow in that term";
    }
    if (!is_member(a, service, from->node)) {
        return "the sender is no member of the service";
    }
    return l == NULL && !zb_set_id_is_none(view->obs.newest.id) ? "this node has a copy already"
                                                                : NULL;
}

const char *
zb_land_refuses(const struct zb_agent *a, uint16_t service, const struct zb_land_sender *from)
{
    struct zb_core_view view;
    zb_core_view(a->core, service, &view);
    if (!view.member) {
        return "this node is no member of the service";
    }
    if (from->as == ZB_SHIP_AS_COPY) {
        return copy_refuses(a, service, from, &view);
    }
    if (from->as == ZB_SHIP_AS_FORWARD) {
        bool candidate = view.role == ZB_ROLE_FORWARDING && view.obs.granted_term == from->term &&
                         view.obs.granted_to == a->self;
        return !candidate                           ? "this node is no candidate in that term"
               : !is_member(a, service, from->node) ? "the sender is no member of the service"
                                                    : NULL;
    }
    if (view.obs.learned_leader != from->node || view.obs.learned_term != from->term) {
        return "this node does not follow the sender in that term";
    }
    return view.obs.granted_term > from->term ? "a higher term was granted here" : NULL;
}

static void
ack_send(struct zb_agent *a, const struct zb_landing *l, enum zb_rc rc, const char *text)
{
    struct zb_set_ref ref = {0};
    struct zb_err err;
    json_t *msg = zb_json_new("ship.ack");
    if (rc == ZB_OK) {
        zb_manifest_ref(&l->manifest, &ref);
    }
    zb_json_put(msg, "service", zb_json_text(a->services[l->service].conf.name));
    zb_json_put(msg, "ship", zb_json_u64(l->ship));
    zb_json_put(msg, "rc", zb_json_int(rc));
    zb_json_put(msg, "msg", zb_json_text(text));
    zb_json_put(msg, "set", zb_json_set(&ref));
    if (zb_net_send(a->net, a->nodes[l->node].name, msg, &err) != ZB_OK) {
        zb_log_debug("acknowledgement to %s: %s", a->nodes[l->node].name, err.msg);
    }
    json_decref(msg);
}

/* The set is here whole. */
static void
landing_done(struct zb_agent *a, struct zb_landing *l)
{
    struct zb_event event = {.kind = ZB_EV_RECEIVED, .service = l->service};
    zb_manifest_ref(&l->manifest, &event.u.set);
    zb_land_fork_forget(a, l->service);
    zb_trouble_put(a, &(struct zb_trouble_at){l->service, ZB_TROUBLE_RECEIVE, l->node}, ZB_OK, "");
    ack_send(a, l, ZB_OK, "");
    landing_free(a->lands, l);
    zb_drive_event(a, &event);
}

/* Every dataset's snapshot was just received and re-read by the keeper. */
static bool
landing_is_seen(const struct zb_landing *l)
{
    for (uint32_t i = 0; i < l->manifest.entries_count; i++) {
        const struct zb_manifest_entry *e = &l->manifest.entries[i];
        bool seen = false;
        for (uint32_t k = 0; k < l->seen_count && !seen; k++) {
            seen = l->seen[k].guid == e->guid && strcmp(l->seen[k].uuid, e->uuid) == 0;
        }
        if (!seen) {
            return false;
        }
    }
    return true;
}

struct check {
    struct zb_agent *a;
    uint16_t service;
    uint64_t ship;
};

static void
on_checked(void *ctx, bool held)
{
    struct check *c = ctx;
    struct zb_landing *l = c->a->lands != NULL ? c->a->lands->landings : NULL;
    while (l != NULL && (l->service != c->service || l->ship != c->ship)) {
        l = l->next;
    }
    if (l != NULL && held) {
        landing_done(c->a, l);
    } else if (l != NULL) {
        ack_send(c->a, l, ZB_E_MISMATCH, "the set is not here whole");
        landing_free(c->a->lands, l);
    }
    free(c);
}

static void
landing_settle(struct zb_agent *a, struct zb_landing *l)
{
    if (!l->announced || l->checking || l->streams_done < l->streams_total) {
        return;
    }
    if (landing_is_seen(l)) {
        landing_done(a, l);
        return;
    }
    struct check *c = zb_must_alloc(1, sizeof(*c));
    *c = (struct check){.a = a, .service = l->service, .ship = l->ship};
    l->checking = true;
    zb_position_check(a, l->service, &l->manifest, on_checked, c);
}

/* The landing of this ship; what came before it for the service is over. */
static struct zb_landing *
landing_get(struct zb_lands *lands, uint16_t service, uint8_t node, uint64_t ship, uint64_t term)
{
    struct zb_landing *l = lands->landings;
    while (l != NULL && l->service != service) {
        l = l->next;
    }
    if (l != NULL && (l->node != node || l->ship != ship || l->term != term)) {
        landing_free(lands, l);
        l = NULL;
    }
    if (l == NULL) {
        l = zb_must_alloc(1, sizeof(*l));
        l->service = service;
        l->node = node;
        l->ship = ship;
        l->term = term;
        l->next = lands->landings;
        lands->landings = l;
    }
    return l;
}

void
// NOLINTNEXTLINE(readability-function-size): seven values of one stream
zb_land_received(struct zb_agent *a, uint16_t service, uint8_t node, uint64_t ship, uint64_t term,
                 const char *uuid, uint64_t guid)
{
    struct zb_landing *l = landing_get(a->lands, service, node, ship, term);
    uint32_t at = 0;
    while (at < l->seen_count && strcmp(l->seen[at].uuid, uuid) != 0) {
        at++;
    }
    if (at < ZB_DATASETS_MAX) {
        zb_strcopy(l->seen[at].uuid, sizeof(l->seen[at].uuid), uuid);
        l->seen[at].guid = guid;
        l->seen_count = at == l->seen_count ? at + 1 : l->seen_count;
    }
    l->streams_done++;
    landing_settle(a, l);
}

/* The service was withdrawn, its data destroyed, and it was declared again before this node heard
 * of the first: what is known here is of an earlier tree. */
static bool
is_of_earlier_tree(const struct zb_manifest *known, const struct zb_manifest *m)
{
    const struct zb_manifest_entry *mine = zb_manifest_find(known, "");
    const struct zb_manifest_entry *theirs = zb_manifest_find(m, "");

    return mine != NULL && theirs != NULL && strcmp(mine->uuid, theirs->uuid) != 0;
}

/* A set of this id that is known with other content is not replaced. One that is a part of m is:
 * it was put together from a disk that not all of its datasets had come to yet. */
static bool
manifest_agrees(struct zb_agent *a, uint16_t service, const struct zb_manifest *m)
{
    const struct zb_manifest *known = zb_position_manifest(a, service, m->id);
    if (known != NULL && is_of_earlier_tree(known, m)) {
        return true;
    }
    for (uint32_t i = 0; known != NULL && i < known->entries_count; i++) {
        const struct zb_manifest_entry *mine = &known->entries[i];
        const struct zb_manifest_entry *theirs = zb_manifest_find(m, mine->rel);
        if (theirs == NULL || theirs->guid != mine->guid || strcmp(theirs->uuid, mine->uuid) != 0) {
            return false;
        }
    }
    return true;
}

bool
zb_land_know(struct zb_agent *a, uint16_t service, const struct zb_manifest *m)
{
    if (!manifest_agrees(a, service, m)) {
        return false;
    }
    zb_position_know(a, service, m);
    zb_position_store(a, service, m);
    return true;
}

static void
set_announced(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    struct zb_manifest m = {0};
    char name[ZB_SERVICE_NAME_SIZE];
    struct zb_land_sender from = {.node = node};
    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    uint64_t ship = zb_json_read_u64(&r, "ship");
    from.term = zb_json_read_u64(&r, "term");
    from.as = zb_ship_as_read(&r);
    uint32_t streams = (uint32_t)zb_json_read_int(&r, "streams", 0, UINT32_MAX);
    zb_json_read_manifest(&r, "manifest", &m);
    uint16_t service = zb_agent_service_find(a, name);
    if (r.bad != NULL || service == ZB_SERVICE_NONE) {
        zb_log_warning("%s announced a set that cannot be taken (%s)", a->nodes[node].name,
                       r.bad != NULL ? r.bad : "unknown service");
        zb_manifest_close(&m);
        return;
    }
    struct zb_landing refused = {.service = service, .node = node, .ship = ship};
    const char *why = zb_land_refuses(a, service, &from);
    if (why != NULL) {
        ack_send(a, &refused, ZB_E_STALE, why);
        zb_manifest_close(&m);
        return;
    }
    if (!zb_land_know(a, service, &m)) {
        ack_send(a, &refused, ZB_E_MISMATCH, ZB_LAND_OTHER_SET);
        zb_manifest_close(&m);
        return;
    }
    struct zb_landing *l = landing_get(a->lands, service, node, ship, from.term);
    zb_manifest_close(&l->manifest);
    l->manifest = m;
    l->announced = true;
    l->streams_total = streams;
    l->as = from.as;
    landing_settle(a, l);
}

void
zb_land_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    const char *type = json_string_value(json_object_get(msg, "t"));
    if (strcmp(type, "ship.set") == 0) {
        set_announced(a, node, msg);
    } else if (strcmp(type, "ship.fork") == 0) {
        zb_land_fork_message(a, node, msg);
    } else {
        zb_land_inventory_ask(a, node, msg);
    }
}
