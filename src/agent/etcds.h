/*
 * In which etcd each node's session is, as the nodes tell each other (protocol.md, E10):
 * {"t":"etcds","nodes":{NAME: cluster id}} at peer up and at every change, with what the sender was
 * told last by each of the others, and what it says of itself; 0 is in none. What a node tells of
 * itself is durable here before it is told on, and before anything that came after it is granted.
 */
#ifndef ZB_AGENT_ETCDS_H
#define ZB_AGENT_ETCDS_H

#include "agent/agent.h"
#include "core/session.h"

struct zb_etcds;

struct zb_etcds *zb_etcds_new(void);
void zb_etcds_free(struct zb_etcds *e);

void zb_etcds_peer_up(struct zb_agent *a, uint8_t node);
void zb_etcds_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* Where the own session is; without a call: in none. */
void zb_etcds_own(struct zb_agent *a, uint64_t etcd);
/* Borrowed, until the next message. */
const struct zb_session_etcds *zb_etcds_told(const struct zb_agent *a);
/* Sentences for status: of members of one service, which is taken over without an order, that are
 * not in the etcd of this node's session. */
void zb_etcds_warn(const struct zb_agent *a, json_t *warnings);

#endif
