#include "history/history.h"

#include <assert.h>

#include "history/statement.h"

static const char *const phase_words[] = {
    [ZB_HISTORY_BEGIN] = "begin",
    [ZB_HISTORY_END] = "end",
    [ZB_HISTORY_ABORT] = "abort",
};
#define PHASES_COUNT (sizeof phase_words / sizeof phase_words[0])

enum zb_rc
zb_history_journal_append(struct zb_history *h, const char *service,
                          const struct zb_history_step *step, struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_JOURNAL_APPEND);

    assert(step->step >= 1 && step->step <= 9);
    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    zb_statement_u64(&s, step->term);
    zb_statement_u64(&s, step->step);
    zb_statement_word(&s, phase_words, PHASES_COUNT, step->phase);
    zb_statement_text(&s, step->note, sizeof step->note);
    zb_statement_i64(&s, step->time.s);
    return zb_statement_run(&s, err);
}

static void
step_take(struct zb_statement *s, void *item)
{
    struct zb_history_step *step = item;

    step->term = zb_column_u64(s, UINT64_MAX);
    step->step = (uint8_t)zb_column_u64(s, 9);
    step->phase = (enum zb_history_phase)zb_column_word(s, phase_words, PHASES_COUNT);
    zb_column_text(s, step->note, sizeof step->note);
    step->time.s = zb_column_i64(s);
}

enum zb_rc
zb_history_journal_last(struct zb_history *h, const char *service, struct zb_history_step *out,
                        struct zb_err *err)
{
    struct zb_statement s = zb_statement_begin(h, ZB_SQL_JOURNAL_LAST);
    struct zb_history_step found = {0};

    zb_statement_text(&s, service, ZB_SERVICE_NAME_SIZE);
    enum zb_rc rc = zb_statement_one(&s, step_take, &found, err);
    if (rc == ZB_OK) {
        *out = found;
    }
    return rc;
}
