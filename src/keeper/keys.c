/* Keys that are loaded, and for how long. */
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

#define ITERATIONS 350000 /* pbkdf2iters, as zfs(8) has it */
#define SOON_MS 200       /* how long who has to be quick waits for others with keys */

/* ---- which datasets ---- */

/* Whose keys are meant. */
struct list {
    const struct zb_zfs_props **props; /* for free() */
    size_t count;
};

static enum zb_rc
view_list(const struct zb_keeper_view *view, struct list *list, struct zb_err *err)
{
    *list = (struct list){.props = calloc(view->count + (size_t)1, sizeof(void *))};
    if (list->props == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for keys");
    }
    for (uint32_t i = 0; i < view->count; i++) {
        if (view->datasets[i].marked) {
            list->props[list->count++] = view->props[i];
        }
    }
    return ZB_OK;
}

static enum zb_rc
tree_list(const struct zb_zfs_tree *tree, struct list *list, struct zb_err *err)
{
    *list = (struct list){.props = calloc(tree->count + 1, sizeof(void *))};
    if (list->props == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for keys");
    }
    for (size_t i = 0; i < tree->count; i++) {
        list->props[list->count++] = &tree->datasets[i];
    }
    return ZB_OK;
}

/* The first of the datasets that is of its encryption root, and is whole: a receive that never
 * ended may have no key yet. */
static bool
is_first_of_root(const struct list *list, size_t i)
{
    const struct zb_zfs_props **props = list->props;

    if (!props[i]->encrypted || props[i]->inconsistent) {
        return false;
    }
    for (size_t j = 0; j < i; j++) {
        if (!props[j]->inconsistent &&
            strcmp(props[j]->encryption_root, props[i]->encryption_root) == 0) {
            return false;
        }
    }
    return true;
}

/* ---- loading ---- */

bool
zb_keeper_key_service(struct zb_keeper *k, const char *name, struct zb_keeper_key_service *of)
{
    struct zb_keeper_service *s;
    bool raw;

    (void)pthread_mutex_lock(&k->lock);
    s = zb_keeper_service_find(k, name);
    raw = s != NULL && s->defined && s->conf.flavour == ZB_CONF_FLAVOUR_RAW;
    if (raw) {
        of->s = s;
        of->leads = s->stage != ZB_STAGE_REST;
        zb_keeper_key_source(&s->conf, &of->source);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return raw;
}

/* The roots of a tree mostly have one key, with one salt: it is derived once. */
struct derived {
    bool is;
    struct zb_zfs_key_params params;
    uint8_t key[ZB_ZFS_KEY_SIZE];
};

static enum zb_rc
key_derive(struct derived *d, const struct zb_keeper_key_text *text,
           const struct zb_zfs_props *root, struct zb_err *err)
{
    struct zb_zfs_key_params params;
    enum zb_rc rc;

    if (!zb_zfs_key_params_find(root, &params)) {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "%s has no key that could be loaded", root->name);
    }
    if (d->is && d->params.format == params.format && d->params.salt == params.salt &&
        d->params.iterations == params.iterations) {
        return ZB_OK;
    }
    rc = zb_keeper_key_derive(text->bytes, text->size, &params, d->key, err);
    d->is = rc == ZB_OK;
    d->params = params;
    return rc == ZB_OK ? rc : zb_err_wrap(err, "the key of %s: %s", root->name, text->from);
}

static enum zb_rc
mismatch_say(enum zb_rc rc, const char *root, const struct zb_keeper_key_text *text,
             struct zb_err *err)
{
    if (rc != ZB_E_MISMATCH) {
        return rc;
    }
    (void)zb_err_set(err, ZB_E_MISMATCH, "%s does not hold the key of %s", text->from, root);
    return zb_err_hint(err, "zfs load-key -n %.120s tries one from its standard input", root);
}

static void
loaded_digest(const uint8_t key[ZB_ZFS_KEY_SIZE], uint8_t digest[ZB_KEEPER_KEY_DIGEST])
{
    if (EVP_Digest(key, ZB_ZFS_KEY_SIZE, digest, NULL, EVP_sha256(), NULL) != 1) {
        (void)RAND_bytes(digest, ZB_KEEPER_KEY_DIGEST); /* of no key: nothing is taken for it */
    }
}

void
zb_keeper_key_loaded(struct zb_keeper_keys *keys, const uint8_t key[ZB_ZFS_KEY_SIZE])
{
    loaded_digest(key, keys->loaded);
}

