/* A device that is open is never hidden: the kernel would wait for its last close with a thread
 * that makes and removes all devices of the pool (openzfs#17570). */
#include "keeper/volume.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "keeper/internal.h"
#include "os/volume.h"

#define APPEAR_MS 10000 /* udev makes the link, and may have much else to do */
#define GO_MS 500       /* what looks at a device, as udev does, has it open for a moment */
#define WRITABLE_MS 500 /* who opened it first may have done so before the property was there */
#define STEP_MS 20
#define HELD_STEP_MS 100 /* each question is a transaction group */

struct look {
    const char *dataset;
    bool there;
};

static enum zb_rc
device_seen(void *ctx, const char *name, dev_t dev, struct zb_err *err)
{
    struct look *look = ctx;
    (void)dev;
    (void)err;

    look->there = look->there || strcmp(name, look->dataset) == 0;
    return ZB_OK;
}

static enum zb_rc
is_there(const char *dataset, bool *there, struct zb_err *err)
{
    struct look look = {.dataset = dataset};
    enum zb_rc rc = zb_os_volumes_each(dataset, device_seen, &look, err);

    *there = look.there;
    return rc;
}

/* *as_wanted: within the time, and with k as long as this node may write. */
static enum zb_rc
wait_until(struct zb_keeper *k, const char *dataset, bool wanted, int64_t ms, bool *as_wanted,
           struct zb_err *err)
{
    const struct zb_mono deadline = {zb_mono_now().ms + ms};
    bool there = !wanted;
    enum zb_rc rc = is_there(dataset, &there, err);

    while (rc == ZB_OK && there != wanted && zb_mono_now().ms < deadline.ms) {
        (void)usleep(STEP_MS * 1000);
        rc = k != NULL ? zb_keeper_may_write(k, err) : ZB_OK;
        if (rc == ZB_OK) {
            rc = is_there(dataset, &there, err);
        }
    }
    *as_wanted = there == wanted;
    return rc;
}

static enum zb_rc
at_rest(const char *dataset, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_hide(&props, err);
    }
    zb_zfs_props_close(&props);
    return rc;
}

/* One that was hidden and is still there goes yet, under whoever would use it. */
static enum zb_rc
going_wait(struct zb_keeper *k, const char *dataset, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    struct zb_zfs_value mode;
    bool gone = true;
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    if (rc == ZB_OK && zb_zfs_props_find(&props, "volmode", &mode) &&
        mode.number == ZB_ZFS_VOLMODE_NONE) {
        rc = wait_until(k, dataset, false, APPEAR_MS, &gone, err);
    }
    zb_zfs_props_close(&props);
    return rc == ZB_OK && !gone
               ? zb_err_set(err, ZB_E_HELD, "the device of %s was hidden, and is still in use",
                            dataset)
               : rc;
}

/* readonly first, so that the device is made as it is to be. One that is there stays the one it is:
 * what uses it goes on. *made: there was none. */
static enum zb_rc
device_make(struct zb_keeper *k, const char *dataset, bool writable, bool *made, struct zb_err *err)
{
    const struct zb_zfs_setprop readonly = {.name = "readonly",
                                            .number = writable ? ZB_ZFS_OFF : ZB_ZFS_ON};
    const struct zb_zfs_setprop mode = {.name = "volmode", .number = ZB_ZFS_VOLMODE_DEV};
    bool there = true;
    enum zb_rc rc = k != NULL ? zb_keeper_may_write(k, err) : ZB_OK;

    if (rc == ZB_OK) {
        rc = going_wait(k, dataset, err);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_props_set(dataset, &readonly, 1, err);
    }
    if (rc == ZB_OK) {
        rc = is_there(dataset, &there, err);
    }
    *made = rc == ZB_OK && !there;
    if (*made) {
        rc = zb_zfs_props_set(dataset, &mode, 1, err);
    }
    if (rc == ZB_OK && !there) {
        rc = wait_until(k, dataset, true, APPEAR_MS, &there, err);
    }
    if (rc == ZB_OK && !there) {
        (void)zb_err_set(err, ZB_E_TIMEOUT, "there is no device " ZB_OS_VOLUMES "%s after %d s",
                         dataset, APPEAR_MS / 1000);
        rc = zb_err_hint(err, "udev has to run, with the rules of OpenZFS (60-zvol.rules)");
    }
    return rc;
}

enum zb_rc
zb_keeper_volume_show(struct zb_keeper *k, const char *dataset, bool writable, struct zb_err *err)
{
    struct zb_err undo;
    bool made = false;
    enum zb_rc rc = device_make(k, dataset, writable, &made, err);

    /* The kernel makes and removes devices in the order it was told to: what comes late goes. */
    if (rc != ZB_OK && made && at_rest(dataset, &undo) != ZB_OK) {
        rc = zb_err_wrap(err, "(and not hidden again: %.100s)", undo.msg);
    }
    return rc;
}

