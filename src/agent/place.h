/*
 * Who could lead a service: what choose.h compares, as this node knows of each member.
 */
#ifndef ZB_AGENT_PLACE_H
#define ZB_AGENT_PLACE_H

#include "agent/agent.h"
#include "agent/choose.h"

/* Of a member (not of its copy): name, preference, load, drained, drilled, failed. */
void zb_place_member_fill(const struct zb_agent *a, uint16_t service, uint8_t node,
                          struct zb_choose_member *m);

/* Those that a service could be moved to, all members but its leader; how many. Nothing is lost by
 * a move, so that all who have the newest set but for what may be on its way have the same
 * position. */
uint32_t zb_place_targets(const struct zb_agent *a, uint16_t service,
                          struct zb_choose_member members[ZB_MEMBERS_MAX]);

#define ZB_PLACE_REFUSAL_SIZE 300
/* Why nothing is moved there by order, though the core might (it knows of neither drains nor
 * drills): "A-drained" or "A-drill-failed", and the sentence; NULL: nothing is in the way. */
const char *zb_place_refusal(const struct zb_agent *a, uint16_t service, uint8_t node,
                             char text[ZB_PLACE_REFUSAL_SIZE]);

/* For status: [{"node","who","since"}] of those that are drained, a new reference, and a sentence
 * for each: it is deliberate, and easily forgotten. */
json_t *zb_place_drained(const struct zb_agent *a, json_t *warnings);

/* For status: [{"node","time","times","why","held"}] of where it failed, a new reference, and a
 * sentence for each that still counts. */
json_t *zb_place_failed(const struct zb_agent *a, uint16_t service, json_t *warnings);

/* Why none of them can, each by name: "vm2 is drained; vm3 is not reachable". */
void zb_place_nobody_say(const struct zb_agent *a, const struct zb_choose_member *members,
                         uint32_t count, char *buf, size_t size);

#endif
