/*
 * The core's hands: events go in one at a time (what arises while a plan is carried out waits in
 * line), plans come out and are carried out in order. Every action that is answered is answered
 * once, with zb_drive_done.
 */
#ifndef ZB_AGENT_DRIVE_H
#define ZB_AGENT_DRIVE_H

#include "agent/agent.h"

struct zb_drive;

/* Needs the keeper's HELLO (nonce). */
struct zb_drive *zb_drive_new(struct zb_agent *a);
/* Drops what is under way; commands that wait are answered with ZB_E_CLOSED. The memory goes when
 * the loop has run its closing handles. NULL is fine. */
void zb_drive_free(struct zb_agent *a);

/* Gives an event to the core; its times are filled in here. */
void zb_drive_event(struct zb_agent *a, struct zb_event *event);
/* The result of an action. */
void zb_drive_done(struct zb_agent *a, uint16_t service, uint64_t action_id,
                   const struct zb_core_result *result);
/* Answers the commands that wait on a service that is no more. */
void zb_drive_commands_drop(struct zb_agent *a, uint16_t service, enum zb_rc rc, const char *text);

/* What the core says to node, a peer. A report that repeats itself goes by name (said.h). */
void zb_drive_tell(struct zb_agent *a, uint16_t service, uint8_t node,
                   const struct zb_core_msg *msg);
/* A report of node, whole or by name. */
void zb_drive_report(struct zb_agent *a, uint16_t service, uint8_t node,
                     const struct zb_core_msg *msg);

/* Callbacks of net: control connections and their messages. */
void zb_drive_peer_up(struct zb_agent *a, const char *peer);
void zb_drive_peer_down(struct zb_agent *a, const char *peer, const char *reason);
void zb_drive_message(struct zb_agent *a, const char *peer, json_t *msg);

/* --- act.c: keeper operations --- */

/* Starts an action that the keeper carries out; false when kind is none of these. */
bool zb_act_start(struct zb_agent *a, const struct zb_action *action);
/* What a PRUNE leaves, in the keeper's words. */
void zb_act_protect(const struct zb_action *action, struct zb_kreq *req);
/* What the keeper's record and disk look like, in the core's words; newest is left to the caller.
 * Pure. */
void zb_act_obs(const struct zb_agent *a, const struct zb_krep *observed, struct zb_core_obs *obs);

/* --- lineage.c: terms --- */

/* A term began or ended its making here: into the history, and told to every peer. about: who
 * asked for it and what was lost, each may be "". */
void zb_lineage_term(struct zb_agent *a, const struct zb_action *action,
                     const struct zb_history_term *about);
/* {"t":"core.term"} of a peer. */
void zb_lineage_message(struct zb_agent *a, uint8_t node, const json_t *msg);
/* The newest terms of each service to a node that may have been away when they began. */
void zb_lineage_tell(struct zb_agent *a, uint8_t node);
/* Whether the history knows of a term of the service above that one. */
bool zb_lineage_led_above(struct zb_history *history, const char *service, uint64_t term);

/* --- apply.c --- */

/* A peer's newest set, as told by its report: remembered for the next start when it changed. */
void zb_apply_position(struct zb_agent *a, uint16_t service, uint8_t node,
                       const struct zb_set_ref *set);
/* What zb_apply_position was last told, in an earlier start too; or none. */
struct zb_set_id zb_apply_position_last(const struct zb_agent *a, uint16_t service, uint8_t node);
/* It stands on nothing that is known. */
void zb_apply_position_forget(struct zb_agent *a, uint16_t service, uint8_t node);
/* A peer's record, as told with a report or a grant: likewise (core/back.c). */
void zb_apply_record(struct zb_agent *a, uint16_t service, uint8_t node,
                     const struct zb_core_msg *msg);

#endif
