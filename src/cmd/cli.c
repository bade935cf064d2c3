#include "cmd/cli.h"

#include <errno.h>
#include <time.h>
#include <unistd.h>

#include "agent/files.h"
#include "cmd/field.h"
#include "cmd/table.h"
#include "conf/node.h"

#define WATCH_DEFAULT_S 2
#define RUN_DIR "/run/zbaton" /* where there is no configuration file to say another */

static void
error_json(const struct zb_cli *cli, const struct zb_err *err)
{
    json_t *error = json_pack("{s:{s:i, s:s, s:s, s:s}}", "error", "rc", (int)err->rc, "word",
                              zb_rc_word(err->rc), "message", err->msg, "hint", err->hint);

    zb_cli_json(cli, error);
    json_decref(error);
}

int
zb_cli_fail(const struct zb_cli *cli, const struct zb_err *err)
{
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        error_json(cli, err);
    }
    fflush(stdout);
    fprintf(stderr, "zbaton %s: ", cli->command->name);
    zb_text_print(stderr, err->msg);
    if (err->hint[0] != '\0') {
        fputs("\nhint: ", stderr);
        zb_text_print(stderr, err->hint);
    }
    fputc('\n', stderr);
    return zb_rc_exit(err->rc);
}

static enum zb_rc
socket_path(const struct zb_cli *cli, char *path, size_t size, struct zb_err *err)
{
    struct zb_conf_node conf;
    const char *dir = RUN_DIR;

    if (cli->conf_given || access(cli->conf_path, F_OK) == 0) {
        enum zb_rc rc = zb_conf_node_load(cli->conf_path, &conf, err);
        if (rc != ZB_OK) {
            return rc;
        }
        dir = conf.run_dir;
    }
    if ((size_t)snprintf(path, size, "%s/" ZB_FILE_CONTROL, dir) >= size) {
        return zb_err_set(err, ZB_E_LIMIT, "%s: path too long", dir);
    }
    return ZB_OK;
}

enum zb_rc
zb_cli_call(const struct zb_cli *cli, struct zb_client_call *call, json_t **data,
            struct zb_err *err)
{
    char path[ZB_PATH_SIZE];
    enum zb_rc rc = ZB_OK;

    if (cli->socket == NULL) {
        rc = socket_path(cli, path, sizeof path, err);
    }
    if (rc == ZB_OK) {
        call->socket = cli->socket == NULL ? path : cli->socket;
        rc = zb_client_call(call, data, err);
    }
    json_decref(call->args);
    call->args = NULL;
    return rc;
}

void
zb_cli_json(const struct zb_cli *cli, const json_t *data)
{
    char name[64];

    snprintf(name, sizeof name, "zbaton %s", cli->command->name);
    json_t *all = json_pack("{s:{s:s, s:i, s:i}}", "output_version", "command", name, "vers_major",
                            0, "vers_minor", 1);
    const char *key;
    json_t *value;

    json_object_foreach((json_t *)(uintptr_t)data, key, value)
    {
        json_object_set(all, key, value);
    }
    json_dumpf(all, cli->show.out, JSON_INDENT(2));
    fputc('\n', cli->show.out);
    json_decref(all);
}

bool
zb_cli_number(const char *text, int64_t *value)
{
    char *end;

    if (text[0] < '0' || text[0] > '9' || strlen(text) > 7) {
        return false;
    }
    *value = strtol(text, &end, 10);
    return *end == '\0' && *value >= 1 && *value <= 1000000;
}

bool
zb_cli_duration(const char *text, int64_t *seconds)
{
    static const struct {
        char unit;
        int64_t s;
    } units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char number[8];
    size_t length = strlen(text);

    if (length < 2 || length > sizeof number) {
        return false;
    }
    memcpy(number, text, length - 1);
    number[length - 1] = '\0';
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (text[length - 1] == units[i].unit && zb_cli_number(number, seconds)) {
            *seconds *= units[i].s;
            return true;
        }
    }
    return false;
}

void
zb_cli_watch_begin(const struct zb_cli *cli)
{
    if (cli->show.terminal && zb_cli_has(cli, ZB_OPT_WATCH)) {
        fputs("\033[H\033[2J", cli->show.out);
    }
}

/* Until a signal ends it. What fails at first ends it too; later it is told, and goes by: a daemon
 * that is started again is no reason to stop looking. */
static int
watch(struct zb_cli *cli, zb_cli_once *once, void *ctx, int64_t seconds)
{
    bool shown = false;
    struct zb_err err;

    for (;;) {
        enum zb_rc rc = once(cli, ctx, &err);
        if (rc != ZB_OK) {
            int code = zb_cli_fail(cli, &err);
            if (!shown) {
                return code;
            }
        }
        shown = true;
        if (fflush(cli->show.out) != 0) {
            return zb_rc_exit(ZB_E_SYS);
        }
        struct timespec left = {.tv_sec = seconds};
        while (nanosleep(&left, &left) != 0 && errno == EINTR) {
        }
    }
}

int
zb_cli_watch(struct zb_cli *cli, zb_cli_once *once, void *ctx)
{
    const char *given = cli->values[ZB_OPT_WATCH];
    int64_t seconds = WATCH_DEFAULT_S;
    struct zb_err err;

    if (given == NULL) {
        return once(cli, ctx, &err) == ZB_OK ? 0 : zb_cli_fail(cli, &err);
    }
    if (given[0] != '\0' && !zb_cli_number(given, &seconds)) {
        fprintf(stderr, "zbaton %s: -w wants a number of seconds from 1 to 1000000\n",
                cli->command->name);
        return zb_rc_exit(ZB_E_USAGE);
    }
    return watch(cli, once, ctx, seconds);
}

bool
zb_cli_confirm(const char *question)
{
    char answer[16];

    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) {
        return false;
    }
    printf("%s [y/N] ", question);
    fflush(stdout);
    return fgets(answer, sizeof answer, stdin) != NULL &&
           (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0);
}

void
zb_cli_steps_init(struct zb_cli_steps *s, const struct zb_cli *cli)
{
    *s = (struct zb_cli_steps){.cli = cli, .list = json_array(), .progress = {.show = &cli->show}};
}

void
zb_cli_steps_close(struct zb_cli_steps *s)
{
    json_decref(s->list);
    s->list = NULL;
}

void
zb_cli_steps_add(struct zb_cli_steps *s, const json_t *progress)
{
    s->begun = true;
    if (!zb_cli_has(s->cli, ZB_OPT_JSON)) {
        zb_show_steps_progress(&s->progress, progress);
    } else if (strcmp(zb_field_text(progress, "phase"), "bytes") != 0) {
        json_t *step = json_copy((json_t *)(uintptr_t)progress);
        json_object_del(step, "type");
        json_array_append_new(s->list, step);
    }
}

bool
zb_cli_steps_print(const struct zb_cli_steps *s, json_t *data)
{
    if (zb_cli_has(s->cli, ZB_OPT_JSON)) {
        if (json_object_get(data, "steps") == NULL) {
            json_object_set(data, "steps", s->list);
        }
        zb_cli_json(s->cli, data);
        return true;
    }
    if (zb_cli_has(s->cli, ZB_OPT_DRY_RUN)) {
        zb_show_steps_plan(&s->cli->show, data);
        return true;
    }
    return false;
}

int
zb_cli_steps_exit(const json_t *data)
{
    if (zb_field_bool(data, "background")) {
        return ZB_EXIT_BACKGROUND;
    }
    return zb_field_bool(data, "degraded") ? ZB_EXIT_DEGRADED : 0;
}
