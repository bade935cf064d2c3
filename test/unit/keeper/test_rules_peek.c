/* keeper/rules.h: what a peek can be made of, for how long, and its name and mark. */
#include "story.h"

#define CHILD_UUID "11111111-2222-4333-8444-555555555555"

static const struct zb_wall now = {1795329667}; /* 2026-11-22T06:41:07Z */

/* A follower is asked for a peek at a set of two datasets, for an hour. */
static void
story_peek(struct story *s)
{
    story_follower(s);
    s->datasets[1] = (struct zb_kdataset){.uuid = CHILD_UUID, .rel = "log", .marked = 1};
    s->f.datasets_count = 2;
    s->entries[1] = (struct zb_manifest_entry){.uuid = CHILD_UUID, .rel = "log", .guid = 7};
    s->req.manifest = s->sealed;
    s->req.manifest.entries_count = 2;
    s->req.manifest.entries = s->entries;
    s->req.time_s = now.s + 3600;
}

static void
peek(struct story *s, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_peek(&s->req, &s->f, now, &s->err), wanted, text);
}

static void
test_of_a_whole_set(void **state)
{
    struct story s;
    (void)state;

    story_peek(&s);
    peek(&s, ZB_OK, "");
    s.datasets[1].uuid[0] = '2';
    zb_strcopy(s.datasets[1].rel, ZB_REL_SIZE, "other");
    peek(&s, ZB_E_NOTFOUND, "set 3/9 is not whole here: dataset log is missing");
    story_peek(&s);
    s.req.manifest.entries_count = 0;
    peek(&s, ZB_E_USAGE, "the manifest of a set is wanted");
}

/* What the leader renamed since is found by its uuid. */
static void
test_a_name_does_not_matter(void **state)
{
    struct story s;
    (void)state;

    story_peek(&s);
    zb_strcopy(s.datasets[1].rel, ZB_REL_SIZE, "journal");
    peek(&s, ZB_OK, "");
}

static void
test_for_some_time(void **state)
{
    struct story s;
    (void)state;

    story_peek(&s);
    s.req.time_s = now.s + 1;
    peek(&s, ZB_OK, "");
    s.req.time_s = now.s;
    peek(&s, ZB_E_USAGE, "a peek lasts from 1 second to 366 days");
    s.req.time_s = now.s + ZB_PEEK_LIFE_MAX_S;
    peek(&s, ZB_OK, "");
    s.req.time_s++;
    peek(&s, ZB_E_USAGE, "a peek lasts");
}

static void
test_name_and_mark(void **state)
{
    const struct zb_set_id set = {.term = 12, .seq = 345};
    static const char *const others[] = {"",          "12",      "12/345",       "12/345/",
                                         "12/345/1x", "12/3/04", " 12/345/1",    "12/345/1/2",
                                         "-1/2/3",    "x",       "12/345/+1234", "012/345/1"};
    char text[ZB_PEEK_NAME_SIZE];
    struct zb_set_id found;
    struct zb_wall expires;
    (void)state;

    zb_rules_peek_name_format("web", set, now, text);
    assert_string_equal(text, "web-000012-00000345-20261122T064107Z");
    zb_rules_peek_mark_format(set, now, text);
    assert_string_equal(text, "12/345/1795329667");
    assert_true(zb_rules_peek_mark_parse(text, &found, &expires));
    assert_int_equal(zb_set_id_cmp(found, set), 0);
    assert_int_equal(expires.s, now.s);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        assert_false(zb_rules_peek_mark_parse(others[i], &found, &expires));
    }
}

/* Names and numbers as long as they come fit. */
static void
test_limits(void **state)
{
    const struct zb_set_id set = {.term = UINT64_MAX, .seq = UINT64_MAX};
    char service[ZB_SERVICE_NAME_SIZE];
    char name[ZB_PEEK_NAME_SIZE];
    char mark[ZB_PEEK_MARK_SIZE];
    struct zb_set_id found;
    struct zb_wall expires;
    (void)state;

    memset(service, 'a', sizeof service - 1);
    service[sizeof service - 1] = '\0';
    zb_rules_peek_name_format(service, set, now, name);
    assert_string_equal(name + strlen(name) - 17, "-20261122T064107Z");
    zb_rules_peek_mark_format(set, (struct zb_wall){INT64_MAX}, mark);
    assert_true(zb_rules_peek_mark_parse(mark, &found, &expires));
    assert_int_equal(expires.s, INT64_MAX);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_a_whole_set), cmocka_unit_test(test_a_name_does_not_matter),
        cmocka_unit_test(test_for_some_time),  cmocka_unit_test(test_name_and_mark),
        cmocka_unit_test(test_limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
