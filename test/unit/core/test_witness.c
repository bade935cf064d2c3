/* etcd as a voter: what its record becomes by each message, and what is answered. */
#include "core/witness.h"
#include "unit.h"

#define VM1 0
#define VM2 1

static struct zb_witness_record record, next;
static struct zb_core_msg answer;

/* Led by vm1 in term 5, under version 3 of the list. */
static int
setup(void **state)
{
    (void)state;
    zb_witness_record_init(&record);
    record.version = 3;
    record.granted_term = record.learned_term = 5;
    record.granted_to = record.learned_leader = VM1;
    record.suspects = 1u << VM1;
    record.lineage.count = 1;
    record.lineage.lines[0].term = 5;
    return 0;
}

static struct zb_core_msg
ask_of(uint64_t term)
{
    return (struct zb_core_msg){
        .kind = ZB_MSG_GRANT_ASK,
        .term = term,
        .nonce = 77,
        .version = 3,
        .failover = true,
        .released_to = ZB_NODE_NONE,
        .seen = {.granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE}};
}

static bool
decide(uint8_t from, const struct zb_core_msg *msg)
{
    return zb_witness_decide(&record, from, msg, &next, &answer);
}

static void
test_a_term_is_granted_once(void **state)
{
    struct zb_core_msg ask = ask_of(6);

    (void)state;
    assert_true(decide(VM2, &ask));
    assert_int_equal(answer.kind, ZB_MSG_GRANT_ANSWER);
    assert_int_equal(answer.rc, ZB_OK);
    assert_int_equal(answer.nonce, 77);
    assert_int_equal(answer.granted_term, 6);
    assert_int_equal(answer.suspects, 1u << VM1 | 1u << VM2); /* M3 */
    assert_int_equal(answer.learned_term, 5);
    assert_int_equal(answer.lineage.count, 1); /* M8 */
    record = next;
    assert_false(decide(VM2, &ask)); /* the same once more */
    assert_int_equal(answer.rc, ZB_OK);
    assert_false(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_E_STALE);
    assert_int_equal(answer.granted_term, 6);
}

static void
test_terms_that_are_over_are_refused(void **state)
{
    struct zb_core_msg ask = ask_of(5);

    (void)state;
    assert_false(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_E_STALE);
    ask = ask_of(4);
    assert_false(decide(VM2, &ask));
    assert_int_equal(answer.rc, ZB_E_STALE);
}

static void
test_only_the_last_leader_restarts(void **state)
{
    struct zb_core_msg ask = ask_of(6);

    (void)state;
    ask.failover = false;
    ask.established_term = 5;
    assert_false(decide(VM2, &ask));
    assert_int_equal(answer.rc, ZB_E_STALE);
    assert_true(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_OK);
    ask.established_term = 4; /* who led before it */
    assert_false(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_E_STALE);
}

static void
test_a_release_is_taken(void **state)
{
    struct zb_core_msg ask = ask_of(6);

    (void)state;
    ask.failover = false;
    ask.released_term = 6;
    ask.released_to = VM2;
    assert_true(decide(VM2, &ask));
    assert_int_equal(answer.rc, ZB_OK);
}

static void
test_an_older_list_is_refused_and_a_newer_one_is_kept(void **state)
{
    struct zb_core_msg ask = ask_of(6);

    (void)state;
    ask.version = 2;
    assert_false(decide(VM2, &ask));
    assert_int_equal(answer.rc, ZB_E_REFUSED);
    ask.version = 4;
    assert_true(decide(VM2, &ask));
    assert_int_equal(answer.rc, ZB_OK);
    assert_int_equal(next.version, 4);
}

static void
test_a_report_teaches_the_leader_and_ends_the_suspects_before(void **state)
{
    struct zb_core_msg report = {
        .kind = ZB_MSG_REPORT,
        .version = 4,
        .learned_term = 7,
        .learned_leader = VM2,
        .lineage = {.count = 2, .lines = {{.term = 5}, {.term = 7}}},
        .seen = {.granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE}};

    (void)state;
    assert_true(decide(VM1, &report));
    assert_int_equal(answer.kind, ZB_MSG_REPORT);
    assert_int_equal(next.learned_term, 7);
    assert_int_equal(next.learned_leader, VM2);
    assert_int_equal(next.suspects, 1u << VM2);
    assert_int_equal(next.lineage.count, 2);
    assert_int_equal(next.version, 4);
    record = next;
    assert_false(decide(VM1, &report)); /* nothing new */
    record.granted_term = 8;
    report.learned_term = 7; /* no leader of before what it granted since */
    record.learned_term = 5;
    record.learned_leader = VM1;
    assert_false(decide(VM1, &report));
}

