/* Copies of other tools' snapshots: how long each has been missing, and what two engines do about
 * it. */
#include "pair.h"

#include "agent/explain.h"
#include "agent/foreign.h"

#define UUID "11111111-0000-4000-8000-000000000001"
#define OTHER "11111111-0000-4000-8000-000000000002"

/* --- alone --- */

static uint64_t guids[] = {7, 8, 9};
static char names[][ZB_SNAP_NAME_SIZE] = {"autosnap_1", "zbaton-000001-00000001-20261122T064100Z",
                                          "autosnap_2"};
static struct zb_inventory_dataset dataset = {
    .uuid = UUID, .snaps_count = 3, .guids = guids, .names = names};
static const struct zb_inventory inventory = {.datasets_count = 1, .datasets = &dataset};

static void
what_is_known_of_them_stays_known(void **state)
{
    struct zb_foreign_items items = {0};
    (void)state;
    zb_foreign_list(&items, &inventory);
    assert_int_equal(items.count, 2);
    assert_int_equal(items.items[0].guid, 7);
    assert_string_equal(items.items[1].name, "autosnap_2");
    items.items[1].missing_ms = 5;
    items.items[1].missing = true;
    dataset.snaps_count = 2; /* guid 9 went ... */
    guids[0] = 9;            /* ... and is listed elsewhere */
    zb_foreign_list(&items, &inventory);
    assert_int_equal(items.count, 1);
    assert_int_equal(items.items[0].missing_ms, 5);
    assert_true(items.items[0].missing);
    zb_strcopy(dataset.uuid, sizeof(dataset.uuid), OTHER);
    zb_foreign_list(&items, &inventory);
    assert_int_equal(items.items[0].missing_ms, 0); /* another dataset's */
    zb_strcopy(dataset.uuid, sizeof(dataset.uuid), UUID);
    dataset.snaps_count = 3;
    guids[0] = 7;
    free(items.items);
}

static void
only_time_between_two_looks_counts(void **state)
{
    struct zb_foreign_item item = {.guid = 7};
    (void)state;
    zb_foreign_look(&item, true, 1000, 1000);
    assert_int_equal(item.missing_ms, 0); /* the first: since when is not known */
    zb_foreign_look(&item, true, 1000, 1000);
    assert_int_equal(item.missing_ms, 1000);
    zb_foreign_look(&item, true, INT64_C(1) << 40, 1000);
    assert_int_equal(item.missing_ms, 3000); /* of a long pause, twice the distance */
    zb_foreign_look(&item, true, 0, 1000);
    zb_foreign_look(&item, true, -5000, 1000);
    assert_int_equal(item.missing_ms, 3000);
    zb_foreign_look(&item, false, 1000, 1000);
    assert_int_equal(item.missing_ms, 0); /* it was there: all anew */
    zb_foreign_look(&item, true, 1000, 1000);
    assert_int_equal(item.missing_ms, 0);
}

static void
gone_is_what_a_whole_list_does_not_have(void **state)
{
    (void)state;
    assert_false(zb_foreign_is_gone(&inventory, UUID, 9));
    assert_true(zb_foreign_is_gone(&inventory, UUID, 10));
    assert_false(
        zb_foreign_is_gone(&inventory, OTHER, 10)); /* the dataset is gone, not the snapshot */
    dataset.cut = true;
    assert_false(zb_foreign_is_gone(&inventory, UUID, 10));
    dataset.cut = false;
}

static void
a_week_if_nothing_is_declared(void **state)
{
    struct zb_conf_service conf = {0};
    (void)state;
    assert_int_equal(zb_foreign_grace_ms(&conf), INT64_C(7) * 86400000);
    assert_int_equal(zb_foreign_every_ms(&conf), 3600000);
    conf.foreign_grace_ms = 4000;
    assert_int_equal(zb_foreign_every_ms(&conf), 1000);
}

/* --- by two engines --- */

static struct zb_agent *
agent_of(const struct pair *w, int host)
{
    return (struct zb_agent *)(uintptr_t)&w->hosts[host].a;
}

