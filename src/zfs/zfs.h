/*
 * ZFS of this host: one function, one effect, in-process (libzfs_core, libnvpair, and the ioctls
 * OBJSET_STATS, SET_PROP, SEND_NEW on Linux, whose layout is the same from 2.1 to 2.4).
 *
 * It refuses by having no call for it: receive with force, rollback,
 * recursive destroy, replication packages (-R), unmounting.
 *
 * Rules for every function here unless it says otherwise:
 * - thread safe; prints nothing; no file descriptor is left open; no process is started;
 * - BLOCKS, for ever on a pool that gets suspended under it (dsl_sync_task waits uninterruptibly;
 *   a call made when it is suspended already is refused with ZB_E_SUSPENDED, measured): call it on
 *   a worker thread; zb_zfs_pool_state never blocks;
 * - names are full ("pool1/services/web", "...@snap", "...#mark"); a malformed or too long one is
 *   ZB_E_USAGE. That a dataset is under the configured root is the caller's check;
 * - a missing dataset or snapshot is ZB_E_NOTFOUND, no room or quota ZB_E_NOSPACE, other errno
 * ZB_E_FAILED with sys_errno; the sentence in err->msg names the object. ZFS_ERR_* numbers (1024
 * and above) are in sys_errno.
 * - "1 txg" says how often the call waits for a transaction group to reach the disks (measured on
 *   2.3.2): that is its cost.
 */
#ifndef ZB_ZFS_ZFS_H
#define ZB_ZFS_ZFS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/limits.h"

/* ---- start, version, pool ---- */

struct zb_zfs_version {
    unsigned major, minor, patch;
    char text[64];    /* "2.3.2-2~bpo12+2", as the kernel module says it */
    bool rw_mount_ok; /* false for 2.3.7 and 2.4.2: "rw" over readonly=on is ignored (openzfs#18557)
                       */
};

/* Opens /dev/zfs (libzfs_core_init, counted). ZB_E_UNSUPPORTED: the module is not loaded, or is
 * older than 2.2. Does not touch a pool and does not block. Every init wants one close. */
enum zb_rc zb_zfs_init(struct zb_zfs_version *version, struct zb_err *err) ZB_CHECKED;
void zb_zfs_close(void);

/* Reads "2.3.2-2~bpo12+2" or "2.3.7-1". ZB_E_FORMAT; ZB_E_UNSUPPORTED below 2.2 (version is
 * filled then too). Pure. */
enum zb_rc zb_zfs_version_parse(const char *text, struct zb_zfs_version *version,
                                struct zb_err *err) ZB_CHECKED;

enum zb_zfs_pool_state {
    ZB_ZFS_POOL_ABSENT = 0, /* not imported */
    ZB_ZFS_POOL_ONLINE = 1,
    ZB_ZFS_POOL_DEGRADED = 2,
    ZB_ZFS_POOL_SUSPENDED = 3,
    ZB_ZFS_POOL_OTHER = 4, /* FAULTED, UNAVAIL, REMOVED, OFFLINE or unknown: do not call into it */
};

/* From /proc/spl/kstat/zfs/<pool>/state: no ioctl, NEVER BLOCKS. pool: name without '/'; of a
 * longer name the part up to the first '/' is used. */
enum zb_zfs_pool_state zb_zfs_pool_state(const char *pool);
const char *zb_zfs_pool_state_word(enum zb_zfs_pool_state state);

/* Whether the pool can be expected to take what is written to it: ZB_E_SUSPENDED when it is neither
 * online nor degraded, or when a transaction group has been on its way to the disks for more than
 * stuck_ms: a disk takes requests and answers none, which is no error to ZFS. From kstat, NEVER
 * BLOCKS. pool as above. Where ZFS keeps no history of the groups (zfs_txg_history of zfs(4) is 0)
 * the second is not seen. */
