/* Every refusal of keeper/rules.h: a request that would be granted, with one thing wrong. */
#include "unit.h"

#include "keeper/rules.h"

#define UUID "6f0a0f3e-6a4f-4d4e-8a43-0f6f3f1c2d11"
#define CHILD "6f0a0f3e-6a4f-4d4e-8a43-0f6f3f1c2d12"
#define BOOT "5c5192c4-d747-4963-8186-4affb2b383a7"
#define OTHER_BOOT "5c5192c4-d747-4963-8186-4affb2b383a8"

/* A leader of term 3 called vm1, mounted, with one dataset; set 3/9 is its newest. */
struct story {
    struct zb_keeper_record r;
    struct zb_kreq req;
    struct zb_kdataset datasets[2];
    struct zb_manifest_entry entries[2];
    struct zb_manifest sealed;
    struct zb_keeper_facts f;
    struct zb_err err;
};

static void
leader(struct story *s)
{
    *s = (struct story){
        .r = {.rec = {.granted_term = 3,
                      .granted_to = "vm1",
                      .learned_term = 3,
                      .learned_leader = "vm1",
                      .established_term = 3,
                      .suspects = {"vm1"},
                      .version = 7},
              .granted_version = 2,
              .established_boot = BOOT,
              .pool_guid = 42},
        .datasets = {{.uuid = UUID,
                      .guid = 1,
                      .mount = ZB_MOUNT_RW,
                      .marked = 1,
                      .newest = "zbaton-000003-00000009-20261122T064100Z",
                      .newest_guid = 99}},
        .entries = {{.uuid = UUID, .guid = 99}},
        .f = {.self = "vm1", .stage = ZB_STAGE_MOUNTED, .datasets_count = 1},
    };
    s->f.datasets = s->datasets;
    s->sealed = (struct zb_manifest){.id = {3, 9}, .entries_count = 1, .entries = s->entries};
    s->f.sealed = &s->sealed;
    s->req.term = 3;
}

/* The same, unmounted and sealed with 3/9. */
static void
sealed(struct story *s)
{
    leader(s);
    s->f.stage = ZB_STAGE_SEALED;
    s->datasets[0].mount = ZB_MOUNT_NONE;
    s->req.manifest = s->sealed;
}

/* vm2 follows vm1 in term 3. */
static void
follower(struct story *s)
{
    leader(s);
    s->r.rec.established_term = 0;
    s->f.self = "vm2";
    s->f.stage = ZB_STAGE_REST;
    s->datasets[0].mount = ZB_MOUNT_NONE;
    zb_strcopy(s->req.node, ZB_NODE_NAME_SIZE, "vm1");
}

static void
refused(struct story *s, enum zb_rc rc, enum zb_rc wanted, const char *text)
{
    if (rc != wanted || (rc != ZB_OK && strstr(s->err.msg, text) == NULL)) {
        fail_msg("got %s (%s), wanted %s with '%s'", zb_rc_word(rc), s->err.msg, zb_rc_word(wanted),
                 text);
    }
}

/* ---- SNAPSHOT ---- */

static void
snapshot(struct story *s, enum zb_rc wanted, const char *text)
{
    refused(s, zb_rules_snapshot(&s->r, &s->req, &s->f, true, 9, &s->err), wanted, text);
}

