/* The notify program with real processes in real groups; skipped where cgroup2 cannot be written.
 */
#include "programs.h"

#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "runner/notice.h"

/* Runs a program of that text as nobody; how it is answered, and with what in the message. */
static void
answers(const char *text, uint32_t timeout_ms, enum zb_rc wanted, const char *message)
{
    static const struct zb_os_identity nobody = {65534, 65534};
    char path[256];
    struct zb_err err = {0};

    programs_need();
    program_make("notify", text);
    program_path("notify", path);
    struct zb_notice n = {.command = path,
                          .group = programs_group,
                          .as = &nobody,
                          .node = "vm1",
                          .service = "web",
                          .rule = "C-fork",
                          .level = "warning",
                          .time = {1795329667},
                          .text = "it's $HOME; `x`\n\033[31m",
                          .timeout_ms = timeout_ms,
                          .cancel_fd = -1};
    assert_int_equal(zb_notice_run(&n, &err), wanted);
    if (strstr(err.msg, message) == NULL) {
        fail_msg("'%s' is not in '%s'", message, err.msg);
    }
}

static void
its_environment(void **state)
{
    (void)state;
    answers("[ $# = 0 ] || exit 9\n"
            "env | sort | grep ^ZBATON | tr '\\n' ' ' >&2; exit 1",
            5000, ZB_E_FAILED,
            "notify: exit status 1: ZBATON_LEVEL=warning ZBATON_NODE=vm1 ZBATON_RULE=C-fork "
            "ZBATON_SERVICE=web ZBATON_TEXT=it's $HOME; `x`??[31m ZBATON_TIME=2026-11-22T");
    answers("exit 0", 5000, ZB_OK, "");
}

static void
it_has_no_privileges(void **state)
{
    (void)state;
    answers("echo $(id -u) $(id -g) $(id -G) >&2; exit 1", 5000, ZB_E_FAILED,
            ": 65534 65534 65534");
    answers("echo $(grep -h -E 'Cap(Inh|Prm|Eff|Amb)' /proc/self/status | cut -f 2) >&2; exit 1",
            5000, ZB_E_FAILED, ": 0000000000000000 0000000000000000 0000000000000000 00000000");
    answers("echo 0 >/sys/fs/cgroup/cgroup.procs && exit 0; exit 7", 5000, ZB_E_FAILED,
            "exit status 7");
}

static void
time_is_bounded_and_nothing_is_left(void **state)
{
    struct zb_err err;
    bool populated = true;
    (void)state;

    answers("trap '' TERM; setsid sleep 1000 & sleep 1000", 300, ZB_E_TIMEOUT,
            "not ended after 300 ms");
    assert_int_equal(zb_os_cgroup_populated(programs_group, &populated, &err), ZB_OK);
    assert_false(populated);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_environment),
        cmocka_unit_test(it_has_no_privileges),
        cmocka_unit_test(time_is_bounded_and_nothing_is_left),
    };
    return cmocka_run_group_tests(tests, programs_setup, programs_teardown);
}
