/*
 * Every bound of zbaton in one place, and what happens past it.
 * Past a limit: an input is refused with ZB_E_LIMIT and the name of the limit; nothing is cut
 * short.
 */
#ifndef ZB_BASE_LIMITS_H
#define ZB_BASE_LIMITS_H

#define ZB_NODES_MAX 16               /* nodes of a cluster */
#define ZB_MEMBERS_MAX 9              /* members of a service */
#define ZB_SERVICES_MAX 1024          /* services of a cluster */
#define ZB_DATASETS_MAX 256           /* datasets of a service's tree */
#define ZB_NODE_NAME_SIZE 64          /* node name with its NUL: [a-z0-9][a-z0-9-]* */
#define ZB_SERVICE_NAME_SIZE 64       /* service name with its NUL: [a-z0-9][a-z0-9_-]* */
#define ZB_REL_SIZE 160               /* dataset name relative to the service's dataset, with NUL */
#define ZB_DATASET_NAME_SIZE 256      /* full dataset name (ZFS_MAX_DATASET_NAME_LEN) */
#define ZB_SNAP_NAME_SIZE 128         /* snapshot name without '@', with NUL */
#define ZB_UUID_SIZE 37               /* textual uuid with NUL */
#define ZB_ADDRESS_SIZE 80            /* "10.77.0.1:7979" or "[fd00::1]:7979" with NUL */
#define ZB_PATH_SIZE 1024             /* file system path with NUL */
#define ZB_COMMAND_SIZE 1024          /* command line of a service with NUL */
#define ZB_UNIT_SIZE 256              /* name of a systemd unit with NUL */
#define ZB_CONF_TEXT_MAX (512u << 10) /* bytes of a configuration file */
#define ZB_SNAPS_MAX 16384            /* snapshots of a dataset that are listed: the newest ones */

#define ZB_WIRE_FRAME_MAX (1u << 20)   /* payload of a peer frame; a longer one closes the peer */
#define ZB_WIRE_HELLO_MAX (16u << 10)  /* payload of a frame before the hello was accepted */
#define ZB_KMSG_MAX (512u << 10)       /* a keeper message; a longer one ends the engine */
#define ZB_CONTROL_LINE_MAX (4u << 20) /* a line on the control socket */
/* Keeper operations under way at once; more wait in order. What waits for a transaction group does
 * so beside others, so that many services share one. */
#define ZB_KEEPER_JOBS_MAX 256

#endif
