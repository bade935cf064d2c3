/*
 * Names of what lies in a node's state directory, made by `zbaton init` and `zbaton join`, read by
 * the engine before it gives up root.
 */
#ifndef ZB_AGENT_FILES_H
#define ZB_AGENT_FILES_H

#define ZB_FILE_CLUSTER "cluster.json" /* {"name", "id"}; root, 0600 */
#define ZB_FILE_CA_CRT "ca.crt"        /* PEM; root, 0600, as the three below */
#define ZB_FILE_CA_KEY "ca.key"        /* only on the node that made the cluster */
#define ZB_FILE_NODE_CRT "node.crt"
#define ZB_FILE_NODE_KEY "node.key"
#define ZB_DIR_KEEPER "keeper"              /* root, 0700: the keeper's records */
#define ZB_DIR_ENGINE "engine"              /* of ZB_ENGINE_USER, 0700: the engine's chroot */
#define ZB_FILE_HISTORY "engine/history.db" /* of ZB_ENGINE_USER */
#define ZB_FILE_CONTROL "control.sock"      /* in the run directory */

#endif
