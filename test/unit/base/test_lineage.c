#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/lineage.h"

/* Term 1 was left at 1/5, term 3 at 3/2; term 2 was never led on this line, nor term 4. */
static const struct zb_lineage chain = {.count = 3,
                                        .lines = {{1, {0, 0}}, {3, {1, 5}}, {5, {3, 2}}}};

static void
sets_of_the_chain_belong(void **state)
{
    static const struct zb_set_id in[] = {{0, 0}, {1, 1}, {1, 5}, {3, 0}, {3, 2}, {5, 0}, {5, 99}};
    static const struct zb_set_id out[] = {{1, 6}, {2, 0}, {3, 3}, {4, 1}, {6, 0}};
    (void)state;

    for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++) {
        assert_true(zb_lineage_has(&chain, in[i]));
    }
    for (size_t i = 0; i < sizeof(out) / sizeof(out[0]); i++) {
        assert_false(zb_lineage_has(&chain, out[i]));
    }
}

/* An unknown history does not call anything diverged. */
static void
no_chain_has_everything(void **state)
{
    const struct zb_lineage none = {0};
    (void)state;

    assert_true(zb_lineage_has(&none, (struct zb_set_id){7, 7}));
}

static void
a_diverged_position_counts_from_its_fork(void **state)
{
    struct zb_set_id at = zb_lineage_clamp(&chain, (struct zb_set_id){1, 9});
    (void)state;

    assert_int_equal(at.term, 1);
    assert_int_equal(at.seq, 5);
    at = zb_lineage_clamp(&chain, (struct zb_set_id){4, 9});
    assert_int_equal(at.term, 3);
    assert_int_equal(at.seq, 2);
    at = zb_lineage_clamp(&chain, (struct zb_set_id){3, 1});
    assert_int_equal(at.term, 3);
    assert_int_equal(at.seq, 1);
}

static void
the_oldest_line_goes(void **state)
{
    struct zb_lineage l = {0};
    (void)state;

    for (uint64_t t = 1; t <= ZB_LINEAGE_MAX + 2; t++) {
        zb_lineage_add(&l, t, (struct zb_set_id){t - 1, t == 1 ? 0 : 4});
        zb_lineage_add(&l, t, (struct zb_set_id){t - 1, 9}); /* known: changes nothing */
    }
    assert_int_equal(l.count, ZB_LINEAGE_MAX);
    assert_int_equal(l.lines[0].term, 3);
    assert_int_equal(l.lines[0].fork.seq, 4);
    assert_true(zb_lineage_valid(&l));
    assert_false(zb_lineage_reaches(&l, (struct zb_set_id){1, 77}));
    assert_true(zb_lineage_reaches(&l, (struct zb_set_id){3, 0}));
    assert_true(zb_lineage_reaches(&chain, (struct zb_set_id){0, 1}));
    assert_true(zb_lineage_has(&l, (struct zb_set_id){1, 77})); /* older than what is remembered,
                                                                   below the fork of the rest */
}

static void
chains_of_others_are_checked(void **state)
{
    struct zb_lineage l = chain;
    (void)state;

    assert_true(zb_lineage_valid(&l));
    l.lines[1].term = 1;
    assert_false(zb_lineage_valid(&l));
    l = chain;
    l.lines[2].fork.term = 5;
    assert_false(zb_lineage_valid(&l));
    l.count = ZB_LINEAGE_MAX + 1;
    assert_false(zb_lineage_valid(&l));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sets_of_the_chain_belong),
        cmocka_unit_test(no_chain_has_everything),
        cmocka_unit_test(a_diverged_position_counts_from_its_fork),
        cmocka_unit_test(the_oldest_line_goes),
        cmocka_unit_test(chains_of_others_are_checked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
