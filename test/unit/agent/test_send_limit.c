/* What limits do to ships of a real engine: sets are held back, the final set of a move is not. */
#include "pair.h"

#define PAYLOAD 60000u /* of each stream; a set has two */
#define SET_BYTES (2 * PAYLOAD)

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static bool
vm2_runs(const struct pair *w)
{
    return w->hosts[1].model.running;
}

static struct zb_conf_service *
service_of(struct host *h)
{
    return &h->a.services[0].conf;
}

static void
begin(struct pair *w)
{
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    w->hosts[0].model.payload_bytes = PAYLOAD;
}

/* Milliseconds of a set's way. */
static int64_t
sync_ms(struct pair *w)
{
    struct zb_mono begun = zb_mono_now();

    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(pair_until(w, pair_replied));
    assert_int_equal(w->hosts[0].reply_rc, ZB_OK);
    assert_true(pair_until(w, vm2_follows_vm1));
    return zb_mono_now().ms - begun.ms;
}

static void
a_limit_of_the_service_holds_its_sets_back(void **state)
{
    struct pair *w = *state;
    begin(w);
    service_of(&w->hosts[0])->send_limit_bytes = SET_BYTES / 2;
    assert_true(sync_ms(w) >= 1500);
}

static void
a_limit_of_the_node_holds_all_sets_back(void **state)
{
    struct pair *w = *state;
    begin(w);
    w->hosts[0].conf.send_limit_bytes = SET_BYTES / 2;
    assert_true(sync_ms(w) >= 1500);
}

/* A table of the day that is all day long. */
static void
the_time_of_the_day_counts_before_the_limit(void **state)
{
    struct pair *w = *state;
    struct zb_conf_node *conf = &w->hosts[0].conf;
    struct zb_err err;
    begin(w);
    conf->send_limit_bytes = 100; /* would take 20 minutes */
    assert_int_equal(zb_conf_spans_parse("00:00-24:00 none", &conf->send_spans, &err), ZB_OK);
    (void)sync_ms(w);
    assert_int_equal(
        zb_conf_spans_parse("12:00-12:01 64K, 12:01-12:00 64K", &conf->send_spans, &err), ZB_OK);
    conf->send_limit_bytes = 0;
    assert_true(sync_ms(w) >= 1200);
}

static bool
vm2_waits_for_bytes(const struct pair *w)
{
    return w->hosts[1].model.receives != NULL;
}

/* Streams that are under way go on by the new limit. */
static void
a_limit_that_is_lifted_holds_nothing_back(void **state)
{
    struct pair *w = *state;
    begin(w);
    service_of(&w->hosts[0])->send_limit_bytes = 100;
    w->hosts[0].model.written = true;
    host_command(&w->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(pair_until(w, vm2_waits_for_bytes));
    service_of(&w->hosts[0])->send_limit_bytes = 0;
    assert_true(pair_until(w, pair_replied));
    assert_int_equal(w->hosts[0].reply_rc, ZB_OK);
}

static void
the_final_set_of_a_move_is_not_held_back(void **state)
{
    struct pair *w = *state;
    begin(w);
    service_of(&w->hosts[0])->send_limit_bytes = 100;
    host_command(&w->hosts[0], ZB_CMD_MOVE, host_other(&w->hosts[0]));
    assert_true(pair_until(w, vm2_runs));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_limit_of_the_service_holds_its_sets_back),
        pair_test(a_limit_of_the_node_holds_all_sets_back),
        pair_test(the_time_of_the_day_counts_before_the_limit),
        pair_test(a_limit_that_is_lifted_holds_nothing_back),
        pair_test(the_final_set_of_a_move_is_not_held_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
