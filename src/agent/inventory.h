/*
 * What one node has of a service: its datasets with the guids of all their snapshots. Plain data;
 * made from the keeper's answers (position.c) or from a follower's (ship_inventory.c).
 */
#ifndef ZB_AGENT_INVENTORY_H
#define ZB_AGENT_INVENTORY_H

#include "base/types.h"

/* A bookmark of a set, from which another node that has the set can be sent on. */
struct zb_inventory_mark {
    char name[ZB_SNAP_NAME_SIZE];
    uint64_t guid;
    uint64_t createtxg;
    uint32_t before; /* of the dataset's snapshots, so many are older, or it itself */
};

struct zb_inventory_dataset {
    char uuid[ZB_UUID_SIZE];
    char rel[ZB_REL_SIZE];
    uint64_t guid;                    /* of the dataset itself; 0 for another node's */
    char newest[ZB_SNAP_NAME_SIZE];   /* newest snapshot of any tool, or "" */
    char token[1024];                 /* receive_resume_token or "" */
    uint32_t snaps_count;             /* at most ZB_SNAPS_MAX, the newest ones */
    uint64_t *guids;                  /* oldest first; owned */
    char (*names)[ZB_SNAP_NAME_SIZE]; /* of the same; owned; NULL for another node's */
    uint32_t marks_count;             /* where they were asked for */
    struct zb_inventory_mark *marks;  /* owned */
};

struct zb_inventory {
    uint32_t datasets_count;
    struct zb_inventory_dataset *datasets; /* owned */
};

void zb_inventory_close(struct zb_inventory *inv);
/* The dataset of this uuid, else the one at this place; NULL. */
const struct zb_inventory_dataset *zb_inventory_find(const struct zb_inventory *inv,
                                                     const char *uuid, const char *rel);
/* Position of the guid in d's list, or -1. */
int64_t zb_inventory_snap_find(const struct zb_inventory_dataset *d, uint64_t guid);
/* Every dataset of m is there with the snapshot of m. */
bool zb_inventory_holds(const struct zb_inventory *inv, const struct zb_manifest *m);
/* As holds, but datasets of m that are gone do not count; the tree's own one does. For a disk that
 * made or held m and then lost a child: what is left was never taken back behind m. */
bool zb_inventory_reached(const struct zb_inventory *inv, const struct zb_manifest *m);
/* Every dataset of m is there, by uuid, whatever snapshots it has. */
bool zb_inventory_has_datasets(const struct zb_inventory *inv, const struct zb_manifest *m);
/* The newest set of which every dataset of the tree has a snapshot, by name, as a manifest; sets
 * for which skip (may be NULL) is true are passed over. False when there is none (*m untouched) or
 * a dataset has no uuid. Only for an inventory with names. *m is owned by the caller. */
bool zb_inventory_rebuild(const struct zb_inventory *inv,
                          bool (*skip)(const void *ctx, struct zb_set_id id), const void *ctx,
                          struct zb_manifest *m);

enum zb_recall {
    ZB_RECALL_NONE,  /* *m is untouched */
    ZB_RECALL_WHOLE, /* every dataset has it */
    ZB_RECALL_PART,  /* those without a set as old as it are left out: they were made later, or what
                        they had of then is gone */
};
/* That set, by the name that it has on the tree's own dataset. ZB_RECALL_NONE where a dataset
 * lacks it that has older sets, or how old those are cannot be seen. Only for an inventory with
 * names. *m is owned by the caller. */
enum zb_recall zb_inventory_recall(const struct zb_inventory *inv, struct zb_set_id id,
                                   struct zb_manifest *m);

#endif
