/* Refusals of keeper/rules.h. What changes the snapshots of a tree: SNAPSHOT, RECEIVE, pruning. */
#include "story.h"

static void
snapshot(struct story *s, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_snapshot(&s->r, &s->req, &s->f, true, 9, &s->err), wanted, text);
}

static void
test_snapshot(void **state)
{
    struct story s;
    (void)state;

    story_leader(&s);
    s.req.seq = 10;
    snapshot(&s, ZB_OK, "");
    s.req.seq = 9;
    snapshot(&s, ZB_E_REFUSED, "not above 3/9");
    story_leader(&s);
    s.req.seq = 10;
    s.req.term = 2;
    snapshot(&s, ZB_E_REFUSED, "not the established leader of term 2");
    story_leader(&s);
    s.req.seq = 10;
    s.f.stage = ZB_STAGE_REST;
    snapshot(&s, ZB_E_REFUSED, "not mounted by this keeper");
    story_leader(&s);
    s.req.seq = 10;
    s.r.rec.granted_term = 4;
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    snapshot(&s, ZB_E_REFUSED, "term 4 was granted to vm2");
    story_leader(&s);
    s.req.seq = 10;
    s.r.rec.learned_term = 4;
    zb_strcopy(s.r.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm3");
    snapshot(&s, ZB_E_REFUSED, "vm3 leads term 4");
    story_follower(&s);
    s.req.seq = 10;
    snapshot(&s, ZB_E_REFUSED, "not the established leader");
    story_sealed(&s);
    s.req.seq = 10;
    snapshot(&s, ZB_OK, "");
}

/* ---- REKEY ---- */

static void
rekey(struct story *s, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_rekey(&s->r, &s->req, &s->f, &s->err), wanted, text);
}

static void
test_rekey(void **state)
{
    struct story s;
    (void)state;

    story_leader(&s);
    rekey(&s, ZB_OK, "");
    s.req.term = 2;
    rekey(&s, ZB_E_REFUSED, "not the established leader of term 2");
    story_leader(&s);
    s.f.stage = ZB_STAGE_REST;
    rekey(&s, ZB_E_REFUSED, "not mounted read-write by this keeper");
    story_leader(&s);
    s.datasets[0].mount = ZB_MOUNT_RO;
    rekey(&s, ZB_E_REFUSED, "not mounted read-write by this keeper");
    story_leader(&s);
    s.f.datasets_count = 0;
    rekey(&s, ZB_E_REFUSED, "not mounted read-write by this keeper");
    story_leader(&s);
    s.r.rec.learned_term = 4;
    zb_strcopy(s.r.rec.learned_leader, ZB_NODE_NAME_SIZE, "vm3");
    rekey(&s, ZB_E_REFUSED, "vm3 leads term 4");
    story_follower(&s);
    rekey(&s, ZB_E_REFUSED, "not the established leader");
    story_sealed(&s);
    rekey(&s, ZB_E_REFUSED, "it is sealed");
}

/* ---- RECEIVE ---- */

static void
receive(struct story *s, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_receive(&s->r, &s->req, &s->f, &s->err), wanted, text);
}

