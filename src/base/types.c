#include "base/types.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define DIGIT "0123456789"
#define ALNUM LOWER "ABCDEFGHIJKLMNOPQRSTUVWXYZ" DIGIT

/* The whole of s, not empty, fits into size bytes with its NUL and has only these characters. */
static bool
made_of(const char *s, size_t size, const char *characters)
{
    size_t length = strnlen(s, size);
    return length > 0 && length < size && strspn(s, characters) == length;
}

static bool
starts_with_alnum(const char *s)
{
    return s[0] != '\0' && strchr(ALNUM, s[0]) != NULL;
}

bool
zb_node_name_valid(const char *s)
{
    return starts_with_alnum(s) && made_of(s, ZB_NODE_NAME_SIZE, LOWER DIGIT "-");
}

bool
zb_service_name_valid(const char *s)
{
    return starts_with_alnum(s) && made_of(s, ZB_SERVICE_NAME_SIZE, LOWER DIGIT "_-");
}

/* Components of a dataset name, separated by '/': none empty, none starting with '.'. */
static bool
components_valid(const char *s, size_t size)
{
    if (!made_of(s, size, ALNUM "_.:-/")) {
        return false;
    }
    for (const char *component = s; component != NULL;) {
        if (*component == '\0' || *component == '/' || *component == '.') {
            return false;
        }
        component = strchr(component, '/');
        if (component != NULL) {
            component++;
        }
    }
    return true;
}

bool
zb_rel_valid(const char *s)
{
    return s[0] == '\0' || components_valid(s, ZB_REL_SIZE);
}

bool
zb_dataset_name_valid(const char *s)
{
    bool letter = s[0] >= 'A' && s[0] <= 'Z';
    return (letter || (s[0] >= 'a' && s[0] <= 'z')) && components_valid(s, ZB_DATASET_NAME_SIZE);
}

bool
zb_snap_name_valid(const char *s)
{
    return made_of(s, ZB_SNAP_NAME_SIZE, ALNUM "_.:- +");
}

bool
zb_uuid_valid(const char *s)
{
    static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";
    static_assert(sizeof form == ZB_UUID_SIZE, "a uuid in text");

    for (size_t i = 0; i < sizeof form - 1; i++) {
        bool fits = form[i] == '-' ? s[i] == '-' : s[i] != '\0' && strchr("0123456789abcdef", s[i]);
        if (!fits) {
            return false;
        }
    }
    return s[sizeof form - 1] == '\0';
}

int
zb_set_id_cmp(struct zb_set_id a, struct zb_set_id b)
{
    if (a.term != b.term) {
        return a.term < b.term ? -1 : 1;
    }
    return a.seq == b.seq ? 0 : a.seq < b.seq ? -1 : 1;
}

bool
zb_set_id_is_none(struct zb_set_id id)
{
    return id.term == 0 && id.seq == 0;
}

void
zb_set_id_format(struct zb_set_id id, char *buf)
{
    (void)snprintf(buf, ZB_SET_ID_SIZE, "%" PRIu64 "/%" PRIu64, id.term, id.seq);
}

bool
zb_set_id_parse(const char *text, struct zb_set_id *id)
{
    char again[ZB_SET_ID_SIZE];
    char *end;
    struct zb_set_id found = {.term = strtoull(text, &end, 10)};

    if (*end == '/') {
        found.seq = strtoull(end + 1, NULL, 10);
    }
    zb_set_id_format(found, again);
    if (strcmp(text, again) != 0 || zb_set_id_is_none(found)) {
        return false;
    }
    *id = found;
    return true;
}

bool
zb_set_ref_equal(const struct zb_set_ref *a, const struct zb_set_ref *b)
{
    return zb_set_id_cmp(a->id, b->id) == 0 && memcmp(a->digest, b->digest, ZB_DIGEST_SIZE) == 0;
}

void
zb_set_name_format(struct zb_set_id id, struct zb_wall time, char *buf)
{
    char when[24];
    char compact[24];
    size_t used = 0;

    zb_wall_format(time, when);
    for (const char *p = when; *p != '\0'; p++) {
        if (*p != '-' && *p != ':') {
            compact[used++] = *p;
        }
    }
    compact[used] = '\0';
    (void)snprintf(buf, ZB_SNAP_NAME_SIZE, "zbaton-%06" PRIu64 "-%08" PRIu64 "-%s", id.term, id.seq,
                   compact);
}

/* Reads the digits at *p, moves *p behind them and behind the character that must follow. */
static bool
take_number(const char **p, char then, uint64_t *value)
{
    uint64_t v = 0;
    const char *s = *p;

    for (; *s >= '0' && *s <= '9'; s++) {
        uint64_t digit = (uint64_t)(*s - '0');
        if (v > (UINT64_MAX - digit) / 10) {
            return false;
        }
        v = v * 10 + digit;
    }
    if (*s != then) {
        return false;
    }
    *value = v;
    *p = s + 1;
    return true;
}

bool
zb_set_name_parse(const char *name, struct zb_set_id *id, struct zb_wall *time)
{
    static const char prefix[] = "zbaton-";
    const char *p = name;
    uint64_t term;
    uint64_t seq;
    uint64_t date;
    uint64_t clock;

    if (strncmp(p, prefix, sizeof prefix - 1) != 0) {
        return false;
    }
    p += sizeof prefix - 1;
    if (!take_number(&p, '-', &term) || !take_number(&p, '-', &seq) ||
        !take_number(&p, 'T', &date) || !take_number(&p, 'Z', &clock) || date > 99991231 ||
        clock > 235959) {
        return false;
    }
    struct zb_set_id found = {.term = term, .seq = seq};
    struct zb_wall when = zb_wall_from_utc((uint32_t)date, (uint32_t)clock);
    /* Exactly the form: what was read, written again, is the name. */
    char again[ZB_SNAP_NAME_SIZE];
    zb_set_name_format(found, when, again);
    if (term == 0 || strcmp(name, again) != 0) {
        return false;
    }
    *id = found;
    if (time != NULL) {
        *time = when;
    }
    return true;
}

void
zb_strcopy(char *to, size_t size, const char *from)
{
    size_t length = strlen(from);
    assert(length < size);
    memcpy(to, from, length + 1);
}
