/* Until when a node may write, as its keeper counts it. */
#include "unit.h"

#include "keeper/session.h"

#define SOFT 7000
#define HARD 14000
#define ETCD 7

static struct zb_err err;

static struct zb_mono
at(int64_t ms)
{
    return (struct zb_mono){ms};
}

static struct zb_session
none(void)
{
    return (struct zb_session){.soft_ms = SOFT, .hard_ms = HARD};
}

/* Session 5, begun at 1000, confirmed with the stamp 50 of 2000. */
static struct zb_session
opened(void)
{
    struct zb_session s = none();

    assert_int_equal(zb_session_new(&s, at(1000), 5, false, false, &err), ZB_OK);
    assert_int_equal(zb_session_stamp(&s, at(2000), 50, ETCD, &err), ZB_OK);
    assert_int_equal(zb_session_renew(&s, at(2500), 50, &err), ZB_OK);
    return s;
}

static struct zb_session
lapsed(bool demoted)
{
    struct zb_session s = opened();

    assert_true(zb_session_tick(&s, at(2000 + SOFT)));
    s.demoted = demoted;
    return s;
}

static void
without_a_session_nothing_binds(void **state)
{
    struct zb_session s = none();

    (void)state;
    assert_int_equal(zb_session_may_write(&s, at(1), &err), ZB_OK);
    assert_false(zb_session_tick(&s, at(99999999)));
    assert_true(zb_session_may_pat(&s, at(99999999)));
    assert_false(zb_session_is_late(&s, at(99999999)));
    assert_int_equal(zb_session_stamp(&s, at(1), 9, ETCD, &err), ZB_E_NOTFOUND);
    assert_int_equal(zb_session_renew(&s, at(1), 9, &err), ZB_E_STALE);
    assert_int_equal(zb_session_leave(&s, 5, &err), ZB_E_STALE);
}

/* Others may have certified the node's last session by then, and count on that. */
static void
a_new_session_lets_write_when_etcd_has_it(void **state)
{
    struct zb_session s = none();

    (void)state;
    assert_int_equal(zb_session_new(&s, at(1000), 5, false, true, &err), ZB_OK);
    assert_int_equal(zb_session_may_write(&s, at(1000), &err), ZB_E_STALE);
    assert_int_equal(zb_session_stamp(&s, at(1001), 50, ETCD, &err), ZB_OK);
    assert_int_equal(zb_session_may_write(&s, at(1002), &err), ZB_E_STALE);
    assert_int_equal(zb_session_renew(&s, at(1003), 51, &err), ZB_E_STALE);
    assert_int_equal(zb_session_may_write(&s, at(1004), &err), ZB_E_STALE);
    assert_int_equal(zb_session_renew(&s, at(1005), 50, &err), ZB_OK);
    assert_int_equal(zb_session_may_write(&s, at(1006), &err), ZB_OK);
    assert_int_equal(zb_session_new(&s, at(1007), 6, false, false, &err), ZB_E_EXISTS);
    assert_int_equal(s.id, 5);
}

static void
the_deadline_counts_from_the_stamp(void **state)
{
    struct zb_session s = opened();

    (void)state;
    assert_int_equal(zb_session_soft_at(&s).ms, 2000 + SOFT);
    assert_int_equal(zb_session_hard_at(&s).ms, 2000 + HARD);
    assert_false(zb_session_tick(&s, at(2000 + SOFT - 1)));
    assert_int_equal(zb_session_may_write(&s, at(2000 + SOFT - 1), &err), ZB_OK);
    /* The clock is asked, whether anybody looked at it in time or not. */
    assert_int_equal(zb_session_may_write(&s, at(2000 + SOFT), &err), ZB_E_STALE);
    assert_true(zb_session_tick(&s, at(2000 + SOFT)));
    assert_false(zb_session_tick(&s, at(2000 + SOFT)));
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
}

