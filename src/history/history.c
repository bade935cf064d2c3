#include "history/history.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "history/statement.h"

#define SCHEMA_VERSION 1
#define BUSY_TIMEOUT_MS 2000
#define META_NAME_SIZE 64

/* A database may have more tables: they are not read. */
static const char schema[] =
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE config (version INTEGER NOT NULL, state TEXT NOT NULL, text TEXT NOT NULL,"
    " hash TEXT NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (state, version)) STRICT;"
    "CREATE TABLE sets (service TEXT NOT NULL, term INTEGER NOT NULL, seq INTEGER NOT NULL,"
    " digest BLOB NOT NULL, time INTEGER NOT NULL, manifest BLOB NOT NULL,"
    " PRIMARY KEY (service, term, seq)) STRICT;"
    "CREATE TABLE terms (service TEXT NOT NULL, term INTEGER NOT NULL, leader TEXT NOT NULL,"
    " fork_term INTEGER NOT NULL, fork_seq INTEGER NOT NULL, fork_digest BLOB NOT NULL,"
    " reason TEXT NOT NULL, who TEXT NOT NULL, started INTEGER NOT NULL,"
    " down_ms INTEGER NOT NULL, own_ms INTEGER NOT NULL, lost TEXT NOT NULL,"
    " PRIMARY KEY (service, term)) STRICT;"
    "CREATE TABLE positions (service TEXT NOT NULL, node TEXT NOT NULL, term INTEGER NOT NULL,"
    " seq INTEGER NOT NULL, digest BLOB NOT NULL, updated INTEGER NOT NULL,"
    " PRIMARY KEY (service, node)) STRICT;"
    "CREATE TABLE records (service TEXT NOT NULL, node TEXT NOT NULL,"
    " granted_term INTEGER NOT NULL, granted_to TEXT NOT NULL, learned_term INTEGER NOT NULL,"
    " learned_leader TEXT NOT NULL, suspects TEXT NOT NULL, PRIMARY KEY (service, node)) STRICT;"
    "CREATE TABLE events (id INTEGER PRIMARY KEY AUTOINCREMENT, time INTEGER NOT NULL,"
    " level INTEGER NOT NULL, service TEXT NOT NULL, node TEXT NOT NULL, rule TEXT NOT NULL,"
    " text TEXT NOT NULL) STRICT;"
    "PRAGMA user_version = 1;";
static_assert(SCHEMA_VERSION == 1, "the last line of the schema says so too");

/* Before anything is read; temp_store because a chroot has no /tmp. */
static const char pragmas[] = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                              "PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;"
                              /* KiB of pages; what is asked for often is little */
                              "PRAGMA cache_size = -256;";

static enum zb_rc
execute(struct zb_history *h, const char *sql, struct zb_err *err)
{
    int rc = sqlite3_exec(h->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? ZB_OK : zb_history_failed(h, rc, err);
}

static enum zb_rc
prepare(struct zb_history *h, const char *sql, sqlite3_stmt **stmt, struct zb_err *err)
{
    int rc = sqlite3_prepare_v3(h->db, sql, -1, SQLITE_PREPARE_PERSISTENT, stmt, NULL);
    return rc == SQLITE_OK ? ZB_OK : zb_history_failed(h, rc, err);
}

/* First column of the first row, as text in buf. */
static enum zb_rc
ask(struct zb_history *h, const char *sql, char *buf, size_t size, struct zb_err *err)
{
    struct zb_statement s = {.h = h};
    bool row = false;
    enum zb_rc rc = prepare(h, sql, &s.stmt, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = zb_statement_row(&s, &row, err);
    const char *text = "";
    if (rc == ZB_OK && row) {
        text = (const char *)sqlite3_column_text(s.stmt, 0);
    }
    if (text == NULL) { /* a number is made into a text, and nothing asked for is NULL */
        rc = zb_err_set(err, ZB_E_NOMEM, "history %s: out of memory", h->path);
    } else if (rc == ZB_OK) {
        (void)snprintf(buf, size, "%s", text);
    }
    (void)sqlite3_finalize(s.stmt);
    return rc;
}

static enum zb_rc
content_check(struct zb_history *h, struct zb_err *err)
{
    char answer[256];
    enum zb_rc rc = ask(h, "PRAGMA quick_check(1)", answer, sizeof answer, err);

    if (rc == ZB_OK && strcmp(answer, "ok") != 0) {
        (void)zb_err_set(err, ZB_E_FORMAT, "history %s: corrupt: %s", h->path, answer);
        return zb_err_hint(err, "move the file away; a new history begins, no data is touched");
    }
    return rc;
}

static enum zb_rc
schema_make(struct zb_history *h, struct zb_err *err)
{
    char tables[16];
    enum zb_rc rc = ask(h, "SELECT count(*) FROM sqlite_schema", tables, sizeof tables, err);

    if (rc == ZB_OK && strcmp(tables, "0") != 0) {
        rc = zb_err_set(err, ZB_E_FORMAT, "history %s: a database of something else", h->path);
    }
    if (rc == ZB_OK) {
        rc = execute(h, "BEGIN IMMEDIATE", err);
    }
    if (rc == ZB_OK) {
        rc = execute(h, schema, err);
    }
    return rc == ZB_OK ? execute(h, "COMMIT", err) : rc;
}

static enum zb_rc
schema_check(struct zb_history *h, struct zb_err *err)
{
    char version[16];
    enum zb_rc rc = ask(h, "PRAGMA user_version", version, sizeof version, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (strcmp(version, "0") == 0) {
        return schema_make(h, err);
    }
    if (strtol(version, NULL, 10) != SCHEMA_VERSION) {
        return zb_err_set(
            err, ZB_E_VERSION,
            "history %s: made by another version of zbaton (schema %s, this one is %d)", h->path,
            version, SCHEMA_VERSION);
    }
    return ZB_OK;
}

/* An empty file would become one by the pragmas alone. */
static enum zb_rc
existing_check(struct zb_history *h, struct zb_err *err)
{
    char version[16];
    enum zb_rc rc = ask(h, "PRAGMA user_version", version, sizeof version, err);

    if (rc == ZB_OK && strcmp(version, "0") == 0) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "history %s: holds no history", h->path);
    }
    return rc;
}

static enum zb_rc
setup(struct zb_history *h, bool existing, struct zb_err *err)
{
    int flags = SQLITE_OPEN_READWRITE | (existing ? 0 : SQLITE_OPEN_CREATE);
    int rc = sqlite3_open_v2(h->path, &h->db, flags, NULL);

    if (rc != SQLITE_OK) {
        return zb_history_failed(h, rc, err);
    }
    (void)sqlite3_busy_timeout(h->db, BUSY_TIMEOUT_MS);
    if (sqlite3_db_readonly(h->db, "main") == 1) {
        return zb_err_set(err, ZB_E_REFUSED, "history %s: cannot be written (read-only)", h->path);
    }
    enum zb_rc result = existing ? existing_check(h, err) : ZB_OK;
    if (result == ZB_OK) {
        result = execute(h, pragmas, err);
    }
    if (result == ZB_OK) {
        result = content_check(h, err);
    }
    if (result == ZB_OK) {
        result = schema_check(h, err);
    }
    for (size_t i = 0; result == ZB_OK && i < ZB_SQL_COUNT; i++) {
        result = prepare(h, zb_statement_texts[i], &h->prepared[i], err);
    }
    return result;
}

static enum zb_rc
history_open(const char *path, bool existing, struct zb_history **out, struct zb_err *err)
{
    struct zb_history *h = NULL;

    if (strlen(path) >= sizeof h->path) {
        return zb_err_set(err, ZB_E_LIMIT, "history: path longer than %d bytes", ZB_PATH_SIZE - 1);
    }
    h = calloc(1, sizeof *h);
    if (h == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "history %s: out of memory", path);
    }
    zb_strcopy(h->path, sizeof h->path, path);
    enum zb_rc rc = setup(h, existing, err);
    if (rc != ZB_OK) {
        zb_history_close(h);
        return rc;
    }
    *out = h;
    return ZB_OK;
}

enum zb_rc
zb_history_open(const char *path, struct zb_history **out, struct zb_err *err)
{
    return history_open(path, false, out, err);
}

enum zb_rc
zb_history_open_existing(const char *path, struct zb_history **out, struct zb_err *err)
{
    return history_open(path, true, out, err);
}

void
zb_history_close(struct zb_history *h)
{
    if (h == NULL) {
        return;
    }
    for (size_t i = 0; i < ZB_SQL_COUNT; i++) {
        (void)sqlite3_finalize(h->prepared[i]);
    }
    (void)sqlite3_close(h->db); /* rolls back */
    free(h);
}

static enum zb_rc
run(struct zb_history *h, enum zb_statement_id id, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, id);
    return zb_statement_run(&s, err);
}

