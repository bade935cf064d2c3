/*
 * What the next keeper has to know of this one's session: that there is one, durably; and until
 * when it was renewed, in run-dir, where it dies with the boot.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"

#define FILE_NAME "session"
#define FILE_MAX 256
#define START_ROOM_MS 5000 /* for a keeper that starts late to demote what it finds */
#define NUMBER_SIZE 21
#define PROMISE_SIZE 40
#define RUN_PATH_SIZE (ZB_PATH_SIZE + 32)

enum zb_rc
zb_keeper_session_store(const struct zb_keeper *k, uint64_t id, struct zb_err *err)
{
    char text[FILE_MAX];
    bool in_doubt;
    int n = snprintf(text, sizeof(text), "%" PRIu64 " %s\n", id, k->boot_id);

    return zb_keeper_file_store(k->dir_fd, FILE_NAME, text, (size_t)n, &in_doubt, err);
}

enum zb_rc
zb_keeper_session_remove(const struct zb_keeper *k, struct zb_err *err)
{
    return zb_keeper_file_remove(k->dir_fd, FILE_NAME, err);
}

static void
run_path(const struct zb_keeper *k, const char *end, char path[RUN_PATH_SIZE])
{
    (void)snprintf(path, RUN_PATH_SIZE, "%s/session%s", k->conf->run_dir, end);
}

/* What others were told of this session. With another configuration it cannot be gone on with. */
static void
promise_format(const struct zb_conf_node *conf, char text[PROMISE_SIZE])
{
    (void)snprintf(text, PROMISE_SIZE, "%u/%u/%u/%u", conf->soft_deadline_ms,
                   conf->hard_deadline_ms, conf->session_timeout_ms, (unsigned)conf->fenced_by);
}

static void
run_load(const struct zb_keeper *k, struct zb_session_past *past)
{
    char path[RUN_PATH_SIZE], boot_id[ZB_UUID_SIZE] = "", id[NUMBER_SIZE] = "";
    char etcd[NUMBER_SIZE], renewed[NUMBER_SIZE], confirmed[2], rested[2], lapsed[2];
    char promise[PROMISE_SIZE] = "", own[PROMISE_SIZE];
    FILE *f;

    run_path(k, "", path);
    f = fopen(path, "re");
    past->known = f != NULL &&
                  fscanf(f, "%36s %20[0-9] %20[0-9] %18[0-9] %1[01] %1[01] %1[01] %39s", boot_id,
                         id, etcd, renewed, confirmed, rested, lapsed, promise) == 8 &&
                  strtoull(id, NULL, 10) == past->id && strcmp(boot_id, k->boot_id) == 0;
    if (past->known) {
        past->etcd = strtoull(etcd, NULL, 10);
        past->renewed.ms = strtoll(renewed, NULL, 10);
        past->confirmed = confirmed[0] == '1';
        past->rested = rested[0] == '1';
        past->lapsed = lapsed[0] == '1';
        promise_format(k->conf, own);
        past->known = past->renewed.ms <= zb_mono_now().ms && strcmp(promise, own) == 0;
    }
    if (f != NULL) {
        (void)fclose(f);
    }
}

/* ZB_E_NOTFOUND: there is none. */
static enum zb_rc
session_load(const struct zb_keeper *k, struct zb_session_past *past, struct zb_err *err)
{
    char boot_id[ZB_UUID_SIZE], id[NUMBER_SIZE];
    char *text = NULL;
    size_t size;
    char end;
    enum zb_rc rc = zb_keeper_file_load(k->dir_fd, FILE_NAME, FILE_MAX, &text, &size, err);

    *past = (struct zb_session_past){0};
    if (rc == ZB_OK && (sscanf(text, "%20[0-9] %36s%c", id, boot_id, &end) != 3 || end != '\n' ||
                        strtoull(id, NULL, 10) == 0)) {
        rc = zb_err_set(err, ZB_E_FORMAT, "%s/keeper/%s is not a session's number and boot",
                        k->conf->state_dir, FILE_NAME);
    }
    free(text);
    if (rc == ZB_OK) {
        past->id = strtoull(id, NULL, 10);
        past->rebooted = strcmp(boot_id, k->boot_id) != 0;
        run_load(k, past);
    }
    return rc;
}

enum zb_rc
zb_keeper_session_resume(struct zb_keeper *k, struct zb_err *err)
{
    struct zb_session_past past;
    struct zb_mono now = zb_mono_now();
    enum zb_rc rc = session_load(k, &past, err);

    k->session.soft_ms = k->conf->soft_deadline_ms;
    k->session.hard_ms = k->conf->hard_deadline_ms;
    if (rc == ZB_E_NOTFOUND) {
        return ZB_OK;
    }
    if (rc == ZB_OK && k->conf->etcd[0] == '\0') {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "this node has a session in etcd, and is configured without etcd: others "
                         "may take its services over while it writes");
        return zb_err_hint(err,
                           "start it with etcd and stop it again, which ends the session; if that "
                           "etcd is gone for good: rm %.150s/keeper/session",
                           k->conf->state_dir);
    }
    if (rc == ZB_OK) {
        zb_session_resume(&k->session, zb_mono_now(), &past);
        (void)zb_session_tick(&k->session, zb_mono_now());
    }
    if (k->session.stage == ZB_SESSION_LAPSED &&
        now.ms > zb_session_hard_at(&k->session).ms - START_ROOM_MS) {
        /* What is writable beyond the deadline was so while there was no keeper; the reset is for
         * what cannot be unmounted now either. */
        k->session.renewed.ms = now.ms - k->session.hard_ms + START_ROOM_MS;
    }
    return rc;
}

bool
zb_keeper_session_run_store(const struct zb_keeper *k, bool rested)
{
    const struct zb_session *s = &k->session;
    char path[RUN_PATH_SIZE], beside[RUN_PATH_SIZE];
    char promise[PROMISE_SIZE];
    FILE *f;
    bool good;

    promise_format(k->conf, promise);
    run_path(k, "", path);
    run_path(k, ".tmp", beside);
    f = fopen(beside, "we");
    good = f != NULL && fprintf(f, "%s %" PRIu64 " %" PRIu64 " %" PRId64 " %d %d %d %s\n",
                                k->boot_id, s->id, s->etcd, s->renewed.ms, s->confirmed, rested,
                                s->stage == ZB_SESSION_LAPSED, promise) > 0;
    if (f != NULL) {
        good = fclose(f) == 0 && good;
    }
    good = good && rename(beside, path) == 0;
    if (!good) {
        zb_log_warning("%s cannot be written: a restart of zbatond would stop the services", path);
    }
    return good;
}
