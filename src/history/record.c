#include "history/history.h"

#include "history/statement.h"

enum zb_rc
zb_history_record_put(struct zb_history *h, const char *service,
                      const struct zb_history_record *record, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_RECORD_PUT);

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_text(&s, record->node, sizeof record->node);
    zb_statement_u64(&s, record->granted_term);
    zb_statement_text(&s, record->granted_to, sizeof record->granted_to);
    zb_statement_u64(&s, record->learned_term);
    zb_statement_text(&s, record->learned_leader, sizeof record->learned_leader);
    zb_statement_text(&s, record->suspects, sizeof record->suspects);
    return zb_statement_run(&s, err);
}

static void
record_take(struct zb_statement *s, void *item)
{
    struct zb_history_record *record = item;

    zb_column_text(s, record->node, sizeof record->node);
    record->granted_term = zb_column_u64(s, INT64_MAX);
    zb_column_text(s, record->granted_to, sizeof record->granted_to);
    record->learned_term = zb_column_u64(s, INT64_MAX);
    zb_column_text(s, record->learned_leader, sizeof record->learned_leader);
    zb_column_text(s, record->suspects, sizeof record->suspects);
}

enum zb_rc
zb_history_records_list(struct zb_history *h, const char *service, uint32_t limit,
                        struct zb_history_record **items, uint32_t *count, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_RECORDS_LIST);
    void *rows = NULL;

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, limit);
    enum zb_rc rc = zb_statement_all(&s, sizeof **items, record_take, &rows, count, err);
    if (rc == ZB_OK) {
        *items = rows;
    }
    return rc;
}
