/*
 * Giving up root for good: what the engine does first, before it parses a byte from outside.
 *
 * The drop is verified, not assumed (as hastd does): a drop that can be undone is a failure, and
 * the caller must end. Call it while the process has one thread: prctl and capset act on one thread
 * only.
 */
#ifndef ZB_OS_PRIV_H
#define ZB_OS_PRIV_H

#include <sys/types.h>

#include "base/err.h"

#define ZB_ENGINE_USER "_zbaton"
/* Of programs that the engine may ask for: not its own, so that it cannot take them over, which are
 * neither in its chroot nor kept from gaining privileges. */
#define ZB_NOTIFY_USER "nobody"

struct zb_os_identity {
    uid_t uid;
    gid_t gid;
};

/* Of a user with its primary group. ZB_E_NOTFOUND no such user, ZB_E_USAGE the user is root. Thread
 * safe. */
enum zb_rc zb_os_identity_find(const char *user, struct zb_os_identity *identity,
                               struct zb_err *err) ZB_CHECKED;

/*
 * Becomes `user` with its primary group and no other groups, without capabilities (bounding set
 * included) and with no_new_privs; before that, chroot(chroot_dir) and chdir("/") (NULL: no
 * chroot). Descriptors stay open. Then proves: setuid(0) and chroot(".") fail, all Cap* lines of
 * /proc/self/status are zero, real, effective and saved ids are the user's.
 * Errors: ZB_E_NOTFOUND no such user, ZB_E_USAGE the user is root, ZB_E_SYS, ZB_E_FAILED the proof
 * failed. After any error the process may be half way: the caller exits. capabilities(7),
 * prctl(2)..
 */
enum zb_rc zb_os_priv_drop(const char *user, const char *chroot_dir, struct zb_err *err) ZB_CHECKED;

#endif
