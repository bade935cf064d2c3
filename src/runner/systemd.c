#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "os/cgroup.h"
#include "os/spawn.h"
#include "runner/internal.h"

#define ASK_MS 5000 /* a question to systemd that is not answered by then has failed */

bool
zb_runner_unit_valid(const char *unit)
{
    size_t n = strspn(unit, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                            ":_.@\\-");
    size_t suffix = strlen(".service");

    return unit[n] == '\0' && n > suffix && n <= 255 && unit[0] != '.' && unit[0] != '-' &&
           strcmp(unit + n - suffix, ".service") == 0;
}

/* What a run of systemctl left. */
struct ended {
    int status;
    char output[4096]; /* cut at its first NUL or this size */
};

/* systemctl <arguments> <unit> */
static enum zb_rc
systemctl(const struct zb_runner *r, const char *const arguments[4], struct zb_mono deadline,
          struct ended *ended, struct zb_err *err)
{
    char words[6][256];
    char *argv[7] = {0};
    char env_path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    char env_pager[] = "SYSTEMD_PAGER=";
    char env_lang[] = "LC_ALL=C";
    char *env[] = {env_path, env_pager, env_lang, NULL};
    struct zb_os_spawn_spec spec = {.path = "/usr/bin/systemctl", .argv = argv, .env = env};
    size_t n = 0;

    if (!zb_runner_declared(r->unit) || !zb_runner_unit_valid(r->unit)) {
        return zb_err_set(err, ZB_E_REFUSED, "not the name of a systemd service: '%.100s'",
                          r->unit != NULL ? r->unit : "");
    }
    if (access(spec.path, X_OK) != 0 || access("/run/systemd/system", F_OK) != 0) {
        return zb_err_set(err, ZB_E_UNSUPPORTED, "systemd does not run on this host");
    }
    zb_strcopy(words[n++], sizeof(words[0]), "systemctl");
    for (size_t i = 0; i < 4 && arguments[i] != NULL; i++) {
        zb_strcopy(words[n++], sizeof(words[0]), arguments[i]);
    }
    zb_strcopy(words[n++], sizeof(words[0]), r->unit);
    for (size_t i = 0; i < n; i++) {
        argv[i] = words[i];
    }
    return zb_os_run(&spec, deadline, ended->output, sizeof(ended->output), &ended->status, err);
}

struct unit_state {
    bool active;              /* not inactive and not failed: also while it starts or stops */
    bool enabled;             /* systemd starts it at boot */
    char group[ZB_PATH_SIZE]; /* of the hierarchy; "" none */
};

/* The value of "Key=value\n" in output. */
static void
value_take(const char *output, const char *key, char *value, size_t size)
{
    const char *p = strstr(output, key);
    size_t n;

    value[0] = '\0';
    if (p == NULL) {
        return;
    }
    p += strlen(key);
    n = strcspn(p, "\n");
    if (n < size) {
        memcpy(value, p, n);
        value[n] = '\0';
    }
}

static enum zb_rc
unit_ask(const struct zb_runner *r, struct unit_state *state, struct zb_err *err)
{
    const char *const show[4] = {"show", "-p", "ActiveState,UnitFileState,ControlGroup,LoadState"};
    struct ended ended = {0};
    char value[64];
    enum zb_rc rc = systemctl(r, show, zb_runner_after(ASK_MS), &ended, err);

    if (rc != ZB_OK) {
        return rc;
    }
    value_take(ended.output, "LoadState=", value, sizeof(value));
    if (ended.status != 0 || strcmp(value, "not-found") == 0 || value[0] == '\0') {
        return zb_err_set(err, ZB_E_NOTFOUND, "systemd has no unit %s", r->unit);
    }
    value_take(ended.output, "ActiveState=", value, sizeof(value));
    state->active = strcmp(value, "inactive") != 0 && strcmp(value, "failed") != 0;
    value_take(ended.output, "UnitFileState=", value, sizeof(value));
    state->enabled = strncmp(value, "enabled", strlen("enabled")) == 0;
    value_take(ended.output, "ControlGroup=", state->group, sizeof(state->group));
    return ZB_OK;
}

