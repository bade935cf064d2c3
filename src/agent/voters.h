/*
 * When the voters of a service may change (M11), by what this node knows. Not before a majority of
 * them decides by the list in force: who was away while it changed twice would be a majority by its
 * own. And nobody ceases to be one who leads, or may have led last while nobody leads since: what
 * it wrote would be stated by no failover, whose statement is about members (S3), and nobody would
 * stop it. Pure.
 */
#ifndef ZB_AGENT_VOTERS_H
#define ZB_AGENT_VOTERS_H

#include "core/core.h"

enum zb_voter_out {
    ZB_VOTER_OUT_MAY = 0,
    ZB_VOTER_OUT_LEADS,
    ZB_VOTER_OUT_SUSPECT, /* nobody is seen to lead, and it may be writing still */
    ZB_VOTER_OUT_UNHEARD, /* ... and a member that is up has not told yet whom it suspects */
};

/* Whom this node, or a member that reported, would have fenced by a failover: node bits. */
uint32_t zb_voter_suspects(const struct zb_core_view *view);

/* members: node bits, this node's own (self) does not matter. */
enum zb_voter_out zb_voter_out(const struct zb_core_view *view, uint8_t self, uint32_t members,
                               uint8_t node);

/* A majority of the voters (node bits, the witness' too) decides by that version of the
 * declaration, or a later one: that they did once is enough, versions only grow. */
bool zb_voters_know(const struct zb_core_view *view, uint8_t self, uint32_t voters,
                    uint64_t version);

#endif
