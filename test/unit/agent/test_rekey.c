/* rekey and rekey.part: the keeper, the core and other nodes are played by the test. */
#include "unit.h"

#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/request.h"
#include "agent/rescue.h"

#define ASKED_MAX 8

static struct zb_agent a;
static struct zb_agent_service services[ZB_SERVICES_MAX];
static struct zb_request r;

static struct {
    uint8_t leader;
    bool moves;
    struct zb_set_id newest;
} world;

/* What others are asked. */
static struct {
    bool open;
    char set[ZB_SET_ID_SIZE];
    struct zb_forward_ask ask;
} asked[ASKED_MAX];
static int asked_count;

static struct {
    int count;
    struct zb_kreq req;
    void (*cb)(void *ctx, const struct zb_krep *rep);
    void *ctx;
} keeper;

static int syncs, events;
static struct zb_agent_command sync_command;

/* The end of the request. */
static int ended;
static json_t *data; /* NULL: it failed */
static struct zb_err failed;

/* --- instead of the other modules --- */

const char *
zb_request_text(const struct zb_request *request, const char *name)
{
    const char *text = json_string_value(json_object_get(request->args, name));

    return text == NULL ? "" : text;
}

uint16_t
zb_request_service(struct zb_request *request)
{
    assert_string_equal(zb_request_text(request, "service"), "web");
    return 0;
}

enum zb_rc
zb_request_set(const struct zb_request *request, uint16_t service, struct zb_set_id *id,
               struct zb_err *err)
{
    (void)service;
    return zb_set_id_parse(zb_request_text(request, "set"), id)
               ? ZB_OK
               : zb_err_set(err, ZB_E_USAGE, "not a set");
}

void
zb_request_done(struct zb_request *request, json_t *result)
{
    assert_ptr_equal(request, &r);
    ended++;
    json_decref(data);
    data = result;
}

void
zb_request_fail(struct zb_request *request, const struct zb_err *err, const char *rule)
{
    (void)rule;
    assert_ptr_equal(request, &r);
    ended++;
    failed = *err;
}

void
zb_forward_start(struct zb_agent *agent, const struct zb_forward_ask *ask)
{
    (void)agent;
    assert_string_equal(ask->cmd, "rekey.part");
    assert_string_equal(json_string_value(json_object_get(ask->args, "service")), "web");
    assert_in_range(asked_count, 0, ASKED_MAX - 1);
    zb_strcopy(asked[asked_count].set, sizeof(asked[0].set),
               json_string_value(json_object_get(ask->args, "set")));
    asked[asked_count].ask = *ask;
    asked[asked_count++].open = true;
}

static void
answer(int i, json_t *result)
{
    assert_true(asked[i].open);
    asked[i].open = false;
    asked[i].ask.on_result(asked[i].ask.ctx, result);
    json_decref(result);
}

void
zb_forward_end(struct zb_agent *agent, const void *ctx)
{
    (void)agent;
    for (int i = 0; i < asked_count; i++) {
        if (asked[i].open && asked[i].ask.ctx == ctx) {
            answer(i, json_pack("{s:i, s:s}", "rc", ZB_E_TIMEOUT, "error", "no answer in time"));
        }
    }
}

void
zb_agent_keeper_call(struct zb_agent *agent, struct zb_kreq *req,
                     void (*cb)(void *ctx, const struct zb_krep *rep), void *ctx)
{
    (void)agent;
    assert_int_equal(req->op, ZB_KOP_REKEY);
    assert_string_equal(req->service, "web");
    keeper.count++;
    keeper.req = *req;
    keeper.cb = cb;
    keeper.ctx = ctx;
}

void
zb_keeper_reply_error(const struct zb_krep *rep, const char *hint, struct zb_err *err)
{
    (void)hint;
    (void)zb_err_set(err, (enum zb_rc)rep->rc, "%s", rep->msg);
}

