#include "agent/verify_sums.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "agent/json.h"
#include "agent/must.h"

/* --- reading --- */

static bool
number_read(const char **p, uint64_t max, uint64_t *value)
{
    uint64_t v = 0;
    const char *at = *p;

    if (*at < '0' || *at > '9') {
        return false;
    }
    for (; *at >= '0' && *at <= '9'; at++) {
        uint64_t digit = (uint64_t)(*at - '0');
        if (v > (max - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    *p = at;
    *value = v;
    return true;
}

static bool
hex_read(const char **p, uint64_t *value)
{
    uint64_t v = 0;

    for (int i = 0; i < 16; i++, (*p)++) {
        char c = **p;
        if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) {
            return false;
        }
        v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    *value = v;
    return true;
}

static bool
space_read(const char **p)
{
    return *(*p)++ == ' ';
}

/* The rest of the line, in printable ASCII. */
static bool
path_read(const char **p, char path[ZB_VERIFY_PATH_SIZE])
{
    size_t n = 0;

    for (; **p >= ' ' && **p < 0x7f && n < ZB_VERIFY_PATH_SIZE - 1; (*p)++) {
        path[n++] = **p;
    }
    path[n] = '\0';
    return n > 0 && **p == '\n';
}

static bool
total_read(const char *p, struct zb_verify_answer *a)
{
    uint64_t *const numbers[] = {&a->names, &a->files, &a->read_files, &a->read_bytes,
                                 &a->unreadable};

    for (size_t i = 0; i < 5; i++) {
        if (!space_read(&p) || !number_read(&p, INT64_MAX, numbers[i])) {
            return false;
        }
    }
    return *p == '\n';
}

static bool
sum_read(const char *p, struct zb_verify_answer *a)
{
    struct zb_verify_sum sum;
    uint64_t bucket;

    if (!space_read(&p) || !number_read(&p, ZB_VERIFY_BUCKETS - 1, &bucket) || !space_read(&p) ||
        !hex_read(&p, &sum.words[0]) || !hex_read(&p, &sum.words[1]) || *p != '\n') {
        return false;
    }
    a->buckets[bucket] = sum;
    return true;
}

static bool
name_read(const char *p, struct zb_verify_answer *a)
{
    struct zb_verify_name *n = &a->list[a->list_count];

    if (a->list_count == ZB_VERIFY_NAMES_MAX || !space_read(&p) || !hex_read(&p, &n->position) ||
        !space_read(&p) || !hex_read(&p, &n->digest.words[0]) ||
        !hex_read(&p, &n->digest.words[1]) || !space_read(&p) || !path_read(&p, n->path)) {
        return false;
    }
    a->list_count++;
    return true;
}

static bool
error_read(const char *p, struct zb_verify_answer *a)
{
    struct zb_verify_error *e = &a->errors[a->errors_count];
    uint64_t error;

    if (a->errors_count == ZB_VERIFY_ERRORS_MAX || !space_read(&p) ||
        !number_read(&p, 4095, &error) || !space_read(&p) || !path_read(&p, e->path)) {
        return false;
    }
    e->error = (int)error;
    a->errors_count++;
    return true;
}

static bool
more_read(const char *p, struct zb_verify_answer *a)
{
    return space_read(&p) && number_read(&p, INT64_MAX, &a->list_more) && *p == '\n';
}

static bool
line_read(const char *line, struct zb_verify_answer *a)
{
    static const struct {
        const char *word;
        bool (*read)(const char *p, struct zb_verify_answer *a);
    } kinds[] = {{"total", total_read},
                 {"sum", sum_read},
                 {"name", name_read},
                 {"error", error_read},
                 {"more", more_read}};

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t n = strlen(kinds[i].word);
        if (strncmp(line, kinds[i].word, n) == 0 && line[n] == ' ') {
            return kinds[i].read(line + n, a);
        }
    }
    return false;
}

enum zb_rc
zb_verify_answer_parse(const char *text, struct zb_verify_answer *out, struct zb_err *err)
{
    *out = (struct zb_verify_answer){0};
    if (text == NULL || strncmp(text, "total ", 6) != 0) {
        return zb_err_set(err, ZB_E_FORMAT, "not the sums of a set");
    }
    while (*text != '\0') {
        const char *end = strchr(text, '\n');
        if (end == NULL || !line_read(text, out)) {
            return zb_err_set(err, ZB_E_FORMAT, "not the sums of a set: %.60s", text);
        }
        text = end + 1;
    }
    return ZB_OK;
}

/* --- comparing --- */

static bool
sum_equal(const struct zb_verify_sum *a, const struct zb_verify_sum *b)
{
    return a->words[0] == b->words[0] && a->words[1] == b->words[1];
}

void
zb_verify_digest(const struct zb_verify_answer *answer, char *text)
{
    struct zb_verify_sum sum = {{0}};

    for (size_t i = 0; i < ZB_VERIFY_BUCKETS; i++) {
        sum.words[0] += answer->buckets[i].words[0];
        sum.words[1] += answer->buckets[i].words[1];
    }
    (void)snprintf(text, 33, "%016" PRIx64 "%016" PRIx64, sum.words[0], sum.words[1]);
}

uint32_t
zb_verify_differing(struct zb_verify_answer *const *answers, uint32_t count, uint32_t *ranges,
                    uint32_t max)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < ZB_VERIFY_BUCKETS; i++) {
        bool same = true;
        for (uint32_t n = 1; n < count; n++) {
            same = same && sum_equal(&answers[0]->buckets[i], &answers[n]->buckets[i]);
        }
        if (!same && found++ < max) {
            ranges[found - 1] = i;
        }
    }
    return found;
}

