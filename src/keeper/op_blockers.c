/* BLOCKERS of kmsg.h: what is in the way here, by name. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "keeper/internal.h"
#include "os/holder.h"

#define TEXT_MAX (60u << 10) /* below what kmsg.h allows for text */
#define LOOKED_MAX 8192      /* old snapshots of a tree that are asked for holds and clones */

struct lines {
    struct zb_keeper *k;
    struct zb_keeper_job *job;
    char *text;
    size_t used;
    uint32_t left_off;
    uint32_t looked;
};

struct line {
    const char *kind;
    const char *dataset;
    const char *snap;
    const char *what;
};

/* File names may have what separates fields and lines. */
static void
field_clean(char *s, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)s[i] < 0x20 || s[i] == 0x7f) {
            s[i] = '?';
        }
    }
}

static void
line_add(struct lines *l, const struct line *line)
{
    const char *fields[] = {line->kind, line->dataset, line->snap, line->what};
    size_t used = l->used;

    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        size_t size = strlen(fields[i]);
        if (used + size + 1 >= TEXT_MAX) {
            l->text[l->used] = '\0';
            l->left_off++;
            return;
        }
        memcpy(l->text + used, fields[i], size);
        field_clean(l->text + used, size);
        used += size;
        l->text[used++] = i + 1 < sizeof(fields) / sizeof(fields[0]) ? '\t' : '\n';
    }
    l->used = used;
    l->text[used] = '\0';
}

/* ---- old sets ---- */

/* A clone that is in a rescue or a peek is told by the name of that. */
static bool
is_of(const struct zb_keeper *k, const struct zb_keeper_side *side, const char *clone,
      char name[ZB_DATASET_NAME_SIZE])
{
    char prefix[2 * ZB_DATASET_NAME_SIZE];
    size_t size = (size_t)snprintf(prefix, sizeof(prefix), "%s%s/", k->conf->root, side->container);

    if (strncmp(clone, prefix, size) != 0) {
        return false;
    }
    zb_strcopy(name, ZB_DATASET_NAME_SIZE, clone + size);
    name[strcspn(name, "/")] = '\0';
    return true;
}

static void
clone_tell(struct lines *l, const char *dataset, const char *snap, const char *clone)
{
    char name[ZB_DATASET_NAME_SIZE];

    if (is_of(l->k, &zb_keeper_rescues, clone, name)) {
        line_add(l, &(struct line){"rescue", dataset, snap, name});
    } else if (is_of(l->k, &zb_keeper_peeks, clone, name)) {
        line_add(l, &(struct line){"peek", dataset, snap, name});
    } else {
        line_add(l, &(struct line){"clone", dataset, snap, clone});
    }
}

static enum zb_rc
snap_look(struct lines *l, const char *dataset, const char *snap, struct zb_err *err)
{
    char full[2 * ZB_DATASET_NAME_SIZE];
    struct zb_zfs_names names = {0};

    (void)snprintf(full, sizeof(full), "%s@%s", dataset, snap);
    enum zb_rc rc = zb_zfs_holds_list(full, &names, err);
    for (size_t i = 0; i < names.count && rc == ZB_OK; i++) {
        line_add(l, &(struct line){"hold", dataset, snap, names.names[i]});
    }
    zb_zfs_names_close(&names);
    if (rc == ZB_OK) {
        rc = zb_zfs_clones_list(full, &names, err);
    }
    for (size_t i = 0; i < names.count && rc == ZB_OK; i++) {
        clone_tell(l, dataset, snap, names.names[i]);
    }
    zb_zfs_names_close(&names);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc; /* pruned meanwhile */
}

/* "12 zbaton-...": how many there are, and the oldest that the number alone keeps. */
static void
sets_tell(struct lines *l, const char *dataset, const struct zb_zfs_snaps *snaps, size_t from)
{
    char what[ZB_DATASET_NAME_SIZE];
    const char *oldest = "";
    size_t count = 0;

    for (size_t i = snaps->count; i-- > 0;) {
        struct zb_set_id id;
        if (zb_set_name_parse(snaps->snaps[i].name, &id, NULL)) {
            oldest = snaps->snaps[i].name;
            count++;
        }
    }
    (void)snprintf(what, sizeof(what), "%zu %.200s", count,
                   from < snaps->count ? snaps->snaps[from].name : "-");
    line_add(l, &(struct line){"sets", dataset, oldest, what});
}

/* Sets that only what is in the way keeps. */
static enum zb_rc
old_sets_look(struct lines *l, const struct zb_keeper_view *view, uint32_t index,
              struct zb_err *err)
{
    const char *dataset = view->props[index]->name;
    struct zb_keeper_plan plan = {0};
    size_t from = 0; /* the oldest of the newest N */
    enum zb_rc rc = zb_keeper_plan_open(&plan, l->k, l->job, dataset, err);

    while (rc == ZB_OK && from < plan.list.count && (plan.stays[from] & ZB_KEEP_LAST) == 0) {
        from++;
    }
    if (rc == ZB_OK && view->datasets[index].rel[0] == '\0') {
        sets_tell(l, dataset, &plan.list, from);
    }
    for (size_t i = 0; rc == ZB_OK && i < plan.list.count; i++) {
        if ((plan.stays[i] & ~ZB_KEEP_MARK) != 0) {
            continue;
        }
        if (l->looked++ == LOOKED_MAX) {
            l->left_off++;
            break;
        }
        rc = snap_look(l, dataset, plan.snaps[i].name, err);
    }
    zb_keeper_plan_close(&plan);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc;
}

