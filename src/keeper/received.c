#include "keeper/received.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void
zb_received_format(const struct zb_received *r, char *buf)
{
    size_t used = (size_t)snprintf(buf, ZB_RECEIVED_MARK_SIZE, "%" PRIx64, r->holders[0]);

    for (size_t i = 1; i < ZB_RECEIVED_HOLDERS && r->holders[i] != 0; i++) {
        used +=
            (size_t)snprintf(buf + used, ZB_RECEIVED_MARK_SIZE - used, ",%" PRIx64, r->holders[i]);
    }
    if (r->gone) {
        (void)snprintf(buf + used, ZB_RECEIVED_MARK_SIZE - used, "/%" PRIu64 "/%" PRId64 "/%s",
                       r->gone_ms, r->at_ms, r->boot_id);
    }
}

/* A number without a sign, which ends with `end`; *s is behind that afterwards. */
static bool
number_read(const char **s, int base, char end, uint64_t *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = strspn(*s, base == 16 ? digits : "0123456789");
    char *stop;

    if (length == 0 || length > (base == 16 ? 16 : 19) || (*s)[length] != end) {
        return false;
    }
    *out = strtoull(*s, &stop, base);
    *s = end != '\0' ? stop + 1 : stop;
    return true;
}

/* "11,22,33", up to `end`. */
static bool
holders_read(const char **s, char end, uint64_t *holders)
{
    size_t i = 0;

    while (i + 1 < ZB_RECEIVED_HOLDERS && number_read(s, 16, ',', &holders[i])) {
        i++;
    }
    return number_read(s, 16, end, &holders[i]);
}

bool
zb_received_parse(const char *mark, struct zb_received *r)
{
    struct zb_received got = {0};
    uint64_t at_ms = 0;

    if (strchr(mark, '/') == NULL) {
        if (!holders_read(&mark, '\0', got.holders)) {
            return false;
        }
    } else {
        if (!holders_read(&mark, '/', got.holders) || !number_read(&mark, 10, '/', &got.gone_ms) ||
            !number_read(&mark, 10, '/', &at_ms) || at_ms > INT64_MAX || !zb_uuid_valid(mark)) {
            return false;
        }
        got.gone = true;
        got.at_ms = (int64_t)at_ms;
        zb_strcopy(got.boot_id, sizeof(got.boot_id), mark);
    }
    *r = got;
    return true;
}

/* Since the count was stored, as far as one clock saw all of it. */
static uint64_t
span_ms(const struct zb_received *r, const struct zb_received_clock *clock)
{
    bool seen = strcmp(r->boot_id, clock->boot_id) == 0 && clock->now.ms >= r->at_ms;

    return seen ? (uint64_t)(clock->now.ms - r->at_ms) : 0;
}

uint64_t
zb_received_gone_ms(const struct zb_received *r, const struct zb_received_clock *clock)
{
    uint64_t span = span_ms(r, clock);

    if (!r->gone) {
        return 0;
    }
    return r->gone_ms > UINT64_MAX - span ? UINT64_MAX : r->gone_ms + span;
}

bool
zb_received_is_answered(const char *lines)
{
    return lines != NULL && (strncmp(lines, "@\n", 2) == 0 || strstr(lines, "\n@\n") != NULL);
}

/* The line of the dataset, behind its uuid and tab; NULL: there is none. */
static const char *
line_find(const char *lines, const char *uuid)
{
    size_t length = strlen(uuid);

    while (lines != NULL && *lines != '\0') {
        if (lines[0] == '@' && length > 0 && strncmp(lines + 1, uuid, length) == 0 &&
            lines[1 + length] == '\t') {
            return lines + length + 2;
        }
        lines += strcspn(lines, "\n");
        lines += *lines == '\n';
    }
    return NULL;
}

static bool
had(const struct zb_received *r, uint64_t holder)
{
    bool found = false;

    for (size_t i = 0; i < ZB_RECEIVED_HOLDERS; i++) {
        found = found || r->holders[i] == holder;
    }
    return found;
}

/* As the last one that had it. */
static void
holder_put(struct zb_received *r, uint64_t holder)
{
    size_t i = 0;

    while (i + 1 < ZB_RECEIVED_HOLDERS && r->holders[i] != holder) {
        i++;
    }
    memmove(&r->holders[1], &r->holders[0], i * sizeof(r->holders[0]));
    r->holders[0] = holder;
}

enum zb_received_said
zb_received_said(const char *lines, const char *uuid, uint64_t guid, const struct zb_received *r,
                 uint64_t *holder)
{
    const char *at = line_find(lines, uuid);
    bool older = false; /* one that is older than it is there */
    bool last = false;  /* the last one read is there */
    bool missing = false;
    uint64_t one;

    if (at == NULL || !number_read(&at, 16, '\t', holder) || *holder == 0) {
        return ZB_RECEIVED_UNKNOWN;
    }
    while (*at == '+' || *at == '-') {
        size_t length = strcspn(at + 1, " \n");
        const char *number = at + 1;
        char end = number[length];
        last = *at == '+';
        if (!number_read(&number, 16, end, &one)) {
            return ZB_RECEIVED_UNKNOWN;
        }
        if (one == guid && last) {
            return ZB_RECEIVED_THERE;
        }
        missing = missing || one == guid;
        older = older || (!missing && last);
        at += 1 + length + (end == ' ');
    }
    return missing && last && (older || had(r, *holder)) ? ZB_RECEIVED_GONE : ZB_RECEIVED_UNKNOWN;
}

bool
zb_received_hear(struct zb_received *r, enum zb_received_said said, uint64_t holder,
                 const struct zb_received_clock *clock, uint64_t every_ms)
{
    bool begins = said == ZB_RECEIVED_GONE && !r->gone;
    bool same_boot = strcmp(r->boot_id, clock->boot_id) == 0 && clock->now.ms >= r->at_ms;

    if (said == ZB_RECEIVED_THERE) {
        bool changes = r->gone || r->holders[0] != holder;
        holder_put(r, holder);
        r->gone = false;
        return changes;
    }
    if (said != ZB_RECEIVED_GONE || (!begins && same_boot && span_ms(r, clock) < every_ms)) {
        return false;
    }
    r->gone_ms = zb_received_gone_ms(r, clock); /* before it was gone: 0 */
    r->gone = true;
    r->at_ms = clock->now.ms;
    zb_strcopy(r->boot_id, sizeof(r->boot_id), clock->boot_id);
    return true;
}

bool
zb_received_is_base(const struct zb_ksnap *snaps, const uint32_t *stays, size_t count, size_t index)
{
    bool newer = false;
    struct zb_set_id ignored;

    for (size_t i = index + 1; i < count && !newer; i++) {
        newer = zb_set_name_parse(snaps[i].name, &ignored, NULL);
    }
    for (size_t i = index; newer && i-- > 0;) {
        if (zb_set_name_parse(snaps[i].name, &ignored, NULL)) {
            return (stays[i] & ZB_KEEP_BASE) != 0;
        }
    }
    return !newer;
}
