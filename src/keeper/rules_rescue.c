/* A tree that came away from the lineage: the part of rules.h about RESCUE. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/rules_internal.h"

#define CLONE_BYTES (UINT64_C(1) << 20) /* more than a clone and its promotion take */

enum zb_rc
zb_rules_rescue(const struct zb_keeper_record *r, const struct zb_kreq *req,
                const struct zb_keeper_facts *f, const struct zb_rules_place *places, size_t count,
                struct zb_err *err)
{
    /* The leader it is to follow is somebody else; or it is to lead itself. */
    enum zb_rc rc =
        is_self(f, req->node) ? zb_rules_candidate(r, req, f, err) : zb_rules_led_by(r, req, err);

    if (rc == ZB_OK) {
        rc = zb_rules_at_rest(f, err);
    }
    if (rc == ZB_OK && f->running) {
        rc = zb_err_set(err, ZB_E_REFUSED, "the service is running here");
    }
    for (size_t i = 0; i < count && rc == ZB_OK; i++) {
        /* A child that was made while this node led, and is in no set yet: the service's too. */
        bool newcomer =
            places[i].rel[0] != '\0' && places[i].uuid[0] == '\0' && r->rec.established_term != 0;
        if (!places[i].own && !newcomer) { /* S9 */
            (void)zb_err_set(err, ZB_E_REFUSED,
                             "dataset %s of the tree is not zbaton's: it is not set aside with it",
                             rel_name(places[i].rel));
            rc = zb_err_hint(err, "rename it to a place outside the service's tree");
        }
    }
    return rc;
}

enum zb_rc
zb_rules_rescue_room(uint64_t available_bytes, size_t forks_count, struct zb_err *err)
{
    const uint64_t wanted = (uint64_t)(forks_count + 1) * CLONE_BYTES;

    if (available_bytes >= wanted) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_NOSPACE,
                     "setting it aside wants " TERM " bytes free, and there are " TERM, wanted,
                     available_bytes);
    return zb_err_hint(err, "zbaton rescue list; zbaton rescue drop NAME");
}

const struct zb_manifest_entry *
zb_rules_fork_entry(const struct zb_manifest *forks, const struct zb_keeper_facts *f, uint32_t i)
{
    for (uint32_t j = 0; j < forks->entries_count; j++) {
        const struct zb_manifest_entry *e = &forks->entries[j];

        if (strcmp(e->uuid, f->datasets[i].uuid) == 0 &&
            zb_rules_entry_dataset(e, f) == (int64_t)i) {
            return e;
        }
    }
    return NULL;
}

bool
zb_rules_on_forks(const struct zb_manifest *forks, const struct zb_keeper_facts *f)
{
    for (uint32_t i = 0; i < f->datasets_count; i++) {
        const struct zb_manifest_entry *e = zb_rules_fork_entry(forks, f, i);

        if (e == NULL || f->datasets[i].newest_guid != e->guid ||
            f->datasets[i].written_bytes != 0) {
            return false;
        }
    }
    return true;
}

void
zb_rules_rescue_name_format(const char *service, uint64_t term, struct zb_wall time, char *buf)
{
    char when[24];
    size_t used = (size_t)snprintf(buf, ZB_RESCUE_NAME_SIZE, "%.*s-%06" PRIu64 "-",
                                   ZB_SERVICE_NAME_SIZE - 1, service, term);

    zb_wall_format(time, when);
    for (const char *p = when; *p != '\0'; p++) {
        if (*p != '-' && *p != ':') {
            buf[used++] = *p;
        }
    }
    buf[used] = '\0';
}

bool
zb_rules_rescue_name_parse(const char *name, char *service, uint64_t *term, struct zb_wall *time)
{
    const char *clock = strrchr(name, '-');
    const char *digits = clock;
    char again[ZB_RESCUE_NAME_SIZE];
    char owner[ZB_SERVICE_NAME_SIZE];
    struct zb_wall when;
    uint64_t number;

    while (digits != NULL && digits > name && digits[-1] >= '0' && digits[-1] <= '9') {
        digits--;
    }
    if (digits == NULL || digits - name < 2 || digits[-1] != '-' ||
        (size_t)(digits - name) > sizeof(owner)) {
        return false;
    }
    memcpy(owner, name, (size_t)(digits - name - 1));
    owner[digits - name - 1] = '\0';
    number = strtoull(digits, NULL, 10);
    when = zb_wall_from_utc((uint32_t)strtoul(clock + 1, NULL, 10),
                            (uint32_t)strtoul(strlen(clock) > 10 ? clock + 10 : "", NULL, 10));
    zb_rules_rescue_name_format(owner, number, when, again);
    if (!zb_service_name_valid(owner) || number == 0 || strcmp(name, again) != 0) {
        return false;
    }
    memcpy(service, owner, sizeof(owner));
    *term = number;
    *time = when;
    return true;
}

void
zb_rules_fork_format(uint64_t guid, const char *rel, char *buf)
{
    (void)snprintf(buf, ZB_FORK_MARK_SIZE, "%" PRIu64 "/%.*s", guid, ZB_REL_SIZE - 1, rel);
}

bool
zb_rules_fork_parse(const char *mark, uint64_t *guid, char *rel)
{
    char again[ZB_FORK_MARK_SIZE];
    char *end;
    uint64_t number = strtoull(mark, &end, 10);

    if (number == 0 || *end != '/' || strlen(end + 1) >= ZB_REL_SIZE || !zb_rel_valid(end + 1)) {
        return false;
    }
    zb_rules_fork_format(number, end + 1, again);
    if (strcmp(mark, again) != 0) {
        return false;
    }
    *guid = number;
    zb_strcopy(rel, ZB_REL_SIZE, end + 1);
    return true;
}
