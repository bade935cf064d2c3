/* keeper/rules.h: what may be set aside, what goes on, and the names and marks of it. */
#include "story.h"

#define CHILD_UUID "11111111-2222-4333-8444-555555555555"

/* vm2 led before, and is to follow vm1 in term 3: its tree has one set more than the fork. */
struct tale {
    struct story s;
    struct zb_rules_place places[3];
    size_t count;
};

static void
tale_diverged(struct tale *t)
{
    *t = (struct tale){.count = 2};
    story_follower(&t->s);
    t->s.datasets[0].newest_guid = 100;
    t->s.datasets[1] = (struct zb_kdataset){
        .uuid = CHILD_UUID, .rel = "log", .marked = 1, .newest_guid = 7, .guid = 2};
    t->s.f.datasets_count = 2;
    t->s.entries[1] = (struct zb_manifest_entry){.uuid = CHILD_UUID, .rel = "log", .guid = 7};
    t->s.req.manifest = t->s.sealed;
    t->s.req.manifest.entries_count = 2;
    t->s.req.manifest.entries = t->s.entries;
    t->places[0] = (struct zb_rules_place){.rel = "", .uuid = STORY_UUID, .own = true};
    t->places[1] = (struct zb_rules_place){.rel = "log", .uuid = CHILD_UUID, .own = true};
}

static void
rescue(struct tale *t, enum zb_rc wanted, const char *text)
{
    struct story *s = &t->s;

    /* The copy of the struct has moved. */
    s->f.datasets = s->datasets;
    story_refused(s, zb_rules_rescue(&s->r, &s->req, &s->f, t->places, t->count, &s->err), wanted,
                  text);
}

