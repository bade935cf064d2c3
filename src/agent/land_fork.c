#include "agent/drive.h"
#include "agent/json.h"
#include "agent/land_internal.h"

const struct zb_land_fork *
zb_land_fork_find(const struct zb_agent *a, uint16_t service, uint8_t node, uint64_t term)
{
    const struct zb_land_fork *f = &a->lands->forks[service];
    return f->term != 0 && f->term == term && f->node == node ? f : NULL;
}

void
zb_land_fork_forget(struct zb_agent *a, uint16_t service)
{
    zb_manifest_close(&a->lands->forks[service].m);
    a->lands->forks[service] = (struct zb_land_fork){0};
    a->lands->aside[service] = a->lands->asked[service];
}

/* Found before what came away was set aside: what has come in since is of the history. */
static bool
is_of_before(const struct zb_agent *a, uint16_t service, uint8_t node, uint64_t ship)
{
    const struct zb_land_look *aside = &a->lands->aside[service];

    return aside->node == node && ship <= aside->ship;
}

void
zb_land_forks_free(struct zb_lands *lands)
{
    for (size_t i = 0; i < ZB_SERVICES_MAX; i++) {
        zb_manifest_close(&lands->forks[i].m);
    }
}

void
zb_land_fork_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    struct zb_json_reader r = zb_json_read(msg);
    struct zb_land_fork got = {.node = node};
    char name[ZB_SERVICE_NAME_SIZE];
    zb_json_read_name(&r, "service", name, sizeof(name), zb_service_name_valid);
    uint64_t ship = zb_json_read_u64(&r, "ship");
    got.term = zb_json_read_u64(&r, "term");
    got.common = zb_json_read_bool(&r, "common");
    if (!json_is_null(json_object_get(msg, "manifest"))) {
        zb_json_read_manifest(&r, "manifest", &got.m);
    }
    uint16_t service = zb_agent_service_find(a, name);
    struct zb_land_sender from = {.node = node, .term = got.term};
    const char *why = r.bad != NULL                                          ? r.bad
                      : service == ZB_SERVICE_NONE                           ? "unknown service"
                      : got.common != (zb_manifest_find(&got.m, "") != NULL) ? "common"
                      : is_of_before(a, service, node, ship)
                          ? "what came after it was set aside since"
                          : zb_land_refuses(a, service, &from);
    if (why != NULL) {
        zb_log_warning("%s told of a fork that is not taken (%s)", a->nodes[node].name, why);
        zb_manifest_close(&got.m);
        return;
    }
    zb_manifest_close(&a->lands->forks[service].m);
    a->lands->forks[service] = got;
    struct zb_event event = {.kind = ZB_EV_DIVERGED, .service = service, .node = node};
    event.u.diverged.term = got.term;
    event.u.diverged.common = got.common;
    zb_drive_event(a, &event);
}
