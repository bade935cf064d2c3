/*
 * Directories reached without following a symbolic link anywhere, for mount.c.
 */
#ifndef ZB_OS_LINUX_DIR_H
#define ZB_OS_LINUX_DIR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/types.h"

/* Opens the directory that holds path's last component; last points into path. path is absolute,
 * without ".",
 * ".." and empty components. With make, missing directories up to there are made (0755). */
enum zb_rc zb_os_dir_open_parent(const char *path, bool make, int *fd, const char **last,
                                 struct zb_err *err) ZB_CHECKED;
/* Opens path itself for reading; with make it is made if missing. */
enum zb_rc zb_os_dir_open(const char *path, bool make, int *fd, struct zb_err *err) ZB_CHECKED;

/* Mount id, and whether the object is a mount's root. name "": the descriptor itself; else the
 * entry of that name in it, link not followed. */
enum zb_rc zb_os_dir_mount_id(int fd, const char *name, uint64_t *mount_id, bool *is_root,
                              struct zb_err *err) ZB_CHECKED;

#endif