/* First line of what systemctl said, for the error. */
static enum zb_rc
systemctl_failed(const char *verb, const char *unit, const struct ended *ended, struct zb_err *err)
{
    char text[64];

    zb_os_status_text(ended->status, text);
    (void)zb_err_set(err, ZB_E_FAILED, "systemctl %s %s ended with %s: %.*s", verb, unit, text,
                     (int)strcspn(ended->output, "\n"), ended->output);
    return zb_err_hint(err, "journalctl -u %.200s", unit);
}

static enum zb_rc
systemd_start(const struct zb_runner *r, struct zb_mono deadline, struct zb_err *err)
{
    const char *const start[4] = {"start"};
    struct unit_state state = {0};
    struct ended ended = {0};
    enum zb_rc rc = unit_ask(r, &state, err);

    if (rc != ZB_OK) {
        return rc;
    }
    if (state.enabled) {
        (void)zb_err_set(err, ZB_E_REFUSED,
                         "systemd starts %s at boot by itself, on whatever data is there", r->unit);
        return zb_err_hint(err, "systemctl disable %.200s", r->unit);
    }
    rc = systemctl(r, start, deadline, &ended, err);
    if (rc == ZB_OK && ended.status != 0) {
        rc = systemctl_failed("start", r->unit, &ended, err);
    }
    if (rc != ZB_OK) {
        struct zb_err ignored;
        if (zb_runner_stop(r, ASK_MS, &ignored) != ZB_OK) {
            zb_log_warning("after a failed start: %s", ignored.msg);
        }
    }
    return rc;
}

static enum zb_rc
unit_alive(const struct unit_state *state, bool *alive, struct zb_err *err)
{
    *alive = state->active;
    if (state->active || state->group[0] == '\0') {
        return ZB_OK;
    }
    return zb_os_cgroup_path_populated(state->group, alive, err);
}

static enum zb_rc
systemd_stop(const struct zb_runner *r, uint32_t timeout_ms, struct zb_err *err)
{
    const char *const stop[4] = {"stop"};
    const char *const kill_all[4] = {"kill", "-s", "KILL"};
    struct zb_mono hard = zb_runner_after((uint64_t)timeout_ms * 3 / 4);
    struct zb_mono deadline = zb_runner_after(timeout_ms);
    struct unit_state state = {0};
    struct unit_state after = {0};
    struct ended ended = {0};
    bool alive = false;
    enum zb_rc rc = unit_ask(r, &state, err);

    if (rc == ZB_E_NOTFOUND || rc == ZB_E_UNSUPPORTED) {
        return ZB_OK;
    }
    if (rc == ZB_OK) {
        rc = systemctl(r, stop, hard, &ended, err);
    }
    if (rc == ZB_OK && ended.status == 0) {
        rc = unit_ask(r, &after, err);
        if (rc == ZB_OK) {
            zb_strcopy(after.group, sizeof(after.group), state.group);
            rc = unit_alive(&after, &alive, err);
        }
        if (rc != ZB_OK || !alive) {
            return rc;
        }
    } else if (rc != ZB_OK && rc != ZB_E_TIMEOUT) {
        return rc;
    }
    zb_log_warning("%s: not stopped by systemctl stop, killing what is left of %s", r->service,
                   r->unit);
    rc = systemctl(r, kill_all, deadline, &ended, err);
    if (rc == ZB_OK && state.group[0] != '\0') {
        rc = zb_os_cgroup_path_wait_empty(state.group, deadline, err);
    }
    return rc;
}

static enum zb_rc
systemd_alive(const struct zb_runner *r, bool *alive, struct zb_err *err)
{
    struct unit_state state = {0};
    enum zb_rc rc = unit_ask(r, &state, err);

    if (rc == ZB_E_NOTFOUND || rc == ZB_E_UNSUPPORTED) { /* what is not there does not run */
        *alive = false;
        return ZB_OK;
    }
    return rc == ZB_OK ? unit_alive(&state, alive, err) : rc;
}

static enum zb_rc
systemd_check(const struct zb_runner *r, struct zb_mono deadline, bool *running, struct zb_err *err)
{
    const char *const is_active[4] = {"is-active", "--quiet"};
    struct ended ended = {0};
    enum zb_rc rc = systemctl(r, is_active, deadline, &ended, err);

    if (rc == ZB_OK) {
        *running = WIFEXITED(ended.status) && WEXITSTATUS(ended.status) == 0;
    }
    return rc;
}

const struct zb_runner_ops zb_runner_systemd_ops = {systemd_start, systemd_stop, systemd_check,
                                                    systemd_alive};
