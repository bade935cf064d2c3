/* How far a set is on its way, as status and transfers tell it, on the leader of two engines. */
#include "pair.h"

#include "agent/config.h"
#include "agent/request.h"

static json_t *answer; /* of the last command */

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

const char *
zb_request_text(const struct zb_request *r, const char *name)
{
    return json_string_value(json_object_get(r->args, name));
}

uint16_t
zb_request_service(struct zb_request *r)
{
    return zb_agent_service_find(r->a, zb_request_text(r, "service"));
}

/* vm1 asks vm2; the test answers. */
static struct zb_forward_ask asked;
static bool is_asked;

void
zb_forward_start(struct zb_agent *a, const struct zb_forward_ask *ask)
{
    (void)a;
    assert_string_equal(ask->cmd, "transfers");
    assert_false(is_asked);
    asked = *ask;
    is_asked = true;
}

static void
vm2_answers(json_t *result)
{
    assert_non_null(result);
    assert_true(is_asked);
    is_asked = false;
    asked.on_result(asked.ctx, result);
    json_decref(result);
}

void
zb_forward_end(struct zb_agent *a, const void *ctx)
{
    (void)a;
    if (is_asked && asked.ctx == ctx) {
        vm2_answers(json_pack("{s:i, s:s}", "rc", ZB_E_TIMEOUT, "error", "too late"));
    }
}

/* What vm1 sends, as another node is told it. The caller frees it. */
static json_t *
transfers(const struct pair *w, const char *service)
{
    struct zb_request r = {.a = (struct zb_agent *)(uintptr_t)&w->hosts[0].a,
                           .from_peer = true,
                           .args = json_pack("{s:s}", "service", service)};
    zb_cmd_transfers(&r);
    json_t *list = json_incref(json_object_get(answer, "transfers"));
    assert_int_equal(json_array_size(json_object_get(answer, "silent")), 0);
    json_decref(answer);
    json_decref(r.args);
    return list;
}

/* vm2 as vm1's status has it. The caller frees it. */
static json_t *
vm2_status(const struct pair *w)
{
    struct zb_request r = {.a = (struct zb_agent *)(uintptr_t)&w->hosts[0].a,
                           .args = json_pack("{s:[s]}", "services", "web")};
    zb_cmd_status(&r);
    json_t *members =
        json_object_get(json_array_get(json_object_get(answer, "services"), 0), "members");
    json_t *member = json_incref(json_array_get(members, 1));
    json_decref(answer);
    json_decref(r.args);
    return member;
}

static bool
vm2_follows_vm1(const struct pair *w)
{
    return pair_follows(&w->hosts[0], &w->hosts[1]);
}

static bool
vm1_was_asked(const struct pair *w)
{
    return w->hosts[0].model.ops[ZB_KOP_ESTIMATE] > 0;
}

/* All that the first stream has is in the pipe that nobody reads, and how much it is in all is
 * known. */
static bool
it_is_known_how_much(const struct pair *w)
{
    json_t *list = transfers(w, "");
    const json_t *one = json_array_get(list, 0);
    bool is = json_integer_value(json_object_get(one, "bytes_total")) == 20000 &&
              json_integer_value(json_object_get(one, "bytes")) > 3000;
    json_decref(list);
    return is;
}

static void
a_first_copy_that_takes_its_time_is_estimated(void **state)
{
    struct pair *w = *state;
    w->hosts[0].model.payload_bytes = 3000;
    w->hosts[0].model.estimate_bytes = 10000; /* there are two datasets, of one snapshot each */
    w->hosts[1].model.receive_stalls = true;
    pair_declare(w);
    assert_true(pair_until(w, it_is_known_how_much));
    assert_int_equal(w->hosts[0].model.ops[ZB_KOP_ESTIMATE], 2);

    json_t *list = transfers(w, "web");
    assert_int_equal(json_array_size(list), 1);
    const json_t *one = json_array_get(list, 0);
    assert_string_equal(json_string_value(json_object_get(one, "service")), "web");
    assert_string_equal(json_string_value(json_object_get(one, "from")), "vm1");
    assert_string_equal(json_string_value(json_object_get(one, "to")), "vm2");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(one, "set"), "term")), 1);
    assert_true(json_integer_value(json_object_get(one, "elapsed_ms")) >= 1000);
    json_decref(list);
    list = transfers(w, "other");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);

    json_t *member = vm2_status(w);
    assert_string_equal(json_string_value(json_object_get(member, "state")), "receiving");
    assert_memory_equal(json_string_value(json_object_get(member, "note")), "15%", 3);
    const json_t *transfer = json_object_get(member, "transfer");
    json_int_t done = json_integer_value(json_object_get(transfer, "bytes"));
    assert_int_equal(json_integer_value(json_object_get(transfer, "bytes_total")), 20000);
    assert_int_equal(json_integer_value(json_object_get(member, "behind_bytes")), 20000 - done);
    json_decref(member);
}

