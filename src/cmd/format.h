/*
 * Numbers and times as people read them. Pure; every function writes a whole, NUL-terminated text
 * into buf of ZB_TEXT_SIZE bytes and returns buf.
 */
#ifndef ZB_CMD_FORMAT_H
#define ZB_CMD_FORMAT_H

#include "base/types.h"

#define ZB_TEXT_SIZE 64

/* 0, 512B, 3.1M, 212M, 1.2G: units of 1024, one decimal below 10, none for exact values. */
char *zb_format_bytes(uint64_t bytes, char *buf);
/* 7s, 1m30s, 1h29m, 3d4h: the two largest units. Negative (clocks apart): 0s. */
char *zb_format_age(int64_t seconds, char *buf);
/* 0.2s, 1.9s, 1m12s. */
char *zb_format_elapsed(int64_t ms, char *buf);
/* "2026-11-22T06:41:07Z": "06:41:07" on the day of `now`, else "2026-11-22 06:41"; any other text
 * unchanged (cut to fit). */
char *zb_format_time(const char *rfc3339, const char *now, char *buf);
/* "2026-11-22T06:41:07Z" as UTC seconds; -1 when it is not of that form. */
int64_t zb_format_time_parse(const char *rfc3339);
/* What stands in a cell; "" for a negative number. exact (-p): numbers as they are, times as they
 * came. */
char *zb_format_cell_number(int64_t number, char *buf);
char *zb_format_cell_bytes(int64_t bytes, bool exact, char *buf);
char *zb_format_cell_age(int64_t seconds, bool exact, char *buf);
char *zb_format_cell_elapsed(int64_t ms, bool exact, char *buf);
/* "2026-11-22 06:41:07"; any other text unchanged (cut to fit). */
char *zb_format_cell_time(const char *rfc3339, bool exact, char *buf);
/* "[==========>-----------]" of width characters between the brackets (at most 40). */
char *zb_format_bar(uint64_t done, uint64_t total, unsigned width, char *buf);

#endif