static void
test_as_follower(void **state)
{
    struct tale t;
    (void)state;

    tale_diverged(&t);
    rescue(&t, ZB_OK, "");
    t.s.req.term = 4;
    rescue(&t, ZB_E_REFUSED, "not the one known to be led");
    tale_diverged(&t);
    t.s.r.rec.granted_term = 4;
    zb_strcopy(t.s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    rescue(&t, ZB_E_REFUSED, "term 4 was granted to vm3");
    tale_diverged(&t);
    zb_strcopy(t.s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    rescue(&t, ZB_E_REFUSED, "vm1 leads term 3, not vm3");
    tale_diverged(&t);
    t.s.datasets[1].mount = ZB_MOUNT_RO;
    rescue(&t, ZB_E_REFUSED, "dataset log is mounted here");
    tale_diverged(&t);
    t.s.f.stage = ZB_STAGE_MOUNTED;
    rescue(&t, ZB_E_REFUSED, "this node leads");
    tale_diverged(&t);
    t.s.f.running = true;
    rescue(&t, ZB_E_REFUSED, "the service is running here");
    tale_diverged(&t);
    t.places[t.count++] = (struct zb_rules_place){.rel = "mine", .uuid = ""};
    rescue(&t, ZB_E_REFUSED, "dataset mine of the tree is not zbaton's");
    assert_non_null(strstr(t.s.err.hint, "rename"));
    /* On a node that led, it was made in the service, and after the newest set. */
    t.s.r.rec.established_term = 1;
    rescue(&t, ZB_OK, "");
    t.places[2] = (struct zb_rules_place){.rel = "mine", .uuid = CHILD_UUID};
    rescue(&t, ZB_E_REFUSED, "dataset mine of the tree is not zbaton's");
}

/* The leader of a term is no candidate for it, nor who never granted it to itself. */
static void
test_as_candidate(void **state)
{
    struct tale t;
    (void)state;

    tale_diverged(&t);
    zb_strcopy(t.s.req.node, ZB_NODE_NAME_SIZE, "vm2");
    rescue(&t, ZB_E_REFUSED, "has not granted term 3 to itself");
    t.s.req.term = t.s.r.rec.granted_term = 4;
    zb_strcopy(t.s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    rescue(&t, ZB_OK, "");
    t.s.r.rec.learned_term = 4;
    zb_strcopy(t.s.r.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm2");
    rescue(&t, ZB_E_REFUSED, "vm2 leads term 4 already");
    story_leader(&t.s);
    zb_strcopy(t.s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    rescue(&t, ZB_E_REFUSED, "vm1 leads term 3 already");
}

static void
test_forks(void **state)
{
    struct tale t;
    const struct zb_manifest *m = &t.s.req.manifest;
    (void)state;

    tale_diverged(&t);
    t.s.f.datasets = t.s.datasets;
    t.s.req.manifest.entries = t.s.entries;
    assert_ptr_equal(zb_rules_fork_entry(m, &t.s.f, 0), &t.s.entries[0]);
    assert_ptr_equal(zb_rules_fork_entry(m, &t.s.f, 1), &t.s.entries[1]);
    assert_false(zb_rules_on_forks(m, &t.s.f));
    t.s.datasets[0].newest_guid = 99;
    assert_true(zb_rules_on_forks(m, &t.s.f));
    t.s.datasets[1].written_bytes = 1;
    assert_false(zb_rules_on_forks(m, &t.s.f));
    t.s.datasets[1].written_bytes = 0;
    /* Known by uuid, whatever its name; the name alone is nothing. */
    zb_strcopy(t.s.datasets[1].rel, ZB_REL_SIZE, "old");
    assert_ptr_equal(zb_rules_fork_entry(m, &t.s.f, 1), &t.s.entries[1]);
    assert_true(zb_rules_on_forks(m, &t.s.f));
    zb_strcopy(t.s.datasets[1].rel, ZB_REL_SIZE, "log");
    zb_strcopy(t.s.datasets[1].uuid, ZB_UUID_SIZE, "22222222-2222-4333-8444-555555555555");
    assert_null(zb_rules_fork_entry(m, &t.s.f, 1));
    assert_false(zb_rules_on_forks(m, &t.s.f));
    /* What the set has and this tree does not is received, not rescued. */
    t.s.f.datasets_count = 1;
    assert_true(zb_rules_on_forks(m, &t.s.f));
}

static void
name_is(const char *name, bool valid, const char *service, uint64_t term, int64_t time)
{
    char found[ZB_SERVICE_NAME_SIZE] = "";
    char again[ZB_RESCUE_NAME_SIZE];
    struct zb_wall when = {0};
    uint64_t number = 0;

    assert_int_equal(zb_rules_rescue_name_parse(name, found, &number, &when), valid);
    assert_string_equal(found, service);
    assert_true(number == term && when.s == time);
    if (valid) {
        zb_rules_rescue_name_format(found, number, when, again);
        assert_string_equal(again, name);
    }
}

static void
test_names(void **state)
{
    char longest[ZB_SERVICE_NAME_SIZE + 40];
    (void)state;

    name_is("web-000003-20261122T064100Z", true, "web", 3, 1795329660);
    name_is("web-1-000003-20261122T064100Z", true, "web-1", 3, 1795329660);
    name_is("web-000003-20261122T064100Z-000004-20261122T064100Z", false, "", 0, 0);
    name_is("w-12345678901234567890-20261122T064100Z", true, "w", 12345678901234567890u,
            1795329660);
    name_is("web-000000-20261122T064100Z", false, "", 0, 0);
    name_is("web-3-20261122T064100Z", false, "", 0, 0);
    name_is("web-000003-20261322T064100Z", false, "", 0, 0);
    name_is("web-000003-20261122T064100", false, "", 0, 0);
    name_is("web-000003-20261122", false, "", 0, 0);
    name_is("-000003-20261122T064100Z", false, "", 0, 0);
    name_is("000003-20261122T064100Z", false, "", 0, 0);
    name_is("web", false, "", 0, 0);
    name_is("-", false, "", 0, 0);
    name_is("", false, "", 0, 0);
    memset(longest, 'a', ZB_SERVICE_NAME_SIZE);
    zb_strcopy(longest + ZB_SERVICE_NAME_SIZE, 40, "-000003-20261122T064100Z");
    name_is(longest, false, "", 0, 0);
    assert_true(zb_rules_rescue_name_parse(longest + 1, (char[ZB_SERVICE_NAME_SIZE]){""},
                                           &(uint64_t){0}, &(struct zb_wall){0}));
}

static void
test_marks(void **state)
{
    static const char *const bad[] = {"",      "12",    "/log",  "0/log",
                                      "12/..", "12//x", "+1/a",  "12/a@b",
                                      " 12/a", "012/a", "12 /a", "99999999999999999999/a"};
    char buf[ZB_FORK_MARK_SIZE];
    char rel[ZB_REL_SIZE] = "";
    uint64_t guid = 0;
    (void)state;

    zb_rules_fork_format(18446744073709551615u, "a/b", buf);
    assert_string_equal(buf, "18446744073709551615/a/b");
    assert_true(zb_rules_fork_parse(buf, &guid, rel));
    assert_true(guid == 18446744073709551615u);
    assert_string_equal(rel, "a/b");
    zb_rules_fork_format(7, "", buf);
    assert_true(zb_rules_fork_parse(buf, &guid, rel));
    assert_string_equal(rel, "");
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_false(zb_rules_fork_parse(bad[i], &guid, rel));
    }
}

static void
test_room(void **state)
{
    struct zb_err err = {0};
    (void)state;

    assert_int_equal(zb_rules_rescue_room(UINT64_C(4) << 20, 3, &err), ZB_OK);
    assert_int_equal(zb_rules_rescue_room((UINT64_C(4) << 20) - 1, 3, &err), ZB_E_NOSPACE);
    assert_non_null(strstr(err.hint, "zbaton rescue drop"));
    assert_int_equal(zb_rules_rescue_room(0, 0, &err), ZB_E_NOSPACE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_follower), cmocka_unit_test(test_as_candidate),
        cmocka_unit_test(test_forks),       cmocka_unit_test(test_names),
        cmocka_unit_test(test_marks),       cmocka_unit_test(test_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
