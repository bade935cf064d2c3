/*
 * failover: what it loses is shown first and has to be agreed to; who may still be writing has to
 * be said to be off, by its name.
 */
#include <inttypes.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/memory.h"
#include "cmd/table.h"

struct failover {
    struct zb_cli *cli;
    bool dry_run; /* of the call under way */
    bool interactive;
    int64_t as_of_term; /* 0: any */
    json_t *statement;  /* NULL before it came */
    struct zb_cli_steps steps;
};

/* --- fencing --- */

/* The answer without its newline; false at the end of the input. */
static bool
line_read(char *buf, size_t size)
{
    if (fgets(buf, (int)size, stdin) == NULL) {
        return false;
    }
    buf[strcspn(buf, "\n")] = '\0';
    return true;
}

static void
fenced_send(const struct failover *f, const json_t *need)
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "fenced",
                                  .args = json_pack("{s:s, s:s, s:I, s:s}", "service",
                                                    f->cli->operands[0], "node",
                                                    zb_field_text(need, "node"), "term",
                                                    (json_int_t)zb_field_int(need, "term", 0), "to",
                                                    zb_field_text(need, "to"))};

    if (zb_cli_call(f->cli, &call, &data, &err) != ZB_OK) {
        (void)zb_cli_fail(f->cli, &err);
    }
    json_decref(data);
}

/* Asked until the name is typed; an empty answer waits for the node instead. */
static void
fenced_ask(const struct failover *f, const json_t *need)
{
    const char *node = zb_field_text(need, "node");
    char answer[128];

    for (;;) {
        zb_text_print(stdout, node);
        fputs(" may still be writing and does not answer. Power it off, and keep it off until this "
              "command has ended.\nIs ",
              stdout);
        zb_text_print(stdout, node);
        fputs(" off? Type its name to say so (nothing: wait for it): ", stdout);
        fflush(stdout);
        if (!line_read(answer, sizeof answer) || answer[0] == '\0') {
            puts("Waiting for it to answer; nothing is taken before.");
            return;
        }
        if (strcmp(answer, node) == 0) {
            fenced_send(f, need);
            return;
        }
    }
}

/* --- progress --- */

static bool
on_progress(void *ctx, const json_t *progress)
{
    struct failover *f = ctx;
    json_t *statement = json_object_get(progress, "statement");

    if (json_is_object(statement)) {
        if (f->statement == NULL) {
            f->statement = json_incref(statement);
        }
    } else if (strcmp(zb_field_text(progress, "need"), "fenced") == 0) {
        if (f->interactive) {
            zb_show_steps_end(&f->steps.progress);
            fenced_ask(f, progress);
        }
    } else if (!f->dry_run) {
        zb_cli_steps_add(&f->steps, progress);
    }
    return true;
}

/* --- the calls --- */

/* "vm1,vm3" as a list. */
static json_t *
names_json(const char *names)
{
    json_t *list = json_array();

    while (names != NULL && *names != '\0') {
        size_t length = strcspn(names, ",");
        if (length > 0) {
            json_array_append_new(list, json_stringn(names, length));
        }
        names += length + (names[length] == ',');
    }
    return list;
}

static enum zb_rc
call_run(struct failover *f, json_t **data, struct zb_err *err)
{
    struct zb_cli *cli = f->cli;
    const char *to = cli->values[ZB_OPT_TO];
    json_t *args =
        json_pack("{s:s, s:b, s:b, s:b, s:b, s:o}", "service", cli->operands[0], "dry_run",
                  f->dry_run, "allow_loss", zb_cli_has(cli, ZB_OPT_ALLOW_LOSS), "interactive",
                  f->interactive, "no_fence_command", zb_cli_has(cli, ZB_OPT_NO_FENCE), "fenced",
                  names_json(cli->values[ZB_OPT_FENCED]));

    if (f->statement != NULL) { /* what was looked at is what is done */
        to = zb_field_text(f->statement, "to");
        json_object_set_new(args, "as_of_term",
                            json_integer(zb_field_int(f->statement, "term", 0)));
    } else if (f->as_of_term > 0) {
        json_object_set_new(args, "as_of_term", json_integer(f->as_of_term));
    }
    if (to != NULL) {
        json_object_set_new(args, "to", json_string(to));
    }
    struct zb_client_call call = {
        .cmd = "failover", .args = args, .on_progress = on_progress, .ctx = f};
    enum zb_rc rc = zb_cli_call(cli, &call, data, err);
    zb_show_steps_end(&f->steps.progress);
    return rc;
}

