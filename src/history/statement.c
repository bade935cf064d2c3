#include "history/statement.h"

#include <stdlib.h>
#include <string.h>

/* What the error codes of SQLite mean for us; others are ZB_E_FAILED. */
static const struct {
    int sqlite_rc;
    enum zb_rc rc;
    const char *hint;
} failures[] = {
    {SQLITE_CORRUPT, ZB_E_FORMAT, "move the file away; a new history begins, no data is touched"},
    {SQLITE_NOTADB, ZB_E_FORMAT, "move the file away; a new history begins, no data is touched"},
    {SQLITE_READONLY, ZB_E_REFUSED, "is the file system mounted read-only?"},
    {SQLITE_FULL, ZB_E_NOSPACE, ""},
    {SQLITE_NOMEM, ZB_E_NOMEM, ""},
    {SQLITE_BUSY, ZB_E_BUSY, "another process has the history open"},
    {SQLITE_LOCKED, ZB_E_BUSY, ""},
    {SQLITE_CANTOPEN, ZB_E_SYS, ""},
    {SQLITE_IOERR, ZB_E_SYS, ""},
    {SQLITE_TOOBIG, ZB_E_LIMIT, ""},
};

enum zb_rc
zb_history_failed(const struct zb_history *h, int sqlite_rc, struct zb_err *err)
{
    int sys_errno = sqlite3_system_errno(h->db);

    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        if (failures[i].sqlite_rc != (sqlite_rc & 0xff)) {
            continue;
        }
        if (failures[i].rc == ZB_E_SYS && sys_errno != 0) {
            return zb_err_sys(err, sys_errno, "history %s: %s", h->path, sqlite3_errmsg(h->db));
        }
        (void)zb_err_set(err, failures[i].rc, "history %s: %s", h->path, sqlite3_errmsg(h->db));
        return zb_err_hint(err, "%s", failures[i].hint);
    }
    return zb_err_set(err, ZB_E_FAILED, "history %s: %s", h->path, sqlite3_errmsg(h->db));
}

struct zb_statement
zb_statement_begin(struct zb_history *h, enum zb_statement_id id)
{
    return (struct zb_statement){.h = h, .stmt = h->prepared[id]};
}

static void
mistake(struct zb_statement *s, enum zb_rc rc, const char *what)
{
    if (s->rc == ZB_OK) {
        s->rc = rc;
        s->what = what;
    }
}

static void
bound(struct zb_statement *s, int sqlite_rc)
{
    if (sqlite_rc != SQLITE_OK) {
        mistake(s, sqlite_rc == SQLITE_NOMEM ? ZB_E_NOMEM : ZB_E_FAILED, "cannot bind a value");
    }
}

void
zb_statement_text(struct zb_statement *s, const char *text, size_t size)
{
    size_t length = strnlen(text, size);

    s->bound++;
    if (length == size) {
        mistake(s, ZB_E_LIMIT, "a text is too long for its field");
        return;
    }
    bound(s, sqlite3_bind_text64(s->stmt, s->bound, text, length, SQLITE_STATIC, SQLITE_UTF8));
}

void
zb_statement_i64(struct zb_statement *s, int64_t value)
{
    s->bound++;
    bound(s, sqlite3_bind_int64(s->stmt, s->bound, value));
}

void
zb_statement_u64(struct zb_statement *s, uint64_t value)
{
    if (value > INT64_MAX) {
        mistake(s, ZB_E_LIMIT, "a number is above INT64_MAX");
        value = 0;
    }
    zb_statement_i64(s, (int64_t)value);
}

void
zb_statement_blob(struct zb_statement *s, const void *data, size_t size)
{
    s->bound++;
    bound(s, sqlite3_bind_blob64(s->stmt, s->bound, data, size, SQLITE_STATIC));
}

void
zb_statement_word(struct zb_statement *s, const char *const *words, unsigned count, unsigned value)
{
    if (value == 0 || value >= count) {
        s->bound++;
        mistake(s, ZB_E_FORMAT, "a value has no word");
        return;
    }
    zb_statement_text(s, words[value], SIZE_MAX);
}

void
zb_statement_ref(struct zb_statement *s, const struct zb_set_ref *ref)
{
    zb_statement_u64(s, ref->id.term);
    zb_statement_u64(s, ref->id.seq);
    zb_statement_blob(s, ref->digest, sizeof ref->digest);
}

static void
reset(struct zb_statement *s)
{
    (void)sqlite3_reset(s->stmt);
    (void)sqlite3_clear_bindings(s->stmt);
}

enum zb_rc
zb_statement_end(struct zb_statement *s, struct zb_err *err)
{
    reset(s);
    if (s->rc != ZB_OK) {
        return zb_err_set(err, s->rc, "history %s: %s", s->h->path, s->what);
    }
    return ZB_OK;
}

enum zb_rc
zb_statement_row(struct zb_statement *s, bool *row, struct zb_err *err)
{
    struct zb_history *h = s->h;

    if (s->rc == ZB_OK && h->in_transaction && h->undone != ZB_OK) {
        mistake(s, h->undone, "the transaction was undone when a part of it failed");
    }
    if (s->rc != ZB_OK) {
        return zb_statement_end(s, err);
    }
    int rc = sqlite3_step(s->stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE) {
        (void)zb_history_failed(h, rc, err);
        reset(s);
        if (h->in_transaction && sqlite3_get_autocommit(h->db) != 0) {
            h->undone = err->rc;
        }
        return err->rc;
    }
    s->read = 0;
    *row = rc == SQLITE_ROW;
    return ZB_OK;
}

