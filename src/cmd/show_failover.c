#include <inttypes.h>

#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

enum { NODE, REACHABLE, SET, TIME, AGE, BEHIND, NOTE };

static const struct zb_column columns[] = {
    [NODE] = {"node", "NODE", false}, [REACHABLE] = {"reachable", "REACHABLE", false},
    [SET] = {"set", "SET", true},     [TIME] = {"time", "TIME", false},
    [AGE] = {"age", "AGE", true},     [BEHIND] = {"behind", "SETS BEHIND", true},
    [NOTE] = {"note", "NOTE", false},
};

static const char *
note_text(const struct zb_show *show, const json_t *m, char *buf, size_t size)
{
    char bytes[ZB_TEXT_SIZE];
    int64_t written = zb_field_int(m, "written_bytes", -1);
    const char *note = "";

    if (zb_field_bool(m, "leads")) {
        note = "leads now";
    } else if (zb_field_bool(m, "diverged")) {
        note = "holds writes beside the history: they are set aside";
    } else if (zb_field_bool(m, "may_be_ahead")) {
        note = zb_field_bool(m, "may_have_written") ? "may have written since, and may still write"
                                                    : "may hold more than is known";
    } else if (!zb_field_bool(m, "votes")) {
        note = "backup: does not lead";
    }
    if (written <= 0) {
        return note;
    }
    (void)snprintf(buf, size, "%s%s%s written since", note, note[0] != '\0' ? "; " : "",
                   zb_format_cell_bytes(written, show->exact, bytes));
    return buf;
}

static void
member_fill(struct zb_table *t, const struct zb_show *show, const json_t *m)
{
    char buf[ZB_TEXT_SIZE], note[256];
    const char *time = zb_field_text(json_object_get(m, "newest_set"), "time");

    zb_table_row(t);
    zb_table_cell(t, NODE, zb_field_text(m, "node"));
    zb_table_cell(t, REACHABLE, zb_field_bool(m, "reachable") ? "yes" : "no");
    zb_table_cell(t, SET, zb_field_set(m, "newest_set", buf));
    zb_table_cell(t, TIME, zb_format_cell_time(time, show->exact, buf));
    zb_table_cell(t, AGE, zb_format_cell_age(zb_field_int(m, "age_s", -1), show->exact, buf));
    zb_table_cell(t, BEHIND, zb_format_cell_number(zb_field_int(m, "behind_sets", -1), buf));
    zb_table_cell(t, NOTE, note_text(show, m, note, sizeof note));
}

static void
text_line(FILE *out, const char *before, const char *text, const char *after)
{
    fputs(before, out);
    zb_text_print(out, text);
    fputs(after, out);
}

static void
lost_print(FILE *out, const char *lost)
{
    if (strcmp(lost, "nothing") == 0) {
        fputs("Nothing is lost.\n", out);
    } else {
        text_line(out, "Lost at most: ", lost, ".\n");
    }
}

/* "Unless vm1 answers, vm2 runs: /etc/zbaton/fence vm1" */
static void
fence_print(FILE *out, const json_t *fence)
{
    const json_t *nodes = zb_field_array(fence, "nodes");
    char time[ZB_TEXT_SIZE];
    size_t count = json_array_size(nodes);

    for (size_t i = 0; i < count || i == 0; i++) {
        const char *node = json_string_value(json_array_get(nodes, i));
        text_line(out, "Unless ", node != NULL ? node : "whoever may still be writing",
                  " answers, ");
        text_line(out, "", zb_field_text(fence, "on"), " runs: ");
        text_line(out, "", zb_field_text(fence, "command"), " ");
        text_line(out, "", node != NULL ? node : "NODE", "");
        fprintf(out, "   (at most %s; exit 0 proves it off)\n",
                zb_format_age(zb_field_int(fence, "timeout_ms", 0) / 1000, time));
    }
}

void
zb_show_loss(const struct zb_show *show, const json_t *statement)
{
    FILE *out = show->out;
    struct zb_table t;
    size_t i;
    json_t *member;
    char set[48];
    struct zb_err err;
    const char *forward = zb_field_text(statement, "forward_from");

    if (zb_table_init(&t, columns, sizeof columns / sizeof columns[0], NULL, &err) != ZB_OK) {
        return;
    }
    json_array_foreach(zb_field_array(statement, "members"), i, member)
    {
        member_fill(&t, show, member);
    }
    text_line(out, "", zb_field_text(statement, "service"), " is to go to ");
    zb_text_print(out, zb_field_text(statement, "to"));
    fprintf(out, "%s, after term %" PRId64 ":\n",
            zb_field_bool(statement, "chosen") ? ", the reachable member that holds the newest set"
                                               : "",
            zb_field_int(statement, "term", 0));
    zb_table_print(&t, out, false);
    zb_table_close(&t);
    if (zb_field_set(statement, "from_set", set)[0] != '\0') {
        text_line(out, "It goes on from set ", set, "");
        if (forward[0] != '\0') {
            text_line(out, ", which comes from ", forward, " first");
        }
        fputs(".\n", out);
    }
    lost_print(out, zb_field_text(statement, "lost"));
    if (json_is_object(json_object_get(statement, "fence"))) {
        fence_print(out, json_object_get(statement, "fence"));
    }
}

void
zb_show_failover_result(const struct zb_show *show, const char *service, const json_t *data)
{
    FILE *out = show->out;
    char set[48];
    const char *text = zb_field_text(data, "text");

    if (zb_field_bool(data, "background")) {
        text_line(out, "", zb_field_text(data, "to"), " has taken ");
        text_line(out, service, ": ", "");
        text_line(out, "", text, "\n");
        return;
    }
    text_line(out, service, " runs on ", "");
    zb_text_print(out, zb_field_text(data, "to"));
    fprintf(out, " in term %" PRId64, zb_field_int(data, "term", 0));
    if (zb_field_set(data, "from_set", set)[0] != '\0') {
        text_line(out, ", from set ", set, "");
    }
    fputs(". ", out);
    lost_print(out, zb_field_text(data, "lost"));
    if (zb_field_bool(data, "degraded")) {
        text_line(out, "warning: ", text, "\n");
    }
}
