/* In which etcd each node's session is: what the nodes tell each other of it, and remember. */
#include "pair.h"

#include "agent/etcds.h"

#define ONE 0
#define TWO 1

static struct pair *P;
static uint64_t wanted;

/* What the first host knows of what `who` was told by the second one. */
static bool
is_known(const struct pair *w, uint8_t who)
{
    const struct zb_session_etcds *all = zb_etcds_told(&w->hosts[ONE].a);

    return all->told[who][host_other(&w->hosts[ONE])].known &&
           all->told[who][host_other(&w->hosts[ONE])].etcd == wanted;
}

static bool
one_was_told(const struct pair *w)
{
    return is_known(w, w->hosts[ONE].a.self);
}

static bool
two_heard_of_one(const struct pair *w)
{
    const struct zb_session_etcds *all = zb_etcds_told(&w->hosts[TWO].a);

    return all->told[w->hosts[TWO].a.self][host_other(&w->hosts[TWO])].known &&
           all->told[w->hosts[TWO].a.self][host_other(&w->hosts[TWO])].etcd == wanted &&
           all->told[host_other(&w->hosts[TWO])][w->hosts[TWO].a.self].known;
}

static void
message(struct host *h, const char *text)
{
    json_t *msg = json_loads(text, 0, NULL);

    assert_non_null(msg);
    zb_drive_message(&h->a, h == &P->hosts[ONE] ? "vm2" : "vm1", msg);
    json_decref(msg);
}

static void
who_says_nothing_is_in_none(void **state)
{
    P = *state;
    pair_declare(P);
    wanted = 0;
    assert_true(pair_until(P, one_was_told));
}

static void
each_change_is_told_and_told_on(void **state)
{
    P = *state;
    pair_declare(P);
    zb_etcds_own(&P->hosts[TWO].a, 7); /* told when they meet */
    wanted = 7;
    assert_true(pair_until(P, one_was_told));
    zb_etcds_own(&P->hosts[TWO].a, UINT64_MAX);
    wanted = UINT64_MAX;
    assert_true(pair_until(P, one_was_told));
    zb_etcds_own(&P->hosts[ONE].a, 8);
    wanted = 8;
    assert_true(pair_until(P, two_heard_of_one));
}

/* The next engine has only the history. */
static void
it_is_remembered(void **state)
{
    P = *state;
    pair_declare(P);
    zb_etcds_own(&P->hosts[TWO].a, 7);
    wanted = 7;
    assert_true(pair_until(P, one_was_told));
    zb_etcds_free(P->hosts[ONE].a.etcds);
    P->hosts[ONE].a.etcds = zb_etcds_new();
    assert_true(one_was_told(P));
    assert_false(is_known(P, host_other(&P->hosts[ONE]))); /* it tells that again */
}

static void
what_is_no_such_thing_is_dropped(void **state)
{
    P = *state;
    pair_declare(P);
    zb_etcds_own(&P->hosts[TWO].a, 7);
    wanted = 7;
    assert_true(pair_until(P, one_was_told));
    message(&P->hosts[ONE], "{\"t\":\"etcds\"}");
    message(&P->hosts[ONE], "{\"t\":\"etcds\",\"nodes\":[]}");
    message(&P->hosts[ONE], "{\"t\":\"etcds\",\"nodes\":{\"vm1\":\"9\"}}");
    message(&P->hosts[ONE], "{\"t\":\"etcds\",\"nodes\":{\"vm1\":\"9\",\"vm2\":\"-9\"}}");
    message(&P->hosts[ONE], "{\"t\":\"etcds\",\"nodes\":{\"vm2\":null}}");
    assert_true(one_was_told(P));
    assert_true(is_known(P, host_other(&P->hosts[ONE])));
    wanted = 9;
    message(&P->hosts[ONE], "{\"t\":\"etcds\",\"nodes\":{\"vm9\":\"1\",\"vm2\":\"9\"}}");
    assert_true(one_was_told(P));
}

static void
automatic(struct host *h, enum zb_conf_failover failover)
{
    h->a.services[0].conf.failover = failover;
}

static void
status_says_who_is_elsewhere(void **state)
{
    json_t *warnings = json_array();

    P = *state;
    pair_declare(P);
    zb_etcds_own(&P->hosts[TWO].a, 7);
    zb_etcds_own(&P->hosts[ONE].a, 8);
    wanted = 7;
    assert_true(pair_until(P, one_was_told));
    zb_etcds_warn(&P->hosts[ONE].a, warnings);
    assert_int_equal(json_array_size(warnings), 0); /* nobody takes over by itself */
    automatic(&P->hosts[ONE], ZB_CONF_FAILOVER_AUTOMATIC);
    zb_etcds_warn(&P->hosts[ONE].a, warnings);
    assert_int_equal(json_array_size(warnings), 1);
    assert_string_equal(json_string_value(json_array_get(warnings, 0)),
                        "vm2: its session is in another etcd; nobody takes over from it without an "
                        "order before it has a session in the etcd of vm1");
    zb_etcds_own(&P->hosts[ONE].a, 7);
    zb_etcds_warn(&P->hosts[ONE].a, warnings);
    assert_int_equal(json_array_size(warnings), 1);
    json_decref(warnings);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(who_says_nothing_is_in_none),
        pair_test(each_change_is_told_and_told_on),
        pair_test(it_is_remembered),
        pair_test(what_is_no_such_thing_is_dropped),
        pair_test(status_says_who_is_elsewhere),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
