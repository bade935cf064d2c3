/*
 * REKEY. What the key opens is wrapped anew, and stays as it is: the kernel does that at once for
 * the tree's own dataset and for everything that has its key from it. Followers get it with the
 * next set, for each stream of a raw service carries its dataset's key as it is then.
 *
 * A dataset that says that it has the tree's key and has another one makes kernels panic in the
 * middle of it. They come to be on hosts that followed: a child that no set holds any more keeps
 * the key that was in force when it came. So each has to be mounted, or its device to be opened,
 * which none with another key can.
 *
 * It is for root to say what the key becomes (consent.h): what is declared is what the engine says.
 */
#include <openssl/crypto.h>
#include <string.h>

#include "base/log.h"
#include "keeper/consent.h"
#include "keeper/internal.h"
#include "os/volume.h"

#define CLAIM_MS 5000 /* for others to end */

/* ---- what has the tree's key ---- */

static enum zb_rc
heir_say(const struct zb_keeper *k, const char *tree, const char *name, bool volume,
         struct zb_err *err)
{
    char rescues[ZB_DATASET_NAME_SIZE + sizeof(ZB_KEEPER_RESCUES)];

    (void)snprintf(rescues, sizeof(rescues), "%s" ZB_KEEPER_RESCUES "/", k->conf->root);
    (void)zb_err_set(err, ZB_E_REFUSED,
                     "%s has its key from %s and %s: that it is the same one is not known, and ZFS "
                     "does not bear another",
                     name, tree, volume ? "has no device" : "is not mounted");
    if (volume) {
        return zb_err_hint(err, "zfs set readonly=on volmode=dev %.120s, or destroy it", name);
    }
    return strncmp(name, rescues, strlen(rescues)) == 0
               ? zb_err_hint(err, "zbaton rescue mount %.*s",
                             (int)strcspn(name + strlen(rescues), "/"), name + strlen(rescues))
               : zb_err_hint(err, "mount -t zfs -o zfsutil,ro %.120s DIRECTORY, or destroy it",
                             name);
}

static enum zb_rc
heir_check(const struct zb_keeper *k, const char *tree, const struct zb_os_mounts *mounts,
           const char *name, struct zb_err *err)
{
    struct zb_zfs_props p = {0};
    enum zb_rc rc = zb_zfs_props_get(name, &p, err);
    struct zb_err closed;
    bool bad, volume, ignored;

    if (rc != ZB_OK) {
        return rc == ZB_E_NOTFOUND ? ZB_OK : rc; /* destroyed meanwhile */
    }
    /* A clone has no key of its own, but its origin's. */
    volume = p.type == ZB_ZFS_VOLUME;
    bad = p.encrypted && strcmp(p.encryption_root, tree) == 0 && p.origin[0] == '\0' &&
          (volume ? zb_os_volume_writable(name, &ignored, &closed) != ZB_OK
                  : zb_os_mounts_find(mounts, name) == NULL);
    zb_zfs_props_close(&p);
    return bad ? heir_say(k, tree, name, volume, err) : ZB_OK;
}