static void
test_snapshot(void **state)
{
    struct story s;
    (void)state;

    leader(&s);
    s.req.seq = 10;
    snapshot(&s, ZB_OK, "");
    s.req.seq = 9;
    snapshot(&s, ZB_E_REFUSED, "not above 3/9");
    leader(&s);
    s.req.seq = 10;
    s.req.term = 2;
    snapshot(&s, ZB_E_REFUSED, "not the established leader of term 2");
    leader(&s);
    s.req.seq = 10;
    s.f.stage = ZB_STAGE_REST;
    snapshot(&s, ZB_E_REFUSED, "not mounted by this keeper");
    leader(&s);
    s.req.seq = 10;
    s.r.rec.granted_term = 4;
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    snapshot(&s, ZB_E_REFUSED, "term 4 was granted to vm2");
    leader(&s);
    s.req.seq = 10;
    s.r.rec.learned_term = 4;
    zb_strcopy(s.r.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm3");
    snapshot(&s, ZB_E_REFUSED, "vm3 leads term 4");
    follower(&s);
    s.req.seq = 10;
    snapshot(&s, ZB_E_REFUSED, "not the established leader");
    sealed(&s);
    s.req.seq = 10;
    snapshot(&s, ZB_OK, "");
}

/* ---- RECEIVE ---- */

static void
receive(struct story *s, enum zb_rc wanted, const char *text)
{
    refused(s, zb_rules_receive(&s->r, &s->req, &s->f, &s->err), wanted, text);
}

static void
test_receive(void **state)
{
    struct story s;
    (void)state;

    follower(&s);
    receive(&s, ZB_OK, "");
    s.req.term = 2;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    s.req.term = 4;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    follower(&s);
    s.req.term = 0;
    s.r.rec.learned_term = 0;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    follower(&s);
    s.r.rec.granted_term = 4;
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    receive(&s, ZB_E_REFUSED, "term 4 was granted to vm3");
    follower(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    receive(&s, ZB_E_REFUSED, "vm1 leads term 3, not vm3");
    follower(&s);
    s.datasets[0].mount = ZB_MOUNT_RO;
    receive(&s, ZB_E_REFUSED, "is mounted here");
    leader(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    receive(&s, ZB_E_REFUSED, "this node leads");
    sealed(&s);
    s.f.self = "vm2";
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    receive(&s, ZB_E_REFUSED, "this node leads (the tree is sealed)");
}

static void
receive_dataset(struct story *s, const struct zb_kdataset *d, enum zb_rc wanted, const char *text)
{
    refused(s, zb_rules_receive_dataset(&s->req, d, &s->err), wanted, text);
}

static void
test_receive_dataset(void **state)
{
    struct story s;
    struct zb_kdataset *d = &s.datasets[0];
    (void)state;

    follower(&s);
    receive_dataset(&s, d, ZB_E_USAGE, "guid and the uuid are wanted");
    s.req.guid = 100;
    s.req.from_guid = 99;
    zb_strcopy(s.req.uuid, ZB_UUID_SIZE, UUID);
    zb_strcopy(s.req.snap, ZB_NODE_NAME_SIZE, "s");
    receive_dataset(&s, d, ZB_OK, "");
    receive_dataset(&s, NULL, ZB_E_NOTFOUND, "wants a full stream");
    d->written_bytes = 1024;
    receive_dataset(&s, d, ZB_E_DIVERGED, "1024 bytes written after");
    d->written_bytes = 0;
    d->newest_guid = 98;
    receive_dataset(&s, d, ZB_E_DIVERGED, "not the base 99");
    d->newest_guid = 99;
    d->marked = 0;
    receive_dataset(&s, d, ZB_E_REFUSED, "marks of this node");
    d->marked = 1;
    d->uuid[0] = 'a';
    receive_dataset(&s, d, ZB_E_MISMATCH, "another one here");
    s.req.from_guid = 0;
    receive_dataset(&s, d, ZB_E_REFUSED, "a full stream, but");
    receive_dataset(&s, NULL, ZB_OK, "");
    refused(&s, zb_rules_receive_begin(&s.req, 100, 0, &s.err), ZB_OK, "");
    refused(&s, zb_rules_receive_begin(&s.req, 101, 0, &s.err), ZB_E_MISMATCH, "announced");
    refused(&s, zb_rules_receive_begin(&s.req, 100, 5, &s.err), ZB_E_MISMATCH, "announced");
}

/* ---- START, SEAL, RELEASE ---- */

static void
test_start(void **state)
{
    struct story s;
    (void)state;

    leader(&s);
    refused(&s, zb_rules_start(&s.f, &s.err), ZB_OK, "");
    zb_strcopy(s.datasets[1].rel, ZB_REL_SIZE, "new"); /* a newcomer waits for the next set */
    s.datasets[1].mount = ZB_MOUNT_RO;
    s.f.datasets_count = 2;
    refused(&s, zb_rules_start(&s.f, &s.err), ZB_OK, "");
    s.datasets[1].marked = 1;
    refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "new is not mounted read-write");
    s.datasets[0].mount = ZB_MOUNT_RO;
    refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "not mounted read-write");
    sealed(&s);
    refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "it is sealed");
    follower(&s);
    refused(&s, zb_rules_start(&s.f, &s.err), ZB_E_REFUSED, "it is at rest");
}

static void
seal(struct story *s, enum zb_rc wanted, const char *text)
{
    refused(s, zb_rules_seal(&s->r, &s->req, &s->f, &s->err), wanted, text);
}

