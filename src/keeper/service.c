#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "keeper/internal.h"

#define DEFINITION_MAX (64u << 10)

struct zb_keeper_service *
zb_keeper_service_find(const struct zb_keeper *k, const char *name)
{
    for (uint32_t i = 0; i < k->services_count; i++) {
        if (strcmp(k->services[i]->name, name) == 0) {
            return k->services[i];
        }
    }
    return NULL;
}

struct zb_keeper_service *
zb_keeper_service_make(struct zb_keeper *k, const char *name, struct zb_err *err)
{
    struct zb_keeper_service *s = zb_keeper_service_find(k, name);

    if (s != NULL) {
        return s;
    }
    if (k->services_count == ZB_SERVICES_MAX) {
        (void)zb_err_set(err, ZB_E_LIMIT, "service %s: more than %d services", name,
                         ZB_SERVICES_MAX);
        return NULL;
    }
    s = calloc(1, sizeof(*s));
    if (s == NULL) {
        (void)zb_err_set(err, ZB_E_NOMEM, "service %s: out of memory", name);
        return NULL;
    }
    zb_strcopy(s->name, sizeof(s->name), name);
    k->services[k->services_count++] = s;
    return s;
}

void
zb_keeper_services_close(struct zb_keeper *k)
{
    for (uint32_t i = 0; i < k->services_count; i++) {
        zb_manifest_close(&k->services[i]->sealed);
        free(k->services[i]);
    }
    k->services_count = 0;
}

/* What the record says is not known any more: nothing is decided by it before the next start. */
static void
freeze(struct zb_keeper *k, struct zb_keeper_service *s, const struct zb_err *err, const char *hint)
{
    (void)pthread_mutex_lock(&k->lock);
    s->frozen = true;
    (void)snprintf(s->frozen_why, sizeof(s->frozen_why), "%.250s", err->msg);
    s->frozen_hint = hint;
    (void)pthread_mutex_unlock(&k->lock);
    zb_log_error("%s is frozen: %s", s->name, err->msg);
}

static void
record_load(struct zb_keeper *k, struct zb_keeper_service *s)
{
    bool doubt = false;
    struct zb_err err;

    if (zb_keeper_record_load(k->dir_fd, s->name, &s->record, &err) == ZB_OK) {
        s->recorded = true;
        /* An earlier life may have ended between its replacing and its being durable: what is acted
         * on from here must not be gone after a crash. */
        if (zb_keeper_record_store(k->dir_fd, s->name, &s->record, &doubt, &err) != ZB_OK) {
            freeze(k, s, &err, "mend the file system of the state directory, then restart zbatond");
        }
        return;
    }
    freeze(k, s, &err,
           "restore the file from a copy, or move it away and restart zbatond: then this node has "
           "forgotten every term");
}

static void
definition_load(struct zb_keeper *k, struct zb_keeper_service *s)
{
    char name[ZB_SERVICE_NAME_SIZE + 8];
    char *text = NULL;
    size_t size;
    struct zb_err err;
    enum zb_rc rc;

    (void)snprintf(name, sizeof(name), "%s.json", s->name);
    rc = zb_keeper_file_load(k->dir_fd, name, DEFINITION_MAX, &text, &size, &err);
    if (rc == ZB_OK) {
        rc = zb_conf_service_from_json(text, &s->conf, &err);
    }
    if (rc == ZB_OK && strcmp(s->conf.name, s->name) != 0) {
        rc = zb_err_set(&err, ZB_E_FORMAT, "it defines %s", s->conf.name);
    }
    s->defined = rc == ZB_OK;
    if (rc != ZB_OK) {
        zb_log_error("definition of %s: %s", s->name, err.msg);
    }
    free(text);
}

/* "web.record" -> "web"; false when the name does not end so or is not a service's. */
static bool
name_take(const char *file, const char *suffix, char *name)
{
    size_t n = strlen(file);
    size_t m = strlen(suffix);

    if (n <= m || n - m >= ZB_SERVICE_NAME_SIZE || strcmp(file + n - m, suffix) != 0) {
        return false;
    }
    memcpy(name, file, n - m);
    name[n - m] = '\0';
    return zb_service_name_valid(name);
}

