/*
 * Commands about the cluster: apply, config, node, token, version.
 */
#include <errno.h>
#include <inttypes.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/memory.h"
#include "cmd/table.h"

#define LIFETIME_DEFAULT_S 86400

/* A whole text file, "-" is standard input; for free(). */
static enum zb_rc
file_read(const char *path, char **text, struct zb_err *err)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "re");

    if (file == NULL) {
        return zb_err_sys(err, errno, "%s", path);
    }
    char *buf = zb_cmd_realloc(NULL, ZB_CONF_TEXT_MAX + 1);
    size_t used = fread(buf, 1, ZB_CONF_TEXT_MAX + 1, file);
    enum zb_rc rc = ZB_OK;

    if (ferror(file)) {
        rc = zb_err_sys(err, errno, "%s", path);
    } else if (used > ZB_CONF_TEXT_MAX) {
        rc = zb_err_set(err, ZB_E_LIMIT, "%s: longer than %u bytes", path, ZB_CONF_TEXT_MAX);
    } else if (memchr(buf, '\0', used) != NULL) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s: not a text", path);
    }
    if (file != stdin) {
        fclose(file);
    }
    if (rc != ZB_OK) {
        free(buf);
        return rc;
    }
    buf[used] = '\0';
    *text = buf;
    return ZB_OK;
}

/* A call that only shows its data: JSON or by show. */
static int
simple_call(struct zb_cli *cli, const char *cmd, json_t *args,
            enum zb_rc (*show)(const struct zb_show *show, const json_t *data, struct zb_err *err))
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = cmd, .args = args};
    enum zb_rc rc = zb_cli_call(cli, &call, &data, &err);

    if (rc == ZB_OK && zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else if (rc == ZB_OK) {
        rc = show(&cli->show, data, &err);
    }
    json_decref(data);
    return rc == ZB_OK ? 0 : zb_cli_fail(cli, &err);
}

/* --- apply --- */

/* base: the version the differences were shown against; 0 in the dry run. */
static json_t *
apply_args(const char *file, const char *text, bool consent, int64_t base)
{
    return json_pack("{s:s, s:s, s:b, s:b, s:I}", "file", file, "text", text, "dry_run", base == 0,
                     "consent", consent, "base", (json_int_t)base);
}

/* Whether the change may go on: it needs consent and has it. */
static bool
apply_consent(const struct zb_cli *cli, const json_t *plan, struct zb_err *err)
{
    if (!zb_field_bool(plan, "consent_needed") || zb_cli_has(cli, ZB_OPT_YES) ||
        zb_cli_confirm("Change these datasets?")) {
        return true;
    }
    zb_err_set(err, ZB_E_REFUSED, "this changes datasets that exist; nothing was changed");
    zb_err_hint(err, "zbaton apply -n FILE shows what changes, zbaton apply -y FILE does it");
    return false;
}

static int
apply_commit(struct zb_cli *cli, const char *file, const char *text, int64_t base)
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "apply", .args = apply_args(file, text, true, base)};

    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        size_t accepted = json_array_size(zb_field_array(data, "accepted_by"));
        printf("Version %" PRId64 " is in force, accepted by %zu of %" PRId64 " nodes.\n",
               zb_field_int(data, "version", 0), accepted, zb_field_int(data, "nodes", 0));
    }
    json_decref(data);
    return 0;
}

