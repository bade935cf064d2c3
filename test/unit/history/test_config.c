#include "fixture.h"

#include "base/types.h"

static void
newest_of_each_state(void **state)
{
    struct fixture *f = *state;
    struct zb_history_config config = {0};

    assert_int_equal(zb_history_config_get(f->h, ZB_HISTORY_COMMITTED, &config, &f->err),
                     ZB_E_NOTFOUND);
    assert_ok(f, zb_history_config_put(f->h, 2, ZB_HISTORY_COMMITTED, "two", &f->err));
    assert_ok(f, zb_history_config_put(f->h, 1, ZB_HISTORY_COMMITTED, "one", &f->err));
    assert_ok(f, zb_history_config_put(f->h, 3, ZB_HISTORY_ACCEPTED, "three", &f->err));
    assert_ok(f, zb_history_config_put(f->h, 3, ZB_HISTORY_ACCEPTED, "abc", &f->err));
    fixture_reopen(f);
    assert_ok(f, zb_history_config_get(f->h, ZB_HISTORY_COMMITTED, &config, &f->err));
    assert_int_equal(config.version, 2);
    assert_string_equal(config.text, "two");
    assert_true(config.time.s > 0);
    zb_history_config_close(&config);
    assert_ok(f, zb_history_config_get(f->h, ZB_HISTORY_ACCEPTED, &config, &f->err));
    assert_int_equal(config.version, 3);
    assert_string_equal(config.text, "abc");
    /* FIPS 180-2, appendix B.1 */
    assert_string_equal(config.hash,
                        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    zb_history_config_close(&config);
    assert_null(config.text);
}

static void
changed_text_is_seen(void **state)
{
    struct fixture *f = *state;
    struct zb_history_config config = {0};

    assert_ok(f, zb_history_config_put(f->h, 4, ZB_HISTORY_COMMITTED, "text", &f->err));
    fixture_meddle(f, "UPDATE config SET text = 'texT'");
    fixture_reopen(f);
    assert_int_equal(zb_history_config_get(f->h, ZB_HISTORY_COMMITTED, &config, &f->err),
                     ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, f->path));
    assert_non_null(strstr(f->err.msg, "version 4 has another hash"));
    assert_null(config.text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(newest_of_each_state),
        fixture_test(changed_text_is_seen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