static void
statement_show(const struct failover *f)
{
    const char *fenced = f->cli->values[ZB_OPT_FENCED];

    if (f->statement == NULL || zb_cli_has(f->cli, ZB_OPT_JSON)) {
        return;
    }
    zb_show_loss(&f->cli->show, f->statement);
    if (fenced != NULL) {
        fputs("You say that ", stdout);
        zb_text_print(stdout, fenced);
        puts(" is off, and stays off until this command has ended.");
    }
    fflush(stdout);
}

/* Agreed to with -y, or on the terminal. */
static bool
consent(const struct failover *f, struct zb_err *err)
{
    struct zb_cli *cli = f->cli;
    char question[256];

    (void)snprintf(question, sizeof question, "Take %s over to %s?", cli->operands[0],
                   zb_field_text(f->statement, "to"));
    if (zb_cli_has(cli, ZB_OPT_YES) ||
        (!zb_cli_has(cli, ZB_OPT_JSON) && zb_cli_confirm(question))) {
        return true;
    }
    zb_err_set(err, ZB_E_REFUSED, "not agreed to; nothing was changed");
    zb_err_hint(err, "zbaton failover -n %s shows what is lost, zbaton failover -y %s does it",
                cli->operands[0], cli->operands[0]);
    return false;
}

static int
result_show(struct failover *f, json_t *data)
{
    struct zb_cli *cli = f->cli;

    if (f->statement != NULL) {
        json_object_set(data, "statement", f->statement);
    }
    if (!zb_cli_steps_print(&f->steps, data)) {
        zb_show_failover_result(&cli->show, cli->operands[0], data);
    }
    return zb_cli_steps_exit(data);
}

/* What it would do and lose; then, agreed to, the same for good. */
static int
failover_run(struct failover *f)
{
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc;

    f->dry_run = true;
    rc = call_run(f, &data, &err);
    statement_show(f);
    if (rc == ZB_OK && !zb_cli_has(f->cli, ZB_OPT_DRY_RUN)) {
        json_decref(data);
        data = NULL;
        f->dry_run = false;
        rc = consent(f, &err) ? call_run(f, &data, &err) : err.rc;
    }
    if (rc == ZB_E_CLOSED && f->steps.begun) {
        zb_err_hint(&err, "the failover may go on: zbaton status %s", f->cli->operands[0]);
    }
    int code = rc == ZB_OK ? result_show(f, data) : zb_cli_fail(f->cli, &err);
    json_decref(data);
    return code;
}

int
zb_run_failover(struct zb_cli *cli)
{
    bool terminal = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    struct failover f = {.cli = cli,
                         .interactive = terminal && !zb_cli_has(cli, ZB_OPT_YES) &&
                                        !zb_cli_has(cli, ZB_OPT_JSON)};

    if (zb_cli_has(cli, ZB_OPT_AS_OF_TERM) &&
        !zb_cli_number(cli->values[ZB_OPT_AS_OF_TERM], &f.as_of_term)) {
        fputs("zbaton failover: --as-of-term wants a number from 1 to 1000000\n", stderr);
        return zb_rc_exit(ZB_E_USAGE);
    }
    zb_cli_steps_init(&f.steps, cli);
    int code = failover_run(&f);
    json_decref(f.statement);
    zb_cli_steps_close(&f.steps);
    return code;
}
