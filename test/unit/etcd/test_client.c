/* The client against members that are told what to say, in the same loop. */
#include "unit.h"

#include <uv.h>

#include "etcd/etcd.h"

#define REQUEST_MS 300
#define SERVERS 2
#define GOT_MAX 80
#define HOLD 0 /* no answer */
#define HANG 1 /* the connection ends in place of an answer */

struct said {
    int status;
    const char *body;
};

struct server {
    uv_tcp_t listener;
    char endpoint[64];
    const struct said *script; /* one per request; the last goes on */
    size_t script_count;
    size_t got_count;
    size_t conns_count;      /* accepted */
    char got[GOT_MAX][1024]; /* requests, head and body */
};

struct conn {
    uv_tcp_t tcp; /* first */
    struct server *server;
    char in[4096];
    size_t in_size;
};

static struct {
    uv_loop_t loop;
    uv_timer_t tick; /* UV_RUN_ONCE waits although a timer has run: not for long */
    struct server servers[SERVERS];
    struct zb_etcd *etcd;
    int in_call; /* a zb_etcd_* function runs */
    size_t answers_count;
    struct zb_etcd_answer last;
    char last_endpoint[64];
    bool free_in_callback;
} world;

/* --- members --- */

static void
on_conn_closed(uv_handle_t *handle)
{
    free(handle);
}

static void
conn_close(struct conn *c)
{
    if (!uv_is_closing((uv_handle_t *)&c->tcp)) {
        uv_close((uv_handle_t *)&c->tcp, on_conn_closed);
    }
}

static void
on_written(uv_write_t *write, int status)
{
    (void)status;
    free(write->data);
    free(write);
}

static void
say(struct conn *c, const struct said *said)
{
    char *text = malloc(2048);
    uv_write_t *write = malloc(sizeof *write);

    assert_non_null(text);
    assert_non_null(write);
    int size = snprintf(text, 2048,
                        "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nLocation: http://127.0.0.1:1/\r\n"
                        "\r\n%s",
                        said->status, strlen(said->body), said->body);
    uv_buf_t buf = uv_buf_init(text, (unsigned)size);
    write->data = text;
    assert_int_equal(uv_write(write, (uv_stream_t *)&c->tcp, &buf, 1, on_written), 0);
}

static void
answer(struct conn *c)
{
    struct server *s = c->server;
    size_t at = s->got_count < s->script_count ? s->got_count : s->script_count - 1;
    const struct said *said = &s->script[at];

    assert_true(s->got_count < GOT_MAX);
    zb_strcopy(s->got[s->got_count++], sizeof s->got[0], c->in);
    c->in_size = 0;
    if (said->status == HANG) {
        conn_close(c);
    } else if (said->status != HOLD) {
        say(c, said);
    }
}

static void
on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct conn *c = (struct conn *)(void *)stream;

    (void)buf;
    if (size < 0) {
        conn_close(c);
        return;
    }
    c->in_size += (size_t)size;
    c->in[c->in_size] = '\0';
    const char *body = strstr(c->in, "\r\n\r\n");
    const char *length = strstr(c->in, "Content-Length: ");
    if (body != NULL && length != NULL && strlen(body + 4) >= strtoul(length + 16, NULL, 10)) {
        answer(c);
    }
}

static void
on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct conn *c = (struct conn *)(void *)handle;

    (void)suggested;
    *buf = uv_buf_init(c->in + c->in_size, (unsigned)(sizeof c->in - 1 - c->in_size));
}

static void
on_connection(uv_stream_t *listener, int status)
{
    struct conn *c = calloc(1, sizeof *c);

    assert_int_equal(status, 0);
    assert_non_null(c);
    c->server = listener->data;
    c->server->conns_count++;
    assert_int_equal(uv_tcp_init(&world.loop, &c->tcp), 0);
    assert_int_equal(uv_accept(listener, (uv_stream_t *)&c->tcp), 0);
    assert_int_equal(uv_read_start((uv_stream_t *)&c->tcp, on_alloc, on_read), 0);
}

