/* When the voters of a service may change: vm1 to vm3 vote, and this node is vm2. */
#include "unit.h"

#include "agent/voters.h"

#define SELF 1
#define MEMBERS 7u

static struct zb_core_view view;

/* All are up and have told; vm1 leads term 12, which all granted. */
static int
vm1_leads(void **state)
{
    (void)state;
    view = (struct zb_core_view){.leader = 0, .term = 12, .version = 9};
    view.obs.granted_term = 12;
    view.obs.suspects = 1;
    for (unsigned n = 0; n < 3; n++) {
        view.peers[n].up = view.peers[n].known = n != SELF;
        view.peers[n].report.granted_term = 12;
        view.peers[n].report.suspects = n != SELF;
        view.peers[n].report.version = 9;
    }
    return 0;
}

static void
vm1_is_gone(void)
{
    view.leader = ZB_NODE_NONE;
    view.term = 0;
    view.peers[0].up = false;
}

static void
who_leads_stays_a_voter(void **state)
{
    (void)state;
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 0), ZB_VOTER_OUT_LEADS);
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 2), ZB_VOTER_OUT_MAY);
}

/* Whoever led before a leader is over, though not all have heard of that. */
static void
who_led_before_may_go(void **state)
{
    (void)state;
    view.peers[2].report.suspects = 1u << SELF;
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, SELF), ZB_VOTER_OUT_MAY);
}

static void
who_may_have_led_last_stays_while_nobody_is_seen_to_lead(void **state)
{
    (void)state;
    vm1_is_gone();
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 0), ZB_VOTER_OUT_SUSPECT);
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 2), ZB_VOTER_OUT_MAY);
    view.peers[0].report.suspects |= 1u << 2; /* vm1 had granted a term to vm3 */
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 2), ZB_VOTER_OUT_SUSPECT);
}

/* A later term than the leader's may be led elsewhere. */
static void
a_leader_with_an_older_term_is_not_the_last(void **state)
{
    (void)state;
    view.peers[2].report.granted_term = 13;
    view.peers[2].report.suspects = 1u | 1u << 2;
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 2), ZB_VOTER_OUT_SUSPECT);
}

static void
who_is_up_tells_first(void **state)
{
    (void)state;
    vm1_is_gone();
    view.obs.suspects = view.peers[0].report.suspects = view.peers[2].report.suspects = 0;
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 0), ZB_VOTER_OUT_MAY);
    view.peers[2].known = false;
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS, 0), ZB_VOTER_OUT_UNHEARD);
    assert_int_equal(zb_voter_out(&view, SELF, MEMBERS & ~(1u << 2), 0), ZB_VOTER_OUT_MAY);
}

static void
a_majority_of_the_voters_knows_the_list(void **state)
{
    (void)state;
    assert_true(zb_voters_know(&view, SELF, MEMBERS, 9));
    assert_false(zb_voters_know(&view, SELF, MEMBERS, 10));
    view.peers[0].report.version = 8;
    assert_true(zb_voters_know(&view, SELF, MEMBERS, 9));
    view.peers[2].known = false;
    assert_false(zb_voters_know(&view, SELF, MEMBERS, 9));
    assert_false(zb_voters_know(&view, SELF, 1u | 1u << SELF, 9)); /* one of two */
    assert_false(zb_voters_know(&view, SELF, 1u, 9)); /* vm1 alone: this node does not count */
    assert_true(zb_voters_know(&view, SELF, 1u << SELF, 9));
}

static void
the_witness_knows_the_list_as_it_was_told(void **state)
{
    const uint32_t voters = 1u | 1u << SELF | 1u << ZB_NODE_WITNESS;

    (void)state;
    view.peers[0].known = false;
    assert_false(zb_voters_know(&view, SELF, voters, 9));
    view.peers[ZB_NODE_WITNESS].known = true;
    view.peers[ZB_NODE_WITNESS].report.version = 8;
    assert_false(zb_voters_know(&view, SELF, voters, 9));
    view.peers[ZB_NODE_WITNESS].report.version = 9;
    assert_true(zb_voters_know(&view, SELF, voters, 9));
}

/* What was known once stays so. */
static void
who_told_and_is_away_counts(void **state)
{
    (void)state;
    view.peers[0].up = view.peers[2].up = false;
    assert_true(zb_voters_know(&view, SELF, MEMBERS, 9));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup(f, vm1_leads)
        T(who_leads_stays_a_voter),
        T(who_led_before_may_go),
        T(who_may_have_led_last_stays_while_nobody_is_seen_to_lead),
        T(a_leader_with_an_older_term_is_not_the_last),
        T(who_is_up_tells_first),
        T(a_majority_of_the_voters_knows_the_list),
        T(the_witness_knows_the_list_as_it_was_told),
        T(who_told_and_is_away_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