enum zb_rc
zb_statement_run(struct zb_statement *s, struct zb_err *err)
{
    bool row;
    enum zb_rc rc = zb_statement_row(s, &row, err);
    return rc == ZB_OK ? zb_statement_end(s, err) : rc;
}

/* A column that gives nothing: no memory, or not what is stored there. */
static void
missing(struct zb_statement *s)
{
    if (sqlite3_errcode(s->h->db) == SQLITE_NOMEM) {
        mistake(s, ZB_E_NOMEM, "out of memory");
    } else {
        mistake(s, ZB_E_FORMAT, "a stored value is missing");
    }
}

void
zb_column_text(struct zb_statement *s, char *to, size_t size)
{
    int column = s->read++;
    const char *text = (const char *)sqlite3_column_text(s->stmt, column);
    size_t length = (size_t)sqlite3_column_bytes(s->stmt, column);

    to[0] = '\0';
    if (text == NULL) {
        missing(s);
        return;
    }
    if (length >= size || strlen(text) != length) {
        mistake(s, ZB_E_FORMAT, "a stored text does not fit its field");
        return;
    }
    memcpy(to, text, length + 1);
}

char *
zb_column_string(struct zb_statement *s)
{
    const char *text = (const char *)sqlite3_column_text(s->stmt, s->read++);
    char *copy = text == NULL ? NULL : strdup(text);

    if (copy == NULL) {
        mistake(s, ZB_E_NOMEM, "out of memory");
    }
    return copy;
}

int64_t
zb_column_i64(struct zb_statement *s)
{
    return sqlite3_column_int64(s->stmt, s->read++);
}

uint64_t
zb_column_u64(struct zb_statement *s, uint64_t max)
{
    int64_t value = zb_column_i64(s);
    if (value < 0 || (uint64_t)value > max) {
        mistake(s, ZB_E_FORMAT, "a stored number does not fit its field");
        return 0;
    }
    return (uint64_t)value;
}

const void *
zb_column_blob(struct zb_statement *s, size_t *size)
{
    int column = s->read++;
    const void *data = sqlite3_column_blob(s->stmt, column);
    *size = data == NULL ? 0 : (size_t)sqlite3_column_bytes(s->stmt, column);
    return data;
}

void
zb_column_ref(struct zb_statement *s, struct zb_set_ref *ref)
{
    size_t size;

    ref->id.term = zb_column_u64(s, UINT64_MAX);
    ref->id.seq = zb_column_u64(s, UINT64_MAX);
    const void *digest = zb_column_blob(s, &size);
    if (digest == NULL) {
        missing(s);
        return;
    }
    if (size != sizeof ref->digest) {
        mistake(s, ZB_E_FORMAT, "a stored digest has the wrong size");
        return;
    }
    memcpy(ref->digest, digest, size);
}

unsigned
zb_column_word(struct zb_statement *s, const char *const *words, unsigned count)
{
    char word[32];

    zb_column_text(s, word, sizeof word);
    for (unsigned i = 1; i < count; i++) {
        if (strcmp(words[i], word) == 0) {
            return i;
        }
    }
    mistake(s, ZB_E_FORMAT, "a stored word is not known");
    return 1;
}

enum zb_rc
zb_statement_one(struct zb_statement *s, void (*take)(struct zb_statement *s, void *item),
                 void *item, struct zb_err *err)
{
    bool row = false;
    enum zb_rc rc = zb_statement_row(s, &row, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (row) {
        take(s, item);
    } else {
        mistake(s, ZB_E_NOTFOUND, "nothing is known of this");
    }
    return zb_statement_end(s, err);
}

/* Room doubles whenever count is a power of two, or 0. */
static void *
grow(void *items, uint32_t count, size_t item_size)
{
    if ((count & (count - 1)) != 0) {
        return items;
    }
    return reallocarray(items, count == 0 ? 1 : 2 * (size_t)count, item_size);
}

enum zb_rc
zb_statement_all(struct zb_statement *s, size_t item_size,
                 void (*take)(struct zb_statement *s, void *item), void **items, uint32_t *count,
                 struct zb_err *err)
{
    char *rows = NULL;
    uint32_t used = 0;
    bool row = false;
    enum zb_rc rc = zb_statement_row(s, &row, err);

    while (rc == ZB_OK && row) {
        char *more = grow(rows, used, item_size);
        if (more == NULL) {
            mistake(s, ZB_E_NOMEM, "out of memory");
            break;
        }
        rows = more;
        memset(rows + used * item_size, 0, item_size);
        take(s, rows + used * item_size);
        used++;
        rc = zb_statement_row(s, &row, err);
    }
    if (rc == ZB_OK) {
        rc = zb_statement_end(s, err);
    }
    if (rc != ZB_OK) {
        free(rows);
        return rc;
    }
    *items = rows;
    *count = used;
    return ZB_OK;
}
