#include <string.h>

#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

enum zb_rc
zb_show_nodes(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    enum { NODE, ADDRESS, STATE, VERSION };
    static const struct zb_column columns[] = {
        [NODE] = {"node", "NODE", false},
        [ADDRESS] = {"address", "ADDRESS", false},
        [STATE] = {"state", "STATE", false},
        [VERSION] = {"version", "VERSION", false},
    };
    struct zb_table t;
    size_t i;
    json_t *node;
    char state[ZB_TEXT_SIZE];
    enum zb_rc rc = zb_table_init(&t, columns, COUNT(columns), show->columns, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "nodes"), i, node)
    {
        zb_table_row(&t);
        zb_table_cell(&t, NODE, zb_field_text(node, "name"));
        zb_table_cell(&t, ADDRESS, zb_field_text(node, "address"));
        snprintf(state, sizeof state, "%s%s",
                 zb_field_bool(node, "self") ? "self"
                 : zb_field_bool(node, "up") ? "up"
                                             : "down",
                 json_is_object(json_object_get(node, "drained")) ? ", drained" : "");
        zb_table_cell(&t, STATE, state);
        zb_table_cell(&t, VERSION, zb_field_text(node, "version"));
    }
    zb_table_print(&t, show->out, show->scripted);
    zb_table_close(&t);
    return ZB_OK;
}

enum zb_rc
zb_show_tokens(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    enum { ID, EXPIRES, USED };
    static const struct zb_column columns[] = {
        [ID] = {"id", "ID", false},
        [EXPIRES] = {"expires", "EXPIRES", false},
        [USED] = {"used", "USED BY", false},
    };
    struct zb_table t;
    size_t i;
    json_t *token;
    enum zb_rc rc = zb_table_init(&t, columns, COUNT(columns), show->columns, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "tokens"), i, token)
    {
        zb_table_row(&t);
        zb_table_cell(&t, ID, zb_field_text(token, "id"));
        zb_table_cell(&t, EXPIRES, zb_field_text(token, "expires"));
        zb_table_cell(&t, USED, zb_field_text(token, "used_by"));
    }
    zb_table_print(&t, show->out, show->scripted);
    zb_table_close(&t);
    return ZB_OK;
}

enum zb_rc
zb_show_sets(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    enum { SET, TIME, SNAPSHOT, STAYS };
    static const struct zb_column columns[] = {
        [SET] = {"set", "SET", true},
        [TIME] = {"time", "TIME", false},
        [SNAPSHOT] = {"snapshot", "SNAPSHOT", false},
        [STAYS] = {"stays", "STAYS", false},
    };
    struct zb_table t;
    size_t i, sets = 0, sets_go = 0, copies_go = 0;
    json_t *one;
    char buf[ZB_TEXT_SIZE];
    enum zb_rc rc = zb_table_init(&t, columns, COUNT(columns), show->columns, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "sets"), i, one)
    {
        const json_t *set = json_object_get(one, "set");
        bool gone = zb_field_bool(one, "goes");
        zb_table_row(&t);
        zb_table_cell(&t, SET, zb_field_set(one, "set", buf));
        zb_table_cell(&t, TIME, zb_format_cell_time(zb_field_text(set, "time"), show->exact, buf));
        zb_table_cell(&t, SNAPSHOT, zb_field_text(one, "snapshot"));
        zb_table_cell(&t, STAYS, gone ? "goes" : zb_field_text(one, "why"));
        sets += json_is_object(set);
        sets_go += json_is_object(set) && gone;
        copies_go += !json_is_object(set) && gone;
    }
    zb_table_print(&t, show->out, show->scripted);
    zb_table_close(&t);
    if (!show->scripted) {
        fprintf(show->out, "Dry run: %zu of %zu sets", sets_go, sets);
        if (i > sets) {
            fprintf(show->out, " and %zu of %zu copies of other snapshots", copies_go, i - sets);
        }
        fputs(" of ", show->out);
        zb_text_print(show->out, zb_field_text(data, "service"));
        fputs(" would go from ", show->out);
        zb_text_print(show->out, zb_field_text(data, "node"));
        fputs(".\n", show->out);
    }
    return ZB_OK;
}

static void
terms_print(const struct zb_show *show, const json_t *terms)
{
    enum { TERM, LEADER, SINCE, FORK, REASON, DOWN, OWN, WHO, LOST };
    static const struct zb_column columns[] = {
        [TERM] = {"term", "TERM", true},
        [LEADER] = {"leader", "LEADER", false},
        [SINCE] = {"since", "SINCE", false},
        [FORK] = {"fork", "FROM SET", true},
        [REASON] = {"reason", "REASON", false},
        [DOWN] = {"down", "DOWN", true},
        [OWN] = {"own", "OWN", true},
        [WHO] = {"who", "BY", false},
        [LOST] = {"lost", "LOST AT MOST", false},
    };
    struct zb_table t;
    size_t i;
    json_t *term;
    char buf[ZB_TEXT_SIZE];
    struct zb_err err;

    if (zb_table_init(&t, columns, COUNT(columns), NULL, &err) != ZB_OK) {
        return;
    }
    json_array_foreach(terms, i, term)
    {
        zb_table_row(&t);
        zb_table_cell(&t, TERM, zb_format_cell_number(zb_field_int(term, "term", 0), buf));
        zb_table_cell(&t, LEADER, zb_field_text(term, "leader"));
        zb_table_cell(&t, SINCE,
                      zb_format_cell_time(zb_field_text(term, "started"), show->exact, buf));
        zb_table_cell(&t, FORK, zb_field_set(term, "fork_set", buf));
        zb_table_cell(&t, REASON, zb_field_text(term, "reason"));
        zb_table_cell(&t, DOWN,
                      zb_format_cell_elapsed(zb_field_int(term, "down_ms", -1), show->exact, buf));
        zb_table_cell(&t, OWN,
                      zb_format_cell_elapsed(zb_field_int(term, "own_ms", -1), show->exact, buf));
        zb_table_cell(&t, WHO, zb_field_text(term, "who"));
        zb_table_cell(&t, LOST, zb_field_text(term, "lost"));
    }
    zb_table_print(&t, show->out, show->scripted);
    zb_table_close(&t);
}

