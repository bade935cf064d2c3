/*
 * snapshot, sync, label, unlabel: sets, one at a time.
 */
#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/table.h"

static int
set_command(struct zb_cli *cli, const char *cmd)
{
    json_t *data = NULL;
    char set[ZB_TEXT_SIZE], elapsed[ZB_TEXT_SIZE];
    size_t i;
    json_t *follower;
    struct zb_err err;
    struct zb_client_call call = {.cmd = cmd,
                                  .args = json_pack("{s:s}", "service", cli->operands[0])};

    if (zb_cli_has(cli, ZB_OPT_LABEL) &&
        json_object_set_new(call.args, "label", json_string(cli->values[ZB_OPT_LABEL])) != 0) {
        json_decref(call.args);
        (void)zb_err_set(&err, ZB_E_USAGE, "the label is not UTF-8");
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        printf("%s has set %s", cli->operands[0], zb_field_set(data, "set", set));
        json_array_foreach(zb_field_array(data, "followers"), i, follower)
        {
            fputs(i == 0 ? ", held by " : ", ", stdout);
            zb_text_print(stdout, json_is_string(follower) ? json_string_value(follower) : "");
        }
        if (zb_cli_has(cli, ZB_OPT_LABEL)) {
            fputs(", kept as ", stdout);
            zb_text_print(stdout, cli->values[ZB_OPT_LABEL]);
        }
        printf(" (%s)\n", zb_format_elapsed(zb_field_int(data, "elapsed_ms", 0), elapsed));
    }
    json_decref(data);
    return 0;
}

int
zb_run_snapshot(struct zb_cli *cli)
{
    return set_command(cli, "snapshot");
}

int
zb_run_sync(struct zb_cli *cli)
{
    return set_command(cli, "sync");
}

/* --- labels --- */

static int
label_command(struct zb_cli *cli, const char *text)
{
    json_t *data = NULL;
    json_t *label = json_string(text);
    struct zb_client_call call = {.cmd = "label"};
    struct zb_err err;

    if (label == NULL) {
        (void)zb_err_set(&err, ZB_E_USAGE, "the label is not UTF-8");
        return zb_cli_fail(cli, &err);
    }
    call.args = json_pack("{s:s, s:s, s:o}", "service", cli->operands[0], "set", cli->operands[1],
                          "label", label);
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        printf(text[0] != '\0' ? "set %s of %s is kept as " : "set %s of %s has no label any more",
               cli->operands[1], cli->operands[0]);
        zb_text_print(stdout, text);
        putchar('\n');
    }
    json_decref(data);
    return 0;
}

int
zb_run_label(struct zb_cli *cli)
{
    if (cli->operands[2][0] == '\0') {
        struct zb_err err;
        (void)zb_err_set(&err, ZB_E_USAGE, "the label is empty: zbaton unlabel takes one away");
        return zb_cli_fail(cli, &err);
    }
    return label_command(cli, cli->operands[2]);
}

int
zb_run_unlabel(struct zb_cli *cli)
{
    return label_command(cli, "");
}
