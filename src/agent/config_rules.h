/*
 * Agreement on the cluster's configuration: which text is version n. Pure rules: no I/O, no clock,
 * no allocation; the texts themselves are the caller's, here they are hashes.
 *
 * Every version is one decision of single-decree Paxos (Lamport, "Paxos Made Simple", 2001) among
 * the nodes of the version before it: a majority promises a ballot, tells what it has accepted for
 * this version, and then accepts one text under that ballot. What a majority has accepted is
 * decided, whatever else happens. Hence:
 *
 * - Two proposers of one version never both get it: the later one first completes what the earlier
 *   one may already have decided, and is then told that the configuration changed.
 * - A proposer made from an old version is refused (ZB_CONFIG_AHEAD): no change is lost silently.
 * - Everything may be repeated, delayed or lost.
 *
 * The acceptor's fields must be durable before an answer leaves the node.
 */
#ifndef ZB_AGENT_CONFIG_RULES_H
#define ZB_AGENT_CONFIG_RULES_H

#include "base/types.h"

#define ZB_CONFIG_HASH_SIZE 65 /* SHA-256 in hex, NUL */

/* Order: round, then node name. round 0: none. */
struct zb_config_ballot {
    uint64_t round;
    char node[ZB_NODE_NAME_SIZE]; /* who proposes */
};

/* What one node knows of the agreement. promised and accepted are about version committed + 1. */
struct zb_config_acceptor {
    uint64_t committed; /* 0: no configuration yet */
    char committed_hash[ZB_CONFIG_HASH_SIZE];
    struct zb_config_ballot promised;
    struct zb_config_ballot accepted;
    char accepted_hash[ZB_CONFIG_HASH_SIZE];
};

enum zb_config_answer {
    ZB_CONFIG_YES = 1,
    ZB_CONFIG_OUTBID, /* a higher ballot was promised: try again above it */
    ZB_CONFIG_BEHIND, /* this node lacks the version before: give it that first */
    ZB_CONFIG_AHEAD,  /* this node has this version already: catch up first */
};

int zb_config_ballot_cmp(const struct zb_config_ballot *a, const struct zb_config_ballot *b);

/* Phase 1: promises to accept nothing below ballot for `version`. Changes *a only on YES. */
enum zb_config_answer zb_config_rules_ask(struct zb_config_acceptor *a, uint64_t version,
                                          const struct zb_config_ballot *ballot);
/* Phase 2: accepts the text of this hash. Changes *a only on YES. */
enum zb_config_answer zb_config_rules_propose(struct zb_config_acceptor *a, uint64_t version,
                                              const struct zb_config_ballot *ballot,
                                              const char *hash);
/* A decided version arrives; versions may be skipped. True: *a changed, the text is to be put in
 * force. False: known already. *mismatch: this version was decided with another text, which cannot
 * happen to nodes of one cluster (a restored state directory, or two clusters of one id). */
bool zb_config_rules_commit(struct zb_config_acceptor *a, uint64_t version, const char *hash,
                            bool *mismatch);

enum zb_config_phase {
    ZB_CONFIG_IDLE = 0,
    ZB_CONFIG_ASKING,
    ZB_CONFIG_PROPOSING,
    ZB_CONFIG_DECIDED,
};

/* One attempt of a proposer. */
struct zb_config_round {
    enum zb_config_phase phase;
    uint64_t version;
    struct zb_config_ballot ballot;
    uint32_t electors;            /* bit per node number: the nodes of the version before */
    uint32_t promised;            /* bits of who answered YES to ask ... */
    uint32_t accepted;            /* ... and to propose */
    struct zb_config_ballot best; /* highest ballot under which a promiser accepted a text */
    uint8_t best_node;            /* who told it */
};

void zb_config_round_begin(struct zb_config_round *r, uint64_t version,
                           const struct zb_config_ballot *ballot, uint32_t electors);
/* Node `node` promised and had accepted a text under `accepted` (round 0: none). True when the
 * majority is reached with this answer: propose now, the text of r->best_node if r->best is
 * not none, else the own one. */
bool zb_config_round_promise(struct zb_config_round *r, uint8_t node,
                             const struct zb_config_ballot *accepted);
/* Node `node` accepted. True when the version is decided with this answer. */
bool zb_config_round_accept(struct zb_config_round *r, uint8_t node);

/* How many make a majority of these. */
unsigned zb_config_majority(uint32_t electors);

#endif