static struct model_dataset *
tree_of(struct pair *w, int host)
{
    return (struct model_dataset *)(uintptr_t)model_dataset_find(&w->hosts[host].model, "");
}

static bool
has(const struct pair *w, int host, const char *name)
{
    const struct model_dataset *d = model_dataset_find(&w->hosts[host].model, "");
    for (uint32_t i = 0; d != NULL && i < d->snaps_count; i++) {
        if (strcmp(d->snaps[i].name, name) == 0) {
            return true;
        }
    }
    return false;
}

static void
leader_destroys(struct pair *w, const char *name)
{
    struct model_dataset *d = tree_of(w, 0);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < d->snaps_count; i++) {
        if (strcmp(d->snaps[i].name, name) != 0) {
            d->snaps[kept++] = d->snaps[i];
        }
    }
    d->snaps_count = kept;
}

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

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static bool
version_2_is_in_force(const struct pair *w)
{
    return host_view(&w->hosts[0]).version == 2 && host_view(&w->hosts[1]).version == 2;
}

static bool
vm2_has_both(const struct pair *w)
{
    return has(w, 1, "autosnap_1") && has(w, 1, "autosnap_2") && vm2_follows_vm1(w);
}

/* vm2 follows vm1 and got two snapshots of another tool with a set; grace: 4 s. */
static int
setup(void **state)
{
    struct zb_freezes none = {0};
    struct pair *w;
    (void)pair_setup(state);
    w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    for (int i = 0; i < 2; i++) {
        struct zb_conf_service conf = w->hosts[i].a.services[0].conf;
        struct zb_conf_services services = {.count = 1, .items = &conf};
        conf.foreign_grace_ms = 4000;
        zb_agent_services_apply(&w->hosts[i].a, &services, &none, 2);
    }
    assert_true(pair_until(w, version_2_is_in_force));
    model_snap_add(tree_of(w, 0), "autosnap_1", 77001);
    model_snap_add(tree_of(w, 0), "autosnap_2", 77002);
    w->hosts[0].model.written = true;
    assert_true(pair_until(w, vm2_has_both));
    return 0;
}

#define foreign_test(t) cmocka_unit_test_setup_teardown(t, setup, pair_teardown)

static bool
the_first_went_on_vm2(const struct pair *w)
{
    return !has(w, 1, "autosnap_1") &&
           told(w, 1, "A-foreign-expired",
                "1 snapshot of other tools, gone from vm1 for long enough, went here too: "
                "autosnap_1") == 1;
}

static void
a_copy_goes_when_its_time_is_over(void **state)
{
    struct pair *w = *state;
    int64_t begun_ms = zb_mono_now().ms;
    leader_destroys(w, "autosnap_1");
    assert_true(pair_until(w, the_first_went_on_vm2));
    assert_in_range(zb_mono_now().ms - begun_ms, 4000, 15000);
    assert_true(has(w, 1, "autosnap_2")); /* vm1 has it */
    assert_int_equal(w->hosts[0].model.ops[ZB_KOP_EXPIRE], 0);
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_EXPIRE], 1);
    assert_true(vm2_follows_vm1(w));
}

/* What the history of vm2 says that the first has been missing; 0: nothing. */
static json_int_t
kept_ms(const struct pair *w)
{
    char *text = NULL;
    struct zb_err err;
    if (zb_history_meta_get(agent_of(w, 1)->history, "foreign", &text, &err) != ZB_OK) {
        return 0;
    }
    json_t *all = json_loads(text, 0, NULL);
    json_int_t is = 0;
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(all, "web"), key, value)
    {
        is = strstr(key, " 77001") != NULL ? json_integer_value(value) : is;
    }
    json_decref(all);
    free(text);
    return is;
}

static bool
two_seconds_are_kept(const struct pair *w)
{
    return kept_ms(w) >= 2000;
}

static void
the_time_so_far_outlives_a_restart(void **state)
{
    struct pair *w = *state;
    leader_destroys(w, "autosnap_1");
    assert_true(pair_until(w, two_seconds_are_kept));
    zb_foreigns_close(&w->hosts[1].a);
    w->hosts[1].a.foreigns = zb_foreigns_new(&w->hosts[1].a);
    int64_t begun_ms = zb_mono_now().ms;
    assert_true(pair_until(w, the_first_went_on_vm2));
    assert_in_range(zb_mono_now().ms - begun_ms, 1000, 15000);
    assert_int_equal(kept_ms(w), 0);
}