static enum zb_rc
writable_prove(const char *dataset, struct zb_err *err)
{
    const struct zb_mono deadline = {zb_mono_now().ms + WRITABLE_MS};
    bool writable = false;
    enum zb_rc rc = zb_os_volume_writable(dataset, &writable, err);

    while (rc == ZB_OK && !writable && zb_mono_now().ms < deadline.ms) {
        (void)usleep(STEP_MS * 1000);
        rc = zb_os_volume_writable(dataset, &writable, err);
    }
    return rc == ZB_OK && !writable
               ? zb_err_set(err, ZB_E_MISMATCH, "the device of %s is read-only", dataset)
               : rc;
}

enum zb_rc
zb_keeper_volume_lead(struct zb_keeper *k, const struct zb_conf_service *conf, const char *rel,
                      const char *dataset, struct zb_err *err)
{
    char name[ZB_DATASET_NAME_SIZE];
    enum zb_rc rc = zb_keeper_volume_show(k, dataset, true, err);

    if (rc == ZB_OK) {
        rc = writable_prove(dataset, err);
    }
    if (rc == ZB_OK &&
        (size_t)snprintf(name, sizeof(name), "%s/%s", conf->name, rel) >= sizeof(name)) {
        rc = zb_err_set(err, ZB_E_LIMIT, "name of the device of %s is too long", dataset);
    }
    return rc == ZB_OK ? zb_os_volume_link(name, dataset, err) : rc;
}

enum zb_rc
zb_keeper_volume_closed(const char *dataset, struct zb_err *err)
{
    const struct zb_mono deadline = {zb_mono_now().ms + GO_MS};
    struct zb_zfs_held held = {0};
    enum zb_rc rc = zb_zfs_held(&dataset, 1, &held, err);

    while (rc == ZB_OK && held.state == ZB_ZFS_HELD && zb_mono_now().ms < deadline.ms) {
        (void)usleep(HELD_STEP_MS * 1000);
        rc = zb_zfs_held(&dataset, 1, &held, err);
    }
    return rc == ZB_OK && held.state == ZB_ZFS_HELD
               ? zb_err_set(err, ZB_E_HELD, "the device of %s is in use", dataset)
               : rc;
}

enum zb_rc
zb_keeper_volume_hide(const char *dataset, struct zb_err *err)
{
    bool gone = false;
    enum zb_rc rc = zb_keeper_volume_closed(dataset, err);

    if (rc == ZB_OK) {
        rc = at_rest(dataset, err);
    }
    if (rc == ZB_OK) {
        rc = wait_until(NULL, dataset, false, GO_MS, &gone, err);
    }
    return rc == ZB_OK && !gone
               ? zb_err_set(err, ZB_E_HELD, "the device of %s does not go", dataset)
               : rc;
}

enum zb_rc
zb_keeper_volumes_rest(const struct zb_keeper_view *view, struct zb_err *err)
{
    enum zb_rc rc = ZB_OK;

    for (uint32_t i = 0; i < view->count && rc == ZB_OK; i++) {
        struct zb_zfs_props now = {0};

        if (view->props[i]->type == ZB_ZFS_VOLUME && view->datasets[i].marked) {
            rc = zb_zfs_props_get(view->props[i]->name, &now, err);
            rc = rc == ZB_OK ? zb_keeper_rest_set(&now, false, false, err) : rc;
            zb_zfs_props_close(&now);
        }
    }
    return rc;
}

static enum zb_rc
volume_replay(const char *dataset, struct zb_err *err)
{
    struct zb_mono deadline;
    struct zb_zfs_props now = {0};
    bool there = false;
    enum zb_rc rc = is_there(dataset, &there, err);

    if (rc == ZB_OK && there) {
        return zb_err_set(err, ZB_E_EXISTS, "%s has a device already", dataset);
    }
    if (rc == ZB_OK) {
        rc = zb_zfs_props_get(dataset, &now, err);
    }
    if (rc == ZB_OK && !now.key_available) {
        rc = zb_err_set(err, ZB_E_UNSUPPORTED, "the encryption key of %s is not loaded", dataset);
    }
    zb_zfs_props_close(&now);
    if (rc == ZB_OK) {
        rc = zb_keeper_volume_show(NULL, dataset, false, err);
    }
    deadline.ms = zb_mono_now().ms + ZB_KEEPER_UMOUNT_MS;
    return rc == ZB_OK ? zb_keeper_tree_umount(dataset, deadline, err) : rc;
}

enum zb_rc
zb_keeper_replay(const struct zb_zfs_props *props, struct zb_err *err)
{
    if (props->type != ZB_ZFS_VOLUME) {
        return zb_os_replay(props->name, err);
    }
    /* A log shows in `written` (zfs.h); what never completed has none, and no device. */
    return props->written_bytes == 0 || props->inconsistent ? ZB_OK
                                                            : volume_replay(props->name, err);
}