void
zb_agent_command_start(struct zb_agent *agent, const struct zb_agent_command *command)
{
    (void)agent;
    assert_int_equal(command->kind, ZB_CMD_SYNC);
    syncs++;
    sync_command = *command;
}

void
zb_agent_event(struct zb_agent *agent, uint32_t level, const char *service, const char *rule,
               const char *fmt, ...)
{
    (void)agent;
    (void)level;
    (void)fmt;
    assert_string_equal(service, "web");
    assert_string_equal(rule, "A-rekey");
    events++;
}

static int rescues; /* of the second node */

json_t *
zb_rescues_told(const struct zb_agent *agent, uint8_t node, const char *service)
{
    (void)agent;
    assert_string_equal(service, "web");
    return json_pack("{s:i, s:s}", "count", node == 1 ? rescues : 0, "name", "web-1");
}

uint8_t
zb_agent_node_find(const struct zb_agent *agent, const char *name)
{
    for (uint8_t i = 0; i < agent->nodes_count; i++) {
        if (strcmp(agent->nodes[i].name, name) == 0) {
            return i;
        }
    }
    return ZB_NODE_NONE;
}

bool
zb_core_lead(const struct zb_core *core, uint16_t service, struct zb_core_lead *lead)
{
    (void)core;
    (void)service;
    *lead = (struct zb_core_lead){.term = 12};
    return !world.moves;
}

void
zb_core_view(const struct zb_core *core, uint16_t service, struct zb_core_view *view)
{
    (void)core;
    (void)service;
    memset(view, 0, sizeof(*view));
    view->obs.newest.id = world.newest;
    view->leader = world.leader;
    view->why = "it waits";
}

const char *
zb_core_key_lack(enum zb_key_state key)
{
    return key == ZB_KEY_GOOD ? NULL : "it lacks it";
}

/* --- the story --- */

/* vm1, this node, leads; vm2 and vm3 are up, vm4 is not, and nobody knows vm5. */
static int
setup(void **state)
{
    (void)state;
    memset(&a, 0, sizeof(a));
    memset(&r, 0, sizeof(r));
    memset(&world, 0, sizeof(world));
    memset(&keeper, 0, sizeof(keeper));
    memset(asked, 0, sizeof(asked));
    asked_count = syncs = events = ended = 0;
    data = NULL;
    failed = (struct zb_err){0};
    a.services = services;
    a.nodes_count = 4;
    struct zb_conf_service *conf = &services[0].conf;
    zb_strcopy(conf->name, sizeof(conf->name), "web");
    conf->flavour = ZB_CONF_FLAVOUR_RAW;
    conf->members.count = 5;
    for (int i = 0; i < 5; i++) {
        (void)snprintf(conf->members.items[i], ZB_NODE_NAME_SIZE, "vm%d", i + 1);
    }
    for (int i = 0; i < 4; i++) {
        zb_strcopy(a.nodes[i].name, sizeof(a.nodes[i].name), conf->members.items[i]);
        a.nodes[i].up = i < 3;
    }
    r.a = &a;
    r.args = json_pack("{s:s}", "service", "web");
    zb_strcopy(r.who, sizeof(r.who), "root@vm1");
    return uv_loop_init(&a.loop);
}

static int
teardown(void **state)
{
    (void)state;
    json_decref(data);
    json_decref(r.args);
    while (uv_run(&a.loop, UV_RUN_NOWAIT) != 0) {
    }
    return uv_loop_close(&a.loop);
}

static void
keeper_answer(struct zb_krep rep)
{
    keeper.cb(keeper.ctx, &rep);
}

static void
sync_answer(enum zb_rc rc)
{
    struct zb_action reply = {.rc = rc, .text = "no room", .set.id = {12, 346}};

    sync_command.on_reply(sync_command.ctx, &reply);
}

static json_t *
good(json_t *key)
{
    return json_pack("{s:i, s:{s:o}}", "rc", ZB_OK, "data", "key", key);
}

