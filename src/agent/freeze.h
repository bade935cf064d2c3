/*
 * Freezes: who leads a frozen service is not changed by anybody's command. They are part of the
 * cluster's configuration (config_doc.h), one for each frozen service. Plain data; no I/O.
 */
#ifndef ZB_AGENT_FREEZE_H
#define ZB_AGENT_FREEZE_H

#include <jansson.h>

#include "base/types.h"

#define ZB_FREEZE_REASON_SIZE 201 /* with its NUL */
#define ZB_FREEZE_WHO_SIZE 128
#define ZB_FREEZE_SAY_SIZE 400

struct zb_freeze {
    char service[ZB_SERVICE_NAME_SIZE];
    char reason[ZB_FREEZE_REASON_SIZE];
    char who[ZB_FREEZE_WHO_SIZE]; /* "root@vm1" */
    struct zb_wall since;
};

/* Zero is none; zb_freezes_close frees what it holds. */
struct zb_freezes {
    uint32_t count;
    struct zb_freeze *items; /* sorted by service, each once; owned */
};

/* ZB_E_USAGE: a reason is 1 to 200 bytes of UTF-8 that say something, without control characters.
 */
enum zb_rc zb_freeze_reason_check(const char *reason, struct zb_err *err) ZB_CHECKED;
/* "frozen by root@vm1 since 2026-11-22T06:41:00Z: kernel upgrade". */
void zb_freeze_say(const struct zb_freeze *freeze, char buf[ZB_FREEZE_SAY_SIZE]);

/* {"reason","who","since"} for people: the time as text. */
json_t *zb_freeze_json(const struct zb_freeze *freeze);

/* NULL: it is not frozen. */
const struct zb_freeze *zb_freezes_find(const struct zb_freezes *f, const char *service);
/* In place of the one of that service, if there is one. */
void zb_freezes_put(struct zb_freezes *f, const struct zb_freeze *freeze);
/* False: there was none. */
bool zb_freezes_remove(struct zb_freezes *f, const char *service);
/* to must be zero. */
void zb_freezes_copy(struct zb_freezes *to, const struct zb_freezes *from);
void zb_freezes_close(struct zb_freezes *f);

/* [{"service","reason","who","time"}] with seconds as numbers. */
json_t *zb_freezes_json(const struct zb_freezes *f);
/* Strict: ZB_E_FORMAT. *f must be zero; the caller closes it, on failure too. */
enum zb_rc zb_freezes_parse(const json_t *array, struct zb_freezes *f,
                            struct zb_err *err) ZB_CHECKED;

#endif