static void
an_attempt_counts_from_its_own_stamp(void **state)
{
    struct zb_session s = opened();

    (void)state;
    assert_int_equal(zb_session_stamp(&s, at(4000), 51, ETCD, &err), ZB_OK);
    assert_int_equal(zb_session_stamp(&s, at(6000), 52, ETCD, &err), ZB_OK);
    assert_int_equal(zb_session_renew(&s, at(6500), 51, &err), ZB_OK);
    assert_int_equal(s.renewed.ms, 4000);
    assert_int_equal(zb_session_renew(&s, at(6501), 52, &err), ZB_OK);
    assert_int_equal(s.renewed.ms, 6000);
    assert_int_equal(zb_session_renew(&s, at(6502), 51, &err), ZB_OK);
    assert_int_equal(s.renewed.ms, 6000); /* an older one takes nothing away */
    assert_int_equal(zb_session_renew(&s, at(6503), 0, &err), ZB_E_STALE);
}

static void
the_oldest_stamps_are_forgotten(void **state)
{
    struct zb_session s = opened();

    (void)state;
    for (uint64_t i = 0; i < ZB_SESSION_STAMPS; i++) {
        assert_int_equal(zb_session_stamp(&s, at(3000 + (int64_t)i), 100 + i, ETCD, &err), ZB_OK);
    }
    assert_int_equal(zb_session_renew(&s, at(4000), 50, &err), ZB_E_STALE);
    assert_int_equal(s.renewed.ms, 2000);
    assert_int_equal(zb_session_renew(&s, at(4000), 100, &err), ZB_OK);
    assert_int_equal(s.renewed.ms, 3000);
}

static void
a_lapsed_session_is_not_given_back(void **state)
{
    struct zb_session s = opened();

    (void)state;
    assert_int_equal(zb_session_stamp(&s, at(8000), 51, ETCD, &err), ZB_OK);
    assert_int_equal(zb_session_renew(&s, at(2000 + SOFT), 51, &err), ZB_E_STALE);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    assert_int_equal(zb_session_stamp(&s, at(9500), 52, ETCD, &err), ZB_E_BUSY);
    s.demoted = true;
    assert_int_equal(zb_session_stamp(&s, at(9500), 52, ETCD, &err), ZB_E_STALE);
    assert_int_equal(zb_session_leave(&s, 5, &err), ZB_E_STALE);
}

static void
a_new_session_waits_for_the_demotion(void **state)
{
    struct zb_session s = lapsed(false);

    (void)state;
    assert_int_equal(zb_session_new(&s, at(10000), 6, false, false, &err), ZB_E_BUSY);
    s.demoted = true;
    assert_int_equal(zb_session_new(&s, at(10000), 6, true, false, &err), ZB_E_BUSY);
    assert_int_equal(s.id, 5);
    assert_int_equal(zb_session_new(&s, at(10000), 6, false, false, &err), ZB_OK);
    assert_int_equal(s.id, 6);
    assert_int_equal(s.renewed.ms, 10000);
    assert_int_equal(zb_session_may_write(&s, at(10000), &err), ZB_E_STALE);
    /* Nothing of the last one counts in it. */
    assert_false(s.demoted);
    assert_int_equal(zb_session_renew(&s, at(10001), 50, &err), ZB_E_STALE);
}

static void
a_session_that_is_unknown_here_demotes(void **state)
{
    struct zb_session s = none();

    (void)state;
    assert_int_equal(zb_session_new(&s, at(500000), 5, true, true, &err), ZB_E_BUSY);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    assert_int_equal(zb_session_may_write(&s, at(500000), &err), ZB_E_STALE);
    /* There is the time for it that a soft deadline leaves. */
    assert_false(zb_session_is_late(&s, at(500000 + HARD - SOFT - 1)));
    assert_true(zb_session_is_late(&s, at(500000 + HARD - SOFT)));
}

static void
what_is_written_without_a_session_goes_on_in_its_first(void **state)
{
    struct zb_session s = none();

    (void)state;
    assert_int_equal(zb_session_new(&s, at(500000), 5, true, false, &err), ZB_OK);
    assert_int_equal(zb_session_may_write(&s, at(500000), &err), ZB_OK);
    assert_true(zb_session_tick(&s, at(500000 + SOFT))); /* etcd may have it all the same */
}

