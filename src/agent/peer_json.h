/*
 * Messages between cores as JSON and back: {"t":"core", "service", "kind", ...}. Nodes are numbers
 * of this process in the core and names on the wire. Everything read is hostile: types, bounds,
 * enums and names are checked, and a message is taken whole or not at all.
 */
#ifndef ZB_AGENT_PEER_JSON_H
#define ZB_AGENT_PEER_JSON_H

#include "agent/agent.h"
#include "core/witness.h"

/* The names by node number (zb_agent.nodes). */
struct zb_peer_names {
    const struct zb_agent_node *nodes;
    uint32_t count;
};

/* ZB_NODE_NONE when no node ever had this name; one that was removed is found. */
uint8_t zb_peer_names_find(const struct zb_peer_names *names, const char *name);

/* New object; numbers must be of names or ZB_NODE_NONE. */
json_t *zb_peer_core_encode(const struct zb_peer_names *names, const char *service,
                            const struct zb_core_msg *msg);

/* service of ZB_SERVICE_NAME_SIZE. A holder or leader whose name is not known (a removed node)
 * becomes ZB_NODE_NONE, since it is told for information; an unknown suspect refuses the message
 * (ZB_E_NOTFOUND), since M3 must not lose one. ZB_E_FORMAT names the key. */
enum zb_rc zb_peer_core_decode(const struct zb_peer_names *names, const json_t *json, char *service,
                               struct zb_core_msg *msg, struct zb_err *err) ZB_CHECKED;

/* No cluster gets that far; what a record beyond it tells would be remembered for ever. */
#define ZB_PEER_VOTE_TERM_MAX (UINT64_C(1) << 48)
/* No term of it is above that: else it is neither believed nor written. */
bool zb_peer_vote_fits(const struct zb_witness_record *record);

/* The record of the witness, as its key in etcd has it: the same rules, and as strict; a term
 * above the maximum is ZB_E_LIMIT. */
json_t *zb_peer_vote_encode(const struct zb_peer_names *names,
                            const struct zb_witness_record *record);
enum zb_rc zb_peer_vote_decode(const struct zb_peer_names *names, const json_t *json,
                               struct zb_witness_record *record, struct zb_err *err) ZB_CHECKED;

#endif
