/* The command runner with real processes in real groups; skipped where cgroup2 cannot be written.
 */
#include "programs.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "runner/runner.h"

static int
setup(void **state)
{
    (void)programs_setup(state);
    if (programs_usable) {
        program_make("foreground", "echo up; exec sleep 1000");
        program_make("daemon", "setsid sleep 1000 </dev/null >/dev/null 2>&1 &");
        program_make("fails", "echo no such thing >&2; exit 3");
        program_make("stubborn", "trap '' TERM\nwhile :; do sleep 1000; done");
        program_make("yes", "exit 0");
        program_make("no", "[ -z \"$1\" ] || : >\"$1\"\nexit 1");
        program_make("hangs", "[ -z \"$1\" ] || : >\"$1\"\nsleep 1000");
        program_make("environment", "echo \"$ZBATON_SERVICE|$ZBATON_MOUNTPOINT|$1|$2\"");
    }
    return 0;
}

static struct zb_runner
runner(const char *start, const char *check)
{
    programs_need();
    return (struct zb_runner){.kind = ZB_RUNNER_COMMAND,
                              .service = programs_group,
                              .group = programs_group,
                              .mountpoint = "/srv/web",
                              .commands_dir = programs_dir,
                              .run_dir = programs_dir,
                              .start = start,
                              .check = check};
}

static bool
alive(const struct zb_runner *r)
{
    struct zb_err err;
    bool is = false;

    assert_int_equal(zb_runner_alive(r, &is, &err), ZB_OK);
    return is;
}

static void
stop(const struct zb_runner *r)
{
    struct zb_err err = {0};

    assert_int_equal(zb_runner_stop(r, 4000, &err), ZB_OK);
    assert_false(alive(r));
}

static char *
log_text(void)
{
    static char text[4096];
    char path[256];
    FILE *f;
    size_t n;

    (void)snprintf(path, sizeof(path), "%s/%s.log", programs_dir, programs_group);
    f = fopen(path, "re");
    assert_non_null(f);
    n = fread(text, 1, sizeof(text) - 1, f);
    text[n] = '\0';
    (void)fclose(f);
    return text;
}

static void
test_foreground(void **state)
{
    struct zb_runner r = runner("foreground", "yes");
    struct zb_err err = {0};
    bool running = false;
    (void)state;

    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_OK);
    assert_true(alive(&r));
    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_OK); /* again: nothing new */
    assert_int_equal(zb_runner_check(&r, 5000, &running, &err), ZB_OK);
    assert_true(running);
    assert_non_null(strstr(log_text(), "up"));
    stop(&r);
    assert_int_equal(zb_runner_check(&r, 5000, &running, &err), ZB_OK);
    assert_false(running);
    stop(&r); /* not running is fine */
}

static void
test_daemon(void **state)
{
    struct zb_runner r = runner("daemon", NULL);
    struct zb_err err = {0};
    (void)state;

    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_OK);
    assert_true(alive(&r)); /* its own session, another parent: still in the group */
    stop(&r);
}

static void
test_failed_start(void **state)
{
    struct zb_runner r = runner("fails", NULL);
    struct zb_err err = {0};
    (void)state;

    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_E_FAILED);
    assert_non_null(strstr(err.msg, "exit status 3"));
    assert_non_null(strstr(err.hint, programs_group));
    assert_non_null(strstr(log_text(), "no such thing"));
    assert_false(alive(&r));
    r.start = "missing";
    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_E_NOTFOUND);
    r.start = "";
    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_E_USAGE);
}

/* A service that never gets healthy is not left half started. */
static void
test_unhealthy_start(void **state)
{
    struct zb_runner r = runner("foreground", "no");
    struct zb_err err = {0};
    (void)state;

    assert_int_equal(zb_runner_start(&r, 900, &err), ZB_E_TIMEOUT);
    assert_false(alive(&r));
    r.check = "hangs";
    assert_int_equal(zb_runner_start(&r, 600, &err), ZB_E_TIMEOUT);
    assert_false(alive(&r));
}

