#include "fixture.h"

static const struct zb_history_term sample = {
    .term = 13,
    .leader = "vm2",
    .fork = {.id = {12, 346}, .digest = {1, 2, 3, [15] = 16}},
    .reason = ZB_HISTORY_FAILOVER,
    .who = "root@vm1",
    .started = {1795329667},
    .down_ms = 3400,
    .own_ms = UINT32_MAX,
    .lost = "up to 30 s of writes",
};

static void
terms_come_back(void **state)
{
    struct fixture *f = *state;
    struct zb_history_term back = {0};

    assert_int_equal(zb_history_term_get(f->h, "web", 13, &back, &f->err), ZB_E_NOTFOUND);
    assert_ok(f, zb_history_term_put(f->h, "web", &sample, &f->err));
    fixture_reopen(f);
    assert_ok(f, zb_history_term_get(f->h, "web", 13, &back, &f->err));
    assert_int_equal(back.term, 13);
    assert_string_equal(back.leader, "vm2");
    assert_true(zb_set_ref_equal(&back.fork, &sample.fork));
    assert_int_equal(back.reason, ZB_HISTORY_FAILOVER);
    assert_string_equal(back.who, "root@vm1");
    assert_int_equal(back.started.s, 1795329667);
    assert_int_equal(back.down_ms, 3400);
    assert_int_equal(back.own_ms, UINT32_MAX);
    assert_string_equal(back.lost, "up to 30 s of writes");
}

static void
terms_are_replaced_and_listed(void **state)
{
    struct fixture *f = *state;
    struct zb_history_term term = sample;
    struct zb_history_term *terms = NULL;
    uint32_t count = 9;

    assert_ok(f, zb_history_terms_list(f->h, "web", 10, &terms, &count, &f->err));
    assert_null(terms);
    assert_int_equal(count, 0);
    for (uint64_t t = 1; t <= 5; t++) {
        term.term = t;
        assert_ok(f, zb_history_term_put(f->h, "web", &term, &f->err));
    }
    term.reason = ZB_HISTORY_MOVE;
    term.down_ms = 1;
    assert_ok(f, zb_history_term_put(f->h, "web", &term, &f->err));
    assert_ok(f, zb_history_terms_list(f->h, "web", 3, &terms, &count, &f->err));
    assert_int_equal(count, 3);
    assert_int_equal(terms[0].term, 5);
    assert_int_equal(terms[0].reason, ZB_HISTORY_MOVE);
    assert_int_equal(terms[0].down_ms, 1);
    assert_int_equal(terms[2].term, 3);
    assert_int_equal(terms[2].reason, ZB_HISTORY_FAILOVER);
    free(terms);
}

static void
bad_terms(void **state)
{
    struct fixture *f = *state;
    struct zb_history_term term = sample;

    term.reason = (enum zb_history_reason)0;
    assert_int_equal(zb_history_term_put(f->h, "web", &term, &f->err), ZB_E_FORMAT);
    assert_ok(f, zb_history_term_put(f->h, "web", &sample, &f->err));
    fixture_meddle(f, "UPDATE terms SET reason = 'whim'");
    fixture_reopen(f);
    assert_int_equal(zb_history_term_get(f->h, "web", 13, &term, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, "a stored word is not known"));
    fixture_meddle(f, "UPDATE terms SET reason = 'move', down_ms = -1");
    fixture_reopen(f);
    assert_int_equal(zb_history_term_get(f->h, "web", 13, &term, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, "a stored number does not fit its field"));
    assert_string_equal(zb_history_reason_word(ZB_HISTORY_RESTART), "restart");
}

static void
positions(void **state)
{
    struct fixture *f = *state;
    struct zb_history_position p = {.node = "vm2", .set = {.id = {1, 2}, .digest = {5}}};
    struct zb_history_position *items = NULL;
    uint32_t count = 0;

    p.updated.s = 100;
    assert_ok(f, zb_history_position_put(f->h, "web", &p, &f->err));
    zb_strcopy(p.node, sizeof p.node, "vm1");
    assert_ok(f, zb_history_position_put(f->h, "web", &p, &f->err));
    p.set.id.seq = 3;
    p.updated.s = 101;
    assert_ok(f, zb_history_position_put(f->h, "web", &p, &f->err));
    assert_ok(f, zb_history_position_put(f->h, "db", &p, &f->err));
    fixture_reopen(f);
    assert_ok(f, zb_history_positions_list(f->h, "web", ZB_NODES_MAX, &items, &count, &f->err));
    assert_int_equal(count, 2);
    assert_string_equal(items[0].node, "vm1");
    assert_int_equal(items[0].set.id.seq, 3);
    assert_int_equal(items[0].set.digest[0], 5);
    assert_int_equal(items[0].updated.s, 101);
    assert_string_equal(items[1].node, "vm2");
    assert_int_equal(items[1].set.id.seq, 2);
    free(items);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(terms_come_back),
        fixture_test(terms_are_replaced_and_listed),
        fixture_test(bad_terms),
        fixture_test(positions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
