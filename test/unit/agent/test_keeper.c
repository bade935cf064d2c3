/* The keeper's client against a keeper that is played by hand over a socketpair. */
#include "unit.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper.h"
#include "base/be.h"

struct world {
    uv_loop_t loop;
    uv_timer_t ticker; /* lets the loop turn, so that deadlines are seen */
    struct zb_keeper_client *client;
    int keeper; /* the other end */
    char lost[128];
    int replies;
    uint64_t reply_ids[128];
    enum zb_rc rcs[128];
    int pipes;
    int pipe_fd;
    bool ask_again; /* the callback asks once more */
};

static void
on_lost(void *ctx, const char *why)
{
    struct world *w = ctx;
    assert_string_equal(w->lost, "");
    (void)snprintf(w->lost, sizeof(w->lost), "%s", why);
}

static uint64_t ask(struct world *w, uint32_t op);

static void
on_reply(void *ctx, const struct zb_krep *rep)
{
    struct world *w = ctx;
    assert_true(w->replies < 128);
    w->reply_ids[w->replies] = rep->id;
    w->rcs[w->replies++] = (enum zb_rc)rep->rc;
    if (w->ask_again) {
        w->ask_again = false;
        (void)ask(w, ZB_KOP_OBSERVE);
    }
}

static void
on_pipe(void *ctx, int fd)
{
    struct world *w = ctx;
    w->pipes++;
    w->pipe_fd = fd;
}

static uint64_t
ask(struct world *w, uint32_t op)
{
    struct zb_kreq req = {.op = op};
    zb_strcopy(req.service, sizeof(req.service), "web");
    return zb_keeper_client_call(
        w->client, &req,
        &(struct zb_keeper_call){.on_reply = on_reply, .on_pipe = on_pipe, .ctx = w});
}

static void
on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    struct zb_err err;
    int pair[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    assert_int_equal(uv_timer_init(&w->loop, &w->ticker), 0);
    assert_int_equal(uv_timer_start(&w->ticker, on_tick, 5, 5), 0);
    w->keeper = pair[1];
    w->pipe_fd = -1;
    assert_int_equal(zb_keeper_client_new(&w->loop, pair[0], on_lost, w, &w->client, &err), ZB_OK);
    *state = w;
    return 0;
}

static int
teardown(void **state)
{
    struct world *w = *state;
    zb_keeper_client_free(w->client);
    uv_close((uv_handle_t *)&w->ticker, NULL);
    assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
    assert_int_equal(uv_loop_close(&w->loop), 0);
    if (w->pipe_fd >= 0) {
        (void)close(w->pipe_fd);
    }
    (void)close(w->keeper);
    free(w);
    return 0;
}

static void
bytes_send(struct world *w, const uint8_t *data, size_t size, int fd)
{
    union {
        struct cmsghdr header;
        uint8_t bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
    if (fd >= 0) {
        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(int));
    }
    assert_int_equal(sendmsg(w->keeper, &msg, 0), size);
}

static size_t
reply_encode(const struct zb_krep *rep, uint8_t *buf, size_t size)
{
    struct zb_err err;
    size_t used = 0;
    assert_int_equal(zb_krep_encode(rep, buf + 4, size - 4, &used, &err), ZB_OK);
    zb_be32_put(buf, (uint32_t)used);
    return used + 4;
}

static void
reply_send(struct world *w, const struct zb_krep *rep, int fd)
{
    uint8_t buf[8192];
    size_t size = reply_encode(rep, buf, sizeof(buf));
    bytes_send(w, buf, size, fd);
}

static void
request_receive(struct world *w, struct zb_kreq *req)
{
    uint8_t length[4];
    static uint8_t buf[ZB_KMSG_MAX];
    struct zb_err err;
    assert_int_equal(recv(w->keeper, length, 4, MSG_WAITALL), 4);
    size_t size = zb_be32_get(length);
    assert_true(size <= sizeof(buf));
    assert_int_equal(recv(w->keeper, buf, size, MSG_WAITALL), size);
    *req = (struct zb_kreq){0};
    assert_int_equal(zb_kreq_decode(buf, size, req, &err), ZB_OK);
}

