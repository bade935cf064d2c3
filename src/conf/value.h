/*
 * Values of configuration files: text to number and back, and what makes a text a path, a command
 * line, an address. Pure.
 */
#ifndef ZB_CONF_VALUE_H
#define ZB_CONF_VALUE_H

#include "base/types.h"

#define ZB_CONF_NUMBER_SIZE 32 /* any formatted number, with NUL */

/* "500ms", "30s", "5m", "1h", "2d": the unit is required. False: not of that form, or above
 * UINT64_MAX.
 */
bool zb_conf_duration_parse(const char *s, uint64_t *ms);
/* In the largest unit that says it exactly. */
void zb_conf_duration_format(uint64_t ms, char *buf);
/* "1048576", "10G": bytes, or K M G T P in powers of 1024. */
bool zb_conf_size_parse(const char *s, uint64_t *bytes);
void zb_conf_size_format(uint64_t bytes, char *buf);
/* Decimal digits only. */
bool zb_conf_count_parse(const char *s, uint64_t *count);
void zb_conf_count_format(uint64_t count, char *buf);

/* Absolute, printable ASCII, not "/", no empty, "." or ".." component, no trailing slash. */
bool zb_conf_path_valid(const char *s);
/* One of two valid paths is the other or contains it. */
bool zb_conf_paths_overlap(const char *a, const char *b);
/* Program name ([A-Za-z0-9_.-], not starting with '.' or '-') and arguments in printable ASCII;
 * every quote has its end (runner/runner.h says how words are split); no "${". */
bool zb_conf_command_valid(const char *s);
/* Name of a systemd service: "web.service". */
bool zb_conf_unit_valid(const char *s);
/* Numeric IPv4 or [IPv6], ':' and a port from 1 to 65535. */
bool zb_conf_address_valid(const char *s);

/* The candidate nearest to word, when at most two letters differ; else NULL. */
const char *zb_conf_suggest(const char *word, const char *const *candidates, size_t count);

#endif
