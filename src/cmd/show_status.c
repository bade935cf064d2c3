#include <inttypes.h>

#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

enum { SERVICE, NODE, ROLE, STATE, TERM, SET, NEWEST, BEHIND, RPO, LOSS, NOTE };

static const struct zb_column columns[] = {
    [SERVICE] = {"service", "SERVICE", false},
    [NODE] = {"node", "NODE", false},
    [ROLE] = {"role", "ROLE", false},
    [STATE] = {"state", "STATE", false},
    [TERM] = {"term", "TERM", true},
    [SET] = {"set", "SET", true},
    [NEWEST] = {"newest", "NEWEST SET", false},
    [BEHIND] = {"behind", "BEHIND", true},
    [RPO] = {"rpo", "RPO", true},
    [LOSS] = {"loss", "LOSS", true},
    [NOTE] = {"note", "NOTE", false},
};
static const char default_columns[] = "service,node,role,state,term,newest,behind,rpo,note";
static const char promised_columns[] =
    "service,node,role,state,term,newest,behind,rpo,loss,note"; /* where something is promised */

static void
times_fill(struct zb_table *t, const struct zb_show *show, const json_t *member, const char *now)
{
    const json_t *set = json_object_get(member, "newest_set");
    char buf[ZB_TEXT_SIZE];

    zb_table_cell(t, SET, zb_field_set(member, "newest_set", buf));
    if (json_is_object(set)) {
        const char *time = zb_field_text(set, "time");
        zb_table_cell(t, NEWEST, show->exact ? time : zb_format_time(time, now, buf));
    }
    zb_table_cell(t, BEHIND,
                  zb_format_cell_bytes(zb_field_int(member, "behind_bytes", -1), show->exact, buf));
    zb_table_cell(t, RPO, zb_format_cell_age(zb_field_int(member, "rpo_s", -1), show->exact, buf));
}

/* "drill ok 3h ago" after what the note says; of a leader it is of no interest. */
static const char *
drill_add(const struct zb_show *show, const json_t *member, const char *note, char *text,
          size_t size)
{
    const json_t *drill = json_object_get(member, "drill");
    char age[ZB_TEXT_SIZE];

    if (!json_is_object(drill) || strcmp(zb_field_text(member, "role"), "leader") == 0) {
        return note;
    }
    (void)snprintf(text, size, "%s%sdrill %s %s ago", note, note[0] != '\0' ? "; " : "",
                   zb_field_bool(drill, "ok") ? "ok" : "failed",
                   zb_format_cell_age(zb_field_int(drill, "age_s", 0), show->exact, age));
    return text;
}

/* What would be lost against what is promised, with the leader: "12s/1m"; exact: seconds. */
static void
loss_fill(struct zb_table *t, const struct zb_show *show, const json_t *service,
          const json_t *member)
{
    const json_t *promise = json_object_get(service, "promise");
    char loss[ZB_TEXT_SIZE], max[ZB_TEXT_SIZE], both[2 * ZB_TEXT_SIZE];

    if (!json_is_object(promise) || strcmp(zb_field_text(member, "role"), "leader") != 0) {
        return;
    }
    snprintf(both, sizeof both, "%s/%s",
             json_is_null(json_object_get(promise, "loss_s"))
                 ? "all"
                 : zb_format_cell_age(zb_field_int(promise, "loss_s", 0), show->exact, loss),
             zb_format_cell_age(zb_field_int(promise, "max_loss_s", -1), show->exact, max));
    zb_table_cell(t, LOSS, both);
}

static bool
is_promised(const json_t *data)
{
    size_t i;
    json_t *service;

    json_array_foreach(zb_field_array(data, "services"), i, service)
    {
        if (json_is_object(json_object_get(service, "promise"))) {
            return true;
        }
    }
    return false;
}

