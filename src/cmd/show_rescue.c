#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/show.h"
#include "cmd/table.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* The snapshot that the service's own dataset came away from. */
static const char *
fork_of(const json_t *rescue)
{
    size_t i;
    json_t *dataset;

    json_array_foreach(zb_field_array(rescue, "datasets"), i, dataset)
    {
        if (zb_field_text(dataset, "rel")[0] == '\0') {
            return zb_field_text(dataset, "fork");
        }
    }
    return "";
}

enum zb_rc
zb_show_rescues(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    enum { NAME, SERVICE, TERM, CREATED, BYTES, FORK, MOUNTED };
    static const struct zb_column columns[] = {
        [NAME] = {"name", "NAME", false},          [SERVICE] = {"service", "SERVICE", false},
        [TERM] = {"term", "TERM", true},           [CREATED] = {"created", "CREATED", false},
        [BYTES] = {"bytes", "BYTES", true},        [FORK] = {"fork", "CAME AFTER", false},
        [MOUNTED] = {"mounted", "MOUNTED", false},
    };
    struct zb_table t;
    char buf[ZB_TEXT_SIZE];
    size_t i;
    json_t *rescue;
    enum zb_rc rc = zb_table_init(&t, columns, COUNT(columns), show->columns, err);

    if (rc != ZB_OK) {
        return rc;
    }
    json_array_foreach(zb_field_array(data, "rescues"), i, rescue)
    {
        zb_table_row(&t);
        zb_table_cell(&t, NAME, zb_field_text(rescue, "name"));
        zb_table_cell(&t, SERVICE, zb_field_text(rescue, "service"));
        zb_table_cell(&t, TERM, zb_format_cell_number(zb_field_int(rescue, "term", 0), buf));
        zb_table_cell(&t, CREATED,
                      zb_format_cell_time(zb_field_text(rescue, "created"), show->exact, buf));
        zb_table_cell(&t, BYTES,
                      zb_format_cell_bytes(zb_field_int(rescue, "bytes", -1), show->exact, buf));
        zb_table_cell(&t, FORK, fork_of(rescue));
        zb_table_cell(&t, MOUNTED, zb_field_text(rescue, "mounted"));
    }
    if (t.rows_count > 0 || show->scripted) {
        zb_table_print(&t, show->out, show->scripted);
    } else {
        fputs("no rescues on ", show->out);
        zb_text_print(show->out, zb_field_text(data, "node"));
        fputc('\n', show->out);
    }
    zb_table_close(&t);
    return ZB_OK;
}

/* snaps, written: of each dataset; where it has no fork, all of it. */
static void
datasets_print(const struct zb_show *show, const json_t *datasets)
{
    enum { DATASET, FORK, SNAPS, WRITTEN };
    static const struct zb_column columns[] = {
        [DATASET] = {"dataset", "DATASET", false},
        [FORK] = {"fork", "CAME AFTER", false},
        [SNAPS] = {"snapshots", "SNAPSHOTS", true},
        [WRITTEN] = {"written", "WRITTEN SINCE", true},
    };
    struct zb_table t;
    char buf[ZB_TEXT_SIZE];
    size_t i;
    json_t *dataset;
    struct zb_err err;

    if (zb_table_init(&t, columns, COUNT(columns), NULL, &err) != ZB_OK) {
        return;
    }
    json_array_foreach(datasets, i, dataset)
    {
        const char *rel = zb_field_text(dataset, "rel");
        zb_table_row(&t);
        zb_table_cell(&t, DATASET, rel[0] == '\0' ? "(top)" : rel);
        zb_table_cell(&t, FORK, zb_field_text(dataset, "fork"));
        zb_table_cell(&t, SNAPS, zb_format_cell_number(zb_field_int(dataset, "snaps", 0), buf));
        zb_table_cell(&t, WRITTEN,
                      zb_format_cell_bytes(zb_field_int(dataset, "written", -1), show->exact, buf));
    }
    zb_table_print(&t, show->out, show->scripted);
    zb_table_close(&t);
}

void
zb_show_rescue(const struct zb_show *show, const json_t *data)
{
    const json_t *rescue = json_object_get(data, "rescue");
    const char *mounted = zb_field_text(rescue, "mounted");
    const char *time = zb_field_text(rescue, "created");
    char bytes[ZB_TEXT_SIZE];
    int64_t held = zb_field_int(rescue, "bytes", 0);

    zb_text_print(show->out, zb_field_text(rescue, "name"));
    fputs(" on ", show->out);
    zb_text_print(show->out, zb_field_text(data, "node"));
    fputs(": of ", show->out);
    zb_text_print(show->out, zb_field_text(rescue, "service"));
    fputs(", set aside ", show->out);
    zb_text_print(show->out, time);
    fprintf(show->out, ", %s that only it holds\n",
            zb_format_bytes(held > 0 ? (uint64_t)held : 0, bytes));
    if (zb_field_bool(rescue, "whole")) {
        fputs("a whole tree: it had no snapshot in common with its leader\n", show->out);
    }
    if (mounted[0] != '\0') {
        fputs("mounted at ", show->out);
        zb_text_print(show->out, mounted);
        fputc('\n', show->out);
    }
    datasets_print(show, zb_field_array(rescue, "datasets"));
}

void
zb_show_rejoin_plan(const struct zb_show *show, const char *service, const json_t *data)
{
    zb_text_print(show->out, zb_field_text(data, "node"));
    if (!zb_field_bool(data, "diverged")) {
        fputs(" holds nothing beside the history of ", show->out);
        zb_text_print(show->out, service);
        fputc('\n', show->out);
        return;
    }
    fputs(zb_field_bool(data, "whole") ? " has no snapshot in common with the leader of "
                                       : " holds what came after these snapshots of ",
          show->out);
    zb_text_print(show->out, service);
    fputs(":\n", show->out);
    datasets_print(show, zb_field_array(data, "datasets"));
}

void
zb_show_rejoin_result(const struct zb_show *show, const char *service, const json_t *data)
{
    const char *rescue = zb_field_text(data, "rescue");
    int64_t held = zb_field_int(data, "bytes", 0);
    char bytes[ZB_TEXT_SIZE];

    zb_text_print(show->out, service);
    fputs(" on ", show->out);
    zb_text_print(show->out, zb_field_text(data, "node"));
    fputs(": ", show->out);
    if (zb_field_bool(data, "background")) {
        fputs("goes on in the background: ", show->out);
        zb_text_print(show->out, zb_field_text(data, "text"));
    } else if (rescue[0] == '\0') {
        fputs("nothing to set aside", show->out);
    } else {
        zb_format_bytes(held > 0 ? (uint64_t)held : 0, bytes);
        fprintf(show->out,
                zb_field_bool(data, "dropped") ? "%s destroyed, as was said: " : "%s set aside: ",
                bytes);
        zb_text_print(show->out, rescue);
    }
    fputc('\n', show->out);
}
