#include "fixture.h"

static void
manifest_make(struct zb_manifest *m, uint64_t term, uint64_t seq, uint32_t count)
{
    struct zb_err err;

    assert_int_equal(zb_manifest_init(m, count, &err), ZB_OK);
    m->id = (struct zb_set_id){term, seq};
    m->time.s = 1795329660 + (int64_t)seq;
    for (uint32_t i = 0; i < count; i++) {
        struct zb_manifest_entry *entry = &m->entries[i];
        (void)snprintf(entry->uuid, sizeof entry->uuid, "0f8fad5b-d9cb-469f-a165-%012x", i);
        if (i > 0) {
            (void)snprintf(entry->rel, sizeof entry->rel, "child%03u", i);
        }
        entry->guid = UINT64_MAX - i - 100 * seq;
    }
}

static void
put(struct fixture *f, const char *service, uint64_t term, uint64_t seq, uint32_t count)
{
    struct zb_manifest m = {0};

    manifest_make(&m, term, seq, count);
    assert_ok(f, zb_history_set_put(f->h, service, &m, &f->err));
    zb_manifest_close(&m);
}

/* "2/1 2/0 1/9": ids of the service's sets, newest first. */
static void
assert_sets(struct fixture *f, const char *service, uint32_t limit, const char *expected)
{
    struct zb_history_set *sets = NULL;
    uint32_t count = 0;
    char text[256] = "";

    assert_ok(f, zb_history_sets_list(f->h, service, limit, &sets, &count, &f->err));
    for (uint32_t i = 0; i < count; i++) {
        size_t used = strlen(text);
        (void)snprintf(text + used, sizeof text - used, "%s%d/%d", i > 0 ? " " : "",
                       (int)sets[i].ref.id.term, (int)sets[i].ref.id.seq);
        assert_int_equal(sets[i].time.s, 1795329660 + (int64_t)sets[i].ref.id.seq);
    }
    free(sets);
    assert_string_equal(text, expected);
}

static void
manifests_come_back_whole(void **state)
{
    struct fixture *f = *state;
    struct zb_manifest m = {0};
    struct zb_manifest back = {0};

    manifest_make(&m, 12, 345, ZB_DATASETS_MAX);
    assert_ok(f, zb_history_set_put(f->h, "web", &m, &f->err));
    fixture_reopen(f);
    assert_ok(f, zb_history_set_get(f->h, "web", m.id, &back, &f->err));
    assert_int_equal(back.id.term, 12);
    assert_int_equal(back.id.seq, 345);
    assert_int_equal(back.time.s, m.time.s);
    assert_int_equal(back.entries_count, ZB_DATASETS_MAX);
    assert_memory_equal(back.entries, m.entries, ZB_DATASETS_MAX * sizeof *m.entries);
    zb_manifest_close(&back);
    assert_int_equal(zb_history_set_get(f->h, "web", (struct zb_set_id){12, 344}, &back, &f->err),
                     ZB_E_NOTFOUND);
    assert_int_equal(zb_history_set_get(f->h, "db", m.id, &back, &f->err), ZB_E_NOTFOUND);
    assert_null(back.entries);
    zb_manifest_close(&m);
}

static void
newest_first_by_term_then_seq(void **state)
{
    struct fixture *f = *state;

    put(f, "web", 2, 0, 1);
    put(f, "web", 1, 9, 1);
    put(f, "web", 2, 1, 2);
    put(f, "db", 7, 7, 1);
    assert_sets(f, "web", 10, "2/1 2/0 1/9");
    assert_sets(f, "web", 2, "2/1 2/0");
    assert_sets(f, "none", 10, "");
}

static void
prune_keeps_forks(void **state)
{
    struct fixture *f = *state;
    struct zb_history_term term = {
        .term = 2, .leader = "vm1", .fork.id = {1, 8}, .reason = ZB_HISTORY_MOVE};

    for (uint64_t seq = 7; seq < 10; seq++) {
        put(f, "web", 1, seq, 1);
        put(f, "db", 1, seq, 1);
    }
    put(f, "web", 2, 0, 1);
    put(f, "web", 2, 1, 1);
    assert_ok(f, zb_history_term_put(f->h, "web", &term, &f->err));
    assert_ok(f, zb_history_sets_prune(f->h, "web", (struct zb_set_id){2, 1}, NULL, 0, &f->err));
    assert_sets(f, "web", 10, "2/1 1/8");
    assert_sets(f, "db", 10, "1/9 1/8 1/7");
}

static void
prune_keeps_what_it_is_told(void **state)
{
    static const struct zb_set_id keep[] = {{1, 2}, {1, 5}, {1, 8}, {2, 3}};
    struct fixture *f = *state;

    for (uint64_t seq = 1; seq < 10; seq++) {
        put(f, "web", 1, seq, 1);
    }
    put(f, "web", 2, 3, 1);
    assert_ok(f, zb_history_sets_prune(f->h, "web", (struct zb_set_id){1, 7}, keep, 4, &f->err));
    assert_sets(f, "web", 10, "2/3 1/9 1/8 1/7 1/5 1/2");
    assert_ok(f,
              zb_history_sets_prune(f->h, "web", (struct zb_set_id){2, 3}, keep + 1, 1, &f->err));
    assert_sets(f, "web", 10, "2/3 1/5");
}

static void
damaged_manifests_are_seen(void **state)
{
    struct fixture *f = *state;
    struct zb_manifest m = {0};
    struct zb_set_id id = {1, 1};

    put(f, "web", 1, 1, 1);
    fixture_meddle(f, "UPDATE sets SET manifest = x'0001'");
    fixture_reopen(f);
    assert_int_equal(zb_history_set_get(f->h, "web", id, &m, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, f->path));
    assert_non_null(strstr(f->err.msg, "stored manifest"));
    put(f, "web", 1, 1, 1);
    fixture_meddle(f, "UPDATE sets SET digest = zeroblob(16)");
    fixture_reopen(f);
    assert_int_equal(zb_history_set_get(f->h, "web", id, &m, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, "a manifest does not have its digest"));
    fixture_meddle(f, "UPDATE sets SET digest = zeroblob(15)");
    fixture_reopen(f);
    assert_int_equal(zb_history_set_get(f->h, "web", id, &m, &f->err), ZB_E_FORMAT);
    assert_non_null(strstr(f->err.msg, "a stored digest has the wrong size"));
    assert_null(m.entries);
}

static void
bounds(void **state)
{
    struct fixture *f = *state;
    struct zb_manifest m = {.id = {UINT64_MAX, 1}};
    char name[ZB_SERVICE_NAME_SIZE + 1];

    assert_int_equal(zb_history_set_put(f->h, "web", &m, &f->err), ZB_E_LIMIT);
    assert_non_null(strstr(f->err.msg, "a number is above INT64_MAX"));
    memset(name, 's', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    m.id.term = 1;
    assert_int_equal(zb_history_set_put(f->h, name, &m, &f->err), ZB_E_LIMIT);
    assert_non_null(strstr(f->err.msg, "a text is too long for its field"));
    /* A failed call leaves nothing behind for the next one. */
    assert_ok(f, zb_history_set_put(f->h, "web", &m, &f->err));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        fixture_test(manifests_come_back_whole),  fixture_test(newest_first_by_term_then_seq),
        fixture_test(prune_keeps_forks),          fixture_test(prune_keeps_what_it_is_told),
        fixture_test(damaged_manifests_are_seen), fixture_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
