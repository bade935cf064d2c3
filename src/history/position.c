#include "history/history.h"

#include "history/statement.h"

enum zb_rc
zb_history_position_put(struct zb_history *h, const char *service,
                        const struct zb_history_position *position, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_POSITION_PUT);

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_text(&s, position->node, sizeof position->node);
    zb_statement_ref(&s, &position->set);
    zb_statement_i64(&s, position->updated.s);
    return zb_statement_run(&s, err);
}

static void
position_take(struct zb_statement *s, void *item)
{
    struct zb_history_position *position = item;

    zb_column_text(s, position->node, sizeof position->node);
    zb_column_ref(s, &position->set);
    position->updated.s = zb_column_i64(s);
}

enum zb_rc
zb_history_positions_list(struct zb_history *h, const char *service, uint32_t limit,
                          struct zb_history_position **items, uint32_t *count, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_POSITIONS_LIST);
    void *rows = NULL;

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, limit);
    enum zb_rc rc = zb_statement_all(&s, sizeof **items, position_take, &rows, count, err);
    if (rc == ZB_OK) {
        *items = rows;
    }
    return rc;
}
