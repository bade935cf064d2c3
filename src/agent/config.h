/*
 * The cluster's declared configuration on this node: what is in force, how a change is agreed on
 * (config_rules.h), how a node that was away catches up. What is accepted or committed is durable
 * in the history before anybody is told.
 *
 * Peer messages:
 *   config.have    version, hash                    at peer up, and when one was taken over from
 *                                                   that node: who is behind?
 *   config.get                                      send me your committed one
 *   config.commit  version, hash, doc               this version is decided
 *   config.ask     version, round                   phase 1, answered by
 *   config.promise version, round, answer, promised, accepted {round, node, doc} or null
 *   config.propose version, round, doc              phase 2, answered by
 *   config.accepted version, round, answer, promised
 */
#ifndef ZB_AGENT_CONFIG_H
#define ZB_AGENT_CONFIG_H

#include "agent/agent.h"
#include "agent/config_doc.h"

#define ZB_CONFIG_TIMEOUT_MS 10000

/* The committed configuration; version 0 and no services on a node that has just joined. Borrowed
 * until the loop runs again. */
const struct zb_config_doc *zb_config_current(const struct zb_agent *a);

/* A node of the committed configuration that is not known to have that version durably, or a later
 * one; ZB_NODE_NONE: each has. */
uint8_t zb_config_behind(const struct zb_agent *a, uint64_t version);

struct zb_config_outcome {
    enum zb_rc rc;            /* ZB_OK: decided and durable here */
    const struct zb_err *err; /* unless ZB_OK */
    uint64_t version;
    uint32_t accepted; /* bits of the nodes that accepted it */
};

struct zb_config_change {
    const struct zb_config_doc *doc; /* copied; doc->version must be the current one's + 1 */
    /* Exactly once, possibly before zb_config_change returns. */
    void (*on_done)(void *ctx, const struct zb_config_outcome *outcome);
    void *ctx;
};

/* Gets a change agreed on by a majority of the nodes of the current version, within
 * ZB_CONFIG_TIMEOUT_MS. Outcomes: ZB_OK; ZB_E_BUSY (another change of this node is under way);
 * ZB_E_STALE (the configuration changed meanwhile: look again); ZB_E_NOQUORUM (says whether some
 * node may have accepted it); ZB_E_LIMIT; errors of the history. */
void zb_config_change(struct zb_agent *a, const struct zb_config_change *change);

/* Stores doc as the committed configuration in the history at path, which is made where there is
 * none: for init (version 1) and join (version 0), before a daemon runs. */
enum zb_rc zb_config_seed(const char *path, const struct zb_config_doc *doc,
                          struct zb_err *err) ZB_CHECKED;

/* For a node that got a new certificate while no daemon of it runs: which certificates the nodes
 * have now takes the place of what the history at path says, and a renewed certificate in it goes.
 * The version stays, which is older than the one in force: by that change it got its certificate.
 */
enum zb_rc zb_config_pins_renew(const char *path, const struct zb_config_node *nodes,
                                uint32_t count, struct zb_err *err) ZB_CHECKED;

void zb_config_close(struct zb_agent *a);

#endif