static void
server_open(struct server *s)
{
    struct sockaddr_in address;
    struct sockaddr_storage bound;
    int size = sizeof bound;

    assert_int_equal(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    assert_int_equal(uv_tcp_init(&world.loop, &s->listener), 0);
    assert_int_equal(uv_tcp_bind(&s->listener, (const struct sockaddr *)&address, 0), 0);
    assert_int_equal(uv_listen((uv_stream_t *)&s->listener, 128, on_connection), 0);
    assert_int_equal(uv_tcp_getsockname(&s->listener, (struct sockaddr *)&bound, &size), 0);
    s->listener.data = s;
    (void)snprintf(s->endpoint, sizeof s->endpoint, "http://127.0.0.1:%d",
                   ntohs(((struct sockaddr_in *)(void *)&bound)->sin_port));
}

/* --- the client --- */

static void
on_tick(uv_timer_t *timer)
{
    (void)timer;
}

static int
open_with(const char *user)
{
    struct zb_etcd_options options = {.loop = &world.loop,
                                      .endpoints_count = SERVERS,
                                      .user = user,
                                      .password = user,
                                      .request_ms = REQUEST_MS};
    struct zb_err err;

    memset(&world, 0, sizeof world);
    assert_int_equal(uv_loop_init(&world.loop), 0);
    assert_int_equal(uv_timer_init(&world.loop, &world.tick), 0);
    assert_int_equal(uv_timer_start(&world.tick, on_tick, 10, 10), 0);
    for (size_t i = 0; i < SERVERS; i++) {
        server_open(&world.servers[i]);
        options.endpoints[i] = world.servers[i].endpoint;
    }
    assert_int_equal(zb_etcd_new(&options, &world.etcd, &err), ZB_OK);
    return 0;
}

static int
open_world(void **state)
{
    (void)state;
    return open_with(NULL);
}

static int
open_world_rbac(void **state)
{
    (void)state;
    return open_with("zb");
}

static void
on_walk(uv_handle_t *handle, void *ctx)
{
    (void)ctx;
    if (!uv_is_closing(handle)) {
        uv_close(handle, handle->type == UV_TCP && handle->data == NULL ? on_conn_closed : NULL);
    }
}

static int
close_world(void **state)
{
    (void)state;
    zb_etcd_free(world.etcd);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    uv_walk(&world.loop, on_walk, NULL);
    (void)uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    return 0;
}

static void
on_answer(void *ctx, const struct zb_etcd_answer *a)
{
    (void)ctx;
    assert_int_equal(world.in_call, 0);
    world.answers_count++;
    world.last = *a;
    zb_strcopy(world.last_endpoint, sizeof world.last_endpoint, a->endpoint);
    if (world.free_in_callback) {
        zb_etcd_free(world.etcd);
        world.etcd = NULL;
    }
}

static void
put(void)
{
    const struct zb_etcd_txn txn = {.success = {{.kind = ZB_ETCD_PUT, .key = "k", .value = "v"}},
                                    .success_count = 1};

    world.in_call = 1;
    zb_etcd_txn(world.etcd, &txn, on_answer, NULL);
    world.in_call = 0;
}

/* Until that many callbacks came. Every request ends by its deadline, and so does this. */
static void
run_until(size_t answers_count)
{
    while (world.answers_count < answers_count) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
}

static enum zb_rc
put_run(void)
{
    put();
    run_until(world.answers_count + 1);
    return world.last.rc;
}

static void
script(size_t server, const struct said *said, size_t count)
{
    world.servers[server].script = said;
    world.servers[server].script_count = count;
    world.servers[server].got_count = 0;
}

#define SCRIPT(server, ...)                                                                        \
    static const struct said script_##server[] = {__VA_ARGS__};                                    \
    script(server, script_##server, sizeof script_##server / sizeof script_##server[0])
#define DONE(cluster, term)                                                                        \
    {                                                                                              \
        200, "{\"header\":{\"cluster_id\":\"" cluster "\",\"member_id\":\"1\",\"revision\":\"2\"," \
             "\"raft_term\":\"" term                                                               \
             "\"},\"succeeded\":true,\"responses\":[{\"response_put\":{}}]}"                       \
    }

static void
test_done(void **state)
{
    SCRIPT(0, DONE("1", "5"));
    (void)state;
    assert_int_equal(put_run(), ZB_OK);
    assert_int_equal(put_run(), ZB_OK);
    assert_true(world.last.succeeded && world.last.revision == 2 && world.last.raft_term == 5);
    assert_int_equal(world.servers[0].conns_count, 1); /* kept */
    const char *got = world.servers[0].got[1];
    assert_non_null(strstr(got, "POST /v3/kv/txn HTTP/1.1\r\n"));
    assert_non_null(strstr(got, "\r\nGrpc-Metadata-hasleader: true\r\n"));
    assert_null(strstr(got, "Expect"));
    assert_null(strstr(got, "Authorization"));
}

static void
test_usage(void **state)
{
    const struct zb_etcd_txn txn = {.failure_count = 1};

    (void)state;
    world.in_call = 1;
    zb_etcd_txn(world.etcd, &txn, on_answer, NULL);
    zb_etcd_compact(world.etcd, -1, on_answer, NULL);
    world.in_call = 0;
    run_until(2);
    assert_int_equal(world.last.rc, ZB_E_USAGE);
    assert_string_equal(world.last.endpoint, "");
}

static void
test_timeout(void **state)
{
    SCRIPT(0, {HOLD, NULL});
    SCRIPT(1, DONE("1", "5"));
    (void)state;
    uint64_t begun = uv_hrtime();
    assert_int_equal(put_run(), ZB_E_TIMEOUT);
    assert_true((uv_hrtime() - begun) / 1000000 >= REQUEST_MS - 2);
    assert_string_equal(world.last_endpoint, world.servers[0].endpoint);
    assert_int_equal(put_run(), ZB_OK);
    assert_string_equal(world.last_endpoint, world.servers[1].endpoint);
    assert_int_equal(put_run(), ZB_OK);
    assert_string_equal(world.last_endpoint, world.servers[1].endpoint);
}

/* Several that fail together move on by one. */
static void
test_timeouts_together(void **state)
{
    SCRIPT(0, {HOLD, NULL});
    SCRIPT(1, DONE("1", "5"));
    (void)state;
    for (int i = 0; i < 4; i++) {
        put();
    }
    run_until(4);
    assert_int_equal(put_run(), ZB_OK);
    assert_string_equal(world.last_endpoint, world.servers[1].endpoint);
}

/* libcurl would ask again over a new connection. */
static void
test_one_attempt(void **state)
{
    SCRIPT(0, DONE("1", "5"), {HANG, NULL}, DONE("1", "5"));
    (void)state;
    assert_int_equal(put_run(), ZB_OK);
    assert_int_equal(put_run(), ZB_E_CLOSED);
    assert_int_equal(world.servers[0].got_count, 2);
}

static void
test_unknown(void **state)
{
    static const struct said said[] = {{200, "{}"},
                                       {200, "<html>"},
                                       {503, "{\"code\":14,\"message\":\"no leader\"}"},
                                       {307, ""},
                                       {HANG, NULL}};
    (void)state;
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        script(i % SERVERS, &said[i], 1);
        assert_int_equal(put_run(), ZB_E_CLOSED);
        assert_string_equal(world.last_endpoint, world.servers[i % SERVERS].endpoint);
        assert_int_equal(world.servers[i % SERVERS].got_count, 1);
        assert_true(world.last.text[0] != '\0');
    }
}

static void
test_term_back(void **state)
{
    SCRIPT(0, DONE("1", "5"), DONE("1", "4"));
    SCRIPT(1, DONE("1", "6"), DONE("2", "3"));
    (void)state;
    assert_int_equal(put_run(), ZB_OK);
    assert_int_equal(put_run(), ZB_E_CLOSED);
    assert_int_equal(put_run(), ZB_OK);
    assert_string_equal(world.last_endpoint, world.servers[1].endpoint);
    assert_int_equal(put_run(), ZB_OK); /* another cluster: for the caller to see */
    assert_true(world.last.cluster_id == 2);
}

/* Restored from a backup, it stays at lower terms. */
static void
test_term_back_for_good(void **state)
{
    SCRIPT(0, DONE("1", "5"), DONE("1", "2"));
    SCRIPT(1, DONE("1", "2"), DONE("1", "2"));
    (void)state;
    assert_int_equal(put_run(), ZB_OK);
    assert_int_equal(put_run(), ZB_E_CLOSED);
    assert_int_equal(put_run(), ZB_OK);
    assert_int_equal(put_run(), ZB_OK);
}

static void
test_nobody(void **state)
{
    SCRIPT(1, DONE("1", "5"));
    (void)state;
    uv_close((uv_handle_t *)&world.servers[0].listener, NULL);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(put_run(), ZB_E_FAILED);
    assert_int_equal(put_run(), ZB_OK);
}

static void
test_free_in_callback(void **state)
{
    SCRIPT(0, DONE("1", "5"), {HOLD, NULL});
    (void)state;
    world.free_in_callback = true;
    put();
    put();
    put();
    run_until(1);
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.answers_count, 1);
}