enum zb_rc
zb_history_begin(struct zb_history *h, struct zb_err *err)
{
    assert(!h->in_transaction);
    enum zb_rc rc = run(h, ZB_SQL_BEGIN, err);
    h->in_transaction = rc == ZB_OK;
    h->undone = ZB_OK;
    return rc;
}

enum zb_rc
zb_history_commit(struct zb_history *h, struct zb_err *err)
{
    assert(h->in_transaction);
    enum zb_rc rc = run(h, ZB_SQL_COMMIT, err);
    if (rc != ZB_OK) {
        zb_history_rollback(h);
    }
    h->in_transaction = false;
    return rc;
}

void
zb_history_rollback(struct zb_history *h)
{
    struct zb_err ignored;

    assert(h->in_transaction);
    h->in_transaction = false;
    /* SQLite rolls back by itself after some errors: then there is nothing left to do. */
    if (sqlite3_get_autocommit(h->db) == 0) {
        (void)!run(h, ZB_SQL_ROLLBACK, &ignored);
    }
}

static void
value_take(struct zb_statement *s, void *item)
{
    char **value = item;
    *value = zb_column_string(s);
}

enum zb_rc
zb_history_meta_get(struct zb_history *h, const char *name, char **value, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_META_GET);
    char *found = NULL;

    zb_statement_text(&s, name, META_NAME_SIZE);
    enum zb_rc rc = zb_statement_one(&s, value_take, &found, err);
    if (rc != ZB_OK) {
        free(found);
        return zb_err_wrap(err, "%.63s", name);
    }
    *value = found;
    return ZB_OK;
}

enum zb_rc
zb_history_meta_set(struct zb_history *h, const char *name, const char *value, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_META_SET);

    zb_statement_text(&s, name, META_NAME_SIZE);
    zb_statement_text(&s, value, strlen(value) + 1);
    return zb_statement_run(&s, err);
}
