#include "agent/said.h"

#include <stdlib.h>
#include <string.h>

#include "agent/drive.h"
#include "agent/internal.h"
#include "agent/json.h"
#include "agent/must.h"
#include "agent/peer.h"
#include "base/log.h"

#define GATHER_MS 1000

/* The last report of a service to and of a node on this connection; NULL: there was none. */
typedef struct zb_core_msg *reports[ZB_SERVICES_MAX][ZB_NODES_MAX];

struct zb_said {
    reports told;
    reports heard;
    json_t *same[ZB_NODES_MAX];         /* names that wait for zb_said_send; NULL: none */
    uint64_t same_number[ZB_NODES_MAX]; /* of the last of those reports */
    uv_timer_t timer;
};

static void
on_timer(uv_timer_t *timer)
{
    struct zb_agent *a = timer->data;

    for (uint32_t n = 0; n < a->nodes_count; n++) {
        zb_said_send(a, (uint8_t)n);
    }
}

struct zb_said *
zb_said_new(struct zb_agent *a)
{
    struct zb_said *s = zb_must_alloc(1, sizeof(*s));

    (void)uv_timer_init(&a->loop, &s->timer);
    s->timer.data = a;
    return s;
}

void
zb_said_close(struct zb_agent *a)
{
    if (a->said != NULL) {
        uv_close((uv_handle_t *)&a->said->timer, NULL);
    }
}

static void
keep(struct zb_core_msg **at, const struct zb_core_msg *report)
{
    if (*at == NULL) {
        *at = zb_must_alloc(1, sizeof(**at));
    }
    **at = *report;
}

static void
forget(struct zb_core_msg **at)
{
    free(*at);
    *at = NULL;
}

static void
service_forget(struct zb_said *s, uint16_t service)
{
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        forget(&s->told[service][n]);
        forget(&s->heard[service][n]);
    }
}

void
zb_said_free(struct zb_said *s)
{
    if (s == NULL) {
        return;
    }
    for (uint16_t i = 0; i < ZB_SERVICES_MAX; i++) {
        service_forget(s, i);
    }
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        json_decref(s->same[n]);
    }
    free(s);
}

void
zb_said_forget_service(struct zb_agent *a, uint16_t service)
{
    service_forget(a->said, service);
}

void
zb_said_forget_node(struct zb_agent *a, uint8_t node)
{
    struct zb_said *s = a->said;

    for (uint32_t i = 0; i < a->services_count; i++) {
        forget(&s->told[i][node]);
        forget(&s->heard[i][node]);
    }
    json_decref(s->same[node]);
    s->same[node] = NULL;
}

void
zb_said_forget_all(struct zb_agent *a)
{
    for (uint8_t n = 0; n < ZB_NODES_MAX; n++) {
        zb_said_forget_node(a, n);
    }
}

/* --- saying --- */

bool
zb_said_before(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_core_msg *report)
{
    struct zb_said *s = a->said;
    struct zb_core_msg *before = s->told[service][node];

    if (before != NULL) {
        before->number = report->number; /* which is another one each time */
    }
    /* Both were zeroed first; a difference in padding would only cost a whole report. */
    // NOLINTNEXTLINE(bugprone-suspicious-memory-comparison)
    if (before == NULL || memcmp(before, report, sizeof(*report)) != 0) {
        keep(&s->told[service][node], report);
        return false;
    }
    if (s->same[node] == NULL) {
        s->same[node] = zb_json_array_new();
    }
    if (!uv_is_active((uv_handle_t *)&s->timer)) {
        (void)uv_timer_start(&s->timer, on_timer, GATHER_MS, 0);
    }
    zb_json_append(s->same[node], zb_json_text(a->services[service].conf.name));
    s->same_number[node] = report->number;
    return true;
}

