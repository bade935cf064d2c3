/*
 * What a joining node is answered: the payload of the frame. "@CA@" and "@CERT@" in it become the
 * right certificates, which no mutation would make.
 */
#include "fuzz.h"

#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#include "net/buf.h"
#include "net/socket.h"
#include "net/tls.h"
#include "tls_peer.h"

static struct {
    struct zb_tls tls;
    struct fuzz_identity joiner;
    struct zb_token token;
    char *ca_json; /* the certificates as they stand in a JSON text */
    char *cert_json;
    int listen_fd;
    const uint8_t *data; /* what the server answers */
    size_t size;
} world;

/* With its newlines as JSON has them; for free(). */
static char *
json_escape(const char *pem)
{
    json_t *text = json_string(pem);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY);

    assert(quoted != NULL);
    size_t length = strlen(quoted);
    memmove(quoted, quoted + 1, length - 2);
    quoted[length - 2] = '\0';
    json_decref(text);
    return quoted;
}

static void
world_open(void)
{
    const struct fuzz_pki *pki = fuzz_pki();
    struct fuzz_identity server;
    struct zb_socket_address address;
    struct zb_err err;

    fuzz_identity_make(&server, "vm1");
    fuzz_identity_make(&world.joiner, "vm2");
    enum zb_rc rc =
        zb_tls_init(&world.tls, (struct zb_pem){"ca", pki->ca_cert},
                    (struct zb_pem){"cert", server.cert}, (struct zb_pem){"key", server.key}, &err);
    assert(rc == ZB_OK);
    world.ca_json = json_escape(pki->ca_cert);
    world.cert_json = json_escape(world.joiner.cert);
    rc = zb_socket_address_parse("127.0.0.1:0", &address, &err);
    assert(rc == ZB_OK);
    rc = zb_socket_listen(&address, &world.listen_fd, &err);
    assert(rc == ZB_OK);
    rc = zb_socket_local(world.listen_fd, &address, &err);
    assert(rc == ZB_OK);
    zb_socket_address_format(&address, world.token.address);
    zb_strcopy(world.token.cluster_id, ZB_UUID_SIZE, FUZZ_CLUSTER_ID);
    zb_strcopy(world.token.ca_fingerprint, ZB_FINGERPRINT_SIZE, pki->ca_fingerprint);
    zb_strcopy(world.token.id, ZB_TOKEN_ID_SIZE, "0123456789abcdef");
    zb_pki_text_free(server.key);
    zb_pki_text_free(server.cert);
}

/* The answer with its certificates. */
static void
answer_make(struct zb_buf *answer)
{
    const char *at = (const char *)world.data;
    const char *end = at + world.size;
    uint8_t header[ZB_FRAME_HEADER_SIZE] = {0};

    zb_buf_append(answer, header, sizeof header);
    while (at < end) {
        size_t left = (size_t)(end - at);
        if (left >= 4 && memcmp(at, "@CA@", 4) == 0) {
            zb_buf_append(answer, world.ca_json, strlen(world.ca_json));
            at += 4;
        } else if (left >= 6 && memcmp(at, "@CERT@", 6) == 0) {
            zb_buf_append(answer, world.cert_json, strlen(world.cert_json));
            at += 6;
        } else {
            zb_buf_append(answer, at++, 1);
        }
    }
    zb_frame_header_encode(ZB_FRAME_JSON, (uint32_t)(zb_buf_length(answer) - sizeof header),
                           zb_buf_data(answer));
}

/* Blocking: the socket's other end is the joiner, in the main thread. */
static void *
serve(void *unused)
{
    struct zb_buf answer = {0};
    char request[ZB_WIRE_HELLO_MAX];
    size_t moved;
    int fd;

    (void)unused;
    do {
        fd = accept(world.listen_fd, NULL, NULL);
        (void)(fd < 0 ? usleep(50) : 0);
    } while (fd < 0);
    answer_make(&answer);
    SSL *ssl = zb_tls_open(world.tls.server, fd, false);
    int done = SSL_accept(ssl) == 1 && SSL_read_ex(ssl, request, sizeof request, &moved) == 1 &&
               SSL_write_ex(ssl, zb_buf_data(&answer), zb_buf_length(&answer), &moved) == 1;
    assert(done);
    (void)SSL_shutdown(ssl);
    SSL_free(ssl);
    (void)close(fd);
    zb_buf_close(&answer);
    return NULL;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct zb_join_result result = {0};
    struct zb_err err;
    pthread_t thread;

    if (world.ca_json == NULL) {
        world_open();
    }
    world.data = data;
    world.size = size;
    struct zb_join_ask ask = {.token = &world.token,
                              .node = "vm2",
                              .address = "127.0.0.1:7979",
                              .key = {"key", world.joiner.key}};
    int rc = pthread_create(&thread, NULL, serve, NULL);
    assert(rc == 0);
    if (zb_join_ask(&ask, &result, &err) == ZB_OK) {
        assert(strcmp(result.cluster_id, FUZZ_CLUSTER_ID) == 0);
        assert(zb_node_name_valid(result.cluster_name));
        assert(result.nodes_count <= ZB_NODES_MAX);
        for (uint32_t i = 0; i < result.nodes_count; i++) {
            assert(zb_node_name_valid(result.nodes[i].name));
            assert(zb_socket_address_valid(result.nodes[i].address));
        }
    }
    zb_join_result_close(&result);
    (void)pthread_join(thread, NULL);
    return 0;
}
