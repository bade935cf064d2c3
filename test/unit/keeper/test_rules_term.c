/* Refusals of keeper/rules.h. Who leads, and until when: START, SEAL, RELEASE, GRANT, LEARN. */
#include "story.h"

static void
test_start(void **state)
{
    struct story s;
    (void)state;

    story_leader(&s);
    story_refused(&s, zb_rules_start(&s.f, &s.err), ZB_OK, "");
    zb_strcopy(s.datasets[1].rel, ZB_REL_SIZE, "new"); /* a newcomer waits for the next set */
    s.datasets[1].mount = ZB_MOUNT_RO;
    s.f.datasets_count = 2;
    story_refused(&s, zb_rules_start(&s.f, &s.err), ZB_OK, "");
    s.datasets[1].marked = 1;
    story_refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "new is not mounted read-write");
    s.datasets[0].mount = ZB_MOUNT_RO;
    story_refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "not mounted read-write");
    story_sealed(&s);
    story_refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "it is sealed");
    story_follower(&s);
    story_refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "it is at rest");
    story_refused(&s, zb_rules_leads(&s.r, s.f.self, &s.err), ZB_E_REFUSED, "not the established");
    story_leader(&s);
    story_refused(&s, zb_rules_leads(&s.r, s.f.self, &s.err), ZB_OK, "");
    s.r.rec.learned_term++;
    story_refused(&s, zb_rules_leads(&s.r, s.f.self, &s.err), ZB_E_REFUSED, "leads term");
}

static void
seal(struct story *s, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_seal(&s->r, &s->req, &s->f, &s->err), wanted, text);
}

static void
test_seal(void **state)
{
    struct story s;
    (void)state;

    story_leader(&s);
    s.req.manifest = s.sealed;
    seal(&s, ZB_OK, "");
    s.f.running = true;
    seal(&s, ZB_E_REFUSED, "is running");
    story_leader(&s);
    seal(&s, ZB_E_REFUSED, "not one of term 3");
    s.req.manifest = s.sealed;
    s.req.manifest.id.term = 2;
    seal(&s, ZB_E_REFUSED, "not one of term 3");
    story_leader(&s);
    s.req.manifest = s.sealed;
    s.f.stage = ZB_STAGE_REST;
    seal(&s, ZB_E_REFUSED, "not mounted by this keeper");
    story_leader(&s);
    s.req.manifest = s.sealed;
    s.req.term = 4;
    seal(&s, ZB_E_REFUSED, "not the established leader of term 4");
}

static void
test_tree_equal(void **state)
{
    struct story s;
    struct zb_kdataset *d = &s.datasets[0];
    (void)state;

    story_sealed(&s);
    story_refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_OK, "");
    d->written_bytes = 1;
    story_refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "written after");
    d->written_bytes = 0;
    d->newest_guid = 100;
    story_refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH,
                  "newest snapshot");
    d->newest_guid = 99;
    d->uuid[0] = 'a';
    story_refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "has uuid");
    story_sealed(&s);
    zb_strcopy(s.datasets[1].rel, ZB_NODE_NAME_SIZE, "child");
    s.f.datasets_count = 2;
    story_refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH,
                  "not in the set");
    story_sealed(&s);
    zb_strcopy(s.entries[1].rel, ZB_NODE_NAME_SIZE, "child");
    s.sealed.entries_count = 2;
    story_refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "2 datasets");
}

static void
release(struct story *s, bool again, enum zb_rc wanted, const char *text)
{
    bool was = !again;
    enum zb_rc rc = zb_rules_release(&s->r, &s->req, &s->f, &was, &s->err);

    story_refused(s, rc, wanted, text);
    if (rc == ZB_OK) {
        assert_int_equal(was, again);
    }
}

static void
releasing(struct story *s)
{
    story_sealed(s);
    s->req.term = 4;
    zb_strcopy(s->req.node, ZB_NODE_NAME_SIZE, "vm2");
}