/* The kernel compares a key with what is on disk, and a set may have brought another one since this
 * one was loaded: then it would be taken for what it is not. *loaded: it is the derived one. */
static enum zb_rc
loaded_check(struct zb_keeper_keys *keys, const struct derived *d, const char *root, bool *loaded,
             struct zb_err *err)
{
    uint8_t digest[ZB_KEEPER_KEY_DIGEST];
    enum zb_rc rc = keys->users == 0 ? zb_zfs_key_unload(root, err) : ZB_E_HELD;

    *loaded = rc == ZB_E_HELD;
    if (rc != ZB_E_HELD) {
        return rc;
    }
    loaded_digest(d->key, digest);
    if (memcmp(keys->loaded, digest, sizeof(digest)) == 0) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_BUSY,
                     "%s is in use with a key that was loaded before, perhaps another one", root);
    return zb_err_hint(err, "zbaton peek list; zbaton rescue list: end it, or unmount it");
}

static enum zb_rc
root_load(struct derived *d, struct zb_keeper_keys *keys, const char *root,
          const struct zb_keeper_key_text *text, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    bool loaded = false;
    enum zb_rc rc = zb_zfs_props_get(root, &props, err);

    if (rc == ZB_OK) {
        rc = key_derive(d, text, &props, err);
    }
    if (rc == ZB_OK && props.key_available) {
        rc = loaded_check(keys, d, root, &loaded, err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_key_load(root, d->key, loaded, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_key_loaded(keys, d->key);
    }
    zb_zfs_props_close(&props);
    return mismatch_say(rc, root, text, err);
}

static enum zb_rc
root_try(const char *root, const struct zb_keeper_key_text *text, struct zb_err *err)
{
    struct derived d = {0};
    struct zb_zfs_props props = {0};
    enum zb_rc rc = zb_zfs_props_get(root, &props, err);

    if (rc == ZB_OK) {
        rc = key_derive(&d, text, &props, err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_key_load(root, d.key, true, err);
    }
    OPENSSL_cleanse(&d, sizeof(d));
    zb_zfs_props_close(&props);
    return mismatch_say(rc, root, text, err);
}

/* Of the node's root dataset or below: others are the administrator's. */
static bool
is_ours(const struct zb_keeper *k, const char *root)
{
    size_t length = strlen(k->conf->root);

    return strncmp(root, k->conf->root, length) == 0 && root[length] == '/';
}

/* Caller holds key_lock, and nobody else is between a begin and its end. */
static void
roots_unload(const struct zb_keeper *k, const struct list *list)
{
    for (size_t i = 0; i < list->count; i++) {
        struct zb_err err;
        if (is_first_of_root(list, i) && is_ours(k, list->props[i]->encryption_root) &&
            zb_zfs_key_unload(list->props[i]->encryption_root, &err) != ZB_OK) {
            zb_log_info("%s", err.msg); /* a peek, perhaps: unloaded when that ends */
        }
    }
}

/* What is loaded where the service leads is its key, whatever became of where it came from: who
 * writes there waits for no program, nor for a file. */
static bool
is_to_load(const struct list *list, size_t i, bool leads)
{
    return is_first_of_root(list, i) && !(leads && list->props[i]->key_available);
}

static enum zb_rc
list_load(const struct list *list, const struct zb_keeper_key_service *of,
          const struct zb_keeper_key_text *text, struct zb_err *err)
{
    struct derived derived = {0};
    enum zb_rc rc = ZB_OK;

    for (size_t i = 0; i < list->count && rc == ZB_OK; i++) {
        if (is_to_load(list, i, of->leads)) {
            rc = root_load(&derived, &of->s->keys, list->props[i]->encryption_root, text, err);
        }
    }
    OPENSSL_cleanse(&derived, sizeof(derived));
    return rc;
}

static bool
leads_now(struct zb_keeper *k, const struct zb_keeper_service *s)
{
    bool leads;

    (void)pthread_mutex_lock(&k->lock);
    leads = s->stage != ZB_STAGE_REST;
    (void)pthread_mutex_unlock(&k->lock);
    return leads;
}

/* Somebody has begun and not ended, and what that one loaded a program gave: it is not asked twice
 * for one operation, which a lapse could not end. True: this one has begun too. */
static bool
is_held(struct zb_keeper *k, const struct zb_keeper_key_service *of, const struct list *list)
{
    struct zb_err ignored;
    bool held;

    (void)pthread_mutex_lock(&k->key_lock);
    held = of->source.command[0] != '\0' && of->s->keys.users > 0;
    for (size_t i = 0; i < list->count && held; i++) {
        struct zb_zfs_props root = {0};
        if (is_first_of_root(list, i)) {
            held = zb_zfs_props_get(list->props[i]->encryption_root, &root, &ignored) == ZB_OK &&
                   root.key_available;
            zb_zfs_props_close(&root);
        }
    }
    of->s->keys.users += held ? 1 : 0;
    (void)pthread_mutex_unlock(&k->key_lock);
    return held;
}

static enum zb_rc
list_begin(struct zb_keeper *k, const char *service, const struct list *list, int cancel_fd,
           struct zb_err *err)
{
    struct zb_keeper_key_service of;
    struct zb_keeper_key_text text = {0};
    bool needed = false;
    enum zb_rc rc = ZB_OK;

    if (!zb_keeper_key_service(k, service, &of) || is_held(k, &of, list)) {
        return ZB_OK;
    }
    for (size_t i = 0; i < list->count && !needed; i++) {
        needed = is_to_load(list, i, of.leads);
    }
    if (needed) { /* before the lock: a program takes its time */
        rc = zb_keeper_key_text_read(k, &of.source, cancel_fd, &text, err);
    }
    (void)pthread_mutex_lock(&k->key_lock);
    rc = rc == ZB_OK ? list_load(list, &of, &text, err) : rc;
    if (rc == ZB_OK) {
        of.s->keys.users++;
    } else if (of.s->keys.users == 0 && !leads_now(k, of.s)) {
        roots_unload(k, list);
    }
    (void)pthread_mutex_unlock(&k->key_lock);
    zb_keeper_key_text_wipe(&text);
    return rc;
}

enum zb_rc
zb_keeper_keys_begin(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view,
                     int cancel_fd, struct zb_err *err)
{
    struct list list;
    enum zb_rc rc = view_list(view, &list, err);

    rc = rc == ZB_OK ? list_begin(k, service, &list, cancel_fd, err) : rc;
    free(list.props);
    return rc;
}

enum zb_rc
zb_keeper_side_keys_begin(struct zb_keeper *k, const char *service, const struct zb_zfs_tree *tree,
                          struct zb_err *err)
{
    struct list list;
    enum zb_rc rc = tree_list(tree, &list, err);

    rc = rc == ZB_OK ? list_begin(k, service, &list, -1, err) : rc;
    free(list.props);
    return rc;
}

void
zb_keeper_keys_end(struct zb_keeper *k, const char *service)
{
    struct zb_keeper_key_service of;

    if (zb_keeper_key_service(k, service, &of)) {
        (void)pthread_mutex_lock(&k->key_lock);
        of.s->keys.users -= of.s->keys.users > 0 ? 1 : 0;
        (void)pthread_mutex_unlock(&k->key_lock);
    }
}

/* Somebody may hold the lock for as long as a file system takes to answer. */
static bool
locked_soon(struct zb_keeper *k)
{
    const struct timespec pause = {.tv_nsec = 10000000};
    int64_t end_ms = zb_mono_now().ms + SOON_MS;

    while (pthread_mutex_trylock(&k->key_lock) != 0) {
        if (zb_mono_now().ms >= end_ms) {
            return false;
        }
        (void)nanosleep(&pause, NULL);
    }
    return true;
}

static void
list_unload(struct zb_keeper *k, const char *service, const struct list *list, bool soon)
{
    struct zb_keeper_key_service of;

    if (!zb_keeper_key_service(k, service, &of) || of.leads) {
        return;
    }
    if (soon && !locked_soon(k)) {
        zb_log_warning("%s: its keys stay loaded: others are being loaded", service);
        return;
    }
    if (!soon) {
        (void)pthread_mutex_lock(&k->key_lock);
    }
    if (of.s->keys.users == 0) {
        roots_unload(k, list);
    }
    (void)pthread_mutex_unlock(&k->key_lock);
}

static void
view_unload(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view, bool soon)
{
    struct list list;
    struct zb_err ignored;

    if (view_list(view, &list, &ignored) == ZB_OK) {
        list_unload(k, service, &list, soon);
    }
    free(list.props);
}

void
zb_keeper_keys_unload(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view)
{
    view_unload(k, service, view, false);
}

void
zb_keeper_keys_unload_soon(struct zb_keeper *k, const char *service,
                           const struct zb_keeper_view *view)
{
    view_unload(k, service, view, true);
}

void
zb_keeper_side_keys_unload(struct zb_keeper *k, const char *service, const struct zb_zfs_tree *tree)
{
    struct list list;
    struct zb_err ignored;

    if (tree_list(tree, &list, &ignored) == ZB_OK) {
        list_unload(k, service, &list, false);
    }
    free(list.props);
}

void
zb_keeper_keys_inherit(struct zb_keeper *k, const char *service, const struct zb_keeper_view *view)
{
    struct zb_keeper_key_service of;

    if (!zb_keeper_key_service(k, service, &of)) {
        return;
    }
    for (uint32_t i = 0; i < view->count; i++) {
        const struct zb_zfs_props *p = view->props[i];
        struct zb_err err;

        if (view->datasets[i].rel[0] != '\0' && view->datasets[i].marked &&
            strcmp(p->encryption_root, p->name) == 0 &&
            zb_zfs_key_inherit(p->name, &err) != ZB_OK) {
            zb_log_warning("%s", err.msg);
        }
    }
}

void
zb_keeper_keys_carried(struct zb_keeper *k, struct zb_keeper_service *s)
{
    (void)pthread_mutex_lock(&k->key_lock);
    s->keys.rekeyed = false;
    (void)pthread_mutex_unlock(&k->key_lock);
}

enum zb_rc
zb_keeper_keys_carried_check(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_err *err)
{
    bool rekeyed;

    (void)pthread_mutex_lock(&k->key_lock);
    rekeyed = s->keys.rekeyed;
    (void)pthread_mutex_unlock(&k->key_lock);
    return rekeyed ? zb_err_set(err, ZB_E_MISMATCH, "%s has another key since the set was taken",
                                s->name)
                   : ZB_OK;
}

/* ---- making ---- */

static struct zb_zfs_key_params
declared_params(const struct zb_conf_service *conf, uint64_t iterations)
{
    unsigned format =
        conf->key_format != ZB_CONF_KEY_NONE ? (unsigned)conf->key_format : ZB_ZFS_KEY_RAW;

    return format == ZB_ZFS_KEY_PASSPHRASE
               ? (struct zb_zfs_key_params){format, zb_random_u64(), iterations}
               : (struct zb_zfs_key_params){.format = format};
}

static enum zb_rc
declared_text(const struct zb_keeper *k, const struct zb_conf_service *conf,
              struct zb_keeper_key_text *text, struct zb_err *err)
{
    struct zb_keeper_key_source source;

    zb_keeper_key_source(conf, &source);
    return zb_keeper_key_text_read(k, &source, -1, text, err);
}

static enum zb_rc
declared_derive(const struct zb_keeper_key_text *text, const struct zb_zfs_key_params *params,
                uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_key_derive(text->bytes, text->size, params, key, err);

    return rc == ZB_OK ? rc : zb_err_wrap(err, "%s", text->from);
}

enum zb_rc
zb_keeper_create_key_check(const struct zb_keeper *k, const struct zb_conf_service *conf,
                           const struct zb_keeper_view *view, struct zb_err *err)
{
    struct derived d = {.params = declared_params(conf, 1)}; /* whether it holds one at all */
    struct zb_keeper_key_text text;
    enum zb_rc rc = ZB_OK;

    if (conf->flavour != ZB_CONF_FLAVOUR_RAW) {
        return ZB_OK;
    }
    rc = declared_text(k, conf, &text, err);
    if (rc == ZB_OK) {
        rc = view->count > 0 ? root_try(view->dataset, &text, err)
                             : declared_derive(&text, &d.params, d.key, err);
    }
    OPENSSL_cleanse(&d, sizeof(d));
    zb_keeper_key_text_wipe(&text);
    return rc;
}

enum zb_rc
zb_keeper_tree_encrypt(const struct zb_keeper *k, const char *dataset,
                       const struct zb_conf_service *conf, const struct zb_keeper_new_props *props,
                       struct zb_err *err)
{
    const struct zb_zfs_key_params params = declared_params(conf, ITERATIONS);
    struct zb_keeper_key_text text;
    uint8_t key[ZB_ZFS_KEY_SIZE];
    struct zb_err ignored;
    enum zb_rc rc = declared_text(k, conf, &text, err);

    if (rc == ZB_OK) {
        rc = declared_derive(&text, &params, key, err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_create_encrypted(dataset, props->props, props->count, &params, key, err);
    }
    OPENSSL_cleanse(key, sizeof(key));
    zb_keeper_key_text_wipe(&text);
    if (rc == ZB_OK && zb_zfs_key_unload(dataset, &ignored) != ZB_OK) {
        zb_log_info("%s", ignored.msg);
    }
    return rc;
}
