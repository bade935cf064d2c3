/*
 * Shared by the files behind rules.h.
 */
#ifndef ZB_KEEPER_RULES_INTERNAL_H
#define ZB_KEEPER_RULES_INTERNAL_H

#include <inttypes.h>
#include <string.h>

#include "keeper/rules.h"

#define TERM "%" PRIu64

static inline bool
is_self(const struct zb_keeper_facts *f, const char *node)
{
    return strcmp(f->self, node) == 0;
}

/* The dataset of the tree that is mounted, in any mode; or NULL. */
static inline const struct zb_kdataset *
mounted_one(const struct zb_keeper_facts *f)
{
    for (uint32_t i = 0; i < f->datasets_count; i++) {
        if (f->datasets[i].mount != ZB_MOUNT_NONE) {
            return &f->datasets[i];
        }
    }
    return NULL;
}

/* As the operator knows it: the service itself, or "its dataset child". */
static inline const char *
rel_name(const char *rel)
{
    return rel[0] == '\0' ? "(the service's own dataset)" : rel;
}

/* Term and sender are the leader's as this node knows it: RECEIVE, ARRANGE, RESCUE (M2). */
enum zb_rc zb_rules_led_by(const struct zb_keeper_record *r, const struct zb_kreq *req,
                           struct zb_err *err) ZB_CHECKED;
/* Term is the one that this node knows to be led, and has not granted beyond (M2). */
enum zb_rc zb_rules_term_led(const struct zb_keeper_record *r, const struct zb_kreq *req,
                             struct zb_err *err) ZB_CHECKED;
/* This node granted the term, which nobody is known to have led yet, to itself. */
enum zb_rc zb_rules_candidate(const struct zb_keeper_record *r, const struct zb_kreq *req,
                              const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;
/* Nothing of the tree is led or mounted by this node. */
enum zb_rc zb_rules_at_rest(const struct zb_keeper_facts *f, struct zb_err *err) ZB_CHECKED;

#endif
