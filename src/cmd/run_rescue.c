/*
 * rescue, rejoin: what was set aside, and the copies that it is set aside from.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/json.h"
#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/memory.h"
#include "cmd/rescue_diff.h"
#include "cmd/table.h"

/* --- rejoin --- */

static enum zb_rc
rejoin_call(const struct zb_cli *cli, bool dry_run, json_t **data, struct zb_err *err)
{
    struct zb_client_call call = {
        .cmd = "rejoin",
        .args = json_pack("{s:s, s:s, s:b, s:b}", "service", cli->operands[0], "node",
                          cli->operands_count > 1 ? cli->operands[1] : "", "dry_run", dry_run,
                          "discard", zb_cli_has(cli, ZB_OPT_DISCARD))};

    return zb_cli_call(cli, &call, data, err);
}

/* Discarding is agreed to with what it destroys before the eyes. */
static bool
discard_consent(const struct zb_cli *cli, struct zb_err *err)
{
    json_t *plan = NULL;

    if (zb_cli_has(cli, ZB_OPT_YES)) {
        return true;
    }
    if (rejoin_call(cli, true, &plan, err) != ZB_OK) {
        return false;
    }
    if (!zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_show_rejoin_plan(&cli->show, cli->operands[0], plan);
    }
    bool diverged = zb_field_bool(plan, "diverged");
    json_decref(plan);
    if (!diverged || (!zb_cli_has(cli, ZB_OPT_JSON) && zb_cli_confirm("Destroy it for good?"))) {
        return true;
    }
    zb_err_set(err, ZB_E_REFUSED, "not agreed to; nothing was changed");
    zb_err_hint(err, "without --discard it is kept as a rescue; -y does not ask");
    return false;
}

