/*
 * Shared by the files of src/zfs: raw calls, channel programs, translation of errors.
 */
#ifndef ZB_ZFS_INTERNAL_H
#define ZB_ZFS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>

#include <libnvpair.h>
#include <libzfs_core.h>

#include "base/types.h"
#include "zfs/zfs.h"

/* One ioctl of /dev/zfs with the stable prefix of zfs_cmd_t. in may be NULL; out may be NULL, else
 * *out gets what the kernel answered (NULL when nothing; the caller frees it; also on an error).
 * Returns 0 or errno. */
int zb_zfs_ioctl(unsigned long request, const char *name, nvlist_t *in, nvlist_t **out);

/* Runs a channel program in the pool that `name` lies in; args borrowed. *result (the caller frees
 * it) is the table that it returned, empty when it returned nothing. what names the doing for the
 * error: "list web". */
enum zb_rc zb_zfs_program(const char *name, bool sync, const char *lua, nvlist_t *args,
                          nvlist_t **result, struct zb_err *err);

/*
 * A question in open context. ZFS writes each program that succeeds into the pool's history, with
 * its source: a transaction group with each look, and a history full of looks. One that fails it
 * does not, and what it fails with comes back: so the program ends by ZB_ZFS_ANSWER, with its
 * answer in the array of strings `out`. *answer: of malloc, a line for each.
 */
#define ZB_ZFS_ANSWER_BEGIN "zbaton\n"
#define ZB_ZFS_ANSWER_END "\n.\n"
#define ZB_ZFS_ANSWER "error('zbaton\\n' .. table.concat(out, '\\n') .. '\\n.\\n', 0)\n"
enum zb_rc zb_zfs_ask(const char *name, const char *lua, nvlist_t *args, char **answer,
                      struct zb_err *err);

/* Translates errno or ZFS_ERR_*: "<phrase>: <sentence>". name: any name in the
 * pool, because one that is suspended answers new calls with EAGAIN (measured). */
enum zb_rc zb_zfs_fail(struct zb_err *err, int errnum, const char *name, const char *fmt, ...)
    __attribute__((format(printf, 4, 5), nonnull(4)));

/* ZB_E_USAGE unless the name fits and holds exactly the separators of its kind. kind: 0 dataset,
 * '@' snapshot, '#' bookmark. */
enum zb_rc zb_zfs_name_check(const char *name, char kind, struct zb_err *err);
/* All names of the kind; count > 0; all of one pool. */
enum zb_rc zb_zfs_names_check(const char *const *names, size_t count, char kind,
                              struct zb_err *err);
/* The pool's name; pool of ZB_DATASET_NAME_SIZE. */
void zb_zfs_pool_of(const char *name, char *pool);

/* Where ZFS tells of a pool: its "state", "txgs", ... pool as for zb_zfs_pool_state. */
void zb_zfs_kstat_path(const char *pool, const char *file, char *path, size_t size);
/* The longest that a transaction group is on its way to the disks now. */
int64_t zb_zfs_txgs_sync_ms(const char *pool);

/* The properties as the kernel wants them: uint64 or string. The caller frees it. NULL for none. */
nvlist_t *zb_zfs_setprops_nvlist(const struct zb_zfs_setprop *props, size_t count);
/* Name of the first property with an error in what the kernel answered, and its errno; NULL if
 * none. */
const char *zb_zfs_first_error(nvlist_t *errors, int *errnum);

#endif
