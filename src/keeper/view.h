/*
 * A service's tree as it is now: what the keeper's operations decide by.
 */
#ifndef ZB_KEEPER_VIEW_H
#define ZB_KEEPER_VIEW_H

#include "conf/service.h"
#include "keeper/rules.h"
#include "os/mount.h"
#include "wire/kmsg.h"
#include "zfs/zfs.h"

struct zb_keeper;
struct zb_keeper_job;

struct zb_keeper_view {
    char dataset[ZB_DATASET_NAME_SIZE]; /* root/service */
    uint64_t pool_guid;
    bool led;                /* the mark zbaton:led with this node's marks */
    struct zb_zfs_tree tree; /* everything; orphans and unfit ones are not in datasets */
    struct zb_os_mounts mounts;
    uint32_t count;                    /* 0: the tree does not exist */
    struct zb_kdataset *datasets;      /* sorted by rel */
    const struct zb_zfs_props **props; /* of datasets[i]; in tree */
    char volume[ZB_DATASET_NAME_SIZE]; /* the tree itself, where it is a zvol, or "" */
    char unfit[ZB_DATASET_NAME_SIZE];  /* a dataset with a name that no set can carry, or "" */
    bool doubtful; /* what looks written to could not be compared: another look may find it equal */
};

/* On a dataset below a tree that is none of its sets': left alone, with all below it, and hidden
 * from every view (kmsg.h, PROMOTE). The value is the term. */
#define ZB_KEEPER_ORPHAN "zbaton:orphan"

/* Full name of a dataset of a service: always conf.root/service[/rel], checked. buf of
 * ZB_DATASET_NAME_SIZE. */
enum zb_rc zb_keeper_dataset_name(const struct zb_keeper *k, const char *service, const char *rel,
                                  char *buf, struct zb_err *err) ZB_CHECKED;
/* ZB_E_SUSPENDED or ZB_E_NOTFOUND when the pool cannot be asked; a missing tree is count 0. */
enum zb_rc zb_keeper_view_open(const struct zb_keeper *k, const char *service,
                               struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;
void zb_keeper_view_close(struct zb_keeper_view *view);
/* Of a view that is kept for long: datasets stay, props, mounts and tree go. */
void zb_keeper_view_slim(struct zb_keeper_view *view);
/* Carries the orphan's mark, or is below one of the tree that does; p is one of view->tree. */
bool zb_keeper_is_orphan(const struct zb_keeper_view *view, const struct zb_zfs_props *p);
/* The tree has what no set can hold: itself a volume, an unusual name, a dataset that the service's
 * flavour does not carry (key.h). Refuses by name. */
enum zb_rc zb_keeper_view_whole(const struct zb_keeper_view *view, enum zb_conf_flavour flavour,
                                struct zb_err *err) ZB_CHECKED;
/* Marked for this service, node and pool; or below such a root and never completed: zbaton alone
 * receives there. What a partial receive may be thrown away from. */
bool zb_keeper_is_own(const struct zb_keeper_view *view, const struct zb_kdataset *d);
/* A tree that carries this service's mark somewhere, of whatever node. */
bool zb_keeper_view_is_managed(const struct zb_keeper_view *view, const char *service);
/* The dataset of this rel, or NULL. */
const struct zb_kdataset *zb_keeper_view_find(const struct zb_keeper_view *view, const char *rel);
/* `written` may stay above 0 after a rollback (zfs.h): of each unmounted dataset that looks written
 * to (rel alone; NULL: every one) the content is compared with its newest snapshot, and if they are
 * equal its written_bytes become 0. What cannot be compared stays as it looks. replay: intent logs
 * first, which whoever decides by the answer wants; it mounts the dataset for a moment, so the
 * caller claims it; keys are loaded for that. 0 txg where nothing looks written to. */
void zb_keeper_written_prove(struct zb_keeper *k, struct zb_keeper_view *view, const char *rel,
                             bool replay);
/* The facts of rules.h about the job's service; view may be NULL. runs: whether to ask the runner
 * too, as the declaration says, or without one by the service's control group. */
enum zb_rc zb_keeper_facts(struct zb_keeper *k, const struct zb_keeper_job *job,
                           const struct zb_keeper_view *view, bool runs,
                           struct zb_keeper_facts *facts, struct zb_err *err) ZB_CHECKED;

#endif
