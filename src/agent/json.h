/*
 * JSON as the peers write it, and reading it strictly. Integers that need all 64 bits (terms,
 * guids, nonces) travel as decimal strings, since JSON numbers are exact only to 2^53 elsewhere and
 * to 2^63 here; reading accepts numbers too. Sets are {"term","seq","digest"} or null.
 *
 * Making JSON cannot fail (out of memory is fail-stop). Reading goes through a reader that
 * remembers the first key that was missing or wrong, so that a decoder checks once, at its end;
 * what a failed read returns is zero.
 */
#ifndef ZB_AGENT_JSON_H
#define ZB_AGENT_JSON_H

#include <jansson.h>

#include "base/types.h"

#define ZB_JSON_TIME_MAX_S INT64_C(253402300799) /* the end of the year 9999: no time is later */

/* Makes jansson end the process when it has no memory, before anything else of it is used: it may
 * otherwise lose a byte that it reads or a key that it writes, and succeed. */
void zb_json_memory_use(void);

json_t *zb_json_new(const char *type); /* {"t": type} */
json_t *zb_json_array_new(void);
void zb_json_put(json_t *object, const char *key, json_t *value); /* takes value */
void zb_json_append(json_t *array, json_t *value);                /* takes value */

json_t *zb_json_u64(uint64_t v);
json_t *zb_json_int(int64_t v);
json_t *zb_json_bool(bool v);
/* Bytes that are not UTF-8 become '?'. */
json_t *zb_json_text(const char *s);
json_t *zb_json_set(const struct zb_set_ref *set);
/* {"term","seq"} with numbers, as the control socket has them; null for none. */
json_t *zb_json_set_id(struct zb_set_id id);

struct zb_json_reader {
    const json_t *object;
    const char *bad; /* first key that was missing or wrong; NULL: all well */
};

struct zb_json_reader zb_json_read(const json_t *object);
/* ZB_E_FORMAT naming the key. */
enum zb_rc zb_json_read_end(const struct zb_json_reader *r, struct zb_err *err) ZB_CHECKED;
void zb_json_read_fail(struct zb_json_reader *r, const char *key);

/* Decimal text without leading zeros, or a number >= 0. */
uint64_t zb_json_read_u64(struct zb_json_reader *r, const char *key);
/* A number in [min, max]. */
int64_t zb_json_read_int(struct zb_json_reader *r, const char *key, int64_t min, int64_t max);
bool zb_json_read_bool(struct zb_json_reader *r, const char *key);
/* A string of at most size - 1 bytes; refused when longer. buf is "" on failure. */
void zb_json_read_text(struct zb_json_reader *r, const char *key, char *buf, size_t size);
/* As zb_json_read_text, and valid(buf). */
void zb_json_read_name(struct zb_json_reader *r, const char *key, char *buf, size_t size,
                       bool (*valid)(const char *s));
void zb_json_read_set(struct zb_json_reader *r, const char *key, struct zb_set_ref *set);

/* --- manifest_json.c --- */

/* {"term","seq","time","entries":[[uuid, rel, guid], ...]} */
json_t *zb_json_manifest(const struct zb_manifest *m);
/* *m must be zeroed; the caller closes it. Only manifests that are zb_manifest_valid. */
void zb_json_read_manifest(struct zb_json_reader *r, const char *key, struct zb_manifest *m);

/* The value itself: false when it is not one. */
bool zb_json_is_u64(const json_t *value, uint64_t *out);

#endif
