/*
 * Why a service cannot be moved, is not replicated, or is not pruned, as one member knows it: first
 * everything is found out (explain.c), then it is said in lines (explain_lines.c), each with the
 * cause by name, the rule and the command that helps. Nothing is changed and nobody else is asked.
 */
#ifndef ZB_AGENT_EXPLAIN_H
#define ZB_AGENT_EXPLAIN_H

#include <jansson.h>

#include "agent/agent.h"
#include "agent/loss.h"

/* A dry run's answer. */
struct zb_explain_reply {
    bool asked;
    enum zb_rc rc;
    const char *rule; /* static */
    char text[256];
};

struct zb_explain_facts {
    struct zb_agent *a;
    uint16_t service;
    struct zb_core_view view;
    struct zb_loss members;                      /* of each: what is known of it here */
    bool leads;                                  /* this node */
    struct zb_explain_reply moves[ZB_NODES_MAX]; /* by node, on the leader */
    struct zb_explain_reply failover;            /* to this node, where nobody leads */
    enum zb_rc blockers_rc;
    char blockers_msg[512];
    char *blockers; /* the keeper's lines (kmsg.h); may be NULL */
    uint32_t blockers_left_off;
};

/* {"node","reachable":true,"role","lines":[{"about","ok","cause","rule","help"}]} */
void zb_explain_here(struct zb_agent *a, uint16_t service,
                     void (*on_done)(void *ctx, json_t *member), void *ctx);
/* The same of a member that says nothing itself. */
json_t *zb_explain_silent(const char *node, const char *cause, const char *rule, const char *help);

/* --- explain_lines.c --- */

json_t *zb_explain_lines(const struct zb_explain_facts *f);
/* One line. help may be "". */
json_t *zb_explain_line(const char *about, const char *cause, const char *rule, const char *help);

#endif