static int
apply_run(struct zb_cli *cli, const char *file, const char *text, bool dry_run)
{
    json_t *plan = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "apply", .args = apply_args(file, text, false, 0)};
    bool json = zb_cli_has(cli, ZB_OPT_JSON);
    int code = 0;

    if (zb_cli_call(cli, &call, &plan, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (!json) {
        zb_show_apply(&cli->show, plan);
    }
    if (dry_run && json) {
        zb_cli_json(cli, plan);
    } else if (json_array_size(zb_field_array(plan, "diff")) == 0 &&
               !zb_field_bool(plan, "text_differs")) {
        if (json) {
            zb_cli_json(cli, plan);
        } else {
            printf("Nothing to change: version %" PRId64 " says the same.\n",
                   zb_field_int(plan, "base", 0));
        }
    } else if (dry_run) {
        puts("Dry run: nothing was changed.");
    } else if (!apply_consent(cli, plan, &err)) {
        code = zb_cli_fail(cli, &err);
    } else {
        code = apply_commit(cli, file, text, zb_field_int(plan, "base", 0));
    }
    json_decref(plan);
    return code;
}

static int
apply_file(struct zb_cli *cli, bool dry_run)
{
    char *text = NULL;
    struct zb_err err;

    if (file_read(cli->operands[0], &text, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    int code = apply_run(cli, cli->operands[0], text, dry_run);
    free(text);
    return code;
}

int
zb_run_apply(struct zb_cli *cli)
{
    return apply_file(cli, zb_cli_has(cli, ZB_OPT_DRY_RUN));
}

int
zb_run_config_check(struct zb_cli *cli)
{
    return apply_file(cli, true);
}

/* What is printed is the file; freezes are no part of it. */
static enum zb_rc
show_text(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    size_t i;
    json_t *one;

    (void)err;
    fputs(zb_field_text(data, "text"), show->out);
    json_array_foreach(zb_field_array(data, "frozen"), i, one)
    {
        fprintf(stderr, "frozen: %s: ", zb_field_text(one, "service"));
        zb_text_print(stderr, zb_field_text(one, "reason"));
        fprintf(stderr, " (%s, %s)\n", zb_field_text(one, "who"), zb_field_text(one, "since"));
    }
    return ZB_OK;
}

int
zb_run_config_show(struct zb_cli *cli)
{
    return simple_call(cli, "config.show", NULL, show_text);
}

/* --- nodes and tokens --- */

int
zb_run_node_list(struct zb_cli *cli)
{
    return simple_call(cli, "node.list", NULL, zb_show_nodes);
}

static enum zb_rc
remove_call(const struct zb_cli *cli, bool dry_run, json_t **data, struct zb_err *err)
{
    struct zb_client_call call = {.cmd = "node.remove",
                                  .args =
                                      json_pack("{s:s, s:b, s:b}", "node", cli->operands[0], "lost",
                                                zb_cli_has(cli, ZB_OPT_LOST), "dry_run", dry_run)};

    return zb_cli_call(cli, &call, data, err);
}

int
zb_run_node_remove(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = remove_call(cli, true, &data, &err);
    const char *question =
        rc == ZB_OK && zb_field_bool(data, "last_key")
            ? "No other node is known to hold the key of the cluster's CA: without it nobody can "
              "join, and no certificate can be renewed. Take it out?"
            : "It can come back only with a new token. Take it out?";

    json_decref(data);
    data = NULL;
    if (rc == ZB_OK && !zb_cli_has(cli, ZB_OPT_YES) && !zb_cli_confirm(question)) {
        (void)zb_err_set(&err, ZB_E_REFUSED, "not agreed to; nothing was changed");
        rc = zb_err_hint(&err, "zbaton node remove -y%s %s does it",
                         zb_cli_has(cli, ZB_OPT_LOST) ? " --lost" : "", cli->operands[0]);
    }
    if (rc == ZB_OK) {
        rc = remove_call(cli, false, &data, &err);
    }
    if (rc != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        zb_text_print(stdout, cli->operands[0]);
        puts(" is no node of the cluster any more, and its certificate is not accepted.");
    }
    json_decref(data);
    return 0;
}

static enum zb_rc
show_token(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    (void)err;
    zb_text_print(show->out, zb_field_text(data, "token"));
    fputc('\n', show->out);
    if (!show->scripted) {
        fputs("\nOn the new host, once, before ", show->out);
        zb_text_print(show->out, zb_field_text(data, "expires"));
        fputs(":\n  zbaton join TOKEN --node NAME --root DATASET --listen ADDRESS:PORT\n",
              show->out);
    }
    return ZB_OK;
}

int
zb_run_token_create(struct zb_cli *cli)
{
    int64_t lifetime_s = LIFETIME_DEFAULT_S;

    if (zb_cli_has(cli, ZB_OPT_LIFETIME) &&
        !zb_cli_duration(cli->values[ZB_OPT_LIFETIME], &lifetime_s)) {
        fprintf(stderr, "zbaton token create: --lifetime wants a time as 90s, 30m, 24h or 7d\n");
        return zb_rc_exit(ZB_E_USAGE);
    }
    return simple_call(cli, "token.create",
                       json_pack("{s:I}", "lifetime_s", (json_int_t)lifetime_s), show_token);
}

int
zb_run_token_list(struct zb_cli *cli)
{
    return simple_call(cli, "token.list", NULL, zb_show_tokens);
}

static enum zb_rc
show_nothing(const struct zb_show *show, const json_t *data, struct zb_err *err)
{
    (void)show;
    (void)data;
    (void)err;
    return ZB_OK;
}

int
zb_run_token_revoke(struct zb_cli *cli)
{
    return simple_call(cli, "token.revoke", json_pack("{s:s}", "id", cli->operands[0]),
                       show_nothing);
}

/* The daemon's version is "" when none answers: the program's own is told all the same. */
int
zb_run_version(struct zb_cli *cli)
{
    json_t *data = NULL;
    struct zb_err err;
    struct zb_client_call call = {.cmd = "ping"};
    const char *daemon = "";

    if (zb_cli_call(cli, &call, &data, &err) == ZB_OK) {
        daemon = zb_field_text(data, "version");
    }
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        json_t *versions = json_pack("{s:s, s:s}", "zbaton", ZB_VERSION, "zbatond", daemon);
        zb_cli_json(cli, versions);
        json_decref(versions);
    } else {
        printf("zbaton %s\n", ZB_VERSION);
        zb_text_print(stdout, daemon[0] == '\0' ? err.msg : daemon);
        putchar('\n');
    }
    json_decref(data);
    return 0;
}
