/*
 * What the files of the engine share: one struct, owned by zb_agent_run and freed by it. Everything
 * happens on the loop's thread. Each state pointer belongs to the file named beside it; nobody else
 * looks behind it.
 */
#ifndef ZB_AGENT_INTERNAL_H
#define ZB_AGENT_INTERNAL_H

#include "agent/agent.h"
#include "agent/failed.h"
#include "agent/label.h"
#include "agent/recovered.h"

struct zb_agent_pki {
    char *ca_crt; /* PEM; owned */
    char *node_crt;
    char *node_key;
    char *ca_key; /* NULL unless the cluster's CA lives on this node */
};

struct zb_agent {
    const struct zb_conf_node *conf; /* borrowed for the life of the process */
    uv_loop_t loop;
    bool stopping; /* the loop is being ended */

    char cluster_name[ZB_NODE_NAME_SIZE];
    char cluster_id[ZB_UUID_SIZE];
    struct zb_agent_pki pki;

    /* From the keeper's HELLO. */
    uint64_t nonce;
    uint64_t pool_guid;
    char root[ZB_DATASET_NAME_SIZE];
    char boot_id[ZB_UUID_SIZE];

    /* Index is the number in the core. Slot 0 is this node from the start on. */
    uint8_t self;
    uint32_t nodes_count;
    struct zb_agent_node nodes[ZB_NODES_MAX];
    uint32_t services_count;
    struct zb_agent_service *services; /* ZB_SERVICES_MAX of them */

    char *kept; /* services the keeper had declarations of at the start, one name a line; owned */

    struct zb_history *history;
    struct zb_net *net;
    struct zb_core *core;

    struct zb_keeper_client *keeper;         /* keeper.c */
    struct zb_drive *drive;                  /* drive.c */
    struct zb_memo *memo;                    /* memo.c */
    struct zb_witness *witness;              /* witness.c */
    struct zb_applied *applied;              /* apply.c */
    struct zb_leaves *leaves;                /* leave.c; apply.c makes and frees it */
    struct zb_positions *positions;          /* position.c */
    struct zb_ships *ships;                  /* ship.c */
    struct zb_lands *lands;                  /* land.c */
    struct zb_pools *pools;                  /* pool.c */
    struct zb_rescues *rescues;              /* rescue.c */
    struct zb_peeks *peeks;                  /* peek.c */
    struct zb_foreigns *foreigns;            /* foreign.c */
    struct zb_said *said;                    /* said.c */
    struct zb_drills *drills;                /* drill.c */
    struct zb_verify *verify;                /* verify.c; NULL: none is under way */
    struct zb_promises *promises;            /* promise_watch.c */
    struct zb_troubles *troubles;            /* trouble.c */
    struct zb_fences *fences;                /* fence.c */
    struct zb_heart *heart;                  /* heart.c; NULL: no etcd is configured */
    struct zb_etcds *etcds;                  /* etcds.c */
    struct zb_takeovers *takeovers;          /* takeover.c */
    struct zb_placings *placings;            /* placing.c */
    struct zb_health *healths;               /* relocate.h; ZB_SERVICES_MAX of them */
    struct zb_notices *notices;              /* notify.c; NULL: nobody hears */
    struct zb_agent_subscriber *subscribers; /* event.c */

    struct zb_labels labels;        /* in force; config.c */
    struct zb_faileds failed;       /* likewise */
    struct zb_recovered recovered;  /* likewise */
    struct zb_config_state *config; /* config.c */
    struct zb_control *control;     /* control.c */
    struct zb_member_state *member; /* member.c */
    struct zb_certs *certs;         /* cert.c */
};

/* --- event.c --- */

/* Who wants every event from now on (`events -f`). Embedded in the caller's struct, linked while
 * subscribed; the texts given to on_event are borrowed. on_event may unsubscribe itself. */
struct zb_agent_event_view {
    int64_t id; /* of the history; 0 when it could not be written */
    struct zb_wall time;
    uint32_t level;      /* 4 warning, 6 information */
    const char *service; /* may be "" */
    const char *rule;
    const char *text;
};

struct zb_agent_subscriber {
    void (*on_event)(void *ctx, const struct zb_agent_event_view *event);
    void *ctx;
    struct zb_agent_subscriber *next;
};

void zb_agent_subscribe(struct zb_agent *a, struct zb_agent_subscriber *s);
/* Nothing happens when s is not subscribed. */
void zb_agent_unsubscribe(struct zb_agent *a, struct zb_agent_subscriber *s);

/* Tells the subscribers; memo.c. */
void zb_agent_event_publish(struct zb_agent *a, const struct zb_history_event *event, int64_t id);

/* --- memo.c --- */

/* Writes what was gathered for the history now: before reading what may just have happened. */
void zb_agent_flush(struct zb_agent *a);

/* --- drive.c --- */

/* Ends the loop; zb_agent_run then returns. Safe from any callback. */
void zb_agent_stop(struct zb_agent *a);

#endif
