#include "conf/retention.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define DAY_S 86400
#define EPOCH_WEEKDAY 3 /* 1970-01-01 was a Thursday; weeks begin on Monday */

void
zb_retention_begin(struct zb_retention *r, const struct zb_conf_keep *keep, struct zb_wall now)
{
    r->keep = *keep;
    r->newest_s = now.s;
    r->count = 0;
    for (int i = 0; i < ZB_CONF_BUCKETS; i++) {
        r->buckets[i].count = 0;
    }
}

static int64_t
floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

/* Hours, days, weeks, months, years since some beginning. */
static int64_t
bucket_number(enum zb_conf_bucket bucket, int64_t time_s)
{
    time_t t = (time_t)time_s;
    struct tm tm = {0};

    switch (bucket) {
    case ZB_CONF_HOURLY:
        return floor_div(time_s, 3600);
    case ZB_CONF_DAILY:
        return floor_div(time_s, DAY_S);
    case ZB_CONF_WEEKLY:
        return floor_div(floor_div(time_s, DAY_S) + EPOCH_WEEKDAY, 7);
    default:
        (void)gmtime_r(&t, &tm);
        return bucket == ZB_CONF_YEARLY ? tm.tm_year : (int64_t)tm.tm_year * 12 + tm.tm_mon;
    }
}

/* Whether it is the newest of its bucket, and that one of the newest N. A bucket that was met
 * before, in whatever order the clocks were, is not met again. */
static bool
bucket_take(struct zb_retention *r, enum zb_conf_bucket bucket, int64_t time_s)
{
    int64_t number = bucket_number(bucket, time_s);
    uint32_t count = r->buckets[bucket].count;

    if (count == r->keep.buckets[bucket]) {
        return false;
    }
    for (uint32_t i = count; i-- > 0;) {
        if (r->buckets[bucket].numbers[i] == number) {
            return false;
        }
    }
    r->buckets[bucket].numbers[count] = number;
    r->buckets[bucket].count++;
    return true;
}

uint32_t
zb_retention_next(struct zb_retention *r, struct zb_wall time)
{
    uint32_t bits = 0;

    if (r->count == 0 && time.s < r->newest_s) {
        r->newest_s = time.s;
    }
    if (r->count == 0 || r->count < r->keep.last) {
        bits |= ZB_KEEP_LAST;
    }
    r->count++;
    if (r->keep.for_ms != 0 && r->newest_s - time.s <= (int64_t)(r->keep.for_ms / 1000)) {
        bits |= ZB_KEEP_FOR;
    }
    for (int i = 0; i < ZB_CONF_BUCKETS; i++) {
        if (bucket_take(r, (enum zb_conf_bucket)i, time.s)) {
            bits |= (uint32_t)ZB_KEEP_BUCKET << i;
        }
    }
    return bits;
}

void
zb_keep_words(uint32_t bits, char *buf)
{
    static const char *const words[] = {"last",   "for",     "hourly", "daily",
                                        "weekly", "monthly", "yearly"};

    buf[0] = '\0';
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        size_t used = strlen(buf);
        if ((bits & 1u << i) != 0) {
            (void)snprintf(buf + used, ZB_KEEP_WORDS_SIZE - used, "%s%s", used > 0 ? ", " : "",
                           words[i]);
        }
    }
}
