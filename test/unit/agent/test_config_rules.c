#include "unit.h"

#include "agent/config_rules.h"

static struct zb_config_ballot
ballot(uint64_t round, const char *node)
{
    struct zb_config_ballot b = {.round = round};

    zb_strcopy(b.node, sizeof b.node, node);
    return b;
}

static struct zb_config_acceptor
acceptor_at(uint64_t committed, const char *hash)
{
    struct zb_config_acceptor a = {0};
    bool mismatch;

    assert_true(zb_config_rules_commit(&a, committed, hash, &mismatch));
    return a;
}

static void
test_answers_only_for_the_next_version(void **state)
{
    (void)state;
    struct zb_config_acceptor a = acceptor_at(4, "four");
    struct zb_config_ballot b = ballot(1, "vm1");

    assert_int_equal(zb_config_rules_ask(&a, 4, &b), ZB_CONFIG_AHEAD);
    assert_int_equal(zb_config_rules_ask(&a, 6, &b), ZB_CONFIG_BEHIND);
    assert_int_equal(zb_config_rules_propose(&a, 3, &b, "x"), ZB_CONFIG_AHEAD);
    assert_int_equal(a.promised.round, 0);
    assert_int_equal(zb_config_rules_ask(&a, 5, &b), ZB_CONFIG_YES);
}

static void
test_two_proposers_of_one_version(void **state)
{
    (void)state;
    struct zb_config_acceptor a = acceptor_at(4, "four");
    struct zb_config_ballot low = ballot(1, "vm1");
    struct zb_config_ballot high = ballot(1, "vm2");

    assert_int_equal(zb_config_rules_ask(&a, 5, &low), ZB_CONFIG_YES);
    assert_int_equal(zb_config_rules_ask(&a, 5, &high), ZB_CONFIG_YES);
    assert_int_equal(zb_config_rules_propose(&a, 5, &low, "low"), ZB_CONFIG_OUTBID);
    assert_int_equal(zb_config_rules_propose(&a, 5, &high, "high"), ZB_CONFIG_YES);
    assert_string_equal(a.accepted_hash, "high");
    assert_string_equal(a.accepted.node, "vm2");
    /* A replay changes nothing, a lower ballot is still refused. */
    assert_int_equal(zb_config_rules_propose(&a, 5, &high, "high"), ZB_CONFIG_YES);
    assert_int_equal(zb_config_rules_ask(&a, 5, &low), ZB_CONFIG_OUTBID);
}

static void
test_commit_forgets_the_agreement_before_it(void **state)
{
    (void)state;
    struct zb_config_acceptor a = acceptor_at(4, "four");
    struct zb_config_ballot b = ballot(7, "vm1");
    bool mismatch;

    assert_int_equal(zb_config_rules_propose(&a, 5, &b, "five"), ZB_CONFIG_YES);
    assert_true(zb_config_rules_commit(&a, 7, "seven", &mismatch));
    assert_int_equal(a.accepted.round, 0);
    assert_int_equal(a.promised.round, 0);
    assert_false(zb_config_rules_commit(&a, 7, "seven", &mismatch));
    assert_false(mismatch);
    assert_false(zb_config_rules_commit(&a, 7, "other", &mismatch));
    assert_true(mismatch);
    assert_false(zb_config_rules_commit(&a, 5, "old", &mismatch));
    assert_false(mismatch);
    assert_string_equal(a.committed_hash, "seven");
}

static void
test_round_takes_the_highest_accepted_text(void **state)
{
    (void)state;
    struct zb_config_round r;
    struct zb_config_ballot mine = ballot(5, "vm1");
    struct zb_config_ballot none = {0};
    struct zb_config_ballot older = ballot(2, "vm3");
    struct zb_config_ballot newer = ballot(3, "vm2");

    zb_config_round_begin(&r, 5, &mine, 0x1f);
    assert_false(zb_config_round_promise(&r, 0, &older));
    assert_false(zb_config_round_promise(&r, 0, &older)); /* twice is once */
    assert_false(zb_config_round_promise(&r, 9, &newer)); /* not an elector */
    assert_false(zb_config_round_promise(&r, 3, &newer));
    assert_false(zb_config_round_accept(&r, 0)); /* not proposed yet */
    assert_true(zb_config_round_promise(&r, 4, &none));
    assert_int_equal(r.best.round, 3);
    assert_int_equal(r.best_node, 3);
    assert_false(zb_config_round_accept(&r, 0));
    assert_false(zb_config_round_accept(&r, 1));
    assert_true(zb_config_round_accept(&r, 2));
    assert_false(zb_config_round_accept(&r, 3)); /* decided once */
}