static void
a_demotion_that_hangs_is_late(void **state)
{
    struct zb_session s = lapsed(false);

    (void)state;
    assert_false(zb_session_is_late(&s, at(2000 + HARD - 1)));
    assert_true(zb_session_may_pat(&s, at(2000 + HARD - 1)));
    assert_true(zb_session_is_late(&s, at(2000 + HARD)));
    assert_false(zb_session_may_pat(&s, at(2000 + HARD)));
    s.demoted = true;
    assert_false(zb_session_is_late(&s, at(2000 + HARD)));
    assert_true(zb_session_may_pat(&s, at(2000 + HARD)));
    s = lapsed(false);
    s.rested = true; /* nothing was writable when it lapsed */
    assert_false(zb_session_is_late(&s, at(2000 + HARD)));
    assert_true(zb_session_may_pat(&s, at(2000 + HARD)));
    assert_int_equal(zb_session_new(&s, at(2000 + HARD), 6, false, false, &err), ZB_E_BUSY);
}

static void
etcd_may_end_it_by_its_number(void **state)
{
    struct zb_session s = opened();

    (void)state;
    zb_session_lapse(&s, 4);
    assert_int_equal(s.stage, ZB_SESSION_OPEN);
    zb_session_lapse(&s, 5);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    s.demoted = true;
    zb_session_lapse(&s, 5); /* once */
    assert_true(s.demoted);
}

static void
a_session_that_is_left_binds_nobody(void **state)
{
    struct zb_session s = opened();

    (void)state;
    assert_int_equal(zb_session_leave(&s, 4, &err), ZB_E_STALE);
    assert_int_equal(zb_session_leave(&s, 5, &err), ZB_OK);
    assert_int_equal(s.stage, ZB_SESSION_NONE);
    assert_int_equal(s.soft_ms, SOFT);
    assert_int_equal(zb_session_may_write(&s, at(99999999), &err), ZB_OK);
}

static void
a_keeper_that_starts_goes_on_until_the_same_deadline(void **state)
{
    struct zb_session s = none();
    struct zb_session_past past = {
        .id = 5, .known = true, .renewed = {2000}, .confirmed = true, .rested = false};

    (void)state;
    zb_session_resume(&s, at(5000), &past);
    assert_false(zb_session_tick(&s, at(5000)));
    assert_int_equal(zb_session_may_write(&s, at(5000), &err), ZB_OK);
    assert_int_equal(s.id, 5);
    assert_int_equal(zb_session_renew(&s, at(5000), 50, &err), ZB_E_STALE); /* an earlier life's */
    assert_true(zb_session_tick(&s, at(2000 + SOFT)));
    assert_true(zb_session_is_late(&s, at(2000 + HARD)));
    past.confirmed = false;
    zb_session_resume(&s, at(5000), &past);
    assert_int_equal(zb_session_may_write(&s, at(5000), &err), ZB_E_STALE);
}

static void
a_keeper_that_starts_late_at_rest_resets_nothing(void **state)
{
    struct zb_session s = none();
    struct zb_session_past past = {
        .id = 5, .known = true, .renewed = {2000}, .confirmed = true, .rested = true};

    (void)state;
    zb_session_resume(&s, at(100000), &past);
    assert_true(zb_session_tick(&s, at(100000)));
    assert_false(zb_session_is_late(&s, at(100000)));
    assert_int_equal(zb_session_stamp(&s, at(100000), 51, ETCD, &err), ZB_E_BUSY); /* proven anew */
    past.rested = false;
    zb_session_resume(&s, at(100000), &past);
    assert_true(zb_session_tick(&s, at(100000)));
    assert_true(zb_session_is_late(&s, at(100000)));
}

static void
what_lapsed_has_lapsed_for_the_next_keeper(void **state)
{
    struct zb_session s = none();
    struct zb_session_past past = {.id = 5,
                                   .known = true,
                                   .renewed = {2000},
                                   .confirmed = true,
                                   .rested = true,
                                   .lapsed = true};

    (void)state;
    zb_session_resume(&s, at(2100), &past);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    assert_false(s.demoted);
}

