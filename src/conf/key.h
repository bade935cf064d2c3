/*
 * The keys of a configuration as a table: what kind of value each has, where it goes in a struct,
 * what is accepted. Files, JSON, printing and diffs all go through it.
 */
#ifndef ZB_CONF_KEY_H
#define ZB_CONF_KEY_H

#include <stdio.h>

#include "conf/service.h"
#include "conf/value.h"

enum zb_conf_kind {
    ZB_CONF_STRING,   /* char[size]; valid */
    ZB_CONF_NAMES,    /* struct zb_conf_names: a list of node names, none twice */
    ZB_CONF_DURATION, /* uint32_t milliseconds; min, max */
    ZB_CONF_COUNT,    /* uint32_t; min, max */
    ZB_CONF_SIZE,     /* uint64_t bytes; min, max; 0: not declared */
    ZB_CONF_WORD,     /* an enum; words; a value without one: not declared */
};

struct zb_conf_word {
    const char *word; /* NULL ends the table */
    unsigned value;
};

struct zb_conf_key {
    const char *name;
    enum zb_conf_kind kind;
    size_t offset;
    size_t size;
    uint64_t min;
    uint64_t max;
    bool (*valid)(const char *s);
    const struct zb_conf_word *words;
    const char *expected; /* "a time from 1s to 24h": ends "expected ..." */
    const char *fallback; /* value of a key that is not given, or NULL */
    bool required;
    unsigned runners; /* bits of enum zb_conf_runner that the key is for; 0: all */
};

/* What a key's value looks like in text; count 0: not declared. */
struct zb_conf_values {
    size_t count;
    const char *items[ZB_MEMBERS_MAX]; /* into the struct, or to number */
    char number[ZB_CONF_NUMBER_SIZE];
};

/* Fallbacks into a zeroed struct. */
void zb_conf_keys_default(const struct zb_conf_key *keys, size_t count, void *base);
/* NULL when there is none of that name. */
const struct zb_conf_key *zb_conf_key_find(const struct zb_conf_key *keys, size_t count,
                                           const char *name);
/* One value, or any number for NAMES. ZB_E_FORMAT with "interval: expected ..., not ...". */
enum zb_rc zb_conf_key_set(const struct zb_conf_key *key, const char *const *values, size_t count,
                           void *base, struct zb_err *err) ZB_CHECKED;
void zb_conf_key_values(const struct zb_conf_key *key, const void *base,
                        struct zb_conf_values *values);
/* "    name = value" lines of all declared keys, each behind indent. */
void zb_conf_keys_print(const struct zb_conf_key *keys, size_t count, const void *base,
                        const char *indent, FILE *file);

#endif
