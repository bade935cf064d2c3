#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/internal.h"
#include "keeper/volume.h"

#define PRIOR "zbaton:prior:"
#define NOT_LOCAL "-" /* value of a prior mark: nobody had set the property on this dataset */
#define SERVICE_MARK "zbaton:service"
#define REST_VOLMODE 1 /* where it stands in `rest` */

/* What every copy has at rest (S0 and "On disk" of design.md), the leader's file systems too. */
static const struct value {
    const char *name;
    const char *text; /* NULL: number */
    uint64_t number;
    uint64_t unset_number; /* what "nobody set it" means, for numbers */
    bool local;            /* must be set on the dataset itself, inherited is not enough */
    bool root_only;        /* children inherit it: no value of their own */
    bool no_inherit;       /* cannot be inherited: cleared by setting unset_number */
    enum { ALL, FILE_SYSTEMS, VOLUMES } of;
    bool live; /* acts on what is in use at once: not changed there */
} rest[] = {
    {"readonly", NULL, ZB_ZFS_ON, ZB_ZFS_OFF, .local = true, .live = true},
    [REST_VOLMODE] = {"volmode", NULL, ZB_ZFS_VOLMODE_NONE, 0, .local = true, .of = VOLUMES,
                      .live = true},
    {"snapdev", NULL, 0, 0, .of = VOLUMES},
    {"canmount", NULL, ZB_ZFS_CANMOUNT_NOAUTO, ZB_ZFS_ON, .local = true, .no_inherit = true,
     .of = FILE_SYSTEMS},
    {"mountpoint", "none", 0, 0, .local = true, .root_only = true},
    {"dnodesize", NULL, ZB_ZFS_DNODESIZE_LEGACY, ZB_ZFS_DNODESIZE_LEGACY, .of = FILE_SYSTEMS},
    {"setuid", NULL, ZB_ZFS_OFF, ZB_ZFS_ON, .of = FILE_SYSTEMS},
    {"exec", NULL, ZB_ZFS_OFF, ZB_ZFS_ON, .of = FILE_SYSTEMS},
    {"devices", NULL, ZB_ZFS_OFF, ZB_ZFS_ON, .of = FILE_SYSTEMS},
    {"com.sun:auto-snapshot", "false", 0, 0},
    {"sharenfs", "off", 0, 0, .of = FILE_SYSTEMS},
    {"sharesmb", "off", 0, 0, .of = FILE_SYSTEMS},
    {"quota", NULL, 0, 0, .no_inherit = true, .of = FILE_SYSTEMS},
    {"refquota", NULL, 0, 0, .no_inherit = true, .of = FILE_SYSTEMS},
    {"reservation", NULL, 0, 0, .no_inherit = true},
    {"refreservation", NULL, 0, 0, .no_inherit = true},
};
#define REST_COUNT (sizeof(rest) / sizeof(rest[0]))

/* Properties that a fresh dataset has as wanted without being told. */
static bool
is_default(const struct value *v)
{
    return v->text == NULL ? v->number == v->unset_number
                           : strncmp(v->name, "share", strlen("share")) == 0;
}

static bool
value_equal(const struct value *v, const struct zb_zfs_value *now)
{
    if (v->text != NULL) {
        return now->text != NULL && strcmp(now->text, v->text) == 0;
    }
    return now->text == NULL && now->number == v->number;
}

static bool
applies(const struct value *v, enum zb_zfs_type type)
{
    return v->of == ALL || (v->of == VOLUMES) == (type == ZB_ZFS_VOLUME);
}

/* What is to be done to the property: nothing, set it, or let it be inherited. */
enum action { KEEP, SET, INHERIT };

static enum action
value_action(const struct value *v, const struct zb_zfs_props *props, bool is_root)
{
    struct zb_zfs_value now;
    bool found = zb_zfs_props_find(props, v->name, &now);
    bool local = found && now.source == ZB_ZFS_SOURCE_LOCAL;

    if (!applies(v, props->type)) {
        return KEEP;
    }
    if (v->root_only && !is_root) {
        return found && (local || now.source == ZB_ZFS_SOURCE_RECEIVED) ? INHERIT : KEEP;
    }
    if (!found) {
        return is_default(v) ? KEEP : SET;
    }
    return value_equal(v, &now) && (local || !v->local) ? KEEP : SET;
}

