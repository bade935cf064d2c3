/*
 * Tables as zfs(8) prints them: columns as wide as their content, two spaces apart; with -H no
 * header and one tab between fields. Control characters in cells are printed as '?', so that no
 * text of another host reaches the terminal as an escape sequence.
 */
#ifndef ZB_CMD_TABLE_H
#define ZB_CMD_TABLE_H

#include "base/types.h"

#define ZB_COLUMNS_MAX 16

struct zb_column {
    const char *name;   /* as in -o: "newest" */
    const char *header; /* "NEWEST SET" */
    bool right;
};

struct zb_table {
    const struct zb_column *columns; /* all there are; borrowed */
    unsigned columns_count;
    unsigned shown[ZB_COLUMNS_MAX]; /* which of them, in order */
    unsigned shown_count;
    char **cells; /* rows_count * columns_count, owned */
    size_t rows_count;
};

/* All columns are shown unless `selection` ("service,role", borrowed, may be NULL) names some.
 * ZB_E_USAGE naming the unknown column and those there are. */
enum zb_rc zb_table_init(struct zb_table *t, const struct zb_column *columns, unsigned count,
                         const char *selection, struct zb_err *err) ZB_CHECKED;
/* New row of empty cells ("-" when printed). */
void zb_table_row(struct zb_table *t);
/* Sets a cell of the newest row; text is copied. */
void zb_table_cell(struct zb_table *t, unsigned column, const char *text);
void zb_table_print(const struct zb_table *t, FILE *out, bool scripted);
void zb_table_close(struct zb_table *t);

/* Prints text with control characters replaced. */
void zb_text_print(FILE *out, const char *text);

#endif
