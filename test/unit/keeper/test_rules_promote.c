/* Refusals of keeper/rules.h. Taking a term: PROMOTE. */
#include "story.h"

#define CHILD "6f0a0f3e-6a4f-4d4e-8a43-0f6f3f1c2d12"

/* vm2 was released term 4 with set 3/9, and has granted it to itself. */
static void
taking(struct story *s)
{
    story_follower(s);
    s->r.rec.granted_term = 4;
    zb_strcopy(s->r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    s->req.term = 4;
    s->req.flags = ZB_KF_EXACT;
    s->req.manifest = s->sealed;
}

static void
promote(struct story *s, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_promote(&s->r, &s->req, &s->f, &s->err), wanted, text);
}

static void
test_promote_planned(void **state)
{
    struct story s;
    (void)state;

    taking(&s);
    promote(&s, ZB_OK, "");
    s.req.term = 5;
    promote(&s, ZB_E_REFUSED, "not granted term 5 to itself");
    taking(&s);
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    promote(&s, ZB_E_REFUSED, "not granted term 4 to itself");
    taking(&s);
    s.r.rec.granted_term = 5;
    promote(&s, ZB_E_REFUSED, "highest: term 5");
    taking(&s);
    s.r.rec.established_term = 4;
    promote(&s, ZB_E_REFUSED, "a new term is needed");
    taking(&s);
    s.r.rec.learned_term = 4;
    promote(&s, ZB_E_REFUSED, "leads term 4");
    taking(&s);
    s.datasets[0].mount = ZB_MOUNT_RO;
    promote(&s, ZB_E_REFUSED, "is mounted already");
    taking(&s);
    s.datasets[0].marked = 0;
    promote(&s, ZB_E_REFUSED, "marks of this node");
    taking(&s);
    s.f.running = true;
    promote(&s, ZB_E_REFUSED, "running already");
    taking(&s);
    s.datasets[0].newest_guid = 98;
    promote(&s, ZB_E_MISMATCH, "newest snapshot");
    taking(&s);
    s.datasets[0].written_bytes = 512;
    promote(&s, ZB_E_MISMATCH, "written after");
    taking(&s);
    s.f.datasets_count = 0;
    promote(&s, ZB_E_NOTFOUND, "does not exist");
}

/* What the record would say of its history could not be read again. */
static void
test_promote_goes_on_from_what_was_before(void **state)
{
    struct story s;
    (void)state;

    taking(&s);
    s.sealed.id = s.req.manifest.id = (struct zb_set_id){4, 1};
    promote(&s, ZB_E_REFUSED, "term 4 cannot go on from set 4/1");
    taking(&s);
    s.req.flags = 0;
    s.req.manifest = (struct zb_manifest){0};
    s.req.base_term = 5;
    promote(&s, ZB_E_REFUSED, "term 4 cannot go on from set 5/0");
    taking(&s);
    zb_lineage_add(&s.req.lineage, 4, (struct zb_set_id){3, 9});
    promote(&s, ZB_E_REFUSED, "term 4 cannot go on from term 4");
}

/* A second dataset of the tree on the target. */
static void
child(struct story *s, const char *rel, const char *uuid, uint64_t guid, bool marked)
{
    struct zb_kdataset *d = &s->datasets[1];

    *d = (struct zb_kdataset){.guid = 2, .marked = marked, .newest_guid = guid};
    zb_strcopy(d->rel, sizeof(d->rel), rel);
    zb_strcopy(d->uuid, sizeof(d->uuid), uuid);
    s->f.datasets_count = 2;
}

/* The set has a child "log" too. */
static void
entry(struct story *s)
{
    s->entries[1].guid = 199;
    zb_strcopy(s->entries[1].rel, ZB_REL_SIZE, "log");
    zb_strcopy(s->entries[1].uuid, ZB_UUID_SIZE, CHILD);
    s->req.manifest.entries_count = 2;
}

