/*
 * Commands about services: status, transfers, explain, move, snapshot, sync, history, events.
 */
#include <inttypes.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/table.h"

#define COUNT_DEFAULT 25

/* --- status --- */

/* One answer as it is asked for; *healthy: -x has nothing to tell. */
static enum zb_rc
status_show(struct zb_cli *cli, json_t *data, bool *healthy, struct zb_err *err)
{
    *healthy = zb_cli_has(cli, ZB_OPT_UNHEALTHY) && !zb_status_reduce(data);
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (!*healthy) {
        return zb_show_status(&cli->show, data, err);
    } else if (!cli->show.scripted) {
        fputs("all services are healthy\n", cli->show.out);
    }
    return ZB_OK;
}

static enum zb_rc
status_once(struct zb_cli *cli, void *ctx, struct zb_err *err)
{
    bool *healthy = ctx;
    json_t *services = json_array();
    json_t *data = NULL;

    for (int i = 0; i < cli->operands_count; i++) {
        json_array_append_new(services, json_string(cli->operands[i]));
    }
    struct zb_client_call call = {.cmd = "status",
                                  .args = json_pack("{s:o}", "services", services)};
    enum zb_rc rc = zb_cli_call(cli, &call, &data, err);
    if (rc == ZB_OK) {
        zb_cli_watch_begin(cli);
        rc = status_show(cli, data, healthy, err);
    }
    json_decref(data);
    return rc;
}

int
zb_run_status(struct zb_cli *cli)
{
    bool healthy = false;

    cli->show.unhealthy = zb_cli_has(cli, ZB_OPT_UNHEALTHY);
    int code = zb_cli_watch(cli, status_once, &healthy);
    return code == 0 && cli->show.unhealthy && !healthy ? ZB_EXIT_DEGRADED : code;
}

/* --- transfers --- */

static enum zb_rc
transfers_once(struct zb_cli *cli, void *ctx, struct zb_err *err)
{
    const char *service = cli->operands_count > 0 ? cli->operands[0] : "";
    json_t *data = NULL;
    struct zb_client_call call = {.cmd = "transfers",
                                  .args = json_pack("{s:s}", "service", service)};
    enum zb_rc rc = zb_cli_call(cli, &call, &data, err);

    (void)ctx;
    if (rc == ZB_OK) {
        zb_cli_watch_begin(cli);
        if (zb_cli_has(cli, ZB_OPT_JSON)) {
            zb_cli_json(cli, data);
        } else {
            rc = zb_show_transfers(&cli->show, data, err);
        }
    }
    json_decref(data);
    return rc;
}

int
zb_run_transfers(struct zb_cli *cli)
{
    return zb_cli_watch(cli, transfers_once, NULL);
}

/* --- explain --- */

int
zb_run_explain(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "explain",
                                  .args =
                                      json_pack("{s:s, s:s}", "service", cli->operands[0], "node",
                                                cli->operands_count > 1 ? cli->operands[1] : "")};

    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        zb_show_explain(&cli->show, data);
    }
    json_decref(data);
    return 0;
}

/* --- move --- */

static bool
move_progress(void *ctx, const json_t *progress)
{
    struct zb_cli_steps *s = ctx;

    if (zb_cli_has(s->cli, ZB_OPT_NO_WAIT)) {
        s->begun = true;
        return false;
    }
    zb_cli_steps_add(s, progress);
    return true;
}

static int
move_done(const struct zb_cli_steps *s, json_t *data)
{
    const struct zb_cli *cli = s->cli;

    if (zb_cli_steps_print(s, data)) {
        return zb_cli_steps_exit(data);
    }
    if (zb_field_bool(data, "background")) {
        printf("%s was released to %s: ", cli->operands[0], cli->operands[1]);
        zb_text_print(stdout, zb_field_text(data, "text"));
        putchar('\n');
    } else {
        zb_show_move_result(&cli->show, cli->operands[0], cli->operands[1], data);
    }
    return zb_cli_steps_exit(data);
}

