/*
 * Snapshots of many services in one transaction group.
 */
#ifndef ZB_KEEPER_GATHER_H
#define ZB_KEEPER_GATHER_H

#include "base/types.h"

struct zb_keeper;
struct zb_keeper_job;

/* The job was accepted: others wait for its snapshot until it has joined them, or ends (forget). A
 * look after which a set is due is waited for too, and if it announces one, that. Caller holds
 * lock, as of all three. */
void zb_keeper_gather_expect(struct zb_keeper *k, struct zb_keeper_job *job);
void zb_keeper_gather_forget(struct zb_keeper *k, struct zb_keeper_job *job);
/* Wakes who waits, to see that the session lapsed or workers end: set that first. */
void zb_keeper_gather_hurry(struct zb_keeper *k);
/* As zb_zfs_snapshot, but other services' snapshots may be taken in the same call: waits for them
 * at most a quarter of the interval and 10 s. Blocks. Errors are this service's own; ZB_E_STALE:
 * the session lapsed meanwhile. */
enum zb_rc zb_keeper_gather_snapshot(struct zb_keeper *k, struct zb_keeper_job *job,
                                     const char *const *snaps, size_t count,
                                     char (*newest)[ZB_DATASET_NAME_SIZE],
                                     struct zb_err *err) ZB_CHECKED;

#endif
