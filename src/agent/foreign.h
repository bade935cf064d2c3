/*
 * Copies of other tools' snapshots, which came along with the sets: once the leader's own is gone,
 * a follower's goes after a grace period (foreign-grace).
 *
 * A follower lists what it has, now and then, and asks the leader which of it is gone there. How
 * long each has been missing is counted from one such look to the next, by the monotonic clock and
 * only while both were made by the same engine; the sum is kept over restarts. So no wrong clock,
 * no reboot and no absence of the leader lets anything go earlier, only later. What was missing
 * long enough the keeper is asked to destroy, by guid; it decides what is zbaton's to destroy
 * (EXPIRE of wire/kmsg.h).
 *
 *   foreign.ask   service ask term items[[uuid, guid]]
 *   foreign.gone  service ask rc items[index of those that are gone]
 */
#ifndef ZB_AGENT_FOREIGN_H
#define ZB_AGENT_FOREIGN_H

#include "agent/agent.h"
#include "agent/inventory.h"

#define ZB_FOREIGN_LOOK_MS 3600000 /* between two looks; less where the grace period is short */
#define ZB_FOREIGN_ITEMS_MAX 4096  /* asked about at once, in turns where there are more */

/* --- pure --- */

struct zb_foreign_item {
    char uuid[ZB_UUID_SIZE]; /* of its dataset */
    uint64_t guid;
    char name[ZB_SNAP_NAME_SIZE];
    int64_t missing_ms; /* so far */
    bool missing;       /* at the look before, of this engine */
    bool asked;         /* in the look under way */
    char why[128];      /* it stays though it is due; "" */
};

struct zb_foreign_items {
    uint32_t count;
    struct zb_foreign_item *items; /* owned */
};

int64_t zb_foreign_grace_ms(const struct zb_conf_service *conf);
int64_t zb_foreign_every_ms(const struct zb_conf_service *conf);
/* What is no set in inv (with names) takes the place of items; what was known of it stays known. */
void zb_foreign_list(struct zb_foreign_items *items, const struct zb_inventory *inv);
/* A look has found it gone or not; since_ms: since the look before, of which at most twice the
 * usual distance counts. */
void zb_foreign_look(struct zb_foreign_item *item, bool gone, int64_t since_ms, int64_t every_ms);
/* The leader's inventory does not have the snapshot, and would: the dataset is there, and listed
 * whole. */
bool zb_foreign_is_gone(const struct zb_inventory *inv, const char *uuid, uint64_t guid);

/* --- of this node --- */

struct zb_foreigns;

struct zb_foreigns *zb_foreigns_new(struct zb_agent *a);
/* After the keeper's answers have come. NULL is fine. */
void zb_foreigns_close(struct zb_agent *a);
/* "foreign.ask" and "foreign.gone". */
void zb_foreign_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* foreign_answer.c: "foreign.ask" alone; one at a time for a node. */
void zb_foreign_answer(struct zb_agent *a, uint8_t node, const json_t *msg);
/* Whether the disk is being listed for that node; NULL: the engine is ending. */
bool *zb_foreign_answering(struct zb_agent *a, uint8_t node);
/* Those that are due and stay, as of the last look, for explain. Borrowed. */
const struct zb_foreign_items *zb_foreign_items(const struct zb_agent *a, uint16_t service);

#endif
