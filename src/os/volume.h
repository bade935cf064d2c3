/*
 * Devices of zvols. Their names come from the links that the udev rules of OpenZFS make,
 * /dev/zvol/<dataset>: without them (no udev, or not yet) a device is not found.
 *
 * Thread safe. Only zb_os_volume_writable opens a device, and blocks on a suspended pool.
 */
#ifndef ZB_OS_VOLUME_H
#define ZB_OS_VOLUME_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"

#define ZB_OS_VOLUMES "/dev/zvol/" /* before a dataset's name */

/* Calls add for the device of dataset, and for each below it; not for snapshots and partitions.
 * Reads /dev alone. What add says ends it. ZB_E_SYS: not all could be seen. */
enum zb_rc zb_os_volumes_each(const char *dataset,
                              enum zb_rc (*add)(void *ctx, const char *name, dev_t dev,
                                                struct zb_err *err),
                              void *ctx, struct zb_err *err) ZB_CHECKED;

/* Opens the device to ask whether it can be written to; nothing is. ZB_E_NOTFOUND. */
enum zb_rc zb_os_volume_writable(const char *dataset, bool *writable,
                                 struct zb_err *err) ZB_CHECKED;

/* A name of the device that is the same on every host, whatever its pool: /dev/zbaton/<name>, where
 * name is "service/rel". It leads to /dev/zvol/<dataset>, and so to nothing while there is no such
 * device. Links and directories in its way are older ones of this function, and go. */
enum zb_rc zb_os_volume_link(const char *name, const char *dataset, struct zb_err *err) ZB_CHECKED;

#endif