static void
test_release(void **state)
{
    struct story s;
    (void)state;

    releasing(&s);
    release(&s, false, ZB_OK, "");
    s.req.term = 3;
    release(&s, false, ZB_E_REFUSED, "not above term 3");
    releasing(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    release(&s, false, ZB_E_REFUSED, "to another node");
    releasing(&s);
    s.f.stage = ZB_STAGE_UNMOUNTED;
    release(&s, false, ZB_E_REFUSED, "not sealed with this set");
    releasing(&s);
    s.f.stage = ZB_STAGE_MOUNTED;
    release(&s, false, ZB_E_REFUSED, "not sealed with this set (it is mounted)");
    releasing(&s);
    struct zb_manifest_entry other = s.entries[0];
    other.guid = 98;
    s.req.manifest.entries = &other;
    release(&s, false, ZB_E_REFUSED, "not sealed with this set");
    releasing(&s);
    s.f.running = true;
    release(&s, false, ZB_E_REFUSED, "is running");
    releasing(&s);
    s.r.rec.granted_term = 4;
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    release(&s, false, ZB_E_REFUSED, "term 4 was granted to vm3");
}

static void
test_release_again(void **state)
{
    struct story s;
    (void)state;

    releasing(&s);
    assert_int_equal(zb_rules_released(&s.r, &s.req, &s.err), ZB_OK);
    assert_int_equal(s.r.rec.granted_term, 4);
    assert_string_equal(s.r.rec.granted_to, "vm2");
    assert_string_equal(s.r.rec.suspects[1], "vm2");
    s.f.stage = ZB_STAGE_REST;
    release(&s, true, ZB_OK, "");
    /* Never re-targeted (M1). */
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    release(&s, false, ZB_E_REFUSED, "granted to vm2");
    s.req.term = 5;
    release(&s, false, ZB_E_REFUSED, "granted to vm2");
    /* Not answered after a higher grant (M5). */
    releasing(&s);
    assert_int_equal(zb_rules_released(&s.r, &s.req, &s.err), ZB_OK);
    s.r.rec.granted_term = 5;
    release(&s, false, ZB_E_REFUSED, "term 5 was granted");
    /* The sealed tree is not mounted again, nor led. */
    releasing(&s);
    assert_int_equal(zb_rules_released(&s.r, &s.req, &s.err), ZB_OK);
    s.req.flags = ZB_KF_REMOUNT;
    s.req.term = 3;
    story_refused(&s, zb_rules_promote(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "granted to vm2");
    assert_false(zb_rules_continues(&s.r, "vm1", STORY_BOOT, 42));
}

/* ---- GRANT, LEARN ---- */

static void
grant(struct story *s, bool again, enum zb_rc wanted, const char *text)
{
    bool was = !again;
    enum zb_rc rc = zb_rules_grant(&s->r, &s->req, &s->f, &was, &s->err);

    story_refused(s, rc, wanted, text);
    if (rc == ZB_OK) {
        assert_int_equal(was, again);
    }
}

static void
granting(struct story *s)
{
    story_follower(s);
    s->req.term = 4;
    s->req.version = 2;
    zb_strcopy(s->req.node, ZB_NODE_NAME_SIZE, "vm3");
}

static void
test_grant(void **state)
{
    struct story s;
    (void)state;

    granting(&s);
    grant(&s, false, ZB_OK, "");
    s.req.term = 3;
    grant(&s, false, ZB_E_REFUSED, "term 3 was granted to vm1");
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    grant(&s, true, ZB_OK, "");
    granting(&s);
    s.r.rec.learned_term = 4;
    grant(&s, false, ZB_E_REFUSED, "leads term 4");
    granting(&s);
    s.req.version = 1;
    grant(&s, false, ZB_E_REFUSED, "older than 2");
    granting(&s);
    s.req.term = 0;
    grant(&s, false, ZB_E_USAGE, "wants a term");
    granting(&s);
    s.datasets[0].mount = ZB_MOUNT_RO;
    grant(&s, false, ZB_E_REFUSED, "is mounted here");
    granting(&s);
    s.f.running = true;
    grant(&s, false, ZB_E_REFUSED, "is running here");
    granting(&s);
    s.f.stage = ZB_STAGE_MOUNTED;
    grant(&s, false, ZB_E_REFUSED, "has not demoted");
}

static void
test_granted(void **state)
{
    struct story s;
    char name[] = "n0";
    (void)state;

    granting(&s);
    s.req.nonce = 77;
    s.req.version = 9;
    assert_int_equal(zb_rules_granted(&s.r, &s.req, &s.err), ZB_OK);
    assert_int_equal(s.r.rec.granted_term, 4);
    assert_int_equal(s.r.granted_nonce, 77);
    assert_int_equal(s.r.granted_version, 9);
    assert_string_equal(s.r.rec.suspects[0], "vm1");
    assert_string_equal(s.r.rec.suspects[1], "vm3");
    assert_int_equal(zb_rules_granted(&s.r, &s.req, &s.err), ZB_OK); /* no suspect twice */
    assert_string_equal(s.r.rec.suspects[2], "");
    for (uint64_t i = 2; i < ZB_MEMBERS_MAX + 1; i++) {
        name[1] = (char)('0' + i);
        zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, name);
        s.req.term = 3 + i;
        assert_int_equal(zb_rules_granted(&s.r, &s.req, &s.err), ZB_OK);
    }
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "one-too-many");
    s.req.term = 99;
    assert_int_equal(zb_rules_granted(&s.r, &s.req, &s.err), ZB_E_LIMIT);
    assert_int_equal(s.r.rec.granted_term, 3 + ZB_MEMBERS_MAX); /* unchanged */
}

static void
learn(struct story *s, bool known, enum zb_rc wanted, const char *text)
{
    bool was = !known;
    enum zb_rc rc = zb_rules_learn(&s->r, &s->req, &was, &s->err);

    story_refused(s, rc, wanted, text);
    if (rc == ZB_OK) {
        assert_int_equal(was, known);
    }
}

static void
test_learn(void **state)
{
    struct story s;
    (void)state;

    story_follower(&s);
    learn(&s, true, ZB_OK, "");
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    learn(&s, false, ZB_E_MISMATCH, "split brain");
    s.req.term = 2;
    learn(&s, false, ZB_E_REFUSED, "led by vm1 already");
    s.req.term = 4;
    learn(&s, false, ZB_OK, "");
    s.r.rec.granted_term = 5;
    learn(&s, false, ZB_E_REFUSED, "term 5 was granted");
    s.req.term = 5;
    learn(&s, false, ZB_OK, "");
    zb_strcopy(s.r.rec.suspects[1], ZB_NODE_NAME_SIZE, "vm2");
    zb_rules_learned(&s.r, &s.req);
    assert_int_equal(s.r.rec.learned_term, 5);
    assert_string_equal(s.r.rec.learned_leader, "vm3");
    assert_string_equal(s.r.rec.suspects[0], "vm3");
    assert_string_equal(s.r.rec.suspects[1], "");
    s.req.node[0] = '\0';
    learn(&s, false, ZB_E_USAGE, "wanted");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_start),         cmocka_unit_test(test_seal),
        cmocka_unit_test(test_tree_equal),    cmocka_unit_test(test_release),
        cmocka_unit_test(test_release_again), cmocka_unit_test(test_grant),
        cmocka_unit_test(test_granted),       cmocka_unit_test(test_learn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
