/*
 * What a cluster that was made over the copies of an earlier one knows of that (zbaton init
 * --recover): no term up to `term` is its own, and some services have sets from then, so that they
 * do not begin anew. Part of the cluster's configuration (config_doc.h). Plain data; no I/O.
 */
#ifndef ZB_AGENT_RECOVERED_H
#define ZB_AGENT_RECOVERED_H

#include <jansson.h>

#include "base/types.h"

/* Zero is none; zb_recovered_close frees what it holds. */
struct zb_recovered {
    uint64_t term; /* 0: there was no earlier cluster */
    uint32_t count;
    char (*services)[ZB_SERVICE_NAME_SIZE]; /* sorted, each once; owned */
};

/* The floor above every term that was seen: at least a thousand, so that what members that nobody
 * could ask may have led since is below it too; and a random number of thousands, so that two
 * clusters that go on from the same copies do not give the same terms to different sets.
 * ZB_E_LIMIT: no earlier cluster led so many terms. */
enum zb_rc zb_recovered_floor(uint64_t seen, uint64_t random, uint64_t *floor,
                              struct zb_err *err) ZB_CHECKED;

bool zb_recovered_has(const struct zb_recovered *r, const char *service);
/* Once more is fine. */
void zb_recovered_add(struct zb_recovered *r, const char *service);
/* It was withdrawn: declared again, it is a new one. */
void zb_recovered_remove(struct zb_recovered *r, const char *service);
/* to must be zero. */
void zb_recovered_copy(struct zb_recovered *to, const struct zb_recovered *from);
void zb_recovered_close(struct zb_recovered *r);

/* {"services","term"} */
json_t *zb_recovered_json(const struct zb_recovered *r);
/* Strict: ZB_E_FORMAT. *r must be zero; the caller closes it, on failure too. */
enum zb_rc zb_recovered_parse(const json_t *object, struct zb_recovered *r,
                              struct zb_err *err) ZB_CHECKED;

#endif