/* What is told of a member: "good", "other it lacks it", or "- why it is not known". */
static void
assert_member(size_t i, const char *wanted)
{
    const json_t *m = json_array_get(json_object_get(data, "members"), i);
    const char *key = json_string_value(json_object_get(m, "key"));
    const char *text = json_string_value(json_object_get(m, "text"));
    char told[300];

    (void)snprintf(told, sizeof(told), "%s%s%s", key != NULL ? key : "-",
                   text[0] != '\0' ? " " : "", text);
    assert_string_equal(told, wanted);
}

static void
a_set_carries_it_and_each_is_asked(void **state)
{
    (void)state;
    zb_cmd_rekey(&r);
    assert_int_equal(keeper.req.term, 12);
    assert_int_equal(keeper.req.flags, 0);
    assert_int_equal(events + syncs, 0);
    keeper_answer((struct zb_krep){.rc = ZB_OK});
    assert_int_equal(events, 1);
    assert_int_equal(syncs, 1);
    sync_answer(ZB_OK);
    assert_int_equal(asked_count, 2);
    assert_int_equal(asked[0].ask.node, 1);
    assert_string_equal(asked[0].set, "12/346");
    answer(0, good(json_integer(ZB_KEY_OTHER)));
    assert_int_equal(ended, 0);
    answer(1, good(json_null()));
    assert_int_equal(ended, 1);
    assert_true(json_is_true(json_object_get(data, "changed")));
    assert_true(json_is_true(json_object_get(data, "degraded")));
    assert_member(0, "good");
    assert_member(1, "other it lacks it");
    assert_member(2, "- it has not got that set yet");
    assert_member(3, "- it is not reachable");
    assert_member(4, "- it is not reachable");
}

static void
one_that_is_in_force_makes_no_set(void **state)
{
    (void)state;
    services[0].conf.members.count = 2;
    zb_cmd_rekey(&r);
    keeper_answer((struct zb_krep){.rc = ZB_OK, .flags = ZB_KF_SAME});
    assert_int_equal(events + syncs, 0);
    assert_string_equal(asked[0].set, "");
    answer(0, good(json_integer(ZB_KEY_GOOD)));
    assert_int_equal(ended, 1);
    assert_true(json_is_false(json_object_get(data, "changed")));
    assert_true(json_is_false(json_object_get(data, "degraded")));
    assert_true(json_is_null(json_object_get(data, "set")));
    assert_member(1, "good");
}

static void
what_is_refused(void **state)
{
    (void)state;
    services[0].conf.flavour = ZB_CONF_FLAVOUR_PLAIN;
    zb_cmd_rekey(&r);
    assert_int_equal(failed.rc, ZB_E_REFUSED);
    assert_non_null(strstr(failed.msg, "of flavour \"plain\""));
    services[0].conf.flavour = ZB_CONF_FLAVOUR_RAW;
    world.moves = true;
    zb_cmd_rekey(&r);
    assert_non_null(strstr(failed.msg, "on its way to another node"));
    assert_int_equal(ended, 2);
    world.leader = ZB_NODE_NONE;
    zb_cmd_rekey(&r);
    assert_string_equal(failed.msg, "nobody leads web: it waits");
    assert_int_equal(ended, 3);
    assert_int_equal(keeper.count, 0);
}

/* Root of this host has consented, not of that one. */
static void
it_is_not_passed_on(void **state)
{
    (void)state;
    world.leader = 1;
    zb_cmd_rekey(&r);
    assert_int_equal(failed.rc, ZB_E_REFUSED);
    assert_string_equal(failed.hint, "run it on vm2, which leads");
    assert_int_equal(ended, 1);
    assert_int_equal(keeper.count + asked_count, 0);
}

