#include "agent/failed.h"

#include "agent/json.h"
#include "agent/must.h"
#include "agent/one_line.h"

#define LATELY_S INT64_C(3600)

bool
zb_failed_lately(const struct zb_failed *failed, struct zb_wall now)
{
    uint32_t times = failed->times > 0 ? failed->times : 1;
    uint32_t shift = (times < ZB_FAILED_TIMES_MAX ? times : ZB_FAILED_TIMES_MAX) - 1;

    return now.s - failed->time.s < LATELY_S << shift;
}

/* --- the list --- */

static int
place_cmp(const struct zb_failed *a, const char *service, const char *node)
{
    int by_service = strcmp(a->service, service);

    return by_service != 0 ? by_service : strcmp(a->node, node);
}

/* Where it is, or would stand. */
static uint32_t
place_of(const struct zb_faileds *f, const char *service, const char *node)
{
    uint32_t i = 0;

    while (i < f->count && place_cmp(&f->items[i], service, node) < 0) {
        i++;
    }
    return i;
}

static bool
is_at(const struct zb_faileds *f, uint32_t i, const char *service, const char *node)
{
    return i < f->count && place_cmp(&f->items[i], service, node) == 0;
}

const struct zb_failed *
zb_faileds_find(const struct zb_faileds *f, const char *service, const char *node)
{
    uint32_t i = place_of(f, service, node);

    return is_at(f, i, service, node) ? &f->items[i] : NULL;
}

void
zb_faileds_put(struct zb_faileds *f, const struct zb_failed *failed)
{
    uint32_t i = place_of(f, failed->service, failed->node);

    if (!is_at(f, i, failed->service, failed->node)) {
        f->items = zb_must(reallocarray(f->items, f->count + 1, sizeof *f->items));
        memmove(&f->items[i + 1], &f->items[i], (f->count - i) * sizeof *f->items);
        f->count++;
    }
    f->items[i] = *failed;
    if (!zb_one_line_valid(f->items[i].why)) {
        zb_strcopy(f->items[i].why, sizeof f->items[i].why, "what it said is not one line");
    }
}

bool
zb_faileds_remove(struct zb_faileds *f, const char *service, const char *node)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < f->count; i++) {
        bool goes = strcmp(f->items[i].service, service) == 0 &&
                    (node == NULL || strcmp(f->items[i].node, node) == 0);
        if (!goes) {
            f->items[kept++] = f->items[i];
        }
    }
    bool was = kept < f->count;
    f->count = kept;
    return was;
}

void
zb_faileds_copy(struct zb_faileds *to, const struct zb_faileds *from)
{
    if (from->count > 0) {
        to->items = zb_must_alloc(from->count, sizeof *to->items);
        memcpy(to->items, from->items, from->count * sizeof *to->items);
        to->count = from->count;
    }
}

void
zb_faileds_close(struct zb_faileds *f)
{
    free(f->items);
    *f = (struct zb_faileds){0};
}

/* --- JSON --- */

json_t *
zb_faileds_json(const struct zb_faileds *f)
{
    json_t *array = zb_json_array_new();

    for (uint32_t i = 0; i < f->count; i++) {
        const struct zb_failed *failed = &f->items[i];
        json_t *one = zb_must(json_object());
        zb_json_put(one, "service", zb_json_text(failed->service));
        zb_json_put(one, "node", zb_json_text(failed->node));
        zb_json_put(one, "term", zb_json_u64(failed->term));
        zb_json_put(one, "times", zb_json_int(failed->times));
        zb_json_put(one, "time", zb_json_int(failed->time.s));
        zb_json_put(one, "why", zb_json_text(failed->why));
        zb_json_append(array, one);
    }
    return array;
}

enum zb_rc
zb_faileds_parse(const json_t *array, struct zb_faileds *f, struct zb_err *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(array) || json_array_size(array) > ZB_SERVICES_MAX * ZB_MEMBERS_MAX) {
        return zb_err_set(err, ZB_E_FORMAT, "failed");
    }
    json_array_foreach(array, i, item)
    {
        struct zb_json_reader r = zb_json_read(item);
        struct zb_failed one = {0};
        zb_json_read_name(&r, "service", one.service, sizeof one.service, zb_service_name_valid);
        zb_json_read_name(&r, "node", one.node, sizeof one.node, zb_node_name_valid);
        one.term = zb_json_read_u64(&r, "term");
        one.times = (uint32_t)zb_json_read_int(&r, "times", 1, ZB_FAILED_TIMES_MAX);
        one.time.s = zb_json_read_int(&r, "time", 0, ZB_JSON_TIME_MAX_S);
        zb_json_read_name(&r, "why", one.why, sizeof one.why, zb_one_line_valid);
        enum zb_rc rc = zb_json_read_end(&r, err);
        if (rc != ZB_OK) {
            return zb_err_wrap(err, "failed: %zu", i);
        }
        if (f->count > 0 && place_cmp(&f->items[f->count - 1], one.service, one.node) >= 0) {
            return zb_err_set(err, ZB_E_FORMAT, "failed: %s on %s is not in its place", one.service,
                              one.node);
        }
        zb_faileds_put(f, &one);
    }
    return ZB_OK;
}
