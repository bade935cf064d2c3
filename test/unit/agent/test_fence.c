/* The fence command in failovers of three engines: when it is run, and what its exit counts for. */
#include "orders.h"

#include "agent/fence.h"

static bool
all_follow_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]) &&
           model_newest(&w->hosts[0].model, "") == model_newest(&w->hosts[2].model, "") &&
           host_view(&w->hosts[2]).obs.learned_term == 1;
}

/* Both know, and vm2 knows that vm3 does. */
static bool
vm2_is_alone_with_vm3(const struct pair *w)
{
    const struct zb_agent *a = &w->hosts[1].a;
    uint8_t vm3 = zb_agent_node_find(a, "vm3");
    return !a->nodes[zb_agent_node_find(a, "vm1")].up && a->nodes[vm3].up &&
           !host_view(&w->hosts[1]).peers[vm3].report.sees_leader;
}

/* M4: a majority has granted the term, durably, when the command begins. */
static void
fence_is_asked(void *ctx, const struct zb_kreq *req)
{
    const struct pair *w = ctx;
    assert_string_equal(req->service, "web");
    assert_string_equal(req->text, "test");
    for (int i = 1; i < PAIR_HOSTS; i++) {
        assert_int_equal(w->hosts[i].model.record.granted_term, req->term);
        assert_string_equal(w->hosts[i].model.record.granted_to, "vm2");
    }
}

/* vm1 led, and is gone; vm2 has a fence command. */
static struct host *
vm1_is_lost(struct pair *w)
{
    struct host *vm2 = &w->hosts[1];
    zb_strcopy(vm2->conf.fence_command, sizeof vm2->conf.fence_command, "/etc/zbaton/fence");
    vm2->conf.fence_timeout_ms = 60000;
    zb_strcopy(vm2->a.cluster_name, sizeof vm2->a.cluster_name, "test");
    vm2->model.on_fence = fence_is_asked;
    vm2->model.on_fence_ctx = w;
    pair_declare(w);
    assert_true(pair_until(w, all_follow_vm1));
    host_power_off(&w->hosts[0]);
    assert_true(pair_until(w, vm2_is_alone_with_vm3));
    return vm2;
}

/* What the history of h says by that rule; "" nothing. */
static const char *
event_of(struct host *h, const char *rule)
{
    static char text[512];
    struct zb_history_event *events = NULL;
    uint32_t count = 0;
    struct zb_err err;
    text[0] = '\0';
    zb_agent_flush(&h->a);
    assert_int_equal(zb_history_events_list(h->a.history, 0, 1000, &events, &count, &err), ZB_OK);
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(events[i].rule, rule) == 0) {
            (void)snprintf(text, sizeof text, "%s", events[i].text);
        }
    }
    free(events);
    return text;
}

static void
a_proven_suspect_is_waited_for_no_more(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    orders_give(vm2, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 1);
    assert_string_equal(vm2->model.fence.node, "vm1");
    assert_int_equal(vm2->model.record.established_term, vm2->model.fence.term);
    assert_null(orders_needed); /* nobody was asked */
    assert_string_equal(orders_note, "vm2 runs /etc/zbaton/fence vm1");
    assert_non_null(
        strstr(event_of(vm2, "A-fenced-command"), "the fence command of vm2 proved it"));
}

static void
what_is_not_proven_is_refused_with_the_reason(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    vm2->model.fence_rc = ZB_E_FAILED;
    int64_t begin_ms = zb_mono_now().ms;
    orders_give(vm2, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, orders_ended));
    assert_true(zb_mono_now().ms - begin_ms < 15000); /* no longer than without the command */
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_non_null(strstr(orders_failed_text, "may still be writable"));
    assert_non_null(strstr(orders_failed_text, "exit status 1: no answer of the BMC"));
    assert_non_null(strstr(orders_failed_hint, "zbaton failover --fenced vm1 --to vm2 web"));
    assert_string_equal(orders_text_of(orders_needed, "node"), "vm1"); /* then a person is asked */
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 1);
    assert_int_equal(vm2->model.record.established_term, 0);
    assert_non_null(strstr(event_of(vm2, "A-fence-failed"), "vm1 is not known to be off"));
}