static bool
a_second_is_kept(const struct pair *w)
{
    return kept_ms(w) >= 1000;
}

static bool
nothing_is_kept(const struct pair *w)
{
    return kept_ms(w) == 0;
}

/* Put back by hand, with its guid. */
static void
what_comes_back_begins_anew(void **state)
{
    struct pair *w = *state;
    leader_destroys(w, "autosnap_1");
    assert_true(pair_until(w, a_second_is_kept));
    struct model_dataset *d = tree_of(w, 0);
    memmove(&d->snaps[1], &d->snaps[0], d->snaps_count * sizeof(d->snaps[0]));
    d->snaps_count++;
    d->snaps[0].guid = 77001;
    zb_strcopy(d->snaps[0].name, sizeof(d->snaps[0].name), "autosnap_1");
    assert_true(pair_until(w, nothing_is_kept));
    assert_true(has(w, 1, "autosnap_1"));
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_EXPIRE], 0);
}

static bool
it_was_asked_for_twice(const struct pair *w)
{
    return w->hosts[1].model.ops[ZB_KOP_EXPIRE] >= 2;
}

static json_t *said;

static void
on_done(void *ctx, json_t *member)
{
    (void)ctx;
    said = member;
}

static bool
is_said(const struct pair *w)
{
    (void)w;
    return said != NULL;
}

static void
what_the_keeper_keeps_is_told_once(void **state)
{
    struct pair *w = *state;
    size_t i;
    json_t *line;
    bool found = false;
    w->hosts[1].model.all_are_local = true;
    leader_destroys(w, "autosnap_1");
    assert_true(pair_until(w, it_was_asked_for_twice));
    assert_true(has(w, 1, "autosnap_1"));
    assert_int_equal(told(w, 1, "A-foreign-stays",
                          "snapshot autosnap_1 of another tool is not where this copy comes from, "
                          "and stays here: not received by zbaton here"),
                     1);
    assert_int_equal(told(w, 1, "A-foreign-stays", ""), 1);
    assert_int_equal(told(w, 1, "A-foreign-expired", ""), 0);
    zb_explain_here(&w->hosts[1].a, 0, on_done, NULL);
    assert_true(pair_until(w, is_said));
    json_array_foreach(json_object_get(said, "lines"), i, line)
    {
        found = found ||
                strcmp(json_string_value(json_object_get(line, "rule")), "A-foreign-stays") == 0;
    }
    json_decref(said);
    said = NULL;
    assert_true(found);
}

static int64_t until_ms;

static bool
time_is_over(const struct pair *w)
{
    (void)w;
    return zb_mono_now().ms > until_ms;
}

/* No time passes without a leader, nor for a copy that came away. */
static void
without_a_leader_nothing_counts(void **state)
{
    struct pair *w = *state;
    leader_destroys(w, "autosnap_1");
    assert_true(pair_until(w, a_second_is_kept));
    host_power_off(&w->hosts[0]);
    json_int_t kept = kept_ms(w);
    until_ms = zb_mono_now().ms + 5000; /* longer than what is left of the grace period */
    assert_true(pair_until(w, time_is_over));
    assert_true(kept_ms(w) <= kept + 1000);
    assert_true(has(w, 1, "autosnap_1"));
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_EXPIRE], 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_known_of_them_stays_known),
        cmocka_unit_test(only_time_between_two_looks_counts),
        cmocka_unit_test(gone_is_what_a_whole_list_does_not_have),
        cmocka_unit_test(a_week_if_nothing_is_declared),
        foreign_test(a_copy_goes_when_its_time_is_over),
        foreign_test(the_time_so_far_outlives_a_restart),
        foreign_test(what_comes_back_begins_anew),
        foreign_test(what_the_keeper_keeps_is_told_once),
        foreign_test(without_a_leader_nothing_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