/* Nothing is left to be checked: it is not waited for. */
static void
test_nothing_left_start(void **state)
{
    struct zb_runner r = runner("yes", "no");
    struct zb_err err = {0};
    int64_t begin = zb_mono_now().ms;
    (void)state;

    assert_int_equal(zb_runner_start(&r, 60000, &err), ZB_E_FAILED);
    assert_non_null(strstr(err.msg, "nothing of it runs any more"));
    assert_true(zb_mono_now().ms - begin < 30000);
    r.check = "hangs";
    assert_int_equal(zb_runner_start(&r, 60000, &err), ZB_E_FAILED);
    assert_true(zb_mono_now().ms - begin < 30000);
}

struct starting {
    struct zb_runner r;
    enum zb_rc rc;
};

static void *
start_run(void *arg)
{
    struct starting *s = arg;
    struct zb_err err;

    s->rc = zb_runner_start(&s->r, 60000, &err);
    return NULL;
}

/* Who demotes stops what is starting, and the start ends by that, whatever its check does. */
static void
test_stopped_start(void **state)
{
    static const char *const checks[] = {"no", "hangs"};
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        char looked[256], check[300];
        struct starting s = {.r = runner("daemon", check)};
        struct zb_err err = {0};
        int64_t begin = zb_mono_now().ms;
        pthread_t thread;

        (void)snprintf(looked, sizeof(looked), "%s/looked-%s", programs_dir, checks[i]);
        (void)snprintf(check, sizeof(check), "%s %s", checks[i], looked);
        assert_int_equal(pthread_create(&thread, NULL, start_run, &s), 0);
        while (access(looked, F_OK) != 0 && zb_mono_now().ms - begin < 20000) {
            (void)usleep(10000);
        }
        assert_true(alive(&s.r));
        assert_int_equal(zb_runner_stop(&s.r, 4000, &err), ZB_OK);
        assert_int_equal(pthread_join(thread, NULL), 0);
        assert_int_equal(s.rc, ZB_E_FAILED);
        assert_true(zb_mono_now().ms - begin < 30000);
        stop(&s.r);
    }
}

static void
test_hanging_check(void **state)
{
    struct zb_runner r = runner("foreground", NULL);
    struct zb_err err = {0};
    bool running = true;
    char group[80];
    (void)state;

    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_OK);
    r.check = "hangs";
    assert_int_equal(zb_runner_check(&r, 300, &running, &err), ZB_OK);
    assert_false(running);
    (void)snprintf(group, sizeof(group), "%s.ctl", programs_group);
    assert_int_equal(
        zb_os_cgroup_wait_empty(group, (struct zb_mono){zb_mono_now().ms + 5000}, &err), ZB_OK);
    stop(&r);
}

static void
test_kill(void **state)
{
    struct zb_runner r = runner("stubborn", NULL);
    struct zb_err err = {0};
    int64_t begin;
    (void)state;

    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_OK);
    begin = zb_mono_now().ms;
    assert_int_equal(zb_runner_stop(&r, 1200, &err), ZB_OK);
    assert_true(zb_mono_now().ms - begin >= 900); /* KILL at 3/4 of the time */
    assert_false(alive(&r));
}

static void
test_environment(void **state)
{
    struct zb_runner r = runner("environment 'a b' \"c\"", NULL);
    struct zb_err err = {0};
    char wanted[128];
    (void)state;

    assert_int_equal(zb_runner_start(&r, 5000, &err), ZB_OK);
    (void)snprintf(wanted, sizeof(wanted), "%s|/srv/web|a b|c", programs_group);
    assert_non_null(strstr(log_text(), wanted));
    stop(&r);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_foreground),         cmocka_unit_test(test_daemon),
        cmocka_unit_test(test_failed_start),       cmocka_unit_test(test_unhealthy_start),
        cmocka_unit_test(test_nothing_left_start), cmocka_unit_test(test_stopped_start),
        cmocka_unit_test(test_hanging_check),      cmocka_unit_test(test_kill),
        cmocka_unit_test(test_environment),
    };
    return cmocka_run_group_tests(tests, setup, programs_teardown);
}
