/*
 * The mark of a node that shall lead nothing: it is part of the cluster's configuration
 * (config_doc.h), with the node. Plain data; no I/O.
 */
#ifndef ZB_AGENT_DRAINED_H
#define ZB_AGENT_DRAINED_H

#include <jansson.h>

#include "base/types.h"

#define ZB_DRAINED_WHO_SIZE 128
#define ZB_DRAINED_SAY_SIZE 200

/* Zero: it is not drained. */
struct zb_drained {
    char who[ZB_DRAINED_WHO_SIZE]; /* "root@vm1"; "": not drained */
    struct zb_wall since;
};

bool zb_drained_is(const struct zb_drained *d);
/* "drained by root@vm1 since 2026-11-22T06:41:00Z". */
void zb_drained_say(const struct zb_drained *d, char buf[ZB_DRAINED_SAY_SIZE]);
/* {"who","since"} for people, the time as text; null: not drained. */
json_t *zb_drained_json(const struct zb_drained *d);

/* {"who","time"} with seconds as a number. */
json_t *zb_drained_doc(const struct zb_drained *d);
/* Strict: ZB_E_FORMAT. *d is written on success only. */
enum zb_rc zb_drained_parse(const json_t *object, struct zb_drained *d,
                            struct zb_err *err) ZB_CHECKED;

#endif
