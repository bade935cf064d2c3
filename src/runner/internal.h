/*
 * The kinds of runners behind runner.h; one file each.
 */
#ifndef ZB_RUNNER_INTERNAL_H
#define ZB_RUNNER_INTERNAL_H

#include "runner/runner.h"

/* The environment of every program: where to look for others. */
#define ZB_RUNNER_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* Everything one exec of a declared command line needs; lives on the stack of the call. */
struct zb_runner_command {
    char path[ZB_PATH_SIZE];
    char buf[ZB_RUNNER_LINE_MAX];
    char *words[ZB_RUNNER_WORDS_MAX + 1];
    char service[ZB_SERVICE_NAME_SIZE + 32];
    char mountpoint[ZB_PATH_SIZE + 32];
    char *env[4];
};

/* A program by its absolute path, as zb_runner_program_find; path of ZB_PATH_SIZE. */
enum zb_rc zb_runner_path_find(const char *command, char *path, struct zb_err *err) ZB_CHECKED;
/* A command line of the declaration: its program, words and environment. */
enum zb_rc zb_runner_command_prepare(const struct zb_runner *r, const char *line,
                                     struct zb_runner_command *c, struct zb_err *err) ZB_CHECKED;

struct zb_runner_ops {
    enum zb_rc (*start)(const struct zb_runner *r, struct zb_mono deadline, struct zb_err *err);
    enum zb_rc (*stop)(const struct zb_runner *r, uint32_t timeout_ms, struct zb_err *err);
    enum zb_rc (*check)(const struct zb_runner *r, struct zb_mono deadline, bool *running,
                        struct zb_err *err);
    enum zb_rc (*alive)(const struct zb_runner *r, bool *alive, struct zb_err *err);
};

extern const struct zb_runner_ops zb_runner_command_ops;
extern const struct zb_runner_ops zb_runner_systemd_ops;

static inline bool
zb_runner_declared(const char *s)
{
    return s != NULL && s[0] != '\0';
}

static inline struct zb_mono
zb_runner_after(uint64_t ms)
{
    return (struct zb_mono){.ms = zb_mono_now().ms + (int64_t)ms};
}

#endif