/* ---- datasets ---- */

static void
dataset_tell(struct lines *l, const struct zb_keeper_view *view, uint32_t i, bool led)
{
    const struct zb_kdataset *d = &view->datasets[i];
    const char *name = view->props[i]->name;

    if (d->token[0] != '\0') {
        line_add(l, &(struct line){"partial", name, "", ""});
    }
    if (!led && !zb_keeper_is_own(view, d)) {
        line_add(l, &(struct line){"foreign", name, "", ""});
    }
}

static void
tree_tell(struct lines *l, const struct zb_keeper_view *view)
{
    for (size_t i = 0; i < view->tree.count; i++) {
        if (zb_keeper_is_orphan(view, &view->tree.datasets[i])) {
            line_add(l, &(struct line){"orphan", view->tree.datasets[i].name, "", ""});
        }
    }
    if (view->volume[0] != '\0') {
        line_add(l, &(struct line){"volume", view->volume, "", ""});
    }
    if (view->unfit[0] != '\0') {
        line_add(l, &(struct line){"unfit", view->unfit, "", ""});
    }
}

/* ---- mounts and processes ---- */

/* What an unmount fails at. A mount in another namespace usually goes with the one here. */
static bool
is_in_the_way(const struct zb_os_holder *h)
{
    return h->kind != ZB_OS_HOLDER_MOUNT && h->kind != ZB_OS_HOLDER_NESTED &&
           h->kind != ZB_OS_HOLDER_NAMESPACE;
}

static void
holders_tell(struct lines *l, const struct zb_os_holders *found)
{
    struct zb_os_holders *one = calloc(1, sizeof(*one));
    char text[ZB_PATH_SIZE + ZB_DATASET_NAME_SIZE + 160];

    for (size_t i = 0; i < found->count && one != NULL; i++) {
        const struct zb_os_holder *h = &found->list[i];
        /* The service itself is stopped before anything is unmounted. */
        if (is_in_the_way(h) && !zb_keeper_service_has(l->k, &l->job->conf, h->pid)) {
            one->count = 1;
            one->list[0] = *h;
            zb_os_holders_format(one, text, sizeof(text));
            line_add(l, &(struct line){"process", h->dataset, "", text});
        }
    }
    l->left_off += (uint32_t)found->more_count;
    free(one);
}

static enum zb_rc
holders_look(struct lines *l, const struct zb_os_holder_target *targets, size_t count,
             struct zb_err *err)
{
    struct zb_os_holders *found = calloc(1, sizeof(*found));
    enum zb_rc rc;

    if (found == NULL) {
        return zb_err_sys(err, ENOMEM, "blockers");
    }
    rc = zb_os_holders_find(targets, count, found, err);
    if (rc == ZB_OK) {
        holders_tell(l, found);
    }
    free(found);
    return rc;
}

/* A device may be none for the view, which then disturbs nothing. */
static bool
is_mounted(const struct zb_keeper_view *view, const struct zb_os_mount_entry *e)
{
    for (uint32_t i = 0; i < view->count; i++) {
        if (strcmp(view->props[i]->name, e->dataset) == 0) {
            return view->datasets[i].mount != ZB_MOUNT_NONE;
        }
    }
    return true;
}

static enum zb_rc
mounts_look(struct lines *l, const struct zb_keeper_view *view, bool led, struct zb_err *err)
{
    size_t count = view->mounts.count;
    struct zb_os_holder_target *targets;
    enum zb_rc rc;

    if (count == 0) {
        return ZB_OK;
    }
    targets = calloc(count, sizeof(*targets));
    if (targets == NULL) {
        return zb_err_sys(err, ENOMEM, "blockers");
    }
    for (size_t i = 0; i < count; i++) {
        const struct zb_os_mount_entry *e = &view->mounts.entries[i];
        targets[i] = (struct zb_os_holder_target){.dataset = e->dataset, .dev = e->dev};
        if (!led && is_mounted(view, e)) {
            line_add(l, &(struct line){e->volume ? "device" : "mount", e->dataset, "", e->dir});
        }
    }
    rc = holders_look(l, targets, count, err);
    free(targets);
    return rc;
}

enum zb_rc
zb_keeper_op_blockers(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct lines l = {.k = k, .job = job, .text = calloc(1, TEXT_MAX)};
    struct zb_keeper_view view = {0};
    struct zb_keeper_facts facts = {0};
    struct zb_err busy;
    uint64_t asides = zb_keeper_asides(k, job->service);

    job->rep.text = l.text;
    if (l.text == NULL) {
        return zb_err_sys(err, ENOMEM, "blockers");
    }
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, &view, false, &facts, err);
    }
    bool led = facts.stage == ZB_STAGE_MOUNTED;
    if (rc == ZB_OK) {
        rc = mounts_look(&l, &view, led, err);
    }
    for (uint32_t i = 0; i < view.count && rc == ZB_OK; i++) {
        dataset_tell(&l, &view, i, led);
        if (view.datasets[i].marked) {
            rc = old_sets_look(&l, &view, i, err);
        }
    }
    if (rc == ZB_OK) {
        tree_tell(&l, &view);
    }
    job->rep.count = l.left_off;
    zb_keeper_view_close(&view);
    if (zb_keeper_aside_check(k, job, asides, &busy) != ZB_OK) {
        *err = busy;
        rc = busy.rc;
    }
    return rc;
}