static void
sets_print(const struct zb_show *show, const json_t *sets)
{
    enum { SET, TIME, GUID, DATASETS, LABEL };
    static const struct zb_column columns[] = {
        [SET] = {"set", "SET", true},        [TIME] = {"time", "TIME", false},
        [GUID] = {"guid", "GUID", false},    [DATASETS] = {"datasets", "DATASETS", true},
        [LABEL] = {"label", "LABEL", false},
    };
    struct zb_table t;
    size_t i;
    json_t *set;
    char buf[ZB_TEXT_SIZE];
    struct zb_err err;

    if (zb_table_init(&t, columns, COUNT(columns), NULL, &err) != ZB_OK) {
        return;
    }
    json_array_foreach(sets, i, set)
    {
        zb_table_row(&t);
        zb_table_cell(&t, SET, zb_field_set(set, "set", buf));
        zb_table_cell(&t, TIME, zb_format_cell_time(zb_field_text(set, "time"), show->exact, buf));
        zb_table_cell(&t, GUID, zb_field_text(set, "guid"));
        zb_table_cell(&t, DATASETS, zb_format_cell_number(zb_field_int(set, "datasets", 0), buf));
        zb_table_cell(&t, LABEL, zb_field_text(set, "label"));
    }
    zb_table_print(&t, show->out, show->scripted);
    zb_table_close(&t);
}

void
zb_show_history(const struct zb_show *show, const json_t *data)
{
    terms_print(show, zb_field_array(data, "terms"));
    fputc('\n', show->out);
    sets_print(show, zb_field_array(data, "sets"));
}

void
zb_show_event(const struct zb_show *show, const json_t *event)
{
    char buf[ZB_TEXT_SIZE];
    const char *fields[] = {zb_format_cell_time(zb_field_text(event, "time"), show->exact, buf),
                            zb_field_text(event, "node"),
                            zb_field_text(event, "service"),
                            zb_field_text(event, "level"),
                            zb_field_text(event, "rule"),
                            zb_field_text(event, "text")};

    for (size_t i = 0; i < COUNT(fields); i++) {
        const char *text = fields[i][0] == '\0' ? "-" : fields[i];
        zb_text_print(show->out, text);
        fputs(i + 1 == COUNT(fields) ? "\n" : show->scripted ? "\t" : "  ", show->out);
    }
    fflush(show->out);
}

static void
lines_print(const struct zb_show *show, const json_t *lines, const char *indent)
{
    size_t i;
    json_t *line;

    json_array_foreach(lines, i, line)
    {
        fputs(indent, show->out);
        zb_text_print(show->out, json_is_string(line) ? json_string_value(line) : "");
        fputc('\n', show->out);
    }
}

void
zb_show_apply(const struct zb_show *show, const json_t *data)
{
    const json_t *plan = zb_field_array(data, "plan");

    lines_print(show, zb_field_array(data, "diff"), "");
    if (json_array_size(plan) > 0) {
        fputs("This also changes:\n", show->out);
        lines_print(show, plan, "  ");
    }
}

void
zb_show_rekey(const struct zb_show *show, const json_t *data)
{
    char set[ZB_TEXT_SIZE], elapsed[ZB_TEXT_SIZE];
    size_t i;
    json_t *member;

    zb_text_print(show->out, zb_field_text(data, "service"));
    if (zb_field_bool(data, "changed")) {
        fprintf(show->out, " has another key, and set %s carries it (%s)\n",
                zb_field_set(data, "set", set),
                zb_format_elapsed(zb_field_int(data, "elapsed_ms", 0), elapsed));
    } else {
        fputs(" has that key already: nothing was changed\n", show->out);
    }
    json_array_foreach(zb_field_array(data, "members"), i, member)
    {
        bool good = strcmp(zb_field_text(member, "key"), "good") == 0;
        fputs("  ", show->out);
        zb_text_print(show->out, zb_field_text(member, "node"));
        fputs(": ", show->out);
        zb_text_print(show->out, good ? "has the key" : zb_field_text(member, "text"));
        fputc('\n', show->out);
    }
    if (zb_field_bool(data, "degraded")) {
        fputs("warning: who has not the key cannot lead; asked again, this command tells who has "
              "it\n",
              show->out);
    }
}
