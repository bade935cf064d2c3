#include "conf/service.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "conf/service_key.h"

#define VALUE_SIZE (ZB_PATH_SIZE + 8) /* longest value; a list of names is shorter */

static enum zb_rc __attribute__((format(printf, 3, 4)))
lines_add(struct zb_conf_lines *lines, struct zb_err *err, const char *fmt, ...)
{
    char *line = NULL;
    va_list args;
    va_start(args, fmt);
    int length = vasprintf(&line, fmt, args);
    va_end(args);
    char **items = reallocarray(lines->items, lines->count + (size_t)1, sizeof *items);

    if (items != NULL) {
        lines->items = items;
    }
    if (length < 0 || items == NULL) {
        if (length >= 0) {
            free(line);
        }
        return zb_err_set(err, ZB_E_NOMEM, "diff: out of memory");
    }
    lines->items[lines->count++] = line;
    return ZB_OK;
}

void
zb_conf_lines_close(struct zb_conf_lines *lines)
{
    for (uint32_t i = 0; i < lines->count; i++) {
        free(lines->items[i]);
    }
    free(lines->items);
    *lines = (struct zb_conf_lines){0};
}

/* "30s", "{vm1, vm2}" or "none". */
static void
value_text(const struct zb_conf_key *key, const struct zb_conf_service *service, char *buf)
{
    struct zb_conf_values values;
    bool list = key->kind == ZB_CONF_NAMES;
    size_t used = 0;

    zb_conf_key_values(key, service, &values);
    if (values.count == 0) {
        zb_strcopy(buf, VALUE_SIZE, "none");
        return;
    }
    for (size_t i = 0; i < values.count; i++) {
        const char *before = i > 0 ? ", " : list ? "{" : "";
        used += (size_t)snprintf(buf + used, VALUE_SIZE - used, "%s%s", before, values.items[i]);
    }
    (void)snprintf(buf + used, VALUE_SIZE - used, "%s", list ? "}" : "");
}

static enum zb_rc
service_diff(const struct zb_conf_service *old, const struct zb_conf_service *new,
             struct zb_conf_lines *out, struct zb_err *err)
{
    for (size_t i = 0; i < zb_conf_service_keys_count; i++) {
        const struct zb_conf_key *key = &zb_conf_service_keys[i];
        char before[VALUE_SIZE];
        char after[VALUE_SIZE];
        value_text(key, old, before);
        value_text(key, new, after);
        if (strcmp(before, after) == 0) {
            continue;
        }
        const char *remark =
            strcmp(key->name, "leader") == 0 ? " (ignored: only read for a new service)" : "";
        enum zb_rc rc = lines_add(out, err, "~ service %s: %s %s -> %s%s", new->name, key->name,
                                  before, after, remark);
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return ZB_OK;
}

/* Both lists are sorted by name: walked side by side. */
static enum zb_rc
lists_diff(const struct zb_conf_services *old, const struct zb_conf_services *new,
           struct zb_conf_lines *out, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;
    uint32_t i = 0;
    uint32_t j = 0;

    while (rc == ZB_OK && (i < old->count || j < new->count)) {
        int order = i == old->count   ? 1
                    : j == new->count ? -1
                                      : strcmp(old->items[i].name, new->items[j].name);
        if (order < 0) {
            rc = lines_add(out, err, "- service %s", old->items[i++].name);
        } else if (order > 0) {
            rc = lines_add(out, err, "+ service %s", new->items[j++].name);
        } else {
            rc = service_diff(&old->items[i++], &new->items[j++], out, err);
        }
    }
    return rc;
}

enum zb_rc
zb_conf_services_diff(const struct zb_conf_services *old, const struct zb_conf_services *new,
                      struct zb_conf_lines *out, struct zb_err *err)
{
    struct zb_conf_lines lines = {0};
    enum zb_rc rc = lists_diff(old, new, &lines, err);

    if (rc != ZB_OK) {
        zb_conf_lines_close(&lines);
        return rc;
    }
    *out = lines;
    return ZB_OK;
}

/* How many names of a are not in b. */
static uint32_t
missing_count(const struct zb_conf_names *a, const struct zb_conf_names *b)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < a->count; i++) {
        count += !zb_conf_names_contain(b, a->items[i]);
    }
    return count;
}

/* Copies of one flavour take no increments of the other. */
static enum zb_rc
flavour_check(const struct zb_conf_service *before, const struct zb_conf_service *after,
              struct zb_err *err)
{
    if (before->flavour == after->flavour) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_REFUSED,
                     "service %s: its flavour is \"%s\", and stays so for its life: its copies "
                     "take no streams of the other",
                     after->name, before->flavour == ZB_CONF_FLAVOUR_RAW ? "raw" : "plain");
    return zb_err_hint(err, "declare another service with the other flavour, and copy the files");
}

/* More sets could not be listed. What is declared already goes on as it is: a node has to start
 * with it. */
static enum zb_rc
keep_for_check(const struct zb_conf_service *s, const char *whose, const struct zb_conf_keep *keep,
               struct zb_err *err)
{
    uint64_t most_ms = (uint64_t)s->interval_ms * ZB_CONF_KEEP_LAST_MAX;
    char age[ZB_CONF_NUMBER_SIZE], interval[ZB_CONF_NUMBER_SIZE], most[ZB_CONF_NUMBER_SIZE];

    if (keep->for_ms <= most_ms) {
        return ZB_OK;
    }
    zb_conf_duration_format(keep->for_ms, age);
    zb_conf_duration_format(s->interval_ms, interval);
    zb_conf_duration_format(most_ms, most);
    (void)zb_err_set(err, ZB_E_REFUSED,
                     "service %s: %skeep-for %s is more than %d sets at interval %s", s->name,
                     whose, age, ZB_CONF_KEEP_LAST_MAX, interval);
    return zb_err_hint(err, "%skeep-for = \"%s\" or less, and %sdaily, %sweekly, ... for longer",
                       whose, most, whose, whose);
}

enum zb_rc
zb_conf_services_change_check(const struct zb_conf_services *old,
                              const struct zb_conf_services *new, struct zb_err *err)
{
    for (uint32_t i = 0; i < new->count; i++) {
        const struct zb_conf_service *after = &new->items[i];
        const struct zb_conf_service *before = zb_conf_services_find(old, after->name);
        enum zb_rc rc = keep_for_check(after, "", &after->keep, err);
        rc = rc == ZB_OK ? keep_for_check(after, "backup-", &after->backup_keep, err) : rc;
        if (rc == ZB_OK && before != NULL) {
            rc = flavour_check(before, after, err);
        }
        if (rc != ZB_OK) {
            return rc;
        }
        if (before == NULL) {
            continue;
        }
        uint32_t added = missing_count(&after->members, &before->members);
        uint32_t removed = missing_count(&before->members, &after->members);
        bool witness = before->witness != after->witness;
        if (added + removed + witness > 1) {
            (void)zb_err_set(err, ZB_E_REFUSED,
                             "service %s: %u members added and %u removed%s, but voters change one "
                             "at a time",
                             after->name, added, removed,
                             witness ? ", and its witness changed" : "");
            return zb_err_hint(err, "apply one change of voters, then the next");
        }
    }
    return ZB_OK;
}
