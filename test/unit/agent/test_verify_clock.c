/*
 * An order to verify has a clock of its own: other nodes and this node's keeper are played by the
 * test, and some of them never answer. The clock is turned on by hand.
 */
#include "unit.h"

#include "agent/internal.h"
#include "agent/keeper.h"
#include "agent/position.h"
#include "agent/request.h"
#include "agent/verify.h"

#define ASKED_MAX 16
#define TOTAL "total 0 0 0 0 0\n"

static struct zb_agent a;
static struct zb_agent_service services[ZB_SERVICES_MAX];
static struct zb_manifest manifest;

/* What other nodes are asked. */
static struct {
    bool open;
    struct zb_forward_ask ask;
} asked[ASKED_MAX];
static int asked_count, ends;

static struct zb_keeper_call keeper_call; /* of this node's part */
static bool keeper_asked;
static int keeper_canceled;

static int done;
static struct zb_err done_err;

/* --- instead of the other modules --- */

void
zb_forward_start(struct zb_agent *agent, const struct zb_forward_ask *ask)
{
    (void)agent;
    if (strcmp(ask->cmd, "verify.end") == 0) {
        ends++;
        return;
    }
    assert_in_range(asked_count, 0, ASKED_MAX - 1);
    asked[asked_count].ask = *ask;
    asked[asked_count++].open = true;
}

static void
answer(int i, enum zb_rc rc)
{
    json_t *result = rc == ZB_OK ? json_pack("{s:i, s:{s:s, s:i}}", "rc", 0, "data", "text", TOTAL,
                                             "elapsed_ms", 1)
                                 : json_pack("{s:i, s:s}", "rc", rc, "error", "so it is");

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
            answer(i, ZB_E_TIMEOUT);
        }
    }
}

uint64_t
zb_keeper_client_call(struct zb_keeper_client *k, struct zb_kreq *req,
                      const struct zb_keeper_call *call)
{
    (void)k;
    assert_int_equal(req->op, ZB_KOP_VERIFY);
    keeper_call = *call;
    keeper_asked = true;
    return 5;
}

void
zb_keeper_client_cancel(struct zb_keeper_client *k, uint64_t id)
{
    (void)k;
    assert_int_equal(id, 5);
    keeper_canceled++;
}

void
zb_keeper_reply_error(const struct zb_krep *rep, const char *hint, struct zb_err *err)
{
    (void)hint;
    (void)zb_err_set(err, rep->rc, "of the keeper");
}

const struct zb_manifest *
zb_position_manifest(struct zb_agent *agent, uint16_t service, struct zb_set_id id)
{
    (void)agent;
    (void)service;
    (void)id;
    return &manifest;
}

uint16_t
zb_agent_service_find(const struct zb_agent *agent, const char *name)
{
    (void)agent;
    (void)name;
    return 0;
}

void
zb_agent_event(struct zb_agent *agent, uint32_t level, const char *service, const char *rule,
               const char *fmt, ...)
{
    (void)agent;
    (void)level;
    (void)service;
    (void)rule;
    (void)fmt;
}

/* --- the order --- */

static void
on_done(void *ctx, const json_t *result, const struct zb_err *err)
{
    assert_ptr_equal(ctx, &done);
    done++;
    done_err = result == NULL ? *err : (struct zb_err){.rc = ZB_OK};
}

/* vm2 and vm3; with self the node that was asked too. */
static void
order(bool self)
{
    struct zb_verify_order o = {.set = {.term = 1, .seq = 1},
                                .timeout_s = 100,
                                .nodes_count = self ? 3 : 2,
                                .nodes = {1, 2, 0},
                                .who = "root@vm1",
                                .on_done = on_done,
                                .ctx = &done};

    zb_verify_start(&a, &o);
}

static void
keeper_answer(enum zb_rc rc)
{
    struct zb_krep rep = {.rc = rc};

    assert_true(keeper_asked);
    keeper_asked = false;
    keeper_call.on_reply(keeper_call.ctx, &rep);
}

static void
turn(uv_handle_t *handle, void *at_most_s)
{
    uv_timer_t *timer = (uv_timer_t *)handle;

    if (handle->type == UV_TIMER && uv_is_active(handle)) {
        assert_in_range(uv_timer_get_due_in(timer), 1, *(unsigned *)at_most_s * 1000);
        uv_timer_set_repeat(timer, 1);
        assert_int_equal(uv_timer_again(timer), 0);
    }
}

/* It is due in that time at the latest; then that time is over. */
static void
clock_out(unsigned at_most_s)
{
    int before = done;

    uv_walk(&a.loop, turn, &at_most_s);
    (void)uv_run(&a.loop, UV_RUN_ONCE);
    assert_int_equal(done, before + 1);
}

static int
setup(void **state)
{
    (void)state;
    memset(&a, 0, sizeof(a));
    memset(asked, 0, sizeof(asked));
    asked_count = ends = keeper_canceled = done = 0;
    keeper_asked = false;
    a.services = services;
    a.nodes_count = 3;
    zb_strcopy(services[0].conf.name, sizeof(services[0].conf.name), "web");
    for (int i = 0; i < 3; i++) {
        (void)snprintf(a.nodes[i].name, sizeof(a.nodes[i].name), "vm%d", i + 1);
    }
    return uv_loop_init(&a.loop);
}

static int
teardown(void **state)
{
    (void)state;
    assert_null(a.verify);
    while (uv_run(&a.loop, UV_RUN_NOWAIT) != 0) {
    }
    return uv_loop_close(&a.loop);
}

static void
test_all_answer(void **state)
{
    (void)state;
    order(true);
    answer(0, ZB_OK);
    answer(1, ZB_OK);
    keeper_answer(ZB_E_BUSY);
    assert_int_equal(done, 1);
    assert_int_equal(done_err.rc, ZB_E_BUSY);
}

static void
test_one_never_answers(void **state)
{
    (void)state;
    order(false);
    answer(0, ZB_OK);
    assert_int_equal(done, 0);
    clock_out(100 + 60);
    assert_int_equal(done_err.rc, ZB_E_TIMEOUT);
    assert_string_equal(done_err.msg, "vm3: no answer in time");
    assert_int_equal(ends, 1);

    order(false); /* another one is not kept waiting */
    answer(2, ZB_OK);
    answer(3, ZB_OK);
    assert_int_equal(done, 2);
    assert_int_equal(done_err.rc, ZB_OK);
}

/* Ctrl-C: those that do not even answer to that are not waited for. */
static void
test_canceled_and_never_answered(void **state)
{
    (void)state;
    order(true);
    zb_verify_cancel(&a, &done);
    assert_int_equal(ends, 2);
    assert_int_equal(keeper_canceled, 1);
    answer(1, ZB_E_CANCELED);
    keeper_answer(ZB_E_CANCELED);
    assert_int_equal(done, 0);
    clock_out(10);
    assert_int_equal(done_err.rc, ZB_E_CANCELED);
}

static void
test_the_keeper_answers_late(void **state)
{
    (void)state;
    order(true);
    answer(0, ZB_OK);
    clock_out(100 + 60);
    assert_int_equal(done_err.rc, ZB_E_TIMEOUT);
    assert_int_equal(keeper_canceled, 1);
    assert_null(a.verify);
    order(false);
    keeper_answer(ZB_OK); /* of the first order: it is nobody's */
    assert_int_equal(done, 1);
    answer(2, ZB_OK);
    answer(3, ZB_OK);
    assert_int_equal(done, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_all_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(test_one_never_answers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_canceled_and_never_answered, setup, teardown),
        cmocka_unit_test_setup_teardown(test_the_keeper_answers_late, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
