/*
 * The declaration of services: one text for the whole cluster (libconfuse syntax), and one service
 * as canonical JSON, which travels to other nodes and to the keeper.
 *
 * Every text may be hostile: all of it is checked, unknown keys are errors, nothing is expanded
 * (no environment variables, no includes). Parsing keeps what libconfuse needs in a thread-local
 * while it runs; apart from that these functions share nothing and do no I/O but what they name.
 */
#ifndef ZB_CONF_SERVICE_H
#define ZB_CONF_SERVICE_H

#include <stdio.h>

#include "base/types.h"

enum zb_conf_runner {
    ZB_CONF_RUNNER_NONE = 0, /* data only */
    ZB_CONF_RUNNER_COMMAND,
    ZB_CONF_RUNNER_SYSTEMD,
};

enum zb_conf_failover {
    ZB_CONF_FAILOVER_MANUAL = 0, /* by an operator's order */
    ZB_CONF_FAILOVER_AUTOMATIC,  /* by itself too, when the leader's session in etcd is over */
};

/* What becomes of a service that failed: it does not stay, however often it is started. */
enum zb_conf_relocate {
    ZB_CONF_RELOCATE_NO = 0, /* it stays stopped where it is */
    ZB_CONF_RELOCATE_YES,    /* it is moved to another member */
};

enum zb_conf_witness {
    ZB_CONF_WITNESS_NONE = 0, /* not declared: the members alone vote */
    ZB_CONF_WITNESS_ETCD,     /* etcd has a vote (protocol.md, E9) */
};

/* How the datasets of a service travel; fixed for its life (zb_conf_services_change_check). */
enum zb_conf_flavour {
    ZB_CONF_FLAVOUR_PLAIN = 0,
    ZB_CONF_FLAVOUR_RAW, /* encrypted, as they are stored: who follows needs no key */
};

/* As ZFS numbers them (keyformat of zfsprops(7)). */
enum zb_conf_key_format {
    ZB_CONF_KEY_NONE = 0, /* not declared */
    ZB_CONF_KEY_RAW,      /* 32 bytes */
    ZB_CONF_KEY_HEX,      /* 64 digits */
    ZB_CONF_KEY_PASSPHRASE,
};

struct zb_conf_names {
    uint32_t count;
    char items[ZB_MEMBERS_MAX][ZB_NODE_NAME_SIZE];
};

/* Periods of which the newest set may be kept. */
enum zb_conf_bucket {
    ZB_CONF_HOURLY = 0,
    ZB_CONF_DAILY,
    ZB_CONF_WEEKLY, /* from Monday on */
    ZB_CONF_MONTHLY,
    ZB_CONF_YEARLY,
};
#define ZB_CONF_BUCKETS 5
#define ZB_CONF_KEEP_MAX 1000       /* of one period */
#define ZB_CONF_KEEP_LAST_MAX 10000 /* newest sets: keep, backup-keep, catch-up */

/* What is kept: a set that any of it wants (conf/retention.h). */
struct zb_conf_keep {
    uint32_t last;                     /* newest sets */
    uint64_t for_ms;                   /* sets that are not older; 0: none */
    uint32_t buckets[ZB_CONF_BUCKETS]; /* how many hours, days, ...; 0: none */
};

/* A valid declaration; members and backups together at most ZB_MEMBERS_MAX. Not declared strings
 * are "". */
