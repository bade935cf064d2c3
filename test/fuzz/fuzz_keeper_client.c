/*
 * The engine's end of the socket to the keeper: the bytes come in pieces of the length that the
 * first byte says. Requests are under way that replies may answer.
 */
#include "fuzz.h"

#include <sys/socket.h>
#include <unistd.h>

#include "agent/keeper.h"

#define CLOSING_TURNS_MAX 100

struct told {
    int replies;
    int pipes;
    int losses;
};

static void
on_reply(void *ctx, const struct zb_krep *rep)
{
    struct told *told = ctx;

    assert(rep->id != 0 && rep->more == 0);
    told->replies++;
}

static void
on_pipe(void *ctx, int fd)
{
    struct told *told = ctx;

    told->pipes++;
    (void)close(fd);
}

static void
on_lost(void *ctx, const char *why)
{
    struct told *told = ctx;

    assert(why[0] != '\0');
    told->losses++;
}

static void
feed(uv_loop_t *loop, int fd, const uint8_t *data, size_t size)
{
    size_t piece = (size_t)data[0] + 1;

    for (size_t at = 1; at < size; at += piece) {
        size_t left = size - at;
        if (send(fd, data + at, left < piece ? left : piece, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
            return; /* the client has closed, or is no longer listening */
        }
        (void)uv_run(loop, UV_RUN_NOWAIT);
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t ops[] = {ZB_KOP_HELLO, ZB_KOP_OBSERVE, ZB_KOP_SEND, ZB_KOP_SNAPS};
    const int calls = sizeof ops / sizeof ops[0];
    struct zb_keeper_client *client = NULL;
    struct told told = {0};
    struct zb_err err;
    uv_loop_t loop;
    int pair[2];

    if (size == 0) {
        return 0;
    }
    int rc = uv_loop_init(&loop);
    assert(rc == 0);
    rc = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    assert(rc == 0);
    enum zb_rc made = zb_keeper_client_new(&loop, pair[0], on_lost, &told, &client, &err);
    assert(made == ZB_OK);
    for (int i = 0; i < calls; i++) {
        struct zb_kreq req = {.op = ops[i], .service = "web"};
        struct zb_keeper_call call = {.on_reply = on_reply, .on_pipe = on_pipe, .ctx = &told};
        uint64_t id = zb_keeper_client_call(client, &req, &call);
        assert(id == (uint64_t)i + 1);
    }
    feed(&loop, pair[1], data, size);
    zb_keeper_client_free(client);
    (void)close(pair[1]);
    for (int i = 0; i < CLOSING_TURNS_MAX && uv_run(&loop, UV_RUN_NOWAIT) != 0; i++) {
    }
    rc = uv_loop_close(&loop);
    assert(rc == 0);
    assert(told.replies == calls && told.pipes == 0 && told.losses <= 1);
    return 0;
}
