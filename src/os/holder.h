/*
 * Who keeps a dataset busy, or the device of a zvol: for the sentence an operator reads when an
 * unmount or a seal is refused. An explanation, never a proof: zb_zfs_held is the proof. What no
 * process shows (an NFS export, a namespace kept only by a bind mount of its file) is not found.
 *
 * Thread safe. Reads /proc and /sys, and looks at the files of other processes through
 * /proc/<pid>/fd (stat, statfs): cached inodes, no disk, yet a dataset in the middle of a rollback
 * or receive makes it wait; for a worker thread. Some ms per 1000 open files of the host. Needs
 * root (CAP_SYS_PTRACE).
 */
#ifndef ZB_OS_HOLDER_H
#define ZB_OS_HOLDER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"

#define ZB_OS_HOLDERS_MAX 32 /* more are counted, not listed */

enum zb_os_holder_kind {
    ZB_OS_HOLDER_FD = 1,    /* open file */
    ZB_OS_HOLDER_CWD,       /* working directory */
    ZB_OS_HOLDER_ROOT,      /* root directory (chroot, container) */
    ZB_OS_HOLDER_EXE,       /* the program file itself */
    ZB_OS_HOLDER_MAP,       /* mapped file */
    ZB_OS_HOLDER_NAMESPACE, /* mounted in another mount namespace, of which pid is a process */
    ZB_OS_HOLDER_MOUNT,     /* mounted in this namespace: the dataset itself (pid 0) */
    ZB_OS_HOLDER_NESTED,    /* another file system is mounted inside it (pid 0) */
    ZB_OS_HOLDER_LOOP,      /* a loop device is backed by a file in it (pid 0; path: device) */
    ZB_OS_HOLDER_DEVICE,    /* a device is made of it, as LVM does (pid 0; path: that device) */
};

struct zb_os_holder {
    enum zb_os_holder_kind kind;
    pid_t pid;
    int fd;          /* FD: its number; else -1 */
    uint64_t mnt_ns; /* inode of the mount namespace; 0: this one */
    bool detached;   /* the file system is mounted nowhere any more (lazy unmount) */
    char comm[17];
    char dataset[ZB_DATASET_NAME_SIZE]; /* or "" when only known as a detached ZFS file system */
    char path[ZB_PATH_SIZE];            /* as the process sees it; cut at the end when longer */
};

struct zb_os_holders {
    size_t count;      /* listed */
    size_t more_count; /* found beyond ZB_OS_HOLDERS_MAX */
    struct zb_os_holder list[ZB_OS_HOLDERS_MAX];
};

/* What is looked for. dev: st_dev of the dataset, or the device of a zvol, as long as it is known
 * (from zb_os_mounts_read, before the unmount), else 0: it is then taken from any namespace that
 * still mounts it; when none does, files on ZFS that are mounted nowhere are listed as detached
 * with an empty dataset name. */
struct zb_os_holder_target {
    const char *dataset;
    dev_t dev;
};

/* Fills *out (large: about 50 KiB, not for small stacks). Processes that end meanwhile are
 * skipped; this process's own files are listed as well. Empty is an answer. Fails only when /proc
 * cannot be read. */
enum zb_rc zb_os_holders_find(const struct zb_os_holder_target *targets, size_t count,
                              struct zb_os_holders *out, struct zb_err *err) ZB_CHECKED;

/* One phrase per holder, "pid 812 (psql) has /srv/web/log open; pid 7 (sh) works in /srv/web; and 3
 * more", cut at whole phrases to size; "" when there is none. */
void zb_os_holders_format(const struct zb_os_holders *holders, char *buf, size_t size);

#endif
