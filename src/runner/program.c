#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "runner/internal.h"

/* Copies one word from *from to *to, quotes resolved. False: a quote or escape without its end. */
static bool
word_take(const char **from, char **to)
{
    const char *p = *from;
    char *q = *to;
    char quote = '\0';

    for (; *p != '\0'; p++) {
        if (quote == '\0' && (*p == ' ' || *p == '\t')) {
            break;
        }
        if (quote == '\0' && (*p == '\'' || *p == '"')) {
            quote = *p;
        } else if (quote != '\0' && *p == quote) {
            quote = '\0';
        } else if (*p == '\\' &&
                   (quote == '\0' || (quote == '"' && (p[1] == '"' || p[1] == '\\')))) {
            p++;
            if (*p == '\0') {
                return false;
            }
            *q++ = *p;
        } else {
            *q++ = *p;
        }
    }
    *q++ = '\0';
    *from = p;
    *to = q;
    return quote == '\0';
}

enum zb_rc
zb_runner_words_split(const char *line, char *buf, char **words, struct zb_err *err)
{
    size_t count = 0;
    char *to = buf;

    /* A word never grows, and each blank makes room for a NUL: the line's length bounds all. */
    if (strlen(line) >= ZB_RUNNER_LINE_MAX) {
        return zb_err_set(err, ZB_E_LIMIT, "command line is longer than %d bytes",
                          ZB_RUNNER_LINE_MAX - 1);
    }
    for (const char *p = line + strspn(line, " \t"); *p != '\0'; p += strspn(p, " \t")) {
        if (count == ZB_RUNNER_WORDS_MAX) {
            return zb_err_set(err, ZB_E_LIMIT, "command line has more than %d words",
                              ZB_RUNNER_WORDS_MAX);
        }
        words[count++] = to;
        if (!word_take(&p, &to)) {
            return zb_err_set(err, ZB_E_USAGE, "command line ends inside a quote: %.100s", line);
        }
    }
    if (count == 0) {
        return zb_err_set(err, ZB_E_USAGE, "command line is empty");
    }
    words[count] = NULL;
    return ZB_OK;
}

static bool
name_valid(const char *name)
{
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-");
    return n > 0 && n < 128 && name[n] == '\0' && name[0] != '.' && name[0] != '-';
}

static bool
only_root_writes(const struct stat *st)
{
    return st->st_uid == 0 && (st->st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

enum zb_rc
zb_runner_program_find(const char *commands_dir, const char *name, char *path, struct zb_err *err)
{
    struct stat st;

    if (!name_valid(name)) {
        return zb_err_set(err, ZB_E_REFUSED, "not the plain name of a program: '%.100s'", name);
    }
    if (lstat(commands_dir, &st) != 0) {
        return zb_err_sys(err, errno, "commands directory %s", commands_dir);
    }
    if (!S_ISDIR(st.st_mode) || !only_root_writes(&st)) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is not a directory that only root can write",
                         commands_dir);
        return zb_err_hint(err, "chown root %s; chmod go-w %s", commands_dir, commands_dir);
    }
    if ((size_t)snprintf(path, ZB_PATH_SIZE, "%s/%s", commands_dir, name) >= ZB_PATH_SIZE) {
        return zb_err_set(err, ZB_E_LIMIT, "path of %s is too long", name);
    }
    if (lstat(path, &st) != 0) {
        if (errno == ENOENT) {
            return zb_err_set(err, ZB_E_NOTFOUND, "no program %s", path);
        }
        return zb_err_sys(err, errno, "%s", path);
    }
    if (!S_ISREG(st.st_mode)) {
        return zb_err_set(err, ZB_E_REFUSED, "%s is not a regular file", path);
    }
    if (!only_root_writes(&st)) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s can be changed by others than root", path);
        return zb_err_hint(err, "chown root %s; chmod go-w %s", path, path);
    }
    if ((st.st_mode & S_IXUSR) == 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "%s is not executable", path);
        return zb_err_hint(err, "chmod +x %s", path);
    }
    return ZB_OK;
}

enum zb_rc
zb_runner_command_prepare(const struct zb_runner *r, const char *line, struct zb_runner_command *c,
                          struct zb_err *err)
{
    static char path[] = ZB_RUNNER_PATH;
    enum zb_rc rc = zb_runner_words_split(line, c->buf, c->words, err);

    if (rc == ZB_OK) {
        rc = zb_runner_program_find(r->commands_dir, c->words[0], c->path, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    (void)snprintf(c->service, sizeof(c->service), "ZBATON_SERVICE=%s", r->service);
    (void)snprintf(c->mountpoint, sizeof(c->mountpoint), "ZBATON_MOUNTPOINT=%s",
                   r->mountpoint != NULL ? r->mountpoint : "");
    c->env[0] = path;
    c->env[1] = c->service;
    c->env[2] = c->mountpoint;
    c->env[3] = NULL;
    return ZB_OK;
}

enum zb_rc
zb_runner_path_find(const char *command, char *path, struct zb_err *err)
{
    char dir[ZB_PATH_SIZE];
    const char *slash = strrchr(command, '/');

    if (slash == NULL || command[0] != '/') {
        return zb_err_set(err, ZB_E_REFUSED, "not an absolute path: '%.100s'", command);
    }
    (void)snprintf(dir, sizeof(dir), "%.*s", slash == command ? 1 : (int)(slash - command),
                   command);
    return zb_runner_program_find(dir, slash + 1, path, err);
}
