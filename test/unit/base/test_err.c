#include "unit.h"

#include <errno.h>

#include "base/err.h"

static void
set_fills_everything(void **state)
{
    (void)state;
    struct zb_err err = {.hint = "old hint", .sys_errno = 7};

    assert_int_equal(zb_err_set(&err, ZB_E_REFUSED, "%s is %d", "term", 3), ZB_E_REFUSED);
    assert_int_equal(err.rc, ZB_E_REFUSED);
    assert_int_equal(err.sys_errno, 0);
    assert_string_equal(err.msg, "term is 3");
    assert_string_equal(err.hint, "");
}

static void
sys_names_the_error(void **state)
{
    (void)state;
    struct zb_err err = {0};

    assert_int_equal(zb_err_sys(&err, EMFILE, "open pipe"), ZB_E_SYS);
    assert_int_equal(err.sys_errno, EMFILE);
    assert_string_equal(err.msg, "open pipe: Too many open files");
    assert_int_equal(zb_err_sys(&err, ENOMEM, "x"), ZB_E_NOMEM);
    assert_int_equal(zb_err_sys(&err, ENOSPC, "x"), ZB_E_NOSPACE);
    assert_int_equal(zb_err_sys(&err, EDQUOT, "x"), ZB_E_NOSPACE);
    assert_int_equal(zb_err_sys(&err, 1031, "lzc_sync"), ZB_E_SYS);
    assert_string_equal(err.msg, "lzc_sync: Unknown error 1031");
}

static void
wrap_puts_phrases_in_front(void **state)
{
    (void)state;
    struct zb_err err = {0};

    (void)zb_err_sys(&err, ENOENT, "open");
    (void)zb_err_hint(&err, "zbaton init");
    assert_int_equal(zb_err_wrap(&err, "receive %s", "web"), ZB_E_SYS);
    assert_string_equal(err.msg, "receive web: open: No such file or directory");
    assert_string_equal(err.hint, "zbaton init");
    assert_int_equal(err.sys_errno, ENOENT);
}

static void
own_message_as_argument(void **state)
{
    (void)state;
    struct zb_err err = {0};

    (void)zb_err_set(&err, ZB_E_FAILED, "inner");
    (void)zb_err_set(&err, ZB_E_HELD, "outer: %s", err.msg);
    assert_string_equal(err.msg, "outer: inner");
}

static void
long_messages_are_cut(void **state)
{
    (void)state;
    struct zb_err err = {0};
    char text[2000];

    memset(text, 'a', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    (void)zb_err_set(&err, ZB_E_FAILED, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    (void)zb_err_wrap(&err, "layer");
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    assert_memory_equal(err.msg, "layer: aaa", 10);
    (void)zb_err_sys(&err, EIO, "%s", text);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    (void)zb_err_hint(&err, "%s", text);
    assert_int_equal(strlen(err.hint), sizeof err.hint - 1);
}

static void
words_and_exits(void **state)
{
    (void)state;
    assert_string_equal(zb_rc_word(ZB_OK), "ok");
    assert_string_equal(zb_rc_word(ZB_E_REFUSED), "refused");
    assert_string_equal(zb_rc_word(ZB_E_UNSUPPORTED), "unsupported");
    assert_string_equal(zb_rc_word((enum zb_rc)5), "unknown");
    assert_string_equal(zb_rc_word((enum zb_rc)1000), "unknown");
    assert_int_equal(zb_rc_exit(ZB_OK), 0);
    assert_int_equal(zb_rc_exit(ZB_E_FAILED), 1);
    assert_int_equal(zb_rc_exit(ZB_E_USAGE), 2);
    assert_int_equal(zb_rc_exit(ZB_E_REFUSED), 3);
    assert_int_equal(zb_rc_exit(ZB_E_NOQUORUM), 4);
    assert_int_equal(zb_rc_exit(ZB_E_TIMEOUT), 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(set_fills_everything),       cmocka_unit_test(sys_names_the_error),
        cmocka_unit_test(wrap_puts_phrases_in_front), cmocka_unit_test(own_message_as_argument),
        cmocka_unit_test(long_messages_are_cut),      cmocka_unit_test(words_and_exits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
