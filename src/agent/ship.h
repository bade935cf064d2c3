/*
 * Sets from the leader to its followers. ship.c is the sender's side (ZB_ACT_SHIP), land.c the
 * receiver's.
 *
 * For one set the leader sends {"t":"ship.set"} with the manifest and the number of streams on the
 * control connection and, at the same time, the streams on data connections; the follower answers
 * each stream and, when all of them are in and its own keeper re-read every guid of the manifest,
 * {"t":"ship.ack"}. In the steady state that is one round trip. Otherwise {"t":"ship.ask"} comes
 * first: the follower gives its datasets the names that they have in the set (ARRANGE of kmsg.h)
 * and answers by "ship.inventory" messages, one per dataset.
 *
 * A follower that has diverged is told by {"t":"ship.fork"} where it came away from the leader's
 * line, and sets aside what came after (ZB_ACT_RESCUE). `as`: what the sender is, a word of
 * enum zb_ship_as.
 *
 *   ship.set        service ship term as manifest streams
 *   ship.ack        service ship rc msg set|null
 *   ship.ask        service ship term as manifest
 *   ship.inventory  service ship rc msg index count uuid rel newest token guids[]
 *   ship.fork       service term common manifest (without an id; null when nothing is in common)
 *   stream header   {"t":"ship.stream"} service ship term as uuid rel snap guid from_guid token
 *                   adopt
 *   stream end      rc
 *   stream reply    rc msg guid
 */
#ifndef ZB_AGENT_SHIP_H
#define ZB_AGENT_SHIP_H

#include "agent/agent.h"
#include "agent/json.h"

#define ZB_SHIP_ANSWER_MS 60000 /* for an inventory, and between the last stream and the ack */

enum zb_ship_as {
    ZB_SHIP_AS_LEADER = 0, /* "leader" of term */
    ZB_SHIP_AS_FORWARD,    /* "forward": a member that granted term to the receiver */
    ZB_SHIP_AS_COPY,       /* "copy": a follower in term, to one that has no set yet */
};
json_t *zb_ship_as_json(enum zb_ship_as as);
/* The member "as"; another word makes the reader fail. */
enum zb_ship_as zb_ship_as_read(struct zb_json_reader *r);
/* Flags of a request to the keeper (ZB_KF_*). */
uint32_t zb_ship_as_flags(enum zb_ship_as as);

/* --- ship.c --- */

struct zb_ships *zb_ships_new(struct zb_agent *a);
/* Drops everything without a word to the core. NULL is fine. */
void zb_ships_free(struct zb_agent *a);

/* One SHIP per service and node is under way; another waits for its end. Answered with
 * zb_drive_done. */
void zb_ship_start(struct zb_agent *a, const struct zb_action *action);
void zb_ship_cancel(struct zb_agent *a, uint64_t action_id);
/* Everything to this node ends with ZB_E_CLOSED. */
void zb_ship_peer_down(struct zb_agent *a, uint8_t node);
/* "ship.ack" and "ship.inventory". */
void zb_ship_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* Every ship of this node that is under way and waits for no other. */
struct zb_ship_look {
    uint16_t service;
    uint8_t node; /* that it goes to */
    struct zb_set_id set;
    struct zb_agent_ship_view view;
};
void zb_ships_each(const struct zb_agent *a,
                   void (*visit)(void *ctx, const struct zb_ship_look *look), void *ctx);
/* This node made a set; foreign: snapshots of other tools lie between it and the one before. What
 * the fast path is planned from. */
void zb_ship_set_made(struct zb_agent *a, uint16_t service, const struct zb_set_ref *set,
                      bool foreign);

/* --- land.c --- */

struct zb_lands *zb_lands_new(struct zb_agent *a);
void zb_lands_free(struct zb_agent *a);

/* net's on_stream. */
void zb_land_stream(struct zb_agent *a, const char *peer, struct zb_stream *stream, json_t *header);
/* "ship.set", "ship.ask" and "ship.fork". */
void zb_land_message(struct zb_agent *a, uint8_t node, const json_t *msg);
void zb_land_peer_down(struct zb_agent *a, uint8_t node);
/* The tree is another one now: nothing of a set that was on its way counts any more. */
void zb_land_forget(struct zb_agent *a, uint16_t service);

/* land_fork.c: what the leader `node` of `term` told last; NULL: nothing, or it was another one.
 * Borrowed until the next message. */
struct zb_land_fork {
    uint8_t node;
    uint64_t term; /* 0: none */
    bool common;   /* the service's own dataset has a snapshot of the leader's */
    struct zb_manifest m;
};
const struct zb_land_fork *zb_land_fork_find(const struct zb_agent *a, uint16_t service,
                                             uint8_t node, uint64_t term);

#endif
