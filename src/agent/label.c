#include "agent/label.h"

#include <inttypes.h>

#include "agent/json.h"
#include "agent/must.h"
#include "agent/one_line.h"

#define LINE_SIZE (ZB_LABEL_SIZE + 48)

static bool
label_valid(const char *text)
{
    return strlen(text) < ZB_LABEL_SIZE && zb_one_line_valid(text);
}

enum zb_rc
zb_label_check(const char *text, struct zb_err *err)
{
    if (text[strspn(text, " ")] == '\0') {
        return zb_err_set(err, ZB_E_USAGE, "the label is empty");
    }
    if (strlen(text) >= ZB_LABEL_SIZE) {
        return zb_err_set(err, ZB_E_USAGE, "the label has %zu bytes, at most %d are kept",
                          strlen(text), ZB_LABEL_SIZE - 1);
    }
    if (!zb_one_line_valid(text)) {
        return zb_err_set(err, ZB_E_USAGE,
                          "the label has a control character, or is not UTF-8: it is one line");
    }
    return ZB_OK;
}

/* --- the list --- */

static int
place_compare(const struct zb_label *l, const char *service, struct zb_set_id set)
{
    int c = strcmp(l->service, service);

    return c != 0 ? c : zb_set_id_cmp(l->set, set);
}

/* Where it is, or would stand. */
static uint32_t
place_of(const struct zb_labels *l, const char *service, struct zb_set_id set)
{
    uint32_t i = 0;

    while (i < l->count && place_compare(&l->items[i], service, set) < 0) {
        i++;
    }
    return i;
}

const struct zb_label *
zb_labels_find(const struct zb_labels *l, const char *service, struct zb_set_id set)
{
    uint32_t i = place_of(l, service, set);

    return i < l->count && place_compare(&l->items[i], service, set) == 0 ? &l->items[i] : NULL;
}

enum zb_rc
zb_labels_put(struct zb_labels *l, const struct zb_label *label, struct zb_err *err)
{
    uint32_t i = place_of(l, label->service, label->set);
    struct zb_set_id sets[ZB_LABELS_MAX];

    if (zb_labels_find(l, label->service, label->set) == NULL) {
        if (zb_labels_sets(l, label->service, sets) == ZB_LABELS_MAX) {
            (void)zb_err_set(err, ZB_E_LIMIT, "%d sets of %s have a label already", ZB_LABELS_MAX,
                             label->service);
            return zb_err_hint(err, "zbaton unlabel %s SET", label->service);
        }
        l->items = zb_must(reallocarray(l->items, l->count + 1, sizeof *l->items));
        memmove(&l->items[i + 1], &l->items[i], (l->count - i) * sizeof *l->items);
        l->count++;
    }
    l->items[i] = *label;
    return ZB_OK;
}

bool
zb_labels_remove(struct zb_labels *l, const char *service, struct zb_set_id set)
{
    uint32_t i = place_of(l, service, set);

    if (zb_labels_find(l, service, set) == NULL) {
        return false;
    }
    l->count--;
    memmove(&l->items[i], &l->items[i + 1], (l->count - i) * sizeof *l->items);
    return true;
}

void
zb_labels_copy(struct zb_labels *to, const struct zb_labels *from)
{
    if (from->count > 0) {
        to->items = zb_must_alloc(from->count, sizeof *to->items);
        memcpy(to->items, from->items, from->count * sizeof *to->items);
        to->count = from->count;
    }
}

void
zb_labels_close(struct zb_labels *l)
{
    free(l->items);
    *l = (struct zb_labels){0};
}

uint32_t
zb_labels_sets(const struct zb_labels *l, const char *service, struct zb_set_id *sets)
{
    uint32_t count = 0;

    for (uint32_t i = place_of(l, service, (struct zb_set_id){0});
         i < l->count && count < ZB_LABELS_MAX && strcmp(l->items[i].service, service) == 0; i++) {
        sets[count++] = l->items[i].set;
    }
    return count;
}

/* --- texts --- */

char *
zb_labels_lines(const struct zb_labels *l, const char *service)
{
    uint32_t i = place_of(l, service, (struct zb_set_id){0});
    char *text = NULL;
    size_t used = 0;

    for (; i < l->count && strcmp(l->items[i].service, service) == 0; i++) {
        const struct zb_label *one = &l->items[i];
        text = zb_must(realloc(text, used + LINE_SIZE));
        used += (size_t)snprintf(text + used, LINE_SIZE, "%" PRIu64 "/%" PRIu64 "\t%s\n",
                                 one->set.term, one->set.seq, one->text);
    }
    return text;
}

json_t *
zb_labels_json(const struct zb_labels *l)
{
    json_t *array = zb_json_array_new();

    for (uint32_t i = 0; i < l->count; i++) {
        json_t *one = zb_must(json_object());
        zb_json_put(one, "service", zb_json_text(l->items[i].service));
        zb_json_put(one, "term", zb_json_u64(l->items[i].set.term));
        zb_json_put(one, "seq", zb_json_u64(l->items[i].set.seq));
        zb_json_put(one, "label", zb_json_text(l->items[i].text));
        zb_json_put(one, "who", zb_json_text(l->items[i].who));
        zb_json_put(one, "time", zb_json_int(l->items[i].since.s));
        zb_json_append(array, one);
    }
    return array;
}

enum zb_rc
zb_labels_parse(const json_t *array, struct zb_labels *l, struct zb_err *err)
{
    size_t i;
    json_t *item;

    if (!json_is_array(array)) {
        return zb_err_set(err, ZB_E_FORMAT, "labels");
    }
    json_array_foreach(array, i, item)
    {
        struct zb_json_reader r = zb_json_read(item);
        struct zb_label one = {0};
        zb_json_read_name(&r, "service", one.service, sizeof one.service, zb_service_name_valid);
        one.set.term = zb_json_read_u64(&r, "term");
        one.set.seq = zb_json_read_u64(&r, "seq");
        zb_json_read_name(&r, "label", one.text, sizeof one.text, label_valid);
        zb_json_read_name(&r, "who", one.who, sizeof one.who, zb_one_line_valid);
        one.since.s = zb_json_read_int(&r, "time", 0, ZB_JSON_TIME_MAX_S);
        enum zb_rc rc = zb_json_read_end(&r, err);
        if (rc == ZB_OK && l->count > 0 &&
            place_compare(&l->items[l->count - 1], one.service, one.set) >= 0) {
            rc = zb_err_set(err, ZB_E_FORMAT, "it is not in its place");
        }
        if (rc == ZB_OK) {
            rc = zb_labels_put(l, &one, err);
        }
        if (rc != ZB_OK) {
            (void)zb_err_wrap(err, "labels: %zu", i);
            return ZB_E_FORMAT;
        }
    }
    return ZB_OK;
}
