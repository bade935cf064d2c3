/* What each of two engines says is in the way. */
#include "pair.h"

#include "agent/explain.h"
#include "agent/trouble.h"

#define OLD "zbaton-000001-00000001-20261122T064100Z"
#define FIRST "zbaton-000001-00000000-20261122T064100Z"
#define SETS "sets\tpool/web\t" FIRST "\t3 " FIRST "\n"

static json_t *said; /* of the last member */
static struct pair *P;

static void
on_done(void *ctx, json_t *member)
{
    (void)ctx;
    said = member;
}

static bool
is_said(const struct pair *w)
{
    (void)w;
    return said != NULL;
}

/* What the host says of itself; said. */
static void
explain(struct host *h)
{
    json_decref(said);
    said = NULL;
    zb_explain_here(&h->a, 0, on_done, NULL);
    assert_true(pair_until(P, is_said));
    assert_string_equal(json_string_value(json_object_get(said, "node")), h->conf.node);
}

/* The first line with this text in its cause; NULL. */
static const json_t *
line_of(const json_t *lines, const char *cause)
{
    for (size_t i = 0; i < json_array_size(lines); i++) {
        const json_t *line = json_array_get(lines, i);
        if (strstr(json_string_value(json_object_get(line, "cause")), cause) != NULL) {
            return line;
        }
    }
    return NULL;
}

static void
line_is(const json_t *lines, const char *about, const char *cause, const char *rule,
        const char *help)
{
    const json_t *line = line_of(lines, cause);
    if (line == NULL) {
        char *all = json_dumps(lines, JSON_INDENT(1));
        fail_msg("'%s' is not said: %s", cause, all);
    }
    assert_string_equal(json_string_value(json_object_get(line, "about")), about);
    assert_string_equal(json_string_value(json_object_get(line, "rule")), rule);
    assert_string_equal(json_string_value(json_object_get(line, "help")), help);
    assert_int_equal(json_is_true(json_object_get(line, "ok")), rule[0] == '\0');
}

static const json_t *
lines_said(void)
{
    return json_object_get(said, "lines");
}

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static int
setup(void **state)
{
    (void)pair_setup(state);
    P = *state;
    pair_declare(P);
    assert_true(pair_until(P, vm2_follows_vm1));
    for (int i = 0; i < PAIR_HOSTS; i++) {
        P->hosts[i].model.blockers = SETS;
    }
    return 0;
}

static int
teardown(void **state)
{
    json_decref(said);
    said = NULL;
    return pair_teardown(state);
}

static void
nothing_is_in_the_way(void **state)
{
    (void)state;
    explain(&P->hosts[0]);
    assert_int_equal(json_array_size(lines_said()), 3);
    line_is(lines_said(), "move", "movable to vm2", "", "");
    line_is(lines_said(), "replicate", "vm2 has set 1/", "", "");
    line_is(lines_said(), "prune", "prunable: 3 sets, the oldest 1/0 of 2026-11-22T06:41:00Z", "",
            "");
    explain(&P->hosts[1]);
    assert_string_equal(json_string_value(json_object_get(said, "role")), "follower");
    assert_int_equal(json_array_size(lines_said()), 2);
    line_is(lines_said(), "replicate", "follows vm1, has set 1/", "", "");
}

static void
what_the_keeper_names_is_said_with_the_command(void **state)
{
    (void)state;
    P->hosts[1].model.blockers = "hold\tpool/web\t" OLD "\tkeep\n"
                                 "clone\tpool/web\t" OLD "\tpool/mine\n"
                                 "rescue\tpool/web\t" OLD "\tweb-000002-20261122T064100Z\n"
                                 "mount\tpool/web/log\t\t/mnt/log\n"
                                 "device\tpool/web/disk\t\t/dev/zvol/pool/web/disk\n"
                                 "process\tpool/web/log\t\tpid 8 (sh) works in /mnt/log\n"
                                 "partial\tpool/web\t\t\n"
                                 "foreign\tpool/web/mine\t\t\n"
                                 "volume\tpool/web\t\t\n"
                                 "unfit\tpool/web/a:b\t\t\n"
                                 "of another kind\tx\ty\tz\n"
                                 "no fields at all\n" SETS;
    explain(&P->hosts[1]);
    line_is(lines_said(), "prune", "pool/web@" OLD " is held: keep", "A-hold",
            "zfs release keep pool/web@" OLD);
    line_is(lines_said(), "prune", "pool/web@" OLD " has a clone: pool/mine", "A-clone",
            "zfs promote pool/mine, or zfs destroy pool/mine");
    line_is(lines_said(), "prune", "is where rescue web-000002-20261122T064100Z hangs on",
            "A-rescue",
            "zbaton rescue drop web-000002-20261122T064100Z, when it is not needed any more");
    line_is(lines_said(), "replicate", "pool/web/log is mounted at /mnt/log", "A-mount",
            "umount /mnt/log");
    line_is(lines_said(), "replicate", "pool/web/disk has the device /dev/zvol/pool/web/disk",
            "A-mount", "close what has it open, then: zfs set volmode=none pool/web/disk");
    line_is(lines_said(), "replicate", "pid 8 (sh) works in /mnt/log", "A-process",
            "end it, or let it leave the tree");
    line_is(lines_said(), "replicate", "pool/web/mine is not zbaton's", "A-foreign",
            "zfs rename pool/web/mine to a place outside the tree");
    line_is(lines_said(), "replicate", "pool/web: no set holds a tree that is a volume itself",
            "A-unfit", "zfs rename pool/web");
    line_is(lines_said(), "replicate", "pool/web/a:b: no set holds a dataset of that name",
            "A-unfit", "zfs rename pool/web/a:b");
    assert_null(line_of(lines_said(), "token")); /* nothing failed: it is gone on with */
    assert_null(line_of(lines_said(), "prunable"));
    P->hosts[0].model.blockers = "process\tpool/web\t\tpid 8 (sh) works in /srv/web\n";
    explain(&P->hosts[0]);
    line_is(lines_said(), "move", "pid 8 (sh) works in /srv/web", "A-process",
            "end it, or let it leave the tree");
}

