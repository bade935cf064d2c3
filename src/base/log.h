/*
 * Log lines to stderr (with syslog priority prefixes "<6>" when the journal reads it). One line per
 * event (control characters become spaces), no secret is ever logged. Thread safe after
 * zb_log_init.
 */
#ifndef ZB_BASE_LOG_H
#define ZB_BASE_LOG_H

enum zb_log_level { ZB_LOG_ERROR = 3, ZB_LOG_WARNING = 4, ZB_LOG_INFO = 6, ZB_LOG_DEBUG = 7 };

/* program: "zbatond: keeper", must stay valid; level: lines above it are dropped. */
void zb_log_init(const char *program, enum zb_log_level level);
void zb_log(enum zb_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
#define zb_log_error(...) zb_log(ZB_LOG_ERROR, __VA_ARGS__)
#define zb_log_warning(...) zb_log(ZB_LOG_WARNING, __VA_ARGS__)
#define zb_log_info(...) zb_log(ZB_LOG_INFO, __VA_ARGS__)
#define zb_log_debug(...) zb_log(ZB_LOG_DEBUG, __VA_ARGS__)

/* The end of the process where memory is fail-stop: says so, then abort(). */
void zb_out_of_memory(void) __attribute__((noreturn));

#endif
