/* An operator's orders to take the lead and to rejoin, on the follower of two engines. */
#include "pair.h"

#include "agent/json.h"
#include "agent/member.h"
#include "agent/request.h"

static json_t *statement; /* of the last order */
static json_t *answer;
static json_t *needed; /* the last one asked for */
static int lines;
static enum zb_rc failed;
static char failed_text[512];
static char failed_hint[256];

/* --- what control.c and forward.c would do --- */

void
zb_request_progress(struct zb_request *r, json_t *line)
{
    json_t *told = json_object_get(line, "statement");
    (void)r;
    if (told != NULL) {
        json_decref(statement);
        statement = json_incref(told);
    } else if (json_object_get(line, "need") != NULL) {
        json_decref(needed);
        needed = json_incref(line);
    } else {
        assert_int_equal(json_integer_value(json_object_get(line, "of")), 7);
        lines++;
    }
    json_decref(line);
}

void
zb_request_done(struct zb_request *r, json_t *data)
{
    (void)r;
    answer = data;
}

void
zb_request_fail(struct zb_request *r, const struct zb_err *err, const char *rule)
{
    (void)r;
    (void)rule;
    failed = err->rc;
    (void)snprintf(failed_text, sizeof failed_text, "%s", err->msg);
    (void)snprintf(failed_hint, sizeof failed_hint, "%s", err->hint);
}

const char *
zb_request_text(const struct zb_request *r, const char *name)
{
    const char *text = json_string_value(json_object_get(r->args, name));
    return text == NULL ? "" : text;
}

bool
zb_request_bool(const struct zb_request *r, const char *name)
{
    return json_is_true(json_object_get(r->args, name));
}

int64_t
zb_request_int(const struct zb_request *r, const char *name, int64_t otherwise)
{
    const json_t *value = json_object_get(r->args, name);
    return json_is_integer(value) ? json_integer_value(value) : otherwise;
}

uint16_t
zb_request_service(struct zb_request *r)
{
    return zb_agent_service_find(r->a, zb_request_text(r, "service"));
}

static uint8_t passed_to;

void
zb_forward_request(struct zb_request *r, uint8_t node)
{
    (void)r;
    passed_to = node;
}

const char *
zb_member_root(const struct zb_agent *a, uint8_t node)
{
    (void)a;
    (void)node;
    return "";
}

/* --- orders --- */

static struct zb_request order;

static void
order_run(struct host *h, void (*run)(struct zb_request *r), json_t *args)
{
    json_decref(order.args);
    json_decref(answer);
    order = (struct zb_request){.a = &h->a, .args = args, .who = "root@vm2"};
    answer = NULL;
    failed = ZB_OK;
    failed_text[0] = '\0';
    passed_to = ZB_NODE_NONE;
    assert_non_null(args);
    run(&order);
}

static void
order_give(struct host *h, json_t *args)
{
    order_run(h, zb_cmd_failover, args);
}

static bool
ordered(const struct pair *w)
{
    (void)w;
    return answer != NULL || failed != ZB_OK;
}

static int
orders_close(void **state)
{
    json_t **all[] = {&statement, &answer, &needed, &order.args};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        json_decref(*all[i]);
        *all[i] = NULL;
    }
    lines = 0;
    return pair_teardown(state);
}

static const char *
text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    assert_non_null(text);
    return text;
}

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
    order_give(vm2, json_pack("{s:s, s:b, s:b}", "service", "web", "dry_run", 1, "allow_loss", 1));
    assert_true(pair_until(w, ordered));
    assert_int_equal(failed, ZB_OK);
    assert_int_equal(json_array_size(json_object_get(answer, "steps")), 7);
    assert_string_equal(text_of(statement, "to"), "vm2"); /* vm1 leads */
    assert_true(json_is_true(json_object_get(statement, "chosen")));
    assert_int_equal(json_integer_value(json_object_get(statement, "term")), 1);
    assert_int_equal(strncmp(text_of(statement, "lost"), "what vm1 wrote after set 1/", 27), 0);
    assert_int_equal(vm2->model.ops[ZB_KOP_GRANT], grants);
    assert_true(w->hosts[0].model.mounted);
}

static void
a_leader_that_is_up_is_not_taken_over(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    order_give(&w->hosts[1], json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, ordered));
    assert_int_equal(failed, ZB_E_REFUSED);
    assert_string_equal(failed_hint, "zbaton move web NODE");
    assert_non_null(statement); /* told all the same */
}