enum zb_rc zb_zfs_pool_check(const char *pool, int64_t stuck_ms, struct zb_err *err) ZB_CHECKED;
/* For the test. A line of the kstat "txgs": how long its group has been on its way to the disks at
 * now_ns of CLOCK_MONOTONIC_RAW; 0 when it is not. */
int64_t zb_zfs_txg_sync_ms(const char *line, int64_t now_ns);

/* A transaction group: its number, and when it began, so that a group of another life of the pool
 * is another one. 0: none. */
struct zb_zfs_txg {
    uint64_t txg;
    uint64_t birth_ns; /* since the boot */
};

/* *last: the last group on the pool's disks when somebody looked at it ({0}: nobody did); becomes
 * the last one now, whatever is returned, {0} where ZFS keeps no history of them. True: no group
 * since then wrote anything, so that whoever looked would see the same again: no data, property,
 * snapshot, hold or dataset has changed. From kstat, NEVER BLOCKS. pool as above. */
bool zb_zfs_is_quiet(const char *pool, struct zb_zfs_txg *last);
/* For the test: the lines of the kstat one after the other; quiet when `since` was found and
 * nothing was written. */
struct zb_zfs_quiet {
    struct zb_zfs_txg since, last;
    struct zb_zfs_txg doubtful; /* it may have written something that is not told yet */
    bool found, written;
};
void zb_zfs_quiet_line(struct zb_zfs_quiet *q, const char *line);

/* The pool's guid (identity of the disks, for the marks on datasets). pool as above. */
enum zb_rc zb_zfs_pool_guid(const char *pool, uint64_t *guid, struct zb_err *err) ZB_CHECKED;

/* Waits until everything written before the call is on disk (lzc_sync). 3 txgs. */
enum zb_rc zb_zfs_pool_sync(const char *pool, struct zb_err *err) ZB_CHECKED;

/* ---- properties ---- */

enum zb_zfs_source {
    ZB_ZFS_SOURCE_DEFAULT = 0, /* nobody set it */
    ZB_ZFS_SOURCE_LOCAL = 1,   /* set on this very dataset */
    ZB_ZFS_SOURCE_INHERITED = 2,
    ZB_ZFS_SOURCE_RECEIVED = 3,
    ZB_ZFS_SOURCE_NONE = 4, /* a statistic: has no source */
};

enum zb_zfs_type { ZB_ZFS_FILESYSTEM = 1, ZB_ZFS_VOLUME = 2, ZB_ZFS_SNAPSHOT = 3 };

/* Values of index properties, which the kernel wants and gives as numbers ("noauto" as a string is
 * refused; measured). */
#define ZB_ZFS_OFF 0u
#define ZB_ZFS_ON 1u
#define ZB_ZFS_CANMOUNT_NOAUTO 2u
#define ZB_ZFS_DNODESIZE_LEGACY 0u
#define ZB_ZFS_VOLMODE_DEV 2u
#define ZB_ZFS_VOLMODE_NONE 3u

/* A value as the kernel keeps it: text == NULL means number counts (sizes, times, index
 * properties), else a string property (mountpoint, sharenfs, every user property). */
struct zb_zfs_value {
    const char *text;
    uint64_t number;
    enum zb_zfs_source source;
    const char *source_name; /* INHERITED: the dataset it comes from; else "" */
};

/* A property to set. name borrowed for the call. text != NULL: string or user property. */
struct zb_zfs_setprop {
    const char *name;
    const char *text;
    uint64_t number;
};

