/* Names of a follower's datasets, made those of a set: kmsg.h, ARRANGE. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

struct zb_rules_place *
zb_keeper_places_new(const struct zb_keeper *k, const struct zb_keeper_view *view,
                     const char *service, struct zb_err *err)
{
    struct zb_rules_place *places = calloc(view->tree.count + 1, sizeof(*places));

    if (places == NULL) {
        (void)zb_err_set(err, ZB_E_NOMEM, "no memory to look at the datasets of %s", view->dataset);
        return NULL;
    }
    for (size_t i = 0; i < view->tree.count; i++) {
        const struct zb_zfs_props *p = &view->tree.datasets[i];
        const char *uuid = zb_zfs_props_local(p, "zbaton:uuid");

        places[i].rel = p->name + strlen(view->dataset);
        places[i].rel += *places[i].rel == '/' ? 1 : 0;
        places[i].uuid = uuid != NULL && zb_uuid_valid(uuid) ? uuid : "";
        places[i].own = places[i].uuid[0] != '\0' &&
                        zb_keeper_is_marked(p, service, k->conf->node, view->pool_guid);
        places[i].orphan = zb_zfs_props_local(p, ZB_KEEPER_ORPHAN) != NULL;
    }
    return places;
}

/* The mounts of an orphan show in no view, and a rename leaves them where they are. */
static enum zb_rc
unmounted_check(const struct zb_keeper_view *view, const char *name, struct zb_err *err)
{
    size_t n = strlen(name);

    for (size_t i = 0; i < view->mounts.count; i++) {
        const struct zb_os_mount_entry *e = &view->mounts.entries[i];
        if (strncmp(e->dataset, name, n) == 0 &&
            (e->dataset[n] == '\0' || e->dataset[n] == '/' || e->dataset[n] == '@')) {
            return zb_err_set(err, ZB_E_HELD, "%s is in the way of the set, and mounted at %.200s",
                              name, e->dir);
        }
    }
    return ZB_OK;
}

static enum zb_rc
arrangement_apply(struct zb_keeper *k, const struct zb_kreq *req, const struct zb_keeper_view *view,
                  const struct zb_rules_arrangement *next, struct zb_err *err)
{
    const char *const mark = ZB_KEEPER_ORPHAN;
    const char *name = view->tree.datasets[next->place].name;
    char term[24];
    const struct zb_zfs_setprop orphan = {.name = mark, .text = term};
    char to[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc;

    if (next->kind == ZB_ARRANGE_UNMARK) {
        zb_log_info("%s is in the set again", name);
        return zb_zfs_props_inherit(name, &mark, 1, err);
    }
    rc = zb_keeper_dataset_name(k, req->service, next->to, to, err);
    if (rc == ZB_OK) {
        rc = unmounted_check(view, name, err);
    }
    if (rc == ZB_OK && next->orphan) { /* first: half done it is hidden and still in the way */
        (void)snprintf(term, sizeof(term), "%" PRIu64, req->term);
        zb_log_warning("%s is not in the set any more, another dataset of that name is: kept as %s",
                       name, to);
        rc = zb_zfs_props_set(name, &orphan, 1, err);
    }
    if (rc == ZB_OK) {
        zb_log_info("%s is renamed to %s", name, to);
        rc = zb_zfs_rename(name, to, err);
    }
    return rc;
}

enum zb_rc
zb_keeper_arrange(struct zb_keeper *k, const struct zb_kreq *req, struct zb_keeper_view *view,
                  struct zb_err *err)
{
    /* Each entry has at most one dataset in its way, one name to get and one mark to lose. */
    for (uint32_t left = 3 * req->manifest.entries_count + 1; left > 0; left--) {
        struct zb_rules_place *places = zb_keeper_places_new(k, view, req->service, err);
        struct zb_rules_arrangement next;
        enum zb_rc rc = places != NULL ? ZB_OK : ZB_E_NOMEM;

        if (rc == ZB_OK) {
            rc = zb_rules_arrange_next(&req->manifest, places, view->tree.count, &next, err);
        }
        free(places);
        if (rc != ZB_OK || next.kind == ZB_ARRANGE_NOTHING) {
            return rc;
        }
        rc = arrangement_apply(k, req, view, &next, err);
        if (rc == ZB_OK) {
            zb_keeper_view_close(view);
            rc = zb_keeper_view_open(k, req->service, view, err);
        }
        if (rc != ZB_OK) {
            return rc;
        }
    }
    return zb_err_set(err, ZB_E_FAILED, "the names of %s do not become those of the set",
                      req->service);
}

enum zb_rc
zb_keeper_op_arrange(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_keeper_record r;
    struct zb_keeper_facts facts;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    zb_keeper_record_copy(k, job->service, &r);
    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, &view, false, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_receive(&r, &job->req, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_arrange(k, &job->req, &view, err);
    }
    zb_keeper_view_close(&view);
    return rc;
}
