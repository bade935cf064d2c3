/* An operator's orders to take the lead and to rejoin, on the follower of two engines. */
#include "orders.h"

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static bool
vm1_follows_vm2(const struct pair *w)
{
    return pair_follows(&w->hosts[1], &w->hosts[0]);
}

static void
a_dry_run_states_and_changes_nothing(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    uint64_t grants = vm2->model.ops[ZB_KOP_GRANT];
    orders_give(vm2, json_pack("{s:s, s:b, s:b}", "service", "web", "dry_run", 1, "allow_loss", 1));
    assert_true(pair_until(w, orders_ended));
    assert_int_equal(orders_failed, ZB_OK);
    assert_int_equal(json_array_size(json_object_get(orders_answer, "steps")), 7);
    assert_string_equal(orders_text_of(orders_statement, "to"), "vm2"); /* vm1 leads */
    assert_true(json_is_true(json_object_get(orders_statement, "chosen")));
    assert_int_equal(json_integer_value(json_object_get(orders_statement, "term")), 1);
    assert_int_equal(
        strncmp(orders_text_of(orders_statement, "lost"), "what vm1 wrote after set 1/", 27), 0);
    assert_int_equal(vm2->model.ops[ZB_KOP_GRANT], grants);
    assert_true(w->hosts[0].model.mounted);
}

static void
a_leader_that_is_up_is_not_taken_over(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    orders_give(&w->hosts[1], json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, orders_ended));
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_string_equal(orders_failed_hint, "zbaton move web NODE");
    assert_non_null(orders_statement); /* told all the same */
}

static void
what_it_loses_is_kept_in_the_history_of_both(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    orders_give(&w->hosts[1], json_pack("{s:s, s:s, s:b, s:i}", "service", "web", "to", "vm2",
                                        "allow_loss", 1, "as_of_term", 1));
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
    assert_string_equal(orders_text_of(orders_answer, "to"), "vm2");
    assert_true(json_integer_value(json_object_get(orders_answer, "term")) > 1);
    assert_true(orders_lines > 7);
    assert_true(pair_until(w, vm1_follows_vm2));
    for (int i = 0; i < PAIR_HOSTS; i++) {
        struct zb_history_term *terms = NULL;
        uint32_t count = 0;
        struct zb_err err;
        zb_agent_flush(&w->hosts[i].a);
        assert_int_equal(
            zb_history_terms_list(w->hosts[i].a.history, "web", 1, &terms, &count, &err), ZB_OK);
        assert_int_equal(count, 1);
        assert_int_equal(terms[0].reason, ZB_HISTORY_FAILOVER);
        assert_string_equal(terms[0].who, "root@vm2");
        assert_int_equal(strncmp(terms[0].lost, "what vm1 wrote after set 1/", 27), 0);
        free(terms);
    }
}

/* The term that was recorded first is the one that lost something; the one after it, in which the
 * service runs, restarts it. */
static void
what_it_loses_is_told_though_the_mount_failed(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    struct zb_history_term *terms = NULL;
    uint32_t count = 0;
    struct zb_err err;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    vm2->model.mount_fails_once = true;
    orders_give(vm2, json_pack("{s:s, s:s, s:b}", "service", "web", "to", "vm2", "allow_loss", 1));
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
    assert_int_equal(
        strncmp(orders_text_of(orders_answer, "lost"), "what vm1 wrote after set 1/", 27), 0);
    assert_true(pair_until(w, vm1_follows_vm2));
    zb_agent_flush(&w->hosts[0].a);
    assert_int_equal(zb_history_terms_list(w->hosts[0].a.history, "web", 2, &terms, &count, &err),
                     ZB_OK);
    assert_int_equal(count, 2);
    assert_int_equal(terms[0].reason, ZB_HISTORY_RESTART);
    assert_string_equal(terms[0].lost, "");
    assert_int_equal(terms[1].reason, ZB_HISTORY_FAILOVER);
    assert_int_equal(strncmp(terms[1].lost, "what vm1 wrote after set 1/", 27), 0);
    free(terms);
}

/* The dry run says what would be lost all the same. */
static void
a_frozen_service_is_refused_with_the_reason(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    uint64_t grants;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    vm2->a.services[0].freeze =
        (struct zb_freeze){.service = "web", .reason = "kernel upgrade", .who = "root@vm1"};
    grants = vm2->model.ops[ZB_KOP_GRANT];
    orders_give(vm2, json_pack("{s:s, s:b}", "service", "web", "allow_loss", 1));
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_string_equal(orders_failed_text,
                        "web is frozen by root@vm1 since 1970-01-01T00:00:00Z: kernel upgrade");
    assert_string_equal(orders_failed_hint, "zbaton thaw web");
    assert_null(orders_statement);
    orders_give(vm2, json_pack("{s:s, s:b}", "service", "web", "dry_run", 1));
    assert_true(pair_until(w, orders_ended));
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_non_null(strstr(orders_failed_text, "kernel upgrade"));
    assert_non_null(orders_statement);
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "discard", 1));
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_int_equal(vm2->model.ops[ZB_KOP_GRANT], grants);
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, orders_ended));
    assert_int_equal(orders_failed, ZB_OK); /* it destroys nothing */
}

