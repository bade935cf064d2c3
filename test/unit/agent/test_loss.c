/* What a failover would lose at most: stories of three members, vm1 having led term 12. */
#include "unit.h"

#include "agent/loss.h"

#define NOW INT64_C(1795329667) /* 2026-11-22T06:41:07Z */

static const struct zb_lineage lineage = {
    .count = 2, .lines = {{.term = 11, .fork = {10, 7}}, {.term = 12, .fork = {11, 345}}}};

static void
member(struct zb_loss *loss, const char *node, bool reachable, struct zb_set_id id)
{
    struct zb_loss_member *m = &loss->members[loss->members_count++];
    *m = (struct zb_loss_member){.reachable = reachable,
                                 .rests = reachable,
                                 .writer = strcmp(node, "vm1") == 0,
                                 .led_last = strcmp(node, "vm1") == 0,
                                 .set = {.id = id},
                                 .time_s = NOW - 37,
                                 .written_bytes = -1};
    zb_strcopy(m->node, sizeof m->node, node);
}

/* vm1 is gone; vm2 and vm3 hold these sets of term 12. */
static struct zb_loss
lost_leader(uint64_t vm1, uint64_t vm2, uint64_t vm3)
{
    struct zb_loss loss = {.service = "web", .term = 12, .lineage = &lineage, .now_s = NOW};
    member(&loss, "vm1", false, (struct zb_set_id){12, vm1});
    member(&loss, "vm2", true, (struct zb_set_id){12, vm2});
    member(&loss, "vm3", true, (struct zb_set_id){12, vm3});
    loss.to = 1;
    return loss;
}

static void
the_newest_that_is_reachable_is_chosen(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(9, 5, 6);
    assert_int_equal(zb_loss_choose(&loss), 2);
    loss.members[2].undrilled = true; /* that it could lead is refuted */
    assert_int_equal(zb_loss_choose(&loss), 1);
    loss.members[2].undrilled = false;
    loss.members[2].keyless = true; /* it cannot mount what it holds */
    assert_int_equal(zb_loss_choose(&loss), 1);
    loss.members[2].keyless = false;
    loss.members[1].set.id.seq = 6;
    assert_int_equal(zb_loss_choose(&loss), 1); /* the first of equals */
    loss.members[1].backup = true;
    assert_int_equal(zb_loss_choose(&loss), 2);
    loss.members[2].modified = true;
    assert_int_equal(zb_loss_choose(&loss), ZB_LOSS_NONE);
    loss.members[0].reachable = true; /* it came back, and does not lead */
    assert_int_equal(zb_loss_choose(&loss), 0);
    loss.members[0].leads = true;
    assert_int_equal(zb_loss_choose(&loss), ZB_LOSS_NONE);
}

static void
a_set_beside_the_history_is_not_chosen(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(9, 5, 6);
    loss.members[2].set.id = (struct zb_set_id){11, 400}; /* after the fork of term 12 */
    assert_int_equal(zb_loss_choose(&loss), 1);
    zb_loss_find(&loss);
    assert_true(loss.members[2].diverged);
    assert_int_equal(loss.members[2].behind_sets, -1);
    assert_int_equal(loss.forward, ZB_LOSS_NONE);
    loss.members[1].set.id = (struct zb_set_id){0, 0};
    assert_int_equal(zb_loss_choose(&loss), ZB_LOSS_NONE);
}

static void
what_the_lost_leader_wrote_since(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(346, 346, 345);
    zb_loss_find(&loss);
    assert_string_equal(loss.lost, "what vm1 wrote after set 12/346 of 06:40:30, 37 s ago");
    assert_int_equal(loss.forward, ZB_LOSS_NONE);
    assert_int_equal(loss.members[2].behind_sets, 1);
    assert_true(loss.members[0].may_be_ahead);
    assert_false(loss.members[1].may_be_ahead || loss.members[2].may_be_ahead);
}

