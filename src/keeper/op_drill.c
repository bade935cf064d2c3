/* DRILL of kmsg.h: proof that a copy could be led. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "runner/once.h"
#include "runner/runner.h"

#define GROUP_SIZE (ZB_NODE_NAME_SIZE + ZB_SERVICE_NAME_SIZE + 16)
#define LIFE_S 300 /* of the clone beyond that, should nobody be left to end it */

/* A service's own groups are "<node>.<service>" and that with ".ctl"; names have no dots. */
static void
group_name(const struct zb_keeper *k, const char *service, char *group)
{
    (void)snprintf(group, GROUP_SIZE, "%s.%s.drill", k->conf->node, service);
}

static enum zb_rc
place_take(struct zb_keeper *k, struct zb_keeper_service *s, struct zb_err *err)
{
    bool runs, full;

    (void)pthread_mutex_lock(&k->lock);
    runs = s->drilling;
    full = k->drills_count == ZB_KEEPER_DRILLS_MAX;
    if (!runs && !full) {
        s->drilling = true;
        k->drills_count++;
    }
    (void)pthread_mutex_unlock(&k->lock);
    if (runs) {
        return zb_err_set(err, ZB_E_BUSY, "a drill of %s is under way", s->name);
    }
    return full ? zb_err_set(err, ZB_E_BUSY, "%d drills are under way", ZB_KEEPER_DRILLS_MAX)
                : ZB_OK;
}

static void
place_free(struct zb_keeper *k, struct zb_keeper_service *s)
{
    (void)pthread_mutex_lock(&k->lock);
    s->drilling = false;
    k->drills_count--;
    (void)pthread_mutex_unlock(&k->lock);
}

/* The declared check over the mounted clones; without one, that they could be mounted is all. */
static enum zb_rc
check_run(struct zb_keeper *k, struct zb_keeper_job *job, const char *path, uint32_t timeout_ms,
          struct zb_err *err)
{
    char group[GROUP_SIZE];
    const struct zb_runner r = {.kind = ZB_RUNNER_COMMAND,
                                .service = job->req.service,
                                .group = group,
                                .mountpoint = path,
                                .commands_dir = k->conf->commands_dir,
                                .run_dir = k->conf->run_dir};
    int fd = -1;
    enum zb_rc rc;

    if (job->conf.drill_check[0] == '\0') {
        return ZB_OK;
    }
    rc = zb_keeper_job_cancel_open(k, job, &fd, err);
    if (rc == ZB_OK) {
        group_name(k, job->req.service, group);
        rc = zb_runner_drill(&r, job->conf.drill_check, timeout_ms, fd, err);
        zb_keeper_job_cancel_close(k, job, fd);
    }
    return rc;
}

static enum zb_rc
drill(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    const uint32_t timeout_ms = job->conf.drill_timeout_ms;
    struct zb_kreq req = {.op = ZB_KOP_PEEK, .manifest = job->req.manifest}; /* borrowed */
    struct zb_peek *peek = calloc(1, sizeof(*peek));
    enum zb_rc rc;

    if (peek == NULL) {
        return zb_err_set(err, ZB_E_NOMEM, "no memory for a drill");
    }
    zb_strcopy(req.service, sizeof(req.service), job->req.service);
    req.time_s = zb_wall_now().s + timeout_ms / 1000 + LIFE_S;
    rc = zb_keeper_peek_make(k, &req, peek, err);
    if (rc == ZB_OK) {
        rc = check_run(k, job, peek->path, timeout_ms, err);
        zb_keeper_peek_leave(k, job->req.service, peek->name);
    }
    free(peek->line);
    free(peek);
    return rc;
}

enum zb_rc
zb_keeper_op_drill(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    enum zb_rc rc = place_take(k, job->service, err);

    if (rc != ZB_OK) {
        return rc;
    }
    rc = drill(k, job, err);
    place_free(k, job->service);
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}

void
zb_keeper_drills_settle(struct zb_keeper *k)
{
    for (uint32_t i = 0; i < k->services_count; i++) {
        char group[GROUP_SIZE];
        struct zb_err err;

        group_name(k, k->services[i]->name, group);
        if (zb_once_group_end(group, &err) != ZB_OK) {
            zb_log_error("the check of a drill of an earlier start: %s", err.msg);
        }
    }
}
