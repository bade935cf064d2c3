/* Whether the service's key could be had here. */
#include <openssl/crypto.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

/* A program is not asked at each look: so long it holds what it said, ... */
#define ASK_MS 60000
#define FIRST_MS 1000 /* ... and before it ever said anything so long it is waited for */
#define POLL_MS 10
#define ASKS_MAX 32

static enum zb_key_state
state_of(enum zb_rc rc)
{
    switch (rc) {
    case ZB_OK:
        return ZB_KEY_GOOD;
    case ZB_E_NOTFOUND:
        return ZB_KEY_MISSING;
    case ZB_E_MISMATCH:
        return ZB_KEY_OTHER;
    default:
        return ZB_KEY_UNFIT;
    }
}

/* Caller holds key_lock. */
static bool
is_known(const struct zb_keeper_keys *known, const struct zb_keeper_key_text *text, uint64_t salt)
{
    return text->ino != 0 && known->salt == salt && known->dev == text->dev &&
           known->ino == text->ino && known->changed.tv_sec == text->changed.tv_sec &&
           known->changed.tv_nsec == text->changed.tv_nsec;
}

/* Caller holds key_lock. A passphrase is tried when file or salt have changed: the salt is another
 * whenever the key is. */
static enum zb_key_state
key_try(struct zb_keeper_keys *known, const struct zb_zfs_props *root,
        const struct zb_keeper_key_text *text)
{
    struct zb_zfs_key_params params;
    uint8_t key[ZB_ZFS_KEY_SIZE];
    struct zb_err err;
    bool slow;
    enum zb_rc rc;

    if (root == NULL || !zb_zfs_key_params_find(root, &params)) {
        known->ino = 0; /* not that it is the key of what is there */
        return ZB_KEY_GOOD;
    }
    slow = params.format == ZB_ZFS_KEY_PASSPHRASE;
    if (slow && is_known(known, text, params.salt)) {
        return known->state;
    }
    rc = zb_keeper_key_derive(text->bytes, text->size, &params, key, &err);
    if (rc == ZB_OK) {
        rc = zb_zfs_key_load(root->name, key, true, &err);
    }
    OPENSSL_cleanse(key, sizeof(key));
    if (slow) {
        known->dev = text->dev;
        known->ino = rc == ZB_OK || rc == ZB_E_MISMATCH ? text->ino : 0; /* others may pass */
        known->changed = text->changed;
        known->salt = params.salt;
    }
    return state_of(rc);
}

/* ---- a program ---- */

/* Caller holds key_lock. declared: as it was when the program was looked up. */
static void
said_keep(struct zb_keeper_keys *keys, uint64_t declared, enum zb_key_state state)
{
    if (declared == keys->declared) {
        keys->state = state;
        keys->asked_at = zb_mono_now();
    }
}

/* In a thread of its own: looks, grants and demotions wait for no vault. */
struct ask {
    struct zb_keeper *k;
    struct zb_keeper_service *s;
    uint64_t declared;
    struct zb_keeper_key_source source;
    char root[ZB_DATASET_NAME_SIZE]; /* whose key it has to be; "": none is known yet */
};

static void *
ask_run(void *arg)
{
    struct ask *ask = arg;
    struct zb_keeper_keys *keys = &ask->s->keys;
    struct zb_keeper_key_text text;
    struct zb_zfs_props root = {0};
    enum zb_key_state state;
    struct zb_err err;
    bool there = ask->root[0] != '\0' && zb_zfs_props_get(ask->root, &root, &err) == ZB_OK;
    enum zb_rc rc = zb_keeper_key_text_read(ask->k, &ask->source, ask->k->key_end_fd, &text, &err);

    if (rc != ZB_OK) {
        zb_log_warning("%s: %s", ask->source.service, err.msg);
    }
    (void)pthread_mutex_lock(&ask->k->key_lock);
    state = rc == ZB_OK ? key_try(keys, there ? &root : NULL, &text) : state_of(rc);
    said_keep(keys, ask->declared, state);
    keys->asking = keys->asking && ask->declared != keys->declared;
    ask->k->key_asks--;
    (void)pthread_mutex_unlock(&ask->k->key_lock);
    zb_zfs_props_close(&root);
    zb_keeper_key_text_wipe(&text);
    free(ask);
    return NULL;
}

/* Unless it runs, or many do. What is declared is looked up with the number of declarations. Caller
 * holds key_lock. */
