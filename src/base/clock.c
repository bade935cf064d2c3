#include "base/types.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* 9999-12-31T23:59:59Z: the last second with a four-digit year. */
#define WALL_MAX INT64_C(253402300799)

static struct timespec
now(clockid_t clock)
{
    struct timespec ts;
    if (clock_gettime(clock, &ts) != 0) {
        abort();
    }
    return ts;
}

struct zb_mono
zb_mono_now(void)
{
    struct timespec ts = now(CLOCK_BOOTTIME);
    return (struct zb_mono){.ms = (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000};
}

struct zb_wall
zb_wall_now(void)
{
    return (struct zb_wall){.s = now(CLOCK_REALTIME).tv_sec};
}

void
zb_wall_format(struct zb_wall t, char *buf)
{
    struct tm tm;
    time_t s = t.s < 0 ? 0 : t.s > WALL_MAX ? WALL_MAX : t.s;

    (void)gmtime_r(&s, &tm);
    (void)strftime(buf, 24, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

struct zb_wall
zb_wall_from_utc(uint32_t date, uint32_t clock)
{
    struct tm tm = {
        .tm_year = (int)(date / 10000) - 1900,
        .tm_mon = (int)(date / 100 % 100) - 1,
        .tm_mday = (int)(date % 100),
        .tm_hour = (int)(clock / 10000),
        .tm_min = (int)(clock / 100 % 100),
        .tm_sec = (int)(clock % 100),
    };
    return (struct zb_wall){.s = timegm(&tm)};
}