static enum zb_rc
file_take(struct zb_keeper *k, const char *file, struct zb_err *err)
{
    char name[ZB_SERVICE_NAME_SIZE];
    struct zb_keeper_service *s;
    bool record = name_take(file, ".record", name);

    if (!record && !name_take(file, ".json", name)) {
        size_t n = strlen(file);
        if (n > 4 && strcmp(file + n - 4, ".tmp") == 0) {
            (void)unlinkat(k->dir_fd, file, 0); /* of a store that power interrupted */
        }
        return ZB_OK;
    }
    s = zb_keeper_service_make(k, name, err);
    if (s == NULL) {
        return err->rc;
    }
    if (record) {
        record_load(k, s);
    } else {
        definition_load(k, s);
    }
    return ZB_OK;
}

enum zb_rc
zb_keeper_services_load(struct zb_keeper *k, struct zb_err *err)
{
    int fd = openat(k->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *e;
    enum zb_rc rc = ZB_OK;

    if (dir == NULL) {
        rc = zb_err_sys(err, errno, "read the keeper's directory");
        if (fd >= 0) {
            (void)close(fd);
        }
        return rc;
    }
    while (rc == ZB_OK && (errno = 0, e = readdir(dir)) != NULL) {
        rc = file_take(k, e->d_name, err);
    }
    if (rc == ZB_OK && errno != 0) {
        /* What was not read would be a service without a record: free to grant any term again. */
        rc = zb_err_sys(err, errno, "read the keeper's directory");
    }
    (void)closedir(dir);
    return rc;
}

static void
record_take(struct zb_keeper *k, struct zb_keeper_service *s, const struct zb_keeper_record *r)
{
    (void)pthread_mutex_lock(&k->lock);
    s->record = *r;
    s->recorded = true;
    (void)pthread_mutex_unlock(&k->lock);
}

static bool
record_equal(const char *service, const struct zb_keeper_record *a,
             const struct zb_keeper_record *b)
{
    char text_a[ZB_KEEPER_RECORD_MAX];
    char text_b[ZB_KEEPER_RECORD_MAX];
    size_t used_a;
    size_t used_b;

    zb_keeper_record_format(service, a, text_a, &used_a);
    zb_keeper_record_format(service, b, text_b, &used_b);
    return used_a == used_b && memcmp(text_a, text_b, used_a) == 0;
}

/* After a store that may have replaced the file: the file decides, stored once more, whole, for a
 * second fsync of what failed once proves nothing. ZB_OK: it says next. */
static enum zb_rc
doubt_settle(struct zb_keeper *k, struct zb_keeper_service *s, const struct zb_keeper_record *next,
             struct zb_err *err)
{
    struct zb_keeper_record found = {0};
    struct zb_err again;
    bool in_doubt;
    enum zb_rc rc = zb_keeper_record_load(k->dir_fd, s->name, &found, &again);

    if (rc == ZB_OK) {
        rc = zb_keeper_record_store(k->dir_fd, s->name, &found, &in_doubt, &again);
    }
    if (rc != ZB_OK) {
        freeze(k, s, err, "see to the disk of the state directory, then restart zbatond");
        return err->rc;
    }
    zb_log_warning("%s: %s: stored once more", s->name, err->msg);
    record_take(k, s, &found);
    return record_equal(s->name, &found, next) ? ZB_OK : err->rc;
}

enum zb_rc
zb_keeper_record_change(struct zb_keeper *k, struct zb_keeper_service *s,
                        const struct zb_keeper_record *next, struct zb_err *err)
{
    bool in_doubt;
    enum zb_rc rc;

    if (s->frozen) {
        return zb_err_set(err, ZB_E_REFUSED, "frozen: %.250s", s->frozen_why);
    }
    rc = zb_keeper_record_store(k->dir_fd, s->name, next, &in_doubt, err);
    if (rc == ZB_OK) {
        record_take(k, s, next);
        return ZB_OK;
    }
    return in_doubt ? doubt_settle(k, s, next, err) : rc;
}

void
zb_keeper_record_copy(struct zb_keeper *k, struct zb_keeper_service *s,
                      struct zb_keeper_record *out)
{
    (void)pthread_mutex_lock(&k->lock);
    *out = s->record;
    (void)pthread_mutex_unlock(&k->lock);
}

void
zb_keeper_stage_set(struct zb_keeper *k, struct zb_keeper_service *s, enum zb_keeper_stage stage)
{
    (void)pthread_mutex_lock(&k->lock);
    s->stage = stage;
    (void)pthread_mutex_unlock(&k->lock);
    if (stage != ZB_STAGE_SEALED) {
        zb_manifest_close(&s->sealed);
    }
}