struct zb_zfs_props {
    char name[ZB_DATASET_NAME_SIZE];
    enum zb_zfs_type type;
    uint64_t guid;
    uint64_t createtxg;
    uint64_t used_bytes;
    uint64_t available_bytes;
    uint64_t referenced_bytes;
    /* Since the newest snapshot, as of the last synced txg: dirty data is not in it. 0 proves
     * that nothing was written; a small number does not prove the contrary: the block that holds
     * the intent log's header counts (1024 with ashift=9, 8192 with ashift=12, measured), that is
     * a log that was never replayed, but also what is left for good after a rollback to a snapshot
     * taken while a log was in use. zb_zfs_modified tells them apart. */
    uint64_t written_bytes;
    uint64_t quota_bytes, refquota_bytes;             /* 0: none */
    uint64_t reservation_bytes, refreservation_bytes; /* 0: none */
    bool readonly_on; /* the stored property; a "rw" mount over it does not show here */
    enum zb_zfs_source readonly_source;
    unsigned canmount; /* ZB_ZFS_OFF, _ON, _CANMOUNT_NOAUTO */
    enum zb_zfs_source canmount_source;
    /* As stored: for an inherited one the ancestor's value, without this dataset's part of the
     * path. "" when nobody set it (then it is "/" and the dataset's name). */
    const char *mountpoint;
    enum zb_zfs_source mountpoint_source;
    const char *newest;   /* newest snapshot, part after '@', or "" (property prevsnap) */
    uint64_t newest_guid; /* only from zb_zfs_tree_observe; else 0 */
    bool inconsistent;    /* only from zb_zfs_tree_observe: a full receive that never completed */
    const char *token;    /* receive_resume_token or "" */
    const char *origin;   /* of a clone, "ds@snap", or "" */
    bool encrypted;
    bool key_available;          /* true when not encrypted */
    const char *encryption_root; /* or "" */
    void *all;                   /* every property (nvlist); owns the strings above */
};

/* Everything the kernel knows about a dataset or snapshot, in one ioctl (OBJSET_STATS); 0 txg.
 * props is filled on success only and wants zb_zfs_props_close; strings live until then. */
enum zb_rc zb_zfs_props_get(const char *name, struct zb_zfs_props *props,
                            struct zb_err *err) ZB_CHECKED;
/* Accepts the zero state. */
void zb_zfs_props_close(struct zb_zfs_props *props);
/* Any property, native or user ("zbaton:uuid"). False when it is not there: native ones at their
 * default are not, nor are figures, but those of keys. value's strings live as long as props. */
bool zb_zfs_props_find(const struct zb_zfs_props *props, const char *name,
                       struct zb_zfs_value *value);
/* The text of a user property whose source is local, else NULL: what a mark on disk is read with.
 */
const char *zb_zfs_props_local(const struct zb_zfs_props *props, const char *name);
/* Names of all properties one after the other: *cursor starts as NULL and ends as NULL; returns the
 * next name or NULL. For finding every "zbaton:..." one. */
const char *zb_zfs_props_next(const struct zb_zfs_props *props, void **cursor);

/* Sets native and user properties of one dataset (ZFS_IOC_SET_PROP). 1 txg for all that need no
 * special call; quota, reservation and the like 1 txg each. NOT atomic: on ZB_E_FAILED some may be
 * set; msg names the first refused one. Takes effect on a mounted dataset at once. */
enum zb_rc zb_zfs_props_set(const char *dataset, const struct zb_zfs_setprop *props, size_t count,
                            struct zb_err *err) ZB_CHECKED;

/* Clears local values, so that they are inherited (sync channel program, all in 1 txg, all or
 * nothing). User properties go away. ZB_E_USAGE for a property that cannot be inherited (canmount,
 * quota, reservation ...: set those to their default instead). */
enum zb_rc zb_zfs_props_inherit(const char *dataset, const char *const *names, size_t count,
                                struct zb_err *err) ZB_CHECKED;

/* ---- trees and lists ---- */

struct zb_zfs_tree {
    size_t count;
    struct zb_zfs_props *datasets; /* sorted by name, the root first, parents before children */
};

/* Every file system and zvol from root downwards (hidden ones as "%recv" not), each with its
 * properties, newest_guid and inconsistent. One channel program, one ioctl per dataset, and one
 * program more for each that got a newer snapshot in between; 0 txg.
 * newest and newest_guid of one dataset belong together, unless a snapshot of that name is
 * destroyed and made anew meanwhile; different datasets may be seen a moment apart. ZB_E_LIMIT
 * above ZB_DATASETS_MAX. Close with zb_zfs_tree_close. */
