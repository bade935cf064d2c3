/*
 * What of the model (model.h) stands beside its datasets: rescues, programs, pruning; and what they
 * share with the rest of it.
 */
#ifndef ZB_TEST_AGENT_MODEL_OPS_H
#define ZB_TEST_AGENT_MODEL_OPS_H

#include "model.h"

#define MODEL_RESCUE_NAME "web-000001-20261122T064100Z"

/* --- model.c --- */

extern uint64_t model_guid; /* of the snapshot that was made last in this process */

/* Answers it, now or later. */
void model_request(struct model *m, const struct zb_kreq *req);
/* fd: -1 for none. */
void model_reply(struct model *m, const struct zb_krep *rep, int fd);
void model_refuse(struct zb_krep *rep, enum zb_rc rc, const char *msg);
/* NULL: there is none. */
struct model_dataset *model_find(struct model *m, const char *rel);
uint64_t model_newest_of(const struct model_dataset *d); /* 0: none; d may be NULL */

/* --- model_ops.c --- */

/* RESCUE: what came after the forks is gone here; `rescued` counts it. */
void model_rescue(struct model *m, const struct zb_kreq *req, struct zb_krep *rep);
void model_rescues(const struct model *m, const struct zb_kreq *req, struct zb_krep *rep);
/* Answers by itself, at once or with model_notify_end. */
void model_notify(struct model *m, const struct zb_kreq *req);
/* The same with model_fence_end. */
void model_fence(struct model *m, const struct zb_kreq *req);
void model_prune(struct model *m, const struct zb_kreq *req);
/* As the real one finds the snapshots of the streams. */
void model_estimate(struct model *m, const struct zb_kreq *req, struct zb_krep *rep);

#endif