static bool
fence_runs(const struct pair *w)
{
    return w->hosts[1].model.fence_id != 0;
}

static int64_t passed_ms;

static bool
time_has_passed(const struct pair *w)
{
    (void)w;
    return zb_mono_now().ms >= passed_ms;
}

static void
a_command_that_takes_long_is_waited_for(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    vm2->model.fence_stalls = true;
    orders_give(vm2, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, fence_runs));
    passed_ms = zb_mono_now().ms + 6500; /* a person would have been waited for for 5 s */
    assert_true(pair_until(w, time_has_passed));
    assert_false(orders_ended(w));
    model_fence_end(&vm2->model, ZB_OK);
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
}

static void
an_operators_word_comes_first(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    orders_give(vm2, json_pack("{s:s, s:[s]}", "service", "web", "fenced", "vm1"));
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 0);
    assert_non_null(strstr(event_of(vm2, "A-fenced-operator"), "root@vm2 says so"));
}

static void
it_can_be_left_out(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    orders_give(vm2, json_pack("{s:s, s:b}", "service", "web", "no_fence_command", 1));
    assert_true(pair_until(w, orders_ended));
    assert_int_equal(orders_failed, ZB_E_REFUSED);
    assert_null(strstr(orders_failed_text, "exit status"));
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 0);
    assert_true(json_is_null(json_object_get(orders_statement, "fence")));
}

static void
a_dry_run_says_what_would_be_run(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    orders_give(vm2, json_pack("{s:s, s:b}", "service", "web", "dry_run", 1));
    assert_true(pair_until(w, orders_ended));
    assert_string_equal(orders_failed_text, "");
    const json_t *fence = json_object_get(orders_statement, "fence");
    assert_string_equal(orders_text_of(fence, "on"), "vm2");
    assert_string_equal(orders_text_of(fence, "command"), "/etc/zbaton/fence");
    assert_int_equal(json_integer_value(json_object_get(fence, "timeout_ms")), 60000);
    const json_t *nodes = json_object_get(fence, "nodes");
    assert_int_equal(json_array_size(nodes), 1);
    assert_string_equal(json_string_value(json_array_get(nodes, 0)), "vm1");
    const json_t *step = json_array_get(json_object_get(orders_answer, "steps"), 2);
    assert_string_equal(orders_text_of(step, "name"), "fence");
    assert_string_equal(json_string_value(json_array_get(json_object_get(step, "calls"), 0)),
                        "vm2: /etc/zbaton/fence vm1");
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 0);
}

static void
a_failover_that_ends_ends_its_command(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = vm1_is_lost(w);
    vm2->model.fence_stalls = true;
    orders_give(vm2, json_pack("{s:s}", "service", "web"));
    assert_true(pair_until(w, fence_runs));
    zb_drive_commands_drop(&vm2->a, 0, ZB_E_CLOSED, "dropped");
    assert_int_equal(orders_failed, ZB_E_CLOSED);
    passed_ms = zb_mono_now().ms + 100;
    assert_true(pair_until(w, time_has_passed));
    assert_int_equal(vm2->model.fence_id, 0); /* CANCEL ended it */
}

/* ---- who shares a run (M4) ---- */

struct asker {
    int waits; /* told to wait ... */
    bool runs; /* ... for a run of its own, in the end */
    int ends;
    enum zb_rc rc;
};

static struct asker askers[3];

static void
on_wait(void *ctx, uint8_t node, bool runs, int64_t wait_ms)
{
    struct asker *asker = ctx;
    (void)node;
    assert_true(wait_ms >= 60000);
    asker->waits++;
    asker->runs = runs;
}

static void
on_end(void *ctx, uint8_t node, uint64_t term, enum zb_rc rc, const char *text)
{
    struct asker *asker = ctx;
    (void)node;
    assert_int_equal(term, 100 + (asker - askers));
    assert_true(rc == ZB_OK || text[0] != '\0');
    asker->ends++;
    asker->rc = rc;
}