static void
without_an_estimate_it_is_unknown(void **state)
{
    struct pair *w = *state;
    w->hosts[1].model.receive_stalls = true;
    pair_declare(w);
    assert_true(pair_until(w, vm1_was_asked));
    w->hosts[1].model.receive_stalls = false;
    json_t *list = transfers(w, "");
    const json_t *one = json_array_get(list, 0);
    assert_true(json_is_integer(json_object_get(one, "bytes")));
    assert_true(json_is_null(json_object_get(one, "bytes_total")));
    assert_true(json_is_null(json_object_get(one, "left_s")));
    json_decref(list);
    json_t *member = vm2_status(w);
    assert_string_equal(json_string_value(json_object_get(member, "state")), "receiving");
    assert_string_equal(json_string_value(json_object_get(member, "note")), "");
    assert_true(json_is_null(json_object_get(member, "behind_bytes")));
    json_decref(member);
    host_restart(w, &w->hosts[1]);
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    list = transfers(w, "");
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
    member = vm2_status(w);
    assert_true(json_is_null(json_object_get(member, "transfer")));
    json_decref(member);
}

static bool
vm2_is_up(const struct pair *w)
{
    return w->hosts[0].a.nodes[host_other(&w->hosts[0])].up;
}

static bool
it_is_answered(const struct pair *w)
{
    (void)w;
    return answer != NULL;
}

static void
ask_all(struct pair *w, struct zb_request *r)
{
    answer = NULL;
    *r = (struct zb_request){.a = &w->hosts[0].a, .args = json_pack("{s:s}", "service", "")};
    zb_cmd_transfers(r);
}

/* Of an answer: the services of its transfers, and the nodes that said nothing. */
static void
assert_answer(const char *services, const char *silent)
{
    char text[2][256] = {"", ""};
    static const char *const keys[2][2] = {{"transfers", "service"}, {"silent", "node"}};
    for (int k = 0; k < 2; k++) {
        size_t i;
        json_t *one;
        json_array_foreach(json_object_get(answer, keys[k][0]), i, one)
        {
            size_t used = strlen(text[k]);
            const char *name = json_string_value(json_object_get(one, keys[k][1]));
            (void)snprintf(text[k] + used, sizeof text[k] - used, "%s%s", i > 0 ? " " : "",
                           name != NULL ? name : "-");
        }
    }
    assert_string_equal(text[0], services);
    assert_string_equal(text[1], silent);
    json_decref(answer);
}

static void
what_each_node_sends_is_put_together(void **state)
{
    struct pair *w = *state;
    struct zb_request r;
    pair_declare(w);
    assert_true(pair_until(w, vm2_is_up));
    assert_true(pair_until(w, vm2_follows_vm1));

    ask_all(w, &r);
    assert_null(answer);
    vm2_answers(json_pack("{s:i, s:{s:[{s:s}, i, {s:s}, {}]}}", "rc", 0, "data", "transfers",
                          "service", "web", 5, "service", "db"));
    assert_answer("- db web", "");
    json_decref(r.args);

    ask_all(w, &r);
    vm2_answers(json_pack("{s:i, s:s}", "rc", ZB_E_USAGE, "error", "no command 'transfers'"));
    assert_answer("", "vm2");
    json_decref(r.args);

    ask_all(w, &r); /* nothing is answered */
    assert_true(pair_until(w, it_is_answered));
    assert_answer("", "vm2");
    json_decref(r.args);

    w->hosts[0].a.nodes[host_other(&w->hosts[0])].up = false;
    ask_all(w, &r);
    assert_answer("", "vm2");
    json_decref(r.args);
}

/* What is sent within a second costs no request; a busy machine may need some tries. */
static void
the_steady_state_is_not_estimated(void **state)
{
    struct pair *w = *state;
    int64_t took_ms;
    uint64_t before;
    pair_declare(w);
    assert_true(pair_until(w, vm2_follows_vm1));
    do {
        before = w->hosts[0].model.ops[ZB_KOP_ESTIMATE];
        took_ms = zb_mono_now().ms;
        w->hosts[0].model.written = true;
        host_command(&w->hosts[0], ZB_CMD_SYNC, ZB_NODE_NONE);
        assert_true(pair_until(w, pair_replied));
        assert_true(pair_until(w, vm2_follows_vm1));
        took_ms = zb_mono_now().ms - took_ms;
    } while (took_ms >= 1000);
    assert_int_equal(w->hosts[0].model.ops[ZB_KOP_ESTIMATE], before);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        pair_test(a_first_copy_that_takes_its_time_is_estimated),
        pair_test(without_an_estimate_it_is_unknown),
        pair_test(what_each_node_sends_is_put_together),
        pair_test(the_steady_state_is_not_estimated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