/* Runs the loop until count of them are there, 5 s at most. */
static void
run_until(struct world *w, const int *value, int count)
{
    for (int i = 0; i < 1000 && *value < count; i++) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_int_equal(*value, count);
}

static void
run_until_lost(struct world *w)
{
    for (int i = 0; i < 1000 && w->lost[0] == '\0'; i++) {
        (void)uv_run(&w->loop, UV_RUN_ONCE);
    }
    assert_string_not_equal(w->lost, "");
}

static void
answers_find_their_question_in_any_order(void **state)
{
    struct world *w = *state;
    uint64_t first = ask(w, ZB_KOP_OBSERVE);
    uint64_t second = ask(w, ZB_KOP_CHECK);
    struct zb_kreq req;
    request_receive(w, &req);
    assert_int_equal(req.id, first);
    assert_string_equal(req.service, "web");
    request_receive(w, &req);
    reply_send(w, &(struct zb_krep){.id = second, .op = ZB_KOP_CHECK, .rc = ZB_E_BUSY}, -1);
    reply_send(w, &(struct zb_krep){.id = first, .op = ZB_KOP_OBSERVE}, -1);
    run_until(w, &w->replies, 2);
    assert_int_equal(w->reply_ids[0], second);
    assert_int_equal(w->rcs[0], ZB_E_BUSY);
    assert_int_equal(w->reply_ids[1], first);
    assert_string_equal(w->lost, "");
}

static void
a_message_may_come_byte_by_byte(void **state)
{
    struct world *w = *state;
    uint64_t id = ask(w, ZB_KOP_OBSERVE);
    uint8_t buf[8192];
    size_t size = reply_encode(&(struct zb_krep){.id = id, .op = ZB_KOP_OBSERVE}, buf, sizeof(buf));
    for (size_t i = 0; i < size; i++) {
        assert_int_equal(w->replies, 0);
        bytes_send(w, buf + i, 1, -1);
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
    }
    run_until(w, &w->replies, 1);
}

static void
a_stream_gets_its_pipe_then_its_end(void **state)
{
    struct world *w = *state;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    uint64_t other = ask(w, ZB_KOP_OBSERVE);
    uint64_t id = ask(w, ZB_KOP_SEND);
    /* The descriptor may be read together with the message before it. */
    reply_send(w, &(struct zb_krep){.id = other, .op = ZB_KOP_OBSERVE}, -1);
    reply_send(w, &(struct zb_krep){.id = id, .op = ZB_KOP_SEND, .more = 1}, fds[0]);
    reply_send(w, &(struct zb_krep){.id = id, .op = ZB_KOP_SEND, .bytes = 7}, -1);
    run_until(w, &w->replies, 2);
    assert_int_equal(w->pipes, 1);
    assert_int_equal(w->reply_ids[1], id);
    char c = 0;
    assert_int_equal(write(fds[1], "x", 1), 1);
    assert_int_equal(read(w->pipe_fd, &c, 1), 1);
    assert_int_equal(c, 'x');
    assert_true(fcntl(w->pipe_fd, F_GETFD) & FD_CLOEXEC);
    (void)close(fds[0]);
    (void)close(fds[1]);
}

static void
the_keeper_going_away_answers_everything(void **state)
{
    struct world *w = *state;
    (void)ask(w, ZB_KOP_OBSERVE);
    (void)ask(w, ZB_KOP_SEND);
    w->ask_again = true; /* also what is asked while that is told */
    assert_int_equal(shutdown(w->keeper, SHUT_RDWR), 0);
    run_until(w, &w->replies, 3);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(w->rcs[i], ZB_E_CLOSED);
    }
    assert_string_equal(w->lost, "the keeper went away");
}

static void
nonsense_ends_it(void **state)
{
    struct world *w = *state;
    (void)ask(w, ZB_KOP_OBSERVE);
    bytes_send(w, (const uint8_t *)"\0\0\0\4nope", 8, -1);
    run_until_lost(w);
    assert_int_equal(w->replies, 1);
    assert_int_equal(w->rcs[0], ZB_E_CLOSED);
}

