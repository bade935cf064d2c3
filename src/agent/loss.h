/*
 * What a failover would lose at most, stated before it is done (S3): what is known here of each
 * member, the set that the service would go on from, and whose writes come after it. Finding is
 * pure; nobody is asked.
 */
#ifndef ZB_AGENT_LOSS_H
#define ZB_AGENT_LOSS_H

#include "core/core.h"
#include "history/history.h"

#define ZB_LOSS_NONE 0xffffffffu

struct zb_agent;

struct zb_loss_member {
    char node[ZB_NODE_NAME_SIZE];
    bool backup;
    bool reachable;
    bool leads;     /* reachable, and writable now */
    bool rests;     /* reachable, and at rest in the term that is known: it holds set, no more */
    bool writer;    /* may have written: the last leader and whoever was granted a term since */
    bool led_last;  /* of the highest term: it made every set of it */
    bool modified;  /* its copy was changed by itself */
    bool keyless;   /* it has not the key with which the tree is mounted */
    bool undrilled; /* its last drill failed */
    bool drained;   /* its node shall lead nothing */
    bool forgot;    /* it led the term that is known, and its own record does not say so any more */
    struct zb_set_ref set; /* newest known */
    int64_t time_s;        /* of that set; -1: not known */
    int64_t written_bytes; /* since that set; -1: not known */
    /* found */
    bool diverged;       /* set is not of the history that the service goes on with */
    bool may_be_ahead;   /* of what is known of it here */
    int64_t behind_sets; /* the newest known one; -1: not known */
};

struct zb_loss {
    char service[ZB_SERVICE_NAME_SIZE];
    uint64_t term;                    /* highest that is known */
    const struct zb_lineage *lineage; /* of it; borrowed */
    uint8_t leader;                   /* of it */
    struct zb_set_id fork;            /* what it went on from */
    uint32_t suspects;                /* node bits, of every member that told */
    int64_t now_s;
    uint32_t members_count;
    struct zb_loss_member members[ZB_MEMBERS_MAX]; /* as declared */
    uint32_t sets_count;
    struct zb_history_set *sets; /* that are known here, newest first; owned */
    uint32_t to;                 /* the candidate; ZB_LOSS_NONE before it is chosen */
    bool chosen;                 /* by zb_loss_choose */
    /* found */
    struct zb_set_id newest; /* of the history that is known of anybody */
    struct zb_set_ref base;  /* the newest set that is reachable: what the service goes on from */
    int64_t base_time_s;
    uint32_t forward; /* who brings it to the candidate; ZB_LOSS_NONE: the candidate holds it */
    char lost[256];   /* "what vm1 wrote after set 12/346 of 06:41:00, 37 s ago" */
};

void zb_loss_close(struct zb_loss *loss);
/* From the core's view, the history and the declaration; the lineage is borrowed from *view. */
void zb_loss_gather(struct zb_agent *a, uint16_t service, const struct zb_core_view *view,
                    struct zb_loss *loss);
uint32_t zb_loss_member_find(const struct zb_loss *loss, const char *node);

/* --- pure --- */

/* Fills term, lineage, leader and suspects. */
void zb_loss_terms_look(struct zb_loss *loss, const struct zb_core_view *view);
/* Fills what the core on `self` knows of a member that is node (ZB_NODE_NONE: none); false: not
 * what it holds. */
bool zb_loss_member_look(const struct zb_loss *loss, const struct zb_core_view *view, uint8_t self,
                         uint8_t node, struct zb_loss_member *m);
/* The voting member that holds the newest set of the history, among those that are reachable, do
 * not lead, have not changed by themselves, have the key, and did not fail their last drill; the
 * first of equals.
 * ZB_LOSS_NONE: none holds any.
 */
uint32_t zb_loss_choose(const struct zb_loss *loss);
/* Fills what is found; `to` is set. */
void zb_loss_find(struct zb_loss *loss);
/* A node has to be fenced: it may have written, whatever was known of it. */
void zb_loss_suspect(struct zb_loss *loss, const char *node);
/* As `lost`, for a service that goes on from set (of time_s, -1 not known). */
void zb_loss_text(const struct zb_loss *loss, struct zb_set_id set, int64_t time_s, char *buf,
                  size_t size);
#endif