static bool
receiving_fails_again_and_again(const struct pair *w)
{
    const struct zb_trouble_at at = {0, ZB_TROUBLE_SHIP, host_other(&w->hosts[0])};
    const struct zb_trouble *t = zb_trouble_find(&w->hosts[0].a, &at);
    P->hosts[1].model.receive_fails_once = ZB_E_HELD;
    return t != NULL && t->count >= 2;
}

static void
failures_are_told_until_they_end(void **state)
{
    (void)state;
    P->hosts[0].model.written = true;
    host_command(&P->hosts[0], ZB_CMD_SNAPSHOT, ZB_NODE_NONE);
    assert_true(pair_until(P, receiving_fails_again_and_again));
    P->hosts[1].model.blockers = "partial\tpool/web\t\t\n" SETS;
    explain(&P->hosts[0]);
    line_is(lines_said(), "replicate", "sending failed 2 times since 20", "R-ship-failed",
            "zbaton explain web vm2");
    assert_non_null(line_of(lines_said(), "told to fail"));
    explain(&P->hosts[1]);
    line_is(lines_said(), "replicate", "receiving failed", "R-receive-failed", "");
    line_is(lines_said(), "replicate", "a token to go on from there", "A-partial",
            "zfs receive -A pool/web begins it anew");
    P->hosts[1].model.receive_fails_once = ZB_OK;
    assert_true(pair_until(P, vm2_follows_vm1));
    explain(&P->hosts[0]);
    assert_null(line_of(lines_said(), "failed"));
    explain(&P->hosts[1]);
    assert_null(line_of(lines_said(), "failed"));
}

static bool
version_2_is_in_force(const struct pair *w)
{
    return host_view(&w->hosts[0]).version == 2;
}

static void
the_freeze_is_said_once(void **state)
{
    struct zb_freeze freeze = {.service = "web", .reason = "kernel upgrade", .who = "root@vm1"};
    struct zb_freezes freezes = {.count = 1, .items = &freeze};
    struct zb_conf_service web = P->hosts[0].a.services[0].conf;
    struct zb_conf_services services = {.count = 1, .items = &web};
    (void)state;
    zb_agent_services_apply(&P->hosts[0].a, &services, &freezes, 2);
    assert_true(pair_until(P, version_2_is_in_force));
    explain(&P->hosts[0]);
    line_is(lines_said(), "move", "frozen by root@vm1 since 1970-01-01T00:00:00Z: kernel upgrade",
            "C-move-frozen", "zbaton thaw web");
    assert_null(line_of(lines_said(), "not to vm2"));
    assert_null(line_of(lines_said(), "movable"));
}

static void
a_target_that_cannot_be_is_named_with_its_rule(void **state)
{
    (void)state;
    zb_drive_peer_down(&P->hosts[0].a, "vm2", "cut");
    explain(&P->hosts[0]);
    line_is(lines_said(), "move", "not to vm2: the target is not reachable", "C-move-target-down",
            "zbaton node list; there: systemctl status zbaton");
    line_is(lines_said(), "move", "1 of 2 voting members can be reached from vm1",
            "C-failover-no-majority", "zbaton node list");
    line_is(lines_said(), "replicate", "vm2 is not reachable; it had set 1/", "A-peer-down",
            "zbaton node list; there: systemctl status zbaton");
}

