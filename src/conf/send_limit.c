#include "conf/send_limit.h"

#include <string.h>

#include "conf/value.h"

#define DAY_MIN 1440
#define TIME_LENGTH 5 /* "08:00" */
#define SIZE_LENGTH_MAX 20

/* "HH:MM", up to 24:00. */
static bool
time_scan(const char *s, uint32_t *minute)
{
    for (size_t i = 0; i < TIME_LENGTH; i++) {
        if (i == 2 ? s[i] != ':' : s[i] < '0' || s[i] > '9') {
            return false;
        }
    }
    uint32_t hours = (uint32_t)(s[0] - '0') * 10 + (uint32_t)(s[1] - '0');
    uint32_t minutes = (uint32_t)(s[3] - '0') * 10 + (uint32_t)(s[4] - '0');
    *minute = hours * 60 + minutes;
    return minutes < 60 && *minute <= DAY_MIN;
}

/* The size, or "none", that begins at s and is length letters long. */
static bool
limit_scan(const char *s, size_t length, uint64_t *bytes)
{
    char word[SIZE_LENGTH_MAX + 1];

    if (length == 0 || length > SIZE_LENGTH_MAX) {
        return false;
    }
    memcpy(word, s, length);
    word[length] = '\0';
    if (strcmp(word, "none") == 0) {
        *bytes = 0;
        return true;
    }
    return zb_conf_size_parse(word, bytes) && *bytes >= ZB_CONF_SEND_LIMIT_MIN &&
           *bytes <= ZB_CONF_SEND_LIMIT_MAX;
}

/* Moves *s behind the span and its comma. */
static bool
span_scan(const char **s, struct zb_conf_span *span)
{
    const char *at = *s + strspn(*s, " ");

    if (!time_scan(at, &span->from_min) || span->from_min == DAY_MIN || at[TIME_LENGTH] != '-' ||
        !time_scan(at + TIME_LENGTH + 1, &span->to_min) || at[2 * TIME_LENGTH + 1] != ' ') {
        return false;
    }
    at += 2 * TIME_LENGTH + 1;
    at += strspn(at, " ");
    size_t length = strcspn(at, " ,");
    if (!limit_scan(at, length, &span->bytes)) {
        return false;
    }
    at += length;
    at += strspn(at, " ");
    if (at[0] == ',' && at[1] != '\0') {
        at++;
    } else if (at[0] != '\0') {
        return false;
    }
    *s = at;
    return true;
}

bool
zb_conf_spans_valid(const char *text)
{
    struct zb_conf_span span;

    do {
        if (!span_scan(&text, &span)) {
            return false;
        }
    } while (*text != '\0');
    return true;
}

static bool
is_in(const struct zb_conf_span *span, uint32_t minute)
{
    return span->from_min < span->to_min ? minute >= span->from_min && minute < span->to_min
                                         : minute >= span->from_min || minute < span->to_min;
}

/* Where two spans overlap, one of them begins within the other. */
static bool
overlap(const struct zb_conf_span *a, const struct zb_conf_span *b)
{
    return is_in(a, b->from_min) || is_in(b, a->from_min);
}

#define SPAN_TEXT "%02u:%02u-%02u:%02u"
#define SPAN_ARGS(s) (s)->from_min / 60, (s)->from_min % 60, (s)->to_min / 60, (s)->to_min % 60

enum zb_rc
zb_conf_spans_parse(const char *text, struct zb_conf_spans *out, struct zb_err *err)
{
    struct zb_conf_spans spans;

    memset(&spans, 0, sizeof spans);
    while (*text != '\0') {
        struct zb_conf_span *span = &spans.items[spans.count];
        if (spans.count == ZB_CONF_SPANS_MAX) {
            return zb_err_set(err, ZB_E_LIMIT, "more than %d spans", ZB_CONF_SPANS_MAX);
        }
        if (!span_scan(&text, span)) {
            return zb_err_set(err, ZB_E_FORMAT, "not a list of spans");
        }
        if (span->from_min == span->to_min) {
            return zb_err_set(err, ZB_E_FORMAT, SPAN_TEXT " is empty; the whole day is 00:00-24:00",
                              SPAN_ARGS(span));
        }
        for (uint32_t i = 0; i < spans.count; i++) {
            if (overlap(&spans.items[i], span)) {
                return zb_err_set(err, ZB_E_FORMAT, SPAN_TEXT " and " SPAN_TEXT " overlap",
                                  SPAN_ARGS(&spans.items[i]), SPAN_ARGS(span));
            }
        }
        spans.count++;
    }
    *out = spans;
    return ZB_OK;
}

const struct zb_conf_span *
zb_conf_spans_find(const struct zb_conf_spans *spans, struct zb_wall now)
{
    uint32_t minute = now.s > 0 ? (uint32_t)(now.s / 60 % DAY_MIN) : 0;

    for (uint32_t i = 0; i < spans->count; i++) {
        if (is_in(&spans->items[i], minute)) {
            return &spans->items[i];
        }
    }
    return NULL;
}
