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
        } else if (s == ZB_CHOOSE_UNDRAINED) {
            worse.drained = true;
            better.drilled = false;
        } else if (s == ZB_CHOOSE_DRILLED) {
            worse.drilled = false;
            better.failed = true;
        } else if (s == ZB_CHOOSE_WELL) {
            worse.failed = true;
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
    assert_ptr_equal(zb_choose_first(all, 4), &all[2]);
    all[2].drained = true;
    assert_int_equal(zb_choose_rank(all, 4, "vm3"), 4);
    assert_int_equal(zb_choose_rank(all, 4, "vm1"), 0);
    all[0].failed = true; /* better than nobody */
    assert_ptr_equal(zb_choose_first(all, 4), &all[0]);
    all[0].drained = true;
    assert_null(zb_choose_first(all, 4));
}

static void
it_says_what_put_it_first(void **state)
{
    struct zb_choose_member all[] = {member("vm1"), member("vm2"), member("vm3")};
    char said[ZB_CHOOSE_SAY_SIZE], who[ZB_CHOOSE_WHO_SIZE];
    (void)state;

    zb_choose_say(all, 1, &all[0], said);
    assert_string_equal(said, "vm1, the only one");
    all[0].set.seq = 5;
    all[2].set.seq = 4;
    zb_choose_say(all, 3, &all[1], said);
    assert_string_equal(said, "vm2, by position: 3/7 before vm1's 3/5");
    all[0].set.seq = 7;
    all[1].leads = 2;
    zb_choose_say(all, 3, &all[0], said);
    assert_string_equal(said, "vm1, by load: leads 0, vm2 2");
    all[1].drained = all[2].drained = true;
    zb_choose_say(all, 3, &all[0], said);
    assert_string_equal(said, "vm1, by drain: vm2 is drained");
    zb_choose_who("zbatond@vm2", "takeover", said, who);
    assert_string_equal(who, "zbatond@vm2: takeover, vm1, by drain: vm2 is drained");
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
        cmocka_unit_test(it_says_what_put_it_first),
        cmocka_unit_test(loss_is_counted_to_the_last_renewal),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
