/*
 * What this node remembers of the cluster: SQLite (WAL, synchronous=FULL) in the engine's state
 * directory. Nothing in it decides who may write: that is in the keeper's records. A lost database
 * costs history, never data.
 *
 * One thread. Every function blocks for the disk; a write outside zb_history_begin and
 * zb_history_commit is durable when it returns. Files are opened by zb_history_open and stay open:
 * a later chroot does no harm.
 *
 * Errors name the file: ZB_E_NOTFOUND where said; ZB_E_FORMAT a corrupt database or content;
 * ZB_E_REFUSED a read-only one; ZB_E_NOSPACE; ZB_E_NOMEM; ZB_E_BUSY another process writes;
 * ZB_E_LIMIT a number above INT64_MAX or a text that does not fit its field; ZB_E_FAILED otherwise.
 *
 * Lists: *items is for free(), NULL when *count is 0; limit bounds the count.
 */
#ifndef ZB_HISTORY_HISTORY_H
#define ZB_HISTORY_HISTORY_H

#include "base/types.h"

#define ZB_HISTORY_EVENTS_MAX 100000 /* older ones are deleted now and then, 1000 at a time */

struct zb_history;

/* Makes the database where there is none. ZB_E_VERSION: made by a newer zbaton. */
enum zb_rc zb_history_open(const char *path, struct zb_history **out,
                           struct zb_err *err) ZB_CHECKED;
/* As it is: ZB_E_NOTFOUND where there is no history yet; nothing is made, nor is the content
 * changed.
 */
enum zb_rc zb_history_open_existing(const char *path, struct zb_history **out,
                                    struct zb_err *err) ZB_CHECKED;
/* Rolls back what was not committed. NULL is fine. */
void zb_history_close(struct zb_history *h);

/* Several writes at the price of one fsync: durable, all of those that succeeded, when
 * zb_history_commit returns ZB_OK; when it fails, none of them is. After some failures (disk,
 * memory) nothing is left of the transaction: each write and the commit fail then. Not nested
 * (asserted). */
