/* Who is a member of a service, and how that changes while the cluster runs. */
#ifndef SIM_MEMBERS_H
#define SIM_MEMBERS_H

#include "sim.h"

bool sim_is_member(const struct zb_core_conf *c, uint8_t node);
bool sim_is_voter(const struct zb_core_conf *c, uint8_t node);
uint32_t sim_members(const struct zb_core_conf *c); /* node bits */
uint32_t sim_voters(const struct zb_core_conf *c);  /* the witness' bit too */
/* The newest declaration is remembered: by whose lists was told where members stand. */
void sim_members_note(struct sim *w, uint8_t service);
/* The next version is proposed on node; true: it is in force. */
bool sim_conf_decide(struct sim *w, uint8_t node, uint8_t service, const struct zb_core_conf *next);
void sim_conf_pass(struct sim *w, const struct sim_item *item);
/* On node an operator changes the part of `who`. */
void sim_members_change(struct sim *w, uint8_t node, uint8_t service, uint8_t who);
void sim_members_heal(struct sim *w, uint8_t service);
void sim_check_target(struct sim *w, uint8_t node, const struct zb_action *a);

#endif