struct changes {
    size_t set_count, inherit_count;
    struct zb_zfs_setprop set[REST_COUNT];
    const char *inherit[REST_COUNT];
};

static void
changes_compute(const struct zb_zfs_props *props, bool is_root, bool in_use, struct changes *c)
{
    *c = (struct changes){0};
    for (size_t i = 0; i < REST_COUNT; i++) {
        switch (value_action(&rest[i], props, is_root)) {
        case SET:
            if (!in_use || !rest[i].live) {
                c->set[c->set_count++] = (struct zb_zfs_setprop){
                    .name = rest[i].name, .text = rest[i].text, .number = rest[i].number};
            }
            break;
        case INHERIT:
            c->inherit[c->inherit_count++] = rest[i].name;
            break;
        case KEEP:
            break;
        }
    }
}

static bool
changes_hide(const struct changes *c)
{
    for (size_t i = 0; i < c->set_count; i++) {
        if (strcmp(c->set[i].name, rest[REST_VOLMODE].name) == 0) {
            return true;
        }
    }
    return false;
}

enum zb_rc
zb_keeper_rest_set(const struct zb_zfs_props *props, bool is_root, bool in_use, struct zb_err *err)
{
    struct changes c;
    enum zb_rc rc = ZB_OK;

    changes_compute(props, is_root, in_use, &c);
    if (props->type == ZB_ZFS_VOLUME && changes_hide(&c)) {
        rc = zb_keeper_volume_closed(props->name, err);
    }
    if (rc == ZB_OK && c.set_count > 0) {
        rc = zb_zfs_props_set(props->name, c.set, c.set_count, err);
    }
    if (rc == ZB_OK && c.inherit_count > 0) {
        rc = zb_zfs_props_inherit(props->name, c.inherit, c.inherit_count, err);
    }
    return rc;
}

bool
zb_keeper_is_rested(const struct zb_zfs_props *props, bool is_root, bool in_use)
{
    struct changes c;

    changes_compute(props, is_root, in_use, &c);
    return c.set_count == 0 && c.inherit_count == 0;
}

enum zb_rc
zb_keeper_rest_set_all(const struct zb_keeper_view *view, struct zb_err *err)
{
    for (uint32_t i = 0; i < view->count; i++) {
        const struct zb_kdataset *d = &view->datasets[i];
        enum zb_rc rc = d->marked ? zb_keeper_rest_set(view->props[i], d->rel[0] == '\0',
                                                       d->mount == ZB_MOUNT_RW, err)
                                  : ZB_OK;
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return ZB_OK;
}

void
zb_keeper_rest_plan(const struct zb_zfs_props *props, bool is_root, char *text, size_t size)
{
    struct changes c;
    size_t used = strlen(text);

    changes_compute(props, is_root, false, &c);
    for (size_t i = 0; i < c.set_count && used < size; i++) {
        used += c.set[i].text != NULL
                    ? (size_t)snprintf(text + used, size - used, "zfs set %s=%s %s\n",
                                       c.set[i].name, c.set[i].text, props->name)
                    : (size_t)snprintf(text + used, size - used, "zfs set %s=%" PRIu64 " %s\n",
                                       c.set[i].name, c.set[i].number, props->name);
    }
    for (size_t i = 0; i < c.inherit_count && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "zfs inherit %s %s\n", c.inherit[i],
                                 props->name);
    }
}

static size_t
marks_fill(const struct zb_keeper_mark *mark, char pool_text[24], struct zb_zfs_setprop *out)
{
    size_t n = 0;

    (void)snprintf(pool_text, 24, "%" PRIu64, mark->pool_guid);
    out[n++] = (struct zb_zfs_setprop){.name = SERVICE_MARK, .text = mark->service};
    out[n++] = (struct zb_zfs_setprop){.name = "zbaton:node", .text = mark->node};
    out[n++] = (struct zb_zfs_setprop){.name = "zbaton:pool", .text = pool_text};
    out[n++] = (struct zb_zfs_setprop){.name = "zbaton:uuid", .text = mark->uuid};
    if (mark->raw) {
        out[n++] = (struct zb_zfs_setprop){.name = ZB_KEEPER_FLAVOUR, .text = "raw"};
    }
    if (mark->cluster[0] != '\0') {
        out[n++] = (struct zb_zfs_setprop){.name = "zbaton:cluster", .text = mark->cluster};
    }
    return n;
}