static void
test_what_others_remember_of_a_record_that_went_back_holds(void **state)
{
    struct zb_core_msg ask = ask_of(6);

    (void)state;
    ask.seen = (struct zb_core_seen){.granted_term = 6,
                                     .granted_to = VM2,
                                     .learned_term = 5,
                                     .learned_leader = VM1,
                                     .suspects = 1u << VM1 | 1u << VM2};
    assert_true(decide(VM1, &ask)); /* it granted that term to vm2 before */
    assert_int_equal(answer.rc, ZB_E_STALE);
    assert_int_equal(next.granted_term, 6);
    assert_int_equal(next.granted_to, VM2);
    assert_int_equal(next.suspects, 1u << VM1 | 1u << VM2);
    ask.term = 7;
    assert_true(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_OK);
    assert_int_equal(answer.suspects, 1u << VM1 | 1u << VM2);
}

/* Without its history nothing is granted, but by an order that accepts the loss. */
static void
test_a_leader_that_was_forgotten_is_learned_first(void **state)
{
    struct zb_core_msg ask = ask_of(8);
    struct zb_core_msg report = {.kind = ZB_MSG_REPORT,
                                 .version = 3,
                                 .learned_term = 7,
                                 .learned_leader = VM2,
                                 .lineage = {.count = 1, .lines = {{.term = 7}}}};

    (void)state;
    ask.seen = (struct zb_core_seen){.granted_term = 7,
                                     .granted_to = VM2,
                                     .learned_term = 7,
                                     .learned_leader = VM2,
                                     .suspects = 1u << VM2};
    assert_false(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_E_BUSY);
    ask.allow_loss = true;
    assert_true(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_OK);
    assert_int_equal(answer.suspects, 1u << VM1 | 1u << VM2);
    ask.allow_loss = false;
    report.seen = ask.seen;
    assert_true(decide(VM2, &report));
    record = next;
    assert_int_equal(record.learned_term, 7);
    assert_true(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_OK);
}

static void
test_what_is_no_nodes_is_not_answered(void **state)
{
    struct zb_core_msg ask = ask_of(6);

    (void)state;
    assert_false(decide(ZB_NODE_WITNESS, &ask));
    assert_int_equal(answer.kind, 0);
    ask.kind = ZB_MSG_RELEASE_ASK;
    assert_false(decide(VM2, &ask));
    assert_int_equal(answer.kind, 0);
}

static void
test_a_service_that_was_withdrawn_begins_anew(void **state)
{
    struct zb_core_msg ask = ask_of(1);

    (void)state;
    assert_false(zb_witness_withdraw(&record, 3, &next)); /* it is of that version */
    assert_true(zb_witness_withdraw(&record, 4, &next));
    record = next;
    assert_false(decide(VM1, &ask)); /* by version 3 */
    assert_int_equal(answer.rc, ZB_E_REFUSED);
    /* The former leader, which has not heard of it, reports late. */
    struct zb_core_msg late = {
        .kind = ZB_MSG_REPORT,
        .version = 3,
        .learned_term = 5,
        .learned_leader = VM2,
        .released_to = ZB_NODE_NONE,
        .seen = {.granted_to = ZB_NODE_NONE, .learned_leader = ZB_NODE_NONE}};
    assert_false(decide(VM2, &late));
    assert_int_equal(next.learned_term, 0);
    ask.version = 5;
    assert_true(decide(VM1, &ask));
    assert_int_equal(answer.rc, ZB_OK);
    assert_int_equal(answer.suspects, 1u << VM1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_a_term_is_granted_once, setup),
        cmocka_unit_test_setup(test_terms_that_are_over_are_refused, setup),
        cmocka_unit_test_setup(test_only_the_last_leader_restarts, setup),
        cmocka_unit_test_setup(test_a_release_is_taken, setup),
        cmocka_unit_test_setup(test_an_older_list_is_refused_and_a_newer_one_is_kept, setup),
        cmocka_unit_test_setup(test_a_report_teaches_the_leader_and_ends_the_suspects_before,
                               setup),
        cmocka_unit_test_setup(test_what_others_remember_of_a_record_that_went_back_holds, setup),
        cmocka_unit_test_setup(test_a_leader_that_was_forgotten_is_learned_first, setup),
        cmocka_unit_test_setup(test_a_service_that_was_withdrawn_begins_anew, setup),
        cmocka_unit_test_setup(test_what_is_no_nodes_is_not_answered, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
