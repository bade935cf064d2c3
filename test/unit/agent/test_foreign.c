/* Which copies of other tools' snapshots a leader still has: what it answers, and how that comes to
 * the follower's next PRUNE. */
#include "pair.h"

#include <inttypes.h>

#include "agent/foreign.h"

#define UUID_A "0a2b1c3d-0000-4000-8000-00000000000a"
#define UUID_B "0a2b1c3d-0000-4000-8000-00000000000b"

static struct pair *P;

/* --- the answer --- */

static void
answer_is(const char *asked, const struct zb_inventory *own, const char *expected)
{
    char *answer = zb_foreign_answer(asked, own);

    assert_string_equal(answer, expected);
    free(answer);
}

static void
each_snapshot_is_answered_for_by_its_guid(void **state)
{
    uint64_t a[] = {0x11, 0x22, UINT64_MAX}, b[] = {0x33};
    struct zb_inventory_dataset datasets[] = {
        {.uuid = UUID_A, .guid = 0xabc, .guids = a, .snaps_count = 3},
        {.uuid = UUID_B, .guid = 0xdef, .guids = b, .snaps_count = 1},
    };
    const struct zb_inventory own = {.datasets_count = 2, .datasets = datasets};
    (void)state;

    answer_is("@" UUID_A "\t11 12 22 ffffffffffffffff\n@" UUID_B "\t33 34\n", &own,
              "@\n@" UUID_A "\tabc\t+11 -12 +22 +ffffffffffffffff\n@" UUID_B "\tdef\t+33 -34\n");
}

static void
nothing_is_said_of_what_is_not_wholly_known(void **state)
{
    static uint64_t many[ZB_SNAPS_MAX];
    struct zb_inventory_dataset d = {.uuid = UUID_A, .guid = 0xabc, .guids = many};
    const struct zb_inventory own = {.datasets_count = 1, .datasets = &d};
    (void)state;

    many[0] = 0x11;
    d.snaps_count = ZB_SNAPS_MAX; /* perhaps without the oldest ones */
    answer_is("@" UUID_A "\t11\n", &own, "@\n");
    d.snaps_count = 1;
    answer_is("@" UUID_B "\t11\n", &own, "@\n"); /* another dataset */
    answer_is("@" UUID_A "x\t11\n", &own, "@\n");
    answer_is("1/2\nnonsense\n@\n", &own, "@\n");
    answer_is("", &own, "@\n");
    answer_is("@" UUID_A "\t11 x 12\n@" UUID_A "\t11", &own,
              "@\n@" UUID_A "\tabc\t+11\n@" UUID_A "\tabc\t+11\n");
    /* Nothing is a number here that would be longer in the answer than it was asked. */
    answer_is("@" UUID_A "\t11 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1 -1\n", &own,
              "@\n@" UUID_A "\tabc\t+11\n");
    answer_is("@" UUID_A "\t11  12\n", &own, "@\n@" UUID_A "\tabc\t+11\n");
    answer_is("@" UUID_A "\t11 0x12\n", &own, "@\n@" UUID_A "\tabc\t+11\n");
    answer_is("@" UUID_A "\t11111111111111111\n", &own, "@\n@" UUID_A "\tabc\t\n");
    d.guid = 0;
    answer_is("@" UUID_A "\t11\n", &own, "@\n");
}

/* --- the way --- */

static char asked[256];
static char expected[256];

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

/* Asked to prune until it was: an order given while one is carried out is part of that one. */
static bool
vm2_was_told(const struct pair *w)
{
    host_command(&P->hosts[1], ZB_CMD_PRUNE, ZB_NODE_NONE);
    return strstr(w->hosts[1].model.prune_text, expected) != NULL;
}

/* The leader's answer goes along with one PRUNE, and with every look. */
static void
an_answer_of_the_leader_goes_along_with_the_next_prune(void **state)
{
    P = *state;
    struct host *vm2 = &P->hosts[1];

    pair_declare(P);
    host_command(&P->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(pair_until(P, vm2_follows_vm1));
    const struct model_dataset *d = &P->hosts[0].model.datasets[0];
    uint64_t there = d->snaps[d->snaps_count - 1].guid;
    (void)snprintf(asked, sizeof(asked), "1/7\n@%s\t%" PRIx64 " 7777\n", d->uuid, there);
    (void)snprintf(expected, sizeof(expected), "+%" PRIx64 " -7777\n", there);
    vm2->model.prune_asks = asked;
    P->hosts[0].model.prune_asks = asked; /* a leader asks nobody */
    assert_true(pair_until(P, vm2_was_told));
    assert_ptr_equal(strstr(vm2->model.prune_text, "@\n@"), vm2->model.prune_text);
    char *text = zb_foreign_text(&vm2->a, 0, true);
    assert_null(text); /* it was used */
    text = zb_foreign_text(&vm2->a, 0, false);
    assert_string_equal(text, vm2->model.prune_text);
    free(text);
    assert_null(zb_foreign_text(&P->hosts[0].a, 0, false));
}

/* What others than the leader say, or of another term, is no answer. */
static void
only_the_leader_of_the_term_is_believed(void **state)
{
    P = *state;
    struct host *vm2 = &P->hosts[1];
    char *text = NULL;

    pair_declare(P);
    host_command(&P->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(pair_until(P, vm2_follows_vm1));
    uint64_t term = host_view(vm2).term;
    json_t *msg = json_pack("{s:s, s:s, s:I, s:s}", "t", "foreign.answer", "service", "web", "term",
                            (json_int_t)term, "answer", "@\n");
    zb_foreign_message(&vm2->a, vm2->a.self, msg);
    assert_null(zb_foreign_text(&vm2->a, 0, false));
    assert_int_equal(json_object_set_new(msg, "term", json_integer((json_int_t)term + 1)), 0);
    zb_foreign_message(&vm2->a, host_other(vm2), msg);
    assert_null(zb_foreign_text(&vm2->a, 0, false));
    assert_int_equal(json_object_set_new(msg, "term", json_integer((json_int_t)term)), 0);
    assert_int_equal(json_object_set_new(msg, "service", json_string("other")), 0);
    zb_foreign_message(&vm2->a, host_other(vm2), msg);
    assert_null(zb_foreign_text(&vm2->a, 0, false));
    assert_int_equal(json_object_set_new(msg, "service", json_string("web")), 0);
    zb_foreign_message(&vm2->a, host_other(vm2), msg);
    text = zb_foreign_text(&vm2->a, 0, false);
    assert_string_equal(text, "@\n");
    free(text);
    json_decref(msg);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_snapshot_is_answered_for_by_its_guid),
        cmocka_unit_test(nothing_is_said_of_what_is_not_wholly_known),
        pair_test(an_answer_of_the_leader_goes_along_with_the_next_prune),
        pair_test(only_the_leader_of_the_term_is_believed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