enum zb_rc zb_zfs_tree_observe(const char *root, struct zb_zfs_tree *tree,
                               struct zb_err *err) ZB_CHECKED;
void zb_zfs_tree_close(struct zb_zfs_tree *tree);

struct zb_zfs_names {
    size_t count;
    char (*names)[ZB_DATASET_NAME_SIZE]; /* sorted, parents before children */
};

/* Names of root and everything below it. One consistent view, one ioctl, 0 txg. Unlike tree_observe
 * bounded only by memory. ZB_E_NOTFOUND when root does not exist. */
enum zb_rc zb_zfs_children_list(const char *root, struct zb_zfs_names *names,
                                struct zb_err *err) ZB_CHECKED;
void zb_zfs_names_close(struct zb_zfs_names *names);

/* A snapshot or bookmark of one dataset. */
struct zb_zfs_snap {
    char name[ZB_DATASET_NAME_SIZE]; /* part after '@' or '#'; foreign ones may exceed
                                        ZB_SNAP_NAME_SIZE */
    uint64_t guid;
    uint64_t createtxg; /* order on this pool; of no meaning on another */
};

struct zb_zfs_snaps {
    size_t count;
    struct zb_zfs_snap *snaps; /* sorted by createtxg, then name */
};

/* Snapshots of this dataset alone. One consistent view, one ioctl, 0 txg; slow (milliseconds per
 * snapshot) on an unmounted dataset with thousands of them (openzfs#5218): not for the hot path. */
enum zb_rc zb_zfs_snaps_list(const char *dataset, struct zb_zfs_snaps *snaps,
                             struct zb_err *err) ZB_CHECKED;
/* Their names alone, guid and createtxg 0, sorted by name: a small part of that time, for no
 * snapshot is opened. */
enum zb_rc zb_zfs_snaps_names(const char *dataset, struct zb_zfs_snaps *snaps,
                              struct zb_err *err) ZB_CHECKED;
/* Its bookmarks (lzc_get_bookmarks), as above. */
enum zb_rc zb_zfs_bookmarks_list(const char *dataset, struct zb_zfs_snaps *marks,
                                 struct zb_err *err) ZB_CHECKED;
void zb_zfs_snaps_close(struct zb_zfs_snaps *snaps);
const struct zb_zfs_snap *zb_zfs_snaps_find_guid(const struct zb_zfs_snaps *snaps, uint64_t guid);

/* Guids of count snapshots or datasets of one pool, in their order; one ioctl (consistent), 0 txg.
 * ZB_E_NOTFOUND names the first missing one; then nothing is written. */
enum zb_rc zb_zfs_guids(const char *const *names, size_t count, uint64_t *guids,
                        struct zb_err *err) ZB_CHECKED;

/* ---- making and removing ---- */

/* Creates a file system; its parent must exist. Properties as given (the caller says
 * dnodesize=legacy, canmount=noauto, readonly=on ...), atomically with it. Never mounts. 1 txg.
 * ZB_E_EXISTS. */
enum zb_rc zb_zfs_create(const char *dataset, const struct zb_zfs_setprop *props, size_t count,
                         struct zb_err *err) ZB_CHECKED;

/* ---- keys of encrypted datasets ---- */

#define ZB_ZFS_KEY_SIZE 32
/* keyformat of zfsprops(7), as the kernel numbers it. */
#define ZB_ZFS_KEY_RAW 1u
#define ZB_ZFS_KEY_HEX 2u
#define ZB_ZFS_KEY_PASSPHRASE 3u

/* How the 32 bytes come from what people keep. */
struct zb_zfs_key_params {
    unsigned format;
    uint64_t salt, iterations; /* PASSPHRASE (PBKDF2, HMAC-SHA1, salt of little-endian bytes) */
};

