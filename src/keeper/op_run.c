#include <string.h>

#include "keeper/internal.h"
#include "runner/runner.h"

void
zb_keeper_runner(const struct zb_keeper *k, const char *service,
                 const struct zb_conf_service *conf, struct zb_runner *r)
{
    static const enum zb_runner_kind kinds[] = {
        [ZB_CONF_RUNNER_NONE] = ZB_RUNNER_NONE,
        [ZB_CONF_RUNNER_COMMAND] = ZB_RUNNER_COMMAND,
        [ZB_CONF_RUNNER_SYSTEMD] = ZB_RUNNER_SYSTEMD,
    };

    *r = (struct zb_runner){.kind = ZB_RUNNER_COMMAND,
                            .service = service,
                            .commands_dir = k->conf->commands_dir,
                            .run_dir = k->conf->run_dir};
    if (conf != NULL) {
        r->kind = kinds[conf->runner];
        r->mountpoint = conf->mountpoint;
        r->start = conf->start;
        r->stop = conf->stop;
        r->check = conf->check;
        r->unit = conf->unit;
    }
}

enum zb_rc
zb_keeper_service_stop(const struct zb_keeper *k, const char *service,
                       const struct zb_conf_service *conf, uint32_t timeout_ms,
                       struct zb_err *err)
{
    struct zb_runner r;
    enum zb_rc rc = ZB_OK;

    zb_keeper_runner(k, service, conf, &r);
    rc = zb_runner_stop(&r, timeout_ms, err);
    if (rc == ZB_OK && r.kind != ZB_RUNNER_COMMAND) {
        /* It may have been started under an earlier declaration. */
        zb_keeper_runner(k, service, NULL, &r);
        rc = zb_runner_stop(&r, timeout_ms, err);
    }
    return rc;
}

enum zb_rc
zb_keeper_service_alive(const struct zb_keeper *k, const char *service,
                        const struct zb_conf_service *conf, bool *alive, struct zb_err *err)
{
    struct zb_runner r;
    bool group_alive = false;
    enum zb_rc rc;

    zb_keeper_runner(k, service, conf, &r);
    rc = zb_runner_alive(&r, alive, err);
    if (rc == ZB_OK && !*alive && r.kind != ZB_RUNNER_COMMAND) {
        zb_keeper_runner(k, service, NULL, &r);
        rc = zb_runner_alive(&r, &group_alive, err);
        *alive = group_alive;
    }
    return rc;
}

static uint32_t
timeout_of(const struct zb_keeper_job *job, uint32_t declared_ms)
{
    return job->req.timeout_ms != 0 ? job->req.timeout_ms : declared_ms;
}

enum zb_rc
zb_keeper_op_start(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    struct zb_keeper_view view = {0};
    struct zb_keeper_facts facts;
    struct zb_runner r;
    enum zb_rc rc = zb_keeper_view_open(k, job->req.service, &view, err);

    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job->service, &job->conf, &view, false, &facts, err);
    }
    if (rc == ZB_OK) {
        rc = zb_rules_start(&facts, err);
    }
    if (rc == ZB_OK) {
        zb_keeper_runner(k, job->req.service, &job->conf, &r);
        rc = zb_runner_start(&r, timeout_of(job, job->conf.start_timeout_ms), err);
    }
    zb_keeper_view_close(&view);
    job->rep.running = rc == ZB_OK && r.kind != ZB_RUNNER_NONE;
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}

enum zb_rc
zb_keeper_op_stop(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    enum zb_rc rc = zb_keeper_service_stop(k, job->req.service, &job->conf,
                                           timeout_of(job, job->conf.stop_timeout_ms), err);

    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}

enum zb_rc
zb_keeper_op_check(struct zb_keeper *k, struct zb_keeper_job *job, struct zb_err *err)
{
    struct zb_mono begin = zb_mono_now();
    struct zb_runner r;
    bool running = false;
    enum zb_rc rc;

    zb_keeper_runner(k, job->req.service, &job->conf, &r);
    rc = zb_runner_check(&r, timeout_of(job, job->conf.start_timeout_ms), &running, err);
    job->rep.running = running;
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}
