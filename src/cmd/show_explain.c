#include <inttypes.h>

#include "cmd/field.h"
#include "cmd/show.h"
#include "cmd/table.h"

/* What is in the way stands after '!', the command that helps below it. */
static void
line_print(const struct zb_show *show, const json_t *line)
{
    bool ok = zb_field_bool(line, "ok");
    const char *help = zb_field_text(line, "help");

    fprintf(show->out, "  %c ", ok ? ' ' : '!');
    zb_text_print(show->out, zb_field_text(line, "about"));
    fputs(": ", show->out);
    zb_text_print(show->out, zb_field_text(line, "cause"));
    if (!ok) {
        fputs(" (", show->out);
        zb_text_print(show->out, zb_field_text(line, "rule"));
        fputs(")", show->out);
    }
    fputc('\n', show->out);
    if (help[0] != '\0') {
        fputs("      help: ", show->out);
        zb_text_print(show->out, help);
        fputc('\n', show->out);
    }
}

static void
member_print(const struct zb_show *show, const json_t *member)
{
    size_t i;
    json_t *line;

    zb_text_print(show->out, zb_field_text(member, "node"));
    if (zb_field_bool(member, "reachable")) {
        fputs(" (", show->out);
        zb_text_print(show->out, zb_field_text(member, "role"));
        fputs(")", show->out);
    }
    fputc('\n', show->out);
    json_array_foreach(zb_field_array(member, "lines"), i, line)
    {
        line_print(show, line);
    }
}

void
zb_show_explain(const struct zb_show *show, const json_t *data)
{
    const char *leader = zb_field_text(data, "leader");
    size_t i;
    json_t *member;

    zb_text_print(show->out, zb_field_text(data, "service"));
    if (leader[0] != '\0') {
        fputs(" is led by ", show->out);
        zb_text_print(show->out, leader);
        fprintf(show->out, " in term %" PRId64 "\n", zb_field_int(data, "term", 0));
    } else {
        fputs(" is led by nobody\n", show->out);
    }
    json_array_foreach(zb_field_array(data, "members"), i, member)
    {
        member_print(show, member);
    }
}