/* Of an encryption root. False when it is none, or the kernel does not say all of it. */
bool zb_zfs_key_params_find(const struct zb_zfs_props *root, struct zb_zfs_key_params *params);

/* As zb_zfs_create, as an encryption root with this key, which is loaded then; keylocation is
 * "prompt": nobody but zbaton loads it by itself. */
enum zb_rc zb_zfs_create_encrypted(const char *dataset, const struct zb_zfs_setprop *props,
                                   size_t count, const struct zb_zfs_key_params *params,
                                   const uint8_t key[ZB_ZFS_KEY_SIZE],
                                   struct zb_err *err) ZB_CHECKED;

/* Loads the key of an encryption root; with only_try it is compared alone, loaded or not.
 * ZB_E_MISMATCH: the root has another key. 0 txg. */
enum zb_rc zb_zfs_key_load(const char *root, const uint8_t key[ZB_ZFS_KEY_SIZE], bool only_try,
                           struct zb_err *err) ZB_CHECKED;
/* Not loaded: OK. ZB_E_HELD while any dataset of the root is mounted or in use. 0 txg. */
enum zb_rc zb_zfs_key_unload(const char *root, struct zb_err *err) ZB_CHECKED;
/* An encryption root whose parent is encrypted is one no more: its data's key is wrapped with the
 * parent's from now on. Both have to be loaded. 1 txg. */
enum zb_rc zb_zfs_key_inherit(const char *root, struct zb_err *err) ZB_CHECKED;
/* What has the encryption root's key gets this one, as zfs change-key does it: all or nothing, and
 * data stays as it is. The key in force has to be loaded; keylocation stays. A KERNEL THAT CANNOT
 * OPEN ONE OF THEM WITH THE KEY IN FORCE PANICS (dsl_crypt.c,
 * spa_keystore_change_key_sync_impl): the caller has proven each, as a mount does. 1 txg. */
enum zb_rc zb_zfs_key_change(const char *root, const struct zb_zfs_key_params *params,
                             const uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err) ZB_CHECKED;

/* ---- snapshots ---- */

/* Takes all the snapshots ("pool/a@s", "pool/a/b@s"; one pool, each dataset at most once) at one
 * instant, or none. newest (may be NULL): newest[i] becomes the part after '@' of the snapshot that
 * was the newest of snaps[i]'s dataset until then, "" for none; nothing comes between the two (one
 * sync channel program). 1 txg for any number. A dataset can have one snapshot in a txg: if another
 * tool took it, once more in the next one, up to 20 times, then ZB_E_BUSY. The first snapshot that
 * is refused is named: ZB_E_EXISTS, ZB_E_NOTFOUND, ZB_E_NOSPACE (EDQUOT: snapshot_limit).
 * newest is written on success only. */
enum zb_rc zb_zfs_snapshot(const char *const *snaps, size_t count,
                           char (*newest)[ZB_DATASET_NAME_SIZE], struct zb_err *err) ZB_CHECKED;

/* Destroys all the snapshots (one pool), or none; 1 txg. Missing ones count as destroyed. If one
 * cannot go: ZB_E_HELD, and errnos[i] (may be NULL) is EBUSY (user hold, or in use by a send or
 * mount), EEXIST (has clones) or another errno for each that refused, 0 for the rest. */
enum zb_rc zb_zfs_snaps_destroy(const char *const *snaps, size_t count, int *errnos,
                                struct zb_err *err) ZB_CHECKED;

#define ZB_ZFS_SNAP_VALUE_SIZE 192
/* A user property of one snapshot, which is known by its guid: one that is missing, or another of
 * its name, is passed over. */
struct zb_zfs_snap_value {
    char snap[ZB_DATASET_NAME_SIZE]; /* "ds@snap" */
    uint64_t guid;
    char value[ZB_ZFS_SNAP_VALUE_SIZE];
};

/* Fills each value (all of one pool): the local one, else, or where it does not fit, "". One
 * program, 0 txg. */
