/*
 * etcd as a voter (protocol.md, E9): what the core sends to ZB_NODE_WITNESS becomes transactions on
 * the key vote/<service> under /zbaton/<cluster id>/, and what core/witness.h decides comes back as
 * its message. A record is read through the quorum, decided upon, and changed by compare-and-swap;
 * an answer is told only when the change is known to be done. What is not known to be done is not
 * answered: the core asks again.
 *
 * The witness is up while this node's session is open, etcd may be judged by (E7), and no node is
 * known to have its session in another one (E10), which would be a second witness; an answer of
 * an etcd that does not have this session as it was is not looked at. One transaction at a time;
 * nothing blocks.
 */
#ifndef ZB_AGENT_WITNESS_H
#define ZB_AGENT_WITNESS_H

#include <jansson.h>

#include "agent/agent.h"

struct zb_witness;

/* Idle where no etcd is configured. */
struct zb_witness *zb_witness_new(struct zb_agent *a);
/* Before the heart. The memory goes when the loop has run its closing handles. */
void zb_witness_free(struct zb_agent *a);

/* A message of the core to the witness: the newest of its kind and service is kept until its turn.
 * Nothing is done for a report that tells the record nothing new. */
void zb_witness_send(struct zb_agent *a, uint16_t service, const struct zb_core_msg *msg);
/* The service is not declared any more since that version of the configuration: its record ends, as
 * soon as etcd can be asked. */
void zb_witness_withdrawn(struct zb_agent *a, uint16_t service, uint64_t version);
/* etcd can be asked for its vote. */
bool zb_witness_is_up(const struct zb_agent *a);

/* For status, as doc/control-protocol.md has it; null where no witness is declared. */
json_t *zb_witness_json(const struct zb_agent *a, uint16_t service);
/* A sentence for status where this node votes beside it and cannot ask it. */
void zb_witness_warn(const struct zb_agent *a, uint16_t service, json_t *warnings);

#endif