void
zb_keeper_new_props_fill(struct zb_keeper_new_props *p, const struct zb_keeper_mark *mark,
                         bool is_root, enum zb_zfs_type type)
{
    p->count = marks_fill(mark, p->pool_text, p->props);
    for (size_t i = 0; i < REST_COUNT; i++) {
        const struct value *v = &rest[i];
        if (applies(v, type) && (v->root_only ? is_root : v->local || !is_default(v))) {
            p->props[p->count++] =
                (struct zb_zfs_setprop){.name = v->name, .text = v->text, .number = v->number};
        }
    }
}

/* One value that will change, or that is local already, as a prior mark. */
static void
prior_fill(const struct value *v, const struct zb_zfs_props *props, char *name, size_t name_size,
           char *text, size_t text_size)
{
    struct zb_zfs_value now;

    (void)snprintf(name, name_size, PRIOR "%s", v->name);
    if (!zb_zfs_props_find(props, v->name, &now) || now.source != ZB_ZFS_SOURCE_LOCAL) {
        (void)snprintf(text, text_size, NOT_LOCAL);
    } else if (now.text != NULL) {
        (void)snprintf(text, text_size, "%s", now.text);
    } else {
        (void)snprintf(text, text_size, "%" PRIu64, now.number);
    }
}

enum zb_rc
zb_keeper_adopt(const struct zb_zfs_props *props, const struct zb_keeper_mark *mark, bool is_root,
                struct zb_err *err)
{
    char pool_text[24];
    char names[REST_COUNT][64];
    char texts[REST_COUNT][ZB_PATH_SIZE];
    struct zb_zfs_setprop set[REST_COUNT + 8];
    size_t n = 0;

    /* Remembered once: asked again after a crash half way, the values at rest are not the prior
     * ones. The service mark is set in the same transaction, so it says whether this was done. */
    if (zb_zfs_props_local(props, SERVICE_MARK) == NULL) {
        for (size_t i = 0; i < REST_COUNT; i++) {
            struct zb_zfs_value now;
            bool local =
                zb_zfs_props_find(props, rest[i].name, &now) && now.source == ZB_ZFS_SOURCE_LOCAL;
            if (applies(&rest[i], props->type) &&
                (local || value_action(&rest[i], props, is_root) != KEEP)) {
                prior_fill(&rest[i], props, names[n], sizeof(names[n]), texts[n], sizeof(texts[n]));
                set[n] = (struct zb_zfs_setprop){.name = names[n], .text = texts[n]};
                n += zb_zfs_props_local(props, names[n]) == NULL ? 1 : 0; /* zb_keeper_hide */
            }
        }
    }
    n += marks_fill(mark, pool_text, &set[n]);
    return zb_zfs_props_set(props->name, set, n, err);
}

enum zb_rc
zb_keeper_hide(const struct zb_zfs_props *props, struct zb_err *err)
{
    const struct value *mode = &rest[REST_VOLMODE];
    char name[64];
    char text[ZB_PATH_SIZE];
    struct zb_zfs_setprop set[] = {{.name = mode->name, .number = mode->number},
                                   {.name = name, .text = text}};

    prior_fill(mode, props, name, sizeof(name), text, sizeof(text));
    if (zb_zfs_props_local(props, SERVICE_MARK) != NULL) {
        set[1] = (struct zb_zfs_setprop){.name = "readonly", .number = ZB_ZFS_ON};
    } else if (zb_zfs_props_local(props, name) != NULL) {
        return zb_zfs_props_set(props->name, set, 1, err);
    }
    return zb_zfs_props_set(props->name, set, 2, err);
}

enum zb_rc
zb_keeper_unhide(const struct zb_zfs_props *props, struct zb_err *err)
{
    const struct value *mode = &rest[REST_VOLMODE];
    struct zb_zfs_setprop set = {.name = mode->name, .number = mode->unset_number};
    struct zb_zfs_value now;
    enum zb_rc rc;

    if (zb_zfs_props_find(props, mode->name, &now)) {
        if (now.source == ZB_ZFS_SOURCE_LOCAL) {
            return ZB_OK;
        }
        set.number = now.number;
    }
    rc = zb_zfs_props_set(props->name, &set, 1, err);
    return rc == ZB_OK ? zb_zfs_props_inherit(props->name, &mode->name, 1, err) : rc;
}

