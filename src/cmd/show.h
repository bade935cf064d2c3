/*
 * Answers of the daemon as text: JSON in, lines out. Pure apart from `out`, so that every picture
 * is tested as a file (test/golden/cmd).
 */
#ifndef ZB_CMD_SHOW_H
#define ZB_CMD_SHOW_H

#include <jansson.h>

#include "base/types.h"

struct zb_show {
    FILE *out;
    bool scripted;       /* -H */
    bool exact;          /* -p */
    bool terminal;       /* out is a terminal: progress may overwrite its line */
    bool unhealthy;      /* -x: data is reduced to what is not as it should be */
    const char *columns; /* -o, or NULL */
};

/* Takes the members that are as they should be, and then the services without members, out of a
 * status answer. True when members or warnings are left. */
bool zb_status_reduce(json_t *data);
/* ZB_E_USAGE for unknown columns; nothing was printed then. */
enum zb_rc zb_show_status(const struct zb_show *show, const json_t *data,
                          struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_show_nodes(const struct zb_show *show, const json_t *data,
                         struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_show_tokens(const struct zb_show *show, const json_t *data,
                          struct zb_err *err) ZB_CHECKED;
void zb_show_history(const struct zb_show *show, const json_t *data);
/* One element of events[], or a progress line of `events -f`. */
void zb_show_event(const struct zb_show *show, const json_t *event);
/* Differences and what adopting or leaving datasets changes. */
void zb_show_apply(const struct zb_show *show, const json_t *data);

/* Of each member what is in the way of a move, of replication and of pruning, or how it stands. */
void zb_show_explain(const struct zb_show *show, const json_t *data);

/* --- move, failover --- */

/* Lines of a move or failover under way. Zero-initialised but for show. */
struct zb_show_progress {
    const struct zb_show *show;
    bool line_open; /* an unfinished line stands on the terminal */
    int64_t step;
    int64_t printed_ms; /* off a terminal: elapsed_ms of the line printed last in this step */
};
void zb_show_steps_progress(struct zb_show_progress *p, const json_t *progress);
/* Ends an open line; call it before anything else is printed. */
void zb_show_steps_end(struct zb_show_progress *p);
/* "web runs on vm2. Down for 3.4 s (0.4 s of it zbaton's). Nothing lost." */
void zb_show_move_result(const struct zb_show *show, const char *service, const char *node,
                         const json_t *data);
/* What it would do, step by step, with the calls. */
void zb_show_steps_plan(const struct zb_show *show, const json_t *data);

/* --- failover (show_failover.c) --- */

/* What is known of each member, what the service goes on from, and what is lost at most. */
void zb_show_loss(const struct zb_show *show, const json_t *statement);
/* "web runs on vm2 in term 13, from set 12/346. Lost at most: what vm1 wrote after ..." */
void zb_show_failover_result(const struct zb_show *show, const char *service, const json_t *data);

/* What pruning would do with each set of a service on a node. */
enum zb_rc zb_show_sets(const struct zb_show *show, const json_t *data,
                        struct zb_err *err) ZB_CHECKED;

/* What came of a rekey: the set that carries the key, and which members have it. */
void zb_show_rekey(const struct zb_show *show, const json_t *data);

/* --- transfers (show_transfers.c) --- */

enum zb_rc zb_show_transfers(const struct zb_show *show, const json_t *data,
                             struct zb_err *err) ZB_CHECKED;

/* --- peek (show_peek.c) --- */

enum zb_rc zb_show_peeks(const struct zb_show *show, const json_t *data,
                         struct zb_err *err) ZB_CHECKED;

/* --- rescue, rejoin (show_rescue.c) --- */

enum zb_rc zb_show_rescues(const struct zb_show *show, const json_t *data,
                           struct zb_err *err) ZB_CHECKED;
void zb_show_rescue(const struct zb_show *show, const json_t *data);
/* What a rejoin would set aside, and what it did. */
void zb_show_rejoin_plan(const struct zb_show *show, const char *service, const json_t *data);
void zb_show_rejoin_result(const struct zb_show *show, const char *service, const json_t *data);

#endif
