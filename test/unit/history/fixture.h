/*
 * A history in a directory of its own for each test.
 */
#ifndef ZB_TEST_HISTORY_FIXTURE_H
#define ZB_TEST_HISTORY_FIXTURE_H

#include "unit.h"

#include <sqlite3.h>

#include "history/history.h"

struct fixture {
    char directory[64];
    char path[128];
    struct zb_history *h;
    struct zb_err err;
};

/* Asserts that a call succeeded, and shows its message where it did not. */
#define assert_ok(f, call)                                                                         \
    do {                                                                                           \
        if ((call) != ZB_OK) {                                                                     \
            fail_msg("%s", (f)->err.msg);                                                          \
        }                                                                                          \
    } while (0)

int fixture_setup(void **state);
int fixture_teardown(void **state);
void fixture_reopen(struct fixture *f);
/* Runs sql on the closed database, as somebody else would. */
void fixture_meddle(struct fixture *f, const char *sql);

#define fixture_test(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

#endif
