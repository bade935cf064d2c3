/* Reports have numbers: what was overtaken, or comes twice, is not taken for news. */
#include "unit.h"

#include "stories.h"

#define MARK 4242 /* start_ms of a report that vm2 never told */

/* What vm1 knows of vm2. */
static struct zb_core_peer_view
of_vm2(void)
{
    struct zb_core_view view;

    zb_core_view(W.nodes[0].core, 0, &view);
    return view.peers[1];
}

static void
arrives(const struct zb_core_msg *m)
{
    struct zb_event ev = {.kind = ZB_EV_MESSAGE, .node = 1};

    ev.u.msg = *m;
    world_queue(&W, W.now_ms, 0, &ev, NULL);
    world_run(&W, 1);
}

static bool
is_taken(const struct zb_core_msg *m)
{
    bool news = zb_core_is_news(W.nodes[0].core, 0, 1, m);

    arrives(m);
    assert_int_equal(of_vm2().report.start_ms == MARK, news);
    return news;
}

/* The last one, but for the mark. */
static struct zb_core_msg
marked(void)
{
    struct zb_core_msg m = of_vm2().report;

    assert_true(m.number > 0 && m.start_ms != MARK);
    m.start_ms = MARK;
    return m;
}

static void
what_was_overtaken_is_dropped(void **state)
{
    struct zb_core_msg late = marked(), m;
    (void)state;

    W.nodes[0].disk.content++;
    world_run(&W, 20000);
    m = marked();
    assert_true(m.number > late.number && zb_set_id_cmp(m.set.id, late.set.id) > 0);
    assert_false(is_taken(&late));
    assert_false(is_taken(&m)); /* twice */
    assert_true(of_vm2().report_at.ms < W.now_ms - 1);
    assert_int_equal(zb_set_id_cmp(of_vm2().report.set.id, m.set.id), 0);
    m.number++;
    assert_true(is_taken(&m));
    world_run(&W, 11000); /* goes on */
    assert_int_equal(of_vm2().report.start_ms, 0);
}

static void
numbers_begin_anew_with_a_start(void **state)
{
    struct zb_core_msg before;
    (void)state;

    world_run(&W, 120000);
    before = marked();
    world_engine_restart(&W, 1);
    world_run(&W, 1000);
    assert_int_equal(of_vm2().report.nonce, W.nodes[1].nonce);
    assert_true(of_vm2().report.nonce != before.nonce);
    assert_true(of_vm2().report.number < before.number);
    stories_current(0, 10000);
}

/* Whichever that is. */
static void
who_starts_takes_the_first(void **state)
{
    struct zb_core_msg m = marked();
    (void)state;

    world_run(&W, 20000);
    assert_false(is_taken(&m));
    world_engine_restart(&W, 0);
    assert_true(is_taken(&m));
    world_run(&W, 11000);
    assert_int_equal(of_vm2().report.start_ms, 0);
    assert_true(of_vm2().report.number > m.number);

    world_declare(&W, 0, &W.conf); /* known before: nothing is forgotten */
    assert_false(is_taken(&m));
}

static bool
released(struct world *w, unsigned node)
{
    return world_role(w, node) == ZB_ROLE_RELEASED;
}

/* Its question tells of the new nonce before the first report that has it. */
static void
who_starts_and_asks_for_a_release_is_heard(void **state)
{
    struct zb_core_msg m, ask = {.kind = ZB_MSG_RELEASE_ASK, .nonce = 77};
    (void)state;

    world_command(&W, 0, ZB_CMD_MOVE, 1, 1);
    assert_true(world_run_until(&W, released, 0, 10000));
    world_power_off(&W, 1);
    world_run(&W, 1000);
    m = marked();
    arrives(&ask);
    assert_int_equal(of_vm2().report.nonce, 77); /* whom the release is told */
    assert_false(is_taken(&m));
    m.nonce = 77;
    m.number = 1;
    assert_true(is_taken(&m));
}

/* The witness's have none. */
static void
what_has_no_number_is_taken(void **state)
{
    struct zb_core_msg m = marked();
    (void)state;

    m.number = 0;
    assert_true(is_taken(&m));
    assert_true(is_taken(&m));
}

#define story(t) cmocka_unit_test_setup_teardown(t, stories_setup, stories_teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        story(what_was_overtaken_is_dropped), story(numbers_begin_anew_with_a_start),
        story(who_starts_takes_the_first),    story(who_starts_and_asks_for_a_release_is_heard),
        story(what_has_no_number_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