int
zb_run_move(struct zb_cli *cli)
{
    struct zb_cli_steps s;
    json_t *data = NULL;
    struct zb_err err;
    int code;
    struct zb_client_call call = {
        .cmd = "move",
        .args = json_pack("{s:s, s:s, s:b, s:b}", "service", cli->operands[0], "node",
                          cli->operands[1], "dry_run", zb_cli_has(cli, ZB_OPT_DRY_RUN),
                          "allow_undrilled", zb_cli_has(cli, ZB_OPT_UNDRILLED)),
        .on_progress = move_progress,
        .ctx = &s};

    zb_cli_steps_init(&s, cli);
    enum zb_rc rc = zb_cli_call(cli, &call, &data, &err);
    zb_show_steps_end(&s.progress);
    if (rc == ZB_OK) {
        code = move_done(&s, data);
    } else if (rc == ZB_E_CANCELED && zb_cli_has(cli, ZB_OPT_NO_WAIT) && s.begun) {
        printf("The move of %s to %s has begun: zbaton status %s\n", cli->operands[0],
               cli->operands[1], cli->operands[0]);
        code = ZB_EXIT_BACKGROUND;
    } else {
        if (rc == ZB_E_CLOSED && s.begun) {
            zb_err_hint(&err, "the move may go on: zbaton status %s", cli->operands[0]);
        }
        code = zb_cli_fail(cli, &err);
    }
    json_decref(data);
    zb_cli_steps_close(&s);
    return code;
}

int
zb_run_start(struct zb_cli *cli)
{
    const char *service = cli->operands[0];
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "start", .args = json_pack("{s:s}", "service", service)};

    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (zb_field_bool(data, "was")) {
        printf("%s is started on %s: that it failed is forgotten\n", service,
               zb_field_text(data, "node"));
    } else {
        printf("%s has not failed: nothing to start\n", service);
    }
    json_decref(data);
    return 0;
}

int
zb_run_prune(struct zb_cli *cli)
{
    bool dry_run = zb_cli_has(cli, ZB_OPT_DRY_RUN);
    const char *node = cli->values[ZB_OPT_ON_NODE];
    struct zb_client_call call = {.cmd = "prune",
                                  .args = json_pack("{s:s, s:s, s:b}", "service", cli->operands[0],
                                                    "node", node == NULL ? "" : node, "dry_run",
                                                    dry_run)};
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = zb_cli_call(cli, &call, &data, &err);

    if (rc == ZB_OK && zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (rc == ZB_OK && dry_run) {
        rc = zb_show_sets(&cli->show, data, &err);
    } else if (rc == ZB_OK) {
        printf("What need not be kept of %s goes from %s now.\n", cli->operands[0],
               zb_field_text(data, "node"));
    }
    json_decref(data);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

/* --- what was --- */

static bool
count_option(const struct zb_cli *cli, int64_t *count)
{
    *count = COUNT_DEFAULT;
    if (zb_cli_has(cli, ZB_OPT_COUNT) && !zb_cli_number(cli->values[ZB_OPT_COUNT], count)) {
        fprintf(stderr, "zbaton %s: -n wants a number from 1 to 1000000\n", cli->command->name);
        return false;
    }
    return true;
}

int
zb_run_history(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    int64_t count;

    if (!count_option(cli, &count)) {
        return zb_rc_exit(ZB_E_USAGE);
    }
    struct zb_client_call call = {
        .cmd = "history",
        .args = json_pack("{s:s, s:I}", "service", cli->operands[0], "count", (json_int_t)count)};
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        zb_show_history(&cli->show, data);
    }
    json_decref(data);
    return 0;
}

/* With -j one object per line, so that a log can be cut anywhere. */
static bool
event_progress(void *ctx, const json_t *progress)
{
    struct zb_cli *cli = ctx;

    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        json_dumpf(progress, cli->show.out, JSON_COMPACT);
        fputc('\n', cli->show.out);
        fflush(cli->show.out);
    } else {
        zb_show_event(&cli->show, progress);
    }
    return true;
}

int
zb_run_events(struct zb_cli *cli)
{
    json_t *data = NULL;
    json_t *event;
    size_t i;
    struct zb_err err;
    int64_t count;

    if (!count_option(cli, &count)) {
        return zb_rc_exit(ZB_E_USAGE);
    }
    struct zb_client_call call = {.cmd = "events",
                                  .args =
                                      json_pack("{s:I, s:b, s:s}", "count", (json_int_t)count,
                                                "follow", zb_cli_has(cli, ZB_OPT_FOLLOW), "service",
                                                cli->operands_count > 0 ? cli->operands[0] : ""),
                                  .on_progress = event_progress,
                                  .ctx = cli};
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    json_array_foreach(zb_field_array(data, "events"), i, event)
    {
        (void)event_progress(cli, event);
    }
    json_decref(data);
    return 0;
}
