/* What members tell each other of copies, records and pools that are not what they were: seen in
 * the events and in status of two engines. */
#include "pair.h"

#include "agent/config.h"
#include "agent/request.h"

static json_t *answer; /* of the last status */

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

/* --- what can be asked --- */

/* The newest event of that rule about a node that has text in it; none: false. */
static bool
told(const struct pair *w, int host, const char *rule, const char *text)
{
    struct zb_history_event *events = NULL;
    uint32_t count = 0;
    struct zb_err err;
    bool found = false;
    struct zb_agent *a = (struct zb_agent *)(uintptr_t)&w->hosts[host].a;
    zb_agent_flush(a);
    assert_int_equal(zb_history_events_list(a->history, 0, 1000, &events, &count, &err), ZB_OK);
    for (uint32_t i = 0; i < count; i++) {
        found =
            found || (strcmp(events[i].rule, rule) == 0 && strstr(events[i].text, text) != NULL);
    }
    free(events);
    return found;
}

/* How vm1's status shows vm2. */
static bool
shown(const struct pair *w, const char *state, const char *note, const char *warning)
{
    struct zb_request r = {.a = (struct zb_agent *)(uintptr_t)&w->hosts[0].a,
                           .args = json_pack("{s:[s]}", "services", "web")};
    bool is = false;
    size_t i;
    json_t *item;
    zb_cmd_status(&r);
    json_array_foreach(
        json_object_get(json_array_get(json_object_get(answer, "services"), 0), "members"), i, item)
    {
        is = is || (strcmp(json_string_value(json_object_get(item, "node")), "vm2") == 0 &&
                    (state == NULL ||
                     strcmp(json_string_value(json_object_get(item, "state")), state) == 0) &&
                    strstr(json_string_value(json_object_get(item, "note")), note) != NULL);
    }
    bool warned = warning[0] == '\0';
    json_array_foreach(json_object_get(answer, "warnings"), i, item)
    {
        warned = warned || strstr(json_string_value(item), warning) != NULL;
    }
    json_decref(answer);
    json_decref(r.args);
    return is && warned;
}

static bool
vm2_follows(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

/* --- copies --- */

static bool
written_copy_shows(const struct pair *w)
{
    return told(w, 0, "C-modified", "vm2: its copy was written to by somebody else: 4096 bytes") &&
           told(w, 1, "C-modified", "vm2: its copy was written to by somebody else: 4096 bytes") &&
           shown(w, "diverged", "4096 bytes written to it by others", "web: vm2 holds");
}

static void
a_copy_that_was_written_to_shows_on_both_sides(void **state)
{
    struct pair *w = *state;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows));
    uint64_t receives = w->hosts[1].model.ops[ZB_KOP_RECEIVE];
    w->hosts[1].model.changed_bytes = 2048; /* in each of two datasets */
    assert_true(pair_until(w, written_copy_shows));
    assert_int_equal(w->hosts[1].model.ops[ZB_KOP_RECEIVE], receives);
}

static bool diverged_shown;

/* Until it is set aside, soon after. */
static bool
fork_shows(const struct pair *w)
{
    diverged_shown = diverged_shown || shown(w, "diverged", "holds 9/4, came away past 1/0", "");
    return diverged_shown && told(w, 0, "C-fork", "vm2: holds set 9/4") &&
           told(w, 1, "C-fork", "vm2: holds set 9/4");
}

/* A set of a term that nobody led. */
static void
a_set_that_is_not_of_the_history_shows_on_both_sides(void **state)
{
    struct pair *w = *state;
    char name[ZB_SNAP_NAME_SIZE];
    w->hosts[0].model.record.lineage = (struct zb_lineage){.count = 1, .lines = {{.term = 1}}};
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows));
    zb_set_name_format((struct zb_set_id){9, 4}, (struct zb_wall){1795329667}, name);
    for (uint32_t i = 0; i < w->hosts[1].model.datasets_count; i++) {
        model_snap_add(&w->hosts[1].model.datasets[i], name, 9000 + i);
    }
    assert_true(pair_until(w, fork_shows));
    assert_true(pair_until(w, vm2_follows)); /* though no new set was made */
    assert_int_equal(w->hosts[1].model.rescued, 2);
}

/* --- records --- */

