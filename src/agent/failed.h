/*
 * Where a service failed: it was started there as often as `restarts` allows, and did not stay.
 * Part of the cluster's configuration (config_doc.h), one for each service and node, so that
 * neither a restart nor another leader forgets it: such a node is not gone to by itself for a
 * while, twice as long each time, and in the term in which it failed it is not started there any
 * more. It goes when the service has run there for some time, or when an operator starts it. Plain
 * data; no I/O.
 */
#ifndef ZB_AGENT_FAILED_H
#define ZB_AGENT_FAILED_H

#include <jansson.h>

#include "base/types.h"

#define ZB_FAILED_WHY_SIZE 161 /* with its NUL */
#define ZB_FAILED_TIMES_MAX 8  /* more count as these: 128 hours */

struct zb_failed {
    char service[ZB_SERVICE_NAME_SIZE];
    char node[ZB_NODE_NAME_SIZE];
    uint64_t term;
    uint32_t times; /* without having run there for some time in between */
    struct zb_wall time;
    char why[ZB_FAILED_WHY_SIZE]; /* one line */
};

/* Zero is none; zb_faileds_close frees what it holds. */
struct zb_faileds {
    uint32_t count;
    struct zb_failed *items; /* sorted by service and node, each once; owned */
};

/* An hour after the first time, two after the second one, ... A time of the future, by another
 * host's clock, is one that has just been. */
bool zb_failed_lately(const struct zb_failed *failed, struct zb_wall now);

/* NULL: it did not fail there. */
const struct zb_failed *zb_faileds_find(const struct zb_faileds *f, const char *service,
                                        const char *node);
/* In place of the one of that service and node, if there is one. why is made one line. */
void zb_faileds_put(struct zb_faileds *f, const struct zb_failed *failed);
/* node NULL: of every node. False: there was none. */
bool zb_faileds_remove(struct zb_faileds *f, const char *service, const char *node);
/* to must be zero. */
void zb_faileds_copy(struct zb_faileds *to, const struct zb_faileds *from);
void zb_faileds_close(struct zb_faileds *f);

/* [{"service","node","term","times","time","why"}] with seconds as numbers. */
json_t *zb_faileds_json(const struct zb_faileds *f);
/* Strict: ZB_E_FORMAT. *f must be zero; the caller closes it, on failure too. */
enum zb_rc zb_faileds_parse(const json_t *array, struct zb_faileds *f,
                            struct zb_err *err) ZB_CHECKED;

#endif
