/*
 * What goes into the history, gathered for a moment and written with one fsync: sets, terms,
 * positions of peers, events. Nothing that decides who may write depends on it (the
 * keeper's records do), so a crash may lose the last ZB_MEMO_MS of it. Writing never fails for the
 * caller: a failure is logged.
 */
#ifndef ZB_AGENT_MEMO_H
#define ZB_AGENT_MEMO_H

#include "agent/agent.h"

#define ZB_MEMO_MS 50            /* from the first entry to the write */
#define ZB_MEMO_ENTRIES_MAX 1024 /* then it is written at once */

struct zb_memo;

/* Needs a->history from the first write on. */
struct zb_memo *zb_memo_new(struct zb_agent *a);
/* Writes what is left; the memory goes when the loop has run its closing handles. NULL is fine. */
void zb_memo_free(struct zb_memo *m);

/* Each takes a copy. service: its name. */
void zb_memo_set(struct zb_agent *a, const char *service, const struct zb_manifest *manifest);
/* Joined with what is stored of the same term: what is empty or 0 here does not replace anything,
 * and the time it started stays. */
void zb_memo_term(struct zb_agent *a, const char *service, const struct zb_history_term *term);
void zb_memo_position(struct zb_agent *a, const char *service,
                      const struct zb_history_position *position);
void zb_memo_record(struct zb_agent *a, const char *service,
                    const struct zb_history_record *record);
/* Subscribers hear of it when it is written and has its id. */
void zb_memo_event(struct zb_agent *a, const struct zb_history_event *event);

/* Deletes the sets below id that have no label, after what was gathered before. */
void zb_memo_prune(struct zb_agent *a, const char *service, struct zb_set_id id);

#endif
