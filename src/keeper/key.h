/*
 * Keys of services of the raw flavour. Each member has the key in the declared file; it is loaded
 * where the service leads, or while a copy of it is looked into, and nowhere else. Nothing here
 * concerns a service of the plain flavour: its encrypted datasets are its administrator's.
 *
 * A key is loaded for an encryption root; of a tree that is its own dataset. A child that was
 * received is a root of its own with the same key, until its node leads.
 */
#ifndef ZB_KEEPER_KEY_H
#define ZB_KEEPER_KEY_H

#include <sys/stat.h>
#include <time.h>

#include "base/types.h"
#include "conf/service.h"
#include "zfs/zfs.h"

struct zb_keeper;
struct zb_keeper_view;
struct zb_keeper_new_props;

/* Mark of every dataset of a service of the raw flavour. */
#define ZB_KEEPER_FLAVOUR "zbaton:flavour"
#define ZB_KEEPER_KEY_TEXT_MAX 512 /* bytes of a key file: the longest passphrase of ZFS */

/* ---- key.c ---- */

/* The 32 bytes from what a key file holds, as zfs(8) makes them; a newline at its end is none of a
 * hexadecimal key or passphrase. ZB_E_FORMAT says what is wanted. Pure. */
enum zb_rc zb_keeper_key_derive(const uint8_t *text, size_t size,
                                const struct zb_zfs_key_params *params,
                                uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err) ZB_CHECKED;
/* Whether a key may be in the file; *st of it. ZB_E_NOTFOUND; ZB_E_REFUSED: no file that root alone
 * can read. */
enum zb_rc zb_keeper_key_file_check(const char *path, struct stat *st,
                                    struct zb_err *err) ZB_CHECKED;
/* The key of the file; codes of both. */
enum zb_rc zb_keeper_key_read(const char *path, const struct zb_zfs_key_params *params,
                              uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err) ZB_CHECKED;

/* What the dataset of a tree has to be for its service's flavour: ZB_E_REFUSED names it. raw: all
 * of the tree under the encryption root that its own dataset is. plain: with a key of its own it
 * would be in clear on who follows. Pure. */
enum zb_rc zb_keeper_flavour_check(enum zb_conf_flavour flavour, const char *tree,
                                   const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;

/* Of a dataset that is sent, led, or received into, whosever copy it was: what carries the mark of
 * the raw flavour is never taken for plain, whatever the declaration says, and ZFS takes no raw
 * increment into clear ones. ZB_E_REFUSED. Pure. */
enum zb_rc zb_keeper_copy_check(enum zb_conf_flavour flavour, const struct zb_zfs_props *props,
                                struct zb_err *err) ZB_CHECKED;
/* ---- keys.c ---- */

/* Before CREATE: the declared file holds the key of the tree that is there, or, without one, some
 * key as declared. Codes of zb_keeper_key_read, ZB_E_MISMATCH. */
enum zb_rc zb_keeper_create_key_check(const struct zb_conf_service *conf,
                                      const struct zb_keeper_view *view,
                                      struct zb_err *err) ZB_CHECKED;
/* Makes the dataset of a new tree, encrypted with the key of the declared file, and unloads that.
 */
enum zb_rc zb_keeper_tree_encrypt(const char *dataset, const struct zb_conf_service *conf,
                                  const struct zb_keeper_new_props *props,
                                  struct zb_err *err) ZB_CHECKED;

/* Of a service. */
struct zb_keeper_keys {
    unsigned users; /* who loaded it and has not mounted yet, or has not replayed */
    /* The passphrase that was tried last: deriving it takes long. */
    dev_t dev;
    ino_t ino;
    struct timespec changed;
    uint64_t salt;
    enum zb_key_state state;
};

/* Loads the keys of all encryption roots of the tree, and proves that they are those of the file. A
 * dataset without the marks is left as it is. Each success wants one end, before which nobody
 * unloads them. Codes of zb_keeper_key_read; ZB_E_MISMATCH: it is another key; then what was loaded
 * is not any more. The error names file and dataset. */
enum zb_rc zb_keeper_keys_begin(struct zb_keeper *k, const char *service,
                                const struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;
/* What is mounted by now keeps them loaded. */
void zb_keeper_keys_end(struct zb_keeper *k, const char *service);
/* Unloads them, unless the service leads here, somebody has begun and not ended, or something of
 * them is mounted. */
void zb_keeper_keys_unload(struct zb_keeper *k, const char *service,
                           const struct zb_keeper_view *view);
/* The same, and if others keep it from that for long they stay loaded: a demotion has a deadline.
 */
void zb_keeper_keys_unload_soon(struct zb_keeper *k, const char *service,
                                const struct zb_keeper_view *view);
/* The same for what is beside the services' trees (side.c), marked or not. */
enum zb_rc zb_keeper_side_keys_begin(struct zb_keeper *k, const char *service,
                                     const struct zb_zfs_tree *tree, struct zb_err *err) ZB_CHECKED;
void zb_keeper_side_keys_unload(struct zb_keeper *k, const char *service,
                                const struct zb_zfs_tree *tree);

/* Children of a tree that are encryption roots of their own become of the tree's. Both are loaded.
 * One that cannot is logged: the next set names it. */
void zb_keeper_keys_inherit(struct zb_keeper *k, const char *service,
                            const struct zb_keeper_view *view);
/* Whether this node could mount the tree. */
enum zb_key_state zb_keeper_key_state(struct zb_keeper *k, const char *service,
                                      const struct zb_keeper_view *view);

#endif
