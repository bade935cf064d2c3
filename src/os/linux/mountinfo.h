/*
 * Lines of /proc/<pid>/mountinfo (proc(5)), for mount.c and holder.c.
 */
#ifndef ZB_OS_LINUX_MOUNTINFO_H
#define ZB_OS_LINUX_MOUNTINFO_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/types.h"

/* One line; strings have their octal escapes undone and lie in the text that was given. */
struct zb_os_mountinfo {
    uint64_t id;
    uint64_t parent_id;
    dev_t dev;
    const char *root; /* "/" unless a directory of the file system was bound */
    const char *dir;
    const char *fstype;
    const char *source;
    bool readonly; /* of the mount or the superblock */
};

/* Takes the next line off *cursor (text is overwritten). False at the end. A line that is not of
 * the format has dir NULL. */
bool zb_os_mountinfo_next(char **cursor, struct zb_os_mountinfo *line);

/* Whole file as a string of malloc; NULL with errno. proc files have no size beforehand. */
char *zb_os_file_read(const char *path);

#endif
