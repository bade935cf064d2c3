/* Drills between two engines: the result is remembered, told, and decides who is chosen. */
#include "pair.h"

#include "agent/drill.h"
#include "agent/explain.h"
#include "agent/loss.h"

static struct pair *P;
static int ended;
static bool ok;
static char why[512];
static json_t *said;

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static int
setup(void **state)
{
    int rc = pair_setup(state);
    P = *state;
    pair_declare(P);
    host_command(&P->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
    assert_true(pair_until(P, vm2_follows_vm1));
    return rc;
}

static void
on_done(void *ctx, const json_t *result, const struct zb_err *err)
{
    (void)ctx;
    ended++;
    ok = json_is_true(json_object_get(result, "ok"));
    (void)snprintf(why, sizeof why, "%s",
                   result != NULL ? json_string_value(json_object_get(result, "text")) : err->msg);
}

static bool
has_ended(const struct pair *w)
{
    (void)w;
    return ended > 0;
}

/* vm2 tries its copy, which would do or would not. */
static void
drill(bool fails)
{
    const struct zb_drill_order order = {.service = 0, .on_done = on_done};

    P->hosts[1].model.drill_fails = fails;
    ended = 0;
    zb_drill_start(&P->hosts[1].a, &order);
    assert_true(pair_until(P, has_ended));
    assert_int_equal(ended, 1);
    assert_int_equal(ok, !fails);
}

static const char *
failure_known_to_vm1(void)
{
    return zb_drill_failure(&P->hosts[0].a, host_other(&P->hosts[0]), "web");
}

static bool
vm1_knows_of_it(const struct pair *w)
{
    (void)w;
    return failure_known_to_vm1() != NULL;
}

static bool
vm1_knows_of_none(const struct pair *w)
{
    (void)w;
    return failure_known_to_vm1() == NULL;
}

static uint32_t
chosen(void)
{
    struct zb_core_view view = host_view(&P->hosts[0]);
    struct zb_loss loss;

    zb_loss_gather(&P->hosts[0].a, 0, &view, &loss);
    uint32_t index = zb_loss_choose(&loss);
    zb_loss_close(&loss);
    return index;
}

static void
on_explained(void *ctx, json_t *member)
{
    (void)ctx;
    said = member;
}

static bool
is_explained(const struct pair *w)
{
    (void)w;
    return said != NULL;
}

/* Whether vm1 explains that vm2 cannot be moved to, for that reason. */
static bool
explained(const char *text)
{
    json_decref(said);
    said = NULL;
    zb_explain_here(&P->hosts[0].a, 0, on_explained, NULL);
    assert_true(pair_until(P, is_explained));
    char *all = json_dumps(said, 0);
    bool found = strstr(all, text) != NULL;
    free(all);
    json_decref(said);
    said = NULL;
    return found;
}

static void
one_that_fails_is_told_and_not_chosen(void **state)
{
    char *text = NULL;
    struct zb_err err;
    (void)state;

    json_t *told = zb_drill_told(&P->hosts[0].a, host_other(&P->hosts[0]), "web");
    assert_true(json_is_null(told));
    json_decref(told);
    assert_int_equal(chosen(), 1);
    drill(true);
    assert_string_equal(why, "check: exit status 1");
    assert_true(pair_until(P, vm1_knows_of_it));
    assert_string_equal(failure_known_to_vm1(), "check: exit status 1");
    assert_int_equal(chosen(), ZB_LOSS_NONE);
    assert_true(explained("not to vm2: its last drill failed: check: exit status 1"));
    assert_int_equal(zb_history_meta_get(P->hosts[1].a.history, "drills", &text, &err), ZB_OK);
    assert_non_null(strstr(text, "\"ok\":false"));
    free(text);

    drill(false);
    assert_true(pair_until(P, vm1_knows_of_none));
    told = zb_drill_told(&P->hosts[0].a, host_other(&P->hosts[0]), "web");
    assert_true(json_is_true(json_object_get(told, "ok")));
    json_decref(told);
    assert_int_equal(chosen(), 1);
    assert_false(explained("drill"));
}

/* What is told by a peer that means harm changes nothing. */
static void
what_is_no_result_is_dropped(void **state)
{
    static const char *const bad[] = {
        "{}",
        "{\"services\":7}",
        "{\"services\":{\"web\":7}}",
        "{\"services\":{\"web\":{}}}",
        "{\"services\":{\"../web\":{\"time_s\":1,\"term\":\"1\",\"seq\":\"1\",\"ok\":true,"
        "\"text\":\"\"}}}",
        "{\"services\":{\"web\":{\"time_s\":-1,\"term\":\"1\",\"seq\":\"1\",\"ok\":true,"
        "\"text\":\"\"}}}",
    };
    uint8_t vm2 = host_other(&P->hosts[0]);
    (void)state;

    drill(true);
    assert_true(pair_until(P, vm1_knows_of_it));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        json_t *msg = json_loads(bad[i], 0, NULL);
        zb_drills_message(&P->hosts[0].a, vm2, msg);
        json_decref(msg);
        assert_non_null(failure_known_to_vm1());
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(one_that_fails_is_told_and_not_chosen, setup,
                                        pair_teardown),
        cmocka_unit_test_setup_teardown(what_is_no_result_is_dropped, setup, pair_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