static void
the_candidate_is_brought_forward_first(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(350, 345, 348);
    zb_loss_find(&loss);
    assert_int_equal(loss.forward, 2);
    assert_int_equal(loss.base.id.seq, 348);
    assert_non_null(strstr(loss.lost, "after set 12/348"));
    assert_int_equal(loss.members[1].behind_sets, 5); /* the lost one's set is known */
    loss.members[2].reachable = false;
    loss.members[1].time_s = NOW - 86400;
    zb_loss_find(&loss);
    assert_int_equal(loss.forward, ZB_LOSS_NONE);
    assert_string_equal(loss.lost,
                        "what vm1 wrote after set 12/345 of 2026-11-21 06:41:07, 86400 s ago");
}

static void
sets_of_several_terms_are_counted_where_they_are_known(void **state)
{
    (void)state;
    struct zb_history_set sets[4] = {
        {.ref.id = {12, 1}}, {.ref.id = {12, 0}}, {.ref.id = {11, 345}}, {.ref.id = {11, 344}}};
    struct zb_loss loss = lost_leader(1, 1, 0);
    loss.sets = sets;
    loss.sets_count = 4;
    loss.members[2].set.id = (struct zb_set_id){11, 344};
    zb_loss_find(&loss);
    assert_int_equal(loss.members[2].behind_sets, 3);
    loss.members[2].set.id = (struct zb_set_id){11, 12};
    zb_loss_find(&loss);
    assert_int_equal(loss.members[2].behind_sets, -1);
}

static void
several_may_have_written(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(9, 5, 5);
    member(&loss, "vm4", false, (struct zb_set_id){0, 0});
    loss.members[3].writer = loss.members[2].writer = true;
    zb_loss_find(&loss);
    /* vm3 is seen at rest with what vm2 has too. */
    assert_non_null(strstr(loss.lost, "what vm1 and vm4 wrote after"));
    loss.members[2].rests = false;
    zb_loss_find(&loss);
    assert_non_null(strstr(loss.lost, "what vm1, vm3 and vm4 wrote after"));
}

/* vm1 is there, at rest and with nothing, as after its pool was lost. */
static void
what_went_with_the_disk_is_lost(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(0, 346, 345);
    loss.members[0].reachable = true;
    loss.members[0].set.id = (struct zb_set_id){0, 0};
    zb_loss_find(&loss);
    assert_string_equal(loss.lost, "what vm1 wrote after set 12/346 of 06:40:30, 37 s ago");
    loss.to = 0; /* it is to lead itself again, from what vm2 has */
    zb_loss_find(&loss);
    assert_int_equal(loss.forward, 1);
    assert_string_equal(loss.lost, "what vm1 wrote after set 12/346 of 06:40:30, 37 s ago");
}

static void
nothing_is_lost_of_who_is_seen_at_rest(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(5, 5, 5);
    loss.members[0].reachable = loss.members[0].rests = true;
    zb_loss_find(&loss);
    assert_string_equal(loss.lost, "nothing");
    loss.members[0].modified = true;
    zb_loss_find(&loss);
    assert_non_null(strstr(loss.lost, "what vm1 wrote"));
    loss.to = 0; /* it takes the lead again: its own writes stay */
    zb_loss_find(&loss);
    assert_string_equal(loss.lost, "nothing");
}

/* The history's sentence, when the grants told of a suspect that was not known before. */
static void
who_has_to_be_fenced_may_have_written(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(5, 5, 5);
    char text[sizeof loss.lost];
    loss.members[0].reachable = loss.members[0].rests = true;
    zb_loss_find(&loss);
    assert_string_equal(loss.lost, "nothing");
    zb_loss_suspect(&loss, "vm3");
    zb_loss_suspect(&loss, "vm9");
    zb_loss_text(&loss, loss.base.id, -1, text, sizeof text);
    assert_string_equal(text, "what vm3 wrote after set 12/5");
}