static void
what_fails(void **state)
{
    (void)state;
    zb_cmd_rekey(&r);
    keeper_answer((struct zb_krep){.rc = ZB_E_FORMAT, .msg = "no key"});
    assert_int_equal(failed.rc, ZB_E_FORMAT);
    assert_string_equal(failed.msg, "no key");
    assert_int_equal(events + syncs, 0);
    zb_cmd_rekey(&r);
    keeper_answer((struct zb_krep){.rc = ZB_OK});
    sync_answer(ZB_E_NOSPACE);
    assert_int_equal(failed.rc, ZB_E_NOSPACE);
    assert_string_equal(failed.msg, "web has another key now, but no set with it: no room");
    assert_non_null(strstr(failed.hint, "zbaton sync web"));
    assert_int_equal(ended, 2);
}

/* Its own datasets could not be read with another key. */
static void
a_rescue_of_a_member_is_named(void **state)
{
    (void)state;
    rescues = 1;
    zb_cmd_rekey(&r);
    rescues = 0;
    assert_int_equal(keeper.count, 0);
    assert_int_equal(failed.rc, ZB_E_REFUSED);
    assert_non_null(strstr(failed.msg, "keeps rescue web-1 of it"));
    assert_non_null(strstr(failed.hint, "rescue export"));
}

static void
what_is_no_answer_is_said_to_be_none(void **state)
{
    (void)state;
    zb_cmd_rekey(&r);
    keeper_answer((struct zb_krep){.rc = ZB_OK, .flags = ZB_KF_SAME});
    answer(0, good(json_integer(ZB_KEY_STATE_LAST + 1)));
    answer(1, json_pack("{s:i, s:s}", "rc", ZB_E_UNSUPPORTED, "error", "an earlier version"));
    assert_member(1, "- the answer is not understood");
    assert_member(2, "- an earlier version");
}

static void
turn(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (handle->type == UV_TIMER && uv_is_active(handle)) {
        uv_timer_set_repeat((uv_timer_t *)handle, 1);
        assert_int_equal(uv_timer_again((uv_timer_t *)handle), 0);
    }
}

static void
who_never_answers_is_not_waited_for(void **state)
{
    (void)state;
    zb_cmd_rekey(&r);
    keeper_answer((struct zb_krep){.rc = ZB_OK, .flags = ZB_KF_SAME});
    uv_walk(&a.loop, turn, NULL);
    (void)uv_run(&a.loop, UV_RUN_ONCE);
    assert_int_equal(ended, 1);
    assert_member(1, "- no answer in time");
    assert_member(2, "- no answer in time");
}

static void
part(const char *set)
{
    json_object_set_new(r.args, "set", json_string(set));
    zb_cmd_rekey_part(&r);
}

static void
a_member_tries_its_own(void **state)
{
    (void)state;
    world.newest = (struct zb_set_id){12, 345};
    part("12/346"); /* its copy has the key of before */
    assert_int_equal(ended, 1);
    assert_true(json_is_null(json_object_get(data, "key")));
    part("no set");
    assert_int_equal(failed.rc, ZB_E_USAGE);
    assert_int_equal(keeper.count, 0);
    part("12/345");
    assert_int_equal(keeper.req.flags, ZB_KF_DRY_RUN);
    keeper_answer((struct zb_krep){.rc = ZB_OK, .key = ZB_KEY_OTHER});
    assert_int_equal(json_integer_value(json_object_get(data, "key")), ZB_KEY_OTHER);
    part("");
    keeper_answer((struct zb_krep){.rc = ZB_E_BUSY, .msg = "set aside"});
    assert_string_equal(failed.msg, "set aside");
    assert_int_equal(ended, 4);
}

#define story(t) cmocka_unit_test_setup_teardown(t, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        story(a_set_carries_it_and_each_is_asked),
        story(one_that_is_in_force_makes_no_set),
        story(what_is_refused),
        story(it_is_not_passed_on),
        story(what_fails),
        story(a_rescue_of_a_member_is_named),
        story(what_is_no_answer_is_said_to_be_none),
        story(who_never_answers_is_not_waited_for),
        story(a_member_tries_its_own),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
