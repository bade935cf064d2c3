#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

/* Indexed by code; gaps are codes that do not exist. */
static const char *const rc_words[] = {
    [ZB_OK] = "ok",
    [ZB_E_FAILED] = "failed",
    [ZB_E_USAGE] = "usage",
    [ZB_E_REFUSED] = "refused",
    [ZB_E_NOQUORUM] = "no-quorum",
    [ZB_E_NOMEM] = "no-memory",
    [ZB_E_SYS] = "system",
    [ZB_E_LIMIT] = "limit",
    [ZB_E_FORMAT] = "format",
    [ZB_E_BUSY] = "busy",
    [ZB_E_NOTFOUND] = "not-found",
    [ZB_E_EXISTS] = "exists",
    [ZB_E_TIMEOUT] = "timeout",
    [ZB_E_CLOSED] = "closed",
    [ZB_E_AUTH] = "auth",
    [ZB_E_VERSION] = "version",
    [ZB_E_STALE] = "stale",
    [ZB_E_DIVERGED] = "diverged",
    [ZB_E_HELD] = "held",
    [ZB_E_NOSPACE] = "no-space",
    [ZB_E_SUSPENDED] = "suspended",
    [ZB_E_MISMATCH] = "mismatch",
    [ZB_E_CANCELED] = "canceled",
    [ZB_E_UNSUPPORTED] = "unsupported",
};

/* Appends to a text in a buffer of size bytes; what does not fit is cut (a message for people). */
static void __attribute__((format(printf, 3, 0)))
append(char *text, size_t size, const char *fmt, va_list args)
{
    size_t used = strlen(text);
    (void)vsnprintf(text + used, size - used, fmt, args);
}

static void __attribute__((format(printf, 3, 4)))
append_text(char *text, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    append(text, size, fmt, args);
    va_end(args);
}

/* Built aside and copied at the end: the arguments may point into *err. */
static enum zb_rc
fill(struct zb_err *err, enum zb_rc rc, int sys_errno, const char *msg)
{
    err->rc = rc;
    err->sys_errno = sys_errno;
    memcpy(err->msg, msg, strlen(msg) + 1);
    err->hint[0] = '\0';
    return rc;
}

enum zb_rc
zb_err_set(struct zb_err *err, enum zb_rc rc, const char *fmt, ...)
{
    char msg[sizeof err->msg] = "";
    va_list args;
    va_start(args, fmt);
    append(msg, sizeof msg, fmt, args);
    va_end(args);
    return fill(err, rc, 0, msg);
}

static enum zb_rc
rc_of_errno(int sys_errno)
{
    switch (sys_errno) {
    case ENOMEM:
        return ZB_E_NOMEM;
    case ENOSPC:
    case EDQUOT:
        return ZB_E_NOSPACE;
    default:
        return ZB_E_SYS;
    }
}

enum zb_rc
zb_err_sys(struct zb_err *err, int sys_errno, const char *fmt, ...)
{
    char msg[sizeof err->msg] = "";
    va_list args;
    va_start(args, fmt);
    append(msg, sizeof msg, fmt, args);
    va_end(args);
    /* strerror is thread safe in glibc >= 2.32 and FreeBSD; no program of ours sets a locale. */
    append_text(msg, sizeof msg, ": %s", strerror(sys_errno));
    return fill(err, rc_of_errno(sys_errno), sys_errno, msg);
}

enum zb_rc
zb_err_wrap(struct zb_err *err, const char *fmt, ...)
{
    char msg[sizeof err->msg] = "";
    va_list args;
    va_start(args, fmt);
    append(msg, sizeof msg, fmt, args);
    va_end(args);
    append_text(msg, sizeof msg, ": %s", err->msg);
    memcpy(err->msg, msg, sizeof err->msg);
    return err->rc;
}

enum zb_rc
zb_err_hint(struct zb_err *err, const char *fmt, ...)
{
    char hint[sizeof err->hint] = "";
    va_list args;
    va_start(args, fmt);
    append(hint, sizeof hint, fmt, args);
    va_end(args);
    memcpy(err->hint, hint, sizeof err->hint);
    return err->rc;
}

const char *
zb_rc_word(enum zb_rc rc)
{
    size_t index = (size_t)rc;
    if (index >= sizeof rc_words / sizeof rc_words[0] || rc_words[index] == NULL) {
        return "unknown";
    }
    return rc_words[index];
}

int
zb_rc_exit(enum zb_rc rc)
{
    switch (rc) {
    case ZB_OK:
        return 0;
    case ZB_E_USAGE:
        return 2;
    case ZB_E_REFUSED:
        return 3;
    case ZB_E_NOQUORUM:
        return 4;
    default:
        return 1;
    }
}
