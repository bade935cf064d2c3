/* What a service's key is made from: a file, or what a program says. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keeper/internal.h"
#include "runner/runner.h"

#define COMMAND_MS 20000

void
zb_keeper_key_source(const struct zb_conf_service *conf, struct zb_keeper_key_source *source)
{
    zb_strcopy(source->service, sizeof(source->service), conf->name);
    zb_strcopy(source->file, sizeof(source->file), conf->key_file);
    zb_strcopy(source->command, sizeof(source->command), conf->key_command);
}

/* ---- a file ---- */

static enum zb_rc
file_check(int fd, const char *path, struct stat *st, struct zb_err *err)
{
    if (fstat(fd, st) != 0) {
        return zb_err_sys(err, errno, "%.300s", path);
    }
    if (!S_ISREG(st->st_mode)) {
        return zb_err_set(err, ZB_E_REFUSED, "%.300s is not a file", path);
    }
    if (st->st_uid != 0 || (st->st_mode & (S_IRWXG | S_IRWXO)) != 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "others than root can read or write %.300s", path);
        return zb_err_hint(err, "chown root: %.100s; chmod 600 %.100s", path, path);
    }
    return ZB_OK;
}

/* A path that is no file is not opened: some devices take that for an order. */
static int
file_open(const char *path, struct stat *st, struct zb_err *err)
{
    char self[64];
    int there = open(path, O_PATH | O_CLOEXEC);
    int fd = -1;
    enum zb_rc rc = ZB_OK;

    if (there < 0 && errno == ENOENT) {
        (void)zb_err_set(err, ZB_E_NOTFOUND, "there is no key file %.300s", path);
        return -1;
    }
    if (there >= 0) {
        rc = file_check(there, path, st, err);
        (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", there);
        fd = rc == ZB_OK ? open(self, O_RDONLY | O_CLOEXEC) : -1;
    }
    if (rc == ZB_OK && fd < 0) {
        (void)zb_err_set(err, ZB_E_REFUSED, "key file %.300s: %s", path, strerror(errno));
    }
    if (there >= 0) {
        (void)close(there);
    }
    return fd;
}

enum zb_rc
zb_keeper_key_file_read(const char *path, struct zb_keeper_key_text *t, struct zb_err *err)
{
    struct stat st = {0};
    ssize_t got = 1;
    int fd = file_open(path, &st, err);
    enum zb_rc rc = ZB_OK;

    (void)snprintf(t->from, sizeof(t->from), "key file %.300s", path);
    t->size = 0;
    if (fd < 0) {
        return err->rc;
    }
    while (got > 0 && t->size < sizeof(t->bytes)) {
        got = read(fd, t->bytes + t->size, sizeof(t->bytes) - t->size);
        t->size += got > 0 ? (size_t)got : 0;
    }
    if (got < 0) {
        rc = zb_err_set(err, ZB_E_REFUSED, "read %s: %s", t->from, strerror(errno));
    }
    (void)close(fd);
    t->dev = st.st_dev;
    t->ino = st.st_ino;
    t->changed = st.st_ctim;
    return rc;
}

/* ---- a program ---- */

/* In a group of its own each time: two may be asked for one service at once. Names of groups are
 * shorter than those of nodes and services may be. */
static enum zb_rc
command_read(const struct zb_keeper *k, const struct zb_keeper_key_source *source, int cancel_fd,
             struct zb_keeper_key_text *t, struct zb_err *err)
{
    static atomic_uint serial;
    char group[ZB_RUNNER_GROUP_MAX];
    const struct zb_runner r = {.kind = ZB_RUNNER_COMMAND,
                                .service = source->service,
                                .group = group,
                                .commands_dir = k->conf->commands_dir};
    struct zb_once_output output = {.bytes = t->bytes, .size = sizeof(t->bytes)};
    enum zb_rc rc;

    (void)snprintf(group, sizeof(group), "%.32s.%.32s.key-%u", k->conf->node, source->service,
                   atomic_fetch_add(&serial, 1));
    (void)snprintf(t->from, sizeof(t->from), "key-command %.300s", source->command);
    rc = zb_runner_ask(&r, source->command, COMMAND_MS, cancel_fd, &output, err);
    t->size = output.used;
    return rc == ZB_OK ? rc : zb_err_wrap(err, "key-command");
}

enum zb_rc
zb_keeper_key_text_read(const struct zb_keeper *k, const struct zb_keeper_key_source *source,
                        int cancel_fd, struct zb_keeper_key_text *t, struct zb_err *err)
{
    *t = (struct zb_keeper_key_text){0};
    return source->command[0] != '\0' ? command_read(k, source, cancel_fd, t, err)
                                      : zb_keeper_key_file_read(source->file, t, err);
}

void
zb_keeper_key_text_wipe(struct zb_keeper_key_text *t)
{
    OPENSSL_cleanse(t, sizeof(*t));
}
