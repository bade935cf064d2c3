/*
 * What a peer sends behind the handshake. The first byte says who it is and what is done with its
 * streams; then come lines: 'j' and 'e' are the payload of a JSON and of an END frame, 'd' of a
 * DATA frame, any other line is sent as it is.
 */
#include "fuzz.h"

#include <fcntl.h>
#include <unistd.h>

#include "net/internal.h"
#include "tls_peer.h"

enum stream_use { PUMP, REPLY, ABORT, LEAVE, USES_COUNT };
#define NO_CERTIFICATE 0x80

static struct {
    uv_loop_t loop;
    struct zb_net *net;
    struct zb_tls tls;
    SSL_CTX *join;
    char fingerprint[ZB_FINGERPRINT_SIZE];
    enum stream_use use;
    int ups;
} world;

static void
on_peer_up(void *ctx, const char *peer)
{
    (void)ctx;
    assert(strcmp(peer, "alfa") == 0 && world.ups == 0);
    world.ups++;
}

static void
on_peer_down(void *ctx, const char *peer, const char *reason)
{
    (void)ctx;
    assert(strcmp(peer, "alfa") == 0 && reason[0] != '\0' && world.ups == 1);
    world.ups--;
}

/* Comes back as it is: what was read can be written. */
static void
on_message(void *ctx, const char *peer, json_t *msg)
{
    struct zb_err err;

    (void)ctx;
    enum zb_rc rc = zb_net_send(world.net, peer, msg, &err);
    assert(rc == ZB_OK);
}

static void
reply(struct zb_stream *stream)
{
    struct zb_err err;
    json_t *json = json_pack("{s:b}", "ok", 1);

    enum zb_rc rc = zb_stream_reply(stream, json, &err);
    assert(rc == ZB_OK);
    json_decref(json);
}

static void
on_end(void *ctx, struct zb_stream *stream, json_t *end)
{
    (void)ctx;
    (void)end;
    reply(stream);
}

static void
on_closed(void *ctx, struct zb_stream *stream, const char *reason)
{
    (void)ctx;
    (void)stream;
    assert(reason[0] != '\0');
}

static void
on_stream(void *ctx, const char *peer, struct zb_stream *stream, json_t *header)
{
    static const struct zb_stream_callbacks callbacks = {.on_end = on_end, .on_closed = on_closed};
    struct zb_err err;

    (void)ctx;
    (void)peer;
    (void)header;
    zb_stream_accept(stream, &callbacks);
    if (world.use == REPLY) {
        reply(stream);
    } else if (world.use == ABORT) {
        zb_stream_abort(stream);
    } else if (world.use == PUMP) {
        int fds[2];
        int made = pipe2(fds, O_CLOEXEC | O_NONBLOCK);
        assert(made == 0);
        enum zb_rc rc = zb_stream_pump_to_fd(stream, fds[1], &err);
        assert(rc == ZB_OK);
        (void)close(fds[0]);
    }
}

static void
on_join(void *ctx, const struct zb_join_request *request)
{
    (void)ctx;
    assert(zb_node_name_valid(request->node) && zb_socket_address_valid(request->address));
    zb_net_join_refuse(world.net, request->id, "nobody");
}

static void
on_refused(void *ctx, const char *address, const char *reason)
{
    (void)ctx;
    assert(address[0] != '\0' && reason[0] != '\0');
}

/* bravo is the larger name: it dials nobody. */
static void
world_open(void)
{
    const struct fuzz_pki *pki = fuzz_pki();
    struct fuzz_identity alfa;
    struct fuzz_identity bravo;
    struct zb_net_peer peer = {.name = "alfa", .address = "127.0.0.1:1"};
    struct zb_err err;

    fuzz_identity_make(&alfa, "alfa");
    fuzz_identity_make(&bravo, "bravo");
    int made = uv_loop_init(&world.loop);
    assert(made == 0);
    struct zb_net_options options = {
        .loop = &world.loop,
        .node = "bravo",
        .cluster_id = FUZZ_CLUSTER_ID,
        .ca = {"ca", pki->ca_cert},
        .cert = {"cert", bravo.cert},
        .key = {"key", bravo.key},
        .listen = "127.0.0.1:0",
        .callbacks = {on_peer_up, on_peer_down, on_message, on_stream, on_join, on_refused},
    };
    enum zb_rc rc = zb_net_new(&options, &world.net, &err);
    assert(rc == ZB_OK);
    rc = zb_net_peers_set(world.net, &peer, 1, &err);
    assert(rc == ZB_OK);
    rc = zb_tls_init(&world.tls, (struct zb_pem){"ca", pki->ca_cert},
                     (struct zb_pem){"cert", alfa.cert}, (struct zb_pem){"key", alfa.key}, &err);
    assert(rc == ZB_OK);
    zb_strcopy(world.fingerprint, sizeof world.fingerprint, pki->ca_fingerprint);
    world.join = zb_tls_join_context(world.fingerprint);
    zb_pki_text_free(alfa.key);
    zb_pki_text_free(alfa.cert);
    zb_pki_text_free(bravo.key);
    zb_pki_text_free(bravo.cert);
}

static bool
line_send(struct fuzz_tls *tls, const char *line, size_t size)
{
    static const struct {
        char word;
        enum zb_frame_type type;
    } frames[] = {{'j', ZB_FRAME_JSON}, {'e', ZB_FRAME_END}, {'d', ZB_FRAME_DATA}};

    for (size_t i = 0; i < sizeof frames / sizeof frames[0]; i++) {
        if (size > 0 && line[0] == frames[i].word) {
            return fuzz_tls_frame(tls, &world.loop, frames[i].type, line + 1, size - 1);
        }
    }
    return fuzz_tls_send(tls, &world.loop, line, size);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_tls tls = {0};

    if (size == 0) {
        return 0;
    }
    if (world.net == NULL) {
        world_open();
    }
    world.use = (enum stream_use)(data[0] % USES_COUNT);
    bool known = (data[0] & NO_CERTIFICATE) == 0;
    fuzz_tls_open(&tls, world.net, &world.loop, known ? world.tls.client : world.join);
    const char *at = (const char *)data + 1;
    const char *end = (const char *)data + size;
    bool open = true;
    while (open && at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        const char *stop = newline != NULL ? newline : end;
        open = line_send(&tls, at, (size_t)(stop - at));
        at = newline != NULL ? newline + 1 : end;
    }
    fuzz_tls_close(&tls);
    while (!TAILQ_EMPTY(&world.net->conns)) {
        (void)uv_run(&world.loop, UV_RUN_ONCE);
    }
    assert(world.ups == 0);
    return 0;
}
