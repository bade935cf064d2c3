/* EXPIRE of kmsg.h: received copies of other tools' snapshots, and how they are known. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

#define RECEIVED "zbaton:received"
#define LINE_MAX_BYTES (ZB_DATASET_NAME_SIZE + ZB_FOREIGN_WHY_SIZE + 32)

void
zb_keeper_received_mark(const struct zb_keeper *k, const char *snap, const char *name,
                        uint64_t pool_guid)
{
    char mark[ZB_RECEIVED_MARK_SIZE];
    struct zb_zfs_setprop prop = {.name = RECEIVED, .text = mark};
    struct zb_set_id id;
    struct zb_err err;

    if (zb_set_name_parse(name, &id, NULL)) {
        return;
    }
    zb_rules_received_format(k->conf->node, pool_guid, mark);
    if (zb_zfs_props_set(snap, &prop, 1, &err) != ZB_OK) {
        zb_log_warning("%s: it stays for good here, for it cannot be marked: %s", snap, err.msg);
    }
}

/* ---- one dataset ---- */

struct expiry {
    const struct zb_keeper *k;
    const char *dataset;
    uint64_t pool_guid;
    struct zb_zfs_snaps list;
    size_t newest_set; /* index in list; SIZE_MAX: none */
    char *text;
    size_t used;
    size_t count;
    char names[ZB_KEEPER_BATCH][2 * ZB_DATASET_NAME_SIZE]; /* those that go */
};

static bool
is_received(const struct expiry *x, const char *snap)
{
    struct zb_zfs_props props;
    char mark[ZB_RECEIVED_MARK_SIZE];
    struct zb_err err;

    if (zb_zfs_props_get(snap, &props, &err) != ZB_OK) {
        return false;
    }
    zb_rules_received_format(x->k->conf->node, x->pool_guid, mark);
    const char *found = zb_zfs_props_local(&props, RECEIVED);
    bool is = found != NULL && strcmp(found, mark) == 0;
    zb_zfs_props_close(&props);
    return is;
}

static void
stay_tell(struct expiry *x, const struct zb_zfs_snap *snap, const char *why)
{
    if (x->used + LINE_MAX_BYTES < ZB_KEEPER_TEXT_MAX) {
        x->used += (size_t)snprintf(x->text + x->used, ZB_KEEPER_TEXT_MAX - x->used,
                                    "%" PRIu64 "\t%s\t%s\n", snap->guid, snap->name, why);
    }
}

static enum zb_rc
snap_judge(struct expiry *x, size_t index, struct zb_err *err)
{
    const struct zb_zfs_snap *snap = &x->list.snaps[index];
    char *full = x->names[x->count];
    char why[ZB_FOREIGN_WHY_SIZE];
    struct zb_zfs_names holds = {0}, clones = {0};

    (void)snprintf(full, sizeof(x->names[0]), "%s@%s", x->dataset, snap->name);
    enum zb_rc rc = zb_zfs_holds_list(full, &holds, err);
    if (rc == ZB_OK) {
        rc = zb_zfs_clones_list(full, &clones, err);
    }
    if (rc == ZB_OK) {
        const struct zb_rules_foreign facts = {
            .name = snap->name,
            .received = is_received(x, full),
            .is_older = x->newest_set != SIZE_MAX && index<x->newest_set, .hold = holds.count> 0
                            ? holds.names[0]
                            : "",
            .clone = clones.count > 0 ? clones.names[0] : ""};
        if (zb_rules_foreign_stays(&facts, why)) {
            stay_tell(x, snap, why);
        } else {
            x->count++;
        }
    }
    zb_zfs_names_close(&holds);
    zb_zfs_names_close(&clones);
    return rc == ZB_E_NOTFOUND ? ZB_OK : rc; /* gone meanwhile */
}

static enum zb_rc
guids_judge(struct expiry *x, const char *guids, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (size_t asked = 0; *guids != '\0' && rc == ZB_OK; asked++) {
        char *end = NULL;
        uint64_t guid = strtoull(guids, &end, 10);
        if (end == guids || (*end != '\n' && *end != '\0') || guid == 0 ||
            asked == ZB_KEEPER_BATCH) {
            return zb_err_set(err, ZB_E_USAGE, "at most %d guids, a line each, are wanted",
                              ZB_KEEPER_BATCH);
        }
        guids = *end == '\n' ? end + 1 : end;
        for (size_t i = 0; i < x->list.count && rc == ZB_OK; i++) {
            if (x->list.snaps[i].guid == guid) {
                rc = snap_judge(x, i, err);
            }
        }
    }
    return rc;
}

static void
newest_set_find(struct expiry *x)
{
    struct zb_set_id id;

    x->newest_set = SIZE_MAX;
    for (size_t i = 0; i < x->list.count; i++) {
        if (zb_set_name_parse(x->list.snaps[i].name, &id, NULL)) {
            x->newest_set = i;
        }
    }
}

static enum zb_rc
snaps_destroy(const struct expiry *x, uint32_t *destroyed, struct zb_err *err)
{
    const char *names[ZB_KEEPER_BATCH];

    for (size_t i = 0; i < x->count; i++) {
        names[i] = x->names[i];
        zb_log_info("%s is gone where it came from: it goes here too", names[i]);
    }
    return x->count == 0 ? ZB_OK : zb_keeper_batch_destroy(names, x->count, destroyed, err);
}

static enum zb_rc
dataset_expire(struct zb_keeper *k, struct zb_keeper_job *job, const char *dataset,
               uint64_t pool_guid, struct zb_err *err)
{
    struct expiry *x = calloc(1, sizeof(*x));
    uint32_t destroyed = 0;
    enum zb_rc rc;

    job->rep.text = calloc(1, ZB_KEEPER_TEXT_MAX);
    if (x == NULL || job->rep.text == NULL) {
        free(x);
        return zb_err_sys(err, ENOMEM, "expire");
    }
    x->k = k;
    x->dataset = dataset;
    x->pool_guid = pool_guid;
    x->text = job->rep.text;
    rc = zb_zfs_snaps_list(dataset, &x->list, err);
    if (rc == ZB_OK) {
        newest_set_find(x);
        rc = guids_judge(x, job->req.text != NULL ? job->req.text : "", err);
    }
    if (rc == ZB_OK) {
        rc = snaps_destroy(x, &destroyed, err);
    }
    job->rep.count = destroyed;
    zb_zfs_snaps_close(&x->list);
    free(x);
    return rc;
}

enum zb_rc
zb_keeper_op_expire(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record r;
    struct zb_keeper_facts facts;
    const struct zb_kdataset *d = NULL;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    zb_keeper_record_copy(k, job->service, &r);
    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, &view, false, &facts, err);
    }
    for (uint32_t i = 0; rc == ZB_OK && i < view.count && job->req.uuid[0] != '\0'; i++) {
        if (strcmp(view.datasets[i].uuid, job->req.uuid) == 0) {
            zb_keeper_written_prove(&view, view.datasets[i].rel, false);
            d = &view.datasets[i];
        }
    }
    if (rc == ZB_OK) {
        rc = zb_rules_expire(&r, &job->req, &facts, d, err);
    }
    if (rc == ZB_OK) {
        rc = dataset_expire(k, job, view.props[d - view.datasets]->name, view.pool_guid, err);
    }
    zb_keeper_view_close(&view);
    return rc;
}