void
zb_said_send(struct zb_agent *a, uint8_t node)
{
    json_t *services = a->said->same[node];

    if (services != NULL) {
        json_t *msg = zb_json_new("core.same");
        a->said->same[node] = NULL;
        zb_json_put(msg, "services", services);
        zb_json_put(msg, "number", zb_json_u64(a->said->same_number[node]));
        (void)zb_peer_send(a, node, msg);
    }
}

/* --- hearing --- */

void
zb_said_heard(struct zb_agent *a, uint16_t service, uint8_t node, const struct zb_core_msg *report)
{
    keep(&a->said->heard[service][node], report);
}

/* Nodes mostly have them in the same order. */
static uint16_t
service_after(const struct zb_agent *a, uint16_t last, const char *name)
{
    uint32_t next = last == ZB_SERVICE_NONE ? 0 : last + 1u;

    if (next < a->services_count && a->services[next].present &&
        strcmp(a->services[next].conf.name, name) == 0) {
        return (uint16_t)next;
    }
    return zb_agent_service_find(a, name);
}

/* Takes services. */
static void
anew_ask(struct zb_agent *a, uint8_t node, json_t *services)
{
    json_t *msg = zb_json_new("core.anew");

    zb_json_put(msg, "services", services);
    (void)zb_peer_send(a, node, msg);
}

void
zb_said_ask(struct zb_agent *a, uint16_t service)
{
    for (uint32_t n = 0; n < a->nodes_count; n++) {
        const struct zb_core_msg *report = a->said->heard[service][n];
        if (n == a->self || !a->nodes[n].up) {
            continue;
        }
        if (report != NULL) {
            zb_drive_report(a, service, (uint8_t)n, report);
        } else {
            json_t *services = zb_json_array_new();
            zb_json_append(services, zb_json_text(a->services[service].conf.name));
            anew_ask(a, (uint8_t)n, services);
        }
    }
}

static void
same_take(struct zb_agent *a, uint8_t node, const json_t *services, uint64_t number)
{
    json_t *anew = zb_json_array_new();
    const json_t *name;
    uint16_t service = ZB_SERVICE_NONE;
    size_t i;

    json_array_foreach(services, i, name)
    {
        service = service_after(a, service, json_string_value(name));
        struct zb_core_msg *report =
            service == ZB_SERVICE_NONE ? NULL : a->said->heard[service][node];
        if (report != NULL) {
            report->number = number;
            zb_drive_report(a, service, node, report);
        } else {
            zb_json_append(anew, json_incref((json_t *)(uintptr_t)name));
        }
    }
    if (json_array_size(anew) > 0) {
        anew_ask(a, node, anew);
    } else {
        json_decref(anew);
    }
}

/* To forget would do, by the next refresh; who asked may be waiting. */
static void
anew_send(struct zb_agent *a, uint8_t node, const json_t *services)
{
    const json_t *name;
    size_t i;

    json_array_foreach(services, i, name)
    {
        uint16_t service = zb_agent_service_find(a, json_string_value(name));
        if (service != ZB_SERVICE_NONE && a->said->told[service][node] != NULL) {
            const struct zb_core_msg report = *a->said->told[service][node];
            forget(&a->said->told[service][node]);
            zb_drive_tell(a, service, node, &report);
        }
    }
}

void
zb_said_message(struct zb_agent *a, uint8_t node, const json_t *msg)
{
    bool same = strcmp(json_string_value(json_object_get(msg, "t")), "core.same") == 0;
    const json_t *services = json_object_get(msg, "services"), *name;
    struct zb_json_reader r = zb_json_read(msg);
    uint64_t number = same ? zb_json_read_u64(&r, "number") : 0;
    size_t i;

    if (same && number == 0) {
        zb_json_read_fail(&r, "number");
    }
    json_array_foreach(services, i, name)
    {
        if (!json_is_string(name)) {
            zb_json_read_fail(&r, "services");
        }
    }
    if (r.bad != NULL) {
        zb_log_warning("message of %s dropped: %s", a->nodes[node].name, r.bad);
    } else if (same) {
        same_take(a, node, services, number);
    } else {
        anew_send(a, node, services);
    }
}