struct zb_conf_service {
    char name[ZB_SERVICE_NAME_SIZE];
    struct zb_conf_names members;   /* may lead; all vote; at least one */
    struct zb_conf_names backups;   /* never lead */
    char leader[ZB_NODE_NAME_SIZE]; /* first leader of a new service; later it is not read */
    char mountpoint[ZB_PATH_SIZE];
    enum zb_conf_flavour flavour;
    char key_file[ZB_PATH_SIZE];        /* RAW: on every member, of the tree's encryption root */
    char key_command[ZB_COMMAND_SIZE];  /* ... or: program in commands-dir, arguments; may be "" */
    enum zb_conf_key_format key_format; /* of a tree that is made; NONE: as RAW */
    enum zb_conf_witness witness;
    enum zb_conf_failover failover;
    struct zb_conf_names prefer;     /* members, best first, where nothing else decides */
    uint64_t failback_ms;            /* how long who comes earlier in prefer has to be well before
                                      * the lead goes there by itself; 0: never */
    uint32_t interval_ms;            /* 1 s to 24 h */
    uint32_t idle_interval_ms;       /* ... while less than idle_bytes was written; 0: no such */
    uint64_t idle_bytes;             /* 0: no such */
    uint32_t max_loss_ms;            /* promise: not below interval_ms; 0: none */
    uint32_t max_loss_members;       /* followers that have to hold it; 0 when not declared: 1 */
    uint64_t backup_every_ms;        /* how often backups are sent sets; 0: as they are made */
    struct zb_conf_keep keep;        /* last: 2 to 10000 */
    struct zb_conf_keep backup_keep; /* on backups, where it is more; all 0 when not declared */
    uint32_t catch_up; /* newest sets that stay for a member that is away; 1 to 10000 */
    uint64_t
        foreign_grace_ms; /* copies of other tools' snapshots stay so long after they are gone */
    uint64_t send_limit_bytes; /* per second, of all its streams from a node; 0: none */
    uint64_t quota_bytes;      /* 0: none */
    enum zb_conf_runner runner;
    char start[ZB_COMMAND_SIZE]; /* COMMAND: program in commands-dir and arguments */
    char stop[ZB_COMMAND_SIZE];  /* COMMAND, may be "" */
    char check[ZB_COMMAND_SIZE]; /* COMMAND, may be "" */
    char unit[ZB_UNIT_SIZE];     /* SYSTEMD */
    uint32_t start_timeout_ms;   /* 1 s to 1 h */
    uint32_t stop_timeout_ms;
    uint32_t restarts; /* how often it is started again before it has failed; 0: without end */
    enum zb_conf_relocate relocate;
    uint64_t drill_ms; /* how often a follower's copy is tried; 0: never by itself */
    char drill_check[ZB_COMMAND_SIZE]; /* program in commands-dir and arguments; may be "" */
    uint32_t drill_timeout_ms;         /* 1 s to 24 h */
};

/* Sorted by name. Zero is an empty list; zb_conf_services_close frees items. */
struct zb_conf_services {
    uint32_t count;
    struct zb_conf_service *items;
};

/* Names that may be members; borrowed. */
struct zb_conf_nodes {
    uint32_t count;
    const char *const *names;
};

/* Lines of text, without newlines. Zero is empty; zb_conf_lines_close frees them. */
struct zb_conf_lines {
    uint32_t count;
    char **items;
};

bool zb_conf_names_contain(const struct zb_conf_names *names, const char *name);

/* Parses a whole configuration; name stands for it in messages ("services.conf"). known may be
 * NULL: then any node name will do. ZB_E_FORMAT with "name:line: what was expected", ZB_E_LIMIT,
 * ZB_E_NOMEM. out is written on success only. */
enum zb_rc zb_conf_services_parse(const char *text, const char *name,
                                  const struct zb_conf_nodes *known, struct zb_conf_services *out,
                                  struct zb_err *err) ZB_CHECKED;
void zb_conf_services_close(struct zb_conf_services *services);
/* NULL when there is none of that name. */
const struct zb_conf_service *zb_conf_services_find(const struct zb_conf_services *services,
                                                    const char *name);
/* What a service keeps on a node: a backup at least what the members do. */
struct zb_conf_keep zb_conf_keep_of(const struct zb_conf_service *service, const char *node);
/* As configuration text that parses again to the same; equal declarations print equally. Errors of
 * the stream are ferror's. */
void zb_conf_services_print(const struct zb_conf_services *services, FILE *file);

/* What applying new over old would change, one line each: "+ service web", "- service x",
 * "~ service db: interval 30s -> 10s". A changed leader is listed with the remark that it is only
 * read for a new service. Refuses nothing. out must be empty. ZB_E_NOMEM. */
enum zb_rc zb_conf_services_diff(const struct zb_conf_services *old,
                                 const struct zb_conf_services *new, struct zb_conf_lines *out,
                                 struct zb_err *err) ZB_CHECKED;
/* ZB_E_REFUSED when a service of new keeps more than can be listed, or one kept by new has another
 * flavour, or more than one voter added or removed (protocol.md M11: voters change one at a time;
 * moving a node between members and backups is a change of one voter). A changed leader of an
 * existing service is ignored. */
enum zb_rc zb_conf_services_change_check(const struct zb_conf_services *old,
                                         const struct zb_conf_services *new,
                                         struct zb_err *err) ZB_CHECKED;
void zb_conf_lines_close(struct zb_conf_lines *lines);

/* One service as JSON: an object with the keys and the values of the configuration text, all of
 * them strings or arrays of strings, in the order of the struct, undeclared ones left out. *text is
 * for free(). ZB_E_NOMEM. */
enum zb_rc zb_conf_service_to_json(const struct zb_conf_service *service, char **text,
                                   struct zb_err *err) ZB_CHECKED;
/* Strict: exactly the keys above, each at most once, every value checked as in a file.
 * ZB_E_FORMAT, ZB_E_LIMIT (a text of more than 64 KiB), ZB_E_NOMEM. */
enum zb_rc zb_conf_service_from_json(const char *text, struct zb_conf_service *service,
                                     struct zb_err *err) ZB_CHECKED;

#endif
