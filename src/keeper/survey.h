/*
 * What a host still has of services when nobody is there to ask: copies on the pool, by their
 * marks, and records of its keeper. Reads only; for a host on which no keeper runs.
 */
#ifndef ZB_KEEPER_SURVEY_H
#define ZB_KEEPER_SURVEY_H

#include "base/types.h"
#include "zfs/zfs.h"

/* A set that is on disk, by the name of its snapshot. */
struct zb_survey_set {
    struct zb_set_id id;
    struct zb_wall time;
};

struct zb_survey_service {
    char name[ZB_SERVICE_NAME_SIZE];
    char node[ZB_NODE_NAME_SIZE]; /* whose marks it carries */
    bool own;                     /* they are of the node asked about, and of this pool */
    uint32_t datasets_count;
    uint64_t used_bytes;
    char without[ZB_DATASET_NAME_SIZE]; /* a dataset of it that holds no set; "" */
    uint32_t sets_count;
    struct zb_survey_set *sets; /* that every dataset holds (but `without`), oldest first; owned */
    uint32_t guids_count;
    uint64_t *guids; /* of all snapshots of its datasets; owned */
};

/* Zero is empty; zb_survey_close frees what it holds. */
struct zb_survey {
    uint64_t term;                      /* highest of any set below the root, rescues too */
    char mounted[ZB_DATASET_NAME_SIZE]; /* a dataset of a service that is mounted; "" */
    bool mounted_volume;                /* it is a zvol that has a device */
    uint32_t count;
    struct zb_survey_service *services; /* sorted by name; owned */
};

/* Looks through everything below root. Blocks for the pool. ZB_E_NOTFOUND: there is no such
 * dataset; errors of ZFS. *survey must be zero; the caller closes it, on failure too. */
enum zb_rc zb_keeper_survey(const char *root, const char *node, struct zb_survey *survey,
                            struct zb_err *err) ZB_CHECKED;
void zb_survey_close(struct zb_survey *survey);
/* The newest set that is whole; none: id 0/0. */
struct zb_survey_set zb_survey_newest(const struct zb_survey_service *service);

/* The highest term of any record in state_dir; 0: there is none. On failure (a record that cannot
 * be read) *term is that of the others. */
enum zb_rc zb_survey_records_term(const char *state_dir, uint64_t *term,
                                  struct zb_err *err) ZB_CHECKED;
/* No keeper runs on state_dir, and none can begin before *fd is closed, whatever the directory is
 * called meanwhile. *fd is untouched where none ever ran. ZB_E_BUSY: one runs. */
enum zb_rc zb_survey_idle_lock(const char *state_dir, int *fd, struct zb_err *err) ZB_CHECKED;

/* --- pure --- */

/* One more dataset of the service, with its snapshots: the sets that it lacks are no whole ones. */
enum zb_rc zb_survey_dataset_add(struct zb_survey_service *service, const char *dataset,
                                 const struct zb_zfs_snaps *snaps, struct zb_err *err) ZB_CHECKED;
/* Every dataset of m is there with its snapshot, by guid: more than names say. */
bool zb_survey_holds(const struct zb_survey_service *service, const struct zb_manifest *m);
/* That set is no whole one. */
void zb_survey_set_drop(struct zb_survey_service *service, struct zb_set_id id);
void zb_survey_service_close(struct zb_survey_service *service);

#endif
