/*
 * Limits of what a node sends, by the time of the day (UTC): "08:00-18:00 5M, 22:00-06:00 none".
 * Pure.
 */
#ifndef ZB_CONF_SEND_LIMIT_H
#define ZB_CONF_SEND_LIMIT_H

#include "base/types.h"

#define ZB_CONF_SEND_LIMIT_MIN (UINT64_C(64) << 10) /* bytes per second */
#define ZB_CONF_SEND_LIMIT_MAX (UINT64_C(1) << 40)
#define ZB_CONF_SPANS_MAX 24

/* A part of each day; one that ends before it begins goes over midnight. */
struct zb_conf_span {
    uint32_t from_min; /* minute of the day, 0 to 1439 */
    uint32_t to_min;   /* the first one after it, 0 to 1440 */
    uint64_t bytes;    /* per second; 0: no limit */
};

/* No two of them at the same time. */
struct zb_conf_spans {
    uint32_t count;
    struct zb_conf_span items[ZB_CONF_SPANS_MAX];
};

/* Of that form, whatever the times are. */
bool zb_conf_spans_valid(const char *text);
/* Of a text of that form, or "". ZB_E_FORMAT: a span is empty, or two overlap; ZB_E_LIMIT. out is
 * written on success only. */
enum zb_rc zb_conf_spans_parse(const char *text, struct zb_conf_spans *out,
                               struct zb_err *err) ZB_CHECKED;
/* The span that a time is in; NULL: in none. */
const struct zb_conf_span *zb_conf_spans_find(const struct zb_conf_spans *spans,
                                              struct zb_wall now);

#endif
