/*
 * A version of the cluster's configuration: cluster, nodes and which of them are drained, services,
 * which of them are frozen and where they failed, labels of sets, and what it goes on from, as one
 * JSON object ("freezes", "failed", "labels" and "recovered" only where there are any). Its
 * canonical text (sorted keys, no spaces) is what nodes agree on, hash and store.
 */
#ifndef ZB_AGENT_CONFIG_DOC_H
#define ZB_AGENT_CONFIG_DOC_H

#include <jansson.h>

#include "agent/config_rules.h"
#include "agent/drained.h"
#include "agent/failed.h"
#include "agent/freeze.h"
#include "agent/label.h"
#include "agent/recovered.h"
#include "conf/service.h"

#define ZB_CONFIG_DOC_MAX                                                                          \
    (900u << 10) /* canonical bytes: fits a peer's frame with its envelope                         \
                  */

struct zb_config_node {
    char name[ZB_NODE_NAME_SIZE];
    char address[ZB_ADDRESS_SIZE];
    char fingerprint[65]; /* of its certificate; may be empty */
    char next[65];        /* of the one that takes its place, while both are good; "": none */
    struct zb_drained drained;
};

/* Zero is none; zb_config_doc_close frees what it holds. */
struct zb_config_doc {
    uint64_t version; /* 0: a joining node's first list of peers, not agreed on by anybody */
    char cluster[ZB_NODE_NAME_SIZE];
    uint32_t nodes_count;
    struct zb_config_node nodes[ZB_NODES_MAX];
    char *text;                       /* services as the operator wrote them; owned */
    struct zb_conf_services services; /* the same, parsed; owned */
    struct zb_freezes freezes;        /* of these services alone; owned */
    struct zb_faileds failed;         /* likewise, and on members of them alone */
    struct zb_labels labels;          /* of these services alone; owned */
    struct zb_recovered recovered;    /* of services that may not be declared yet, too; owned */
};

/* Parses text (copied) as the services of *doc, whose nodes are set: ZB_E_FORMAT with
 * "file:line: ...". What is no service any more is not frozen any more, has failed nowhere, has no
 * labels, and is declared again as a new one; who is no member any more, it has not failed on. *doc
 * unchanged on failure.
 */
enum zb_rc zb_config_doc_services_set(struct zb_config_doc *doc, const char *text, const char *file,
                                      struct zb_err *err) ZB_CHECKED;
/* A deep copy. to must be zero. */
enum zb_rc zb_config_doc_copy(struct zb_config_doc *to, const struct zb_config_doc *from,
                              struct zb_err *err) ZB_CHECKED;
/* Index in doc->nodes or -1. */
int zb_config_doc_node_find(const struct zb_config_doc *doc, const char *name);

/* Canonical text, for free(), and its hash. ZB_E_LIMIT: longer than ZB_CONFIG_DOC_MAX. */
enum zb_rc zb_config_doc_format(const struct zb_config_doc *doc, char **text,
                                char hash[ZB_CONFIG_HASH_SIZE], struct zb_err *err) ZB_CHECKED;
/* Strict: ZB_E_FORMAT unless every key is there, valid, and the text is canonical. *doc must be
 * zero; written on success only. */
enum zb_rc zb_config_doc_parse(const char *text, struct zb_config_doc *doc,
                               struct zb_err *err) ZB_CHECKED;
void zb_config_doc_close(struct zb_config_doc *doc);
/* SHA-256 in hex. */
void zb_config_hash(const char *text, char hash[ZB_CONFIG_HASH_SIZE]);

#endif
