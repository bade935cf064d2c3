/*
 * A message to a node by its number.
 */
#ifndef ZB_AGENT_PEER_H
#define ZB_AGENT_PEER_H

#include "agent/agent.h"

/* Takes msg. False: the node is down, or its queue is full and it goes down; for the sender both
 * are a lost message. */
bool zb_peer_send(struct zb_agent *a, uint8_t node, json_t *msg);

#endif
