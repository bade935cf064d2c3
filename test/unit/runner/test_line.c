/* Command lines of a declaration: the check of a drill, and what is asked, with real processes;
 * skipped where cgroup2 cannot be written. */
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

/* What a program "key" of that text is asked for, with room for 8 bytes. */
static enum zb_rc
ask(const char *text, uint32_t timeout_ms, char said[9], struct zb_err *err)
{
    const struct zb_runner r = {.kind = ZB_RUNNER_COMMAND,
                                .service = "web",
                                .group = programs_group,
                                .commands_dir = programs_dir};
    uint8_t bytes[8];
    struct zb_once_output output = {.bytes = bytes, .size = sizeof(bytes)};

    programs_need();
    program_make("key", text);
    enum zb_rc rc = zb_runner_ask(&r, "key 'a b'", timeout_ms, -1, &output, err);
    assert_true(output.used <= sizeof(bytes));
    memcpy(said, bytes, output.used);
    said[output.used] = '\0';
    return rc;
}

static void
what_it_writes_is_the_answer(void **state)
{
    struct zb_err err = {0};
    char said[9];
    (void)state;

    assert_int_equal(ask("echo no >&2; echo \"$1.$ZBATON_SERVICE\"", 5000, said, &err), ZB_OK);
    assert_string_equal(said, "a b.web\n");
    assert_int_equal(ask("exit 0", 5000, said, &err), ZB_OK);
    assert_string_equal(said, "");
    assert_int_equal(ask("printf 1234; sleep 0.1; printf 56789", 5000, said, &err), ZB_OK);
    assert_string_equal(said, "12345678");
    assert_int_equal(ask("head -c 1000000 /dev/zero | tr '\\0' x", 20000, said, &err), ZB_OK);
    assert_string_equal(said, "xxxxxxxx"); /* it was not held up, nor ended by a signal */
}

static void
a_secret_is_in_no_error(void **state)
{
    struct zb_err err = {0};
    char said[9];
    (void)state;

    assert_int_equal(ask("echo secret; echo no such key >&2; exit 2", 5000, said, &err),
                     ZB_E_FAILED);
    assert_string_equal(err.msg, "key 'a b': exit status 2: no such key");
    assert_int_equal(ask("echo secret; sleep 60", 300, said, &err), ZB_E_TIMEOUT);
    assert_null(strstr(err.msg, "secret"));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_begins_in_the_copy),   cmocka_unit_test(its_last_word_is_told),
        cmocka_unit_test(nothing_of_it_is_left),   cmocka_unit_test(what_it_writes_is_the_answer),
        cmocka_unit_test(a_secret_is_in_no_error),
    };

    return cmocka_run_group_tests(tests, programs_setup, programs_teardown);
}