static void
test_seal(void **state)
{
    struct story s;
    (void)state;

    leader(&s);
    s.req.manifest = s.sealed;
    seal(&s, ZB_OK, "");
    s.f.running = true;
    seal(&s, ZB_E_REFUSED, "is running");
    leader(&s);
    seal(&s, ZB_E_REFUSED, "not one of term 3");
    s.req.manifest = s.sealed;
    s.req.manifest.id.term = 2;
    seal(&s, ZB_E_REFUSED, "not one of term 3");
    leader(&s);
    s.req.manifest = s.sealed;
    s.f.stage = ZB_STAGE_REST;
    seal(&s, ZB_E_REFUSED, "not mounted by this keeper");
    leader(&s);
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

    sealed(&s);
    refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_OK, "");
    d->written_bytes = 1;
    refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "written after");
    d->written_bytes = 0;
    d->newest_guid = 100;
    refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "newest snapshot");
    d->newest_guid = 99;
    d->uuid[0] = 'a';
    refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "has uuid");
    sealed(&s);
    zb_strcopy(s.datasets[1].rel, ZB_NODE_NAME_SIZE, "child");
    s.f.datasets_count = 2;
    refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "not in the set");
    sealed(&s);
    zb_strcopy(s.entries[1].rel, ZB_NODE_NAME_SIZE, "child");
    s.sealed.entries_count = 2;
    refused(&s, zb_rules_tree_equal(&s.sealed, &s.f, &s.err), ZB_E_MISMATCH, "2 datasets");
}

static void
release(struct story *s, bool again, enum zb_rc wanted, const char *text)
{
    bool was = !again;
    enum zb_rc rc = zb_rules_release(&s->r, &s->req, &s->f, &was, &s->err);

    refused(s, rc, wanted, text);
    if (rc == ZB_OK) {
        assert_int_equal(was, again);
    }
}

static void
releasing(struct story *s)
{
    sealed(s);
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
    refused(&s, zb_rules_promote(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "granted to vm2");
    assert_false(zb_rules_continues(&s.r, "vm1", BOOT, 42));
}

/* ---- GRANT, LEARN ---- */

static void
grant(struct story *s, bool again, enum zb_rc wanted, const char *text)
{
    bool was = !again;
    enum zb_rc rc = zb_rules_grant(&s->r, &s->req, &s->f, &was, &s->err);

    refused(s, rc, wanted, text);
    if (rc == ZB_OK) {
        assert_int_equal(was, again);
    }
}

static void
granting(struct story *s)
{
    follower(s);
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

    refused(s, rc, wanted, text);
    if (rc == ZB_OK) {
        assert_int_equal(was, known);
    }
}

static void
test_learn(void **state)
{
    struct story s;
    (void)state;

    follower(&s);
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

/* ---- PROMOTE ---- */

/* vm2 was released term 4 with set 3/9, and has granted it to itself. */
static void
taking(struct story *s)
{
    follower(s);
    s->r.rec.granted_term = 4;
    zb_strcopy(s->r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    s->req.term = 4;
    s->req.flags = ZB_KF_PLANNED;
    s->req.manifest = s->sealed;
}

static void
promote(struct story *s, enum zb_rc wanted, const char *text)
{
    refused(s, zb_rules_promote(&s->r, &s->req, &s->f, &s->err), wanted, text);
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
    child(&s, "log", UUID, 199, true);
    promote(&s, ZB_E_MISMATCH, "has uuid");
    child(&s, "log", CHILD, 199, false);
    promote(&s, ZB_E_REFUSED, "marks of this node");
    /* The source of a release is the whole tree. */
    child(&s, "gone", CHILD, 7, true);
    s.req.manifest.entries_count = 1;
    refused(&s, zb_rules_tree_equal(&s.req.manifest, &s.f, &s.err), ZB_E_MISMATCH,
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
    sealed(&s);
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
    promote(&s, ZB_OK, "");
}

static void
test_promote_remount(void **state)
{
    struct story s;
    (void)state;

    sealed(&s);
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
    zb_rules_promoted(&s.r, &s.req, "vm2", BOOT, 43);
    assert_int_equal(s.r.rec.established_term, 4);
    assert_int_equal(s.r.rec.learned_term, 4);
    assert_string_equal(s.r.rec.learned_leader, "vm2");
    assert_string_equal(s.r.rec.suspects[0], "vm2");
    assert_string_equal(s.r.rec.suspects[1], "");
    assert_int_equal(s.r.fork.id.seq, 9);
    assert_true(zb_rules_continues(&s.r, "vm2", BOOT, 43));
}

/* ---- the rest ---- */

static void
test_is_first(void **state)
{
    struct zb_keeper_record r = {0};
    (void)state;

    assert_true(zb_rules_is_first(&r, "vm1", "vm1"));
    assert_false(zb_rules_is_first(&r, "vm1", "vm2"));
    assert_false(zb_rules_is_first(&r, "", "vm2"));
    r.rec.learned_term = 1;
    assert_false(zb_rules_is_first(&r, "vm1", "vm1"));
}

static void
test_continues(void **state)
{
    struct story s;
    (void)state;

    leader(&s);
    assert_true(zb_rules_continues(&s.r, "vm1", BOOT, 42));
    assert_false(zb_rules_continues(&s.r, "vm1", OTHER_BOOT, 42));
    assert_false(zb_rules_continues(&s.r, "vm1", BOOT, 41));
    assert_false(zb_rules_continues(&s.r, "vm2", BOOT, 42));
    s.r.rec.granted_term = 4;
    assert_false(zb_rules_continues(&s.r, "vm1", BOOT, 42));
    s.r = (struct zb_keeper_record){0};
    assert_false(zb_rules_continues(&s.r, "vm1", "", 0));
    assert_false(zb_rules_may_have_led(&s.r, false));
    assert_true(zb_rules_may_have_led(&s.r, true));
}

static void
test_define_and_idle(void **state)
{
    struct story s;
    char text[] = "{}";
    (void)state;

    leader(&s);
    s.req.text = text;
    s.req.version = 7;
    refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_OK, "");
    s.req.version = 6;
    refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "older than version 7");
    s.req.version = 8;
    s.req.text = NULL;
    refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "is mounted");
    s.datasets[0].mount = ZB_MOUNT_NONE;
    s.f.running = true;
    refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_E_REFUSED, "is running");
    s.f.running = false;
    refused(&s, zb_rules_define(&s.r, &s.req, &s.f, &s.err), ZB_OK, "");
}

