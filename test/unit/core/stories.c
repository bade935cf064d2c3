#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "stories.h"

struct world W;

int
stories_setup(void **state)
{
    (void)state;
    world_init(&W, 3);
    if (!world_run_until(&W, world_all_current, 0, 30000)) {
        world_print(&W);
        return -1;
    }
    return 0;
}

int
stories_teardown(void **state)
{
    (void)state;
    world_close(&W);
    return 0;
}

void
stories_current(unsigned leader, int64_t ms)
{
    if (!world_run_until(&W, world_all_current, leader, ms)) {
        world_print(&W);
        fail_msg("vm%u does not lead with everybody current", leader + 1);
    }
}

bool
stories_replied(struct world *w, unsigned id)
{
    for (unsigned i = 0; i < w->replies_count; i++) {
        if (w->replies[i].command_id == id) {
            return true;
        }
    }
    return false;
}

void
stories_reply(unsigned id, enum zb_rc rc, const char *rule)
{
    if (!world_run_until(&W, stories_replied, id, 300000)) {
        world_print(&W);
        fail_msg("command %u was never answered", id);
    }
    for (unsigned i = 0; i < W.replies_count; i++) {
        if (W.replies[i].command_id == id) {
            assert_int_equal(W.replies[i].rc, rc);
            assert_string_equal(W.replies[i].rule, rule);
        }
    }
}
