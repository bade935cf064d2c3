/*
 * revert: what is left behind is said first and has to be agreed to.
 */
#include <inttypes.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/table.h"

struct revert {
    struct zb_cli *cli;
    bool begun;
    json_t *steps; /* for -j */
    struct zb_show_progress progress;
};

static bool
on_progress(void *ctx, const json_t *progress)
{
    struct revert *v = ctx;

    v->begun = true;
    if (!zb_cli_has(v->cli, ZB_OPT_JSON)) {
        zb_show_steps_progress(&v->progress, progress);
        return true;
    }
    json_t *step = json_copy((json_t *)(uintptr_t)progress);
    json_object_del(step, "type");
    json_array_append_new(v->steps, step);
    return true;
}

static enum zb_rc
call_run(struct revert *v, bool dry_run, json_t **data, struct zb_err *err)
{
    struct zb_client_call call = {.cmd = "revert",
                                  .args =
                                      json_pack("{s:s, s:s, s:b}", "service", v->cli->operands[0],
                                                "set", v->cli->operands[1], "dry_run", dry_run),
                                  .on_progress = on_progress,
                                  .ctx = v};
    enum zb_rc rc = zb_cli_call(v->cli, &call, data, err);

    zb_show_steps_end(&v->progress);
    return rc;
}

static void
statement_show(const json_t *data)
{
    char set[48];

    zb_text_print(stdout, zb_field_text(data, "service"));
    fputs(" on ", stdout);
    zb_text_print(stdout, zb_field_text(data, "leader"));
    printf(" is stopped and goes back to set %s, and so does every member.\nIt leaves behind: ",
           zb_field_set(data, "set", set));
    zb_text_print(stdout, zb_field_text(data, "left"));
    puts(".");
    fflush(stdout);
}

static bool
consent(const struct zb_cli *cli, struct zb_err *err)
{
    if (zb_cli_has(cli, ZB_OPT_YES) ||
        (!zb_cli_has(cli, ZB_OPT_JSON) && zb_cli_confirm("Go back?"))) {
        return true;
    }
    zb_err_set(err, ZB_E_REFUSED, "not agreed to; nothing was changed");
    zb_err_hint(err, "zbaton revert -n %s %s shows what would be done, -y does it",
                cli->operands[0], cli->operands[1]);
    return false;
}

static int
result_show(const struct revert *v, json_t *data)
{
    struct zb_cli *cli = v->cli;
    char set[48];

    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        if (json_object_get(data, "steps") == NULL) {
            json_object_set(data, "steps", v->steps);
        }
        zb_cli_json(cli, data);
    } else if (zb_cli_has(cli, ZB_OPT_DRY_RUN)) {
        zb_show_steps_plan(&cli->show, data);
    } else if (zb_field_bool(data, "background")) {
        printf("%s goes back to set %s: ", cli->operands[0], zb_field_set(data, "set", set));
        zb_text_print(stdout, zb_field_text(data, "text"));
        putchar('\n');
    } else {
        printf("%s is at set %s again, in term %" PRId64 ". Left behind: ", cli->operands[0],
               zb_field_set(data, "set", set), zb_field_int(data, "term", 0));
        zb_text_print(stdout, zb_field_text(data, "left"));
        puts(" (zbaton rescue list).");
        if (zb_field_bool(data, "degraded")) {
            fputs("warning: ", stdout);
            zb_text_print(stdout, zb_field_text(data, "text"));
            putchar('\n');
        }
    }
    if (zb_field_bool(data, "background")) {
        return ZB_EXIT_BACKGROUND;
    }
    return zb_field_bool(data, "degraded") ? ZB_EXIT_DEGRADED : 0;
}

/* What it would do; then, agreed to, the same for good. */
int
zb_run_revert(struct zb_cli *cli)
{
    struct revert v = {.cli = cli, .progress = {.show = &cli->show}, .steps = json_array()};
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = call_run(&v, true, &data, &err);

    if (rc == ZB_OK && !zb_cli_has(cli, ZB_OPT_JSON)) {
        statement_show(data);
    }
    if (rc == ZB_OK && !zb_cli_has(cli, ZB_OPT_DRY_RUN)) {
        json_decref(data);
        data = NULL;
        rc = consent(cli, &err) ? call_run(&v, false, &data, &err) : err.rc;
    }
    if (rc == ZB_E_CLOSED && v.begun) {
        zb_err_hint(&err, "it may go on: zbaton status %s", cli->operands[0]);
    }
    int code = rc == ZB_OK ? result_show(&v, data) : zb_cli_fail(cli, &err);
    json_decref(data);
    json_decref(v.steps);
    return code;
}