static void
test_free_under_way(void **state)
{
    SCRIPT(0, {HOLD, NULL});
    (void)state;
    put();
    while (world.servers[0].got_count == 0) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    zb_etcd_free(world.etcd);
    world.etcd = NULL;
    (void)uv_run(&world.loop, UV_RUN_NOWAIT);
    assert_int_equal(world.answers_count, 0);
}

static void
test_limit(void **state)
{
    SCRIPT(0, {HOLD, NULL});
    (void)state;
    for (int i = 0; i <= ZB_ETCD_REQUESTS_MAX; i++) {
        put();
    }
    run_until(1);
    assert_int_equal(world.last.rc, ZB_E_LIMIT);
    run_until(ZB_ETCD_REQUESTS_MAX + 1);
    assert_int_equal(world.last.rc, ZB_E_TIMEOUT);
}

#define TOKEN(text)                                                                                \
    {                                                                                              \
        200, "{\"token\":\"" text "\"}"                                                            \
    }
#define BAD_TOKEN                                                                                  \
    {                                                                                              \
        401, "{\"code\":16,\"message\":\"etcdserver: invalid auth token\"}"                        \
    }

static void
test_token(void **state)
{
    SCRIPT(0, TOKEN("one"), DONE("1", "5"), BAD_TOKEN, TOKEN("two"), DONE("1", "5"));
    const struct server *s = &world.servers[0];
    (void)state;
    assert_int_equal(put_run(), ZB_OK);
    assert_non_null(strstr(s->got[0], "POST /v3/auth/authenticate "));
    assert_non_null(strstr(s->got[0], "{\"name\":\"zb\",\"password\":\"zb\"}"));
    assert_null(strstr(s->got[0], "Authorization"));
    assert_non_null(strstr(s->got[1], "\r\nAuthorization: one\r\n"));
    assert_int_equal(put_run(), ZB_OK);
    assert_int_equal(s->got_count, 5);
    assert_non_null(strstr(s->got[4], "\r\nAuthorization: two\r\n"));
}

