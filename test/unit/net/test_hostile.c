/* What strangers and broken peers may send: every one is refused with a named reason, and the net
 * goes on. */
#include "world.h"

static void
host_only(struct world *w, struct host *h)
{
    world_open(w);
    host_init(h, w, "bravo");
    h->timing.hello_ms = 600;
    host_start(h);
}

static void
host_only_close(struct world *w, struct host *h)
{
    host_close(h);
    world_close(w);
}

static const char hello_alfa[] =
    "{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"alfa\","
    "\"kind\":\"control\",\"version\":1,\"nonce\":\"00000000000000aa\"}";

/* A raw client with a good certificate as alfa; bravo knows alfa. */
static void
raw_alfa(struct raw *r, struct world *w, struct host *bravo, struct host *alfa)
{
    host_init(alfa, w, "alfa");
    zb_strcopy(alfa->address, sizeof alfa->address, "127.0.0.1:9");
    host_knows(bravo, alfa);
    raw_connect(r, w, bravo->address);
    assert_true(raw_tls(r, w->ca_cert, alfa->cert, alfa->key));
}

static void
expect_error(struct raw *r, const char *words)
{
    json_t *json = raw_json(r);
    assert_non_null(json);
    const char *error = json_string_value(json_object_get(json, "error"));
    assert_about(error, words);
    json_decref(json);
    raw_wait_closed(r);
}

static void
test_garbage_before_tls(void **state)
{
    struct world w;
    struct host b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    raw_connect(&r, &w, b.address);
    raw_send(&r, "GET / HTTP/1.0\r\n\r\n", 18);
    WAIT(&w, b.refusals == 1);
    assert_non_null(strstr(b.refused_reason, "TLS: "));
    raw_wait_closed(&r);
    raw_close(&r);
    host_only_close(&w, &b);
}

static void
test_silence(void **state)
{
    struct world w;
    struct host b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    raw_connect(&r, &w, b.address);
    WAIT(&w, b.refusals == 1);
    assert_string_equal(b.refused_reason, "no hello in time");
    raw_wait_closed(&r);
    raw_close(&r);
    host_only_close(&w, &b);
}