static void
sets_of_earlier_leaders_are_lost_too(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(5, 5, 5);
    loss.fork = (struct zb_set_id){11, 345};
    loss.members[1].set.id = loss.members[2].set.id = loss.fork;
    zb_loss_find(&loss);
    assert_non_null(strstr(loss.lost, "what vm1 wrote after set 11/345"));
    loss.members[1].set.id.seq = loss.members[2].set.id.seq = 344;
    zb_loss_find(&loss);
    assert_non_null(strstr(loss.lost, "what vm1 and who led before wrote after set 11/344"));
    loss.members[0].rests = true; /* it has not got what others wrote before it led */
    loss.members[0].set.id.seq = 0;
    loss.members[0].set.id.term = 0;
    zb_loss_find(&loss);
    assert_non_null(strstr(loss.lost, "what who led before wrote after set 11/344"));
}

static void
without_any_set_it_is_everything(void **state)
{
    (void)state;
    struct zb_loss loss = lost_leader(5, 5, 5);
    loss.members[1].set.id = loss.members[2].set.id = (struct zb_set_id){0, 0};
    zb_loss_find(&loss);
    assert_string_equal(loss.lost, "everything that vm1 wrote");
    assert_int_equal(zb_loss_choose(&loss), ZB_LOSS_NONE);
}

/* vm1 (node 0) led term 12, vm3 (node 2) was granted a term since, and vm2 (node 1) is asked: what
 * it knows of one of them by that one's report. */
static bool
rests_by_report(uint8_t node, enum zb_role role, uint64_t learned_term, bool up)
{
    static struct zb_core_view view;
    struct zb_loss loss = {0};
    struct zb_loss_member m = {0};

    view = (struct zb_core_view){.role = ZB_ROLE_FOLLOWER};
    view.obs.learned_term = 12;
    view.obs.learned_leader = 0;
    view.obs.suspects = 1u << 0 | 1u << 2;
    view.peers[node].known = true;
    view.peers[node].up = up;
    view.peers[node].report.role = role;
    view.peers[node].report.learned_term = learned_term;
    zb_loss_terms_look(&loss, &view);
    assert_int_equal(loss.term, 12);
    assert_true(zb_loss_member_look(&loss, &view, 1, node, &m));
    assert_true(m.writer);
    assert_int_equal(m.reachable, up);
    return m.rests;
}

static void
only_who_said_so_in_that_term_is_at_rest(void **state)
{
    (void)state;
    assert_true(rests_by_report(2, ZB_ROLE_FOLLOWER, 12, true));
    assert_true(rests_by_report(2, ZB_ROLE_RELEASED, 12, true));
    assert_false(rests_by_report(2, ZB_ROLE_FOLLOWER, 12, false));
    assert_false(rests_by_report(2, ZB_ROLE_FOLLOWER, 11, true)); /* before it led */
    assert_false(rests_by_report(2, ZB_ROLE_PROMOTING, 12, true));
    assert_false(rests_by_report(2, ZB_ROLE_STOPPING, 12, true));
    assert_false(rests_by_report(2, ZB_ROLE_LEADING, 12, true));
}

/* Another tool's snapshot may hold what it wrote after its newest set: its copy is not `modified`.
 */
static void
the_last_leader_is_at_rest_only_when_it_released(void **state)
{
    (void)state;
    assert_true(rests_by_report(0, ZB_ROLE_RELEASED, 12, true));
    assert_false(rests_by_report(0, ZB_ROLE_FOLLOWER, 12, true));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_newest_that_is_reachable_is_chosen),
        cmocka_unit_test(a_set_beside_the_history_is_not_chosen),
        cmocka_unit_test(what_the_lost_leader_wrote_since),
        cmocka_unit_test(the_candidate_is_brought_forward_first),
        cmocka_unit_test(sets_of_several_terms_are_counted_where_they_are_known),
        cmocka_unit_test(several_may_have_written),
        cmocka_unit_test(what_went_with_the_disk_is_lost),
        cmocka_unit_test(nothing_is_lost_of_who_is_seen_at_rest),
        cmocka_unit_test(only_who_said_so_in_that_term_is_at_rest),
        cmocka_unit_test(the_last_leader_is_at_rest_only_when_it_released),
        cmocka_unit_test(who_has_to_be_fenced_may_have_written),
        cmocka_unit_test(sets_of_earlier_leaders_are_lost_too),
        cmocka_unit_test(without_any_set_it_is_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