static void
without_a_leader_it_says_who_could_take_it(void **state)
{
    (void)state;
    zb_drive_peer_down(&P->hosts[1].a, "vm1", "cut");
    explain(&P->hosts[1]);
    assert_non_null(line_of(lines_said(), "nobody leads"));
    line_is(lines_said(), "move", "vm2 cannot take it: no majority of the voters can be reached",
            "C-failover-no-majority", "zbaton node list; zbaton status web");
    line_is(lines_said(), "replicate", "there is no leader to receive from", "A-no-leader",
            "zbaton status");
}

/* Crafted: what is hard to bring about. */
static void
members_that_hold_back_are_named(void **state)
{
    struct host *vm1 = &P->hosts[0];
    struct zb_explain_facts f = {.a = &vm1->a, .leads = true};
    uint8_t vm2 = host_other(vm1);
    char blockers[] = "sets\tpool/web\t" OLD "\t30 zbaton-000001-00000020-20261122T064100Z\n";
    (void)state;
    f.view = host_view(vm1);
    zb_loss_gather(&vm1->a, 0, &f.view, &f.members);
    f.view.peers[vm2].report.granted_term = 9;
    f.members.members[1].set.id = (struct zb_set_id){1, 5};
    f.blockers = blockers;
    json_t *lines = zb_explain_lines(&f);
    line_is(lines, "replicate", "vm2 granted term 9 and follows no leader of a lower one", "M2",
            "zbaton failover --to vm1 web");
    line_is(lines, "prune", "vm2 stands on set 1/5: sets from there on stay for it", "S5",
            "zbaton explain web vm2");
    json_decref(lines);
    f.leads = false;
    f.view.leader = vm2;
    const struct zb_trouble_at rescue = {0, ZB_TROUBLE_RESCUE, vm1->a.self};
    const struct zb_trouble_at demote = {0, ZB_TROUBLE_DEMOTE, vm1->a.self};
    zb_trouble_put(&vm1->a, &rescue, ZB_E_HELD, "pid 8 (sh)");
    zb_trouble_put(&vm1->a, &demote, ZB_E_HELD, "pid 9 (sh)");
    lines = zb_explain_lines(&f);
    assert_null(line_of(lines, "failed")); /* neither is wanted any more */
    json_decref(lines);
    f.view.obs.beyond = true;
    f.view.role = ZB_ROLE_DEMOTING;
    lines = zb_explain_lines(&f);
    line_is(lines, "replicate", "this copy was written to after its newest set", "R-rejoin",
            "zbaton rejoin -n web vm1");
    line_is(lines, "replicate", "setting aside failed 1 time since 20", "R-rescue-failed", "");
    line_is(lines, "replicate", "unmounting failed 1 time since 20", "R-operation-failed", "");
    json_decref(lines);
    f.blockers_rc = ZB_E_SUSPENDED;
    zb_strcopy(f.blockers_msg, sizeof f.blockers_msg, "the pool of pool is suspended");
    f.blockers_left_off = 7;
    lines = zb_explain_lines(&f);
    line_is(lines, "prune", "the pool of pool is suspended", "A-blockers", "");
    line_is(lines, "prune", "and more than can be listed (7)", "A-blockers", "");
    json_decref(lines);
    zb_loss_close(&f.members);
}

static void
what_is_withdrawn_is_in_no_trouble(void **state)
{
    struct host *vm1 = &P->hosts[0];
    const struct zb_trouble_at at = {0, ZB_TROUBLE_PRUNE, vm1->a.self};
    const struct zb_trouble_at other = {0, ZB_TROUBLE_RESCUE, vm1->a.self};
    struct zb_conf_services none = {0};
    struct zb_freezes no_freezes = {0};
    (void)state;
    zb_trouble_put(&vm1->a, &at, ZB_E_HELD, "one");
    zb_trouble_put(&vm1->a, &other, ZB_E_HELD, "two");
    zb_trouble_put(&vm1->a, &at, ZB_E_NOSPACE, "three");
    assert_int_equal(zb_trouble_find(&vm1->a, &at)->count, 2);
    assert_string_equal(zb_trouble_find(&vm1->a, &at)->text, "three");
    zb_trouble_put(&vm1->a, &at, ZB_OK, "");
    assert_null(zb_trouble_find(&vm1->a, &at));
    explain(vm1);
    line_is(lines_said(), "prune", "prunable", "", "");
    zb_agent_services_apply(&vm1->a, &none, &no_freezes, 2);
    assert_null(zb_trouble_find(&vm1->a, &other));
    zb_trouble_put(&vm1->a, &at, ZB_E_HELD, "too late");
    assert_null(zb_trouble_find(&vm1->a, &at));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        T(nothing_is_in_the_way),
        T(what_the_keeper_names_is_said_with_the_command),
        T(failures_are_told_until_they_end),
        T(the_freeze_is_said_once),
        T(a_target_that_cannot_be_is_named_with_its_rule),
        T(without_a_leader_it_says_who_could_take_it),
        T(members_that_hold_back_are_named),
        T(what_is_withdrawn_is_in_no_trouble),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
