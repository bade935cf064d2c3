/*
 * Reports that say what the one before said. A report is refreshed every ten seconds (core), and of
 * an idle service nothing in it changes: then its name is enough, and the names of all such
 * services go in one message. What was said counts on the connection that it was said on, and while
 * nodes have the numbers that it is kept with.
 */
#ifndef ZB_AGENT_SAID_H
#define ZB_AGENT_SAID_H

#include "agent/agent.h"

struct zb_said;

struct zb_said *zb_said_new(struct zb_agent *a);
/* Nothing more is sent; the loop runs the closing handle. */
void zb_said_close(struct zb_agent *a);
/* NULL is fine. */
void zb_said_free(struct zb_said *s);

/* A report to node. True: it says what the one before said, but for its number, and goes within a
 * second, with others. Another one is remembered, and the caller sends it. */
bool zb_said_before(struct zb_agent *a, uint16_t service, uint8_t node,
                    const struct zb_core_msg *report);
/* Before anything else that the core says to node, so that nothing overtakes a report. */
void zb_said_send(struct zb_agent *a, uint8_t node);

/* A report of node, whole. */
void zb_said_heard(struct zb_agent *a, uint16_t service, uint8_t node,
                   const struct zb_core_msg *report);

/* The service is new to the core: it is told what each node said of it last on this connection, and
 * where that is not known here the node is asked. */
void zb_said_ask(struct zb_agent *a, uint16_t service);

/* The service is withdrawn: its number may become another one's. */
void zb_said_forget_service(struct zb_agent *a, uint16_t service);
/* The connection is lost, or something that node said could not be read. */
void zb_said_forget_node(struct zb_agent *a, uint8_t node);
/* A node got a number: reports that were read before may have named it. */
void zb_said_forget_all(struct zb_agent *a);

/* {"t":"core.same","services":[name],"number"}: they are as node said last. The number is that of
 * the last of these reports, and does for all of them: whatever its core says after one of them
 * comes after this message. Of those for which it is not known here what node said last
 * {"t":"core.anew","services":[name]} asks, and gets a report. */
void zb_said_message(struct zb_agent *a, uint8_t node, const json_t *msg);

#endif