static void
test_one_node_decides_alone(void **state)
{
    (void)state;
    struct zb_config_round r;
    struct zb_config_ballot mine = ballot(1, "vm1");
    struct zb_config_ballot none = {0};

    zb_config_round_begin(&r, 2, &mine, 1u << 0);
    assert_true(zb_config_round_promise(&r, 0, &none));
    assert_true(zb_config_round_accept(&r, 0));
    assert_int_equal(zb_config_majority(0x7), 2);
    assert_int_equal(zb_config_majority(0xf), 3);
}

/*
 * Random proposers, losses and crashes over five acceptors: at most one text is ever decided.
 * A proposer crashes by never going on; acceptors keep their state (it is durable).
 */
#define SIM_NODES 5u
#define SIM_PROPOSERS 4u

struct sim_proposer {
    struct zb_config_round round;
    char value[ZB_CONFIG_HASH_SIZE];
    bool active;
};

static uint64_t sim_seed;

static unsigned
sim_random(unsigned below)
{
    sim_seed = sim_seed * 6364136223846793005u + 1442695040888963407u;
    return (unsigned)(sim_seed >> 33) % below;
}

static void
sim_proposer_start(struct sim_proposer *p, struct zb_config_acceptor *own_acceptor, unsigned self)
{
    char name[8];

    snprintf(name, sizeof name, "vm%u", self);
    struct zb_config_ballot b = ballot(own_acceptor->promised.round + 1 + sim_random(2), name);

    assert_int_equal(zb_config_rules_ask(own_acceptor, 5, &b), ZB_CONFIG_YES);
    zb_config_round_begin(&p->round, 5, &b, (1u << SIM_NODES) - 1);
    snprintf(p->value, sizeof p->value, "%u-%llu", self, (unsigned long long)b.round);
    p->active = true;
}

/* One exchange of p with acceptor `to`, either message may get lost. */
static void
sim_exchange(struct sim_proposer *p, struct zb_config_acceptor *acceptors, unsigned to,
             char *decided)
{
    struct zb_config_acceptor *a = &acceptors[to];

    if (p->round.phase == ZB_CONFIG_ASKING) {
        enum zb_config_answer answer = zb_config_rules_ask(a, 5, &p->round.ballot);
        if (answer != ZB_CONFIG_YES || sim_random(4) == 0) {
            return;
        }
        struct zb_config_ballot before = p->round.best;
        zb_config_round_promise(&p->round, (uint8_t)to, &a->accepted);
        if (zb_config_ballot_cmp(&p->round.best, &before) > 0) {
            snprintf(p->value, sizeof p->value, "%s", a->accepted_hash);
        }
    } else if (p->round.phase == ZB_CONFIG_PROPOSING) {
        enum zb_config_answer answer = zb_config_rules_propose(a, 5, &p->round.ballot, p->value);
        if (answer != ZB_CONFIG_YES || sim_random(4) == 0) {
            return;
        }
        if (zb_config_round_accept(&p->round, (uint8_t)to)) {
            if (decided[0] == '\0') {
                snprintf(decided, ZB_CONFIG_HASH_SIZE, "%s", p->value);
            }
            assert_string_equal(decided, p->value);
        }
    }
}

static void
test_random_runs_decide_one_text(void **state)
{
    (void)state;
    unsigned decided_runs = 0;

    for (unsigned run = 0; run < 3000; run++) {
        struct zb_config_acceptor acceptors[SIM_NODES];
        struct sim_proposer proposers[SIM_PROPOSERS] = {0};
        char decided[ZB_CONFIG_HASH_SIZE] = "";

        sim_seed = run + 1;
        for (unsigned i = 0; i < SIM_NODES; i++) {
            acceptors[i] = acceptor_at(4, "four");
        }
        for (unsigned step = 0; step < 150; step++) {
            unsigned i = sim_random(SIM_PROPOSERS);
            if (!proposers[i].active || sim_random(25) == 0) {
                sim_proposer_start(&proposers[i], &acceptors[i], i);
            } else {
                sim_exchange(&proposers[i], acceptors, sim_random(SIM_NODES), decided);
            }
        }
        decided_runs += decided[0] != '\0';
    }
    assert_in_range(decided_runs, 1000, 3000); /* otherwise nothing was tested */
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_only_for_the_next_version),
        cmocka_unit_test(test_two_proposers_of_one_version),
        cmocka_unit_test(test_commit_forgets_the_agreement_before_it),
        cmocka_unit_test(test_round_takes_the_highest_accepted_text),
        cmocka_unit_test(test_one_node_decides_alone),
        cmocka_unit_test(test_random_runs_decide_one_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
