/* Zvols of a tree: what is a mount for a file system is a device for them. A copy at rest has none
 * (volmode=none, readonly=on); of the leader it is there and writable, for readonly=on cannot be
 * overridden for one device as it can for a mount. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "keeper/internal.h"
#include "os/volume.h"

#define APPEAR_MS 10000 /* udev makes the link, and may have much else to do */
#define GO_MS 500       /* what looks at a new device, as udev does, has it open for a moment */
#define STEP_MS 20

static enum zb_rc
is_there(const char *dataset, bool *there, struct zb_err *err)
{
    struct zb_os_mounts mounts = {0};
    enum zb_rc rc = zb_os_mounts_read(dataset, &mounts, err);

    if (rc == ZB_OK) {
        *there = zb_os_mounts_find(&mounts, dataset) != NULL;
    }
    zb_os_mounts_close(&mounts);
    return rc;
}

/* *there: whether it is as wanted within the time. */
static enum zb_rc
wait_until(const char *dataset, bool wanted, int64_t ms, bool *as_wanted, struct zb_err *err)
{
    const struct zb_mono deadline = {zb_mono_now().ms + ms};

    for (;;) {
        bool there = !wanted;
        enum zb_rc rc = is_there(dataset, &there, err);

        *as_wanted = there == wanted;
        if (rc != ZB_OK || *as_wanted || zb_mono_now().ms >= deadline.ms) {
            return rc;
        }
        (void)usleep(STEP_MS * 1000);
    }
}

enum zb_rc
zb_keeper_volume_show(const char *dataset, bool writable, struct zb_err *err)
{
    const struct zb_zfs_setprop set[] = {
        {.name = "readonly", .number = writable ? ZB_ZFS_OFF : ZB_ZFS_ON},
        {.name = "volmode", .number = ZB_ZFS_VOLMODE_DEV},
    };
    bool there = false;
    enum zb_rc rc = zb_zfs_props_set(dataset, set, sizeof(set) / sizeof(set[0]), err);

    if (rc == ZB_OK) {
        rc = wait_until(dataset, true, APPEAR_MS, &there, err);
    }
    if (rc == ZB_OK && !there) {
        (void)zb_err_set(err, ZB_E_TIMEOUT, "there is no device /dev/zvol/%s after %d s", dataset,
                         APPEAR_MS / 1000);
        rc = zb_err_hint(err, "udev has to run, with the rules of OpenZFS (60-zvol.rules)");
    }
    return rc;
}

enum zb_rc
zb_keeper_volume_lead(const struct zb_conf_service *conf, const char *rel, const char *dataset,
                      struct zb_err *err)
{
    char name[ZB_DATASET_NAME_SIZE];
    bool writable = false;
    enum zb_rc rc = zb_keeper_volume_show(dataset, true, err);

    if (rc == ZB_OK) {
        rc = zb_os_volume_writable(dataset, &writable, err);
    }
    if (rc == ZB_OK && !writable) {
        rc = zb_err_set(err, ZB_E_MISMATCH, "the device of %s is read-only", dataset);
    }
    if (rc == ZB_OK && (size_t)snprintf(name, sizeof(name), "%s/%s", conf->name, rel) >=
                           sizeof(name)) {
        rc = zb_err_set(err, ZB_E_LIMIT, "name of the device of %s is too long", dataset);
    }
    return rc == ZB_OK ? zb_os_volume_link(name, dataset, err) : rc;
}

enum zb_rc
zb_keeper_volume_hide(const char *dataset, struct zb_err *err)
{
    struct zb_zfs_props props = {0};
    bool gone = false;
    enum zb_rc rc = zb_zfs_props_get(dataset, &props, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_hide(&props, err);
    }
    zb_zfs_props_close(&props);
    if (rc == ZB_OK) {
        rc = wait_until(dataset, false, GO_MS, &gone, err);
    }
    return rc == ZB_OK && !gone
               ? zb_err_set(err, ZB_E_HELD, "the device of %s is in use", dataset)
               : rc;
}

static enum zb_rc
volume_replay(const char *dataset, struct zb_err *err)
{
    struct zb_mono deadline = {zb_mono_now().ms + ZB_KEEPER_UMOUNT_MS};
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
        rc = zb_keeper_volume_show(dataset, false, err);
    }
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
