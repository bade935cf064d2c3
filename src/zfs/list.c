/*
 * Lists and observations: each one consistent view, by a channel program in open context (it holds
 * the pool's configuration lock, so no dataset comes or goes in its middle).
 *
 * Programs answer lines "<number> <number> <name>": names may contain spaces, numbers not.
 */
#include "zfs/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char lua_children[] =
    "local args = ...\n"
    "local out, n = {}, 0\n"
    "local function walk(ds)\n"
    "    n = n + 1\n"
    "    out[n] = '0 0 ' .. ds\n"
    "    for child in zfs.list.children(ds) do walk(child) end\n"
    "end\n"
    "if zfs.exists(args['name']) then walk(args['name']) end\n" ZB_ZFS_ANSWER;

/* Each dataset with its newest snapshot and the guid of that: not one of its origin's, which
 * prevsnap of a clone may be. Where there is none, whether it is unfinished: that question opens
 * the dataset. */
static const char lua_tree[] =
    "local args = ...\n"
    "local out, n = {}, 0\n"
    "local function walk(ds)\n"
    "    local snap = zfs.get_prop(ds, 'prevsnap') or ''\n"
    "    n = n + 1\n"
    "    if string.sub(snap, 1, #ds + 1) == ds .. '@' then\n"
    "        out[n] = zfs.get_prop(snap, 'guid') .. ' 0 ' .. snap\n"
    "    else out[n] = '0 ' .. (zfs.get_prop(ds, 'inconsistent') or 0) .. ' ' .. ds end\n"
    "    for child in zfs.list.children(ds) do walk(child) end\n"
    "end\n"
    "if zfs.exists(args['name']) then walk(args['name']) end\n" ZB_ZFS_ANSWER;

static const char lua_snapshots[] = "local args = ...\n"
                                    "local out, n = {}, 0\n"
                                    "if not zfs.exists(args['name']) then out = {'missing'} else\n"
                                    "for snap in zfs.list.snapshots(args['name']) do\n"
                                    "    n = n + 1\n"
                                    "    out[n] = zfs.get_prop(snap, 'guid') .. ' ' .. "
                                    "zfs.get_prop(snap, 'createtxg') .. ' ' .. snap\n"
                                    "end end\n" ZB_ZFS_ANSWER;

/* What a property is asked of is opened, each time, even if only to find that it has it; a name is
 * not. */
static const char lua_snapshot_names[] =
    "local args = ...\n"
    "local out, n = {}, 0\n"
    "if not zfs.exists(args['name']) then out = {'missing'} else\n"
    "for snap in zfs.list.snapshots(args['name']) do\n"
    "    n = n + 1\n"
    "    out[n] = '0 0 ' .. snap\n"
    "end end\n" ZB_ZFS_ANSWER;

static const char lua_guids[] =
    "local args = ...\n"
    "local out = {}\n"
    "for i, name in ipairs(args['names']) do\n"
    "    if zfs.exists(name) then out[i] = zfs.get_prop(name, 'guid') .. ' 1 ' .. name\n"
    "    else out[i] = '0 0 ' .. name end\n"
    "end\n" ZB_ZFS_ANSWER;

struct row {
    uint64_t first;
    uint64_t second;
    const char *name;
};

struct rows {
    char *text; /* names lie in it */
    size_t count;
    struct row *list;
};

static void
rows_close(struct rows *rows)
{
    free(rows->text);
    free(rows->list);
}

/* Numbers are signed in Lua: guids above 2^63 come negative. */
static bool
row_parse(const char *line, struct row *row)
{
    char *end;

    row->first = (uint64_t)strtoll(line, &end, 10);
    if (end == line || *end != ' ') {
        return false;
    }
    line = end + 1;
    row->second = (uint64_t)strtoll(line, &end, 10);
    if (end == line || *end != ' ' || strlen(end + 1) >= ZB_DATASET_NAME_SIZE) {
        return false;
    }
    row->name = end + 1;
    return true;
}

static size_t
lines_count(const char *text)
{
    size_t count = *text != '\0' ? 1 : 0;

    for (; *text != '\0'; text++) {
        count += *text == '\n' ? 1 : 0;
    }
    return count;
}

