/*
 * Failovers that nobody orders: of a service that is declared `failover = automatic`, when the
 * session in etcd of its last leader, or of whom that released the baton to and who did not lead
 * yet, is certified to be over and its node is fenced by that. Who comes first (choose.h) orders it
 * at once, the others after 2 s more each, as long as nobody leads, and not while one that they
 * granted the next term may be on its way. The order is the operator's one in every other respect
 * (cmd_failover.c): grants, fencing, what is lost. It is not given where more than max-loss would
 * be lost, or that is not known: then it is said, and an operator decides. A leader whose members
 * granted a higher term, which nobody begins, orders a new one for itself after a minute.
 */
#ifndef ZB_AGENT_TAKEOVER_H
#define ZB_AGENT_TAKEOVER_H

#include "agent/agent.h"

struct zb_takeovers;

/* Of an agent that has its heart. */
struct zb_takeovers *zb_takeovers_new(struct zb_agent *a);
/* NULL is fine. */
void zb_takeovers_close(struct zb_agent *a);

#endif
