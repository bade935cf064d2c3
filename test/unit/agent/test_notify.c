/* Which events the administrator's program hears of, one after the other, and what becomes of those
 * that it cannot. */
#include "pair.h"

#include "agent/notify.h"

#define HOST(w) (&(w)->hosts[0])

/* One engine with such a program. */
static int
setup(void **state)
{
    struct pair *w;
    (void)pair_setup(state);
    w = *state;
    zb_strcopy(HOST(w)->conf.notify, sizeof(HOST(w)->conf.notify), "/etc/zbaton/notify");
    assert_null(HOST(w)->a.notices);
    HOST(w)->a.notices = zb_notices_new(&HOST(w)->a);
    return 0;
}

#define notify_test(t) cmocka_unit_test_setup_teardown(t, setup, pair_teardown)

static void
happens(struct pair *w, uint32_t level, const char *rule, const char *text)
{
    zb_agent_event(&HOST(w)->a, level, "web", rule, "%s", text);
    zb_agent_flush(&HOST(w)->a);
}

static uint32_t wanted;

static bool
so_many_were_heard(const struct pair *w)
{
    return HOST(w)->model.notified >= wanted && HOST(w)->model.notify_id == 0;
}

static bool
so_many_have_begun(const struct pair *w)
{
    return HOST(w)->model.notified >= wanted;
}

static int
told(struct pair *w, const char *rule, const char *text)
{
    struct zb_history_event *events = NULL;
    uint32_t count = 0;
    int found = 0;
    struct zb_err err;
    zb_agent_flush(&HOST(w)->a);
    assert_int_equal(zb_history_events_list(HOST(w)->a.history, 0, 1000, &events, &count, &err),
                     ZB_OK);
    for (uint32_t i = 0; i < count; i++) {
        found += strcmp(events[i].rule, rule) == 0 && strstr(events[i].text, text) != NULL;
    }
    free(events);
    return found;
}

static void
warnings_and_promises_kept_are_heard(void **state)
{
    struct pair *w = *state;
    happens(w, ZB_LOG_INFO, "A-peer-up", "vm2 is reachable");
    happens(w, ZB_LOG_WARNING, "C-fork", "vm2: beside the history");
    wanted = 1;
    assert_true(pair_until(w, so_many_were_heard));
    assert_string_equal(HOST(w)->model.notified_last, "web C-fork 4: vm2: beside the history");
    happens(w, ZB_LOG_ERROR, "A-peers", "no");
    wanted = 2;
    assert_true(pair_until(w, so_many_were_heard));
    assert_string_equal(HOST(w)->model.notified_last, "web A-peers 3: no");
    happens(w, ZB_LOG_INFO, "A-promise-kept", "kept again");
    wanted = 3;
    assert_true(pair_until(w, so_many_were_heard));
    assert_string_equal(HOST(w)->model.notified_last, "web A-promise-kept 6: kept again");
    assert_int_equal(HOST(w)->model.notified, 3);
}

static void
a_program_that_fails_is_told_once_and_not_to_itself(void **state)
{
    struct pair *w = *state;
    HOST(w)->model.notify_rc = ZB_E_FAILED;
    for (wanted = 1; wanted <= 3; wanted++) {
        happens(w, ZB_LOG_WARNING, "C-fork", "again");
        assert_true(pair_until(w, so_many_were_heard));
    }
    wanted = 4; /* the last answer has come when the next one begins */
    HOST(w)->model.notify_rc = ZB_OK;
    happens(w, ZB_LOG_WARNING, "C-fork", "well");
    assert_true(pair_until(w, so_many_were_heard));
    assert_int_equal(
        told(w, "A-notify-failed", "/etc/zbaton/notify: notify: exit status 1: no mail today"), 1);
    HOST(w)->model.notify_rc = ZB_E_FAILED;
    for (wanted = 5; wanted <= 6; wanted++) {
        happens(w, ZB_LOG_WARNING, "C-fork", "once more");
        assert_true(pair_until(w, so_many_were_heard));
    }
    HOST(w)->model.notify_rc = ZB_OK;
    wanted = 7;
    happens(w, ZB_LOG_WARNING, "C-fork", "well");
    assert_true(pair_until(w, so_many_were_heard));
    assert_int_equal(told(w, "A-notify-failed", ""), 2);
    assert_int_equal(HOST(w)->model.notified, 7);
}

static void
what_comes_too_fast_is_left_out_and_that_is_heard(void **state)
{
    struct pair *w = *state;
    HOST(w)->model.notify_stalls = true;
    for (int i = 0; i < ZB_NOTIFY_WAITING_MAX + 9; i++) {
        happens(w, ZB_LOG_WARNING, "C-fork", "again");
    }
    wanted = 1;
    assert_true(pair_until(w, so_many_have_begun));
    assert_int_equal(told(w, "A-notify-left-out", ""), 0);
    HOST(w)->model.notify_stalls = false;
    model_notify_end(&HOST(w)->model, ZB_OK);
    wanted = ZB_NOTIFY_WAITING_MAX + 1;
    assert_true(pair_until(w, so_many_were_heard));
    assert_int_equal(
        told(w, "A-notify-left-out", "9 events came faster than /etc/zbaton/notify could hear"), 1);
    assert_non_null(strstr(HOST(w)->model.notified_last, " A-notify-left-out 4: 9 events"));
    assert_int_equal(HOST(w)->model.notified, ZB_NOTIFY_WAITING_MAX + 1);
}

/* What an earlier engine had run is being ended. */
static void
an_event_waits_for_a_busy_keeper(void **state)
{
    struct pair *w = *state;
    HOST(w)->model.notify_rc = ZB_E_BUSY;
    happens(w, ZB_LOG_WARNING, "C-fork", "once");
    wanted = 2;
    assert_true(pair_until(w, so_many_were_heard));
    HOST(w)->model.notify_rc = ZB_OK;
    wanted = 3;
    assert_true(pair_until(w, so_many_were_heard));
    assert_string_equal(HOST(w)->model.notified_last, "web C-fork 4: once");
    happens(w, ZB_LOG_WARNING, "C-fork", "twice");
    wanted = 4;
    assert_true(pair_until(w, so_many_were_heard));
    assert_string_equal(HOST(w)->model.notified_last, "web C-fork 4: twice");
    assert_int_equal(told(w, "A-notify-failed", ""), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        notify_test(warnings_and_promises_kept_are_heard),
        notify_test(a_program_that_fails_is_told_once_and_not_to_itself),
        notify_test(what_comes_too_fast_is_left_out_and_that_is_heard),
        notify_test(an_event_waits_for_a_busy_keeper),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
