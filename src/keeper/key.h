/*
 * Keys of services of the raw flavour. Each member has the key in the declared file, or from the
 * declared program; it is loaded where the service leads, or while a copy of it is looked into, and
 * nowhere else. Nothing here concerns a service of the plain flavour: its encrypted datasets are
 * its administrator's.
 *
 * A key is loaded for an encryption root; of a tree that is its own dataset. A child that was
 * received is a root of its own with the same key, until its node leads.
 */
#ifndef ZB_KEEPER_KEY_H
#define ZB_KEEPER_KEY_H

#include <sys/types.h>
#include <time.h>

#include "base/types.h"
#include "conf/service.h"
#include "zfs/zfs.h"

struct zb_keeper;
struct zb_keeper_service;
struct zb_keeper_view;
struct zb_keeper_new_props;

/* Mark of every dataset of a service of the raw flavour. */
#define ZB_KEEPER_FLAVOUR "zbaton:flavour"
#define ZB_KEEPER_KEY_TEXT_MAX 512 /* bytes of a key's text: the longest passphrase of ZFS */

/* ---- key_text.c ---- */

/* As declared: one of both. */
struct zb_keeper_key_source {
    char service[ZB_SERVICE_NAME_SIZE];
    char file[ZB_PATH_SIZE];
    char command[ZB_COMMAND_SIZE];
};

/* What it holds. It is secret: who has one wipes it. */
struct zb_keeper_key_text {
    char from[ZB_PATH_SIZE];                   /* for people: "key file /etc/zbaton/keys/web" */
    uint8_t bytes[ZB_KEEPER_KEY_TEXT_MAX + 2]; /* a newline, and one more that is too many */
    size_t size;
    /* Of a file: which one, as of when. */
    dev_t dev;
    ino_t ino;
    struct timespec changed;
};

void zb_keeper_key_source(const struct zb_conf_service *conf, struct zb_keeper_key_source *source);
/* Blocks for as long as a program may take (20 s), or until cancel_fd is readable (-1: none): no
 * lock is held. ZB_E_NOTFOUND: no such file or program; ZB_E_REFUSED: others than root could read
 * or write it; codes of zb_runner_ask. */
enum zb_rc zb_keeper_key_text_read(const struct zb_keeper *k,
                                   const struct zb_keeper_key_source *source, int cancel_fd,
                                   struct zb_keeper_key_text *t, struct zb_err *err) ZB_CHECKED;
enum zb_rc zb_keeper_key_file_read(const char *path, struct zb_keeper_key_text *t,
                                   struct zb_err *err) ZB_CHECKED;
void zb_keeper_key_text_wipe(struct zb_keeper_key_text *t);

/* ---- key.c ---- */

/* The 32 bytes from a key's text, as zfs(8) makes them; a newline at its end is none of a
 * hexadecimal key or passphrase. ZB_E_FORMAT says what is wanted. Pure. */
enum zb_rc zb_keeper_key_derive(const uint8_t *text, size_t size,
                                const struct zb_zfs_key_params *params,
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

/* Before CREATE: the declared key is that of the tree that is there, or, without one, some key as
 * declared. Codes of zb_keeper_key_text_read and zb_keeper_key_derive, ZB_E_MISMATCH. */
enum zb_rc zb_keeper_create_key_check(const struct zb_keeper *k, const struct zb_conf_service *conf,
                                      const struct zb_keeper_view *view,
                                      struct zb_err *err) ZB_CHECKED;
/* Makes the dataset of a new tree, encrypted with the declared key, and unloads that. */
enum zb_rc zb_keeper_tree_encrypt(const struct zb_keeper *k, const char *dataset,
                                  const struct zb_conf_service *conf,
                                  const struct zb_keeper_new_props *props,
                                  struct zb_err *err) ZB_CHECKED;

#define ZB_KEEPER_KEY_DIGEST 32

/* Of a service. */
struct zb_keeper_keys {
    unsigned users; /* who loaded it and has not mounted yet, or has not replayed */
    enum zb_key_state state;
    /* The passphrase that was tried last: deriving it takes long. */
    dev_t dev;
    ino_t ino; /* 0: none was */
    struct timespec changed;
    uint64_t salt;
    /* The program. */
    uint64_t declared; /* how often it may have become another one */
    bool asking;
    struct zb_mono asked_at;              /* when it said what state is of; 0: it has not yet */
    uint8_t loaded[ZB_KEEPER_KEY_DIGEST]; /* SHA-256 of the key that was loaded last */
    bool rekeyed;                         /* and no set was taken since: none carries it yet */
};

struct zb_keeper_key_service {
    struct zb_keeper_service *s;
    bool leads; /* its stage is not rest */
    struct zb_keeper_key_source source;
};
/* False: it is no service of the raw flavour. Takes k->lock. */
bool zb_keeper_key_service(struct zb_keeper *k, const char *name, struct zb_keeper_key_service *of);

/* Loads the keys of all encryption roots of the tree, and proves that they are the declared one;
 * what is loaded where the service leads is taken as it is. A dataset without the marks is left as
 * it is. Each success wants one end, before which nobody
 * unloads them. Codes of zb_keeper_create_key_check; ZB_E_MISMATCH: it is another key; then what
 * was loaded is not any more. The error names file or program, and of a wrong key the dataset. */
enum zb_rc zb_keeper_keys_begin(struct zb_keeper *k, const char *service,
                                const struct zb_keeper_view *view, int cancel_fd,
                                struct zb_err *err) ZB_CHECKED;
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

/* What is loaded in the kernel is this one now. Caller holds key_lock. */
void zb_keeper_key_loaded(struct zb_keeper_keys *keys, const uint8_t key[ZB_ZFS_KEY_SIZE]);
/* A set was taken, which carries the key of now; a final one that does not may not be sealed:
 * ZB_E_MISMATCH. */
void zb_keeper_keys_carried(struct zb_keeper *k, struct zb_keeper_service *s);
enum zb_rc zb_keeper_keys_carried_check(struct zb_keeper *k, struct zb_keeper_service *s,
                                        struct zb_err *err) ZB_CHECKED;
/* Children of a tree that are encryption roots of their own become of the tree's. Both are loaded.
 * One that cannot is logged: the next set names it. */
void zb_keeper_keys_inherit(struct zb_keeper *k, const char *service,
                            const struct zb_keeper_view *view);

/* ---- key_state.c ---- */

/* A new declaration: what a program said, or is about to, is of the one before. */
void zb_keeper_keys_forget(struct zb_keeper *k, struct zb_keeper_service *s);
/* False: some that were asked have not ended by then. */
bool zb_keeper_key_asks_end(struct zb_keeper *k, struct zb_mono deadline) ZB_CHECKED;
/* Whether this node could mount the tree; of a program what it said lately, which is waited for
 * only until it has said anything, and 1 s. */
enum zb_key_state zb_keeper_key_state(struct zb_keeper *k, const char *service,
                                      const struct zb_keeper_view *view);
/* The same, by what the program says now. Blocks as zb_keeper_key_text_read does; ZB_E_CANCELED. */
enum zb_rc zb_keeper_key_ask(struct zb_keeper *k, const char *service,
                             const struct zb_keeper_view *view, int cancel_fd,
                             enum zb_key_state *state, struct zb_err *err) ZB_CHECKED;

#endif
