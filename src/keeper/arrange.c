/* Where the datasets of a set belong: the part of rules.h that computes renames. */
#include "keeper/rules.h"

#include <stdio.h>
#include <string.h>

/* Where the uuid is; where it is twice, at rel. Only zbaton's own are looked at: count is none. */
static size_t
place_of_uuid(const struct zb_rules_place *places, size_t count, const char *uuid, const char *rel)
{
    size_t found = count;

    for (size_t i = 0; i < count; i++) {
        bool same = places[i].own && strcmp(places[i].uuid, uuid) == 0;
        if (same && (found == count || strcmp(places[i].rel, rel) == 0)) {
            found = i;
        }
    }
    return found;
}

static size_t
place_of_rel(const struct zb_rules_place *places, size_t count, const char *rel, size_t rel_size)
{
    for (size_t i = 0; i < count; i++) {
        if (strncmp(places[i].rel, rel, rel_size) == 0 && places[i].rel[rel_size] == '\0') {
            return i;
        }
    }
    return count;
}

static bool
is_parent_here(const struct zb_rules_place *places, size_t count, const char *rel)
{
    const char *slash = strrchr(rel, '/');

    return place_of_rel(places, count, rel, slash != NULL ? (size_t)(slash - rel) : 0) < count;
}

static bool
is_in_set(const struct zb_manifest *m, const char *uuid)
{
    for (uint32_t i = 0; i < m->entries_count; i++) {
        if (strcmp(m->entries[i].uuid, uuid) == 0) {
            return true;
        }
    }
    return false;
}

/* The name says whose it was and which one it is; for one of the set it is a stop on the way. */
static enum zb_rc
aside_plan(const struct zb_manifest *m, const struct zb_rules_place *p, size_t at,
           struct zb_rules_arrangement *next, struct zb_err *err)
{
    size_t n = (size_t)snprintf(next->to, sizeof(next->to), "%s.aside-%.8s", p->rel, p->uuid);

    if (n >= sizeof(next->to)) {
        return zb_err_set(err, ZB_E_LIMIT, "no room in the name of %s to set it aside", p->rel);
    }
    next->kind = ZB_ARRANGE_RENAME;
    next->place = at;
    next->orphan = !is_in_set(m, p->uuid);
    return ZB_OK;
}

enum zb_rc
zb_rules_arrange_next(const struct zb_manifest *m, const struct zb_rules_place *places,
                      size_t count, struct zb_rules_arrangement *next, struct zb_err *err)
{
    *next = (struct zb_rules_arrangement){.kind = ZB_ARRANGE_NOTHING};
    for (uint32_t i = 0; i < m->entries_count; i++) { /* sorted: parents first */
        const struct zb_manifest_entry *e = &m->entries[i];
        size_t at = place_of_uuid(places, count, e->uuid, e->rel);
        size_t there = place_of_rel(places, count, e->rel, strlen(e->rel));

        if (at < count && at == there && !places[at].orphan) {
            continue;
        }
        if (at < count && at == there) { /* the set has it again */
            next->kind = ZB_ARRANGE_UNMARK;
            next->place = at;
            return ZB_OK;
        }
        if (there < count && places[there].own && places[there].rel[0] != '\0') {
            return aside_plan(m, &places[there], there, next, err); /* S9: ours, and kept */
        }
        if (at < count && there < count) {
            return zb_err_set(err, ZB_E_EXISTS,
                              "dataset %s of the set is %s here, where %s is not"
                              " zbaton's",
                              e->rel, places[at].rel, e->rel);
        }
        /* Else it is received, in full or into the copy that stands there; a parent too. */
        if (at < count && is_parent_here(places, count, e->rel)) {
            next->kind = ZB_ARRANGE_RENAME;
            next->place = at;
            zb_strcopy(next->to, sizeof(next->to), e->rel);
            return ZB_OK;
        }
    }
    return ZB_OK;
}