int
zb_run_rejoin(struct zb_cli *cli)
{
    bool dry_run = zb_cli_has(cli, ZB_OPT_DRY_RUN);
    json_t *data = NULL;
    struct zb_err err;

    if (!dry_run && zb_cli_has(cli, ZB_OPT_DISCARD) && !discard_consent(cli, &err)) {
        return zb_cli_fail(cli, &err);
    }
    if (rejoin_call(cli, dry_run, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (dry_run) {
        zb_show_rejoin_plan(&cli->show, cli->operands[0], data);
        puts("Dry run: nothing was changed.");
    } else {
        zb_show_rejoin_result(&cli->show, cli->operands[0], data);
    }
    int code = zb_field_bool(data, "background") ? ZB_EXIT_BACKGROUND : 0;
    json_decref(data);
    return code;
}

/* --- list, show --- */

static enum zb_rc
ask(const struct zb_cli *cli, const char *cmd, json_t **data, struct zb_err *err)
{
    const char *node = cli->values[ZB_OPT_ON_NODE];
    struct zb_client_call call = {
        .cmd = cmd,
        .args = json_pack("{s:s, s:s}", "node", node == NULL ? "" : node, "name",
                          cli->operands_count > 0 ? cli->operands[0] : "")};

    return zb_cli_call(cli, &call, data, err);
}

int
zb_run_rescue_list(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = ask(cli, "rescue.list", &data, &err);

    if (rc == ZB_OK && zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (rc == ZB_OK) {
        rc = zb_show_rescues(&cli->show, data, &err);
    }
    json_decref(data);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

int
zb_run_rescue_show(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;

    if (ask(cli, "rescue.show", &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        zb_show_rescue(&cli->show, data);
    }
    json_decref(data);
    return 0;
}

/* --- mount, umount --- */

static enum zb_rc
mount_call(const struct zb_cli *cli, bool on, json_t **data, struct zb_err *err)
{
    struct zb_client_call call = {
        .cmd = "rescue.mount", .args = json_pack("{s:s, s:b}", "name", cli->operands[0], "on", on)};

    return zb_cli_call(cli, &call, data, err);
}

static int
mount_run(struct zb_cli *cli, bool on)
{
    json_t *data = NULL;
    struct zb_err err;

    if (mount_call(cli, on, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (on) {
        zb_text_print(stdout, zb_field_text(data, "path"));
        putchar('\n');
    }
    json_decref(data);
    return 0;
}

int
zb_run_rescue_mount(struct zb_cli *cli)
{
    return mount_run(cli, true);
}

int
zb_run_rescue_umount(struct zb_cli *cli)
{
    return mount_run(cli, false);
}

/* --- with the rescue mounted --- */

struct visit {
    struct zb_cli *cli;
    json_t *shown;
    char path[ZB_PATH_SIZE];
};

/* Mounts it for the time of `work` if it was not mounted; what work says counts. */
static enum zb_rc
visit_run(struct visit *v, enum zb_rc (*work)(struct visit *v, struct zb_err *err),
          struct zb_err *err)
{
    json_t *data = NULL;
    struct zb_err after;
    enum zb_rc rc;

    if (geteuid() != 0) {
        return zb_err_set(err, ZB_E_REFUSED, "only root can read what is in a rescue");
    }
    rc = ask(v->cli, "rescue.show", &v->shown, err);
    if (rc == ZB_OK) {
        rc = mount_call(v->cli, true, &data, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    const json_t *rescue = json_object_get(v->shown, "rescue");
    bool was_mounted = zb_field_text(rescue, "mounted")[0] != '\0';
    (void)snprintf(v->path, sizeof v->path, "%s", zb_field_text(data, "path"));
    json_decref(data);
    data = NULL;
    rc = work(v, err);
    if (!was_mounted && mount_call(v->cli, false, &data, &after) != ZB_OK) {
        fputs("warning: it stays mounted: ", stderr);
        zb_text_print(stderr, after.msg);
        fputc('\n', stderr);
    }
    json_decref(data);
    return rc;
}

static void
change_print(void *ctx, char change, const char *path, uint64_t bytes)
{
    const struct visit *v = ctx;
    char buf[ZB_TEXT_SIZE];

    if (zb_cli_has(v->cli, ZB_OPT_JSON)) { /* an object a line: the child's memory is its own */
        json_t *o = json_pack("{s:s%, s:o, s:I}", "change", &change, (size_t)1, "path",
                              zb_json_text(path), "bytes", (json_int_t)bytes);
        json_dumpf(o, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(o);
        return;
    }
    printf("%c %8s  ", change, zb_format_bytes(bytes, buf));
    zb_text_print(stdout, path);
    putchar('\n');
}

static enum zb_rc
diff_work(struct visit *v, struct zb_err *err)
{
    struct zb_compare compare = {.on_change = change_print, .ctx = v};

    return zb_rescue_diff(v->shown, v->path, &compare, err);
}

int
zb_run_rescue_diff(struct zb_cli *cli)
{
    struct visit v = {.cli = cli};
    struct zb_err err;
    enum zb_rc rc = visit_run(&v, diff_work, &err);

    json_decref(v.shown);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

/* --- export --- */

#define ARGS_MAX (ZB_DATASETS_MAX + 16)

/* The rescue's directory, and those beside it that belong to it: names below its parent. */
static int
members_collect(const struct visit *v, char **names, int max)
{
    char dir[ZB_PATH_SIZE * 2];
    size_t i;
    json_t *dataset;
    size_t parent = (size_t)(strrchr(v->path, '/') - v->path) + 1;
    int count = 0;

    names[count++] = zb_cmd_strdup(v->path + parent);
    json_array_foreach(zb_field_array(json_object_get(v->shown, "rescue"), "datasets"), i, dataset)
    {
        const char *rel = zb_field_text(dataset, "rel");
        if (json_is_true(json_object_get(dataset, "volume"))) {
            fprintf(stderr, "warning: volume %s is not in the archive\n", rel);
        } else if (count < max && rel[0] != '\0' && zb_rescue_dir(v->path, rel, dir, sizeof dir) &&
                   dir[strlen(v->path)] == '+') {
            names[count++] = zb_cmd_strdup(dir + parent);
        }
    }
    return count;
}

static enum zb_rc
tar_run(char **argv, int output, struct zb_err *err)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0) {
        if (dup2(output, STDOUT_FILENO) >= 0) {
            (void)execvp(argv[0], argv);
        }
        _exit(127);
    }
    if (pid < 0) {
        return zb_err_sys(err, errno, "fork");
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        return ZB_OK;
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127) {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "tar(1) could not be run");
    }
    return zb_err_set(err, ZB_E_FAILED, "tar ended with status %d",
                      WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

/* A new file that only root reads: what the service kept to itself stays so. */
static enum zb_rc
output_open(const char *file, int *fd, struct zb_err *err)
{
    if (strcmp(file, "-") == 0) {
        *fd = STDOUT_FILENO;
        if (isatty(STDOUT_FILENO) == 1) {
            return zb_err_set(err, ZB_E_USAGE, "an archive is not for a terminal");
        }
        return ZB_OK;
    }
    *fd = open(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return *fd < 0 ? zb_err_sys(err, errno, "make %s", file) : ZB_OK;
}

static enum zb_rc
export_work(struct visit *v, struct zb_err *err)
{
    static char tar[] = "tar", create[] = "-cf", output[] = "-", numeric[] = "--numeric-owner",
                acls[] = "--acls", xattrs[] = "--xattrs", dir_flag[] = "-C", end[] = "--";
    const char *file = v->cli->operands[1];
    char parent[ZB_PATH_SIZE];
    char *argv[ARGS_MAX] = {tar, create, output, numeric, acls, xattrs, dir_flag, parent, end};
    int first = 9;
    int fd = -1;
    enum zb_rc rc = output_open(file, &fd, err);

    if (rc != ZB_OK) {
        return rc;
    }
    zb_strcopy(parent, sizeof parent, v->path);
    *strrchr(parent, '/') = '\0';
    int count = members_collect(v, argv + first, ARGS_MAX - first - 1);
    rc = tar_run(argv, fd, err);
    for (int i = 0; i < count; i++) {
        free(argv[first + i]);
    }
    if (fd != STDOUT_FILENO) {
        if (fsync(fd) != 0 && rc == ZB_OK) {
            rc = zb_err_sys(err, errno, "write %s", file);
        }
        (void)close(fd);
        if (rc != ZB_OK) {
            (void)unlink(file); /* a part of it is not to be taken for the whole */
        }
    }
    return rc;
}

int
zb_run_rescue_export(struct zb_cli *cli)
{
    struct visit v = {.cli = cli};
    struct zb_err err;
    enum zb_rc rc = visit_run(&v, export_work, &err);

    json_decref(v.shown);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

/* --- drop --- */

static bool
drop_consent(const struct zb_cli *cli, struct zb_err *err)
{
    json_t *shown = NULL;

    if (zb_cli_has(cli, ZB_OPT_YES)) {
        return true;
    }
    if (ask(cli, "rescue.show", &shown, err) != ZB_OK) {
        return false;
    }
    if (!zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_show_rescue(&cli->show, shown);
    }
    json_decref(shown);
    if (!zb_cli_has(cli, ZB_OPT_JSON) && zb_cli_confirm("Destroy it for good?")) {
        return true;
    }
    zb_err_set(err, ZB_E_REFUSED, "not agreed to; nothing was changed");
    zb_err_hint(err, "zbaton rescue drop -y %s does it", cli->operands[0]);
    return false;
}

int
zb_run_rescue_drop(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "rescue.drop"};

    if (!drop_consent(cli, &err)) {
        return zb_cli_fail(cli, &err);
    }
    call.args = json_pack("{s:s}", "name", cli->operands[0]);
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        printf("%s is destroyed.\n", cli->operands[0]);
    }
    json_decref(data);
    return 0;
}