static void
orders_that_cannot_be(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    orders_give(vm2, json_pack("{s:s, s:s}", "service", "web", "to", "vm9"));
    assert_int_equal(orders_failed, ZB_E_NOTFOUND);
    orders_give(vm2, json_pack("{s:s, s:[s]}", "service", "web", "fenced", "vm9"));
    assert_int_equal(orders_failed, ZB_E_NOTFOUND);
    orders_give(vm2, json_pack("{s:s, s:i}", "service", "web", "as_of_term", 7));
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_non_null(strstr(orders_failed_text, "in term 1 now, not in term 7"));
    orders_give(vm2, json_pack("{s:s, s:s}", "service", "web", "to", "vm1"));
    assert_int_equal(orders_failed, ZB_OK);
    assert_int_equal(orders_passed_to, host_other(vm2)); /* vm1 says no itself */
    orders_request.a = &vm2->a;
    orders_request.from_peer = true;
    orders_failed = ZB_OK;
    zb_cmd_failover(&orders_request);
    assert_int_equal(orders_failed, ZB_E_STALE); /* not passed on twice */
}

static bool
vm2_waits_without_a_base(const struct pair *w)
{
    return strcmp(host_view(&w->hosts[1]).why_rule, "R-rejoin-no-base") == 0;
}

/* vm2 has the tree without any snapshot that vm1 has too. */
static void
strangers_declare(struct pair *w)
{
    struct model *m = &w->hosts[1].model;
    model_snap_add(model_dataset_add(m, "00000000-0000-4000-8000-000000000001", ""), "mine", 666);
    pair_declare(w);
    assert_true(pair_until(w, vm2_waits_without_a_base));
}

static void
a_copy_without_a_base_is_set_aside_by_order(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    strangers_declare(w);
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "dry_run", 1));
    assert_true(pair_until(w, orders_ended));
    assert_int_equal(orders_failed, ZB_OK);
    assert_true(json_is_true(json_object_get(orders_answer, "diverged")));
    assert_true(json_is_true(json_object_get(orders_answer, "whole")));
    json_t *top = json_array_get(json_object_get(orders_answer, "datasets"), 0);
    assert_true(json_is_null(json_object_get(top, "fork")));
    assert_int_equal(json_integer_value(json_object_get(top, "snaps")), 1);
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE], 0);
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:s}", "service", "web", "node", "vm2"));
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
    assert_string_equal(orders_text_of(orders_answer, "rescue"), "web-000001-20261122T064100Z");
    assert_int_equal(json_integer_value(json_object_get(orders_answer, "bytes")), 4096);
    assert_true(json_is_false(json_object_get(orders_answer, "dropped")));
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE_DROP], 0);
    assert_true(pair_until(w, vm2_follows_vm1));
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, orders_ended));
    assert_true(json_is_null(json_object_get(orders_answer, "rescue")));
}

static void
what_is_discarded_is_dropped_once_it_is_set_aside(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    strangers_declare(w);
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "discard", 1));
    assert_true(pair_until(w, orders_ended));
    assert_true(json_is_true(json_object_get(orders_answer, "dropped")));
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE], 1);
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE_DROP], 1);
    assert_true(pair_until(w, vm2_follows_vm1));
}

/* The freeze is agreed to while the rescue is being made. */
static void
what_is_frozen_meanwhile_is_not_dropped(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    strangers_declare(w);
    orders_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "discard", 1));
    zb_strcopy(vm2->a.services[0].freeze.reason, sizeof(vm2->a.services[0].freeze.reason),
               "kernel upgrade");
    assert_true(pair_until(w, orders_ended));
    assert_true(json_is_false(json_object_get(orders_answer, "dropped")));
    assert_non_null(strstr(orders_text_of(orders_answer, "text"), "frozen meanwhile"));
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE], 1);
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE_DROP], 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        orders_test(a_dry_run_states_and_changes_nothing),
        orders_test(a_leader_that_is_up_is_not_taken_over),
        orders_test(what_it_loses_is_kept_in_the_history_of_both),
        orders_test(what_it_loses_is_told_though_the_mount_failed),
        orders_test(a_frozen_service_is_refused_with_the_reason),
        orders_test(orders_that_cannot_be),
        orders_test(a_copy_without_a_base_is_set_aside_by_order),
        orders_test(what_is_discarded_is_dropped_once_it_is_set_aside),
        orders_test(what_is_frozen_meanwhile_is_not_dropped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
