/*
 * What the files of the receiving side share: land.c (sets: manifest, completeness,
 * acknowledgement), land_stream.c (streams into the keeper), land_inventory.c (what a leader asks
 * about this node).
 */
#ifndef ZB_AGENT_LAND_INTERNAL_H
#define ZB_AGENT_LAND_INTERNAL_H

#include "agent/internal.h"
#include "agent/inventory.h"
#include "agent/ship.h"

#define ZB_LAND_RECVS_MAX 1024 /* streams accepted and not ended; more are refused */

/* A set on its way from a leader. At most one per service. */
struct zb_landing {
    struct zb_landing *next;
    uint16_t service;
    uint8_t node;
    uint64_t ship;
    uint64_t term;
    enum zb_ship_as as;
    bool announced; /* manifest and streams_total are known */
    bool checking;
    uint32_t streams_total;
    uint32_t streams_done;
    struct zb_manifest manifest;
    uint32_t seen_count; /* newest snapshot received per dataset, as the keeper re-read it */
    struct {
        char uuid[ZB_UUID_SIZE];
        uint64_t guid;
    } seen[ZB_DATASETS_MAX];
};

struct zb_land_recv;

struct zb_lands {
    struct zb_agent *a;
    struct zb_landing *landings;
    uint32_t recvs_count;
    struct zb_land_recv *recvs;
    struct zb_land_inventory *inventories; /* answers that are being sent */
    struct zb_land_fork forks[ZB_SERVICES_MAX];
    /* The ship that last asked what is here, and that which last did before a rescue was made or a
     * whole set received: a fork that it found is not there any more. */
    struct zb_land_look {
        uint8_t node;
        uint64_t ship; /* 0: none since the connection began */
    } asked[ZB_SERVICES_MAX], aside[ZB_SERVICES_MAX];
};

/* Who wants to send, as it says. */
struct zb_land_sender {
    uint8_t node;
    enum zb_ship_as as;
    uint64_t term;
};

/* land.c. NULL: this node takes sets of the service from there: it follows that leader, brings its
 * copy forward as the candidate of that term, or gets its first one from another follower. Else why
 * not. */
const char *zb_land_refuses(const struct zb_agent *a, uint16_t service,
                            const struct zb_land_sender *from);
/* A set that a leader is about to send: known and stored before any of its streams. False when
 * another one of its number is known, which stays. */
#define ZB_LAND_OTHER_SET "a set of this number with other content is known"
bool zb_land_know(struct zb_agent *a, uint16_t service, const struct zb_manifest *m);
/* A snapshot of a dataset was received and re-read. */
void zb_land_received(struct zb_agent *a, uint16_t service, uint8_t node, uint64_t ship,
                      uint64_t term, const char *uuid, uint64_t guid);

/* land_stream.c. Drops streams without waiting: at the end of the process. */
void zb_land_recvs_free(struct zb_lands *lands);

/* land_fork.c. {"t":"ship.fork"} */
void zb_land_fork_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* A set of the leader's came to be here whole: what was told before holds no more. */
void zb_land_fork_forget(struct zb_agent *a, uint16_t service);
void zb_land_forks_free(struct zb_lands *lands);

/* land_inventory.c. {"t":"ship.ask"} */
void zb_land_inventory_ask(struct zb_agent *a, uint8_t node, const json_t *msg);
void zb_land_inventories_free(struct zb_lands *lands, uint8_t node); /* ZB_NODE_NONE: of all */

#endif
