/* The role table is total, its words exist, and every role can be left and reached. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "core/table.h"

static void
every_cell_is_decided(void **state)
{
    (void)state;
    for (int r = 0; r < ZB_ROLE_COUNT; r++) {
        for (int s = 0; s < ZB_STIM_COUNT; s++) {
            const struct zb_cell *c = &zb_core_table[r][s];
            if (c->kind == ZB_CELL_MISSING) {
                fail_msg("no cell for %s x %s", zb_role_word((enum zb_role)r),
                         zb_stim_word((enum zb_stim)s));
            }
            if (c->kind == ZB_CELL_GO) {
                assert_true(c->next < ZB_ROLE_COUNT);
                assert_true(strncmp(c->rule, "R-", 2) == 0);
                assert_true(strlen(c->reason) > 10);
            }
        }
    }
}

static void
every_role_can_be_reached_and_left(void **state)
{
    bool reached[ZB_ROLE_COUNT] = {[ZB_ROLE_UNKNOWN] = true};
    (void)state;
    for (int round = 0; round < ZB_ROLE_COUNT; round++) {
        for (int r = 0; r < ZB_ROLE_COUNT; r++) {
            for (int s = 0; reached[r] && s < ZB_STIM_COUNT; s++) {
                if (zb_core_table[r][s].kind == ZB_CELL_GO) {
                    reached[zb_core_table[r][s].next] = true;
                }
            }
        }
    }
    for (int r = 0; r < ZB_ROLE_COUNT; r++) {
        int ways_out = 0;
        assert_true(reached[r]);
        for (int s = 0; s < ZB_STIM_COUNT; s++) {
            ways_out +=
                zb_core_table[r][s].kind == ZB_CELL_GO && (int)zb_core_table[r][s].next != r;
        }
        assert_true(ways_out > 0);
    }
}

/* A role in which the tree may be mounted read-write is left towards rest only through DEMOTING,
 * SEALING or an operation that ends unmounted. */
static void
writable_roles_never_go_to_rest_directly(void **state)
{
    static const enum zb_role writable[] = {ZB_ROLE_STARTING, ZB_ROLE_LEADING, ZB_ROLE_PRESYNC,
                                            ZB_ROLE_STOPPING};
    (void)state;
    for (size_t i = 0; i < sizeof(writable) / sizeof(writable[0]); i++) {
        for (int s = 0; s < ZB_STIM_COUNT; s++) {
            const struct zb_cell *c = &zb_core_table[writable[i]][s];
            if (c->kind == ZB_CELL_GO) {
                assert_true(c->next != ZB_ROLE_FOLLOWER && c->next != ZB_ROLE_ASKING &&
                            c->next != ZB_ROLE_RELEASED && c->next != ZB_ROLE_UNKNOWN);
            }
        }
    }
}

static void
words_are_distinct(void **state)
{
    (void)state;
    for (int a = 0; a < ZB_ROLE_COUNT; a++) {
        for (int b = 0; b < a; b++) {
            assert_string_not_equal(zb_role_word((enum zb_role)a), zb_role_word((enum zb_role)b));
        }
    }
    for (int a = 0; a < ZB_STIM_COUNT; a++) {
        assert_true(strlen(zb_stim_word((enum zb_stim)a)) > 3);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cell_is_decided),
        cmocka_unit_test(every_role_can_be_reached_and_left),
        cmocka_unit_test(writable_roles_never_go_to_rest_directly),
        cmocka_unit_test(words_are_distinct),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
