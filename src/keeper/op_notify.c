/* NOTIFY of kmsg.h: the administrator's program that hears of events. */
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "keeper/internal.h"
#include "runner/notice.h"
#include "runner/once.h"

#define GROUP_SIZE (ZB_NODE_NAME_SIZE + 24)

/* "<node>.events.notify": no service's group has two dots and such an end (op_fence.c). */
static void
group_name(const struct zb_keeper *k, char *group)
{
    (void)snprintf(group, GROUP_SIZE, "%s.events.notify", k->conf->node);
}

static bool
rule_valid(const char *rule)
{
    size_t n = strspn(rule, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-");

    return n > 0 && n < 64 && rule[n] == '\0';
}

static enum zb_rc
check(const struct zb_keeper *k, const struct zb_kreq *req, struct zb_err *err)
{
    if (k->conf->notify[0] == '\0') {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "%s has no notify program", k->conf->node);
    }
    if (!rule_valid(req->snap) || req->text == NULL || strlen(req->text) >= ZB_NOTICE_TEXT_SIZE ||
        (req->count != ZB_LOG_ERROR && req->count != ZB_LOG_WARNING && req->count != ZB_LOG_INFO)) {
        return zb_err_set(err, ZB_E_USAGE, "a rule, a level and a text are wanted");
    }
    return ZB_OK;
}

static enum zb_rc
place_take(struct zb_keeper *k, struct zb_err *err)
{
    bool runs;

    (void)pthread_mutex_lock(&k->lock);
    runs = k->notifying;
    k->notifying = true;
    (void)pthread_mutex_unlock(&k->lock);
    return runs ? zb_err_set(err, ZB_E_BUSY, "the notify program runs already") : ZB_OK;
}

static void
place_free(struct zb_keeper *k)
{
    (void)pthread_mutex_lock(&k->lock);
    k->notifying = false;
    (void)pthread_mutex_unlock(&k->lock);
}

static const char *
level_word(uint32_t level)
{
    return level == ZB_LOG_ERROR ? "error" : level == ZB_LOG_WARNING ? "warning" : "info";
}

static enum zb_rc
run(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    char group[GROUP_SIZE];
    struct zb_os_identity identity;
    struct zb_notice n = {.command = k->conf->notify,
                          .group = group,
                          .as = &identity,
                          .node = k->conf->node,
                          .service = job->req.service,
                          .rule = job->req.snap,
                          .level = level_word(job->req.count),
                          .time = {job->req.time_s},
                          .text = job->req.text,
                          .timeout_ms = k->conf->notify_timeout_ms};
    enum zb_rc rc = zb_os_identity_find(ZB_NOTIFY_USER, &identity, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_job_cancel_open(k, job, &n.cancel_fd, err);
    }
    if (rc == ZB_OK) {
        group_name(k, group);
        rc = zb_notice_run(&n, err);
        zb_keeper_job_cancel_close(k, job, n.cancel_fd);
    }
    return rc;
}

enum zb_rc
zb_keeper_op_notify(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    enum zb_rc rc = check(k, &job->req, err);

    if (rc == ZB_OK) {
        rc = place_take(k, err);
    }
    if (rc != ZB_OK) {
        return rc;
    }
    rc = run(k, job, err);
    place_free(k);
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}

void
zb_keeper_notice_settle(const struct zb_keeper *k)
{
    char group[GROUP_SIZE];
    struct zb_err err;

    group_name(k, group);
    if (zb_once_group_end(group, &err) != ZB_OK) {
        zb_log_error("the notify program of an earlier start: %s", err.msg);
    }
}
