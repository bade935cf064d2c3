/* The check of a drill with real processes; skipped where cgroup2 cannot be written. */
#include "programs.h"

#include <sys/stat.h>
#include <unistd.h>

#include "os/cgroup.h"
#include "runner/runner.h"

/* A drill of `line` with a program "check" of that text; how it ends, and with what message. */
static void
drill(const char *text, const char *line, uint32_t timeout_ms, enum zb_rc wanted, const char *said)
{
    const struct zb_runner r = {.kind = ZB_RUNNER_COMMAND,
                                .service = "web",
                                .group = programs_group,
                                .mountpoint = programs_dir,
                                .commands_dir = programs_dir,
                                .run_dir = programs_dir};
    struct zb_err err = {0};

    programs_need();
    program_make("check", text);
    assert_int_equal(zb_runner_drill(&r, line, timeout_ms, -1, &err), wanted);
    if (strstr(err.msg, said) == NULL) {
        fail_msg("'%s' is not in '%s'", said, err.msg);
    }
}

static void
it_begins_in_the_copy(void **state)
{
    (void)state;
    drill("[ \"$PWD\" = \"$ZBATON_MOUNTPOINT\" ] && [ \"$ZBATON_SERVICE\" = web ] && "
          "[ -f check ] && [ \"$1\" = 'a b' ]",
          "check 'a b'", 5000, ZB_OK, "");
}

static void
its_last_word_is_told(void **state)
{
    (void)state;
    drill("echo one >&2; echo no table users >&2; exit 3", "check x", 5000, ZB_E_FAILED,
          "check x: exit status 3: no table users");
    drill("echo slow >&2; sleep 60", "check", 300, ZB_E_TIMEOUT, "not ended after 300 ms: slow");
    drill("exit 0", "nothing", 5000, ZB_E_NOTFOUND, "no program");
    drill("exit 0", "../check", 5000, ZB_E_REFUSED, "not the plain name of a program");
}

static void
nothing_of_it_is_left(void **state)
{
    struct zb_err err;
    bool populated = true;
    (void)state;

    drill("sleep 60 & exit 0", "check", 5000, ZB_OK, "");
    assert_int_equal(zb_os_cgroup_populated(programs_group, &populated, &err), ZB_OK);
    assert_false(populated);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_in_the_copy),
        cmocka_unit_test(its_last_word_is_told),
        cmocka_unit_test(nothing_of_it_is_left),
    };

    return cmocka_run_group_tests(tests, programs_setup, programs_teardown);
}
