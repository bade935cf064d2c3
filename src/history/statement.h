/*
 * Prepared statements of the history: bind in order, step, read columns in order. A mistake on the
 * way (a text too long, a number too large, a column that does not fit) is kept and returned by
 * the call that ends the statement, so that callers check once.
 */
#ifndef ZB_HISTORY_STATEMENT_H
#define ZB_HISTORY_STATEMENT_H

#include <sqlite3.h>

#include "history/history.h"

enum zb_statement_id {
    ZB_SQL_BEGIN,
    ZB_SQL_COMMIT,
    ZB_SQL_ROLLBACK,
    ZB_SQL_META_GET,
    ZB_SQL_META_SET,
    ZB_SQL_CONFIG_PUT,
    ZB_SQL_CONFIG_GET,
    ZB_SQL_SET_PUT,
    ZB_SQL_SET_GET,
    ZB_SQL_SETS_LIST,
    ZB_SQL_SETS_PRUNE,
    ZB_SQL_FORGET_SETS,
    ZB_SQL_FORGET_TERMS,
    ZB_SQL_FORGET_POSITIONS,
    ZB_SQL_FORGET_RECORDS,
    ZB_SQL_TERM_PUT,
    ZB_SQL_TERM_GET,
    ZB_SQL_TERMS_LIST,
    ZB_SQL_POSITION_PUT,
    ZB_SQL_POSITIONS_LIST,
    ZB_SQL_RECORD_PUT,
    ZB_SQL_RECORDS_LIST,
    ZB_SQL_EVENT_APPEND,
    ZB_SQL_EVENTS_LIST,
    ZB_SQL_EVENTS_LAST,
    ZB_SQL_EVENTS_TRIM,
    ZB_SQL_COUNT
};

struct zb_history {
    sqlite3 *db;
    char path[ZB_PATH_SIZE];
    bool in_transaction;
    enum zb_rc undone; /* SQLite has rolled it back by itself: why; nothing goes on in it */
    sqlite3_stmt *prepared[ZB_SQL_COUNT];
};

struct zb_statement {
    struct zb_history *h;
    sqlite3_stmt *stmt;
    int bound;        /* parameters so far */
    int read;         /* columns so far */
    enum zb_rc rc;    /* first mistake */
    const char *what; /* names it */
};

extern const char *const zb_statement_texts[ZB_SQL_COUNT];

/* The error of the last failed call on the database. */
enum zb_rc zb_history_failed(const struct zb_history *h, int sqlite_rc, struct zb_err *err);

struct zb_statement zb_statement_begin(struct zb_history *h, enum zb_statement_id id);
/* Texts are borrowed until the statement ends. size: of the field the text is stored for, with NUL.
 */
void zb_statement_text(struct zb_statement *s, const char *text, size_t size);
void zb_statement_u64(struct zb_statement *s, uint64_t value);
void zb_statement_i64(struct zb_statement *s, int64_t value);
void zb_statement_blob(struct zb_statement *s, const void *data, size_t size);
/* words[value], from 1 on; others are a mistake. */
void zb_statement_word(struct zb_statement *s, const char *const *words, unsigned count,
                       unsigned value);
/* term, seq, digest. */
void zb_statement_ref(struct zb_statement *s, const struct zb_set_ref *ref);

/* Runs a statement without rows to its end. */
enum zb_rc zb_statement_run(struct zb_statement *s, struct zb_err *err) ZB_CHECKED;
/* Steps to the next row; *row = false at the end. After a failure the statement has ended. */
enum zb_rc zb_statement_row(struct zb_statement *s, bool *row, struct zb_err *err) ZB_CHECKED;
/* Ends a statement with rows. ZB_E_FORMAT when a column did not fit. */
enum zb_rc zb_statement_end(struct zb_statement *s, struct zb_err *err) ZB_CHECKED;

void zb_column_text(struct zb_statement *s, char *to, size_t size);
/* Of any length, for free(); NULL and a mistake without memory. */
char *zb_column_string(struct zb_statement *s);
uint64_t zb_column_u64(struct zb_statement *s, uint64_t max);
int64_t zb_column_i64(struct zb_statement *s);
/* Borrowed until the next step. */
const void *zb_column_blob(struct zb_statement *s, size_t *size);
void zb_column_ref(struct zb_statement *s, struct zb_set_ref *ref);
/* Index of the text in words (from 1; words[0] is not used); 1 and a mistake when it is not there.
 */
unsigned zb_column_word(struct zb_statement *s, const char *const *words, unsigned count);

/* The first row into item, by take. ZB_E_NOTFOUND when there is none. Ends the statement. */
enum zb_rc zb_statement_one(struct zb_statement *s,
                            void (*take)(struct zb_statement *s, void *item), void *item,
                            struct zb_err *err) ZB_CHECKED;
/* All rows, as an array of items of item_size bytes for free(). Ends the statement. */
enum zb_rc zb_statement_all(struct zb_statement *s, size_t item_size,
                            void (*take)(struct zb_statement *s, void *item), void **items,
                            uint32_t *count, struct zb_err *err) ZB_CHECKED;

#endif
