#include "cmd/table.h"

#include <assert.h>

#include "cmd/memory.h"

static bool
name_is(const char *name, const char *text, size_t length)
{
    return strlen(name) == length && memcmp(name, text, length) == 0;
}

static enum zb_rc
column_unknown(const struct zb_table *t, const char *text, size_t length, struct zb_err *err)
{
    char names[256] = "";
    size_t used = 0;

    for (unsigned i = 0; i < t->columns_count; i++) {
        int n = snprintf(names + used, sizeof names - used, "%s%s", i == 0 ? "" : ", ",
                         t->columns[i].name);
        used += (size_t)n < sizeof names - used ? (size_t)n : 0;
    }
    zb_err_set(err, ZB_E_USAGE, "no column '%.*s'", (int)length, text);
    return zb_err_hint(err, "columns: %s", names);
}

enum zb_rc
zb_table_init(struct zb_table *t, const struct zb_column *columns, unsigned count,
              const char *selection, struct zb_err *err)
{
    assert(count <= ZB_COLUMNS_MAX);
    *t = (struct zb_table){.columns = columns, .columns_count = count};
    if (selection == NULL) {
        for (unsigned i = 0; i < count; i++) {
            t->shown[i] = i;
        }
        t->shown_count = count;
        return ZB_OK;
    }
    for (const char *p = selection;;) {
        size_t length = strcspn(p, ",");
        unsigned i = 0;
        while (i < count && !name_is(columns[i].name, p, length)) {
            i++;
        }
        if (i == count) {
            return column_unknown(t, p, length, err);
        }
        if (t->shown_count == ZB_COLUMNS_MAX) {
            return zb_err_set(err, ZB_E_USAGE, "more than %d columns", ZB_COLUMNS_MAX);
        }
        t->shown[t->shown_count++] = i;
        if (p[length] == '\0') {
            return ZB_OK;
        }
        p += length + 1;
    }
}

void
zb_table_row(struct zb_table *t)
{
    size_t cells = (t->rows_count + 1) * t->columns_count;

    t->cells = zb_cmd_realloc(t->cells, cells * sizeof *t->cells);
    memset(t->cells + t->rows_count * t->columns_count, 0, t->columns_count * sizeof *t->cells);
    t->rows_count++;
}

void
zb_table_cell(struct zb_table *t, unsigned column, const char *text)
{
    assert(t->rows_count > 0 && column < t->columns_count);
    char **cell = &t->cells[(t->rows_count - 1) * t->columns_count + column];

    free(*cell);
    *cell = zb_cmd_strdup(text);
}

static const char *
cell_text(const struct zb_table *t, size_t row, unsigned column)
{
    const char *text = t->cells[row * t->columns_count + column];

    return text == NULL || text[0] == '\0' ? "-" : text;
}

/* Characters of UTF-8, not bytes. */
static size_t
text_width(const char *text)
{
    size_t width = 0;

    for (; *text != '\0'; text++) {
        width += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return width;
}

void
zb_text_print(FILE *out, const char *text)
{
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        unsigned char next = (unsigned char)text[1];
        if (c == 0xc2 && next >= 0x80 && next < 0xa0) { /* U+0080..9f: escapes of some terminals */
            fputc('?', out);
            text++;
        } else {
            fputc(c < 0x20 || c == 0x7f ? '?' : c, out);
        }
    }
}

static void
cell_print(FILE *out, const char *text, const struct zb_column *column, size_t width, bool last)
{
    size_t pad = width - text_width(text);

    if (column->right) {
        fprintf(out, "%*s", (int)pad, "");
    }
    zb_text_print(out, text);
    if (!column->right && !last) {
        fprintf(out, "%*s", (int)pad, "");
    }
    fputs(last ? "\n" : "  ", out);
}

void
zb_table_print(const struct zb_table *t, FILE *out, bool scripted)
{
    size_t widths[ZB_COLUMNS_MAX];

    for (unsigned i = 0; i < t->shown_count; i++) {
        widths[i] = text_width(t->columns[t->shown[i]].header);
        for (size_t row = 0; row < t->rows_count; row++) {
            size_t width = text_width(cell_text(t, row, t->shown[i]));
            widths[i] = width > widths[i] ? width : widths[i];
        }
    }
    for (unsigned i = 0; i < t->shown_count && !scripted; i++) {
        const struct zb_column *column = &t->columns[t->shown[i]];
        cell_print(out, column->header, column, widths[i], i + 1 == t->shown_count);
    }
    for (size_t row = 0; row < t->rows_count; row++) {
        for (unsigned i = 0; i < t->shown_count; i++) {
            const char *text = cell_text(t, row, t->shown[i]);
            bool last = i + 1 == t->shown_count;
            if (scripted) {
                zb_text_print(out, text);
                fputc(last ? '\n' : '\t', out);
            } else {
                cell_print(out, text, &t->columns[t->shown[i]], widths[i], last);
            }
        }
    }
}

void
zb_table_close(struct zb_table *t)
{
    for (size_t i = 0; i < t->rows_count * t->columns_count; i++) {
        free(t->cells[i]);
    }
    free(t->cells);
    *t = (struct zb_table){0};
}
