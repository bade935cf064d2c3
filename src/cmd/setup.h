/*
 * What init and join have in common: a node's files, made completely or not at all. cluster.json
 * comes last and is what says that a node is set up.
 */
#ifndef ZB_CMD_SETUP_H
#define ZB_CMD_SETUP_H

#include "agent/config_doc.h"
#include "cmd/cli.h"
#include "conf/node.h"
#include "net/pki.h"

#define ZB_SETUP_MADE_MAX 24

struct zb_setup {
    struct zb_conf_node conf;
    const char *conf_path;
    char address[ZB_ADDRESS_SIZE]; /* where the others reach this node */
    bool conf_exists;              /* it is used as it is */
    bool root_exists;              /* ... already */
    bool dataset_made;
    char aside[ZB_PATH_SIZE + 32];  /* what the state directory is called now; "" */
    char former[ZB_PATH_SIZE + 96]; /* a history whose manifests the new one gets; "" */
    uid_t engine_uid;
    gid_t engine_gid;
    unsigned made_count; /* files and directories, in order */
    char made[ZB_SETUP_MADE_MAX][ZB_PATH_SIZE + 64];
};

/* What must be so before anything is made: root, names, users, nothing set up here yet, the parent
 * of the root dataset. Changes nothing. *setup is filled. */
enum zb_rc zb_setup_begin(const struct zb_cli *cli, struct zb_setup *setup,
                          struct zb_err *err) ZB_CHECKED;
/* Directories and the container dataset. */
enum zb_rc zb_setup_places_make(struct zb_setup *setup, struct zb_err *err) ZB_CHECKED;
/* A file of the state directory (agent/files.h), of root, 0600. */
enum zb_rc zb_setup_file_write(struct zb_setup *setup, const char *name, const char *text,
                               struct zb_err *err) ZB_CHECKED;
/* History with doc, zbatond.conf, and at the very end cluster.json. */
enum zb_rc zb_setup_finish(struct zb_setup *setup, const struct zb_config_doc *doc,
                           const char *cluster_id, struct zb_err *err) ZB_CHECKED;
/* Removes what was made, newest first, and nothing else; what was set aside is back in its place.
 */
void zb_setup_undo(struct zb_setup *setup);

#endif
