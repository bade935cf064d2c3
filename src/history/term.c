#include "history/history.h"

#include "history/statement.h"

static const char *const reason_words[] = {
    [ZB_HISTORY_INIT] = "init",       [ZB_HISTORY_MOVE] = "move",
    [ZB_HISTORY_RESTART] = "restart", [ZB_HISTORY_FAILOVER] = "failover",
    [ZB_HISTORY_REVERT] = "revert",   [ZB_HISTORY_UNTOLD] = "untold",
};
#define REASONS_COUNT (sizeof reason_words / sizeof reason_words[0])

const char *
zb_history_reason_word(enum zb_history_reason reason)
{
    return reason_words[reason];
}

enum zb_rc
zb_history_term_put(struct zb_history *h, const char *service, const struct zb_history_term *term,
                    struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_TERM_PUT);

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, term->term);
    zb_statement_text(&s, term->leader, sizeof term->leader);
    zb_statement_ref(&s, &term->fork);
    zb_statement_word(&s, reason_words, REASONS_COUNT, term->reason);
    zb_statement_text(&s, term->who, sizeof term->who);
    zb_statement_i64(&s, term->started.s);
    zb_statement_u64(&s, term->down_ms);
    zb_statement_u64(&s, term->own_ms);
    zb_statement_text(&s, term->lost, sizeof term->lost);
    return zb_statement_run(&s, err);
}

static void
term_take(struct zb_statement *s, void *item)
{
    struct zb_history_term *term = item;

    term->term = zb_column_u64(s, UINT64_MAX);
    zb_column_text(s, term->leader, sizeof term->leader);
    zb_column_ref(s, &term->fork);
    term->reason = (enum zb_history_reason)zb_column_word(s, reason_words, REASONS_COUNT);
    zb_column_text(s, term->who, sizeof term->who);
    term->started.s = zb_column_i64(s);
    term->down_ms = (uint32_t)zb_column_u64(s, UINT32_MAX);
    term->own_ms = (uint32_t)zb_column_u64(s, UINT32_MAX);
    zb_column_text(s, term->lost, sizeof term->lost);
}

enum zb_rc
zb_history_term_get(struct zb_history *h, const char *service, uint64_t term,
                    struct zb_history_term *out, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_TERM_GET);
    struct zb_history_term found = {0};

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, term);
    enum zb_rc rc = zb_statement_one(&s, term_take, &found, err);
    if (rc == ZB_OK) {
        *out = found;
    }
    return rc;
}

enum zb_rc
zb_history_terms_list(struct zb_history *h, const char *service, uint32_t limit,
                      struct zb_history_term **items, uint32_t *count, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_TERMS_LIST);
    void *rows = NULL;

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, limit);
    enum zb_rc rc = zb_statement_all(&s, sizeof **items, term_take, &rows, count, err);
    if (rc == ZB_OK) {
        *items = rows;
    }
    return rc;
}
