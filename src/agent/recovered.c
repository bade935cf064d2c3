#include "agent/recovered.h"

#include <inttypes.h>

#include "agent/json.h"
#include "agent/must.h"

#define FLOOR_STEP 1000      /* more terms than members that nobody hears of come to */
#define FLOOR_RANDOM 1000000 /* steps, of which one is drawn */
#define SEEN_MAX (INT64_MAX / 2)

enum zb_rc
zb_recovered_floor(uint64_t seen, uint64_t random, uint64_t *floor, struct zb_err *err)
{
    if (seen > SEEN_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "term %" PRIu64 " was seen: above it there is no room",
                          seen);
    }
    *floor = (seen / FLOOR_STEP + 2 + random % FLOOR_RANDOM) * FLOOR_STEP;
    return ZB_OK;
}

/* Where it is, or would stand. */
static uint32_t
place_of(const struct zb_recovered *r, const char *service)
{
    uint32_t i = 0;

    while (i < r->count && strcmp(r->services[i], service) < 0) {
        i++;
    }
    return i;
}

bool
zb_recovered_has(const struct zb_recovered *r, const char *service)
{
    uint32_t i = place_of(r, service);

    return i < r->count && strcmp(r->services[i], service) == 0;
}

void
zb_recovered_add(struct zb_recovered *r, const char *service)
{
    uint32_t i = place_of(r, service);

    if (zb_recovered_has(r, service)) {
        return;
    }
    r->services = zb_must(reallocarray(r->services, r->count + 1, sizeof r->services[0]));
    memmove(&r->services[i + 1], &r->services[i], (r->count - i) * sizeof r->services[0]);
    zb_strcopy(r->services[i], sizeof r->services[i], service);
    r->count++;
}

void
zb_recovered_remove(struct zb_recovered *r, const char *service)
{
    uint32_t i = place_of(r, service);

    if (zb_recovered_has(r, service)) {
        r->count--;
        memmove(&r->services[i], &r->services[i + 1], (r->count - i) * sizeof r->services[0]);
    }
}

void
zb_recovered_copy(struct zb_recovered *to, const struct zb_recovered *from)
{
    to->term = from->term;
    if (from->count > 0) {
        to->services = zb_must_alloc(from->count, sizeof to->services[0]);
        memcpy(to->services, from->services, from->count * sizeof to->services[0]);
        to->count = from->count;
    }
}

void
zb_recovered_close(struct zb_recovered *r)
{
    free(r->services);
    *r = (struct zb_recovered){0};
}

json_t *
zb_recovered_json(const struct zb_recovered *r)
{
    json_t *object = zb_must(json_object());
    json_t *services = zb_json_array_new();

    for (uint32_t i = 0; i < r->count; i++) {
        zb_json_append(services, zb_json_text(r->services[i]));
    }
    zb_json_put(object, "services", services);
    zb_json_put(object, "term", zb_json_u64(r->term));
    return object;
}

enum zb_rc
zb_recovered_parse(const json_t *object, struct zb_recovered *r, struct zb_err *err)
{
    const json_t *services = json_object_get(object, "services");
    size_t i;
    json_t *item;

    if (!zb_json_is_u64(json_object_get(object, "term"), &r->term) || r->term == 0 ||
        r->term > INT64_MAX || !json_is_array(services) ||
        json_array_size(services) > ZB_SERVICES_MAX) {
        return zb_err_set(err, ZB_E_FORMAT, "recovered");
    }
    json_array_foreach(services, i, item)
    {
        const char *name = json_string_value(item);
        if (name == NULL || !zb_service_name_valid(name) ||
            (r->count > 0 && strcmp(r->services[r->count - 1], name) >= 0)) {
            return zb_err_set(err, ZB_E_FORMAT, "recovered: %zu", i);
        }
        zb_recovered_add(r, name);
    }
    return ZB_OK;
}
