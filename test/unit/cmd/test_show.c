/* Pictures of answers: test/golden/cmd/<name>.json in, <name><suffix>.txt expected.
 * ZB_GOLDEN_WRITE=1 writes them. */
#include "unit.h"

#include "cmd/show.h"

struct picture {
    FILE *out;
    char *text;
    size_t size;
    json_t *data;
    struct zb_show show;
};

static void
picture_begin(struct picture *p, const char *name)
{
    char path[1024];
    json_error_t error;

    snprintf(path, sizeof path, "%s/%s.json", getenv("ZB_GOLDEN"), name);
    *p = (struct picture){0};
    p->data = json_load_file(path, 0, &error);
    if (p->data == NULL) {
        fail_msg("%s:%d: %s", path, error.line, error.text);
    }
    p->out = open_memstream(&p->text, &p->size);
    p->show.out = p->out;
}

static void
picture_compare(struct picture *p, const char *name)
{
    char path[1024];
    static char expected[65536];

    fclose(p->out);
    snprintf(path, sizeof path, "%s/%s.txt", getenv("ZB_GOLDEN"), name);
    if (getenv("ZB_GOLDEN_WRITE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(p->text, file);
        fclose(file);
    }
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        fail_msg("%s is missing", path);
    }
    expected[fread(expected, 1, sizeof expected - 1, file)] = '\0';
    fclose(file);
    assert_string_equal(p->text, expected);
    json_decref(p->data);
    free(p->text);
}

static void
test_status(void **state)
{
    struct picture p;
    struct zb_err err;

    (void)state;
    picture_begin(&p, "status");
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status");
    picture_begin(&p, "status");
    p.show.scripted = p.show.exact = true;
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-Hp");
    picture_begin(&p, "status");
    p.show.columns = "node,set,service";
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-o");
    picture_begin(&p, "status-promise");
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-promise");
    picture_begin(&p, "status-promise");
    p.show.exact = p.show.scripted = true;
    p.show.columns = "service,loss";
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-promise-Hpo");
}

static void
test_unknown_column_prints_nothing(void **state)
{
    struct picture p;
    struct zb_err err;

    (void)state;
    picture_begin(&p, "status");
    p.show.columns = "service,nothere";
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_E_USAGE);
    assert_string_equal(err.msg, "no column 'nothere'");
    assert_non_null(strstr(err.hint, "service, node, role"));
    fflush(p.out);
    assert_int_equal(p.size, 0);
    fclose(p.out);
    free(p.text);
    json_decref(p.data);
}

static void
test_status_of_nothing(void **state)
{
    struct picture p;
    struct zb_err err;

    (void)state;
    picture_begin(&p, "status");
    json_array_clear(json_object_get(p.data, "services"));
    json_array_clear(json_object_get(p.data, "warnings"));
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-empty");
}

