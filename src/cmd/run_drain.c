/*
 * drain, undrain.
 */
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/table.h"

static char interrupted[420]; /* what Ctrl-C leaves */

static void
on_interrupt(int signal)
{
    (void)signal;
    (void)!write(STDERR_FILENO, interrupted, strlen(interrupted));
    _exit(128 + SIGINT);
}

static void
interrupt_catch(const char *node)
{
    struct sigaction action = {.sa_handler = on_interrupt};

    snprintf(interrupted, sizeof interrupted,
             "\nzbaton drain: the move under way ends by itself, no other one begins. %.64s stays "
             "drained:\nzbaton drain %.64s goes on, zbaton undrain %.64s takes the mark away\n",
             node, node, node);
    (void)sigaction(SIGINT, &action, NULL);
}

static void
move_print(const json_t *move, const char *verb)
{
    zb_text_print(stdout, zb_field_text(move, "service"));
    fputs(verb, stdout);
    zb_text_print(stdout, zb_field_text(move, "why"));
    putchar('\n');
}

static void
left_print(const json_t *left, const char *why)
{
    zb_text_print(stdout, zb_field_text(left, "service"));
    fputs(": stays: ", stdout);
    zb_text_print(stdout, zb_field_text(left, why));
    putchar('\n');
}

static bool
drain_progress(void *ctx, const json_t *line)
{
    const struct zb_cli *cli = ctx;
    const char *phase = zb_field_text(line, "phase");
    int64_t down_ms = zb_field_int(line, "down_ms", -1);
    char down[ZB_TEXT_SIZE];

    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        return true;
    }
    if (strcmp(phase, "begin") == 0) {
        move_print(line, ": moves to ");
    } else if (strcmp(phase, "left") == 0) {
        left_print(line, "text");
    } else if (zb_field_bool(line, "background") || down_ms < 0) {
        zb_text_print(stdout, zb_field_text(line, "service"));
        puts(": released, but not started there yet");
    } else {
        zb_text_print(stdout, zb_field_text(line, "service"));
        fputs(": runs on ", stdout);
        zb_text_print(stdout, zb_field_text(line, "to"));
        printf(". Down for %s.\n", zb_format_elapsed(down_ms, down));
    }
    (void)fflush(stdout);
    return true;
}

static bool
any_in_background(const json_t *data)
{
    size_t i;
    json_t *one;

    json_array_foreach(zb_field_array(data, "moved"), i, one)
    {
        if (zb_field_bool(one, "background")) {
            return true;
        }
    }
    return false;
}

static void
plan_print(const json_t *data)
{
    size_t i;
    json_t *one;

    json_array_foreach(zb_field_array(data, "moved"), i, one)
    {
        move_print(one, ": would move to ");
    }
    puts("Dry run: nothing was changed.");
}

static void
sum_print(const json_t *data, const char *node)
{
    size_t moved = json_array_size(zb_field_array(data, "moved"));
    size_t left = json_array_size(zb_field_array(data, "left"));

    if (left > 0) {
        printf("%s is drained, and still leads %zu: zbaton drain %s tries again\n", node, left,
               node);
    } else {
        printf("%s is drained: %zu moved, it leads nothing. zbaton undrain %s ends that\n", node,
               moved, node);
    }
}

int
zb_run_drain(struct zb_cli *cli)
{
    const char *node = cli->operands[0];
    bool dry_run = zb_cli_has(cli, ZB_OPT_DRY_RUN);
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "drain",
                                  .args = json_pack("{s:s, s:b}", "node", node, "dry_run", dry_run),
                                  .on_progress = drain_progress,
                                  .ctx = cli};

    if (!dry_run) {
        interrupt_catch(node);
    }
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (dry_run) {
        plan_print(data);
    } else {
        sum_print(data, node);
    }
    int code = json_array_size(zb_field_array(data, "left")) > 0 ? ZB_EXIT_DEGRADED
               : any_in_background(data)                         ? ZB_EXIT_BACKGROUND
                                                                 : 0;
    json_decref(data);
    return code;
}

int
zb_run_undrain(struct zb_cli *cli)
{
    const char *node = cli->operands[0];
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "undrain", .args = json_pack("{s:s}", "node", node)};

    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        printf("%s %s\n", node,
               zb_field_bool(data, "was") ? "is not drained any more" : "is not drained");
    }
    json_decref(data);
    return 0;
}