static void
what_it_loses_is_kept_in_the_history_of_both(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    order_give(&w->hosts[1], json_pack("{s:s, s:s, s:b, s:i}", "service", "web", "to", "vm2",
                                       "allow_loss", 1, "as_of_term", 1));
    assert_true(pair_until(w, ordered));
    assert_string_equal(failed_text, "");
    assert_string_equal(text_of(answer, "to"), "vm2");
    assert_true(json_integer_value(json_object_get(answer, "term")) > 1);
    assert_true(lines > 7);
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
    order_give(vm2, json_pack("{s:s, s:b}", "service", "web", "allow_loss", 1));
    assert_int_equal(failed, ZB_E_REFUSED);
    assert_string_equal(failed_text,
                        "web is frozen by root@vm1 since 1970-01-01T00:00:00Z: kernel upgrade");
    assert_string_equal(failed_hint, "zbaton thaw web");
    assert_null(statement);
    order_give(vm2, json_pack("{s:s, s:b}", "service", "web", "dry_run", 1));
    assert_true(pair_until(w, ordered));
    assert_int_equal(failed, ZB_E_REFUSED);
    assert_non_null(strstr(failed_text, "kernel upgrade"));
    assert_non_null(statement);
    order_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "discard", 1));
    assert_int_equal(failed, ZB_E_REFUSED);
    assert_int_equal(vm2->model.ops[ZB_KOP_GRANT], grants);
    order_run(vm2, zb_cmd_rejoin, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, ordered));
    assert_int_equal(failed, ZB_OK); /* it destroys nothing */
}

static void
orders_that_cannot_be(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    order_give(vm2, json_pack("{s:s, s:s}", "service", "web", "to", "vm9"));
    assert_int_equal(failed, ZB_E_NOTFOUND);
    order_give(vm2, json_pack("{s:s, s:[s]}", "service", "web", "fenced", "vm9"));
    assert_int_equal(failed, ZB_E_NOTFOUND);
    order_give(vm2, json_pack("{s:s, s:i}", "service", "web", "as_of_term", 7));
    assert_int_equal(failed, ZB_E_REFUSED);
    assert_non_null(strstr(failed_text, "in term 1 now, not in term 7"));
    order_give(vm2, json_pack("{s:s, s:s}", "service", "web", "to", "vm1"));
    assert_int_equal(failed, ZB_OK);
    assert_int_equal(passed_to, host_other(vm2)); /* vm1 says no itself */
    order.from_peer = true;
    failed = ZB_OK;
    zb_cmd_failover(&order);
    assert_int_equal(failed, ZB_E_STALE); /* not passed on twice */
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
    order_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "dry_run", 1));
    assert_true(pair_until(w, ordered));
    assert_int_equal(failed, ZB_OK);
    assert_true(json_is_true(json_object_get(answer, "diverged")));
    assert_true(json_is_true(json_object_get(answer, "whole")));
    json_t *top = json_array_get(json_object_get(answer, "datasets"), 0);
    assert_true(json_is_null(json_object_get(top, "fork")));
    assert_int_equal(json_integer_value(json_object_get(top, "snaps")), 1);
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE], 0);
    order_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:s}", "service", "web", "node", "vm2"));
    assert_true(pair_until(w, ordered));
    assert_string_equal(failed_text, "");
    assert_string_equal(text_of(answer, "rescue"), "web-000001-20261122T064100Z");
    assert_int_equal(json_integer_value(json_object_get(answer, "bytes")), 4096);
    assert_true(json_is_false(json_object_get(answer, "dropped")));
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE_DROP], 0);
    assert_true(pair_until(w, vm2_follows_vm1));
    order_run(vm2, zb_cmd_rejoin, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, ordered));
    assert_true(json_is_null(json_object_get(answer, "rescue")));
}

static void
what_is_discarded_is_dropped_once_it_is_set_aside(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = &w->hosts[1];
    strangers_declare(w);
    order_run(vm2, zb_cmd_rejoin, json_pack("{s:s, s:b}", "service", "web", "discard", 1));
    assert_true(pair_until(w, ordered));
    assert_true(json_is_true(json_object_get(answer, "dropped")));
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE], 1);
    assert_int_equal(vm2->model.ops[ZB_KOP_RESCUE_DROP], 1);
    assert_true(pair_until(w, vm2_follows_vm1));
}

int
main(void)
{
#define order_test(t) cmocka_unit_test_setup_teardown(t, pair_setup, orders_close)
    const struct CMUnitTest tests[] = {
        order_test(a_dry_run_states_and_changes_nothing),
        order_test(a_leader_that_is_up_is_not_taken_over),
        order_test(what_it_loses_is_kept_in_the_history_of_both),
        order_test(a_frozen_service_is_refused_with_the_reason),
        order_test(orders_that_cannot_be),
        order_test(a_copy_without_a_base_is_set_aside_by_order),
        order_test(what_is_discarded_is_dropped_once_it_is_set_aside),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
