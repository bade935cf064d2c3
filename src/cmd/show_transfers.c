#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

enum { SERVICE, FROM, TO, SET, DONE, OF, PART, RATE, LEFT };

static const struct zb_column columns[] = {
    [SERVICE] = {"service", "SERVICE", false},
    [FROM] = {"from", "FROM", false},
    [TO] = {"to", "TO", false},
    [SET] = {"set", "SET", true},
    [DONE] = {"done", "DONE", true},
    [OF] = {"of", "OF", true},
    [PART] = {"part", "PART", true},
    [RATE] = {"rate", "RATE", true},
    [LEFT] = {"left", "LEFT", true},
};

static void
row_fill(struct zb_table *t, const struct zb_show *show, const json_t *one)
{
    int64_t bytes = zb_field_int(one, "bytes", -1);
    int64_t total = zb_field_int(one, "bytes_total", -1);
    int64_t rate = zb_field_int(one, "rate", -1);
    char buf[ZB_TEXT_SIZE], cell[ZB_TEXT_SIZE + 8];

    zb_table_row(t);
    zb_table_cell(t, SERVICE, zb_field_text(one, "service"));
    zb_table_cell(t, FROM, zb_field_text(one, "from"));
    zb_table_cell(t, TO, zb_field_text(one, "to"));
    zb_table_cell(t, SET, zb_field_set(one, "set", buf));
    zb_table_cell(t, DONE, zb_format_cell_bytes(bytes, show->exact, buf));
    zb_table_cell(t, OF, zb_format_cell_bytes(total, show->exact, buf));
    if (bytes >= 0 && total > 0 && bytes <= total) {
        (void)snprintf(buf, sizeof buf, "%d%s", (int)((double)bytes * 100 / (double)total),
                       show->exact ? "" : "%");
        zb_table_cell(t, PART, buf);
    }
    if (rate >= 0) {
        (void)snprintf(cell, sizeof cell, "%s%s", zb_format_cell_bytes(rate, show->exact, buf),
                       show->exact ? "" : "/s");
        zb_table_cell(t, RATE, cell);
    }
    zb_table_cell(t, LEFT, zb_format_cell_age(zb_field_int(one, "left_s", -1), show->exact, buf));
}

static void
silent_print(const struct zb_show *show, const json_t *data)
{
    size_t i;
    json_t *one;

    json_array_foreach(zb_field_array(data, "silent"), i, one)
    {
        fputs("warning: what ", show->out);
        zb_text_print(show->out, zb_field_text(one, "node"));
        fputs(" sends is not known: ", show->out);
        zb_text_print(show->out, zb_field_text(one, "why"));
        fputc('\n', show->out);
    }
}

enum zb_rc
zb_show_transfers(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    struct zb_table t;
    size_t i;
    json_t *one;
    enum zb_rc rc =
        zb_table_init(&t, columns, sizeof columns / sizeof columns[0], show->columns, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "transfers"), i, one)
    {
        row_fill(&t, show, one);
    }
    if (t.rows_count > 0 || show->scripted) {
        zb_table_print(&t, show->out, show->scripted);
    } else {
        fputs("nothing is being sent\n", show->out);
    }
    if (!show->scripted) {
        silent_print(show, data);
    }
    zb_table_close(&t);
    return ZB_OK;
}