static enum zb_rc
rows_ask(const char *name, const char *lua, nvlist_t *args, struct rows *out, struct zb_err *err)
{
    struct rows rows = {0};
    char *rest = NULL;
    enum zb_rc rc = zb_zfs_ask(name, lua, args, &rows.text, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rows.list = calloc(lines_count(rows.text) + 1, sizeof *rows.list);
    if (rows.list == NULL) {
        rows_close(&rows);
        return zb_err_set(err, ZB_E_NOMEM, "no memory");
    }
    for (char *line = strtok_r(rows.text, "\n", &rest); rc == ZB_OK && line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (!row_parse(line, &rows.list[rows.count++])) {
            rc = zb_err_set(err, ZB_E_NOTFOUND, "it does not exist");
        }
    }
    if (rc == ZB_OK) {
        *out = rows;
    } else {
        rows_close(&rows);
    }
    return rc;
}

/* Runs the program for one name. */
static enum zb_rc
run_rows(const char *name, const char *lua, struct rows *rows, struct zb_err *err)
{
    nvlist_t *args = fnvlist_alloc();

    fnvlist_add_string(args, "name", name);
    enum zb_rc rc = rows_ask(name, lua, args, rows, err);
    fnvlist_free(args);
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "list %s", name);
}

static int
name_rank(char c)
{
    return c == '\0' || c == '@' ? 0 : c == '/' ? 1 : 1 + (unsigned char)c;
}

/* Order of datasets, each with or without a snapshot, in which a parent comes before its children
 * and children directly after it. */
static int
name_order(const char *a, const char *b)
{
    for (; name_rank(*a) != 0 && *a == *b; a++, b++) {
    }
    return name_rank(*a) - name_rank(*b);
}

static int
compare_names(const void *a, const void *b)
{
    return name_order(a, b);
}

enum zb_rc
zb_zfs_children_list(const char *root, struct zb_zfs_names *names, struct zb_err *err)
{
    struct rows rows = {0};

    enum zb_rc rc = zb_zfs_name_check(root, '\0', err);
    if (rc == ZB_OK) {
        rc = run_rows(root, lua_children, &rows, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    struct zb_zfs_names out = {.count = rows.count};
    if (rows.count == 0) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "list %s: it does not exist", root);
    } else if ((out.names = calloc(rows.count, sizeof *out.names)) == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "list %s: no memory", root);
    } else {
        for (size_t i = 0; i < rows.count; i++) {
            zb_strcopy(out.names[i], sizeof out.names[i], rows.list[i].name);
        }
        qsort(out.names, out.count, sizeof *out.names, compare_names);
        *names = out;
    }
    rows_close(&rows);
    return rc;
}

void
zb_zfs_names_close(struct zb_zfs_names *names)
{
    free(names->names);
    *names = (struct zb_zfs_names){0};
}

static int
compare_snaps(const void *a, const void *b)
{
    const struct zb_zfs_snap *x = a;
    const struct zb_zfs_snap *y = b;
    if (x->createtxg != y->createtxg) {
        return x->createtxg < y->createtxg ? -1 : 1;
    }
    return strcmp(x->name, y->name);
}

