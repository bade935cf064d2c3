/*
 * The nine steps of a move (doc/design.md) in words and calls: one static table that the dry run
 * and the progress lines are both made from. Pure.
 */
#ifndef ZB_AGENT_MOVE_STEPS_H
#define ZB_AGENT_MOVE_STEPS_H

#include <jansson.h>

#include "base/types.h"

#define ZB_MOVE_STEPS 9

/* What the texts name. Borrowed; "" where unknown. */
struct zb_move_words {
    const char *service;
    const char *source;
    const char *target;
    const char *source_dataset;
    const char *target_dataset;
    const char *mountpoint;
    const char *start; /* "systemctl start web.service" */
    const char *stop;
    const char *unit;  /* "unit web.service", "commands of web" */
    const char *set;   /* "12/346" */
    const char *bytes; /* "3.1M" */
    const char *term;  /* of the source */
    const char *next;  /* of the target */
};

/* "check"; step 1 to 9. */
const char *zb_move_step_name(unsigned step);
/* The sentence of a step that is done. buf of size. */
void zb_move_step_done(unsigned step, const struct zb_move_words *words, char *buf, size_t size);
/* steps[] of the dry run: step, name, text, calls[]. */
json_t *zb_move_steps_plan(const struct zb_move_words *words);

#endif
