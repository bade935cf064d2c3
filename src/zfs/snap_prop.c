#include "zfs/internal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One step of a program for each snapshot that is there with its guid: another one of its name is
 * never taken for it, as nothing comes between the question and what is done. Guids are compared
 * as Lua writes them: signed. */
#define FOR_EACH(step)                                                                             \
    "local args = ...\n"                                                                           \
    "local out = {}\n"                                                                             \
    "for i, name in ipairs(args['names']) do\n"                                                    \
    "    local got = ''\n"                                                                         \
    "    if zfs.exists(name) and zfs.get_prop(name, 'guid') .. '' == args['guids'][i] then\n"      \
    "        local value, source = zfs.get_prop(name, args['prop'])\n"                             \
    "        if source ~= name then value = '' end\n" step "    end\n"                             \
    "    out[i] = got\n"                                                                           \
    "end\n"                                                                                        \
    "return out\n"

static const char lua_get[] = FOR_EACH("        got = value\n");
static const char lua_set[] =
    FOR_EACH("        got = zfs.sync.set_prop(name, args['prop'], args['values'][i]) .. ''\n");
static const char lua_destroy[] = FOR_EACH("        if value ~= '' then\n"
                                           "            got = zfs.sync.destroy(name) .. ''\n"
                                           "        end\n");

/* A string for each of list, the program's own words. Valid as long as *table, for the caller. */
static enum zb_rc
program_run(const char *prop, const char *lua, const struct zb_zfs_snap_value *list, size_t count,
            nvlist_t **table, struct zb_err *err)
{
    const char **names = calloc(3 * count + 1, sizeof(*names));
    char(*guids)[24] = calloc(count + 1, sizeof(*guids));

    if (names == NULL || guids == NULL) {
        free(names);
        free(guids);
        return zb_err_set(err, ZB_E_NOMEM, "property %s of %zu snapshots: no memory", prop, count);
    }
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(guids[i], sizeof(guids[i]), "%" PRId64, (int64_t)list[i].guid);
        names[i] = list[i].snap;
        names[count + i] = guids[i];
        names[2 * count + i] = list[i].value;
    }
    enum zb_rc rc = zb_zfs_names_check(names, count, '@', err);
    if (rc == ZB_OK) {
        nvlist_t *args = fnvlist_alloc();
        fnvlist_add_string(args, "prop", prop);
        fnvlist_add_string_array(args, "names", names, (uint_t)count);
        fnvlist_add_string_array(args, "guids", names + count, (uint_t)count);
        fnvlist_add_string_array(args, "values", names + 2 * count, (uint_t)count);
        rc = zb_zfs_program(list[0].snap, lua != lua_get, lua, args, table, err);
        fnvlist_free(args);
    }
    free(names);
    free(guids);
    return rc == ZB_OK ? ZB_OK : zb_err_wrap(err, "property %s of %s", prop, list[0].snap);
}

static const char *
answer_of(nvlist_t *table, size_t i)
{
    char key[24];
    const char *text;

    (void)snprintf(key, sizeof(key), "%zu", i + 1);
    return nvlist_lookup_string(table, key, &text) == 0 ? text : "";
}

enum zb_rc
zb_zfs_snaps_prop_get(const char *prop, struct zb_zfs_snap_value *list, size_t count,
                      struct zb_err *err)
{
    nvlist_t *table = NULL;
    enum zb_rc rc = count > 0 ? program_run(prop, lua_get, list, count, &table, err) : ZB_OK;

    for (size_t i = 0; rc == ZB_OK && i < count; i++) {
        const char *value = answer_of(table, i);
        bool fits = strlen(value) < sizeof(list[i].value);
        zb_strcopy(list[i].value, sizeof(list[i].value), fits ? value : "");
    }
    fnvlist_free(table);
    return rc;
}

enum zb_rc
zb_zfs_snaps_prop_set(const char *prop, const struct zb_zfs_snap_value *list, size_t count,
                      struct zb_err *err)
{
    nvlist_t *table = NULL;
    enum zb_rc rc = count > 0 ? program_run(prop, lua_set, list, count, &table, err) : ZB_OK;

    for (size_t i = 0; rc == ZB_OK && i < count; i++) {
        int e = (int)strtol(answer_of(table, i), NULL, 10);
        if (e != 0) {
            rc = zb_zfs_fail(err, e, list[i].snap, "set %s of %s", prop, list[i].snap);
        }
    }
    fnvlist_free(table);
    return rc;
}

enum zb_rc
zb_zfs_snaps_prop_destroy(const char *prop, const struct zb_zfs_snap_value *list, size_t count,
                          uint32_t *destroyed, struct zb_err *err)
{
    nvlist_t *table = NULL;
    enum zb_rc rc = count > 0 ? program_run(prop, lua_destroy, list, count, &table, err) : ZB_OK;

    *destroyed = 0;
    for (size_t i = 0; rc == ZB_OK && i < count; i++) {
        *destroyed += strcmp(answer_of(table, i), "0") == 0;
    }
    fnvlist_free(table);
    return rc;
}