enum zb_rc zb_zfs_snaps_prop_get(const char *prop, struct zb_zfs_snap_value *list, size_t count,
                                 struct zb_err *err) ZB_CHECKED;
/* Sets each value; 1 txg for all of them. On an error some may be set. */
enum zb_rc zb_zfs_snaps_prop_set(const char *prop, const struct zb_zfs_snap_value *list,
                                 size_t count, struct zb_err *err) ZB_CHECKED;
/* Destroys those with any local value of the property; held or cloned ones stay. 1 txg; which it
 * is asked in the same breath. */
enum zb_rc zb_zfs_snaps_prop_destroy(const char *prop, const struct zb_zfs_snap_value *list,
                                     size_t count, uint32_t *destroyed,
                                     struct zb_err *err) ZB_CHECKED;

/* Holds every snapshot under the tag; 1 txg. Already held under this tag is OK. ZB_E_NOTFOUND when
 * one is missing: the others are held then. */
enum zb_rc zb_zfs_hold(const char *const *snaps, size_t count, const char *tag,
                       struct zb_err *err) ZB_CHECKED;
/* Releases the tag from every snapshot; 1 txg. Snapshots that are gone or not held under this tag
 * count as released. */
enum zb_rc zb_zfs_release(const char *const *snaps, size_t count, const char *tag,
                          struct zb_err *err) ZB_CHECKED;
/* Tags held on a snapshot, names->names[i]; 0 txg. */
enum zb_rc zb_zfs_holds_list(const char *snap, struct zb_zfs_names *tags,
                             struct zb_err *err) ZB_CHECKED;

/* Bookmark "ds#mark" of snapshot "ds@snap"; 1 txg. ZB_E_EXISTS, unless it is of the same guid (OK).
 */
enum zb_rc zb_zfs_bookmark(const char *snap, const char *mark, struct zb_err *err) ZB_CHECKED;
/* Missing ones count as destroyed; 1 txg. */
enum zb_rc zb_zfs_bookmarks_destroy(const char *const *marks, size_t count,
                                    struct zb_err *err) ZB_CHECKED;

/* Makes dataset a clone of snap ("other@snap", same pool); its parent must exist. Properties as
 * given; what is not given is inherited or at its default (canmount=on!). A clone that a power cut
 * left behind may lack some: set them again. Never mounts. A clone of an encrypted snapshot has the
 * origin's keys and is of its encryption root, loaded or not. 1 txg, and more for properties that
 * want a call of their own. ZB_E_EXISTS; when a property is refused there is no clone. */
enum zb_rc zb_zfs_clone(const char *dataset, const char *snap, const struct zb_zfs_setprop *props,
                        size_t count, struct zb_err *err) ZB_CHECKED;
/* Turns a clone and its origin's dataset round: the snapshots up to the origin become dataset's,
 * with their guids, names, holds, clones and bookmarks, and the other becomes its clone. All or
 * nothing, 1 txg. ZB_E_EXISTS names the snapshot that both have; ZB_E_HELD while one of those that
 * would go over is in use (a send, a mount of it); ZB_E_REFUSED when it is not a clone. */
enum zb_rc zb_zfs_promote(const char *dataset, struct zb_err *err) ZB_CHECKED;
/* Names of the clones of a snapshot; 0 txg. */
enum zb_rc zb_zfs_clones_list(const char *snap, struct zb_zfs_names *clones,
                              struct zb_err *err) ZB_CHECKED;
/* Destroys one file system that has neither snapshots nor children (ZB_E_HELD), nor is mounted or
 * in use (ZB_E_HELD). What it contains is gone. 1 txg. */
enum zb_rc zb_zfs_destroy(const char *dataset, struct zb_err *err) ZB_CHECKED;

/* Renames a dataset with everything below it, within its pool. Same parent rules as zfs rename, but
 * mounts are not touched: refuse mounted trees before. 1 txg. ZB_E_EXISTS, ZB_E_HELD. */
