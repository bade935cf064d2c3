#include "fixture.h"

static int64_t
append(struct fixture *f, const char *text)
{
    struct zb_history_event event = {
        .time = {77}, .level = 4, .service = "web", .node = "vm1", .rule = "C-move"};
    int64_t id = 0;

    zb_strcopy(event.text, sizeof event.text, text);
    assert_ok(f, zb_history_event_append(f->h, &event, &id, &f->err));
    return id;
}

static void
events_in_order(void **state)
{
    struct fixture *f = *state;
    struct zb_history_event *events = NULL;
    uint32_t count = 0;
    int64_t last = -1;

    assert_ok(f, zb_history_events_last(f->h, &last, &f->err));
    assert_int_equal(last, 0);
    int64_t first = append(f, "one");
    append(f, "two");
    append(f, "three");
    fixture_reopen(f);
    assert_ok(f, zb_history_events_last(f->h, &last, &f->err));
    assert_int_equal(last, first + 2);
    assert_ok(f, zb_history_events_list(f->h, first, 10, &events, &count, &f->err));
    assert_int_equal(count, 2);
    assert_int_equal(events[0].id, first + 1);
    assert_int_equal(events[0].time.s, 77);
    assert_int_equal(events[0].level, 4);
    assert_string_equal(events[0].service, "web");
    assert_string_equal(events[0].node, "vm1");
    assert_string_equal(events[0].rule, "C-move");
    assert_string_equal(events[0].text, "two");
    assert_string_equal(events[1].text, "three");
    free(events);
    assert_ok(f, zb_history_events_list(f->h, 0, 1, &events, &count, &f->err));
    assert_int_equal(count, 1);
    assert_string_equal(events[0].text, "one");
    free(events);
}

/* 101900 rows are there, more than the bound: appending makes the oldest go. */
static void
old_events_go(void **state)
{
    struct fixture *f = *state;
    struct zb_history_event *events = NULL;
    uint32_t count = 0;
    int64_t id = 0;

    fixture_meddle(f, "INSERT INTO events (time, level, service, node, rule, text)"
                      " WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n"
                      " WHERE i < 101900) SELECT i, 6, '', 'vm1', 'r', 't' FROM n");
    fixture_reopen(f);
    assert_ok(f, zb_history_begin(f->h, &f->err));
    for (int i = 0; i < 100; i++) {
        id = append(f, "new");
    }
    assert_ok(f, zb_history_commit(f->h, &f->err));
    assert_int_equal(id, 102000);
    assert_ok(f, zb_history_events_list(f->h, 0, 1, &events, &count, &f->err));
    assert_int_equal(events[0].id, 1001); /* one slice of two */
    free(events);
    for (int i = 0; i < 100; i++) {
        id = append(f, "new");
    }
    assert_ok(f, zb_history_events_list(f->h, 0, 1, &events, &count, &f->err));
    assert_int_equal(events[0].id, 2001);
    free(events);
    assert_ok(f, zb_history_events_list(f->h, id - 1, UINT32_MAX, &events, &count, &f->err));
    assert_int_equal(count, 1);
    assert_string_equal(events[0].text, "new");
    free(events);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(events_in_order),
        fixture_test(old_events_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
