/*
 * verify: whether members hold the same files under a set.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/cli.h"
#include "cmd/field.h"
#include "cmd/format.h"
#include "cmd/table.h"

#define ALL 10000 /* a share */

/* "5", "5%", "0.5%": in 1/ALL. */
static bool
share_parse(const char *text, int64_t *share)
{
    int64_t whole = 0, part = 0;
    const char *p = text;

    for (; *p >= '0' && *p <= '9' && p - text < 4; p++) {
        whole = whole * 10 + (*p - '0');
    }
    bool any = p > text;
    if (any && *p == '.') {
        any = p[1] >= '0' && p[1] <= '9';
        part = any ? (p[1] - '0') * 10 : 0;
        p += any ? 2 : 1;
        if (*p >= '0' && *p <= '9') {
            part += *p++ - '0';
        }
    }
    p += *p == '%' ? 1 : 0;
    *share = whole * 100 + part;
    return any && *p == '\0' && *share > 0 && *share <= ALL;
}

/* "vm1,vm3" */
static json_t *
nodes_parse(const char *text)
{
    json_t *nodes = json_array();

    for (;;) {
        size_t n = strcspn(text, ",");
        if (n > 0) {
            json_array_append_new(nodes, json_stringn(text, n));
        }
        if (text[n] == '\0') {
            return nodes;
        }
        text += n + 1;
    }
}

static enum zb_rc
args_make(const struct zb_cli *cli, json_t **args, struct zb_err *err)
{
    const char *nodes = cli->values[ZB_OPT_NODES];
    int64_t number;

    if (zb_cli_has(cli, ZB_OPT_FULL) && zb_cli_has(cli, ZB_OPT_SAMPLE)) {
        return zb_err_set(err, ZB_E_USAGE, "either --full or --sample");
    }
    *args = json_pack("{s:s, s:s, s:o}", "service", cli->operands[0], "set",
                      cli->operands_count > 1 ? cli->operands[1] : "", "nodes",
                      nodes_parse(nodes != NULL ? nodes : ""));
    if (zb_cli_has(cli, ZB_OPT_FULL)) {
        json_object_set_new(*args, "share", json_integer(ALL));
    } else if (zb_cli_has(cli, ZB_OPT_SAMPLE)) {
        if (!share_parse(cli->values[ZB_OPT_SAMPLE], &number)) {
            return zb_err_set(err, ZB_E_USAGE, "--sample wants a percentage from 0.01%% to 100%%");
        }
        json_object_set_new(*args, "share", json_integer(number));
    }
    if (zb_cli_has(cli, ZB_OPT_TIMEOUT)) {
        if (!zb_cli_duration(cli->values[ZB_OPT_TIMEOUT], &number)) {
            return zb_err_set(err, ZB_E_USAGE, "--timeout wants a time as 90s, 30m, 24h or 7d");
        }
        json_object_set_new(*args, "timeout_s", json_integer(number));
    }
    return ZB_OK;
}

static void
text_put(const char *before, const char *text)
{
    fputs(before, stdout);
    zb_text_print(stdout, text);
}

/* "vm1, vm2" */
static void
names_print(const json_t *names)
{
    size_t i;
    json_t *name;

    json_array_foreach((json_t *)(uintptr_t)names, i, name)
    {
        text_put(i > 0 ? ", " : "", json_is_string(name) ? json_string_value(name) : "-");
    }
}

/* "  data/base/16384: vm1, vm2 agree; vm3 has it otherwise; missing on vm4" */
static void
name_print(const json_t *name)
{
    const json_t *same = zb_field_array(name, "same");
    const json_t *missing = zb_field_array(name, "missing");

    text_put("  ", zb_field_text(name, "path"));
    for (size_t i = 0; i < json_array_size(same); i++) {
        fputs(i > 0 ? "; otherwise on " : ": on ", stdout);
        names_print(json_array_get(same, i));
    }
    if (json_array_size(missing) > 0) {
        fputs("; missing on ", stdout);
        names_print(missing);
    }
    putchar('\n');
}

static void
errors_print(const json_t *node)
{
    size_t i;
    json_t *error;

    json_array_foreach(zb_field_array(node, "errors"), i, error)
    {
        text_put("  ", zb_field_text(error, "path"));
        text_put(": cannot be read on ", zb_field_text(node, "node"));
        text_put(": ", zb_field_text(error, "error"));
        putchar('\n');
    }
    int64_t left = zb_field_int(node, "unreadable", 0) - (int64_t)i;
    if (left > 0) {
        printf("  %" PRId64 " more cannot be read on ", left);
        text_put("", zb_field_text(node, "node"));
        putchar('\n');
    }
}

static void
node_print(const json_t *node)
{
    char bytes[ZB_TEXT_SIZE], elapsed[ZB_TEXT_SIZE];

    text_put("  ", zb_field_text(node, "node"));
    printf(": %" PRId64 " names, the content of %" PRId64 " of %" PRId64 " files, %s read (%s)\n",
           zb_field_int(node, "names", 0), zb_field_int(node, "read_files", 0),
           zb_field_int(node, "files", 0),
           zb_format_bytes((uint64_t)zb_field_int(node, "read_bytes", 0), bytes),
           zb_format_elapsed(zb_field_int(node, "elapsed_ms", 0), elapsed));
}

static void
result_print(const json_t *data)
{
    const json_t *nodes = zb_field_array(data, "nodes");
    const json_t *skipped = zb_field_array(data, "skipped");
    bool same = zb_field_bool(data, "same");
    size_t i;
    json_t *one;

    text_put("", zb_field_text(data, "service"));
    text_put(": set ", zb_field_text(data, "set"));
    fputs(same ? " is the same on " : " is not the same on ", stdout);
    json_array_foreach(nodes, i, one)
    {
        text_put(i > 0 ? ", " : "", zb_field_text(one, "node"));
    }
    putchar('\n');
    json_array_foreach(nodes, i, one)
    {
        node_print(one);
    }
    json_array_foreach(nodes, i, one)
    {
        errors_print(one);
    }
    json_array_foreach(zb_field_array(data, "names"), i, one)
    {
        name_print(one);
    }
    if (!same && i == 10) {
        puts("  and possibly more");
    }
    if (json_array_size(skipped) > 0) {
        fflush(stdout);
        fputs("warning: not looked at, as they cannot be reached or hold no whole set:", stderr);
        json_array_foreach(skipped, i, one)
        {
            fputc(' ', stderr);
            zb_text_print(stderr, json_is_string(one) ? json_string_value(one) : "-");
        }
        fputc('\n', stderr);
    }
}

int
zb_run_verify(struct zb_cli *cli)
{
    struct zb_client_call call = {.cmd = "verify"};
    json_t *data = NULL;
    struct zb_err err;
    enum zb_rc rc = args_make(cli, &call.args, &err);

    if (rc != ZB_OK) {
        json_decref(call.args);
        return zb_cli_fail(cli, &err);
    }
    if (zb_cli_call(cli, &call, &data, &err) != ZB_OK) {
        return zb_cli_fail(cli, &err);
    }
    bool same = zb_field_bool(data, "same");
    if (zb_cli_has(cli, ZB_OPT_JSON)) {
        zb_cli_json(cli, data);
    } else {
        result_print(data);
    }
    json_decref(data);
    return same ? 0 : zb_rc_exit(ZB_E_FAILED);
}
