/*
 * The keeper: the half of zbatond that stays root. It starts the engine as its child, carries out
 * the closed list of operations of wire/kmsg.h for it, and enforces the local half of protocol.md
 * whatever it is told. It opens no network socket and runs no shell. What each operation refuses
 * stands in wire/kmsg.h and keeper/rules.h.
 */
#ifndef ZB_KEEPER_KEEPER_H
#define ZB_KEEPER_KEEPER_H

#include "conf/node.h"

/*
 * Runs until SIGTERM or SIGINT, then ends the engine and returns ZB_OK; services go on and stay
 * mounted (M12). Before the engine is started, every tree under conf->root that is mounted
 * read-write without the right to it was stopped and unmounted. The engine is the program
 * engine_path with this process's own options and "--engine 3" behind them; its socketpair is
 * descriptor 3; it is started again when it ends (after 100 ms .. 5 s). Tells systemd READY=1 when
 * the engine runs for the first time, STOPPING=1 at the end ($NOTIFY_SOCKET).
 *
 * Call it with one thread and nothing to lose: it blocks signals, starts threads, and owns the
 * process until it returns. A service's processes are in groups outside the daemon's own
 * (os/cgroup.h); its systemd unit says KillMode=process so that the engine is ended by the keeper
 * and nothing else is touched, and must not use a private mount namespace (PrivateTmp,
 * ProtectSystem ...): what is mounted here must be mounted for all.
 *
 * conf and engine_path are borrowed. Errors (nothing was started): ZB_E_BUSY another keeper has
 * this state directory; ZB_E_UNSUPPORTED no ZFS; ZB_E_SYS; ZB_E_USAGE not root.
 */
enum zb_rc zb_keeper_run(const struct zb_conf_node *conf, const char *engine_path,
                         struct zb_err *err) ZB_CHECKED;

#endif