static void
test_prune(void **state)
{
    struct zb_ksnap snaps[] = {
        {.name = "zbaton-000001-00000000-20261122T064100Z"},
        {.name = "weekly"},
        {.name = "zbaton-000001-00000001-20261122T064101Z"},
        {.name = "zbaton-000001-00000002-20261122T064102Z"},
        {.name = "autosnap_2026"},
        {.name = "zbaton-000002-00000000-20261122T064103Z"},
    };
    struct zb_kreq req = {0};
    bool go[6];
    (void)state;

    assert_int_equal(zb_rules_prune(snaps, 6, 2, &req, go), 2);
    assert_true(go[0] && go[2] && !go[1] && !go[3] && !go[4] && !go[5]);
    assert_int_equal(zb_rules_prune(snaps, 6, 0, &req, go), 3);
    assert_false(go[5]); /* never the newest */
    req.protect[0] = (struct zb_set_id){1, 1};
    req.protect_count = 1;
    assert_int_equal(zb_rules_prune(snaps, 6, 2, &req, go), 1);
    assert_true(go[0] && !go[2]);
    req.protect_count = 0;
    req.base_term = 1;
    req.base_seq = 2; /* somebody is on the way from there */
    assert_int_equal(zb_rules_prune(snaps, 6, 0, &req, go), 2);
    assert_true(go[0] && go[2] && !go[3]);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_receive),
        cmocka_unit_test(test_receive_dataset),
        cmocka_unit_test(test_start),
        cmocka_unit_test(test_seal),
        cmocka_unit_test(test_tree_equal),
        cmocka_unit_test(test_release),
        cmocka_unit_test(test_release_again),
        cmocka_unit_test(test_grant),
        cmocka_unit_test(test_granted),
        cmocka_unit_test(test_learn),
        cmocka_unit_test(test_promote_planned),
        cmocka_unit_test(test_promote_orphans),
        cmocka_unit_test(test_promote_unplanned),
        cmocka_unit_test(test_promote_remount),
        cmocka_unit_test(test_promoted),
        cmocka_unit_test(test_is_first),
        cmocka_unit_test(test_continues),
        cmocka_unit_test(test_define_and_idle),
        cmocka_unit_test(test_prune),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