/* What the set does not have never keeps a released service from being taken. */
static void
test_promote_orphans(void **state)
{
    struct story s;
    (void)state;

    taking(&s);
    child(&s, "gone", CHILD, 7, true); /* destroyed by the leader */
    promote(&s, ZB_OK, "");
    assert_true(zb_rules_is_orphan(&s.req.manifest, &s.f, 1));
    assert_false(zb_rules_is_orphan(&s.req.manifest, &s.f, 0));
    child(&s, "mine", "", 0, false); /* somebody's own */
    s.datasets[1].written_bytes = 5;
    s.datasets[1].mount = ZB_MOUNT_RW;
    promote(&s, ZB_OK, "");
    assert_true(zb_rules_is_orphan(&s.req.manifest, &s.f, 1));

    entry(&s);
    promote(&s, ZB_E_MISMATCH, "log of the set is not here");
    child(&s, "log", CHILD, 199, true);
    promote(&s, ZB_OK, "");
    assert_int_equal(zb_rules_entry_dataset(&s.entries[1], &s.f), 1);
    assert_false(zb_rules_is_orphan(&s.req.manifest, &s.f, 1));
    child(&s, "old", CHILD, 199, true); /* renamed by the leader */
    promote(&s, ZB_OK, "");
    assert_false(zb_rules_is_orphan(&s.req.manifest, &s.f, 1));
    s.datasets[1].newest_guid = 198;
    promote(&s, ZB_E_MISMATCH, "newest snapshot of old");
    child(&s, "log", STORY_UUID, 199, true);
    promote(&s, ZB_E_MISMATCH, "has uuid");
    child(&s, "log", CHILD, 199, false);
    promote(&s, ZB_E_REFUSED, "marks of this node");
    /* The source of a release is the whole tree. */
    child(&s, "gone", CHILD, 7, true);
    s.req.manifest.entries_count = 1;
    story_refused(&s, zb_rules_tree_equal(&s.req.manifest, &s.f, &s.err), ZB_E_MISMATCH,
                  "not in the set");
}

static void
test_promote_unplanned(void **state)
{
    struct story s;
    (void)state;

    taking(&s); /* a follower without a release */
    s.req.flags = 0;
    promote(&s, ZB_E_REFUSED, "only the last leader");
    /* The last leader in a new term (M6). */
    story_sealed(&s);
    s.f.stage = ZB_STAGE_REST;
    s.r.rec.granted_term = s.req.term = 4;
    promote(&s, ZB_OK, "");
    child(&s, "new", "", 0, false); /* came in since the last set */
    promote(&s, ZB_OK, "");
    child(&s, "new", CHILD, 0, false); /* of another node or pool */
    promote(&s, ZB_E_REFUSED, "new does not carry the marks");
    s.f.datasets_count = 1;
    s.r.rec.released_term = 4;
    zb_strcopy(s.r.rec.released_to, ZB_NODE_NAME_SIZE, "vm2");
    promote(&s, ZB_E_REFUSED, "never takes the tree back");
    s.r.rec.released_term = 0;
    s.r.rec.learned_term = 3;
    zb_strcopy(s.r.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm3");
    promote(&s, ZB_E_REFUSED, "vm3 led term 3");
    /* The first leader of a new tree. */
    taking(&s);
    s.req.flags = 0;
    s.r.rec = (struct zb_record){.granted_term = 1, .granted_to = "vm2"};
    s.req.term = 1;
    s.req.manifest = (struct zb_manifest){0};
    promote(&s, ZB_OK, "");
}

static void
test_promote_remount(void **state)
{
    struct story s;
    (void)state;

    story_sealed(&s);
    s.req.flags = ZB_KF_REMOUNT;
    promote(&s, ZB_OK, "");
    s.f.stage = ZB_STAGE_UNMOUNTED;
    promote(&s, ZB_OK, "");
    s.f.stage = ZB_STAGE_MOUNTED; /* somebody unmounted it */
    promote(&s, ZB_OK, "");
    s.f.stage = ZB_STAGE_REST;
    promote(&s, ZB_E_REFUSED, "has not mounted");
    s.f.stage = ZB_STAGE_SEALED;
    s.req.term = 4;
    promote(&s, ZB_E_REFUSED, "not the established leader of term 4");
}

static void
test_promoted(void **state)
{
    struct story s;
    (void)state;

    taking(&s);
    zb_strcopy(s.r.rec.suspects[1], ZB_NODE_NAME_SIZE, "vm2");
    zb_rules_promoted(&s.r, &s.req, "vm2", STORY_BOOT, 43);
    assert_int_equal(s.r.rec.established_term, 4);
    assert_int_equal(s.r.rec.learned_term, 4);
    assert_string_equal(s.r.rec.learned_leader, "vm2");
    assert_string_equal(s.r.rec.suspects[0], "vm2");
    assert_string_equal(s.r.rec.suspects[1], "");
    assert_int_equal(s.r.rec.lineage.count, 1);
    assert_int_equal(s.r.rec.lineage.lines[0].term, 4);
    assert_int_equal(s.r.rec.lineage.lines[0].fork.seq, 9);
    assert_true(zb_rules_continues(&s.r, "vm2", STORY_BOOT, 43));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_promote_planned),
        cmocka_unit_test(test_promote_goes_on_from_what_was_before),
        cmocka_unit_test(test_promote_orphans),
        cmocka_unit_test(test_promote_unplanned),
        cmocka_unit_test(test_promote_remount),
        cmocka_unit_test(test_promoted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
