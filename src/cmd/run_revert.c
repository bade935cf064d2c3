/*
 * revert: what is left behind is said first and has to be agreed to.
 */
#include <inttypes.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/table.h"

static bool
on_progress(void *ctx, const json_t *progress)
{
    zb_cli_steps_add(ctx, progress);
    return true;
}

static enum zb_rc
call_run(struct zb_cli_steps *s, bool dry_run, json_t **data, struct zb_err *err)
{
    struct zb_client_call call = {.cmd = "revert",
                                  .args =
                                      json_pack("{s:s, s:s, s:b}", "service", s->cli->operands[0],
                                                "set", s->cli->operands[1], "dry_run", dry_run),
                                  .on_progress = on_progress,
                                  .ctx = s};
    enum zb_rc rc = zb_cli_call(s->cli, &call, data, err);

    zb_show_steps_end(&s->progress);
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
result_show(const struct zb_cli_steps *s, json_t *data)
{
    const struct zb_cli *cli = s->cli;
    char set[48];

    if (zb_cli_steps_print(s, data)) {
        return zb_cli_steps_exit(data);
    }
    if (zb_field_bool(data, "background")) {
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
    return zb_cli_steps_exit(data);
}

/* What it would do; then, agreed to, the same for good. */
int
zb_run_revert(struct zb_cli *cli)
{
    struct zb_cli_steps s;
    json_t *data = NULL;
    struct zb_err err;

    zb_cli_steps_init(&s, cli);
    enum zb_rc rc = call_run(&s, true, &data, &err);

    if (rc == ZB_OK && !zb_cli_has(cli, ZB_OPT_JSON)) {
        statement_show(data);
    }
    if (rc == ZB_OK && !zb_cli_has(cli, ZB_OPT_DRY_RUN)) {
        json_decref(data);
        data = NULL;
        rc = consent(cli, &err) ? call_run(&s, false, &data, &err) : err.rc;
    }
    if (rc == ZB_E_CLOSED && s.begun) {
        zb_err_hint(&err, "it may go on: zbaton status %s", cli->operands[0]);
    }
    int code = rc == ZB_OK ? result_show(&s, data) : zb_cli_fail(cli, &err);
    json_decref(data);
    zb_cli_steps_close(&s);
    return code;
}
