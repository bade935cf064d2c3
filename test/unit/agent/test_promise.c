/* What would be lost with the leader, against what was promised: judged alone, then by two engines.
 */
#include "pair.h"

#include "agent/config.h"
#include "agent/explain.h"
#include "agent/promise.h"
#include "agent/request.h"

static const struct zb_conf_service web = {.interval_ms = 30000, .max_loss_ms = 60000};

/* --- alone --- */

static void
held_is_what_enough_of_them_have(void **state)
{
    struct zb_set_id ids[] = {{1, 5}, {2, 1}, {0, 0}, {1, 9}};
    struct zb_set_id held;
    (void)state;
    held = zb_promise_held(ids, 4, 1);
    assert_int_equal(zb_set_id_cmp(held, (struct zb_set_id){2, 1}), 0);
    held = zb_promise_held(ids, 4, 3);
    assert_int_equal(zb_set_id_cmp(held, (struct zb_set_id){1, 5}), 0);
    assert_true(zb_set_id_is_none(zb_promise_held(ids, 4, 4)));
    assert_true(zb_set_id_is_none(zb_promise_held(ids, 2, 3)));
}

/* One look: held and clean are ages, -1: not so. */
static void
look(struct zb_promise *p, int64_t now_s, int64_t held_s, int64_t clean_s)
{
    int64_t now_ms = now_s * 1000;
    struct zb_promise_seen seen = {
        .now_ms = now_ms,
        .held_ms = held_s < 0 ? ZB_PROMISE_NEVER : now_ms - held_s * 1000,
        .clean_ms = clean_s < 0 ? ZB_PROMISE_NEVER : now_ms - clean_s * 1000,
        .late_ms = 60000};
    zb_promise_look(p, &seen);
}

static void
the_loss_is_as_old_as_what_is_not_held(void **state)
{
    struct zb_promise p;
    (void)state;
    zb_promise_begin(&p, 0);
    look(&p, 10, -1, -1);
    assert_int_equal(p.loss_ms, -1);
    look(&p, 20, 5, -1);
    assert_int_equal(p.loss_ms, 5000);
    look(&p, 50, 35, 3);
    assert_int_equal(p.loss_ms, 0); /* idle: nothing to lose */
    look(&p, 60, 45, -1);
    assert_int_equal(p.loss_ms, 13000); /* since it was last seen to be idle, not since the set */
    look(&p, 70, -1, -1);
    assert_int_equal(p.loss_ms, 23000); /* the set's time is not known any more: as before */
    look(&p, 200, 185, 153);
    assert_int_equal(p.loss_ms, 153000); /* it was idle too long ago to be so now */
    look(&p, 100, -1, -1);
    assert_int_equal(p.loss_ms, 53000);
    look(&p, 10, -1, -1);
    assert_int_equal(p.loss_ms, 0); /* never below */
}

/* Looks and judgements every ten seconds until `to`; the set held is of `held` then. How often the
 * verdict changed. */
static int
judge_until(struct zb_promise *p, int64_t *now_s, int64_t to_s, int64_t held_at_s)
{
    int changed = 0;
    for (; *now_s <= to_s; *now_s += 10) {
        look(p, *now_s, *now_s - held_at_s, -1);
        changed += zb_promise_judge(p, &web, *now_s * 1000);
    }
    return changed;
}

static void
two_judgements_in_a_row_break_it_and_keep_it_again(void **state)
{
    struct zb_promise p;
    int64_t now_s = 110;
    (void)state;
    zb_promise_begin(&p, 0);
    assert_int_equal(judge_until(&p, &now_s, 160, 100), 0);
    assert_int_equal(judge_until(&p, &now_s, 170, 100), 0); /* one says so */
    assert_true(p.doubted);
    assert_int_equal(judge_until(&p, &now_s, 180, 170), 0); /* at the border: nothing happened */
    assert_false(p.doubted);
    assert_int_equal(judge_until(&p, &now_s, 300, 170), 1);
    assert_true(p.broken);
    assert_int_equal(judge_until(&p, &now_s, 310, 300), 0);
    assert_true(p.broken);
    assert_int_equal(judge_until(&p, &now_s, 330, 300), 1);
    assert_false(p.broken);
}

static void
judgements_have_their_distance(void **state)
{
    struct zb_promise p;
    (void)state;
    zb_promise_begin(&p, 0);
    look(&p, 900, 900, -1);
    assert_false(zb_promise_judge(&p, &web, 900000));
    assert_false(zb_promise_judge(&p, &web, 909999));
    assert_false(p.broken);
    assert_true(zb_promise_judge(&p, &web, 910000));
    assert_true(p.broken);
}

