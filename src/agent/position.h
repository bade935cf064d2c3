/*
 * Which set this node holds whole. Manifests of sets are kept in the history, the newest ones in
 * memory too; what is on disk decides, by guid. When a set's manifest is not known (history lost,
 * or a crash before it was written), it is rebuilt from the names of the snapshots on disk; on a
 * follower only while every dataset of the newest known set is there.
 */
#ifndef ZB_AGENT_POSITION_H
#define ZB_AGENT_POSITION_H

#include "agent/agent.h"
#include "agent/inventory.h"

struct zb_positions;

struct zb_positions *zb_positions_new(void);
void zb_positions_free(struct zb_positions *p);

/* Takes a copy into memory; durable with zb_position_store. */
void zb_position_know(struct zb_agent *a, uint16_t service, const struct zb_manifest *m);
/* Writes it to the history (memo.h): a lost one can be rebuilt from the disk. */
void zb_position_store(struct zb_agent *a, uint16_t service, const struct zb_manifest *m);
/* From memory, else from the history; NULL when it is not known. Valid until the next call of a
 * function of this file that gives or takes a manifest. */
const struct zb_manifest *zb_position_manifest(struct zb_agent *a, uint16_t service,
                                               struct zb_set_id id);

/* The same, and of a set that is not known what the names on this disk say (zb_inventory_recall):
 * known from then on when every dataset has it. cb may come before this returns; m, valid until it
 * returns, is NULL with ZB_RECALL_NONE. */
void zb_position_recall(struct zb_agent *a, uint16_t service, struct zb_set_id id,
                        void (*cb)(void *ctx, enum zb_recall what, const struct zb_manifest *m),
                        void *ctx);

/* none {0} where there is none */
struct zb_position {
    struct zb_set_ref newest;  /* the newest set that is held whole */
    struct zb_set_ref reached; /* the newest set of which nothing but destroyed datasets is missing
                                  (zb_inventory_reached); not below newest */
    bool beyond; /* nothing is mounted, and a dataset of newest has something that came after it */
};
/* NULL when the disk could not be asked. observed: the keeper's answer to OBSERVE, borrowed for the
 * call. cb may come before this returns. */
void zb_position_find(struct zb_agent *a, uint16_t service, const struct zb_krep *observed,
                      void (*cb)(void *ctx, const struct zb_position *position), void *ctx);

/* The nonce of the look (OBSERVE of kmsg.h) that the core knows the disk by; 0: none, or a set was
 * learned of since, which could make another position of what was seen. */
uint64_t zb_position_nonce(struct zb_agent *a, uint16_t service);
/* Before the position is looked for: what is learned of sets on the way voids it. */
void zb_position_nonce_set(struct zb_agent *a, uint16_t service, uint64_t nonce);

/* Every dataset with all its snapshots, by OBSERVE and SNAPS. cb gets ZB_OK and the inventory,
 * which it may take (leaving zeros behind), or the code and sentence of what failed; from the loop.
 */
struct zb_inventory_result {
    enum zb_rc rc;
    const char *msg;
    struct zb_inventory *inventory;
};
void zb_inventory_fetch(struct zb_agent *a, uint16_t service, bool marks,
                        void (*cb)(void *ctx, const struct zb_inventory_result *result), void *ctx);

/* Whether every dataset of m has m's snapshot here, as the keeper re-reads it now. From the loop.
 */
void zb_position_check(struct zb_agent *a, uint16_t service, const struct zb_manifest *m,
                       void (*cb)(void *ctx, bool held), void *ctx);

/* Forgets the sets below id in memory and history. */
void zb_position_prune(struct zb_agent *a, uint16_t service, struct zb_set_id id);

/* --- pure --- */

/* The newest snapshot of each dataset of m is m's. */
bool zb_position_is_newest(const struct zb_krep *observed, const struct zb_manifest *m);

/* A dataset of m has another newest snapshot than m's, or was written to since. What is mounted is
 * written to and says nothing: false. */
bool zb_position_is_beyond(const struct zb_krep *observed, const struct zb_manifest *m);

/* The tree is another one now (RESCUE): the disk is searched again. */
void zb_position_look_anew(struct zb_agent *a, uint16_t service);
/* The service was withdrawn: nothing of it is known any more, in memory and in the history. */
void zb_position_forget(struct zb_agent *a, uint16_t service);

#endif
