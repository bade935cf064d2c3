/*
 * The steps of a move and of a failover (doc/design.md) in words and calls: static tables that the
 * dry run and the progress lines are both made from. Pure, but for zb_step_words_fill.
 */
#ifndef ZB_AGENT_STEPS_H
#define ZB_AGENT_STEPS_H

#include <jansson.h>

#include "agent/agent.h"

#define ZB_STEP_CALLS_MAX 6

struct zb_step_line {
    const char *name;
    const char *plan; /* what it is going to do */
    const char *done; /* when it is done */
    const char *calls[ZB_STEP_CALLS_MAX];
};

struct zb_steps {
    unsigned count;
    const struct zb_step_line *lines;
};
extern const struct zb_steps zb_steps_move;     /* as ZB_ACT_STEP counts them */
extern const struct zb_steps zb_steps_failover; /* enum zb_failover_step */
extern const struct zb_steps zb_steps_revert;   /* likewise */

/* What the texts name. Borrowed; "" where unknown. */
struct zb_step_words {
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
    const char *fence; /* "vm2: /etc/zbaton/fence vm1"; of a failover */
};

/* "check"; step 1 to count. */
const char *zb_steps_name(const struct zb_steps *steps, unsigned step);
/* The sentence of a step that is done. buf of size. */
void zb_steps_done(const struct zb_steps *steps, unsigned step, const struct zb_step_words *words,
                   char *buf, size_t size);
/* steps[] of the dry run: step, name, text, calls[]. */
json_t *zb_steps_plan(const struct zb_steps *steps, const struct zb_step_words *words);
/* {"step","of","name","phase","text","elapsed_ms"}: a progress line. */
json_t *zb_steps_progress(const struct zb_steps *steps, unsigned step, enum zb_step_phase phase,
                          const char *text, int64_t elapsed_ms);
/* The same of a step that goes on: phase "bytes" or "note". */
json_t *zb_steps_note(const struct zb_steps *steps, unsigned step, const char *phase,
                      const char *text, int64_t elapsed_ms);

/* --- step_words.c --- */

/* What is put together from, and the room for it. source may be ZB_NODE_NONE. */
struct zb_step_subject {
    uint16_t service;
    uint8_t source;
    uint8_t target;
    struct zb_set_id set;
    uint64_t bytes;
    uint64_t term;
    uint64_t next;
};
struct zb_step_texts {
    struct zb_step_words w;
    char source_dataset[ZB_DATASET_NAME_SIZE + ZB_SERVICE_NAME_SIZE + ZB_NODE_NAME_SIZE];
    char target_dataset[ZB_DATASET_NAME_SIZE + ZB_SERVICE_NAME_SIZE + ZB_NODE_NAME_SIZE];
    char start[ZB_COMMAND_SIZE + 32];
    char stop[ZB_COMMAND_SIZE + 32];
    char unit[ZB_UNIT_SIZE + 32];
    char set[ZB_SET_ID_SIZE];
    char bytes[24];
    char term[24];
    char next[24];
    char fence[1024]; /* the caller's to fill in */
};
void zb_step_words_fill(const struct zb_agent *a, const struct zb_step_subject *subject,
                        struct zb_step_texts *texts);

#endif