static enum zb_rc
snaps_run(const char *dataset, const char *lua, struct zb_zfs_snaps *snaps, struct zb_err *err)
{
    struct rows rows = {0};

    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc == ZB_OK) {
        rc = run_rows(dataset, lua, &rows, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    struct zb_zfs_snaps out = {.count = rows.count};
    out.snaps = calloc(rows.count + 1, sizeof *out.snaps);
    if (out.snaps == NULL) {
        rc = zb_err_set(err, ZB_E_NOMEM, "list snapshots of %s: no memory", dataset);
    } else {
        for (size_t i = 0; i < rows.count; i++) {
            const char *at = strchr(rows.list[i].name, '@');
            zb_strcopy(out.snaps[i].name, sizeof out.snaps[i].name, at != NULL ? at + 1 : "");
            out.snaps[i].guid = rows.list[i].first;
            out.snaps[i].createtxg = rows.list[i].second;
        }
        qsort(out.snaps, out.count, sizeof *out.snaps, compare_snaps);
        *snaps = out;
    }
    rows_close(&rows);
    return rc;
}

enum zb_rc
zb_zfs_snaps_list(const char *dataset, struct zb_zfs_snaps *snaps, struct zb_err *err)
{
    return snaps_run(dataset, lua_snapshots, snaps, err);
}

enum zb_rc
zb_zfs_snaps_names(const char *dataset, struct zb_zfs_snaps *snaps, struct zb_err *err)
{
    return snaps_run(dataset, lua_snapshot_names, snaps, err);
}

static uint64_t
bookmark_number(nvlist_t *props, const char *name)
{
    nvlist_t *prop;
    uint64_t value = 0;
    if (nvlist_lookup_nvlist(props, name, &prop) != 0 ||
        nvlist_lookup_uint64(prop, "value", &value) != 0) {
        return 0;
    }
    return value;
}

enum zb_rc
zb_zfs_bookmarks_list(const char *dataset, struct zb_zfs_snaps *marks, struct zb_err *err)
{
    enum zb_rc rc = zb_zfs_name_check(dataset, '\0', err);
    if (rc != ZB_OK) {
        return rc;
    }
    nvlist_t *wanted = fnvlist_alloc();
    nvlist_t *found = NULL;
    fnvlist_add_boolean(wanted, "guid");
    fnvlist_add_boolean(wanted, "createtxg");
    int e = lzc_get_bookmarks(dataset, wanted, &found);
    fnvlist_free(wanted);
    if (e != 0) {
        fnvlist_free(found);
        return zb_zfs_fail(err, e, dataset, "list bookmarks of %s", dataset);
    }
    struct zb_zfs_snaps out = {0};
    out.snaps = calloc(fnvlist_num_pairs(found) + 1, sizeof *out.snaps);
    if (out.snaps == NULL) {
        fnvlist_free(found);
        return zb_err_set(err, ZB_E_NOMEM, "list bookmarks of %s: no memory", dataset);
    }
    for (nvpair_t *p = nvlist_next_nvpair(found, NULL); p != NULL;
         p = nvlist_next_nvpair(found, p)) {
        struct zb_zfs_snap *mark = &out.snaps[out.count++];
        nvlist_t *props = fnvpair_value_nvlist(p);
        zb_strcopy(mark->name, sizeof mark->name, nvpair_name(p));
        mark->guid = bookmark_number(props, "guid");
        mark->createtxg = bookmark_number(props, "createtxg");
    }
    fnvlist_free(found);
    qsort(out.snaps, out.count, sizeof *out.snaps, compare_snaps);
    *marks = out;
    return ZB_OK;
}

void
zb_zfs_snaps_close(struct zb_zfs_snaps *snaps)
{
    free(snaps->snaps);
    *snaps = (struct zb_zfs_snaps){0};
}

const struct zb_zfs_snap *
zb_zfs_snaps_find_guid(const struct zb_zfs_snaps *snaps, uint64_t guid)
{
    for (size_t i = 0; i < snaps->count; i++) {
        if (snaps->snaps[i].guid == guid) {
            return &snaps->snaps[i];
        }
    }
    return NULL;
}

/* Runs a program that answers one row per name, in order: "<value> <whether it exists> <name>". */
static enum zb_rc
ask_each(const char *const *names, size_t count, const char *lua, uint64_t *values,
         struct zb_err *err)
{
    struct rows rows = {0};
    nvlist_t *args = fnvlist_alloc();

    fnvlist_add_string_array(args, "names", names, (uint_t)count);
    enum zb_rc rc = rows_ask(names[0], lua, args, &rows, err);
    fnvlist_free(args);
    for (size_t i = 0; rc == ZB_OK && i < count; i++) {
        if (i >= rows.count || rows.list[i].second == 0) {
            rc = zb_err_set(err, ZB_E_NOTFOUND, "%s does not exist", names[i]);
        } else {
            values[i] = rows.list[i].first;
        }
    }
    rows_close(&rows);
    return rc;
}

enum zb_rc
zb_zfs_guids(const char *const *names, size_t count, uint64_t *guids, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;
    for (size_t i = 0; rc == ZB_OK && i < count; i++) {
        rc = zb_zfs_name_check(names[i], strchr(names[i], '@') != NULL ? '@' : '\0', err);
    }
    if (rc != ZB_OK || count == 0) {
        return rc;
    }
    uint64_t *found = calloc(count, sizeof *found);
    if (found == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "read guid of %s: no memory", names[0]);
    }
    rc = ask_each(names, count, lua_guids, found, err);
    if (rc == ZB_OK) {
        memcpy(guids, found, count * sizeof *guids);
    }
    free(found);
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "read guid of %s", names[0]);
}

