/*
 * Programs that are installed together stand in one folder, wherever that is.
 */
#ifndef ZB_OS_BESIDE_H
#define ZB_OS_BESIDE_H

#include "base/types.h"

#define ZB_OS_BESIDE_SIZE (ZB_PATH_SIZE + 32)

/* The path of the program of that name (at most 30 bytes) in the folder of the one that runs.
 * ZB_E_NOTFOUND names it when it is not there or cannot be run; ZB_E_SYS: no /proc. Linux. */
enum zb_rc zb_os_beside(const char *name, char path[ZB_OS_BESIDE_SIZE],
                        struct zb_err *err) ZB_CHECKED;

#endif
