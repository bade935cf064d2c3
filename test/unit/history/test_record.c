#include "fixture.h"

static const struct zb_history_record sample = {
    .node = "vm2",
    .granted_term = INT64_MAX,
    .granted_to = "vm3",
    .learned_term = 12,
    .learned_leader = "vm1",
    .suspects = "vm1,vm3",
};

static struct zb_history_record *
records_of(struct fixture *f, const char *service, uint32_t *count)
{
    struct zb_history_record *items = NULL;

    assert_ok(f, zb_history_records_list(f->h, service, ZB_NODES_MAX, &items, count, &f->err));
    return items;
}

static void
records_come_back(void **state)
{
    struct fixture *f = *state;
    const struct zb_history_record other = {.node = "vm1", .granted_term = 3, .learned_term = 2};
    uint32_t count = 0;

    assert_ok(f, zb_history_record_put(f->h, "web", &sample, &f->err));
    assert_ok(f, zb_history_record_put(f->h, "web", &other, &f->err));
    fixture_reopen(f);
    struct zb_history_record *back = records_of(f, "web", &count);
    assert_int_equal(count, 2);
    assert_memory_equal(&back[0], &other, sizeof other);
    assert_memory_equal(&back[1], &sample, sizeof sample);
    free(back);
}

static void
a_record_replaces_the_one_of_the_same_node(void **state)
{
    struct fixture *f = *state;
    struct zb_history_record newer = sample;
    uint32_t count = 0;

    assert_ok(f, zb_history_record_put(f->h, "web", &sample, &f->err));
    newer.learned_term = 13;
    assert_ok(f, zb_history_record_put(f->h, "web", &newer, &f->err));
    assert_ok(f, zb_history_record_put(f->h, "db", &sample, &f->err));
    struct zb_history_record *back = records_of(f, "web", &count);
    assert_int_equal(count, 1);
    assert_int_equal(back[0].learned_term, 13);
    free(back);
}

static void
a_withdrawn_service_has_none(void **state)
{
    struct fixture *f = *state;
    uint32_t count = 7;

    assert_ok(f, zb_history_record_put(f->h, "web", &sample, &f->err));
    assert_ok(f, zb_history_service_forget(f->h, "web", &f->err));
    free(records_of(f, "web", &count));
    assert_int_equal(count, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(records_come_back),
        fixture_test(a_record_replaces_the_one_of_the_same_node),
        fixture_test(a_withdrawn_service_has_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