static void
note_fill(struct zb_table *t, const struct zb_show *show, const json_t *member, const char *now)
{
    char drilled[400];
    const json_t *rescues = json_object_get(member, "rescues");
    const char *note =
        drill_add(show, member, zb_field_text(member, "note"), drilled, sizeof drilled);
    const char *created = zb_field_text(rescues, "created");
    const char *fork = zb_field_text(rescues, "fork");
    int64_t count = zb_field_int(rescues, "count", 0);
    char bytes[ZB_TEXT_SIZE], time[ZB_TEXT_SIZE];
    char text[1024];

    if (count == 0) {
        zb_table_cell(t, NOTE, note);
        return;
    }
    snprintf(text, sizeof text, "%s%s%" PRId64 " rescue%s, %s, %s%s%s%s", note,
             note[0] != '\0' ? "; " : "", count, count > 1 ? "s" : "",
             zb_format_bytes((uint64_t)zb_field_int(rescues, "bytes", 0), bytes),
             count > 1 ? "the newest of " : "of ",
             show->exact ? created : zb_format_time(created, now, time),
             fork[0] != '\0' ? ", after set " : "", fork);
    zb_table_cell(t, NOTE, text);
}

static void
member_fill(struct zb_table *t, const struct zb_show *show, const json_t *service,
            const json_t *member, const char *now)
{
    char buf[ZB_TEXT_SIZE];
    int64_t term = zb_field_int(member, "term", 0);

    zb_table_row(t);
    zb_table_cell(t, SERVICE, zb_field_text(service, "name"));
    zb_table_cell(t, NODE, zb_field_text(member, "node"));
    zb_table_cell(t, ROLE, zb_field_text(member, "role"));
    zb_table_cell(t, STATE, zb_field_text(member, "state"));
    if (term > 0) {
        snprintf(buf, sizeof buf, "%" PRId64, term);
        zb_table_cell(t, TERM, buf);
    }
    times_fill(t, show, member, now);
    loss_fill(t, show, service, member);
    note_fill(t, show, member, now);
}

static void
header_print(const struct zb_show *show, const json_t *data)
{
    const json_t *cluster = json_object_get(data, "cluster");
    const char *time = zb_field_text(data, "time");
    char buf[ZB_TEXT_SIZE];

    fputs("cluster ", show->out);
    zb_text_print(show->out, zb_field_text(cluster, "name"));
    fprintf(show->out, "   %" PRId64 "/%" PRId64 " nodes   authority ",
            zb_field_int(cluster, "nodes_up", 0), zb_field_int(cluster, "nodes", 0));
    zb_text_print(show->out, zb_field_text(data, "authority"));
    snprintf(buf, sizeof buf, "   %.10s %.8s", time, strlen(time) == 20 ? time + 11 : "");
    zb_text_print(show->out, buf);
    fputc('\n', show->out);
}

static void
warnings_print(const struct zb_show *show, const json_t *data)
{
    size_t i;
    json_t *warning;

    json_array_foreach(zb_field_array(data, "warnings"), i, warning)
    {
        fputs("warning: ", show->out);
        zb_text_print(show->out, json_is_string(warning) ? json_string_value(warning) : "");
        fputc('\n', show->out);
    }
}

bool
zb_status_reduce(json_t *data)
{
    json_t *services = json_object_get(data, "services");

    for (size_t i = json_array_size(services); i-- > 0;) {
        json_t *members = json_object_get(json_array_get(services, i), "members");
        for (size_t j = json_array_size(members); j-- > 0;) {
            if (zb_field_bool(json_array_get(members, j), "healthy")) {
                json_array_remove(members, j);
            }
        }
        if (json_array_size(members) == 0) {
            json_array_remove(services, i);
        }
    }
    return json_array_size(services) > 0 || json_array_size(zb_field_array(data, "warnings")) > 0;
}

enum zb_rc
zb_show_status(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    struct zb_table table;
    size_t i, j;
    json_t *service, *member;
    const char *now = zb_field_text(data, "time");
    const char *wanted = show->columns != NULL ? show->columns
                         : is_promised(data)   ? promised_columns
                                               : default_columns;
    enum zb_rc rc = zb_table_init(&table, columns, sizeof columns / sizeof columns[0], wanted, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "services"), i, service)
    {
        json_array_foreach(zb_field_array(service, "members"), j, member)
        {
            member_fill(&table, show, service, member, now);
        }
    }
    if (!show->scripted) {
        header_print(show, data);
    }
    if (table.rows_count > 0 || show->scripted) {
        zb_table_print(&table, show->out, show->scripted);
    } else if (!show->unhealthy) {
        fputs("no services declared (zbaton apply FILE)\n", show->out);
    }
    if (!show->scripted) {
        warnings_print(show, data);
    }
    zb_table_close(&table);
    return ZB_OK;
}
