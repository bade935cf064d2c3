#include "agent/freeze.h"

#include "agent/json.h"
#include "agent/must.h"
#include "agent/one_line.h"

static bool
reason_valid(const char *reason)
{
    return strlen(reason) < ZB_FREEZE_REASON_SIZE && zb_one_line_valid(reason);
}

enum zb_rc
zb_freeze_reason_check(const char *reason, struct zb_err *err)
{
    if (reason[strspn(reason, " ")] == '\0') {
        zb_err_set(err, ZB_E_USAGE, "the reason is empty");
        return zb_err_hint(err, "it is what everybody reads whom the freeze stops");
    }
    if (strlen(reason) >= ZB_FREEZE_REASON_SIZE) {
        return zb_err_set(err, ZB_E_USAGE, "the reason has %zu bytes, at most %d are kept",
                          strlen(reason), ZB_FREEZE_REASON_SIZE - 1);
    }
    if (!zb_one_line_valid(reason)) {
        return zb_err_set(err, ZB_E_USAGE,
                          "the reason has a control character, or is not UTF-8: it is one line");
    }
    return ZB_OK;
}

void
zb_freeze_say(const struct zb_freeze *freeze, char buf[ZB_FREEZE_SAY_SIZE])
{
    char time[24];

    zb_wall_format(freeze->since, time);
    (void)snprintf(buf, ZB_FREEZE_SAY_SIZE, "frozen by %s since %s: %s", freeze->who, time,
                   freeze->reason);
}

json_t *
zb_freeze_json(const struct zb_freeze *freeze)
{
    json_t *object = zb_must(json_object());
    char time[24];

    zb_wall_format(freeze->since, time);
    zb_json_put(object, "reason", zb_json_text(freeze->reason));
    zb_json_put(object, "who", zb_json_text(freeze->who));
    zb_json_put(object, "since", zb_json_text(time));
    return object;
}

/* --- the list --- */

/* Where the service is, or would stand. */
static uint32_t
place_of(const struct zb_freezes *f, const char *service)
{
    uint32_t i = 0;

    while (i < f->count && strcmp(f->items[i].service, service) < 0) {
        i++;
    }
    return i;
}

static bool
is_at(const struct zb_freezes *f, uint32_t i, const char *service)
{
    return i < f->count && strcmp(f->items[i].service, service) == 0;
}

const struct zb_freeze *
zb_freezes_find(const struct zb_freezes *f, const char *service)
{
    uint32_t i = place_of(f, service);

    return is_at(f, i, service) ? &f->items[i] : NULL;
}

void
zb_freezes_put(struct zb_freezes *f, const struct zb_freeze *freeze)
{
    uint32_t i = place_of(f, freeze->service);

    if (!is_at(f, i, freeze->service)) {
        f->items = zb_must(reallocarray(f->items, f->count + 1, sizeof *f->items));
        memmove(&f->items[i + 1], &f->items[i], (f->count - i) * sizeof *f->items);
        f->count++;
    }
    f->items[i] = *freeze;
}

bool
zb_freezes_remove(struct zb_freezes *f, const char *service)
{
    uint32_t i = place_of(f, service);

    if (!is_at(f, i, service)) {
        return false;
    }
    f->count--;
    memmove(&f->items[i], &f->items[i + 1], (f->count - i) * sizeof *f->items);
    return true;
}

void
zb_freezes_copy(struct zb_freezes *to, const struct zb_freezes *from)
{
    if (from->count > 0) {
        to->items = zb_must_alloc(from->count, sizeof *to->items);
        memcpy(to->items, from->items, from->count * sizeof *to->items);
        to->count = from->count;
    }
}

void
zb_freezes_close(struct zb_freezes *f)
{
    free(f->items);
    *f = (struct zb_freezes){0};
}

/* --- JSON --- */

json_t *
zb_freezes_json(const struct zb_freezes *f)
{
    json_t *array = zb_json_array_new();

    for (uint32_t i = 0; i < f->count; i++) {
        json_t *one = zb_must(json_object());
        zb_json_put(one, "service", zb_json_text(f->items[i].service));
        zb_json_put(one, "reason", zb_json_text(f->items[i].reason));
        zb_json_put(one, "who", zb_json_text(f->items[i].who));
        zb_json_put(one, "time", zb_json_int(f->items[i].since.s));
        zb_json_append(array, one);
    }
    return array;
}

enum zb_rc
zb_freezes_parse(const json_t *array, struct zb_freezes *f, struct zb_err *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(array) || json_array_size(array) > ZB_SERVICES_MAX) {
        return zb_err_set(err, ZB_E_FORMAT, "freezes");
    }
    json_array_foreach(array, i, item)
    {
        struct zb_json_reader r = zb_json_read(item);
        struct zb_freeze one = {0};
        zb_json_read_name(&r, "service", one.service, sizeof one.service, zb_service_name_valid);
        zb_json_read_name(&r, "reason", one.reason, sizeof one.reason, reason_valid);
        zb_json_read_name(&r, "who", one.who, sizeof one.who, zb_one_line_valid);
        one.since.s = zb_json_read_int(&r, "time", 0, ZB_JSON_TIME_MAX_S);
        enum zb_rc rc = zb_json_read_end(&r, err);
        if (rc != ZB_OK) {
            return zb_err_wrap(err, "freezes: %zu", i);
        }
        if (f->count > 0 && strcmp(f->items[f->count - 1].service, one.service) >= 0) {
            return zb_err_set(err, ZB_E_FORMAT, "freezes: %s is not in its place", one.service);
        }
        zb_freezes_put(f, &one);
    }
    return ZB_OK;
}