enum zb_rc zb_zfs_rename(const char *from, const char *to, struct zb_err *err) ZB_CHECKED;

/* ---- nothing owns it ---- */

enum zb_zfs_hold_state {
    ZB_ZFS_FREE = 0, /* proven: no mount, lazy or in another namespace, no receive, no open zvol */
    ZB_ZFS_HELD = 1, /* something owns it: os/holder.h finds out who */
    ZB_ZFS_UNPROVEN = 2, /* could not be asked: a bookmark is newer than the newest snapshot
                          * (sys_errno EEXIST): take a snapshot and ask again */
};

struct zb_zfs_held {
    enum zb_zfs_hold_state state;
    int sys_errno; /* what the kernel's check said: 0, EBUSY, EEXIST ... */
};

/* The proof that nobody can write to count datasets of one pool: zfs.check.rollback (or, without
 * any snapshot, zfs.check.destroy) inside a sync channel program, which sees every long hold on the
 * dataset; nothing is changed. One program, 1 txg, for all of them; a snapshot in the same txg
 * (EAGAIN) is waited for, a few txgs. held[i] belongs to datasets[i]. A mount made a moment later
 * is not excluded: that is the caller's order of things. EBUSY measured for a mount in another
 * namespace and for a lazily unmounted one with an open file. ZB_E_NOTFOUND when a dataset is
 * missing, ZB_E_UNSUPPORTED when ZFS was built without channel programs. */
enum zb_rc zb_zfs_held(const char *const *datasets, size_t count, struct zb_zfs_held *held,
                       struct zb_err *err) ZB_CHECKED;

/* ---- streams ---- */

struct zb_zfs_send {
    const char *snap; /* "ds@snap" */
    const char *from; /* "ds@base" or "ds#mark", or NULL: full stream */
    /* -w; else the plain flavour: large blocks and compressed, always. No embedded blocks: what is
     * encrypted at the other end takes none. */
    bool raw;
    int fd; /* blocking; a pipe's write end or a socket. Stays the caller's: close it after */
    uint64_t resume_object; /* from a token; 0,0: from the start */
    uint64_t resume_offset;
};

/* Writes the stream of one dataset to fd; 0 txg. Blocks until all is written; ends early with
 * ZB_E_CLOSED when the reading end is closed or the socket shut down (this is how another thread
 * cancels it). All signals of this thread are blocked meanwhile; a SIGPIPE of its own is swallowed.
 * On an error part of the stream has been written. ZB_E_MISMATCH: from is not an ancestor of snap
 * (EXDEV). Goes to the kernel directly (SEND_NEW): lzc_send would add a thread, an uninterruptible
 * wait and 200 ms on sockets. */
enum zb_rc zb_zfs_send(const struct zb_zfs_send *send, struct zb_err *err) ZB_CHECKED;

/* About how many bytes zb_zfs_send would write in the plain flavour; from: an earlier snapshot of
 * the same dataset, or NULL: full stream. From the sizes that the snapshots carry, nothing of their
 * content is read: one ioctl, 0 txg. Not from a bookmark (ZB_E_USAGE): of one without a size of its
 * own the kernel would walk through all that changed since. */
enum zb_rc zb_zfs_send_space(const char *snap, const char *from, uint64_t *bytes,
                             struct zb_err *err) ZB_CHECKED;

/* Whether the content of an unmounted dataset differs from its newest snapshot, exactly: the kernel
 * compares them as for an incremental stream, of which nothing is kept (a head sent without a
 * snapshot, measured: true after any write, removal or change of attributes; false after a
 * rollback, and for an intent log not replayed: zb_os_replay first). True without any snapshot. An
 * encrypted one is compared as it is stored, without its key.
 * ZB_E_HELD while anything owns it. 0 txg; about the cost of starting a send. */
enum zb_rc zb_zfs_modified(const char *dataset, bool *modified, struct zb_err *err) ZB_CHECKED;

