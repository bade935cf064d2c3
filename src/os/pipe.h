/*
 * Pipes for streams between the kernel's send or receive and the engine.
 */
#ifndef ZB_OS_PIPE_H
#define ZB_OS_PIPE_H

#include <stddef.h>

#include "base/err.h"

#define ZB_OS_PIPE_BYTES (1u << 20) /* wanted size; less when the user's limit says so */

/* A pipe with both ends blocking and close-on-exec, enlarged while still empty (enlarging one with
 * data in it can deadlock a send, openzfs#13232). Both ends are the caller's. ZB_E_SYS. */
enum zb_rc zb_os_pipe_open(int *read_fd, int *write_fd, struct zb_err *err) ZB_CHECKED;

/* Reads exactly size bytes, blocking, going on after signals. ZB_E_CLOSED when the other end closes
 * before; what was read is then lost. */
enum zb_rc zb_os_read_full(int fd, void *buf, size_t size, struct zb_err *err) ZB_CHECKED;

#endif