enum zb_rc zb_history_begin(struct zb_history *h, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_history_commit(struct zb_history *h, struct zb_err *err) ZB_CHECKED;
/* Undoes everything since zb_history_begin. */
void zb_history_rollback(struct zb_history *h);

/* Named values: name of at most 63 bytes. *value is for free(). ZB_E_NOTFOUND. */
enum zb_rc zb_history_meta_get(struct zb_history *h, const char *name, char **value,
                               struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_history_meta_set(struct zb_history *h, const char *name, const char *value,
                               struct zb_err *err) ZB_CHECKED;

/* --- versions of the cluster's configuration --- */

enum zb_history_config_state { ZB_HISTORY_ACCEPTED = 1, ZB_HISTORY_COMMITTED };

struct zb_history_config {
    uint64_t version;
    struct zb_wall time; /* when this node stored it */
    char hash[65];       /* SHA-256 of text, hex */
    char *text;          /* owned; free with zb_history_config_close */
};

/* Replaces the text of the same version and state. */
enum zb_rc zb_history_config_put(struct zb_history *h, uint64_t version,
                                 enum zb_history_config_state state, const char *text,
                                 struct zb_err *err) ZB_CHECKED;
/* The highest version of that state. ZB_E_NOTFOUND; ZB_E_FORMAT when the text does not have its
 * hash. */
enum zb_rc zb_history_config_get(struct zb_history *h, enum zb_history_config_state state,
                                 struct zb_history_config *out, struct zb_err *err) ZB_CHECKED;
void zb_history_config_close(struct zb_history_config *config);

/* --- sets --- */

struct zb_history_set {
    struct zb_set_ref ref;
    struct zb_wall time;
};

/* Replaces the set of the same id. The manifest must be valid (asserted). */
enum zb_rc zb_history_set_put(struct zb_history *h, const char *service,
                              const struct zb_manifest *manifest, struct zb_err *err) ZB_CHECKED;
/* out is written on success only; close it with zb_manifest_close. ZB_E_NOTFOUND; ZB_E_FORMAT when
 * the manifest does not have its digest. */
enum zb_rc zb_history_set_get(struct zb_history *h, const char *service, struct zb_set_id id,
                              struct zb_manifest *out, struct zb_err *err) ZB_CHECKED;
/* Newest first. */
enum zb_rc zb_history_sets_list(struct zb_history *h, const char *service, uint32_t limit,
                                struct zb_history_set **items, uint32_t *count,
                                struct zb_err *err) ZB_CHECKED;
/* A withdrawn service: its sets, terms, positions and records go, all or none; events
 * stay. The same name may come back with other data. */
enum zb_rc zb_history_service_forget(struct zb_history *h, const char *service,
                                     struct zb_err *err) ZB_CHECKED;
/* Deletes every set below id, except those a known term forked from, and keep (count of them,
 * ascending). */
enum zb_rc zb_history_sets_prune(struct zb_history *h, const char *service, struct zb_set_id id,
                                 const struct zb_set_id *keep, uint32_t count,
                                 struct zb_err *err) ZB_CHECKED;

/* --- terms --- */

enum zb_history_reason {
    ZB_HISTORY_INIT = 1,
    ZB_HISTORY_MOVE,
    ZB_HISTORY_RESTART,
    ZB_HISTORY_FAILOVER,
    ZB_HISTORY_REVERT,
    ZB_HISTORY_UNTOLD, /* found in the record of who took it */
};

struct zb_history_term {
    uint64_t term;
    char leader[ZB_NODE_NAME_SIZE];
    struct zb_set_ref fork; /* set the term started from; id 0/0: none */
    enum zb_history_reason reason;
    char who[128]; /* "root@vm1" */
    struct zb_wall started;
    uint32_t down_ms; /* service not running */
    uint32_t own_ms;  /* zbaton's part of it */
    char lost[256];   /* what a failover lost, for people */
};

/* Replaces the same term of the service. */
enum zb_rc zb_history_term_put(struct zb_history *h, const char *service,
                               const struct zb_history_term *term, struct zb_err *err) ZB_CHECKED;
/* ZB_E_NOTFOUND. */
enum zb_rc zb_history_term_get(struct zb_history *h, const char *service, uint64_t term,
                               struct zb_history_term *out, struct zb_err *err) ZB_CHECKED;
/* Newest first. */
enum zb_rc zb_history_terms_list(struct zb_history *h, const char *service, uint32_t limit,
                                 struct zb_history_term **items, uint32_t *count,
                                 struct zb_err *err) ZB_CHECKED;
const char *zb_history_reason_word(enum zb_history_reason reason); /* "move" */

/* --- positions --- */

struct zb_history_position {
    char node[ZB_NODE_NAME_SIZE];
    struct zb_set_ref set;
    struct zb_wall updated;
};

/* Replaces the position of the same node. */
enum zb_rc zb_history_position_put(struct zb_history *h, const char *service,
                                   const struct zb_history_position *position,
                                   struct zb_err *err) ZB_CHECKED;
/* Sorted by node. */
enum zb_rc zb_history_positions_list(struct zb_history *h, const char *service, uint32_t limit,
                                     struct zb_history_position **items, uint32_t *count,
                                     struct zb_err *err) ZB_CHECKED;

/* --- records --- */

/* What another node's record said of its grants (core.h: struct zb_core_seen), by names. */
struct zb_history_record {
    char node[ZB_NODE_NAME_SIZE];
    uint64_t granted_term;
    char granted_to[ZB_NODE_NAME_SIZE]; /* or "" */
    uint64_t learned_term;
    char learned_leader[ZB_NODE_NAME_SIZE];          /* or "" */
    char suspects[ZB_NODES_MAX * ZB_NODE_NAME_SIZE]; /* with a comma between two */
};

/* Replaces the record of the same node. */
enum zb_rc zb_history_record_put(struct zb_history *h, const char *service,
                                 const struct zb_history_record *record,
                                 struct zb_err *err) ZB_CHECKED;
/* Sorted by node. */
enum zb_rc zb_history_records_list(struct zb_history *h, const char *service, uint32_t limit,
                                   struct zb_history_record **items, uint32_t *count,
                                   struct zb_err *err) ZB_CHECKED;

/* --- events --- */

struct zb_history_event {
    int64_t id; /* given by zb_history_event_append */
    struct zb_wall time;
    uint32_t level;                     /* enum zb_log_level */
    char service[ZB_SERVICE_NAME_SIZE]; /* may be "" */
    char node[ZB_NODE_NAME_SIZE];
    char rule[64];
    char text[512];
};

/* event->id is not read; *id is the new one, above every earlier one. */
enum zb_rc zb_history_event_append(struct zb_history *h, const struct zb_history_event *event,
                                   int64_t *id, struct zb_err *err) ZB_CHECKED;
/* Those with an id above since, oldest first. */
enum zb_rc zb_history_events_list(struct zb_history *h, int64_t since, uint32_t limit,
                                  struct zb_history_event **items, uint32_t *count,
                                  struct zb_err *err) ZB_CHECKED;
/* Id of the newest event, 0 when there is none: the newest n are those since *id - n. */
enum zb_rc zb_history_events_last(struct zb_history *h, int64_t *id, struct zb_err *err) ZB_CHECKED;

#endif
