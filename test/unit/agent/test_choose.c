#include "unit.h"

#include "agent/choose.h"

static struct zb_choose_member
member(const char *node)
{
    struct zb_choose_member m = {
        .eligible = true, .drilled = true, .set = {3, 7}, .preference = UINT32_MAX};

    zb_strcopy(m.node, sizeof m.node, node);
    return m;
}

/* Each step decides when those before it do not, whichever way round they are compared, and against
 * all that come after it. */
static void
each_step_decides_in_its_order(void **state)
{
    (void)state;
    for (int s = ZB_CHOOSE_ELIGIBLE; s <= ZB_CHOOSE_NAME; s++) {
        struct zb_choose_member better = member("b"), worse = member("a");
        enum zb_choose_step step;
        better.leads = 9; /* what comes later speaks for the other one */
        worse.preference = 0;
        worse.set.seq = 9;
        if (s == ZB_CHOOSE_ELIGIBLE) {
            worse.eligible = false;
        } else if (s == ZB_CHOOSE_DRILLED) {
            worse.drilled = false;
        } else if (s == ZB_CHOOSE_POSITION) {
            worse.set.seq = 6;
        } else if (s == ZB_CHOOSE_PREFERENCE) {
            worse.set.seq = 7;
            better.preference = 0;
            worse.preference = 1;
        } else {
            worse.set.seq = 7;
            better.preference = 0;
            better.leads = s == ZB_CHOOSE_LOAD ? 0 : 9;
            worse.leads = s == ZB_CHOOSE_LOAD ? 1 : 9;
        }
        if (s == ZB_CHOOSE_NAME) {
            zb_strcopy(better.node, sizeof better.node, "Z");
        }
        assert_true(zb_choose_compare(&better, &worse, &step) < 0);
        assert_int_equal(step, s);
        assert_true(zb_choose_compare(&worse, &better, &step) > 0);
        assert_int_equal(step, s);
        assert_true(zb_choose_word(step)[0] != '\0');
    }
}

static void
rank_counts_who_comes_first(void **state)
{
    (void)state;
    struct zb_choose_member all[] = {member("vm1"), member("vm2"), member("vm3"), member("vm4")};

    all[2].set.seq = 9;  /* the newest copy ... */
    all[3].set.seq = 10; /* ... of those that can */
    all[3].eligible = false;
    all[1].drilled = false;
    assert_int_equal(zb_choose_rank(all, 4, "vm3"), 0);
    assert_int_equal(zb_choose_rank(all, 4, "vm1"), 1);
    assert_int_equal(zb_choose_rank(all, 4, "vm2"), 4);
    assert_int_equal(zb_choose_rank(all, 4, "vm4"), 4);
    assert_int_equal(zb_choose_rank(all, 4, "vm9"), 4);
}

/* The session of a leader that was cut off at 1000 s has a timeout of 30 s: its end was read at
 * 1030, and it is 1040 now. */
static void
loss_is_counted_to_the_last_renewal(void **state)
{
    (void)state;
    static const struct {
        int64_t set_s;
        int64_t lost_s;
    } cases[] = {
        {990, 10}, {400, 600}, {1000, 0},  {1012, 0},  /* made until its deadline */
        {1030, 0}, {1035, 0},  {1036, -1}, {4600, -1}, /* by a clock that is ahead */
        {-1, -1},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(zb_choose_loss_s(1040, cases[i].set_s, 10000, 30000), cases[i].lost_s);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_step_decides_in_its_order),
        cmocka_unit_test(rank_counts_who_comes_first),
        cmocka_unit_test(loss_is_counted_to_the_last_renewal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
