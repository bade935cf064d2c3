/* PRUNE, what it has to leave (S4, S5), and what is sent on from that. */
#ifndef SIM_PRUNE_H
#define SIM_PRUNE_H

#include "sim.h"

enum zb_rc sim_op_prune(struct sim *w, struct sim_item *item, const struct sim_request *r);
/* plan.c: what production's src/agent/ship_plan.c makes of two disks. *snap: of from, that is sent
 * next. */
enum zb_rc sim_plan_leg(const struct sim_dataset *from, const struct sim_dataset *to,
                        uint64_t target, uint32_t *snap);
/* Where the copy of `to` came away from that of `from`: guids by slot of `to`, 0 none. */
bool sim_plan_fork(const struct sim *w, uint8_t from, uint8_t to, uint8_t service,
                   uint64_t guids[SIM_DATASETS]);

/* ---- check_prune.c ---- */

/* Asked while the snapshot, or the bookmark, is still there. */
void sim_check_pruned(struct sim *w, const struct sim_item *prune, const struct sim_dataset *d,
                      const struct sim_snap *gone);
void sim_check_unmarked(struct sim *w, const struct sim_item *prune, const struct sim_dataset *d,
                        const struct sim_mark *gone);
void sim_check_held_back(struct sim *w, const struct sim_item *prune);
/* gone: the sets that PRUNE told to be no base any more. */
void sim_check_bases(struct sim *w, const struct sim_item *prune, const struct zb_set_id *gone,
                     size_t gone_count);
void sim_check_parted(struct sim *w, const struct sim_item *ship, const struct sim_dataset *from,
                      const struct sim_dataset *to, uint64_t target);

#endif
