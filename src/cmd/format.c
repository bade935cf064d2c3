#include "cmd/format.h"

#include <inttypes.h>

char *
zb_format_bytes(uint64_t bytes, char *buf)
{
    static const char units[] = "BKMGTPE";
    unsigned unit = 0;
    uint64_t scale = 1;

    if (bytes == 0) {
        snprintf(buf, ZB_TEXT_SIZE, "0");
        return buf;
    }
    while (unit + 1 < sizeof units - 1 && bytes / scale >= 1024) {
        scale *= 1024;
        unit++;
    }
    uint64_t tenths = bytes / scale * 10 + (bytes % scale * 10 + scale / 2) / scale;
    if (bytes % scale == 0 || tenths >= 100) {
        uint64_t whole = bytes / scale + (bytes % scale >= scale - scale / 2 ? 1 : 0);
        if (whole == 1024 && unit + 1 < sizeof units - 1) {
            whole = 1;
            unit++;
        }
        snprintf(buf, ZB_TEXT_SIZE, "%" PRIu64 "%c", whole, units[unit]);
    } else {
        snprintf(buf, ZB_TEXT_SIZE, "%" PRIu64 ".%" PRIu64 "%c", tenths / 10, tenths % 10,
                 units[unit]);
    }
    return buf;
}

char *
zb_format_age(int64_t seconds, char *buf)
{
    static const struct {
        int64_t s;
        char unit;
    } units[] = {{86400, 'd'}, {3600, 'h'}, {60, 'm'}, {1, 's'}};

    if (seconds < 0) {
        seconds = 0;
    }
    for (unsigned i = 0; i + 1 < sizeof units / sizeof units[0]; i++) {
        int64_t rest = seconds % units[i].s / units[i + 1].s;
        if (seconds < units[i].s) {
            continue;
        }
        if (rest == 0) {
            snprintf(buf, ZB_TEXT_SIZE, "%" PRId64 "%c", seconds / units[i].s, units[i].unit);
        } else {
            snprintf(buf, ZB_TEXT_SIZE, "%" PRId64 "%c%" PRId64 "%c", seconds / units[i].s,
                     units[i].unit, rest, units[i + 1].unit);
        }
        return buf;
    }
    snprintf(buf, ZB_TEXT_SIZE, "%" PRId64 "s", seconds);
    return buf;
}

char *
zb_format_elapsed(int64_t ms, char *buf)
{
    if (ms < 0) {
        ms = 0;
    }
    if (ms >= 60000 - 50) {
        return zb_format_age(ms / 1000 + (ms % 1000 >= 500), buf);
    }
    snprintf(buf, ZB_TEXT_SIZE, "%" PRId64 ".%" PRId64 "s", (ms + 50) / 1000,
             (ms + 50) % 1000 / 100);
    return buf;
}

int64_t
zb_format_time_parse(const char *rfc3339)
{
    static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
    uint32_t numbers[2] = {0, 0}; /* date, then clock */
    bool clock = false;

    if (strlen(rfc3339) != sizeof form - 1) {
        return -1;
    }
    for (size_t i = 0; i < sizeof form - 1; i++) {
        bool digit = rfc3339[i] >= '0' && rfc3339[i] <= '9';
        if (form[i] == 'd' ? !digit : rfc3339[i] != form[i]) {
            return -1;
        }
        clock = clock || form[i] == 'T';
        numbers[clock] =
            digit ? numbers[clock] * 10 + (uint32_t)(rfc3339[i] - '0') : numbers[clock];
    }
    return zb_wall_from_utc(numbers[0], numbers[1]).s;
}

char *
zb_format_time(const char *rfc3339, const char *now, char *buf)
{
    if (zb_format_time_parse(rfc3339) < 0) {
        snprintf(buf, ZB_TEXT_SIZE, "%s", rfc3339);
    } else if (strncmp(rfc3339, now, 10) == 0) {
        snprintf(buf, ZB_TEXT_SIZE, "%.8s", rfc3339 + 11);
    } else {
        snprintf(buf, ZB_TEXT_SIZE, "%.10s %.5s", rfc3339, rfc3339 + 11);
    }
    return buf;
}

char *
zb_format_cell_number(int64_t number, char *buf)
{
    buf[0] = '\0';
    if (number >= 0) {
        snprintf(buf, ZB_TEXT_SIZE, "%" PRId64, number);
    }
    return buf;
}

char *
zb_format_cell_bytes(int64_t bytes, bool exact, char *buf)
{
    return exact || bytes < 0 ? zb_format_cell_number(bytes, buf)
                              : zb_format_bytes((uint64_t)bytes, buf);
}

char *
zb_format_cell_age(int64_t seconds, bool exact, char *buf)
{
    return exact || seconds < 0 ? zb_format_cell_number(seconds, buf) : zb_format_age(seconds, buf);
}

char *
zb_format_cell_elapsed(int64_t ms, bool exact, char *buf)
{
    return exact || ms < 0 ? zb_format_cell_number(ms, buf) : zb_format_elapsed(ms, buf);
}

char *
zb_format_cell_time(const char *rfc3339, bool exact, char *buf)
{
    if (exact || zb_format_time_parse(rfc3339) < 0) {
        snprintf(buf, ZB_TEXT_SIZE, "%s", rfc3339);
    } else {
        snprintf(buf, ZB_TEXT_SIZE, "%.10s %.8s", rfc3339, rfc3339 + 11);
    }
    return buf;
}

char *
zb_format_bar(uint64_t done, uint64_t total, unsigned width, char *buf)
{
    if (width > 40) {
        width = 40;
    }
    if (done > total) {
        done = total;
    }
    unsigned filled = total == 0 ? 0 : (unsigned)((double)done / (double)total * width);

    buf[0] = '[';
    for (unsigned i = 0; i < width; i++) {
        buf[1 + i] = i < filled ? '=' : i == filled ? '>' : '-';
    }
    buf[1 + width] = ']';
    buf[2 + width] = '\0';
    return buf;
}