static int
compare_rows(const void *a, const void *b)
{
    const struct row *x = a;
    const struct row *y = b;
    return name_order(x->name, y->name);
}

static enum zb_rc
row_observe(const struct row *row, struct zb_zfs_props *props, struct zb_err *err)
{
    char dataset[ZB_DATASET_NAME_SIZE];
    char snap[2 * ZB_DATASET_NAME_SIZE];
    const char *const snaps[] = {snap};
    size_t length = strcspn(row->name, "@");

    snprintf(dataset, sizeof dataset, "%.*s", (int)length, row->name);
    enum zb_rc rc = zb_zfs_props_get(dataset, props, err);
    if (rc != ZB_OK) {
        return rc;
    }
    props->newest_guid = row->first;
    props->inconsistent = row->second != 0;
    snprintf(snap, sizeof snap, "%s@%s", dataset, props->newest);
    if (props->newest[0] == '\0' && row->first != 0) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "%s does not exist any more", row->name);
    } else if (props->newest[0] != '\0' && strcmp(snap, row->name) != 0) { /* made meanwhile */
        props->inconsistent = false;
        rc = zb_zfs_guids(snaps, 1, &props->newest_guid, err);
    }
    if (rc != ZB_OK) {
        zb_zfs_props_close(props);
    }
    return rc;
}

static enum zb_rc
observe_once(const char *root, struct zb_zfs_tree *tree, struct zb_err *err)
{
    struct zb_zfs_tree out = {0};
    struct rows rows = {0};

    enum zb_rc rc = zb_zfs_name_check(root, '\0', err);
    if (rc == ZB_OK) {
        rc = run_rows(root, lua_tree, &rows, err);
    }
    if (rc == ZB_OK && rows.count == 0) {
        rc = zb_err_set(err, ZB_E_NOTFOUND, "list %s: it does not exist", root);
    } else if (rc == ZB_OK && rows.count > ZB_DATASETS_MAX) {
        (void)zb_err_set(err, ZB_E_LIMIT, "%s has %zu datasets, more than %d", root, rows.count,
                         ZB_DATASETS_MAX);
        rc = ZB_E_LIMIT;
    } else if (rc == ZB_OK && (out.datasets = calloc(rows.count, sizeof *out.datasets)) == NULL) {
        (void)zb_err_set(err, ZB_E_NOMEM, "no memory");
        rc = ZB_E_NOMEM;
    } else if (rc == ZB_OK) {
        qsort(rows.list, rows.count, sizeof *rows.list, compare_rows);
    }
    for (size_t i = 0; rc == ZB_OK && i < rows.count; i++) {
        rc = row_observe(&rows.list[i], &out.datasets[i], err);
        out.count += rc == ZB_OK;
    }
    if (rc == ZB_OK) {
        *tree = out;
    } else {
        zb_zfs_tree_close(&out);
    }
    rows_close(&rows);
    return rc;
}

enum zb_rc
zb_zfs_tree_observe(const char *root, struct zb_zfs_tree *tree, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;
    /* A dataset or snapshot that came or went between two looks: look again. */
    for (int tries = 3; tries > 0; tries--) {
        rc = observe_once(root, tree, err);
        if (rc != ZB_E_NOTFOUND) {
            break;
        }
    }
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "observe %s", root);
}

void
zb_zfs_tree_close(struct zb_zfs_tree *tree)
{
    for (size_t i = 0; i < tree->count; i++) {
        zb_zfs_props_close(&tree->datasets[i]);
    }
    free(tree->datasets);
    *tree = (struct zb_zfs_tree){0};
}
