/* The fencing program with real processes in real groups; skipped where cgroup2 cannot be written.
 */
#include "programs.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "os/spawn.h"
#include "runner/fence.h"
#include "runner/once.h"

static struct zb_err said;

static enum zb_rc
fence_run(const char *name, uint32_t timeout_ms, int cancel_fd)
{
    char path[256];
    struct zb_fence f = {.command = path,
                         .group = programs_group,
                         .node = "vm1",
                         .cluster = "lab",
                         .service = "web",
                         .term = 7,
                         .timeout_ms = timeout_ms,
                         .cancel_fd = cancel_fd};

    program_path(name, path);
    said = (struct zb_err){0};
    return zb_fence_run(&f, &said);
}

/* Runs a program of that text; how it is answered, and with what in the message. */
static void
answers(const char *text, uint32_t timeout_ms, enum zb_rc wanted, const char *message)
{
    programs_need();
    program_make("fence", text);
    assert_int_equal(fence_run("fence", timeout_ms, -1), wanted);
    if (strstr(said.msg, message) == NULL) {
        fail_msg("'%s' is not in '%s'", message, said.msg);
    }
}

static bool
group_is_empty(void)
{
    struct zb_err err;
    bool populated = true;

    assert_int_equal(zb_os_cgroup_populated(programs_group, &populated, &err), ZB_OK);
    return !populated;
}

static void
only_exit_0_is_the_proof(void **state)
{
    (void)state;
    answers("echo off; echo warning >&2; exit 0", 5000, ZB_OK, "");
    answers("echo trying >&2; echo no route to the BMC >&2; exit 1", 5000, ZB_E_FAILED,
            "fence vm1: exit status 1: no route to the BMC");
    answers("exit 3", 5000, ZB_E_FAILED, "fence vm1: exit status 3");
    answers("kill -KILL $$", 5000, ZB_E_FAILED, "killed by signal 9");
}

static void
its_words_and_environment(void **state)
{
    (void)state;
    answers(
        "[ \"$#|$1\" = '1|vm1' ] || exit 9\n"
        "env | sort | grep -v -e ^PWD= -e ^_= -e ^SHLVL= -e ^OLDPWD= | tr '\\n' ' ' >&2; exit 1",
        5000, ZB_E_FAILED,
        "exit status 1: PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "
        "ZBATON_CLUSTER=lab ZBATON_NODE=vm1 ZBATON_SERVICE=web ZBATON_TERM=7 ");
}

static void
what_it_says_is_bounded_and_printable(void **state)
{
    (void)state;
    answers("printf 'a\\033[31mred\\377\\n\\n' >&2; exit 1", 5000, ZB_E_FAILED,
            "exit status 1: a?[31mred?");
    answers("printf 'no end of line' >&2; exit 1", 5000, ZB_E_FAILED, ": no end of line");
    answers("head -c 3000000 /dev/zero | tr '\\0' x >&2; exit 1", 20000, ZB_E_FAILED, "xxxx");
    assert_true(strlen(said.msg) < ZB_ONCE_LINE_MAX + 40);
    answers("echo to stdout only; exit 1", 5000, ZB_E_FAILED, "exit status 1");
    assert_null(strstr(said.msg, "stdout"));
}

static void
time_is_bounded_and_nothing_is_left(void **state)
{
    struct zb_mono begin = zb_mono_now();
    (void)state;

    answers("trap '' TERM; setsid sleep 1000 & echo waits >&2; sleep 1000; exit 0", 300,
            ZB_E_TIMEOUT, "not ended after 300 ms: waits");
    assert_true(zb_mono_now().ms - begin.ms < 10000);
    assert_true(group_is_empty());
    answers("setsid sleep 1000 </dev/null >/dev/null & exit 0", 5000, ZB_OK, "");
    assert_true(group_is_empty());
}

static void
nobody_waits_any_more(void **state)
{
    int fds[2];
    (void)state;

    programs_need();
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(close(fds[1]), 0);
    program_make("fence", "sleep 1000");
    assert_int_equal(fence_run("fence", 60000, fds[0]), ZB_E_CANCELED);
    assert_true(group_is_empty());
    assert_int_equal(close(fds[0]), 0);
}

static void
what_an_earlier_life_left_is_ended_first(void **state)
{
    char path[256];
    char *argv[] = {path, NULL};
    struct zb_os_spawn_spec spec = {
        .path = path, .argv = argv, .group = programs_group, .output_fd = -1};
    struct zb_os_child child = {0};
    struct zb_err err;
    int status;
    (void)state;

    programs_need();
    program_path("earlier", path);
    program_make("earlier", "sleep 1000");
    assert_int_equal(zb_os_spawn(&spec, &child, &err), ZB_OK);
    assert_false(group_is_empty());
    answers("exit 0", 5000, ZB_OK, "");
    assert_true(group_is_empty());
    assert_int_equal(
        zb_os_child_wait(&child, (struct zb_mono){zb_mono_now().ms + 5000}, &status, &err), ZB_OK);
    assert_int_equal(zb_once_group_end(programs_group, &err), ZB_OK);
}

static void
others_than_root_have_no_say(void **state)
{
    char path[256];
    (void)state;

    programs_need();
    program_make("fence", "exit 0");
    program_path("fence", path);
    assert_int_equal(fence_run("missing", 1000, -1), ZB_E_NOTFOUND);
    assert_int_equal(chmod(path, 0775), 0);
    assert_int_equal(fence_run("fence", 1000, -1), ZB_E_REFUSED);
    assert_non_null(strstr(said.hint, "chmod go-w"));
    assert_int_equal(chmod(path, 0644), 0);
    assert_int_equal(fence_run("fence", 1000, -1), ZB_E_REFUSED);
    assert_int_equal(chmod(path, 0755), 0);
    assert_int_equal(chown(path, 65534, 65534), 0);
    assert_int_equal(fence_run("fence", 1000, -1), ZB_E_REFUSED);
    assert_int_equal(chown(path, 0, 0), 0);
    assert_int_equal(chmod(programs_dir, 0777), 0);
    assert_int_equal(fence_run("fence", 1000, -1), ZB_E_REFUSED);
    assert_int_equal(chmod(programs_dir, 0700), 0);
    assert_int_equal(fence_run("fence", 1000, -1), ZB_OK);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_exit_0_is_the_proof),
        cmocka_unit_test(its_words_and_environment),
        cmocka_unit_test(what_it_says_is_bounded_and_printable),
        cmocka_unit_test(time_is_bounded_and_nothing_is_left),
        cmocka_unit_test(nobody_waits_any_more),
        cmocka_unit_test(what_an_earlier_life_left_is_ended_first),
        cmocka_unit_test(others_than_root_have_no_say),
    };
    return cmocka_run_group_tests(tests, programs_setup, programs_teardown);
}