static void
a_long_message_ends_it_before_it_is_read(void **state)
{
    struct world *w = *state;
    uint8_t length[4];
    zb_be32_put(length, ZB_KMSG_MAX + 1);
    bytes_send(w, length, 4, -1);
    run_until_lost(w);
    assert_non_null(strstr(w->lost, "too long"));
}

static void
an_answer_to_nothing_ends_it(void **state)
{
    struct world *w = *state;
    uint64_t id = ask(w, ZB_KOP_OBSERVE);
    reply_send(w, &(struct zb_krep){.id = id + 1, .op = ZB_KOP_OBSERVE}, -1);
    run_until_lost(w);
}

static void
an_answer_of_another_kind_ends_it(void **state)
{
    struct world *w = *state;
    uint64_t id = ask(w, ZB_KOP_OBSERVE);
    reply_send(w, &(struct zb_krep){.id = id, .op = ZB_KOP_PRUNE}, -1);
    run_until_lost(w);
}

static void
a_pipe_where_none_belongs_ends_it(void **state)
{
    struct world *w = *state;
    uint64_t id = ask(w, ZB_KOP_OBSERVE);
    reply_send(w, &(struct zb_krep){.id = id, .op = ZB_KOP_OBSERVE}, w->keeper);
    run_until_lost(w);
}

static void
a_missing_pipe_ends_it(void **state)
{
    struct world *w = *state;
    uint64_t id = ask(w, ZB_KOP_SEND);
    reply_send(w, &(struct zb_krep){.id = id, .op = ZB_KOP_SEND, .more = 1}, -1);
    run_until_lost(w);
    assert_int_equal(w->pipes, 0);
}

static void
more_requests_than_the_socket_takes_wait(void **state)
{
    struct world *w = *state;
    struct zb_kreq req = {.op = ZB_KOP_DEFINE};
    char *text = calloc(1, 40001);
    memset(text, 'x', 40000);
    req.text = text;
    zb_strcopy(req.service, sizeof(req.service), "web");
    for (int i = 0; i < 100; i++) {
        (void)zb_keeper_client_call(w->client, &req,
                                    &(struct zb_keeper_call){.on_reply = on_reply, .ctx = w});
    }
    for (uint64_t id = 1; id <= 100; id++) {
        struct zb_kreq got;
        (void)uv_run(&w->loop, UV_RUN_NOWAIT);
        request_receive(w, &got);
        assert_int_equal(got.id, id);
        assert_int_equal(strlen(got.text), 40000);
        zb_kreq_close(&got);
    }
    free(text);
}

static void
a_request_that_does_not_fit_fails_alone(void **state)
{
    struct world *w = *state;
    struct zb_kreq req = {.op = ZB_KOP_DEFINE};
    char *text = calloc(1, ZB_KMSG_MAX + 1);
    memset(text, 'x', ZB_KMSG_MAX);
    req.text = text;
    (void)zb_keeper_client_call(w->client, &req,
                                &(struct zb_keeper_call){.on_reply = on_reply, .ctx = w});
    assert_int_equal(w->replies, 0); /* never out of the call */
    run_until(w, &w->replies, 1);
    assert_int_equal(w->rcs[0], ZB_E_LIMIT);
    assert_string_equal(w->lost, "");
    free(text);
}

static void
cancel_names_its_target(void **state)
{
    struct world *w = *state;
    struct zb_kreq req;
    uint64_t id = ask(w, ZB_KOP_SEND);
    request_receive(w, &req);
    zb_keeper_client_cancel(w->client, id);
    request_receive(w, &req);
    assert_int_equal(req.op, ZB_KOP_CANCEL);
    assert_int_equal(req.target, id);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        T(answers_find_their_question_in_any_order),
        T(a_message_may_come_byte_by_byte),
        T(a_stream_gets_its_pipe_then_its_end),
        T(the_keeper_going_away_answers_everything),
        T(nonsense_ends_it),
        T(a_long_message_ends_it_before_it_is_read),
        T(an_answer_to_nothing_ends_it),
        T(an_answer_of_another_kind_ends_it),
        T(a_pipe_where_none_belongs_ends_it),
        T(a_missing_pipe_ends_it),
        T(more_requests_than_the_socket_takes_wait),
        T(a_request_that_does_not_fit_fails_alone),
        T(cancel_names_its_target),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