/* What a daemon that was just started sees of an old set may be a minute's work away. */
static void
nothing_is_broken_before_there_was_time_for_two_sets(void **state)
{
    struct zb_promise p;
    int64_t now_s = 10;
    (void)state;
    zb_promise_begin(&p, 0);
    assert_int_equal(judge_until(&p, &now_s, 90, -5000), 0);
    assert_int_equal(judge_until(&p, &now_s, 100, -5000), 1);
    assert_true(p.broken);
}

static void
a_service_without_any_copy_breaks_it_in_its_time(void **state)
{
    struct zb_promise p;
    int changed = 0;
    (void)state;
    zb_promise_begin(&p, 0);
    for (int64_t now_s = 10; now_s <= 80; now_s += 10) {
        look(&p, now_s, -1, -1);
        assert_false(zb_promise_judge(&p, &web, now_s * 1000));
    }
    for (int64_t now_s = 90; now_s <= 120; now_s += 10) {
        look(&p, now_s, -1, -1);
        changed += zb_promise_judge(&p, &web, now_s * 1000);
    }
    assert_int_equal(changed, 1);
    assert_true(p.broken);
}

/* --- by two engines --- */

static json_t *answer; /* of the last status or explain */

const struct zb_config_doc *
zb_config_current(const struct zb_agent *a)
{
    static const struct zb_config_doc none;
    (void)a;
    return &none;
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
    fail_msg("%s", err->msg);
}

static struct zb_agent *
agent_of(const struct pair *w, int host)
{
    return (struct zb_agent *)(uintptr_t)&w->hosts[host].a;
}

/* How many events of that rule have text in them. */
static int
told(const struct pair *w, int host, const char *rule, const char *text)
{
    struct zb_history_event *events = NULL;
    uint32_t count = 0;
    int found = 0;
    struct zb_err err;
    zb_agent_flush(agent_of(w, host));
    assert_int_equal(
        zb_history_events_list(agent_of(w, host)->history, 0, 1000, &events, &count, &err), ZB_OK);
    for (uint32_t i = 0; i < count; i++) {
        found += strcmp(events[i].rule, rule) == 0 && strstr(events[i].text, text) != NULL;
    }
    free(events);
    return found;
}

/* The loss that a host sees; -1: all, or nothing is promised. */
static json_int_t
loss(const struct pair *w, int host)
{
    json_t *promise = zb_promise_json(agent_of(w, host), 0);
    json_t *loss_s = json_object_get(promise, "loss_s");
    json_int_t is = json_is_integer(loss_s) ? json_integer_value(loss_s) : -1;
    json_decref(promise);
    return is;
}

static bool
promised(const struct pair *w)
{
    return host_view(&w->hosts[0]).version == 2 && host_view(&w->hosts[1]).version == 2;
}

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static uint64_t looks_before; /* of vm1 at its disk, when it promised */

/* At most 2 s. */
static void
promise_declare(struct pair *w)
{
    struct zb_freezes none = {0};
    for (int i = 0; i < 2; i++) {
        struct zb_conf_service conf = w->hosts[i].a.services[0].conf;
        struct zb_conf_services services = {.count = 1, .items = &conf};
        conf.max_loss_ms = 2000;
        zb_agent_services_apply(&w->hosts[i].a, &services, &none, 2);
    }
}

static void
promise(struct pair *w)
{
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    promise_declare(w);
    assert_true(pair_until(w, promised));
    looks_before = w->hosts[0].model.ops[ZB_KOP_OBSERVE];
}

/* vm1 has looked at its disk since. */
static bool
nothing_would_be_lost(const struct pair *w)
{
    return w->hosts[0].model.ops[ZB_KOP_OBSERVE] > looks_before + 1 && loss(w, 0) == 0 &&
           loss(w, 1) == 0;
}

static int64_t idle_until_ms;

static bool
idle_is_over(const struct pair *w)
{
    assert_int_equal(told(w, 0, "A-promise-broken", ""), 0);
    return zb_mono_now().ms > idle_until_ms;
}

static bool
the_first_write_is_seen(const struct pair *w)
{
    return w->hosts[0].model.written == false && loss(w, 0) > 0;
}

static void
an_idle_service_promises_no_less(void **state)
{
    struct pair *w = *state;
    promise(w);
    assert_true(pair_until(w, nothing_would_be_lost));
    idle_until_ms = zb_mono_now().ms + 7000; /* long past what would break it */
    assert_true(pair_until(w, idle_is_over));
    assert_int_equal(loss(w, 0), 0);
    w->hosts[1].model.receive_stalls = true;
    w->hosts[0].model.written = true;
    assert_true(pair_until(w, the_first_write_is_seen));
    assert_in_range(loss(w, 0), 1, 3); /* not the age of the set that vm2 has */
}