static void
ask_start(struct zb_keeper *k, struct zb_keeper_key_service *of, const struct zb_zfs_props *root)
{
    struct ask *ask;
    pthread_attr_t attr;
    pthread_t thread;
    int e;

    if (of->s->keys.asking || k->key_asks >= ASKS_MAX ||
        !zb_keeper_key_service(k, of->s->name, of) || (ask = calloc(1, sizeof(*ask))) == NULL) {
        return; /* the next look tries again */
    }
    ask->k = k;
    ask->s = of->s;
    ask->declared = of->s->keys.declared;
    ask->source = of->source;
    zb_strcopy(ask->root, sizeof(ask->root), root != NULL ? root->name : "");
    of->s->keys.asking = true;
    k->key_asks++;
    e = pthread_attr_init(&attr);
    if (e == 0) {
        (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        e = pthread_create(&thread, &attr, ask_run, ask);
        (void)pthread_attr_destroy(&attr);
    }
    if (e != 0) {
        zb_log_warning("%s: key-command: %s", of->source.service, strerror(e));
        of->s->keys.asking = false;
        k->key_asks--;
        free(ask);
    }
}

/* Leaves key_lock for a moment. */
static void
lock_leave(struct zb_keeper *k)
{
    const struct timespec pause = {.tv_nsec = POLL_MS * 1000000};

    (void)pthread_mutex_unlock(&k->key_lock);
    (void)nanosleep(&pause, NULL);
    (void)pthread_mutex_lock(&k->key_lock);
}

static enum zb_key_state
program_state(struct zb_keeper *k, struct zb_keeper_key_service *of,
              const struct zb_zfs_props *root)
{
    const struct zb_keeper_keys *keys = &of->s->keys;
    enum zb_key_state state;

    (void)pthread_mutex_lock(&k->key_lock);
    if (keys->asked_at.ms != 0 && zb_mono_now().ms - keys->asked_at.ms >= ASK_MS) {
        ask_start(k, of, root);
    }
    for (int ms = 0; ms < FIRST_MS && keys->asked_at.ms == 0; ms += POLL_MS) {
        ask_start(k, of, root);
        lock_leave(k);
    }
    state = keys->asked_at.ms != 0 ? keys->state : ZB_KEY_UNFIT;
    (void)pthread_mutex_unlock(&k->key_lock);
    return state;
}

bool
zb_keeper_key_asks_end(struct zb_keeper *k, struct zb_mono deadline)
{
    bool ended;

    (void)pthread_mutex_lock(&k->key_lock);
    while (k->key_asks > 0 && zb_mono_now().ms < deadline.ms) {
        lock_leave(k);
    }
    ended = k->key_asks == 0;
    (void)pthread_mutex_unlock(&k->key_lock);
    return ended;
}

void
zb_keeper_keys_forget(struct zb_keeper *k, struct zb_keeper_service *s)
{
    (void)pthread_mutex_lock(&k->key_lock);
    s->keys.declared++;
    s->keys.ino = 0;
    s->keys.asking = false;
    s->keys.asked_at.ms = 0;
    (void)pthread_mutex_unlock(&k->key_lock);
}

/* ---- either ---- */

static enum zb_key_state
file_state(struct zb_keeper *k, const struct zb_keeper_key_service *of,
           const struct zb_zfs_props *root)
{
    struct zb_keeper_keys *keys = &of->s->keys;
    struct zb_keeper_key_text text;
    enum zb_key_state state;
    struct zb_err err;
    enum zb_rc rc = zb_keeper_key_text_read(k, &of->source, -1, &text, &err);

    (void)pthread_mutex_lock(&k->key_lock);
    if (rc == ZB_OK) {
        keys->state = key_try(keys, root, &text);
    } else {
        keys->state = state_of(rc);
        keys->ino = 0;
    }
    state = keys->state;
    (void)pthread_mutex_unlock(&k->key_lock);
    zb_keeper_key_text_wipe(&text);
    return state;
}

/* Whose key it has to be; NULL: none is known yet. */
static const struct zb_zfs_props *
root_of(const struct zb_keeper_view *view)
{
    const struct zb_zfs_props *root = view->count > 0 ? view->props[0] : NULL;

    return root == NULL || root->inconsistent || strcmp(root->encryption_root, root->name) != 0
               ? NULL
               : root;
}

enum zb_key_state
zb_keeper_key_state(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view)
{
    const struct zb_zfs_props *root = root_of(view);
    struct zb_keeper_key_service of;

    if (!zb_keeper_key_service(k, service, &of)) {
        return ZB_KEY_GOOD;
    }
    if (of.source.command[0] == '\0') {
        return file_state(k, &of, root);
    }
    /* Where it is in use nobody is asked. */
    return of.leads && root != NULL && root->key_available ? ZB_KEY_GOOD
                                                           : program_state(k, &of, root);
}

enum zb_rc
zb_keeper_key_ask(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view,
                  int cancel_fd, enum zb_key_state *state, struct zb_err *err)
{
    struct zb_keeper_key_service of = {0};
    struct zb_keeper_key_text text;
    uint64_t declared = 0;
    enum zb_rc rc;
    bool raw;

    (void)pthread_mutex_lock(&k->key_lock);
    raw = zb_keeper_key_service(k, service, &of);
    declared = raw ? of.s->keys.declared : 0;
    (void)pthread_mutex_unlock(&k->key_lock);
    if (!raw || of.source.command[0] == '\0') {
        *state = raw ? file_state(k, &of, root_of(view)) : ZB_KEY_GOOD;
        return ZB_OK;
    }
    rc = zb_keeper_key_text_read(k, &of.source, cancel_fd, &text, err);
    if (rc != ZB_E_CANCELED) {
        (void)pthread_mutex_lock(&k->key_lock);
        *state = rc == ZB_OK ? key_try(&of.s->keys, root_of(view), &text) : state_of(rc);
        said_keep(&of.s->keys, declared, *state);
        (void)pthread_mutex_unlock(&k->key_lock);
    }
    zb_keeper_key_text_wipe(&text);
    return rc == ZB_E_CANCELED ? rc : ZB_OK;
}