static void
test_receive(void **state)
{
    struct story s;
    (void)state;

    story_follower(&s);
    receive(&s, ZB_OK, "");
    s.req.term = 2;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    s.req.term = 4;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    story_follower(&s);
    s.req.term = 0;
    s.r.rec.learned_term = 0;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    story_follower(&s);
    s.r.rec.granted_term = 4;
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    receive(&s, ZB_E_REFUSED, "term 4 was granted to vm3");
    story_follower(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm3");
    receive(&s, ZB_E_REFUSED, "vm1 leads term 3, not vm3");
    story_follower(&s);
    s.datasets[0].mount = ZB_MOUNT_RO;
    receive(&s, ZB_E_REFUSED, "is mounted here");
    story_leader(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    receive(&s, ZB_E_REFUSED, "this node leads");
    story_sealed(&s);
    s.f.self = "vm2";
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm1");
    receive(&s, ZB_E_REFUSED, "this node leads (the tree is sealed)");
}

/* vm2 granted term 4 to itself, which nobody leads yet, and takes what vm3 has before it leads. */
static void
story_candidate(struct story *s)
{
    story_follower(s);
    s->r.rec.granted_term = 4;
    zb_strcopy(s->r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm2");
    s->req.term = 4;
    s->req.flags = ZB_KF_FORWARD;
    zb_strcopy(s->req.node, ZB_NODE_NAME_SIZE, "vm3");
}

static void
test_receive_forward(void **state)
{
    struct story s;
    (void)state;

    story_candidate(&s);
    receive(&s, ZB_OK, "");
    s.req.flags = 0;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    story_candidate(&s);
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    receive(&s, ZB_E_REFUSED, "has not granted term 4 to itself (term 4 was granted to vm3)");
    story_candidate(&s);
    s.req.term = 3;
    receive(&s, ZB_E_REFUSED, "has not granted term 3 to itself");
    story_candidate(&s);
    s.r.rec.learned_term = 4;
    receive(&s, ZB_E_REFUSED, "vm1 leads term 4 already");
    story_candidate(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm2");
    receive(&s, ZB_E_REFUSED, "does not receive from itself");
    s.req.node[0] = '\0';
    receive(&s, ZB_E_REFUSED, "does not receive from itself");
    story_candidate(&s);
    s.datasets[0].mount = ZB_MOUNT_RW;
    receive(&s, ZB_E_REFUSED, "is mounted here");
    story_candidate(&s);
    s.f.stage = ZB_STAGE_UNMOUNTED;
    receive(&s, ZB_E_REFUSED, "this node leads");
    story_follower(&s); /* the flag is for candidates alone */
    s.req.flags = ZB_KF_FORWARD;
    receive(&s, ZB_E_REFUSED, "has not granted term 3 to itself");
}

/* vm3 sends the first copy, which vm1 leads; nothing is here yet. */
static void
story_first_copy(struct story *s)
{
    story_follower(s);
    s->f.datasets_count = 0;
    s->req.flags = ZB_KF_COPY;
    zb_strcopy(s->req.node, ZB_NODE_NAME_SIZE, "vm3");
}

static void
test_receive_first_copy(void **state)
{
    struct story s;
    (void)state;

    story_first_copy(&s);
    receive(&s, ZB_OK, "");
    s.f.datasets_count = 1; /* the beginning of a full stream */
    s.datasets[0].newest_guid = 0;
    receive(&s, ZB_OK, "");
    story_first_copy(&s);
    s.f.datasets_count = 1;
    receive(&s, ZB_E_REFUSED, "a first copy from vm3, but dataset");
    s.f.copier = true; /* the rest of it */
    receive(&s, ZB_OK, "");
    s.req.flags = 0;
    receive(&s, ZB_E_REFUSED, "vm1 leads term 3, not vm3");
    story_first_copy(&s);
    s.f.copier = true;
    s.req.term = 2;
    receive(&s, ZB_E_REFUSED, "not the one known to be led");
    story_first_copy(&s);
    s.r.rec.granted_term = 4;
    zb_strcopy(s.r.rec.granted_to, ZB_NODE_NAME_SIZE, "vm3");
    receive(&s, ZB_E_REFUSED, "term 3 is over");
    story_first_copy(&s);
    zb_strcopy(s.req.node, ZB_NODE_NAME_SIZE, "vm2");
    receive(&s, ZB_E_REFUSED, "does not receive from itself");
}

static void
receive_dataset(struct story *s, const struct zb_kdataset *d, enum zb_rc wanted, const char *text)
{
    story_refused(s, zb_rules_receive_dataset(&s->req, d, &s->err), wanted, text);
}

static void
test_receive_dataset(void **state)
{
    struct story s;
    struct zb_kdataset *d = &s.datasets[0];
    (void)state;

    story_follower(&s);
    receive_dataset(&s, d, ZB_E_USAGE, "guid and the uuid are wanted");
    s.req.guid = 100;
    s.req.from_guid = 99;
    zb_strcopy(s.req.uuid, ZB_UUID_SIZE, STORY_UUID);
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
    story_refused(&s, zb_rules_receive_begin(&s.req, 100, 0, &s.err), ZB_OK, "");
    story_refused(&s, zb_rules_receive_begin(&s.req, 101, 0, &s.err), ZB_E_MISMATCH, "announced");
    story_refused(&s, zb_rules_receive_begin(&s.req, 100, 5, &s.err), ZB_E_MISMATCH, "announced");
    story_refused(&s, zb_rules_flavour(ZB_CONF_FLAVOUR_PLAIN, false, "the stream", &s.err), ZB_OK,
                  "");
    story_refused(&s, zb_rules_flavour(ZB_CONF_FLAVOUR_RAW, true, "the stream", &s.err), ZB_OK, "");
    story_refused(&s, zb_rules_flavour(ZB_CONF_FLAVOUR_PLAIN, true, "the stream", &s.err),
                  ZB_E_MISMATCH, "the stream is of flavour \"raw\", the service of \"plain\"");
    story_refused(&s, zb_rules_flavour(ZB_CONF_FLAVOUR_RAW, false, "the token", &s.err),
                  ZB_E_MISMATCH, "the token is of flavour \"plain\", the service of \"raw\"");
}

static const struct zb_wall now = {1795331000};

/* What goes of snapshots alone. */
static size_t
prune(const struct zb_ksnap *snaps, size_t count, const struct zb_conf_keep *keep,
      const struct zb_kreq *req, uint32_t *stays)
{
    const struct zb_rules_prune in = {.snaps = snaps,
                                      .snaps_count = count,
                                      .keep = keep,
                                      .catch_up = 1000,
                                      .now = now,
                                      .req = req};
    return zb_rules_prune(&in, stays, NULL);
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
    uint32_t stays[6];
    struct zb_conf_keep keep = {.last = 2};
    char labels[] = "1/1\tbefore the upgrade\n2/0\tx\n";
    (void)state;

    assert_int_equal(prune(snaps, 6, &keep, &req, stays), 2);
    assert_int_equal(stays[0], 0);
    assert_int_equal(stays[1], ZB_KEEP_FOREIGN);
    assert_int_equal(stays[2], 0);
    assert_int_equal(stays[3], ZB_KEEP_LAST);
    assert_int_equal(stays[4], ZB_KEEP_FOREIGN);
    assert_int_equal(stays[5], ZB_KEEP_LAST);
    keep.last = 0;
    assert_int_equal(prune(snaps, 6, &keep, &req, stays), 3);
    assert_int_equal(stays[5], ZB_KEEP_LAST); /* never the newest */
    req.text = labels;
    assert_int_equal(prune(snaps, 6, &keep, &req, stays), 2);
    assert_true(stays[0] == 0 && stays[2] == ZB_KEEP_LABEL && stays[3] == 0);
    req.text = NULL;
    keep.last = 2;
    req.protect[0] = (struct zb_set_id){1, 1};
    req.protect_count = 1;
    assert_int_equal(prune(snaps, 6, &keep, &req, stays), 1);
    assert_true(stays[0] == 0 && stays[2] != 0);
    req.protect_count = 0;
    req.base_term = 1;
    req.base_seq = 2; /* somebody is on the way from there */
    keep.last = 0;
    assert_int_equal(prune(snaps, 6, &keep, &req, stays), 2);
    assert_true(stays[0] == 0 && stays[2] == 0 && stays[3] != 0);
}

static void
test_labels(void **state)
{
    static const char text[] = "1/1\tbefore the upgrade\n11/1\tx\n2/30\tlast";
    size_t size = 0;
    (void)state;

    assert_ptr_equal(zb_rules_label_find(text, (struct zb_set_id){1, 1}, &size), text + 4);
    assert_int_equal(size, 18);
    assert_ptr_equal(zb_rules_label_find(text, (struct zb_set_id){2, 30}, &size), text + 35);
    assert_int_equal(size, 4);
    assert_null(zb_rules_label_find(text, (struct zb_set_id){2, 3}, &size));
    assert_null(zb_rules_label_find(text, (struct zb_set_id){1, 11}, &size));
    assert_null(zb_rules_label_find(NULL, (struct zb_set_id){1, 1}, &size));
    assert_null(zb_rules_label_find("", (struct zb_set_id){1, 1}, &size));
}

#define MANY (1200)

static void
test_prune_while_catching_up(void **state)
{
    static struct zb_ksnap snaps[MANY];
    static uint32_t stays[MANY];
    const struct zb_conf_keep keep = {.last = 2};
    struct zb_kreq req = {.base_term = 1, .base_seq = 20};
    (void)state;

    for (unsigned i = 0; i < MANY; i++) {
        zb_set_name_format((struct zb_set_id){1, i}, (struct zb_wall){1795300000 + i},
                           snaps[i].name);
    }
    /* somebody is away: the newest ones */
    assert_int_equal(prune(snaps, MANY, &keep, &req, stays), 200);
    assert_true(stays[199] == 0 && stays[200] != 0);
    req.term = 1;
    req.seq = 50; /* and somebody on the way from there: all that come */
    assert_int_equal(prune(snaps, MANY, &keep, &req, stays), 50);
    assert_true(stays[49] == 0 && stays[50] != 0);
    req.base_term = 0;
    req.base_seq = 0;
    assert_int_equal(prune(snaps, MANY, &keep, &req, stays), 50);
}

static void
mark_of(const struct zb_ksnap *snap, struct zb_ksnap *mark)
{
    (void)snprintf(mark->name, sizeof(mark->name), ZB_MARK_PREFIX "%.100s", snap->name);
}

/* Ten sets, of which one member that is away had the third; catch_up of the newest stay for it. */
static void
test_prune_to_bookmarks(void **state)
{
    struct zb_ksnap snaps[10] = {0};
    struct zb_ksnap marks[3] = {0};
    uint32_t stays[10];
    bool marks_stay[3];
    const struct zb_conf_keep keep = {.last = 2};
    struct zb_kreq req = {.base_term = 1,
                          .base_seq = 3,
                          .count = 1,
                          .protect_count = 2,
                          .protect = {{1, 3}, {1, 10}}};
    struct zb_rules_prune in = {.snaps = snaps,
                                .snaps_count = 10,
                                .marks = marks,
                                .keep = &keep,
                                .catch_up = 4,
                                .now = now,
                                .req = &req};
    (void)state;

    for (unsigned i = 0; i < 10; i++) {
        zb_set_name_format((struct zb_set_id){1, i + 1}, now, snaps[i].name);
    }
    assert_int_equal(zb_rules_prune(&in, stays, marks_stay), 6);
    assert_true(stays[1] == 0 && stays[4] == 0 && stays[5] == 0);
    assert_true(stays[2] == ZB_KEEP_MARK && stays[3] == ZB_KEEP_MARK); /* or it got the next one */
    assert_true(stays[6] == ZB_KEEP_BASE && stays[9] == (ZB_KEEP_LAST | ZB_KEEP_BASE));

    /* Its turn comes again when they are bookmarks already, and these stay. */
    mark_of(&snaps[0], &marks[0]);
    mark_of(&snaps[2], &marks[1]);
    mark_of(&snaps[3], &marks[2]);
    in.marks_count = 3;
    in.snaps = snaps + 4;
    in.snaps_count = 6;
    assert_int_equal(zb_rules_prune(&in, stays, marks_stay), 2);
    assert_true(stays[0] == 0 && stays[1] == 0 && stays[2] == ZB_KEEP_BASE);
    assert_true(!marks_stay[0] && marks_stay[1] && marks_stay[2]);

    /* It came on. */
    req.protect[0] = (struct zb_set_id){1, 9};
    req.base_seq = 9;
    (void)zb_rules_prune(&in, stays, marks_stay);
    assert_true(!marks_stay[0] && !marks_stay[1] && !marks_stay[2]);

    /* Nobody knows where it stands; and a bookmark of somebody's own. */
    req.protect[0] = (struct zb_set_id){0, 1};
    (void)zb_rules_prune(&in, stays, marks_stay);
    assert_true(marks_stay[0] && marks_stay[1] && marks_stay[2]);
    req.protect[0] = (struct zb_set_id){3, 3}; /* or nothing is where it is said to stand */
    (void)zb_rules_prune(&in, stays, marks_stay);
    assert_true(marks_stay[0] && marks_stay[1] && marks_stay[2]);
    req.protect[0] = (struct zb_set_id){1, 9};
    marks[0] = snaps[0]; /* a set's name, but without the prefix */
    (void)zb_rules_prune(&in, stays, marks_stay);
    assert_true(marks_stay[0] && !marks_stay[1]);

    /* What this node stands on itself is never a bookmark alone, however old it is. */
    in.snaps = snaps;
    in.snaps_count = 10;
    req.protect[1] = (struct zb_set_id){1, 2};
    (void)zb_rules_prune(&in, stays, marks_stay);
    assert_true(stays[1] == ZB_KEEP_BASE);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_receive),
        cmocka_unit_test(test_receive_forward),
        cmocka_unit_test(test_receive_first_copy),
        cmocka_unit_test(test_receive_dataset),
        cmocka_unit_test(test_prune),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_prune_while_catching_up),
        cmocka_unit_test(test_prune_to_bookmarks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