static void
test_hello_never_comes(void **state)
{
    struct world w;
    struct host a, b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    raw_alfa(&r, &w, &b, &a);
    raw_send(&r, "\0\0", 2); /* a part of a header */
    WAIT(&w, b.refusals == 1);
    assert_string_equal(b.refused_reason, "no hello in time");
    raw_wait_closed(&r);
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

static void
hello_refused(const char *hello, const char *words)
{
    struct world w;
    struct host a, b;
    struct raw r;
    host_only(&w, &b);
    raw_alfa(&r, &w, &b, &a);
    raw_frame(&r, ZB_FRAME_JSON, hello);
    expect_error(&r, words);
    assert_int_equal(b.refusals, 1);
    assert_non_null(strstr(b.refused_reason, words));
    assert_int_equal(b.ups, 0);
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

static void
test_bad_hellos(void **state)
{
    (void)state;
    hello_refused("{\"hello\":1", "not JSON");
    hello_refused("[1]", "not a JSON object");
    hello_refused("{}", "not a hello");
    hello_refused("{\"hello\":1,\"hello\":1}", "not JSON");
    hello_refused("{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"charlie\","
                  "\"kind\":\"control\",\"version\":1,\"nonce\":\"00000000000000aa\"}",
                  "says it is charlie, its certificate is of alfa");
    hello_refused("{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"alfa\","
                  "\"kind\":\"control\",\"version\":2,\"nonce\":\"00000000000000aa\"}",
                  "speaks version 2");
    hello_refused("{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"alfa\","
                  "\"kind\":\"fish\",\"version\":1,\"nonce\":\"00000000000000aa\"}",
                  "not a hello");
    hello_refused("{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"alfa\","
                  "\"kind\":\"data\",\"version\":1,\"nonce\":\"xyz\"}",
                  "not a hello");
}

static void
test_wrong_side_dials(void **state)
{
    struct world w;
    struct host z, b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    host_init(&z, &w, "zulu");
    zb_strcopy(z.address, sizeof z.address, "127.0.0.1:9");
    host_knows(&b, &z);
    raw_connect(&r, &w, b.address);
    assert_true(raw_tls(&r, w.ca_cert, z.cert, z.key));
    raw_frame(&r, ZB_FRAME_JSON,
              "{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"zulu\","
              "\"kind\":\"control\",\"version\":1,\"nonce\":\"00000000000000aa\"}");
    expect_error(&r, "zulu must not dial bravo");
    raw_close(&r);
    host_close(&z);
    host_only_close(&w, &b);
}

static void
test_other_ca_is_refused(void **state)
{
    struct world w, other;
    struct host a, b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    world_open(&other);
    host_init(&a, &other, "alfa");
    raw_connect(&r, &w, b.address);
    (void)raw_tls(&r, w.ca_cert, a.cert, a.key); /* TLS 1.3: the client learns it when it reads */
    raw_frame(&r, ZB_FRAME_JSON, hello_alfa);
    WAIT(&w, b.refusals == 1);
    assert_non_null(strstr(b.refused_reason, "certificate: "));
    raw_wait_closed(&r);
    raw_close(&r);
    host_close(&a);
    world_close(&other);
    host_only_close(&w, &b);
}

static void
test_no_certificate_no_hello(void **state)
{
    struct world w;
    struct host b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    raw_connect(&r, &w, b.address);
    assert_true(raw_tls(&r, w.ca_cert, NULL, NULL));
    raw_frame(&r, ZB_FRAME_JSON, hello_alfa);
    expect_error(&r, "without a certificate only a join request is accepted");
    raw_close(&r);
    host_only_close(&w, &b);
}

static void
bytes_refused(const void *bytes, size_t size, const char *words)
{
    struct world w;
    struct host a, b;
    struct raw r;
    host_only(&w, &b);
    raw_alfa(&r, &w, &b, &a);
    raw_send(&r, bytes, size);
    WAIT(&w, b.refusals == 1);
    assert_about(b.refused_reason, words);
    raw_wait_closed(&r);
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

static void
test_bad_frames_before_hello(void **state)
{
    uint8_t header[ZB_FRAME_HEADER_SIZE];
    (void)state;
    zb_frame_header_encode(ZB_FRAME_JSON, ZB_WIRE_HELLO_MAX + 1, header);
    bytes_refused(header, sizeof header, "");
    zb_frame_header_encode(ZB_FRAME_DATA, 10, header);
    bytes_refused(header, sizeof header, "where none belongs");
    zb_frame_header_encode(ZB_FRAME_JSON, 2, header);
    header[5] = 9; /* version */
    bytes_refused(header, sizeof header, "");
}

/* A raw control connection of alfa that is up. */
static void
raw_up(struct raw *r, struct world *w, struct host *b, struct host *a, const char *hello)
{
    host_only(w, b);
    raw_alfa(r, w, b, a);
    raw_frame(r, ZB_FRAME_JSON, hello);
    json_t *answer = raw_json(r);
    assert_non_null(answer);
    assert_string_equal(json_string_value(json_object_get(answer, "node")), "bravo");
    json_decref(answer);
}

static void
down_after(enum zb_frame_type type, uint32_t size, const char *payload, const char *words)
{
    struct world w;
    struct host a, b;
    struct raw r;
    uint8_t header[ZB_FRAME_HEADER_SIZE];
    raw_up(&r, &w, &b, &a, hello_alfa);
    WAIT(&w, b.ups == 1);
    zb_frame_header_encode(type, size, header);
    raw_send(&r, header, sizeof header);
    raw_send(&r, payload, strlen(payload));
    WAIT(&w, b.downs == 1);
    assert_about(b.down_reason, words);
    raw_wait_closed(&r);
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

static void
test_bad_frames_on_control(void **state)
{
    (void)state;
    down_after(ZB_FRAME_JSON, ZB_WIRE_FRAME_MAX + 1, "x", "malformed input: ");
    down_after(ZB_FRAME_JSON, 4, "{{{{", "malformed input: not JSON");
    down_after(ZB_FRAME_DATA, 4, "1234", "where none belongs");
    down_after(ZB_FRAME_END, 2, "{}", "where none belongs");
    down_after(ZB_FRAME_JSON, 11, "{\"hello\":1}", "a reserved message");
}

/* A frame in single bytes, and ping is answered. */
static void
test_byte_by_byte(void **state)
{
    struct world w;
    struct host a, b;
    struct raw r;
    uint8_t header[ZB_FRAME_HEADER_SIZE];
    const char ping[] = "{\"ping\":1}";
    (void)state;
    raw_up(&r, &w, &b, &a, hello_alfa);
    zb_frame_header_encode(ZB_FRAME_JSON, sizeof ping - 1, header);
    for (size_t i = 0; i < sizeof header; i++) {
        raw_send(&r, &header[i], 1);
        world_step(&w);
    }
    for (size_t i = 0; i < sizeof ping - 1; i++) {
        raw_send(&r, &ping[i], 1);
        world_step(&w);
    }
    json_t *pong = raw_json(&r);
    assert_non_null(json_object_get(pong, "pong"));
    json_decref(pong);
    assert_int_equal(b.messages, 0);
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

/* A newer control connection of the same node replaces the older one. */
static void
test_replaced(void **state)
{
    struct world w;
    struct host a, b;
    struct raw r, newer;
    (void)state;
    raw_up(&r, &w, &b, &a, hello_alfa);
    raw_connect(&newer, &w, b.address);
    assert_true(raw_tls(&newer, w.ca_cert, a.cert, a.key));
    raw_frame(&newer, ZB_FRAME_JSON, hello_alfa);
    WAIT(&w, b.ups == 2 && b.downs == 1);
    assert_string_equal(b.down_reason, "replaced by a newer connection");
    raw_close(&r);
    raw_close(&newer);
    host_close(&a);
    host_only_close(&w, &b);
}

static void
test_dead_without_bytes(void **state)
{
    struct world w;
    struct host a, b;
    struct raw r;
    (void)state;
    world_open(&w);
    host_init(&b, &w, "bravo");
    b.timing.ping_ms = 100;
    b.timing.dead_ms = 400;
    host_start(&b);
    raw_alfa(&r, &w, &b, &a);
    raw_frame(&r, ZB_FRAME_JSON, hello_alfa);
    WAIT(&w, b.downs == 1);
    assert_non_null(strstr(b.down_reason, "no sign of life"));
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

static const char hello_data[] = "{\"hello\":1,\"cluster\":\"" WORLD_CLUSTER "\",\"node\":\"alfa\","
                                 "\"kind\":\"data\",\"version\":1,\"nonce\":\"00000000000000aa\"}";

/* What is sent on a data connection closes it; the stream, if there is one, hears of it. */
static void
data_closed_after(const char *header, enum zb_frame_type type, uint32_t size, const char *words)
{
    struct world w;
    struct host a, b;
    struct raw r;
    uint8_t frame[ZB_FRAME_HEADER_SIZE];
    raw_up(&r, &w, &b, &a, hello_data);
    if (header != NULL) {
        raw_frame(&r, ZB_FRAME_JSON, header);
        WAIT(&w, b.flows_count == 1);
    }
    zb_frame_header_encode(type, size, frame);
    raw_send(&r, frame, sizeof frame);
    if (type == ZB_FRAME_JSON) {
        raw_send(&r, "{}", 2);
    }
    raw_wait_closed(&r);
    if (header != NULL) {
        assert_int_equal(b.flows[0].closes, 1);
        assert_non_null(strstr(b.flows[0].reason, words));
    }
    raw_close(&r);
    host_close(&a);
    host_only_close(&w, &b);
}

static void
test_bad_frames_on_data(void **state)
{
    (void)state;
    data_closed_after(NULL, ZB_FRAME_DATA, 10, "");
    data_closed_after(NULL, ZB_FRAME_END, 2, "");
    data_closed_after("{}", ZB_FRAME_JSON, 2, "a stream inside a stream");
    data_closed_after("{}", ZB_FRAME_DATA, ZB_STREAM_CHUNK_MAX + 1, "DATA frame too long");
}

static void
test_pending_is_bounded(void **state)
{
    static struct raw raws[ZB_NET_PENDING_MAX + 2];
    struct world w;
    struct host b;
    (void)state;
    host_only(&w, &b);
    for (size_t i = 0; i < ZB_NET_PENDING_MAX + 2; i++) {
        raw_connect(&raws[i], &w, b.address);
        world_step(&w);
    }
    raw_wait_closed(&raws[0]); /* the oldest went */
    for (size_t i = 0; i < ZB_NET_PENDING_MAX + 2; i++) {
        raw_close(&raws[i]);
    }
    host_only_close(&w, &b);
}

static void
test_same_refusal_told_once(void **state)
{
    struct world w;
    struct host b;
    struct raw r;
    (void)state;
    host_only(&w, &b);
    for (int i = 0; i < 5; i++) {
        raw_connect(&r, &w, b.address);
        raw_send(&r, "GET / HTTP/1.0\r\n\r\n", 18);
        raw_wait_closed(&r);
        raw_close(&r);
    }
    assert_int_equal(b.refusals, 1);
    host_only_close(&w, &b);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_garbage_before_tls),
        cmocka_unit_test(test_silence),
        cmocka_unit_test(test_hello_never_comes),
        cmocka_unit_test(test_bad_hellos),
        cmocka_unit_test(test_wrong_side_dials),
        cmocka_unit_test(test_other_ca_is_refused),
        cmocka_unit_test(test_no_certificate_no_hello),
        cmocka_unit_test(test_bad_frames_before_hello),
        cmocka_unit_test(test_bad_frames_on_control),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_replaced),
        cmocka_unit_test(test_dead_without_bytes),
        cmocka_unit_test(test_bad_frames_on_data),
        cmocka_unit_test(test_pending_is_bounded),
        cmocka_unit_test(test_same_refusal_told_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
