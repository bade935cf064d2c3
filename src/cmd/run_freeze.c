/*
 * freeze, thaw.
 */
#include <inttypes.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/table.h"

static void
names_print(FILE *out, const json_t *names)
{
    size_t i;
    json_t *name;

    json_array_foreach(names, i, name)
    {
        fputs(i == 0 ? "" : ", ", out);
        zb_text_print(out, json_is_string(name) ? json_string_value(name) : "");
    }
}

static void
line_print(const json_t *names, const char *what)
{
    size_t count = json_array_size(names);

    if (count > 0) {
        names_print(stdout, names);
        printf(" %s %s\n", count == 1 ? "is" : "are", what);
    }
}

static int
change_show(const struct zb_cli *cli, const json_t *data, const char *now, const char *before)
{
    const json_t *waiting = zb_field_array(data, "waiting");
    bool degraded = zb_field_bool(data, "degraded");

    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
        return degraded ? ZB_EXIT_DEGRADED : 0;
    }
    line_print(zb_field_array(data, "services"), now);
    line_print(zb_field_array(data, "unchanged"), before);
    if (json_array_size(zb_field_array(data, "services")) +
            json_array_size(zb_field_array(data, "unchanged")) ==
        0) {
        puts("nothing is frozen");
    }
    if (json_array_size(waiting) > 0) {
        fputs("not told yet: ", stdout);
        names_print(stdout, waiting);
        puts(degraded ? "; until a majority of the members is, commands given there may not know"
                      : "; told as soon as they can be reached");
    }
    return degraded ? ZB_EXIT_DEGRADED : 0;
}

static int
change_run(struct zb_cli *cli, json_t *args, const char *now, const char *before)
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = cli->command->name, .args = args};

    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    int code = change_show(cli, data, now, before);
    json_decref(data);
    return code;
}

int
zb_run_freeze(struct zb_cli *cli)
{
    json_t *reason = json_string(cli->values[ZB_OPT_REASON]);

    if (reason == NULL) {
        fputs("zbaton freeze: the reason is not UTF-8\n", stderr);
        return zb_rc_exit(ZB_E_USAGE);
    }
    return change_run(cli,
                      json_pack("{s:s, s:o}", "service",
                                cli->operands_count > 0 ? cli->operands[0] : "", "reason", reason),
                      "frozen", "frozen already, for that reason");
}

int
zb_run_thaw(struct zb_cli *cli)
{
    return change_run(
        cli, json_pack("{s:s}", "service", cli->operands_count > 0 ? cli->operands[0] : ""),
        "not frozen any more", "not frozen");
}
