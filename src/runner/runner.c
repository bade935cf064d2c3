#include "runner/runner.h"

#include "runner/internal.h"

static enum zb_rc
none_start(const struct zb_runner *r, struct zb_mono deadline, struct zb_err *err)
{
    (void)r;
    (void)deadline;
    (void)err;
    return ZB_OK;
}

static enum zb_rc
none_stop(const struct zb_runner *r, uint32_t timeout_ms, struct zb_err *err)
{
    (void)r;
    (void)timeout_ms;
    (void)err;
    return ZB_OK;
}

static enum zb_rc
none_check(const struct zb_runner *r, struct zb_mono deadline, bool *running, struct zb_err *err)
{
    (void)r;
    (void)deadline;
    (void)err;
    *running = false;
    return ZB_OK;
}

static enum zb_rc
none_alive(const struct zb_runner *r, bool *alive, struct zb_err *err)
{
    (void)r;
    (void)err;
    *alive = false;
    return ZB_OK;
}

static const struct zb_runner_ops none_ops = {none_start, none_stop, none_check, none_alive};

static const struct zb_runner_ops *
ops_of(const struct zb_runner *r)
{
    switch (r->kind) {
    case ZB_RUNNER_COMMAND:
        return &zb_runner_command_ops;
    case ZB_RUNNER_SYSTEMD:
        return &zb_runner_systemd_ops;
    case ZB_RUNNER_NONE:
        break;
    }
    return &none_ops;
}

enum zb_rc
zb_runner_start(const struct zb_runner *r, uint32_t timeout_ms, struct zb_err *err)
{
    enum zb_rc rc = ops_of(r)->start(r, zb_runner_after(timeout_ms), err);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "start %s", r->service);
}

enum zb_rc
zb_runner_stop(const struct zb_runner *r, uint32_t timeout_ms, struct zb_err *err)
{
    enum zb_rc rc = ops_of(r)->stop(r, timeout_ms, err);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "stop %s", r->service);
}

enum zb_rc
zb_runner_check(const struct zb_runner *r, uint32_t timeout_ms, bool *running, struct zb_err *err)
{
    enum zb_rc rc = ops_of(r)->check(r, zb_runner_after(timeout_ms), running, err);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "check %s", r->service);
}

enum zb_rc
zb_runner_alive(const struct zb_runner *r, bool *alive, struct zb_err *err)
{
    enum zb_rc rc = ops_of(r)->alive(r, alive, err);
    return rc == ZB_OK ? rc : zb_err_wrap(err, "look for %s", r->service);
}
