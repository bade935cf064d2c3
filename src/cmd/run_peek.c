/*
 * peek, drill: a set to look into, and one that is tried.
 */
#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/table.h"
#include "os/mount.h"

static const char *
node_of(const struct zb_cli *cli)
{
    return zb_cli_has(cli, ZB_OPT_ON_NODE) ? cli->values[ZB_OPT_ON_NODE] : "";
}

/* --- peek --- */

static enum zb_rc
options_check(const struct zb_cli *cli, int64_t *life_s, struct zb_err *err)
{
    const char *dir = cli->values[ZB_OPT_AT];

    if (zb_cli_has(cli, ZB_OPT_FOR) && !zb_cli_duration(cli->values[ZB_OPT_FOR], life_s)) {
        return zb_err_set(err, ZB_E_USAGE, "--for wants a time as 90s, 30m, 24h or 7d");
    }
    if (dir == NULL) {
        return ZB_OK;
    }
    if (zb_cli_has(cli, ZB_OPT_ON_NODE)) {
        return zb_err_set(err, ZB_E_USAGE, "--at is a directory of this host: not with --node");
    }
    if (dir[0] != '/') {
        return zb_err_set(err, ZB_E_USAGE, "--at wants a path that begins with /");
    }
    if (geteuid() != 0) {
        return zb_err_set(err, ZB_E_REFUSED, "only root can have it shown at %.200s", dir);
    }
    return zb_os_mount_dir_free(dir, err);
}

static void
made_print(const struct zb_cli *cli, const json_t *data, const char *path)
{
    const json_t *peek = json_object_get(data, "peek");

    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
        return;
    }
    zb_text_print(stdout, path);
    putchar('\n');
    fflush(stdout);
    fprintf(stderr, "set %" PRId64 "/%" PRId64 " of ", zb_field_int(peek, "term", 0),
            zb_field_int(peek, "seq", 0));
    zb_text_print(stderr, zb_field_text(peek, "service"));
    fputs(" on ", stderr);
    zb_text_print(stderr, zb_field_text(data, "node"));
    fputs(", until ", stderr);
    zb_text_print(stderr, zb_field_text(peek, "expires"));
    fputs(": peek ", stderr);
    zb_text_print(stderr, zb_field_text(peek, "name"));
    fputc('\n', stderr);
}

static enum zb_rc
end_call(const struct zb_cli *cli, const char *name, json_t **data, struct zb_err *err)
{
    struct zb_client_call call = {
        .cmd = "peek.end", .args = json_pack("{s:s, s:s}", "node", node_of(cli), "name", name)};

    return zb_cli_call(cli, &call, data, err);
}

/* The daemon mounts it in a place of its own; to be shown anywhere else it wants one who may mount
 * there. */
static enum zb_rc
dir_show(const struct zb_cli *cli, json_t *data, struct zb_err *err)
{
    json_t *peek = json_object_get(data, "peek");
    json_t *ended = NULL;
    struct zb_err after;
    enum zb_rc rc = zb_os_mount_bind(zb_field_text(peek, "mounted"), cli->values[ZB_OPT_AT], err);

    if (rc != ZB_OK && end_call(cli, zb_field_text(peek, "name"), &ended, &after) != ZB_OK) {
        fprintf(stderr, "warning: peek %s is left: %s\n", zb_field_text(peek, "name"), after.msg);
    }
    json_decref(ended);
    if (rc == ZB_OK) {
        json_object_set_new(peek, "at", json_string(cli->values[ZB_OPT_AT]));
    }
    return rc;
}

int
zb_run_peek(struct zb_cli *cli)
{
    struct zb_client_call call = {.cmd = "peek"};
    int64_t life_s = 0; /* the daemon's own */
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = options_check(cli, &life_s, &err);

    if (rc == ZB_OK) {
        call.args =
            json_pack("{s:s, s:s, s:s}", "service", cli->operands[0], "set",
                      cli->operands_count > 1 ? cli->operands[1] : "", "node", node_of(cli));
        if (life_s > 0) {
            json_object_set_new(call.args, "for_s", json_integer(life_s));
        }
        rc = zb_cli_call(cli, &call, &data, &err);
    }
    if (rc == ZB_OK && zb_cli_has(cli, ZB_OPT_AT)) {
        rc = dir_show(cli, data, &err);
    }
    if (rc == ZB_OK) {
        made_print(cli, data,
                   zb_cli_has(cli, ZB_OPT_AT)
                       ? cli->values[ZB_OPT_AT]
                       : zb_field_text(json_object_get(data, "peek"), "mounted"));
    }
    json_decref(data);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

/* --- peek list, peek end --- */

int
zb_run_peek_list(struct zb_cli *cli)
{
    struct zb_client_call call = {.cmd = "peek.list",
                                  .args = json_pack("{s:s}", "node", node_of(cli))};
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = zb_cli_call(cli, &call, &data, &err);

    if (rc == ZB_OK && zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (rc == ZB_OK) {
        rc = zb_show_peeks(&cli->show, data, &err);
    }
    json_decref(data);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

int
zb_run_peek_end(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;

    if (end_call(cli, cli->operands[0], &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        printf("%s is ended.\n", cli->operands[0]);
    }
    json_decref(data);
    return 0;
}

/* --- drill --- */

static void
drill_print(const json_t *data)
{
    char elapsed[ZB_TEXT_SIZE];

    zb_text_print(stdout, zb_field_text(data, "service"));
    fputs(" on ", stdout);
    zb_text_print(stdout, zb_field_text(data, "node"));
    fputs(": set ", stdout);
    zb_text_print(stdout, zb_field_text(data, "set"));
    if (zb_field_bool(data, "ok")) {
        fputs(" would do", stdout);
    } else {
        fputs(" would not: ", stdout);
        zb_text_print(stdout, zb_field_text(data, "text"));
    }
    printf(" (%s)\n", zb_format_elapsed(zb_field_int(data, "elapsed_ms", 0), elapsed));
}

int
zb_run_drill(struct zb_cli *cli)
{
    struct zb_client_call call = {
        .cmd = "drill",
        .args = json_pack("{s:s, s:s}", "service", cli->operands[0], "node", node_of(cli))};
    json_t *data = NULL;
    struct zb_err err;

    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        drill_print(data);
    }
    bool ok = zb_field_bool(data, "ok");
    json_decref(data);
    return ok ? 0 : zb_rc_exit(ZB_E_FAILED);
}
