/*
 * Shared by config.c (what is in force, messages) and config_change.c (the proposer).
 */
#ifndef ZB_AGENT_CONFIG_INTERNAL_H
#define ZB_AGENT_CONFIG_INTERNAL_H

#include "agent/config.h"
#include "agent/config_store.h"

/* The change under way; `active` false: none. */
struct zb_config_proposal {
    bool active;
    bool asked_back; /* outbid: a new round starts at the next tick */
    struct zb_config_round round;
    struct zb_config_doc own;  /* what this node wants */
    struct zb_config_doc best; /* text of round.best; version 0: none */
    struct zb_mono deadline;
    bool proposed; /* some node may have accepted */
    void (*on_done)(void *ctx, const struct zb_config_outcome *outcome);
    void *ctx;
};

struct zb_config_state {
    struct zb_config_store store;
    struct zb_config_doc committed;
    struct zb_config_proposal proposal;
    uint64_t round_seen;         /* highest round heard of */
    uint64_t told[ZB_NODES_MAX]; /* the version that each node has durably, as it said last */
    uv_timer_t tick;
    struct zb_agent *a;
};

/* Makes doc durable as committed and puts it in force; told to nobody. */
enum zb_rc zb_config_commit_here(struct zb_agent *a, const struct zb_config_doc *doc,
                                 struct zb_err *err) ZB_CHECKED;
/* "config.commit" of the committed configuration. */
json_t *zb_config_commit_message(const struct zb_agent *a);
/* {"doc": ...} of a message: strict, checked; *doc must be zero, the caller closes it. */
enum zb_rc zb_config_doc_read(const json_t *msg, const char *key, struct zb_config_doc *doc,
                              struct zb_err *err) ZB_CHECKED;
json_t *zb_config_doc_json(const char *canonical);
const char *zb_config_answer_word(enum zb_config_answer answer);

/* --- config_change.c --- */

void zb_config_change_peer_up(struct zb_agent *a, uint8_t node);
void zb_config_change_promise(struct zb_agent *a, uint8_t node, const json_t *msg);
void zb_config_change_accepted(struct zb_agent *a, uint8_t node, const json_t *msg);
/* Another version came into force: a change made from the one before is over. */
void zb_config_change_overtaken(struct zb_agent *a);
void zb_config_change_close(struct zb_agent *a);

#endif
