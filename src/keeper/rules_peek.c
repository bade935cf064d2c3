/* A read-only clone of a set: the part of rules.h about PEEK. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/rules_internal.h"

enum zb_rc
zb_rules_peek(const struct zb_kreq *req, const struct zb_keeper_facts *f, struct zb_wall now,
              struct zb_err *err)
{
    const struct zb_manifest *set = &req->manifest;

    if (req->time_s <= now.s || req->time_s - now.s > ZB_PEEK_LIFE_MAX_S) {
        return zb_err_set(err, ZB_E_USAGE, "a peek lasts from 1 second to %d days",
                          ZB_PEEK_LIFE_MAX_S / 86400);
    }
    if (set->entries_count == 0) {
        return zb_err_set(err, ZB_E_USAGE, "the manifest of a set is wanted");
    }
    for (uint32_t i = 0; i < set->entries_count; i++) {
        if (zb_rules_entry_dataset(&set->entries[i], f) < 0) {
            (void)zb_err_set(err, ZB_E_NOTFOUND,
                             "set " TERM "/" TERM " is not whole here: dataset %s is missing",
                             set->id.term, set->id.seq, rel_name(set->entries[i].rel));
            return zb_err_hint(err, "zbaton history %s lists sets", req->service);
        }
    }
    return ZB_OK;
}

void
zb_rules_peek_name_format(const char *service, struct zb_set_id set, struct zb_wall time, char *buf)
{
    char when[24];
    size_t used = (size_t)snprintf(buf, ZB_PEEK_NAME_SIZE, "%.*s-%06" PRIu64 "-%08" PRIu64 "-",
                                   ZB_SERVICE_NAME_SIZE - 1, service, set.term, set.seq);

    zb_wall_format(time, when);
    for (const char *p = when; *p != '\0'; p++) {
        if (*p != '-' && *p != ':') {
            buf[used++] = *p;
        }
    }
    buf[used] = '\0';
}

void
zb_rules_peek_mark_format(struct zb_set_id set, struct zb_wall expires, char *buf)
{
    (void)snprintf(buf, ZB_PEEK_MARK_SIZE, "%" PRIu64 "/%" PRIu64 "/%" PRId64, set.term, set.seq,
                   expires.s);
}

bool
zb_rules_peek_mark_parse(const char *mark, struct zb_set_id *set, struct zb_wall *expires)
{
    char again[ZB_PEEK_MARK_SIZE];
    char *end;
    struct zb_set_id id = {.term = strtoull(mark, &end, 10)};
    struct zb_wall time = {0};

    if (*end == '/') {
        id.seq = strtoull(end + 1, &end, 10);
    }
    if (*end == '/') {
        time.s = strtoll(end + 1, &end, 10);
    }
    zb_rules_peek_mark_format(id, time, again);
    if (strcmp(mark, again) != 0) {
        return false;
    }
    *set = id;
    *expires = time;
    return true;
}
