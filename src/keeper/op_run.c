#include <stdio.h>

#include "keeper/internal.h"
#include "os/cgroup.h"
#include "runner/runner.h"

/* A runner and the name of its group: "<node>.<service>", for more than one node may be on a host
 * (a demonstration with pools on files). */
struct own_runner {
    struct zb_runner r;
    char group[ZB_NODE_NAME_SIZE + ZB_SERVICE_NAME_SIZE];
};

/* The runner of a definition; conf NULL: one that can only end what is in the service's group. */
static void
runner_fill(const struct zb_keeper *k, const char *service, const struct zb_conf_service *conf,
            struct own_runner *own)
{
    static const enum zb_runner_kind kinds[] = {
        [ZB_CONF_RUNNER_NONE] = ZB_RUNNER_NONE,
        [ZB_CONF_RUNNER_COMMAND] = ZB_RUNNER_COMMAND,
        [ZB_CONF_RUNNER_SYSTEMD] = ZB_RUNNER_SYSTEMD,
    };
    struct zb_runner *r = &own->r;

    (void)snprintf(own->group, sizeof(own->group), "%s.%s", k->conf->node, service);
    *r = (struct zb_runner){.kind = ZB_RUNNER_COMMAND,
                            .service = service,
                            .group = own->group,
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
                       const struct zb_conf_service *conf, uint32_t timeout_ms, struct zb_err *err)
{
    struct own_runner own;
    enum zb_rc rc = ZB_OK;

    runner_fill(k, service, conf, &own);
    rc = zb_runner_stop(&own.r, timeout_ms, err);
    if (rc == ZB_OK && own.r.kind != ZB_RUNNER_COMMAND) {
        /* It may have been started under an earlier declaration. */
        runner_fill(k, service, NULL, &own);
        rc = zb_runner_stop(&own.r, timeout_ms, err);
    }
    return rc;
}

bool
zb_keeper_service_has(const struct zb_keeper *k, const struct zb_conf_service *conf, pid_t pid)
{
    struct own_runner own;

    runner_fill(k, conf->name, conf, &own);
    return zb_os_cgroup_has(pid, own.group) ||
           (own.r.kind == ZB_RUNNER_SYSTEMD && zb_os_cgroup_has(pid, conf->unit));
}

enum zb_rc
zb_keeper_service_alive(const struct zb_keeper *k, const char *service,
                        const struct zb_conf_service *conf, bool *alive, struct zb_err *err)
{
    struct own_runner own;
    bool group_alive = false;
    enum zb_rc rc;

    runner_fill(k, service, conf, &own);
    rc = zb_runner_alive(&own.r, alive, err);
    if (rc == ZB_OK && !*alive && own.r.kind != ZB_RUNNER_COMMAND) {
        runner_fill(k, service, NULL, &own);
        rc = zb_runner_alive(&own.r, &group_alive, err);
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
    struct zb_keeper_record r;
    struct own_runner own;
    struct zb_err ignored;
    enum zb_rc rc;

    zb_keeper_record_copy(k, job->service, &r);
    rc = zb_rules_leads(&r, k->conf->node, err);
    if (rc == ZB_OK) {
        rc = zb_keeper_may_write(k, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_view_open(k, job->req.service, &view, err);
    }
    if (rc == ZB_OK) {
        rc = zb_keeper_facts(k, job, &view, false, &facts, err);
    }
    if (rc == ZB_OK && facts.stage == ZB_STAGE_MOUNTED &&
        zb_rules_start(&facts, &ignored) != ZB_OK) {
        zb_keeper_children_mount(k, job, &view);
        zb_keeper_view_close(&view);
        rc = zb_keeper_view_open(k, job->req.service, &view, err);
        if (rc == ZB_OK) {
            rc = zb_keeper_facts(k, job, &view, false, &facts, err);
        }
    }
    if (rc == ZB_OK) {
        rc = zb_rules_start(&facts, err);
    }
    if (rc == ZB_OK) {
        runner_fill(k, job->req.service, &job->conf, &own);
        rc = zb_runner_start(&own.r, timeout_of(job, job->conf.start_timeout_ms), err);
    }
    zb_keeper_view_close(&view);
    job->rep.running = rc == ZB_OK && job->conf.runner != ZB_CONF_RUNNER_NONE;
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
    struct own_runner own;
    bool running = false;
    enum zb_rc rc;

    runner_fill(k, job->req.service, &job->conf, &own);
    rc = zb_runner_check(&own.r, timeout_of(job, job->conf.start_timeout_ms), &running, err);
    job->rep.running = running;
    job->rep.elapsed_ms = (uint32_t)(zb_mono_now().ms - begin.ms);
    return rc;
}