static void
ask(struct host *h, size_t i, const char *node)
{
    zb_fence_start(&h->a, &(struct zb_fence_ask){.node = zb_agent_node_find(&h->a, node),
                                                 .term = 100 + i,
                                                 .on_wait = on_wait,
                                                 .on_end = on_end,
                                                 .ctx = &askers[i]});
}

static struct host *
askers_begin(struct pair *w)
{
    struct host *vm2 = vm1_is_lost(w);
    vm2->model.on_fence = NULL;
    vm2->model.fence_stalls = true;
    memset(askers, 0, sizeof askers);
    return vm2;
}

static bool
first_has_ended(const struct pair *w)
{
    (void)w;
    return askers[0].ends > 0;
}

static bool
last_has_ended(const struct pair *w)
{
    (void)w;
    return askers[2].ends > 0;
}

static void
only_a_run_that_begins_later_counts(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = askers_begin(w);
    ask(vm2, 0, "vm1");
    assert_true(askers[0].runs);
    assert_true(pair_until(w, fence_runs));
    ask(vm2, 1, "vm1"); /* granted while that runs */
    ask(vm2, 2, "vm1");
    assert_false(askers[1].runs);
    model_fence_end(&vm2->model, ZB_OK);
    assert_true(pair_until(w, first_has_ended));
    assert_int_equal(askers[0].rc, ZB_OK);
    assert_int_equal(askers[1].ends, 0);
    assert_true(pair_until(w, fence_runs));
    assert_true(askers[1].runs && askers[2].runs);
    model_fence_end(&vm2->model, ZB_E_FAILED); /* one run for both */
    assert_true(pair_until(w, last_has_ended));
    assert_int_equal(askers[1].rc, ZB_E_FAILED);
    assert_int_equal(askers[2].rc, ZB_E_FAILED);
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 2);
    assert_int_equal(askers[0].ends, 1);
}

static bool
vm3_is_gone(const struct pair *w)
{
    const struct zb_agent *a = &w->hosts[1].a;
    return !a->nodes[zb_agent_node_find(a, "vm3")].up;
}

static void
who_is_connected_is_not_fenced(void **state)
{
    struct pair *w = *state;
    struct host *vm2 = askers_begin(w);
    ask(vm2, 0, "vm3");
    passed_ms = zb_mono_now().ms + 200;
    assert_true(pair_until(w, time_has_passed));
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 0);
    assert_int_equal(askers[0].waits, 0);
    host_power_off(&w->hosts[2]);
    assert_true(pair_until(w, vm3_is_gone));
    assert_true(pair_until(w, fence_runs));
    assert_string_equal(vm2->model.fence.node, "vm3");
    /* It connects while the command runs: that is ended, and counts for nothing. */
    zb_fence_peer_up(&vm2->a, zb_agent_node_find(&vm2->a, "vm3"));
    vm2->a.nodes[zb_agent_node_find(&vm2->a, "vm3")].up = true;
    passed_ms = zb_mono_now().ms + 200;
    assert_true(pair_until(w, time_has_passed));
    assert_int_equal(vm2->model.fence_id, 0);
    assert_int_equal(askers[0].ends, 0);
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 1);
    zb_fence_drop(&vm2->a, &askers[0]);
    zb_fence_peer_down(&vm2->a, zb_agent_node_find(&vm2->a, "vm3"));
    assert_int_equal(vm2->model.ops[ZB_KOP_FENCE], 1);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        orders_test(a_proven_suspect_is_waited_for_no_more),
        orders_test(what_is_not_proven_is_refused_with_the_reason),
        orders_test(a_command_that_takes_long_is_waited_for),
        orders_test(an_operators_word_comes_first),
        orders_test(it_can_be_left_out),
        orders_test(a_dry_run_says_what_would_be_run),
        orders_test(a_failover_that_ends_ends_its_command),
        orders_test(only_a_run_that_begins_later_counts),
        orders_test(who_is_connected_is_not_fenced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
