/*
 * Errors: a code for programs, a sentence for people, a hint for the operator.
 *
 * A function that can fail returns enum zb_rc and takes struct zb_err * last. The error is set once
 * where it happens (zb_err_set, zb_err_sys); each layer above adds one phrase in front
 * (zb_err_wrap); it is handled and logged once. Never NULL: callers always give a struct.
 */
#ifndef ZB_BASE_ERR_H
#define ZB_BASE_ERR_H

/* Permanent numbers: they cross process and host borders. */
enum zb_rc {
    ZB_OK = 0,
    ZB_E_FAILED = 1,   /* the operation was tried and did not succeed */
    ZB_E_USAGE = 2,    /* the request itself is wrong */
    ZB_E_REFUSED = 3,  /* a safety rule forbids it; nothing was changed */
    ZB_E_NOQUORUM = 4, /* not enough nodes answered */
    ZB_E_NOMEM = 10,
    ZB_E_SYS = 11,    /* a system call failed: sys_errno */
    ZB_E_LIMIT = 12,  /* a bound of base/limits.h */
    ZB_E_FORMAT = 13, /* bytes that do not decode */
    ZB_E_BUSY = 14,   /* another operation on the same service is under way: try again */
    ZB_E_NOTFOUND = 15,
    ZB_E_EXISTS = 16,
    ZB_E_TIMEOUT = 17,
    ZB_E_CLOSED = 18, /* the other side went away */
    ZB_E_AUTH = 19,   /* not who it should be, or not allowed */
    ZB_E_VERSION = 20,
    ZB_E_STALE = 21,    /* an older term or version than the one known */
    ZB_E_DIVERGED = 22, /* content that is not in the lineage */
    ZB_E_HELD = 23,     /* a process, mount, hold or clone keeps it: named in msg */
    ZB_E_NOSPACE = 24,
    ZB_E_SUSPENDED = 25, /* the pool does not answer */
    ZB_E_MISMATCH = 26,  /* re-read value differs from the planned one */
    ZB_E_CANCELED = 27,
    ZB_E_UNSUPPORTED = 28,
};

struct zb_err {
    enum zb_rc rc;
    int sys_errno;  /* errno where one caused it, or 0 */
    char msg[512];  /* "receive web: open pipe: too many open files" */
    char hint[256]; /* what helps, a command where there is one; may be empty */
};

#define ZB_CHECKED __attribute__((warn_unused_result))

/* Sets all of *err; returns rc, so that `return zb_err_set(err, ...)` ends a function. */
enum zb_rc zb_err_set(struct zb_err *err, enum zb_rc rc, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* As zb_err_set with ZB_E_SYS (ZB_E_NOMEM for ENOMEM, ZB_E_NOSPACE for ENOSPC and EDQUOT) and ":
 * strerror". */
enum zb_rc zb_err_sys(struct zb_err *err, int sys_errno, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Puts a phrase and ": " in front of err->msg; returns err->rc. */
enum zb_rc zb_err_wrap(struct zb_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Sets err->hint; returns err->rc. */
enum zb_rc zb_err_hint(struct zb_err *err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* "refused", "timeout" ...: stable word of a code, for JSON. */
const char *zb_rc_word(enum zb_rc rc);
/* Exit code of a program for this code (0, 1, 2, 3, 4). */
int zb_rc_exit(enum zb_rc rc);

#endif