static const struct zb_verify_name *
name_find(const struct zb_verify_answer *a, uint64_t position)
{
    for (uint32_t i = 0; i < a->list_count; i++) {
        if (a->list[i].position == position) {
            return &a->list[i];
        }
    }
    return NULL;
}

/* One name, as each of them has it; NULL: they all have the same. */
static json_t *
name_json(struct zb_verify_answer *const *answers, const char *const *nodes, uint32_t count,
          const struct zb_verify_name *name)
{
    const struct zb_verify_name *kinds[ZB_NODES_MAX];
    uint32_t kinds_count = 0;
    json_t *same = zb_json_array_new();
    json_t *missing = zb_json_array_new();
    json_t *one = NULL;

    for (uint32_t n = 0; n < count; n++) {
        const struct zb_verify_name *its = name_find(answers[n], name->position);
        uint32_t k = 0;
        if (its == NULL) {
            if (answers[n]->list_more == 0) {
                zb_json_append(missing, zb_json_text(nodes[n]));
            }
            continue;
        }
        while (k < kinds_count && !sum_equal(&kinds[k]->digest, &its->digest)) {
            k++;
        }
        if (k == kinds_count) {
            kinds[kinds_count++] = its;
            zb_json_append(same, zb_json_array_new());
        }
        zb_json_append(json_array_get(same, k), zb_json_text(nodes[n]));
    }
    if (kinds_count > 1 || json_array_size(missing) > 0) {
        one = zb_must(json_object());
        zb_json_put(one, "path", zb_json_text(name->path));
        zb_json_put(one, "same", json_incref(same));
        zb_json_put(one, "missing", json_incref(missing));
    }
    json_decref(same);
    json_decref(missing);
    return one;
}

static int
path_cmp(const void *a, const void *b)
{
    const json_t *const *left = a;
    const json_t *const *right = b;

    return strcmp(json_string_value(json_object_get(*left, "path")),
                  json_string_value(json_object_get(*right, "path")));
}

json_t *
zb_verify_names_json(struct zb_verify_answer *const *answers, const char *const *nodes,
                     uint32_t count, uint32_t max)
{
    json_t *sorted = zb_json_array_new();
    json_t **found = zb_must_alloc((size_t)count * ZB_VERIFY_NAMES_MAX, sizeof(json_t *));
    size_t found_count = 0;

    for (uint32_t n = 0; n < count; n++) {
        for (uint32_t i = 0; i < answers[n]->list_count; i++) {
            const struct zb_verify_name *name = &answers[n]->list[i];
            bool told = false;
            for (uint32_t before = 0; before < n; before++) {
                told = told || name_find(answers[before], name->position) != NULL;
            }
            json_t *one = told ? NULL : name_json(answers, nodes, count, name);
            if (one != NULL) {
                found[found_count++] = one;
            }
        }
    }
    if (found_count > 0) {
        qsort(found, found_count, sizeof(json_t *), path_cmp);
    }
    for (size_t i = 0; i < found_count; i++) {
        if (i < max) {
            zb_json_append(sorted, found[i]);
        } else {
            json_decref(found[i]);
        }
    }
    free(found);
    return sorted;
}
