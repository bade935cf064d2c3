#include "fuzz.h"

#include <openssl/err.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/internal.h"
#include "tls_peer.h"

#define TURNS_MAX 200 /* of the loop, for one thing to happen */
#define TURNS_SETTLE 4

const struct fuzz_pki *
fuzz_pki(void)
{
    static struct fuzz_pki pki;
    struct zb_pki_cert_info info;
    struct zb_err err;

    if (pki.ca_cert == NULL) {
        enum zb_rc rc = zb_pki_ca_create("fuzz", &pki.ca_cert, &pki.ca_key, &err);
        assert(rc == ZB_OK);
        rc = zb_pki_cert_info((struct zb_pem){"ca", pki.ca_cert}, &info, &err);
        assert(rc == ZB_OK);
        zb_strcopy(pki.ca_fingerprint, sizeof pki.ca_fingerprint, info.fingerprint);
    }
    return &pki;
}

void
fuzz_identity_make(struct fuzz_identity *identity, const char *node)
{
    const struct fuzz_pki *pki = fuzz_pki();
    struct zb_err err;
    char *csr = NULL;

    enum zb_rc rc = zb_pki_key_create(&identity->key, &err);
    assert(rc == ZB_OK);
    rc = zb_pki_csr_create((struct zb_pem){"key", identity->key}, node, &csr, &err);
    assert(rc == ZB_OK);
    rc = zb_pki_sign((struct zb_pem){"ca", pki->ca_cert}, (struct zb_pem){"ca key", pki->ca_key},
                     (struct zb_pem){"request", csr}, node, &identity->cert, &err);
    assert(rc == ZB_OK);
    zb_pki_text_free(csr);
}

void
fuzz_loop_settle(uv_loop_t *loop)
{
    for (int i = 0; i < TURNS_SETTLE; i++) {
        (void)uv_run(loop, UV_RUN_NOWAIT);
    }
}

void
fuzz_tls_open(struct fuzz_tls *tls, struct zb_net *net, uv_loop_t *loop, SSL_CTX *ctx)
{
    struct zb_socket_address from;
    struct zb_err err;
    int fds[2];

    int made = socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
    assert(made == 0);
    enum zb_rc rc = zb_socket_address_parse("127.0.0.1:1", &from, &err);
    assert(rc == ZB_OK);
    zb_conn_accepted(net, fds[0], &from);
    tls->fd = fds[1];
    tls->ssl = zb_tls_open(ctx, tls->fd, true);
    int done = 0;
    for (int turn = 0; done != 1 && turn < TURNS_MAX; turn++) {
        ERR_clear_error();
        done = SSL_do_handshake(tls->ssl);
        (void)uv_run(loop, UV_RUN_NOWAIT);
    }
    assert(done == 1);
}

/* False: the other side has closed. */
static bool
drain(struct fuzz_tls *tls)
{
    char bytes[4096];
    size_t got;
    int done;

    do {
        ERR_clear_error();
        done = SSL_read_ex(tls->ssl, bytes, sizeof bytes, &got);
    } while (done == 1);
    return SSL_get_error(tls->ssl, done) == SSL_ERROR_WANT_READ;
}

bool
fuzz_tls_send(struct fuzz_tls *tls, uv_loop_t *loop, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    for (int turn = 0; size > 0 && turn < TURNS_MAX; turn++) {
        size_t sent = 0;
        ERR_clear_error();
        if (SSL_write_ex(tls->ssl, at, size, &sent) == 1) {
            at += sent;
            size -= sent;
        }
        (void)uv_run(loop, UV_RUN_NOWAIT);
        if (!drain(tls)) {
            return false;
        }
    }
    fuzz_loop_settle(loop);
    return size == 0 && drain(tls);
}

bool
fuzz_tls_frame(struct fuzz_tls *tls, uv_loop_t *loop, enum zb_frame_type type, const void *payload,
               size_t size)
{
    uint8_t *frame = malloc(ZB_FRAME_HEADER_SIZE + size);

    assert(frame != NULL);
    zb_frame_header_encode(type, (uint32_t)size, frame);
    memcpy(frame + ZB_FRAME_HEADER_SIZE, payload, size);
    bool open = fuzz_tls_send(tls, loop, frame, ZB_FRAME_HEADER_SIZE + size);
    free(frame);
    return open;
}

void
fuzz_tls_close(struct fuzz_tls *tls)
{
    if (tls->ssl != NULL) {
        SSL_free(tls->ssl);
        (void)close(tls->fd);
        *tls = (struct fuzz_tls){0};
    }
}
