/*
 * What fails here, again and again, until it succeeds: for each service, activity and member the
 * last failure, since when, and how often. For explain; nothing is decided by it.
 */
#ifndef ZB_AGENT_TROUBLE_H
#define ZB_AGENT_TROUBLE_H

#include "agent/agent.h"

enum zb_trouble_kind {
    ZB_TROUBLE_SHIP = 1, /* node: to whom */
    ZB_TROUBLE_RECEIVE,  /* node: from whom */
    ZB_TROUBLE_SNAPSHOT, /* node: this one, as of the others */
    ZB_TROUBLE_PRUNE,
    ZB_TROUBLE_RESCUE,
    ZB_TROUBLE_START,
    ZB_TROUBLE_LOOK,
    ZB_TROUBLE_DEMOTE,
    ZB_TROUBLE_PROMOTE,
    ZB_TROUBLE_BASE, /* node: who has no base here (base_gone.h) */
};

struct zb_trouble {
    char text[256]; /* of the last time */
    uint32_t count; /* in a row */
    struct zb_wall since;
};

/* What it is told of. */
struct zb_trouble_at {
    uint16_t service;
    enum zb_trouble_kind kind;
    uint8_t node;
};

struct zb_troubles;

struct zb_troubles *zb_troubles_new(void);
void zb_troubles_free(struct zb_troubles *t); /* NULL is fine */
/* One more failure; ZB_OK: it is over. Of a service that is not declared nothing is kept. */
void zb_trouble_put(struct zb_agent *a, const struct zb_trouble_at *at, enum zb_rc rc,
                    const char *text);
/* NULL: none. Borrowed until the next zb_trouble_put or _forget. */
const struct zb_trouble *zb_trouble_find(const struct zb_agent *a, const struct zb_trouble_at *at);
void zb_trouble_forget(struct zb_agent *a, uint16_t service);

#endif
