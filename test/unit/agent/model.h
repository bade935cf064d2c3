/*
 * A keeper with one service whose ZFS is a list of guids in memory: enough of wire/kmsg.h for two
 * engines to lead, follow and hand over. It checks what the real one checks before a receive, and
 * runs on the engine's loop.
 */
#ifndef ZB_TEST_AGENT_MODEL_H
#define ZB_TEST_AGENT_MODEL_H

#include <uv.h>

#include "wire/kmsg.h"

#define MODEL_DATASETS 4
#define MODEL_SNAPS 64

struct model_dataset {
    char uuid[ZB_UUID_SIZE];
    char rel[ZB_REL_SIZE];
    char token[32]; /* of a broken receive; SEND refuses every token */
    uint32_t snaps_count;
    struct zb_ksnap snaps[MODEL_SNAPS];
};

struct model_receive;

/* What becomes of one request. */
enum model_fault {
    MODEL_REFUSES = 1, /* nothing is done, and told to have failed */
    MODEL_UNSURE,      /* done, and told to have failed; SEND and RECEIVE are refused */
    MODEL_DROPS,       /* not done; the socket closes */
    MODEL_BREAKS,      /* done; the socket closes instead of the reply */
};

#define MODEL_LOOK (64u << 10)

struct model {
    uv_poll_t poll;
    int fd;
    char node[ZB_NODE_NAME_SIZE];
    bool mounted;
    bool sealed;
    bool running;
    bool no_runner;         /* START makes nothing run */
    bool unmounted_child;   /* the last dataset is not mounted where the others are */
    bool written;           /* since the newest set */
    uint64_t changed_bytes; /* written at rest, by others */
    uint64_t pool_guid;
    struct zb_record record;
    uint32_t datasets_count;
    struct model_dataset datasets[MODEL_DATASETS];
    struct model_receive *receives;
    uint64_t look;              /* nonce of the last OBSERVE, ... */
    uint8_t looked[MODEL_LOOK]; /* ... what it said, ... */
    size_t looked_size;
    uint64_t sames;                /* ... and how often that was said to be so still */
    uint64_t ops[ZB_KOP_LAST + 1]; /* how often each was asked */
    struct zb_set_id floor;        /* of the last PRUNE, and its other one */
    struct zb_set_id floor_way;
    const char *prune_asks;        /* text of PRUNE's reply */
    char prune_text[1024];         /* of the last one that had any */
    enum zb_rc receive_fails_once; /* the next RECEIVE is refused with it */
    bool mount_fails_once;         /* the next PROMOTE records its term, then fails */
    bool receive_stalls;           /* pipes are made and not read */
    const char *receive_stalls_at; /* ... of this dataset alone; NULL: of none */
    const char *blockers;          /* what BLOCKERS names */
    bool drill_fails;
    enum zb_rc fence_rc;                                    /* how FENCE is answered ... */
    bool fence_stalls;                                      /* ... when model_fence_end says so */
    uint64_t fence_id;                                      /* of the one under way; 0: none */
    struct zb_kreq fence;                                   /* the last one, without its text */
    void (*on_fence)(void *ctx, const struct zb_kreq *req); /* may be NULL */
    void *on_fence_ctx;
    enum zb_rc notify_rc;    /* how NOTIFY is answered ... */
    bool notify_stalls;      /* ... when model_notify_end says so */
    uint64_t notify_id;      /* of the one under way; 0: none */
    uint32_t notified;       /* how many there were */
    char notified_last[600]; /* "service rule level: text" */
    uint32_t rescued;        /* snapshots that RESCUE set aside */
    size_t payload_bytes;    /* of each stream, beside its header */
    uint64_t estimate_bytes; /* of each stream, as ESTIMATE says it; 0: it cannot */
    uint64_t requests;       /* how many came */
    uint64_t fault_at;       /* the request, from 1, that fault happens to; 0: none */
    enum model_fault fault;
    uint64_t faulted; /* id of the request it happened to; 0: not yet */
};

/* fd: the keeper's end. */
void model_init(struct model *m, uv_loop_t *loop, const char *node, int fd);
void model_close(struct model *m);
struct model_dataset *model_dataset_add(struct model *m, const char *uuid, const char *rel);
void model_snap_add(struct model_dataset *d, const char *name, uint64_t guid);
const struct model_dataset *model_dataset_find(const struct model *m, const char *rel);
uint64_t model_newest(const struct model *m, const char *rel); /* 0: none */

/* The NOTIFY that stalls ends. */
void model_notify_end(struct model *m, enum zb_rc rc);
/* The FENCE that stalls ends. */
void model_fence_end(struct model *m, enum zb_rc rc);

#endif
