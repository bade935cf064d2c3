#include <inttypes.h>

#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum zb_rc
zb_show_peeks(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    enum { NAME, SERVICE, SET, EXPIRES, MOUNTED };
    static const struct zb_column columns[] = {
        [NAME] = {"name", "NAME", false},
        [SERVICE] = {"service", "SERVICE", false},
        [SET] = {"set", "SET", false},
        [EXPIRES] = {"expires", "UNTIL", false},
        [MOUNTED] = {"mounted", "MOUNTED", false},
    };
    struct zb_table t;
    char buf[ZB_TEXT_SIZE];
    size_t i;
    json_t *peek;
    enum zb_rc rc = zb_table_init(&t, columns, COUNT(columns), show->columns, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "peeks"), i, peek)
    {
        zb_table_row(&t);
        zb_table_cell(&t, NAME, zb_field_text(peek, "name"));
        zb_table_cell(&t, SERVICE, zb_field_text(peek, "service"));
        (void)snprintf(buf, sizeof buf, "%" PRId64 "/%" PRId64, zb_field_int(peek, "term", 0),
                       zb_field_int(peek, "seq", 0));
        zb_table_cell(&t, SET, buf);
        zb_table_cell(&t, EXPIRES,
                      zb_format_cell_time(zb_field_text(peek, "expires"), show->exact, buf));
        zb_table_cell(&t, MOUNTED, zb_field_text(peek, "mounted"));
    }
    if (t.rows_count > 0 || show->scripted) {
        zb_table_print(&t, show->out, show->scripted);
    } else {
        fputs("no peeks on ", show->out);
        zb_text_print(show->out, zb_field_text(data, "node"));
        fputc('\n', show->out);
    }
    zb_table_close(&t);
    return ZB_OK;
}
