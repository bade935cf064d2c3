/*
 * Zvols of a tree: what is a mount for a file system is a device for them. A copy at rest has none
 * (volmode=none, readonly=on); of the leader it is there and writable, for readonly=on cannot be
 * overridden for one device as it can for a mount.
 *
 * Thread safe; block on a suspended pool: worker threads.
 */
#ifndef ZB_KEEPER_VOLUME_H
#define ZB_KEEPER_VOLUME_H

#include "keeper/view.h"

/* The device is there afterwards, read-only or not, as /dev/zvol/<dataset>; on an error what this
 * call made is at rest again. ZB_E_TIMEOUT: udev makes no such link. With k it is only waited for
 * while this node may write. 1-2 txgs. */
enum zb_rc zb_keeper_volume_show(struct zb_keeper *k, const char *dataset, bool writable,
                                 struct zb_err *err) ZB_CHECKED;
/* As a leader has it: writable, which is proven, and with its link in /dev/zbaton. */
enum zb_rc zb_keeper_volume_lead(struct zb_keeper *k, const struct zb_conf_service *conf,
                                 const char *rel, const char *dataset,
                                 struct zb_err *err) ZB_CHECKED;
/* The device goes. ZB_E_HELD: something has it open, and nothing was changed; or it has not gone
 * yet, and will. 2 txgs. */
enum zb_rc zb_keeper_volume_hide(const char *dataset, struct zb_err *err) ZB_CHECKED;
/* policy.c: volmode of a volume without marks, as it was before it was hidden. */
enum zb_rc zb_keeper_hidden_return(const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;
/* ZB_E_HELD: something has the device open, for longer than what only looks at it. 1 txg. */
enum zb_rc zb_keeper_volume_closed(const char *dataset, struct zb_err *err) ZB_CHECKED;
/* Values at rest of every volume that is marked, whether its device was seen or not. ZB_E_HELD. */
enum zb_rc zb_keeper_volumes_rest(const struct zb_keeper_view *view, struct zb_err *err) ZB_CHECKED;
/* What was fsync'ed before a crash is in the dataset afterwards: of a file system (mount.h), or of
 * a volume, whose log is replayed when its device is made. ZB_E_EXISTS: mounted, or there. */
enum zb_rc zb_keeper_replay(const struct zb_zfs_props *props, struct zb_err *err) ZB_CHECKED;

#endif