static void
test_token_refused(void **state)
{
    SCRIPT(0, TOKEN("one"), BAD_TOKEN);
    (void)state;
    assert_int_equal(put_run(), ZB_E_AUTH);
    assert_int_equal(world.servers[0].got_count, 2); /* no third time */
}

static void
test_login_fails(void **state)
{
    SCRIPT(0, {400, "{\"code\":3,\"message\":\"etcdserver: authentication failed\"}"});
    SCRIPT(1, {503, "{\"code\":14,\"message\":\"no leader\"}"}, {HANG, NULL}, {200, "{}"});
    (void)state;
    assert_int_equal(put_run(), ZB_E_AUTH);
    assert_int_equal(put_run(), ZB_E_FAILED); /* certainly not done: it was not sent */
    script(0, script_1 + 1, 1);
    assert_int_equal(put_run(), ZB_E_FAILED);
    script(1, script_1 + 2, 1);
    assert_int_equal(put_run(), ZB_E_FAILED);
}

static void
test_login_not_needed(void **state)
{
    SCRIPT(0, {400, "{\"code\":9,\"message\":\"etcdserver: authentication is not enabled\"}"},
           DONE("1", "5"), DONE("1", "5"), {400, "{\"code\":3,\"message\":\"user name is empty\"}"},
           TOKEN("one"), DONE("1", "5"));
    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(put_run(), ZB_OK);
    }
    assert_int_equal(world.servers[0].got_count, 6);
}

static void
test_options(void **state)
{
    struct zb_etcd_options good = {.loop = &world.loop,
                                   .endpoints = {"https://127.0.0.1:1"},
                                   .endpoints_count = 1,
                                   .ca = "x",
                                   .request_ms = 1000};
    struct zb_etcd_options bad[7];
    struct zb_etcd *etcd = NULL;
    struct zb_err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bad[i] = good;
    }
    bad[0].endpoints_count = 0;
    bad[1].endpoints_count = ZB_ETCD_ENDPOINTS_MAX + 1;
    bad[2].ca = NULL;
    bad[3].cert = "x";
    bad[4].user = "x";
    bad[5].request_ms = 0;
    bad[6].request_ms = 7000;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(zb_etcd_new(&bad[i], &etcd, &err), ZB_E_USAGE);
        assert_null(etcd);
    }
    assert_int_equal(zb_etcd_new(&good, &etcd, &err), ZB_OK);
    zb_etcd_free(etcd);
    zb_etcd_free(NULL);
}

#define IN_WORLD(test) cmocka_unit_test_setup_teardown(test, open_world, close_world)
#define WITH_RBAC(test) cmocka_unit_test_setup_teardown(test, open_world_rbac, close_world)

int
main(void)
{
    const struct CMUnitTest tests[] = {
        IN_WORLD(test_done),           IN_WORLD(test_usage),
        IN_WORLD(test_timeout),        IN_WORLD(test_timeouts_together),
        IN_WORLD(test_one_attempt),    IN_WORLD(test_unknown),
        IN_WORLD(test_term_back),      IN_WORLD(test_term_back_for_good),
        IN_WORLD(test_nobody),         IN_WORLD(test_free_in_callback),
        IN_WORLD(test_free_under_way), IN_WORLD(test_limit),
        WITH_RBAC(test_token),         WITH_RBAC(test_token_refused),
        WITH_RBAC(test_login_fails),   WITH_RBAC(test_login_not_needed),
        IN_WORLD(test_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