static bool
vm1_tells_of_the_break(const struct pair *w)
{
    return told(w, 0, "A-promise-broken", "what vm1 wrote in the last ") == 1;
}

static bool
vm1_tells_of_the_end(const struct pair *w)
{
    return told(w, 0, "A-promise-kept", "kept again: ") == 1;
}

/* The warnings of vm1's status have text in them. */
static bool
warned(const struct pair *w, const char *text)
{
    struct zb_request r = {.a = agent_of(w, 0), .args = json_pack("{s:[s]}", "services", "web")};
    bool is = false;
    size_t i;
    json_t *item;
    zb_cmd_status(&r);
    json_array_foreach(json_object_get(answer, "warnings"), i, item)
    {
        is = is || strstr(json_string_value(item), text) != NULL;
    }
    json_decref(answer);
    json_decref(r.args);
    return is;
}

static void
on_done(void *ctx, json_t *member)
{
    (void)ctx;
    answer = member;
}

static bool
is_explained(const struct pair *w)
{
    (void)w;
    return answer != NULL;
}

/* A line of what vm1 explains has text in its cause, and is of that rule. */
static void
explained(struct pair *w, const char *text, const char *rule)
{
    bool is = false;
    size_t i;
    json_t *line;
    answer = NULL;
    zb_explain_here(&w->hosts[0].a, 0, on_done, NULL);
    assert_true(pair_until(w, is_explained));
    json_array_foreach(json_object_get(answer, "lines"), i, line)
    {
        is = is || (strstr(json_string_value(json_object_get(line, "cause")), text) != NULL &&
                    strcmp(json_string_value(json_object_get(line, "rule")), rule) == 0);
    }
    if (!is) {
        char *all = json_dumps(answer, JSON_INDENT(1));
        fail_msg("'%s' is not said: %s", text, all);
    }
    json_decref(answer);
}

static void
a_break_is_told_once_with_its_reason_and_so_is_its_end(void **state)
{
    struct pair *w = *state;
    promise(w);
    assert_true(pair_until(w, nothing_would_be_lost));
    explained(w, "nothing would be lost with vm1 (max-loss 2s, held by 1)", "");
    w->hosts[1].model.receive_stalls = true;
    w->hosts[0].model.written = true;
    assert_true(pair_until(w, vm1_tells_of_the_break));
    assert_int_equal(
        told(w, 0, "A-promise-broken", "(max-loss 2s, held by 1); vm2 is behind (set 1/"), 1);
    assert_true(warned(w, "web: what vm1 wrote in the last "));
    explained(w, "; vm2 is behind", "A-promise-broken");
    zb_drive_peer_down(&w->hosts[0].a, "vm2", "cut");
    explained(w, "; vm2 is not reachable (set 1/", "A-promise-broken");
    zb_drive_peer_up(&w->hosts[0].a, "vm2");
    host_restart(w, &w->hosts[1]);
    pair_declare(w);
    promise_declare(w);
    assert_true(pair_until(w, vm1_tells_of_the_end));
    assert_int_equal(told(w, 0, "A-promise-broken", ""), 1);
    assert_false(warned(w, "A-promise-broken"));
}

static bool
vm2_tells_of_the_break(const struct pair *w)
{
    return told(w, 1, "A-promise-broken", "there is no leader to be seen from here") == 1;
}

/* While the leader is there it alone tells. */
static void
without_a_leader_who_has_a_copy_tells(void **state)
{
    struct pair *w = *state;
    promise(w);
    assert_true(pair_until(w, nothing_would_be_lost));
    assert_int_equal(told(w, 1, "A-promise-broken", ""), 0);
    host_power_off(&w->hosts[0]);
    assert_true(pair_until(w, vm2_tells_of_the_break));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(held_is_what_enough_of_them_have),
        cmocka_unit_test(the_loss_is_as_old_as_what_is_not_held),
        cmocka_unit_test(two_judgements_in_a_row_break_it_and_keep_it_again),
        cmocka_unit_test(judgements_have_their_distance),
        cmocka_unit_test(nothing_is_broken_before_there_was_time_for_two_sets),
        cmocka_unit_test(a_service_without_any_copy_breaks_it_in_its_time),
        pair_test(an_idle_service_promises_no_less),
        pair_test(a_break_is_told_once_with_its_reason_and_so_is_its_end),
        pair_test(without_a_leader_who_has_a_copy_tells),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