/* The begin record that a stream starts with. It is parsed by wire/record.h (zb_stream_begin_parse;
 * the keeper does that between reading and receiving, so that the kernel never sees a stream nobody
 * asked for). */
#define ZB_ZFS_BEGIN_SIZE 312

/* Reads exactly that many bytes, blocking. ZB_E_CLOSED when the stream ends before. Touches no
 * pool. */
enum zb_rc zb_zfs_begin_read(int fd, uint8_t begin[ZB_ZFS_BEGIN_SIZE],
                             struct zb_err *err) ZB_CHECKED;

struct zb_zfs_receive {
    const char *snap; /* "ds@name" that shall exist afterwards */
    const char
        *origin; /* "other@fork": the new dataset is a clone of it (rescue, branch); or NULL */
    int fd;      /* read end, positioned after the begin record; stays the caller's */
    const uint8_t *begin; /* ZB_ZFS_BEGIN_SIZE bytes as read */
    bool raw;             /* begin record says raw */
    bool resumable;       /* keep what arrived when it breaks: then a token stays on the dataset */
    /* Local values set with it; for streams that make a dataset (full, origin). NULL, 0 on
     * increments: each costs a txg there. */
    const struct zb_zfs_setprop *props;
    size_t props_count;
};

/* Receives one stream into one dataset, never by force, never mounting; 2 txgs for an increment
 * into an unmounted dataset. Reads the stream exactly to its end record, no byte more. Blocks until
 * the stream ends; another thread cancels it by closing the writing end. All signals of this thread
 * are blocked meanwhile. *bytes: read from fd and begin record. On success the snapshot exists;
 * that its guid is the planned one the caller re-reads (zb_zfs_guids). On failure nothing of the
 * stream is visible; if resumable, what arrived stays hidden with a token, and until that is
 * resumed or aborted every other receive gets ZB_E_BUSY. ZB_E_DIVERGED  ETXTBSY: the dataset was
 * modified since its newest snapshot; ENODEV: it has no snapshot with the stream's fromguid
 * (sys_errno tells); EINVAL at the end: a snapshot was taken here meanwhile ZB_E_BUSY      a
 * partial receive is in the way, another receive runs, or a mount is in use (EBUSY) ZB_E_EXISTS the
 * snapshot, or for a full stream the dataset, exists ZB_E_CLOSED    the stream ended before its end
 * record (1040) ZB_E_FORMAT    bad checksum or not a stream ZB_E_UNSUPPORTED a feature this pool or
 * module does not have; large blocks mixed (1041) ZB_E_NOSPACE   quota or pool full ZB_E_MISMATCH
 * received, but a property could not be set: named */
enum zb_rc zb_zfs_receive(const struct zb_zfs_receive *receive, uint64_t *bytes,
                          struct zb_err *err) ZB_CHECKED;

/* Throws a partial receive away: "ds/%recv", or the dataset itself when it is the never-completed
 * result of a full receive (inconsistent; checked in the same breath, an ordinary dataset is never
 * destroyed). OK when there is none. ZB_E_BUSY while the receive still runs. 1 txg. */
enum zb_rc zb_zfs_receive_abort(const char *dataset, struct zb_err *err) ZB_CHECKED;

struct zb_zfs_token {
    uint64_t toguid;
    uint64_t fromguid; /* 0: full stream */
    uint64_t object;
    uint64_t offset;
    uint64_t bytes; /* received so far */
    bool raw;
    char toname[ZB_DATASET_NAME_SIZE]; /* "sender/ds@snap" */
};

/* Reads a receive_resume_token ("1-<fletcher>-<length>-<hex of zlib of an nvlist>"). The text may
 * come from another host: lengths are bounded, the checksum compared. ZB_E_FORMAT. Pure but for
 * memory; never blocks. */
enum zb_rc zb_zfs_token_decode(const char *text, struct zb_zfs_token *token,
                               struct zb_err *err) ZB_CHECKED;

#endif