static void
after_a_boot_it_is_over_and_nothing_is_late(void **state)
{
    struct zb_session s = none();
    struct zb_session_past past = {.id = 5, .rebooted = true};

    (void)state;
    zb_session_resume(&s, at(60000), &past);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    assert_int_equal(zb_session_may_write(&s, at(60000), &err), ZB_E_STALE);
    assert_false(zb_session_is_late(&s, at(60000 + 10 * HARD)));
    assert_true(zb_session_may_pat(&s, at(60000 + 10 * HARD)));
}

static void
what_run_dir_lost_is_over_now(void **state)
{
    struct zb_session s = none();
    struct zb_session_past past = {.id = 5};

    (void)state;
    zb_session_resume(&s, at(60000), &past);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    assert_false(zb_session_is_late(&s, at(60000 + HARD - SOFT - 1)));
    assert_true(zb_session_is_late(&s, at(60000 + HARD - SOFT)));
}

/* Those who read the one that it is in see it end. */
static void
a_session_is_not_taken_along_to_another_etcd(void **state)
{
    struct zb_session s = opened();

    (void)state;
    assert_int_equal(s.etcd, ETCD);
    assert_int_equal(zb_session_stamp(&s, at(3000), 51, ETCD + 1, &err), ZB_E_BUSY);
    assert_int_equal(s.stage, ZB_SESSION_LAPSED);
    assert_int_equal(zb_session_renew(&s, at(3000), 50, &err), ZB_E_STALE);
    s.demoted = true;
    assert_int_equal(zb_session_stamp(&s, at(3000), 51, ETCD + 1, &err), ZB_E_STALE);
    assert_int_equal(zb_session_new(&s, at(3000), 6, false, false, &err), ZB_OK);
    assert_int_equal(zb_session_stamp(&s, at(3000), 51, ETCD + 1, &err), ZB_OK);
    assert_int_equal(zb_session_may_write(&s, at(3000), &err), ZB_E_STALE); /* before it is there */
    assert_int_equal(zb_session_renew(&s, at(3100), 51, &err), ZB_OK);
    assert_int_equal(zb_session_may_write(&s, at(3100), &err), ZB_OK);
}

/* Nor by the next keeper, which is configured with another one. */
static void
a_resumed_session_is_of_its_etcd(void **state)
{
    struct zb_session s = none();
    const struct zb_session_past past = {
        .id = 5, .etcd = ETCD, .known = true, .renewed = {2000}, .confirmed = true};

    (void)state;
    zb_session_resume(&s, at(3000), &past);
    assert_int_equal(zb_session_stamp(&s, at(3000), 51, ETCD, &err), ZB_OK);
    zb_session_resume(&s, at(3000), &past);
    assert_int_equal(zb_session_stamp(&s, at(3000), 51, ETCD + 1, &err), ZB_E_BUSY);
    assert_int_equal(zb_session_may_write(&s, at(3000), &err), ZB_E_STALE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_a_session_nothing_binds),
        cmocka_unit_test(a_new_session_lets_write_when_etcd_has_it),
        cmocka_unit_test(the_deadline_counts_from_the_stamp),
        cmocka_unit_test(an_attempt_counts_from_its_own_stamp),
        cmocka_unit_test(the_oldest_stamps_are_forgotten),
        cmocka_unit_test(a_lapsed_session_is_not_given_back),
        cmocka_unit_test(a_new_session_waits_for_the_demotion),
        cmocka_unit_test(a_session_that_is_unknown_here_demotes),
        cmocka_unit_test(what_is_written_without_a_session_goes_on_in_its_first),
        cmocka_unit_test(a_demotion_that_hangs_is_late),
        cmocka_unit_test(etcd_may_end_it_by_its_number),
        cmocka_unit_test(a_session_that_is_left_binds_nobody),
        cmocka_unit_test(a_keeper_that_starts_goes_on_until_the_same_deadline),
        cmocka_unit_test(a_keeper_that_starts_late_at_rest_resets_nothing),
        cmocka_unit_test(what_lapsed_has_lapsed_for_the_next_keeper),
        cmocka_unit_test(after_a_boot_it_is_over_and_nothing_is_late),
        cmocka_unit_test(what_run_dir_lost_is_over_now),
        cmocka_unit_test(a_session_is_not_taken_along_to_another_etcd),
        cmocka_unit_test(a_resumed_session_is_of_its_etcd),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
