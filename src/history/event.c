#include "history/history.h"

#include "history/statement.h"

#define TRIM_INTERVAL 100 /* a slice of 1000 (sql.c) for as many appends: it always catches up */

enum zb_rc
zb_history_event_append(struct zb_history *h, const struct zb_history_event *event, int64_t *id,
                        struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_EVENT_APPEND);

    zb_statement_i64(&s, event->time.s);
    zb_statement_u64(&s, event->level);
    zb_statement_text(&s, event->service, sizeof event->service);
    zb_statement_text(&s, event->node, sizeof event->node);
    zb_statement_text(&s, event->rule, sizeof event->rule);
    zb_statement_text(&s, event->text, sizeof event->text);
    enum zb_rc rc = zb_statement_run(&s, err);
    if (rc != ZB_OK) {
        return rc;
    }
    int64_t added = sqlite3_last_insert_rowid(h->db);
    if (added > ZB_HISTORY_EVENTS_MAX && added % TRIM_INTERVAL == 0) {
        s = zb_statement_begin(h, ZB_SQL_EVENTS_TRIM);
        zb_statement_i64(&s, added - ZB_HISTORY_EVENTS_MAX);
        rc = zb_statement_run(&s, err);
    }
    if (rc == ZB_OK) {
        *id = added;
    }
    return rc;
}

static void
event_take(struct zb_statement *s, void *item)
{
    struct zb_history_event *event = item;

    event->id = zb_column_i64(s);
    event->time.s = zb_column_i64(s);
    event->level = (uint32_t)zb_column_u64(s, UINT32_MAX);
    zb_column_text(s, event->service, sizeof event->service);
    zb_column_text(s, event->node, sizeof event->node);
    zb_column_text(s, event->rule, sizeof event->rule);
    zb_column_text(s, event->text, sizeof event->text);
}

enum zb_rc
zb_history_events_list(struct zb_history *h, int64_t since, uint32_t limit,
                       struct zb_history_event **items, uint32_t *count, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_EVENTS_LIST);
    void *rows = NULL;

    zb_statement_i64(&s, since);
    zb_statement_u64(&s, limit);
    enum zb_rc rc = zb_statement_all(&s, sizeof **items, event_take, &rows, count, err);
    if (rc == ZB_OK) {
        *items = rows;
    }
    return rc;
}

static void
id_take(struct zb_statement *s, void *item)
{
    int64_t *id = item;
    *id = zb_column_i64(s);
}

enum zb_rc
zb_history_events_last(struct zb_history *h, int64_t *id, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_EVENTS_LAST);
    int64_t found = 0;
    enum zb_rc rc = zb_statement_one(&s, id_take, &found, err);

    if (rc == ZB_OK) {
        *id = found;
    }
    return rc;
}
