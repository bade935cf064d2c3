/*
 * Mounts of ZFS datasets, by mount(2) and umount2(2), never by zfs(8) and never lazily or by force.
 *
 * Thread safe. Calls that touch a dataset block for ever on a suspended pool: worker threads only.
 * zb_os_mounts_read reads /proc and /dev alone and does not block.
 * Directories are resolved without following any symbolic link (a service's user could plant one in
 * the path of a child dataset): such a path is ZB_E_REFUSED, naming the component. Paths are
 * absolute.
 */
#ifndef ZB_OS_MOUNT_H
#define ZB_OS_MOUNT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/limits.h"

/* ZB_OS_MOUNT_RW mounts read-write even over readonly=on: a temporary mount option (zfsprops(7));
 * without it read-only. On Linux the properties setuid, exec and devices act only as mount flags
 * that the mounting program gives (the module's callbacks are empty), so they are given here. */
#define ZB_OS_MOUNT_RW 0x01u
#define ZB_OS_MOUNT_NOSUID 0x02u
#define ZB_OS_MOUNT_NOEXEC 0x04u
#define ZB_OS_MOUNT_NODEV 0x08u

/* Mounts dataset at dir. Missing directories are made (root, 0755); a non-empty dir, or one that is
 * a mount point already, is ZB_E_REFUSED; a dataset that is mounted anywhere in this namespace
 * ZB_E_EXISTS. Afterwards dir is proven to be this dataset in the wanted mode (statvfs); if "rw"
 * was ignored (OpenZFS 2.3.7, 2.4.2) it is unmounted again: ZB_E_MISMATCH with a hint. All or
 * nothing, but for directories made. 0 txg, plus the replay of a pending intent log. */
enum zb_rc zb_os_mount(const char *dataset, const char *dir, unsigned flags,
                       struct zb_err *err) ZB_CHECKED;

/* Shows what is mounted at dir, and below it, at to as well (mount(2) MS_BIND, MS_REC), with the
 * same options. What to may be: as for zb_os_mount. dir has to be ZFS and mounted read-only:
 * ZB_E_REFUSED. */
enum zb_rc zb_os_mount_bind(const char *dir, const char *to, struct zb_err *err) ZB_CHECKED;

/* Turns the mount of dataset at dir read-write in place, whatever uses it, even over readonly=on
 * (mount(2) MS_REMOUNT with "rw", as zfs mount -o remount,rw). Flags as for ZB_OS_MOUNT_RW alone.
 * Proven by statvfs: ZB_E_MISMATCH when it is not read-write afterwards, or not mounted there. 0
 * txg. */
enum zb_rc zb_os_remount_rw(const char *dataset, const char *dir, struct zb_err *err) ZB_CHECKED;
/* Whether zb_os_mount could mount at dir: ZB_E_REFUSED when it is a mount point or not empty. What
 * is missing is not made. */
enum zb_rc zb_os_mount_dir_free(const char *dir, struct zb_err *err) ZB_CHECKED;

/* Unmounts the dataset from dir, neither lazily nor by force (umount2 UMOUNT_NOFOLLOW). Dirty pages
 * of a read-write mount are written first by the kernel, but not those of a superblock turned
 * read-only (fs/sync.c): syncfs before. ZB_E_HELD: EBUSY, still mounted: os/holder.h says who.
 * ZB_E_NOTFOUND: dataset is not what is mounted there (topmost). 1 txg. Says nothing about other
 * namespaces: zb_zfs_held does. */
enum zb_rc zb_os_umount(const char *dataset, const char *dir, struct zb_err *err) ZB_CHECKED;

/* Replays the intent log: mounts dataset read-only where nobody can see it (fsopen, fsmount: a
 * mount that is attached to no directory and no namespace) and unmounts it again. Afterwards what
 * was fsync'ed before a crash is in the dataset and in `written`. Does nothing harmful when no log
 * is pending, and works whatever canmount and mountpoint say. ZB_E_EXISTS when it is mounted
 * already (then its log was replayed). ZB_E_UNSUPPORTED: encrypted and no key loaded. 1 txg, or 2
 * with a log. */
enum zb_rc zb_os_replay(const char *dataset, struct zb_err *err) ZB_CHECKED;

/* A mount as /proc/self/mountinfo says; or what a zvol has in its place. */
struct zb_os_mount_entry {
    uint64_t id; /* mount id, and the id of the mount it is on */
    uint64_t parent_id;
    dev_t dev;     /* st_dev of every file in it */
    bool readonly; /* of the mount or of its superblock */
    bool subtree;  /* a bind mount of a directory inside it, not its root */
    /* Not mounted: the device of a zvol, dev, at dir (volume.h); whether it is read-only is not
     * told, and it has no id. */
    bool volume;
    char dataset[ZB_DATASET_NAME_SIZE]; /* or "ds@snap" for a .zfs/snapshot automount */
    char dir[ZB_PATH_SIZE];
};

struct zb_os_mounts {
    size_t count;
    struct zb_os_mount_entry *entries; /* in mount order: unmount from the end */
};

/* Mounts in this namespace of dataset and of what is below it ("web", "web/log", "web@snap";
 * never "website"), then devices of zvols among these. Octal escapes are undone. Reads only /proc
 * and /dev; does not block. What the table says was read after the call; who calls at the same time
 * shares a reading. */
enum zb_rc zb_os_mounts_read(const char *dataset, struct zb_os_mounts *mounts,
                             struct zb_err *err) ZB_CHECKED;
void zb_os_mounts_close(struct zb_os_mounts *mounts);
/* Another number than before when anything may have been mounted, unmounted or remounted in this
 * namespace since. Does not block. */
uint64_t zb_os_mounts_changes(void);
/* The first mount of exactly this dataset, not of a subtree, or its device; or NULL. */
const struct zb_os_mount_entry *zb_os_mounts_find(const struct zb_os_mounts *mounts,
                                                  const char *dataset);
/* Where the first of them is mounted, devices aside; or "". */
const char *zb_os_mounts_dir(const struct zb_os_mounts *mounts);
/* As zb_os_mounts_read, without devices, from text (the contents of a mountinfo file). Pure but
 * for memory.
 * ZB_E_FORMAT. */
enum zb_rc zb_os_mounts_parse(const char *text, const char *dataset, struct zb_os_mounts *mounts,
                              struct zb_err *err) ZB_CHECKED;

/* Proves what is mounted at dir: ZB_OK with *readonly from statvfs; ZB_E_MISMATCH when dir is not
 * the root of a mount of dataset (st_dev against mountinfo). */
enum zb_rc zb_os_mount_check(const char *dataset, const char *dir, bool *readonly,
                             struct zb_err *err) ZB_CHECKED;

/* Writes out everything of the file system at dir, mmap'ed pages too: only while it is still
 * read-write (syncfs skips a read-only superblock: torvalds/linux fs/sync.c). Commits the intent
 * log; about 1 txg. */
enum zb_rc zb_os_syncfs(const char *dataset, const char *dir, struct zb_err *err) ZB_CHECKED;

/* Proves that dataset can be written at dir: a file of a private random name is made, written,
 * fsync'ed, unlinked, the directory fsync'ed; all below a descriptor that was proven to be this
 * dataset's root (as zb_os_mount_check), so nothing is ever written into a directory without its
 * mount. ZB_E_MISMATCH as above, ZB_E_REFUSED when mounted read-only. On failure the file may be
 * left: ".zbaton-probe-<16 hex>". */
enum zb_rc zb_os_write_probe(const char *dataset, const char *dir, struct zb_err *err) ZB_CHECKED;

#endif
