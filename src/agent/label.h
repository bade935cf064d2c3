/*
 * Labels: names that people gave to sets, which are kept as long as they have one. They are part of
 * the cluster's configuration (config_doc.h), so that every member keeps the same sets, whoever was
 * away. Plain data; no I/O.
 */
#ifndef ZB_AGENT_LABEL_H
#define ZB_AGENT_LABEL_H

#include <jansson.h>

#include "base/types.h"

#define ZB_LABEL_SIZE 65 /* with its NUL */
#define ZB_LABEL_WHO_SIZE 128
#define ZB_LABELS_MAX 64 /* of a service */

struct zb_label {
    char service[ZB_SERVICE_NAME_SIZE];
    struct zb_set_id set;
    char text[ZB_LABEL_SIZE];
    char who[ZB_LABEL_WHO_SIZE]; /* "root@vm1" */
    struct zb_wall since;
};

/* Zero is none; zb_labels_close frees what it holds. */
struct zb_labels {
    uint32_t count;
    struct zb_label *items; /* sorted by service and set, each once; owned */
};

/* ZB_E_USAGE: a label is 1 to 64 bytes of UTF-8 that say something, without control characters. */
enum zb_rc zb_label_check(const char *text, struct zb_err *err) ZB_CHECKED;

/* NULL: it has none. */
const struct zb_label *zb_labels_find(const struct zb_labels *l, const char *service,
                                      struct zb_set_id set);
/* In place of the one of that set, if there is one. ZB_E_LIMIT: ZB_LABELS_MAX sets of the service
 * have one. */
enum zb_rc zb_labels_put(struct zb_labels *l, const struct zb_label *label,
                         struct zb_err *err) ZB_CHECKED;
/* False: there was none. */
bool zb_labels_remove(struct zb_labels *l, const char *service, struct zb_set_id set);
/* to must be zero. */
void zb_labels_copy(struct zb_labels *to, const struct zb_labels *from);
void zb_labels_close(struct zb_labels *l);
/* Sets of the service that have one, oldest first, into sets (ZB_LABELS_MAX of them); how many. */
uint32_t zb_labels_sets(const struct zb_labels *l, const char *service, struct zb_set_id *sets);

/* For PRUNE, SETS and BLOCKERS of wire/kmsg.h, for free(); NULL: the service has none. */
char *zb_labels_lines(const struct zb_labels *l, const char *service);
/* [{"service","term","seq","label","who","time"}] with seconds as numbers. */
json_t *zb_labels_json(const struct zb_labels *l);
/* Strict: ZB_E_FORMAT. *l must be zero; the caller closes it, on failure too. */
enum zb_rc zb_labels_parse(const json_t *array, struct zb_labels *l, struct zb_err *err) ZB_CHECKED;

#endif