static void
moved(struct pair *w, int from)
{
    struct host *h = &w->hosts[from];
    int64_t end = zb_mono_now().ms + 20000;
    host_command(h, ZB_CMD_MOVE, host_other(h));
    while (h->replies == 0 && zb_mono_now().ms < end) {
        for (int i = 0; i < PAIR_HOSTS; i++) {
            (void)uv_run(&w->hosts[i].a.loop, UV_RUN_NOWAIT);
        }
    }
    assert_int_equal(h->reply_rc, ZB_OK);
}

static bool
vm1_follows(const struct pair *w)
{
    return pair_follows(&w->hosts[1], &w->hosts[0]);
}

static bool
record_back_shows(const struct pair *w)
{
    return told(w, 0, "C-term-back", "vm2: its record went back: it granted term 3") &&
           told(w, 1, "C-term-back", "vm2: this node's record went back");
}

static bool
vm2_knows_term_3(const struct pair *w)
{
    return w->hosts[1].model.record.learned_term == 3;
}

/* What vm1 heard of vm2's record is in its history, and counts when vm1 starts again. */
static void
a_record_that_went_back_shows_and_is_mended(void **state)
{
    struct pair *w = *state;
    struct zb_history_record *records = NULL;
    uint32_t count = 0;
    struct zb_err err;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows));
    struct zb_record before = w->hosts[1].model.record;
    moved(w, 0);
    assert_true(pair_until(w, vm1_follows));
    moved(w, 1);
    assert_true(pair_until(w, vm2_follows));
    zb_agent_flush(&w->hosts[0].a);
    assert_int_equal(
        zb_history_records_list(w->hosts[0].a.history, "web", 10, &records, &count, &err), ZB_OK);
    assert_int_equal(count, 1);
    assert_string_equal(records[0].node, "vm2");
    assert_string_equal(records[0].granted_to, "vm1");
    assert_int_equal(records[0].granted_term, 3);
    assert_string_equal(records[0].learned_leader, "vm1");
    assert_non_null(strstr(records[0].suspects, "vm1"));
    free(records);
    w->hosts[1].model.record = before;
    host_restart(w, &w->hosts[1]);
    pair_declare(w);
    assert_true(pair_until(w, record_back_shows));
    assert_true(pair_until(w, vm2_knows_term_3));
    assert_true(pair_until(w, vm2_follows));
}

/* --- pools --- */

static bool
pool_shows(const struct pair *w)
{
    return told(w, 0, "A-pool-changed",
                "vm2: its pool is another one than before (guid 78, was 77)") &&
           told(w, 1, "A-pool-changed",
                "vm2: its pool is another one than before (guid 78, was 77)") &&
           shown(w, NULL, "its pool is another one", "the pool of vm2 is another one");
}

static bool
pools_are_known(const struct pair *w)
{
    for (int i = 0; i < PAIR_HOSTS; i++) {
        char *text = NULL;
        struct zb_err err;
        bool known = zb_history_meta_get(w->hosts[i].a.history, "pools", &text, &err) == ZB_OK &&
                     strstr(text, "vm1") != NULL && strstr(text, "vm2") != NULL;
        free(text);
        if (!known) {
            return false;
        }
    }
    return true;
}

static bool
pool_note_is_gone(const struct pair *w)
{
    return vm2_follows(w) && shown(w, "current", "", "");
}

static void
a_pool_that_was_replaced_has_none_of_the_copies(void **state)
{
    struct pair *w = *state;
    struct zb_history_position *positions = NULL;
    uint32_t count = 0;
    struct zb_err err;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows));
    assert_true(pair_until(w, pools_are_known));
    w->hosts[1].model.receive_stalls = true;
    w->hosts[1].model.datasets_count = 0;
    w->hosts[1].model.pool_guid = 78;
    assert_true(pair_until(w, pool_shows));
    zb_agent_flush(&w->hosts[0].a);
    assert_int_equal(
        zb_history_positions_list(w->hosts[0].a.history, "web", 10, &positions, &count, &err),
        ZB_OK);
    assert_int_equal(count, 1);
    assert_true(zb_set_id_is_none(positions[0].set.id));
    free(positions);
    w->hosts[1].model.receive_stalls = false;
    assert_true(pair_until(w, pool_note_is_gone));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_copy_that_was_written_to_shows_on_both_sides),
        pair_test(a_set_that_is_not_of_the_history_shows_on_both_sides),
        pair_test(a_record_that_went_back_shows_and_is_mended),
        pair_test(a_pool_that_was_replaced_has_none_of_the_copies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