/* Wherever in the pool: a clone of somebody's may have children. */
static enum zb_rc
heirs_check(struct zb_keeper *k, const char *tree, struct zb_err *err)
{
    struct zb_zfs_names names = {0};
    struct zb_os_mounts mounts = {0};
    char pool[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc;

    zb_strcopy(pool, sizeof(pool), tree);
    pool[strcspn(pool, "/")] = '\0';
    rc = zb_zfs_children_list(pool, &names, err);
    if (rc == ZB_OK) {
        rc = zb_os_mounts_read(pool, &mounts, err);
    }
    for (size_t i = 0; i < names.count && rc == ZB_OK; i++) {
        rc = zb_keeper_may_write(k, err); /* who demotes waits for this one */
        rc = rc == ZB_OK ? heir_check(k, tree, &mounts, names.names[i], err) : rc;
    }
    zb_os_mounts_close(&mounts);
    zb_zfs_names_close(&names);
    return rc;
}

/* ---- the key ---- */

static enum zb_rc
text_derive(const struct zb_keeper_key_text *text, const struct zb_zfs_key_params *params,
            uint8_t key[ZB_ZFS_KEY_SIZE], struct zb_err *err)
{
    enum zb_rc rc = zb_keeper_key_derive(text->bytes, text->size, params, key, err);

    return rc == ZB_OK ? rc : zb_err_wrap(err, "%s", text->from);
}

/* *same: it is in force. */
static enum zb_rc
key_compare(struct zb_keeper *k, const char *root, const struct zb_zfs_key_params *params,
            const struct zb_keeper_key_text *text, bool *same, struct zb_err *err)
{
    uint8_t key[ZB_ZFS_KEY_SIZE];
    enum zb_rc rc;

    (void)pthread_mutex_lock(&k->key_lock);
    rc = text_derive(text, params, key, err);
    if (rc == ZB_OK) {
        rc = zb_zfs_key_load(root, key, true, err);
        *same = rc == ZB_OK;
        rc = rc == ZB_E_MISMATCH ? ZB_OK : rc;
    }
    (void)pthread_mutex_unlock(&k->key_lock);
    OPENSSL_cleanse(key, sizeof(key));
    return rc;
}

/* The salt of a passphrase is another one with each key: by it a look tells that there is one. */
static enum zb_rc
key_change(struct zb_keeper *k, struct zb_keeper_service *s, const char *root,
           const struct zb_zfs_key_params *before, const struct zb_keeper_key_text *text,
           struct zb_err *err)
{
    struct zb_zfs_key_params params = *before;
    uint8_t key[ZB_ZFS_KEY_SIZE];
    enum zb_rc rc;

    if (params.format == ZB_ZFS_KEY_PASSPHRASE) {
        do {
            params.salt = zb_random_u64();
        } while (params.salt == 0 || params.salt == before->salt);
    }
    (void)pthread_mutex_lock(&k->key_lock);
    rc = text_derive(text, &params, key, err);
    if (rc == ZB_OK) {
        rc = zb_zfs_key_change(root, &params, key, err);
    }
    if (rc == ZB_OK) {
        s->keys.state = ZB_KEY_GOOD;
        s->keys.ino = 0;
        s->keys.rekeyed = true;
        zb_keeper_key_loaded(&s->keys, key);
        s->keys.asked_at = zb_mono_now();
    }
    (void)pthread_mutex_unlock(&k->key_lock);
    OPENSSL_cleanse(key, sizeof(key));
    return rc;
}

/* ---- REKEY ---- */

/* Everything that may say no without a look at the key. */
static enum zb_rc
tree_check(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_view *view,
           struct zb_err *err)
{
    struct zb_keeper_record r;
    struct zb_keeper_facts facts = {0};
    enum zb_rc rc = zb_keeper_facts(k, job, view, false, &facts, err);

    zb_keeper_record_copy(k, job->service, &r);
    if (rc == ZB_OK) {
        rc = zb_keeper_may_write(k, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_rekey(&r, &job->req, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_view_whole(view, job->conf.flavour, err);
    }
    if (rc == ZB_OK && view->props[0]->origin[0] != '\0') {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is a clone: its key is that of %s", view->dataset,
                         view->props[0]->origin);
        rc = zb_err_hint(err, "zfs promote %.200s", view->dataset);
    }
    return rc;
}

static enum zb_rc
rekey(struct zb_keeper *k, struct zb_keeper_job *job, const struct zb_keeper_key_text *text,
      struct zb_err *err)
{
    struct zb_keeper_view view = {0};
    struct zb_zfs_key_params params = {0};
    bool same = false;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = tree_check(k, job, &view, err);
    }
    if (rc == ZB_OK && !zb_zfs_key_params_find(view.props[0], &params)) {
        rc = zb_err_set(err, ZB_E_UNSUPPORTED, "%s has no key that could be changed", view.dataset);
    }
    if (rc == ZB_OK) {
        rc = key_compare(k, view.dataset, &params, text, &same, err);
    }
    if (rc == ZB_OK && !same) {
        rc = heirs_check(k, view.dataset, err);
    }
    if (rc == ZB_OK && !same) {
        rc = key_change(k, job->service, view.dataset, &params, text, err);
        if (rc == ZB_OK) {
            zb_log_info("%s: %s has another key now, from %s", job->req.service, view.dataset,
                        text->from);
        }
    }
    job->rep.flags = rc == ZB_OK && same ? ZB_KF_SAME : 0;
    zb_keeper_view_close(&view);
    return rc;
}

/* As SNAPSHOT claims it: so it is not sealed meanwhile, by a set without the key. */
static enum zb_rc
claim(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_err *err)
{
    if (zb_keeper_claim_wait(k, s, ZB_CLAIM_SNAP, CLAIM_MS)) {
        return ZB_OK;
    }
    (void)zb_err_set(err, ZB_E_BUSY, "another operation on %s is under way", s->name);
    return zb_err_hint(err, "it ends by itself: try again in a moment");
}

static enum zb_rc
rekey_claimed(struct zb_keeper *k, struct zb_keeper_job *job, int cancel_fd, struct zb_err *err)
{
    struct zb_keeper_key_source source;
    struct zb_keeper_key_text text = {0};
    bool claims = job->claim != ZB_CLAIM_WRITE; /* the first operation of a life has more */
    enum zb_rc rc;

    zb_keeper_key_source(&job->conf, &source);
    rc = zb_keeper_consent_check(k, job->req.service, &source, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_key_text_read(k, &source, cancel_fd, &text, err); /* it may take its time */
    }
    if (rc == ZB_OK && claims) {
        rc = claim(k, job->service, err);
    }
    if (rc == ZB_OK) {
        rc = rekey(k, job, &text, err);
        if (claims) {
            zb_keeper_claim_end(k, job->service, ZB_CLAIM_SNAP);
        }
    }
    if (rc == ZB_OK) {
        zb_keeper_consent_drop(k, job->req.service);
    }
    zb_keeper_key_text_wipe(&text);
    return rc;
}

static enum zb_rc
key_ask(struct zb_keeper *k, struct zb_keeper_job *job, int cancel_fd, struct zb_err *err)
{
    uint64_t asides = zb_keeper_asides(k, job->service);
    struct zb_keeper_view view = {0};
    enum zb_key_state state = ZB_KEY_GOOD;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_key_ask(k, job->req.service, &view, cancel_fd, &state, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_aside_check(k, job, asides, err);
    }
    job->rep.key = rc == ZB_OK ? state : ZB_KEY_GOOD;
    zb_keeper_view_close(&view);
    return rc;
}

enum zb_rc
zb_keeper_op_rekey(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    bool only_try = (job->req.flags & ZB_KF_DRY_RUN) != 0;
    int fd = -1;
    enum zb_rc rc = ZB_OK;

    if (job->conf.flavour != ZB_CONF_FLAVOUR_RAW) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is of flavour \"plain\": it has no key of its own",
                         job->req.service);
        return zb_err_hint(err, "zfs change-key, on each host, for what that encrypts from above");
    }
    if (job->conf.key_command[0] != '\0') {
        rc = zb_keeper_job_cancel_open(k, job, &fd, err);
    }
    if (rc == ZB_OK) {
        rc = (only_try ? key_ask : rekey_claimed)(k, job, fd, err);
    }
    if (fd >= 0) {
        zb_keeper_job_cancel_close(k, job, fd);
    }
    return rc;
}
