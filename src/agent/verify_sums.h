/*
 * What members said of one set (VERIFY of wire/kmsg.h), and what of it does not agree. Pure.
 */
#ifndef ZB_AGENT_VERIFY_SUMS_H
#define ZB_AGENT_VERIFY_SUMS_H

#include <jansson.h>

#include "base/types.h"

#define ZB_VERIFY_BUCKET_BITS 10 /* as keeper/sum.h has them */
#define ZB_VERIFY_BUCKETS (1u << ZB_VERIFY_BUCKET_BITS)
#define ZB_VERIFY_RANGES_MAX 8
#define ZB_VERIFY_NAMES_MAX 640 /* of one answer */
#define ZB_VERIFY_ERRORS_MAX 20
#define ZB_VERIFY_PATH_SIZE 312

struct zb_verify_sum {
    uint64_t words[2]; /* both 0: no name is in the bucket */
};

struct zb_verify_name {
    uint64_t position;
    struct zb_verify_sum digest;
    char path[ZB_VERIFY_PATH_SIZE];
};

struct zb_verify_error {
    int error; /* errno */
    char path[ZB_VERIFY_PATH_SIZE];
};

struct zb_verify_answer {
    uint64_t names, files, read_files, read_bytes, unreadable;
    struct zb_verify_sum buckets[ZB_VERIFY_BUCKETS];
    uint32_t errors_count;
    struct zb_verify_error errors[ZB_VERIFY_ERRORS_MAX];
    uint32_t list_count;
    uint64_t list_more; /* names that did not fit */
    struct zb_verify_name list[ZB_VERIFY_NAMES_MAX];
};

/* ZB_E_FORMAT: it is not what a VERIFY answers; *out is then of no use. */
enum zb_rc zb_verify_answer_parse(const char *text, struct zb_verify_answer *out,
                                  struct zb_err *err) ZB_CHECKED;
/* Over all buckets; text of 33. */
void zb_verify_digest(const struct zb_verify_answer *answer, char *text);
/* How many buckets are not the same in all of them; the first of these, up to max, into ranges. */
uint32_t zb_verify_differing(struct zb_verify_answer *const *answers, uint32_t count,
                             uint32_t *ranges, uint32_t max);
/* Names that are not the same in all of them, in the order of their paths, at most max:
 * [{"path", "same": [[node, ...], ...] (who agrees with whom), "missing": [node, ...]}, ...]. A new
 * array. What an answer had no room for is not called missing. */
json_t *zb_verify_names_json(struct zb_verify_answer *const *answers, const char *const *nodes,
                             uint32_t count, uint32_t max);

#endif