/* Puts one property back; values of a dataset that zbaton made were set by nobody before. */
static enum zb_rc
value_restore(const struct value *v, const struct zb_zfs_props *props, struct zb_err *err)
{
    char name[64];
    const char *prior;
    struct zb_zfs_value now;
    struct zb_zfs_setprop set = {.name = v->name};
    bool local = zb_zfs_props_find(props, v->name, &now) && now.source == ZB_ZFS_SOURCE_LOCAL;

    (void)snprintf(name, sizeof(name), PRIOR "%s", v->name);
    prior = zb_zfs_props_local(props, name);
    if (prior != NULL && strcmp(prior, NOT_LOCAL) != 0) {
        set.text = v->text != NULL ? prior : NULL;
        set.number = v->text != NULL ? 0 : strtoull(prior, NULL, 10);
        return zb_zfs_props_set(props->name, &set, 1, err);
    }
    if (!local) {
        return ZB_OK;
    }
    if (v->no_inherit) {
        set.number = v->unset_number;
        return zb_zfs_props_set(props->name, &set, 1, err);
    }
    return zb_zfs_props_inherit(props->name, &v->name, 1, err);
}

enum zb_rc
zb_keeper_hidden_return(const struct zb_zfs_props *props, struct zb_err *err)
{
    const struct value *mode = &rest[REST_VOLMODE];
    const char *const mark = PRIOR "volmode";
    enum zb_rc rc;

    if (zb_zfs_props_local(props, mark) == NULL) {
        return ZB_OK;
    }
    rc = value_restore(mode, props, err);
    return rc == ZB_OK ? zb_zfs_props_inherit(props->name, &mark, 1, err) : rc;
}

enum zb_rc
zb_keeper_unadopt(const struct zb_zfs_props *props, struct zb_err *err)
{
    const char *names[64];
    const char *name;
    void *cursor = NULL;
    size_t count = 0;

    /* Values first: as long as the marks are there this can be done again after a crash. */
    for (size_t i = 0; i < REST_COUNT; i++) {
        enum zb_rc rc =
            applies(&rest[i], props->type) ? value_restore(&rest[i], props, err) : ZB_OK;
        if (rc != ZB_OK) {
            return rc;
        }
    }
    while (count < sizeof(names) / sizeof(names[0]) &&
           (name = zb_zfs_props_next(props, &cursor)) != NULL) {
        if (strncmp(name, "zbaton:", strlen("zbaton:")) == 0 &&
            zb_zfs_props_local(props, name) != NULL) {
            names[count++] = name;
        }
    }
    return count > 0 ? zb_zfs_props_inherit(props->name, names, count, err) : ZB_OK;
}

enum zb_rc
zb_keeper_declared_set(const char *dataset, const struct zb_conf_service *conf, uint64_t term,
                       struct zb_err *err)
{
    char term_text[24];
    struct zb_zfs_setprop set[] = {
        {.name = "zbaton:led", .text = term_text},
        {.name = "mountpoint", .text = conf->mountpoint},
        {.name = "quota", .number = conf->quota_bytes},
    };
    struct zb_zfs_props now = {0};
    bool quota = conf->quota_bytes != 0;
    enum zb_rc rc;

    (void)snprintf(term_text, sizeof(term_text), "%" PRIu64, term);
    rc = zb_zfs_props_set(dataset, set, quota ? 3 : 2, err);
    if (rc == ZB_OK) {
        rc = zb_zfs_props_get(dataset, &now, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    if (now.mountpoint_source != ZB_ZFS_SOURCE_LOCAL ||
        strcmp(now.mountpoint, conf->mountpoint) != 0 ||
        (quota && now.quota_bytes != conf->quota_bytes)) {
        rc = zb_err_set(err, ZB_E_MISMATCH,
                        "declared values of %s did not take effect: "
                        "mountpoint %.200s, quota %" PRIu64,
                        dataset, now.mountpoint, now.quota_bytes);
    }
    zb_zfs_props_close(&now);
    return rc;
}