static void
test_status_of_what_is_not_as_it_should_be(void **state)
{
    struct picture p;
    struct zb_err err;

    (void)state;
    picture_begin(&p, "status");
    p.show.unhealthy = true;
    assert_true(zb_status_reduce(p.data));
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-x");
    picture_begin(&p, "status");
    p.show.unhealthy = true;
    json_array_clear(json_object_get(p.data, "services"));
    assert_true(zb_status_reduce(p.data));
    assert_int_equal(zb_show_status(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "status-x-warnings");
}

static void
test_status_reduced_to_nothing(void **state)
{
    json_t *data = json_pack("{s:[{s:s, s:[{s:b}, {s:b}]}], s:[]}", "services", "name", "web",
                             "members", "healthy", 1, "healthy", 1, "warnings");

    (void)state;
    assert_non_null(data);
    assert_false(zb_status_reduce(data));
    assert_int_equal(json_array_size(json_object_get(data, "services")), 0);
    json_decref(data);
}

static void
test_history(void **state)
{
    struct picture p;

    (void)state;
    picture_begin(&p, "history");
    zb_show_history(&p.show, p.data);
    picture_compare(&p, "history");
    picture_begin(&p, "history");
    p.show.scripted = p.show.exact = true;
    zb_show_history(&p.show, p.data);
    picture_compare(&p, "history-Hp");
}

static void
steps_show(const char *name, bool terminal, const char *expected)
{
    struct picture p;
    struct zb_show_progress progress = {0};
    size_t i;
    json_t *line;

    picture_begin(&p, name);
    p.show.terminal = terminal;
    progress.show = &p.show;
    json_array_foreach(p.data, i, line)
    {
        zb_show_steps_progress(&progress, line);
    }
    zb_show_steps_end(&progress);
    picture_compare(&p, expected);
}

static void
test_move(void **state)
{
    (void)state;
    steps_show("move", false, "move");
    steps_show("move", true, "move-terminal");
}

static void
test_move_result(void **state)
{
    struct picture p;

    (void)state;
    picture_begin(&p, "move_plan");
    json_object_set_new(p.data, "down_ms", json_integer(3400));
    json_object_set_new(p.data, "own_ms", json_integer(412));
    zb_show_move_result(&p.show, "web", "vm2", p.data);
    fflush(p.out);
    assert_string_equal(p.text,
                        "web runs on vm2. Down for 3.4 s (0.4 s of it zbaton's). Nothing lost.\n");
    fclose(p.out);
    free(p.text);
    json_decref(p.data);
}

static void
test_failover(void **state)
{
    struct picture p;

    (void)state;
    picture_begin(&p, "failover");
    zb_show_loss(&p.show, p.data);
    picture_compare(&p, "failover");
    picture_begin(&p, "failover");
    p.show.exact = true;
    json_object_set_new(p.data, "forward_from", json_null());
    json_object_set_new(p.data, "chosen", json_false());
    json_object_set_new(p.data, "lost", json_string("nothing"));
    zb_show_loss(&p.show, p.data);
    picture_compare(&p, "failover-p");
    steps_show("failover_steps", false, "failover_steps");
}

static void
assert_result(const char *key, const char *expected)
{
    struct picture p = {0};

    p.data = json_pack("{s:s, s:i, s:{s:i, s:i}, s:s, s:s}", "to", "vm2", "term", 13, "from_set",
                       "term", 12, "seq", 346, "lost", "what vm1 wrote after set 12/346", "text",
                       "vm3 does not follow yet");
    assert_non_null(p.data);
    json_object_set_new(p.data, key, json_true());
    p.out = open_memstream(&p.text, &p.size);
    p.show.out = p.out;
    zb_show_failover_result(&p.show, "web", p.data);
    fclose(p.out);
    assert_string_equal(p.text, expected);
    free(p.text);
    json_decref(p.data);
}

static void
test_failover_result(void **state)
{
    (void)state;
    assert_result("-", "web runs on vm2 in term 13, from set 12/346. Lost at most: what vm1 wrote "
                       "after set 12/346.\n");
    assert_result("degraded", "web runs on vm2 in term 13, from set 12/346. Lost at most: what vm1 "
                              "wrote after set 12/346.\nwarning: vm3 does not follow yet\n");
    assert_result("background", "vm2 has taken web: vm3 does not follow yet\n");
}

static void
test_sets(void **state)
{
    struct picture p = {0};
    struct zb_err err;
    (void)state;

    picture_begin(&p, "sets");
    assert_int_equal(zb_show_sets(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "sets");
    picture_begin(&p, "sets");
    p.show.scripted = true;
    p.show.columns = "set,stays";
    assert_int_equal(zb_show_sets(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "sets-H");
}

static void
test_rekey(void **state)
{
    struct picture p;

    (void)state;
    picture_begin(&p, "rekey");
    zb_show_rekey(&p.show, p.data);
    picture_compare(&p, "rekey");
    picture_begin(&p, "rekey");
    json_object_set_new(p.data, "changed", json_false());
    json_object_set_new(p.data, "set", json_null());
    json_object_set_new(p.data, "degraded", json_false());
    json_array_remove(json_object_get(p.data, "members"), 2);
    json_array_remove(json_object_get(p.data, "members"), 1);
    zb_show_rekey(&p.show, p.data);
    picture_compare(&p, "rekey-same");
}

static void
test_peeks(void **state)
{
    struct picture p;
    struct zb_err err;
    (void)state;

    picture_begin(&p, "peeks");
    assert_int_equal(zb_show_peeks(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "peeks");
    picture_begin(&p, "peeks");
    json_array_clear(json_object_get(p.data, "peeks"));
    assert_int_equal(zb_show_peeks(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "peeks-none");
}

static void
test_transfers(void **state)
{
    struct picture p;
    struct zb_err err;
    (void)state;

    picture_begin(&p, "transfers");
    assert_int_equal(zb_show_transfers(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "transfers");
    picture_begin(&p, "transfers");
    p.show.scripted = p.show.exact = true;
    assert_int_equal(zb_show_transfers(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "transfers-Hp");
    picture_begin(&p, "transfers");
    p.show.columns = "to,part,nothere";
    assert_int_equal(zb_show_transfers(&p.show, p.data, &err), ZB_E_USAGE);
    p.show.columns = "to,part";
    json_array_clear(json_object_get(p.data, "silent"));
    assert_int_equal(zb_show_transfers(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "transfers-o");
    picture_begin(&p, "transfers");
    json_array_clear(json_object_get(p.data, "transfers"));
    assert_int_equal(zb_show_transfers(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "transfers-none");
}

static void
test_rescues(void **state)
{
    struct picture p;
    struct zb_err err;
    json_t *one;

    (void)state;
    picture_begin(&p, "rescues");
    assert_int_equal(zb_show_rescues(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "rescues");
    picture_begin(&p, "rescues");
    json_array_clear(json_object_get(p.data, "rescues"));
    assert_int_equal(zb_show_rescues(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "rescues-none");
    picture_begin(&p, "rescues");
    one = json_pack("{s:s, s:O}", "node", "vm1", "rescue",
                    json_array_get(json_object_get(p.data, "rescues"), 0));
    zb_show_rescue(&p.show, one);
    json_decref(one);
    picture_compare(&p, "rescue");
}

static void
test_explain(void **state)
{
    struct picture p;

    (void)state;
    picture_begin(&p, "explain");
    zb_show_explain(&p.show, p.data);
    json_object_set_new(p.data, "leader", json_null());
    json_array_clear(json_object_get(p.data, "members"));
    zb_show_explain(&p.show, p.data);
    picture_compare(&p, "explain");
}

static void
test_rejoin(void **state)
{
    struct picture p;

    (void)state;
    picture_begin(&p, "rejoin");
    zb_show_rejoin_plan(&p.show, "web", p.data);
    json_object_set_new(p.data, "diverged", json_false());
    zb_show_rejoin_plan(&p.show, "web", p.data);
    zb_show_rejoin_result(&p.show, "web", p.data);
    json_object_set_new(p.data, "rescue", json_string("web-000012-20261122T064100Z"));
    json_object_set_new(p.data, "bytes", json_integer(222298112));
    zb_show_rejoin_result(&p.show, "web", p.data);
    json_object_set_new(p.data, "dropped", json_true());
    zb_show_rejoin_result(&p.show, "web", p.data);
    json_object_set_new(p.data, "background", json_true());
    json_object_set_new(p.data, "text", json_string("waits for its leader"));
    zb_show_rejoin_result(&p.show, "web", p.data);
    picture_compare(&p, "rejoin");
}

static void
test_lists(void **state)
{
    struct picture p;
    struct zb_err err;
    size_t i;
    json_t *event;

    (void)state;
    picture_begin(&p, "move_plan");
    zb_show_steps_plan(&p.show, p.data);
    picture_compare(&p, "move_plan");
    picture_begin(&p, "apply");
    zb_show_apply(&p.show, p.data);
    picture_compare(&p, "apply");
    picture_begin(&p, "nodes");
    assert_int_equal(zb_show_nodes(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "nodes");
    picture_begin(&p, "tokens");
    assert_int_equal(zb_show_tokens(&p.show, p.data, &err), ZB_OK);
    picture_compare(&p, "tokens");
    picture_begin(&p, "events");
    json_array_foreach(json_object_get(p.data, "events"), i, event)
    {
        zb_show_event(&p.show, event);
    }
    picture_compare(&p, "events");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_status),
        cmocka_unit_test(test_unknown_column_prints_nothing),
        cmocka_unit_test(test_status_of_nothing),
        cmocka_unit_test(test_status_of_what_is_not_as_it_should_be),
        cmocka_unit_test(test_status_reduced_to_nothing),
        cmocka_unit_test(test_history),
        cmocka_unit_test(test_move),
        cmocka_unit_test(test_move_result),
        cmocka_unit_test(test_failover),
        cmocka_unit_test(test_failover_result),
        cmocka_unit_test(test_sets),
        cmocka_unit_test(test_peeks),
        cmocka_unit_test(test_rekey),
        cmocka_unit_test(test_rescues),
        cmocka_unit_test(test_transfers),
        cmocka_unit_test(test_explain),
        cmocka_unit_test(test_rejoin),
        cmocka_unit_test(test_lists),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
