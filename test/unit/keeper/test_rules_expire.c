/* What EXPIRE refuses: one thing wrong at a time. */
#include "story.h"

static void
expire(struct story *s, const struct zb_kdataset *d, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_expire(&s->r, &s->req, &s->f, d, &s->err), wanted, text);
}

/* vm2 follows vm1, whose term 3 went on from 2/7, and stands on 3/9. */
static void
follower(struct story *s)
{
    story_follower(s);
    s->r.rec.lineage =
        (struct zb_lineage){.count = 2, .lines = {{2, {1, 5}}, {3, {.term = 2, .seq = 7}}}};
}

static void
a_copy_that_follows(void **state)
{
    struct story s;
    (void)state;

    follower(&s);
    expire(&s, &s.datasets[0], ZB_OK, "");
    expire(&s, NULL, ZB_E_NOTFOUND, "no such dataset");
}

static void
who_does_not_follow_that_leader(void **state)
{
    struct story s;
    (void)state;

    follower(&s);
    s.req.term = 2;
    expire(&s, &s.datasets[0], ZB_E_REFUSED, "term 2 is not the one known to be led");
    follower(&s);
    s.r.rec.granted_term = 4; /* a failover is under way: nobody is followed */
    expire(&s, &s.datasets[0], ZB_E_REFUSED, "term 3 is over");
    follower(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    expire(&s, &s.datasets[0], ZB_E_REFUSED, "vm1 leads term 3, not vm3");
    follower(&s);
    s.f.self = "vm1";
    expire(&s, &s.datasets[0], ZB_E_REFUSED, "this node leads");
    follower(&s);
    s.f.stage = ZB_STAGE_MOUNTED;
    expire(&s, &s.datasets[0], ZB_E_REFUSED, "this node leads");
    follower(&s);
    s.datasets[0].mount = ZB_MOUNT_RO;
    expire(&s, &s.datasets[0], ZB_E_REFUSED, "is mounted here");
}

static void
what_is_not_zbatons_or_came_away(void **state)
{
    struct story s;
    struct zb_kdataset *d = &s.datasets[0];
    (void)state;

    follower(&s);
    d->marked = 0;
    expire(&s, d, ZB_E_REFUSED, "does not carry the marks of this node");
    d->marked = 1;
    zb_strcopy(d->token, sizeof(d->token), "1-a-b-c");
    expire(&s, d, ZB_E_REFUSED, "has a part of a set");
    d->token[0] = '\0';
    d->written_bytes = 512;
    expire(&s, d, ZB_E_DIVERGED, "something after its newest set");
    d->written_bytes = 0;
    zb_strcopy(d->newest, sizeof(d->newest), "autosnap_2026");
    expire(&s, d, ZB_E_DIVERGED, "something after its newest set");
    d->newest[0] = '\0';
    expire(&s, d, ZB_E_DIVERGED, "something after its newest set");
    zb_strcopy(d->newest, sizeof(d->newest), "zbaton-000002-00000008-20261122T064100Z");
    expire(&s, d, ZB_E_DIVERGED, "vm1's history does not have");
    zb_strcopy(d->newest, sizeof(d->newest), "zbaton-000002-00000007-20261122T064100Z");
    expire(&s, d, ZB_OK, "");
}

static void
stays(const struct zb_rules_foreign *s, const char *wanted)
{
    char why[ZB_FOREIGN_WHY_SIZE];

    assert_int_equal(zb_rules_foreign_stays(s, why), wanted[0] != '\0');
    assert_string_equal(why, wanted);
}

static void
snapshots_that_stay(void **state)
{
    const struct zb_rules_foreign goes = {
        .name = "autosnap_2026", .received = true, .is_older = true, .hold = "", .clone = ""};
    struct zb_rules_foreign s = goes;
    (void)state;

    stays(&s, "");
    s.name = "zbaton-000002-00000007-20261122T064100Z";
    stays(&s, "a set");
    s = goes;
    s.received = false;
    stays(&s, "not received by zbaton here");
    s = goes;
    s.is_older = false;
    stays(&s, "newer than the newest set");
    s = goes;
    s.hold = "keep";
    stays(&s, "held: keep");
    s = goes;
    s.clone = "pool/mine";
    stays(&s, "cloned: pool/mine");
}

static void
the_mark_is_of_one_node_and_pool(void **state)
{
    char mark[ZB_RECEIVED_MARK_SIZE], longest[ZB_RECEIVED_MARK_SIZE];
    char node[ZB_NODE_NAME_SIZE];
    (void)state;

    zb_rules_received_format("vm2", 42, mark);
    assert_string_equal(mark, "vm2/42");
    memset(node, 'a', sizeof(node) - 1);
    node[sizeof(node) - 1] = '\0';
    zb_rules_received_format(node, UINT64_MAX, longest);
    assert_int_equal(strlen(longest), ZB_NODE_NAME_SIZE - 1 + 1 + 20);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_that_follows),
        cmocka_unit_test(who_does_not_follow_that_leader),
        cmocka_unit_test(what_is_not_zbatons_or_came_away),
        cmocka_unit_test(snapshots_that_stay),
        cmocka_unit_test(the_mark_is_of_one_node_and_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
